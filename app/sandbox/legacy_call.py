"""One call of the legacy API: its arguments, its errors, and the checks and filters its resources share."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote_plus

from pydantic import JsonValue

from app.sandbox.model import Json
from app.sandbox.php import PhpValue
from app.sandbox.process import PhpProcess


class LegacyError(Exception):
    """An answer that is an error: `{"errors": [{"code", "message"}]}`.

    The status is 200 where a WP_Error carried none (LS:226-233).
    """

    def __init__(self, code: str, message: str, status: int, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(code)
        self.status = status
        self.headers = headers or {}
        self.body: Json = {"errors": [{"code": code, "message": message}]}


@dataclass(slots=True, kw_only=True)
class LegacyCall(PhpProcess):
    """One request that has passed authentication and found its route."""

    method: str
    #: `https://shop.example`
    site_url: str
    #: The path asked for, decoded.
    path: str
    query: Mapping[str, PhpValue]
    #: What the path says, overridden by query and form parameters of the same name (LS:341-343).
    args: Mapping[str, PhpValue]
    #: The body's JSON, where the route takes one.
    data: JsonValue = None

    def text(self, name: str) -> str | None:
        value = self.args.get(name)
        return decoded_again(value) if isinstance(value, str) else None

    def id(self, name: str) -> int:
        """Return what PHP's `absint` makes of an argument: 0 of anything that does not begin with digits."""
        digits = (self.text(name) or "").lstrip(" -+")
        return int(digits) if digits.isdecimal() else 0

    def filter(self, name: str) -> str:
        """Return one of the `filter[…]` parameters, empty without it."""
        given = self.args.get("filter")
        value = given.get(name, "") if isinstance(given, dict) else ""
        return decoded_again(value) if isinstance(value, str) else ""

    def inner(self, name: str, *, doing: str) -> Json:
        """Return the object that the body wraps; raise LegacyError (400) for a body without it.

        What is there but no object has no fields.
        """
        value = self.data.get(name) if isinstance(self.data, dict) else None
        if value is None:
            text = f"No {name} data specified to {doing} {name}"
            raise LegacyError(f"woocommerce_api_missing_{name}_data", text, 400)
        return value if isinstance(value, dict) else {}

    def existing_order(self, name: str) -> int:
        """Return the id of an order that the legacy API can see; raise LegacyError (404) for others.

        It looks among the posts (LR:104): with orders in tables of their own, and no copies, each is a placeholder.
        """
        order_id = self.id(name)
        if not order_id:
            raise LegacyError("woocommerce_api_invalid_order_id", "Invalid shop_order ID", 404)
        is_order = self.store.order_exists(order_id)
        if not is_order and not self.store.refund_exists(order_id) and self.store.product(order_id) is None:
            text = f"No order found with the ID equal to {order_id}"
            raise LegacyError("woocommerce_api_no_order_found", text, 404)
        if not is_order or not self.store.settings().posts_hold_orders:
            raise LegacyError("woocommerce_api_invalid_order", "Invalid order", 404)
        return order_id


@dataclass(frozen=True, slots=True)
class LegacyAnswer:
    body: Json
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


def decoded_again(text: str) -> str:
    """Parameters are decoded once more than they were encoded (LS:407-436)."""
    return unquote_plus(text)


def selected(data: Json, fields: str | None) -> Json:
    """Keep the fields that `fields` names, spaces included; a name with a dot keeps one field of an object.

    A list has no such field and is left empty, and of several fields of one object the last alone is kept (LR:340).
    """
    if not fields:
        return data
    names = fields.split(",")
    inner = dict(name.split(".")[:2] for name in names if "." in name)
    kept: Json = {}
    for name, value in data.items():
        if isinstance(value, dict) and name in inner:
            kept[name] = {key: one for key, one in value.items() if key in inner.values()}
        elif isinstance(value, list) and name in inner:
            kept[name] = []
        elif name in names:
            kept[name] = value
    return kept
