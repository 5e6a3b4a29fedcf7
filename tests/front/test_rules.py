"""What the front takes, refuses and says of refunds, beyond what was recorded."""

from typing import Any

import httpx
import pytest

from app.ledger import refunds, search
from app.wiring import open_runtime
from tests.conftest import Sandbox, serving
from tests.front.conftest import Front, application


async def made(front: Front, order: dict[str, Any], **body: Any) -> dict[str, Any]:
    """Make a refund of 5.00 that is paid, unless told otherwise."""
    answer = await front.refund(order, **{"amount": "5.00", **body})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def test_a_paid_refund_is_deleted_only_by_saying_so(front_of_v3: Front, order: dict[str, Any]) -> None:
    refund = await made(front_of_v3, order)
    path = f"orders/{order['id']}/refunds/{refund['id']}"

    bare = await front_of_v3.client.delete(path)
    trash = await front_of_v3.client.delete(path, params={"force": "false"})
    junk = await front_of_v3.client.delete(path, params={"force": "maybe"})
    there = await front_of_v3.client.get(path)
    forced = await front_of_v3.client.request("DELETE", path, json={"force": True})

    assert (bare.status_code, bare.json()["code"]) == (400, "refund_gateway_paid_refund")
    assert "brings no money back" in bare.json()["message"]
    assert (trash.status_code, trash.json()["code"]) == (501, "woocommerce_rest_trash_not_supported")
    assert junk.json()["data"]["params"] == {"force": "force is not of type boolean."}
    assert there.status_code == 200
    assert (forced.status_code, forced.json()["id"]) == (200, refund["id"])
    assert forced.headers["Refund-Gateway-Money"] == "stays paid"
    async with front_of_v3.rt.database.reading() as conn:
        record = await refunds.get(conn, forced.headers["Refund-Gateway-Refund"])
    assert record is not None
    assert (record.status, record.money) == ("succeeded", "moved")
    assert record.deleted_at is not None


async def test_the_legacy_api_deletes_a_paid_refund_only_by_force_as_well(
    front_of_either: Front, order: dict[str, Any]
) -> None:
    path = f"orders/{order['id']}/refunds"
    refund = (await front_of_either.legacy.post(path, json={"order_refund": {"amount": "5.00"}})).json()["order_refund"]

    bare = await front_of_either.legacy.delete(f"{path}/{refund['id']}")
    forced = await front_of_either.legacy.delete(f"{path}/{refund['id']}", params={"force": "1"})
    again = await front_of_either.legacy.delete(f"{path}/{refund['id']}", params={"force": "1"})

    assert (bare.status_code, bare.json()["errors"][0]["code"]) == (400, "refund_gateway_paid_refund")
    assert (forced.status_code, forced.json()) == (200, {"message": "Permanently deleted refund"})
    assert (again.status_code, again.json()["errors"][0]["code"]) == (404, "woocommerce_api_invalid_order_refund_id")


async def test_a_wrong_order_never_reaches_the_store(
    front_of_v3: Front, sandbox: Sandbox, order: dict[str, Any]
) -> None:
    """WooCommerce would delete the refund, or the order, and answer 500."""
    refund, other = await made(front_of_v3, order, api_refund=False), await sandbox.new_order()

    for victim in (refund["id"], order["id"]):
        answer = await front_of_v3.client.delete(f"orders/{other['id']}/refunds/{victim}", params={"force": "true"})
        assert (answer.status_code, answer.json()["code"]) == (404, "woocommerce_rest_invalid_order_refund_id")

    seen = (await sandbox.client.get("/sandbox/requests")).json()
    assert not [one for one in seen if one["method"] == "DELETE"]
    assert (await front_of_v3.client.get(f"orders/{order['id']}/refunds/{refund['id']}")).status_code == 200


@pytest.mark.parametrize("method", ["PUT", "PATCH", "POST"])
async def test_the_legacy_api_changes_the_reason_and_never_the_amount(
    front_of_either: Front, order: dict[str, Any], method: str
) -> None:
    path = f"orders/{order['id']}/refunds"
    refund = (await front_of_either.legacy.post(path, json={"order_refund": {"amount": "5.00"}})).json()["order_refund"]

    async def send(**fields: Any) -> httpx.Response:
        return await front_of_either.legacy.request(method, f"{path}/{refund['id']}", json={"order_refund": fields})

    reason, amount, nothing = await send(reason="too small"), await send(amount="1.00"), await send()
    bare = await front_of_either.legacy.request(method, f"{path}/{refund['id']}", json={"reason": "x"})

    changed = reason.json()["order_refund"]
    assert (reason.status_code, changed["amount"], changed["reason"]) == (200, "5.00", "too small")
    assert reason.headers["Refund-Gateway-Reason"] in ("unsupported", "accepted", "shown")
    assert (amount.status_code, amount.json()["errors"][0]["code"]) == (400, "woocommerce_api_invalid_order_refund")
    assert nothing.status_code == 200
    assert bare.json()["errors"][0]["code"] == "woocommerce_api_missing_order_refund_data"
    async with front_of_either.rt.database.reading() as conn:
        record = await refunds.get(conn, reason.headers["Refund-Gateway-Refund"])
    assert record is not None
    assert (record.reason, str(record.amount)) == ("too small", "5.00000000")


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
async def test_wc_v3_has_no_update(front_of_v3: Front, order: dict[str, Any], method: str) -> None:
    answer = await front_of_v3.client.request(method, f"orders/{order['id']}/refunds/1", json={"reason": "x"})

    assert (answer.status_code, answer.json()["code"]) == (404, "rest_no_route")


async def test_a_post_may_stand_for_another_method_and_nothing_else_may(
    front_of_v3: Front, order: dict[str, Any]
) -> None:
    refund = await made(front_of_v3, order, api_refund=False)
    path = f"orders/{order['id']}/refunds/{refund['id']}"

    by_get = await front_of_v3.client.get(path, params={"_method": "DELETE"})
    as_get = await front_of_v3.client.post(path, headers={"X-HTTP-Method-Override": "GET"})
    junk = await front_of_v3.client.post(path, params={"_method": "BREW"})
    as_delete = await front_of_v3.client.post(path, params={"_method": "delete"})

    assert (by_get.status_code, by_get.json()["code"]) == (405, "refund_gateway_method_override")
    assert (as_get.status_code, as_get.json()["id"]) == (200, refund["id"])
    assert junk.status_code == 404
    assert (as_delete.status_code, as_delete.json()["id"]) == (200, refund["id"])


async def test_nothing_of_the_gateways_shows_in_a_document(front_of_v3: Front, order: dict[str, Any]) -> None:
    meta = [{"key": "ticket", "value": {"number": 7, "parts": [1.5, None]}}, {"key": "_hidden", "value": "x"}]
    refund = await made(front_of_v3, order, reason="too small", meta_data=meta)
    path = f"orders/{order['id']}/refunds"

    one = (await front_of_v3.client.get(f"{path}/{refund['id']}")).json()
    (listed,) = (await front_of_v3.client.get(path)).json()
    (everywhere,) = (await front_of_v3.client.get("refunds")).json()
    store, _ = await front_of_v3.rt.stores.open(front_of_v3.shop.store_id)
    kept = await store.read_refund(str(order["id"]), str(refund["id"]))

    assert kept is not None
    assert kept.document["reason"] == f"too small [{kept.refund.reference}]"
    for document in (refund, one, listed, everywhere):
        assert document["reason"] == "too small"
        assert {entry["key"]: entry["value"] for entry in document["meta_data"]} == {
            "ticket": {"number": 7, "parts": [1.5, None]},
            "_hidden": "x",
        }
        assert document["_links"]["up"][0]["href"] == (
            f"{front_of_v3.site.replace('http:', 'https:')}/wp-json/wc/v3/orders/{order['id']}"
        )
    assert ("parent_id" in one, "parent_id" in listed, everywhere["parent_id"]) == (False, False, order["id"])


async def test_meta_data_can_be_chosen(front_of_v3: Front, order: dict[str, Any]) -> None:
    line = order["line_items"][0]
    lines = [{"id": line["id"], "quantity": 1, "refund_total": "9.00"}]
    meta = [{"key": "a", "value": "1"}, {"key": "b", "value": "2"}]
    await made(front_of_v3, order, amount=None, line_items=lines, meta_data=meta)
    path = f"orders/{order['id']}/refunds"

    async def keys(**params: str) -> tuple[set[str], set[str]]:
        (document,) = (await front_of_v3.client.get(path, params=params)).json()
        of_line = {entry["key"] for entry in document["line_items"][0]["meta_data"]}
        return {entry["key"] for entry in document["meta_data"]}, of_line

    assert await keys() == ({"a", "b"}, {"_refunded_item_id"})
    assert await keys(include_meta="a") == ({"a"}, {"_refunded_item_id"})
    assert await keys(exclude_meta="a,x") == ({"b"}, {"_refunded_item_id"})
    assert await keys(order_item_display_meta="true") == ({"a", "b"}, set())


async def test_a_refund_made_elsewhere_is_known_to_the_ledger_once_it_was_listed(
    front_of_v3: Front, sandbox: Sandbox, order: dict[str, Any]
) -> None:
    seen = await sandbox.client.post(f"/sandbox/orders/{order['id']}/refunds", json={"amount": "3.00"})
    assert seen.status_code == 201

    (listed,) = (await front_of_v3.client.get(f"orders/{order['id']}/refunds")).json()
    one = await front_of_v3.client.get(f"orders/{order['id']}/refunds/{listed['id']}")
    async with front_of_v3.rt.database.reading() as conn:
        known = await search.of_store_refund(
            conn, front_of_v3.shop.tenant_id, front_of_v3.shop.store_id, str(order["id"]), str(listed["id"])
        )

    assert known is not None
    assert (known.origin, one.headers["Refund-Gateway-Refund"]) == ("store", known.id)


async def test_the_gateway_works_out_totals_where_a_client_asks_for_that(
    front_of_v3: Front, order: dict[str, Any]
) -> None:
    lines = [{"id": order["line_items"][0]["id"], "quantity": 2}]

    refund = await made(front_of_v3, order, amount=None, line_items=lines, compute_totals=True)

    assert refund["amount"] == "21.42"
    assert refund["line_items"][0]["total_tax"] == "-3.42"


async def test_the_query_of_a_post_counts_as_its_body_does(front_of_v3: Front, order: dict[str, Any]) -> None:
    """A client that says api_refund=false in the query must not have it paid."""
    path = f"orders/{order['id']}/refunds"

    manual = await front_of_v3.client.post(path, params={"api_refund": "false", "dp": 4}, json={"amount": "2.00"})
    body_first = await front_of_v3.client.post(path, params={"amount": "9.00"}, json={"amount": "3.00"})
    only_query = await front_of_v3.client.post(path, params={"amount": "4.00", "_fields": "id,amount"})

    assert (manual.json()["amount"], manual.json()["refunded_payment"]) == ("2.0000", False)
    assert body_first.json()["amount"] == "3.00"
    assert only_query.json().keys() == {"id", "amount", "_links"}
    assert await front_of_v3.paid(order) == ["3.00", "4.00"]


async def test_the_legacy_query_decides_who_pays(front_of_either: Front, order: dict[str, Any]) -> None:
    path = f"orders/{order['id']}/refunds"

    async def send(api_refund: str) -> int:
        body = {"order_refund": {"amount": "2.00", "reason": api_refund}}
        return (await front_of_either.legacy.post(path, params={"api_refund": api_refund}, json=body)).status_code

    assert [await send(text) for text in ("0", "1", "false", "", "no")] == [201, 201, 400, 400, 400]
    assert await front_of_either.paid(order) == ["2.00"]


async def test_every_fault_of_a_request_is_named_with_its_place(front_of_v3: Front, order: dict[str, Any]) -> None:
    line = order["line_items"][0]
    lines = [
        {"id": line["id"], "quantity": 99, "refund_total": "9.00", "refund_tax": {"77": "1.00"}},
        {"id": 999_999, "quantity": 1, "refund_total": "1.00"},
    ]

    answer = await front_of_v3.refund(order, line_items=lines)

    assert answer.status_code == 400
    says = answer.json()["data"]["refund_gateway"]
    assert {(error["code"], error["pointer"]) for error in says["errors"]} == {
        ("quantity_exceeds_refundable", "/line_items/0/quantity"),
        ("tax_rate_not_found", "/line_items/0/refund_tax/77"),
        ("line_not_found", "/line_items/1/id"),
    }
    assert answer.json()["data"]["params"].keys() == {"line_items"}


async def test_parts_too_fine_to_come_to_anything_are_refused(front_of_v3: Front, order: dict[str, Any]) -> None:
    lines = [{"id": order["line_items"][0]["id"], "quantity": 1, "refund_total": "0.001"}]

    answer = await front_of_v3.refund(order, line_items=lines)

    assert (answer.status_code, answer.json()["code"]) == (400, "woocommerce_rest_invalid_order_refund")


async def test_a_store_that_is_away_is_said_to_be(front_of_v3: Front, sandbox: Sandbox, order: dict[str, Any]) -> None:
    await sandbox.fault(operation="read", fault="maintenance", times=50)

    read = await front_of_v3.client.get(f"orders/{order['id']}/refunds")
    written = await front_of_v3.refund(order, amount="1.00")

    for answer in (read, written):
        assert (answer.status_code, answer.json()["code"]) == (503, "refund_gateway_store_unavailable")
        assert int(answer.headers["Retry-After"]) > 0
    assert await front_of_v3.paid(order) == []


@pytest.mark.parametrize("face", ["client", "legacy"])
async def test_what_nobody_can_mean_is_no_500(front_of_v3: Front, order: dict[str, Any], face: str) -> None:
    client: httpx.AsyncClient = getattr(front_of_v3, face)
    path = f"orders/{order['id']}/refunds"
    deep = "[" * 500 + "]" * 500
    bodies = [
        b"",
        b"{",
        b"[]",
        b"null",
        b"1",
        b'"x"',
        b'{"amount": NaN}',
        b'{"amount": 1e999999}',
        b'{"amount": "1", "amount": "2"}',
        b'{"amount": "\\u0000"}',
        b'{"amount": "1.00", "reason": "\\ud800"}',
        b'{"order_refund": {"amount": 1e999999}}',
        b'{"order_refund": {"amount": true, "line_items": 5}}',
        b'{"order_refund": []}',
        b'{"line_items": [[]], "meta_data": {"a": 1}}',
        b'{"line_items": "x", "amount": {}}',
        b'{"amount": "1.00", "meta_data": [{"key": "_refund_gateway", "value": 1}]}',
        f'{{"amount": "1.00", "meta_data": [{{"key": "a", "value": {deep}}}]}}'.encode(),
        f'{{"line_items": {deep}}}'.encode(),
        b"\xff\xfe",
    ]

    answers = [await client.post(path, content=body, headers={"Content-Type": "application/json"}) for body in bodies]
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    answers += [
        await client.post(path, content=body, headers=form)
        for body in (
            b"amount=%00",
            b"a[b[c]]=1&[=&]=&=1&line_items=5",
            b"line_items[x][id]=1",
            b"%ff=%ff",
            b"a" + b"[b]" * 99,
        )
    ]
    queries = (
        "page=x",
        "after[]=1",
        "include[a][b]=1",
        "_fields[][]=x",
        "dp=99999999999999999999",
        "search[]=",
        "%00=1",
    )
    answers += [await client.get(f"{path}?{query}") for query in queries]
    answers += [await client.get(f"orders/{'9' * 30}/refunds/{'9' * 30}"), await client.get("orders/0/refunds/0")]

    for answer in answers:
        assert answer.status_code < 500, (answer.request.url, answer.request.content, answer.text)
        assert answer.headers["Content-Type"] == "application/json; charset=UTF-8"
    assert await front_of_v3.paid(order) == []


async def test_head_is_a_get_without_its_body(front_of_v3: Front, order: dict[str, Any]) -> None:
    await made(front_of_v3, order)

    answer = await front_of_v3.client.head(f"orders/{order['id']}/refunds/")

    assert (answer.status_code, answer.content, answer.headers["X-WP-Total"]) == (200, b"", "1")


async def test_the_indexes_and_options_tell_of_refunds_and_of_nobody(front_of_v3: Front) -> None:
    nobody = {"auth": lambda request: request}
    whole = await front_of_v3.client.get(f"{front_of_v3.site}/wp-json/", **nobody)
    inner = await front_of_v3.client.get("", params={"_fields": "namespace"}, **nobody)
    legacy = await front_of_v3.client.get(f"{front_of_v3.site}/wc-api/v3", **nobody)
    options = await front_of_v3.client.options("orders/1/refunds", **nobody)

    assert whole.json()["namespaces"] == ["wc/v3"]
    assert inner.json().keys() == {"namespace", "_links"}
    assert "/orders/<order_id>/refunds" in legacy.json()["store"]["routes"]
    assert (options.headers["Allow"], options.json()["methods"]) == ("GET, POST", ["GET", "POST"])
    assert "compute_totals" in options.json()["endpoints"][1]["args"]


async def test_a_public_address_is_used_in_every_link(
    front_of_v3: Front, order: dict[str, Any], database_url: str
) -> None:
    settings = front_of_v3.rt.settings.model_copy(update={"public_url": "https://gateway.example/woo/"})
    async with open_runtime(settings, works=False, url=database_url) as rt, serving(application(rt)) as url:
        path = f"{url}/stores/demo/wp-json/wc/v3/orders/{order['id']}/refunds"
        answer = await front_of_v3.client.post(path, json={"amount": "1.00"})

    site = "https://gateway.example/woo/stores/demo/wp-json"
    assert answer.headers["Location"] == f"{site}/wc/v3/orders/{order['id']}/refunds/{answer.json()['id']}"
    assert answer.headers["Link"] == f'<{site}/>; rel="https://api.w.org/"'
