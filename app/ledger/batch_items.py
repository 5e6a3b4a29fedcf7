"""Items of batches, and the lanes in which they are worked: one process at a time per store."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, LiteralString

from psycopg.types.json import Jsonb

from app.database import Connection
from app.domain.batch import BatchMode, ItemStatus
from app.domain.refund import Failure, RefundCommand, RefundPlan
from app.ledger.batches import BatchRecord, _record
from app.ledger.records import command_from, failure_from, failure_json, plan_from, plan_json


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """An item that is to be worked on."""

    batch_id: str
    number: int
    store_id: str
    order_key: str
    command: RefundCommand
    mode: BatchMode
    tenant_id: str
    caller: Mapping[str, Any]
    request_id: str
    tries: int
    started_at: datetime  #: of its batch
    known_refund_id: str | None  #: the refund that its reference belongs to
    now: datetime  #: the ledger's clock


async def waiting(conn: Connection, store_id: str, *, limit: int, without: Collection[str] = ()) -> list[Item]:
    """Give a store's next items, of all running batches in turn, those with low numbers first.

    `without` are the `order_key`s of orders that the caller has in hand: however many items an order has, those of
    others are not kept waiting by it.
    """
    cursor = await conn.execute(
        "SELECT item.batch_id, item.number, item.store_id, item.order_key, item.command, item.tries, batch.mode,"
        " batch.tenant_id, batch.caller, batch.request_id, batch.started_at, refund.id AS known_refund_id,"
        " clock_timestamp() AS now"
        " FROM batch CROSS JOIN LATERAL (SELECT * FROM batch_item WHERE batch_item.batch_id = batch.id"
        "  AND batch_item.store_id = %(store_id)s AND batch_item.status = 'waiting'"
        "  AND (batch_item.due_at IS NULL OR batch_item.due_at <= clock_timestamp())"
        "  AND NOT batch_item.order_key = ANY(%(without)s)"
        "  ORDER BY batch_item.number LIMIT %(limit)s) AS item"
        " LEFT JOIN refund ON item.external_reference IS NOT NULL AND refund.tenant_id = batch.tenant_id"
        "  AND refund.store_id = item.store_id AND refund.external_reference = item.external_reference"
        " WHERE batch.status = 'running' AND batch.store_ids @> ARRAY[%(store_id)s]"
        " ORDER BY item.number, item.batch_id LIMIT %(limit)s",
        {
            "store_id": store_id,
            "limit": limit,
            "without": list(without),
        },
    )
    return [Item(**{**row, "command": command_from(row["command"])}) for row in await cursor.fetchall()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Linked:
    """An item is done by its refund."""

    limited: bool  #: the batch may not pay any amount: see `batches.take`


async def link(conn: Connection, item: Item, refund_id: str, *, replayed: bool) -> Linked | None:
    """Let an item be done by a refund; None when it was taken, dropped, or its batch does not run any more.

    In the transaction that reserves the refund, it is what makes one refund of an item and none of a stopped batch.
    """
    row = await (
        await conn.execute(
            "UPDATE batch_item SET status = 'done', refund_id = %(refund_id)s, replayed = %(replayed)s, due_at = NULL"
            " WHERE batch_id = %(batch_id)s AND number = %(number)s AND status = 'waiting'"
            " AND EXISTS (SELECT FROM batch WHERE id = %(batch_id)s AND status = 'running')"
            " RETURNING EXISTS (SELECT FROM batch_limit WHERE batch_limit.batch_id = %(batch_id)s) AS limited",
            {"refund_id": refund_id, "replayed": replayed, "batch_id": item.batch_id, "number": item.number},
        )
    ).fetchone()
    return None if row is None else Linked(limited=row["limited"])


async def refuse(conn: Connection, item: Item, failure: Failure) -> None:
    """Put on record that an item came to no refund, and why."""
    await conn.execute(
        "UPDATE batch_item SET status = 'refused', failure = %s, due_at = NULL"
        " WHERE batch_id = %s AND number = %s AND status = 'waiting'",
        (Jsonb(failure_json(failure)), item.batch_id, item.number),
    )


async def find_valid(conn: Connection, item: Item, plan: RefundPlan | None) -> None:
    """Put on record what an item of a check would be; without a plan its refund is there already."""
    await conn.execute(
        "UPDATE batch_item SET status = 'valid', plan = %s, amount = %s, currency = %s, replayed = %s, due_at = NULL"
        " WHERE batch_id = %s AND number = %s AND status = 'waiting'",
        (
            None if plan is None else Jsonb(plan_json(plan)),
            None if plan is None else plan.amount,
            None if plan is None else plan.currency,
            plan is None,
            item.batch_id,
            item.number,
        ),
    )


async def put_off(conn: Connection, item: Item, *, by: timedelta) -> None:
    """Take an item up again later."""
    await conn.execute(
        "UPDATE batch_item SET tries = tries + 1, due_at = clock_timestamp() + %s"
        " WHERE batch_id = %s AND number = %s AND status = 'waiting'",
        (by, item.batch_id, item.number),
    )


async def plans_so_far(conn: Connection, store_id: str) -> list[tuple[str, RefundPlan]]:
    """Give what the items of running checks would refund of a store's orders, each with its batch's id."""
    cursor = await conn.execute(
        "SELECT item.batch_id, item.plan FROM batch_item AS item JOIN batch ON batch.id = item.batch_id"
        " WHERE batch.status = 'running' AND batch.mode = 'check' AND item.store_id = %s AND item.status = 'valid'"
        " AND item.plan IS NOT NULL",
        (store_id,),
    )
    return [(row["batch_id"], plan_from(row["plan"])) for row in await cursor.fetchall()]


#: An item that has come to an end, or to a person.
_CONCLUDED: LiteralString = (
    "(item.status IN ('refused', 'dropped', 'valid') OR (item.status = 'done' AND EXISTS (SELECT FROM refund"
    " WHERE refund.id = item.refund_id AND refund.status IN ('succeeded', 'failed', 'canceled', 'needs_review'))))"
)


async def count_up(conn: Connection, batch_id: str, numbers: Sequence[int] | None = None) -> BatchRecord | None:
    """Mark what has come to an end and count it, each item once; None when nothing new had.

    `numbers` narrows it to some items; without, every item of the batch is looked at. In a transaction: the batch's
    row is locked before those of its items, so that two who count never wait for each other.
    """
    await conn.execute("SELECT FROM batch WHERE id = %s FOR NO KEY UPDATE", (batch_id,))
    row = await (
        await conn.execute(
            "WITH ended AS (UPDATE batch_item AS item SET processed_at = clock_timestamp()"
            "  WHERE item.batch_id = %(batch_id)s AND item.processed_at IS NULL AND item.status <> 'waiting'"
            "  AND (%(numbers)s::integer[] IS NULL OR item.number = ANY(%(numbers)s)) AND "
            + _CONCLUDED
            + " RETURNING item.status, item.refund_id),"
            " counted AS (SELECT count(*) AS processed, count(*) FILTER (WHERE ended.status = 'refused'"
            "  OR refund.status = 'failed') AS failed FROM ended LEFT JOIN refund ON refund.id = ended.refund_id)"
            " UPDATE batch SET processed = batch.processed + counted.processed, failed = batch.failed + counted.failed,"
            " updated_at = clock_timestamp() FROM counted WHERE batch.id = %(batch_id)s AND counted.processed > 0"
            " RETURNING batch.*",
            {"batch_id": batch_id, "numbers": None if numbers is None else list(numbers)},
        )
    ).fetchone()
    return None if row is None else _record(row)


async def drop_waiting(conn: Connection, batch_id: str) -> int:
    """Drop the items that were not taken up; gives how many."""
    dropped = await conn.execute(
        "UPDATE batch_item SET status = 'dropped', due_at = NULL WHERE batch_id = %s AND status = 'waiting'",
        (batch_id,),
    )
    return dropped.rowcount


#: What a batch's cancellation withdraws. Not what a person has put back in line since: that item had been processed.
#: Nor what an item of another batch, which is not canceled, has joined by its reference.
_UNSENT: LiteralString = (
    "FROM refund JOIN batch_item AS item ON item.batch_id = refund.batch_id AND item.number = refund.batch_item"
    " JOIN batch ON batch.id = refund.batch_id"
    " WHERE refund.status = 'pending' AND item.processed_at IS NULL AND batch.status = 'canceled'"
    " AND NOT EXISTS (SELECT FROM batch_item AS joined JOIN batch AS its ON its.id = joined.batch_id"
    "  WHERE joined.refund_id = refund.id AND joined.batch_id <> refund.batch_id AND its.status <> 'canceled')"
)


async def unsent_refunds(conn: Connection, batch_id: str) -> list[str]:
    """Give the refunds of a canceled batch that were not sent, or provably did not arrive."""
    cursor = await conn.execute(
        "SELECT refund.id " + _UNSENT + " AND refund.batch_id = %s ORDER BY refund.id", (batch_id,)
    )
    return [row["id"] for row in await cursor.fetchall()]


async def is_withdrawn(conn: Connection, refund_id: str) -> bool:
    """Say whether a pending refund is one of those that the cancellation of their batch withdraws."""
    row = await (
        await conn.execute("SELECT EXISTS (SELECT " + _UNSENT + " AND refund.id = %s) AS any", (refund_id,))
    ).fetchone()
    return row is not None and bool(row["any"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """An item and what became of it."""

    number: int
    store: str
    order_id: str | None
    order_number: str | None
    external_reference: str | None
    status: ItemStatus
    replayed: bool
    refund_id: str | None
    store_refund_id: str | None
    money: str | None
    amount: Decimal | None
    currency: str | None
    decimals: int | None
    payment: str
    failure: Failure | None
    settled_at: datetime | None


async def page(
    conn: Connection, batch_id: str, *, status: ItemStatus | None, limit: int, after: int | None
) -> list[Outcome]:
    """Read items of a batch by their numbers, from behind the number `after`."""
    cursor = await conn.execute(
        "SELECT item.number, store.name AS store,"
        " coalesce(refund.order_id, item.plan ->> 'order_id', item.command ->> 'order_id') AS order_id,"
        " coalesce(refund.order_number, item.plan ->> 'order_number', item.command ->> 'order_number')"
        "  AS order_number, item.external_reference,"
        " CASE WHEN item.status = 'done' THEN refund.status ELSE item.status END AS status, item.replayed,"
        " item.refund_id, refund.store_refund_id, refund.money, coalesce(refund.amount, item.amount) AS amount,"
        " coalesce(refund.currency, item.currency) AS currency,"
        " coalesce(refund.decimals, (item.plan ->> 'decimals')::smallint) AS decimals,"
        " coalesce(refund.payment, item.command ->> 'payment') AS payment,"
        " coalesce(refund.failure, item.failure) AS failure, refund.settled_at"
        " FROM batch_item AS item JOIN store ON store.id = item.store_id"
        " LEFT JOIN refund ON refund.id = item.refund_id"
        " WHERE item.batch_id = %(batch_id)s AND item.number > %(after)s AND (%(status)s::text IS NULL"
        "  OR CASE WHEN item.status = 'done' THEN refund.status ELSE item.status END = %(status)s)"
        " ORDER BY item.number LIMIT %(limit)s",
        {"batch_id": batch_id, "after": after or 0, "status": status, "limit": limit},
    )
    return [
        Outcome(**{**row, "failure": None if row["failure"] is None else failure_from(row["failure"])})
        for row in await cursor.fetchall()
    ]


async def stores_with_work(conn: Connection) -> list[str]:
    """Give the stores in use that have items to be taken up and that nobody is at work on."""
    cursor = await conn.execute(
        "SELECT DISTINCT store_id FROM batch CROSS JOIN LATERAL unnest(batch.store_ids) AS store_id"
        " WHERE batch.status = 'running'"
        " AND EXISTS (SELECT FROM store WHERE store.id = store_id.store_id AND store.disabled_at IS NULL)"
        " AND EXISTS (SELECT FROM batch_item WHERE batch_item.batch_id = batch.id"
        "  AND batch_item.store_id = store_id.store_id AND batch_item.status = 'waiting'"
        "  AND (batch_item.due_at IS NULL OR batch_item.due_at <= clock_timestamp()))"
        " AND NOT EXISTS (SELECT FROM lane WHERE lane.store_id = store_id.store_id"
        "  AND lane.lease_until > clock_timestamp())"
    )
    return [row["store_id"] for row in await cursor.fetchall()]


async def enter_lane(conn: Connection, store_id: str, executor: str, *, lease: timedelta) -> bool:
    """Take a store's lane; False when somebody is at work in it."""
    taken = await conn.execute(
        "INSERT INTO lane (store_id, executor, lease_until) VALUES (%(store)s, %(executor)s, clock_timestamp() +"
        " %(lease)s) ON CONFLICT (store_id) DO UPDATE SET executor = excluded.executor,"
        " lease_until = excluded.lease_until"
        " WHERE lane.lease_until IS NULL OR lane.lease_until < clock_timestamp()",
        {"store": store_id, "executor": executor, "lease": lease},
    )
    return bool(taken.rowcount)


async def lanes_in_hand(conn: Connection, executor: str) -> int:
    """Count the lanes that a process works in."""
    row = await (
        await conn.execute(
            "SELECT count(*) AS lanes FROM lane WHERE executor = %s AND lease_until > clock_timestamp()", (executor,)
        )
    ).fetchone()
    return 0 if row is None else int(row["lanes"])


async def stay_in_lane(conn: Connection, store_id: str, executor: str, *, lease: timedelta) -> bool:
    """Show that the lane's process lives; False when it has lost the lane."""
    kept = await conn.execute(
        "UPDATE lane SET lease_until = clock_timestamp() + %s WHERE store_id = %s AND executor = %s"
        " AND lease_until > clock_timestamp()",
        (lease, store_id, executor),
    )
    return bool(kept.rowcount)


async def leave_lane(conn: Connection, store_id: str, executor: str) -> None:
    """Free a lane for whoever comes next."""
    await conn.execute(
        "UPDATE lane SET executor = NULL, lease_until = NULL WHERE store_id = %s AND executor = %s",
        (store_id, executor),
    )
