"""Lists of orders over the Legacy REST API.

It shows neither when an order was paid nor whether it has refunds, and of meta only what has no leading underscore.
"""

from collections.abc import Mapping
from datetime import timedelta

from app.domain.order_query import OrderPage, OrderQuery, OrderSummary
from app.stores.calls import StoreCalls
from app.stores.failures import unreadable
from app.stores.port import Priority
from app.stores.reading import JsonObject, Unreadable, id_of, mapping, required_number, rows, text_of
from app.stores.woo_legacy_facts import LegacyFacts
from app.stores.woo_legacy_wire import time_shown
from app.stores.woo_v3_orders import customer, moved, skus, written

_PER_PAGE = 100
#: Of the address only the e-mail. The plugin takes WooCommerce's own subclass of an order for a product when it names
#: the meta (LR:maybe_add_meta), which is every order's from WooCommerce 4.0 on.
_META_NAMES = ("order_meta", "product_meta")
_FIELDS = (
    "id,order_number,status,currency,total,created_at,updated_at,completed_at,payment_details,line_items,customer_id,"
    "billing_address.email," + ",".join(_META_NAMES)
)


class LegacyOrderLists:
    """A store's lists of orders."""

    def __init__(self, calls: StoreCalls, facts: LegacyFacts) -> None:
        """Read nothing yet."""
        self._calls = calls
        self._facts = facts

    async def page(self, query: OrderQuery, *, page: int, priority: Priority) -> OrderPage:
        """Read a page in the order of the ids, so that a new order shifts none. Raises as the port says."""
        await self._facts.check_orders_are_seen(priority)
        try:
            answer = await self._calls.get("orders", _params(query, page), call="list_orders", priority=priority)
            listed = rows(mapping(answer, "answer").get("orders"), "orders")
            orders = [summary(row) for row in listed]
        except Unreadable as error:
            raise unreadable(error) from error
        return OrderPage(
            orders=tuple(order for order in orders if query.admits(order)),
            ids=tuple(order.id for order in orders),
            next_page=page + 1 if len(listed) >= _PER_PAGE else None,
        )


def _params(query: OrderQuery, page: int) -> dict[str, str]:
    """Write a query as the plugin's parameters: both ends of a time are included, in UTC and to the second."""
    params = {
        "fields": _FIELDS,
        "filter[limit]": str(_PER_PAGE),
        "filter[orderby]": "ID",
        "filter[order]": "ASC",
        "filter[meta]": "true",
        "page": str(page),
    }
    if query.statuses:
        params["status"] = ",".join(query.statuses)
    second = timedelta(seconds=1)
    ends = {
        "filter[created_at_min]": moved(query.created_from, timedelta(0)),
        "filter[created_at_max]": moved(query.created_to, second),
        "filter[updated_at_min]": moved(query.modified_from, timedelta(0)),
        "filter[updated_at_max]": moved(query.modified_to, second),
    }
    return params | {name: at for name, at in ends.items() if at is not None}


def summary(row: JsonObject) -> OrderSummary:
    """Read an order as a list shows it."""
    order_id = id_of(row.get("id"), "orders[].id")
    payment = mapping(row.get("payment_details") or {}, "orders[].payment_details")
    address = mapping(row.get("billing_address") or {}, "orders[].billing_address")
    return OrderSummary(
        id=order_id,
        number=text_of(row.get("order_number"), "orders[].order_number") or order_id,
        status=text_of(row.get("status"), "orders[].status").removeprefix("wc-"),
        currency=text_of(row.get("currency"), "orders[].currency"),
        total=required_number(row.get("total"), "orders[].total"),
        created_at=time_shown(row, "created_at", "orders[]"),
        modified_at=time_shown(row, "updated_at", "orders[]"),
        paid_at=None,
        completed_at=time_shown(row, "completed_at", "orders[]"),
        payment_method=text_of(payment.get("method_id"), "orders[].payment_details.method_id"),
        skus=skus(row),
        customer_id=customer(row),
        customer_email=text_of(address.get("email"), "orders[].billing_address.email"),
        meta=_meta(row),
        refunded=None,
        has_refunds=None,
    )


def _meta(row: JsonObject) -> Mapping[str, tuple[str, ...]]:
    """Read the meta, of which the plugin shows the first value of each key."""
    for name in _META_NAMES:
        if row.get(name):
            texts = {key: written(value) for key, value in mapping(row[name], f"orders[].{name}").items()}
            return {key: (text,) for key, text in texts.items() if text is not None}
    return {}
