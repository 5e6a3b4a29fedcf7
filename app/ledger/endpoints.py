"""Webhook endpoints: where a tenant's events are sent to, how they are signed, and how each endpoint fares."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, LiteralString

from ulid import ULID

from app.database import Connection
from app.domain.delivery import DisabledReason
from app.ledger import feed

#: While a rotation overlaps another one, the oldest secrets have to go: a signature per secret is sent each time.
_SECRETS_AT_A_TIME = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """An endpoint as the ledger keeps it."""

    id: str
    tenant_id: str
    url: str = field(repr=False)  #: may hold something secret of the receiver's
    description: str
    types: tuple[str, ...] | None  #: whole types or families ("refund.*"); None: all
    store_ids: frozenset[str] | None  #: None: all, and events that are about no store
    created_by: str
    created_at: datetime
    updated_at: datetime
    disabled_at: datetime | None
    disabled_reason: DisabledReason | None
    failing_since: datetime | None  #: the first failure since the last success
    failures: int  #: deliveries that failed in a row; one that fails again and again counts once
    last_failed_id: int | None
    quiet_until: datetime | None  #: nothing is sent to it before


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What callers decide about an endpoint."""

    url: str = field(repr=False)
    description: str
    types: tuple[str, ...] | None
    store_ids: frozenset[str] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """A signing secret, sealed with the endpoint's id as associated data."""

    sealed: bytes = field(repr=False)
    expires_at: datetime | None  #: None for the newest


_COLUMNS: LiteralString = (
    "id, tenant_id, url, description, types, store_ids, created_by, created_at, updated_at, disabled_at,"
    " disabled_reason, failing_since, failures, last_failed_id, quiet_until"
)
#: A key that is limited to stores sees the endpoints that are limited to no others.
_WITHIN: LiteralString = "(%(within)s::text[] IS NULL OR store_ids <@ %(within)s::text[])"


def new_endpoint_id() -> str:
    """Make an id for an endpoint, before `add`: its secret is sealed for it."""
    return f"we_{ULID()}"


async def add(
    conn: Connection, tenant_id: str, endpoint_id: str, settled: Settled, *, sealed: bytes, created_by: str
) -> Endpoint:
    """Add an endpoint with its sealed secret."""
    cursor = await conn.execute(
        "INSERT INTO webhook_endpoint (id, tenant_id, url, description, types, store_ids, created_by)"
        " VALUES (%(id)s, %(tenant_id)s, %(url)s, %(description)s, %(types)s, %(store_ids)s, %(created_by)s)"
        f" RETURNING {_COLUMNS}",
        {"id": endpoint_id, "tenant_id": tenant_id, "created_by": created_by, **_params(settled)},
    )
    row = await cursor.fetchone()
    assert row is not None
    await conn.execute("INSERT INTO webhook_secret (endpoint_id, sealed) VALUES (%s, %s)", (endpoint_id, sealed))
    return _endpoint(row)


async def count(conn: Connection, tenant_id: str) -> int:
    """Count a tenant's endpoints, in use or not."""
    row = await (
        await conn.execute("SELECT count(*) AS count FROM webhook_endpoint WHERE tenant_id = %s", (tenant_id,))
    ).fetchone()
    assert row is not None
    return int(row["count"])


async def page(
    conn: Connection, tenant_id: str, *, within: Collection[str] | None, limit: int, after: str | None
) -> list[Endpoint]:
    """List a tenant's endpoints, oldest first, from behind the id `after`."""
    cursor = await conn.execute(
        f"SELECT {_COLUMNS} FROM webhook_endpoint WHERE tenant_id = %(tenant_id)s AND id > %(after)s AND {_WITHIN}"
        " ORDER BY id LIMIT %(limit)s",
        {"tenant_id": tenant_id, "within": _ids(within), "limit": limit, "after": after or ""},
    )
    return [_endpoint(row) for row in await cursor.fetchall()]


async def find(
    conn: Connection, tenant_id: str, endpoint_id: str, *, within: Collection[str] | None, lock: bool = False
) -> Endpoint | None:
    """Find a tenant's endpoint; with `lock` it does not change until the transaction ends."""
    cursor = await conn.execute(
        f"SELECT {_COLUMNS} FROM webhook_endpoint WHERE tenant_id = %(tenant_id)s AND id = %(id)s AND {_WITHIN}"
        + (" FOR NO KEY UPDATE" if lock else ""),
        {"tenant_id": tenant_id, "id": endpoint_id, "within": _ids(within)},
    )
    row = await cursor.fetchone()
    return _endpoint(row) if row else None


async def lock(conn: Connection, endpoint_id: str) -> tuple[Endpoint, datetime] | None:
    """Find an endpoint of any tenant, and the ledger's time; it does not change until the transaction ends."""
    cursor = await conn.execute(
        f"SELECT {_COLUMNS} FROM webhook_endpoint WHERE id = %s FOR NO KEY UPDATE", (endpoint_id,)
    )
    row = await cursor.fetchone()
    if row is None:
        return None
    clock = await (await conn.execute("SELECT clock_timestamp() AS now")).fetchone()
    assert clock is not None
    return _endpoint(row), clock["now"]


async def change(conn: Connection, endpoint_id: str, settled: Settled) -> None:
    """Replace what callers have decided. A new address starts without a record of failures."""
    await conn.execute(
        "UPDATE webhook_endpoint SET url = %(url)s, description = %(description)s, types = %(types)s,"
        " store_ids = %(store_ids)s, updated_at = now(),"
        " failures = CASE WHEN url = %(url)s THEN failures ELSE 0 END,"
        " failing_since = CASE WHEN url = %(url)s THEN failing_since END,"
        " quiet_until = CASE WHEN url = %(url)s THEN quiet_until END,"
        " wake_at = CASE WHEN url = %(url)s THEN wake_at ELSE clock_timestamp() END"
        " WHERE id = %(id)s",
        {"id": endpoint_id, **_params(settled)},
    )


async def disable(conn: Connection, endpoint: Endpoint, reason: DisabledReason) -> Endpoint:
    """Take an endpoint out of use, and tell of it in the feed unless its owner did it; gives it as it is now."""
    cursor = await conn.execute(
        "UPDATE webhook_endpoint SET disabled_at = clock_timestamp(), disabled_reason = %s, updated_at = now()"
        f" WHERE id = %s RETURNING {_COLUMNS}",
        (reason, endpoint.id),
    )
    row = await cursor.fetchone()
    assert row is not None
    if reason != "by_request":
        # Its address stays out of the feed: addresses of receivers often hold a token.
        data = {"id": endpoint.id, "object": "webhook_endpoint", "description": endpoint.description, "reason": reason}
        await feed.append(
            conn, endpoint.tenant_id, event_type="webhook_endpoint.disabled", subject=endpoint.id, data=data
        )
    return _endpoint(row)


async def enable(conn: Connection, endpoint_id: str) -> None:
    """Put an endpoint back in use, without a record of failures; what waits for it is due at once."""
    await conn.execute(
        "UPDATE webhook_endpoint SET disabled_at = NULL, disabled_reason = NULL, failing_since = NULL, failures = 0,"
        " quiet_until = NULL, wake_at = clock_timestamp(), nudged_until = NULL, updated_at = now() WHERE id = %s",
        (endpoint_id,),
    )


async def remove(conn: Connection, endpoint_id: str) -> None:
    """Delete an endpoint with its secrets and deliveries; the events stay in the feed."""
    await conn.execute("DELETE FROM webhook_endpoint WHERE id = %s", (endpoint_id,))


async def failed(
    conn: Connection, endpoint: Endpoint, delivery_id: int, *, failures: int, quiet_for: timedelta | None
) -> Endpoint:
    """Count a failure, and leave the endpoint alone for a while when `quiet_for` says so; gives it as it is now.

    An endpoint that was not tried for a day begins to fail anew: what nobody tried has not failed.
    """
    cursor = await conn.execute(
        "UPDATE webhook_endpoint SET failures = %s, last_failed_id = %s, failed_at = clock_timestamp(),"
        " failing_since = CASE WHEN failed_at > clock_timestamp() - interval '1 day' AND failing_since IS NOT NULL"
        "   THEN failing_since ELSE clock_timestamp() END,"
        f" quiet_until = greatest(quiet_until, clock_timestamp() + %s::interval) WHERE id = %s RETURNING {_COLUMNS}",
        (failures, delivery_id, quiet_for, endpoint.id),
    )
    row = await cursor.fetchone()
    assert row is not None
    return _endpoint(row)


async def succeeded(conn: Connection, endpoint: Endpoint, *, end_quiet: bool) -> Endpoint:
    """Forget the failures, and with `end_quiet` the time to be left alone; gives it as it is now."""
    cursor = await conn.execute(
        "UPDATE webhook_endpoint SET failures = 0, failing_since = NULL, last_failed_id = NULL,"
        f" quiet_until = CASE WHEN %s THEN NULL ELSE quiet_until END WHERE id = %s RETURNING {_COLUMNS}",
        (end_quiet, endpoint.id),
    )
    row = await cursor.fetchone()
    assert row is not None
    return _endpoint(row)


async def busy(conn: Connection, endpoint_id: str, *, lease: timedelta) -> None:
    """Say that a process is at work on the endpoint; should it die, the endpoint wakes when the lease ends."""
    await conn.execute(
        "UPDATE webhook_endpoint SET nudged_until = clock_timestamp() + %s, wake_at = clock_timestamp() WHERE id = %s",
        (lease, endpoint_id),
    )


async def rest(conn: Connection, endpoint_id: str, *, wake_at: datetime | None) -> None:
    """Say that nobody is at work on the endpoint, and when there is something to do again."""
    await conn.execute(
        "UPDATE webhook_endpoint SET nudged_until = NULL, wake_at = %s WHERE id = %s", (wake_at, endpoint_id)
    )


async def wake(conn: Connection, endpoint_ids: Sequence[str]) -> None:
    """Say that there is something to do for endpoints, as soon as they do not want to be left alone."""
    await conn.execute(
        "UPDATE webhook_endpoint SET wake_at = greatest(clock_timestamp(), quiet_until) WHERE id = ANY(%s)",
        (list(endpoint_ids),),
    )


async def nudge(conn: Connection, *, within: timedelta, limit: int = 100) -> list[str]:
    """Pick the endpoints that have something to do and nobody at it; nobody else picks them `within` that time."""
    cursor = await conn.execute(
        "UPDATE webhook_endpoint SET nudged_until = clock_timestamp() + %s WHERE id IN"
        f" (SELECT id FROM webhook_endpoint WHERE {_AWAKE} ORDER BY wake_at LIMIT %s FOR NO KEY UPDATE SKIP LOCKED)"
        " RETURNING id",
        (within, limit),
    )
    return [row["id"] for row in await cursor.fetchall()]


#: There are few endpoints, and they change all the time: a scan of the table is cheaper than an index to keep up.
_AWAKE: LiteralString = (
    "disabled_at IS NULL AND wake_at <= clock_timestamp()"
    " AND (nudged_until IS NULL OR nudged_until <= clock_timestamp())"
)


async def any_awake(conn: Connection) -> bool:
    """Say whether an endpoint has something to do and nobody at it."""
    row = await (await conn.execute(f"SELECT EXISTS (SELECT FROM webhook_endpoint WHERE {_AWAKE}) AS any")).fetchone()
    return row is not None and bool(row["any"])


async def rotate(conn: Connection, endpoint_id: str, sealed: bytes, *, overlap: timedelta) -> datetime:
    """Sign with a new secret from now on, and with the ones before for as long as they overlap; gives their end."""
    row = await (
        await conn.execute(
            "UPDATE webhook_secret SET expires_at = clock_timestamp() + %s"
            " WHERE endpoint_id = %s AND expires_at IS NULL RETURNING expires_at",
            (overlap, endpoint_id),
        )
    ).fetchone()
    assert row is not None
    await conn.execute("INSERT INTO webhook_secret (endpoint_id, sealed) VALUES (%s, %s)", (endpoint_id, sealed))
    await conn.execute(
        "DELETE FROM webhook_secret WHERE endpoint_id = %(id)s AND (expires_at <= clock_timestamp() OR id NOT IN"
        " (SELECT id FROM webhook_secret WHERE endpoint_id = %(id)s ORDER BY id DESC LIMIT %(limit)s))",
        {"id": endpoint_id, "limit": _SECRETS_AT_A_TIME},
    )
    expires_at: datetime = row["expires_at"]
    return expires_at


async def secrets(conn: Connection, endpoint_id: str) -> list[Secret]:
    """Give the secrets that count now, the newest first."""
    cursor = await conn.execute(
        "SELECT sealed, expires_at FROM webhook_secret WHERE endpoint_id = %s"
        " AND (expires_at IS NULL OR expires_at > clock_timestamp()) ORDER BY id DESC",
        (endpoint_id,),
    )
    return [Secret(sealed=bytes(row["sealed"]), expires_at=row["expires_at"]) for row in await cursor.fetchall()]


def _params(settled: Settled) -> dict[str, Any]:
    return {
        "url": settled.url,
        "description": settled.description,
        "types": None if settled.types is None else list(settled.types),
        "store_ids": _ids(settled.store_ids),
    }


def _ids(ids: Collection[str] | None) -> Sequence[str] | None:
    return None if ids is None else sorted(ids)


def _endpoint(row: dict[str, Any]) -> Endpoint:
    types, store_ids = row["types"], row["store_ids"]
    return Endpoint(
        **{
            **row,
            "types": None if types is None else tuple(types),
            "store_ids": None if store_ids is None else frozenset(store_ids),
        }
    )
