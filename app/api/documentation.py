"""What OpenAPI says of a route beyond its models: the key's scope, the headers, and every problem."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from app.api.auth import Scope
from app.api.problem_codes import FAILURE_CODES, ProblemCode
from app.api.problem_table import PROBLEMS
from app.api.problems import PROBLEM_JSON

#: Where a route's documentation names the scope that a key needs; `KeyedRoute` asks for it.
SCOPE_MEMBER = "x-required-scope"
#: Any route that asks for a key can answer these.
_OF_KEYS: tuple[ProblemCode, ...] = ("unauthorized", "forbidden", "rate_limited")
#: Any route that takes a body, a query or headers of its own.
OF_INPUT: tuple[ProblemCode, ...] = ("invalid_request",)
#: Any route at all.
_OF_ALL: tuple[ProblemCode, ...] = ("internal_error", "service_unavailable")
#: Any route that reads a body.
OF_BODIES: tuple[ProblemCode, ...] = ("invalid_request", "body_too_large", "body_too_slow", "unsupported_media_type")
#: Whatever the business can refuse about a refund.
OF_DECISIONS: tuple[ProblemCode, ...] = tuple(sorted(FAILURE_CODES))
#: Any route that reads a store.
OF_STORES: tuple[ProblemCode, ...] = ("store_not_found", "store_unavailable", "store_misconfigured")
#: Any route that deletes a row in a store.
OF_DELETIONS: tuple[ProblemCode, ...] = (
    *OF_INPUT,
    *OF_STORES,
    "order_not_found",
    "store_refund_not_found",
    "no_store_refund",
    "paid_by_gateway",
    "wrong_state",
)

_OF_ANY_ANSWER = ("X-Request-Id",)
_OF_KEYED_ANSWERS = ("X-Request-Id", "RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset")


def documented(
    scope: Scope | None,
    problems: Iterable[ProblemCode] = (),
    *,
    answers: Mapping[int, Mapping[str, Any]],
    parameters: Iterable[Mapping[str, Any]] = (),
    failures: Iterable[ProblemCode] = (),
    also_taken: str | None = None,
    body: str | None = None,
    request_body: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Give a route's keyword arguments for its documentation; `answers` holds the good ones by status.

    `parameters` are those that the route reads by itself. `failures` are codes that also come with 422, whatever their
    own status, as the reason why a refund failed. `also_taken` is another media type in which the model `body` is
    read. `request_body` describes a body that the route reads by itself.
    """
    codes: set[ProblemCode] = {*problems, *_OF_ALL, *(() if scope is None else _OF_KEYS)}
    headers = _OF_ANY_ANSWER if scope is None else _OF_KEYED_ANSWERS
    responses: dict[int | str, dict[str, Any]] = {
        status: {**entry, "headers": _headers(*headers, *entry.get("headers", ()))} for status, entry in answers.items()
    }
    by_status: dict[int, list[ProblemCode]] = defaultdict(list)
    for code in sorted(codes):
        by_status[PROBLEMS[code].status].append(code)
    if failures:
        by_status[422] = sorted({*by_status[422], *failures})
    for status, of_status in by_status.items():
        responses[status] = _problem_response(status, of_status, headers)
    extra: dict[str, Any] = {"security": []}
    if scope is not None:
        extra = {"security": [{"ApiKey": []}, {"KeyIdAndSecret": []}], SCOPE_MEMBER: scope}
    if parameters:
        extra["parameters"] = [dict(parameter) for parameter in parameters]
    if also_taken is not None:
        extra["requestBody"] = {"content": {also_taken: {"schema": {"$ref": f"#/components/schemas/{body}"}}}}
    if request_body is not None:
        extra["requestBody"] = dict(request_body)
    return {"responses": responses, "openapi_extra": extra}


def _headers(*names: str) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _problem_response(status: int, codes: list[ProblemCode], headers: tuple[str, ...]) -> dict[str, Any]:
    more = ("Retry-After",) if status in (429, 503) else ()
    return {
        "description": " · ".join(f"`{code}`: {PROBLEMS[code].title}" for code in codes),
        "headers": _headers(*headers, *more),
        "content": {
            PROBLEM_JSON: {
                "schema": {
                    "allOf": [
                        {"$ref": "#/components/schemas/Problem"},
                        {"type": "object", "properties": {"code": {"enum": codes}}},
                    ]
                }
            }
        },
    }
