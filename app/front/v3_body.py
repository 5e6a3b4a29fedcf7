"""POST wc/v3/orders/{id}/refunds: from its parameters to a command, or every reason why not."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from pydantic import TypeAdapter, ValidationError

from app.api.values import MetaKey, MetaValue
from app.domain.refund import RefundCommand
from app.front.errors import Faults, WooError
from app.front.form import listed
from app.front.lines import Place, read_lines
from app.front.values import amount_text, flag, misspelled, reason_of, wrong_type

_KNOWN = (
    "amount",
    "reason",
    "api_refund",
    "api_restock",
    "line_items",
    "meta_data",
    "compute_totals",
)
_META_KEY: TypeAdapter[str] = TypeAdapter(MetaKey)
_META_VALUE: TypeAdapter[Any] = TypeAdapter(MetaValue)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """A command, and where its parts stand in the request as it was sent."""

    command: RefundCommand
    places: tuple[Place, ...]
    above: str  #: points at what amount and reason are members of


def parse(params: Mapping[str, Any], *, store: str, order_id: str) -> Parsed:
    """Read the parameters of a query and a body together. Raises WooError that names every fault."""
    if params.get("id") is not None:
        raise WooError("existing_refund")
    faults = Faults()
    misspelled(faults, params, _KNOWN, pointer="")
    amount = _amount(faults, params.get("amount"))
    computed = flag(faults, params, "compute_totals", default=False)
    lines = read_lines(faults, listed(params.get("line_items")), computed=computed)
    reason = reason_of(faults, params.get("reason"), pointer="/reason")
    pays = flag(faults, params, "api_refund", default=True)
    restock = flag(faults, params, "api_restock", default=True)
    store_meta = _meta(faults, listed(params.get("meta_data")))
    if not faults and amount is None:
        if not lines.items:
            raise WooError("no_amount")
        if lines.total == 0:
            raise WooError("not_positive")
    faults.raise_any()
    command = RefundCommand(
        store=store,
        order_id=order_id,
        amount=amount,
        items=lines.items,
        reason=reason,
        payment="gateway" if pays else "manual",
        restock=restock,
        store_meta=store_meta,
        dialect="woocommerce",
    )
    return Parsed(command=command, places=lines.places, above="")


def _amount(faults: Faults, given: Any) -> Decimal | None:
    if given is None:
        return None
    if not isinstance(given, str):
        # WordPress's own rule (V2R:398), and a good one: a number may have been through a float.
        wrong_type(faults, "amount", "string")
        return None
    return amount_text(faults, given, pointer="/amount")


def _meta(faults: Faults, given: Any) -> dict[str, Any]:
    """Read meta_data; a key may stand there once."""
    found: dict[str, Any] = {}
    if given is None or given in ([], {}, ""):
        return found
    if not isinstance(given, list):
        faults.add("meta_data", "meta_data is a list of objects with key and value.")
        return found
    for i, entry in enumerate(given):
        pointer = f"/meta_data/{i}"
        if not isinstance(entry, dict) or "key" not in entry or "value" not in entry:
            faults.add("meta_data", "An entry is an object with key and value.", pointer=pointer)
            continue
        try:
            key = _META_KEY.validate_python(entry["key"])
            value = _META_VALUE.validate_python(_plain(entry["value"]))
        except ValidationError as error:
            faults.add("meta_data", f"The entry cannot be kept: {error.errors()[0]['msg']}", pointer=pointer)
            continue
        if key in found:
            faults.add("meta_data", f"The key {key!r} stands there twice.", pointer=f"{pointer}/key")
        found[key] = value
    return found


def _plain(value: Any) -> Any:
    """Give a value as JSON keeps it: what stands in meta data is no money of ours."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list) else value
