"""Quotes: what a preview promised, and for which state of the order."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from psycopg.types.json import Jsonb

from app.database import Connection
from app.domain.order_state import OrderSummary


@dataclass(frozen=True, slots=True, kw_only=True)
class QuoteRecord:
    """A quote as it was given."""

    id: str
    store_id: str
    order_id: str
    fingerprint: bytes  #: of the money-relevant content of the previewed request
    state: str  #: fingerprint of the order's state
    summary: OrderSummary  #: what the order looked like
    amount: Decimal
    expires_at: datetime


async def insert(
    conn: Connection,
    tenant_id: str,
    *,
    quote_id: str,
    store_id: str,
    order_id: str,
    fingerprint: bytes,
    state: str,
    summary: OrderSummary,
    amount: Decimal,
    ttl: timedelta,
) -> datetime:
    """Keep a quote and give the time it expires."""
    row = await (
        await conn.execute(
            "INSERT INTO quote (id, tenant_id, store_id, order_id, fingerprint, state, summary, amount, expires_at)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, now() + %s) RETURNING expires_at",
            (quote_id, tenant_id, store_id, order_id, fingerprint, state, Jsonb(dict(summary)), amount, ttl),
        )
    ).fetchone()
    assert row is not None
    expires_at: datetime = row["expires_at"]
    return expires_at


async def find(conn: Connection, tenant_id: str, quote_id: str) -> QuoteRecord | None:
    """Read a quote of a tenant, expired or not."""
    row = await (
        await conn.execute(
            "SELECT id, store_id, order_id, fingerprint, state, summary, amount, expires_at FROM quote"
            " WHERE tenant_id = %s AND id = %s",
            (tenant_id, quote_id),
        )
    ).fetchone()
    return None if row is None else QuoteRecord(**row)


async def forget(conn: Connection, *, expired_for: timedelta) -> None:
    """Delete quotes that expired so long ago that nobody will ask what became of them."""
    await conn.execute("DELETE FROM quote WHERE expires_at < now() - %s", (expired_for,))
