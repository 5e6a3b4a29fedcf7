"""Every answer to a refund POST that was recorded or is known, and what it means for the money."""

import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.refund import PaymentMode, RefundPlan
from app.outbound import Answer
from app.stores.answers import Reply, is_store_failure, read_failure, retry_after_s
from app.stores.cleaning import clean
from app.stores.port import Contradicted, Refunded, Refused, StoreAnswer, StoreMisconfigured, StoreUnavailable, Unknown
from app.stores.woo_v3_answers import V3_CODES, classify

RECORDINGS = Path(__file__).parents[1] / "recordings"
FILES = (
    "v3_create_refund",
    "v3_create_refund_errors",
    "v3_in_flight",
    "v3_read_and_delete",
    "v3_rounding",
    "authentication",
    "orders_gateways_settings",
)
SECRETS = ("cs_0123456789abcdef", "ck_0123456789abcdef")
CANNOT_CREATE = "woocommerce_rest_cannot_create_order_refund"


def plan(
    amount: str = "10.00", *, payment: PaymentMode = "gateway", order_id: str = "119", decimals: int = 2
) -> RefundPlan:
    return RefundPlan(
        order_id=order_id,
        order_number=order_id,
        currency="EUR",
        decimals=decimals,
        amount=Decimal(amount),
        lines=(),
        goodwill=Decimal(0),
        unallocated=Decimal(amount),
        payment=payment,
        restock=False,
        reason="",
    )


def reply(status: int, body: bytes | object = b"", headers: dict[str, str] | None = None) -> Reply:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Reply.of(Answer(status=status, headers=headers or {}, body=content), V3_CODES)


def meaning(given_reply: Reply, for_plan: RefundPlan | None = None) -> StoreAnswer:
    return classify(given_reply, for_plan or plan(), duration_ms=1.0, secrets=SECRETS)


def error(code: str, message: str = "", data: object = 500) -> dict[str, object]:
    return {"code": code, "message": message, "data": data}


def recorded() -> list[Any]:
    cases = []
    for name in FILES:
        for exchange in json.loads((RECORDINGS / f"{name}.json").read_text()):
            request = exchange["request"]
            if request["method"] == "POST" and request["path"].endswith("/refunds"):
                cases.append(pytest.param(exchange, id=f"{name}: {exchange['name']}"))
    return cases


#: What the sender of these bodies meant; WooCommerce took them for something else.
MEANT = {
    "comma decimal is read as a hundred times more, above the order total": "1.50",
    "exponent notation": "10.00",
    "three decimals": "1.005",
    "kwd three decimal refund": "1.005",
    "amount with currency": "5.00",
    "capitalised Amount": "20.00",
    "line item by quantity only": "19.99",
    "empty body": "1.00",
    "json list body": "1.00",
}
MISUNDERSTOOD = set(MEANT) - {"amount with currency"}

REFUSED = {
    "amount above remaining": "exceeds_refundable",
    "text amount": "exceeds_refundable",
    "huge amount text": "exceeds_refundable",
    "refund after full refund": "exceeds_refundable",
    "refund on refunded unpaid order": "exceeds_refundable",
    "9.99 incl. 20 %: every line in full, dp=2, no amount": "exceeds_refundable",
    "negative amount": "store_refused",
    "null amount": "store_refused",
    "empty amount": "store_refused",
    "number amount": "store_refused",
    "api_refund as text": "store_refused",
    "reason not text": "store_refused",
    "invalid json": "store_refused",
    "unknown order": "order_not_found",
    "order id zero": "order_not_found",
    "order id text": "store_misconfigured",
    "store refunds post": "store_misconfigured",
    "read-only key writes": "store_misconfigured",
    "oauth1 read-only key posts": "store_misconfigured",
    "no auth create": "store_misconfigured",
    "gateway declines": "gateway_declined",
    "gateway returns false": "gateway_declined",
    "gateway without refund support": "gateway_cannot_refund",
    "gateway not installed": "gateway_cannot_refund",
}
UNKNOWN = {"refund of a refund", "PHP dies after the provider paid: answer to the POST"}


@pytest.mark.parametrize("exchange", recorded())
def test_a_recorded_answer_means(exchange: dict[str, Any]) -> None:
    name, request, response = exchange["name"], exchange["request"], exchange["response"]
    headers = {key.lower(): value for key, value in response["headers"].items()}
    body = json.dumps(response["json"]).encode() if "json" in response else response["text"].encode()
    asked = request["body"] if isinstance(request["body"], dict) else {}
    stored = response["json"].get("amount") if isinstance(response.get("json"), dict) else None
    plainly = asked.get("amount") if re.fullmatch(r"[0-9.]+", str(asked.get("amount"))) else None
    found = re.search(r"/orders/(\w+)/", request["path"])
    answer = meaning(
        Reply.of(Answer(status=response["status"], headers=headers, body=body), V3_CODES),
        plan(
            MEANT.get(name) or str(plainly or stored or "1.00"),
            payment="gateway" if asked.get("api_refund", True) else "manual",
            order_id=found.group(1) if found else "1",
        ),
    )
    if name in UNKNOWN:
        assert isinstance(answer, Unknown)
        assert answer.turned_away is None
    elif name in REFUSED:
        assert isinstance(answer, Refused)
        assert answer.code == REFUSED[name]
        assert answer.needs_look is (name in ("gateway declines", "gateway returns false"))
    elif name in MISUNDERSTOOD:
        assert isinstance(answer, Contradicted)
        assert answer.store_refund_id == str(response["json"]["id"])
        assert answer.facts["amount_stored"] == stored
    else:
        assert response["status"] == 201
        assert isinstance(answer, Refunded)
        assert answer.store_refund_id == str(response["json"]["id"])
    assert answer.exchange.http_status == response["status"]


HTML = b"<!DOCTYPE html><html><head><title>%s</title></head><body>%s</body></html>"
CREATED = {
    "id": 726,
    "amount": "10.00",
    "reason": "x",
    "refunded_payment": True,
    "line_items": [{"id": 173, "name": "Shirt"}],
    "_links": {"up": [{"href": "https://shop.example/wp-json/wc/v3/orders/119"}]},
}


@pytest.mark.parametrize(
    ("code", "message", "status", "expected", "needs_look"),
    [
        ("woocommerce_rest_invalid_order_id", "Ungültige Bestellnummer.", 500, "order_not_found", False),
        ("woocommerce_rest_invalid_order_id", "Invalid order ID.", 404, "order_not_found", False),
        ("woocommerce_rest_invalid_order_refund", "Refund amount must be…", 500, "store_refused", False),
        (CANNOT_CREATE, "Invalid refund amount.", 500, "exceeds_refundable", False),
        (CANNOT_CREATE, " Invalid refund amount. ", 400, "exceeds_refundable", False),
        (CANNOT_CREATE, "The payment gateway for this order does not exist.", 500, "gateway_cannot_refund", False),
        (CANNOT_CREATE, "Ungültiger Erstattungsbetrag.", 500, "gateway_declined", True),
        (CANNOT_CREATE, "Charge ch_1 has already been refunded.", 500, "gateway_declined", True),
        (CANNOT_CREATE, "", 500, "gateway_declined", True),
        ("woocommerce_rest_shop_order_refund_exists", "Cannot create existing…", 400, "store_refused", False),
        ("rest_invalid_param", "Invalid parameter(s): amount", 400, "store_refused", False),
        ("rest_invalid_json", "Invalid JSON body passed.", 400, "store_refused", False),
        ("rest_no_route", "No route was found…", 404, "store_misconfigured", False),
        ("woocommerce_rest_authentication_error", "Consumer secret is invalid.", 401, "store_misconfigured", False),
        ("woocommerce_rest_authentication_error", "Invalid timestamp.", 401, "store_misconfigured", False),
        ("woocommerce_rest_authentication_missing_parameter", "Missing…", 401, "store_misconfigured", False),
        ("woocommerce_rest_cannot_create", "Sorry, you are not allowed…", 403, "store_misconfigured", False),
        ("rest_forbidden", "Sorry…", 403, "store_misconfigured", False),
        ("rest_cannot_access", "Only authenticated users…", 401, "store_misconfigured", False),
    ],
)
def test_a_refusal_is_told_by_code_and_message(
    code: str, message: str, status: int, expected: str, needs_look: bool
) -> None:
    answer = meaning(reply(status, error(code, message)))
    assert isinstance(answer, Refused)
    assert (answer.code, answer.needs_look) == (expected, needs_look)
    assert answer.exchange.store_code == code


def test_a_manual_refund_refused_in_unknown_words_asked_no_gateway() -> None:
    answer = meaning(reply(500, error(CANNOT_CREATE, "A plugin objects.")), plan(payment="manual"))
    assert isinstance(answer, Refused)
    assert (answer.code, answer.needs_look) == ("store_refused", False)


@pytest.mark.parametrize(
    ("given_reply", "turned_away"),
    [
        (reply(500, error("internal_server_error", "<p>There has been a critical error</p>")), None),
        (reply(500, error("woocommerce_rest_shop_order_refund_not_created", "The refund could not…")), None),
        (reply(400, error("woocommerce_rest_shop_order_refund_not_created", "The refund could not…")), None),
        (reply(500, error("woocommerce_rest_cannot_verify_refund_created", "An unexpected error…")), None),
        (reply(500, error("some_plugin_error", "Oops")), None),
        (reply(500, error("woocommerce_rest_cannot_create", "not an auth status")), None),
        (reply(500, HTML % (b"Error", b"critical error")), None),
        (reply(502, HTML % (b"502", b"Bad Gateway")), None),
        (reply(504, HTML % (b"504", b"Gateway Time-out")), None),
        (reply(524, b""), None),
        (reply(503, HTML % (b"503", b"Service Unavailable")), None),
        (reply(503, b"", {"retry-after": "30"}), None),
        (reply(503, HTML % (b"Maintenance", b"Briefly unavailable for scheduled maintenance.")), None),
        (
            reply(503, HTML % (b"Maintenance", b"Briefly unavailable for maintenance."), {"retry-after": "600"}),
            "maintenance",
        ),
        (
            reply(503, error("wp_die", "Briefly unavailable for scheduled maintenance."), {"retry-after": "600"}),
            "maintenance",
        ),
        (reply(429, b"slow down", {"retry-after": "7"}), "rate_limited"),
        (reply(429, error("too_many_requests", "x")), "rate_limited"),
        (reply(202, HTML % (b"", b"redirecting"), {"sg-captcha": "challenge"}), "captcha"),
        (reply(202, HTML % (b"Robot Challenge", b"<script src='/.well-known/captcha/'>")), "captcha"),
        (reply(403, HTML % (b"Just a moment...", b""), {"cf-mitigated": "challenge"}), "captcha"),
        (reply(503, HTML % (b"Just a moment...", b"")), "captcha"),
        (reply(301, b"", {"location": "https://www.shop.example/"}), "redirected"),
        (reply(302, CREATED, {"location": "/login"}), "redirected"),
        (reply(308, b""), "redirected"),
        (reply(403, HTML % (b"403", b"Forbidden")), "blocked"),
        (reply(401, HTML % (b"401", b"Authorization Required")), "blocked"),
        (reply(406, HTML % (b"Not Acceptable!", b"Mod_Security")), "blocked"),
        (reply(455, b""), "blocked"),
        (reply(501, HTML % (b"", b"Method Not Implemented")), "blocked"),
        (reply(404, HTML % (b"Page not found", b"")), "blocked"),
        (reply(403, error("rest_ip_blocked", "Your address is blocked.")), "blocked"),
        (reply(200, []), "redirected"),
        (reply(200, [CREATED]), "redirected"),
        (reply(200, b""), None),
        (reply(200, {}), None),
        (reply(200, HTML % (b"Shop", b"Welcome")), None),
        (reply(201, b""), None),
        (reply(201, [CREATED]), None),
        (reply(201, HTML % (b"", b"")), None),
        (reply(204, b""), None),
        (reply(201, json.dumps(CREATED).encode()[:-1]), None),
        (reply(201, json.dumps(CREATED).encode()[:60]), None),
        (reply(201, b'{"id": 726, "amount": "10.00", "line_items": [{"id": 173}'), None),
    ],
)
def test_what_says_nothing_about_the_money_is_unknown(given_reply: Reply, turned_away: str | None) -> None:
    answer = meaning(given_reply)
    assert isinstance(answer, Unknown)
    assert answer.turned_away == turned_away


def test_an_answer_cut_off_anywhere_is_never_a_success() -> None:
    whole = json.dumps(CREATED).encode()
    assert isinstance(meaning(reply(201, whole)), Refunded)
    for length in range(len(whole)):
        assert isinstance(meaning(reply(201, whole[:length])), Unknown), whole[:length]


@pytest.mark.parametrize(
    "body",
    [
        b"\xef\xbb\xbf" + json.dumps(CREATED).encode(),
        b"\n\n  " + json.dumps(CREATED).encode(),
        b"<br />\n<b>Notice</b>: Undefined index [] in x{} on line <b>3</b><br />\n" + json.dumps(CREATED).encode(),
        json.dumps(CREATED).encode() + b"\n<!-- cached -->",
    ],
)
def test_text_around_a_right_answer_does_not_matter(body: bytes) -> None:
    assert isinstance(meaning(reply(201, body)), Refunded)


@pytest.mark.parametrize(
    ("change", "for_plan", "fact"),
    [
        ({"id": None}, plan(), ("id", "missing")),
        ({"id": "726"}, plan(), ("id", "missing")),
        ({"id": True}, plan(), ("id", "missing")),
        ({"id": 0}, plan(), ("id", "missing")),
        ({"amount": "100.00"}, plan(), ("amount_stored", "100.00")),
        ({"amount": ""}, plan(), ("amount_stored", "0.00")),
        ({"amount": "ten"}, plan(), ("amount_stored", "unreadable")),
        ({"amount": [10]}, plan(), ("amount_stored", "unreadable")),
        ({"refunded_payment": False}, plan(), ("refunded_payment", "false")),
        ({"refunded_payment": None}, plan(), ("refunded_payment", "?")),
        ({"refunded_payment": "yes"}, plan(), ("refunded_payment", "?")),
        ({}, plan(payment="manual"), ("refunded_payment", "true")),
        ({}, plan(order_id="120"), ("order_stored", "119")),
    ],
)
def test_a_201_that_does_not_say_what_it_has_to_is_a_contradiction(
    change: dict[str, object], for_plan: RefundPlan, fact: tuple[str, str]
) -> None:
    answer = meaning(reply(201, {**CREATED, **change}), for_plan)
    assert isinstance(answer, Contradicted)
    assert answer.facts[fact[0]] == fact[1]
    assert answer.store_refund_id == (None if "id" in change else "726")


def test_amounts_are_compared_to_the_last_digit_and_as_text_or_number() -> None:
    assert isinstance(meaning(reply(201, {**CREATED, "amount": "10.00000000"})), Refunded)
    assert isinstance(meaning(reply(201, {**CREATED, "amount": 10})), Refunded)
    assert isinstance(meaning(reply(201, {**CREATED, "amount": "10.00000001"})), Contradicted)
    assert isinstance(meaning(reply(201, {**CREATED, "amount": "1.00500000"}), plan("1.005", decimals=3)), Refunded)


def test_a_refund_answered_with_200_is_a_contradiction() -> None:
    answer = meaning(reply(200, CREATED))
    assert isinstance(answer, Contradicted)
    assert answer.store_refund_id == "726"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["id", "amount", "code", "message", "data", "refunded_payment", "_links", "up", "href", "x"]
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=20,
)


@given(st.integers(100, 599), JSON | st.binary(max_size=200))
def test_no_answer_crashes_and_none_is_taken_for_a_success(status: int, body: object) -> None:
    given_reply = reply(status, body)
    answer = meaning(given_reply)
    if isinstance(answer, Refunded):
        assert status == 201
        assert isinstance(body, dict)
        assert body["refunded_payment"] is True
    is_store_failure(given_reply)
    if read_failure(given_reply, secrets=SECRETS) is None:
        assert status == 200


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "999999"}, 3600.0),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "٣"}, None),
        ({}, None),
        ({"retry-after": "Sat, 21 Nov 2026 03:00:30 GMT", "date": "Sat, 21 Nov 2026 03:00:00 GMT"}, 30.0),
        ({"retry-after": "Sat, 21 Nov 2026 02:00:00 GMT", "date": "Sat, 21 Nov 2026 03:00:00 GMT"}, 0.0),
        ({"retry-after": "Sat, 21 Nov 2026 03:00:30 GMT"}, None),
    ],
)
def test_retry_after_is_believed_within_reason(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_s(Answer(status=503, headers=headers, body=b"")) == seconds


@pytest.mark.parametrize(
    ("given_reply", "kind", "words"),
    [
        (
            reply(301, b"", {"location": "https://www.shop.example/x?k=1"}),
            StoreMisconfigured,
            "https://www.shop.example;",
        ),
        (reply(301, b""), StoreMisconfigured, "redirects"),
        (reply(404, HTML % (b"", b"")), StoreMisconfigured, "permalinks"),
        (reply(404, error("rest_no_route", "No route")), StoreMisconfigured, "REST API v3"),
        (reply(401, error("woocommerce_rest_cannot_view", "Sorry")), StoreMisconfigured, "API key"),
        (reply(401, error("woocommerce_rest_authentication_error", "Consumer secret…")), StoreMisconfigured, "accept"),
        (reply(400, error("rest_invalid_param", "Invalid parameter(s): dp")), StoreMisconfigured, "dp"),
        (reply(403, HTML % (b"", b"Forbidden")), StoreUnavailable, "firewall"),
        (reply(202, b"x", {"sg-captcha": "challenge"}), StoreUnavailable, "captcha"),
        (reply(503, b"maintenance", {"retry-after": "600"}), StoreUnavailable, "maintenance"),
        (reply(429, b"", {"retry-after": "3"}), StoreUnavailable, "limiting"),
        (reply(200, HTML % (b"Shop", b"Hello")), StoreUnavailable, "no JSON"),
        (reply(200, error("odd", "An error with 200")), StoreUnavailable, "An error with 200"),
        (reply(500, error("internal_server_error", "<p>critical</p>")), StoreUnavailable, "critical"),
        (reply(502, b""), StoreUnavailable, "no JSON"),
        (reply(500, {"x": 1}), StoreUnavailable, "HTTP 500"),
    ],
)
def test_a_failed_read_says_whether_waiting_helps(given_reply: Reply, kind: type[Exception], words: str) -> None:
    failure = read_failure(given_reply, secrets=SECRETS)
    assert type(failure) is kind
    assert words in str(failure)


def test_what_the_store_answers_itself_is_no_failure_of_the_store() -> None:
    for answered in (
        reply(201, CREATED),
        reply(500, error(CANNOT_CREATE, "Invalid refund amount.")),
        reply(401, error("woocommerce_rest_cannot_view", "x")),
        reply(404, error("rest_no_route", "x")),
        reply(301),
        reply(403, b"<html>"),
    ):
        assert not is_store_failure(answered)
    for failed in (reply(502), reply(500, error("internal_server_error", "x")), reply(429), reply(503, b"<html>")):
        assert is_store_failure(failed)


@pytest.mark.parametrize(
    "text",
    [
        f"secret {SECRETS[0]} and {SECRETS[1]}",
        "consumer_key=ck_ffffffffffffffff&consumer_secret=cs_eeeeeeeeeeeeeeee",
        "GET /?oauth_signature=abc%3D&oauth_nonce=12345678&x=1",
        "cs_<b>0123456789abcdef</b>".replace("<b>", "").replace("</b>", ""),
        "mail ada@example.com or ada+shop@mail.example.co.uk",
        "card 4111 1111 1111 1111, 4111111111111111 or 4111-1111-1111-1111",
    ],
)
def test_a_stores_words_are_kept_without_secrets_and_personal_data(text: str) -> None:
    kept = clean(text, SECRETS)
    for hidden in ("0123456789abcdef", "ffff", "eeee", "abc%3D", "12345678", "example.co", "ada", "1111"):
        assert hidden not in kept


def test_a_stores_words_are_plain_and_short() -> None:
    assert clean("<p>There&#8217;s an\n<b>error</b></p>", ()) == "There’s an error"
    assert len(clean("x" * 1000, ())) == 300
    answer = meaning(reply(201, {**CREATED, "meta_data": [{"key": "k", "value": "ada@example.com"}]}))
    assert answer.exchange.text == "id: 726, amount: 10.00, refunded_payment: True"
