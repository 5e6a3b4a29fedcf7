"""Schedules: which orders a run looks for, what it asks for of each, and what it leaves out, with the reason."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Literal, assert_never
from zoneinfo import ZoneInfo

from app.domain.money import ZERO, round_half_up
from app.domain.order import OrderSnapshot
from app.domain.order_query import OrderQuery, OrderSummary
from app.domain.refund import ItemRequest, PaymentMode, RefundCommand

ScheduleKind = Literal["refunds", "reconciliation"]
#: What becomes of times that passed while nothing was running: none is made up for, the last one is, or each is.
MissedRuns = Literal["skip", "last", "all"]
#: Whether the batch of a run begins by itself or waits for its release.
BatchStart = Literal["run", "hold"]
RunStatus = Literal["due", "selecting", "finished", "failed", "skipped"]
RefundState = Literal["none", "partly"]
#: Why an order that the store listed does not fit the selector.
Mismatch = Literal[
    "created",
    "paid",
    "completed",
    "modified",
    "payment_method",
    "currency",
    "total",
    "sku",
    "meta",
    "customer",
    "refunded",
]
#: Orders at most in one run.
MAX_ORDERS = 10_000
DEFAULT_MAX_ORDERS = 500
#: The longest time a window may reach back.
LONGEST = timedelta(days=3_660)

_DURATION = re.compile(
    r"P(?=.)(?:(?P<weeks>[0-9]{1,4})W)?(?:(?P<days>[0-9]{1,5})D)?(?:T(?=.)(?:(?P<hours>[0-9]{1,6})H)?)?", re.ASCII
)
_SHORT = re.compile(r"(?:(?P<weeks>[0-9]{1,4})w|(?P<days>[0-9]{1,5})d|(?P<hours>[0-9]{1,6})h)", re.ASCII)


class MalformedDuration(ValueError):
    """The text is no length of time in days or hours."""


def parse_duration(text: str) -> timedelta:
    """Read a length of time: "P14D", "PT12H", "P1DT6H", "P2W", "14d", "12h" or "2w". Raises MalformedDuration."""
    found = _DURATION.fullmatch(text) or _SHORT.fullmatch(text)
    if found is None:
        raise MalformedDuration(text)
    parts = {name: int(digits) for name, digits in found.groupdict().items() if digits is not None}
    length = timedelta(weeks=parts.get("weeks", 0), days=parts.get("days", 0), hours=parts.get("hours", 0))
    if length > LONGEST:
        raise MalformedDuration(text)
    return length


def format_duration(length: timedelta) -> str:
    """Write a length of time of whole hours by ISO 8601, in days and hours."""
    hours = length.seconds // 3600
    days = f"{length.days}D" if length.days or not hours else ""
    return f"P{days}" + (f"T{hours}H" if hours else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A stretch of time before a run: from `newer_than` ago, which is in it, until `older_than` ago, which is not."""

    older_than: timedelta | None = None
    newer_than: timedelta | None = None

    def since(self, at: datetime) -> datetime | None:
        """Give its beginning for a run at `at`."""
        return None if self.newer_than is None else at - self.newer_than

    def until(self, at: datetime) -> datetime | None:
        """Give its end for a run at `at`, exclusive."""
        return None if self.older_than is None else at - self.older_than

    @property
    def is_empty(self) -> bool:
        """Say that no time is in it, whenever it is looked at."""
        return self.older_than is not None and self.newer_than is not None and self.older_than >= self.newer_than

    def holds(self, moment: datetime | None, at: datetime) -> bool:
        """Say whether something happened in it; what never happened did not."""
        since, until = self.since(at), self.until(at)
        return moment is not None and (since is None or moment >= since) and (until is None or moment < until)


@dataclass(frozen=True, slots=True, kw_only=True)
class MetaTest:
    """An order has meta data under this key, with this value if one is given."""

    key: str
    value: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Selector:
    """Which orders of a store a schedule refunds; every test that is given has to hold."""

    statuses: tuple[str, ...] = ()
    created: Window | None = None
    paid: Window | None = None
    completed: Window | None = None
    modified: Window | None = None
    payment_methods: tuple[str, ...] = ()
    currency: str | None = None
    min_total: Decimal | None = None
    max_total: Decimal | None = None
    skus: tuple[str, ...] = ()  #: at least one of them is in the order
    meta: tuple[MetaTest, ...] = ()
    customer_id: str | None = None
    customer_email: str | None = field(default=None, repr=False)  #: personal data
    refunded: RefundState | None = None

    def query(self, at: datetime) -> OrderQuery:
        """Say what a store is asked for by a run at `at`.

        Stores do not filter by payment, but paying and completing modify an order: one that was paid within a window
        was modified since its beginning.
        """
        since = [
            begin
            for window in (self.modified, self.paid, self.completed)
            if window is not None and (begin := window.since(at)) is not None
        ]
        return OrderQuery(
            statuses=self.statuses,
            created_from=None if self.created is None else self.created.since(at),
            created_to=None if self.created is None else self.created.until(at),
            modified_from=max(since, default=None),
            modified_to=None if self.modified is None else self.modified.until(at),
            customer_id=self.customer_id,
        )

    def mismatch(self, order: OrderSummary, at: datetime) -> Mismatch | None:
        """Say which test an order fails, as far as a list shows it; None when none does."""
        windows: tuple[tuple[Mismatch, Window | None, datetime | None], ...] = (
            ("created", self.created, order.created_at),
            ("paid", self.paid, order.paid_at),
            ("completed", self.completed, order.completed_at),
            ("modified", self.modified, order.modified_at),
        )
        for name, window, moment in windows:
            if window is not None and not window.holds(moment, at):
                return name
        if self.payment_methods and order.payment_method not in self.payment_methods:
            return "payment_method"
        if self.currency is not None and order.currency.upper() != self.currency.upper():
            return "currency"
        if (self.min_total is not None and order.total < self.min_total) or (
            self.max_total is not None and order.total > self.max_total
        ):
            return "total"
        if self.skus and order.skus.isdisjoint(self.skus):
            return "sku"
        if not all(_has(order.meta, test) for test in self.meta):
            return "meta"
        if self.customer_email is not None and _folded(order.customer_email) != _folded(self.customer_email):
            return "customer"
        if order.refunded is not None and not self.admits_refunded(order.refunded, order.total):
            return "refunded"
        return None

    def admits_refunded(self, refunded: Decimal, total: Decimal) -> bool:
        """Say whether so much may have been refunded of an order."""
        match self.refunded:
            case None:
                return True
            case "none":
                return refunded == 0
            case "partly":
                return 0 < refunded < total
            case _:
                assert_never(self.refunded)


def _has(meta: Mapping[str, tuple[str, ...]], test: MetaTest) -> bool:
    values = meta.get(test.key, ())
    return bool(values) if test.value is None else test.value in values


def _folded(email: str) -> str:
    return email.strip().casefold()


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundRemaining:
    """Refund everything that is left of the order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundShipping:
    """Refund all that is left of the order's shipping."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundPercentage:
    """Refund a share of the order's total."""

    percentage: Decimal  #: above 0, at most 100


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundAmount:
    """Refund the same amount of every order; orders in other currencies are left out."""

    amount: Decimal
    currency: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundLines:
    """Refund units of products; orders that do not have them are left out."""

    lines: tuple[tuple[str, int], ...]  #: SKU and quantity


Action = RefundRemaining | RefundShipping | RefundPercentage | RefundAmount | RefundLines


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """In which words and how a schedule's refunds are made."""

    reason: str = ""
    reason_code: str | None = None
    payment: PaymentMode = "gateway"
    restock: bool = False
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundsPlan:
    """What a schedule of refunds does each time."""

    selector: Selector
    action: Action
    terms: Terms = field(default_factory=Terms)
    mode: BatchStart = "hold"
    max_orders: int = DEFAULT_MAX_ORDERS
    max_total: Mapping[str, Decimal] = field(default_factory=dict)  #: of one run, by currency


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconciliationPlan:
    """What a schedule of reconciliations does each time: compare the whole days before its day."""

    window_days: int = 1

    def range(self, at: datetime, zone: ZoneInfo) -> tuple[datetime, datetime]:
        """Give the days of a run at `at`, from midnight to midnight in the schedule's time zone."""
        today = at.astimezone(zone).date()
        return _midnight(today - timedelta(days=self.window_days), zone), _midnight(today, zone)


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time(), tzinfo=zone)


Plan = RefundsPlan | ReconciliationPlan


def command_of(
    plan: RefundsPlan, order: OrderSnapshot, *, schedule_id: str, store: str, earlier: int = 0
) -> RefundCommand:
    """Say what a run asks for of an order. `earlier` counts references of this schedule that the order has used up."""
    action = plan.action
    asked = RefundCommand(
        store=store,
        order_id=order.id,
        external_reference=reference_of(schedule_id, order.id, earlier=earlier),
        reason=plan.terms.reason,
        reason_code=plan.terms.reason_code,
        payment=plan.terms.payment,
        restock=plan.terms.restock,
        metadata=plan.terms.metadata,
    )
    match action:
        case RefundRemaining():
            return replace(asked, remaining=True)
        case RefundShipping():
            return replace(asked, shipping="all")
        case RefundPercentage():
            share = round_half_up(order.total * action.percentage / 100, order.decimals)
            return replace(asked, amount=share, currency=order.currency)
        case RefundAmount():
            return replace(asked, amount=action.amount, currency=action.currency)
        case RefundLines():
            return replace(
                asked, items=tuple(ItemRequest(sku=sku, quantity=quantity) for sku, quantity in action.lines)
            )
        case _:
            assert_never(action)


def reference_of(schedule_id: str, order_id: str, *, earlier: int = 0) -> str:
    """Give the external reference of a schedule's refund of an order, always the same."""
    return f"{schedule_id}:{order_id}" + (f":{earlier + 1}" if earlier else "")


def refunded_of(order: OrderSnapshot) -> Decimal:
    """Sum what the store shows as refunded of an order."""
    return sum((refund.amount for refund in order.refunds), ZERO)


def over_limit(limits: Mapping[str, Decimal], totals: Mapping[str, Decimal], currency: str, amount: Decimal) -> bool:
    """Say whether another refund of that amount would be more than a run may ask for in its currency.

    Where there are limits, nothing may be asked for in a currency without one: the run's batch would stop at it.
    """
    return bool(limits) and totals.get(currency.upper(), ZERO) + amount > limits.get(currency.upper(), ZERO)
