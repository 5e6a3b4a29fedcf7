"""What callers get back about orders, live, with what is left of them."""

from typing import Annotated, Any, Literal

from pydantic import Field

from app.api.store_refund_views import StoreRefundView, store_refund_view
from app.api.values import AmountText, Time, whole
from app.api.views import TaxView, View, taxes_view
from app.domain.money import plain, round_half_up
from app.domain.refund import GatewayCapability
from app.domain.remaining import RemainingLine
from app.flows.results import OrderView


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
