"""What callers get back about refunds: the ledger's records in the wire's words."""

from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.api.values import AmountText, Time, whole
from app.domain.money import plain
from app.domain.order import LineKind, TaxPart
from app.domain.refund import (
    GatewayCapability,
    Money,
    PaymentMode,
    PlanLine,
    RecordedPayment,
    RefundPlan,
    Status,
)
from app.flows.results import Quote
from app.ledger.records import Origin, RefundRecord, Via


class View(BaseModel):
    """A JSON object of an answer."""

    model_config = ConfigDict(frozen=True)


class TaxView(View):
    """A tax rate's share."""

    rate_id: str
    amount: AmountText


class LineView(View):
    """The part of an order line that is refunded."""

    name: str
    quantity: Annotated[float | int, Field(description="0 for shipping, fees and refunds of an amount alone.")]
    net: AmountText
    tax: AmountText
    taxes: list[TaxView]
    total: AmountText


class ItemView(LineView):
    """The part of a product line that is refunded."""

    line_item_id: str
    sku: str


class ShippingLineView(LineView):
    """The part of a shipping line that is refunded."""

    shipping_line_id: str


class FeeLineView(LineView):
    """The part of a fee that is refunded."""

    fee_line_id: str


class BreakdownView(View):
    """Where the money of a refund comes from.

    `net` and `tax` add up to the amount, and so do the lines' totals with `goodwill` and `unallocated`.
    """

    items: list[ItemView]
    shipping: list[ShippingLineView]
    fees: list[FeeLineView]
    goodwill: Annotated[AmountText, Field(description="Given on top, taken from no line.")]
    unallocated: Annotated[AmountText, Field(description="Taken from the order as a whole, without tax of its own.")]
    net: AmountText
    tax: AmountText


class OrderRef(View):
    """Which order of the store it is."""

    id: Annotated[str | None, Field(description="Null until an order named by its number was found.")]
    number: str | None


class FailureView(View):
    """Why a refund did not succeed."""

    code: Annotated[str, Field(examples=["gateway_declined"])]
    message: str
    facts: Annotated[dict[str, Any], Field(description="What a program may want to know, by code.")]


class ObservationView(View):
    """A piece of evidence about an attempt."""

    kind: str
    text: str
    at: Time
    facts: dict[str, Any]


REFUND_EXAMPLE: dict[str, Any] = {
    "id": "rf_01J8ZK5Q3N6T0V9W2X4Y7A8B9C",
    "object": "refund",
    "status": "succeeded",
    "money": "moved",
    "store": "acme-de",
    "order": {"id": "1234", "number": "1234"},
    "amount": "20.00",
    "currency": "EUR",
    "breakdown": {
        "items": [
            {
                "line_item_id": "311",
                "sku": "SKU1",
                "name": "Mug",
                "quantity": 1,
                "net": "16.81",
                "tax": "3.19",
                "taxes": [{"rate_id": "1", "amount": "3.19"}],
                "total": "20.00",
            }
        ],
        "shipping": [],
        "fees": [],
        "goodwill": "0.00",
        "unallocated": "0.00",
        "net": "16.81",
        "tax": "3.19",
    },
    "payment": "gateway",
    "payment_method": "stripe",
    "restock": False,
    "reason": "Customer request",
    "reason_code": "damaged",
    "store_refund_id": "726",
    "external_reference": "CM-2026-00017",
    "metadata": {},
    "origin": "api",
    "via": "v1",
    "deleted_at": None,
    "deleted_by": None,
    "duplicate_of": None,
    "batch_id": None,
    "batch_item": None,
    "failure": None,
    "evidence": [],
    "attempts": 1,
    "created_at": "2026-11-21T10:00:00.000Z",
    "updated_at": "2026-11-21T10:00:01.250Z",
    "settled_at": "2026-11-21T10:00:01.250Z",
}


class RefundView(View):
    """A refund in its present state. `money` tells the truth about the payment, whatever `status` says."""

    model_config = ConfigDict(json_schema_extra={"examples": [REFUND_EXAMPLE]})

    id: str
    object: Literal["refund"] = "refund"
    status: Annotated[
        Status,
        Field(
            description="`succeeded`, `failed` and `canceled` are final. `uncertain`: the store's answer was lost, and "
            "the gateway is finding out. `needs_review`: the evidence cannot settle it; a person has to look."
        ),
    ]
    money: Annotated[
        Money, Field(description="`outside`: a manual refund, which the store only records; you pay it yourself.")
    ]
    store: str
    order: OrderRef
    amount: Annotated[AmountText | None, Field(description="Null until the refund was validated against the order.")]
    currency: Annotated[
        str | None,
        Field(
            description="Null until validated against the order; of a refund that others made, until the order was "
            "read. `amount` is then written with two digits behind the dot, or more where it is finer."
        ),
    ]
    breakdown: Annotated[
        BreakdownView | None,
        Field(description="Null until validated against the order, and for refunds that others made."),
    ]
    payment: Annotated[
        RecordedPayment,
        Field(description="`unknown` only for refunds that others made in a store whose API does not show it."),
    ]
    payment_method: Annotated[
        str | None, Field(description="The id of the order's payment gateway, once the order was read.")
    ]
    restock: bool
    reason: str
    reason_code: str | None
    store_refund_id: str | None
    external_reference: str | None
    metadata: dict[str, str]
    origin: Annotated[
        Origin,
        Field(description="`api`: asked of the gateway. `store`: made by others, in the store's admin or past us."),
    ]
    via: Annotated[
        Via,
        Field(description="`v1`: this API; `front`: the one for WooCommerce's clients; `seen`: found in a store."),
    ]
    deleted_at: Annotated[
        Time | None,
        Field(description="When its row in the store was deleted, or found to be gone. No money comes back by that."),
    ]
    deleted_by: Annotated[
        str | None, Field(description="Who deleted it: `key:<id>`, or `store` when that was done past the gateway.")
    ]
    duplicate_of: Annotated[
        str | None, Field(description="The refund of ours that this one, seen before it was known as ours, is.")
    ]
    batch_id: Annotated[str | None, Field(description="The batch that it was made for.")]
    batch_item: Annotated[int | None, Field(description="The number of its item in that batch.")]
    failure: FailureView | None
    evidence: list[ObservationView]
    attempts: int
    created_at: Time
    updated_at: Time
    settled_at: Time | None


class RefundList(View):
    """A page of refunds, newest first."""

    data: list[RefundView]
    next_cursor: Annotated[str | None, Field(description="Send it as `after` for the next page; null on the last.")]


class RefundableView(View):
    """What the order as a whole can still bear, before this refund and after it."""

    before: AmountText
    after: AmountText


class PreviewView(View):
    """What a refund would be. `quote_id` binds a refund to it while the order stays as it is."""

    object: Literal["preview"] = "preview"
    quote_id: str
    expires_at: Time
    store: str
    order: OrderRef
    amount: AmountText
    currency: str
    payment: PaymentMode
    breakdown: BreakdownView
    refundable: RefundableView
    capability: Annotated[GatewayCapability, Field(description="What the order's payment method can do.")]
    warnings: list[str]


#: WooCommerce's own default, for refunds of orders that were never read.
_DECIMALS = 2


def refund_view(record: RefundRecord) -> RefundView:
    """Show a refund."""
    plan, failure = record.plan, record.failure
    return RefundView(
        id=record.id,
        status=record.status,
        money=record.money,
        store=record.store,
        order=OrderRef(id=record.order_id, number=record.order_number),
        amount=None if record.amount is None else plain(record.amount, decimals_of(record)),
        currency=record.currency,
        breakdown=None if plan is None else breakdown_view(plan),
        payment=record.payment,
        payment_method=record.payment_method,
        restock=record.restock,
        reason=record.reason,
        reason_code=record.reason_code,
        store_refund_id=record.store_refund_id,
        external_reference=record.external_reference,
        metadata=dict(record.metadata),
        origin=record.origin,
        via=record.via,
        deleted_at=record.deleted_at,
        deleted_by=record.deleted_by,
        duplicate_of=record.duplicate_of,
        batch_id=record.batch_id,
        batch_item=record.batch_item,
        failure=None
        if failure is None
        else FailureView(code=failure.code, message=failure.message, facts=dict(failure.facts)),
        evidence=[
            ObservationView(kind=seen.kind, text=seen.text, at=seen.at, facts=dict(seen.facts))
            for seen in record.evidence
        ],
        attempts=record.attempts,
        created_at=record.created_at,
        updated_at=record.updated_at,
        settled_at=record.settled_at,
    )


def decimals_of(record: RefundRecord) -> int:
    """Say how many digits a refund's amounts are written with."""
    return _DECIMALS if record.decimals is None else record.decimals


def breakdown_view(plan: RefundPlan) -> BreakdownView:
    """Show a plan's parts, with the order's decimals."""

    def of_kind(kind: LineKind) -> Iterator[tuple[PlanLine, dict[str, Any]]]:
        return ((line, _line(line, plan.decimals)) for line in plan.lines if line.kind == kind)

    return BreakdownView(
        items=[ItemView(**parts, line_item_id=line.line_id, sku=line.sku) for line, parts in of_kind("item")],
        shipping=[ShippingLineView(**parts, shipping_line_id=line.line_id) for line, parts in of_kind("shipping")],
        fees=[FeeLineView(**parts, fee_line_id=line.line_id) for line, parts in of_kind("fee")],
        goodwill=plain(plan.goodwill, plan.decimals),
        unallocated=plain(plan.unallocated, plan.decimals),
        net=plain(plan.net, plan.decimals),
        tax=plain(plan.tax, plan.decimals),
    )


def _line(line: PlanLine, decimals: int) -> dict[str, Any]:
    return {
        "name": line.name,
        "quantity": whole(line.quantity),
        "net": plain(line.net, decimals),
        "tax": plain(line.tax, decimals),
        "taxes": taxes_view(line.taxes, decimals),
        "total": plain(line.total, decimals),
    }


def taxes_view(taxes: Iterable[TaxPart], decimals: int) -> list[TaxView]:
    """Show tax by rate."""
    return [TaxView(rate_id=part.rate_id, amount=plain(part.amount, decimals)) for part in taxes]


def preview_view(store: str, quote: Quote) -> PreviewView:
    """Show a quote."""
    plan = quote.plan
    return PreviewView(
        quote_id=quote.id,
        expires_at=quote.expires_at,
        store=store,
        order=OrderRef(id=plan.order_id, number=plan.order_number),
        amount=plain(plan.amount, plan.decimals),
        currency=plan.currency,
        payment=plan.payment,
        breakdown=breakdown_view(plan),
        refundable=RefundableView(
            before=plain(quote.refundable_before, plan.decimals), after=plain(quote.refundable_after, plan.decimals)
        ),
        capability=quote.capability,
        warnings=list(quote.warnings),
    )
