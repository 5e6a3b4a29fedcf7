"""From what went wrong to the problem that says so: flow results, malformed requests, missing routes, outages."""

import math
from typing import Any, assert_never, cast

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from pydantic_core import to_json
from starlette.exceptions import HTTPException

from app.api.faults import faults_of
from app.api.problem_codes import FAILURE_CODES, ProblemCode
from app.api.problem_table import PROBLEMS
from app.api.problems import PROBLEM_JSON, InputFault, Problem, invalid_request
from app.api.trace import trace_of
from app.api.views import RefundView, refund_view
from app.database import OUTAGES
from app.domain.errors import Refusal, RefusalCode
from app.domain.refund import FINAL
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
from app.ledger.records import RefundRecord
from app.telemetry import log

No = (
    Refusal
    | StoreNotFound
    | KeyReused
    | ReferenceConflict
    | RequestInProgress
    | OrderBlocked
    | StoreFailed
    | AmbiguousOrderNumber
    | QuoteRefused
    | OrderChanged
    | RefundNotFound
    | WrongState
    | StoreRefundNotFound
    | PaidByGateway
    | NoStoreRefund
)

#: Codes of `StoreFailed` that asking again does not change.
_LASTING_FAILURES = frozenset({"order_not_found", "store_misconfigured", "list_too_long", "list_unsupported"})

_RETRY_IN_PROGRESS_S = 2
_RETRY_BLOCKED_ORDER_S = 5
_RETRY_STORE_S = 10
_RETRY_SERVICE_S = 5


def problem_of(no: No) -> Problem:
    """Say a flow's "no" as a problem."""
    match no:
        case Refusal():
            return _refused(no)
        case StoreNotFound():
            return Problem("store_not_found", f"There is no store {no.store!r} that this key may use.", store=no.store)
        case KeyReused():
            named = "refund_id" if no.resource_id.startswith("rf_") else "resource_id"
            facts: dict[str, Any] = {named: no.resource_id}
            detail = f"This Idempotency-Key made {no.resource_id} from other content."
            return Problem("idempotency_key_reused", detail, **facts)
        case ReferenceConflict():
            return Problem(
                "external_reference_conflict",
                f"The external reference belongs to the refund {no.refund_id}, which differs in: "
                f"{', '.join(no.differing)}.",
                refund_id=no.refund_id,
                differing=list(no.differing),
            )
        case RequestInProgress():
            return Problem("request_in_progress", headers=_retry_after(_RETRY_IN_PROGRESS_S), refund_id=no.refund_id)
        case OrderBlocked():
            return Problem(
                "refund_in_progress",
                f"The refund {no.refund_id} of this order is not settled yet; a second one now could pay twice.",
                headers=_retry_after(_RETRY_BLOCKED_ORDER_S),
                refund_id=no.refund_id,
            )
        case StoreFailed():
            return _store_failed(no)
        case AmbiguousOrderNumber():
            return Problem("ambiguous_order_number", order_ids=list(no.order_ids))
        case QuoteRefused():
            code = no.code if no.code in PROBLEMS else "quote_mismatch"
            return Problem(cast("ProblemCode", code), no.message)
        case OrderChanged():
            changed = {name: {"then": then, "now": now} for name, (then, now) in no.differences.items()}
            return Problem(
                "order_changed",
                f"The order has changed since the preview: {', '.join(changed) or 'its refunds'}.",
                differences=changed,
            )
        case RefundNotFound():
            return Problem("refund_not_found", f"There is no refund {no.refund_id}.", refund_id=no.refund_id)
        case WrongState():
            return _wrong_state(no)
        case StoreRefundNotFound():
            return Problem(
                "store_refund_not_found",
                f"The store shows no refund {no.store_refund_id} under this order.",
                store_refund_id=no.store_refund_id,
            )
        case PaidByGateway():
            return Problem(
                "paid_by_gateway",
                f"The payment gateway {'has' if no.certain else 'may have'} paid this refund. Deleting its row in the "
                "store brings no money back; if it has to go all the same, send force=true. Nothing was deleted.",
                store_refund_id=no.store_refund_id,
                refund_id=no.refund_id,
            )
        case NoStoreRefund():
            return Problem(
                "no_store_refund",
                "The store has no row of this refund that could be deleted.",
                refund=refund_view(no.record),
                refund_id=no.record.id,
            )
        case _:
            assert_never(no)


def _wrong_state(no: WrongState) -> Problem:
    status = no.record.status
    detail = f"The refund is {status}; this needs {' or '.join(no.allowed)}."
    if status in no.allowed:
        detail = f"The refund is {status}, and just being worked on."
    return Problem("wrong_state", detail, refund=refund_view(no.record), allowed=list(no.allowed))


def _refused(refusal: Refusal) -> Problem:
    lead = refusal.faults[0]
    errors: list[dict[str, Any]] = [
        {**fault.facts, "pointer": fault.pointer, "in": "body", "code": fault.code, "message": fault.message}
        for fault in refusal.faults
    ]
    return Problem(lead.code, lead.message, errors=errors, **_harmless(lead.facts))


def _harmless(facts: Any) -> dict[str, Any]:
    """Keep facts from taking the place of a problem's own members."""
    taken = {"type", "title", "status", "detail", "code", "request_id", "retryable", "errors", "headers"}
    return {name: fact for name, fact in facts.items() if name not in taken}


def _store_failed(no: StoreFailed) -> Problem:
    if no.code in _LASTING_FAILURES:
        return Problem(cast("ProblemCode", no.code), no.message)
    retry_s = _RETRY_STORE_S if no.retry_after_s is None else max(1, math.ceil(no.retry_after_s))
    return Problem("store_unavailable", no.message, headers=_retry_after(retry_s), retry_after_s=retry_s)


def _retry_after(seconds: int) -> dict[str, str]:
    return {"Retry-After": str(seconds)}


def answer_submission(accepted: Accepted, response: Response) -> RefundView:
    """Answer a POST by how far its refund has come: 201, 202, or a problem that holds the refund when it failed."""
    record = accepted.record
    headers = {"Location": f"/v1/refunds/{record.id}"}
    if accepted.replayed:
        headers["Idempotent-Replayed"] = "true"
    if record.status == "failed":
        raise _failed(record, headers)
    if record.status == "canceled":
        raise Problem("refund_canceled", headers=headers, refund=refund_view(record), refund_id=record.id)
    response.headers.update(headers)
    response.status_code = 201 if record.status in FINAL else 202
    return refund_view(record)


def _failed(record: RefundRecord, headers: dict[str, str]) -> Problem:
    failure = record.failure
    code: ProblemCode = "refund_failed"
    if failure is not None and failure.code in FAILURE_CODES:
        code = cast("RefusalCode", failure.code)
    detail = failure.message if failure is not None else None
    # 422 whatever the code's own status is: the refund is final, and asking again only gives it again.
    return Problem(code, detail, status=422, headers=headers, refund=refund_view(record), refund_id=record.id)


def install_handlers(app: FastAPI) -> None:
    """Have every exception that ends a request answered by a problem."""
    app.add_exception_handler(Problem, _on_problem)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)
    for outage in OUTAGES:
        app.add_exception_handler(outage, _on_outage)


def problem_response(problem: Problem, request_id: str) -> Response:
    """Write a problem."""
    return Response(
        to_json(problem.document(request_id)),
        status_code=problem.status,
        headers=problem.headers,
        media_type=PROBLEM_JSON,
    )


def _answer(request: Request, problem: Problem) -> Response:
    return problem_response(problem, trace_of(request.scope).request_id)


async def _on_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return _answer(request, error)


async def _on_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    if isinstance(error.body, bytes):
        # FastAPI hands the bytes on when the Content-Type is not JSON.
        content_type = request.headers.get("content-type", "")
        return _answer(request, Problem("unsupported_media_type", f"The Content-Type is {content_type[:100]!r}."))
    faults = faults_of(error, _model(request))
    return _answer(request, invalid_request(faults))


def _model(request: Request) -> type[BaseModel] | None:
    """Give the model that the request had to fit: of its body, or of its query."""
    route = request.scope.get("route")
    field = getattr(route, "body_field", None)
    if field is None:
        params = getattr(getattr(route, "dependant", None), "query_params", None)
        field = params[0] if params else None
    annotation = None if field is None else field.field_info.annotation
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


async def _on_http(request: Request, error: Exception) -> Response:
    """Answer what the framework itself says no to."""
    assert isinstance(error, HTTPException)
    match error.status_code:
        case 404:
            return _answer(request, Problem("not_found"))
        case 405:
            return _answer(request, Problem("method_not_allowed", headers={"Allow": _allowed(request, error)}))
        case status:
            fault = InputFault(code="invalid_json", pointer="", message="The request could not be read.")
            problem = invalid_request([fault]) if status < 500 else Problem("internal_error")
            return _answer(request, problem)


def _allowed(request: Request, error: HTTPException) -> str:
    """Name the methods of a resource; the framework names those of the first route alone that has its path."""
    path = getattr(request.scope.get("route"), "path", "")
    known: dict[str, Any] = request.app.openapi()["paths"].get(path, {})
    return ", ".join(sorted(method.upper() for method in known)) or (error.headers or {}).get("Allow", "GET")


async def _on_outage(request: Request, error: Exception) -> Response:
    log.error("ledger.lost", error=str(error))
    return _answer(request, Problem("service_unavailable", headers=_retry_after(_RETRY_SERVICE_S)))
