"""What people do to refunds: cancel, resolve, look again."""

from datetime import timedelta
from typing import assert_never

from app.domain.errors import Fact
from app.domain.refund import Failure, Observation, Resolution
from app.flows.recover import look
from app.flows.results import Accepted, Caller, RefundNotFound, StoreFailed, StoreRefundNotFound, WrongState
from app.flows.runtime import Runtime
from app.flows.settle import Shop, as_it_is, settled
from app.flows.shop import failed
from app.ledger import refunds, search
from app.ledger.events import NewEvent
from app.ledger.records import RefundRecord
from app.stores.port import StoreError


async def _find(rt: Runtime, caller: Caller, refund_id: str) -> RefundRecord | None:
    async with rt.database.reading() as conn:
        record = await refunds.find(conn, caller.tenant_id, refund_id)
    if record is None or (caller.store_ids is not None and record.store_id not in caller.store_ids):
        return None
    return record


async def cancel(rt: Runtime, caller: Caller, refund_id: str) -> Accepted | RefundNotFound | WrongState:
    """Withdraw a refund that has not been sent; one that is already canceled is given as it is."""
    record = await _find(rt, caller, refund_id)
    if record is None:
        return RefundNotFound(refund_id=refund_id)
    if record.status == "canceled":
        return Accepted(record=record, replayed=True)
    if record.status != "pending":
        return WrongState(record=record, allowed=("pending",))
    event = NewEvent(type="refund.canceled", actor=caller.actor)
    async with rt.database.transaction() as conn:
        after = await refunds.mark_canceled(conn, record, event)
    if after is None:
        return WrongState(record=await as_it_is(rt, record), allowed=("pending",))
    return Accepted(record=await settled(rt, record, after), replayed=False)


async def resolve(
    rt: Runtime,
    caller: Caller,
    refund_id: str,
    *,
    outcome: Resolution,
    note: str,
    person: str,
    store_refund_id: str | None = None,
) -> Accepted | RefundNotFound | WrongState | StoreRefundNotFound | StoreFailed:
    """Write down what a person has found out about a refund in review, with name and note.

    `resend` puts it back in line: it is checked against the order again before it is sent. With `succeeded` a person
    can name the store's row that is this refund's; it has to be under its order, and no other refund's of ours.
    """
    record = await _find(rt, caller, refund_id)
    if record is None:
        return RefundNotFound(refund_id=refund_id)
    facts: dict[str, Fact] = {"outcome": outcome, "by": person}
    if record.status != "needs_review":
        before = [seen for seen in record.evidence if seen.kind == "resolved_by_person"]
        if before and (before[-1].text, dict(before[-1].facts)) == (note, facts):
            return Accepted(record=record, replayed=True)
        return WrongState(record=record, allowed=("needs_review",))
    if store_refund_id is not None and outcome == "succeeded":
        missing = await _not_its_row(rt, record, store_refund_id)
        if missing is not None:
            return missing
    said = Observation(kind="resolved_by_person", text=note, at=rt.clock(), facts=facts)
    data = {"outcome": outcome, "note": note, "by": person}
    event = NewEvent(type="refund.resolved", actor=f"{caller.actor} {person}", data=data)
    async with rt.database.transaction() as conn:
        match outcome:
            case "succeeded":
                after = await refunds.mark_succeeded(
                    conn, record, event, store_refund_id=store_refund_id, evidence=(said,)
                )
            case "failed":
                failure = Failure(code="resolved_as_failed", message="A person found that no money had moved.")
                after = await refunds.mark_failed(conn, record, event, failure=failure, evidence=(said,))
            case "resend":
                expires_in = timedelta(seconds=rt.settings.pending_expiry_s)
                after = await refunds.mark_pending(
                    conn, record, event, due_at=rt.clock(), expires_in=expires_in, evidence=(said,)
                )
                await rt.jobs.send_later(conn, record.id, at=None)
            case _:
                assert_never(outcome)
    if after is None:
        return WrongState(record=await as_it_is(rt, record), allowed=("needs_review",))
    return Accepted(record=await settled(rt, record, after), replayed=False)


async def _not_its_row(
    rt: Runtime, record: RefundRecord, store_refund_id: str
) -> StoreRefundNotFound | StoreFailed | None:
    """Say why a row cannot be this refund's; None when it can."""
    assert record.order_id is not None
    async with rt.database.reading() as conn:
        claimed = await search.claimed(conn, record.store_id, record.order_id, but=record.id)
    if store_refund_id in claimed:
        return StoreRefundNotFound(store_refund_id=store_refund_id)
    try:
        store, _ = await rt.stores.open(record.store_id)
        listed = await store.read_refund(record.order_id, store_refund_id)
    except LookupError:
        return StoreFailed(code="store_misconfigured", message="The store is disabled.")
    except StoreError as error:
        return failed(error)
    return None if listed is not None else StoreRefundNotFound(store_refund_id=store_refund_id)


async def recheck(rt: Runtime, caller: Caller, refund_id: str) -> Accepted | RefundNotFound | WrongState | StoreFailed:
    """Look at the store now for a refund that is uncertain or in review; final ones are given as they are."""
    record = await _find(rt, caller, refund_id)
    if record is None:
        return RefundNotFound(refund_id=refund_id)
    if record.status not in ("uncertain", "needs_review"):
        return Accepted(record=record, replayed=True)
    try:
        store, policy = await rt.stores.open(record.store_id)
    except LookupError:
        return StoreFailed(code="store_misconfigured", message="The store is disabled.")
    after = await look(rt, record, Shop(store=store, policy=policy))
    return Accepted(record=after, replayed=False)
