"""Looking at stores and orders, live; nothing is written."""

from dataclasses import dataclass
from datetime import datetime

from app.domain.remaining import remaining
from app.flows.results import Caller, OrderView, StoreFailed, StoreNotFound
from app.flows.runtime import Runtime
from app.ledger import search, standing
from app.stores.port import HealthReport, Store, StoreError, StoreUnavailable


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    store_id: str
    store: Store
    now: datetime  #: the ledger's clock


async def _find(rt: Runtime, caller: Caller, store: str) -> _Found | StoreNotFound:
    async with rt.database.reading() as conn:
        opening = await search.opening(conn, caller.tenant_id, store, idempotency_key=None, external_reference=None)
    if opening.store_id is None or (caller.store_ids is not None and opening.store_id not in caller.store_ids):
        return StoreNotFound(store=store)
    try:
        adapter, _ = await rt.stores.open(opening.store_id)
    except LookupError:
        return StoreNotFound(store=store)
    return _Found(store_id=opening.store_id, store=adapter, now=opening.now)


def _failed(error: StoreError) -> StoreFailed:
    retry_after_s = error.retry_after_s if isinstance(error, StoreUnavailable) else None
    return StoreFailed(code=error.code, message=str(error), retry_after_s=retry_after_s)


async def order(rt: Runtime, caller: Caller, store: str, order_id: str) -> OrderView | StoreNotFound | StoreFailed:
    """Read an order and give what is still refundable of it, our refunds under way taken off."""
    found = await _find(rt, caller, store)
    if isinstance(found, StoreNotFound):
        return found
    try:
        snapshot = await found.store.read_order(order_id, read_at=found.now)
    except StoreError as error:
        return _failed(error)
    capability = await found.store.payment_capability(snapshot.payment_method)
    async with rt.database.reading() as conn:
        held = await standing.holds(conn, found.store_id, snapshot.id, snapshot_read_at=snapshot.read_at)
        ours = await search.of_order(conn, caller.tenant_id, found.store_id, snapshot.id)
        blocked_by = await standing.doubtful(conn, found.store_id, snapshot.id)
    return OrderView(
        order=snapshot,
        remaining=remaining(snapshot, held),
        capability=capability,
        ours=ours,
        blocked_by=blocked_by,
    )


async def health(rt: Runtime, caller: Caller, store: str) -> HealthReport | StoreNotFound:
    """Look a store over: reachability, versions, permissions, clock, and what its payment methods can do."""
    found = await _find(rt, caller, store)
    if isinstance(found, StoreNotFound):
        return found
    return await found.store.check()
