"""Makes refunds the way `wc_create_refund` does (OF:524-700): for wc/v3, for the legacy API and for wp-admin.

The order of things: check, row, provider, paid mark, restock, status. Between check and row, and while the provider
works, other requests run: nothing locks the order.
"""

import asyncio
from collections.abc import Mapping
from decimal import ROUND_DOWN, Decimal
from typing import TypeAlias, TypeVar

from pydantic import JsonValue

from app.sandbox import orders
from app.sandbox.gateways import GatewayError, pay_refund
from app.sandbox.model import Fee, Line, Order, Refund, Shipping, Tax
from app.sandbox.php import PhpTypeError, clean_decimal, empty, fixed, greater, is_numeric, number
from app.sandbox.process import FatalError, PhpProcess
from app.sandbox.store import Store
from app.sandbox.taxes import sum_tax_lines

#: A line of the request in WooCommerce's internal form: `qty`, `refund_total`, `refund_tax` by rate id.
GivenLine: TypeAlias = Mapping[str, JsonValue]

#: Seconds between WooCommerce's look at what remains and its row: the window in which two refunds can both pass.
_CHECK_TO_ROW_S = 0.002

_Item = TypeVar("_Item", Line, Fee, Shipping)


class NotCreatedError(Exception):
    """`wc_create_refund` has returned a WP_Error with this text; no row is left."""


async def create_refund(
    process: PhpProcess,
    order: Order,
    *,
    amount: str | None,
    reason: str,
    lines: Mapping[int, GivenLine],
    pays: bool,
    restocks: bool,
) -> Refund:
    """Make a refund of an order and return it; where `pays`, its gateway has paid it.

    Raises NotCreatedError for an amount above the rest and for a gateway's no, FatalError and PhpKilledError for a
    process that did not live to answer.
    """
    store = process.store
    if process.fault("fatal"):
        raise FatalError
    remaining = order.total - store.refunded(order.id)
    negative = amount is not None and greater("0", amount)
    if negative or (amount is not None and greater(amount, fixed(remaining, store.settings().decimals))):
        raise NotCreatedError("Invalid refund amount.")
    await asyncio.sleep(_CHECK_TO_ROW_S)

    refund = _insert(process, order, lines, amount=amount, reason=reason)
    if pays and not process.fault("unpaid_201"):
        try:
            await pay_refund(process, order, refund)
        except GatewayError as error:
            delete(store, refund.id)
            raise NotCreatedError(str(error)) from None
        refund.paid, refund.modified = True, store.now()
        with store.transaction():
            store.save_refund(refund)
    with store.transaction():
        if restocks:
            _restock(store, order.id, lines)
        # PHP subtracts what it reads of the text as sent: of "1,50" that is 1, though 150.00 is stored.
        orders.note_refunded(store, order.id, fully=remaining <= number(amount))
    store.do_action("woocommerce_refund_created", refund.id)
    return refund


def make_manual(store: Store, order_id: int, *, amount: Decimal, reason: str, lines: Mapping[int, GivenLine]) -> Refund:
    """Record a refund as if made in wp-admin: no provider, no check."""
    order = store.order(order_id)
    assert order is not None
    with store.transaction():
        refund = _refund_of(store, order, lines, amount=amount, reason=reason)
        store.save_refund(refund)
        orders.note_refunded(store, order_id, fully=order.total - store.refunded(order_id) <= 0)
    store.do_action("woocommerce_refund_created", refund.id)
    return refund


def delete(store: Store, refund_id: int) -> None:
    """Delete a refund's row; its order is not touched, and nobody hears that it has changed."""
    with store.transaction():
        store.delete_refund(refund_id)
    store.do_action("woocommerce_delete_order_refund", refund_id)


def delete_manually(store: Store, refund_id: int) -> None:
    """Delete a refund's row as if in wp-admin, which has a hook of its own besides."""
    delete(store, refund_id)
    store.do_action("woocommerce_refund_deleted", refund_id)


def internal_lines(items: Mapping[str, JsonValue]) -> dict[int, GivenLine]:
    """Return lines given in the internal form, by item id."""
    return {int(key): line for key, line in items.items() if key.isdecimal() and isinstance(line, dict)}


def kept_reason(reason: str) -> str:
    """Return what WordPress keeps of a reason: all but the backslashes; one that PHP calls empty is none (PU:63)."""
    unslashed = reason.replace("\\", "")
    return "" if empty(unslashed) else unslashed


def _insert(
    process: PhpProcess, order: Order, lines: Mapping[int, GivenLine], *, amount: str | None, reason: str
) -> Refund:
    """Commit the refund's row: unpaid and without the request's meta, as every reader sees it until the end."""
    store = process.store
    stored = clean_decimal(amount) if amount is not None else Decimal(0)
    if process.fault("wrong_amount"):
        stored = (stored / 2).quantize(Decimal(1).scaleb(-store.settings().decimals), rounding=ROUND_DOWN)
    try:
        with store.transaction():
            refund = _refund_of(store, order, lines, amount=stored, reason=kept_reason(reason))
            store.save_refund(refund)
    except PhpTypeError:
        raise FatalError from None
    return refund


def _refund_of(store: Store, order: Order, given: Mapping[int, GivenLine], *, amount: Decimal, reason: str) -> Refund:
    moment = store.now()
    refund = Refund(
        id=store.next_id("post"), order_id=order.id, created=moment, modified=moment, amount=amount, reason=reason
    )
    rounding = store.rounding(prices_include_tax=order.prices_include_tax)
    for line in order.lines:
        if _named(given, line.id):
            refund.lines.append(_refunded(store, line, given[line.id], quantity=True))
    for fee in order.fees:
        if _named(given, fee.id):
            refund.fees.append(_refunded(store, fee, given[fee.id]))
    for parcel in order.shipping_lines:
        if _named(given, parcel.id):
            refund.shipping_lines.append(_refunded(store, parcel, given[parcel.id]))
    items: list[Line | Fee | Shipping] = [*refund.lines, *refund.fees, *refund.shipping_lines]
    for item in items:
        item.total_tax = sum((rounding.tax(tax.total) for tax in item.taxes), Decimal(0))
        if isinstance(item, Line):
            item.subtotal_tax = item.total_tax
    refund.tax_lines = sum_tax_lines(
        lines=refund.lines,
        fees=refund.fees,
        shipping=refund.shipping_lines,
        known=store.tax_rates(),
        rounding=rounding,
        next_id=store.item_id,
    )
    return refund


def _named(given: Mapping[int, GivenLine], item_id: int) -> bool:
    """Lines that name nothing are skipped (OF:576)."""
    line = given.get(item_id)
    return line is not None and not all(empty(line.get(key)) for key in ("qty", "refund_total", "refund_tax"))


def _refunded(store: Store, item: _Item, given: GivenLine, *, quantity: bool = False) -> _Item:
    """Return a copy of an order's item with the refund's negative amounts, uncapped (OF:567-610)."""
    total = -number(given.get("refund_total"))
    taxes = given.get("refund_tax")
    by_rate = taxes if isinstance(taxes, dict) else {} if taxes is None else {"0": taxes}
    changes: dict[str, object] = {
        "id": store.item_id(),
        "total": total,
        "meta": [store.new_meta("_refunded_item_id", str(item.id))],
        "taxes": [
            Tax(rate_id=int(rate), total=-number(tax), subtotal=-number(tax) if quantity else None)
            for rate, tax in by_rate.items()
            if not empty(tax) and rate.isdecimal()
        ],
    }
    if quantity:
        changes |= {"subtotal": total, "quantity": -number(given.get("qty"))}
    return item.model_copy(update=changes)


def _restock(store: Store, order_id: int, given: Mapping[int, GivenLine]) -> None:
    """Give refunded quantities back to the stock, unchecked against what was sold (OF:755-809)."""
    order = store.order(order_id)
    if order is None:
        return
    for line in order.lines:
        quantity = given.get(line.id, {}).get("qty")
        reduced = next((meta for meta in line.meta if meta.key == "_reduced_stock"), None)
        product = store.product(line.product_id)
        if reduced is None or product is None or empty(reduced.value) or empty(quantity) or not is_numeric(quantity):
            continue
        back = int(number(quantity))
        reduced.value = str(int(str(reduced.value)) - back)
        before = next((meta for meta in line.meta if meta.key == "_restock_refunded_items"), None)
        if before is None:
            line.meta.append(store.new_meta("_restock_refunded_items", str(back)))
        else:
            before.value = str(int(str(before.value)) + back)
        store.save_product(product.model_copy(update={"stock": product.stock + back}))
        store.add_note(order_id, f"Item #{product.id} stock increased from {product.stock} to {product.stock + back}.")
    store.save_order(order)
