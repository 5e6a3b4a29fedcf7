"""Refunds of wc/v3, created, listed and deleted as WooCommerce 9.4 does, mistakes included.

A refund is made in the order of OF:524-700: check, row, provider, paid mark, restock, status, and the meta last.
Between check and row, and while the provider works, other requests run: nothing locks the order.
"""

import asyncio
from collections.abc import Mapping, Sequence
from decimal import ROUND_DOWN, Decimal
from typing import TypeVar

from pydantic import JsonValue

from app.sandbox import orders, serialize
from app.sandbox.gateways import GatewayError, pay_refund
from app.sandbox.model import Fee, Json, Line, Order, Refund, Shipping, Tax
from app.sandbox.php import PhpTypeError, clean_decimal, empty, fixed, greater, is_numeric, number, strval
from app.sandbox.queries import date_conditions, id_conditions, marks, page_of
from app.sandbox.rest import Answer, Call, FatalError, Param, PhpKilledError, RestError, not_found, paged, wrongly_500
from app.sandbox.store import Store
from app.sandbox.taxes import sum_tax_lines

CREATE_PARAMS: Mapping[str, Param] = {
    "amount": Param(kind="string"),
    "reason": Param(kind="string"),
    "api_refund": Param(kind="boolean", default=True),
    "api_restock": Param(kind="boolean", default=True),
    "dp": Param(kind="integer"),
}
SINGLE_PARAMS: Mapping[str, Param] = {
    "context": Param(kind="string", default="view", among=("view", "edit")),
    "dp": Param(kind="integer"),
    "force": Param(kind="boolean", default=True),
}
#: Seconds between WooCommerce's look at what remains and its row: the window in which two refunds can both pass.
_CHECK_TO_ROW_S = 0.002

_INVALID_AMOUNT = "Invalid refund amount."

_Item = TypeVar("_Item", Line, Fee, Shipping)

#: A line of the request in WooCommerce's internal form: `qty`, `refund_total`, `refund_tax`.
_Given = dict[str, JsonValue]


async def create(call: Call) -> Answer:
    """Answer POST orders/{id}/refunds."""
    store, order_id = call.store, call.id()
    given = _given_lines(call.body.get("line_items"))
    amount = call.text("amount") if "amount" in call.body or "amount" in call.query else _sum_of(given)
    if store.refund_exists(order_id):
        raise FatalError
    order = store.order(order_id)
    if order is None:
        raise wrongly_500("woocommerce_rest_invalid_order_id", "Invalid order ID.", 404)
    if amount is not None and greater("0", amount):
        raise wrongly_500("woocommerce_rest_invalid_order_refund", "Refund amount must be greater than zero.", 400)
    if call.fault("fatal"):
        raise FatalError
    remaining = order.total - store.refunded(order_id)
    if amount is not None and greater(amount, fixed(remaining, store.settings().decimals)):
        raise _cannot_create(_INVALID_AMOUNT)
    await asyncio.sleep(_CHECK_TO_ROW_S)

    refund = _insert(call, order, given, amount)
    if not call.flag("api_refund") and call.fault("die_before_paying", "die_after_paying"):
        raise PhpKilledError
    if call.flag("api_refund") and not call.fault("unpaid_201"):
        try:
            await pay_refund(call, order, refund)
        except GatewayError as error:
            with store.transaction():
                store.delete_refund(refund.id)
            raise _cannot_create(str(error)) from None
        refund.paid, refund.modified = True, store.now()
        with store.transaction():
            store.save_refund(refund)
    with store.transaction():
        if call.flag("api_restock"):
            _restock(store, order_id, given)
        # PHP subtracts what it reads of the text as sent: of "1,50" that is 1, though 150.00 is stored.
        orders.note_refunded(store, order_id, fully=remaining <= number(amount))
    return Answer(serialize.refund(_add_meta(call, refund), call.view()), status=201, headers=_location(call, refund))


def make_manual(store: Store, order_id: int, *, amount: Decimal, reason: str, lines: Mapping[int, _Given]) -> Refund:
    """Record a refund as if made in wp-admin: no provider, no check."""
    order = store.order(order_id)
    assert order is not None
    with store.transaction():
        refund = _refund_of(store, order, lines, amount=amount, reason=reason)
        store.save_refund(refund)
        orders.note_refunded(store, order_id, fully=order.total - store.refunded(order_id) <= 0)
    return refund


async def retrieve(call: Call) -> Answer:
    """Answer GET orders/{id}/refunds/{refund id}."""
    return Answer(serialize.refund(_of_order(call), call.view()))


async def delete(call: Call) -> Answer:
    """Answer DELETE orders/{id}/refunds/{refund id}.

    Whatever has that id is gone, also a refund of another order, also an order (CRUD:482-487).
    """
    if not call.flag("force"):
        raise RestError("woocommerce_rest_trash_not_supported", "The shop_order_refund does not support trashing.", 501)
    refund_id = call.id(1)
    try:
        answer = Answer(serialize.refund(_of_order(call), call.view()))
    except RestError as error:
        if error.status != 404:
            with call.store.transaction():
                call.store.delete_refund(refund_id)
                call.store.delete_order(refund_id)
        raise
    with call.store.transaction():
        call.store.delete_refund(refund_id)
    return answer


async def list_of_order(call: Call) -> Answer:
    """Answer GET orders/{id}/refunds: also for an order that does not exist; `parent` has no effect (V2R:265)."""
    return _list(call, ["order_id = ?"], [call.id()], path=f"orders/{call.id()}/refunds", with_parent=False)


async def list_of_store(call: Call) -> Answer:
    """Answer GET refunds: `parent` has no effect here either, `parent_exclude` has (V3L:70)."""
    excluded = call.integers("parent_exclude")
    conditions = [f"order_id NOT IN ({marks(excluded)})"] if excluded else []
    return _list(call, conditions, excluded, path="refunds", with_parent=True)


def _list(
    call: Call, conditions: Sequence[str], values: Sequence[str | int], *, path: str, with_parent: bool
) -> Answer:
    dated, dates = date_conditions(call)
    named, ids = id_conditions(call)
    every = [*conditions, *dated, *named]
    if call.text("search"):
        every.append("0")  # a search looks at titles, and a refund's reason is not in its title
    page, total = page_of(call, "refunds", every, [*values, *dates, *ids])
    view = call.view()
    refunds = [refund for refund in map(call.store.refund, page) if refund is not None]
    shown: list[JsonValue] = [serialize.refund(refund, view, with_parent=with_parent) for refund in refunds]
    return Answer(shown, headers=paged(call, total, shown=len(shown), path=path, defaults={"dp": str(view.places)}))


def _of_order(call: Call) -> Refund:
    """Return the refund named by the path; errors in the order of V2R:190-210 and CRUD:139."""
    store, order_id, refund_id = call.store, call.id(), call.id(1)
    refund = store.refund(refund_id)
    if refund is None and not store.order_exists(refund_id):
        raise not_found("woocommerce_rest_shop_order_refund_invalid_id")
    if not store.order_exists(order_id):
        raise wrongly_500("woocommerce_rest_invalid_order_id", "Invalid order ID.", 404)
    if refund is None or refund.order_id != order_id:
        raise wrongly_500("woocommerce_rest_invalid_order_refund_id", "Invalid order refund ID.", 404)
    return refund


def _cannot_create(message: str) -> RestError:
    return wrongly_500("woocommerce_rest_cannot_create_order_refund", message, 500)


def _location(call: Call, refund: Refund) -> dict[str, str]:
    """WooCommerce sends the route's own regular expression (CRUD:234)."""
    return {"Location": f"{call.root}/wc/v3/orders/(?P<order_id>[\\d]+)/refunds/{refund.id}"}


def _given_lines(items: JsonValue) -> dict[int, _Given]:
    """Return the request's lines by item id (PU:139-166).

    A list counts only if every element has an `id`; otherwise its lines keep their positions and meet no item. An
    object is taken as the internal form, keyed by item id.
    """
    if isinstance(items, dict):
        return {int(key): line for key, line in items.items() if key.isdecimal() and isinstance(line, dict)}
    if not isinstance(items, list):
        return {}
    lines = [line for line in items if isinstance(line, dict)]
    if len(lines) != len(items) or not all(line.get("id") is not None for line in lines):
        return {at: dict(line) for at, line in enumerate(lines)}
    converted: dict[int, _Given] = {}
    for line in lines:
        item_id = str(line["id"])
        if item_id.isdecimal():
            converted[int(item_id)] = _internal(line)
    return converted


def _internal(line: Json) -> _Given:
    result: _Given = {key: value for key, value in line.items() if key not in {"id", "quantity"}}
    if "quantity" in line:
        result["qty"] = line["quantity"]
    taxes = line.get("refund_tax")
    if isinstance(taxes, list):
        entries = [tax for tax in taxes if isinstance(tax, dict)]
        if len(entries) == len(taxes) and all("id" in tax and "refund_total" in tax for tax in entries):
            result["refund_tax"] = {str(tax["id"]): tax["refund_total"] for tax in entries}
        else:
            result["refund_tax"] = {str(at): tax for at, tax in enumerate(taxes)}
    return result


def _sum_of(given: Mapping[int, _Given]) -> str | None:
    """Return the lines' sum as PHP prints it, or None if a part is not numeric or nothing is given (PU:102-131)."""
    if not given:
        return None
    total = Decimal(0)
    for line in given.values():
        taxes = line.get("refund_tax")
        parts = [line.get("refund_total"), *(taxes.values() if isinstance(taxes, dict) else ())]
        if not all(is_numeric(part) for part in parts):
            return None
        total += sum((number(part) for part in parts), Decimal(0))
    return strval(total)


def _insert(call: Call, order: Order, given: Mapping[int, _Given], amount: str | None) -> Refund:
    """Commit the refund's row: unpaid and without the request's meta, as every reader sees it until the end."""
    store = call.store
    stored = clean_decimal(amount) if amount is not None else Decimal(0)
    if call.fault("wrong_amount"):
        stored = (stored / 2).quantize(Decimal(1).scaleb(-store.settings().decimals), rounding=ROUND_DOWN)
    try:
        with store.transaction():
            refund = _refund_of(store, order, given, amount=stored, reason=_reason(call))
            store.save_refund(refund)
    except PhpTypeError:
        raise FatalError from None
    return refund


def _reason(call: Call) -> str:
    """WordPress drops backslashes; a reason PHP calls empty is none (PU:63)."""
    reason = (call.text("reason") or "").replace("\\", "")
    return "" if empty(reason) else reason


def _refund_of(store: Store, order: Order, given: Mapping[int, _Given], *, amount: Decimal, reason: str) -> Refund:
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


def _named(given: Mapping[int, _Given], item_id: int) -> bool:
    """Lines that name nothing are skipped (OF:576)."""
    line = given.get(item_id)
    return line is not None and not all(empty(line.get(key)) for key in ("qty", "refund_total", "refund_tax"))


def _refunded(store: Store, item: _Item, given: _Given, *, quantity: bool = False) -> _Item:
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


def _restock(store: Store, order_id: int, given: Mapping[int, _Given]) -> None:
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


def _add_meta(call: Call, refund: Refund) -> Refund:
    """Save the request's meta, after everything else (V3R:71-76)."""
    wanted = call.body.get("meta_data")
    if not isinstance(wanted, list) or not wanted:
        return refund
    with call.store.transaction():
        for entry in wanted:
            if isinstance(entry, dict) and isinstance(entry.get("key"), str):
                refund.meta.append(call.store.new_meta(str(entry["key"]), entry.get("value")))
        refund.modified = call.store.now()
        call.store.save_refund(refund)
    return refund
