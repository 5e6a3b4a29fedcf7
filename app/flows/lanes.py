"""Running batches: every store has one lane, worked by one process at a time, for all batches with items of that store.

So all batches together keep to a store's limit however many processes run, and the stores go on side by side. A lane
is held under a lease: when its process dies, the sweep hands it to another. What two processes did in the same lane
would be harmless all the same, because an item is linked to its refund in the transaction that reserves it.
"""

import asyncio
import time
from collections import deque
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Final, assert_never

import structlog

from app.database import Connection
from app.domain.batch import BatchStatus, StoppedBy, stop_of
from app.domain.refund import Failure, RefundPlan
from app.flows.batch_item import Worked, carry_out_item, check_item, put_off
from app.flows.batches import expire, open_lanes, withdraw_unsent
from app.flows.runtime import Runtime
from app.flows.settle import Shop
from app.ledger import batch_items, batches, executors
from app.ledger.batch_items import Item
from app.ledger.batches import BatchRecord

log = structlog.get_logger(__name__)

#: Lanes that a process works in at a time; with more stores than that they take turns.
LANES_AT_A_TIME: Final = 64
#: Items under way per request that the store takes at a time: while one item's request is out, others are prepared.
_ITEMS_PER_REQUEST = 2
#: Where an item takes longer than this, preparing others gains nothing: they would be marked as about to be sent, wait
#: for the store, and be put back when too much of their lease had passed.
_SLOW_S = 1.0
#: How often what has ended is counted up while more goes on; failures are counted at once.
_COUNT_EVERY_S = 0.25
#: How long a lane is kept while other processes could take it, or other stores wait for one.
_TURN_S = 5.0
#: A turn is at least so many times as long as an item takes: at its end the lane runs dry.
_TURN_IN_ITEMS = 20
#: Items in a row for which the store could not be read, before it is left alone for a moment.
_UNREAD_IN_A_ROW = 3


async def run_lane(rt: Runtime, store_id: str) -> None:
    """Work on a store's items until none is left or it is another process's turn; nothing when another is at it."""
    lease = timedelta(seconds=rt.settings.lease_s)
    async with rt.database.committing() as conn:
        if not await batch_items.enter_lane(conn, store_id, rt.executor_id, lease=lease):
            return
    lane = _Lane(rt, store_id)
    try:
        await lane.work()
    finally:
        # Also when this process is told to stop: what is under way goes on as any execution does.
        async with rt.database.transaction() as conn:
            await batch_items.leave_lane(conn, store_id, rt.executor_id)
            if lane.more:
                await rt.jobs.later(conn, "run_lane", {"store_id": store_id}, lock=store_id)


class _Lane:
    """One store's items in one process's hands."""

    def __init__(self, rt: Runtime, store_id: str) -> None:
        self._rt = rt
        self._store_id = store_id
        self._next: deque[Item] = deque()
        self._under_way: dict[asyncio.Task[Worked], Item] = {}
        self._ended: dict[str, list[int]] = {}
        self._planned: dict[tuple[str, str], list[RefundPlan]] | None = None
        self._unread = 0
        self._took_s = 0.0
        self._closing = False
        self.more = False  #: somebody should go on in this lane

    @property
    def _width(self) -> int:
        """Say how many items may be under way at a time."""
        at_a_time = self._rt.settings.store_concurrency
        return at_a_time * _ITEMS_PER_REQUEST if 0 < self._took_s < _SLOW_S else at_a_time

    async def work(self) -> None:
        """Take items up until there are none, the turn is over or the store cannot be read; then let them end."""
        began = counted = renewed = time.monotonic()
        while True:
            if not self._closing:
                await self._take_up()
            if not self._under_way:
                break
            done, _ = await asyncio.wait(self._under_way, timeout=_COUNT_EVERY_S, return_when=asyncio.FIRST_COMPLETED)
            urgent = await self._note(done)
            now = time.monotonic()
            if urgent or now - counted >= _COUNT_EVERY_S:
                await self._count_up()
                counted = now
            if now - renewed >= self._rt.settings.lease_s / 3:
                renewed = now
                if not await self._stay():
                    # Paused for longer than its lease: another process is at work here.
                    self._closing = True
            if not self._closing and now - began >= max(_TURN_S, _TURN_IN_ITEMS * self._took_s):
                began = now
                self._closing = self.more = await self._others_wait()
        await self._count_up()

    async def _take_up(self) -> None:
        # A look may find items of one order only, of which one is taken: then the next look leaves that order out.
        while len(self._under_way) < self._width and await self._look_ahead():
            try:
                store, policy = await self._rt.stores.open(self._store_id)
            except LookupError:
                # Disabled: its items wait until it is enabled again or their batch is canceled.
                self._next.clear()
                return
            shop = Shop(store=store, policy=policy)
            orders = {item.order_key for item in self._under_way.values()}
            while self._next and len(self._under_way) < self._width:
                item = self._next.popleft()
                if item.order_key not in orders:
                    orders.add(item.order_key)
                    self._under_way[self._rt.executions.start(self._work_on(shop, item))] = item

    async def _look_ahead(self) -> bool:
        """Have the next items at hand; False when there are none."""
        if len(self._next) < self._width - len(self._under_way):
            busy = {item.order_key for item in (*self._under_way.values(), *self._next)}
            async with self._rt.database.reading() as conn:
                found = await batch_items.waiting(conn, self._store_id, limit=self._width, without=busy)
            self._next.extend(found)
        return bool(self._next)

    async def _work_on(self, shop: Shop, item: Item) -> Worked:
        began = time.monotonic()
        try:
            if item.mode != "check":
                return await carry_out_item(self._rt, shop, item)
            return await self._check(shop, item)
        finally:
            took_s = time.monotonic() - began
            self._took_s = 0.8 * self._took_s + 0.2 * took_s if self._took_s else took_s

    async def _check(self, shop: Shop, item: Item) -> Worked:
        if self._planned is None:
            planned: dict[tuple[str, str], list[RefundPlan]] = {}
            async with self._rt.database.reading() as conn:
                for batch_id, plan in await batch_items.plans_so_far(conn, self._store_id):
                    planned.setdefault((batch_id, plan.order_id), []).append(plan)
            if self._planned is None:
                self._planned = planned
        known = self._planned

        def earlier(order_id: str) -> Sequence[RefundPlan]:
            return known.get((item.batch_id, order_id), ())

        found = await check_item(self._rt, shop, item, earlier)
        if not isinstance(found, RefundPlan):
            return found
        known.setdefault((item.batch_id, found.order_id), []).append(found)
        return "ended"

    async def _note(self, done: Iterable[asyncio.Task[Worked]]) -> bool:
        """Take note of what items came to; True when it has to be counted up at once."""
        urgent = False
        for task in done:
            item = self._under_way.pop(task)
            if task.cancelled() or task.exception() is not None:
                # Logged by the executions. The item, or its refund, is taken up again by whoever comes next; an item
                # that breaks every time comes to an end like one whose store is away.
                broke = Failure(code="internal_error", message="The item could not be worked on, time and again.")
                await put_off(self._rt, item, broke)
                continue
            worked = task.result()
            match worked:
                case "ended" | "failed":
                    self._unread = 0
                    self._ended.setdefault(item.batch_id, []).append(item.number)
                    urgent = urgent or (worked == "failed" and item.mode != "check")
                case "unavailable":
                    self._unread += 1
                    if self._unread >= _UNREAD_IN_A_ROW:
                        self._closing = True
                case "over_limit":
                    await self._stop(item.batch_id, "max_total")
                case "later" | "withdrawn":
                    pass
                case _:
                    assert_never(worked)
        return urgent

    async def _count_up(self) -> None:
        ended, self._ended = self._ended, {}
        for batch_id, numbers in ended.items():
            async with self._rt.database.transaction() as conn:
                record = await batch_items.count_up(conn, batch_id, numbers)
                if record is not None:
                    await conclude(conn, record)

    async def _stop(self, batch_id: str, why: StoppedBy) -> None:
        async with self._rt.database.transaction() as conn:
            await batches.move(
                conn,
                batch_id,
                to="stopped",
                among=("running",),
                stopped_by=why,
                actor="gateway",
                event_type="batch.stopped",
            )

    async def _stay(self) -> bool:
        async with self._rt.database.committing() as conn:
            lease = timedelta(seconds=self._rt.settings.lease_s)
            return await batch_items.stay_in_lane(conn, self._store_id, self._rt.executor_id, lease=lease)

    async def _others_wait(self) -> bool:
        async with self._rt.database.reading() as conn:
            within = timedelta(seconds=self._rt.settings.lease_s)
            if await executors.workers_alive(conn, within=within) > 1:
                return True
            return await batch_items.lanes_in_hand(conn, self._rt.executor_id) >= LANES_AT_A_TIME and bool(
                await batch_items.stores_with_work(conn)
            )


async def conclude(conn: Connection, record: BatchRecord) -> None:
    """Finish a batch whose items have all come to an end, or stop it if too many failed.

    One that was paused or stopped while its last items were under way has nothing to be resumed for.
    """
    if record.processed >= record.items:
        begun: tuple[BatchStatus, ...] = ("running", "paused", "stopped")
        await batches.move(conn, record.id, to="finished", among=begun, actor="gateway", event_type="batch.finished")
        return
    why = stop_of(
        processed=record.processed - record.processed_before,
        failed=record.failed - record.failed_before,
        left=record.items - record.processed,
        stop_after_failures=record.stop_after_failures,
        stop_if_over=record.stop_if_over,
    )
    if why is not None and record.mode != "check":
        await batches.move(
            conn,
            record.id,
            to="stopped",
            among=("running",),
            stopped_by=why,
            actor="gateway",
            event_type="batch.stopped",
        )


async def start(rt: Runtime, batch_id: str) -> None:
    """Start a scheduled batch whose time has come."""
    async with rt.database.transaction() as conn:
        record = await batches.get(conn, batch_id)
        if record is None or record.status != "scheduled":
            return
        if record.start_at is not None and record.start_at > rt.clock():
            return
        started = await batches.move(
            conn, batch_id, to="running", among=("scheduled",), actor="gateway", event_type="batch.started"
        )
        if started is not None:
            await open_lanes(rt, conn, started)


async def sweep(rt: Runtime) -> None:
    """See to it that every batch goes on: starts, expiries, refunds that ended elsewhere, lanes whose process died."""
    async with rt.database.reading() as conn:
        records = await batches.open_ones(conn)
    for record in records:
        match record.status:
            case "scheduled":
                await start(rt, record.id)
            case "held":
                if record.release_until is not None and record.release_until <= rt.clock():
                    async with rt.database.transaction() as conn:
                        await expire(conn, record.id)
            case _:
                if record.status == "canceled":
                    # What was being sent when it was canceled, and did not arrive, is in line again.
                    await withdraw_unsent(rt, record.id, actor="gateway")
                async with rt.database.transaction() as conn:
                    counted = await batch_items.count_up(conn, record.id)
                    await conclude(conn, counted or record)
    async with rt.database.transaction() as conn:
        for store_id in await batch_items.stores_with_work(conn):
            await rt.jobs.later(conn, "run_lane", {"store_id": store_id}, lock=store_id)
