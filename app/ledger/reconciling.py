"""The comparison itself, in sets: rows of a store, the ledger's refunds and an ERP's entries, however many there are.

Everything is kept in tables that belong to one reconciliation, so that no process ever holds more than a page of it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString

from psycopg.types.json import Jsonb

from app.database import Connection
from app.domain.order import StoreRefund
from app.domain.reconciliation import ReadRow
from app.ledger.reconciliations import Reconciliation

#: The ledger's refund that a row belongs to: by the row's id, else by the marker of one whose row is not known yet.
_KNOWN: LiteralString = """
    refund.tenant_id = %(tenant)s AND refund.store_id = %(store)s AND refund.store_refund_id = given.store_refund_id
"""


async def stage(conn: Connection, held: Reconciliation, rows: Sequence[ReadRow]) -> int:
    """Keep rows as they were read, each with whether the ledger had heard of it; gives how many were new.

    A row that was kept before stays as it was, so that what was not known then is found, whatever has happened since.
    """
    cursor = await conn.execute(
        """
WITH given AS (
    SELECT * FROM unnest(%(ids)s::text[], %(orders)s::text[], %(amounts)s::numeric[], %(paid)s::boolean[],
        %(made)s::timestamptz[], %(markers)s::text[], %(currencies)s::text[], %(reasons)s::text[])
        AS given (store_refund_id, order_id, amount, paid, made_at, marker, currency, reason)
), judged AS (
    SELECT given.*, EXISTS (SELECT FROM refund WHERE """
        + _KNOWN
        + """)
        OR EXISTS (SELECT FROM refund WHERE refund.store_id = %(store)s AND refund.marker = given.marker
            AND refund.store_refund_id IS NULL) AS known,
        EXISTS (SELECT FROM refund WHERE """
        + _KNOWN
        + """ AND refund.deleted_at IS NOT NULL AND refund.duplicate_of IS NULL) AS was_gone,
        -- Each reading corrects the store's clock a little differently: a row at the edge may have been put on this
        -- side of it when the time before was compared. It is on record from now on, and none stays on neither side.
        given.made_at IS NULL OR (given.made_at >= %(from)s - interval '2 minutes' AND given.made_at < %(to)s)
            AS belongs
    FROM given
)
INSERT INTO reconciliation_row (reconciliation_id, store_refund_id, order_id, amount, paid, made_at, marker, currency,
    known, to_adopt, reason)
SELECT %(id)s, store_refund_id, order_id, amount, paid, made_at, marker, currency, known,
    (belongs AND NOT known) OR was_gone, CASE WHEN (belongs AND NOT known) OR was_gone THEN reason END
FROM judged
ON CONFLICT DO NOTHING
""",
        {
            **_params(held),
            "ids": [row.store_refund_id for row in rows],
            "orders": [row.order_id for row in rows],
            "amounts": [row.amount for row in rows],
            "paid": [row.paid for row in rows],
            "made": [row.made_at for row in rows],
            "markers": [row.marker for row in rows],
            "currencies": [row.currency for row in rows],
            # NUL is the one character that the database cannot keep.
            "reasons": [row.reason.replace("\0", "") for row in rows],
        },
    )
    return cursor.rowcount


@dataclass(frozen=True, slots=True, kw_only=True)
class ToAdopt:
    """A row that the ledger has to hear of."""

    order_id: str
    refund: StoreRefund
    known: bool  #: the ledger knew it, and thought it was gone


async def to_adopt(conn: Connection, held: Reconciliation, *, after: str, limit: int) -> list[ToAdopt]:
    """Read rows that the ledger has to hear of, by their ids, from behind the row `after`."""
    cursor = await conn.execute(
        "SELECT store_refund_id, order_id, amount, paid, made_at, marker, reason, known FROM reconciliation_row"
        " WHERE reconciliation_id = %s AND to_adopt AND store_refund_id > %s ORDER BY store_refund_id LIMIT %s",
        (held.id, after, limit),
    )
    return [
        ToAdopt(
            order_id=row["order_id"],
            refund=StoreRefund(
                id=row["store_refund_id"],
                amount=row["amount"],
                reason=row["reason"] or "",
                refunded_payment=row["paid"],
                created_at=row["made_at"],
                reference=row["marker"],
                lines=(),
                lines_known=False,
            ),
            known=row["known"],
        )
        for row in await cursor.fetchall()
    ]


#: A refund's currency; of one that others made it is known from other refunds of its order, or not at all.
_CURRENCY: LiteralString = """
    coalesce(refund.currency, shown.currency, (SELECT other.currency FROM refund AS other
        WHERE other.store_id = refund.store_id AND other.order_id = refund.order_id AND other.currency IS NOT NULL
        LIMIT 1))
"""
#: A row that belongs to no other refund, by its id.
_UNCLAIMED: LiteralString = """
    NOT EXISTS (SELECT FROM refund AS other WHERE other.store_id = refund.store_id
        AND other.store_refund_id = shown.store_refund_id AND other.duplicate_of IS NULL)
"""
_COLLECT: LiteralString = (
    """
INSERT INTO reconciliation_refund (reconciliation_id, refund_id, at, standing, currency, row_id, to_ask)
-- What the books say was refunded.
SELECT %(id)s, refund.id, refund.settled_at, 'counts', """
    + _CURRENCY
    + """, shown.store_refund_id, shown.store_refund_id IS NULL
FROM refund LEFT JOIN reconciliation_row AS shown
    ON shown.reconciliation_id = %(id)s AND shown.store_refund_id = refund.store_refund_id
WHERE refund.tenant_id = %(tenant)s AND refund.store_id = %(store)s AND refund.duplicate_of IS NULL
    AND refund.status = 'succeeded' AND refund.settled_at >= %(from)s AND refund.settled_at < %(to)s
UNION ALL
-- What nobody knows the outcome of.
SELECT %(id)s, refund.id, refund.created_at, 'doubtful', """
    + _CURRENCY
    + """, shown.store_refund_id, false
FROM refund LEFT JOIN reconciliation_row AS shown
    ON shown.reconciliation_id = %(id)s AND shown.store_refund_id = refund.store_refund_id
WHERE refund.tenant_id = %(tenant)s AND refund.store_id = %(store)s AND refund.duplicate_of IS NULL
    AND refund.status IN ('sending', 'uncertain', 'needs_review')
    AND refund.created_at >= %(from)s AND refund.created_at < %(to)s
UNION ALL
-- What came to nothing, and has a row in the store all the same.
SELECT %(id)s, refund.id, shown.made_at, 'void', """
    + _CURRENCY
    + """, shown.store_refund_id, false
FROM reconciliation_row AS shown JOIN refund ON refund.store_id = %(store)s
    AND refund.store_refund_id = shown.store_refund_id
WHERE shown.reconciliation_id = %(id)s AND shown.made_at >= %(from)s AND shown.made_at < %(to)s
    AND refund.tenant_id = %(tenant)s AND refund.duplicate_of IS NULL AND refund.status IN ('failed', 'canceled')
    AND NOT EXISTS (SELECT FROM refund AS other WHERE other.store_id = refund.store_id
        AND other.store_refund_id = shown.store_refund_id AND other.status NOT IN ('failed', 'canceled'))
UNION ALL
SELECT %(id)s, refund.id, shown.made_at, 'void', """
    + _CURRENCY
    + """, shown.store_refund_id, false
FROM reconciliation_row AS shown JOIN refund ON refund.store_id = %(store)s AND refund.marker = shown.marker
WHERE shown.reconciliation_id = %(id)s AND shown.made_at >= %(from)s AND shown.made_at < %(to)s
    AND refund.tenant_id = %(tenant)s AND refund.store_refund_id IS NULL AND refund.status IN ('failed', 'canceled')
    AND """
    + _UNCLAIMED
    + """
UNION ALL
-- What the ledger has just heard of, and the store does not date.
SELECT %(id)s, refund.id, refund.settled_at, 'counts', """
    + _CURRENCY
    + """, shown.store_refund_id, false
FROM reconciliation_row AS shown JOIN refund ON refund.store_id = %(store)s
    AND refund.store_refund_id = shown.store_refund_id
WHERE shown.reconciliation_id = %(id)s AND shown.made_at IS NULL AND NOT shown.known
    AND refund.tenant_id = %(tenant)s AND refund.duplicate_of IS NULL AND refund.origin = 'store'
    AND NOT (refund.settled_at >= %(from)s AND refund.settled_at < %(to)s)
ON CONFLICT DO NOTHING
"""
)


async def take_stock(conn: Connection) -> None:
    """Tell the database how many rows there are by now, on which its way of joining them depends: minutes, or not.

    On a connection outside of transactions: others who take stock wait for the end of this one's.
    """
    await conn.execute("ANALYZE refund, reconciliation_row, reconciliation_refund, reconciliation_entry")


async def collect(conn: Connection, held: Reconciliation) -> tuple[int, int]:
    """Write down the ledger's refunds that belong here, each with its row; gives how many, and how many lack one."""
    await conn.execute(_COLLECT, _params(held))
    await conn.execute(
        "UPDATE reconciliation_refund AS subject SET row_id = shown.store_refund_id, to_ask = false"
        " FROM refund, reconciliation_row AS shown"
        " WHERE subject.reconciliation_id = %(id)s AND subject.row_id IS NULL AND refund.id = subject.refund_id"
        " AND refund.store_refund_id IS NULL AND shown.reconciliation_id = %(id)s AND shown.marker = refund.marker"
        " AND " + _UNCLAIMED,
        _params(held),
    )
    row = await (
        await conn.execute(
            "SELECT count(*) AS n, count(*) FILTER (WHERE to_ask) AS to_ask FROM reconciliation_refund"
            " WHERE reconciliation_id = %s",
            (held.id,),
        )
    ).fetchone()
    assert row is not None
    return row["n"], row["to_ask"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToAsk:
    """A refund that the store's list did not show."""

    refund_id: str
    order_id: str | None
    store_refund_id: str | None
    marker: str
    deleted_at: datetime | None


async def to_ask(conn: Connection, held: Reconciliation, *, limit: int) -> list[ToAsk]:
    """Read refunds that the store has not been asked for yet."""
    cursor = await conn.execute(
        "SELECT refund.id AS refund_id, refund.order_id, refund.store_refund_id, refund.marker, refund.deleted_at"
        " FROM reconciliation_refund AS subject JOIN refund ON refund.id = subject.refund_id"
        " WHERE subject.reconciliation_id = %s AND subject.to_ask ORDER BY subject.refund_id LIMIT %s",
        (held.id, limit),
    )
    return [ToAsk(**row) for row in await cursor.fetchall()]


async def note_asked(
    conn: Connection, held: Reconciliation, refund_id: str, *, row_id: str | None, asked: Mapping[str, str]
) -> None:
    """Write down what the store was asked for a refund, and its row if there is one."""
    await conn.execute(
        "UPDATE reconciliation_refund SET to_ask = false, row_id = %s, asked = %s"
        " WHERE reconciliation_id = %s AND refund_id = %s",
        (row_id, Jsonb(dict(asked)), held.id, refund_id),
    )


async def claimed_by_others(conn: Connection, held: Reconciliation, row_ids: Sequence[str]) -> frozenset[str]:
    """Give those of some rows that the ledger knows by their ids."""
    cursor = await conn.execute(
        "SELECT store_refund_id FROM refund WHERE tenant_id = %s AND store_id = %s AND store_refund_id = ANY(%s)"
        " AND duplicate_of IS NULL",
        (held.tenant_id, held.store_id, list(row_ids)),
    )
    return frozenset(row["store_refund_id"] for row in await cursor.fetchall())


def _params(held: Reconciliation) -> dict[str, Any]:
    return {
        "id": held.id,
        "tenant": held.tenant_id,
        "store": held.store_id,
        "from": held.from_at,
        "to": held.to_at,
    }
