"""What callers get back about stores and their orders, live."""

from typing import Annotated, Any, Literal

from pydantic import Field

from app.api.values import AmountText, Time, whole
from app.api.views import TaxView, View, taxes_view
from app.domain.money import plain, round_half_up
from app.domain.order import StoreRefund
from app.domain.refund import GatewayCapability
from app.domain.remaining import RemainingLine
from app.flows.results import OrderView
from app.ledger.tenants import StoreApi, StoreAuth, StoreRow
from app.stores.port import Check, HealthReport, PaymentMethod


class PaymentMethodRef(View):
    """The payment method of an order, and what it can do."""

    id: Annotated[str, Field(description="The payment gateway's id; empty when the order names none.")]
    title: str
    capability: GatewayCapability


class RateView(View):
    """A tax rate that the order was charged with."""

    rate_id: str
    label: str
    percent: Annotated[str | None, Field(examples=["19"])]
    compound: bool


class RefundablePart(View):
    """What is left of a line, in the currency's smallest unit, as it would be refunded in one go."""

    quantity: float | int
    net: AmountText
    tax: AmountText
    taxes: list[TaxView]
    total: AmountText


class OrderLineView(View):
    """A line as it was ordered, and what is left of it."""

    name: str
    quantity: float | int
    total: Annotated[AmountText, Field(description="Gross, after discounts; negative for a discount sold as a fee.")]
    refundable: RefundablePart


class OrderItemView(OrderLineView):
    """A product line as it was ordered, and what is left of it."""

    line_item_id: str
    sku: str


class OrderShippingView(OrderLineView):
    """A shipping line as it was ordered, and what is left of it."""

    shipping_line_id: str


class OrderFeeView(OrderLineView):
    """A fee as it was ordered, and what is left of it."""

    fee_line_id: str


class StoreRefundLine(View):
    """What a refund of the store took from an order line."""

    line_id: str
    quantity: float | int
    net: AmountText
    taxes: list[TaxView]


class StoreRefundView(View):
    """A refund as the store shows it. A row is no proof of money: see `refunded_payment`."""

    id: str
    object: Literal["store_refund"] = "store_refund"
    order_id: str
    amount: AmountText
    reason: str
    refunded_payment: Annotated[
        bool | None, Field(description="True only after the payment gateway paid; null when the store does not say.")
    ]
    lines: list[StoreRefundLine]
    refund_id: Annotated[str | None, Field(description="Our refund, if it was made through the gateway.")]
    created_at: Time | None


class StoreRefundList(View):
    """All refunds of an order, as the store shows them."""

    data: list[StoreRefundView]
    next_cursor: Annotated[None, Field(description="Always null: the store gives all of them.")] = None


class StoreOrderView(View):
    """An order as it is in the store now, and what is still refundable of it."""

    id: str
    object: Literal["order"] = "order"
    store: str
    number: str
    status: str
    currency: str
    decimals: Annotated[int, Field(description="Digits behind the dot that amounts of this order may have.")]
    total: AmountText
    refunded_total: Annotated[AmountText, Field(description="By the store's own refunds.")]
    held_total: Annotated[AmountText, Field(description="By refunds of ours that the store does not show yet.")]
    refundable_total: Annotated[AmountText, Field(description="The most that any refund may come to.")]
    prices_include_tax: bool
    payment_method: PaymentMethodRef
    blocked_by: Annotated[
        str | None, Field(description="A refund whose outcome is not known; until it is, the order takes no other.")
    ]
    tax_rates: list[RateView]
    items: list[OrderItemView]
    shipping: list[OrderShippingView]
    fees: list[OrderFeeView]
    refunds: list[StoreRefundView]
    created_at: Time | None
    modified_at: Time | None
    paid_at: Time | None


class PolicyView(View):
    """What the store's owner allows."""

    refundable_statuses: list[str]
    manual_refunds_of_unpaid_orders: bool
    marker_in_reason: bool
    on_absence: Literal["review", "resend"]


class StoreView(View):
    """A store of the tenant; credentials are never shown."""

    name: str
    object: Literal["store"] = "store"
    url: str
    api: StoreApi
    auth: StoreAuth
    policy: PolicyView
    created_at: Time
    disabled_at: Time | None


class StoreList(View):
    """All stores that the key may use."""

    data: list[StoreView]
    next_cursor: Annotated[None, Field(description="Always null: the list is whole.")] = None


class CheckView(View):
    """One thing that was looked at; `ok` is null when it could not be found out."""

    name: str
    ok: bool | None
    detail: str
    remedy: str | None


class HealthView(View):
    """The result of looking a store over, without writing to it."""

    object: Literal["store_health"] = "store_health"
    store: str
    ok: bool
    checks: list[CheckView]
    woocommerce_version: str | None
    currency: str | None
    decimals: int | None
    hpos: Annotated[str | None, Field(description='High-performance order storage: "on", "on, synchronised", "off".')]
    clock_skew_s: Annotated[float | None, Field(description="The store's clock minus ours, in seconds.")]
    apis: list[str]
    facts: dict[str, str]


class PaymentMethodView(View):
    """A payment gateway of the store; a disabled one can still refund."""

    id: str
    title: str
    enabled: bool
    capability: GatewayCapability


class CapabilitiesView(View):
    """What each payment method of the store can do, and which APIs the store has."""

    object: Literal["store_capabilities"] = "store_capabilities"
    store: str
    payment_methods: list[PaymentMethodView]
    apis: list[str]


def store_order_view(store: str, view: OrderView) -> StoreOrderView:
    """Show an order with what is left of it."""
    order, left = view.order, view.remaining
    decimals = order.decimals
    return StoreOrderView(
        id=order.id,
        store=store,
        number=order.number,
        status=order.status,
        currency=order.currency,
        decimals=decimals,
        total=plain(order.total, decimals),
        refunded_total=plain(left.refunded_total, decimals),
        held_total=plain(left.held_total, decimals),
        refundable_total=plain(left.total, decimals),
        prices_include_tax=order.prices_include_tax,
        payment_method=PaymentMethodRef(
            id=order.payment_method, title=order.payment_method_title, capability=view.capability
        ),
        blocked_by=view.blocked_by,
        tax_rates=[
            RateView(
                rate_id=rate.rate_id,
                label=rate.label,
                percent=None if rate.percent is None else plain(rate.percent, 0),
                compound=rate.compound,
            )
            for rate in order.tax_rates
        ],
        items=[
            OrderItemView(**_line(item), line_item_id=item.line.id, sku=item.line.sku) for item in left.of_kind("item")
        ],
        shipping=[OrderShippingView(**_line(line), shipping_line_id=line.line.id) for line in left.of_kind("shipping")],
        fees=[OrderFeeView(**_line(fee), fee_line_id=fee.line.id) for fee in left.of_kind("fee")],
        refunds=[store_refund_view(order.id, refund, view.ours.get(refund.id), decimals) for refund in order.refunds],
        created_at=order.created_at,
        modified_at=order.modified_at,
        paid_at=order.paid_at,
    )


def _line(left: RemainingLine) -> dict[str, Any]:
    return {
        "name": left.line.name,
        "quantity": whole(left.line.quantity),
        "total": _ordered(left),
        "refundable": _refundable(left),
    }


def _ordered(left: RemainingLine) -> str:
    gross = sum((part.amount for part in left.line.taxes), left.line.net)
    return plain(round_half_up(gross, left.decimals), left.decimals)


def _refundable(left: RemainingLine) -> RefundablePart:
    parts = left.cents
    return RefundablePart(
        quantity=whole(left.quantity),
        net=plain(parts.net, left.decimals),
        tax=plain(parts.total - parts.net, left.decimals),
        taxes=taxes_view(parts.taxes, left.decimals),
        total=plain(parts.total, left.decimals),
    )


def store_refund_view(order_id: str, refund: StoreRefund, ours: str | None, decimals: int) -> StoreRefundView:
    """Show a refund of the store; amounts finer than the smallest unit are shown as they are."""
    return StoreRefundView(
        id=refund.id,
        order_id=order_id,
        amount=plain(refund.amount, decimals),
        reason=refund.reason,
        refunded_payment=refund.refunded_payment,
        lines=[
            StoreRefundLine(
                line_id=line.item_id,
                quantity=whole(line.quantity),
                net=plain(line.net, decimals),
                taxes=taxes_view(line.taxes, decimals),
            )
            for line in refund.lines
        ],
        refund_id=ours,
        created_at=refund.created_at,
    )


def store_view(row: StoreRow) -> StoreView:
    """Show a store without its credentials."""
    policy = row.policy
    return StoreView(
        name=row.name,
        url=row.url,
        api=row.api,
        auth=row.auth,
        policy=PolicyView(
            refundable_statuses=sorted(policy.refundable_statuses),
            manual_refunds_of_unpaid_orders=policy.manual_refunds_of_unpaid_orders,
            marker_in_reason=policy.marker_in_reason,
            on_absence=policy.on_absence,
        ),
        created_at=row.created_at,
        disabled_at=row.disabled_at,
    )


def health_view(store: str, report: HealthReport) -> HealthView:
    """Show what looking a store over found."""
    return HealthView(
        store=store,
        ok=report.ok,
        checks=[_check(check) for check in report.checks],
        woocommerce_version=report.woocommerce_version,
        currency=report.currency,
        decimals=report.decimals,
        hpos=report.hpos,
        clock_skew_s=report.clock_skew_s,
        apis=list(report.apis),
        facts=dict(report.facts),
    )


def _check(check: Check) -> CheckView:
    return CheckView(name=check.name, ok=check.ok, detail=check.detail, remedy=check.remedy)


def capabilities_view(store: str, report: HealthReport) -> CapabilitiesView:
    """Show what a store's payment methods can do."""
    return CapabilitiesView(
        store=store,
        payment_methods=[_method(method) for method in report.payment_methods],
        apis=list(report.apis),
    )


def _method(method: PaymentMethod) -> PaymentMethodView:
    return PaymentMethodView(id=method.id, title=method.title, enabled=method.enabled, capability=method.capability)
