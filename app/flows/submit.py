"""Taking a refund on: recognise it if it was here before, read the order, decide, reserve, and carry it out."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from app.domain.decision import check_command
from app.domain.errors import Fault, Refusal
from app.domain.refund import RefundCommand, StoreApi
from app.domain.sight import without_markers
from app.flows.content import content_fingerprint, differing
from app.flows.execute import carry_out, wait_for
from app.flows.mirror import Where, mirror_order
from app.flows.rejoin import outcome_of, untold
from app.flows.reserve import Identical, Reading, Reserved, against_quote, draft_of, read_order, reserve
from app.flows.results import (
    Accepted,
    Caller,
    KeyReused,
    ReferenceConflict,
    RequestInProgress,
    StoreNotFound,
    Submission,
)
from app.flows.runtime import Runtime
from app.flows.settle import Shop, as_it_is
from app.ledger import refunds, search
from app.ledger.events import NewEvent
from app.ledger.records import RefundRecord, Via


async def submit(
    rt: Runtime,
    caller: Caller,
    command: RefundCommand,
    *,
    idempotency_key: str | None,
    request_id: str,
    wait_s: float,
    at_once: bool,
    via: Via = "v1",
) -> Submission:
    """Take a refund on and wait for its outcome for at most `wait_s` seconds; it goes on after that.

    Nothing is created when the answer is a "no". `at_once` accepts it unseen: a worker validates and sends it. By the
    front, a request without a key of its own joins an identical one whose outcome nobody was given.
    """
    arrived = rt.clock()
    command = replace(command, reason=without_markers(command.reason))
    refusal = check_command(command)
    if refusal is not None:
        return refusal
    content = content_fingerprint(command)
    known = await _opening(rt, caller, command, idempotency_key, content)
    if not isinstance(known, _New):
        return known
    until = arrived + timedelta(seconds=wait_s)
    joins = via == "front" and idempotency_key is None and command.external_reference is None
    if joins and command.order_id is not None:
        first = await untold(rt, known.store_id, command.order_id, content)
        if first is not None:
            return Accepted(record=await outcome_of(rt, first, until=until), replayed=True)
    try:
        store, policy = await rt.stores.open(known.store_id)
    except LookupError:
        return StoreNotFound(store=command.store)
    refusal = refused_by_api(command, store.api)
    if refusal is not None:
        return refusal
    shop = Shop(store=store, policy=policy)
    draft = replace(draft_of(rt, caller, command, known.store_id, content, request_id), via=via)
    if at_once:
        return await _accept_unseen(rt, caller, draft, idempotency_key, content)
    found = await read_order(shop, command, read_at=known.now)
    if not isinstance(found, Reading):
        return found
    stale = await against_quote(rt, caller, command, known.store_id, found.order)
    if stale is not None:
        return stale
    wait = timedelta(seconds=wait_s)
    reserved = await reserve(rt, draft, found, shop, idempotency_key, waits=wait, joins=joins)
    if isinstance(reserved, Identical):
        return Accepted(record=await outcome_of(rt, reserved.refund_id, until=until), replayed=True)
    if reserved is None:
        # The same key or reference was taken while the order was being read.
        known = await _opening(rt, caller, command, idempotency_key, content)
        assert not isinstance(known, _New)
        return known
    if not isinstance(reserved, Reserved):
        return reserved
    execution = rt.executions.start(carry_out(rt, reserved.record, shop, alone=reserved.alone))
    if found.order.refunds or reserved.has_history:
        where = Where(tenant_id=caller.tenant_id, store_id=known.store_id, store=command.store, api=store.api)
        rt.executions.aside(mirror_order(rt, where, found.order))
    outcome = await wait_for(execution, until=until, now=rt.clock())
    return Accepted(record=outcome or await as_it_is(rt, reserved.record), replayed=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class _New:
    store_id: str
    now: datetime


async def _opening(
    rt: Runtime, caller: Caller, command: RefundCommand, idempotency_key: str | None, content: bytes
) -> _New | Accepted | StoreNotFound | KeyReused | ReferenceConflict | RequestInProgress:
    """Tell a new request from one that was here before."""
    async with rt.database.reading() as conn:
        opening = await search.opening(
            conn,
            caller.tenant_id,
            command.store,
            idempotency_key=idempotency_key,
            external_reference=command.external_reference,
        )
        known = opening.known
        if opening.key_resource is not None:
            return KeyReused(resource_id=opening.key_resource)
        if known is not None and not _may_use(caller, known.store_id):
            return StoreNotFound(store=command.store)
        if known is not None and opening.key_fingerprint is not None:
            return KeyReused(resource_id=known.id) if opening.key_fingerprint != content else _replay(rt, known)
        if opening.store_id is None or not _may_use(caller, opening.store_id):
            return StoreNotFound(store=command.store)
        if known is None:
            return _New(store_id=opening.store_id, now=opening.now)
        if known.fingerprint != content:
            return ReferenceConflict(refund_id=known.id, differing=differing(known.command, command))
        if idempotency_key is not None:
            await search.bind_key(conn, caller.tenant_id, idempotency_key, content, known.id)
        return _replay(rt, known)


def _replay(rt: Runtime, record: RefundRecord) -> Accepted | RequestInProgress:
    now = rt.clock()
    runs = record.status in ("pending", "sending") and record.lease_until is not None and record.lease_until > now
    if runs and record.waited_for_until is not None and record.waited_for_until > now:
        return RequestInProgress(refund_id=record.id)
    return Accepted(record=record, replayed=True)


def _may_use(caller: Caller, store_id: str) -> bool:
    return caller.store_ids is None or store_id in caller.store_ids


def refused_by_api(command: RefundCommand, api: StoreApi) -> Refusal | None:
    """Refuse what a store's API has no place for."""
    if api != "legacy" or not command.store_meta:
        return None
    fault = Fault(
        code="not_supported_by_store",
        pointer="/store_meta_data",
        message="The store's legacy API keeps no meta data with a refund; metadata is kept here, in the gateway.",
        facts={"field": "store_meta_data", "api": "legacy"},
    )
    return Refusal(faults=(fault,))


async def _accept_unseen(
    rt: Runtime, caller: Caller, draft: RefundRecord, idempotency_key: str | None, content: bytes
) -> Submission:
    """Accept a refund that a worker will validate and send; its job is deferred in the same commit."""
    event = NewEvent(
        type="refund.created", actor=draft.created_by, data={"validated": False, "request_id": draft.request_id}
    )
    try:
        async with rt.database.transaction() as conn:
            record = await refunds.insert(
                conn,
                replace(draft, amount=None, currency=None),
                event,
                idempotency_key=idempotency_key,
                lease=None,
                waits=timedelta(0),
            )
            await rt.jobs.send_later(conn, record.id, at=None)
    except refunds.AlreadyThere:
        known = await _opening(rt, caller, draft.command, idempotency_key, content)
        assert not isinstance(known, _New)
        return known
    return Accepted(record=record, replayed=False)
