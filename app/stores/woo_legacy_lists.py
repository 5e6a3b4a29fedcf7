"""Refunds over the Legacy REST API: an order's own list is all there is, and everything else is made of it.

A refund can also be viewed singly, but under any order whatever (LO:1563), so that only the list shows whose it is. The
API ignores every parameter of a list but `fields`.
"""

import asyncio
from dataclasses import fields

from app.domain.refund_query import RefundQuery
from app.stores.calls import NotThere, StoreCalls
from app.stores.failures import check_order_id, leading, order_not_found, unreadable
from app.stores.listing import ORDERS_MAX, Found, by_our_clock, page_of, too_long
from app.stores.port import ListedRefund, ListUnsupported, OrderNotFound, Priority, RefundPage
from app.stores.reading import JsonObject, Unreadable, id_of, is_id, mapping, rows
from app.stores.woo_legacy_answers import DECIMALS
from app.stores.woo_legacy_wire import listed_refund

NO_ORDER = frozenset(
    {"woocommerce_api_no_order_found", "woocommerce_api_invalid_order", "woocommerce_api_invalid_order_id"}
)
_PER_PAGE = 100
_AT_A_TIME = 4
#: What holds for the answer as a whole and leaves nothing out.
_NO_FILTER = frozenset({"context", "dp"})


class LegacyLists:
    """A store's refunds by order."""

    def __init__(self, calls: StoreCalls) -> None:
        """Read nothing yet."""
        self._calls = calls

    async def rows_of(self, order_id: str, *, priority: Priority, verify: bool) -> list[JsonObject]:
        """Read an order's refunds, all at once as the API gives them. Raises as the port's `read_order`."""
        check_order_id(order_id)
        try:
            listed = await self._calls.get(
                f"orders/{order_id}/refunds",
                {},
                call="list_refunds",
                priority=priority,
                verify=verify,
                absent=NO_ORDER,
            )
            return rows(mapping(listed, "answer").get("order_refunds"), "order_refunds")
        except NotThere as error:
            raise order_not_found(error) from error
        except Unreadable as error:
            raise unreadable(error) from error

    async def one(
        self, order_id: str, refund_id: str, *, dp: int | None, priority: Priority = "interactive"
    ) -> ListedRefund | None:
        """Find one refund in its order's list, past caches; None when it is not there."""
        if not is_id(order_id) or not is_id(refund_id):
            return None
        try:
            listed = await self._listed(order_id, priority=priority, verify=True, dp=dp)
        except OrderNotFound:
            return None
        found = [row for row in listed if row.refund.id == refund_id]
        return next(iter(by_our_clock(found, self._calls.clock_ahead)), None)

    async def of_order(self, order_id: str, query: RefundQuery, *, priority: Priority) -> RefundPage:
        """List an order's refunds. Raises as the port's `list_refunds`."""
        _check_bounds(query)
        listed = await self._listed(order_id, priority=priority, verify=False, dp=query.dp)
        return self._page(Found(rows=listed, in_order=False, served_by="store"), query)

    async def of_store(self, query: RefundQuery) -> RefundPage:
        """List the refunds of all orders, or of the parents asked for. Raises as the port's `list_refunds`."""
        _check_bounds(query)
        parents = [parent for parent in dict.fromkeys(query.parent) if is_id(parent)]
        order_ids = parents if query.parent else await self._order_ids()
        order_ids = [order_id for order_id in order_ids if order_id not in query.parent_exclude]
        if len(order_ids) > ORDERS_MAX:
            raise too_long(f"More than {ORDERS_MAX} orders would have to be read")
        turn = asyncio.Semaphore(_AT_A_TIME)

        async def read(order_id: str) -> list[ListedRefund]:
            async with turn:
                try:
                    return await self._listed(order_id, priority="background", verify=False, dp=query.dp)
                except OrderNotFound:
                    return []

        try:
            async with asyncio.TaskGroup() as together:
                reads = [together.create_task(read(order_id)) for order_id in order_ids]
        except ExceptionGroup as group:
            raise leading(group) from group
        found = [row for done in reads for row in done.result()]
        return self._page(Found(rows=found, in_order=False, served_by="orders"), query)

    def _page(self, found: Found, query: RefundQuery) -> RefundPage:
        plain = RefundQuery()
        used = [field.name for field in fields(query) if getattr(query, field.name) != getattr(plain, field.name)]
        return page_of(
            found,
            query,
            decimals=DECIMALS,
            filtered_here=tuple(name for name in used if name not in _NO_FILTER),
            ahead=self._calls.clock_ahead,
        )

    async def _listed(self, order_id: str, *, priority: Priority, verify: bool, dp: int | None) -> list[ListedRefund]:
        try:
            found = await self.rows_of(order_id, priority=priority, verify=verify)
            return [listed_refund(row, order_id=order_id, dp=dp) for row in found]
        except Unreadable as error:
            raise unreadable(error) from error

    async def _order_ids(self) -> list[str]:
        """Walk through all orders, bounded; the API does not say which of them have refunds."""
        found: dict[str, None] = {}
        try:
            for page in range(1, ORDERS_MAX // _PER_PAGE + 1):
                got = await self._calls.get_with_headers(
                    "orders",
                    {"fields": "id", "filter[limit]": str(_PER_PAGE), "page": str(page)},
                    call="list_orders",
                    priority="background",
                )
                if (got.count("x-wc-total") or 0) > ORDERS_MAX:
                    break
                orders = rows(mapping(got.value, "answer").get("orders"), "orders")
                found |= dict.fromkeys(id_of(order.get("id"), "orders[].id") for order in orders)
                if len(orders) < _PER_PAGE:
                    return list(found)
        except Unreadable as error:
            raise unreadable(error) from error
        raise too_long(f"The store's Legacy REST API has no list of all refunds, and more than {ORDERS_MAX} orders")


def _check_bounds(query: RefundQuery) -> None:
    if query.local_bounds:
        raise ListUnsupported(
            "This store's API cannot filter by date, and the gateway in its place does not know the store's time zone: "
            f"give {', '.join(query.local_bounds)} with an offset."
        )
