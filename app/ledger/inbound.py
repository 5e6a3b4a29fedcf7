"""Sources of refund requests that are not callers of the API, and the messages that came from them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal, LiteralString

from psycopg import AsyncCursor, errors
from psycopg.types.json import Jsonb

from app.database import Connection
from app.domain.refund import RefundCommand
from app.ledger.records import command_from, command_json

#: received: understood, and its refund is about to be asked for; ignored: its mapping says that it is about no refund.
MessageStatus = Literal["received", "accepted", "ignored", "failed"]

Json = Mapping[str, Any]


class NameTaken(Exception):
    """The tenant has a source of this name already; the transaction is of no more use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A system that sends messages of its own making."""

    id: str
    tenant_id: str
    name: str
    verification: Json
    secret: bytes = field(repr=False)  #: sealed; the id is the associated data
    previous_secret: bytes | None = field(repr=False)
    previous_until: datetime | None
    mapping: Json
    dedupe: Json | None
    store: str | None  #: of messages whose mapping names none
    store_ids: frozenset[str] | None  #: the stores that its refunds may be of; None: every store of the tenant
    created_by: str
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message as it came, and what became of it."""

    id: str
    tenant_id: str
    source_id: str
    dedupe_key: str
    headers: Mapping[str, str]
    body: bytes | None = field(repr=False)  #: None once it was forgotten
    status: MessageStatus
    command: RefundCommand | None
    refund_id: str | None
    failure: Json | None  #: "code", "message" and, where there are any, "errors"
    attempts: int
    due_at: datetime
    received_at: datetime
    updated_at: datetime
    replayed_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a message was understood as: a refund to ask for, nothing that concerns us, or something faulty."""

    command: RefundCommand | None = None
    failure: Json | None = None

    @property
    def status(self) -> MessageStatus:
        """Name the status of a message that was understood like this."""
        if self.failure is not None:
            return "failed"
        return "ignored" if self.command is None else "received"

    def params(self) -> dict[str, Any]:
        """Give the outcome as parameters of a statement that writes it."""
        return {
            "status": self.status,
            "command": None if self.command is None else Jsonb(command_json(self.command)),
            "failure": None if self.failure is None else Jsonb(dict(self.failure)),
        }


# Sources


async def add_source(
    conn: Connection,
    *,
    id: str,  # noqa: A002 - the column's name
    tenant_id: str,
    name: str,
    verification: Json,
    secret: bytes,
    mapping: Json,
    dedupe: Json | None,
    store: str | None,
    store_ids: Collection[str] | None,
    created_by: str,
) -> Source:
    """Add a source with a sealed secret. Raises NameTaken."""
    cursor = await _naming(
        conn,
        "INSERT INTO inbound_source"
        " (id, tenant_id, name, verification, secret, mapping, dedupe, store, store_ids, created_by)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s) RETURNING *",
        (
            id,
            tenant_id,
            name,
            Jsonb(dict(verification)),
            secret,
            Jsonb(dict(mapping)),
            None if dedupe is None else Jsonb(dict(dedupe)),
            store,
            None if store_ids is None else sorted(store_ids),
            created_by,
        ),
    )
    row = await cursor.fetchone()
    assert row is not None
    return _source(row)


async def source_by_id(conn: Connection, source_id: str) -> Source | None:
    """Find a source of any tenant that is in use: for its own messages, which name no tenant."""
    cursor = await conn.execute("SELECT * FROM inbound_source WHERE id = %s AND deleted_at IS NULL", (source_id,))
    row = await cursor.fetchone()
    return None if row is None else _source(row)


async def source_of(conn: Connection, tenant_id: str, source_id: str) -> Source | None:
    """Find a tenant's source, deleted or not: messages outlive it."""
    cursor = await conn.execute("SELECT * FROM inbound_source WHERE tenant_id = %s AND id = %s", (tenant_id, source_id))
    row = await cursor.fetchone()
    return None if row is None else _source(row)


async def sources(
    conn: Connection, tenant_id: str, *, store_ids: Collection[str] | None, limit: int, after: str | None
) -> list[Source]:
    """List a tenant's sources, newest first, from behind `after`; with `store_ids`, those limited to some of them."""
    cursor = await conn.execute(
        "SELECT * FROM inbound_source WHERE tenant_id = %(tenant)s AND deleted_at IS NULL"
        " AND (%(after)s::text IS NULL OR id < %(after)s) AND (%(ids)s::text[] IS NULL OR store_ids <@ %(ids)s::text[])"
        " ORDER BY id DESC LIMIT %(limit)s",
        {
            "tenant": tenant_id,
            "after": after,
            "limit": limit,
            "ids": None if store_ids is None else list(store_ids),
        },
    )
    return [_source(row) for row in await cursor.fetchall()]


async def change_source(
    conn: Connection,
    source: Source,
    *,
    name: str,
    verification: Json,
    mapping: Json,
    dedupe: Json | None,
    store: str | None,
) -> Source | None:
    """Replace how a source's messages are read; None when it was deleted. Raises NameTaken."""
    cursor = await _naming(
        conn,
        "UPDATE inbound_source SET name = %s, verification = %s, mapping = %s, dedupe = %s, store = %s,"
        " updated_at = clock_timestamp() WHERE tenant_id = %s AND id = %s AND deleted_at IS NULL RETURNING *",
        (
            name,
            Jsonb(dict(verification)),
            Jsonb(dict(mapping)),
            None if dedupe is None else Jsonb(dict(dedupe)),
            store,
            source.tenant_id,
            source.id,
        ),
    )
    row = await cursor.fetchone()
    return None if row is None else _source(row)


async def rotate_secret(conn: Connection, source: Source, secret: bytes, *, overlap: timedelta) -> Source | None:
    """Give a source a new sealed secret; the old one counts as well for so long. None when it was deleted."""
    cursor = await conn.execute(
        "UPDATE inbound_source SET previous_secret = CASE WHEN %(overlap)s > interval '0' THEN secret END,"
        " previous_until = CASE WHEN %(overlap)s > interval '0' THEN clock_timestamp() + %(overlap)s END,"
        " secret = %(secret)s, updated_at = clock_timestamp()"
        " WHERE tenant_id = %(tenant)s AND id = %(id)s AND deleted_at IS NULL RETURNING *",
        {"overlap": overlap, "secret": secret, "tenant": source.tenant_id, "id": source.id},
    )
    row = await cursor.fetchone()
    return None if row is None else _source(row)


async def delete_source(conn: Connection, source: Source) -> bool:
    """Take a source out of use for good; its messages stay. False when it was."""
    cursor = await conn.execute(
        "UPDATE inbound_source SET deleted_at = clock_timestamp() WHERE tenant_id = %s AND id = %s"
        " AND deleted_at IS NULL",
        (source.tenant_id, source.id),
    )
    return cursor.rowcount == 1


# Messages


async def add_message(
    conn: Connection,
    *,
    id: str,  # noqa: A002 - the column's name
    source: Source,
    dedupe_key: str,
    headers: Mapping[str, str],
    body: bytes,
    outcome: Outcome,
) -> tuple[Message, bool]:
    """Keep a message, or give the one that came before with the same key; says whether it is new."""
    cursor = await conn.execute(
        "INSERT INTO inbound_message (id, tenant_id, source_id, dedupe_key, headers, body, status, command, failure)"
        " VALUES (%(id)s, %(tenant)s, %(source)s, %(key)s, %(headers)s, %(body)s, %(status)s, %(command)s, %(failure)s)"
        " ON CONFLICT (source_id, dedupe_key) DO NOTHING RETURNING *",
        {
            "id": id,
            "tenant": source.tenant_id,
            "source": source.id,
            "key": dedupe_key,
            "headers": Jsonb(dict(headers)),
            "body": body,
            **outcome.params(),
        },
    )
    row = await cursor.fetchone()
    if row is not None:
        return _message(row), True
    cursor = await conn.execute(
        "SELECT * FROM inbound_message WHERE source_id = %s AND dedupe_key = %s", (source.id, dedupe_key)
    )
    row = await cursor.fetchone()
    assert row is not None
    return _message(row), False


async def message(conn: Connection, tenant_id: str, source_id: str, message_id: str) -> Message | None:
    """Find a message of a source."""
    cursor = await conn.execute(
        "SELECT * FROM inbound_message WHERE tenant_id = %s AND source_id = %s AND id = %s",
        (tenant_id, source_id, message_id),
    )
    row = await cursor.fetchone()
    return None if row is None else _message(row)


async def message_by_key(conn: Connection, source: Source, dedupe_key: str) -> str | None:
    """Name the message of a source that came with this key."""
    cursor = await conn.execute(
        "SELECT id FROM inbound_message WHERE source_id = %s AND dedupe_key = %s", (source.id, dedupe_key)
    )
    row = await cursor.fetchone()
    return None if row is None else str(row["id"])


async def messages(
    conn: Connection, source: Source, *, status: MessageStatus | None, limit: int, after: str | None
) -> list[Message]:
    """List a source's messages without their bodies, newest first, from behind `after`."""
    conditions: LiteralString = ""
    if status is not None:
        conditions += " AND status = %(status)s"
    if after is not None:
        conditions += " AND id < %(after)s"
    cursor = await conn.execute(
        "SELECT id, tenant_id, source_id, dedupe_key, headers, NULL AS body, status, command, refund_id, failure,"
        " attempts, due_at, received_at, updated_at, replayed_at FROM inbound_message"
        " WHERE tenant_id = %(tenant)s AND source_id = %(source)s" + conditions + " ORDER BY id DESC LIMIT %(limit)s",
        {"tenant": source.tenant_id, "source": source.id, "status": status, "after": after, "limit": limit},
    )
    return [_message(row) for row in await cursor.fetchall()]


async def failed_ids(conn: Connection, source: Source, *, limit: int, after: str | None) -> Sequence[str]:
    """Name a source's failed messages whose bodies are still there, oldest first, from behind `after`."""
    cursor = await conn.execute(
        "SELECT id FROM inbound_message WHERE tenant_id = %(tenant)s AND source_id = %(source)s AND status = 'failed'"
        " AND body IS NOT NULL AND (%(after)s::text IS NULL OR id > %(after)s) ORDER BY id LIMIT %(limit)s",
        {"tenant": source.tenant_id, "source": source.id, "after": after, "limit": limit},
    )
    return [row["id"] for row in await cursor.fetchall()]


async def take(conn: Connection, message_id: str, *, lease: timedelta) -> Message | None:
    """Take up a received message that is due; until the lease ends nobody else does. None when it is not."""
    cursor = await conn.execute(
        "UPDATE inbound_message SET attempts = attempts + 1, due_at = clock_timestamp() + %s,"
        " updated_at = clock_timestamp() WHERE id = %s AND status = 'received' AND due_at <= clock_timestamp()"
        " RETURNING *",
        (lease, message_id),
    )
    row = await cursor.fetchone()
    return None if row is None else _message(row)


async def postpone(conn: Connection, taken: Message, *, wait: timedelta) -> bool:
    """Have a message taken up again later; False when somebody else has it."""
    cursor = await conn.execute(
        "UPDATE inbound_message SET due_at = clock_timestamp() + %s, updated_at = clock_timestamp()"
        " WHERE id = %s AND status = 'received' AND attempts = %s",
        (wait, taken.id, taken.attempts),
    )
    return cursor.rowcount == 1


async def accept(conn: Connection, taken: Message, refund_id: str) -> bool:
    """Note which refund a message led to; false when that, or something else, was noted before."""
    cursor = await conn.execute(
        "UPDATE inbound_message SET status = 'accepted', refund_id = %s, failure = NULL, updated_at = clock_timestamp()"
        " WHERE id = %s AND status = 'received'",
        (refund_id, taken.id),
    )
    return cursor.rowcount == 1


async def fail(conn: Connection, taken: Message, failure: Json) -> bool:
    """Note why a message led to no refund; False when somebody else has it."""
    cursor = await conn.execute(
        "UPDATE inbound_message SET status = 'failed', failure = %s, updated_at = clock_timestamp()"
        " WHERE id = %s AND status = 'received' AND attempts = %s",
        (Jsonb(dict(failure)), taken.id, taken.attempts),
    )
    return cursor.rowcount == 1


async def read_anew(conn: Connection, before: Message, outcome: Outcome) -> Message | None:
    """Replace what a failed or ignored message was understood as; None when its state has changed meanwhile."""
    cursor = await conn.execute(
        "UPDATE inbound_message SET status = %(status)s, command = %(command)s, failure = %(failure)s,"
        " due_at = clock_timestamp(), replayed_at = clock_timestamp(), updated_at = clock_timestamp()"
        " WHERE tenant_id = %(tenant)s AND id = %(id)s AND status IN ('failed', 'ignored')"
        " AND updated_at = %(updated_at)s RETURNING *",
        {"tenant": before.tenant_id, "id": before.id, "updated_at": before.updated_at, **outcome.params()},
    )
    row = await cursor.fetchone()
    return None if row is None else _message(row)


async def due_messages(conn: Connection, *, limit: int) -> Sequence[str]:
    """Name the received messages that are due, longest first."""
    cursor = await conn.execute(
        "SELECT id FROM inbound_message WHERE status = 'received' AND due_at <= clock_timestamp()"
        " ORDER BY due_at LIMIT %s",
        (limit,),
    )
    return [row["id"] for row in await cursor.fetchall()]


async def forget_bodies(conn: Connection, *, older_than: timedelta, limit: int) -> int:
    """Drop what settled messages said; their keys stay, so that none is taken in twice. Gives how many those were."""
    cursor = await conn.execute(
        "UPDATE inbound_message SET body = NULL, command = NULL, headers = '{}',"
        # What was wrong may quote what was said.
        " failure = CASE WHEN failure IS NOT NULL THEN"
        "   jsonb_build_object('code', failure -> 'code', 'message', 'What was wrong is no longer kept.') END"
        " WHERE id IN (SELECT id"
        " FROM inbound_message WHERE body IS NOT NULL AND status <> 'received' AND received_at < clock_timestamp() - %s"
        " ORDER BY received_at LIMIT %s FOR UPDATE SKIP LOCKED)",
        (older_than, limit),
    )
    return cursor.rowcount


async def _naming(conn: Connection, query: LiteralString, params: Sequence[Any]) -> AsyncCursor[dict[str, Any]]:
    """Carry out a statement that gives a source its name."""
    try:
        return await conn.execute(query, params)
    except errors.UniqueViolation as error:
        raise NameTaken from error


def _source(row: dict[str, Any]) -> Source:
    store_ids = row["store_ids"]
    return Source(**{**row, "store_ids": None if store_ids is None else frozenset(store_ids)})


def _message(row: dict[str, Any]) -> Message:
    command = row["command"]
    return Message(**{**row, "command": None if command is None else command_from(command)})
