"""The rows of reconciliations, and what they have found."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, LiteralString

from psycopg.types.json import Jsonb

from app.database import Connection
from app.domain.reconciliation import (
    Action,
    Against,
    DriftClass,
    ErpEntry,
    Phase,
    Reads,
    ReconciliationStatus,
    TotalClass,
)
from app.domain.refund import Failure
from app.ledger.records import failure_from, failure_json


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciliation:
    """A comparison of a store's refunds with the ledger's, and how far it has come."""

    id: str
    tenant_id: str
    store_id: str
    store: str  #: the store's name
    from_at: datetime
    to_at: datetime
    status: ReconciliationStatus
    phase: Phase
    cursor: Mapping[str, Any]
    reads: Reads | None
    store_decimals: int
    erp_entries: int | None
    rows_read: int
    rows_expected: int | None
    adopted: int
    refunds: int | None
    to_ask: int | None
    asked: int
    matched: int | None
    drifts: int | None
    schedule_id: str | None
    created_by: str
    created_at: datetime
    updated_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    tries: int
    fence: int
    failure: Failure | None
    signed_off_by: str | None
    signed_off_note: str | None
    signed_off_key: str | None
    signed_off_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """One way in which a refund differs, with the facts of both sides."""

    id: int
    drift_class: DriftClass
    against: Against
    refund_id: str | None
    store_refund_id: str | None
    order_id: str | None
    order_number: str | None
    external_reference: str | None
    at: datetime
    currency: str | None
    decimals: int
    amount: Decimal | None
    action: Action
    evidence: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Total:
    """How many refunds of a day and currency fell into a class, and how much they are."""

    day: date  #: UTC
    currency: str | None
    total_class: TotalClass
    refunds: int
    decimals: int
    amount: Decimal


_SELECT: LiteralString = (
    "SELECT reconciliation.*, store.name AS store FROM reconciliation JOIN store ON store.id = reconciliation.store_id"
)


def _reconciliation(row: Mapping[str, Any]) -> Reconciliation:
    values = {name: row[name] for name in Reconciliation.__dataclass_fields__}
    values["failure"] = None if row["failure"] is None else failure_from(row["failure"])
    return Reconciliation(**values)


async def insert(
    conn: Connection,
    *,
    id: str,  # noqa: A002  # as the column
    tenant_id: str,
    store_id: str,
    from_at: datetime,
    to_at: datetime,
    erp_entries: int | None,
    schedule_id: str | None,
    created_by: str,
) -> None:
    """Write down what is to be compared."""
    await conn.execute(
        "INSERT INTO reconciliation (id, tenant_id, store_id, from_at, to_at, erp_entries, schedule_id, created_by)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
        (id, tenant_id, store_id, from_at, to_at, erp_entries, schedule_id, created_by),
    )


async def keep_entries(conn: Connection, reconciliation_id: str, entries: Iterable[ErpEntry]) -> None:
    """Write down the ERP's list."""
    async with (
        conn.cursor() as cursor,
        cursor.copy(
            "COPY reconciliation_entry (reconciliation_id, number, reference, order_key, amount, currency, day)"
            " FROM STDIN"
        ) as copy,
    ):
        for entry in entries:
            await copy.write_row(
                (reconciliation_id, entry.number, entry.reference, entry.order, entry.amount, entry.currency, entry.day)
            )


async def find(
    conn: Connection, tenant_id: str, reconciliation_id: str, *, store_ids: Collection[str] | None = None
) -> Reconciliation | None:
    """Read a reconciliation of a tenant's; `store_ids` are the stores that the caller's key is limited to."""
    found = await page(conn, tenant_id, limit=1, after=None, store_ids=store_ids, only=reconciliation_id)
    return found[0] if found else None


async def page(
    conn: Connection,
    tenant_id: str,
    *,
    limit: int,
    after: str | None,
    store_ids: Collection[str] | None = None,
    store: str | None = None,
    status: ReconciliationStatus | None = None,
    schedule_id: str | None = None,
    only: str | None = None,
) -> list[Reconciliation]:
    """Read a page of reconciliations, newest first, from behind the id `after`."""
    params = {
        "tenant_id": tenant_id,
        "after": after,
        "store_ids": None if store_ids is None else list(store_ids),
        "store": store,
        "status": status,
        "schedule_id": schedule_id,
        "only": only,
        "limit": limit,
    }
    conditions: Mapping[str, LiteralString] = {
        "after": " AND reconciliation.id < %(after)s",
        "store_ids": " AND reconciliation.store_id = ANY(%(store_ids)s)",
        "store": " AND store.name = %(store)s",
        "status": " AND reconciliation.status = %(status)s",
        "schedule_id": " AND reconciliation.schedule_id = %(schedule_id)s",
        "only": " AND reconciliation.id = %(only)s",
    }
    query: LiteralString = _SELECT + " WHERE reconciliation.tenant_id = %(tenant_id)s"
    for name, condition in conditions.items():
        if params[name] is not None:
            query += condition
    cursor = await conn.execute(query + " ORDER BY reconciliation.id DESC LIMIT %(limit)s", params)
    return [_reconciliation(row) for row in await cursor.fetchall()]


async def drifts(
    conn: Connection, reconciliation_id: str, *, limit: int, after: int | None, drift_class: DriftClass | None = None
) -> list[Drift]:
    """Read a page of what was found, by class and then by time, from behind the drift `after`."""
    query: LiteralString = (
        "SELECT id, class AS drift_class, against, refund_id, store_refund_id, order_id, order_number,"
        " external_reference, at, currency, decimals, amount, action, evidence"
        " FROM reconciliation_drift WHERE reconciliation_id = %(id)s AND id > %(after)s"
    )
    if drift_class is not None:
        query += " AND class = %(class)s"
    cursor = await conn.execute(
        query + " ORDER BY id LIMIT %(limit)s",
        {"id": reconciliation_id, "after": after or 0, "class": drift_class, "limit": limit},
    )
    return [Drift(**row) for row in await cursor.fetchall()]


async def totals(conn: Connection, reconciliation_id: str) -> list[Total]:
    """Read the totals, by day, currency and class."""
    cursor = await conn.execute(
        "SELECT day, nullif(currency, '') AS currency, class AS total_class, refunds, decimals, amount"
        " FROM reconciliation_total WHERE reconciliation_id = %s ORDER BY 1, 2 NULLS LAST, class <> 'matched', class",
        (reconciliation_id,),
    )
    return [Total(**row) for row in await cursor.fetchall()]


async def sign_off(conn: Connection, tenant_id: str, reconciliation_id: str, *, name: str, note: str, key: str) -> bool:
    """Write down who has seen to a finished reconciliation; False when somebody has before, or it is not finished."""
    cursor = await conn.execute(
        "UPDATE reconciliation SET signed_off_by = %s, signed_off_note = %s, signed_off_key = %s,"
        " signed_off_at = clock_timestamp(), updated_at = clock_timestamp()"
        " WHERE tenant_id = %s AND id = %s AND status = 'finished' AND signed_off_at IS NULL",
        (name, note, key, tenant_id, reconciliation_id),
    )
    return cursor.rowcount == 1


async def claim(
    conn: Connection, reconciliation_id: str, *, executor_id: str, lease: timedelta
) -> Reconciliation | None:
    """Take a reconciliation that nobody is at work on; None when there is none to be taken."""
    row = await (
        await conn.execute(
            "WITH changed AS (UPDATE reconciliation SET status = 'running', executor = %s, fence = fence + 1,"
            "  lease_until = clock_timestamp() + %s, started_at = coalesce(started_at, clock_timestamp()),"
            "  updated_at = clock_timestamp()"
            "  WHERE id = %s AND status IN ('queued', 'running') AND coalesce(lease_until < clock_timestamp(), true)"
            "  RETURNING *)"
            " SELECT changed.*, store.name AS store FROM changed JOIN store ON store.id = changed.store_id",
            (executor_id, lease, reconciliation_id),
        )
    ).fetchone()
    return None if row is None else _reconciliation(row)


async def keep(conn: Connection, held: Reconciliation, *, lease: timedelta) -> bool:
    """Make the lease longer; False when somebody else has taken the reconciliation."""
    cursor = await conn.execute(
        "UPDATE reconciliation SET lease_until = clock_timestamp() + %s WHERE id = %s AND fence = %s"
        " AND status = 'running'",
        (lease, held.id, held.fence),
    )
    return cursor.rowcount == 1


#: What the work itself changes.
_PROGRESS = frozenset(
    {
        "phase",
        "cursor",
        "reads",
        "store_decimals",
        "rows_read",
        "rows_expected",
        "adopted",
        "refunds",
        "to_ask",
        "asked",
    }
)


async def save(conn: Connection, held: Reconciliation, **progress: Any) -> bool:
    """Write down how far it has come, in the transaction of that work; False when somebody else has taken it.

    Locks the row: of two that believe to hold it, one waits for the other and then finds that it does not.
    """
    assert progress.keys() <= _PROGRESS
    values: dict[str, Any] = dict.fromkeys(_PROGRESS) | progress
    values["cursor"] = None if values["cursor"] is None else Jsonb(values["cursor"])
    cursor = await conn.execute(
        "UPDATE reconciliation SET phase = coalesce(%(phase)s, phase), cursor = coalesce(%(cursor)s, cursor),"
        " reads = coalesce(%(reads)s, reads), store_decimals = coalesce(%(store_decimals)s, store_decimals),"
        " rows_read = coalesce(%(rows_read)s, rows_read), rows_expected = coalesce(%(rows_expected)s, rows_expected),"
        " adopted = coalesce(%(adopted)s, adopted), refunds = coalesce(%(refunds)s, refunds),"
        " to_ask = coalesce(%(to_ask)s, to_ask), asked = coalesce(%(asked)s, asked), tries = 0,"
        " updated_at = clock_timestamp() WHERE id = %(id)s AND fence = %(fence)s AND status = 'running'",
        {**values, "id": held.id, "fence": held.fence},
    )
    return cursor.rowcount == 1


async def let_go(conn: Connection, held: Reconciliation) -> None:
    """Give a reconciliation to whoever takes it next, unless somebody has taken it already."""
    await conn.execute(
        "UPDATE reconciliation SET lease_until = NULL, executor = NULL, due_at = clock_timestamp()"
        " WHERE id = %s AND fence = %s AND status = 'running'",
        (held.id, held.fence),
    )


async def put_off(conn: Connection, held: Reconciliation, *, at: datetime) -> None:
    """Give it back until `at`, because its store could not be read."""
    await conn.execute(
        "UPDATE reconciliation SET lease_until = NULL, executor = NULL, due_at = %s, tries = tries + 1"
        " WHERE id = %s AND fence = %s AND status = 'running'",
        (at, held.id, held.fence),
    )


async def finish(
    conn: Connection, held: Reconciliation, *, failure: Failure | None = None, matched: int | None = None
) -> Reconciliation | None:
    """Bring it to its end and drop what was only kept for it; None when somebody else has taken it."""
    row = await (
        await conn.execute(
            "WITH changed AS (UPDATE reconciliation SET status = %(status)s, failure = %(failure)s,"
            "  matched = %(matched)s, drifts = CASE WHEN %(failure)s::jsonb IS NULL THEN"
            "   (SELECT count(*) FROM reconciliation_drift WHERE reconciliation_id = %(id)s) END,"
            "  finished_at = clock_timestamp(), updated_at = clock_timestamp(), lease_until = NULL, executor = NULL,"
            "  due_at = NULL WHERE id = %(id)s AND fence = %(fence)s AND status = 'running' RETURNING *)"
            " SELECT changed.*, store.name AS store FROM changed JOIN store ON store.id = changed.store_id",
            {
                "id": held.id,
                "fence": held.fence,
                "status": "finished" if failure is None else "failed",
                "failure": None if failure is None else Jsonb(failure_json(failure)),
                "matched": matched,
            },
        )
    ).fetchone()
    if row is None:
        return None
    await conn.execute("DELETE FROM reconciliation_row WHERE reconciliation_id = %s", (held.id,))
    await conn.execute("DELETE FROM reconciliation_refund WHERE reconciliation_id = %s", (held.id,))
    await conn.execute("DELETE FROM reconciliation_entry WHERE reconciliation_id = %s", (held.id,))
    return _reconciliation(row)


async def due(conn: Connection, *, limit: int) -> list[str]:
    """Give the ids of reconciliations that wait for a worker, the longest waiting first."""
    cursor = await conn.execute(
        "SELECT id FROM reconciliation WHERE status IN ('queued', 'running') AND due_at <= clock_timestamp()"
        " AND coalesce(lease_until < clock_timestamp(), true) ORDER BY due_at LIMIT %s",
        (limit,),
    )
    return [row["id"] for row in await cursor.fetchall()]
