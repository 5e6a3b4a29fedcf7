"""Batches as people handle them: make, look, release, pause, resume, cancel. `lanes` does the work."""

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Literal, assert_never

from ulid import ULID

from app.database import Connection
from app.domain.batch import BatchStatus, ItemStatus, NewBatch, Stops
from app.flows.batch_check import check_items, cleaned
from app.flows.batch_results import BatchFaulty, BatchMade, BatchNotFound, BatchView, BatchWrongState, ItemView
from app.flows.batch_view import view_of
from app.flows.results import Caller, KeyReused
from app.flows.runtime import Runtime
from app.flows.send import withdraw
from app.ledger import batch_items, batches, keys, refunds, tenants
from app.ledger.batches import BatchRecord


async def create(
    rt: Runtime, caller: Caller, new: NewBatch, *, idempotency_key: str | None, fingerprint: bytes, request_id: str
) -> BatchMade | BatchFaulty | KeyReused:
    """Take a batch on if nothing is wrong with any of its items. `fingerprint` is of the request's whole content."""
    if idempotency_key is not None:
        # A repetition is the same batch, whatever has become of its references meanwhile.
        async with rt.database.reading() as conn:
            known = await keys.known(conn, caller.tenant_id, idempotency_key, fingerprint)
        if known is not None:
            return await _replayed(rt, caller, known)
    faults = await check_items(rt, caller, new)
    if faults:
        return BatchFaulty(faults=faults)
    async with rt.database.transaction() as conn:
        batch_id = new_batch_id()
        if idempotency_key is not None:
            claimed = await keys.claim(conn, caller.tenant_id, idempotency_key, fingerprint, batch_id)
        else:
            claimed = keys.Claimed(resource_id=batch_id, first=True, same=True)
        if claimed.first:
            await write(rt, conn, caller, new, request_id=request_id, created_by=caller.actor, batch_id=batch_id)
    if not claimed.first:
        return await _replayed(rt, caller, claimed)
    made = await look(rt, caller, batch_id)
    assert isinstance(made, BatchView)
    return BatchMade(view=made, replayed=False)


async def _replayed(rt: Runtime, caller: Caller, claimed: keys.Claimed) -> BatchMade | KeyReused:
    view = await look(rt, caller, claimed.resource_id) if claimed.same else None
    if not isinstance(view, BatchView):
        return KeyReused(resource_id=claimed.resource_id)
    return BatchMade(view=view, replayed=True)


def new_batch_id() -> str:
    """Make an id for a batch."""
    return f"bt_{ULID()}"


async def write(
    rt: Runtime,
    conn: Connection,
    caller: Caller,
    new: NewBatch,
    *,
    request_id: str,
    created_by: str,
    batch_id: str | None = None,
) -> str:
    """Write a checked batch in the caller's transaction, with the jobs that will run it; gives its id."""
    batch_id = batch_id or new_batch_id()
    now = rt.clock()
    stores = {row.name: row.id for row in await tenants.stores(conn, caller.tenant_id, store_ids=caller.store_ids)}
    used = sorted({stores[item.command.store] for item in new.items})
    later = new.start_at is not None and new.start_at > now
    status: BatchStatus = "held" if new.mode == "hold" else "scheduled" if later else "running"
    record = BatchRecord(
        id=batch_id,
        tenant_id=caller.tenant_id,
        name=new.name,
        mode=new.mode,
        status=status,
        stopped_by=None,
        start_at=new.start_at,
        release_until=_release_until(rt, new, now),
        stop_after_failures=new.stops.stop_after_failures,
        stop_if_over=new.stops.stop_if_over,
        items=len(new.items),
        processed=0,
        failed=0,
        processed_before=0,
        failed_before=0,
        store_ids=tuple(used),
        schedule_id=new.schedule_id,
        caller=_caller_json(caller),
        request_id=request_id,
        created_by=created_by,
        released_by=None,
        created_at=now,
        updated_at=now,
        started_at=now if status == "running" else None,
        finished_at=None,
    )
    await batches.insert(conn, record, new.stops.max_total)
    await batches.insert_items(conn, batch_id, await asyncio.to_thread(cleaned, new.items), stores)
    await batches.announce(conn, record, "batch.created", actor=created_by)
    match status:
        case "running":
            await batches.announce(conn, record, "batch.started", actor=created_by)
            await open_lanes(rt, conn, record)
        case "scheduled":
            await rt.jobs.later(conn, "start_batch", {"batch_id": batch_id}, lock=batch_id, at=new.start_at)
        case _:
            pass
    return batch_id


def _release_until(rt: Runtime, new: NewBatch, now: datetime) -> datetime | None:
    if new.mode != "hold":
        return None
    return new.release_until or max(now, new.start_at or now) + timedelta(seconds=rt.settings.hold_limit_s)


async def open_lanes(rt: Runtime, conn: Connection, record: BatchRecord) -> None:
    """Have the items of a running batch worked on, store by store."""
    for store_id in record.store_ids:
        await rt.jobs.later(conn, "run_lane", {"store_id": store_id}, lock=store_id)


def _caller_json(caller: Caller) -> dict[str, Any]:
    return {
        "key_id": caller.key_id,
        "name": caller.name,
        "scopes": sorted(caller.scopes),
        "store_ids": None if caller.store_ids is None else sorted(caller.store_ids),
    }


async def look(rt: Runtime, caller: Caller, batch_id: str) -> BatchView | BatchNotFound:
    """Give a batch and how far it has come."""
    async with rt.database.reading() as conn:
        record = await batches.find(conn, caller.tenant_id, batch_id, store_ids=caller.store_ids)
        if record is None:
            return BatchNotFound(batch_id=batch_id)
        return await view_of(rt, conn, record)


async def listed(
    rt: Runtime, caller: Caller, *, status: BatchStatus | None, schedule_id: str | None, limit: int, after: str | None
) -> list[BatchView]:
    """Give batches, newest first, from behind the batch `after`."""
    async with rt.database.reading() as conn:
        records = await batches.page(
            conn,
            caller.tenant_id,
            store_ids=caller.store_ids,
            status=status,
            schedule_id=schedule_id,
            limit=limit,
            after=after,
        )
        return [await view_of(rt, conn, record) for record in records]


async def items(
    rt: Runtime, caller: Caller, batch_id: str, *, status: ItemStatus | None, limit: int, after: int | None
) -> list[ItemView] | BatchNotFound:
    """Give items of a batch by their numbers, from behind the number `after`."""
    async with rt.database.reading() as conn:
        if await batches.find(conn, caller.tenant_id, batch_id, store_ids=caller.store_ids) is None:
            return BatchNotFound(batch_id=batch_id)
        outcomes = await batch_items.page(conn, batch_id, status=status, limit=limit, after=after)
    return [
        ItemView(
            id=outcome.number,
            store=outcome.store,
            order_id=outcome.order_id,
            order_number=outcome.order_number,
            external_reference=outcome.external_reference,
            status=outcome.status,
            replayed=outcome.replayed,
            refund_id=outcome.refund_id,
            store_refund_id=outcome.store_refund_id,
            money=outcome.money,
            amount=outcome.amount,
            currency=outcome.currency,
            decimals=outcome.decimals,
            payment=outcome.payment,
            failure=outcome.failure,
            settled_at=outcome.settled_at,
        )
        for outcome in outcomes
    ]


BatchAction = Literal["release", "pause", "resume", "cancel"]

#: The statuses that allow each action.
_ALLOWED: Mapping[BatchAction, tuple[BatchStatus, ...]] = {
    "release": ("held",),
    "pause": ("scheduled", "running"),
    "resume": ("paused", "stopped"),
    "cancel": ("scheduled", "held", "running", "paused", "stopped"),
}


async def release(rt: Runtime, caller: Caller, batch_id: str) -> BatchView | BatchNotFound | BatchWrongState:
    """Let a held batch run, or wait for its time."""
    return await _act(rt, caller, batch_id, "release")


async def pause(rt: Runtime, caller: Caller, batch_id: str) -> BatchView | BatchNotFound | BatchWrongState:
    """Take up no more items; those under way come to their end."""
    return await _act(rt, caller, batch_id, "pause")


async def resume(
    rt: Runtime, caller: Caller, batch_id: str, *, stops: Stops | None
) -> BatchView | BatchNotFound | BatchWrongState:
    """Let a paused or stopped batch go on; `stops` replaces what may stop it. Failures so far no longer count."""
    return await _act(rt, caller, batch_id, "resume", stops=stops)


async def cancel(rt: Runtime, caller: Caller, batch_id: str) -> BatchView | BatchNotFound | BatchWrongState:
    """Drop what has not been taken up, and withdraw what was not sent; what is under way comes to its end."""
    view = await _act(rt, caller, batch_id, "cancel")
    if not isinstance(view, BatchView):
        return view
    await withdraw_unsent(rt, batch_id, actor=caller.actor)
    async with rt.database.transaction() as conn:
        await batch_items.count_up(conn, batch_id)
    return await look(rt, caller, batch_id)


async def withdraw_unsent(rt: Runtime, batch_id: str, *, actor: str) -> None:
    """Withdraw the refunds of a canceled batch that were not sent; those that come back in line later as well."""
    async with rt.database.reading() as conn:
        unsent = [await refunds.get(conn, refund_id) for refund_id in await batch_items.unsent_refunds(conn, batch_id)]
    for record in unsent:
        if record is not None and record.status == "pending":
            await withdraw(rt, record, actor=actor)


async def expire(conn: Connection, batch_id: str) -> None:
    """Drop a held batch that nobody has released in time."""
    expired = await batches.move(
        conn, batch_id, to="expired", among=("held",), actor="gateway", event_type="batch.expired"
    )
    if expired is not None:
        await batch_items.drop_waiting(conn, batch_id)
        await batch_items.count_up(conn, batch_id)


async def _act(
    rt: Runtime, caller: Caller, batch_id: str, action: BatchAction, *, stops: Stops | None = None
) -> BatchView | BatchNotFound | BatchWrongState:
    async with rt.database.transaction() as conn:
        record = await batches.find(conn, caller.tenant_id, batch_id, store_ids=caller.store_ids)
        if record is None:
            return BatchNotFound(batch_id=batch_id)
        allowed = _ALLOWED[action]
        waits = record.start_at is not None and record.start_at > rt.clock()
        actor = caller.actor
        match action:
            case "release":
                to: BatchStatus = "scheduled" if waits else "running"
                if record.release_until is not None and record.release_until <= rt.clock():
                    await expire(conn, batch_id)
                after = await batches.move(
                    conn,
                    batch_id,
                    to=to,
                    among=allowed,
                    released_by=actor,
                    actor=actor,
                    event_type="batch.released",
                )
            case "pause":
                after = await batches.move(
                    conn, batch_id, to="paused", among=allowed, actor=actor, event_type="batch.paused"
                )
            case "resume":
                after = await batches.move(
                    conn,
                    batch_id,
                    to="scheduled" if waits and record.started_at is None else "running",
                    among=allowed,
                    actor=actor,
                    event_type="batch.resumed",
                )
                if after is not None:
                    after = await batches.let_go_on(conn, batch_id, stops)
            case "cancel":
                after = await batches.move(
                    conn, batch_id, to="canceled", among=allowed, actor=actor, event_type="batch.canceled"
                )
                if after is not None:
                    await batch_items.drop_waiting(conn, batch_id)
            case _:
                assert_never(action)
        if after is None:
            now = await batches.get(conn, batch_id)
            assert now is not None
            return BatchWrongState(view=await view_of(rt, conn, now), allowed=allowed)
        if after.status == "running":
            await open_lanes(rt, conn, after)
        elif after.status == "scheduled":
            await rt.jobs.later(conn, "start_batch", {"batch_id": batch_id}, lock=batch_id, at=after.start_at)
        return await view_of(rt, conn, after)
