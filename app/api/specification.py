"""What the OpenAPI document says beyond the routes: problems, headers, and the ways to show a key."""

import re
from typing import Any

from app.api.problem_table import INPUT_FAULTS, PROBLEMS

DESCRIPTION = """\
One truthful refund API over WooCommerce stores.

- Money is decimal text in major units, for example `"20.00"`. Times are RFC 3339, UTC.
- Repeat a request with the same `Idempotency-Key` or `external_reference`: a refund is never carried out twice.
- `status` says how far a refund has come; `money` says whether any has moved.
- Errors are `application/problem+json` (RFC 9457). Act on `code`; `/problems/{code}` explains each.
"""

_PROBLEM: dict[str, Any] = {
    "title": "Problem",
    "description": "What went wrong (RFC 9457). Some codes add members of their own, such as `refundable`, "
    "`refund_id`, `refund`, `differing` or `retry_after_s`.",
    "type": "object",
    "required": ["type", "title", "status", "detail", "code", "request_id", "retryable"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference", "description": "A page that explains the code."},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What went wrong this time, for people."},
        "code": {"type": "string", "enum": sorted(PROBLEMS)},
        "request_id": {"type": "string"},
        "retryable": {"type": "boolean", "description": "The very same request can succeed later."},
        "errors": {
            "type": "array",
            "items": {"$ref": "#/components/schemas/RequestFault"},
            "description": "Every fault found in the request, not only the first.",
        },
        "refund": {"$ref": "#/components/schemas/Refund"},
    },
    "examples": [
        {
            "type": "/problems/exceeds_refundable",
            "title": PROBLEMS["exceeds_refundable"].title,
            "status": 422,
            "detail": "The refund comes to 25.00 EUR; of the order, 20.00 EUR can still be refunded.",
            "code": "exceeds_refundable",
            "request_id": "req_01J8ZK5Q3N6T0V9W2X4Y7A8B9C",
            "retryable": False,
            "refundable": "20.00",
            "errors": [
                {
                    "pointer": "/amount",
                    "in": "body",
                    "code": "exceeds_refundable",
                    "message": "The refund comes to 25.00 EUR; of the order, 20.00 EUR can still be refunded.",
                    "refundable": "20.00",
                }
            ],
        }
    ],
}
_FAULT: dict[str, Any] = {
    "title": "RequestFault",
    "description": "One fault. Facts that a program may want stand beside these members, such as `suggestion`, "
    "`choices`, `limit` or `refundable`.",
    "type": "object",
    "required": ["pointer", "in", "code", "message"],
    "properties": {
        "pointer": {
            "type": "string",
            "description": "JSON pointer (RFC 6901) into the body, or into the row of a file; for headers and queries, "
            "`/` and the name.",
        },
        "row": {"type": "integer", "description": "Of a batch: the item's number, from 1."},
        "line": {"type": "integer", "description": "Of a file: the line that the row begins in, from 1."},
        "column": {"type": "string", "description": "Of a CSV: the column, as its header has it."},
        "in": {"type": "string", "enum": ["body", "query", "header", "path"]},
        "code": {"type": "string", "enum": sorted({*PROBLEMS, *INPUT_FAULTS})},
        "message": {"type": "string"},
    },
}


#: Headers that answers of several routes have, by name.
HEADERS: dict[str, Any] = {
    "X-Request-Id": {"description": "The request's id: the one sent, or a new one.", "schema": {"type": "string"}},
    "RateLimit-Limit": {"description": "Requests per window.", "schema": {"type": "integer"}},
    "RateLimit-Remaining": {"description": "Requests left in this window.", "schema": {"type": "integer"}},
    "RateLimit-Reset": {"description": "Seconds until the next window.", "schema": {"type": "integer"}},
    "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 1}},
    "Location": {
        "description": "The address of what was made.",
        "schema": {"type": "string", "format": "uri-reference"},
    },
    "Idempotent-Replayed": {
        "description": "`true` when the refund was there before this request.",
        "schema": {"type": "string", "const": "true"},
    },
    "Preference-Applied": {"description": "The preferences that were honoured.", "schema": {"type": "string"}},
    "Link": {
        "description": "Other pages (RFC 8288): `next`, absent on the last; where pages are numbered also `prev`, "
        "`first` and `last`.",
        "schema": {"type": "string"},
    },
}


def complete(raw: dict[str, Any]) -> dict[str, Any]:
    """Add problems, headers and the ways to show a key, and give models the names that clients should see."""
    document: dict[str, Any] = _renamed(raw)
    components = document["components"]
    schemas = components["schemas"]
    for operation in (operation for path in document["paths"].values() for operation in path.values()):
        # FastAPI adds its own shape of 422 to every route with parameters; ours are documented where they can be.
        if "HTTPValidationError" in str(operation["responses"].get("422")):
            del operation["responses"]["422"]
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas["Problem"] = _PROBLEM
    schemas["RequestFault"] = _FAULT
    components["headers"] = HEADERS
    components["securitySchemes"] = {
        "ApiKey": {"type": "http", "scheme": "bearer", "description": "The API key, `rgk_…`."},
        "KeyIdAndSecret": {
            "type": "http",
            "scheme": "basic",
            "description": "For tools that know nothing else: the key's id as user name, its secret as password.",
        },
    }
    return document


_MODEL = re.compile(r"^(?P<start>#/components/schemas/|)(?P<name>[A-Z]\w+?)(?P<kind>View|Body)$")


def _renamed(part: Any) -> Any:
    """Call `RefundView` `Refund` and `RefundBody` `RefundRequest`, wherever they are defined, titled or pointed at."""
    match part:
        case dict():
            return {
                (_public(name) if name[0:1].isupper() else name): (
                    _public(inner) if name in {"$ref", "title"} and isinstance(inner, str) else _renamed(inner)
                )
                for name, inner in part.items()
            }
        case list():
            return [_renamed(inner) for inner in part]
        case _:
            return part


def _public(name: str) -> str:
    found = _MODEL.fullmatch(name)
    if found is None:
        return name
    return found["start"] + found["name"] + ("Request" if found["kind"] == "Body" else "")
