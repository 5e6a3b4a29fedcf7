"""The OpenAPI document: what FastAPI does not know of, and a dump that is the same every time.

`python -m app.api.openapi` prints it without a database.
"""

import json
import sys
from typing import Any

from app.api.problems import ALL_CODES, INPUT_FAULTS, PROBLEMS

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
        "code": {"type": "string", "enum": list(ALL_CODES)},
        "request_id": {"type": "string"},
        "retryable": {"type": "boolean", "description": "The very same request can succeed later."},
        "errors": {
            "type": "array",
            "items": {"$ref": "#/components/schemas/RequestFault"},
            "description": "Every fault found in the request, not only the first.",
        },
        "refund": {"$ref": "#/components/schemas/RefundView"},
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
            "description": "JSON pointer (RFC 6901) into the body; for headers and queries, `/` and the name.",
        },
        "in": {"type": "string", "enum": ["body", "query", "header", "path"]},
        "code": {"type": "string", "enum": sorted({*ALL_CODES, *INPUT_FAULTS})},
        "message": {"type": "string"},
    },
}


def complete(document: dict[str, Any]) -> dict[str, Any]:
    """Add the problem's schemas and the ways to show a key; take out what FastAPI adds for its own errors."""
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas["Problem"] = _PROBLEM
    schemas["RequestFault"] = _FAULT
    components["securitySchemes"] = {
        "ApiKey": {"type": "http", "scheme": "bearer", "description": "The API key, `rgk_…`."},
        "KeyIdAndSecret": {
            "type": "http",
            "scheme": "basic",
            "description": "For tools that know nothing else: the key's id as user name, its secret as password.",
        },
    }
    return document


def dump() -> str:
    """Write the document, sorted and indented; equal code gives equal text."""
    from app.api import build
    from app.settings import Settings

    return json.dumps(build(Settings()).openapi(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(dump())
