"""Every fault leaves the store, the provider and the client in exactly the state that it stands for."""

import asyncio
import json
import time
from dataclasses import dataclass
from typing import Any, get_args

import httpx
import pytest

from app.sandbox.faults import FaultName, FaultPlan, FaultRule, faults_in
from tests.sandbox.conftest import client_of, make_order, notes, payouts, refund, refunds, serving


@dataclass(frozen=True)
class Outcome:
    """What a refund of 2.00 by a note-writing gateway comes to."""

    status: int | type[httpx.HTTPError]
    #: Of each refund row that is left: amount, whether it is marked paid, whether it has the request's meta.
    rows: list[tuple[str, bool, bool]]
    paid: list[str]
    noted: int
    code: str | None = None


DONE = [("2.00", True, True)]
UNPAID = [("2.00", False, False)]
NOTHING: list[tuple[str, bool, bool]] = []
CANNOT = "woocommerce_rest_cannot_create_order_refund"

OUTCOMES: dict[str, Outcome] = {
    "latency": Outcome(201, DONE, ["2.00"], 1),
    "slow": Outcome(201, DONE, ["2.00"], 1),
    "stale": Outcome(201, DONE, ["2.00"], 1),
    "bom": Outcome(201, DONE, ["2.00"], 1),
    "notice": Outcome(201, DONE, ["2.00"], 1),
    "lost_answer": Outcome(httpx.RemoteProtocolError, DONE, ["2.00"], 1),
    "truncated_json": Outcome(httpx.RemoteProtocolError, DONE, ["2.00"], 1),
    "bad_gateway_after": Outcome(502, DONE, ["2.00"], 1),
    "decline": Outcome(500, NOTHING, [], 0, CANNOT),
    "gateway_false": Outcome(500, NOTHING, [], 0, CANNOT),
    "fail_after_paying": Outcome(500, NOTHING, ["2.00"], 1, CANNOT),
    "die_after_paying": Outcome(502, UNPAID, ["2.00"], 0),
    "die_before_paying": Outcome(502, UNPAID, [], 0),
    "wrong_amount": Outcome(201, [("1.00", True, True)], ["1.00"], 1),
    "unpaid_201": Outcome(201, [("2.00", False, True)], [], 0),
    "fatal": Outcome(500, NOTHING, [], 0, "internal_server_error"),
    "rate_limited": Outcome(429, NOTHING, [], 0),
    "bad_gateway": Outcome(502, NOTHING, [], 0),
    "maintenance": Outcome(503, NOTHING, [], 0),
    "unavailable": Outcome(503, NOTHING, [], 0),
    "html": Outcome(200, NOTHING, [], 0),
    "captcha": Outcome(202, NOTHING, [], 0),
    "redirect": Outcome(301, NOTHING, [], 0),
}


async def fault(shop: httpx.AsyncClient, name: str, **fields: Any) -> None:
    answer = await shop.post("/sandbox/faults", json={"fault": name, **fields})
    assert answer.status_code == 201, answer.text


async def attempt(shop: httpx.AsyncClient, order_id: int, reason: str) -> tuple[int | type[Exception], str | None]:
    try:
        answer = await refund(shop, order_id, "2.00", reason=reason, meta_data=[{"key": "marker", "value": "m"}])
    except httpx.HTTPError as error:
        return type(error), None
    try:
        return answer.status_code, answer.json().get("code")
    except ValueError:
        return answer.status_code, None


async def outcome(shop: httpx.AsyncClient, order_id: int, reason: str) -> Outcome:
    status, code = await attempt(shop, order_id, reason)
    rows = [(row["amount"], row["refunded_payment"], bool(row["meta_data"])) for row in await refunds(shop, order_id)]
    assert isinstance(status, int) or issubclass(status, httpx.HTTPError)
    return Outcome(status, rows, await payouts(shop, order_id), len(await notes(shop, order_id)), code)


def test_every_fault_has_its_outcome_written_down() -> None:
    assert set(OUTCOMES) == set(get_args(FaultName))


@pytest.mark.parametrize("name", OUTCOMES)
async def test_a_rule_strikes_once_and_has_the_outcome_it_stands_for(shop: httpx.AsyncClient, name: str) -> None:
    order = await make_order(shop)
    await fault(shop, name, order_id=order["id"], times=1, delay_s=0.05)

    assert await outcome(shop, order["id"], "Customer request") == OUTCOMES[name]
    if name != "stale":
        assert (await shop.get("/sandbox/faults")).json() == []


@pytest.mark.parametrize("name", ["lost_answer", "die_after_paying", "fail_after_paying", "rate_limited"])
async def test_a_word_in_the_reason_has_the_same_outcome(shop: httpx.AsyncClient, name: str) -> None:
    order = await make_order(shop)

    assert await outcome(shop, order["id"], f"Customer request [[fault:{name}]] [RG-1]") == OUTCOMES[name]


@pytest.mark.parametrize(
    ("word", "name"), [("decline", "decline"), ("false", "gateway_false"), ("crash", "die_after_paying")]
)
async def test_plain_words_work_as_in_the_recordings(shop: httpx.AsyncClient, word: str, name: str) -> None:
    order = await make_order(shop)

    assert await outcome(shop, order["id"], word) == OUTCOMES[name]


@pytest.mark.parametrize("reason", ["declined by mistake", "a falsetto record", "slow", "[[fault:unheard_of]]", ""])
def test_other_words_are_no_faults(reason: str) -> None:
    assert list(faults_in(reason)) == []


def test_slow_says_how_many_milliseconds() -> None:
    assert [(one.name, one.delay_s) for one in faults_in("slow250 please")] == [("slow", 0.25)]
    assert [(one.name, one.delay_s) for one in faults_in("[[fault:slow:0.5]]")] == [("slow", 0.5)]


@pytest.mark.parametrize("name", ["latency", "slow"])
async def test_delays_take_their_time(shop: httpx.AsyncClient, name: str) -> None:
    order = await make_order(shop)
    await fault(shop, name, delay_s=0.15)
    started = time.monotonic()

    await refund(shop, order["id"])

    assert time.monotonic() - started >= 0.15


@pytest.mark.parametrize(
    ("name", "header", "value"),
    [
        ("rate_limited", "Retry-After", "7"),
        ("unavailable", "Retry-After", "7"),
        ("maintenance", "Retry-After", "600"),
        ("captcha", "SG-Captcha", "challenge"),
    ],
)
@pytest.mark.parametrize("operation", ["refund", "read"])
async def test_hosts_say_what_they_want_in_headers(
    shop: httpx.AsyncClient, name: str, header: str, value: str, operation: str
) -> None:
    order = await make_order(shop)
    await fault(shop, name, operation=operation, retry_after_s=7)
    path = f"/wp-json/wc/v3/orders/{order['id']}"

    answer = await (refund(shop, order["id"]) if operation == "refund" else shop.get(path))

    assert answer.headers[header] == value


async def test_a_redirect_leads_to_the_other_host(shop: httpx.AsyncClient) -> None:
    await fault(shop, "redirect", operation="read")

    answer = await shop.get("/wp-json/wc/v3/orders")

    assert (answer.status_code, answer.is_redirect) == (301, True)
    assert answer.headers["Location"].startswith("http://www.127.0.0.1")


@pytest.mark.parametrize(("name", "encoding"), [("bom", "utf-8-sig"), ("notice", "utf-8")])
async def test_json_after_a_bom_or_a_notice_is_still_there(shop: httpx.AsyncClient, name: str, encoding: str) -> None:
    order = await make_order(shop)
    await fault(shop, name, operation="read")

    answer = await shop.get(f"/wp-json/wc/v3/orders/{order['id']}", params={"_fields": "id"})

    with pytest.raises(ValueError):
        json.loads(answer.content.decode())
    text = answer.content.decode(encoding)
    assert json.loads(text[text.index("{") :])["id"] == order["id"]


@pytest.mark.parametrize("name", ["lost_answer", "truncated_json"])
async def test_reads_can_break_off_too(shop: httpx.AsyncClient, name: str) -> None:
    await fault(shop, name, operation="read", times=1)

    with pytest.raises(httpx.RemoteProtocolError):
        await shop.get("/wp-json/wc/v3/orders")
    assert (await shop.get("/wp-json/wc/v3/orders")).status_code == 200


async def test_a_stale_cache_answers_old_news_unless_it_is_busted(shop: httpx.AsyncClient) -> None:
    order = await make_order(shop)
    assert await refunds(shop, order["id"]) == []
    await fault(shop, "stale", operation="read")
    await refund(shop, order["id"])

    assert await refunds(shop, order["id"]) == []
    path = f"/wp-json/wc/v3/orders/{order['id']}/refunds"
    assert len((await shop.get(path, params={"per_page": 100, "nocache": "1"})).json()) == 1


async def test_a_rule_for_refunds_leaves_reads_and_other_orders_alone(shop: httpx.AsyncClient) -> None:
    order, other = await make_order(shop), await make_order(shop)
    await fault(shop, "unavailable", order_id=order["id"])

    assert (await refund(shop, other["id"])).status_code == 201
    assert (await shop.get(f"/wp-json/wc/v3/orders/{order['id']}")).status_code == 200
    assert (await refund(shop, order["id"])).status_code == 503


async def test_rules_can_be_listed_and_dropped(shop: httpx.AsyncClient) -> None:
    order = await make_order(shop)
    await fault(shop, "unavailable")
    await fault(shop, "decline")
    listed = (await shop.get("/sandbox/faults")).json()
    assert [rule["fault"] for rule in listed] == ["unavailable", "decline"]

    await shop.delete("/sandbox/faults", params={"id": listed[0]["id"]})
    assert (await refund(shop, order["id"])).status_code == 500
    assert (await shop.delete("/sandbox/faults")).json() == {"dropped": 1}
    assert (await refund(shop, order["id"])).status_code == 201


async def test_a_rule_that_makes_no_sense_is_refused(shop: httpx.AsyncClient) -> None:
    answer = await shop.post("/sandbox/faults", json={"fault": "earthquake", "probability": 2})

    assert answer.status_code == 422
    assert [tuple(error["loc"]) for error in answer.json()] == [("fault",), ("probability",)]


def test_a_probability_strikes_about_that_often() -> None:
    plan = FaultPlan()
    plan.add(FaultRule(fault="decline", probability=0.3))

    struck = sum(bool(plan.strike("refund", 1)) for _ in range(2000))

    assert 450 < struck < 750


@pytest.mark.parametrize("fault_name", ["die_before_paying", "die_after_paying"])
async def test_php_can_die_in_a_manual_refund_before_its_meta_is_saved(
    shop: httpx.AsyncClient, fault_name: str
) -> None:
    order = await make_order(shop)
    await fault(shop, fault_name)

    answer = await refund(shop, order["id"], api_refund=False, meta_data=[{"key": "marker", "value": "m"}])

    assert answer.status_code == 502
    assert [row["meta_data"] for row in await refunds(shop, order["id"])] == [[]]
    assert await payouts(shop, order["id"]) == []


async def test_the_work_goes_on_when_the_client_leaves(shop: httpx.AsyncClient) -> None:
    order = await make_order(shop)

    with pytest.raises(httpx.ReadTimeout):
        await shop.post(
            f"/wp-json/wc/v3/orders/{order['id']}/refunds",
            json={"amount": "2.00", "reason": "slow200", "meta_data": [{"key": "marker", "value": "m"}]},
            timeout=0.05,
        )

    (row,) = await refunds(shop, order["id"])
    assert (row["refunded_payment"], row["meta_data"], await payouts(shop, order["id"])) == (False, [], [])
    for _ in range(100):
        await asyncio.sleep(0.02)
        (row,) = await refunds(shop, order["id"])
        if row["meta_data"]:
            break
    assert (row["refunded_payment"], await payouts(shop, order["id"])) == (True, ["2.00"])


async def test_a_stopping_server_finishes_what_it_has_begun() -> None:
    with serving(seed=False) as url:
        client = client_of(url)
        order = await make_order(client)
        answer = asyncio.create_task(refund(client, order["id"], reason="slow300"))
        await asyncio.sleep(0.05)
    assert (await answer).status_code == 201
    await client.aclose()


async def test_provider_and_reads_can_be_slow_on_principle() -> None:
    with serving(seed=False, provider_delay_s=0.1, read_delay_s=0.05) as url:
        async with client_of(url) as client:
            order = await make_order(client)
            started = time.monotonic()
            await refund(client, order["id"])
            assert time.monotonic() - started >= 0.1
            started = time.monotonic()
            await refunds(client, order["id"])
            assert time.monotonic() - started >= 0.05
