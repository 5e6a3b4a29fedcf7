"""The refunds that stores show, live: ours, and those that others made."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from app.api import documentation as docs
from app.api.auth import caller_of
from app.api.deps import OrderIdInPath, StoreInPath, StoreRefundIdInPath, runtime_of
from app.api.errors import problem_of
from app.api.keyed import KeyedRoute
from app.api.paging import link_pages
from app.api.problem_codes import ProblemCode
from app.api.queries import DeletionQuery, OrderRefundsQuery, StoreRefundQuery, StoreRefundsQuery
from app.api.store_refund_views import (
    DeletionView,
    StoreRefundList,
    StoreRefundView,
    deletion_view,
    listing_view,
    store_refund_view,
)
from app.flows import remove, shop, view
from app.flows.results import Deleted, OrderView, RefundListing, StoreRefundNotFound

router = APIRouter(prefix="/v1/stores", route_class=KeyedRoute)

_OF_LISTS: tuple[ProblemCode, ...] = (*docs.OF_INPUT, *docs.OF_STORES, "list_too_long", "list_unsupported")


@router.get(
    "/{store}/refunds",
    operation_id="list_refunds_of_store",
    tags=["Stores"],
    **docs.documented(
        "refunds:read",
        _OF_LISTS,
        answers={200: {"description": "A page of refunds, newest first unless asked otherwise.", "headers": ["Link"]}},
    ),
)
async def list_refunds_of_store(
    request: Request, response: Response, store: StoreInPath, query: Annotated[StoreRefundsQuery, Query()]
) -> StoreRefundList:
    """Read a store's refunds over all its orders, whoever made them, each with the gateway's record of it.

    Takes every parameter of WooCommerce's own lists. What a store cannot do is done here, and the answer says so.
    """
    return await _list(request, response, store, query)


@router.get(
    "/{store}/orders/{order_id}/refunds",
    operation_id="list_store_refunds",
    tags=["Orders"],
    **docs.documented(
        "orders:read",
        [*_OF_LISTS, "order_not_found"],
        answers={200: {"description": "A page of refunds, newest first unless asked otherwise.", "headers": ["Link"]}},
    ),
)
async def list_store_refunds(
    request: Request,
    response: Response,
    store: StoreInPath,
    order_id: OrderIdInPath,
    query: Annotated[OrderRefundsQuery, Query()],
) -> StoreRefundList:
    """Read the store's refunds of an order, whoever made them, each with the gateway's record of it."""
    return await _list(request, response, store, query, order_id=order_id)


async def _list(
    request: Request, response: Response, store: str, asked: StoreRefundsQuery, *, order_id: str | None = None
) -> StoreRefundList:
    query = asked.in_the_domains_words()
    found = await shop.list_refunds(runtime_of(request), caller_of(request), store, query, order_id=order_id)
    if not isinstance(found, RefundListing):
        raise problem_of(found)
    link_pages(request, response, query, shown=len(found.page.refunds), total=found.page.total)
    return listing_view(found, query)


@router.get(
    "/{store}/orders/{order_id}/refunds/{store_refund_id}",
    operation_id="get_store_refund",
    tags=["Orders"],
    **docs.documented(
        "orders:read",
        [*docs.OF_INPUT, *docs.OF_STORES, "order_not_found", "store_refund_not_found"],
        answers={200: {"description": "As the store shows it."}},
    ),
)
async def get_store_refund(
    request: Request,
    store: StoreInPath,
    order_id: OrderIdInPath,
    store_refund_id: StoreRefundIdInPath,
    query: Annotated[StoreRefundQuery, Query()],
) -> StoreRefundView:
    """Read one of the store's refunds of an order."""
    # Read with its order, because only the order knows how many digits its amounts have.
    found = await view.order(runtime_of(request), caller_of(request), store, order_id)
    if not isinstance(found, OrderView):
        raise problem_of(found)
    order = found.order
    decimals = order.decimals if query.dp is None else query.dp
    for refund in order.refunds:
        if refund.id == store_refund_id:
            return store_refund_view(order.id, refund, found.ours.get(refund.id), decimals)
    raise problem_of(StoreRefundNotFound(store_refund_id=store_refund_id))


@router.delete(
    "/{store}/orders/{order_id}/refunds/{store_refund_id}",
    operation_id="delete_store_refund",
    tags=["Orders"],
    **docs.documented(
        "refunds:delete",
        docs.OF_DELETIONS,
        answers={200: {"description": "The row in the store is gone; the refund stays on record here."}},
    ),
)
async def delete_store_refund(
    request: Request,
    store: StoreInPath,
    order_id: OrderIdInPath,
    store_refund_id: StoreRefundIdInPath,
    query: Annotated[DeletionQuery, Query()],
) -> DeletionView:
    """Delete the row of a refund in the store, for good. No money comes back; the gateway keeps the refund on record.

    It is first read under this very order: WooCommerce deletes whatever has the id. One that the payment gateway has
    paid needs `force=true`. Deleting it again says that it was gone.
    """
    outcome = await remove.delete_in_store(
        runtime_of(request), caller_of(request), store, order_id, store_refund_id, force=query.force
    )
    if not isinstance(outcome, Deleted):
        raise problem_of(outcome)
    return deletion_view(outcome)
