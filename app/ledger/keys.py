"""Idempotency keys of everything that is created beside refunds."""

from dataclasses import dataclass

from app.database import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """What a key stands for."""

    resource_id: str  #: ours, or what the first request with this key created
    first: bool  #: this is the first request with the key
    same: bool  #: the first one had the same content


async def claim(conn: Connection, tenant_id: str, key: str, fingerprint: bytes, resource_id: str) -> Claimed:
    """Let a key stand for what is being created in this transaction, unless it stands for something already.

    Waits for another transaction that is claiming the same key. `fingerprint` is of operation and content.
    """
    made = await (
        await conn.execute(
            "INSERT INTO idempotency_key (tenant_id, key, fingerprint, resource_id) VALUES (%s, %s, %s, %s)"
            " ON CONFLICT DO NOTHING RETURNING key",
            (tenant_id, key, fingerprint, resource_id),
        )
    ).fetchone()
    if made is not None:
        return Claimed(resource_id=resource_id, first=True, same=True)
    there = await known(conn, tenant_id, key, fingerprint)
    assert there is not None
    return there


async def known(conn: Connection, tenant_id: str, key: str, fingerprint: bytes) -> Claimed | None:
    """Say what a key stands for already; None when it is new."""
    row = await (
        await conn.execute(
            "SELECT fingerprint, coalesce(resource_id, refund_id) AS id FROM idempotency_key"
            " WHERE tenant_id = %s AND key = %s",
            (tenant_id, key),
        )
    ).fetchone()
    if row is None:
        return None
    return Claimed(resource_id=row["id"], first=False, same=bytes(row["fingerprint"]) == fingerprint)
