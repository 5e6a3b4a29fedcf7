"""The adapter against a server that answers whatever a test wants, over real sockets."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
import stamina

from app.domain.order import TaxPart
from app.domain.refund import PlanLine, RefundPlan, StorePolicy
from app.outbound import Outbound
from app.stores.connection import StoreConnection, StoreLimits
from app.stores.port import (
    NotSent,
    OrderNotFound,
    Refunded,
    Refused,
    Store,
    StoreMisconfigured,
    StoreUnavailable,
    Unknown,
)
from app.stores.woo_v3 import WooV3Store
from tests.stores.raw_server import Asked, RawServer, Respond, answering, http, raw_server, reset

READ_AT = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)
PLAN = RefundPlan(
    order_id="7",
    order_number="7",
    currency="EUR",
    decimals=2,
    amount=Decimal("10.71"),
    lines=(
        PlanLine(
            line_id="11",
            kind="item",
            name="Album",
            sku="A",
            quantity=Decimal(1),
            net=Decimal("9.00"),
            taxes=(TaxPart(rate_id="1", amount=Decimal("1.71")),),
        ),
    ),
    goodwill=Decimal(0),
    unallocated=Decimal(0),
    payment="gateway",
    restock=False,
    reason="Customer request",
)
CREATED = {
    "id": 900,
    "amount": "10.71000000",
    "refunded_payment": True,
    "_links": {"up": [{"href": "http://x/wp-json/wc/v3/orders/7"}]},
}
DECIMALS = {"id": "woocommerce_price_num_decimals", "value": "2"}


def order(*refunds: tuple[int, str], **changes: object) -> dict[str, object]:
    return {
        "id": 7,
        "number": "7",
        "status": "processing",
        "currency": "EUR",
        "total": "88.64000000",
        "prices_include_tax": False,
        "date_created_gmt": "2026-11-21T02:23:21",
        "date_modified_gmt": "2026-11-21T02:23:21",
        "date_paid_gmt": "2026-11-21T02:23:21",
        "payment_method": "testpay",
        "payment_method_title": "TestPay",
        "line_items": [],
        "shipping_lines": [],
        "fee_lines": [],
        "tax_lines": [],
        "refunds": [{"id": id_, "reason": "", "total": f"-{amount}"} for id_, amount in refunds],
        **changes,
    }


def row(id_: int, amount: str) -> dict[str, object]:
    return {"id": id_, "amount": amount, "reason": "", "refunded_payment": True, "meta_data": [], "line_items": []}


class Shop:
    """Answers by path; a list of answers is used up one by one, its last one for ever."""

    def __init__(self) -> None:
        self.answers: dict[str, list[bytes]] = {
            "orders/7": [http(200, order())],
            "orders/7/refunds": [http(200, [])],
            "settings/general/woocommerce_price_num_decimals": [http(200, DECIMALS)],
        }
        self.delay_s = 0.0

    def at(self, path: str, *answers: bytes) -> "Shop":
        self.answers[path] = list(answers)
        return self

    async def __call__(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(self.delay_s)
        path = asked.path.removeprefix("/wp-json/wc/v3/")
        answers = self.answers.get(path)
        if answers is None:
            code = "woocommerce_rest_shop_order_invalid_id" if path.startswith("orders/") else "rest_no_route"
            missing = {"code": code, "message": "Nothing here", "data": {"status": 404}}
            writer.write(http(404, missing))
        else:
            writer.write(answers.pop(0) if len(answers) > 1 else answers[0])


@pytest.fixture(autouse=True)
def quick_retries() -> Any:
    with stamina.set_testing(True, attempts=3):
        yield


@asynccontextmanager
async def served(
    respond: Respond, *, policy: StorePolicy | None = None, path: str = "", **limits: Any
) -> AsyncIterator[tuple[WooV3Store, RawServer]]:
    lines = Outbound(allow_private=True, connect_timeout_s=1, write_timeout_s=1)
    async with raw_server(respond) as server:
        connection = StoreConnection(
            store_id="s", url=server.url + path, auth="oauth1", consumer_key="ck_key123", consumer_secret="cs_secret123"
        )
        store = WooV3Store(connection, lines, limits=StoreLimits(**{"read_timeout_s": 1, **limits}), policy=policy)
        try:
            yield store, server
        finally:
            await lines.aclose()


def paths(server: RawServer) -> list[str]:
    return [asked.path.removeprefix("/wp-json/wc/v3/") for asked in server.asked]


async def test_it_is_a_store() -> None:
    async with served(Shop()) as (store, _):
        as_port: Store = store
        assert as_port is store


async def test_an_order_and_its_refunds_are_read_side_by_side() -> None:
    shop = (
        Shop().at("orders/7", http(200, order((8, "10.00")))).at("orders/7/refunds", http(200, [row(8, "10.00000000")]))
    )
    shop.delay_s = 0.1
    async with served(shop) as (store, server):
        snapshot = await store.read_order("7", read_at=READ_AT)
        assert server.busiest >= 2
        assert [(refund.id, refund.amount) for refund in snapshot.refunds] == [("8", Decimal("10.00"))]
        assert (snapshot.total, snapshot.decimals, snapshot.read_at) == (Decimal("88.64"), 2, READ_AT)
        first = next(asked for asked in server.asked if asked.path.endswith("orders/7"))
        assert first.query["dp"] == "8"
        assert "billing" not in first.query["_fields"]
        assert "rg_nocache" not in first.query
        await store.read_order("7", read_at=READ_AT)
        assert paths(server).count("settings/general/woocommerce_price_num_decimals") == 1


async def test_verifying_gets_past_caches() -> None:
    async with served(Shop()) as (store, server):
        await store.read_order("7", read_at=READ_AT, verify=True)
        await store.read_order("7", read_at=READ_AT, verify=True)
        read = [asked.query["rg_nocache"] for asked in server.asked if "/orders/7" in asked.path]
        assert len(read) == len(set(read)) == 4


async def test_an_order_is_read_again_while_its_refunds_disagree() -> None:
    shop = Shop().at("orders/7", http(200, order()), http(200, order((8, "10.00"))))
    shop.at("orders/7/refunds", http(200, [row(8, "10.00")]))
    async with served(shop) as (store, server):
        snapshot = await store.read_order("7", read_at=READ_AT)
        assert len(snapshot.refunds) == 1
        assert [("rg_nocache" in asked.query) for asked in server.asked if asked.path.endswith("orders/7")] == [
            False,
            True,
        ]


async def test_an_order_that_keeps_disagreeing_with_its_refunds_is_not_believed() -> None:
    shop = Shop().at("orders/7", http(200, order((8, "10.00")))).at("orders/7/refunds", http(200, [row(8, "9.00")]))
    async with served(shop) as (store, _):
        with pytest.raises(StoreUnavailable, match="different states"):
            await store.read_order("7", read_at=READ_AT)


async def test_every_page_of_refunds_is_read() -> None:
    rows = [row(id_, "0.01") for id_ in range(1000, 1205)]
    shop = Shop().at("orders/7", http(200, order(*((id_, "0.01") for id_ in range(1000, 1205)))))
    shop.at("orders/7/refunds", http(200, rows[:100]), http(200, rows[100:200]), http(200, rows[200:]))
    async with served(shop) as (store, server):
        snapshot = await store.read_order("7", read_at=READ_AT)
        assert len(snapshot.refunds) == 205
        pages = [asked.query["page"] for asked in server.asked if asked.path.endswith("/refunds")]
        assert pages == ["1", "2", "3"]


async def test_an_order_the_store_does_not_know_is_not_found() -> None:
    missing = {"code": "woocommerce_rest_shop_order_invalid_id", "message": "Invalid ID.", "data": {"status": 404}}
    async with served(Shop().at("orders/7", http(404, missing))) as (store, _):
        with pytest.raises(OrderNotFound) as caught:
            await store.read_order("7", read_at=READ_AT)
        assert (caught.value.store_code, caught.value.http_status) == ("woocommerce_rest_shop_order_invalid_id", 404)


@pytest.mark.parametrize("order_id", ["", "abc", "07", "-1", "7/refunds", "../7", "7?x=1", "٧", "1" * 20])
async def test_an_order_id_that_cannot_be_is_asked_nowhere(order_id: str) -> None:
    async with served(Shop()) as (store, server):
        with pytest.raises(OrderNotFound):
            await store.read_order(order_id, read_at=READ_AT)
        with pytest.raises(OrderNotFound):
            await store.read_notes(order_id)
        assert await store.read_refund("7", order_id) is None
        assert server.asked == []


async def test_another_order_than_the_one_asked_for_is_not_believed() -> None:
    async with served(Shop().at("orders/7", http(200, order(id=8)))) as (store, _):
        with pytest.raises(StoreUnavailable, match="another order"):
            await store.read_order("7", read_at=READ_AT)


@pytest.mark.parametrize(
    "broken", [{}, [], order(total=None), order(total="1,50"), order(refunds=3), order(currency="")]
)
async def test_an_order_of_an_unknown_shape_is_unavailable(broken: object) -> None:
    async with served(Shop().at("orders/7", http(200, broken))) as (store, _):
        with pytest.raises(StoreUnavailable):
            await store.read_order("7", read_at=READ_AT)


async def test_notices_before_the_json_of_a_read_are_tolerated() -> None:
    noisy = b"\xef\xbb\xbf<br />\n<b>Notice</b>: x in y on line <b>1</b><br />\n" + json.dumps(order()).encode()
    async with served(Shop().at("orders/7", http(200, noisy))) as (store, _):
        assert (await store.read_order("7", read_at=READ_AT)).total == Decimal("88.64")


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_without_permission_for_settings_the_decimals_are_those_of_the_orders_total(status: int) -> None:
    denied = {"code": "woocommerce_rest_cannot_view", "message": "Sorry", "data": {"status": status}}
    if status == 404:
        denied["code"] = "rest_setting_setting_invalid"
    shop = Shop().at("settings/general/woocommerce_price_num_decimals", http(status, denied))
    shown = order(total="88.640")

    async def respond(asked: Asked, writer: asyncio.StreamWriter) -> None:
        if asked.path.endswith("orders/7") and "dp" not in asked.query:
            writer.write(http(200, shown))
        else:
            await shop(asked, writer)

    async with served(respond) as (store, server):
        kwd = order(total="88.64100000", currency="KWD")
        shop.at("orders/7", http(200, kwd))
        assert (await store.read_order("7", read_at=READ_AT)).decimals == 3
        asked = len(server.asked)
        await store.read_order("7", read_at=READ_AT)
        assert len(server.asked) == asked + 2


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (http(200, b"<html><script src='captcha.js'></script></html>"), StoreUnavailable, "captcha"),
        (http(503, b"<html>maintenance</html>", {"retry-after": "600"}), StoreUnavailable, "maintenance"),
        (http(301, b"", {"location": "https://www.shop.example/"}), StoreMisconfigured, "www.shop.example"),
        (http(404, b"<html>not found</html>"), StoreMisconfigured, "permalinks"),
        (
            http(401, {"code": "woocommerce_rest_cannot_view", "message": "Sorry", "data": {"status": 401}}),
            StoreMisconfigured,
            "API key",
        ),
    ],
)
async def test_a_read_that_fails_says_why(answer: bytes, kind: type[Exception], words: str) -> None:
    async with served(Shop().at("orders/7", answer)) as (store, _):
        with pytest.raises(kind, match=words):
            await store.read_order("7", read_at=READ_AT)


async def test_a_read_is_tried_again_while_the_store_is_unavailable() -> None:
    shop = Shop().at("orders/7", http(502), http(503, b"", {"retry-after": "0"}), http(200, order()))
    async with served(shop) as (store, server):
        assert (await store.read_order("7", read_at=READ_AT)).id == "7"
        assert paths(server).count("orders/7") == 3


async def test_a_read_that_needs_a_person_is_not_tried_again() -> None:
    async with served(Shop().at("orders/7", http(301))) as (store, server):
        with pytest.raises(StoreMisconfigured):
            await store.read_order("7", read_at=READ_AT)
        assert paths(server).count("orders/7") == 1


async def test_a_long_retry_after_is_left_to_the_caller() -> None:
    async with served(Shop().at("orders/7", http(429, b"", {"retry-after": "90"}))) as (store, server):
        with pytest.raises(StoreUnavailable) as caught:
            await store.read_order("7", read_at=READ_AT)
        assert caught.value.retry_after_s == 90
        assert paths(server).count("orders/7") == 1


async def test_a_short_retry_after_is_waited_for() -> None:
    shop = Shop().at("orders/7", http(429, b"", {"retry-after": "1"}), http(200, order()))
    async with served(shop) as (store, _):
        with stamina.set_testing(False):
            started = time.monotonic()
            await store.read_order("7", read_at=READ_AT)
        assert time.monotonic() - started >= 1


async def test_a_refund_is_sent_once_as_planned() -> None:
    async with served(Shop().at("orders/7/refunds", http(201, CREATED)), path="/de") as (store, server):
        server_path = "/de/wp-json/wc/v3/orders/7/refunds"

        answer = await store.refund(PLAN, marker="RG-7F3K9Q2X", request_id="req-1\r\nX-Evil: 1")
        # The fake shop lives at "/", so that it answers 404 here; what counts is what was sent.
        assert isinstance(answer, Refused)
        (asked,) = server.asked
        assert (asked.method, asked.path, asked.query["dp"]) == ("POST", server_path, "8")
        assert asked.headers["x-request-id"] == "req-1X-Evil:1"
        assert asked.headers["user-agent"].startswith("refund-gateway/")
        assert asked.headers["accept"] == asked.headers["content-type"] == "application/json"
        assert asked.json == {
            "amount": "10.71",
            "reason": "Customer request [RG-7F3K9Q2X]",
            "api_refund": True,
            "api_restock": False,
            "line_items": [
                {"id": 11, "quantity": 1, "refund_total": "9.00", "refund_tax": [{"id": 1, "refund_total": "1.71"}]}
            ],
            "meta_data": [{"key": "_refund_gateway", "value": "RG-7F3K9Q2X"}],
        }


async def test_a_refund_that_the_store_confirms_is_refunded() -> None:
    shop = Shop().at("orders/7/refunds", http(201, CREATED))
    async with served(shop, policy=StorePolicy(marker_in_reason=False)) as (store, server):
        answer = await store.refund(PLAN, marker="RG-1", request_id="r")
        assert isinstance(answer, Refunded)
        assert answer.store_refund_id == "900"
        assert answer.exchange.http_status == 201
        assert answer.exchange.duration_ms > 0
        body = server.asked[0].json
        assert isinstance(body, dict)
        assert body["reason"] == "Customer request"


async def loses(asked: Asked, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def aborts(asked: Asked, writer: asyncio.StreamWriter) -> None:
    reset(writer)


async def hangs(asked: Asked, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(30)


async def cuts(asked: Asked, writer: asyncio.StreamWriter) -> None:
    writer.write(http(201, CREATED)[:-30])
    await writer.drain()
    writer.close()


@pytest.mark.parametrize(
    "respond",
    [
        loses,
        aborts,
        hangs,
        cuts,
        answering(http(502, b"<html>Bad Gateway</html>")),
        answering(http(201, b'{"id": 900, "amount": "10.7')),
        answering(http(201, b"x" * 3000)),
    ],
)
async def test_a_refund_whose_answer_is_lost_is_unknown_and_never_sent_again(
    respond: Callable[[Asked, asyncio.StreamWriter], Awaitable[None]],
) -> None:
    async with served(respond, refund_timeout_s=0.3, response_limit_bytes=2000) as (store, server):
        answer = await store.refund(PLAN, marker="RG-1", request_id="r")
        assert isinstance(answer, Unknown)
        assert len(server.asked) == 1


async def test_a_refund_to_a_store_that_cannot_be_reached_is_not_sent() -> None:
    async with served(Shop()) as (store, server):
        await store.read_order("7", read_at=READ_AT)  # leaves a kept connection behind
    answer = await store.refund(PLAN, marker="RG-1", request_id="r")
    assert isinstance(answer, NotSent)
    assert len(server.asked) == 3


@pytest.mark.parametrize(
    ("url", "auth", "allow_private"),
    [
        ("http://127.0.0.1:9", "basic", True),
        ("http://127.0.0.1:9", "oauth1", False),
        ("https://127.0.0.1:9", "basic", False),
        ("nonsense", "basic", True),
    ],
)
async def test_a_misconfigured_store_is_sent_nothing(url: str, auth: Any, allow_private: bool) -> None:
    connection = StoreConnection(store_id="s", url=url, auth=auth, consumer_key="ck_k", consumer_secret="cs_s")
    store = WooV3Store(connection, Outbound(allow_private=allow_private, connect_timeout_s=0.5))
    assert isinstance(await store.refund(PLAN, marker="RG-1", request_id="r"), NotSent)
    with pytest.raises(StoreMisconfigured):
        await store.read_order("7", read_at=READ_AT)
    assert await store.payment_capability("testpay") == "unknown"
    assert not (await store.check()).ok
    assert store.breaker_state == "closed"


async def test_a_failing_store_is_left_alone_for_a_while() -> None:
    seen: list[tuple[str, str, str]] = []
    lines = Outbound(allow_private=True)
    async with raw_server(answering(http(502))) as server:
        connection = StoreConnection(
            store_id="s", url=server.url, auth="oauth1", consumer_key="ck_k", consumer_secret="cs_s"
        )
        store = WooV3Store(
            connection,
            lines,
            limits=StoreLimits(breaker_threshold=3, breaker_ttl_s=0.2),
            observe=lambda store_id, call, outcome, seconds: seen.append((store_id, call, outcome)),
        )
        for _ in range(3):
            assert isinstance(await store.refund(PLAN, marker="RG-1", request_id="r"), Unknown)
        assert store.breaker_state == "open"
        answer = await store.refund(PLAN, marker="RG-1", request_id="r")
        assert isinstance(answer, NotSent)
        assert answer.retry_after_s is not None
        with pytest.raises(StoreUnavailable) as caught:
            await store.read_notes("7")
        assert caught.value.retry_after_s is not None
        assert len(server.asked) == 3
        assert seen == [("s", "create_refund", "failed")] * 3
        await asyncio.sleep(0.25)
        assert isinstance(await store.refund(PLAN, marker="RG-1", request_id="r"), Unknown)
        assert len(server.asked) == 4
        await lines.aclose()


async def test_refusals_never_open_the_breaker() -> None:
    refused = {"code": "woocommerce_rest_cannot_create_order_refund", "message": "Invalid refund amount.", "data": 500}
    async with served(Shop().at("orders/7/refunds", http(500, refused)), breaker_threshold=2) as (store, _):
        for _ in range(4):
            assert isinstance(await store.refund(PLAN, marker="RG-1", request_id="r"), Refused)
        assert store.breaker_state == "closed"


async def test_a_store_gets_no_more_requests_at_a_time_than_permitted_and_callers_go_first() -> None:
    shop = Shop().at("orders/7/notes", http(200, [])).at("orders/7/refunds", http(201, CREATED))
    shop.delay_s = 0.05
    async with served(shop, concurrency=2) as (store, server):
        background = [asyncio.create_task(store.read_notes("7")) for _ in range(6)]
        await asyncio.sleep(0.02)
        refund = asyncio.create_task(store.refund(PLAN, marker="RG-1", request_id="r"))
        assert isinstance(await refund, Refunded)
        assert [asked.method for asked in server.asked][:4].count("POST") == 1
        await asyncio.gather(*background)
        assert server.busiest == 2


async def test_a_payment_methods_capability_is_asked_once_and_never_its_settings() -> None:
    shop = Shop().at("payment_gateways/testpay", http(200, {"id": "testpay", "method_supports": ["refunds"]}))
    async with served(shop) as (store, server):
        answers = await asyncio.gather(*(store.payment_capability("testpay") for _ in range(5)))
        assert answers == ["refunds"] * 5
        assert len(server.asked) == 1
        assert server.asked[0].query["_fields"] == "id,enabled,method_supports"


@pytest.mark.parametrize(
    ("answer", "capability"),
    [
        (http(200, {"id": "cod", "method_supports": ["products"]}), "no_refunds"),
        (http(200, {"id": "cod"}), "unknown"),
        (http(200, [1]), "unknown"),
        (http(404, {"code": "woocommerce_rest_payment_gateway_invalid", "message": "Resource…"}), "missing"),
        (http(403, {"code": "woocommerce_rest_cannot_view", "message": "Sorry"}), "unknown"),
        (http(404, {"code": "rest_no_route", "message": "No route"}), "unknown"),
        (http(502), "unknown"),
    ],
)
async def test_a_payment_method(answer: bytes, capability: str) -> None:
    async with served(Shop().at("payment_gateways/cod", answer)) as (store, server):
        assert await store.payment_capability("cod") == capability
        asked = len(server.asked)
        await store.payment_capability("cod")
        # What the store said is remembered, an outage is not.
        assert (len(server.asked) == asked) is (answer != http(502))


@pytest.mark.parametrize(("method", "capability"), [("", "no_refunds"), ("a/b", "unknown"), ("../orders", "unknown")])
async def test_an_odd_payment_method_is_asked_nowhere(method: str, capability: str) -> None:
    async with served(Shop()) as (store, server):
        assert await store.payment_capability(method) == capability
        assert server.asked == []


async def test_an_order_number_is_matched_exactly() -> None:
    found = [{"id": 31, "number": "10027"}, {"id": 32, "number": "100270"}, {"id": 33, "number": "DE-10027"}]
    shop = Shop().at("orders", http(200, found)).at("orders/10027", http(200, {"id": 10027, "number": "99"}))
    async with served(shop) as (store, server):
        assert await store.find_order("10027") == ("31",)
        assert await store.find_order("DE-10027") == ("33",)
        assert await store.find_order("1002") == ()
        assert await store.find_order(" ") == ()
        search = next(asked for asked in server.asked if asked.path.endswith("/orders"))
        assert (search.query["search"], search.query["_fields"]) == ("10027", "id,number")


async def test_an_order_is_found_by_its_id_when_that_is_its_number() -> None:
    shop = Shop().at("orders", http(200, [])).at("orders/7", http(200, {"id": 7, "number": "7"}))
    async with served(shop) as (store, _):
        assert await store.find_order("7") == ("7",)


async def test_two_orders_with_one_number_are_both_named() -> None:
    shop = (
        Shop().at("orders", http(200, [{"id": 31, "number": "5"}])).at("orders/5", http(200, {"id": 5, "number": "5"}))
    )
    async with served(shop) as (store, _):
        assert await store.find_order("5") == ("5", "31")


@pytest.mark.parametrize(
    "code", ["woocommerce_rest_shop_order_refund_invalid_id", "woocommerce_rest_invalid_order_refund_id"]
)
async def test_a_refund_of_another_order_is_none(code: str) -> None:
    shop = Shop().at("orders/7/refunds/9", http(500, {"code": code, "message": "Invalid", "data": 404}))
    async with served(shop) as (store, server):
        assert await store.read_refund("7", "9") is None
        assert len(server.asked) == 1


async def test_a_refund_is_read_under_its_order() -> None:
    async with served(Shop().at("orders/7/refunds/9", http(200, row(9, "1.50000000")))) as (store, _):
        read = await store.read_refund("7", "9")
        assert read is not None
        assert (read.order_id, read.refund.id, read.refund.amount) == ("7", "9", Decimal("1.50"))
        assert read.document == {"id": 9, "parent_id": 7, **row(9, "1.50000000")}


async def test_every_request_is_signed_anew() -> None:
    async with served(Shop().at("orders/7", http(502), http(200, order()))) as (store, server):
        await store.read_order("7", read_at=READ_AT)
        nonces = [asked.query["oauth_nonce"] for asked in server.asked]
        assert len(set(nonces)) == len(nonces) == 4
        assert all("cs_secret123" not in asked.target for asked in server.asked)


async def test_a_secret_that_a_store_repeats_is_not_kept() -> None:
    leaky = {"code": "woocommerce_rest_cannot_create_order_refund", "message": "Key cs_secret123 of ada@example.com"}
    async with served(Shop().at("orders/7/refunds", http(500, leaky))) as (store, _):
        answer = await store.refund(PLAN, marker="RG-1", request_id="r")
        assert isinstance(answer, Refused)
        assert "secret123" not in repr(answer)
        assert "ada@" not in repr(answer)


@pytest.mark.parametrize("listed", [{"x": 1}, [{"id": 8}], [{"id": 8, "amount": "1,00"}], [[1]]])
async def test_refunds_of_an_unknown_shape_are_unavailable(listed: object) -> None:
    async with served(Shop().at("orders/7/refunds", http(200, listed))) as (store, _):
        with pytest.raises(StoreUnavailable, match="not what WooCommerce sends"):
            await store.read_order("7", read_at=READ_AT)


async def test_other_readings_of_an_unknown_shape_are_unavailable() -> None:
    shop = Shop().at("orders/7/notes", http(200, [{"id": 1}])).at("orders/7/refunds/9", http(200, {"id": 9}))
    shop.at("orders", http(200, [{"number": "7"}]))
    async with served(shop) as (store, _):
        for read in (store.read_notes("7"), store.read_refund("7", "9"), store.find_order("7")):
            with pytest.raises(StoreUnavailable, match="not what WooCommerce sends"):
                await read


async def test_another_refund_than_the_one_asked_for_is_not_believed() -> None:
    async with served(Shop().at("orders/7/refunds/9", http(200, row(8, "1.00")))) as (store, _):
        with pytest.raises(StoreUnavailable, match="another refund"):
            await store.read_refund("7", "9")


async def test_notes_of_an_order_that_is_gone_are_not_found() -> None:
    gone = {"code": "woocommerce_rest_order_invalid_id", "message": "Invalid order ID.", "data": {"status": 404}}
    async with served(Shop().at("orders/7/notes", http(404, gone))) as (store, _):
        with pytest.raises(OrderNotFound):
            await store.read_notes("7")


async def test_an_order_number_that_matches_thousands_is_not_searched_to_the_end() -> None:
    page = [{"id": id_, "number": "x"} for id_ in range(1, 101)]
    async with served(Shop().at("orders", http(200, page))) as (store, server):
        with pytest.raises(StoreUnavailable, match="by its id"):
            await store.find_order("DE")
        assert len(server.asked) == 20


async def test_a_request_that_finds_no_slot_in_time_is_not_sent() -> None:
    shop = Shop().at("orders/7/notes", http(200, []))
    shop.delay_s = 0.6
    async with served(shop, concurrency=1, refund_timeout_s=0.1) as (store, server):
        reading = asyncio.create_task(store.read_notes("7"))
        while not server.asked:
            await asyncio.sleep(0.01)
        answer = await store.refund(PLAN, marker="RG-1", request_id="r")
        assert isinstance(answer, NotSent)
        await reading
        assert [asked.method for asked in server.asked] == ["GET"]
