"""Refunds of wc-api/v3, with every trap of the Legacy REST API plugin 1.0.1.

The body goes raw into `wc_create_refund`; only then, with the refund counted, restocked and mailed, is the payment
gateway asked, and whatever it says the row stays.
"""

from decimal import Decimal

from pydantic import JsonValue

from app.sandbox import legacy_serialize
from app.sandbox.catalogue import GATEWAYS
from app.sandbox.gateways import GatewayError, process_refund
from app.sandbox.legacy_call import LegacyAnswer, LegacyCall, LegacyError, decoded_again, selected
from app.sandbox.model import Json, Order, Refund
from app.sandbox.php import clean_decimal, empty, greater
from app.sandbox.process import FatalError, PhpKilledError
from app.sandbox.refund_rows import GivenLine, NotCreatedError, create_refund, internal_lines

_API_FAILED = "woocommerce_api_create_order_refund_api_failed"
_NOT_FOUND = "An order refund with the provided ID could not be found."
_NOT_OF_ORDER = "The order refund ID provided is not associated with the order."


async def create(call: LegacyCall) -> LegacyAnswer:
    """Answer POST orders/{id}/refunds."""
    given = call.inner("order_refund", doing="create")
    order_id = call.id("order_id")
    if not order_id:
        raise LegacyError("woocommerce_api_invalid_order_id", "Order ID is invalid", 400)
    if given.get("amount") is None:
        raise LegacyError("woocommerce_api_invalid_order_refund", "Refund amount is required.", 400)
    amount = _text(given["amount"])
    if amount is not None and greater("0", amount):
        raise LegacyError("woocommerce_api_invalid_order_refund", "Refund amount must be positive.", 400)
    order = call.store.order(order_id)
    # Here `wc_create_refund` returns a WP_Error, which the plugin takes for a refund and dies of (LO:1655).
    if order is None or amount is None:
        raise FatalError
    try:
        refund = await create_refund(
            call,
            order,
            amount=amount,
            reason=_text(given.get("reason")) or "",
            lines=_lines(given),
            pays=not empty(given.get("refund_payment")),
            restocks=not empty(given.get("restock_items")),
        )
    except NotCreatedError:
        raise FatalError from None
    await _pay(call, order, refund)
    return LegacyAnswer(_viewed(call, refund.id, fields=None), status=201)


async def retrieve(call: LegacyCall) -> LegacyAnswer:
    """Answer GET orders/{id}/refunds/{refund id}: any order's refund under any order's path."""
    return LegacyAnswer(_viewed(call, call.id("id"), fields=call.text("fields")))


async def list_of_order(call: LegacyCall) -> LegacyAnswer:
    """Answer GET orders/{id}/refunds: all of them, whatever page or limit is asked for."""
    order_id = call.existing_order("order_id")
    shown: list[JsonValue] = [
        selected(_shown(call, order_id, refund, all_item_meta=False), call.text("fields"))
        for refund in call.store.refunds(order_id)
    ]
    return LegacyAnswer({"order_refunds": shown})


async def update(call: LegacyCall) -> LegacyAnswer:
    """Answer PUT orders/{id}/refunds/{refund id}.

    An amount above 0 is taken as it is and moves no money; a reason goes where nobody reads it (LO:1736-1748).
    """
    given = call.inner("order_refund", doing="edit")
    refund = _of_order(call)
    amount = None if given.get("amount") is None else _text(given["amount"])
    with call.store.transaction():
        if given.get("reason") is not None:
            refund.modified = call.store.now()
        if amount is not None and greater(amount, "0"):
            refund.amount = clean_decimal(amount)
        call.store.save_refund(refund)
    return LegacyAnswer(_viewed(call, refund.id, fields=None))


async def delete(call: LegacyCall) -> LegacyAnswer:
    """Answer DELETE orders/{id}/refunds/{refund id}: for good, of this order only, and without giving money back."""
    refund = _of_order(call)
    with call.store.transaction():
        call.store.delete_refund(refund.id)
    return LegacyAnswer({"message": "Permanently deleted refund"})


async def _pay(call: LegacyCall, order: Order, refund: Refund) -> None:
    """Have the gateway pay, unless it cannot or the query says 0; its no is told and nothing is undone (LO:1667)."""
    if not _asks_gateway(call):
        if call.fault("die_before_paying", "die_after_paying"):
            raise PhpKilledError
        return
    gateway = GATEWAYS.get(order.payment_method)
    if gateway is None or not gateway.can_refund or call.fault("unpaid_201"):
        return
    try:
        await process_refund(call, gateway, order, refund)
    except GatewayError as error:
        if error.code is None:
            raise LegacyError(_API_FAILED, str(error), 500) from None
        raise LegacyError(error.code, str(error), 200) from None


def _asks_gateway(call: LegacyCall) -> bool:
    """`api_refund` counts in the query alone, where the text "false" is true (LS:341-343)."""
    given = call.args.get("api_refund", "1")
    return not empty(decoded_again(given) if isinstance(given, str) else given)


def _lines(given: Json) -> dict[int, GivenLine]:
    """Return the lines by item id; a list's positions meet no item. Counting anything else kills PHP."""
    items = given.get("line_items", [])
    if isinstance(items, dict):
        return internal_lines(items)
    if isinstance(items, list):
        return {}
    raise FatalError


def _text(value: JsonValue) -> str | None:
    """Return a value as PHP writes it; None for an array, which is greater than any number."""
    if isinstance(value, dict | list):
        return None
    if isinstance(value, bool):
        return "1" if value else "0"
    if value is None:
        return ""
    return format(Decimal(repr(value)), "f") if isinstance(value, int | float) else value


def _viewed(call: LegacyCall, refund_id: int, *, fields: str | None) -> Json:
    """Return a refund in its envelope; under an order that the legacy API cannot see there is none (LO:1683)."""
    order_id = call.existing_order("order_id")
    if not refund_id:
        raise LegacyError("woocommerce_api_invalid_order_refund_id", "Invalid order refund ID.", 400)
    refund = call.store.refund(refund_id)
    if refund is None:
        if call.store.order_exists(refund_id):
            raise FatalError  # an order has no get_amount()
        raise LegacyError("woocommerce_api_invalid_order_refund_id", _NOT_FOUND, 404)
    shown = _shown(call, order_id, refund, all_item_meta=call.filter("all_item_meta") == "true")
    return {"order_refund": selected(shown, fields)}


def _shown(call: LegacyCall, order_id: int, refund: Refund, *, all_item_meta: bool) -> Json:
    order = call.store.order(order_id)
    rounding = call.store.rounding(prices_include_tax=order is not None and order.prices_include_tax)
    return legacy_serialize.refund(refund, call.store, rounding, all_item_meta=all_item_meta)


def _of_order(call: LegacyCall) -> Refund:
    """Return the refund of this very order that the path names."""
    order_id, refund_id = call.existing_order("order_id"), call.id("id")
    if not refund_id:
        raise LegacyError("woocommerce_api_invalid_order_refund_id", "Invalid order refund ID.", 400)
    refund = call.store.refund(refund_id)
    if refund is None and not call.store.order_exists(refund_id) and call.store.product(refund_id) is None:
        raise LegacyError("woocommerce_api_invalid_order_refund_id", _NOT_FOUND, 404)
    if refund is None or refund.order_id != order_id:
        raise LegacyError("woocommerce_api_invalid_order_refund_id", _NOT_OF_ORDER, 400)
    return refund
