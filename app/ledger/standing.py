"""What stands against an order in the ledger: its lock, its turn, and the refunds that a snapshot may not show yet."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString

from app.database import Connection
from app.domain.refund import Status
from app.domain.remaining import Hold, refunded_lines
from app.ledger.records import RefundRecord, plan_from


async def lock_order(conn: Connection, store_id: str, order_id: str) -> None:
    """Hold the order until the transaction ends, against every other process that asks the same."""
    await conn.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 7))", (f"{store_id} {order_id}",))


_IN_DOUBT: LiteralString = "(status = 'uncertain' OR (status = 'sending' AND lease_until < clock_timestamp()))"


async def doubtful(conn: Connection, store_id: str, order_id: str) -> str | None:
    """Name the refund that blocks the order: one whose outcome is not known and nobody is waiting for."""
    row = await (
        await conn.execute(
            "SELECT id FROM refund WHERE store_id = %s AND order_id = %s AND " + _IN_DOUBT + " LIMIT 1",
            (store_id, order_id),
        )
    ).fetchone()
    return None if row is None else str(row["id"])


async def ahead_of(conn: Connection, record: RefundRecord) -> tuple[str, Status] | None:
    """Name a refund that has to be finished before this one may be sent, with its status; None when it is our turn.

    First come, first served: a pending refund with a living process goes before every later one of its order.
    """
    row = await (
        await conn.execute(
            "SELECT id, status FROM refund WHERE store_id = %s AND order_id = %s AND id <> %s AND"
            " (status IN ('sending', 'uncertain')"
            "  OR (status = 'pending' AND plan IS NOT NULL AND id < %s AND lease_until > clock_timestamp()))"
            " ORDER BY status = 'uncertain' DESC LIMIT 1",
            (record.store_id, record.order_id, record.id, record.id),
        )
    ).fetchone()
    return None if row is None else (row["id"], row["status"])


#: Paid by a payment gateway, or perhaps so: a legacy store never tells of refunds that others made. One that was seen
#: in a wc/v3 store before it was clear whether it would be paid, and then vanished, was most likely declined.
_PAID: LiteralString = "(status = 'succeeded' AND (money = 'moved' OR (money = 'unknown' AND sent_via = 'legacy')))"


@dataclass(frozen=True, slots=True, kw_only=True)
class Commitments:
    """What stands against an order in the ledger."""

    holds: tuple[Hold, ...]
    in_doubt: str | None  #: the refund that blocks the order; see `doubtful`
    unfinished: int  #: refunds among the holds that are under way or in review


async def commitments(
    conn: Connection, store_id: str, order_id: str, *, snapshot_read_at: datetime, before: str | None = None
) -> Commitments:
    """Give the refunds of this order that count against it, whether or not a snapshot shows them.

    Counts pending (once planned), sending, uncertain and needs_review, and those that succeeded at or after the
    snapshot was begun to be read (`snapshot_read_at`, aware UTC). needs_review counts because a person may yet find
    that the store paid. Gateway refunds that succeeded count for ever: when the store no longer shows a row, because
    somebody deleted it or it never came to be, the money has left all the same. `before` leaves out a refund itself
    and those that were reserved after it.
    """
    cursor = await conn.execute(
        "SELECT id, amount, plan, marker, store_refund_id, status, " + _IN_DOUBT + " AS in_doubt,"
        " (status <> 'succeeded' OR settled_at >= %(read_at)s OR "
        + _PAID
        + ") AS counts_unseen, "
        + _PAID
        + " AS is_paid,"
        " (status = 'succeeded' AND settled_at < %(read_at)s) AS is_past"
        " FROM refund WHERE store_id = %(store_id)s AND order_id = %(order_id)s AND duplicate_of IS NULL"
        " AND ((plan IS NOT NULL AND status IN ('pending', 'sending', 'uncertain', 'needs_review', 'succeeded'))"
        "      OR (origin = 'store' AND " + _PAID + "))"
        " AND (%(before)s::text IS NULL OR id < %(before)s OR status = 'succeeded')",
        {"store_id": store_id, "order_id": order_id, "read_at": snapshot_read_at, "before": before},
    )
    rows = await cursor.fetchall()
    return Commitments(
        holds=tuple(_hold(row) for row in rows),
        in_doubt=next((row["id"] for row in rows if row["in_doubt"]), None),
        unfinished=sum(row["status"] != "succeeded" for row in rows),
    )


async def holds(
    conn: Connection, store_id: str, order_id: str, *, snapshot_read_at: datetime, before: str | None = None
) -> tuple[Hold, ...]:
    """Give the holds of `commitments`."""
    found = await commitments(conn, store_id, order_id, snapshot_read_at=snapshot_read_at, before=before)
    return found.holds


async def identical(conn: Connection, store_id: str, order_id: str, fingerprint: bytes) -> str | None:
    """Name a refund of the same content whose outcome its client was never given; None when there is none.

    Only of those that came in by the front without a key of their own: whoever sends keys repeats them. Asked under
    the order's lock before a refund is reserved, it makes one refund of identical requests, however close together
    they arrive. Nothing ends by time: a client that was never told may come back any day.
    """
    row = await (
        await conn.execute(
            "SELECT id FROM refund WHERE store_id = %s AND order_id = %s AND fingerprint = %s"
            " AND via = 'front' AND told_at IS NULL AND status <> 'canceled'"
            " AND NOT EXISTS (SELECT FROM idempotency_key WHERE refund_id = refund.id) ORDER BY id LIMIT 1",
            (store_id, order_id, fingerprint),
        )
    ).fetchone()
    return None if row is None else str(row["id"])


def _hold(row: Mapping[str, Any]) -> Hold:
    return Hold(
        refund_id=row["id"],
        amount=row["amount"],
        lines=() if row["plan"] is None else refunded_lines(plan_from(row["plan"])),
        marker=row["marker"],
        store_refund_id=row["store_refund_id"],
        counts_unseen=row["counts_unseen"],
        is_past=row["is_past"],
        is_paid=row["is_paid"],
    )
