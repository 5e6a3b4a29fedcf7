"""Taking a refund on: recognise it if it was here before, read the order, decide, reserve, and carry it out."""

import secrets
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from ulid import ULID

from app.domain.decision import check_command, decide
from app.domain.errors import Fault, Refusal
from app.domain.order import OrderSnapshot
from app.domain.order_state import differences, fingerprint
from app.domain.refund import GatewayCapability, RefundCommand, RefundPlan
from app.domain.sight import without_markers
from app.flows.content import content_fingerprint, differing, money_fingerprint
from app.flows.execute import carry_out, wait_for
from app.flows.mirror import Where, mirror_order
from app.flows.rejoin import outcome_of, untold
from app.flows.results import (
    Accepted,
    AmbiguousOrderNumber,
    Caller,
    KeyReused,
    OrderBlocked,
    OrderChanged,
    QuoteRefused,
    ReferenceConflict,
    RequestInProgress,
    StoreFailed,
    StoreNotFound,
    Submission,
)
from app.flows.runtime import Runtime
from app.flows.settle import Shop, as_it_is
from app.ledger import quotes, refunds, search, standing
from app.ledger.events import NewEvent
from app.ledger.records import RefundRecord, Via
from app.stores.port import OrderNotFound, Priority, StoreError, StoreUnavailable

#: Crockford's base 32, as in ULIDs: no I, L, O or U, so that a marker can be read aloud.
_LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """An order as read for a decision."""

    order: OrderSnapshot
    capability: GatewayCapability


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
    if command.store_meta and store.api == "legacy":
        return _no_meta()
    shop = Shop(store=store, policy=policy)
    draft = replace(_draft(rt, caller, command, known.store_id, content, request_id), via=via)
    if at_once:
        return await _accept_unseen(rt, caller, draft, idempotency_key, content)
    found = await read_order(shop, command, read_at=known.now)
    if not isinstance(found, Reading):
        return found
    stale = await _against_quote(rt, caller, command, known.store_id, found.order)
    if stale is not None:
        return stale
    wait = timedelta(seconds=wait_s)
    reserved = await _reserve(rt, draft, found, shop, idempotency_key, waits=wait, joins=joins)
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
class Reserved:
    """A refund that holds its part of the order."""

    record: RefundRecord
    alone: bool  #: no other refund of ours was unfinished on the order when it was reserved
    has_history: bool  #: the ledger knows other refunds of the order


@dataclass(frozen=True, slots=True, kw_only=True)
class Identical:
    """An identical request was quicker, and its outcome has not been given to anyone."""

    refund_id: str


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


async def read_order(
    shop: Shop, command: RefundCommand, *, read_at: datetime, priority: Priority = "interactive"
) -> Reading | StoreFailed | AmbiguousOrderNumber:
    """Find and read the order that a command names, and what its payment method can do."""
    try:
        order_id = command.order_id
        if order_id is None:
            assert command.order_number is not None
            ids = await shop.store.find_order(command.order_number, priority=priority)
            if len(ids) > 1:
                return AmbiguousOrderNumber(order_ids=ids)
            if not ids:
                return StoreFailed(
                    code="order_not_found", message=f"The store has no order with the number {command.order_number}."
                )
            order_id = ids[0]
        order = await shop.store.read_order(order_id, read_at=read_at, priority=priority)
        capability = await shop.store.payment_capability(order.payment_method, priority=priority)
    except OrderNotFound as error:
        return StoreFailed(code="order_not_found", message=str(error))
    except StoreUnavailable as error:
        return StoreFailed(code=error.code, message=str(error), retry_after_s=error.retry_after_s)
    except StoreError as error:
        return StoreFailed(code=error.code, message=str(error))
    return Reading(order=order, capability=capability)


async def _against_quote(
    rt: Runtime, caller: Caller, command: RefundCommand, store_id: str, order: OrderSnapshot
) -> QuoteRefused | OrderChanged | None:
    """Hold a request against the quote it names: same content, still valid, and the order as it was."""
    if command.quote_id is None:
        return None
    async with rt.database.reading() as conn:
        quote = await quotes.find(conn, caller.tenant_id, command.quote_id)
    if quote is None:
        return QuoteRefused(code="quote_not_found", message=f"There is no quote {command.quote_id}.")
    if quote.store_id != store_id or quote.order_id != order.id or quote.fingerprint != money_fingerprint(command):
        return QuoteRefused(
            code="quote_mismatch", message="The quote was made for another refund: order, amounts or lines differ."
        )
    if quote.expires_at <= rt.clock():
        return QuoteRefused(code="quote_expired", message="The quote has expired; ask for a new preview.")
    if quote.state != fingerprint(order):
        changed = differences(quote.summary, order)
        return OrderChanged(differences={change["field"]: (change["before"], change["now"]) for change in changed})
    return None


def _draft(
    rt: Runtime, caller: Caller, command: RefundCommand, store_id: str, content: bytes, request_id: str
) -> RefundRecord:
    now = rt.clock()
    return RefundRecord(
        id=f"rf_{ULID()}",
        tenant_id=caller.tenant_id,
        store_id=store_id,
        store=command.store,
        order_id=command.order_id,
        order_number=command.order_number,
        external_reference=command.external_reference,
        fingerprint=content,
        command=command,
        plan=None,
        amount=command.amount,
        currency=command.currency,
        decimals=None,
        payment=command.payment,
        restock=command.restock,
        reason=command.reason,
        reason_code=command.reason_code,
        metadata=command.metadata,
        origin="api",
        marker="RG-" + "".join(secrets.choice(_LETTERS) for _ in range(8)),
        status="pending",
        money="not_moved",
        store_refund_id=None,
        failure=None,
        evidence=(),
        attempts=0,
        fence=1,
        executor=rt.executor_id,
        lease_until=None,
        waited_for_until=None,
        sent_at=None,
        touch_lost_at=None,
        answer=None,
        due_at=None,
        expires_at=now + timedelta(seconds=rt.settings.pending_expiry_s),
        request_id=request_id,
        created_by=caller.actor,
        created_at=now,
        updated_at=now,
        settled_at=None,
    )


def planned(draft: RefundRecord, plan: RefundPlan) -> RefundRecord:
    """Give the draft with the plan it was decided to."""
    return replace(
        draft,
        plan=plan,
        order_id=plan.order_id,
        order_number=plan.order_number,
        amount=plan.amount,
        currency=plan.currency,
        decimals=plan.decimals,
        payment_method=plan.payment_method,
    )


def _no_meta() -> Refusal:
    fault = Fault(
        code="not_supported_by_store",
        pointer="/store_meta_data",
        message="The store's legacy API keeps no meta data with a refund; metadata is kept here, in the gateway.",
        facts={"field": "store_meta_data", "api": "legacy"},
    )
    return Refusal(faults=(fault,))


async def _reserve(
    rt: Runtime,
    draft: RefundRecord,
    found: Reading,
    shop: Shop,
    idempotency_key: str | None,
    *,
    waits: timedelta,
    joins: bool,
) -> Reserved | Identical | Refusal | OrderBlocked | None:
    """Decide on the order under its lock and reserve the refund; None when key or reference was taken meanwhile."""
    order = found.order
    try:
        async with rt.database.transaction() as conn:
            await standing.lock_order(conn, draft.store_id, order.id)
            if joins:
                first = await standing.identical(conn, draft.store_id, order.id, draft.fingerprint)
                if first is not None:
                    return Identical(refund_id=first)
            against = await standing.commitments(conn, draft.store_id, order.id, snapshot_read_at=order.read_at)
            if against.in_doubt is not None:
                return OrderBlocked(refund_id=against.in_doubt)
            plan = decide(draft.command, order, holds=against.holds, capability=found.capability, policy=shop.policy)
            if isinstance(plan, Refusal):
                return plan
            event = NewEvent(
                type="refund.created",
                actor=draft.created_by,
                data={"amount": format(plan.amount, "f"), "currency": plan.currency, "request_id": draft.request_id},
            )
            record = await refunds.insert(
                conn,
                planned(draft, plan),
                event,
                idempotency_key=idempotency_key,
                lease=timedelta(seconds=rt.settings.lease_s),
                waits=waits,
            )
            return Reserved(record=record, alone=not against.unfinished, has_history=bool(against.holds))
    except refunds.AlreadyThere:
        return None


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
