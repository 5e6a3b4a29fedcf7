"""Keeping the ledger true to what stores show: refunds that others made, and rows that are gone.

Nothing here decides about money under way; what a snapshot shows counts by itself. A row becomes a record of its own as
soon as it is seen, so that it has an id and a timeline like ours.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from ulid import ULID

from app.domain.money import plain
from app.domain.order import OrderSnapshot, StoreRefund
from app.domain.refund import RecordedPayment, RefundCommand, StoreApi
from app.flows.runtime import Runtime
from app.ledger import seen
from app.ledger.events import NewEvent
from app.ledger.records import RefundRecord
from app.ledger.refunds import money_of
from app.ledger.seen import Known

#: What is known of a refund's payment, from less to more.
_KNOWS: tuple[RecordedPayment, ...] = ("unknown", "manual", "gateway")
#: What a store's clock, corrected by its answers, may still differ from ours.
_CLOCKS_APART = timedelta(minutes=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """Whose store it is."""

    tenant_id: str
    store_id: str
    store: str  #: the store's name
    api: StoreApi


@dataclass(frozen=True, slots=True, kw_only=True)
class _OfOrder:
    """What a record of a refund tells of its order, as far as it is known."""

    order_number: str | None = None
    currency: str | None = None
    decimals: int | None = None
    payment_method: str | None = None


async def mirror_order(rt: Runtime, where: Where, order: OrderSnapshot) -> Mapping[str, str]:
    """Bring the ledger up to an order just read, and give the ledger's refund for each of the store's rows."""
    async with rt.database.reading() as conn:
        known = await seen.of_order(conn, where.tenant_id, where.store_id, order.id)
    if not known and not order.refunds:
        return {}
    of_order = _OfOrder(
        order_number=order.number,
        currency=order.currency,
        decimals=order.decimals,
        payment_method=order.payment_method or None,
    )
    ours = await _note(rt, where, known, [(order.id, refund) for refund in order.refunds], of_order)
    await _note_missing(rt, where, known, order)
    return ours


async def mirror_rows(rt: Runtime, where: Where, rows: Sequence[tuple[str, StoreRefund]]) -> Mapping[str, str]:
    """Bring the ledger up to some rows, each with its order's id, and give the ledger's refund for each."""
    if not rows:
        return {}
    async with rt.database.reading() as conn:
        known = await seen.of_rows(
            conn,
            where.tenant_id,
            where.store_id,
            [refund.id for _, refund in rows],
            sorted({order_id for order_id, _ in rows}),
        )
    return await _note(rt, where, known, rows, _OfOrder())


async def _note(
    rt: Runtime,
    where: Where,
    known: Sequence[Known],
    rows: Iterable[tuple[str, StoreRefund]],
    of_order: _OfOrder,
) -> dict[str, str]:
    by_row: dict[str, list[Known]] = {}
    for record in known:
        if record.store_refund_id is not None and record.duplicate_of is None:
            by_row.setdefault(record.store_refund_id, []).append(record)
    ours: dict[str, str] = {}
    for order_id, refund in rows:
        records = by_row.get(refund.id) or _by_marker(known, refund)
        if not records:
            if _may_be_one_under_way(known, order_id, refund):
                continue
            made = await _add(rt, where, order_id, refund, of_order)
            if made is not None:
                ours[refund.id] = made.id
            continue
        # Ours before one that was seen: it was only not known yet whose it is.
        leading = min(records, key=lambda record: (record.origin == "store", record.id))
        ours[refund.id] = leading.id
        for record in records:
            if record.origin == "store" and leading.origin == "api":
                event = NewEvent(type="refund.adopted", actor=rt.executor_id, data={"refund_id": leading.id})
                async with rt.database.transaction() as conn:
                    await seen.mark_duplicate(conn, where.tenant_id, record.id, event, of=leading.id)
        if leading.origin == "store":
            # Only an order is read with all the digits that its refunds have.
            await _update(rt, where, leading, refund, of_order, exact=of_order.currency is not None)
        if leading.deleted_at is not None:
            event = NewEvent(type="refund.reappeared", actor=rt.executor_id)
            async with rt.database.transaction() as conn:
                await seen.mark_reappeared(conn, where.tenant_id, leading.id, event)
    return ours


def _by_marker(known: Sequence[Known], refund: StoreRefund) -> list[Known]:
    return [
        record
        for record in known
        if record.origin == "api" and (record.marker in refund.reason or record.marker == refund.reference)
    ]


def _may_be_one_under_way(known: Sequence[Known], order_id: str, refund: StoreRefund) -> bool:
    """Say whether a row may be one of ours that does not show its marker, as where a store's policy keeps it out."""
    return any(
        record.origin == "api"
        and record.store_refund_id is None
        and record.order_id == order_id
        and record.amount == refund.amount
        and record.status in ("sending", "uncertain", "needs_review")
        and (refund.created_at is None or refund.created_at > record.created_at - _CLOCKS_APART)
        for record in known
    )


def may_be_under_way(rt: Runtime, refund: StoreRefund) -> bool:
    """Say whether a row that others made may be waiting for its payment: stores write it before they pay (OF:632)."""
    if refund.refunded_payment is True or refund.created_at is None:
        return False
    return rt.clock() - refund.created_at < timedelta(seconds=rt.settings.store_limit_s)


def payment_of(rt: Runtime, refund: StoreRefund) -> RecordedPayment:
    """Say how a row that others made was paid, as far as its store tells by now."""
    if refund.refunded_payment:
        return "gateway"
    return "unknown" if refund.refunded_payment is None or may_be_under_way(rt, refund) else "manual"


async def _add(
    rt: Runtime, where: Where, order_id: str, refund: StoreRefund, of_order: _OfOrder
) -> RefundRecord | None:
    record = _record(rt, where, order_id, refund, of_order)
    event = NewEvent(
        type="refund.observed",
        actor="store",
        data={"store_refund_id": refund.id, "payment": record.payment, **_made_at(refund.created_at)},
    )
    async with rt.database.transaction() as conn:
        made = await seen.insert(conn, record, event)
        if made is None:
            again = await seen.of_rows(conn, where.tenant_id, where.store_id, [refund.id], [])
            return replace(record, id=again[0].id) if again else None
    return made


def _made_at(moment: datetime | None) -> dict[str, Any]:
    return {} if moment is None else {"made_at": moment.isoformat()}


async def _update(
    rt: Runtime, where: Where, record: Known, refund: StoreRefund, of_order: _OfOrder, *, exact: bool
) -> None:
    payment = payment_of(rt, refund)
    # Only ever towards knowing more: neither the legacy API nor a stale answer takes back what was once seen paid.
    paid = payment if _KNOWS.index(payment) > _KNOWS.index(record.payment) else None
    amount = refund.amount if exact and record.amount is not None and refund.amount != record.amount else None
    if amount is not None and record.payment == "gateway" and record.amount is not None and amount < record.amount:
        # The legacy API lets anybody lower a row's amount (LO:1736); what was paid stays paid.
        amount = None
    fills = record.currency is None and of_order.currency is not None
    if paid is None and amount is None and not fills:
        return
    data: dict[str, Any] = {}
    if paid is not None:
        data["payment"] = paid
    if amount is not None:
        data["amount"] = _shown(amount)
    event = NewEvent(type="refund.observed", actor="store", data=data)
    async with rt.database.transaction() as conn:
        await seen.change(
            conn,
            where.tenant_id,
            record.id,
            event,
            amount=amount,
            payment=paid,
            order={name: getattr(of_order, name) for name in _OfOrder.__dataclass_fields__} if fills else None,
        )


def _shown(amount: Decimal) -> str:
    return plain(amount, 2)


async def _note_missing(rt: Runtime, where: Where, known: Sequence[Known], order: OrderSnapshot) -> None:
    """Note which rows the order no longer shows; only of refunds that had been there before it was read."""
    shown = {refund.id for refund in order.refunds}
    for record in known:
        if (
            record.store_refund_id is None
            or record.store_refund_id in shown
            or record.deleted_at is not None
            or record.duplicate_of is not None
            or record.settled_at is None
            or record.settled_at >= order.read_at
        ):
            continue
        event = NewEvent(type="refund.deleted", actor="store", data={"store_refund_id": record.store_refund_id})
        async with rt.database.transaction() as conn:
            await seen.mark_deleted(conn, where.tenant_id, record.id, event, by="store")


def _record(rt: Runtime, where: Where, order_id: str, refund: StoreRefund, of_order: _OfOrder) -> RefundRecord:
    now = rt.clock()
    payment = payment_of(rt, refund)
    command = RefundCommand(
        store=where.store,
        order_id=order_id,
        amount=refund.amount,
        reason=refund.reason,
        payment="gateway" if payment == "gateway" else "manual",
    )
    return RefundRecord(
        id=f"rf_{ULID()}",
        tenant_id=where.tenant_id,
        store_id=where.store_id,
        store=where.store,
        order_id=order_id,
        order_number=of_order.order_number,
        external_reference=None,
        fingerprint=b"",
        command=command,
        plan=None,
        amount=refund.amount,
        currency=of_order.currency,
        decimals=of_order.decimals,
        payment=payment,
        restock=False,
        reason=refund.reason,
        reason_code=None,
        metadata={},
        origin="store",
        # Markers are unique in a store; this one can never stand in a reason.
        marker=f"seen {refund.id}",
        status="succeeded",
        money=money_of("succeeded", payment),
        store_refund_id=refund.id,
        failure=None,
        evidence=(),
        attempts=0,
        fence=1,
        executor=None,
        lease_until=None,
        waited_for_until=None,
        sent_at=None,
        touch_lost_at=None,
        answer=None,
        due_at=None,
        expires_at=now,
        request_id="",
        created_by="store",
        created_at=now,
        updated_at=now,
        # When it happened, so that lists by time of settlement hold what belongs there; never in the future.
        settled_at=now if refund.created_at is None else min(refund.created_at, now),
        payment_method=of_order.payment_method,
        sent_via=where.api,
        via="seen",
    )
