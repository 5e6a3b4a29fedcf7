"""Refunds over HTTP, against a sandbox store behind a real socket."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from app.flows.runtime import Runtime
from app.ledger import tenants
from tests.api.conftest import Gateway, opened
from tests.api.problems import problem
from tests.conftest import Sandbox, add_shop


async def test_a_refund_succeeds_and_is_read_again(gateway: Gateway, order: dict[str, Any]) -> None:
    answer = await gateway.refund(order, reason="Customer request", external_reference="CM-1", metadata={"rma": "R-9"})
    assert answer.status_code == 201, answer.text
    refund = answer.json()
    assert answer.headers["location"] == f"/v1/refunds/{refund['id']}"
    assert "idempotent-replayed" not in answer.headers
    assert (refund["status"], refund["money"], refund["amount"]) == ("succeeded", "moved", "5.00")
    assert refund["order"]["id"] == str(order["id"])
    assert refund["metadata"] == {"rma": "R-9"}
    assert refund["breakdown"] == {
        "items": [],
        "shipping": [],
        "fees": [],
        "goodwill": "0.00",
        "unallocated": "5.00",
        "net": "5.00",
        "tax": "0.00",
    }
    assert datetime.fromisoformat(refund["settled_at"]).tzinfo is UTC
    assert refund["settled_at"].endswith("Z")
    again = await gateway.client.get(answer.headers["location"])
    assert again.json() == refund


async def test_a_refund_by_quantity_shows_net_and_tax_per_rate(gateway: Gateway, order: dict[str, Any]) -> None:
    answer = await gateway.refund(order, amount=None, items=[{"sku": "SKU0", "quantity": 2}])
    assert answer.status_code == 201, answer.text
    breakdown = answer.json()["breakdown"]
    [item] = breakdown["items"]
    assert (item["sku"], item["quantity"], item["net"], item["tax"], item["total"]) == (
        "SKU0",
        2,
        "18.00",
        "3.42",
        "21.42",
    )
    assert [tax["amount"] for tax in item["taxes"]] == ["3.42"]
    assert (breakdown["net"], breakdown["tax"]) == ("18.00", "3.42")
    assert answer.json()["amount"] == "21.42"


async def test_the_same_request_again_is_the_same_refund(
    gateway: Gateway, sandbox: Sandbox, order: dict[str, Any]
) -> None:
    first = await gateway.client.post(
        "/v1/refunds",
        json={"store": "demo", "order_id": str(order["id"]), "amount": "5.00"},
        headers={"Idempotency-Key": "key-1"},
    )
    again = await gateway.client.post(
        "/v1/refunds",
        json={"store": "demo", "order_id": str(order["id"]), "amount": "5.0"},
        headers={"Idempotency-Key": "key-1"},
    )
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.headers["idempotent-replayed"] == "true"
    assert again.json() == first.json()
    assert len(await sandbox.payouts(order["id"])) == 1


async def test_metadata_may_be_named_like_anything(gateway: Gateway, order: dict[str, Any]) -> None:
    metadata = {"amount": "n/a", "fees": "", "items": "[]", "id": "1"}
    answer = await gateway.refund(order, metadata=metadata, external_reference="CM-1")
    assert answer.status_code == 201, answer.text
    assert answer.json()["metadata"] == metadata
    other = await gateway.refund(order, metadata={**metadata, "amount": "N/A"}, external_reference="CM-1")
    problem(other, 409, "external_reference_conflict")


async def test_a_key_or_reference_with_other_content_names_the_first_refund(
    gateway: Gateway, order: dict[str, Any]
) -> None:
    body = {"store": "demo", "order_id": str(order["id"]), "amount": "5.00", "external_reference": "CM-1"}
    first = await gateway.client.post("/v1/refunds", json=body, headers={"Idempotency-Key": "key-1"})
    other = {**body, "amount": "6.00"}
    reused = problem(
        await gateway.client.post("/v1/refunds", json=other, headers={"Idempotency-Key": "key-1"}),
        422,
        "idempotency_key_reused",
    )
    conflict = problem(await gateway.client.post("/v1/refunds", json=other), 409, "external_reference_conflict")
    assert reused["refund_id"] == conflict["refund_id"] == first.json()["id"]
    assert conflict["differing"] == ["amount"]


async def test_more_than_is_left_says_how_much_is(gateway: Gateway, order: dict[str, Any]) -> None:
    document = problem(await gateway.refund(order, amount="32.14"), 422, "exceeds_refundable")
    assert document["refundable"] == "32.13"
    [error] = document["errors"]
    assert (error["pointer"], error["in"], error["code"]) == ("/amount", "body", "exceeds_refundable")
    assert not document["retryable"]


async def test_every_business_fault_is_named_at_once(gateway: Gateway, order: dict[str, Any]) -> None:
    answer = await gateway.refund(
        order, amount=None, currency="USD", items=[{"sku": "NONE", "quantity": 1}, {"sku": "SKU0", "quantity": 4}]
    )
    document = problem(answer, 422, "currency_mismatch")
    assert {(error["code"], error["pointer"]) for error in document["errors"]} >= {
        ("currency_mismatch", "/currency"),
        ("line_not_found", "/items/0/sku"),
        ("quantity_exceeds_refundable", "/items/1/quantity"),
    }


async def test_a_precondition_that_no_longer_holds_is_a_conflict(gateway: Gateway, order: dict[str, Any]) -> None:
    document = problem(await gateway.refund(order, expected_refunded_total="1.00"), 409, "order_changed")
    assert document["errors"][0]["pointer"] == "/expected_refunded_total"


async def test_an_order_that_is_not_there_is_404(gateway: Gateway) -> None:
    problem(await gateway.refund({"id": 999999}), 404, "order_not_found")
    problem(await gateway.refund({"id": 1}, order_id=None, order_number="NONE-1"), 404, "order_not_found")


async def test_a_store_that_is_not_there_is_404(gateway: Gateway, order: dict[str, Any]) -> None:
    document = problem(await gateway.refund(order, store="other"), 404, "store_not_found")
    assert document["store"] == "other"


async def test_a_declined_refund_is_a_problem_that_holds_the_refund(
    gateway: Gateway, sandbox: Sandbox, order: dict[str, Any]
) -> None:
    answer = await gateway.refund(order, reason="decline", external_reference="CM-1")
    document = problem(answer, 422, "gateway_declined")
    refund = document["refund"]
    assert (refund["status"], refund["money"], refund["failure"]["code"]) == (
        "failed",
        "not_moved",
        "gateway_declined",
    )
    assert answer.headers["location"] == f"/v1/refunds/{refund['id']}"
    replayed = await gateway.refund(order, reason="decline", external_reference="CM-1")
    problem(replayed, 422, "gateway_declined")
    assert replayed.headers["idempotent-replayed"] == "true"
    assert await sandbox.payouts(order["id"]) == []


async def test_an_unreachable_store_is_503_and_creates_nothing(rt: Runtime, sandbox: Sandbox) -> None:
    shop = await add_shop(rt, "http://127.0.0.1:9")
    async with opened(rt, shop) as gateway:
        answer = await gateway.refund({"id": 1})
        document = problem(answer, 503, "store_unavailable")
        assert document["retryable"]
        assert int(answer.headers["retry-after"]) >= 1
        assert (await gateway.client.get("/v1/refunds")).json()["data"] == []


async def test_respond_async_is_accepted_at_once_even_while_the_store_is_away(rt: Runtime) -> None:
    shop = await add_shop(rt, "http://127.0.0.1:9")
    async with opened(rt, shop) as gateway:
        answer = await gateway.client.post(
            "/v1/refunds",
            json={"store": "demo", "order_id": "12", "amount": "5.00"},
            headers={"Prefer": 'foo, RESPOND-ASYNC; x=1, wait="7"'},
        )
        assert answer.status_code == 202, answer.text
        refund = answer.json()
        assert (refund["status"], refund["money"], refund["amount"], refund["breakdown"]) == (
            "pending",
            "not_moved",
            None,
            None,
        )
        assert answer.headers["preference-applied"] == "respond-async, wait=7"
        assert answer.headers["location"] == f"/v1/refunds/{refund['id']}"


async def test_a_wait_that_ends_first_is_202_and_the_refund_goes_on(gateway: Gateway, order: dict[str, Any]) -> None:
    began = asyncio.get_running_loop().time()
    answer = await gateway.client.post(
        "/v1/refunds",
        json={"store": "demo", "order_id": str(order["id"]), "amount": "5.00", "reason": "slow800"},
        headers={"Prefer": "wait=0"},
    )
    assert asyncio.get_running_loop().time() - began < 0.8
    assert answer.status_code == 202, answer.text
    assert answer.json()["status"] in ("pending", "sending")
    async with asyncio.timeout(5):
        while (await gateway.client.get(answer.headers["location"])).json()["status"] != "succeeded":
            await asyncio.sleep(0.05)


async def test_a_canceled_refund_is_never_answered_as_a_success(rt: Runtime) -> None:
    shop = await add_shop(rt, "http://127.0.0.1:9")
    async with opened(rt, shop) as gateway:
        body = {"store": "demo", "order_id": "12", "amount": "5.00", "external_reference": "CM-1"}
        created = await gateway.client.post("/v1/refunds", json=body, headers={"Prefer": "respond-async"})
        address = created.headers["location"]
        canceled = await gateway.client.post(f"{address}/cancel")
        assert (canceled.status_code, canceled.json()["status"]) == (200, "canceled")
        replayed = problem(await gateway.client.post("/v1/refunds", json=body), 422, "refund_canceled")
        assert replayed["refund"]["status"] == "canceled"
        assert (await gateway.client.post(f"{address}/cancel")).status_code == 200


async def test_a_refund_in_the_wrong_state_cannot_be_canceled_or_resolved(
    gateway: Gateway, order: dict[str, Any]
) -> None:
    address = (await gateway.refund(order)).headers["location"]
    document = problem(await gateway.client.post(f"{address}/cancel"), 409, "wrong_state")
    assert document["allowed"] == ["pending"]
    assert document["refund"]["status"] == "succeeded"
    body = {"outcome": "failed", "note": "Looked at the provider."}
    document = problem(await gateway.client.post(f"{address}/resolve", json=body), 409, "wrong_state")
    assert document["allowed"] == ["needs_review"]


async def test_a_final_refund_is_rechecked_without_change(gateway: Gateway, order: dict[str, Any]) -> None:
    created = await gateway.refund(order)
    answer = await gateway.client.post(f"{created.headers['location']}/recheck")
    assert (answer.status_code, answer.json()) == (200, created.json())


async def test_resolving_takes_a_note(gateway: Gateway, order: dict[str, Any]) -> None:
    address = (await gateway.refund(order)).headers["location"]
    document = problem(
        await gateway.client.post(f"{address}/resolve", json={"outcome": "succeded"}), 422, "invalid_request"
    )
    assert {(error["pointer"], error["code"]) for error in document["errors"]} == {
        ("/outcome", "invalid_choice"),
        ("/note", "missing_field"),
    }
    empty = await gateway.client.post(f"{address}/resolve", json={"outcome": "failed", "note": ""})
    assert problem(empty, 422, "invalid_request")["errors"][0]["pointer"] == "/note"


async def test_a_preview_creates_nothing_and_its_quote_binds(
    gateway: Gateway, sandbox: Sandbox, order: dict[str, Any]
) -> None:
    body = {"store": "demo", "order_id": str(order["id"]), "items": [{"sku": "SKU0", "quantity": 1}]}
    answer = await gateway.client.post("/v1/refunds/preview", json=body)
    assert answer.status_code == 200, answer.text
    preview = answer.json()
    assert (preview["amount"], preview["refundable"]) == ("10.71", {"before": "32.13", "after": "21.42"})
    assert preview["capability"] == "refunds"
    assert (await gateway.client.get("/v1/refunds")).json()["data"] == []
    assert await sandbox.payouts(order["id"]) == []
    bound = {**body, "quote_id": preview["quote_id"]}
    other = {**bound, "items": [{"sku": "SKU0", "quantity": 2}]}
    problem(await gateway.client.post("/v1/refunds", json=other), 422, "quote_mismatch")
    problem(await gateway.client.post("/v1/refunds", json={**bound, "quote_id": "qt_0"}), 422, "quote_not_found")
    assert (await gateway.client.post("/v1/refunds", json=bound)).status_code == 201
    changed = problem(await gateway.client.post("/v1/refunds", json=bound), 409, "order_changed")
    assert changed["differences"]


async def test_a_timeline_tells_what_happened_page_by_page(gateway: Gateway, order: dict[str, Any]) -> None:
    address = (await gateway.refund(order)).headers["location"]
    whole = (await gateway.client.get(f"{address}/events")).json()
    assert [event["type"] for event in whole["data"]] == ["refund.created", "refund.sending", "refund.succeeded"]
    assert whole["next_cursor"] is None
    seen, link = [], f"{address}/events?limit=1"
    while link:
        page = await gateway.client.get(link)
        seen += page.json()["data"]
        link = page.links.get("next", {}).get("url")
    assert seen == whole["data"]


async def test_lists_are_walked_by_their_links(gateway: Gateway, order: dict[str, Any]) -> None:
    made = [(await gateway.refund(order, amount=f"{n}.00")).json()["id"] for n in (1, 2, 3, 4, 5)]
    pages, link = [], "/v1/refunds?limit=2&currency=EUR"
    while link:
        page = await gateway.client.get(link)
        assert page.status_code == 200, page.text
        pages.append([refund["id"] for refund in page.json()["data"]])
        link = page.links.get("next", {}).get("url")
        assert (page.json()["next_cursor"] is None) == (link is None)
    assert pages == [made[4:2:-1], made[2:0:-1], made[:1]]


async def test_a_page_that_ends_with_the_list_has_no_next(gateway: Gateway, order: dict[str, Any]) -> None:
    for n in (1, 2):
        await gateway.refund(order, amount=f"{n}.00")
    page = await gateway.client.get("/v1/refunds", params={"limit": 2})
    assert (len(page.json()["data"]), page.json()["next_cursor"]) == (2, None)
    assert "link" not in page.headers


async def test_lists_are_filtered_by_every_field(gateway: Gateway, sandbox: Sandbox) -> None:
    one, two = await sandbox.new_order(), await sandbox.new_order()
    a = (await gateway.refund(one, amount="1.00", external_reference="A", reason_code="damaged")).json()
    b = (await gateway.refund(one, amount="2.00", external_reference="B", payment="manual")).json()
    c = (await gateway.refund(two, amount="3.00", external_reference="C", reason="decline")).json()["refund"]
    now = datetime.now(UTC)
    later = (now + timedelta(minutes=1)).isoformat().replace("+00:00", "Z")
    cases: list[tuple[dict[str, str], list[dict[str, Any]]]] = [
        ({"store": "demo"}, [c, b, a]),
        ({"store": "other"}, []),
        ({"order_id": a["order"]["id"]}, [b, a]),
        ({"status": "failed"}, [c]),
        ({"money": "outside"}, [b]),
        ({"external_reference": "B"}, [b]),
        ({"origin": "api"}, [c, b, a]),
        ({"reason_code": "damaged"}, [a]),
        ({"currency": "EUR"}, [c, b, a]),
        ({"currency": "USD"}, []),
        ({"amount_from": "2.0"}, [c, b]),
        ({"amount_to": "2"}, [b, a]),
        ({"created_from": b["created_at"], "created_to": later}, [c, b]),
        ({"created_from": later}, []),
        ({"settled_to": b["settled_at"]}, [a]),
        ({"settled_from": later}, []),
        ({"status": "succeeded", "amount_from": "1.50"}, [b]),
    ]
    for query, expected in cases:
        found = (await gateway.client.get("/v1/refunds", params=query)).json()["data"]
        assert [refund["id"] for refund in found] == [refund["id"] for refund in expected], query


MALFORMED_QUERIES: list[tuple[dict[str, str], str, str]] = [
    ({"limit": "0"}, "/limit", "out_of_range"),
    ({"limit": "201"}, "/limit", "out_of_range"),
    ({"limit": "many"}, "/limit", "malformed_value"),
    ({"after": "junk"}, "/after", "malformed_value"),
    ({"after": "cmZfMQ=="}, "/after", "malformed_value"),
    ({"after": "é"}, "/after", "malformed_value"),
    ({"status": "done"}, "/status", "invalid_choice"),
    ({"Status": "failed"}, "/Status", "unknown_field"),
    ({"created_from": "yesterday"}, "/created_from", "malformed_value"),
    ({"created_from": "0"}, "/created_from", "malformed_value"),
    ({"created_from": "2026-11-21T10:00:00"}, "/created_from", "malformed_value"),
    ({"amount_from": "1,50"}, "/amount_from", "malformed_amount"),
    ({"external_reference": "\x00"}, "/external_reference", "malformed_value"),
    ({"order_id": "012"}, "/order_id", "malformed_value"),
]


async def test_malformed_queries_are_refused_with_their_place(gateway: Gateway) -> None:
    for query, pointer, code in MALFORMED_QUERIES:
        document = problem(await gateway.client.get("/v1/refunds", params=query), 422, "invalid_request")
        found = [(error["in"], error["pointer"], error["code"]) for error in document["errors"]]
        assert found == [("query", pointer, code)], query


async def test_an_unknown_refund_is_404_whatever_its_id(gateway: Gateway) -> None:
    for refund_id in ("rf_01J8ZK5Q3N6T0V9W2X4Y7A8B9C", "nonsense", "rf_%00", "rf_" + "x" * 300):
        address = f"/v1/refunds/{refund_id}"
        for answer in (
            await gateway.client.get(address),
            await gateway.client.get(f"{address}/events"),
            await gateway.client.post(f"{address}/cancel"),
            await gateway.client.post(f"{address}/recheck"),
            await gateway.client.post(f"{address}/resolve", json={"outcome": "failed", "note": "x"}),
        ):
            problem(answer, 404, "refund_not_found")


async def test_another_tenants_refund_is_not_there(gateway: Gateway, order: dict[str, Any]) -> None:
    address = (await gateway.refund(order)).headers["location"]
    stranger = await add_shop(gateway.rt, "http://127.0.0.1:9", name="stranger")
    key = await gateway.key("admin", tenant_id=stranger.tenant_id)
    headers = {"Authorization": f"Bearer {key}"}
    problem(await gateway.client.get(address, headers=headers), 404, "refund_not_found")
    assert (await gateway.client.get("/v1/refunds", headers=headers)).json()["data"] == []


async def test_a_key_limited_to_other_stores_sees_neither_store_nor_refunds(
    gateway: Gateway, order: dict[str, Any]
) -> None:
    address = (await gateway.refund(order)).headers["location"]
    async with gateway.rt.database.transaction() as conn:
        other = await tenants.add_store(
            conn,
            id=tenants.new_store_id(),
            tenant_id=gateway.shop.tenant_id,
            name="other",
            url="http://127.0.0.1:9",
            api="v3",
            auth="basic",
            credentials=b"",
        )
    headers = {"Authorization": f"Bearer {await gateway.key('admin', store_ids=[other.id])}"}
    problem(await gateway.client.get(address, headers=headers), 404, "refund_not_found")
    problem(await gateway.client.get(f"{address}/events", headers=headers), 404, "refund_not_found")
    problem(await gateway.client.post(f"{address}/cancel", headers=headers), 404, "refund_not_found")
    assert (await gateway.client.get("/v1/refunds", headers=headers)).json()["data"] == []
    body = {"store": "demo", "order_id": str(order["id"]), "amount": "5.00"}
    problem(await gateway.client.post("/v1/refunds", json=body, headers=headers), 404, "store_not_found")
    problem(await gateway.client.post("/v1/refunds/preview", json=body, headers=headers), 404, "store_not_found")
    stores = await gateway.client.get("/v1/stores", headers=headers)
    assert [store["name"] for store in stores.json()["data"]] == ["other"]
    problem(await gateway.client.get("/v1/stores/demo", headers=headers), 404, "store_not_found")
