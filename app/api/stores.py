"""Stores and their orders, live."""

from fastapi import APIRouter, Request

from app.api import documentation as docs
from app.api.auth import caller_of
from app.api.deps import OrderIdInPath, StoreInPath, runtime_of
from app.api.errors import problem_of
from app.api.keyed import KeyedRoute
from app.api.order_views import StoreOrderView, store_order_view
from app.api.shop_views import (
    CapabilitiesView,
    HealthView,
    StoreList,
    StoreView,
    capabilities_view,
    health_view,
    store_view,
)
from app.flows import shop, view
from app.flows.results import OrderView, StoreNotFound
from app.ledger import tenants

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


@router.get(
    "/{store}/health",
    operation_id="check_store",
    tags=["Stores"],
    **docs.documented("stores:read", ["store_not_found"], answers={200: {"description": "What was found."}}),
)
async def check_store(request: Request, store: StoreInPath) -> HealthView:
    """Look a store over without writing to it: reachability, versions, clock, permissions."""
    report = await view.health(runtime_of(request), caller_of(request), store)
    if isinstance(report, StoreNotFound):
        raise problem_of(report)
    return health_view(store, report)


@router.get(
    "/{store}/capabilities",
    operation_id="get_store_capabilities",
    tags=["Stores"],
    **docs.documented("stores:read", ["store_not_found"], answers={200: {"description": "By API and payment method."}}),
)
async def get_store_capabilities(request: Request, store: StoreInPath) -> CapabilitiesView:
    """Ask a store what its APIs and its payment methods can do, and say what its refunds have shown."""
    found = await shop.capabilities(runtime_of(request), caller_of(request), store)
    if isinstance(found, StoreNotFound):
        raise problem_of(found)
    return capabilities_view(store, found)


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
    found = await view.order(runtime_of(request), caller_of(request), store, order_id)
    if not isinstance(found, OrderView):
        raise problem_of(found)
    return store_order_view(store, found)
