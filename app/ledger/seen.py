"""What stores show of refunds: rows that others made, and rows that are gone. One record for each, like our own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import LiteralString

from psycopg.types.json import Jsonb

from app.database import Connection
from app.domain.refund import RecordedPayment, Status
from app.ledger.events import NewEvent
from app.ledger.records import Origin, RefundRecord, command_json, record_of
from app.ledger.refunds import LOGGED, money_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What the ledger knows of a refund that a store may show."""

    id: str
    order_id: str | None
    store_refund_id: str | None
    marker: str
    origin: Origin
    status: Status
    amount: Decimal | None
    currency: str | None
    payment: RecordedPayment
    created_at: datetime
    settled_at: datetime | None
    deleted_at: datetime | None
    duplicate_of: str | None


_KNOWN = (
    "SELECT id, order_id, store_refund_id, marker, origin, status, amount, currency, payment, created_at, settled_at,"
    " deleted_at, duplicate_of FROM refund"
)


async def of_order(conn: Connection, tenant_id: str, store_id: str, order_id: str) -> list[Known]:
    """Give all that is known of an order's refunds, oldest first."""
    cursor = await conn.execute(
        _KNOWN + " WHERE tenant_id = %s AND store_id = %s AND order_id = %s ORDER BY id",
        (tenant_id, store_id, order_id),
    )
    return [Known(**row) for row in await cursor.fetchall()]


async def of_rows(
    conn: Connection, tenant_id: str, store_id: str, store_refund_ids: Sequence[str], order_ids: Sequence[str]
) -> list[Known]:
    """Give what is known of these rows of a store, and of unfinished refunds of these orders, oldest first."""
    cursor = await conn.execute(
        _KNOWN + " WHERE tenant_id = %(tenant)s AND store_id = %(store)s AND (store_refund_id = ANY(%(rows)s)"
        " OR (order_id = ANY(%(orders)s) AND origin = 'api' AND store_refund_id IS NULL)) ORDER BY id",
        {"tenant": tenant_id, "store": store_id, "rows": list(store_refund_ids), "orders": list(order_ids)},
    )
    return [Known(**row) for row in await cursor.fetchall()]


async def insert(conn: Connection, record: RefundRecord, event: NewEvent) -> RefundRecord | None:
    """Put a refund on record that somebody else has made; None when another process was quicker."""
    row = await (
        await conn.execute(
            """
WITH changed AS (
    INSERT INTO refund (id, tenant_id, store_id, order_id, order_number, fingerprint, command, amount, currency,
        decimals, payment, restock, reason, metadata, origin, via, marker, status, money, store_refund_id, expires_at,
        request_id, created_by, settled_at, payment_method, sent_via)
    VALUES (%(id)s, %(tenant_id)s, %(store_id)s, %(order_id)s, %(order_number)s, %(fingerprint)s, %(command)s,
        %(amount)s, %(currency)s, %(decimals)s, %(payment)s, false, %(reason)s, '{}', 'store', 'seen', %(marker)s,
        'succeeded', %(money)s, %(store_refund_id)s, clock_timestamp(), %(request_id)s, %(created_by)s, %(settled_at)s,
        %(payment_method)s, %(sent_via)s)
    ON CONFLICT DO NOTHING
    RETURNING *
)"""
            + LOGGED,
            {
                **{name: getattr(record, name) for name in RefundRecord.__dataclass_fields__ if name in _WRITTEN},
                "command": Jsonb(command_json(record.command)),
                **event.params(),
            },
        )
    ).fetchone()
    return None if row is None else record_of(row)


_WRITTEN = frozenset(
    {
        "id",
        "tenant_id",
        "store_id",
        "order_id",
        "order_number",
        "fingerprint",
        "amount",
        "currency",
        "decimals",
        "payment",
        "reason",
        "marker",
        "money",
        "store_refund_id",
        "request_id",
        "created_by",
        "settled_at",
        "payment_method",
        "sent_via",
    }
)


async def change(
    conn: Connection,
    tenant_id: str,
    refund_id: str,
    event: NewEvent,
    *,
    amount: Decimal | None = None,
    payment: RecordedPayment | None = None,
    order: Mapping[str, object] | None = None,
) -> None:
    """Note what a store now shows of a refund that others made; `order` holds what was not known of its order."""
    params = {
        "tenant": tenant_id,
        "id": refund_id,
        "amount": amount,
        "payment": payment,
        "money": None if payment is None else money_of("succeeded", payment),
        "order_number": None,
        "currency": None,
        "decimals": None,
        "payment_method": None,
        **(order or {}),
        **event.params(),
    }
    await conn.execute(
        "WITH changed AS (UPDATE refund SET amount = coalesce(%(amount)s, amount),"
        "  payment = coalesce(%(payment)s, payment), money = coalesce(%(money)s, money),"
        "  order_number = coalesce(order_number, %(order_number)s), currency = coalesce(currency, %(currency)s),"
        "  decimals = coalesce(decimals, %(decimals)s),"
        "  payment_method = coalesce(payment_method, %(payment_method)s), updated_at = clock_timestamp()"
        "  WHERE tenant_id = %(tenant)s AND id = %(id)s AND origin = 'store' RETURNING *)"
        " INSERT INTO refund_event (tenant_id, refund_id, type, actor, data)"
        " SELECT tenant_id, id, %(event_type)s, %(event_actor)s, %(event_data)s FROM changed",
        params,
    )


async def set_out_to_delete(conn: Connection, tenant_id: str, refund_id: str, event: NewEvent, *, by: str) -> None:
    """Note who is about to delete a refund's row, before the store is told: a crash must not hide it."""
    await _mark(conn, tenant_id, refund_id, event, "deleting_by = %(by)s, deleting_at = clock_timestamp()", by=by)


async def give_up_deleting(conn: Connection, tenant_id: str, refund_id: str, event: NewEvent) -> None:
    """Note that a row that was to be deleted is still there, as far as is known."""
    await _mark(conn, tenant_id, refund_id, event, "deleting_by = NULL, deleting_at = NULL")


async def mark_deleted(
    conn: Connection, tenant_id: str, refund_id: str, event: NewEvent, *, by: str
) -> RefundRecord | None:
    """Note that the store's row of a refund is gone; the refund itself stays what it was. None if that was noted.

    `by` is who found it gone; if somebody set out to delete it and never came back to say how that went, it was they.
    """
    return await _mark(
        conn,
        tenant_id,
        refund_id,
        event,
        "deleted_at = clock_timestamp(), deleted_by = coalesce(deleting_by, %(by)s), deleting_by = NULL,"
        " deleting_at = NULL",
        by=by,
        only="AND deleted_at IS NULL",
    )


async def mark_reappeared(conn: Connection, tenant_id: str, refund_id: str, event: NewEvent) -> None:
    """Note that a row that was thought gone is there: it was restored, or a stale answer had hidden it."""
    await _mark(
        conn, tenant_id, refund_id, event, "deleted_at = NULL, deleted_by = NULL", only="AND deleted_at IS NOT NULL"
    )


async def cut_off_deletions(conn: Connection, *, older_than: timedelta, limit: int) -> list[RefundRecord]:
    """Read refunds whose deletion was begun and never came to an end."""
    cursor = await conn.execute(
        "SELECT refund.*, store.name AS store FROM refund JOIN store ON store.id = refund.store_id"
        " WHERE refund.deleting_at < clock_timestamp() - %s ORDER BY refund.deleting_at LIMIT %s",
        (older_than, limit),
    )
    return [record_of(row) for row in await cursor.fetchall()]


async def _mark(
    conn: Connection,
    tenant_id: str,
    refund_id: str,
    event: NewEvent,
    assignments: LiteralString,
    *,
    by: str | None = None,
    only: LiteralString = "",
) -> RefundRecord | None:
    query: LiteralString = (
        "WITH changed AS (UPDATE refund SET "
        + assignments
        + ", updated_at = clock_timestamp() WHERE tenant_id = %(tenant)s AND id = %(id)s "
        + only
        + " RETURNING *)"
        + LOGGED
    )
    params = {"tenant": tenant_id, "id": refund_id, "by": by, **event.params()}
    row = await (await conn.execute(query, params)).fetchone()
    return None if row is None else record_of(row)


async def mark_duplicate(conn: Connection, tenant_id: str, refund_id: str, event: NewEvent, *, of: str) -> None:
    """Note that a refund seen in a store is one of ours, seen before it was known as such; ours counts from now on."""
    await conn.execute(
        "WITH changed AS (UPDATE refund SET duplicate_of = %(of)s, updated_at = clock_timestamp()"
        "  WHERE tenant_id = %(tenant)s AND id = %(id)s AND origin = 'store' AND duplicate_of IS NULL RETURNING *)"
        " INSERT INTO refund_event (tenant_id, refund_id, type, actor, data)"
        " SELECT tenant_id, id, %(event_type)s, %(event_actor)s, %(event_data)s FROM changed",
        {"tenant": tenant_id, "id": refund_id, "of": of, **event.params()},
    )
