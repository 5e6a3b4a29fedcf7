"""What OpenAPI says of a route beyond its models: the key's scope, the headers, and every problem."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, get_args

from app.api.auth import Scope
from app.api.problems import PROBLEM_JSON, PROBLEMS, ProblemCode
from app.domain.errors import RefusalCode

#: Any route that asks for a key can answer these.
_OF_KEYS: tuple[ProblemCode, ...] = ("unauthorized", "forbidden", "rate_limited")
#: Any route at all.
_OF_ALL: tuple[ProblemCode, ...] = ("invalid_request", "internal_error", "service_unavailable")
#: Any route that reads a body.
OF_BODIES: tuple[ProblemCode, ...] = ("body_too_large", "body_too_slow", "unsupported_media_type")
#: Whatever the business can refuse about a refund.
OF_DECISIONS: tuple[ProblemCode, ...] = get_args(RefusalCode)
#: Any route that reads a store.
OF_STORES: tuple[ProblemCode, ...] = ("store_not_found", "store_unavailable", "store_misconfigured")

_RATE_HEADERS: Mapping[str, Any] = {
    "RateLimit-Limit": {"description": "Requests per window.", "schema": {"type": "integer"}},
    "RateLimit-Remaining": {"description": "Requests left in this window.", "schema": {"type": "integer"}},
    "RateLimit-Reset": {"description": "Seconds until the next window.", "schema": {"type": "integer"}},
}
_REQUEST_ID: Mapping[str, Any] = {
    "X-Request-Id": {"description": "The request's id: the one sent, or a new one.", "schema": {"type": "string"}}
}
_RETRY_AFTER: Mapping[str, Any] = {
    "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 1}}
}
LOCATION: Mapping[str, Any] = {
    "Location": {"description": "The refund's address.", "schema": {"type": "string", "format": "uri-reference"}}
}
REPLAYED: Mapping[str, Any] = {
    "Idempotent-Replayed": {
        "description": "`true` when the refund was there before this request.",
        "schema": {"type": "string", "const": "true"},
    }
}
PREFERENCE_APPLIED: Mapping[str, Any] = {
    "Preference-Applied": {"description": "The preferences that were honoured.", "schema": {"type": "string"}}
}
LINK: Mapping[str, Any] = {
    "Link": {"description": 'The next page, with rel="next"; absent on the last.', "schema": {"type": "string"}}
}


def documented(
    scope: Scope | None,
    problems: Iterable[ProblemCode] = (),
    *,
    answers: Mapping[int, Mapping[str, Any]],
) -> dict[str, Any]:
    """Give a route's keyword arguments for its documentation; `answers` holds the good ones' entries by status."""
    codes: set[ProblemCode] = {*problems, *_OF_ALL, *(() if scope is None else _OF_KEYS)}
    headers = {**_REQUEST_ID, **({} if scope is None else _RATE_HEADERS)}
    responses: dict[int | str, dict[str, Any]] = {
        status: {**entry, "headers": {**headers, **entry.get("headers", {})}} for status, entry in answers.items()
    }
    by_status: dict[int, list[ProblemCode]] = defaultdict(list)
    for code in sorted(codes):
        by_status[PROBLEMS[code].status].append(code)
    for status, of_status in by_status.items():
        responses[status] = _problem_response(status, of_status, headers)
    extra: dict[str, Any] = {"security": []}
    if scope is not None:
        extra = {"security": [{"ApiKey": []}, {"KeyIdAndSecret": []}], "x-required-scope": scope}
    return {"responses": responses, "openapi_extra": extra}


def _problem_response(status: int, codes: list[ProblemCode], headers: Mapping[str, Any]) -> dict[str, Any]:
    with_retry = status in (429, 503)
    return {
        "description": " · ".join(f"`{code}`: {PROBLEMS[code].title}" for code in codes),
        "headers": {**headers, **(_RETRY_AFTER if with_retry else {})},
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
