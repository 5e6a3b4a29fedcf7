"""Changes to a refund that change no state of it: its words, and that its outcome was given."""

from collections.abc import Mapping
from typing import Any

from psycopg.types.json import Jsonb

from app.database import Connection
from app.ledger.events import NewEvent
from app.ledger.records import RefundRecord, record_of
from app.ledger.refunds import LOGGED


async def amend(
    conn: Connection, record: RefundRecord, changed: Mapping[str, Any], event: NewEvent
) -> RefundRecord | None:
    """Change a refund's reason, reason code or metadata; None while it is being sent or its outcome is not known.

    A pending one is sent with the new reason; its fence moves on, so that a process about to send it notices. Others
    keep their fence: nobody's hold on them is touched.
    """
    params = {
        "id": record.id,
        "fence": record.fence,
        "fields": sorted(changed),
        "reason": changed.get("reason"),
        "reason_code": changed.get("reason_code"),
        "metadata": Jsonb(dict(changed.get("metadata", {}))),
        **event.params(),
    }
    row = await (
        await conn.execute(
            # Only what is changed, so that two changes at a time do not undo each other.
            "WITH changed AS (UPDATE refund SET"
            " reason = CASE WHEN 'reason' = ANY(%(fields)s) THEN %(reason)s ELSE reason END,"
            " reason_code = CASE WHEN 'reason_code' = ANY(%(fields)s) THEN %(reason_code)s ELSE reason_code END,"
            " metadata = CASE WHEN 'metadata' = ANY(%(fields)s) THEN %(metadata)s ELSE metadata END,"
            " updated_at = clock_timestamp(),"
            # What can still be sent is sent with the new reason.
            " plan = CASE WHEN status IN ('pending', 'needs_review') AND plan IS NOT NULL"
            "  AND 'reason' = ANY(%(fields)s)"
            "  THEN jsonb_set(plan, '{reason}', to_jsonb(%(reason)s::text)) ELSE plan END,"
            " command = CASE WHEN status IN ('pending', 'needs_review') AND 'reason' = ANY(%(fields)s)"
            "  THEN jsonb_set(command, '{reason}', to_jsonb(%(reason)s::text)) ELSE command END,"
            " fence = fence + (status = 'pending')::int"
            " WHERE id = %(id)s AND (status IN ('succeeded', 'failed', 'canceled', 'needs_review')"
            "  OR (status = 'pending' AND fence = %(fence)s AND lease_until IS NULL)) RETURNING *)" + LOGGED,
            params,
        )
    ).fetchone()
    return None if row is None else record_of(row)


async def mark_told(conn: Connection, refund_id: str) -> None:
    """Note that a client of the front was given the refund's outcome: the same request again means another refund."""
    await conn.execute(
        "UPDATE refund SET told_at = clock_timestamp() WHERE id = %s AND via = 'front' AND told_at IS NULL"
        " AND status IN ('succeeded', 'failed', 'canceled')",
        (refund_id,),
    )
