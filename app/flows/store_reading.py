"""Reading all of a store's refunds of some days, so that rows made or deleted meanwhile let none be skipped."""

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from datetime import timedelta
from itertools import count
from typing import Any

from app.domain.order_query import OrderQuery, OrderSummary
from app.domain.reconciliation import ReadRow
from app.domain.refund_query import Moment, RefundQuery
from app.domain.sight import MARKER_PATTERN
from app.flows.order_reading import stretches
from app.ledger.reconciliations import Reconciliation
from app.stores.failures import leading
from app.stores.port import ListedRefund, ListTooLong, OrderNotFound, RefundPage, Store, StoreMisconfigured

#: A refund is dated by its store's clock, and is settled here some time after its row was made there.
MARGIN = timedelta(days=1)
_MARKER = re.compile(MARKER_PATTERN)
_PER_PAGE = 100
_ORDERS_SIDE_BY_SIDE = 3
#: Pages in a row without a row that was not met before, as after a step back; one more is a store that turns none.
_STALE_PAGES_MAX = 3
#: Rows, and what to write down as progress with them.
Page = tuple[Sequence[ReadRow], dict[str, Any]]


async def read_store(held: Reconciliation, store: Store) -> AsyncGenerator[Page, None]:
    """Read on from where a reconciliation has come to; a page counts as read once its progress is written down.

    Goes by the store's list of all its refunds, or by its orders where it has none. Raises as the port's reads.
    """
    reads = held.reads
    if reads is None:
        reads = "orders" if await _has_no_list(store) else "list"
        yield (), {"reads": reads, "cursor": {}}
    if reads == "list":
        try:
            async for page in _by_list(held, store):
                yield page
            return
        except _NoList:
            yield (), {"reads": "orders", "cursor": {}}
    cursor = held.cursor if held.reads == "orders" else {}
    async for page in _by_orders(held, store, page=cursor.get("page", 1), last=cursor.get("last", 0)):
        yield page


def row_of(listed: ListedRefund, *, currency: str | None = None) -> ReadRow:
    """Give what is compared of a refund."""
    refund = listed.refund
    # Ours stands at the end of a reason; one before it was copied from elsewhere.
    quoted = _MARKER.findall(refund.reason)
    return ReadRow(
        store_refund_id=refund.id,
        order_id=listed.order_id,
        amount=refund.amount,
        paid=refund.refunded_payment,
        made_at=refund.created_at,
        marker=refund.reference or (quoted[-1] if quoted else None),
        reason=refund.reason,
        currency=currency,
    )


class _NoList(Exception):
    """The store has no list of all its refunds after all."""


async def _has_no_list(store: Store) -> bool:
    if store.api == "legacy":
        return True
    features = await store.features()
    return any(api.used and api.store_wide_list is False for api in features.apis)


async def _by_list(held: Reconciliation, store: Store) -> AsyncIterator[Page]:
    """Read the store's own list in the order of its ids, each page beginning with the last row of the one before.

    New rows come at the end. When a page does not begin with that row, rows before it have gone and others have taken
    their places: reading then steps back until it meets a row that it has seen.
    """
    cursor = held.cursor if held.reads == "list" else {}
    read, last = int(cursor.get("read", 0)), int(cursor.get("last", 0))
    stale = 0
    while True:
        offset = max(0, read - 1)
        page = await _list(held, store, offset)
        rows = [row_of(listed) for listed in page.refunds]
        if offset > 0 and (not rows or int(rows[0].store_refund_id) > last):
            read = max(0, read - _PER_PAGE)
            continue
        read = offset + len(rows)
        met = max((int(row.store_refund_id) for row in rows), default=0)
        stale = 0 if met > last else stale + 1
        if stale > _STALE_PAGES_MAX:
            raise StoreMisconfigured("The store shows the same refunds on every page; a plugin may be in the way.")
        last = max(last, met)
        yield (
            rows,
            {
                **_place(None if len(rows) < _PER_PAGE else {"read": read, "last": last}),
                "store_decimals": page.decimals,
                **({} if page.total is None else {"rows_expected": page.total}),
            },
        )
        if len(rows) < _PER_PAGE:
            return


def _place(cursor: dict[str, int] | None) -> dict[str, Any]:
    """Say where reading has come to; None stands for its end, which is written down with the last rows."""
    return {"phase": "adopting", "cursor": {}} if cursor is None else {"cursor": cursor}


async def _list(held: Reconciliation, store: Store, offset: int) -> RefundPage:
    query = RefundQuery(
        per_page=_PER_PAGE,
        offset=offset,
        order="asc",
        orderby="id",
        after=Moment(at=held.from_at - MARGIN),
        before=Moment(at=held.to_at + MARGIN),
        dp=8,
    )
    try:
        page = await store.list_refunds(query, priority="background")
    except ListTooLong as error:
        raise _NoList from error
    if page.served_by != "store":
        raise _NoList
    return page


async def _by_orders(held: Reconciliation, store: Store, *, page: int, last: int) -> AsyncIterator[Page]:
    """Read the refunds of every order changed since then; a refund changes its order."""
    query = OrderQuery(modified_from=held.from_at - MARGIN)
    async with aclosing(stretches(store, query, page=page, last=last)) as parts:
        async for part in parts:
            rows = await _of_orders(held, store, [order for order in part.orders if order.has_refunds is not False])
            yield rows, _place(None if part.next_page is None else {"page": part.next_page, "last": part.last})


async def _of_orders(held: Reconciliation, store: Store, orders: Sequence[OrderSummary]) -> list[ReadRow]:
    turn = asyncio.Semaphore(_ORDERS_SIDE_BY_SIDE)

    async def read(order: OrderSummary) -> list[ReadRow]:
        rows: list[ReadRow] = []
        async with turn:
            ids: set[str] = set()
            for page in count(1):
                query = RefundQuery(page=page, per_page=_PER_PAGE, order="asc", orderby="id", dp=8)
                try:
                    listed = await store.list_refunds(query, order_id=order.id, priority="background")
                except OrderNotFound:
                    return rows
                fresh = [refund for refund in listed.refunds if refund.refund.id not in ids]
                ids |= {refund.refund.id for refund in fresh}
                rows += [row_of(refund, currency=order.currency or None) for refund in fresh]
                if len(listed.refunds) < _PER_PAGE or not fresh:
                    break
        return rows

    try:
        async with asyncio.TaskGroup() as together:
            reads = [together.create_task(read(order)) for order in orders]
    except ExceptionGroup as group:
        raise leading(group) from group
    since, until = held.from_at - MARGIN, held.to_at + MARGIN
    return [row for done in reads for row in done.result() if row.made_at is None or since < row.made_at < until]
