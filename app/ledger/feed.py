"""The feed: everything that callers may want to hear of, in one order, append-only.

An event is written with the change it tells of and has no position yet. `sequence` gives the positions, one process at
a time and only to what was committed, so that a reader who goes on from a position never misses anything.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString

from psycopg.types.json import Jsonb

from app.database import Connection

#: Any number will do, as long as every process uses the same one and nothing else does.
_SEQUENCING = 7_305_211_807


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedEvent:
    """An event in its place."""

    id: int
    position: int
    type: str  #: noun.past_verb, such as "refund.succeeded"
    store: str | None  #: the store's name, where it is about one
    subject: str  #: what it is about, such as a refund's id
    data: Mapping[str, Any]  #: as things stood then
    at: datetime


async def append(
    conn: Connection,
    tenant_id: str,
    *,
    event_type: str,
    subject: str,
    data: Mapping[str, Any],
    store_id: str | None = None,
) -> None:
    """Write an event that is not about a single refund; refunds' own get into the feed by themselves.

    Call it in the transaction of the change, after the subject's row was locked or changed: that keeps a subject's
    events in their order. `data` is shown to callers: no secrets, no personal data.
    """
    await conn.execute(
        "INSERT INTO event (tenant_id, store_id, type, subject, data) VALUES (%s, %s, %s, %s, %s)",
        (tenant_id, store_id, event_type, subject, Jsonb(dict(data))),
    )


async def waits(conn: Connection) -> bool:
    """Say whether there is an event that has no place yet."""
    row = await (await conn.execute("SELECT EXISTS (SELECT FROM event WHERE position IS NULL) AS any")).fetchone()
    return row is not None and bool(row["any"])


async def sequence(conn: Connection, *, limit: int = 1_000, wait: bool = False) -> list[int]:
    """Give the next events their places, and the ids of those events; in the caller's transaction.

    Events of one subject keep the order of their ids: whoever changes a subject has seen the change before. Empty when
    nothing waits, and when another process is at it, unless `wait` is given.
    """
    if not await waits(conn):
        return []
    if wait:
        await conn.execute("SELECT pg_advisory_xact_lock(%s)", (_SEQUENCING,))
    else:
        free = await (await conn.execute("SELECT pg_try_advisory_xact_lock(%s) AS free", (_SEQUENCING,))).fetchone()
        if free is None or not free["free"]:
            return []
    cursor = await conn.execute(
        "WITH next AS (SELECT id FROM event WHERE position IS NULL ORDER BY id LIMIT %s),"
        " placed AS (SELECT id, nextval('event_position_seq') AS position FROM (SELECT id FROM next ORDER BY id) AS n)"
        " UPDATE event SET position = placed.position FROM placed WHERE event.id = placed.id RETURNING event.id",
        (limit,),
    )
    return sorted(row["id"] for row in await cursor.fetchall())


#: Whether an event is of one of the `types`, which may be families.
IS_OF_TYPES: LiteralString = "(event.type = ANY(%(types)s) OR split_part(event.type, '.', 1) || '.*' = ANY(%(types)s))"
_SELECT: LiteralString = (
    "SELECT event.id, event.position, event.type, store.name AS store, event.subject, event.data, event.at"
    " FROM event LEFT JOIN store ON store.id = event.store_id"
)


async def page(
    conn: Connection,
    tenant_id: str,
    *,
    limit: int,
    after: int | None,
    store_ids: Collection[str] | None = None,
    types: Collection[str] | None = None,
    since: datetime | None = None,
    subject: str | None = None,
    store: str | None = None,
) -> list[FeedEvent]:
    """Read a page of the feed, oldest first, from behind the position `after`.

    `store_ids` are the stores that the caller's key is limited to; None gives every event of the tenant. `types` are
    whole types or families, such as "refund.*".
    """
    conditions: LiteralString = ""
    if store_ids is not None:
        conditions += " AND event.store_id = ANY(%(store_ids)s)"
    if types is not None:
        conditions += f" AND {IS_OF_TYPES}"
    if since is not None:
        conditions += " AND event.at >= %(since)s"
    if store is not None:
        conditions += " AND store.name = %(store)s"
    if subject is not None:
        conditions += " AND event.subject = %(subject)s"
    cursor = await conn.execute(
        _SELECT
        + " WHERE event.tenant_id = %(tenant_id)s AND event.position > %(after)s"
        + conditions
        + " ORDER BY event.position LIMIT %(limit)s",
        {
            "tenant_id": tenant_id,
            "after": after or 0,
            "limit": limit,
            "store_ids": None if store_ids is None else list(store_ids),
            "types": None if types is None else list(types),
            "since": since,
            "subject": subject,
            "store": store,
        },
    )
    return [FeedEvent(**row) for row in await cursor.fetchall()]


async def end(conn: Connection, tenant_id: str) -> int:
    """Give the last position of a tenant's feed, 0 for an empty one; every event up to it can be read by now."""
    row = await (
        await conn.execute(
            "SELECT coalesce(max(position), 0) AS position FROM event WHERE tenant_id = %s AND position IS NOT NULL",
            (tenant_id,),
        )
    ).fetchone()
    assert row is not None
    return int(row["position"])


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedLag:
    """What has happened and cannot be read in the feed yet."""

    events: int
    oldest_s: float  #: age of the oldest of them


async def lag(conn: Connection) -> FeedLag:
    """Measure how far the feed is behind what has happened."""
    row = await (
        await conn.execute(
            "SELECT count(*) AS events,"
            " coalesce(extract(epoch FROM clock_timestamp() - min(at)), 0)::float8 AS oldest_s"
            " FROM event WHERE position IS NULL"
        )
    ).fetchone()
    assert row is not None
    return FeedLag(events=row["events"], oldest_s=max(0.0, row["oldest_s"]))
