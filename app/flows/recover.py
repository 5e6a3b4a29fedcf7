"""Finding out what became of refunds: those whose process died, and those whose answer said too little."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, assert_never

import structlog

from app.domain.evidence import (
    AnswerKind,
    Attempt,
    Limits,
    NotMoved,
    Resend,
    Review,
    Succeeded,
    Verdict,
    Wait,
    weigh,
)
from app.domain.money import plain
from app.domain.refund import Failure, Observation
from app.domain.sight import Sight, sight_of
from app.flows.runtime import Runtime
from app.flows.settle import Shop, as_it_is, fail
from app.ledger import events, executors, nonces, quotes, refunds, search
from app.ledger.events import NewEvent
from app.ledger.records import LastAnswer, RefundRecord
from app.stores.port import OrderNotFound, StoreError

log = structlog.get_logger(__name__)

#: Keeps two workers from looking at the same refund at the same time; a worker that dies frees it after this.
_LOOK_CLAIM = timedelta(seconds=30)


async def sweep(rt: Runtime) -> int:
    """Find what nobody is at work on, and see to it that somebody is; gives how many refunds that were."""
    found = 0
    async with rt.database.transaction() as conn:
        for record in await search.abandoned(conn, limit=200):
            found += 1
            assert record.lease_until is not None
            if record.status == "pending":
                event = NewEvent(type="refund.abandoned", actor="gateway", data={"by": record.executor})
                after = await refunds.postpone(conn, record, event, due_at=rt.clock())
                if after is not None:
                    await rt.jobs.send_later(conn, record.id, at=None)
                continue
            # The process may have sent it at any time until its lease ended.
            due_at = record.lease_until + timedelta(seconds=rt.settings.quiet_period_s)
            why = "The process that was sending the refund died."
            event = NewEvent(type="refund.uncertain", actor="gateway", data={"why": why, "by": record.executor})
            await refunds.mark_uncertain(
                conn,
                record,
                event,
                answer=None,
                touch_lost_at=record.lease_until,
                due_at=due_at,
                evidence=(Observation(kind="process_died", text=why, at=rt.clock()),),
            )
            await rt.jobs.settle_later(conn, record.id, at=due_at)
    async with rt.database.transaction() as conn:
        for refund_id, status in await search.due(conn, limit=200):
            found += 1
            if status == "pending":
                await rt.jobs.send_later(conn, refund_id, at=None)
            else:
                await rt.jobs.settle_later(conn, refund_id, at=rt.clock())
    return found


async def tidy(rt: Runtime) -> None:
    """Forget what nobody needs any more: processes long gone, quotes long expired, nonces too old to be of use."""
    async with rt.database.transaction() as conn:
        await executors.forget(conn, unseen_for=timedelta(hours=1))
        await quotes.forget(conn, expired_for=timedelta(days=1))
        await nonces.forget(conn, older_than=timedelta(hours=1))


async def settle(rt: Runtime, refund_id: str) -> RefundRecord | None:
    """Look at an uncertain refund if it is due, and settle it if the evidence allows; None if nothing is to be done."""
    async with rt.database.reading() as conn:
        record = await refunds.get(conn, refund_id)
    if record is None or record.status != "uncertain" or record.due_at is None or record.due_at > rt.clock():
        return None
    try:
        store, policy = await rt.stores.open(record.store_id)
    except LookupError:
        return await _look_again(rt, record, "The store is disabled.")
    return await look(rt, record, Shop(store=store, policy=policy))


async def look(rt: Runtime, record: RefundRecord, shop: Shop) -> RefundRecord:
    """Read the store and weigh what it shows of a refund that is uncertain or in review; gives it as it is afterwards.

    A refund in review changes only when the store now says that it was paid: everything else a person decides.
    """
    claimed: RefundRecord | None = record
    if record.status == "uncertain":
        async with rt.database.transaction() as conn:
            claimed = await refunds.claim_look(conn, record, until=rt.clock() + _LOOK_CLAIM)
    if claimed is None:
        return await as_it_is(rt, record)
    try:
        sight = await _see(rt, claimed, shop)
    except OrderNotFound:
        why = "The store no longer shows the order."
        return await _apply(rt, claimed, "order_gone", Review(code="order_gone", why=why), sight=None)
    except StoreError as error:
        return await _look_again(rt, claimed, f"The store could not be read: {error}")
    limits = Limits(
        quiet=timedelta(seconds=rt.settings.quiet_period_s),
        store_limit=timedelta(seconds=rt.settings.store_limit_s),
        on_absence=shop.policy.on_absence,
    )
    rule, verdict = weigh(_attempt(claimed), sight, limits)
    return await _apply(rt, claimed, rule, verdict, sight=sight)


async def _see(rt: Runtime, record: RefundRecord, shop: Shop) -> Sight:
    """Read the notes, then the order: the other way round, a refund arriving in between shows its note but no row."""
    plan = record.plan
    assert plan is not None
    assert record.sent_at is not None
    # The ledger's clock, read before the store is: a look never counts as later than it was.
    looked_at = record.updated_at if record.status == "uncertain" else rt.clock()
    notes = await shop.store.read_notes(plan.order_id) if record.payment == "gateway" else ()
    order = await shop.store.read_order(plan.order_id, read_at=looked_at, priority="background", verify=True)
    async with rt.database.reading() as conn:
        known = await search.of_order(conn, record.tenant_id, record.store_id, plan.order_id)
        claimed = await search.claimed(conn, record.store_id, plan.order_id, but=record.id)
    return sight_of(
        order=order,
        notes=notes,
        marker=record.marker,
        amount=plan.amount,
        sent_at=record.sent_at,
        known_refund_ids=frozenset(known) - {record.store_refund_id or ""},
        claimed_refund_ids=claimed,
        looked_at=looked_at,
    )


def _attempt(record: RefundRecord) -> Attempt:
    assert record.plan is not None
    assert record.touch_lost_at is not None
    assert record.payment != "unknown"
    kind, refusal = _answer_kind(record.answer)
    return Attempt(
        payment=record.payment,
        amount=record.plan.amount,
        decimals=record.plan.decimals,
        marker=record.marker,
        touch_lost_at=record.touch_lost_at,
        answer=kind,
        refusal=refusal,
        sent_via=record.sent_via or "v3",
    )


def _answer_kind(answer: LastAnswer | None) -> tuple[AnswerKind, Failure | None]:
    if answer is None:
        return "none", None
    if answer.kind == "refused":
        return "refused", Failure(code="gateway_declined", message=answer.text)
    match answer.turned_away:
        case "rate_limited" | "maintenance":
            return "turned_away_for_now", None
        case "redirected":
            return "turned_away_for_good", Failure(code="store_misconfigured", message=answer.text)
        case "captcha" | "blocked":
            return "turned_away_for_good", Failure(code="store_blocked", message=answer.text)
        case _:
            return "none", None


async def _apply(
    rt: Runtime, record: RefundRecord, rule: str, verdict: Verdict, *, sight: Sight | None
) -> RefundRecord:
    """Write a verdict down, with what was seen."""
    now = rt.clock()
    seen = Observation(kind=rule, text=verdict.why, at=now, facts=_facts(sight, record))
    data: dict[str, Any] = {"rule": rule, "why": verdict.why, **_facts(sight, record)}
    if record.status == "needs_review" and not isinstance(verdict, Succeeded):
        async with rt.database.transaction() as conn:
            event = NewEvent(type="refund.looked_at", actor=rt.executor_id, data=data)
            await events.append(conn, record.tenant_id, record.id, event)
        return record
    match verdict:
        case Succeeded():
            event = NewEvent(type="refund.succeeded", actor=rt.executor_id, data=data)
            async with rt.database.transaction() as conn:
                after = await refunds.mark_succeeded(
                    conn, record, event, store_refund_id=verdict.store_refund_id, evidence=(seen,)
                )
        case NotMoved():
            after = await fail(rt, record, verdict.failure, data=data, store_refund_id=verdict.store_refund_id)
        case Wait():
            return await _look_again(rt, record, verdict.why, not_before=verdict.until, rule=rule)
        case Resend():
            event = NewEvent(type="refund.resent", actor=rt.executor_id, data=data)
            async with rt.database.transaction() as conn:
                after = await refunds.mark_pending(conn, record, event, due_at=now, evidence=(seen,))
                if after is not None:
                    await rt.jobs.send_later(conn, record.id, at=None)
        case Review():
            event = NewEvent(type="refund.needs_review", actor=rt.executor_id, data={"code": verdict.code, **data})
            async with rt.database.transaction() as conn:
                after = await refunds.mark_needs_review(
                    conn,
                    record,
                    event,
                    failure=Failure(code=verdict.code, message=verdict.why),
                    evidence=(seen,),
                    store_refund_id=verdict.store_refund_id,
                )
        case _:
            assert_never(verdict)
    if after is None:
        return await as_it_is(rt, record)
    rt.meters.refund_settled(store=after.store, status=after.status, payment=after.payment)
    log.info(
        "refund.weighed",
        refund_id=record.id,
        store=record.store,
        rule=rule,
        status=after.status,
        money=after.money,
        attempts=after.attempts,
    )
    return after


async def _look_again(
    rt: Runtime, record: RefundRecord, why: str, *, not_before: datetime | None = None, rule: str | None = None
) -> RefundRecord:
    """Have the refund looked at again: soon at first, then less and less often, and when waiting ends."""
    now = rt.clock()
    if record.status == "needs_review":
        async with rt.database.transaction() as conn:
            event = NewEvent(type="refund.looked_at", actor=rt.executor_id, data={"why": why})
            await events.append(conn, record.tenant_id, record.id, event)
        return record
    assert record.touch_lost_at is not None
    age = now - record.touch_lost_at
    pause = min(max(age / 2, timedelta(seconds=1)), timedelta(minutes=2))
    due_at = now + pause
    if not_before is not None and not_before > now:
        # Just after the end of the wait, so that the last look of the wait is one that counts.
        due_at = min(due_at, not_before + timedelta(milliseconds=50))
    event = NewEvent(
        type="refund.looked_at",
        actor=rt.executor_id,
        data={"why": why, "again_at": due_at.isoformat(), **({"rule": rule} if rule else {})},
    )
    async with rt.database.transaction() as conn:
        after = await refunds.postpone(conn, record, event, due_at=due_at)
        if after is not None:
            await rt.jobs.settle_later(conn, record.id, at=due_at)
    return after or await as_it_is(rt, record)


def _facts(sight: Sight | None, record: RefundRecord) -> Mapping[str, Any]:
    """Give what was seen as facts: ids and amounts; the text of notes is the store's and stays there."""
    if sight is None:
        return {}
    return {
        "looked_at": sight.looked_at.isoformat(),
        "rows": [
            {
                "store_refund_id": row.id,
                "amount": plain(row.amount, record.decimals or 0),
                "refunded_payment": str(row.refunded_payment).lower(),
            }
            for row in sight.rows
        ],
        "lookalikes": [row.id for row in sight.lookalikes],
        "payment_notes": len(sight.gateway_notes),
    }
