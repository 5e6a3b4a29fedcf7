"""A store that answers what a test tells it to: for answers that no real store can be made to give on demand."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from app.domain.order import OrderLine, OrderNote, OrderSnapshot, StoreRefund, TaxPart, TaxRate
from app.domain.order_query import OrderPage, OrderQuery, OrderSummary
from app.domain.refund import GatewayCapability, RefundPlan, StoreApi, StorePolicy
from app.domain.refund_query import RefundQuery
from app.flows.runtime import Runtime
from app.stores.port import (
    Deletion,
    Exchange,
    Features,
    HealthReport,
    ListedRefund,
    NotSent,
    Priority,
    RawAnswer,
    Refunded,
    RefundPage,
    Store,
    StoreAnswer,
    StoreError,
    Streamed,
    Update,
)

EXCHANGE = Exchange(duration_ms=1.0)
UNREACHABLE = NotSent(message="The store cannot be reached.", retry_after_s=0.01, exchange=EXCHANGE)


def order(total: str = "32.13", **fields: Any) -> OrderSnapshot:
    """Give a paid order of three albums at 9.00 plus 19 %."""
    now = datetime.fromisoformat("2026-11-21T12:00:00+00:00")
    snapshot = OrderSnapshot(
        id="12",
        number="DE-12",
        status="processing",
        currency="EUR",
        decimals=2,
        total=Decimal(total),
        prices_include_tax=False,
        created_at=now,
        modified_at=now,
        paid_at=now,
        payment_method="pay",
        payment_method_title="Pay",
        lines=(
            OrderLine(
                id="311",
                kind="item",
                name="Album",
                sku="SKU0",
                quantity=Decimal(3),
                net=Decimal("27.00"),
                taxes=(TaxPart(rate_id="1", amount=Decimal("5.13")),),
            ),
        ),
        tax_rates=(TaxRate(rate_id="1", label="VAT", percent=Decimal(19), compound=False),),
        refunds=(),
        read_at=now,
    )
    return replace(snapshot, **fields)


def row(refund_id: str, amount: str = "5.00", **fields: Any) -> StoreRefund:
    """Give a row that somebody made in the store's admin, without the payment gateway."""
    refund = StoreRefund(
        id=refund_id,
        amount=Decimal(amount),
        reason="by hand",
        refunded_payment=False,
        created_at=datetime.fromisoformat("2026-11-20T12:00:00+00:00"),
        reference=None,
        lines=(),
    )
    return replace(refund, **fields)


def _listed(refund: StoreRefund) -> ListedRefund:
    return ListedRefund(order_id="12", refund=refund, document={"id": int(refund.id), "parent_id": 12})


@dataclass(slots=True)
class ScriptedStore:
    """Gives its answers one after the other, and the last one for ever; a callable is asked when its turn comes."""

    answers: list[StoreAnswer | Callable[[RefundPlan], Awaitable[StoreAnswer]]] = field(default_factory=list)
    order: OrderSnapshot = field(default_factory=order)
    notes: Sequence[OrderNote] = ()
    numbers: tuple[str, ...] = ("12",)
    capability: GatewayCapability = "refunds"
    reading_fails: StoreError | None = None
    sent: list[str] = field(default_factory=list)
    api: StoreApi = "v3"
    deletion: Deletion = "deleted"
    update: Update = "unsupported"
    reasons: list[str] = field(default_factory=list)
    orders: Sequence[OrderSummary] = ()

    async def read_order(
        self, order_id: str, *, read_at: datetime, priority: Priority = "interactive", verify: bool = False
    ) -> OrderSnapshot:
        if self.reading_fails is not None:
            raise self.reading_fails
        return replace(self.order, read_at=read_at)

    async def find_order(self, order_number: str, *, priority: Priority = "interactive") -> tuple[str, ...]:
        return self.numbers

    async def payment_capability(self, payment_method: str, *, priority: Priority = "interactive") -> GatewayCapability:
        return self.capability

    async def refund(
        self,
        plan: RefundPlan,
        *,
        marker: str,
        request_id: str,
        priority: Priority = "interactive",
        send_by: float | None = None,
    ) -> StoreAnswer:
        self.sent.append(marker)
        if not self.answers:
            return Refunded(store_refund_id=str(700 + len(self.sent)), exchange=EXCHANGE)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return await answer(plan) if callable(answer) else answer

    async def read_refund(
        self, order_id: str, store_refund_id: str, *, dp: int | None = None, priority: Priority = "interactive"
    ) -> ListedRefund | None:
        if self.reading_fails is not None:
            raise self.reading_fails
        found = (refund for refund in self.order.refunds if refund.id == store_refund_id)
        return next((_listed(refund) for refund in found if order_id == self.order.id), None)

    async def list_refunds(
        self, query: RefundQuery, *, order_id: str | None = None, priority: Priority = "interactive"
    ) -> RefundPage:
        if self.reading_fails is not None:
            raise self.reading_fails
        rows = tuple(_listed(refund) for refund in self.order.refunds)
        return RefundPage(refunds=rows, total=len(rows), decimals=2, served_by="store")

    async def delete_refund(self, order_id: str, store_refund_id: str) -> Deletion:
        if self.deletion == "deleted":
            left = tuple(refund for refund in self.order.refunds if refund.id != store_refund_id)
            self.order = replace(self.order, refunds=left)
        return self.deletion

    async def update_refund(self, order_id: str, store_refund_id: str, *, reason: str) -> Update:
        self.reasons.append(reason)
        return self.update

    async def list_orders(self, query: OrderQuery, *, page: int, priority: Priority = "background") -> OrderPage:
        if self.reading_fails is not None:
            raise self.reading_fails
        start, end = (page - 1) * 100, page * 100
        return OrderPage(
            orders=tuple(order for order in self.orders[start:end] if query.admits(order)),
            ids=tuple(order.id for order in self.orders[start:end]),
            next_page=page + 1 if len(self.orders) > end else None,
        )

    async def features(self) -> Features:
        return Features(woocommerce_version="9.4.0", apis=(), payment_methods=())

    async def read_raw(self, path: str, query: Sequence[tuple[str, str]]) -> RawAnswer:
        raise NotImplementedError

    def stream(self, path: str, query: Sequence[tuple[str, str]]) -> AbstractAsyncContextManager[Streamed]:
        raise NotImplementedError

    async def read_notes(self, order_id: str, *, priority: Priority = "background") -> tuple[OrderNote, ...]:
        return tuple(self.notes)

    async def check(self) -> HealthReport:
        return HealthReport(ok=True, checks=())


@dataclass(slots=True)
class Book:
    """Opens the one store there is."""

    store: Store | None
    policy: StorePolicy = field(default_factory=StorePolicy)

    async def open(self, store_id: str) -> tuple[Store, StorePolicy]:
        if self.store is None:
            raise LookupError(store_id)
        return self.store, self.policy


def with_store(rt: Runtime, store: Store | None, policy: StorePolicy | None = None) -> Runtime:
    """Give a runtime whose every store is this one; None for a store that was disabled."""
    return replace(rt, stores=Book(store, policy or StorePolicy()))
