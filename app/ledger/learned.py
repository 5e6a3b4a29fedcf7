"""What refunds have taught about a store's payment methods."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from app.database import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """What became of the gateway refunds of one payment method that were sent through us."""

    last_success_at: datetime | None
    last_partial_success_at: datetime | None  #: of less than what was left of the order
    last_failure_at: datetime | None
    last_failure_code: str | None
    succeeded: int  #: in the last 90 days
    failed: int  #: in the last 90 days


async def by_payment_method(conn: Connection, tenant_id: str, store_id: str) -> Mapping[str, Learned]:
    """Give what is known by payment method, from the settled gateway refunds of the last 90 days."""
    cursor = await conn.execute(
        "SELECT payment_method,"
        " max(settled_at) FILTER (WHERE status = 'succeeded') AS last_success_at,"
        " max(settled_at) FILTER (WHERE status = 'succeeded' AND (plan->>'is_partial')::boolean)"
        "  AS last_partial_success_at,"
        " max(settled_at) FILTER (WHERE status = 'failed') AS last_failure_at,"
        " (array_agg(failure->>'code' ORDER BY settled_at DESC) FILTER (WHERE status = 'failed'))[1]"
        "  AS last_failure_code,"
        " count(*) FILTER (WHERE status = 'succeeded') AS succeeded,"
        " count(*) FILTER (WHERE status = 'failed') AS failed"
        " FROM refund WHERE tenant_id = %s AND store_id = %s AND origin = 'api' AND payment = 'gateway'"
        " AND payment_method IS NOT NULL AND status IN ('succeeded', 'failed') AND sent_at IS NOT NULL"
        " AND settled_at > clock_timestamp() - interval '90 days' GROUP BY payment_method",
        (tenant_id, store_id),
    )
    rows = await cursor.fetchall()
    return {row.pop("payment_method"): Learned(**row) for row in rows}
