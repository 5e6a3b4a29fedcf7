"""Sending refunds that were accepted earlier: deferred, postponed, abandoned, or to be sent again."""

import asyncio
from datetime import timedelta

from app.domain.decision import decide, fits
from app.domain.errors import Refusal
from app.domain.refund import Failure, RefundPlan
from app.flows.execute import carry_out, refuse
from app.flows.reserve import Reading, read_order
from app.flows.results import AmbiguousOrderNumber, StoreFailed
from app.flows.runtime import Runtime
from app.flows.settle import Shop, as_it_is, fail, settled
from app.ledger import batch_items, refunds, standing
from app.ledger.events import NewEvent
from app.ledger.records import RefundRecord


async def send(rt: Runtime, refund_id: str) -> RefundRecord | None:
    """Validate and send a pending refund that nobody is at work on; None when there was nothing to do.

    A store that cannot be read leaves it pending until it expires.
    """
    async with rt.database.reading() as conn:
        record = await refunds.get(conn, refund_id)
    now = rt.clock()
    if record is None or record.status != "pending":
        return None
    if record.lease_until is not None and record.lease_until > now:
        return None
    if record.due_at is not None and record.due_at > now:
        return None
    if record.batch_id is not None and await withdraw(rt, record, actor="gateway"):
        return await as_it_is(rt, record)
    if record.expires_at <= now:
        expired = Failure(code="expired", message="The refund could not be sent in time and was given up.")
        return await settled(rt, record, await fail(rt, record, expired))
    lease = timedelta(seconds=rt.settings.lease_s)
    event = NewEvent(type="refund.taken", actor=rt.executor_id)
    async with rt.database.transaction() as conn:
        taken = await refunds.take(conn, record, event, executor=rt.executor_id, lease=lease)
    if taken is None:
        return None
    try:
        store, policy = await rt.stores.open(taken.store_id)
    except LookupError:
        gone = Failure(code="store_misconfigured", message="The store was disabled before the refund was sent.")
        return await settled(rt, taken, await fail(rt, taken, gone))
    shop = Shop(store=store, policy=policy)
    # A worker that is told to stop does not take the refund down with it.
    return await asyncio.shield(rt.executions.start(_validate_and_send(rt, taken, shop)))


async def withdraw(rt: Runtime, record: RefundRecord, *, actor: str) -> bool:
    """Withdraw a pending refund if its batch was canceled meanwhile; gives whether it was."""
    async with rt.database.transaction() as conn:
        if not await batch_items.is_withdrawn(conn, record.id):
            return False
        after = await refunds.mark_canceled(conn, record, NewEvent(type="refund.canceled", actor=actor))
    if after is not None:
        await settled(rt, record, after)
    return after is not None


async def _validate_and_send(rt: Runtime, record: RefundRecord, shop: Shop) -> RefundRecord:
    found = await read_order(shop, record.command, read_at=record.updated_at, priority="background")
    match found:
        case AmbiguousOrderNumber():
            failure = Failure(
                code="ambiguous_order_number", message=f"The store has {len(found.order_ids)} orders of this number."
            )
            return await settled(rt, record, await fail(rt, record, failure))
        case StoreFailed(code="order_not_found"):
            failure = Failure(code=found.code, message=found.message)
            return await settled(rt, record, await fail(rt, record, failure))
        case StoreFailed():
            wait_s = max(found.retry_after_s or 0, min(5.0 * 2**record.attempts, 60.0))
            return await _postpone(rt, record, found.message, after=timedelta(seconds=wait_s))
        case Reading():
            pass
    validated = await _validate(rt, record, found, shop)
    if isinstance(validated, RefundRecord):
        return await carry_out(rt, validated, shop, priority="background")
    if isinstance(validated, Refusal):
        return await refuse(rt, record, validated)
    if validated is None:
        return await as_it_is(rt, record)
    return await _postpone(rt, record, f"The order waits for {validated}.", after=timedelta(seconds=5))


async def _validate(
    rt: Runtime, record: RefundRecord, found: Reading, shop: Shop
) -> RefundRecord | Refusal | str | None:
    """Decide on the order under its lock; a plan made earlier only has to fit. A str names the refund that blocks."""
    order = found.order
    async with rt.database.transaction() as conn:
        await standing.lock_order(conn, record.store_id, order.id)
        in_doubt = await standing.doubtful(conn, record.store_id, order.id)
        if in_doubt is not None:
            return in_doubt
        if record.plan is not None:
            held = await standing.holds(
                conn, record.store_id, order.id, snapshot_read_at=order.read_at, before=record.id
            )
            refusal = fits(record.plan, order, holds=held, capability=found.capability, policy=shop.policy)
            return refusal or record
        held = await standing.holds(conn, record.store_id, order.id, snapshot_read_at=order.read_at)
        plan = decide(record.command, order, holds=held, capability=found.capability, policy=shop.policy)
        if not isinstance(plan, RefundPlan):
            return plan
        event = NewEvent(
            type="refund.validated",
            actor=rt.executor_id,
            data={"amount": format(plan.amount, "f"), "currency": plan.currency},
        )
        return await refunds.mark_planned(conn, record, plan, event)


async def _postpone(rt: Runtime, record: RefundRecord, why: str, *, after: timedelta) -> RefundRecord:
    due_at = rt.clock() + after
    event = NewEvent(type="refund.postponed", actor=rt.executor_id, data={"why": why, "until": due_at.isoformat()})
    async with rt.database.transaction() as conn:
        later = await refunds.postpone(conn, record, event, due_at=due_at)
        if later is not None:
            await rt.jobs.send_later(conn, record.id, at=due_at)
    return later or await as_it_is(rt, record)
