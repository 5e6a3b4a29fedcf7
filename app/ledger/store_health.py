"""Which stores are out of reach: one row per store, so that an outage is told of once by all processes together."""

from datetime import UTC

from app.database import Connection
from app.ledger import feed


async def is_unreachable(conn: Connection, store_id: str) -> bool:
    """Say whether a store was found to be out of reach and has not answered since."""
    cursor = await conn.execute(
        "SELECT FROM store_health WHERE store_id = %s AND unreachable_since IS NOT NULL", (store_id,)
    )
    return await cursor.fetchone() is not None


async def mark_unreachable(conn: Connection, tenant_id: str, store_id: str, store: str) -> bool:
    """Put on record that a store cannot be reached, and tell of it in the feed; False when that is known already."""
    cursor = await conn.execute(
        "INSERT INTO store_health AS health (store_id, unreachable_since) VALUES (%s, clock_timestamp())"
        " ON CONFLICT (store_id) DO UPDATE SET unreachable_since = clock_timestamp()"
        " WHERE health.unreachable_since IS NULL RETURNING unreachable_since AS since",
        (store_id,),
    )
    row = await cursor.fetchone()
    if row is None:
        return False
    data = {"store": store, "unreachable_since": row["since"].astimezone(UTC).isoformat()}
    await feed.append(conn, tenant_id, event_type="store.unreachable", subject=store, data=data, store_id=store_id)
    return True


async def mark_recovered(conn: Connection, tenant_id: str, store_id: str, store: str) -> bool:
    """Put on record that a store answers again, and tell of it in the feed; False when it was not out of reach."""
    cursor = await conn.execute(
        "UPDATE store_health SET unreachable_since = NULL FROM store_health AS before"
        " WHERE store_health.store_id = %s AND before.store_id = store_health.store_id"
        " AND store_health.unreachable_since IS NOT NULL RETURNING before.unreachable_since AS since",
        (store_id,),
    )
    row = await cursor.fetchone()
    if row is None:
        return False
    data = {"store": store, "unreachable_since": row["since"].astimezone(UTC).isoformat()}
    await feed.append(conn, tenant_id, event_type="store.recovered", subject=store, data=data, store_id=store_id)
    return True
