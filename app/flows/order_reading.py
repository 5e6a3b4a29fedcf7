"""Going through a store's orders, so that those that come or go meanwhile let none be skipped or met twice."""

from collections.abc import AsyncGenerator, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from app.domain.order_query import OrderPage, OrderQuery, OrderSummary
from app.stores.port import Store, StoreMisconfigured

#: Full pages in a row without an order that was not met before; one more is a store that does not turn its pages.
_STALE_PAGES_MAX = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """Some orders, all with ids behind those of the stretch before, and where to go on."""

    orders: Sequence[OrderSummary]  #: in the order of their ids
    next_page: int | None  #: None after the last one
    last: int  #: the highest id that was met so far


async def stretches(store: Store, query: OrderQuery, *, page: int = 1, last: int = 0) -> AsyncGenerator[Stretch]:
    """Read a store's orders in the order of their ids; `page` and `last` are those of the stretch that was read before.

    An order that goes meanwhile moves the first one of a page onto the page before, which is therefore looked at once
    more, after the page itself, and so are those before it as long as they show nothing that was met. Raises as the
    port's `list_orders`, and StoreMisconfigured for a store that does not turn its pages.
    """
    stale = 0
    while True:
        found = await store.list_orders(query, page=page)
        pages = [found]
        while page > len(pages) and _is_behind(pages[-1], last):
            pages.append(await store.list_orders(query, page=page - len(pages)))
        _check_order(pages)
        met = max((int(order_id) for one in pages for order_id in one.ids), default=last)
        stale = 0 if met > last else stale + 1
        if stale > _STALE_PAGES_MAX:
            raise StoreMisconfigured("The store shows the same orders on every page; a plugin may be in the way.")
        fresh = {int(order.id): order for one in pages for order in one.orders if int(order.id) > last}
        last = max(last, met)
        yield Stretch(orders=[fresh[order_id] for order_id in sorted(fresh)], next_page=found.next_page, last=last)
        if found.next_page is None:
            return
        page = found.next_page


def _is_behind(page: OrderPage, last: int) -> bool:
    """Say that a page shows nothing that was met before, so that others may have moved in front of it."""
    return not page.ids or int(page.ids[0]) > last


def _check_order(pages: Iterable[OrderPage]) -> None:
    if any(int(one) >= int(other) for page in pages for one, other in pairwise(page.ids)):
        raise StoreMisconfigured("The store does not sort its orders by id as it was asked to; a plugin may do it.")
