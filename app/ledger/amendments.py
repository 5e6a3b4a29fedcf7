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
    values = {
        "reason": changed.get("reason", record.reason),
        "reason_code": changed.get("reason_code", record.reason_code),
        "metadata": Jsonb(dict(changed.get("metadata", record.metadata))),
    }
    row = await (
        await conn.execute(
            "WITH changed AS (UPDATE refund SET reason = %(reason)s, reason_code = %(reason_code)s,"
            " metadata = %(metadata)s, updated_at = clock_timestamp(),"
            " plan = CASE WHEN status = 'pending' AND plan IS NOT NULL"
            "  THEN jsonb_set(plan, '{reason}', to_jsonb(%(reason)s::text)) ELSE plan END,"
            " command = CASE WHEN status = 'pending'"
            "  THEN jsonb_set(command, '{reason}', to_jsonb(%(reason)s::text)) ELSE command END,"
            " fence = fence + (status = 'pending')::int"
            " WHERE id = %(id)s AND (status IN ('succeeded', 'failed', 'canceled', 'needs_review')"
            "  OR (status = 'pending' AND fence = %(fence)s AND lease_until IS NULL)) RETURNING *)" + LOGGED,
            {"id": record.id, "fence": record.fence, **event.params(), **values},
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
