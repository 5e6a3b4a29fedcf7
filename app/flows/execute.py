"""Carrying a reserved refund out: wait for its turn, put it on record, send it once, and settle what came back.

Crash by crash: before `mark_sending` commits, nothing was sent and the refund is sent later; after it, nobody knows
until evidence tells, because the process may have died on either side of the first byte.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Coroutine
from datetime import datetime, timedelta
from typing import Any, TypeVar, assert_never

import structlog

from app.database import OUTAGES
from app.domain.decision import fits
from app.domain.errors import Refusal
from app.domain.refund import Failure, Observation
from app.flows.recover import look
from app.flows.runtime import Runtime
from app.flows.settle import Shop, as_it_is, fail, settled, wire
from app.ledger import events, refunds, standing
from app.ledger.events import NewEvent
from app.ledger.records import LastAnswer, RefundRecord
from app.stores.port import (
    Contradicted,
    Exchange,
    NotSent,
    Priority,
    Refunded,
    Refused,
    StoreAnswer,
    StoreError,
    Unknown,
)

log = structlog.get_logger(__name__)

T = TypeVar("T")

#: Tries of one process when the store provably cannot be reached, before the refund goes to the workers.
_TRIES_AT_ONCE = 3
#: What was marked as sending leaves within this share of the lease or not at all: later others may look for it.
_SAFE_SHARE_OF_LEASE = 0.5


class Executions:
    """The refunds that this process has in hand, each in a task of its own.

    A request that stops waiting, or whose client goes away, does not stop the refund.
    """

    def __init__(self) -> None:
        """Start with nothing in hand."""
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run work to its end, whatever becomes of the caller."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def aside(self, work: Coroutine[Any, Any, object]) -> None:
        """Run work that nobody waits for."""
        _ = self.start(work)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            # The refund's row says how far it got; its lease will end and a worker takes over.
            log.error("refund.execution_broke", exc_info=error)

    @property
    def in_hand(self) -> int:
        """Count the refunds being carried out."""
        return len(self._tasks)

    async def drain(self, grace: timedelta) -> None:
        """Let everything in hand finish within the grace; then cancel it, so that it is handed over."""
        if not self._tasks:
            return
        _, late = await asyncio.wait(self._tasks, timeout=grace.total_seconds())
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late, timeout=5)


async def carry_out(
    rt: Runtime,
    record: RefundRecord,
    shop: Shop,
    *,
    priority: Priority = "interactive",
    validated: bool = True,
    alone: bool = False,
) -> RefundRecord:
    """Send a pending refund that this process holds the lease of, and give it as it is afterwards.

    `validated` says that the plan was decided on a snapshot just read; a refund that has to wait for its turn is
    checked against a new one. `alone` says that nothing was ahead of it when it was reserved, so that it may try at
    once; the unique index still lets only one through.
    """
    for attempt in range(_TRIES_AT_ONCE):
        if not alone:
            checked = await _wait_for_turn(rt, record, shop, priority, validated=validated)
            if not isinstance(checked, _MyTurn):
                return checked
        alone = False
        began = time.monotonic()
        sending = await _mark_sending(rt, record, shop)
        if sending is None:
            return await as_it_is(rt, record)
        if isinstance(sending, RefundRecord):
            record, answer = sending, await _send(rt, sending, shop, priority, marked_after=began)
            if not isinstance(answer, NotSent):
                return await _conclude_in_the_end(rt, record, answer, shop)
            last = attempt + 1 == _TRIES_AT_ONCE
            record = await _not_sent(rt, record, answer, hand_over=last)
            if last or record.status != "pending":
                return record
            await asyncio.sleep(min(answer.retry_after_s or 0.2 * 2**attempt, 2.0) * random.uniform(0.8, 1.2))  # noqa: S311
        validated = False
    return await _hand_over(rt, record, "The order stayed busy.", after=timedelta(seconds=1))


async def _conclude_in_the_end(rt: Runtime, record: RefundRecord, answer: StoreAnswer, shop: Shop) -> RefundRecord:
    """Settle by the store's answer even if the database is away for some seconds.

    The answer is the best evidence there will ever be. Trying again is harmless: a commit whose confirmation was lost
    has moved the fence on.
    """
    for pause_s in (0.2, 1.0, 3.0, 6.0):
        try:
            return await conclude(rt, record, answer, shop)
        except OUTAGES:
            log.warning("refund.settling_delayed", refund_id=record.id, again_in_s=pause_s)
            await asyncio.sleep(pause_s)
    return await conclude(rt, record, answer, shop)


class _MyTurn:
    """Nothing is ahead of the refund any more."""


async def _wait_for_turn(
    rt: Runtime, record: RefundRecord, shop: Shop, priority: Priority, *, validated: bool
) -> _MyTurn | RefundRecord:
    """Wait until every earlier refund of the order is finished; give the refund itself if it cannot go on."""
    pause_s = 0.01
    while True:
        async with rt.database.reading() as conn:
            ahead = await standing.ahead_of(conn, record)
        if ahead is None:
            return _MyTurn() if validated else await _check_again(rt, record, shop, priority)
        if ahead[1] == "uncertain":
            # It may take minutes to settle; a worker comes back to this one.
            return await _hand_over(rt, record, f"The order waits for {ahead[0]}.", after=timedelta(seconds=5))
        validated = False
        await asyncio.sleep(pause_s * random.uniform(0.7, 1.3))  # noqa: S311
        pause_s = min(pause_s * 1.6, 0.2)


async def _check_again(rt: Runtime, record: RefundRecord, shop: Shop, priority: Priority) -> _MyTurn | RefundRecord:
    """Hold the plan against the order as it is now, because time has passed since it was decided."""
    plan = record.plan
    assert plan is not None
    try:
        # The ledger's clock, and an early reading of it: what settles meanwhile counts as a hold until it shows.
        order = await shop.store.read_order(plan.order_id, read_at=record.updated_at, priority=priority)
        capability = await shop.store.payment_capability(order.payment_method, priority=priority)
    except StoreError as error:
        return await _hand_over(rt, record, str(error), after=timedelta(seconds=5))
    async with rt.database.reading() as conn:
        held = await standing.holds(
            conn, record.store_id, plan.order_id, snapshot_read_at=order.read_at, before=record.id
        )
    refusal = fits(plan, order, holds=held, capability=capability, policy=shop.policy)
    return _MyTurn() if refusal is None else await refuse(rt, record, refusal)


async def refuse(rt: Runtime, record: RefundRecord, refusal: Refusal) -> RefundRecord:
    """Settle an accepted refund as failed because the order does not bear it; nothing was sent."""
    return await settled(rt, record, await fail(rt, record, refusal_failure(refusal)))


def refusal_failure(refusal: Refusal) -> Failure:
    """Give a refusal as the reason why there is no refund: its leading fault, and all of them among the facts."""
    lead = refusal.faults[0]
    faults = [{"code": fault.code, "pointer": fault.pointer, "message": fault.message} for fault in refusal.faults]
    return Failure(code=lead.code, message=lead.message, facts={**lead.facts, "faults": faults})


async def _mark_sending(rt: Runtime, record: RefundRecord, shop: Shop) -> RefundRecord | bool | None:
    """Commit that the refund is about to leave; False when another of the order got in before, None when lost."""
    event = NewEvent(type="refund.sending", actor=rt.executor_id, data={"attempt": record.attempts + 1})
    try:
        async with rt.database.committing() as conn:
            lease = timedelta(seconds=rt.settings.lease_s)
            return await refunds.mark_sending(conn, record, event, lease=lease, sent_via=shop.store.api)
    except refunds.OrderBusy:
        return False


async def _send(
    rt: Runtime, record: RefundRecord, shop: Shop, priority: Priority, *, marked_after: float
) -> StoreAnswer:
    """Send the refund once. A cancelled process does not know what became of it and says so."""
    plan = record.plan
    assert plan is not None
    # By this process's own steady clock, from before the mark was made: no other clock can make it look shorter.
    send_by = marked_after + rt.settings.lease_s * _SAFE_SHARE_OF_LEASE
    if time.monotonic() > send_by:
        # The process was paused since the commit; others may already be looking for what it has not sent yet.
        return NotSent(message="held up before sending", retry_after_s=None, exchange=Exchange(duration_ms=0))
    started = time.monotonic()
    try:
        return await shop.store.refund(
            plan, marker=record.marker, request_id=record.request_id, priority=priority, send_by=send_by
        )
    except asyncio.CancelledError:
        duration_ms = (time.monotonic() - started) * 1000
        exchange = Exchange(duration_ms=duration_ms, text="the gateway was stopped while it waited")
        answer = Unknown(message=exchange.text, turned_away=None, retry_after_s=None, exchange=exchange)
        await asyncio.shield(conclude(rt, record, answer, shop))
        raise


async def conclude(rt: Runtime, record: RefundRecord, answer: StoreAnswer, shop: Shop) -> RefundRecord:
    """Settle a refund by the store's answer, or put on record that it says too little."""
    exchange = answer.exchange
    match answer:
        case Refunded():
            event = NewEvent(
                type="refund.succeeded",
                actor=rt.executor_id,
                data={"store_refund_id": answer.store_refund_id, **wire(exchange)},
            )
            async with rt.database.committing() as conn:
                after = await refunds.mark_succeeded(conn, record, event, store_refund_id=answer.store_refund_id)
        case Refused(needs_look=False):
            failure = Failure(code=answer.code, message=answer.message)
            after = await fail(rt, record, failure, data=wire(exchange))
        case Refused():
            after = await _doubt(rt, record, answer, kind="refused", turned_away=None, message=answer.message)
        case Unknown():
            after = await _doubt(
                rt, record, answer, kind="unknown", turned_away=answer.turned_away, message=answer.message
            )
        case Contradicted():
            observation = Observation(
                kind="contradiction", text=answer.message, at=rt.clock(), facts={**answer.facts, **wire(exchange)}
            )
            event = NewEvent(
                type="refund.needs_review",
                actor=rt.executor_id,
                data={"why": answer.message, **answer.facts, **wire(exchange)},
            )
            async with rt.database.transaction() as conn:
                after = await refunds.mark_needs_review(
                    conn,
                    record,
                    event,
                    failure=Failure(code="contradictory_answer", message=answer.message),
                    evidence=(observation,),
                    store_refund_id=answer.store_refund_id,
                )
        case NotSent():
            return await _not_sent(rt, record, answer, hand_over=True)
        case _:
            assert_never(answer)
    if after is None:
        await _too_late(rt, record, answer)
    after = await settled(rt, record, after)
    _attempted(record, answer, after)
    if after.status == "uncertain" and isinstance(answer, Refused):
        # The store has finished and said no; one look tells a decline from a failure after the payment.
        after = await look(rt, after, shop)
    return after


async def _doubt(
    rt: Runtime, record: RefundRecord, answer: Refused | Unknown, *, kind: str, turned_away: str | None, message: str
) -> RefundRecord | None:
    now = rt.clock()
    due_at = now + timedelta(seconds=0 if kind == "refused" else rt.settings.quiet_period_s)
    exchange = answer.exchange
    last = LastAnswer(
        kind=kind,
        turned_away=turned_away,
        http_status=exchange.http_status,
        store_code=exchange.store_code,
        text=message,
    )
    event = NewEvent(type="refund.uncertain", actor=rt.executor_id, data={"why": message, **wire(exchange)})
    observation = Observation(kind="unclear_answer", text=message, at=now, facts=wire(exchange))
    async with rt.database.transaction() as conn:
        after = await refunds.mark_uncertain(
            conn, record, event, answer=last, touch_lost_at=None, due_at=due_at, evidence=(observation,)
        )
        if after is not None and kind != "refused":
            await rt.jobs.settle_later(conn, record.id, at=due_at)
        return after


async def _not_sent(rt: Runtime, record: RefundRecord, answer: NotSent, *, hand_over: bool) -> RefundRecord:
    """Put a refund that provably did not leave back in line."""
    lease = timedelta(seconds=rt.settings.lease_s)
    due_at = rt.clock() + _back_off(record, answer.retry_after_s) if hand_over else None
    event = NewEvent(
        type="refund.not_sent", actor=rt.executor_id, data={"why": answer.message, **wire(answer.exchange)}
    )
    async with rt.database.transaction() as conn:
        after = await refunds.mark_pending(conn, record, event, due_at=due_at, keep_lease=None if hand_over else lease)
        if after is not None and due_at is not None:
            await rt.jobs.send_later(conn, record.id, at=due_at)
    after = after or await as_it_is(rt, record)
    _attempted(record, answer, after)
    return after


def _attempted(record: RefundRecord, answer: StoreAnswer, after: RefundRecord) -> None:
    """Write the attempt's one log line."""
    exchange = answer.exchange
    log.info(
        "refund.attempted",
        refund_id=record.id,
        store=record.store,
        order_id=record.order_id,
        answer=type(answer).__name__.lower(),
        attempt=record.attempts,
        http_status=exchange.http_status,
        store_code=exchange.store_code,
        status=after.status,
        money=after.money,
        duration_ms=round(exchange.duration_ms, 1),
    )


def _back_off(record: RefundRecord, retry_after_s: float | None) -> timedelta:
    seconds = max(retry_after_s or 0, min(2.0 ** min(record.attempts, 8), 300.0))
    return timedelta(seconds=seconds * random.uniform(0.9, 1.1))  # noqa: S311


async def _hand_over(rt: Runtime, record: RefundRecord, why: str, *, after: timedelta) -> RefundRecord:
    """Leave a pending refund to the workers."""
    due_at = rt.clock() + after
    event = NewEvent(type="refund.postponed", actor=rt.executor_id, data={"why": why, "until": due_at.isoformat()})
    async with rt.database.transaction() as conn:
        later = await refunds.postpone(conn, record, event, due_at=due_at)
        if later is not None:
            await rt.jobs.send_later(conn, record.id, at=due_at)
    return later or await as_it_is(rt, record)


async def _too_late(rt: Runtime, record: RefundRecord, answer: StoreAnswer) -> None:
    """Keep an answer that came after the refund was given up on; the next look will find what it speaks of."""
    event = NewEvent(
        type="refund.answered_late",
        actor=rt.executor_id,
        data={"answer": type(answer).__name__.lower(), **wire(answer.exchange)},
    )
    async with rt.database.transaction() as conn:
        await events.append(conn, record.tenant_id, record.id, event)


async def wait_for(task: asyncio.Task[T], *, until: datetime, now: datetime) -> T | None:
    """Wait for an execution until then; None when it takes longer, and the execution goes on."""
    with contextlib.suppress(TimeoutError):
        return await asyncio.wait_for(asyncio.shield(task), timeout=max(0.0, (until - now).total_seconds()))
    return None
