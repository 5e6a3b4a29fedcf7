"""The table of problems, its pages, and how flows' answers become problems."""

import json
from collections.abc import AsyncIterator
from typing import Any, get_args

import httpx
import pytest
from fastapi import Response

from app import api
from app.api.errors import No, answer_submission, problem_of
from app.api.openapi import dump
from app.api.problem_codes import InputCode, ProblemCode
from app.api.problem_table import INPUT_FAULTS, PROBLEMS
from app.api.problems import Problem
from app.api.views import RefundView
from app.domain.errors import Fault, Refusal
from app.domain.refund import Failure
from app.flows.results import (
    Accepted,
    AmbiguousOrderNumber,
    KeyReused,
    NoStoreRefund,
    OrderBlocked,
    OrderChanged,
    PaidByGateway,
    QuoteRefused,
    ReferenceConflict,
    RefundNotFound,
    RequestInProgress,
    StoreFailed,
    StoreNotFound,
    StoreRefundNotFound,
    WrongState,
)
from app.settings import Settings
from tests.api.problems import problem
from tests.ledger.factories import draft


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    """Ask an API that has neither runtime nor database."""
    transport = httpx.ASGITransport(api.build(Settings()), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as asking:
        yield asking


def test_every_code_is_explained() -> None:
    assert set(PROBLEMS) == {code for group in get_args(ProblemCode) for code in get_args(group)}
    assert set(INPUT_FAULTS) == set(get_args(InputCode))


def refusal(code: Any, **facts: Any) -> Refusal:
    return Refusal(
        faults=(
            Fault(code=code, pointer="/amount", message="No.", facts=facts),
            Fault(code="currency_mismatch", pointer="/currency", message="Nor this."),
        )
    )


CASES: list[tuple[No, int, str, dict[str, Any]]] = [
    (refusal("exceeds_refundable", refundable="5.00"), 422, "exceeds_refundable", {"refundable": "5.00"}),
    (refusal("order_changed"), 409, "order_changed", {}),
    (refusal("order_not_found"), 404, "order_not_found", {}),
    (refusal("order_not_paid", status="pending"), 422, "order_not_paid", {}),
    (StoreNotFound(store="x"), 404, "store_not_found", {"store": "x"}),
    (KeyReused(resource_id="rf_1"), 422, "idempotency_key_reused", {"refund_id": "rf_1"}),
    (
        ReferenceConflict(refund_id="rf_1", differing=("amount", "items")),
        409,
        "external_reference_conflict",
        {"refund_id": "rf_1", "differing": ["amount", "items"]},
    ),
    (RequestInProgress(refund_id="rf_1"), 409, "request_in_progress", {"refund_id": "rf_1"}),
    (OrderBlocked(refund_id="rf_1"), 409, "refund_in_progress", {"refund_id": "rf_1"}),
    (StoreFailed(code="store_unavailable", message="Gone."), 503, "store_unavailable", {"retry_after_s": 10}),
    (
        StoreFailed(code="store_unavailable", message="Gone.", retry_after_s=0.2),
        503,
        "store_unavailable",
        {"retry_after_s": 1},
    ),
    (StoreFailed(code="store_misconfigured", message="Wrong key."), 502, "store_misconfigured", {}),
    (StoreFailed(code="order_not_found", message="None."), 404, "order_not_found", {}),
    (AmbiguousOrderNumber(order_ids=("1", "2")), 409, "ambiguous_order_number", {"order_ids": ["1", "2"]}),
    (QuoteRefused(code="quote_expired", message="Late."), 409, "quote_expired", {}),
    (QuoteRefused(code="quote_not_found", message="None."), 422, "quote_not_found", {}),
    (
        OrderChanged(differences={"total": ("10.00", "9.00")}),
        409,
        "order_changed",
        {"differences": {"total": {"then": "10.00", "now": "9.00"}}},
    ),
    (RefundNotFound(refund_id="rf_1"), 404, "refund_not_found", {"refund_id": "rf_1"}),
    (StoreFailed(code="list_too_long", message="Too many."), 422, "list_too_long", {"detail": "Too many."}),
    (StoreFailed(code="list_unsupported", message="No dates."), 422, "list_unsupported", {"detail": "No dates."}),
    (StoreRefundNotFound(store_refund_id="7"), 404, "store_refund_not_found", {"store_refund_id": "7"}),
    (
        PaidByGateway(store_refund_id="7", refund_id="rf_1"),
        409,
        "paid_by_gateway",
        {"store_refund_id": "7", "refund_id": "rf_1"},
    ),
    (NoStoreRefund(record=draft("tn_1", "st_1", id="rf_1")), 409, "no_store_refund", {"refund_id": "rf_1"}),
    (
        WrongState(record=draft("tn_1", "st_1"), allowed=("succeeded", "failed")),
        409,
        "wrong_state",
        {"allowed": ["succeeded", "failed"], "detail": "The refund is pending; this needs succeeded or failed."},
    ),
    (
        WrongState(record=draft("tn_1", "st_1"), allowed=("pending",)),
        409,
        "wrong_state",
        {"detail": "The refund is pending, and just being worked on."},
    ),
]


@pytest.mark.parametrize(("no", "status", "code", "facts"), CASES)
def test_every_no_of_a_flow_has_its_problem(no: No, status: int, code: str, facts: dict[str, Any]) -> None:
    answer = problem_of(no)
    document = answer.document("req_1")
    assert (answer.status, document["status"], document["code"]) == (status, status, code)
    assert {name: document[name] for name in facts} == facts
    assert document["retryable"] == PROBLEMS[answer.code].retryable
    if status == 503 or code in ("request_in_progress", "refund_in_progress"):
        assert int(answer.headers["Retry-After"]) >= 1


def submitted(status: Any, money: Any, failure: Failure | None = None) -> tuple[RefundView, Response]:
    response = Response()
    record = draft("tn_1", "st_1", status=status, money=money, failure=failure)
    return answer_submission(Accepted(record=record, replayed=False), response), response


@pytest.mark.parametrize(
    ("status", "money", "http"),
    [
        ("succeeded", "moved", 201),
        ("pending", "not_moved", 202),
        ("sending", "unknown", 202),
        ("uncertain", "unknown", 202),
        ("needs_review", "unknown", 202),
    ],
)
def test_a_refund_is_created_only_when_it_succeeded(status: Any, money: Any, http: int) -> None:
    view, response = submitted(status, money)
    assert (response.status_code, view.status, view.money) == (http, status, money)
    assert response.headers["location"] == f"/v1/refunds/{view.id}"


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (Failure(code="gateway_declined", message="Card closed."), "gateway_declined"),
        (Failure(code="store_misconfigured", message="Wrong key."), "store_misconfigured"),
        (Failure(code="order_not_found", message="Gone."), "order_not_found"),
        (Failure(code="resolved_as_failed", message="A person found that."), "refund_failed"),
        (Failure(code="unauthorized", message="Not a code of failures."), "refund_failed"),
        (None, "refund_failed"),
    ],
)
def test_a_failed_refund_is_422_whatever_its_code_means_elsewhere(failure: Failure | None, code: str) -> None:
    with pytest.raises(Problem) as caught:
        submitted("failed", "not_moved", failure)
    document = caught.value.document("req_1")
    assert (document["status"], document["code"]) == (422, code)
    assert document["refund"].status == "failed"
    documented = json.loads(dump())["paths"]["/v1/refunds"]["post"]["responses"]["422"]
    schema = documented["content"]["application/problem+json"]["schema"]
    assert code in schema["allOf"][1]["properties"]["code"]["enum"]


def test_a_refusal_keeps_every_fault_and_lifts_the_leading_ones_facts() -> None:
    document = problem_of(refusal("order_not_paid", status="pending", refundable="1.00")).document("req_1")
    assert (document["status"], document["refundable"]) == (422, "1.00")
    assert document["errors"] == [
        {
            "pointer": "/amount",
            "in": "body",
            "code": "order_not_paid",
            "message": "No.",
            "status": "pending",
            "refundable": "1.00",
        },
        {"pointer": "/currency", "in": "body", "code": "currency_mismatch", "message": "Nor this."},
    ]


async def test_every_problem_has_a_page_for_people_and_one_for_programs(client: httpx.AsyncClient) -> None:
    listing = await client.get("/problems")
    assert listing.headers["content-type"].startswith("text/html")
    for code, kind in PROBLEMS.items():
        assert f'href="/problems/{code}"' in listing.text
        page = await client.get(f"/problems/{code}")
        assert page.status_code == 200
        assert "<script" not in page.text
        assert f"<code>{code}</code>" in page.text
        facts = (await client.get(f"/problems/{code}", headers={"Accept": "application/problem+json"})).json()
        assert (facts["status"], facts["title"], facts["retryable"]) == (kind.status, kind.title, kind.retryable)
    listed = (await client.get("/problems", headers={"Accept": "application/problem+json"})).json()["data"]
    assert {entry["code"] for entry in listed} == set(PROBLEMS)


async def test_the_page_of_malformed_requests_explains_the_codes_of_faults(client: httpx.AsyncClient) -> None:
    page = (await client.get("/problems/invalid_request")).text
    assert all(f"<code>{code}</code>" in page for code in INPUT_FAULTS)


async def test_an_unknown_problem_path_or_method_is_a_problem_itself(client: httpx.AsyncClient) -> None:
    problem(await client.get("/problems/none"), 404, "not_found")
    problem(await client.get("/problems/%3Cscript%3E"), 404, "not_found")
    problem(await client.get("/v2/refunds"), 404, "not_found")
    for path, allowed in (
        ("/v1/refunds/rf_1", "DELETE, GET, PATCH"),
        ("/v1/stores/demo/orders/1/refunds/2", "DELETE, GET"),
        ("/v1/refunds/rf_1/events", "GET"),
    ):
        answer = await client.put(path)
        problem(answer, 405, "method_not_allowed")
        assert answer.headers["allow"] == allowed


async def test_a_slash_too_many_is_not_redirected(client: httpx.AsyncClient) -> None:
    problem(await client.post("/v1/refunds/", content=json.dumps({})), 404, "not_found")
