"""Carrying a reconciliation out, page by page: any worker goes on where another one stopped.

The store is only read. The ledger learns of rows that it did not know, after they were kept as not known.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import structlog

from app.database import OUTAGES, Connection
from app.domain.reconciliation import ReadRow
from app.domain.refund import Failure
from app.domain.refund_query import RefundQuery
from app.flows.mirror import Where, mirror_order, mirror_rows
from app.flows.reconcile import nudge
from app.flows.runtime import Runtime
from app.flows.store_reading import read_store, row_of
from app.ledger import drifting, feed, reconciliations, reconciling, seen
from app.ledger.events import NewEvent
from app.ledger.reconciliations import Reconciliation
from app.ledger.reconciling import ToAsk
from app.stores.failures import leading
from app.stores.port import ListedRefund, OrderNotFound, Store, StoreError, StoreUnavailable

log = structlog.get_logger(__name__)

#: Rows that the ledger is told of between two commits of how far that has come.
_ADOPTED_AT_A_TIME = 100
#: Refunds that the store is asked for between two commits, and at the same time.
_ASKED_AT_A_TIME = 50
_ASKING_SIDE_BY_SIDE = 3
#: Rows from which on it matters how they are joined.
_MANY = 1_000
#: How often a store that cannot be read is tried, and how long is waited in between; half a day in all.
_TRIES_MAX = 60
_FIRST_DELAY_S = 5.0
_LONGEST_DELAY_S = 900.0


class Lost(Exception):
    """Somebody else has taken the reconciliation; whatever was about to be written is theirs to write."""


class _StoreGone(Exception):
    """The store is not in use any more."""


async def run(rt: Runtime, reconciliation_id: str) -> None:
    """Carry a reconciliation on to its end, if nobody else does and as far as the store can be read."""
    lease = timedelta(seconds=rt.settings.lease_s)
    async with rt.database.transaction() as conn:
        held = await reconciliations.claim(conn, reconciliation_id, executor_id=rt.executor_id, lease=lease)
    if held is None:
        return
    try:
        async with _kept(rt, held, lease):
            await _carry_on(rt, held)
    except Lost:
        log.info("reconciliation.lost", reconciliation_id=held.id)
    except _StoreGone:
        await _fail(rt, held, Failure(code="store_disabled", message="The store is no longer in use."))
    except StoreUnavailable as error:
        await _put_off(rt, held, error.code, str(error), error.retry_after_s)
    except StoreError as error:
        await _fail(rt, held, Failure(code=error.code, message=str(error)))
    except OUTAGES:
        raise
    except Exception:
        log.exception("reconciliation.broke", reconciliation_id=held.id)
        await _put_off(rt, held, "internal_error", "The gateway could not compare; its log says why.", None)
    except BaseException:
        # The process is stopping: the next worker need not wait for the lease to end.
        with suppress(*OUTAGES):
            async with rt.database.transaction() as conn:
                await reconciliations.let_go(conn, held)
                await nudge(rt, conn, held.id)
        raise


async def sweep(rt: Runtime, *, limit: int = 100) -> None:
    """Nudge reconciliations whose worker died, or whose job was lost."""
    async with rt.database.transaction() as conn:
        for reconciliation_id in await reconciliations.due(conn, limit=limit):
            await nudge(rt, conn, reconciliation_id)


@asynccontextmanager
async def _kept(rt: Runtime, held: Reconciliation, lease: timedelta) -> AsyncIterator[None]:
    """Keep the lease while the work goes on; writes are fenced all the same."""

    async def beat() -> None:
        while True:
            await asyncio.sleep(lease.total_seconds() / 3)
            with suppress(*OUTAGES):
                async with rt.database.committing() as conn:
                    if not await reconciliations.keep(conn, held, lease=lease):
                        return

    beating = asyncio.create_task(beat())
    try:
        yield
    finally:
        beating.cancel()
        await asyncio.gather(beating, return_exceptions=True)


async def _carry_on(rt: Runtime, held: Reconciliation) -> None:
    try:
        store, _ = await rt.stores.open(held.store_id)
    except LookupError as error:
        raise _StoreGone from error
    where = Where(tenant_id=held.tenant_id, store_id=held.store_id, store=held.store, api=store.api)
    if held.phase == "reading":
        async with aclosing(read_store(held, store)) as pages:
            async for rows, progress in pages:
                before = held.rows_read
                held = await _keep_rows(rt, held, rows, progress)
                if before < _MANY <= held.rows_read:
                    await _take_stock(rt, held)
    if held.phase == "adopting":
        held = await _adopt(rt, held, where, store)
    if held.phase == "collecting":
        held = await _collect(rt, held)
    if held.phase == "asking":
        held = await _ask_all(rt, held, store)
    await _compare(rt, held)


async def _save(rt: Runtime, held: Reconciliation, **progress: Any) -> Reconciliation:
    async with rt.database.transaction() as conn:
        if not await reconciliations.save(conn, held, **progress):
            raise Lost
    return replace(held, **progress)


async def _keep_rows(
    rt: Runtime, held: Reconciliation, rows: Sequence[ReadRow], progress: dict[str, Any]
) -> Reconciliation:
    async with rt.database.transaction() as conn:
        # Before anything is written, because it says whether this process may write.
        if not await reconciliations.save(conn, held, **progress):
            raise Lost
        read = held.rows_read + await reconciling.stage(conn, held, rows)
        await reconciliations.save(conn, held, rows_read=read)
    return replace(held, **progress, rows_read=read)


async def _adopt(rt: Runtime, held: Reconciliation, where: Where, store: Store) -> Reconciliation:
    """Tell the ledger of rows that it did not know; a crash in between only means that some are told of twice."""
    while True:
        after = held.cursor.get("row", "")
        async with rt.database.reading() as conn:
            found = await reconciling.to_adopt(conn, held, after=after, limit=_ADOPTED_AT_A_TIME)
        if not found:
            return await _save(rt, held, phase="collecting", cursor={})
        noted = await mirror_rows(rt, where, [(row.order_id, row.refund) for row in found])
        for order_id in sorted({row.order_id for row in found if not row.known and row.refund.id in noted}):
            # A store's list of refunds names no currency. Without its order a finding would have none in the report.
            with suppress(StoreError):
                order = await store.read_order(order_id, read_at=rt.clock(), priority="background")
                await mirror_order(rt, where, order)
        adopted = held.adopted + sum(not row.known and row.refund.id in noted for row in found)
        held = await _save(rt, held, cursor={"row": found[-1].refund.id}, adopted=adopted)


async def _take_stock(rt: Runtime, held: Reconciliation) -> None:
    if max(held.rows_read, held.refunds or 0, held.erp_entries or 0) >= _MANY:
        async with rt.database.committing() as conn:
            await reconciling.take_stock(conn)


async def _collect(rt: Runtime, held: Reconciliation) -> Reconciliation:
    await _take_stock(rt, held)
    async with rt.database.transaction() as conn:
        if not await reconciliations.save(conn, held, phase="asking"):
            raise Lost
        refunds, to_ask = await reconciling.collect(conn, held)
        await reconciliations.save(conn, held, refunds=refunds, to_ask=to_ask)
    return replace(held, phase="asking", refunds=refunds, to_ask=to_ask)


async def _ask_all(rt: Runtime, held: Reconciliation, store: Store) -> Reconciliation:
    """Ask the store once for each refund that its list did not show, before any of them is called missing."""
    while True:
        async with rt.database.reading() as conn:
            waiting = await reconciling.to_ask(conn, held, limit=_ASKED_AT_A_TIME)
        if not waiting:
            return await _save(rt, held, phase="comparing")
        answers = await _answers(rt, held, store, waiting)
        asked = held.asked + len(waiting)
        async with rt.database.transaction() as conn:
            if not await reconciliations.save(conn, held, asked=asked):
                raise Lost
            for refund, listed in zip(waiting, answers, strict=True):
                if listed is not None:
                    await reconciling.stage(conn, held, [row_of(listed)])
                elif refund.store_refund_id is not None and refund.deleted_at is None:
                    gone = NewEvent(
                        type="refund.deleted", actor="store", data={"store_refund_id": refund.store_refund_id}
                    )
                    await seen.mark_deleted(conn, held.tenant_id, refund.refund_id, gone, by="store")
                await reconciling.note_asked(
                    conn,
                    held,
                    refund.refund_id,
                    row_id=None if listed is None else listed.refund.id,
                    asked={
                        "question": _question(refund),
                        "answer": "It is not there." if listed is None else f"It is there: {listed.refund.id}.",
                        "at": rt.clock().isoformat(timespec="milliseconds").replace("+00:00", "Z"),
                    },
                )
        held = replace(held, asked=asked)


async def _answers(
    rt: Runtime, held: Reconciliation, store: Store, refunds: Sequence[ToAsk]
) -> list[ListedRefund | None]:
    turn = asyncio.Semaphore(_ASKING_SIDE_BY_SIDE)

    async def ask(refund: ToAsk) -> ListedRefund | None:
        async with turn:
            return await _ask(rt, held, store, refund)

    try:
        async with asyncio.TaskGroup() as together:
            asking = [together.create_task(ask(refund)) for refund in refunds]
    except ExceptionGroup as group:
        raise leading(group) from group
    return [done.result() for done in asking]


def _question(refund: ToAsk) -> str:
    if refund.store_refund_id is not None:
        return f"Refund {refund.store_refund_id} of order {refund.order_id}."
    return f"A refund of order {refund.order_id} with the marker {refund.marker}."


async def _ask(rt: Runtime, held: Reconciliation, store: Store, refund: ToAsk) -> ListedRefund | None:
    if refund.order_id is None:
        return None
    if refund.store_refund_id is not None:
        return await store.read_refund(refund.order_id, refund.store_refund_id, dp=8, priority="background")
    try:
        page = await store.list_refunds(
            RefundQuery(per_page=100, dp=8), order_id=refund.order_id, priority="background"
        )
    except OrderNotFound:
        return None
    async with rt.database.reading() as conn:
        taken = await reconciling.claimed_by_others(conn, held, [listed.refund.id for listed in page.refunds])
    return next(
        (
            listed
            for listed in page.refunds
            if listed.refund.id not in taken
            and (refund.marker == listed.refund.reference or refund.marker in listed.refund.reason)
        ),
        None,
    )


async def _compare(rt: Runtime, held: Reconciliation) -> None:
    await _take_stock(rt, held)
    async with rt.database.transaction() as conn:
        if not await reconciliations.save(conn, held):
            raise Lost
        counts = await drifting.compare(conn, held)
        done = await reconciliations.finish(conn, held, matched=counts.get("matched", 0))
        assert done is not None  # its row has been locked since `save`
        await _tell(conn, done, {"classes": counts})
    log.info("reconciliation.finished", reconciliation_id=held.id, store=held.store, **counts)


async def _fail(rt: Runtime, held: Reconciliation, failure: Failure) -> None:
    async with rt.database.transaction() as conn:
        done = await reconciliations.finish(conn, held, failure=failure)
        if done is not None:
            await _tell(conn, done, {"failure_code": failure.code})
    log.warning("reconciliation.failed", reconciliation_id=held.id, store=held.store, code=failure.code)


async def _tell(conn: Connection, done: Reconciliation, more: dict[str, Any]) -> None:
    await feed.append(
        conn,
        done.tenant_id,
        store_id=done.store_id,
        event_type="reconciliation.finished",
        subject=done.id,
        data={
            "id": done.id,
            "object": "reconciliation",
            "store": done.store,
            "from": done.from_at.isoformat().replace("+00:00", "Z"),
            "to": done.to_at.isoformat().replace("+00:00", "Z"),
            "status": done.status,
            "matched": done.matched,
            "drifts": done.drifts,
            "schedule_id": done.schedule_id,
            **more,
        },
    )


async def _put_off(rt: Runtime, held: Reconciliation, code: str, message: str, retry_after_s: float | None) -> None:
    """Try again later, and longer later each time that nothing came of it."""
    async with rt.database.transaction() as conn:
        now = await reconciliations.find(conn, held.tenant_id, held.id)
        tries = 0 if now is None else now.tries
        if tries < _TRIES_MAX:
            delay_s = max(retry_after_s or 0.0, min(_LONGEST_DELAY_S, _FIRST_DELAY_S * 2 ** min(tries, 10)))
            at = rt.clock() + timedelta(seconds=delay_s)
            await reconciliations.put_off(conn, held, at=at)
            await nudge(rt, conn, held.id, at=at)
            return
    await _fail(rt, held, Failure(code=code, message=message))
