"""Lists of orders over both APIs: never narrower than the query, never wider."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import stamina

from app.domain.order_query import OrderQuery, OrderSummary
from app.outbound import Outbound
from app.stores import woo_legacy_orders, woo_v3_orders
from app.stores.connection import StoreConnection
from app.stores.port import Store, StoreMisconfigured, StoreUnavailable
from app.stores.woo_legacy import WooLegacyStore
from app.stores.woo_v3 import WooV3Store
from tests.stores.raw_server import Asked, http, raw_server
from tests.stores.sandbox import Sandbox, running

RECORDINGS = Path(__file__).parents[1] / "recordings"
NOON = datetime(2026, 6, 15, 12, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with running() as started:
        await started.admin.post("/sandbox/reset", json={"seed": False})
        with stamina.set_testing(True, attempts=3):
            yield started


@pytest.fixture(params=["v3", "legacy"])
def store(request: Any, sandbox: Sandbox) -> Store:
    return sandbox.store() if request.param == "v3" else sandbox.legacy()


async def ids(store: Store, query: OrderQuery) -> list[str]:
    """Walk through all pages."""
    found: list[str] = []
    page: int | None = 1
    while page is not None:
        listed = await store.list_orders(query, page=page)
        found += [order.id for order in listed.orders]
        page = listed.next_page
    return found


async def test_every_order_is_listed_once_and_the_oldest_first(sandbox: Sandbox, store: Store) -> None:
    await sandbox.order(count=203)
    first = await store.list_orders(OrderQuery(), page=1)
    assert (len(first.orders), first.next_page) == (100, 2)
    last = await store.list_orders(OrderQuery(), page=3)
    assert (len(last.orders), last.next_page) == (3, None)
    found = await ids(store, OrderQuery())
    assert len(set(found)) == 203
    assert found == sorted(found, key=int)


async def test_a_page_beyond_the_last_is_empty_and_the_last(sandbox: Sandbox, store: Store) -> None:
    await sandbox.order()
    page = await store.list_orders(OrderQuery(), page=7)
    assert (page.orders, page.next_page) == ((), None)


async def test_statuses_narrow_the_list(sandbox: Sandbox, store: Store) -> None:
    done, held = await sandbox.order(status="completed"), await sandbox.order(status="on-hold", set_paid=False)
    paid = await sandbox.order()
    assert await ids(store, OrderQuery(statuses=("completed", "on-hold"))) == [done, held]
    assert await ids(store, OrderQuery(statuses=("processing",))) == [paid]


@pytest.mark.parametrize("name", ["created", "modified"])
async def test_times_are_inclusive_below_and_exclusive_above(sandbox: Sandbox, store: Store, name: str) -> None:
    when = [NOON - SECOND, NOON, NOON + SECOND]
    before, at, after = [await sandbox.order(created=one.isoformat(), paid=one.isoformat()) for one in when]
    assert await ids(store, bounded(name, since=NOON)) == [at, after]
    assert await ids(store, bounded(name, until=NOON)) == [before]
    assert await ids(store, bounded(name, since=NOON, until=NOON + SECOND)) == [at]
    half = timedelta(milliseconds=500)
    assert await ids(store, bounded(name, since=NOON - half, until=NOON + half)) == [at]


def bounded(name: str, *, since: datetime | None = None, until: datetime | None = None) -> OrderQuery:
    if name == "created":
        return OrderQuery(created_from=since, created_to=until)
    return OrderQuery(modified_from=since, modified_to=until)


async def test_times_outside_the_calendar_bound_nothing(sandbox: Sandbox, store: Store) -> None:
    order = await sandbox.order()
    edges = OrderQuery(created_from=datetime.min.replace(tzinfo=UTC), created_to=datetime.max.replace(tzinfo=UTC))
    assert await ids(store, edges) == [order]


async def test_a_customers_orders_are_told_from_others_and_from_guests(sandbox: Sandbox, store: Store) -> None:
    await sandbox.order()
    await sandbox.order(customer_id=22)
    hers = await sandbox.order(customer_id=2)
    assert await ids(store, OrderQuery(customer_id="2")) == [hers]
    assert await ids(store, OrderQuery(customer_id="0")) == []
    assert await ids(store, OrderQuery(customer_id="no id")) == []


async def test_a_row_holds_what_orders_are_selected_by(sandbox: Sandbox, store: Store) -> None:
    order_id = await sandbox.order(
        customer_id=2,
        email="emmy@example.com",
        meta={"channel": "ebay", "rma": 17, "parts": ["a", "b"], "_hidden": "x"},
        created=NOON.isoformat(),
        paid=(NOON + SECOND).isoformat(),
        completed=(NOON + 2 * SECOND).isoformat(),
        status="completed",
        lines=[{"product_id": 10, "sku": "SKU0"}, {"product_id": 11, "name": "Shirt", "sku": "SKU1"}],
    )
    await sandbox.foreign_refund(order_id, "1.00")
    await sandbox.foreign_refund(order_id, "0.50")
    (order,) = (await store.list_orders(OrderQuery(), page=1)).orders
    assert (order.id, order.number, order.status, order.currency) == (order_id, order_id, "completed", "EUR")
    assert (order.total, order.payment_method) == (Decimal("21.42"), "sandboxpay")
    assert (order.created_at, order.completed_at) == (NOON, NOON + 2 * SECOND)
    assert (order.skus, order.customer_id) == (frozenset({"SKU0", "SKU1"}), "2")
    assert order.customer_email == "emmy@example.com"
    assert (order.meta["channel"], order.meta["rma"]) == (("ebay",), ("17",))
    assert "parts" not in order.meta
    if store.api == "v3":
        assert (order.paid_at, order.refunded, order.has_refunds) == (NOON + SECOND, Decimal("1.50"), True)
        assert order.meta["_hidden"] == ("x",)
    else:
        # The API shows neither: nothing may be taken for "not paid" or "not refunded".
        assert (order.paid_at, order.refunded, order.has_refunds) == (None, None, None)


async def test_personal_data_does_not_show_in_a_rows_text(sandbox: Sandbox, store: Store) -> None:
    await sandbox.order(email="emmy@example.com", meta={"phone": "0123-4567"})
    (order,) = (await store.list_orders(OrderQuery(), page=1)).orders
    assert "emmy" not in repr(order)
    assert "0123" not in repr(order)


async def test_no_more_of_an_address_is_asked_for_than_the_e_mail(sandbox: Sandbox, store: Store) -> None:
    await sandbox.order()
    await store.list_orders(OrderQuery(customer_id="2"), page=1)
    (asked,) = [row for row in await sandbox.requests() if row["path"].endswith("/orders") and row["method"] == "GET"]
    fields = str(asked["query"])
    assert "email" in fields
    assert "billing_address," not in fields.replace("%2C", ",")
    assert "billing," not in fields.replace("%2C", ",")


async def test_a_status_that_the_store_does_not_know_is_a_fault_of_the_request(sandbox: Sandbox) -> None:
    with pytest.raises((StoreMisconfigured, StoreUnavailable)):
        await sandbox.store().list_orders(OrderQuery(statuses=("bogus",)), page=1)


async def test_orders_that_the_legacy_api_cannot_see_are_said_to_be_hidden(sandbox: Sandbox) -> None:
    await sandbox.settings(hpos="on")
    with pytest.raises(StoreMisconfigured, match="high-performance order storage"):
        await sandbox.legacy().list_orders(OrderQuery(), page=1)


def row(order_id: int, at: datetime, **fields: Any) -> dict[str, Any]:
    """Give an order as a store shows it whose own time is 14 hours ahead."""
    local = (at + timedelta(hours=14)).replace(tzinfo=None).isoformat()
    stamp = at.replace(tzinfo=None).isoformat()
    return {
        "id": order_id,
        "status": "processing",
        "currency": "EUR",
        "total": "10.00",
        "date_created": local,
        "date_created_gmt": stamp,
        "date_modified": local,
        "date_modified_gmt": stamp,
        "refunds": [],
        "customer_id": 0,
        **fields,
    }


@pytest.mark.parametrize("zone", [timedelta(hours=14), timedelta(hours=-12)])
async def test_a_store_that_reads_times_as_its_own_loses_no_order(zone: timedelta) -> None:
    """Older WooCommerce knows no `dates_are_gmt` and no `modified_after`, and drops both without a word."""
    orders = [row(number, NOON + timedelta(hours=number - 3)) for number in range(1, 6)]

    async def respond(asked: Asked, writer: asyncio.StreamWriter) -> None:
        after, before = (datetime.fromisoformat(asked.query[name]) for name in ("after", "before"))
        local = {number: datetime.fromisoformat(one["date_created_gmt"]) + zone for number, one in enumerate(orders)}
        writer.write(http(200, [orders[number] for number, at in local.items() if after < at < before]))

    async with raw_server(respond) as server, lines() as outbound:
        store = WooV3Store(connection(server.url), outbound)
        hour = timedelta(hours=1)
        page = await store.list_orders(
            OrderQuery(created_from=NOON - hour, created_to=NOON + hour, modified_from=NOON), page=1
        )
    assert [order.id for order in page.orders] == ["3"]


@asynccontextmanager
async def lines() -> AsyncIterator[Outbound]:
    outbound = Outbound(allow_private=True, connect_timeout_s=2)
    try:
        yield outbound
    finally:
        await outbound.aclose()


def connection(url: str) -> StoreConnection:
    return StoreConnection(
        store_id="raw", url=url, auth="oauth1", consumer_key="ck", consumer_secret="cs", ca_file=None
    )


async def test_a_full_page_has_another_even_when_nothing_on_it_is_wanted() -> None:
    async def respond(_asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(http(200, [row(number, NOON, status="on-hold") for number in range(1, 101)]))

    async with raw_server(respond) as server, lines() as outbound:
        page = await WooV3Store(connection(server.url), outbound).list_orders(
            OrderQuery(statuses=("processing",)), page=1
        )
    assert (page.orders, page.next_page) == ((), 2)


@pytest.mark.parametrize("answer", [{"orders": "none"}, [{"id": 0}], [{"id": 5, "total": "much"}]])
async def test_a_list_that_cannot_be_understood_is_no_empty_list(answer: object) -> None:
    async def respond(_asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(http(200, answer))

    with stamina.set_testing(True, attempts=1):
        async with raw_server(respond) as server, lines() as outbound:
            for store in (
                WooV3Store(connection(server.url), outbound),
                WooLegacyStore(connection(server.url), outbound),
            ):
                with pytest.raises((StoreUnavailable, StoreMisconfigured)):
                    await store.list_orders(OrderQuery(), page=1)


def recorded(name: str, exchange: str) -> Any:
    exchanges = json.loads((RECORDINGS / f"{name}.json").read_text())
    return next(one for one in exchanges if one["name"] == exchange)["response"]["json"]


def test_recorded_orders_of_a_running_store_are_read() -> None:
    orders = [woo_v3_orders.summary(one) for one in recorded("orders_gateways_settings", "order list after")]
    assert [(type(order), order.status, order.currency) for order in orders] == [
        (OrderSummary, "processing", "KWD"),
        (OrderSummary, "processing", "JPY"),
    ]
    for order in orders:
        assert order.total > 0
        assert order.paid_at is not None
        assert order.skus
        assert order.refunded == 0 if not order.has_refunds else order.refunded > 0  # type: ignore[operator]


def test_meta_is_read_under_either_of_the_names_that_the_plugin_gives_it() -> None:
    shown = {"id": 5, "status": "processing", "currency": "EUR", "total": "1.00"}
    for name in ("order_meta", "product_meta"):
        order = woo_legacy_orders.summary({**shown, name: {"channel": "ebay", "parts": ["a"]}})
        assert order.meta == {"channel": ("ebay",)}
    assert woo_legacy_orders.summary({**shown, "product_meta": []}).meta == {}


def test_an_order_whose_list_shows_no_refunds_may_have_some() -> None:
    shown = {key: value for key, value in row(1, NOON).items() if key != "refunds"}
    order = woo_v3_orders.summary(shown)
    assert (order.refunded, order.has_refunds) == (None, None)
