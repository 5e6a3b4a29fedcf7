"""A refund in its stages: what was asked, what will be sent, and what became of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

from app.domain.errors import Fact
from app.domain.order import LineKind, TaxPart

PaymentMode = Literal["gateway", "manual"]
Status = Literal["pending", "sending", "succeeded", "failed", "uncertain", "needs_review", "canceled"]
Money = Literal["moved", "not_moved", "unknown", "outside"]
#: What is known of a refund's payment; `unknown` only for one made by others in a store whose API does not show it.
RecordedPayment = PaymentMode | Literal["unknown"]
#: Which of WooCommerce's APIs a store is spoken to in: wc/v3, or wc-api/v3 of the Legacy REST API plugin.
StoreApi = Literal["v3", "legacy"]
#: `woocommerce`: in its own conventions a line may be of any kind wherever it is named (OF:565), and its parts may be
#: finer than the currency's smallest unit.
Dialect = Literal["gateway", "woocommerce"]
Resolution = Literal["succeeded", "failed", "resend"]
#: What a payment method can do: `missing` is a gateway that is no longer installed; `unknown` when the store won't say.
#: `unprovable`: the store won't say, and its answer to a refund would not tell either whether money moved (wc-api/v3).
GatewayCapability = Literal["refunds", "no_refunds", "missing", "unknown", "unprovable"]

FINAL: frozenset[Status] = frozenset({"succeeded", "failed", "canceled"})


@dataclass(frozen=True, slots=True, kw_only=True)
class TaxRequest:
    """An explicit tax share of a line, for callers whose own books have computed it."""

    rate_id: str
    amount: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemRequest:
    """A product line to refund, named by its line item id or its SKU."""

    line_item_id: str | None = None
    sku: str | None = None
    quantity: int | None = None
    amount: Decimal | None = None  #: gross, for the whole entry; without it the quantity decides
    taxes: tuple[TaxRequest, ...] | None = None  #: only with `amount`; what is left of the amount is net


@dataclass(frozen=True, slots=True, kw_only=True)
class LineRequest:
    """A part of one shipping or fee line to refund."""

    line_id: str
    amount: Decimal | None = None  #: gross; None means all that is left of the line
    taxes: tuple[TaxRequest, ...] | None = None


#: "all" that is left, a gross amount spread over the lines in order, or named lines.
LinesRequest = Literal["all"] | Decimal | tuple[LineRequest, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundCommand:
    """What the caller asks for, parsed but not yet judged. Amounts keep the digits they were written with."""

    store: str
    order_id: str | None = None
    order_number: str | None = None
    external_reference: str | None = None
    amount: Decimal | None = None
    currency: str | None = None
    items: tuple[ItemRequest, ...] = ()
    shipping: LinesRequest | None = None
    fees: LinesRequest | None = None
    remaining: bool = False
    goodwill: Decimal | None = None
    reason: str = ""
    reason_code: str | None = None
    payment: PaymentMode = "gateway"
    restock: bool = False
    metadata: Mapping[str, str] = field(default_factory=dict)
    store_meta: Mapping[str, Any] = field(default_factory=dict)  #: JSON by key, kept with the refund in the store
    expected_refunded_total: Decimal | None = None
    quote_id: str | None = None
    dialect: Dialect = "gateway"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanLine:
    """The part of one order line that will be refunded, in multiples of the smallest unit."""

    line_id: str
    kind: LineKind
    name: str
    sku: str
    quantity: Decimal
    net: Decimal
    taxes: tuple[TaxPart, ...]

    @property
    def tax(self) -> Decimal:
        """Sum the line's tax over its rates."""
        return sum((part.amount for part in self.taxes), Decimal(0))

    @property
    def total(self) -> Decimal:
        """Sum net and tax."""
        return self.net + self.tax


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundPlan:
    """A refund that has passed every check, ready to be reserved and sent.

    `amount` always equals the lines' totals plus `goodwill` plus `unallocated`.
    """

    order_id: str
    order_number: str
    currency: str
    decimals: int
    amount: Decimal
    lines: tuple[PlanLine, ...]
    goodwill: Decimal  #: given on top, taken from no line
    unallocated: Decimal  #: an amount refund's money, and a rounding cent that belongs to no line
    payment: PaymentMode
    restock: bool
    reason: str
    payment_method: str = ""  #: the payment gateway's id
    is_partial: bool = False  #: something of the order was left when it was decided
    store_meta: Mapping[str, Any] = field(default_factory=dict)  #: JSON by key, kept with the refund in the store

    @property
    def tax(self) -> Decimal:
        """Sum the tax of all lines."""
        return sum((line.tax for line in self.lines), Decimal(0))

    @property
    def net(self) -> Decimal:
        """Give what is not tax, goodwill and unallocated money included."""
        return self.amount - self.tax


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a refund did not succeed."""

    code: str
    message: str  #: safe to show; a store's own text is marked as such
    facts: Mapping[str, Fact] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One piece of evidence about an attempt, as a person would want to read it."""

    kind: str  #: e.g. "store_row_unpaid", "gateway_note", "answer_lost"
    text: str
    at: datetime
    facts: Mapping[str, Fact] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class StorePolicy:
    """What a store's owner allows."""

    refundable_statuses: frozenset[str] = frozenset({"processing", "completed", "on-hold", "refunded"})
    manual_refunds_of_unpaid_orders: bool = False  #: pending, cancelled and failed orders, recorded but not paid
    marker_in_reason: bool = True  #: the reason is shown to the customer; without the marker recovery knows less
    on_absence: Literal["review", "resend"] = "review"
    #: Payment methods that the owner vouches for: they refund, whatever the store does or does not say of them.
    refunding_methods: frozenset[str] = frozenset()
