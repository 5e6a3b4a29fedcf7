"""Every recorded answer of the Legacy REST API, read as the adapter reads it."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from app.domain.refund import PaymentMode, RefundPlan
from app.outbound import Answer
from app.stores.answers import Reply, is_store_failure, read_failure
from app.stores.port import Contradicted, Refunded, Refused, StoreAnswer, StoreMisconfigured, StoreUnavailable, Unknown
from app.stores.reading import id_of, mapping, rows
from app.stores.woo_legacy_answers import LEGACY_CODES, classify
from app.stores.woo_legacy_wire import listed_refund, v3_document

RECORDINGS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "recordings" / "legacy_v3_refunds.json").read_text()
)
LEGACY = [exchange for exchange in RECORDINGS if exchange["request"]["path"].startswith("/wc-api/v3")]
CREATED = [exchange for exchange in LEGACY if exchange["request"]["method"] == "POST"]
READ = [exchange for exchange in LEGACY if exchange["request"]["method"] == "GET"]
OTHERS = [exchange for exchange in LEGACY if exchange["request"]["method"] in ("PUT", "DELETE")]


def reply(status: int, body: object, headers: dict[str, str] | None = None) -> Reply:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Reply.of(Answer(status=status, headers=headers or {}, body=content), LEGACY_CODES)


def recorded(exchange: dict[str, Any]) -> Reply:
    response = exchange["response"]
    return reply(response["status"], response["json"], {k.lower(): v for k, v in response["headers"].items()})


def plan(amount: str, payment: PaymentMode = "gateway") -> RefundPlan:
    return RefundPlan(
        order_id="197",
        order_number="197",
        currency="EUR",
        decimals=2,
        amount=Decimal(amount),
        lines=(),
        goodwill=Decimal(0),
        unallocated=Decimal(amount),
        payment=payment,
        restock=False,
        reason="",
    )


def judged(answer: Reply, amount: str = "1.00", payment: PaymentMode = "gateway") -> StoreAnswer:
    return classify(answer, plan(amount, payment), duration_ms=1.0, secrets=("cs_secret",))


def error(code: str, message: str = "Said so.") -> dict[str, object]:
    return {"errors": [{"code": code, "message": message}]}


MEANINGS: dict[str, tuple[type[StoreAnswer], str | None, bool | None]] = {
    "create by amount": (Refunded, None, None),
    "create manual": (Refunded, None, None),
    "create with line items": (Refunded, None, None),
    "create with line items list": (Refunded, None, None),
    "create with meta": (Refunded, None, None),
    "create error: no envelope": (Refused, "store_refused", False),
    "create error: no amount": (Refused, "store_refused", False),
    "create error: zero": (Refunded, None, None),
    "create error: negative": (Refused, "store_refused", False),
    "create error: text": (Unknown, None, None),
    "create error: above remaining": (Unknown, None, None),
    "create error: declined": (Refused, "gateway_declined", True),
    # No hint that no money moved: only asking beforehand tells.
    "create, gateway without refunds": (Refunded, None, None),
    "create, gateway without refunds, manual": (Refunded, None, None),
    "unknown order": (Unknown, None, None),
    "read-only key writes": (Refused, "store_misconfigured", False),
    "bad json": (Refused, "store_refused", False),
    "oauth1 create": (Refunded, None, None),
}


def test_every_recorded_refund_has_its_meaning_below() -> None:
    assert {exchange["name"] for exchange in CREATED} == set(MEANINGS)


@pytest.mark.parametrize("exchange", CREATED, ids=lambda exchange: exchange["name"])
def test_a_recorded_refund_means(exchange: dict[str, Any]) -> None:
    made = exchange["response"]["json"].get("order_refund")
    answer = judged(recorded(exchange), "1.00" if made is None else made["amount"])
    kind, code, needs_look = MEANINGS[exchange["name"]]
    assert isinstance(answer, kind), answer
    if isinstance(answer, Refused):
        assert (answer.code, answer.needs_look) == (code, needs_look)
    if isinstance(answer, Refunded):
        assert answer.store_refund_id == str(made["id"])
        assert isinstance(judged(recorded(exchange), "77.00"), Contradicted)


READS: dict[str, type[Exception]] = {
    "list unknown order": StoreMisconfigured,
    "no auth": StoreMisconfigured,
    "wrong key": StoreMisconfigured,
    "wrong secret": StoreMisconfigured,
    "unknown route": StoreMisconfigured,
    "view deleted": StoreMisconfigured,
    "oauth1 bad signature": StoreMisconfigured,
}


@pytest.mark.parametrize("exchange", READ, ids=lambda exchange: exchange["name"])
def test_a_recorded_read_is_read_or_explained(exchange: dict[str, Any]) -> None:
    answer = recorded(exchange)
    failure = read_failure(answer, secrets=())
    assert type(failure) is READS.get(exchange["name"], type(None))
    assert not is_store_failure(answer)
    if failure is not None:
        assert failure.store_code is not None
        return
    assert answer.document is not None
    value = mapping(answer.document.value, "answer")
    for row in rows(value.get("order_refunds"), "order_refunds"):
        listed = listed_refund(row, order_id="197", dp=None)
        assert (listed.refund.refunded_payment, listed.refund.lines_known) == (None, False)
        assert listed.document["id"] == int(listed.refund.id)


@pytest.mark.parametrize("exchange", OTHERS, ids=lambda exchange: exchange["name"])
def test_a_recorded_change_is_taken_or_explained(exchange: dict[str, Any]) -> None:
    missing = exchange["name"] in ("update unknown", "delete again")
    failure = read_failure(recorded(exchange), secrets=())
    assert (failure is not None) == missing
    if failure is not None:
        assert failure.store_code == "woocommerce_api_invalid_order_refund_id"


def test_the_document_of_a_refund_is_the_one_v3_shows() -> None:
    by_name = {exchange["name"]: exchange for exchange in RECORDINGS}
    theirs = by_name["v3 view of legacy refund"]["response"]["json"]
    row = mapping(by_name["view after update"]["response"]["json"]["order_refund"], "order_refund")
    ours = v3_document(row, order_id="197", dp=None)
    assert ours == {"parent_id": 197} | {name: theirs[name] for name in theirs if name != "_links"} | {"refunded_by": 0}
    assert id_of(ours["id"], "id") == "198"


@pytest.mark.parametrize(
    ("status", "body", "payment", "kind", "needs_look"),
    [
        (500, error("woocommerce_api_create_order_refund_api_failed"), "gateway", Refused, True),
        (500, error("woocommerce_api_create_order_refund_api_failed"), "manual", Unknown, None),
        (200, error("card_declined"), "manual", Unknown, None),
        (200, {"errors": [{"code": 402, "message": "Declined."}]}, "gateway", Refused, True),
        # Paid first, and not found afterwards: LO:1683 on a store with hidden orders.
        (404, error("woocommerce_api_invalid_order"), "gateway", Unknown, None),
        (404, error("woocommerce_api_no_order_found"), "gateway", Unknown, None),
        (404, error("woocommerce_api_invalid_order_refund_id"), "gateway", Unknown, None),
        (401, error("woocommerce_api_user_cannot_read_order"), "gateway", Unknown, None),
        (500, error("woocommerce_api_cannot_create_order_refund"), "gateway", Unknown, None),
        (402, error("card_declined"), "gateway", Unknown, None),
        (401, error("woocommerce_api_user_cannot_create_order_refund"), "gateway", Refused, False),
        (200, error("woocommerce_api_authentication_error"), "gateway", Refused, False),
        (404, error("woocommerce_api_authentication_error", "oauth_nonce is missing"), "gateway", Refused, False),
        (404, {"errors": {"code": "woocommerce_api_disabled", "message": "x"}}, "gateway", Refused, False),
        (404, error("woocommerce_api_no_route"), "gateway", Refused, False),
        (400, error("woocommerce_api_invalid_order_id"), "gateway", Refused, False),
        (
            201,
            {"order_refund": {"id": 9, "amount": "1.00"}, "errors": [{"code": "x", "message": "y"}]},
            "gateway",
            Unknown,
            None,
        ),
        (201, {"order_refund": []}, "gateway", Contradicted, None),
        (201, {"order_refund": {"id": 9}}, "gateway", Contradicted, None),
        (201, {"order_refund": {"id": 9, "amount": "1,00"}}, "gateway", Contradicted, None),
        (201, {"order_refund": {"id": 0, "amount": "1.00"}}, "gateway", Contradicted, None),
        (201, {}, "gateway", Unknown, None),
        (200, {"order_refund": {"id": 9, "amount": "1.00"}}, "gateway", Unknown, None),
        (200, {"order_refunds": []}, "gateway", Unknown, None),
        (429, b"slow down", "gateway", Unknown, None),
        (502, b"<html>", "gateway", Unknown, None),
        (201, b"<html>", "gateway", Unknown, None),
        (201, b'Notice: x {"order_refund":{"id":9,"amount":"1.00"}}', "gateway", Refunded, None),
    ],
)
def test_what_a_status_says_is_only_half_of_it(
    status: int, body: object, payment: PaymentMode, kind: type[StoreAnswer], needs_look: bool | None
) -> None:
    answer = judged(reply(status, body), payment=payment)
    assert isinstance(answer, kind), answer
    if isinstance(answer, Refused):
        assert answer.needs_look is needs_look
        assert answer.message


def test_a_list_in_place_of_a_refund_was_turned_into_a_read() -> None:
    answer = judged(reply(200, {"order_refunds": []}))
    assert isinstance(answer, Unknown)
    assert answer.turned_away == "redirected"


def test_a_refund_reports_no_secret_of_the_store() -> None:
    answer = judged(reply(200, error("x", "The key cs_secret of ada@example.com is bad")))
    assert isinstance(answer, Refused)
    assert "cs_secret" not in answer.message + answer.exchange.text
    assert "ada@example.com" not in answer.message


def test_the_circuit_breaker_minds_only_what_leaving_alone_would_cure() -> None:
    assert is_store_failure(reply(500, {"code": "internal_server_error", "message": "x"}))
    assert is_store_failure(reply(502, b"<html>"))
    assert not is_store_failure(reply(500, error("woocommerce_api_create_order_refund_api_failed")))
    assert isinstance(read_failure(reply(503, b"<html>"), secrets=()), StoreUnavailable)
