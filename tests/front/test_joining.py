"""Clients without idempotency keys: what a repetition means depends on whether they were told the first outcome."""

import asyncio
import json
from typing import Any

import httpx
import pytest

from app.ledger import refunds
from app.ledger.tenants import FrontOptions
from app.wiring import open_runtime
from tests.conftest import eventually, serving
from tests.front.conftest import Front, application

SLOW = "slow400 customer request"  #: the sandbox's payment provider takes so many milliseconds


async def test_twenty_identical_requests_at_once_pay_once(front_of_either: Front, order: dict[str, Any]) -> None:
    path = f"orders/{order['id']}/refunds"

    async def one() -> httpx.Response:
        return await front_of_either.client.post(path, json={"amount": "5.00", "reason": SLOW})

    answers = await asyncio.gather(*(one() for _ in range(20)))

    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert len({answer.headers["Refund-Gateway-Refund"] for answer in answers}) == 1
    assert await front_of_either.paid(order) == ["5.00"]


async def test_identical_requests_to_two_replicas_pay_once(
    front_of_v3: Front, order: dict[str, Any], database_url: str
) -> None:
    path = f"/stores/demo/wp-json/wc/v3/orders/{order['id']}/refunds"
    headers = {"X-Forwarded-Proto": "https"}
    async with (
        open_runtime(front_of_v3.rt.settings, works=False, url=database_url) as other,
        serving(application(other)) as second,
        httpx.AsyncClient(auth=front_of_v3.key.auth, headers=headers, timeout=20) as client,
    ):
        body = {"amount": "5.00", "reason": SLOW}
        answers = await asyncio.gather(
            *(client.post(f"{at}{path}", json=body) for at in (front_of_v3.url, second) for _ in range(5))
        )

    assert {(answer.status_code, answer.json()["id"]) for answer in answers} == {(201, answers[0].json()["id"])}
    assert await front_of_v3.paid(order) == ["5.00"]


async def test_both_apis_mean_the_same_refund_by_the_same_content(front_of_v3: Front, order: dict[str, Any]) -> None:
    path = f"orders/{order['id']}/refunds"
    v3, legacy = await asyncio.gather(
        front_of_v3.client.post(path, json={"amount": "5.00", "reason": SLOW, "api_restock": False}),
        front_of_v3.legacy.post(path, json={"order_refund": {"amount": 5, "reason": SLOW}}),
    )

    assert v3.json()["id"] == legacy.json()["order_refund"]["id"]
    assert await front_of_v3.paid(order) == ["5.00"]


async def test_the_same_request_after_an_answer_is_another_refund(front_of_v3: Front, order: dict[str, Any]) -> None:
    """However soon it comes: a client with its answer in hand means another one."""
    answers = [await front_of_v3.refund(order, amount="2.00", reason="per day late") for _ in range(6)]

    assert [answer.status_code for answer in answers] == [201] * 6
    assert len({answer.json()["id"] for answer in answers}) == 6
    assert await front_of_v3.paid(order) == ["2.00"] * 6


async def test_a_decline_that_was_told_can_be_tried_again(front_of_v3: Front, order: dict[str, Any]) -> None:
    first = await front_of_v3.refund(order, amount="2.00", reason="decline")
    again = await front_of_v3.refund(order, amount="2.00", reason="decline")

    assert (first.status_code, again.status_code) == (400, 400)
    assert first.headers["Refund-Gateway-Refund"] != again.headers["Refund-Gateway-Refund"]
    assert first.json()["message"] == "Gateway declined the refund."
    assert await front_of_v3.paid(order) == []


async def test_a_client_that_hung_up_joins_its_own_refund(front_of_v3: Front, order: dict[str, Any]) -> None:
    body = {"amount": "5.00", "reason": SLOW}
    with pytest.raises(httpx.ReadTimeout):
        await front_of_v3.client.post(f"orders/{order['id']}/refunds", json=body, timeout=0.15)

    again = await front_of_v3.refund(order, **body)

    assert again.status_code == 201, again.text
    assert await front_of_v3.paid(order) == ["5.00"]


async def test_a_client_that_hung_up_and_comes_back_after_the_end_was_not_told(
    front_of_v3: Front, order: dict[str, Any]
) -> None:
    body = {"amount": "5.00", "reason": SLOW}
    with pytest.raises(httpx.ReadTimeout):
        await front_of_v3.client.post(f"orders/{order['id']}/refunds", json=body, timeout=0.15)
    await eventually(lambda: front_of_v3.paid(order))
    await asyncio.sleep(0.3)  # long enough for an answer to have been written

    again = await front_of_v3.refund(order, **body)
    third = await front_of_v3.refund(order, **body)

    assert [again.status_code, third.status_code] == [201, 201]
    assert again.json()["id"] != third.json()["id"]
    assert await front_of_v3.paid(order) == ["5.00", "5.00"]


@pytest.mark.parametrize("status", [202, 504])
async def test_an_outcome_that_is_not_known_in_time_is_said_so_and_joined(
    front_of_v3: Front, order: dict[str, Any], status: Any
) -> None:
    hasty = await front_of_v3.other_key(options=FrontOptions(unknown_status=status, wait_s=0.05))
    patient = await front_of_v3.other_key(options=FrontOptions(wait_s=10))
    path, body = f"orders/{order['id']}/refunds", {"amount": "5.00", "reason": SLOW}

    unknown = await front_of_v3.client.post(path, json=body, auth=hasty.auth)
    still = await front_of_v3.client.post(path, json=body, auth=hasty.auth)
    known = await front_of_v3.client.post(path, json=body, auth=patient.auth)

    assert (unknown.status_code, unknown.json()["code"]) == (status, "refund_gateway_outcome_unknown")
    said = unknown.json()["data"]["refund_gateway"]
    assert said["refund_id"] == unknown.headers["Refund-Gateway-Refund"] == still.headers["Refund-Gateway-Refund"]
    assert said["status"] in ("pending", "sending")
    assert int(unknown.headers["Retry-After"]) > 0
    assert (known.status_code, known.headers["Refund-Gateway-Refund"]) == (201, said["refund_id"])
    assert await front_of_v3.paid(order) == ["5.00"]


async def test_an_outcome_that_stays_unknown_blocks_other_refunds_of_the_order(
    front_of_v3: Front, order: dict[str, Any]
) -> None:
    hasty = await front_of_v3.other_key(options=FrontOptions(wait_s=0.2))
    path = f"orders/{order['id']}/refunds"

    crashed = await front_of_v3.client.post(path, json={"amount": "5.00", "reason": "crash"}, auth=hasty.auth)
    other = await front_of_v3.client.post(path, json={"amount": "6.00"}, auth=hasty.auth)
    legacy = await front_of_v3.legacy.post(path, json={"order_refund": {"amount": 6}}, auth=hasty.auth)

    assert crashed.status_code == 504
    assert (other.status_code, other.json()["code"]) == (409, "refund_gateway_order_blocked")
    assert other.json()["data"]["refund_gateway"]["refund_id"] == crashed.headers["Refund-Gateway-Refund"]
    assert (legacy.status_code, legacy.json()["errors"][0]["code"]) == (409, "refund_gateway_order_blocked")
    assert await front_of_v3.paid(order) == ["5.00"]


async def test_an_idempotency_key_is_honoured_where_one_is_sent(front_of_v3: Front, order: dict[str, Any]) -> None:
    path = f"orders/{order['id']}/refunds"

    async def send(amount: str, key: str) -> httpx.Response:
        return await front_of_v3.client.post(path, json={"amount": amount}, headers={"Idempotency-Key": key})

    first, again = await send("5.00", "a"), await send("5.00", "a")
    other, reused, wrong = await send("5.00", "b"), await send("6.00", "a"), await send("5.00", "a b")

    assert (first.json()["id"], again.status_code) == (again.json()["id"], 201)
    assert other.json()["id"] != first.json()["id"]
    assert (reused.status_code, reused.json()["code"]) == (422, "refund_gateway_idempotency_key_reused")
    assert (wrong.status_code, wrong.json()["code"]) == (400, "refund_gateway_invalid_idempotency_key")
    assert await front_of_v3.paid(order) == ["5.00", "5.00"]


async def test_requests_of_one_key_that_arrive_together_wait_for_the_first(
    front_of_v3: Front, order: dict[str, Any]
) -> None:
    headers, body = {"Idempotency-Key": "a"}, {"amount": "5.00", "reason": SLOW}
    path = f"orders/{order['id']}/refunds"

    answers = await asyncio.gather(*(front_of_v3.client.post(path, json=body, headers=headers) for _ in range(5)))

    assert {(answer.status_code, answer.json()["id"]) for answer in answers} == {(201, answers[0].json()["id"])}
    assert await front_of_v3.paid(order) == ["5.00"]


async def test_only_a_settled_outcome_is_noted_as_told(front_of_v3: Front, order: dict[str, Any]) -> None:
    hasty = await front_of_v3.other_key(options=FrontOptions(wait_s=0.05))
    body = json.dumps({"amount": "5.00", "reason": SLOW}).encode()
    path, headers = f"orders/{order['id']}/refunds", {"Content-Type": "application/json"}
    unknown = await front_of_v3.client.post(path, content=body, headers=headers, auth=hasty.auth)

    async def told_at() -> Any:
        async with front_of_v3.rt.database.reading() as conn:
            record = await refunds.get(conn, unknown.headers["Refund-Gateway-Refund"])
        assert record is not None
        return record.told_at

    assert await told_at() is None
    assert (await front_of_v3.client.post(path, content=body, headers=headers)).status_code == 201
    assert await eventually(told_at)
