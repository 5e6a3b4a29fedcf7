"""Deleting a refund's row in its store. The money stays where it is; the ledger keeps the refund and its history."""

from datetime import timedelta

from app.flows.mirror import Where, may_be_under_way, mirror_rows
from app.flows.results import (
    Caller,
    Deleted,
    Deletion,
    NoStoreRefund,
    PaidByGateway,
    RefundNotFound,
    StoreFailed,
    StoreNotFound,
    StoreRefundNotFound,
    WrongState,
)
from app.flows.runtime import Runtime
from app.flows.settle import as_it_is
from app.flows.shop import failed, open_store
from app.ledger import refunds, search, seen
from app.ledger.events import NewEvent
from app.ledger.records import RefundRecord
from app.stores.port import ListedRefund, Store, StoreError

_DELETABLE = ("succeeded", "failed")
#: Longer than any deletion takes, looks at the store included.
_CUT_OFF_AFTER = timedelta(minutes=2)


async def delete(rt: Runtime, caller: Caller, refund_id: str, *, force: bool) -> Deletion:
    """Delete the store's row of a refund that the ledger knows, ours or one made by others.

    One that its payment gateway has paid needs `force`: no money comes back, and it goes on counting as paid. A row
    that is gone already is given as deleted.
    """
    async with rt.database.reading() as conn:
        record = await refunds.find(conn, caller.tenant_id, refund_id)
    if record is None or (caller.store_ids is not None and record.store_id not in caller.store_ids):
        return RefundNotFound(refund_id=refund_id)
    if record.status not in _DELETABLE:
        return WrongState(record=record, allowed=_DELETABLE)
    if record.store_refund_id is None or record.order_id is None:
        return NoStoreRefund(record=record)
    if record.deleted_at is not None:
        return Deleted(record=record, listed=None, money_stays_paid=_stays_paid(record), by_this=False)
    return await delete_in_store(rt, caller, record.store, record.order_id, record.store_refund_id, force=force)


async def delete_in_store(
    rt: Runtime, caller: Caller, store: str, order_id: str, store_refund_id: str, *, force: bool
) -> Deletion:
    """Delete one of a store's rows, read under that very order before; as `delete` does otherwise."""
    opened = await open_store(rt, caller, store)
    if isinstance(opened, StoreNotFound):
        return opened
    try:
        listed = await opened.store.read_refund(order_id, store_refund_id)
        if listed is None:
            return await _gone_before(rt, opened.where, order_id, store_refund_id)
        known = await mirror_rows(rt, opened.where, [(order_id, listed.refund)])
        record = await _record(rt, known.get(store_refund_id))
        if record is None:
            # A refund of ours that is under way may be this row: until it is settled, nobody takes its trace away.
            return await _blocked(rt, opened.where, order_id, store_refund_id)
        if record.status not in _DELETABLE:
            return WrongState(record=record, allowed=_DELETABLE)
        if record.origin == "store" and may_be_under_way(rt, listed.refund):
            wait_s = rt.settings.store_limit_s
            why = "The refund was made moments ago, and its payment may still be under way in the store."
            return StoreFailed(code="store_unavailable", message=why, retry_after_s=wait_s)
        paid = True if listed.refund.refunded_payment else _stays_paid(record)
        if paid is not False and not force:
            return PaidByGateway(store_refund_id=store_refund_id, refund_id=record.id, certain=paid is True)
        return await _delete(rt, caller, opened.store, record, listed, paid=paid)
    except StoreError as error:
        return failed(error)


async def _delete(
    rt: Runtime, caller: Caller, store: Store, record: RefundRecord, listed: ListedRefund, *, paid: bool | None
) -> Deletion:
    row = listed.refund
    asked = NewEvent(type="refund.deleting", actor=caller.actor, data={"store_refund_id": row.id})
    async with rt.database.transaction() as conn:
        await seen.set_out_to_delete(conn, record.tenant_id, record.id, asked, by=caller.actor)
    came_to = await store.delete_refund(listed.order_id, row.id)
    if came_to == "kept":
        await _given_up(rt, record, caller.actor)
        return StoreFailed(code="store_unavailable", message="The store did not delete the refund; it is still there.")
    event = NewEvent(
        type="refund.deleted",
        actor=caller.actor,
        data={"store_refund_id": row.id, "money_stays_paid": paid},
    )
    async with rt.database.transaction() as conn:
        after = await seen.mark_deleted(conn, record.tenant_id, record.id, event, by=caller.actor)
    return Deleted(
        record=after or await as_it_is(rt, record),
        listed=listed,
        money_stays_paid=paid,
        by_this=came_to == "deleted",
    )


async def _given_up(rt: Runtime, record: RefundRecord, actor: str) -> None:
    kept = NewEvent(type="refund.not_deleted", actor=actor, data={"store_refund_id": record.store_refund_id or ""})
    async with rt.database.transaction() as conn:
        await seen.give_up_deleting(conn, record.tenant_id, record.id, kept)


async def finish_deletions(rt: Runtime) -> int:
    """Find out what became of deletions that were cut off, by a crash or by a store that went away meanwhile."""
    async with rt.database.reading() as conn:
        records = await seen.cut_off_deletions(conn, older_than=_CUT_OFF_AFTER, limit=200)
    for record in records:
        assert record.order_id is not None
        assert record.store_refund_id is not None
        try:
            store, _ = await rt.stores.open(record.store_id)
            listed = await store.read_refund(record.order_id, record.store_refund_id)
        except (StoreError, LookupError):
            continue
        if listed is not None:
            await _given_up(rt, record, rt.executor_id)
            continue
        gone = NewEvent(type="refund.deleted", actor=rt.executor_id, data={"store_refund_id": record.store_refund_id})
        async with rt.database.transaction() as conn:
            await seen.mark_deleted(conn, record.tenant_id, record.id, gone, by="store")
    return len(records)


def _stays_paid(record: RefundRecord) -> bool | None:
    """Say whether a settled refund's payment gateway has paid; None when its store's API does not tell."""
    return None if record.money == "unknown" else record.money == "moved"


async def _record(rt: Runtime, refund_id: str | None) -> RefundRecord | None:
    if refund_id is None:
        return None
    async with rt.database.reading() as conn:
        return await refunds.get(conn, refund_id)


async def _gone_before(rt: Runtime, where: Where, order_id: str, store_refund_id: str) -> Deletion:
    """Answer for a row that the store does not show under this order: one that was deleted, or none at all."""
    async with rt.database.reading() as conn:
        known = await search.of_store_refund(conn, where.tenant_id, where.store_id, order_id, store_refund_id)
    if known is None:
        return StoreRefundNotFound(store_refund_id=store_refund_id)
    event = NewEvent(type="refund.deleted", actor="store", data={"store_refund_id": store_refund_id})
    async with rt.database.transaction() as conn:
        after = await seen.mark_deleted(conn, where.tenant_id, known.id, event, by="store")
    return Deleted(record=after or known, listed=None, money_stays_paid=_stays_paid(known), by_this=False)


async def _blocked(rt: Runtime, where: Where, order_id: str, store_refund_id: str) -> Deletion:
    async with rt.database.reading() as conn:
        under_way = await search.under_way(conn, where.store_id, order_id)
    if under_way is None:
        return StoreRefundNotFound(store_refund_id=store_refund_id)
    return WrongState(record=under_way, allowed=_DELETABLE)
