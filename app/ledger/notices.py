"""What stores told by their webhooks, and what has to be looked at because of it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from app.database import Connection

LookKind = Literal["order", "refund"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookSecret:
    """What a store signs its webhooks with, and where it was told to send them."""

    store_id: str
    secret: bytes = field(repr=False)  #: sealed; the store's id is the associated data
    base_url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """Something of a store that has to be looked at."""

    store_id: str
    kind: LookKind
    subject: str  #: the store's id of the order or the refund
    asked: int  #: grows with every notice
    attempts: int
    first_at: datetime
    now: datetime  #: the ledger's clock, from before anything of the store was read


async def claim_secret(conn: Connection, store_id: str, secret: bytes, *, base_url: str) -> WebhookSecret:
    """Keep a sealed secret for a store's webhooks unless there is one, and give the one that there is then."""
    cursor = await conn.execute(
        "INSERT INTO store_webhooks (store_id, secret, base_url) VALUES (%s, %s, %s) ON CONFLICT (store_id)"
        " DO UPDATE SET base_url = excluded.base_url, updated_at = now() RETURNING store_id, secret, base_url",
        (store_id, secret, base_url),
    )
    row = await cursor.fetchone()
    assert row is not None
    return WebhookSecret(**row)


async def keep_secret(conn: Connection, store_id: str, secret: bytes, *, base_url: str) -> None:
    """Keep the sealed secret of a store's webhooks."""
    await conn.execute(
        "INSERT INTO store_webhooks (store_id, secret, base_url) VALUES (%s, %s, %s) ON CONFLICT (store_id)"
        " DO UPDATE SET secret = excluded.secret, base_url = excluded.base_url, updated_at = now()",
        (store_id, secret, base_url),
    )


async def secret_of(conn: Connection, store_id: str) -> WebhookSecret | None:
    """Give the sealed secret of a store's webhooks; None when none were ever registered."""
    query = "SELECT store_id, secret, base_url FROM store_webhooks WHERE store_id = %s"
    cursor = await conn.execute(query, (store_id,))
    row = await cursor.fetchone()
    return None if row is None else WebhookSecret(**row)


async def secrets_by_name(conn: Connection, name: str) -> Sequence[WebhookSecret]:
    """Give the sealed secrets of the stores of this name that are in use; several tenants may have one."""
    cursor = await conn.execute(
        "SELECT store_id, secret, base_url FROM store_webhooks JOIN store ON store.id = store_id"
        " WHERE store.name = %s AND store.disabled_at IS NULL ORDER BY store_id",
        (name,),
    )
    return [WebhookSecret(**row) for row in await cursor.fetchall()]


async def note(conn: Connection, store_id: str, *, webhook_id: str, topic: str, body_hash: bytes) -> int:
    """Count a notice, and give how many times this very one has come by now."""
    cursor = await conn.execute(
        "INSERT INTO store_notice (store_id, webhook_id, topic, body_hash) VALUES (%s, %s, %s, %s)"
        " ON CONFLICT (store_id, webhook_id, topic, body_hash)"
        " DO UPDATE SET times = store_notice.times + 1, received_at = clock_timestamp() RETURNING times",
        (store_id, webhook_id, topic, body_hash),
    )
    row = await cursor.fetchone()
    assert row is not None
    return int(row["times"])


async def forget(conn: Connection, *, older_than: timedelta) -> None:
    """Drop old notices."""
    await conn.execute("DELETE FROM store_notice WHERE received_at < clock_timestamp() - %s", (older_than,))


async def ask(conn: Connection, store_id: str, kind: LookKind, subject: str) -> None:
    """Write down that something has to be looked at; asked for several times before that, it is looked at once."""
    await conn.execute(
        "INSERT INTO store_look (store_id, kind, subject) VALUES (%s, %s, %s) ON CONFLICT (store_id, kind, subject)"
        " DO UPDATE SET asked = store_look.asked + 1",
        (store_id, kind, subject),
    )


async def take(
    conn: Connection, store_id: str, kind: LookKind, subject: str, *, lease: timedelta, at_a_time: int
) -> Look | None:
    """Take up a look that is due; until the lease ends nobody else does. None when there is nothing to be done.

    None as well while (about) `at_a_time` looks at the store are under way: it stays due then.
    """
    cursor = await conn.execute(
        "UPDATE store_look SET attempts = attempts + 1, due_at = clock_timestamp() + %(lease)s, leased = true"
        " WHERE store_id = %(store)s AND kind = %(kind)s AND subject = %(subject)s AND due_at <= clock_timestamp()"
        " AND (SELECT count(*) FROM store_look AS other WHERE other.store_id = %(store)s AND other.leased"
        "   AND other.due_at > clock_timestamp()) < %(at_a_time)s"
        " RETURNING store_id, kind, subject, asked, attempts, first_at, clock_timestamp() AS now",
        {"lease": lease, "store": store_id, "kind": kind, "subject": subject, "at_a_time": at_a_time},
    )
    row = await cursor.fetchone()
    return None if row is None else Look(**row)


async def done(conn: Connection, look: Look) -> bool:
    """Note that a look came to its end; False when another notice came meanwhile, and it is due again."""
    key = {"store": look.store_id, "kind": look.kind, "subject": look.subject, "asked": look.asked}
    cursor = await conn.execute(
        "DELETE FROM store_look WHERE store_id = %(store)s AND kind = %(kind)s AND subject = %(subject)s"
        " AND asked = %(asked)s",
        key,
    )
    if cursor.rowcount == 1:
        return True
    cursor = await conn.execute(
        "UPDATE store_look SET due_at = clock_timestamp(), leased = false, attempts = 0, first_at = clock_timestamp()"
        " WHERE store_id = %(store)s AND kind = %(kind)s AND subject = %(subject)s",
        key,
    )
    return cursor.rowcount == 0


async def postpone(conn: Connection, look: Look, *, wait: timedelta) -> datetime | None:
    """Have a look taken up again later, and give when; None when somebody else has it."""
    cursor = await conn.execute(
        "UPDATE store_look SET due_at = clock_timestamp() + %s, leased = false"
        " WHERE store_id = %s AND kind = %s AND subject = %s AND attempts = %s RETURNING due_at",
        (wait, look.store_id, look.kind, look.subject, look.attempts),
    )
    row = await cursor.fetchone()
    return None if row is None else row["due_at"]


async def due(
    conn: Connection, *, limit: int, of_a_store: int, store_id: str | None = None
) -> Sequence[tuple[str, LookKind, str]]:
    """Name looks that are due, longest first, and not more `of_a_store` than that; of one store, or of all."""
    cursor = await conn.execute(
        "SELECT store_id, kind, subject"
        " FROM (SELECT *, row_number() OVER (PARTITION BY store_id ORDER BY due_at) AS n FROM store_look"
        "   WHERE due_at <= clock_timestamp() AND (%(store)s::text IS NULL OR store_id = %(store)s)) AS due"
        " WHERE n <= %(of_a_store)s ORDER BY due_at LIMIT %(limit)s",
        {"limit": limit, "of_a_store": of_a_store, "store": store_id},
    )
    return [(row["store_id"], row["kind"], row["subject"]) for row in await cursor.fetchall()]


async def order_of_refund(conn: Connection, store_id: str, store_refund_id: str) -> str | None:
    """Give the order of a store's refund, if the ledger has seen it."""
    cursor = await conn.execute(
        "SELECT order_id FROM refund WHERE store_id = %s AND store_refund_id = %s AND order_id IS NOT NULL LIMIT 1",
        (store_id, store_refund_id),
    )
    row = await cursor.fetchone()
    return None if row is None else str(row["order_id"])


async def in_doubt(conn: Connection, store_id: str, order_id: str) -> Sequence[str]:
    """Name the refunds of an order whose outcome is not known."""
    cursor = await conn.execute(
        "SELECT id FROM refund WHERE store_id = %s AND order_id = %s AND status IN ('uncertain', 'needs_review')"
        " ORDER BY id",
        (store_id, order_id),
    )
    return [row["id"] for row in await cursor.fetchall()]
