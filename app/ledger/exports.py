"""Going through refunds by time, a page at a time."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, LiteralString

from app.database import Connection
from app.domain.refund import Status
from app.ledger.records import RefundRecord, record_of

ExportedBy = Literal["settled", "created"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """Which refunds are exported."""

    from_: datetime  #: inclusive
    to: datetime  #: exclusive
    by: ExportedBy
    status: Status
    store: str | None
    store_ids: Collection[str] | None  #: that the caller's key is limited to


async def page(
    conn: Connection, tenant_id: str, export: Export, *, limit: int, after: tuple[datetime, str] | None
) -> list[RefundRecord]:
    """Read a page of refunds, oldest first, from behind a time and a refund's id.

    Refunds that turned out to be another one are left out.
    """
    at: LiteralString = "refund.settled_at" if export.by == "settled" else "refund.created_at"
    query: LiteralString = (
        "SELECT refund.*, store.name AS store FROM refund JOIN store ON store.id = refund.store_id"
        " WHERE refund.tenant_id = %(tenant_id)s AND refund.duplicate_of IS NULL AND refund.status = %(status)s"
        " AND " + at + " >= %(from)s AND " + at + " < %(to)s"
    )
    if export.store is not None:
        query += " AND store.name = %(store)s"
    if export.store_ids is not None:
        query += " AND refund.store_id = ANY(%(store_ids)s)"
    if after is not None:
        query += " AND (" + at + ", refund.id) > (%(after_at)s, %(after_id)s)"
    cursor = await conn.execute(
        query + " ORDER BY " + at + ", refund.id LIMIT %(limit)s",
        {
            "tenant_id": tenant_id,
            "status": export.status,
            "from": export.from_,
            "to": export.to,
            "store": export.store,
            "store_ids": None if export.store_ids is None else list(export.store_ids),
            "after_at": None if after is None else after[0],
            "after_id": None if after is None else after[1],
            "limit": limit,
        },
    )
    return [record_of(row) for row in await cursor.fetchall()]
