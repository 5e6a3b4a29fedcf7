"""Stores and their orders, live."""

from fastapi import APIRouter, Request

from app.api import documentation as docs
from app.api.auth import caller_of
from app.api.deps import OrderIdInPath, StoreInPath, StoreRefundIdInPath, runtime_of
from app.api.errors import problem_of
from app.api.keyed import KeyedRoute
from app.api.problems import Problem
from app.api.shop_views import (
    CapabilitiesView,
    HealthView,
    StoreList,
    StoreOrderView,
    StoreRefundList,
    StoreRefundView,
    StoreView,
    capabilities_view,
    health_view,
    store_order_view,
    store_refund_view,
    store_view,
)
from app.flows import view
from app.flows.results import Caller, OrderView, StoreNotFound
from app.flows.runtime import Runtime
from app.ledger import tenants
from app.stores.port import HealthReport

router = APIRouter(prefix="/v1/stores", route_class=KeyedRoute)


@router.get(
    "",
    operation_id="list_stores",
    tags=["Stores"],
    **docs.documented("stores:read", answers={200: {"description": "Every store that the key may use."}}),
)
async def list_stores(
    request: Request,
) -> StoreList:
    """List the tenant's stores that the key may use, by name; disabled ones too."""
    caller = caller_of(request)
    async with runtime_of(request).database.reading() as conn:
        rows = await tenants.stores(conn, caller.tenant_id, store_ids=caller.store_ids)
    return StoreList(data=[store_view(row) for row in rows])


@router.get(
    "/{store}",
    operation_id="get_store",
    tags=["Stores"],
    **docs.documented("stores:read", ["store_not_found"], answers={200: {"description": "The store."}}),
)
async def get_store(request: Request, store: StoreInPath) -> StoreView:
    """Read a store's settings in the gateway."""
    caller = caller_of(request)
    async with runtime_of(request).database.reading() as conn:
        row = await tenants.store_by_name(conn, caller.tenant_id, store)
    if row is None or (caller.store_ids is not None and row.id not in caller.store_ids):
        raise problem_of(StoreNotFound(store=store))
    return store_view(row)


async def _report(runtime: Runtime, caller: Caller, store: str) -> HealthReport:
    report = await view.health(runtime, caller, store)
    if isinstance(report, StoreNotFound):
        raise problem_of(report)
    return report


@router.get(
    "/{store}/health",
    operation_id="check_store",
    tags=["Stores"],
    **docs.documented("stores:read", ["store_not_found"], answers={200: {"description": "What was found."}}),
)
async def check_store(request: Request, store: StoreInPath) -> HealthView:
    """Look a store over without writing to it: reachability, versions, clock, permissions."""
    return health_view(store, await _report(runtime_of(request), caller_of(request), store))


@router.get(
    "/{store}/capabilities",
    operation_id="get_store_capabilities",
    tags=["Stores"],
    **docs.documented("stores:read", ["store_not_found"], answers={200: {"description": "By payment method."}}),
)
async def get_store_capabilities(request: Request, store: StoreInPath) -> CapabilitiesView:
    """Ask a store what each of its payment methods can do."""
    return capabilities_view(store, await _report(runtime_of(request), caller_of(request), store))


async def _order(runtime: Runtime, caller: Caller, store: str, order_id: str) -> OrderView:
    found = await view.order(runtime, caller, store, order_id)
    if not isinstance(found, OrderView):
        raise problem_of(found)
    return found


@router.get(
    "/{store}/orders/{order_id}",
    operation_id="get_order",
    tags=["Orders"],
    **docs.documented(
        "orders:read", [*docs.OF_STORES, "order_not_found"], answers={200: {"description": "The order as it is now."}}
    ),
)
async def get_order(
    request: Request,
    store: StoreInPath,
    order_id: OrderIdInPath,
) -> StoreOrderView:
    """Read an order, with what is still refundable per line, tax rate, shipping, fee and in total."""
    return store_order_view(store, await _order(runtime_of(request), caller_of(request), store, order_id))


@router.get(
    "/{store}/orders/{order_id}/refunds",
    operation_id="list_store_refunds",
    tags=["Orders"],
    **docs.documented(
        "orders:read", [*docs.OF_STORES, "order_not_found"], answers={200: {"description": "As the store shows them."}}
    ),
)
async def list_store_refunds(
    request: Request,
    store: StoreInPath,
    order_id: OrderIdInPath,
) -> StoreRefundList:
    """Read the store's own refunds of an order, each with ours where it is ours."""
    return StoreRefundList(data=_store_refunds(await _order(runtime_of(request), caller_of(request), store, order_id)))


@router.get(
    "/{store}/orders/{order_id}/refunds/{store_refund_id}",
    operation_id="get_store_refund",
    tags=["Orders"],
    **docs.documented(
        "orders:read",
        [*docs.OF_STORES, "order_not_found", "store_refund_not_found"],
        answers={200: {"description": "As the store shows it."}},
    ),
)
async def get_store_refund(
    request: Request,
    store: StoreInPath,
    order_id: OrderIdInPath,
    store_refund_id: StoreRefundIdInPath,
) -> StoreRefundView:
    """Read one of the store's own refunds of an order."""
    # Read with its order, because only the order knows how many digits its amounts have.
    for refund in _store_refunds(await _order(runtime_of(request), caller_of(request), store, order_id)):
        if refund.id == store_refund_id:
            return refund
    raise Problem("store_refund_not_found", store_refund_id=store_refund_id)


def _store_refunds(found: OrderView) -> list[StoreRefundView]:
    order = found.order
    return [store_refund_view(order.id, refund, found.ours.get(refund.id), order.decimals) for refund in order.refunds]
