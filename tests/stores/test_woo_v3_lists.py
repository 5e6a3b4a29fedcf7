"""Lists, deletions, features and raw reads over wc/v3, against the sandbox store."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import stamina

from app.domain.refund import StorePolicy
from app.domain.refund_query import Moment, RefundQuery
from app.outbound import Outbound
from app.stores.connection import StoreConnection
from app.stores.listing import ROWS_MAX
from app.stores.port import ListTooLong, OrderNotFound, StoreMisconfigured, StoreUnavailable
from app.stores.woo_v3 import WooV3Store
from tests.stores.raw_server import Asked, RawServer, http, raw_server
from tests.stores.sandbox import READ_AT, Sandbox, amount_plan, running

LOCAL_PAST, LOCAL_FUTURE = datetime.fromisoformat("2000-01-01"), datetime.fromisoformat("2100-01-01")
PAST, FUTURE = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with running() as started:
        await started.admin.post("/sandbox/reset", json={"seed": False})
        with stamina.set_testing(True, attempts=3):
            yield started


class Shop:
    """Two orders with three refunds and one."""

    def __init__(self, sandbox: Sandbox, first: str, second: str, ids: list[str]) -> None:
        self.sandbox, self.first, self.second = sandbox, first, second
        self.a, self.b, self.c, self.other = ids
        self.store = sandbox.store()

    async def lists(self, query: RefundQuery, *, order_id: str | None = None) -> list[str]:
        page = await self.store.list_refunds(query, order_id=order_id)
        return [row.refund.id for row in page.refunds]


@pytest.fixture
async def shop(sandbox: Sandbox) -> Shop:
    first, second = await sandbox.order(), await sandbox.order()
    ids = [await sandbox.foreign_refund(first, "1.00", reason=f"reason {word}") for word in ("one", "two", "three")]
    return Shop(sandbox, first, second, [*ids, await sandbox.foreign_refund(second, "2.00", reason="broken glass")])


@pytest.fixture(params=["9.4.0", "8.9.0"])
async def either(request: Any, shop: Shop) -> Shop:
    """A store with a list of its own, and one that is older than that."""
    await shop.sandbox.settings(woocommerce_version=request.param)
    return shop


async def test_the_stores_list_is_handed_on_with_its_own_documents(shop: Shop) -> None:
    page = await shop.store.list_refunds(RefundQuery(per_page=3))
    assert [row.refund.id for row in page.refunds] == [shop.other, shop.c, shop.b]
    assert (page.total, page.decimals, page.served_by, page.filtered_here) == (4, 2, "store", ())
    newest = page.refunds[0]
    assert (newest.order_id, newest.document["parent_id"]) == (shop.second, int(shop.second))
    assert list(newest.document)[:2] == ["id", "parent_id"]
    assert newest.document["amount"] == "2.00"
    assert newest.refund.reason == "broken glass"


async def test_the_list_of_an_order_has_the_same_documents(shop: Shop) -> None:
    whole = {row.refund.id: row.document for row in (await shop.store.list_refunds(RefundQuery())).refunds}
    page = await shop.store.list_refunds(RefundQuery(), order_id=shop.first)
    assert (page.total, page.served_by) == (3, "store")
    for row in page.refunds:
        assert row.document == whole[row.refund.id]


QUERIES: list[tuple[str, dict[str, Any], str]] = [
    ("defaults", {}, "dcba"),
    ("a page", {"per_page": 2, "page": 2}, "ba"),
    ("an offset", {"per_page": 2, "offset": 1}, "cb"),
    ("ascending", {"order": "asc"}, "abcd"),
    ("by id", {"orderby": "id", "order": "asc", "per_page": 1}, "a"),
    ("after", {"after": Moment(at=FUTURE)}, ""),
    ("before", {"before": Moment(at=FUTURE), "modified_after": Moment(at=PAST)}, "dcba"),
    ("a local time", {"after": Moment(at=LOCAL_PAST)}, "dcba"),
    ("a local and a zoned time", {"after": Moment(at=LOCAL_PAST), "before": Moment(at=PAST)}, ""),
    ("a search", {"search": "reason two"}, "b"),
    ("a search of several words", {"search": "GLASS broken"}, "d"),
    ("a search and a local time", {"search": "reason", "before": Moment(at=LOCAL_FUTURE)}, "cba"),
    ("a search, page 2", {"search": "reason", "per_page": 2, "page": 2}, "a"),
]


@pytest.mark.parametrize(("values", "expected"), [case[1:] for case in QUERIES], ids=[case[0] for case in QUERIES])
async def test_every_parameter_works_on_stores_old_and_new(either: Shop, values: dict[str, Any], expected: str) -> None:
    ids = dict(zip("abcd", (either.a, either.b, either.c, either.other), strict=True))
    assert await either.lists(RefundQuery(**values)) == [ids[letter] for letter in expected]


async def test_ids_include_exclude_and_order_by_their_place(either: Shop) -> None:
    assert await either.lists(RefundQuery(include=(either.a, either.other))) == [either.other, either.a]
    assert await either.lists(RefundQuery(exclude=(either.b, either.other))) == [either.c, either.a]
    ordered = RefundQuery(include=(either.b, either.other, either.a), orderby="include")
    assert await either.lists(ordered) == [either.b, either.other, either.a]


async def test_parents_are_kept_and_left_out(either: Shop) -> None:
    page = await either.store.list_refunds(RefundQuery(parent=(either.second, "99999999", "abc")))
    assert [row.refund.id for row in page.refunds] == [either.other]
    assert (page.total, page.served_by, page.filtered_here) == (1, "orders", ("parent",))
    assert await either.lists(RefundQuery(parent_exclude=(either.first,))) == [either.other]
    both = RefundQuery(parent=(either.first, either.second), parent_exclude=(either.first,))
    assert await either.lists(both) == [either.other]


async def test_a_search_says_that_it_was_done_here(shop: Shop) -> None:
    page = await shop.store.list_refunds(RefundQuery(search="glass"))
    assert (page.filtered_here, page.total, page.served_by) == (("search",), 1, "store")
    mixed = RefundQuery(after=Moment(at=LOCAL_PAST), before=Moment(at=FUTURE))
    assert (await shop.store.list_refunds(mixed)).filtered_here == ("before",)


async def test_a_store_without_the_list_is_asked_for_it_once(shop: Shop) -> None:
    await shop.sandbox.settings(woocommerce_version="8.9.0")
    page = await shop.store.list_refunds(RefundQuery())
    assert (page.served_by, page.total) == ("orders", 4)
    assert page.refunds[0].document["parent_id"] == int(shop.second)
    await shop.store.list_refunds(RefundQuery())
    asked = [one for one in await shop.sandbox.requests() if one["path"].endswith("wc/v3/refunds")]
    assert len(asked) == 1


async def test_an_old_store_with_too_many_orders_is_too_long(shop: Shop) -> None:
    await shop.sandbox.settings(woocommerce_version="8.9.0")
    await shop.sandbox.order(count=2000)
    with pytest.raises(ListTooLong, match="2000 orders"):
        await shop.store.list_refunds(RefundQuery())


async def test_too_many_parents_are_too_long(shop: Shop) -> None:
    with pytest.raises(ListTooLong):
        await shop.store.list_refunds(RefundQuery(parent=tuple(map(str, range(1, 1000)))))
    assert ROWS_MAX == 2000


async def test_what_woocommerce_ignores_on_an_orders_list_is_done_here(shop: Shop) -> None:
    cases: list[tuple[RefundQuery, list[str], tuple[str, ...]]] = [
        (RefundQuery(parent=(shop.first,)), [shop.c, shop.b, shop.a], ("parent",)),
        (RefundQuery(parent=(shop.second,)), [], ("parent",)),
        (RefundQuery(parent_exclude=(shop.first,)), [], ("parent_exclude",)),
        (RefundQuery(search="reason three"), [shop.c], ("search",)),
        (RefundQuery(search="nothing like it"), [], ("search",)),
    ]
    for query, ids, here in cases:
        page = await shop.store.list_refunds(query, order_id=shop.first)
        assert ([row.refund.id for row in page.refunds], page.filtered_here) == (ids, here)
        assert page.total == len(ids)


async def test_an_unknown_order_is_told_from_one_without_refunds(sandbox: Sandbox) -> None:
    store, bare = sandbox.store(), await sandbox.order()
    assert (await store.list_refunds(RefundQuery(), order_id=bare)).total == 0
    for query in (RefundQuery(), RefundQuery(search="x"), RefundQuery(parent_exclude=("99999999",))):
        with pytest.raises(OrderNotFound):
            await store.list_refunds(query, order_id="99999999")
    with pytest.raises(OrderNotFound):
        await store.list_refunds(RefundQuery(), order_id="1/refunds")


async def test_fewer_decimals_change_the_document_and_not_the_refund(shop: Shop) -> None:
    odd = await shop.sandbox.foreign_refund(shop.second, "1.49")
    page = await shop.store.list_refunds(RefundQuery(dp=0, per_page=1))
    (row,) = page.refunds
    assert (row.document["amount"], str(row.refund.amount)) == ("1", "1.49000000")
    alone = await shop.store.read_refund(shop.second, odd, dp=0)
    assert alone is not None
    assert (alone.document["amount"], str(alone.refund.amount)) == ("1", "1.49000000")
    finer = await shop.store.read_refund(shop.second, odd, dp=4)
    assert finer is not None
    assert finer.document["amount"] == "1.4900"


async def test_times_are_cut_so_that_no_bound_takes_in_too_much(shop: Shop) -> None:
    made = (await shop.store.list_refunds(RefundQuery(include=(shop.a,)))).refunds[0].document["date_created_gmt"]
    second = datetime.fromisoformat(made).replace(tzinfo=UTC)
    half = timedelta(milliseconds=500)
    only = {"include": (shop.a,)}
    assert await shop.lists(RefundQuery(**only, after=Moment(at=second))) == []
    assert await shop.lists(RefundQuery(**only, after=Moment(at=second - half))) == [shop.a]
    assert await shop.lists(RefundQuery(**only, before=Moment(at=second))) == []
    assert await shop.lists(RefundQuery(**only, before=Moment(at=second + half))) == [shop.a]


async def test_a_refund_is_deleted_only_under_its_own_order(shop: Shop) -> None:
    store = shop.store
    assert await store.delete_refund(shop.second, shop.a) == "absent"
    assert await store.delete_refund(shop.second, shop.first) == "absent"
    assert await store.delete_refund("99999999", shop.a) == "absent"
    assert await store.delete_refund(shop.first, "x") == "absent"
    assert not [one for one in await shop.sandbox.requests() if one["method"] == "DELETE"]
    assert await store.delete_refund(shop.first, shop.a) == "deleted"
    assert await store.delete_refund(shop.first, shop.a) == "absent"
    assert await shop.lists(RefundQuery(), order_id=shop.first) == [shop.c, shop.b]
    await store.read_order(shop.second, read_at=READ_AT)


async def test_a_key_that_may_not_write_cannot_delete(shop: Shop) -> None:
    store = shop.sandbox.store(key="ro")
    with pytest.raises(StoreMisconfigured, match="may only read"):
        await store.delete_refund(shop.first, shop.a)
    assert await shop.store.read_refund(shop.first, shop.a) is not None


async def test_an_update_is_not_supported_and_asks_nothing(shop: Shop) -> None:
    before = len(await shop.sandbox.requests())
    assert await shop.store.update_refund(shop.first, shop.a, reason="other") == "unsupported"
    assert len(await shop.sandbox.requests()) == before


async def test_meta_data_of_the_plan_is_kept_beside_the_marker(sandbox: Sandbox) -> None:
    store, order_id = sandbox.store(), await sandbox.order()
    order = await store.read_order(order_id, read_at=READ_AT)
    plan = amount_plan(order, "1.00")
    object.__setattr__(plan, "store_meta", {"erp": {"id": 7}, "_refund_gateway": "RG-00000000"})
    await store.refund(plan, marker="RG-7F3K9Q2X", request_id="")
    (row,) = (await store.list_refunds(RefundQuery(), order_id=order_id)).refunds
    assert [(meta["key"], meta["value"]) for meta in row.document["meta_data"]] == [
        ("erp", {"id": 7}),
        ("_refund_gateway", "RG-7F3K9Q2X"),
    ]


@pytest.mark.parametrize(
    ("version", "store_wide", "preview"), [("8.9.0", False, False), ("9.4.0", True, False), ("11.1.0", True, True)]
)
async def test_features_are_found_out_by_asking(
    sandbox: Sandbox, version: str, store_wide: bool, preview: bool
) -> None:
    await sandbox.settings(woocommerce_version=version)
    store = sandbox.store()
    found = await store.features()
    assert found.woocommerce_version == version
    v3, legacy = found.apis
    assert (v3.api, v3.used, v3.available, v3.update, v3.delete, v3.meta_data) == ("v3", True, True, False, True, True)
    assert (v3.store_wide_list, v3.native_preview) == (store_wide, preview)
    assert (legacy.api, legacy.used, legacy.store_wide_list, legacy.meta_data) == ("legacy", False, False, False)
    assert {method.id: method.capability for method in found.payment_methods}["sandboxpay"] == "refunds"
    before = len(await sandbox.requests())
    assert await store.features() == found
    assert len(await sandbox.requests()) == before


async def test_the_owners_word_counts_for_a_payment_method(sandbox: Sandbox) -> None:
    policy = StorePolicy(refunding_methods=frozenset({"cod", "elsewhere"}))
    store = WooV3Store(sandbox.connection(), sandbox.lines, policy=policy)
    assert await store.payment_capability("elsewhere") == "refunds"
    methods = {method.id: method.capability for method in (await store.features()).payment_methods}
    assert (methods["cod"], methods["elsewhere"], methods["bacs"]) == ("refunds", "refunds", "no_refunds")


async def test_features_of_a_store_that_is_down_are_unknown_and_asked_again(sandbox: Sandbox) -> None:
    store = sandbox.store()
    await sandbox.fault("bad_gateway", operation="any", times=100)
    down = await store.features()
    assert down.apis[0].available is None
    await sandbox.admin.delete("/sandbox/faults")
    assert (await store.features()).apis[0].available is True


async def test_a_raw_read_is_the_stores_own_answer(shop: Shop) -> None:
    answer = await shop.store.read_raw(f"/orders/{shop.first}", [("_fields", "id,number")])
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json; charset=UTF-8")
    assert answer.body.startswith(b'{"id":%s,"number":"%s",' % ((shop.first.encode(),) * 2))
    missing = await shop.store.read_raw("orders/99999999", [])
    assert missing.status == 404
    assert b"woocommerce_rest_shop_order_invalid_id" in missing.body


async def test_a_raw_read_takes_lists_over_a_signature(shop: Shop) -> None:
    query = [("include[]", shop.a), ("include[]", shop.b), ("_fields", "id"), ("per_page", "50")]
    answer = await shop.store.read_raw("refunds", query)
    assert answer.status == 200
    assert answer.headers["x-wp-total"] == "2"


@pytest.mark.parametrize(
    "name",
    ["_method", " _method", ".method", "consumer_key", "consumer.secret", "oauth_nonce", "rest_route", "wc-api-route"],
)
async def test_a_raw_read_stays_a_read_of_what_its_path_names(shop: Shop, name: str) -> None:
    answer = await shop.store.read_raw(f"orders/{shop.first}/refunds/{shop.a}", [(name, "DELETE")])
    assert answer.status == 200
    assert await shop.store.read_refund(shop.first, shop.a) is not None
    assert all(name not in one["query"] or "DELETE" not in str(one) for one in await shop.sandbox.requests())


@pytest.mark.parametrize("path", ["../wc/v2/orders", "orders//1", "a/./b", "orders/\n"])
async def test_a_raw_read_cannot_leave_the_api(sandbox: Sandbox, path: str) -> None:
    with pytest.raises(StoreMisconfigured):
        await sandbox.store().read_raw(path, [])
    with pytest.raises(StoreMisconfigured):
        async with sandbox.store().stream(path, []):
            pass


async def test_a_stream_hands_the_body_on(shop: Shop) -> None:
    async with shop.store.stream("refunds", [("per_page", "100")]) as answer:
        assert answer.status == 200
        assert answer.headers["x-wp-total"] == "4"
        body = b"".join([piece async for piece in answer.chunks()])
    assert len(json.loads(body)) == 4


async def test_a_redirect_is_a_wrong_address(sandbox: Sandbox) -> None:
    store = sandbox.store()
    await sandbox.fault("redirect", operation="any", times=10)
    with pytest.raises(StoreMisconfigured, match="redirects"):
        await store.read_raw("orders", [])
    with pytest.raises(StoreMisconfigured, match="redirects"):
        async with store.stream("orders", []):
            pass


class Scripted:
    """A store that answers by path and query, for what the sandbox cannot be brought to do."""

    def __init__(self, answer: Callable[[Asked], bytes]) -> None:
        self.answer = answer

    async def __call__(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(self.answer(asked))


@asynccontextmanager
async def scripted(answer: Callable[[Asked], bytes]) -> AsyncIterator[tuple[WooV3Store, RawServer]]:
    lines = Outbound(allow_private=True)
    async with raw_server(Scripted(answer)) as server:
        connection = StoreConnection(
            store_id="s", url=server.url, auth="oauth1", consumer_key="ck_key123", consumer_secret="cs_secret"
        )
        try:
            with stamina.set_testing(True, attempts=3):
                yield WooV3Store(connection, lines), server
        finally:
            await lines.aclose()


def document(id_: int) -> dict[str, object]:
    return {"id": id_, "parent_id": 7, "amount": "1", "reason": f"number {id_}", "plugin": {"kept": 0.1}}


@pytest.mark.parametrize(("orders", "decimals"), [([{"id": 1, "total": "1000"}], 0), ([], 2)])
async def test_without_the_settings_the_decimals_are_those_of_an_order(orders: object, decimals: int) -> None:
    def answer(asked: Asked) -> bytes:
        if "settings" in asked.path:
            return http(403, {"code": "woocommerce_rest_cannot_view", "message": "No.", "data": {"status": 403}})
        return http(200, orders if asked.path.endswith("orders") else [document(9)], {"x-wp-total": "1"})

    async with scripted(answer) as (store, _):
        page = await store.list_refunds(RefundQuery())
        assert page.decimals == decimals
        # Fields of plugins survive, and "_fields" would have dropped them.
        assert page.refunds[0].document == document(9) | {"plugin": {"kept": Decimal("0.1")}}


@pytest.mark.parametrize(
    ("bound", "sent"),
    [
        ("9999-12-31T23:59:59.500000+00:00", "9999-12-31T23:59:59"),
        ("9999-12-31T23:59:59.500000", "9999-12-31T23:59:59"),
        ("2026-12-31T23:59:59.500000+00:00", "2027-01-01T00:00:00"),
        ("0001-01-01T00:00:00.000001+00:00", "0001-01-01T00:00:01"),
    ],
)
async def test_a_bound_is_sent_to_the_second_up_to_the_end_of_time(bound: str, sent: str) -> None:
    def answer(asked: Asked) -> bytes:
        return http(200, {"value": "2"} if "settings" in asked.path else [], {"x-wp-total": "0"})

    async with scripted(answer) as (store, server):
        await store.list_refunds(RefundQuery(before=Moment(at=datetime.fromisoformat(bound))))
        assert [asked.query["before"] for asked in server.asked if "before" in asked.query] == [sent]


@pytest.mark.parametrize("date", ["Fri, 31 Dec 9999 23:59:59 GMT", "Wed, 01 Jan 1800 00:00:00 GMT"])
async def test_a_clock_beyond_all_measure_is_none(date: str) -> None:
    row = document(9) | {"date_created_gmt": "2026-11-21T10:00:00"}

    def answer(asked: Asked) -> bytes:
        return http(200, {"value": "2"} if "settings" in asked.path else row, {"date": date})

    async with scripted(answer) as (store, _):
        found = await store.read_refund("7", "9")
        assert found is not None
        assert found.refund.created_at == datetime(2026, 11, 21, 10, tzinfo=UTC)


@pytest.mark.parametrize("methods", [5, None, "POST", {"1": "POST"}, [["POST"]], ["POST"]])
async def test_features_are_found_out_from_odd_descriptions_too(methods: object) -> None:
    described = {"methods": methods, "endpoints": {"2": {"methods": methods, "args": []}}}

    def answer(asked: Asked) -> bytes:
        return http(200, described) if asked.method == "OPTIONS" else http(404, b"")

    async with scripted(answer) as (store, _):
        found = await store.features()
        assert found.apis[0].available is (methods in (["POST"], {"1": "POST"}))


@pytest.mark.parametrize("counted", [True, False])
async def test_a_search_through_too_many_refunds_is_too_long(counted: bool) -> None:
    def answer(asked: Asked) -> bytes:
        if "settings" in asked.path:
            return http(200, {"value": "2"})
        page = int(asked.query["page"])
        rows = [document(100 * page + i) for i in range(100)]
        return http(200, rows, {"x-wp-total": "2001"} if counted else None)

    async with scripted(answer) as (store, server):
        with pytest.raises(ListTooLong, match="2000 refunds"):
            await store.list_refunds(RefundQuery(search="number"))
        reads = [asked for asked in server.asked if asked.path.endswith("/refunds")]
        assert len(reads) == (1 if counted else 20)
        assert all("search" not in asked.query for asked in reads)
        assert all(asked.query["per_page"] == "100" for asked in reads)


async def test_an_answer_that_is_no_list_is_unusable() -> None:
    def answer(asked: Asked) -> bytes:
        return http(200, {"value": "2"} if "settings" in asked.path else [{"id": "x"}])

    async with scripted(answer) as (store, _):
        for query in (RefundQuery(), RefundQuery(search="x"), RefundQuery(parent=("7",))):
            with pytest.raises(StoreUnavailable, match="not what WooCommerce sends"):
                await store.list_refunds(query)
        with pytest.raises(StoreUnavailable, match="not what WooCommerce sends"):
            await store.list_refunds(RefundQuery(), order_id="7")
