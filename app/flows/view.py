"""Looking at stores and orders, live; nothing is written."""

from app.domain.order import StoreRefund
from app.domain.remaining import remaining
from app.flows.results import Caller, OrderView, StoreFailed, StoreNotFound
from app.flows.runtime import Runtime
from app.flows.settle import Shop
from app.ledger import refunds, search
from app.stores.port import HealthReport, OrderNotFound, StoreError, StoreUnavailable


async def _shop(rt: Runtime, caller: Caller, store: str) -> tuple[str, Shop] | StoreNotFound:
    async with rt.database.reading() as conn:
        opening = await search.opening(conn, caller.tenant_id, store, idempotency_key=None, external_reference=None)
    if opening.store_id is None or (caller.store_ids is not None and opening.store_id not in caller.store_ids):
        return StoreNotFound(store=store)
    try:
        adapter, policy = await rt.stores.open(opening.store_id)
    except LookupError:
        return StoreNotFound(store=store)
    return opening.store_id, Shop(store=adapter, policy=policy)


def _failed(error: StoreError) -> StoreFailed:
    retry_after_s = error.retry_after_s if isinstance(error, StoreUnavailable) else None
    return StoreFailed(code=error.code, message=str(error), retry_after_s=retry_after_s)


async def order(rt: Runtime, caller: Caller, store: str, order_id: str) -> OrderView | StoreNotFound | StoreFailed:
    """Read an order and give what is still refundable of it, our refunds under way taken off."""
    found = await _shop(rt, caller, store)
    if isinstance(found, StoreNotFound):
        return found
    store_id, shop = found
    try:
        snapshot = await shop.store.read_order(order_id, read_at=rt.clock())
    except StoreError as error:
        return _failed(error)
    capability = await shop.store.payment_capability(snapshot.payment_method)
    async with rt.database.reading() as conn:
        held = await refunds.holds(conn, store_id, snapshot.id, snapshot_read_at=snapshot.read_at)
        ours = await search.of_order(conn, caller.tenant_id, store_id, snapshot.id)
        blocked_by = await refunds.doubtful(conn, store_id, snapshot.id)
    return OrderView(
        order=snapshot,
        remaining=remaining(snapshot, held),
        capability=capability,
        ours=ours,
        blocked_by=blocked_by,
    )


async def store_refund(
    rt: Runtime, caller: Caller, store: str, order_id: str, store_refund_id: str
) -> tuple[StoreRefund, str | None] | StoreNotFound | StoreFailed | None:
    """Read one refund of an order from the store, with our refund's id where it is ours; None when it is not there."""
    found = await _shop(rt, caller, store)
    if isinstance(found, StoreNotFound):
        return found
    store_id, shop = found
    try:
        refund = await shop.store.read_refund(order_id, store_refund_id)
    except OrderNotFound:
        return None
    except StoreError as error:
        return _failed(error)
    if refund is None:
        return None
    async with rt.database.reading() as conn:
        ours = await search.of_order(conn, caller.tenant_id, store_id, order_id)
    return refund, ours.get(refund.id)


async def health(rt: Runtime, caller: Caller, store: str) -> HealthReport | StoreNotFound:
    """Look a store over: reachability, versions, permissions, clock, and what its payment methods can do."""
    found = await _shop(rt, caller, store)
    if isinstance(found, StoreNotFound):
        return found
    return await found[1].store.check()
