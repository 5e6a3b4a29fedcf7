"""A reconciliation comes to the same end whatever is killed on the way, and skips no row that moves meanwhile."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from app.database import Connection
from app.domain.order import OrderSnapshot
from app.domain.order_query import OrderPage, OrderQuery, OrderSummary
from app.domain.reconciliation import NewReconciliation
from app.domain.refund_query import RefundQuery
from app.flows import reconcile, reconciling
from app.flows.runtime import Runtime
from app.flows.store_reading import read_store
from app.ledger import reconciliations
from app.ledger.reconciliations import Reconciliation
from app.stores.port import (
    Features,
    ListedRefund,
    OrderNotFound,
    Priority,
    RefundPage,
    StoreMisconfigured,
    StoreUnavailable,
)
from tests.conftest import Sandbox, Shop, add_shop
from tests.flows.scripted import row, with_store
from tests.ledger.factories import add_refund


class Killed(BaseException):
    """The process is gone."""


class DyingDatabase:
    """Lets so many transactions pass, and then no more."""

    def __init__(self, database: Any, transactions: int) -> None:
        self._database = database
        self._left = transactions

    def reading(self) -> AbstractAsyncContextManager[Connection]:
        return self._database.reading()

    committing = reading

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        if self._left == 0:
            raise Killed
        self._left -= 1
        async with self._database.transaction() as conn:
            yield conn


@dataclass
class ListedStore:
    """A store with a list of its refunds, each of an order of its own; `between` happens after every read."""

    rows: dict[int, ListedRefund] = field(default_factory=dict)
    between: Callable[["ListedStore"], None] = lambda store: None
    api: str = "v3"
    with_list: bool = True
    fails: Exception | None = None
    reads: int = 0

    def add(self, refund_id: int, amount: str = "5.00", **fields: Any) -> None:
        made = {"created_at": datetime.now(UTC) - timedelta(minutes=30), **fields}
        refund = row(str(refund_id), amount, **made)
        self.rows[refund_id] = ListedRefund(order_id=str(refund_id + 100_000), refund=refund, document={})

    async def features(self) -> Features:
        return Features(woocommerce_version=None, apis=(), payment_methods=())

    async def read_order(self, order_id: str, *, read_at: datetime, priority: Priority) -> OrderSnapshot:
        assert priority == "background"
        raise OrderNotFound("The list shows refunds of orders that are gone.")

    async def list_refunds(
        self, query: RefundQuery, *, order_id: str | None = None, priority: Priority = "interactive"
    ) -> RefundPage:
        if self.fails is not None:
            raise self.fails
        await asyncio.sleep(0)
        shown = [self.rows[refund_id] for refund_id in sorted(self.rows)]
        if order_id is not None:
            shown = [listed for listed in shown if listed.order_id == order_id]
            if not shown:
                raise OrderNotFound("gone")
        page = tuple(shown[query.start : query.start + query.per_page])
        self.reads += 1
        self.between(self)
        served_by: Any = "store" if self.with_list or order_id else "orders"
        return RefundPage(refunds=page, total=len(shown), decimals=2, served_by=served_by)

    async def list_orders(self, query: OrderQuery, *, page: int, priority: str = "background") -> OrderPage:
        orders = sorted({int(listed.order_id) for listed in self.rows.values()})
        start = (page - 1) * 100
        shown = tuple(_summary(order_id) for order_id in orders[start : start + 100])
        self.reads += 1
        self.between(self)
        ids = tuple(order.id for order in shown)
        return OrderPage(orders=shown, ids=ids, next_page=page + 1 if len(shown) == 100 else None)

    async def read_refund(
        self, order_id: str, store_refund_id: str, *, dp: int | None = None, priority: Priority = "interactive"
    ) -> ListedRefund | None:
        return self.rows.get(int(store_refund_id))


def _summary(order_id: int) -> OrderSummary:
    return OrderSummary(
        id=str(order_id),
        number=str(order_id),
        status="completed",
        currency="EUR",
        total=Decimal(100),
        created_at=None,
        modified_at=None,
        paid_at=None,
        completed_at=None,
        payment_method="pay",
        skus=frozenset(),
        customer_id=None,
        customer_email="",
        meta={},
        refunded=None,
        has_refunds=None,
    )


@pytest.fixture
def quick(rt: Runtime) -> Runtime:
    """Give a runtime whose leases end at once, so that a killed one is soon followed by the next."""
    return replace(rt, settings=rt.settings.model_copy(update={"lease_s": 0.05}))


async def started(rt: Runtime, shop: Shop) -> Reconciliation:
    now = datetime.now(UTC) - timedelta(seconds=1)
    new = NewReconciliation(store="demo", from_=now - timedelta(hours=2), to=now)
    made = await reconcile.create(rt, shop.caller, new, idempotency_key=None)
    assert isinstance(made, reconcile.ReconciliationMade)
    return made.record


async def settled(rt: Runtime, shop: Shop, row_id: int, amount: str = "5.00") -> str:
    """Put a refund on record that has succeeded half an hour ago."""
    async with rt.database.transaction() as conn:
        record = await add_refund(conn, shop.tenant_id, shop.store_id)
        await conn.execute(
            "UPDATE refund SET status = 'succeeded', money = 'moved', settled_at = now() - interval '30 minutes',"
            " lease_until = NULL, store_refund_id = %s, order_id = %s, amount = %s WHERE id = %s",
            (str(row_id), str(row_id + 100_000), Decimal(amount), record.id),
        )
    return record.id


async def found(rt: Runtime, shop: Shop, record: Reconciliation) -> tuple[Reconciliation, list[tuple[str, str | None]]]:
    report = await reconcile.look(rt, shop.caller, record.id)
    assert isinstance(report, reconcile.Report)
    drifts = await reconcile.drifts(rt, report.record, limit=500, after=None)
    return report.record, sorted((drift.drift_class, drift.store_refund_id) for drift in drifts)


@pytest.mark.parametrize("transactions", [2, 3, 5, 8])
async def test_killed_at_any_commit_it_finds_the_same(quick: Runtime, shop: Shop, transactions: int) -> None:
    store = ListedStore()
    for refund_id in range(1, 231):
        store.add(refund_id, refunded_payment=True)
        if refund_id > 3:
            await settled(quick, shop, refund_id)
    await settled(quick, shop, 900)
    store.rows[7] = replace(store.rows[7], refund=replace(store.rows[7].refund, amount=Decimal("6.00")))
    record = await started(quick, shop)
    alive = with_store(quick, store)  # type: ignore[arg-type]
    phases, kills = set(), 0
    async with asyncio.timeout(60):
        while True:
            dying = replace(alive, database=DyingDatabase(quick.database, transactions))  # type: ignore[arg-type]
            try:
                await reconciling.run(dying, record.id)
            except Killed:
                kills += 1
            now, drifts = await found(quick, shop, record)
            if now.status == "finished":
                break
            phases.add(now.phase)
            await asyncio.sleep(0.06)
    assert drifts == [
        ("amount_differs", "7"),
        ("deleted_in_store", "900"),
        *(("missing_in_ledger", str(refund_id)) for refund_id in (1, 2, 3)),
    ]
    assert (now.matched, now.rows_read, now.adopted, now.refunds) == (226, 230, 3, 231)
    assert kills >= 1
    if transactions == 2:
        assert phases == {"reading", "adopting", "collecting", "asking", "comparing"}


async def test_two_workers_do_it_once(quick: Runtime, shop: Shop) -> None:
    store = ListedStore()
    store.add(1)
    record = await started(quick, shop)
    alive = with_store(quick, store)  # type: ignore[arg-type]
    await asyncio.gather(*(reconciling.run(alive, record.id) for _ in range(3)))
    now, drifts = await found(quick, shop, record)
    assert (now.status, now.fence, drifts) == ("finished", 1, [("missing_in_ledger", "1")])
    async with quick.database.reading() as conn:
        cursor = await conn.execute("SELECT count(*) AS n FROM event WHERE type = 'reconciliation.finished'")
        assert await cursor.fetchone() == {"n": 1}


async def test_who_has_lost_it_writes_nothing(quick: Runtime, shop: Shop) -> None:
    record = await started(quick, shop)
    taken: list[Any] = []

    class Taken(ListedStore):
        async def list_refunds(
            self, query: RefundQuery, *, order_id: str | None = None, priority: Priority = "interactive"
        ) -> RefundPage:
            async with quick.database.transaction() as conn:
                await conn.execute("UPDATE reconciliation SET lease_until = NULL WHERE id = %s", (record.id,))
                taken.append(
                    await reconciliations.claim(conn, record.id, executor_id="ex_2", lease=timedelta(seconds=60))
                )
            return await super().list_refunds(query, order_id=order_id, priority=priority)

    store = Taken()
    store.add(1)
    await reconciling.run(with_store(quick, store), record.id)  # type: ignore[arg-type]
    assert taken[0] is not None
    now, _ = await found(quick, shop, record)
    assert (now.status, now.phase, now.fence, now.rows_read) == ("running", "reading", 2, 0)


async def test_a_store_that_is_down_is_tried_again_later(quick: Runtime, shop: Shop) -> None:
    record = await started(quick, shop)
    store = ListedStore(fails=StoreUnavailable("It is down.", retry_after_s=30))
    store.add(1)
    await reconciling.run(with_store(quick, store), record.id)  # type: ignore[arg-type]
    now, _ = await found(quick, shop, record)
    assert (now.status, now.tries) == ("running", 1)
    async with quick.database.reading() as conn:
        assert await reconciliations.due(conn, limit=9) == []
        cursor = await conn.execute(
            "SELECT due_at > now() + interval '25 seconds' AS later FROM reconciliation WHERE id = %s", (record.id,)
        )
        assert await cursor.fetchone() == {"later": True}
    store.fails = None
    await reconciling.run(with_store(quick, store), record.id)  # type: ignore[arg-type]
    now, drifts = await found(quick, shop, record)
    assert (now.status, drifts) == ("finished", [("missing_in_ledger", "1")])


@pytest.mark.parametrize(
    ("store", "code"),
    [(ListedStore(fails=StoreMisconfigured("The key is wrong.")), "store_misconfigured"), (None, "store_disabled")],
)
async def test_what_a_person_has_to_mend_ends_it(
    quick: Runtime, shop: Shop, store: ListedStore | None, code: str
) -> None:
    record = await started(quick, shop)
    await reconciling.run(with_store(quick, store), record.id)  # type: ignore[arg-type]
    now, _ = await found(quick, shop, record)
    assert now.failure is not None
    assert (now.status, now.failure.code) == ("failed", code)


async def test_the_sweep_nudges_what_nobody_works_on(quick: Runtime, shop: Shop) -> None:
    record = await started(quick, shop)
    async with quick.database.transaction() as conn:
        await conn.execute("DELETE FROM procrastinate_jobs")
    await reconciling.sweep(quick)
    async with quick.database.reading() as conn:
        cursor = await conn.execute("SELECT args FROM procrastinate_jobs WHERE task_name = 'reconcile'")
        assert await cursor.fetchall() == [{"args": {"reconciliation_id": record.id}}]


async def read(shop: Shop, rt: Runtime, store: ListedStore) -> set[int]:
    record = await started(rt, shop)
    seen: set[int] = set()
    async for rows, _ in read_store(record, store):  # type: ignore[arg-type]
        seen |= {int(one.store_refund_id) for one in rows}
    return seen


@pytest.mark.parametrize("with_list", [True, False])
async def test_rows_that_move_while_they_are_read_let_none_be_skipped(
    rt: Runtime, shop: Shop, *, with_list: bool
) -> None:
    def move(store: ListedStore) -> None:
        # Three of the first rows go, and a new one comes, after every read.
        for refund_id in sorted(store.rows)[:3]:
            if store.reads < 40:
                del store.rows[refund_id]
        if store.reads < 40:
            store.add(max(store.rows) + 1)

    store = ListedStore(between=move, with_list=with_list)
    for refund_id in range(1, 451):
        store.add(refund_id)
    seen = await read(shop, rt, store)
    assert set(store.rows) - set(range(451, 600)) <= seen


async def test_a_whole_last_page_is_not_the_end_before_it_was_looked_behind(rt: Runtime, shop: Shop) -> None:
    store = ListedStore()
    for refund_id in range(1, 101):
        store.add(refund_id)
    assert await read(shop, rt, store) == set(range(1, 101))


async def test_a_legacy_store_says_nothing_of_payments_and_is_read_by_orders(quick: Runtime, sandbox: Sandbox) -> None:
    shop = await add_shop(quick, sandbox.url, api="legacy")
    order = await sandbox.new_order()
    made = await sandbox.client.post(f"/sandbox/orders/{order['id']}/refunds", json={"amount": "3.00"})
    assert made.status_code == 201
    now = datetime.now(UTC)
    new = NewReconciliation(store="demo", from_=now - timedelta(hours=2), to=now)
    record = await reconcile.create(quick, shop.caller, new, idempotency_key=None)
    assert isinstance(record, reconcile.ReconciliationMade)
    await reconciling.run(quick, record.record.id)
    done, drifts = await found(quick, shop, record.record)
    assert (done.status, done.reads, drifts) == (
        "finished",
        "orders",
        [("missing_in_ledger", str(made.json()["id"]))],
    )


async def test_a_store_that_shows_the_same_refunds_on_every_page_is_found_out(rt: Runtime, shop: Shop) -> None:
    class Stuck(ListedStore):
        async def list_refunds(
            self, query: RefundQuery, *, order_id: str | None = None, priority: Priority = "interactive"
        ) -> RefundPage:
            return await super().list_refunds(replace(query, offset=0), order_id=order_id, priority=priority)

    store = Stuck()
    for refund_id in range(1, 101):
        store.add(refund_id)
    with pytest.raises(StoreMisconfigured):
        await read(shop, rt, store)
    assert store.reads < 10


async def test_a_legacy_store_s_two_digits_are_not_another_amount(quick: Runtime, shop: Shop) -> None:
    store = ListedStore(api="legacy")
    for refund_id, shown in ((1, "1.24"), (2, "1.23")):
        store.add(refund_id, shown, refunded_payment=None)
        await settled(quick, shop, refund_id, "1.235")
    async with quick.database.transaction() as conn:
        await conn.execute("UPDATE refund SET decimals = 3, currency = 'KWD'")
    record = await started(quick, shop)
    await reconciling.run(with_store(quick, store), record.id)  # type: ignore[arg-type]
    now, drifts = await found(quick, shop, record)
    assert (now.status, now.matched, drifts) == ("finished", 1, [("amount_differs", "2")])


@pytest.mark.parametrize("with_list", [True, False])
async def test_it_never_takes_the_turn_of_a_person_who_waits(quick: Runtime, shop: Shop, *, with_list: bool) -> None:
    asked: set[tuple[str, str]] = set()

    class Noting(ListedStore):
        async def list_refunds(
            self, query: RefundQuery, *, order_id: str | None = None, priority: Priority = "interactive"
        ) -> RefundPage:
            asked.add(("list_refunds", priority))
            return await super().list_refunds(query, order_id=order_id, priority=priority)

        async def read_refund(
            self, order_id: str, store_refund_id: str, *, dp: int | None = None, priority: Priority = "interactive"
        ) -> ListedRefund | None:
            asked.add(("read_refund", priority))
            return await super().read_refund(order_id, store_refund_id, dp=dp, priority=priority)

    store = Noting(with_list=with_list)
    store.add(1)
    await settled(quick, shop, 900)
    record = await started(quick, shop)
    await reconciling.run(with_store(quick, store), record.id)  # type: ignore[arg-type]
    assert asked == {("list_refunds", "background"), ("read_refund", "background")}


async def test_a_defect_is_not_told_as_a_store_out_of_use(quick: Runtime, shop: Shop) -> None:
    record = await started(quick, shop)
    await reconciling.run(with_store(quick, ListedStore(fails=KeyError("a defect"))), record.id)  # type: ignore[arg-type]
    now, _ = await found(quick, shop, record)
    assert (now.status, now.tries) == ("running", 1)


async def test_a_row_that_may_be_dated_on_either_side_of_the_edge_is_on_record_all_the_same(
    quick: Runtime, shop: Shop
) -> None:
    record = await started(quick, shop)
    store = ListedStore()
    for refund_id, before in ((1, timedelta(minutes=30)), (2, timedelta(minutes=1)), (3, -timedelta(minutes=1))):
        store.add(refund_id, created_at=record.from_at - before)
    await reconciling.run(with_store(quick, store), record.id)  # type: ignore[arg-type]
    now, drifts = await found(quick, shop, record)
    assert (now.adopted, drifts) == (2, [("missing_in_ledger", "3")])
    async with quick.database.reading() as conn:
        cursor = await conn.execute("SELECT store_refund_id FROM refund ORDER BY store_refund_id")
        assert await cursor.fetchall() == [{"store_refund_id": "2"}, {"store_refund_id": "3"}]
