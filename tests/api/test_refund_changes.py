"""Changing a refund's words over HTTP, here and in the store where its API can; and meta data for the store."""

import json
from dataclasses import replace
from typing import Any

import httpx
import pytest

from app.flows.runtime import Runtime
from app.stores.port import StoreUnavailable, Unknown, Update
from tests.api.conftest import Gateway, opened
from tests.api.problems import problem
from tests.conftest import add_shop
from tests.flows.scripted import EXCHANGE, ScriptedStore, row, with_store


async def amend(gateway: Gateway, refund: dict[str, Any], **fields: Any) -> dict[str, Any]:
    answer: httpx.Response = await gateway.client.patch(f"/v1/refunds/{refund['id']}", json=fields)
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document


async def test_the_words_of_a_refund_are_changed_and_nothing_else(gateway: Gateway, order: dict[str, Any]) -> None:
    made = (
        await gateway.refund(order, reason="Too small", reason_code="size", metadata={"rma": "R-1", "a": "b"})
    ).json()
    amended = await amend(gateway, made, reason="Damaged", metadata={"rma": "R-2"})
    assert amended.pop("in_store") == "unsupported"
    changed = {name for name in made if made[name] != amended[name]}
    assert changed == {"reason", "metadata", "updated_at"}
    assert (amended["reason"], amended["metadata"], amended["reason_code"]) == ("Damaged", {"rma": "R-2"}, "size")
    assert (await gateway.client.get(f"/v1/refunds/{made['id']}")).json() == amended
    cleared = await amend(gateway, made, reason_code=None, metadata={})
    assert (cleared["reason_code"], cleared["metadata"], cleared["in_store"]) == (None, {}, "not_asked")
    types = [event["type"] for event in (await gateway.client.get(f"/v1/refunds/{made['id']}/events")).json()["data"]]
    assert types[-2:] == ["refund.amended", "refund.amended"]


async def test_what_stays_the_same_is_no_change(gateway: Gateway, order: dict[str, Any]) -> None:
    made = (await gateway.refund(order, reason="Too small")).json()
    # The store is told once more: it may not have been reached the first time.
    assert await amend(gateway, made, reason="Too small") == {**made, "in_store": "unsupported"}
    assert await amend(gateway, made, metadata={}) == {**made, "in_store": "not_asked"}


async def test_both_media_types_of_json_are_taken(gateway: Gateway, order: dict[str, Any]) -> None:
    path = f"/v1/refunds/{(await gateway.refund(order)).json()['id']}"
    for media_type in ("application/json", "application/merge-patch+json"):
        content = json.dumps({"reason_code": media_type.partition("/")[2]})
        headers = {"Content-Type": media_type}
        answer = await gateway.client.patch(path, content=content.replace("+", "-"), headers=headers)
        assert answer.status_code == 200, answer.text
    answer = await gateway.client.patch(path, content="reason=x", headers={"Content-Type": "text/plain"})
    problem(answer, 415, "unsupported_media_type")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, [("missing_field", "")]),
        ([], [("body_not_an_object", "")]),
        ({"reason": None}, [("wrong_type", "/reason")]),
        ({"reason": "x" * 501}, [("too_long", "/reason")]),
        ({"reason": "a\nb"}, [("malformed_value", "/reason")]),
        ({"reason_code": "not a slug"}, [("malformed_value", "/reason_code")]),
        ({"metadata": None}, [("wrong_type", "/metadata")]),
        ({"metadata": {"a": 1}}, [("wrong_type", "/metadata/a")]),
        ({"metadata": {str(n): "x" for n in range(51)}}, [("too_long", "/metadata")]),
        ({"amount": "1.00"}, [("unknown_field", "/amount")]),
        ({"reasonCode": "x", "reason": 1}, [("wrong_type", "/reason"), ("unknown_field", "/reasonCode")]),
    ],
)
async def test_a_malformed_change_is_refused_with_every_fault(
    gateway: Gateway, body: Any, expected: list[tuple[str, str]]
) -> None:
    answer = await gateway.client.patch("/v1/refunds/rf_1", json=body)
    document = problem(answer, 422, "invalid_request")
    assert [(error["code"], error["pointer"]) for error in document["errors"]] == expected


async def test_an_unknown_refund_cannot_be_amended(gateway: Gateway) -> None:
    for refund_id in ("rf_01J8ZK5Q3N6T0V9W2X4Y7A8B9C", "nonsense"):
        answer = await gateway.client.patch(f"/v1/refunds/{refund_id}", json={"reason": "x"})
        problem(answer, 404, "refund_not_found")


@pytest.mark.parametrize("came_to", ["shown", "accepted", "absent", "unsupported"])
async def test_the_answer_says_what_became_of_a_reason_in_the_store(rt: Runtime, came_to: Update) -> None:
    shop = await add_shop(rt, "https://shop.example")
    store = ScriptedStore(update=came_to)
    async with opened(with_store(rt, store), shop) as gateway:
        made = (await gateway.refund({"id": 12})).json()
        assert (await amend(gateway, made, reason="Damaged"))["in_store"] == came_to
        assert (await amend(gateway, made, reason_code="damaged"))["in_store"] == "not_asked"
    [pushed] = store.reasons
    assert pushed.startswith("Damaged")


class Away(ScriptedStore):
    """A store that cannot be told anything."""

    async def update_refund(self, order_id: str, store_refund_id: str, *, reason: str) -> Update:
        raise StoreUnavailable("Gone.")


async def test_a_store_that_cannot_be_reached_changes_nothing_of_what_is_kept(rt: Runtime) -> None:
    shop = await add_shop(rt, "https://shop.example")
    async with opened(with_store(rt, Away()), shop) as gateway:
        made = (await gateway.refund({"id": 12})).json()
        amended = await amend(gateway, made, reason="Damaged")
        assert (amended["in_store"], amended["reason"]) == ("unreachable", "Damaged")


async def test_a_refund_whose_outcome_is_not_known_is_left_as_it_is(rt: Runtime) -> None:
    shop = await add_shop(rt, "https://shop.example")
    lost = Unknown(message="No answer.", turned_away=None, retry_after_s=None, exchange=EXCHANGE)
    async with opened(with_store(rt, ScriptedStore(answers=[lost])), shop) as gateway:
        made = await gateway.refund({"id": 12})
        assert made.json()["status"] == "uncertain"
        document = problem(
            await gateway.client.patch(made.headers["location"], json={"reason": "x"}), 409, "wrong_state"
        )
        assert document["refund"]["status"] == "uncertain"
        assert "succeeded" in document["allowed"]


async def test_refunds_that_others_made_can_be_amended_here(rt: Runtime) -> None:
    shop = await add_shop(rt, "https://shop.example")
    store = ScriptedStore()
    store.order = replace(store.order, refunds=(row("900"),))
    async with opened(with_store(rt, store), shop) as gateway:
        [listed] = (await gateway.client.get("/v1/stores/demo/refunds")).json()["data"]
        amended = await amend(gateway, {"id": listed["refund_id"]}, metadata={"rma": "R-1"}, reason_code="goodwill")
        assert (amended["origin"], amended["metadata"], amended["reason_code"]) == ("store", {"rma": "R-1"}, "goodwill")


async def test_meta_data_is_kept_with_the_refund_in_the_store(gateway: Gateway, order: dict[str, Any]) -> None:
    entries = [{"key": "_erp_document", "value": {"no": "CM-1", "pages": [1, 2.5, None]}}, {"key": "rma", "value": "R"}]
    made = await gateway.refund(order, store_meta_data=entries)
    assert made.status_code == 201, made.text
    assert made.json()["metadata"] == {}
    store, _ = await gateway.rt.stores.open(gateway.shop.store_id)
    listed = await store.read_refund(str(order["id"]), made.json()["store_refund_id"])
    assert listed is not None
    kept = {entry["key"]: entry["value"] for entry in listed.document["meta_data"]}
    assert {entry["key"]: kept[entry["key"]] for entry in entries} == {
        entry["key"]: entry["value"] for entry in entries
    }


GOOD = {"store": "demo", "order_id": "12", "amount": "5.00"}
_DEEP: Any = "x"
for _ in range(300):
    _DEEP = [_DEEP]


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ("x", [("wrong_type", "/store_meta_data")]),
        ([{"key": "a"}], [("missing_field", "/store_meta_data/0/value")]),
        ([{"key": "a", "value": 1, "id": 2}], [("unknown_field", "/store_meta_data/0/id")]),
        ([{"key": "", "value": 1}], [("malformed_value", "/store_meta_data/0/key")]),
        ([{"key": 5, "value": 1}], [("wrong_type", "/store_meta_data/0/key")]),
        ([{"key": "k" * 256, "value": 1}], [("too_long", "/store_meta_data/0/key")]),
        ([{"key": "_refund_gateway", "value": 1}], [("malformed_value", "/store_meta_data/0/key")]),
        ([{"key": "_refunded_payment", "value": True}], [("malformed_value", "/store_meta_data/0/key")]),
        ([{"key": "a", "value": "x" * 4095}], [("too_long", "/store_meta_data/0/value")]),
        ([{"key": "a", "value": _DEEP}], [("malformed_value", "/store_meta_data/0/value")]),
        ([{"key": "a", "value": 1}, {"key": "a", "value": 2}], [("duplicate_key", "/store_meta_data")]),
        ([{"key": str(n), "value": n} for n in range(21)], [("too_long", "/store_meta_data")]),
    ],
)
async def test_malformed_meta_data_is_refused_with_its_place(
    gateway: Gateway, entries: Any, expected: list[tuple[str, str]]
) -> None:
    answer = await gateway.client.post("/v1/refunds", json={**GOOD, "store_meta_data": entries})
    document = problem(answer, 422, "invalid_request")
    assert [(error["code"], error["pointer"]) for error in document["errors"]] == expected


async def test_a_number_that_json_does_not_have_is_refused(gateway: Gateway) -> None:
    content = json.dumps({**GOOD, "store_meta_data": [{"key": "a", "value": "huge"}]}).replace('"huge"', "1e999")
    answer = await gateway.client.post("/v1/refunds", content=content, headers={"Content-Type": "application/json"})
    [fault] = problem(answer, 422, "invalid_request")["errors"]
    assert (fault["code"], fault["pointer"]) == ("out_of_range", "/store_meta_data/0/value")


async def test_the_legacy_api_has_no_place_for_meta_data(rt: Runtime) -> None:
    shop = await add_shop(rt, "https://shop.example", api="legacy")
    async with opened(with_store(rt, ScriptedStore(api="legacy")), shop) as gateway:
        answer = await gateway.refund({"id": 12}, store_meta_data=[{"key": "a", "value": 1}])
        problem(answer, 422, "not_supported_by_store")


async def test_a_payment_method_that_nobody_can_vouch_for_is_refused(rt: Runtime) -> None:
    shop = await add_shop(rt, "https://shop.example", api="legacy")
    store = ScriptedStore(api="legacy", capability="unprovable")
    async with opened(with_store(rt, store), shop) as gateway:
        document = problem(await gateway.refund({"id": 12}), 422, "gateway_support_unknown")
        assert document["errors"][0]["pointer"] == "/payment"
        shown = await gateway.client.get("/v1/stores/demo/orders/12")
        assert shown.json()["payment_method"]["capability"] == "unprovable"
        assert store.sent == []
