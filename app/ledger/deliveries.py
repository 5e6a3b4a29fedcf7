"""Deliveries: one row for each event and endpoint that it is meant for; the rows are what has to be done.

Whoever writes about the deliveries of an endpoint holds the endpoint's row lock (`endpoints.lock`), so that what can
go out next is decided by one process at a time; the sending itself happens between transactions, under a lease.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, LiteralString

from app.database import Connection
from app.domain.delivery import DeliveryStatus
from app.ledger.feed import IS_OF_TYPES


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """An event on its way to an endpoint."""

    id: int
    endpoint_id: str
    event_id: int
    subject: str
    type: str
    status: DeliveryStatus
    attempts: int
    due_at: datetime  #: not before, while it is pending
    last_attempt_at: datetime | None
    last_status: int | None  #: HTTP; None when there was no answer
    last_latency_ms: int | None
    last_error: str | None
    created_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """A delivery that this process has to send before its lease ends."""

    id: int
    fence: int
    event_id: int
    type: str
    at: datetime  #: when the event happened
    data: Mapping[str, Any] = field(repr=False)
    retries: int  #: failures so far, since it was last asked for


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What became of one POST."""

    at: datetime
    status: int | None  #: HTTP; None when there was no answer
    latency_ms: int
    error: str | None  #: a short code; None for a success


_COLUMNS: LiteralString = (
    "id, endpoint_id, event_id, subject, type, status, attempts, due_at, last_attempt_at, last_status,"
    " last_latency_ms, last_error, created_at, finished_at"
)
#: The first of its subject that is not over: the next one has to wait for it. Not a NOT EXISTS, which the planner joins
#: by scanning the whole backlog for every row as long as it has not seen yet how large that has become.
_FIRST: LiteralString = (
    "delivery.position = (SELECT min(before.position) FROM webhook_delivery AS before"
    " WHERE before.endpoint_id = delivery.endpoint_id AND before.subject = delivery.subject"
    " AND before.status = 'pending')"
)
_FREE: LiteralString = "(delivery.lease_until IS NULL OR delivery.lease_until <= clock_timestamp())"
#: Whether an endpoint wants an event.
_WANTED: LiteralString = (
    "(endpoint.types IS NULL OR event.type = ANY(endpoint.types)"
    " OR split_part(event.type, '.', 1) || '.*' = ANY(endpoint.types))"
    " AND (endpoint.store_ids IS NULL OR event.store_id = ANY(endpoint.store_ids))"
)


async def plan(conn: Connection, event_ids: Sequence[int], *, give_up_after: timedelta) -> list[str]:
    """Write a delivery of each event for each endpoint that wants it, and give those endpoints, now locked.

    Call it in the transaction that gave the events their places: then no later event can overtake them.
    """
    # In the order of their ids, so that two of these never wait for each other.
    cursor = await conn.execute(
        "SELECT id FROM webhook_endpoint WHERE disabled_at IS NULL"
        " AND tenant_id IN (SELECT tenant_id FROM event WHERE id = ANY(%s)) ORDER BY id FOR NO KEY UPDATE",
        (list(event_ids),),
    )
    locked = [row["id"] for row in await cursor.fetchall()]
    if not locked:
        return []
    cursor = await conn.execute(
        "INSERT INTO webhook_delivery (tenant_id, endpoint_id, event_id, position, subject, type, give_up_at)"
        " SELECT event.tenant_id, endpoint.id, event.id, event.position, event.subject, event.type, now() + %s"
        " FROM event JOIN webhook_endpoint AS endpoint ON endpoint.tenant_id = event.tenant_id"
        f" WHERE event.id = ANY(%s) AND endpoint.id = ANY(%s) AND {_WANTED}"
        " ORDER BY event.position ON CONFLICT DO NOTHING RETURNING endpoint_id",
        (give_up_after, list(event_ids), locked),
    )
    return sorted({row["endpoint_id"] for row in await cursor.fetchall()})


async def under_way(conn: Connection, endpoint_id: str) -> int:
    """Count the deliveries that processes are sending to an endpoint."""
    row = await (
        await conn.execute(
            "SELECT count(*) AS count FROM webhook_delivery"
            " WHERE endpoint_id = %s AND lease_until IS NOT NULL AND lease_until > clock_timestamp()",
            (endpoint_id,),
        )
    ).fetchone()
    assert row is not None
    return int(row["count"])


async def claim(
    conn: Connection, endpoint_id: str, *, limit: int, lease: timedelta, as_trial: bool = False
) -> list[Claimed]:
    """Take deliveries that can go out now, at most one of each subject, for as long as the lease.

    `as_trial` takes the one that was not tried for the longest time, due or not: an endpoint that fails as a whole is
    tried with one after the other, so that no single event can keep it from being found to work again.
    """
    due: LiteralString = "" if as_trial else " AND delivery.due_at <= clock_timestamp()"
    order: LiteralString = "delivery.last_attempt_at NULLS FIRST, " if as_trial else ""
    cursor = await conn.execute(
        "WITH next AS (SELECT delivery.id FROM webhook_delivery AS delivery WHERE delivery.endpoint_id = %s"
        f" AND delivery.status = 'pending' AND {_FREE}{due} AND {_FIRST} ORDER BY {order}delivery.position LIMIT %s)"
        " UPDATE webhook_delivery AS delivery SET lease_until = clock_timestamp() + %s, fence = fence + 1"
        " FROM next, event WHERE delivery.id = next.id AND event.id = delivery.event_id"
        " RETURNING delivery.id, delivery.fence, delivery.event_id, event.type, event.at, event.data, delivery.retries",
        (endpoint_id, limit, lease),
    )
    return [Claimed(**row) for row in await cursor.fetchall()]


async def finish(conn: Connection, claimed: Claimed, attempt: Attempt, *, wait: timedelta | None) -> bool:
    """Write down what became of a claimed delivery; False when somebody else has taken it over.

    It is delivered when `wait` is None; else it is tried again after that time, or given up when it has no more time.
    """
    cursor = await conn.execute(
        "WITH done AS (UPDATE webhook_delivery SET lease_until = NULL, attempts = attempts + 1,"
        " retries = retries + CASE WHEN %(wait)s::interval IS NULL THEN 0 ELSE 1 END,"
        " due_at = coalesce(clock_timestamp() + %(wait)s::interval, due_at),"
        " status = CASE WHEN %(wait)s::interval IS NULL THEN 'delivered'"
        "   WHEN clock_timestamp() + %(wait)s::interval >= give_up_at THEN 'failed' ELSE 'pending' END,"
        " finished_at = CASE WHEN %(wait)s::interval IS NULL OR clock_timestamp() + %(wait)s::interval >= give_up_at"
        "   THEN clock_timestamp() END,"
        " last_attempt_at = %(at)s, last_status = %(status)s, last_latency_ms = %(latency_ms)s,"
        " last_error = %(error)s WHERE id = %(id)s AND fence = %(fence)s AND status = 'pending' RETURNING id)"
        " INSERT INTO webhook_attempt (delivery_id, at, status, latency_ms, error)"
        " SELECT id, %(at)s, %(status)s, %(latency_ms)s, %(error)s FROM done",
        {
            "id": claimed.id,
            "fence": claimed.fence,
            "wait": wait,
            "at": attempt.at,
            "status": attempt.status,
            "latency_ms": attempt.latency_ms,
            "error": attempt.error,
        },
    )
    return cursor.rowcount == 1


async def bring_forward(conn: Connection, endpoint_id: str, *, every: bool) -> None:
    """Make deliveries due now that wait for their own next try: the endpoint works.

    Without `every` only those that have waited for a quarter of their time, so that an event that this endpoint can
    never take is not tried again with each success of another.
    """
    patient: LiteralString = (
        "" if every else " AND clock_timestamp() - last_attempt_at >= (due_at - last_attempt_at) / 4"
    )
    await conn.execute(
        "UPDATE webhook_delivery SET due_at = clock_timestamp() WHERE endpoint_id = %s AND status = 'pending'"
        f" AND due_at > clock_timestamp(){patient}",
        (endpoint_id,),
    )


async def next_due(conn: Connection, endpoint_id: str, *, as_trial: bool) -> datetime | None:
    """Say when the next delivery can go out, or be taken over; None when none waits."""
    when: LiteralString = (
        "coalesce(max(delivery.lease_until), min(clock_timestamp()))"
        if as_trial
        else "min(greatest(delivery.due_at, delivery.lease_until))"
    )
    row = await (
        await conn.execute(
            f"SELECT {when} AS at FROM webhook_delivery AS delivery"
            f" WHERE delivery.endpoint_id = %s AND delivery.status = 'pending' AND {_FIRST}",
            (endpoint_id,),
        )
    ).fetchone()
    return None if row is None else row["at"]


async def give_up(conn: Connection, *, limit: int = 5_000) -> list[str]:
    """Give up deliveries whose time is over, and give their endpoints, now locked: what came after may be due."""
    cursor = await conn.execute(
        "SELECT id FROM webhook_endpoint WHERE id IN (SELECT endpoint_id FROM webhook_delivery"
        " WHERE status = 'pending' AND give_up_at <= clock_timestamp()) ORDER BY id FOR NO KEY UPDATE"
    )
    locked = [row["id"] for row in await cursor.fetchall()]
    if locked:
        await conn.execute(
            "UPDATE webhook_delivery SET status = 'failed', finished_at = clock_timestamp(), lease_until = NULL"
            " WHERE id IN (SELECT delivery.id FROM webhook_delivery AS delivery WHERE delivery.status = 'pending'"
            f" AND delivery.give_up_at <= clock_timestamp() AND {_FREE} AND delivery.endpoint_id = ANY(%s) LIMIT %s)",
            (locked, limit),
        )
    return locked


async def forget(conn: Connection, *, finished_for: timedelta, limit: int = 5_000) -> None:
    """Delete deliveries that were finished so long ago; their events stay in the feed."""
    await conn.execute(
        "DELETE FROM webhook_delivery WHERE id IN (SELECT id FROM webhook_delivery"
        " WHERE finished_at < clock_timestamp() - %s::interval ORDER BY finished_at LIMIT %s FOR UPDATE SKIP LOCKED)",
        (finished_for, limit),
    )


async def page(
    conn: Connection,
    endpoint_id: str,
    *,
    status: DeliveryStatus | None,
    types: Collection[str] | None,
    limit: int,
    after: int | None,
) -> list[Delivery]:
    """List an endpoint's deliveries, newest first, from behind the id `after`."""
    conditions: LiteralString = ""
    if status is not None:
        conditions += " AND event.status = %(status)s"
    if types is not None:
        conditions += f" AND {IS_OF_TYPES}"
    if after is not None:
        conditions += " AND event.id < %(after)s"
    # Named as the feed's table, for the one condition that both have.
    cursor = await conn.execute(
        f"SELECT {_COLUMNS} FROM webhook_delivery AS event WHERE endpoint_id = %(endpoint_id)s{conditions}"
        " ORDER BY id DESC LIMIT %(limit)s",
        {
            "endpoint_id": endpoint_id,
            "status": status,
            "types": None if types is None else list(types),
            "limit": limit,
            "after": after,
        },
    )
    return [Delivery(**row) for row in await cursor.fetchall()]


async def find(conn: Connection, endpoint_id: str, delivery_id: int) -> Delivery | None:
    """Find a delivery of an endpoint."""
    cursor = await conn.execute(
        f"SELECT {_COLUMNS} FROM webhook_delivery WHERE endpoint_id = %s AND id = %s", (endpoint_id, delivery_id)
    )
    row = await cursor.fetchone()
    return Delivery(**row) if row else None


async def attempts(conn: Connection, delivery_id: int) -> list[Attempt]:
    """Give every attempt of a delivery, in their order."""
    cursor = await conn.execute(
        "SELECT at, status, latency_ms, error FROM webhook_attempt WHERE delivery_id = %s ORDER BY id", (delivery_id,)
    )
    return [Attempt(**row) for row in await cursor.fetchall()]


_AGAIN: LiteralString = (
    "status = 'pending', finished_at = NULL, retries = 0, due_at = clock_timestamp(), asked_at = clock_timestamp(),"
    " give_up_at = clock_timestamp() + %(give_up_after)s"
)


async def replay(conn: Connection, endpoint_id: str, delivery_id: int, *, give_up_after: timedelta) -> Delivery | None:
    """Have a delivery sent again as soon as its turn comes; one that is pending is due at once. None if there is none.

    Its turn comes before later events of its subject that are pending still.
    """
    cursor = await conn.execute(
        f"UPDATE webhook_delivery SET {_AGAIN} WHERE endpoint_id = %(endpoint_id)s AND id = %(id)s"
        f" RETURNING {_COLUMNS}",
        {"endpoint_id": endpoint_id, "id": delivery_id, "give_up_after": give_up_after},
    )
    row = await cursor.fetchone()
    return Delivery(**row) if row else None


async def replay_many(
    conn: Connection,
    endpoint_id: str,
    *,
    since: datetime,
    until: datetime | None,
    types: Collection[str] | None,
    only_failed: bool,
    give_up_after: timedelta,
    limit: int,
) -> int | None:
    """Have the events of a time that the endpoint wants sent, again or for the first time; gives how many.

    Those that are pending anyway do not count. None, with nothing changed, when there are more than `limit`.
    """
    conditions: LiteralString = ""
    if until is not None:
        conditions += " AND event.at < %(until)s"
    if types is not None:
        conditions += f" AND {IS_OF_TYPES}"
    if only_failed:
        conditions += " AND delivery.status = 'failed'"
    chosen: LiteralString = (
        "SELECT event.* FROM webhook_endpoint AS endpoint JOIN event ON event.tenant_id = endpoint.tenant_id"
        " LEFT JOIN webhook_delivery AS delivery"
        "   ON delivery.endpoint_id = endpoint.id AND delivery.event_id = event.id"
        f" WHERE endpoint.id = %(endpoint_id)s AND event.position IS NOT NULL AND event.at >= %(since)s AND {_WANTED}"
        f" AND delivery.status IS DISTINCT FROM 'pending'{conditions}"
    )
    params = {
        "endpoint_id": endpoint_id,
        "since": since,
        "until": until,
        "types": None if types is None else list(types),
        "limit": limit + 1,
        "give_up_after": give_up_after,
    }
    row = await (
        await conn.execute(f"SELECT count(*) AS count FROM ({chosen} LIMIT %(limit)s) AS chosen", params)
    ).fetchone()
    assert row is not None
    if row["count"] > limit:
        return None
    cursor = await conn.execute(
        "INSERT INTO webhook_delivery (tenant_id, endpoint_id, event_id, position, subject, type, give_up_at)"
        " SELECT tenant_id, %(endpoint_id)s, id, position, subject, type, clock_timestamp() + %(give_up_after)s"
        f" FROM ({chosen}) AS event ORDER BY position"
        f" ON CONFLICT (endpoint_id, event_id) DO UPDATE SET {_AGAIN}",
        params,
    )
    return cursor.rowcount


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """What endpoints that are in use have not been given yet."""

    deliveries: int
    oldest_s: float  #: age of the oldest of them


async def backlog(conn: Connection) -> Backlog:
    """Measure what waits to be delivered."""
    row = await (
        await conn.execute(
            "SELECT count(*) AS deliveries,"
            " coalesce(extract(epoch FROM clock_timestamp() - min(asked_at)), 0)::float8 AS oldest_s"
            " FROM webhook_delivery JOIN webhook_endpoint AS endpoint ON endpoint.id = endpoint_id"
            " WHERE status = 'pending' AND endpoint.disabled_at IS NULL"
        )
    ).fetchone()
    assert row is not None
    return Backlog(deliveries=row["deliveries"], oldest_s=max(0.0, row["oldest_s"]))
