"""Looking at stores and orders, live; no store is written to."""

from app.domain.remaining import remaining
from app.flows.mirror import mirror_order
from app.flows.results import Caller, OrderView, StoreFailed, StoreNotFound
from app.flows.runtime import Runtime
from app.flows.shop import failed, open_store
from app.flows.webhooks import with_webhooks
from app.ledger import standing
from app.stores.port import HealthReport, StoreError


async def order(rt: Runtime, caller: Caller, store: str, order_id: str) -> OrderView | StoreNotFound | StoreFailed:
    """Read an order and give what is still refundable of it, our refunds under way taken off."""
    found = await open_store(rt, caller, store)
    if isinstance(found, StoreNotFound):
        return found
    try:
        snapshot = await found.store.read_order(order_id, read_at=found.now)
    except StoreError as error:
        return failed(error)
    capability = await found.store.payment_capability(snapshot.payment_method)
    async with rt.database.reading() as conn:
        held = await standing.holds(conn, found.where.store_id, snapshot.id, snapshot_read_at=snapshot.read_at)
        blocked_by = await standing.doubtful(conn, found.where.store_id, snapshot.id)
    ours = await mirror_order(rt, found.where, snapshot)
    return OrderView(
        order=snapshot,
        remaining=remaining(snapshot, held),
        capability=capability,
        ours=ours,
        blocked_by=blocked_by,
    )


async def health(rt: Runtime, caller: Caller, store: str) -> HealthReport | StoreNotFound:
    """Look a store over: reachability, versions, permissions, clock, payment methods, webhooks."""
    found = await open_store(rt, caller, store)
    if isinstance(found, StoreNotFound):
        return found
    return await with_webhooks(rt, found, await found.store.check())
