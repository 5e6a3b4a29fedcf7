"""Reserving a refund: read the order, decide under its lock, and put the refund and its hold on record."""

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from ulid import ULID

from app.database import Connection
from app.domain.decision import decide
from app.domain.errors import Refusal
from app.domain.order import OrderSnapshot
from app.domain.order_state import differences, fingerprint
from app.domain.refund import GatewayCapability, RefundCommand, RefundPlan
from app.flows.content import money_fingerprint
from app.flows.results import AmbiguousOrderNumber, Caller, OrderBlocked, OrderChanged, QuoteRefused, StoreFailed
from app.flows.runtime import Runtime
from app.flows.settle import Shop
from app.ledger import quotes, refunds, standing
from app.ledger.events import NewEvent
from app.ledger.records import RefundRecord
from app.stores.port import OrderNotFound, Priority, StoreError, StoreUnavailable

#: Crockford's base 32, as in ULIDs: no I, L, O or U, so that a marker can be read aloud.
_LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """An order as read for a decision."""

    order: OrderSnapshot
    capability: GatewayCapability


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


async def against_quote(
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


def draft_of(
    rt: Runtime, caller: Caller, command: RefundCommand, store_id: str, content: bytes, request_id: str
) -> RefundRecord:
    """Make the record of a refund that is not decided yet."""
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


async def reserve(
    rt: Runtime,
    draft: RefundRecord,
    found: Reading,
    shop: Shop,
    idempotency_key: str | None,
    *,
    waits: timedelta,
    joins: bool = False,
    also: Callable[[Connection, RefundRecord], Awaitable[None]] | None = None,
) -> Reserved | Identical | Refusal | OrderBlocked | None:
    """Decide on the order under its lock and reserve the refund; None when key or reference was taken meanwhile.

    `also` writes what belongs to the reservation into its transaction; what it raises undoes the reservation.
    """
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
            if also is not None:
                await also(conn, record)
            return Reserved(record=record, alone=not against.unfinished, has_history=bool(against.holds))
    except refunds.AlreadyThere:
        return None
