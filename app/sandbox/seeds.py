"""The orders a new sandbox starts with, and orders made to measure for tests."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal

from pydantic import BaseModel, Field, JsonValue

from app.sandbox import refund_rows
from app.sandbox.model import Coupon, Fee, Order, Shipping, TaxRate
from app.sandbox.orders import finish_order, new_order, priced_line, settle_status
from app.sandbox.store import Store


class WantedLine(BaseModel):
    """A product line; the price is of one, with tax if the order's prices include it."""

    name: str = "Album"
    sku: str = "SKU0"
    quantity: Decimal = Decimal(1)
    price: Decimal = Decimal("9.00")
    product_id: int = 0


class WantedRate(BaseModel):
    name: str = "VAT"
    percent: Decimal = Decimal(19)
    compound: bool = False
    shipping: bool = True


class WantedCharge(BaseModel):
    """A shipping line or fee by its net total."""

    name: str
    total: Decimal
    taxable: bool = True


class WantedOrder(BaseModel):
    """What an order should be like; without lines it has two albums."""

    payment_method: str = "sandboxpay"
    currency: str | None = None
    lines: Sequence[WantedLine] = (WantedLine(quantity=Decimal(2)),)
    #: The order's own rates; None stands for the shop's.
    tax_rates: Sequence[WantedRate] | None = None
    shipping: Decimal | Sequence[WantedCharge] = ()
    fees: Sequence[WantedCharge] = ()
    coupon_percent: Decimal | None = Field(None, gt=0, le=100)
    prices_include_tax: bool | None = None
    set_paid: bool = True
    status: str | None = None
    description: str = ""
    #: A registered customer's id and the e-mail of the order.
    customer_id: int = 0
    email: str = "ada@example.com"
    meta: Mapping[str, JsonValue] = {}
    #: When all that happened, instead of now; UTC.
    created: datetime | None = None
    paid: datetime | None = None
    completed: datetime | None = None
    count: int = Field(1, ge=1, le=10_000)


def make(store: Store, wanted: WantedOrder) -> list[Order]:
    """Save as many orders as wanted, alike but for their ids."""
    with store.transaction():
        return [_make_one(store, wanted) for _ in range(wanted.count)]


def plant(store: Store) -> None:
    """Save the example orders, always the same with the same ids."""
    album = WantedLine(name="Album", sku="SKU0", quantity=Decimal(3), price=Decimal("9.00"), product_id=10)
    shirt = WantedLine(name="Shirt", sku="SKU1", quantity=Decimal(2), price=Decimal("19.99"), product_id=11)
    both, gift = (album, shirt), (WantedCharge(name="Gift wrapping", total=Decimal("2.50")),)
    canadian = (
        WantedRate(name="GST", percent=Decimal(5)),
        WantedRate(name="QST", percent=Decimal("9.975"), compound=True),
        WantedRate(name="ECO", percent=Decimal("1.5"), shipping=False),
    )
    examples = (
        WantedOrder(description="Taxes exclusive, 19 %", lines=both),
        WantedOrder(
            description="Taxes inclusive, 20 %",
            lines=both,
            prices_include_tax=True,
            tax_rates=[WantedRate(percent=Decimal(20))],
        ),
        WantedOrder(description="Shipping and a fee", lines=both, shipping=Decimal("5.00"), fees=gift),
        WantedOrder(description="A coupon of 10 %", lines=both, shipping=Decimal("4.95"), coupon_percent=Decimal(10)),
        WantedOrder(
            description="Japanese yen",
            currency="JPY",
            lines=[album.model_copy(update={"price": Decimal(900)})],
            tax_rates=[WantedRate(name="JCT", percent=Decimal(10))],
        ),
        WantedOrder(description="Cash on delivery: no refunds by gateway", payment_method="cod", lines=both),
        WantedOrder(description="Never paid", set_paid=False, lines=both),
        WantedOrder(description="Partly refunded already", lines=both, shipping=Decimal("5.00")),
        WantedOrder(description="Several tax rates, one compound", lines=both, tax_rates=canadian),
    )
    with store.transaction():
        for example in examples:
            order = make(store, example)[0]
            if example.description.startswith("Partly"):
                line = order.lines[0]
                refund_rows.make_manual(
                    store,
                    order.id,
                    amount=Decimal("10.71"),
                    reason="One album scratched",
                    lines={
                        line.id: {
                            "qty": 1,
                            "refund_total": "9.00",
                            "refund_tax": {str(line.taxes[0].rate_id): "1.71"},
                        }
                    },
                )


def _make_one(store: Store, wanted: WantedOrder) -> Order:
    settings = store.settings()
    rates = known_rates(store, wanted.tax_rates)
    order = new_order(store, currency=wanted.currency or settings.currency, payment_method=wanted.payment_method)
    order.description = wanted.description
    order.billing = {"first_name": "Ada", "last_name": "Byron", "country": "DE", "email": wanted.email}
    order.customer_id = wanted.customer_id
    order.meta = [store.new_meta(key, value) for key, value in wanted.meta.items()]
    order.created = _shop_time(wanted.created) or order.created
    if wanted.prices_include_tax is not None:
        order.prices_include_tax = wanted.prices_include_tax
    order.lines = [
        priced_line(
            store,
            order,
            rates,
            name=line.name,
            sku=line.sku,
            product_id=line.product_id,
            quantity=line.quantity,
            price=line.price,
        )
        for line in wanted.lines
    ]
    parcels = wanted.shipping
    if isinstance(parcels, Decimal):
        parcels = [WantedCharge(name="Flat rate", total=parcels)]
    for parcel in parcels:
        order.shipping_lines.append(
            Shipping(id=store.item_id(), method_title=parcel.name, method_id="flat_rate", total=parcel.total)
        )
    for fee in wanted.fees:
        status = "taxable" if fee.taxable else "none"
        order.fees.append(Fee(id=store.item_id(), name=fee.name, total=fee.total, tax_status=status))
    finish_order(store, order, rates, _coupons(store, wanted.coupon_percent))
    store.save_order(order)
    settle_status(store, order, status=wanted.status, set_paid=wanted.set_paid)
    order.paid, order.completed = _shop_time(wanted.paid) or order.paid, _shop_time(wanted.completed) or order.completed
    if wanted.created is not None:
        order.modified = max(at for at in (order.created, order.paid, order.completed) if at is not None)
    store.save_order(order)
    return order


def _shop_time(at: datetime | None) -> datetime | None:
    """Write a time as the shop keeps it: UTC, to the second, without a zone."""
    if at is None or at.tzinfo is None:
        return at
    return at.astimezone(UTC).replace(microsecond=0, tzinfo=None)


def known_rates(store: Store, wanted: Sequence[WantedRate] | None) -> list[TaxRate]:
    """Return the shop's rates, or those wanted, made known to the shop once each."""
    known = store.tax_rates()
    if wanted is None:
        return [rate for rate in known if rate.id in store.settings().tax_rate_ids]
    rates = []
    for priority, one in enumerate(wanted, start=1):
        fresh = TaxRate(id=len(known) + 1, priority=priority, **one.model_dump())
        same = [rate for rate in known if rate.model_copy(update={"id": fresh.id}) == fresh]
        if not same:
            store.save_tax_rate(fresh)
            known.append(fresh)
        rates.append(same[0] if same else fresh)
    return rates


def _coupons(store: Store, percent: Decimal | None) -> list[Coupon]:
    if percent is None:
        return []
    code = f"off{percent}"
    coupon = store.coupon(code)
    if coupon is None:
        coupon = Coupon(
            id=store.next_id("post"), code=code, discount_type="percent", amount=percent, created=store.now()
        )
        store.save_coupon(coupon)
    return [coupon]
