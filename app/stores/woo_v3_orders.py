"""Lists of orders over wc/v3.

The store narrows a list down as far as it can be trusted to, and what it sends is filtered again here: older versions
drop parameters that they do not know, and so read times that were meant as UTC in the store's own zone.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from app.domain.order_query import OrderPage, OrderQuery, OrderSummary
from app.stores.calls import StoreCalls
from app.stores.failures import unreadable
from app.stores.port import Priority
from app.stores.reading import JsonObject, Unreadable, id_of, is_id, mapping, required_number, rows, text_of, time_of
from app.stores.woo_v3_wire import refund_sums

_PER_PAGE = 100  #: WooCommerce's most
#: Of the address only the e-mail. A line's SKU cannot be asked for alone: WooCommerce would leave out the lines.
_FIELDS = (
    "id,number,status,currency,total,date_created,date_created_gmt,date_modified,date_modified_gmt,date_paid,"
    "date_paid_gmt,date_completed,date_completed_gmt,payment_method,line_items,customer_id,billing.email,meta_data,"
    "refunds"
)
#: How far a store's own time may be from UTC, in both directions.
ZONES = timedelta(hours=14)


class OrderLists:
    """A store's lists of orders."""

    def __init__(self, calls: StoreCalls) -> None:
        """Read nothing yet."""
        self._calls = calls

    async def page(self, query: OrderQuery, *, page: int, priority: Priority) -> OrderPage:
        """Read a page in the order of the ids, so that a new order shifts none. Raises as the port says."""
        try:
            got = await self._calls.get_with_headers(
                "orders", _params(query, page), call="list_orders", priority=priority
            )
            listed = rows(got.value, "orders")
            orders = [summary(row) for row in listed]
        except Unreadable as error:
            raise unreadable(error) from error
        return OrderPage(
            orders=tuple(order for order in orders if query.admits(order)),
            ids=tuple(order.id for order in orders),
            next_page=page + 1 if len(listed) >= _PER_PAGE else None,
        )


def _params(query: OrderQuery, page: int) -> dict[str, str]:
    """Write a query as WooCommerce's parameters, with times far enough apart for a store that reads them as its own.

    Both ends are exclusive there, and times are kept to the second.
    """
    params = {"_fields": _FIELDS, "per_page": str(_PER_PAGE), "page": str(page), "orderby": "id", "order": "asc"}
    if query.statuses:
        params["status"] = ",".join(query.statuses)
    if query.customer_id is not None and is_id(query.customer_id):
        params["customer"] = query.customer_id
    ends = {
        "after": moved(query.created_from, -ZONES - timedelta(seconds=1)),
        "before": moved(query.created_to, ZONES + timedelta(seconds=1)),
        "modified_after": moved(query.modified_from, -ZONES - timedelta(seconds=1)),
        "modified_before": moved(query.modified_to, ZONES + timedelta(seconds=1)),
    }
    given = {name: at for name, at in ends.items() if at is not None}
    if given:
        params |= given
        params["dates_are_gmt"] = "true"
    return params


def moved(at: datetime | None, by: timedelta) -> str | None:
    """Write a time moved, in UTC and to the second; one moved out of the calendar bounds nothing."""
    if at is None:
        return None
    try:
        return (at.astimezone(UTC) + by).replace(microsecond=0, tzinfo=None).isoformat()
    except OverflowError:
        return None


def summary(row: JsonObject) -> OrderSummary:
    """Read an order as a list shows it."""
    order_id = id_of(row.get("id"), "orders[].id")
    # PHP leaves the refunds out of no order: without them a plugin has taken them away, and nobody knows.
    sums = None if row.get("refunds") is None else refund_sums(row)
    return OrderSummary(
        id=order_id,
        number=text_of(row.get("number"), "orders[].number") or order_id,
        status=text_of(row.get("status"), "orders[].status").removeprefix("wc-"),
        currency=text_of(row.get("currency"), "orders[].currency"),
        total=required_number(row.get("total"), "orders[].total"),
        created_at=time_of(row, "date_created", "orders[]"),
        modified_at=time_of(row, "date_modified", "orders[]"),
        paid_at=time_of(row, "date_paid", "orders[]"),
        completed_at=time_of(row, "date_completed", "orders[]"),
        payment_method=text_of(row.get("payment_method"), "orders[].payment_method"),
        skus=skus(row),
        customer_id=customer(row),
        customer_email=text_of(mapping(row.get("billing") or {}, "orders[].billing").get("email"), "email"),
        meta=_meta(row),
        refunded=None if sums is None else sum(sums.values(), Decimal(0)),
        has_refunds=None if sums is None else bool(sums),
    )


def skus(row: JsonObject) -> frozenset[str]:
    """Give the SKUs of an order's lines."""
    lines = rows(row.get("line_items"), "orders[].line_items")
    return frozenset(text_of(line.get("sku"), "orders[].line_items[].sku") for line in lines) - {""}


def customer(row: JsonObject) -> str | None:
    """Give the customer's id; a guest's is 0, and none."""
    customer_id = text_of(row.get("customer_id"), "orders[].customer_id")
    return customer_id if is_id(customer_id) else None


def written(value: object) -> str | None:
    """Write a meta value as text, as WordPress keeps it; None for what is no single value."""
    match value:
        case bool():
            return "1" if value else ""
        case None | str() | int() | Decimal():
            return text_of(value, "meta")
        case _:
            return None


def _meta(row: JsonObject) -> Mapping[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for entry in rows(row.get("meta_data"), "orders[].meta_data"):
        key, value = entry.get("key"), written(entry.get("value"))
        if isinstance(key, str) and value is not None:
            found[key] = (*found.get(key, ()), value)
    return found
