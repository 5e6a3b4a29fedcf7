"""Refunds that WooCommerce computes itself, from 11.1 on: `refunds/preview`, and `compute_totals` on create.

Both take lines by quantity or by an amount with tax in it, and refuse with proper status codes; the preview's codes
begin with `woocommerce_rest_`, those of create do not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import NoReturn, TypeAlias

from pydantic import JsonValue

from app.sandbox.model import Fee, Json, Line, Order, Refund, Shipping
from app.sandbox.php import fixed, is_numeric, json_number, number, round_half_up
from app.sandbox.refund_rows import GivenLine
from app.sandbox.rest import Answer, Call, Param, RestError, invalid_params

COMPUTED_SINCE = (11, 1)
PREVIEW_PARAMS: Mapping[str, Param] = {"line_items": Param(kind="objects", required=True)}

_PREVIEW_KEYS = {"line_item_id", "quantity", "refund_total"}
_TOTAL_NOT_POSITIVE = "Refund total must be greater than zero."

Item: TypeAlias = Line | Fee | Shipping


class _RefusedError(Exception):
    def __init__(self, code: str, message: str, status: int) -> None:
        super().__init__(code)
        self.code, self.message, self.status = code, message, status


@dataclass(frozen=True, slots=True, kw_only=True)
class _Priced:
    """One line of an order as it would be refunded."""

    item: Item
    quantity: Decimal | None
    net: Decimal
    taxes: Mapping[int, Decimal]

    @property
    def tax(self) -> Decimal:
        return sum(self.taxes.values(), Decimal(0))

    @property
    def gross(self) -> Decimal:
        return self.net + self.tax


async def preview(call: Call) -> Answer:
    """Answer POST orders/{id}/refunds/preview; nothing is made."""
    given = call.values["line_items"]
    lines = [line for line in given if isinstance(line, dict)] if isinstance(given, list) else []
    if not lines or any("line_item_id" not in line or set(line) - _PREVIEW_KEYS for line in lines):
        message = "line_items must be objects of line_item_id with quantity or refund_total."
        raise invalid_params({"line_items": ("rest_invalid_type", message, None)})
    order = _existing(call)
    remaining = order.total - call.store.refunded(order.id)
    try:
        priced = _price(call, order, lines, key="line_item_id")
        total = sum((line.gross for line in priced), Decimal(0))
        if total <= 0:
            _refuse("invalid_refund_amount", _TOTAL_NOT_POSITIVE, 400)
        if total > remaining:
            text = f"{_money(call, total)}) exceeds the remaining refundable amount ({_money(call, remaining)})."
            _refuse("preview_exceeds_max_refundable", f"Requested refund preview ({text}", 422)
    except _RefusedError as error:
        raise RestError(f"woocommerce_rest_{error.code}", error.message, error.status) from None
    sections: Mapping[str, type[Item]] = {"products": Line, "shipping": Shipping, "fees": Fee}
    return Answer(
        {
            "breakdown": {
                name: {
                    **_sums(call, items := [one for one in priced if isinstance(one.item, kind)]),
                    "items": _shown(call, items),
                }
                for name, kind in sections.items()
            },
            **_sums(call, priced),
            "total": _money(call, total),
            "max_refundable": _money(call, remaining),
        }
    )


def to_make(call: Call) -> tuple[Order, str, dict[int, GivenLine]]:
    """Return the order, amount and internal lines of a create with `compute_totals`; raise RestError for its faults."""
    order = _existing(call)
    given = call.body.get("line_items")
    remaining = order.total - call.store.refunded(order.id)
    try:
        if given is not None and not (isinstance(given, list) and all(isinstance(line, dict) for line in given)):
            _refuse("invalid_line_item", "Each line item must be an object.", 400)
        lines = [line for line in given if isinstance(line, dict)] if isinstance(given, list) else []
        priced = _price(call, order, lines, key="id")
        computed = sum((line.gross for line in priced), Decimal(0))
        amount = call.text("amount")
        if amount is not None and not is_numeric(amount):
            _refuse("invalid_refund_amount", _TOTAL_NOT_POSITIVE, 400)
        total = computed if amount is None else number(amount)
        if total <= 0:
            _refuse("invalid_refund_amount", _TOTAL_NOT_POSITIVE, 400)
        if _money(call, total) != _money(call, computed) and total < computed:
            text = f"({_money(call, total)}) cannot be less than the total of line items ({_money(call, computed)})."
            _refuse("invalid_refund_amount", f"Refund amount {text}", 400)
        if round_half_up(total, _places(call)) > remaining:
            text = f"({_money(call, total)}) exceeds the remaining refundable amount ({_money(call, remaining)})."
            _refuse("refund_exceeds_remaining", f"Refund amount {text}", 422)
    except _RefusedError as error:
        raise RestError(error.code, error.message, error.status) from None
    return order, format(total, "f"), {line.item.id: _internal(line) for line in priced}


def _price(call: Call, order: Order, lines: Sequence[Json], *, key: str) -> list[_Priced]:
    """Return the lines as they would be refunded; raise _RefusedError for the first that cannot be."""
    refunds = call.store.refunds(order.id)
    if order.total - call.store.refunded(order.id) <= 0:
        _refuse("order_not_refundable", "The order has nothing left to refund.", 422)
    every: list[Item] = [*order.lines, *order.fees, *order.shipping_lines]
    items = {str(item.id): item for item in every}
    priced: dict[int, _Priced] = {}
    for line in lines:
        item = items.get(str(line.get(key)))
        if item is None:
            _refuse("line_item_not_found", "Line item not found.", 400)
        if item.id in priced:
            _refuse("duplicate_line_item", "Each line item may appear once.", 400)
        priced[item.id] = _price_one(call, item, line, refunds)
    return list(priced.values())


def _price_one(call: Call, item: Item, line: Json, refunds: Sequence[Refund]) -> _Priced:
    ordered = item.quantity if isinstance(item, Line) else Decimal(1)
    quantity, asked, taxes = line.get("quantity"), line.get("refund_total"), line.get("refund_tax")
    if quantity is None and asked is None:
        _refuse("missing_quantity_or_refund_total", "Each line item needs a quantity or a refund_total.", 400)
    if quantity is not None and not (is_numeric(quantity) and number(quantity) == int(number(quantity)) >= 1):
        _refuse("invalid_quantity", "Quantity must be a positive integer.", 400)
    if asked is not None and (not is_numeric(asked) or number(asked) * _gross(item) <= 0):
        _refuse("invalid_refund_total", "refund_total must be a number, not zero, and match the line's sign.", 400)
    done = [one for refund in refunds for one in _items(refund) if _refunded_item(one) == str(item.id)]
    left = _gross(item) + sum((_gross(one) for one in done), Decimal(0))
    if left == 0:
        _refuse("line_item_already_refunded", "The line item has been refunded already.", 422)
    wanted = None if quantity is None else number(quantity)
    if asked is None:
        assert wanted is not None
        rest = ordered + sum((one.quantity for one in done if isinstance(one, Line)), Decimal(0))
        if wanted > (rest if isinstance(item, Line) else 1):
            text = f"Requested quantity exceeds remaining refundable quantity ({json_number(rest)})."
            _refuse("quantity_exceeds_refundable", text, 422)
        share = _gross(item) if ordered == 0 else _gross(item) / ordered * wanted
        return _split(call, item, wanted, min(round_half_up(share, _places(call)), left, key=abs))
    gross = round_half_up(number(asked), _places(call))
    if isinstance(taxes, list):
        split = {int(str(tax["id"])): number(tax["refund_total"]) for tax in taxes if isinstance(tax, dict)}
        return _within(_Priced(item=item, quantity=wanted, net=gross, taxes=split), left)
    return _within(_split(call, item, wanted, gross), left)


def _within(line: _Priced, left: Decimal) -> _Priced:
    if abs(line.gross) > abs(left):
        _refuse("refund_total_exceeds_line", "The amount exceeds what is left of the line item.", 422)
    return line


def _split(call: Call, item: Item, quantity: Decimal | None, gross: Decimal) -> _Priced:
    """Return a line whose net and taxes stand to each other as they do in the order and add up to the amount."""
    whole = item.total + sum((tax.total for tax in item.taxes), Decimal(0))
    taxes = {tax.rate_id: round_half_up(gross * tax.total / whole, _places(call)) for tax in item.taxes if whole}
    return _Priced(item=item, quantity=quantity, net=gross - sum(taxes.values(), Decimal(0)), taxes=taxes)


def _internal(line: _Priced) -> GivenLine:
    quantity = 0 if line.quantity is None else int(line.quantity)
    taxes: Json = {str(rate_id): format(tax, "f") for rate_id, tax in line.taxes.items()}
    return {"qty": quantity, "refund_total": format(line.net, "f"), "refund_tax": taxes}


def _existing(call: Call) -> Order:
    order = call.store.order(call.id())
    if order is None:
        raise RestError("woocommerce_rest_invalid_order_id", "Invalid order ID.", 404)
    return order


def _items(refund: Refund) -> Sequence[Item]:
    return [*refund.lines, *refund.fees, *refund.shipping_lines]


def _refunded_item(item: Item) -> JsonValue:
    return next((meta.value for meta in item.meta if meta.key == "_refunded_item_id"), None)


def _gross(item: Item) -> Decimal:
    return item.total + item.total_tax


def _places(call: Call) -> int:
    return call.store.settings().decimals


def _money(call: Call, value: Decimal) -> str:
    return fixed(value, _places(call))


def _sums(call: Call, lines: Sequence[_Priced]) -> Json:
    net, tax = (sum(parts, Decimal(0)) for parts in ([one.net for one in lines], [one.tax for one in lines]))
    return {"subtotal": _money(call, net), "tax": _money(call, tax)}


def _shown(call: Call, lines: Sequence[_Priced]) -> JsonValue:
    return [
        {
            "id": line.item.id,
            "name": line.item.method_title if isinstance(line.item, Shipping) else line.item.name,
            **({"product_id": line.item.product_id} if isinstance(line.item, Line) else {}),
            "quantity": None if line.quantity is None else int(line.quantity),
            **_sums(call, [line]),
            "total": _money(call, line.gross),
        }
        for line in lines
    ]


def _refuse(code: str, message: str, status: int) -> NoReturn:
    raise _RefusedError(code, message, status)
