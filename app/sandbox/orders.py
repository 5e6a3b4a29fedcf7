"""Orders of wc/v3: made, read, listed and changed, with the money computed as WooCommerce computes it."""

import json
import secrets
from collections.abc import Mapping, Sequence
from decimal import Decimal

from pydantic import JsonValue

from app.sandbox import serialize
from app.sandbox.catalogue import STATUS_NAMES
from app.sandbox.model import STATUSES, Coupon, CouponLine, Fee, Json, Line, Order, Refund, Shipping, TaxRate
from app.sandbox.php import clean_decimal, is_numeric, number
from app.sandbox.queries import LIST_PARAMS, date_conditions, id_conditions, page_of
from app.sandbox.rest import Answer, Call, Param, RestError, not_found, paged
from app.sandbox.store import Store
from app.sandbox.taxes import apply_percent_coupon, net_of, tax_charge, tax_line, total_order

_STATUS_FILTER = ("any", "trash", "auto-draft", *STATUSES)

CREATE_PARAMS: Mapping[str, Param] = {
    "payment_method": Param(kind="string"),
    "payment_method_title": Param(kind="string"),
    "transaction_id": Param(kind="string"),
    "customer_note": Param(kind="string"),
    "customer_id": Param(kind="integer", default=0),
    "currency": Param(kind="string"),
    "status": Param(kind="string", among=("auto-draft", *STATUSES)),
    "set_paid": Param(kind="boolean", default=False),
    "dp": Param(kind="integer"),
}
SINGLE_PARAMS: Mapping[str, Param] = {
    "context": Param(kind="string", default="view", among=("view", "edit")),
    "dp": Param(kind="integer"),
}
ORDER_LIST_PARAMS: Mapping[str, Param] = {
    **LIST_PARAMS,
    "status": Param(kind="words", default=["any"], among=_STATUS_FILTER),
    "customer": Param(kind="integer"),
    "product": Param(kind="integer"),
}

#: Statuses in which the shop has taken the goods from stock.
_TAKES_STOCK = {"processing", "completed", "on-hold"}


async def create(call: Call) -> Answer:
    """Answer POST orders."""
    settings = call.store.settings()
    currency = call.text("currency") or settings.currency
    rates = [rate for rate in call.store.tax_rates() if rate.id in settings.tax_rate_ids]
    with call.store.transaction():
        order = new_order(call.store, currency=currency, payment_method=call.text("payment_method") or "")
        order.payment_method_title = call.text("payment_method_title") or ""
        order.transaction_id = call.text("transaction_id") or ""
        order.customer_note = call.text("customer_note") or ""
        order.customer_id = call.integer("customer_id") or 0
        order.billing, order.shipping = _address(call.body.get("billing")), _address(call.body.get("shipping"))
        order.lines = [_line(call.store, given, order, rates) for given in _objects(call.body, "line_items")]
        for given in _objects(call.body, "shipping_lines"):
            order.shipping_lines.append(
                Shipping(
                    id=call.store.item_id(),
                    method_title=str(given.get("method_title", "")),
                    method_id=str(given.get("method_id", "")),
                    total=_money(given.get("total")),
                )
            )
        for given in _objects(call.body, "fee_lines"):
            order.fees.append(
                Fee(
                    id=call.store.item_id(),
                    name=str(given.get("name", "")),
                    tax_status=str(given.get("tax_status", "taxable")),
                    total=_money(given.get("total")),
                )
            )
        coupons = [_find_coupon(call.store, given) for given in _objects(call.body, "coupon_lines")]
        finish_order(call.store, order, rates, coupons)
        _add_meta(call.store, order, call.body)
        call.store.save_order(order)
        settle_status(call.store, order, status=call.text("status"), set_paid=call.flag("set_paid"))
    location = {"Location": f"{call.root}/wc/v3/orders/{order.id}"}
    return Answer(_shown(call, order), status=201, headers=location)


def new_order(store: Store, *, currency: str, payment_method: str) -> Order:
    """Return an empty pending order with the next id, not saved yet."""
    moment = store.now()
    return Order(
        id=store.next_id("post"),
        status="pending",
        currency=currency,
        prices_include_tax=store.settings().prices_include_tax,
        created=moment,
        modified=moment,
        order_key=f"wc_order_{secrets.token_urlsafe(10)[:13]}",
        payment_method=payment_method,
        payment_method_title=payment_method,
    )


def priced_line(
    store: Store,
    order: Order,
    rates: Sequence[TaxRate],
    *,
    name: str,
    sku: str,
    product_id: int,
    quantity: Decimal,
    price: Decimal,
) -> Line:
    """Return a line of a product at its shop price, which contains tax where the order's prices do."""
    net = net_of(price * quantity, rates) if order.prices_include_tax else price * quantity
    return Line(
        id=store.item_id(), name=name, product_id=product_id, sku=sku, quantity=quantity, subtotal=net, total=net
    )


def finish_order(store: Store, order: Order, rates: Sequence[TaxRate], coupons: Sequence[Coupon]) -> None:
    """Set an order's taxes, discounts and totals from its lines."""
    rounding = store.rounding(prices_include_tax=order.prices_include_tax)
    for line in order.lines:
        tax_line(line, rates, rounding)
    for coupon in coupons:
        applied = CouponLine(
            id=0,
            code=coupon.code,
            discount=Decimal(0),
            discount_tax=Decimal(0),
            discount_type=coupon.discount_type,
            nominal_amount=coupon.amount,
        )
        apply_percent_coupon(order, applied, rates, rounding)
        order.coupons.append(applied)
        for line in order.lines:
            tax_line(line, rates, rounding)
    for parcel in order.shipping_lines:
        tax_charge(parcel, [rate for rate in rates if rate.shipping], rounding)
    for fee in order.fees:
        tax_charge(fee, rates if fee.tax_status == "taxable" else [], rounding)
    total_order(order, known=store.tax_rates(), rounding=rounding, next_id=store.item_id)
    for applied, coupon in zip(order.coupons, coupons, strict=True):
        applied.id = store.item_id()
        info = [coupon.id, coupon.code, coupon.discount_type, float(coupon.amount)]
        text = json.dumps(info, separators=(",", ":")).replace(".0]", "]")
        applied.meta = [store.new_meta("coupon_info", text)]


def settle_status(store: Store, order: Order, *, status: str | None, set_paid: bool) -> None:
    """Bring a new order to its status: paid orders to processing (cod: completed), or to the one asked for."""
    if status is not None:
        change_status(store, order, status)
    if set_paid and order.status in {"pending", "on-hold", "failed"}:
        order.paid = store.now()
        change_status(store, order, "completed" if order.payment_method == "cod" else "processing")


def change_status(store: Store, order: Order, status: str) -> None:
    """Move an order to a status with all that WooCommerce does then, and save it.

    Setting `refunded` records a manual refund of everything that is left, without the gateway (OF:853-875).
    """
    if status == order.status:
        return
    previous, order.status = order.status, status
    order.modified = store.now()
    if status in {"processing", "completed"} and order.paid is None:
        order.paid = store.now()
    if status == "completed" and order.completed is None:
        order.completed = store.now()
    if status in _TAKES_STOCK and not order.stock_reduced:
        _take_stock(store, order)
    store.save_order(order)
    text = f"Order status changed from {STATUS_NAMES[previous]} to {STATUS_NAMES.get(status, status)}."
    store.add_note(order.id, text)
    remaining = order.total - store.refunded(order.id)
    if status == "refunded" and remaining > 0:
        moment = store.now()
        store.save_refund(
            Refund(
                id=store.next_id("post"),
                order_id=order.id,
                created=moment,
                modified=moment,
                amount=remaining,
                reason="Order fully refunded.",
            )
        )


def note_refunded(store: Store, order_id: int, *, fully: bool) -> None:
    """Mark an order as touched by a refund; one that took the rest turns it `refunded` (OF:673-687)."""
    order = store.order(order_id)
    if order is None:
        return
    if fully:
        change_status(store, order, "refunded")
    order.modified = store.now()
    store.save_order(order)
    store.do_action("woocommerce_order_refunded", order_id)


async def retrieve(call: Call) -> Answer:
    """Answer GET orders/{id}."""
    return Answer(_shown(call, _existing(call)))


async def update(call: Call) -> Answer:
    """Answer PUT orders/{id}: status, payment and meta; lines stay."""
    order = _existing(call)
    with call.store.transaction():
        for name in ("payment_method", "payment_method_title", "transaction_id", "customer_note"):
            value = call.text(name)
            if value is not None:
                setattr(order, name, value)
        _add_meta(call.store, order, call.body)
        order.modified = call.store.now()
        call.store.save_order(order)
        settle_status(call.store, order, status=call.text("status"), set_paid=call.flag("set_paid"))
    return Answer(_shown(call, order))


async def delete(call: Call) -> Answer:
    """Answer DELETE orders/{id}; `force` or not, the sandbox keeps no trash."""
    order = _existing(call)
    answer = Answer(_shown(call, order))
    with call.store.transaction():
        call.store.delete_order(order.id)
    call.store.do_action("woocommerce_delete_order", order.id)
    return answer


async def list_orders(call: Call) -> Answer:
    """Answer GET orders."""
    conditions, values = date_conditions(call)
    more, more_values = id_conditions(call)
    conditions, values = conditions + more, values + more_values
    statuses = call.words("status")
    if "any" not in statuses:
        conditions.append(f"status IN ({', '.join('?' * len(statuses))})")
        values += statuses
    customer = call.integer("customer")
    if customer is not None:
        conditions.append("coalesce(json_extract(doc, '$.customer_id'), 0) = ?")
        values.append(customer)
    search = call.text("search")
    if search:
        # Searches ids, numbers and billing names and addresses; never lines or notes.
        conditions.append("(CAST(id AS TEXT) = ? OR json_extract(doc, '$.billing') LIKE ?)")
        values += [search, f"%{search}%"]
    ids, total = page_of(call, "orders", conditions, values)
    orders = [order for order in map(call.store.order, ids) if order is not None]
    defaults = {"dp": str(call.view().places), "context": "view"}
    headers = paged(call, total, shown=len(orders), path="orders", defaults=defaults)
    return Answer([_shown(call, order) for order in orders], headers=headers)


def _shown(call: Call, order: Order) -> Json:
    return serialize.order(order, call.store.refund_summaries(order.id), call.view())


def _existing(call: Call) -> Order:
    order = call.store.order(call.id())
    if order is None:
        raise not_found("woocommerce_rest_shop_order_invalid_id")
    return order


def _line(store: Store, given: Json, order: Order, rates: Sequence[TaxRate]) -> Line:
    quantity = number(given.get("quantity", 1))
    product = store.product(int(number(given.get("product_id", 0))))
    priced = priced_line(
        store,
        order,
        rates,
        name=str(given.get("name") or (product.name if product else "")),
        sku=str(given.get("sku") or (product.sku if product else "")),
        product_id=product.id if product else 0,
        quantity=quantity,
        price=product.price if product else Decimal(0),
    )
    if is_numeric(given.get("subtotal")):
        priced.subtotal = priced.total = _money(given["subtotal"])
    if is_numeric(given.get("total")):
        priced.total = _money(given["total"])
    return priced


def _find_coupon(store: Store, given: Json) -> Coupon:
    coupon = store.coupon(str(given.get("code", "")))
    if coupon is None:
        raise RestError("woocommerce_rest_invalid_coupon", "Coupon does not exist.", 400)
    return coupon


def _objects(body: Json, name: str) -> list[Json]:
    value = body.get(name)
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _address(value: JsonValue) -> dict[str, str]:
    return {key: str(one) for key, one in value.items()} if isinstance(value, dict) else {}


def _money(value: JsonValue) -> Decimal:
    return clean_decimal(value) if isinstance(value, str) else number(value)


def _add_meta(store: Store, order: Order, body: Json) -> None:
    """Set the meta of a body; an entry with a known key replaces that one's value."""
    for entry in _objects(body, "meta_data"):
        known = next((meta for meta in order.meta if meta.key == entry.get("key")), None)
        if known is None:
            order.meta.append(store.new_meta(str(entry.get("key")), entry.get("value")))
        else:
            known.value = entry.get("value")


def _take_stock(store: Store, order: Order) -> None:
    changes = []
    for line in order.lines:
        product = store.product(line.product_id)
        if product is None:
            continue
        left = product.stock - int(line.quantity)
        changes.append(f"{product.name} ({product.sku}) {product.stock}&rarr;{left}")
        store.save_product(product.model_copy(update={"stock": left}))
        line.meta.append(store.new_meta("_reduced_stock", str(int(line.quantity))))
    order.stock_reduced = True
    if changes:
        store.add_note(order.id, "Stock levels reduced: " + ", ".join(changes))
