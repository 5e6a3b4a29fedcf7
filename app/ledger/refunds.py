"""The refunds' rows: every change of state is one statement that checks the fence and writes its event with it.

`fence` grows with every change. A function that changes a refund takes the record as its caller knows it and gives the
record as it is afterwards, or None when somebody else has changed it since: then nothing was written.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, LiteralString

from psycopg import errors
from psycopg.types.json import Jsonb

from app.database import Connection
from app.domain.refund import Failure, Money, Observation, RecordedPayment, RefundPlan, Status, StoreApi
from app.ledger.events import NewEvent
from app.ledger.records import (
    LastAnswer,
    RefundRecord,
    command_json,
    failure_json,
    observation_json,
    plan_json,
    record_of,
)


class OrderBusy(Exception):
    """Another refund of the order is being sent or in doubt; only one may be at a time."""


class AlreadyThere(Exception):
    """The idempotency key, the external reference or the batch's item was taken in the meantime."""


def money_of(status: Status, payment: RecordedPayment) -> Money:
    """Say what a status means for the money; a manual refund's money is always outside."""
    match status:
        case "pending" | "failed" | "canceled":
            return "not_moved"
        case "succeeded":
            return "moved" if payment == "gateway" else "outside" if payment == "manual" else "unknown"
        case "sending" | "uncertain" | "needs_review":
            return "unknown" if payment == "gateway" else "outside"


_SELECT: LiteralString = "SELECT refund.*, store.name AS store FROM refund JOIN store ON store.id = refund.store_id "

LOGGED: LiteralString = """
, logged AS (
    INSERT INTO refund_event (tenant_id, refund_id, type, actor, data)
    SELECT tenant_id, id, %(event_type)s, %(event_actor)s, %(event_data)s FROM changed
)
SELECT changed.*, store.name AS store FROM changed JOIN store ON store.id = changed.store_id
"""


async def _change(
    conn: Connection, record: RefundRecord, assignments: LiteralString, event: NewEvent, values: Mapping[str, Any]
) -> RefundRecord | None:
    """Change one refund and write the event with it; None when the fence has moved on."""
    query: LiteralString = (
        "WITH changed AS (UPDATE refund SET "
        + assignments
        + ", fence = fence + 1, updated_at = clock_timestamp()"
        + " WHERE id = %(id)s AND fence = %(fence)s AND status = %(status_before)s RETURNING *)"
        + LOGGED
    )
    params = {
        "id": record.id,
        "fence": record.fence,
        "status_before": record.status,
        **event.params(),
        **values,
    }
    row = await (await conn.execute(query, params)).fetchone()
    return None if row is None else record_of(row)


#: The columns of a new refund that are written as they stand in the record.
_GIVEN = (
    "id",
    "tenant_id",
    "store_id",
    "order_id",
    "order_number",
    "external_reference",
    "fingerprint",
    "amount",
    "currency",
    "decimals",
    "payment",
    "restock",
    "reason",
    "reason_code",
    "origin",
    "marker",
    "status",
    "money",
    "executor",
    "expires_at",
    "request_id",
    "created_by",
    "payment_method",
    "via",
    "batch_id",
    "batch_item",
)


async def insert(
    conn: Connection,
    record: RefundRecord,
    event: NewEvent,
    *,
    idempotency_key: str | None,
    lease: timedelta | None,
    waits: timedelta | None,
) -> RefundRecord:
    """Create a refund with its first event and its idempotency key.

    `lease` None leaves it to the workers, at once. Raises AlreadyThere when the key or the reference is taken.
    """
    params = {name: getattr(record, name) for name in _GIVEN}
    params |= {
        "command": Jsonb(command_json(record.command)),
        "plan": None if record.plan is None else Jsonb(plan_json(record.plan)),
        "metadata": Jsonb(dict(record.metadata)),
        "lease": lease,
        "waits": waits,
        "key": idempotency_key,
        **event.params(),
    }
    query: LiteralString = (
        """
WITH changed AS (
    INSERT INTO refund (id, tenant_id, store_id, order_id, order_number, external_reference, fingerprint, command, plan,
        amount, currency, decimals, payment, restock, reason, reason_code, metadata, origin, marker, status, money,
        executor, lease_until, waited_for_until, due_at, expires_at, request_id, created_by, payment_method, via,
        batch_id, batch_item)
    VALUES (%(id)s, %(tenant_id)s, %(store_id)s, %(order_id)s, %(order_number)s, %(external_reference)s,
        %(fingerprint)s, %(command)s, %(plan)s, %(amount)s, %(currency)s, %(decimals)s, %(payment)s, %(restock)s,
        %(reason)s, %(reason_code)s, %(metadata)s, %(origin)s, %(marker)s, %(status)s, %(money)s, %(executor)s,
        now() + %(lease)s, now() + %(waits)s, CASE WHEN %(lease)s::interval IS NULL THEN now() END, %(expires_at)s,
        %(request_id)s, %(created_by)s, %(payment_method)s, %(via)s, %(batch_id)s, %(batch_item)s)
    RETURNING *
), keyed AS (
    INSERT INTO idempotency_key (tenant_id, key, fingerprint, refund_id)
    SELECT tenant_id, %(key)s, fingerprint, id FROM changed WHERE %(key)s::text IS NOT NULL
)"""
        + LOGGED
    )
    try:
        row = await (await conn.execute(query, params)).fetchone()
    except errors.UniqueViolation as error:
        if error.diag.constraint_name in ("idempotency_key_pkey", "refund_external_reference", "refund_batch_item"):
            raise AlreadyThere from error
        raise
    assert row is not None
    return record_of(row)


async def mark_planned(
    conn: Connection, record: RefundRecord, plan: RefundPlan, event: NewEvent
) -> RefundRecord | None:
    """Give an accepted refund the plan it was validated to; from now on it holds its part of the order."""
    values = {
        "plan": Jsonb(plan_json(plan)),
        "order_id": plan.order_id,
        "order_number": plan.order_number,
        "amount": plan.amount,
        "currency": plan.currency,
        "decimals": plan.decimals,
        "payment_method": plan.payment_method,
    }
    return await _change(
        conn,
        record,
        "plan = %(plan)s, order_id = %(order_id)s, order_number = %(order_number)s, amount = %(amount)s,"
        " currency = %(currency)s, decimals = %(decimals)s, payment_method = %(payment_method)s",
        event,
        values,
    )


async def mark_sending(
    conn: Connection, record: RefundRecord, event: NewEvent, *, lease: timedelta, sent_via: StoreApi
) -> RefundRecord | None:
    """Put on record that the refund is about to leave; has to be committed before the first byte does.

    Raises OrderBusy when another refund of the order is being sent or in doubt; the transaction is lost then.
    """
    try:
        return await _change(
            conn,
            record,
            "status = 'sending', money = %(money)s, attempts = attempts + 1, sent_at = clock_timestamp(),"
            " touch_lost_at = NULL, answer = NULL, due_at = NULL, failure = NULL,"
            " lease_until = clock_timestamp() + %(lease)s, sent_via = %(sent_via)s",
            event,
            {"money": money_of("sending", record.payment), "lease": lease, "sent_via": sent_via},
        )
    except errors.UniqueViolation as error:
        raise OrderBusy from error


async def mark_succeeded(
    conn: Connection,
    record: RefundRecord,
    event: NewEvent,
    *,
    store_refund_id: str | None,
    evidence: Sequence[Observation] = (),
) -> RefundRecord | None:
    """Settle a refund that the store carried out."""
    return await _change(
        conn,
        record,
        "status = 'succeeded', money = %(money)s, settled_at = clock_timestamp(), lease_until = NULL, due_at = NULL,"
        " failure = NULL, store_refund_id = coalesce(%(store_refund_id)s, store_refund_id),"
        " evidence = evidence || %(evidence)s",
        event,
        {
            "money": money_of("succeeded", record.payment),
            "store_refund_id": store_refund_id,
            "evidence": _evidence(evidence),
        },
    )


async def mark_failed(
    conn: Connection,
    record: RefundRecord,
    event: NewEvent,
    *,
    failure: Failure,
    evidence: Sequence[Observation] = (),
    store_refund_id: str | None = None,
) -> RefundRecord | None:
    """Settle a refund of which it is known that no money moved; its hold is gone.

    `store_refund_id` names a row that the store has kept all the same, as the legacy API does after a decline.
    """
    return await _change(
        conn,
        record,
        "status = 'failed', money = 'not_moved', settled_at = clock_timestamp(), lease_until = NULL, due_at = NULL,"
        " failure = %(failure)s, store_refund_id = coalesce(%(store_refund_id)s, store_refund_id),"
        " evidence = evidence || %(evidence)s",
        event,
        {
            "failure": Jsonb(failure_json(failure)),
            "store_refund_id": store_refund_id,
            "evidence": _evidence(evidence),
        },
    )


async def mark_uncertain(
    conn: Connection,
    record: RefundRecord,
    event: NewEvent,
    *,
    answer: LastAnswer | None,
    touch_lost_at: datetime | None,
    due_at: datetime,
    evidence: Sequence[Observation] = (),
) -> RefundRecord | None:
    """Put on record that nobody knows what became of the attempt; the order is blocked until that is settled.

    `touch_lost_at` None means now, by the ledger's clock.
    """
    return await _change(
        conn,
        record,
        "status = 'uncertain', money = %(money)s, lease_until = NULL, answer = %(answer)s,"
        " touch_lost_at = coalesce(%(touch_lost_at)s, clock_timestamp()), due_at = %(due_at)s,"
        " evidence = evidence || %(evidence)s",
        event,
        {
            "money": money_of("uncertain", record.payment),
            "answer": None if answer is None else Jsonb(answer_json(answer)),
            "touch_lost_at": touch_lost_at,
            "due_at": due_at,
            "evidence": _evidence(evidence),
        },
    )


async def mark_needs_review(
    conn: Connection,
    record: RefundRecord,
    event: NewEvent,
    *,
    failure: Failure,
    evidence: Sequence[Observation],
    store_refund_id: str | None = None,
) -> RefundRecord | None:
    """Hand a refund to a person; it keeps its hold on the order but no longer blocks it."""
    return await _change(
        conn,
        record,
        "status = 'needs_review', money = %(money)s, lease_until = NULL, due_at = NULL, failure = %(failure)s,"
        " touch_lost_at = coalesce(touch_lost_at, clock_timestamp()),"
        " store_refund_id = coalesce(%(store_refund_id)s, store_refund_id), evidence = evidence || %(evidence)s",
        event,
        {
            "money": money_of("needs_review", record.payment),
            "failure": Jsonb(failure_json(failure)),
            "store_refund_id": store_refund_id,
            "evidence": _evidence(evidence),
        },
    )


async def mark_pending(
    conn: Connection,
    record: RefundRecord,
    event: NewEvent,
    *,
    due_at: datetime | None,
    keep_lease: timedelta | None = None,
    expires_in: timedelta | None = None,
    evidence: Sequence[Observation] = (),
) -> RefundRecord | None:
    """Put a refund back in line to be sent; only for one of which it is proven that no attempt arrived.

    `due_at` None and `keep_lease` mean that the caller's process tries again itself. `expires_in` gives it a new
    period to be sent in.
    """
    return await _change(
        conn,
        record,
        "status = 'pending', money = 'not_moved', failure = NULL, due_at = %(due_at)s,"
        " lease_until = clock_timestamp() + %(lease)s,"
        " expires_at = coalesce(clock_timestamp() + %(expires_in)s, expires_at), evidence = evidence || %(evidence)s",
        event,
        {"due_at": due_at, "lease": keep_lease, "expires_in": expires_in, "evidence": _evidence(evidence)},
    )


async def mark_canceled(conn: Connection, record: RefundRecord, event: NewEvent) -> RefundRecord | None:
    """Withdraw a refund that was never sent; its hold is gone."""
    return await _change(
        conn,
        record,
        "status = 'canceled', money = 'not_moved', settled_at = clock_timestamp(), lease_until = NULL, due_at = NULL",
        event,
        {},
    )


async def take(
    conn: Connection, record: RefundRecord, event: NewEvent, *, executor: str, lease: timedelta
) -> RefundRecord | None:
    """Take a pending refund that nobody is at work on, to send it."""
    return await _change(
        conn,
        record,
        "executor = %(executor)s, lease_until = clock_timestamp() + %(lease)s, due_at = NULL",
        event,
        {"executor": executor, "lease": lease},
    )


async def postpone(conn: Connection, record: RefundRecord, event: NewEvent, *, due_at: datetime) -> RefundRecord | None:
    """Leave a refund as it is and have it looked at again at `due_at`; whoever held it lets go."""
    return await _change(conn, record, "due_at = %(due_at)s, lease_until = NULL", event, {"due_at": due_at})


async def claim_look(conn: Connection, record: RefundRecord, *, until: datetime) -> RefundRecord | None:
    """Keep other workers from looking at an uncertain refund until then; writes no event, since nothing happened."""
    row = await (
        await conn.execute(
            "WITH changed AS (UPDATE refund SET due_at = %s, fence = fence + 1, updated_at = clock_timestamp()"
            " WHERE id = %s AND fence = %s AND status = 'uncertain' RETURNING *)"
            " SELECT changed.*, store.name AS store FROM changed JOIN store ON store.id = changed.store_id",
            (until, record.id, record.fence),
        )
    ).fetchone()
    return None if row is None else record_of(row)


def answer_json(answer: LastAnswer) -> dict[str, Any]:
    """Write the last answer."""
    return {name: getattr(answer, name) for name in LastAnswer.__dataclass_fields__}


def _evidence(observations: Sequence[Observation]) -> Jsonb:
    return Jsonb([observation_json(observation) for observation in observations])


async def get(conn: Connection, refund_id: str) -> RefundRecord | None:
    """Read a refund for the gateway's own work, which serves every tenant."""
    row = await (await conn.execute(_SELECT + "WHERE refund.id = %s", (refund_id,))).fetchone()
    return None if row is None else record_of(row)


async def find(conn: Connection, tenant_id: str, refund_id: str) -> RefundRecord | None:
    """Read a refund of a tenant."""
    row = await (
        await conn.execute(_SELECT + "WHERE refund.tenant_id = %s AND refund.id = %s", (tenant_id, refund_id))
    ).fetchone()
    return None if row is None else record_of(row)
