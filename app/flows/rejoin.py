"""Joining a refund that is under way, for clients that cannot say whether they repeat themselves.

WooCommerce's clients have no idempotency keys: one whose connection broke sends the same request again. It means the
same refund as long as nobody has given it the outcome of the first.
"""

import asyncio
from datetime import datetime

from app.flows.runtime import Runtime
from app.ledger import amendments, refunds, standing
from app.ledger.records import RefundRecord

_POLL_FIRST_S = 0.02
_POLL_MOST_S = 0.4


async def untold(rt: Runtime, store_id: str, order_id: str, fingerprint: bytes) -> str | None:
    """Name the refund that an identical request began and that its client was never given the outcome of."""
    async with rt.database.reading() as conn:
        return await standing.identical(conn, store_id, order_id, fingerprint)


async def outcome_of(rt: Runtime, refund_id: str, *, until: datetime) -> RefundRecord:
    """Wait for a refund to settle, whichever process is at work on it, and give it as it is then or at `until`."""
    pause_s = _POLL_FIRST_S
    while True:
        async with rt.database.reading() as conn:
            record = await refunds.get(conn, refund_id)
        assert record is not None
        left_s = (until - rt.clock()).total_seconds()
        if record.status not in ("pending", "sending", "uncertain") or left_s <= 0:
            return record
        await asyncio.sleep(min(pause_s, left_s))
        pause_s = min(pause_s * 1.5, _POLL_MOST_S)


async def told(rt: Runtime, record: RefundRecord) -> None:
    """Note that the client was given a settled refund's outcome; the same request again means another refund."""
    async with rt.database.committing() as conn:
        await amendments.mark_told(conn, record.id)
