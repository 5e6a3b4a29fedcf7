"""Exporting refunds: all of a time, in the order of that time, however many."""

from collections.abc import AsyncIterator
from datetime import datetime

from app.domain.refund import Status
from app.flows.results import Caller, StoreNotFound
from app.flows.runtime import Runtime
from app.ledger import exports, tenants
from app.ledger.exports import Export, ExportedBy
from app.ledger.records import RefundRecord

_PAGE = 500


async def plan(
    rt: Runtime,
    caller: Caller,
    *,
    from_: datetime,
    to: datetime,
    by: ExportedBy,
    status: Status,
    store: str | None,
) -> Export | StoreNotFound:
    """Say which refunds a caller is to have; those of a store that is out of use are still there."""
    if store is not None:
        async with rt.database.reading() as conn:
            found = await tenants.store_by_name(conn, caller.tenant_id, store)
        if found is None or (caller.store_ids is not None and found.id not in caller.store_ids):
            return StoreNotFound(store=store)
    return Export(from_=from_, to=to, by=by, status=status, store=store, store_ids=caller.store_ids)


async def pages(rt: Runtime, tenant_id: str, export: Export) -> AsyncIterator[list[RefundRecord]]:
    """Give the refunds page by page; no transaction stays open in between.

    What is settled meanwhile at a time that was passed is left out: export times that are over.
    """
    after = None
    while True:
        async with rt.database.reading() as conn:
            found = await exports.page(conn, tenant_id, export, limit=_PAGE, after=after)
        if found:
            yield found
        if len(found) < _PAGE:
            return
        last = found[-1]
        at = last.settled_at if export.by == "settled" else last.created_at
        assert at is not None
        after = (at, last.id)
