"""Batches: their rows, what may stop them, and what has become of their items so far."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, LiteralString

from psycopg.types.json import Jsonb

from app.database import Connection
from app.domain.batch import BatchMode, BatchStatus, ItemStatus, NewItem, StoppedBy, Stops
from app.ledger import feed
from app.ledger.records import command_json


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRecord:
    """A batch as the ledger keeps it."""

    id: str
    tenant_id: str
    name: str
    mode: BatchMode
    status: BatchStatus
    stopped_by: StoppedBy | None
    start_at: datetime | None
    release_until: datetime | None
    stop_after_failures: int | None
    stop_if_over: Decimal | None
    items: int
    processed: int
    failed: int  #: of the processed ones
    processed_before: int  #: of the processed ones, those before a person last let it go on
    failed_before: int
    store_ids: tuple[str, ...]
    schedule_id: str | None
    caller: Mapping[str, Any]
    request_id: str
    created_by: str
    released_by: str | None
    created_at: datetime
    updated_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


def _record(row: Mapping[str, Any]) -> BatchRecord:
    values = {name: row[name] for name in BatchRecord.__dataclass_fields__}
    return BatchRecord(**{**values, "store_ids": tuple(row["store_ids"])})


async def insert(conn: Connection, record: BatchRecord, limits: Mapping[str, Decimal]) -> None:
    """Put a batch on record, without its items; `limits` are what it may pay at most, by currency."""
    values = {name: getattr(record, name) for name in BatchRecord.__dataclass_fields__}
    values |= {"caller": Jsonb(dict(record.caller)), "store_ids": list(record.store_ids)}
    await conn.execute(
        "INSERT INTO batch (id, tenant_id, name, mode, status, start_at, release_until, stop_after_failures,"
        " stop_if_over, items, store_ids, schedule_id, caller, request_id, created_by, started_at)"
        " VALUES (%(id)s, %(tenant_id)s, %(name)s, %(mode)s, %(status)s, %(start_at)s, %(release_until)s,"
        " %(stop_after_failures)s, %(stop_if_over)s, %(items)s, %(store_ids)s, %(schedule_id)s, %(caller)s,"
        " %(request_id)s, %(created_by)s, %(started_at)s)",
        values,
    )
    await set_limits(conn, record.id, limits)


async def insert_items(conn: Connection, batch_id: str, items: Sequence[NewItem], store_ids: Mapping[str, str]) -> None:
    """Write a batch's items; `store_ids` gives a store's id by its name."""
    async with (
        conn.cursor() as cursor,
        cursor.copy(
            "COPY batch_item (batch_id, number, store_id, order_key, external_reference, command) FROM STDIN"
        ) as copy,
    ):
        for item in items:
            command = item.command
            key = f"id {command.order_id}" if command.order_id is not None else f"number {command.order_number}"
            await copy.write_row(
                (
                    batch_id,
                    item.number,
                    store_ids[command.store],
                    key,
                    command.external_reference,
                    Jsonb(command_json(command)),
                )
            )


async def find(
    conn: Connection, tenant_id: str, batch_id: str, *, store_ids: Collection[str] | None
) -> BatchRecord | None:
    """Give a batch of a tenant; None when there is none, or when it has items of other stores than `store_ids`."""
    row = await (
        await conn.execute(
            "SELECT * FROM batch WHERE tenant_id = %s AND id = %s AND (%s::text[] IS NULL OR store_ids <@ %s::text[])",
            (tenant_id, batch_id, *[None if store_ids is None else list(store_ids)] * 2),
        )
    ).fetchone()
    return None if row is None else _record(row)


async def get(conn: Connection, batch_id: str) -> BatchRecord | None:
    """Give a batch for the gateway's own work, which serves every tenant."""
    row = await (await conn.execute("SELECT * FROM batch WHERE id = %s", (batch_id,))).fetchone()
    return None if row is None else _record(row)


async def page(
    conn: Connection,
    tenant_id: str,
    *,
    store_ids: Collection[str] | None,
    status: BatchStatus | None,
    schedule_id: str | None,
    limit: int,
    after: str | None,
) -> list[BatchRecord]:
    """Read a page of batches, newest first, from behind the batch `after`."""
    cursor = await conn.execute(
        "SELECT * FROM batch WHERE tenant_id = %(tenant_id)s AND (%(after)s::text IS NULL OR id < %(after)s)"
        " AND (%(store_ids)s::text[] IS NULL OR store_ids <@ %(store_ids)s::text[])"
        " AND (%(status)s::text IS NULL OR status = %(status)s)"
        " AND (%(schedule_id)s::text IS NULL OR schedule_id = %(schedule_id)s) ORDER BY id DESC LIMIT %(limit)s",
        {
            "tenant_id": tenant_id,
            "after": after,
            "store_ids": None if store_ids is None else list(store_ids),
            "status": status,
            "schedule_id": schedule_id,
            "limit": limit,
        },
    )
    return [_record(row) for row in await cursor.fetchall()]


async def move(
    conn: Connection,
    batch_id: str,
    *,
    to: BatchStatus,
    among: Sequence[BatchStatus],
    stopped_by: StoppedBy | None = None,
    released_by: str | None = None,
    actor: str,
    event_type: str,
) -> BatchRecord | None:
    """Give a batch another status and write the event; None when its status is none of `among` any more."""
    row = await (
        await conn.execute(
            "UPDATE batch SET status = %(to)s, stopped_by = %(stopped_by)s, updated_at = clock_timestamp(),"
            " released_by = coalesce(%(released_by)s, released_by),"
            " started_at = CASE WHEN %(to)s = 'running' THEN coalesce(started_at, clock_timestamp())"
            "  ELSE started_at END,"
            " finished_at = CASE WHEN %(to)s IN ('finished', 'canceled', 'expired') THEN clock_timestamp() END"
            " WHERE id = %(id)s AND status = ANY(%(among)s) RETURNING *",
            {
                "id": batch_id,
                "to": to,
                "among": list(among),
                "stopped_by": stopped_by,
                "released_by": released_by,
            },
        )
    ).fetchone()
    if row is None:
        return None
    record = _record(row)
    await announce(conn, record, event_type, actor=actor)
    return record


async def announce(conn: Connection, record: BatchRecord, event_type: str, *, actor: str) -> None:
    """Write an event of a batch into the feed."""
    only_store = record.store_ids[0] if len(record.store_ids) == 1 else None
    await feed.append(
        conn,
        record.tenant_id,
        event_type=event_type,
        subject=record.id,
        store_id=only_store,
        data={
            "id": record.id,
            "object": "batch",
            "mode": record.mode,
            "status": record.status,
            "stopped_by": record.stopped_by,
            "items": record.items,
            "processed": record.processed,
            "failed": record.failed,
            "schedule_id": record.schedule_id,
            "by": actor,
        },
    )


async def let_go_on(conn: Connection, batch_id: str, stops: Stops | None) -> BatchRecord:
    """Let the failures so far no longer count, and set what may stop the batch from now on; None leaves that."""
    await conn.execute(
        "UPDATE batch SET processed_before = processed, failed_before = failed WHERE id = %s", (batch_id,)
    )
    if stops is not None:
        await conn.execute(
            "UPDATE batch SET stop_after_failures = %s, stop_if_over = %s WHERE id = %s",
            (stops.stop_after_failures, stops.stop_if_over, batch_id),
        )
        await set_limits(conn, batch_id, stops.max_total)
    record = await get(conn, batch_id)
    assert record is not None
    return record


#: A batch's refunds in a currency that count against its limit: all but those of which it is known that nothing was
#: paid.
_THAT_TAKE: LiteralString = (
    "FROM refund WHERE refund.batch_id = %(batch_id)s AND refund.currency = %(currency)s"
    " AND refund.status NOT IN ('failed', 'canceled')"
)
_TAKEN: LiteralString = "(SELECT coalesce(sum(refund.amount), 0) " + _THAT_TAKE + ")"
_TAKEN_BY_OTHERS: LiteralString = (
    "(SELECT coalesce(sum(refund.amount), 0) " + _THAT_TAKE + " AND refund.id <> %(refund_id)s)"
)


async def set_limits(conn: Connection, batch_id: str, limits: Mapping[str, Decimal]) -> None:
    """Set what a batch may pay at most, by currency; a currency that is not named has no limit of its own any more."""
    await conn.execute(
        "DELETE FROM batch_limit WHERE batch_id = %s AND NOT currency = ANY(%s)", (batch_id, list(limits))
    )
    for currency, max_total in limits.items():
        # A batch that is given a limit on its way has taken something before.
        await conn.execute(
            "INSERT INTO batch_limit (batch_id, currency, max_total, taken)"
            " VALUES (%(batch_id)s, %(currency)s, %(max_total)s, " + _TAKEN + ")"
            " ON CONFLICT (batch_id, currency) DO UPDATE SET max_total = excluded.max_total",
            {"batch_id": batch_id, "currency": currency, "max_total": max_total},
        )


async def take(conn: Connection, batch_id: str, currency: str, amount: Decimal, *, for_refund: str) -> bool:
    """Count a refund's amount against the batch's limit; False when that would exceed it, and nothing is counted.

    The refund may be on record already, and counts once. A batch with limits pays nothing in a currency without one.
    The row stays locked until the transaction ends, so that no two refunds can share what is left.
    """
    params = {"batch_id": batch_id, "currency": currency, "amount": amount, "refund_id": for_refund}
    quick = await conn.execute(
        "UPDATE batch_limit SET taken = taken + %(amount)s WHERE batch_id = %(batch_id)s"
        " AND currency = %(currency)s AND taken + %(amount)s <= max_total",
        params,
    )
    if quick.rowcount:
        return True
    known = await (
        await conn.execute(
            "SELECT count(*) AS limits, count(*) FILTER (WHERE currency = %(currency)s) AS own"
            " FROM batch_limit WHERE batch_id = %(batch_id)s",
            params,
        )
    ).fetchone()
    assert known is not None
    if known["limits"] == 0:
        return True
    if known["own"] == 0:
        return False
    # What failed gave nothing back; before it is said to be used up it is counted anew. Others wait at the row's lock.
    await conn.execute(
        "SELECT FROM batch_limit WHERE batch_id = %(batch_id)s AND currency = %(currency)s FOR UPDATE", params
    )
    await conn.execute(
        "UPDATE batch_limit SET taken = " + _TAKEN_BY_OTHERS + " WHERE batch_id = %(batch_id)s"
        " AND currency = %(currency)s",
        params,
    )
    again = await conn.execute(
        "UPDATE batch_limit SET taken = taken + %(amount)s WHERE batch_id = %(batch_id)s"
        " AND currency = %(currency)s AND taken + %(amount)s <= max_total",
        params,
    )
    return bool(again.rowcount)


async def limits_of(conn: Connection, batch_id: str) -> Mapping[str, tuple[Decimal, Decimal]]:
    """Give what a batch may pay at most and what it has taken of that, exactly, by currency."""
    cursor = await conn.execute(
        "SELECT currency, max_total, (SELECT coalesce(sum(refund.amount), 0) FROM refund"
        "  WHERE refund.batch_id = batch_limit.batch_id AND refund.currency = batch_limit.currency"
        "  AND refund.status NOT IN ('failed', 'canceled')) AS taken"
        " FROM batch_limit WHERE batch_id = %s ORDER BY currency",
        (batch_id,),
    )
    return {row["currency"]: (row["max_total"], row["taken"]) for row in await cursor.fetchall()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tallied:
    """How many items of a store and currency stand at a status, and how much they are."""

    status: ItemStatus
    store: str
    currency: str | None
    items: int
    amount: Decimal | None
    decimals: int | None


async def tallies(conn: Connection, batch_id: str) -> list[Tallied]:
    """Count a batch's items by status, store and currency."""
    cursor = await conn.execute(
        "SELECT status, store.name AS store, currency, items, amount, decimals FROM ("
        " SELECT CASE WHEN item.status = 'done' THEN refund.status ELSE item.status END AS status, item.store_id,"
        "  coalesce(refund.currency, item.currency) AS currency, count(*)::integer AS items,"
        "  sum(coalesce(refund.amount, item.amount)) AS amount,"
        "  max(coalesce(refund.decimals, (item.plan ->> 'decimals')::smallint)) AS decimals"
        " FROM batch_item AS item LEFT JOIN refund ON refund.id = item.refund_id"
        " WHERE item.batch_id = %s GROUP BY 1, 2, 3) AS counted"
        " JOIN store ON store.id = counted.store_id ORDER BY store, currency, status",
        (batch_id,),
    )
    return [Tallied(**row) for row in await cursor.fetchall()]


async def lately(conn: Connection, batch_id: str, *, seconds: int) -> tuple[int, float]:
    """Count the items processed within the last seconds, and say how many seconds of that the batch was at work."""
    row = await (
        await conn.execute(
            "SELECT count(item.processed_at)::integer AS items, extract(epoch FROM least("
            "  make_interval(secs => %(seconds)s),"
            "  clock_timestamp() - coalesce(max(batch.started_at), clock_timestamp())))::float8 AS seconds"
            " FROM batch LEFT JOIN batch_item AS item ON item.batch_id = batch.id"
            "  AND item.processed_at > clock_timestamp() - make_interval(secs => %(seconds)s) WHERE batch.id = %(id)s",
            {"id": batch_id, "seconds": seconds},
        )
    ).fetchone()
    assert row is not None
    return row["items"], float(row["seconds"])


async def open_ones(conn: Connection) -> list[BatchRecord]:
    """Give the batches that may need something to be done: started, ended, or counted up."""
    cursor = await conn.execute(
        "SELECT * FROM batch WHERE status IN ('scheduled', 'held', 'running')"
        " OR (status IN ('canceled', 'paused', 'stopped') AND processed < items) ORDER BY id"
    )
    return [_record(row) for row in await cursor.fetchall()]
