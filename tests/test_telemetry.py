"""Redaction, the routing of libraries' logs, and metrics."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from prometheus_client.parser import text_string_to_metric_families

from app.settings import Settings
from app.telemetry import REDACTED, Metrics, clean_text, configure_logging, log, redact

KEY = f"rgk_0123456789ab_{'aB3-_' * 8}xyz"
CONSUMER = "ck_0123456789abcdef0123456789abcdef01234567"
SECRET = "cs_0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def out() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before = (root.handlers[:], root.level)
    stream = io.StringIO()
    configure_logging(Settings(log_format="json", log_level="info"), stream=stream)
    yield stream
    structlog.reset_defaults()
    root.handlers[:], root.level = before


def lines(out: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        (f"got {CONSUMER} from the store", CONSUMER),
        (f"got {SECRET}", SECRET),
        (f"Authorization: Bearer {KEY}", KEY[17:]),
        (f"key {KEY} was refused", KEY[17:]),
        ("Authorization: Basic Y2tfMTpjc18yMzQ1Njc4", "Y2tfMTpjc18yMzQ1Njc4"),
        ("GET /wp-json?oauth_signature=abc%2Bdef%3D&dp=8", "abc%2Bdef%3D"),
        ("GET /wp-json?consumer_key=plain&consumer_secret=other", "other"),
        ('{"consumer_secret": "plainvalue"}', "plainvalue"),
        ("mail to jane.doe+shop@example.co.uk bounced", "jane.doe"),
        ("postgresql://gateway:hunter22@db:5432/x", "hunter22"),
    ],
)
def test_secrets_and_personal_data_are_replaced_in_text(text: str, secret: str) -> None:
    assert secret not in clean_text(text)
    assert REDACTED in clean_text(text)


@pytest.mark.parametrize(
    "text",
    [
        "refund.settled",
        "metrics_collected and basics_explained",
        "rf_01J8ZK5Q0000000000000000",
        "Customer request [RG-7F3K9Q2X]",
        "/v1/stores/{store}/orders/{order_id}",
        "2 @ 9.99",
        "https://shop.example/wp-json/wc/v3/orders/12?dp=8",
    ],
)
def test_ordinary_text_is_left_alone(text: str) -> None:
    assert clean_text(text) == text


def test_an_api_key_keeps_the_part_that_names_it() -> None:
    assert clean_text(KEY) == f"rgk_0123456789ab_{REDACTED}"


def test_long_text_without_a_secret_is_read_in_linear_time() -> None:
    text = "a" * 200_000 + "@" + "b" * 200_000
    assert clean_text(text) == text


def test_fields_are_dropped_by_name_however_deep() -> None:
    event = {
        "event": "store.called",
        "Authorization": "anything",
        "request": {"headers": [{"X-WC-Webhook-Signature": "abc"}], "consumer-secret": "x", "order_id": "12"},
        "billing": {"first_name": "Jane"},
        "token": None,
        "count": 3,
    }
    assert redact(None, "info", event) == {
        "event": "store.called",
        "Authorization": REDACTED,
        "request": {
            "headers": [{"X-WC-Webhook-Signature": REDACTED}],
            "consumer-secret": REDACTED,
            "order_id": "12",
        },
        "billing": REDACTED,
        "token": None,
        "count": 3,
    }


def test_objects_are_rendered_before_the_redaction_not_after() -> None:
    class Leaky:
        def __repr__(self) -> str:
            return f"Leaky({SECRET})"

    assert SECRET not in str(redact(None, "info", {"thing": Leaky(), "things": [{1: Leaky()}], "raw": SECRET.encode()}))


def test_our_lines_are_json_with_time_and_level(out: io.StringIO) -> None:
    with structlog.contextvars.bound_contextvars(request_id="req_1"):
        log.info("refund.settled", refund_id="rf_1", secret=SECRET)
    log.debug("not.written")
    [line] = lines(out)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "refund.settled",
        "level": "info",
        "refund_id": "rf_1",
        "request_id": "req_1",
        "secret": REDACTED,
    }


def test_text_that_no_encoding_can_say_is_logged_all_the_same(out: io.StringIO) -> None:
    log.warning("store.answered", text="half \ud800 a pair")
    assert lines(out)[0]["text"] == "half \ud800 a pair"


def test_exception_texts_are_redacted(out: io.StringIO) -> None:
    try:
        raise RuntimeError(f"refused {SECRET}")
    except RuntimeError:
        log.exception("refund.crashed")
        logging.getLogger("uvicorn.error").exception("crashed")
    ours, theirs = lines(out)
    for line in (ours, theirs):
        assert "RuntimeError" in line["exception"]
        assert SECRET not in line["exception"]


def test_libraries_lines_take_the_same_way(out: io.StringIO) -> None:
    logging.getLogger("uvicorn.error").info("Started with %s", SECRET)
    logging.getLogger("psycopg.pool").warning("error connecting to postgresql://u:hunter22@db/x")
    logging.getLogger("uvicorn.access").info("GET /v1/refunds?external_reference=Jane")
    logging.getLogger("httpx").info("HTTP Request: GET https://shop.example/?consumer_secret=x")
    first, second = lines(out)
    assert (first["logger"], first["event"]) == ("uvicorn.error", f"Started with cs_{REDACTED}")
    assert (second["logger"], second["level"]) == ("psycopg.pool", "warning")
    assert "hunter22" not in out.getvalue()


def test_the_console_format_is_redacted_too() -> None:
    stream = io.StringIO()
    configure_logging(Settings(log_format="console"), stream=stream)
    try:
        log.warning("store.refused", url=f"https://shop.example/?consumer_key={CONSUMER}")
    finally:
        structlog.reset_defaults()
    assert "store.refused" in stream.getvalue()
    assert CONSUMER not in stream.getvalue()


def test_metrics_are_counted_and_shown() -> None:
    metrics = Metrics()
    metrics.request_finished(route="/v1/refunds", status=201, duration_s=0.2)
    metrics.request_finished(route="/v1/refunds", status=201, duration_s=0.3)
    metrics.refund_settled(store="acme-de", status="succeeded", payment="gateway")
    metrics.store_called(call="read_order", outcome="ok", duration_s=0.1)
    metrics.breaker_changed(store="acme-de", state="half_open")
    metrics.ledger_read(unfinished={"uncertain": 2, "needs_review": 1}, job_lag_s=1.5)
    assert metrics.value("refund_gateway_requests_total", {"route": "/v1/refunds", "status": "201"}) == 2
    assert metrics.value("refund_gateway_request_seconds_sum", {"route": "/v1/refunds"}) == 0.5
    labels = {"store": "acme-de", "status": "succeeded", "payment": "gateway"}
    assert metrics.value("refund_gateway_refunds_total", labels) == 1
    call = {"call": "read_order", "outcome": "ok"}
    assert metrics.value("refund_gateway_store_call_seconds_count", call) == 1
    assert metrics.value("refund_gateway_store_breaker", {"store": "acme-de"}) == 0.5
    assert metrics.value("refund_gateway_unfinished_refunds", {"status": "uncertain"}) == 2
    assert metrics.value("refund_gateway_job_lag_seconds") == 1.5
    names = {family.name for family in text_string_to_metric_families(metrics.text().decode())}
    assert {"refund_gateway_requests", "refund_gateway_ledger_up", "process_resident_memory_bytes"} <= names


def test_numbers_of_a_lost_ledger_are_not_shown() -> None:
    metrics = Metrics()
    metrics.ledger_read(unfinished={"uncertain": 2}, job_lag_s=1.5)
    metrics.ledger_lost()
    assert metrics.value("refund_gateway_ledger_up") == 0
    assert metrics.value("refund_gateway_unfinished_refunds", {"status": "uncertain"}) is None
    assert b"refund_gateway_job_lag_seconds NaN" in metrics.text()
