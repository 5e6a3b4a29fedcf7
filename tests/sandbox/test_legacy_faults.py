"""Every fault strikes legacy refunds as it strikes those of wc/v3, with what the plugin makes of it."""

from dataclasses import dataclass
from typing import get_args

import httpx
import pytest

from app.sandbox.faults import FaultName
from tests.sandbox.conftest import make_order, notes, payouts, refunds

API_FAILED = "woocommerce_api_create_order_refund_api_failed"


@dataclass(frozen=True)
class Outcome:
    """What a legacy refund of 2.00 by a note-writing gateway comes to."""

    status: int | type[httpx.HTTPError]
    #: The amounts of the refund rows that are left.
    rows: list[str]
    paid: list[str]
    noted: int
    code: str | None = None


OUTCOMES: dict[str, Outcome] = {
    **dict.fromkeys(("latency", "slow", "stale"), Outcome(201, ["2.00"], ["2.00"], 1)),
    **dict.fromkeys(("bom", "notice"), Outcome(201, ["2.00"], ["2.00"], 1)),
    **dict.fromkeys(("lost_answer", "truncated_json"), Outcome(httpx.RemoteProtocolError, ["2.00"], ["2.00"], 1)),
    "bad_gateway_after": Outcome(502, ["2.00"], ["2.00"], 1),
    "decline": Outcome(200, ["2.00"], [], 0, "card_declined"),
    "gateway_false": Outcome(500, ["2.00"], [], 0, API_FAILED),
    "fail_after_paying": Outcome(200, ["2.00"], ["2.00"], 1, "db_error"),
    "die_after_paying": Outcome(502, ["2.00"], ["2.00"], 0),
    "die_before_paying": Outcome(502, ["2.00"], [], 0),
    "wrong_amount": Outcome(201, ["1.00"], ["1.00"], 1),
    "unpaid_201": Outcome(201, ["2.00"], [], 0),
    "fatal": Outcome(500, [], [], 0, "internal_server_error"),
    "rate_limited": Outcome(429, [], [], 0),
    "bad_gateway": Outcome(502, [], [], 0),
    "maintenance": Outcome(503, [], [], 0),
    "unavailable": Outcome(503, [], [], 0),
    "html": Outcome(200, [], [], 0),
    "captcha": Outcome(202, [], [], 0),
    "redirect": Outcome(301, [], [], 0),
}


async def attempt(shop: httpx.AsyncClient, order_id: int, reason: str, **query: str) -> Outcome:
    body = {"order_refund": {"amount": "2.00", "reason": reason}}
    status: int | type[httpx.HTTPError]
    code: str | None = None
    try:
        answer = await shop.post(f"/wc-api/v3/orders/{order_id}/refunds", json=body, params=query)
    except httpx.HTTPError as error:
        status = type(error)
    else:
        status = answer.status_code
        if answer.headers.get("content-type", "").startswith("application/json") and answer.content[:1] == b"{":
            told = answer.json()
            code = told["errors"][0]["code"] if "errors" in told else told.get("code")
    rows = [row["amount"] for row in await refunds(shop, order_id)]
    return Outcome(status, rows, await payouts(shop, order_id), len(await notes(shop, order_id)), code)


def test_every_fault_has_its_outcome_written_down() -> None:
    assert set(OUTCOMES) == set(get_args(FaultName))


@pytest.mark.parametrize("name", OUTCOMES)
async def test_a_rule_strikes_once_and_has_the_outcome_it_stands_for(shop: httpx.AsyncClient, name: str) -> None:
    order = await make_order(shop)
    rule = {"fault": name, "order_id": order["id"], "times": 1, "delay_s": 0.05}
    assert (await shop.post("/sandbox/faults", json=rule)).status_code == 201

    assert await attempt(shop, order["id"], "Customer request") == OUTCOMES[name]
    if name != "stale":
        assert (await shop.get("/sandbox/faults")).json() == []


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("decline", "decline"),
        ("false", "gateway_false"),
        ("crash", "die_after_paying"),
        ("slow20", "slow"),
        ("[[fault:fail_after_paying]] [RG-1]", "fail_after_paying"),
    ],
)
async def test_words_in_the_reason_work_as_in_the_recordings(shop: httpx.AsyncClient, word: str, name: str) -> None:
    order = await make_order(shop)

    assert await attempt(shop, order["id"], word) == OUTCOMES[name]


@pytest.mark.parametrize("fault", ["die_before_paying", "die_after_paying"])
async def test_php_can_die_in_a_manual_refund(shop: httpx.AsyncClient, fault: str) -> None:
    order = await make_order(shop)

    outcome = await attempt(shop, order["id"], f"[[fault:{fault}]]", api_refund="0")

    assert outcome == Outcome(502, ["2.00"], [], 0)


async def test_a_stale_cache_answers_legacy_reads_with_old_news_too(shop: httpx.AsyncClient) -> None:
    order = await make_order(shop)
    path = f"/wc-api/v3/orders/{order['id']}/refunds"
    assert (await shop.get(path)).json() == {"order_refunds": []}
    await shop.post("/sandbox/faults", json={"fault": "stale", "operation": "read"})
    await shop.post(path, json={"order_refund": {"amount": "2.00"}})

    assert (await shop.get(path)).json() == {"order_refunds": []}
    assert len((await shop.get(path, params={"nocache": "1"})).json()["order_refunds"]) == 1


async def test_the_request_log_knows_legacy_calls(shop: httpx.AsyncClient) -> None:
    await shop.get("/wc-api/v3/orders", params={"consumer_key": "ck_sandbox_rw", "consumer_secret": "cs_sandbox_rw"})

    logged = (await shop.get("/sandbox/requests")).json()[-1]

    assert (logged["path"], logged["query"], logged["status"]) == ("/wc-api/v3/orders", "", 200)
