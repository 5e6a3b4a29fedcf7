"""The refunds that stores show, over HTTP: lists, one by one, deleted; ours and others'."""

from typing import Any
from urllib.parse import urlencode

import httpx
import pytest

from app.domain.refund import StorePolicy
from app.flows.runtime import Runtime
from app.settings import Settings
from tests.api.conftest import Gateway, opened
from tests.api.problems import problem
from tests.conftest import Sandbox, add_shop

LIST = "/v1/stores/demo/refunds"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Let a row made in the store's admin be as old as need be at once: none of them waits for a payment."""
    return settings.model_copy(update={"store_limit_s": 0.001})


async def made_in_admin(sandbox: Sandbox, order: dict[str, Any], amount: str, reason: str = "by hand") -> str:
    """Make a refund in the store past the gateway, and give the store's id of it."""
    body = {"amount": amount, "reason": reason}
    made = await sandbox.client.post(f"/sandbox/orders/{order['id']}/refunds", json=body)
    assert made.status_code == 201, made.text
    return str(made.json()["id"])


async def configured(sandbox: Sandbox, **settings: Any) -> None:
    answer = await sandbox.client.post("/sandbox/settings", json=settings)
    assert answer.status_code == 200, answer.text


async def read(gateway: Gateway, path: str, **query: Any) -> Any:
    answer: httpx.Response = await gateway.client.get(path, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def ids(gateway: Gateway, path: str, **query: Any) -> list[str]:
    return [refund["id"] for refund in (await read(gateway, path, **query))["data"]]


class Books:
    """Two orders: one with a refund of ours and one made by hand, the other with one made by hand."""

    def __init__(self, first: dict[str, Any], second: dict[str, Any], ours: dict[str, Any], rows: list[str]) -> None:
        self.first, self.second, self.ours = first, second, ours
        self.paid, self.by_hand, self.other = rows
        self.of_first = f"/v1/stores/demo/orders/{first['id']}/refunds"


@pytest.fixture
async def books(gateway: Gateway, sandbox: Sandbox) -> Books:
    first, second = await sandbox.new_order(), await sandbox.new_order()
    answer = await gateway.refund(first, amount=None, items=[{"sku": "SKU0", "quantity": 1}], reason="too small")
    assert answer.status_code == 201, answer.text
    ours = answer.json()
    by_hand = await made_in_admin(sandbox, first, "2.00")
    other = await made_in_admin(sandbox, second, "3.50", reason="broken glass")
    return Books(first, second, ours, [ours["store_refund_id"], by_hand, other])


async def test_a_stores_refunds_are_listed_whoever_made_them(gateway: Gateway, books: Books) -> None:
    page = await read(gateway, LIST)
    meta = {name: value for name, value in page.items() if name != "data"}
    assert meta == {
        "page": 1,
        "per_page": 10,
        "total": 3,
        "pages": 1,
        "served_by": "store",
        "complete": True,
        "filtered_here": [],
        "next_cursor": None,
    }
    by_id = {refund["id"]: refund for refund in page["data"]}
    assert set(by_id) == {books.paid, books.by_hand, books.other}
    ours, foreign = by_id[books.paid], by_id[books.other]
    assert (ours["refund_id"], ours["amount"], ours["refunded_payment"]) == (books.ours["id"], "10.71", True)
    assert (ours["order_id"], ours["lines_known"], ours["lines"][0]["quantity"]) == (str(books.first["id"]), True, 1)
    assert (foreign["amount"], foreign["refunded_payment"], foreign["lines"]) == ("3.50", False, [])
    record = await read(gateway, f"/v1/refunds/{foreign['refund_id']}")
    shown = ("origin", "via", "status", "payment", "money", "amount", "currency", "store_refund_id", "breakdown")
    assert [record[name] for name in shown] == [
        "store",
        "seen",
        "succeeded",
        "manual",
        "outside",
        "3.50",
        None,
        books.other,
        None,
    ]
    events = await read(gateway, f"/v1/refunds/{foreign['refund_id']}/events")
    assert [event["type"] for event in events["data"]] == ["refund.observed"]


async def test_a_record_learns_its_currency_when_its_order_is_read(gateway: Gateway, books: Books) -> None:
    listed = await read(gateway, LIST, include=books.other)
    path = f"/v1/refunds/{listed['data'][0]['refund_id']}"
    assert (await read(gateway, path))["currency"] is None
    await read(gateway, f"/v1/stores/demo/orders/{books.second['id']}")
    record = await read(gateway, path)
    assert (record["currency"], record["amount"], record["payment_method"]) == ("EUR", "3.50", "sandboxpay")


async def test_every_parameter_narrows_both_lists(gateway: Gateway, books: Books) -> None:
    past, future = "2000-01-01T00:00:00Z", "2100-01-01T00:00:00Z"
    all_of = {LIST: {books.paid, books.by_hand, books.other}, books.of_first: {books.paid, books.by_hand}}
    first, second = str(books.first["id"]), str(books.second["id"])
    cases: list[tuple[dict[str, Any], set[str]]] = [
        ({"context": "edit", "dp": 4}, all_of[LIST]),
        ({"include": f"{books.paid},{books.other}"}, {books.paid, books.other}),
        ({"include[]": [books.paid, books.by_hand]}, {books.paid, books.by_hand}),
        ({"exclude": books.paid}, {books.by_hand, books.other}),
        ({"parent": second}, {books.other}),
        ({"parent": [first, "987654"]}, {books.paid, books.by_hand}),
        ({"parent_exclude": first}, {books.other}),
        ({"search": "glass broken"}, {books.other}),
        ({"search": "hand"}, {books.by_hand}),
        ({"after": past, "before": future}, all_of[LIST]),
        ({"after": future}, set()),
        ({"before": past}, set()),
        ({"modified_after": past, "modified_before": future}, all_of[LIST]),
        ({"modified_after": future}, set()),
        ({"after": past.removesuffix("Z"), "dates_are_gmt": "true"}, all_of[LIST]),
        ({"after": future.removesuffix("Z")}, set()),
        ({"before": past.removesuffix("Z")}, set()),
    ]
    for path, known in all_of.items():
        for query, expected in cases:
            assert set(await ids(gateway, path, **query)) == expected & known, (path, query)


async def test_lists_are_sorted_as_asked(gateway: Gateway, books: Books) -> None:
    oldest_first = sorted([books.paid, books.by_hand, books.other], key=int)
    assert await ids(gateway, LIST) == oldest_first[::-1]
    assert await ids(gateway, LIST, order="asc") == oldest_first
    assert await ids(gateway, LIST, orderby="id", order="asc") == oldest_first
    wanted = f"{books.other},{books.paid}"
    assert await ids(gateway, LIST, include=wanted, orderby="include") == wanted.split(",")


async def test_pages_are_walked_by_their_links(gateway: Gateway, books: Books) -> None:
    expected = await ids(gateway, LIST)
    seen, link = [], f"{LIST}?per_page=1"
    while link:
        answer = await gateway.client.get(link)
        page = answer.json()
        assert (page["total"], page["pages"], page["page"]) == (3, 3, len(seen) + 1)
        seen += [refund["id"] for refund in page["data"]]
        assert ("next" in answer.links) == (len(seen) < 3)
        link = answer.links.get("next", {}).get("url")
    assert seen == expected
    answer = await gateway.client.get(f"{LIST}?per_page=2&offset=1")
    assert ([refund["id"] for refund in answer.json()["data"]], answer.json()["page"]) == (expected[1:], None)
    assert answer.links["prev"]["url"] == f"{LIST}?per_page=2&offset=0"
    beyond = await gateway.client.get(f"{LIST}?page=9")
    assert (beyond.json()["data"], beyond.links["prev"]["url"]) == ([], f"{LIST}?page=1")


async def test_what_was_done_in_the_stores_place_is_said(gateway: Gateway, sandbox: Sandbox, books: Books) -> None:
    page = await read(gateway, LIST, search="glass", parent=str(books.second["id"]))
    assert (page["filtered_here"], page["complete"], page["total"]) == (["parent", "search"], True, 1)


async def test_a_store_older_than_the_list_is_served_from_its_orders(gateway: Gateway, sandbox: Sandbox) -> None:
    await configured(sandbox, woocommerce_version="8.9.0")
    order = await sandbox.new_order()
    row = await made_in_admin(sandbox, order, "1.00")
    page = await read(gateway, LIST)
    assert (page["served_by"], page["complete"], [refund["id"] for refund in page["data"]]) == ("orders", True, [row])


async def test_a_legacy_store_shows_what_its_api_shows(rt: Runtime, sandbox: Sandbox) -> None:
    await configured(sandbox, legacy=True, rest_v3=False)
    order = await sandbox.new_order()
    row = await made_in_admin(sandbox, order, "2.00")
    async with opened(rt, await add_shop(rt, sandbox.url, api="legacy")) as gateway:
        for path in (LIST, f"/v1/stores/demo/orders/{order['id']}/refunds"):
            [refund] = (await read(gateway, path, parent=str(order["id"])))["data"]
            assert (refund["id"], refund["amount"], refund["refunded_payment"]) == (row, "2.00", None)
            assert (refund["lines"], refund["lines_known"]) == (None, False)
        record = await read(gateway, f"/v1/refunds/{refund['refund_id']}")
        assert (record["payment"], record["money"], record["origin"]) == ("unknown", "unknown", "store")
        told = problem(await gateway.client.delete(f"/v1/refunds/{record['id']}"), 409, "paid_by_gateway")
        assert "may have paid" in told["detail"]
        deletion = (await gateway.client.delete(f"/v1/refunds/{record['id']}?force=true")).json()
        assert (deletion["deleted_now"], deletion["money_stays_paid"]) == (True, None)
        assert "does not say" in deletion["detail"]
        assert (await read(gateway, LIST, parent=str(order["id"])))["data"] == []


async def test_a_refund_of_a_legacy_store_is_amended_and_deleted_there(rt: Runtime, sandbox: Sandbox) -> None:
    await configured(sandbox, legacy=True, rest_v3=False)
    order = await sandbox.new_order()
    policy = StorePolicy(refunding_methods=frozenset({"sandboxpay"}))
    async with opened(rt, await add_shop(rt, sandbox.url, api="legacy", policy=policy)) as gateway:
        made = await gateway.refund(order, reason="Too small")
        assert made.status_code == 201, made.text
        path = made.headers["location"]
        amended = (await gateway.client.patch(path, json={"reason": "Damaged"})).json()
        assert amended["in_store"] in ("shown", "accepted")
        problem(await gateway.client.delete(path), 409, "paid_by_gateway")
        assert (await gateway.client.delete(f"{path}?force=true")).json()["money_stays_paid"] is True
        capabilities = await read(gateway, "/v1/stores/demo/capabilities")
        assert capabilities["apis"] == ["wc-api/v3"]
        [used] = [api for api in capabilities["features"] if api["used"]]
        assert (used["name"], used["update"], used["meta_data"]) == ("wc-api/v3", True, False)
    assert len(await sandbox.payouts(order["id"])) == 1


async def test_amounts_have_the_decimals_asked_for_and_are_never_rounded(gateway: Gateway, books: Books) -> None:
    for dp, amount in ((None, "3.50"), (0, "3.5"), (1, "3.5"), (4, "3.5000")):
        query = {} if dp is None else {"dp": dp}
        [refund] = (await read(gateway, LIST, include=books.other, **query))["data"]
        assert refund["amount"] == amount
        one = await read(gateway, f"/v1/stores/demo/orders/{books.second['id']}/refunds/{books.other}", **query)
        assert one["amount"] == amount


async def test_lists_of_what_is_not_there(gateway: Gateway, order: dict[str, Any]) -> None:
    assert (await read(gateway, LIST))["data"] == []
    assert (await read(gateway, f"/v1/stores/demo/orders/{order['id']}/refunds"))["total"] == 0
    problem(await gateway.client.get("/v1/stores/demo/orders/999999/refunds"), 404, "order_not_found")
    problem(await gateway.client.get("/v1/stores/other/refunds"), 404, "store_not_found")
    assert await ids(gateway, LIST, include="999999") == []


async def test_a_store_that_is_down_cannot_be_listed(rt: Runtime) -> None:
    async with opened(rt, await add_shop(rt, "http://127.0.0.1:9")) as gateway:
        answer = await gateway.client.get(LIST)
        problem(answer, 503, "store_unavailable")
        assert int(answer.headers["retry-after"]) >= 1


async def test_lists_ask_for_their_scopes(gateway: Gateway, books: Books) -> None:
    one = f"{books.of_first}/{books.by_hand}"
    for method, path, scope in (
        ("GET", LIST, "refunds:read"),
        ("GET", books.of_first, "orders:read"),
        ("GET", one, "orders:read"),
        ("DELETE", one, "refunds:delete"),
        ("DELETE", f"/v1/refunds/{books.ours['id']}", "refunds:delete"),
        ("PATCH", f"/v1/refunds/{books.ours['id']}", "refunds:write"),
    ):
        others = {"refunds:read", "refunds:write", "refunds:approve", "refunds:delete", "orders:read"} - {scope}
        headers = {"Authorization": f"Bearer {await gateway.key(*others)}"}
        document = problem(await gateway.client.request(method, path, headers=headers, json={}), 403, "forbidden")
        assert document["required_scope"] == scope


async def test_a_row_made_by_hand_is_deleted_and_stays_on_record(
    gateway: Gateway, sandbox: Sandbox, books: Books
) -> None:
    path = f"{books.of_first}/{books.by_hand}"
    before = await read(gateway, path)
    answer = await gateway.client.delete(path)
    assert answer.status_code == 200, answer.text
    deletion = answer.json()
    assert (deletion["object"], deletion["deleted_now"], deletion["money_stays_paid"]) == ("deletion", True, False)
    assert deletion["store_refund"] == before
    refund = deletion["refund"]
    assert (refund["id"], refund["origin"], refund["status"]) == (before["refund_id"], "store", "succeeded")
    assert refund["deleted_at"] is not None
    assert refund["deleted_by"].startswith("key:")
    problem(await gateway.client.get(path), 404, "store_refund_not_found")
    assert await ids(gateway, books.of_first) == [books.paid]
    assert await read(gateway, f"/v1/refunds/{refund['id']}") == refund
    again = (await gateway.client.delete(path)).json()
    assert (again["deleted_now"], again["store_refund"], again["refund"]) == (False, None, refund)


async def test_a_paid_row_goes_only_by_force_and_no_money_comes_back(
    gateway: Gateway, sandbox: Sandbox, books: Books
) -> None:
    path = f"{books.of_first}/{books.paid}"
    for query in ("", "?force=false"):
        document = problem(await gateway.client.delete(path + query), 409, "paid_by_gateway")
        assert (document["refund_id"], document["store_refund_id"]) == (books.ours["id"], books.paid)
        assert "force=true" in document["detail"]
    assert books.paid in await ids(gateway, books.of_first)
    deletion = (await gateway.client.delete(f"{path}?force=true")).json()
    assert (deletion["deleted_now"], deletion["money_stays_paid"]) == (True, True)
    assert "no money comes back" in deletion["detail"]
    assert (deletion["refund"]["money"], deletion["refund"]["id"]) == ("moved", books.ours["id"])
    assert len(await sandbox.payouts(books.first["id"])) == 1
    # It goes on counting as paid: only what the customer has not got back yet is left.
    left = await read(gateway, f"/v1/stores/demo/orders/{books.first['id']}")
    assert left["refundable_total"] == "19.42"
    types = [e["type"] for e in (await read(gateway, f"/v1/refunds/{books.ours['id']}/events"))["data"]]
    assert types[-2:] == ["refund.deleting", "refund.deleted"]


async def test_a_row_is_deleted_under_its_own_order_only(gateway: Gateway, sandbox: Sandbox, books: Books) -> None:
    wrong = f"/v1/stores/demo/orders/{books.second['id']}/refunds"
    for row in (books.by_hand, books.paid, str(books.first["id"]), "999999"):
        answer = await gateway.client.delete(f"{wrong}/{row}?force=true")
        assert answer.json()["code"] in ("store_refund_not_found", "order_not_found")
        assert answer.status_code == 404
    assert set(await ids(gateway, LIST)) == {books.paid, books.by_hand, books.other}
    orders = {order["id"] for order in (await sandbox.client.get("/sandbox/orders")).json()}
    assert {books.first["id"], books.second["id"]} <= orders


async def test_a_refund_is_deleted_by_the_gateways_id_too(gateway: Gateway, books: Books) -> None:
    path = f"/v1/refunds/{books.ours['id']}"
    problem(await gateway.client.delete(path), 409, "paid_by_gateway")
    deletion = (await gateway.client.delete(path, params={"force": "true"})).json()
    assert (deletion["deleted_now"], deletion["store_refund"]["id"]) == (True, books.paid)
    again = (await gateway.client.delete(path)).json()
    assert (again["deleted_now"], again["money_stays_paid"], again["store_refund"]) == (False, True, None)
    assert "already" in again["detail"]


async def test_a_refund_without_a_row_cannot_be_deleted(gateway: Gateway, order: dict[str, Any]) -> None:
    failed = (await gateway.refund(order, reason="decline")).json()["refund"]
    document = problem(await gateway.client.delete(f"/v1/refunds/{failed['id']}"), 409, "no_store_refund")
    assert document["refund"]["id"] == failed["id"]


async def test_a_refund_under_way_cannot_be_deleted(rt: Runtime) -> None:
    async with opened(rt, await add_shop(rt, "http://127.0.0.1:9")) as gateway:
        body = {"store": "demo", "order_id": "12", "amount": "5.00"}
        made = await gateway.client.post("/v1/refunds", json=body, headers={"Prefer": "respond-async"})
        document = problem(await gateway.client.delete(made.headers["location"]), 409, "wrong_state")
        assert document["allowed"] == ["succeeded", "failed"]


async def test_the_ledgers_list_is_narrowed_by_what_stores_show(gateway: Gateway, books: Books) -> None:
    await ids(gateway, LIST)
    await read(gateway, f"/v1/stores/demo/orders/{books.first['id']}")
    await gateway.client.delete(f"{books.of_first}/{books.by_hand}")

    async def rows(**query: str) -> set[str]:
        found = await read(gateway, "/v1/refunds", **query)
        return {refund["store_refund_id"] for refund in found["data"]}

    assert await rows() == {books.paid, books.by_hand, books.other}
    assert await rows(origin="store") == await rows(via="seen") == {books.by_hand, books.other}
    assert await rows(via="v1") == await rows(payment="gateway") == {books.paid}
    assert await rows(deleted="true") == {books.by_hand}
    assert await rows(deleted="false", origin="store") == {books.other}
    assert await rows(payment_method="sandboxpay") == {books.paid, books.by_hand}
    assert await rows(payment_method="cod") == set()
    for query in ({"origin": "erp"}, {"deleted": "1"}, {"payment": "card"}, {"via": "cli"}):
        problem(await gateway.client.get(f"/v1/refunds?{urlencode(query)}"), 422, "invalid_request")


async def test_another_tenant_reaches_none_of_it(gateway: Gateway, books: Books) -> None:
    stranger = await add_shop(gateway.rt, "http://127.0.0.1:9", name="stranger")
    key = await gateway.key("admin", tenant_id=stranger.tenant_id)
    headers = {"Authorization": f"Bearer {key}"}
    problem(await gateway.client.get(LIST, headers=headers), 404, "store_not_found")
    problem(await gateway.client.delete(f"{books.of_first}/{books.by_hand}", headers=headers), 404, "store_not_found")
    path = f"/v1/refunds/{books.ours['id']}"
    problem(await gateway.client.delete(path, headers=headers), 404, "refund_not_found")
    problem(await gateway.client.patch(path, json={"reason": "x"}, headers=headers), 404, "refund_not_found")
    assert set(await ids(gateway, LIST)) == {books.paid, books.by_hand, books.other}
