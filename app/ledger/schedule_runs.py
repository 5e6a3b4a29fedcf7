"""Runs of schedules, and the orders that schedules have taken."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, LiteralString

from psycopg.types.json import Jsonb
from ulid import ULID

from app.database import Connection
from app.domain.refund import Failure
from app.domain.schedule import RunStatus
from app.ledger.records import failure_from, failure_json
from app.ledger.schedules import Schedule, schedule_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One time that a schedule fired."""

    id: str
    schedule_id: str
    due_at: datetime
    asked_by: str | None  #: who had it run beside its time
    status: RunStatus
    stands_for: int  #: of a skipped one: how many missed times
    batch_id: str | None
    reconciliation_id: str | None
    looked_at: int
    selected: int
    totals: Mapping[str, Decimal]
    left_out: Mapping[str, int]
    cut_short: str | None
    failure: Failure | None
    tries: int
    not_before: datetime
    started_at: datetime | None
    finished_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a run came to."""

    batch_id: str | None = None
    reconciliation_id: str | None = None
    looked_at: int = 0
    selected: int = 0
    totals: Mapping[str, Decimal]
    left_out: Mapping[str, int]
    cut_short: str | None = None


def _run(row: Mapping[str, Any]) -> Run:
    values = {name: row[name] for name in Run.__dataclass_fields__}
    return Run(
        **{
            **values,
            "totals": {currency: Decimal(total) for currency, total in row["totals"].items()},
            "failure": None if row["failure"] is None else failure_from(row["failure"]),
        }
    )


async def insert(
    conn: Connection, schedule_id: str, due_at: datetime, *, asked_by: str | None = None, run_id: str | None = None
) -> str | None:
    """Write that a schedule is to run for its time `due_at`; None when it was written before."""
    row = await (
        await conn.execute(
            "INSERT INTO schedule_run (id, schedule_id, due_at, asked_by, status) VALUES (%s, %s, %s, %s, 'due')"
            " ON CONFLICT (schedule_id, due_at) DO NOTHING RETURNING id",
            (run_id or f"sr_{ULID()}", schedule_id, due_at, asked_by),
        )
    ).fetchone()
    return None if row is None else str(row["id"])


async def skip(conn: Connection, schedule_id: str, due_at: datetime, *, stands_for: int) -> None:
    """Write that a schedule missed so many times, the last of them `due_at`, and is not to make up for them."""
    await conn.execute(
        "INSERT INTO schedule_run (id, schedule_id, due_at, status, stands_for, finished_at)"
        " VALUES (%s, %s, %s, 'skipped', %s, now()) ON CONFLICT (schedule_id, due_at) DO NOTHING",
        (f"sr_{ULID()}", schedule_id, due_at, stands_for),
    )


async def begin(conn: Connection, run_id: str, executor: str, *, lease: timedelta) -> tuple[Run, Schedule] | None:
    """Take a run on for this process; None when another one works on it, it is over, or its time has not come."""
    row = await (
        await conn.execute(
            "UPDATE schedule_run SET status = 'selecting', executor = %s, lease_until = clock_timestamp() + %s,"
            " tries = tries + 1, started_at = coalesce(started_at, now()) WHERE id = %s"
            " AND ((status = 'due' AND not_before <= clock_timestamp())"
            "      OR (status = 'selecting' AND lease_until < clock_timestamp())) RETURNING *",
            (executor, lease, run_id),
        )
    ).fetchone()
    if row is None:
        return None
    found = await (
        await conn.execute(
            "SELECT schedule.*, store.name AS store FROM schedule JOIN store ON store.id = schedule.store_id"
            " WHERE schedule.id = %s",
            (row["schedule_id"],),
        )
    ).fetchone()
    assert found is not None
    return _run(row), schedule_of(found)


async def is_deleted(conn: Connection, schedule_id: str) -> bool:
    """Say whether a schedule was deleted, under its lock, which lasts until the transaction ends."""
    row = await (
        await conn.execute("SELECT deleted_at FROM schedule WHERE id = %s FOR UPDATE", (schedule_id,))
    ).fetchone()
    return row is None or row["deleted_at"] is not None


async def stay(conn: Connection, run_id: str, executor: str, *, lease: timedelta) -> bool:
    """Go on with a run; False when another process has taken it over."""
    done = await conn.execute(
        "UPDATE schedule_run SET lease_until = clock_timestamp() + %s"
        " WHERE id = %s AND executor = %s AND status = 'selecting'",
        (lease, run_id, executor),
    )
    return done.rowcount == 1


async def finish(conn: Connection, run_id: str, executor: str, result: Result) -> bool:
    """End a run with what it came to; False when another process has taken it over."""
    done = await conn.execute(
        "UPDATE schedule_run SET status = 'finished', finished_at = now(), executor = NULL, lease_until = NULL,"
        " batch_id = %(batch_id)s, reconciliation_id = %(reconciliation_id)s, looked_at = %(looked_at)s,"
        " selected = %(selected)s, totals = %(totals)s, left_out = %(left_out)s, cut_short = %(cut_short)s"
        " WHERE id = %(id)s AND executor = %(executor)s AND status = 'selecting'",
        {
            "id": run_id,
            "executor": executor,
            "batch_id": result.batch_id,
            "reconciliation_id": result.reconciliation_id,
            "looked_at": result.looked_at,
            "selected": result.selected,
            "totals": Jsonb({currency: format(total, "f") for currency, total in result.totals.items()}),
            "left_out": Jsonb(dict(result.left_out)),
            "cut_short": result.cut_short,
        },
    )
    return done.rowcount == 1


async def fail(conn: Connection, run_id: str, executor: str, failure: Failure) -> bool:
    """End a run that came to nothing; False when another process has taken it over."""
    done = await conn.execute(
        "UPDATE schedule_run SET status = 'failed', finished_at = now(), executor = NULL, lease_until = NULL,"
        " failure = %s WHERE id = %s AND executor = %s AND status = 'selecting'",
        (Jsonb(failure_json(failure)), run_id, executor),
    )
    return done.rowcount == 1


async def put_off(conn: Connection, run_id: str, executor: str, *, by: timedelta) -> datetime | None:
    """Give a run back, to be taken on again later; gives when, and None when another process has taken it over."""
    row = await (
        await conn.execute(
            "UPDATE schedule_run SET status = 'due', executor = NULL, lease_until = NULL,"
            " not_before = clock_timestamp() + %s WHERE id = %s AND executor = %s AND status = 'selecting'"
            " RETURNING not_before",
            (by, run_id, executor),
        )
    ).fetchone()
    return None if row is None else row["not_before"]


async def open_runs(conn: Connection, *, limit: int) -> list[str]:
    """Name the runs that nobody works on though they could be."""
    cursor = await conn.execute(
        "SELECT id FROM schedule_run WHERE status IN ('due', 'selecting') AND not_before <= clock_timestamp()"
        " AND (status = 'due' OR lease_until < clock_timestamp()) ORDER BY not_before LIMIT %s",
        (limit,),
    )
    return [row["id"] for row in await cursor.fetchall()]


async def find(conn: Connection, run_id: str) -> Run | None:
    """Find a run."""
    row = await (await conn.execute("SELECT * FROM schedule_run WHERE id = %s", (run_id,))).fetchone()
    return None if row is None else _run(row)


async def page(conn: Connection, schedule_id: str, *, limit: int, after: str | None) -> list[Run]:
    """List a schedule's runs, newest first, from behind the run `after`."""
    cursor = await conn.execute(
        "SELECT * FROM schedule_run WHERE schedule_id = %(schedule_id)s"
        " AND (%(after)s::text IS NULL OR id < %(after)s) ORDER BY id DESC LIMIT %(limit)s",
        {"schedule_id": schedule_id, "after": after, "limit": limit},
    )
    return [_run(row) for row in await cursor.fetchall()]


#: An order is free again when the item that it was taken for never was sent and never will be.
_FREE: LiteralString = (
    "(batch_item.status IN ('dropped', 'refused') OR refund.status = 'canceled'"
    " OR (batch_item.status = 'waiting' AND batch.status IN ('canceled', 'expired')))"
)


async def clock(conn: Connection) -> datetime:
    """Give the time by which leases and settlements are measured."""
    row = await (await conn.execute("SELECT clock_timestamp() AS now")).fetchone()
    assert row is not None
    now: datetime = row["now"]
    return now


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """An order that its schedule has taken before."""

    is_free: bool  #: the item that it was taken for came to nothing
    used_up: int  #: references that belong to canceled refunds


async def taken(conn: Connection, schedule_id: str, store_id: str, order_ids: Collection[str]) -> dict[str, Taken]:
    """Say which of these orders a schedule has taken before, and whether they are free again."""
    cursor = await conn.execute(
        "SELECT schedule_order.order_id, times, coalesce(" + _FREE + ", false) AS is_free,"
        " coalesce(refund.status = 'canceled', false) AS burnt"
        " FROM schedule_order JOIN batch ON batch.id = schedule_order.batch_id"
        " JOIN batch_item ON batch_item.batch_id = schedule_order.batch_id"
        "  AND batch_item.number = schedule_order.batch_item"
        " LEFT JOIN refund ON refund.id = batch_item.refund_id"
        " WHERE schedule_order.schedule_id = %s AND schedule_order.store_id = %s AND schedule_order.order_id = ANY(%s)",
        (schedule_id, store_id, list(order_ids)),
    )
    return {
        row["order_id"]: Taken(is_free=row["is_free"], used_up=row["times"] if row["burnt"] else row["times"] - 1)
        for row in await cursor.fetchall()
    }


async def take(
    conn: Connection,
    *,
    schedule_id: str,
    store_id: str,
    run_id: str,
    batch_id: str,
    orders: Sequence[tuple[str, int]],
) -> None:
    """Write the orders that a batch was made for, by their items' numbers; each with the references it has used up.

    Under the schedule's lock, and only orders that `taken` has said to be free.
    """
    async with conn.cursor() as cursor:
        await cursor.executemany(
            "INSERT INTO schedule_order (schedule_id, store_id, order_id, run_id, batch_id, batch_item, times)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (schedule_id, store_id, order_id) DO UPDATE SET"
            " run_id = excluded.run_id, batch_id = excluded.batch_id, batch_item = excluded.batch_item,"
            " times = excluded.times",
            [
                (schedule_id, store_id, order_id, run_id, batch_id, number, used_up + 1)
                for number, (order_id, used_up) in enumerate(orders, start=1)
            ],
        )
