"""Lists of refunds over wc/v3: what WooCommerce does itself, and what has to be done here in its place.

What it ignores (seen on a running store): `parent` everywhere (V2R:265, V3L:70), `parent_exclude` on the list of an
order, and `search`, which looks at titles and finds no reason. Stores older than 9.0 have no list of the whole store.
"""

import asyncio
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from app.domain.refund_query import Moment, RefundQuery
from app.stores.calls import NotThere, StoreCalls
from app.stores.failures import check_order_id, leading, order_not_found, unreadable
from app.stores.listing import AT_A_TIME, ORDERS_MAX, ROWS_MAX, Found, by_our_clock, page_of, too_long
from app.stores.port import ListedRefund, Priority, RefundPage
from app.stores.reading import DP, JsonObject, Unreadable, id_of, is_id, rows
from app.stores.woo_v3_facts import NO_ORDER, V3Facts
from app.stores.woo_v3_wire import REFUND_FIELDS, listed_refund

_PER_PAGE = 100  #: WooCommerce's most
_ORDER_PAGES_MAX = 20
_NO_LIST = frozenset({"rest_no_route"})
_BOUNDS = ("after", "before", "modified_after", "modified_before")


class RefundLists:
    """A store's lists of refunds."""

    def __init__(self, calls: StoreCalls, facts: V3Facts) -> None:
        """Take the store to have a list of all its refunds until it says that it has none."""
        self._calls = calls
        self._facts = facts
        self._without_list_until = 0.0

    async def of_order(self, order_id: str, query: RefundQuery, *, priority: Priority) -> RefundPage:
        """List an order's refunds. Raises OrderNotFound, ListTooLong, StoreUnavailable or StoreMisconfigured."""
        check_order_id(order_id)
        division = _divide(query)
        here = tuple(name for name in ("parent", "parent_exclude") if getattr(query, name)) + division.here
        decimals = await self._facts.decimals(priority, order_id=order_id)
        if (query.parent and order_id not in query.parent) or order_id in query.parent_exclude:
            await self._must_exist(order_id, priority)
            nothing = Found(rows=(), in_order=True, served_by="store")
            return page_of(nothing, division.left, decimals=decimals, filtered_here=here, ahead=timedelta(0))
        try:
            if division.here:
                found = await self._all(f"orders/{order_id}/refunds", division.sent, decimals, order_id, priority)
                page = self._put_together(Found(rows=found, in_order=True, served_by="store"), division, decimals, here)
                seen: int | None = len(found)
            else:
                batch = await self._batch(
                    f"orders/{order_id}/refunds", _params(division.sent), decimals, order_id, priority
                )
                page, seen = self._as_it_came(batch, decimals, here), batch.total
        except NotThere as error:
            raise order_not_found(error) from error
        if not page.refunds and not seen:
            # WooCommerce lists the refunds of any order, even of one that does not exist: 200 [].
            await self._must_exist(order_id, priority)
        return page

    async def of_store(self, query: RefundQuery, *, priority: Priority) -> RefundPage:
        """List the whole store's refunds. Raises ListTooLong, StoreUnavailable or StoreMisconfigured."""
        decimals = await self._facts.decimals(priority)
        division = _divide(query)
        if query.parent:
            parents = [parent for parent in dict.fromkeys(query.parent) if parent not in query.parent_exclude]
            found = await self._of_orders([parent for parent in parents if is_id(parent)], division.sent, decimals)
            return self._put_together(found, division, decimals, ("parent", *division.here))
        if time.monotonic() >= self._without_list_until:
            try:
                if not division.here:
                    batch = await self._batch("refunds", _params(division.sent), decimals, None, priority)
                    return self._as_it_came(batch, decimals, ())
                rows_ = await self._all("refunds", division.sent, decimals, None, "background")
                found = Found(rows=rows_, in_order=True, served_by="store")
                return self._put_together(found, division, decimals, division.here)
            except NotThere:
                self._without_list_until = time.monotonic() + self._calls.limits.facts_ttl_s
        here = (("parent_exclude",) if query.parent_exclude else ()) + division.here
        found = await self._of_orders(await self._orders_with_refunds(query), division.sent, decimals)
        return self._put_together(found, division, decimals, here)

    def _as_it_came(self, batch: "_Batch", decimals: int, here: tuple[str, ...]) -> RefundPage:
        return RefundPage(
            refunds=tuple(by_our_clock(batch.rows, self._calls.clock_ahead)),
            total=batch.total,
            decimals=decimals,
            served_by="store",
            filtered_here=here,
        )

    def _put_together(self, found: Found, division: "_Division", decimals: int, here: tuple[str, ...]) -> RefundPage:
        return page_of(found, division.left, decimals=decimals, filtered_here=here, ahead=self._calls.clock_ahead)

    async def _must_exist(self, order_id: str, priority: Priority) -> None:
        try:
            await self._calls.get(
                f"orders/{order_id}", {"_fields": "id"}, call="read_order", priority=priority, absent=NO_ORDER
            )
        except NotThere as error:
            raise order_not_found(error) from error

    async def _of_orders(self, order_ids: list[str], sent: RefundQuery, decimals: int) -> Found:
        """Read the refunds of these orders, few at a time; an order that does not exist has none."""
        if len(order_ids) > ORDERS_MAX:
            raise too_long(f"More than {ORDERS_MAX} orders would have to be read")
        turn = asyncio.Semaphore(AT_A_TIME)

        async def read(order_id: str) -> list[ListedRefund]:
            async with turn:
                try:
                    return await self._all(f"orders/{order_id}/refunds", sent, decimals, order_id, "background")
                except NotThere:
                    return []

        try:
            async with asyncio.TaskGroup() as together:
                reads = [together.create_task(read(order_id)) for order_id in order_ids]
        except ExceptionGroup as group:
            raise leading(group) from group
        return Found(rows=[row for done in reads for row in done.result()], in_order=False, served_by="orders")

    async def _orders_with_refunds(self, query: RefundQuery) -> list[str]:
        """Walk through all orders, in the order of their ids so that a new one shifts no page."""
        found: list[str] = []
        try:
            for page in range(1, _ORDER_PAGES_MAX + 1):
                got = await self._calls.get_with_headers(
                    "orders",
                    {
                        "_fields": "id,refunds",
                        "per_page": str(_PER_PAGE),
                        "page": str(page),
                        "orderby": "id",
                        "order": "asc",
                    },
                    call="list_orders",
                    priority="background",
                )
                if (got.count("x-wp-totalpages") or 0) > _ORDER_PAGES_MAX:
                    break
                orders = rows(got.value, "orders")
                found += _with_refunds(orders, query)
                if len(orders) < _PER_PAGE:
                    return found
        except Unreadable as error:
            raise unreadable(error) from error
        raise too_long(
            "The store has no list of all its refunds (WooCommerce before 9.0) and more than "
            f"{_PER_PAGE * _ORDER_PAGES_MAX} orders"
        )

    async def _all(
        self, path: str, sent: RefundQuery, decimals: int, order_id: str | None, priority: Priority
    ) -> list[ListedRefund]:
        """Read every page of a list, as the store sorts it."""
        found: dict[str, ListedRefund] = {}
        for page in range(1, ROWS_MAX // _PER_PAGE + 1):
            part = replace(sent, page=page, per_page=_PER_PAGE, offset=None)
            batch = await self._batch(path, _params(part), decimals, order_id, priority)
            if (batch.total or 0) > ROWS_MAX:
                break
            found |= {row.refund.id: row for row in batch.rows}
            if len(batch.rows) < _PER_PAGE:
                return list(found.values())
        raise too_long(f"More than {ROWS_MAX} refunds would have to be looked through")

    async def _batch(
        self, path: str, params: Mapping[str, str], decimals: int, order_id: str | None, priority: Priority
    ) -> "_Batch":
        """Read one page. Asked for fewer decimals than the store has, the exact amounts are read beside it."""
        absent = _NO_LIST if order_id is None else NO_ORDER
        try:
            got = await self._calls.get_with_headers(
                path, params, call="list_refunds", priority=priority, absent=absent
            )
            documents = rows(got.value, "refunds")
            exact: dict[str, JsonObject] = {}
            if documents and int(params.get("dp", decimals)) < decimals:
                precise = {**params, "dp": str(DP), "_fields": f"parent_id,{REFUND_FIELDS}"}
                beside = await self._calls.get(path, precise, call="list_refunds", priority=priority, absent=absent)
                exact = {id_of(row.get("id"), "refunds[].id"): row for row in rows(beside, "refunds")}
            found = tuple(
                listed_refund(document, order_id=order_id, exact=exact.get(id_of(document.get("id"), "refunds[].id")))
                for document in documents
            )
        except Unreadable as error:
            raise unreadable(error) from error
        return _Batch(rows=found, total=got.count("x-wp-total"))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Batch:
    rows: tuple[ListedRefund, ...]
    total: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Division:
    """A query, divided into what the store filters and what is left to do here."""

    sent: RefundQuery
    left: RefundQuery  #: the pages, the order and every filter that the store does not apply
    here: tuple[str, ...]  #: the names of those filters, parents aside


def _divide(query: RefundQuery) -> _Division:
    """Leave the search here, and times with an offset where others are in the store's own time zone.

    Only the store knows that zone, and `dates_are_gmt` holds for all of a request's times or for none.
    """
    here = ["search"] if query.search.strip() else []
    zoned = {name: bound for name in _BOUNDS if (bound := getattr(query, name)) is not None and not bound.is_local}
    nothing: dict[str, Moment | None] = dict.fromkeys(_BOUNDS)
    left = replace(query, **nothing)  # type: ignore[arg-type]
    sent = replace(query, search="", parent=())
    if query.local_bounds and zoned:
        here += zoned
        left = replace(left, **zoned)
        sent = replace(sent, **dict.fromkeys(zoned))  # type: ignore[arg-type]
    return _Division(sent=sent, left=left, here=tuple(here))


def _params(query: RefundQuery) -> dict[str, str]:
    """Write a query as WooCommerce's parameters; what is left out has its default there."""
    params = {"per_page": str(query.per_page), "order": query.order, "orderby": query.orderby, "context": query.context}
    if query.offset is None:
        params["page"] = str(query.page)
    else:
        params["offset"] = str(query.offset)
    for name in ("include", "exclude", "parent_exclude"):
        if ids := getattr(query, name):
            params[name] = ",".join(ids)
    for name in _BOUNDS:
        if (bound := getattr(query, name)) is not None:
            params[name] = _whole_seconds(bound.at, up="before" in name)
            if not bound.is_local:
                params["dates_are_gmt"] = "true"
    if query.dp is not None:
        params["dp"] = str(query.dp)
    return params


def _whole_seconds(at: datetime, *, up: bool) -> str:
    """Write a time to the second, as stores keep them; both bounds are exclusive, so the earlier one is cut."""
    if at.tzinfo is not None:
        at = at.astimezone(UTC)
    if up and at.microsecond:
        with suppress(OverflowError):  # there is no second behind the last one of the year 9999
            at += timedelta(seconds=1)
    return at.replace(microsecond=0, tzinfo=None).isoformat()


def _with_refunds(orders: Iterable[JsonObject], query: RefundQuery) -> Iterable[str]:
    for order in orders:
        order_id = id_of(order.get("id"), "orders[].id")
        refund_ids = {
            id_of(row.get("id"), "orders[].refunds[].id") for row in rows(order.get("refunds"), "orders[].refunds")
        }
        wanted = refund_ids.intersection(query.include) if query.include else refund_ids
        if wanted and order_id not in query.parent_exclude:
            yield order_id
