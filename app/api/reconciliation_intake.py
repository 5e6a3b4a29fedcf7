"""What is sent to start a reconciliation: JSON, or an ERP's list as CSV with the rest in the query."""

import re
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from app.api.batch_intake import Faulty
from app.api.batch_rows import LISTED_FAULTS, UploadFault
from app.api.erp_list import FIELDS, Span, of_csv, of_json
from app.api.faults import faults_of
from app.api.problems import InputFault, Problem, invalid_request
from app.api.reading import Unreadable, read_json
from app.api.reconciliation_views import ReconciliationBody, ReconciliationQuery
from app.domain.reconciliation import MAX_ENTRIES, NewReconciliation


def request_body() -> dict[str, Any]:
    """Describe the body for OpenAPI."""
    schema = ReconciliationBody.model_json_schema(by_alias=True)
    entry = {
        "type": "object",
        "title": "ErpEntry",
        "additionalProperties": False,
        "required": ["amount", "date"],
        "properties": {
            name: {"type": ["string", "null"] if name not in ("amount", "date") else "string", "description": text}
            for name, text in FIELDS.items()
        },
    }
    schema["properties"]["erp"] = {
        "type": ["array", "null"],
        "items": entry,
        "maxItems": MAX_ENTRIES,
        "description": "The ERP's own list of the refunds of this time; left out, or null, there is none.",
    }
    day = {"from": "2026-11-20T00:00:00Z", "to": "2026-11-21T00:00:00Z"}
    booked = {"reference": "CM-2026-00017", "order": "1234", "amount": "20.00", "currency": "EUR", "date": "2026-11-20"}
    schema["examples"] = [{"store": "acme-de", **day}, {"store": "acme-de", **day, "erp": [booked]}]
    columns = " ".join(f"`{name}`: {text}" for name, text in FIELDS.items())
    return {
        "required": True,
        "content": {
            "application/json": {"schema": schema},
            "text/csv": {
                "schema": {
                    "type": "string",
                    "description": "The ERP's list, with `store`, `from` and `to` in the query; UTF-8, separated by "
                    f"commas or semicolons as the header is, columns in any order. {columns}",
                    "examples": ["reference,order,amount,date\r\nCM-2026-00017,1234,20.00,2026-11-20\r\n"],
                }
            },
        },
    }


def is_csv(request: Request) -> bool:
    """Tell from the Content-Type what is sent; none given is JSON."""
    given = request.headers.get("content-type", "")
    media_type, _, parameters = given.lower().partition(";")
    media_type = media_type.strip()
    charset = re.search(r"charset\s*=\s*\"?([^\s\";]+)", parameters)
    if charset is not None and charset[1] not in ("utf-8", "utf8", "us-ascii"):
        raise Problem("unsupported_media_type", f"The charset is {charset[1][:40]!r}; send UTF-8.")
    if media_type in ("text/csv", "application/csv"):
        return True
    if given and media_type != "application/json" and not re.fullmatch(r"application/.+\+json", media_type):
        raise Problem("unsupported_media_type", f"The Content-Type is {given[:100]!r}.")
    return False


def read_document(raw: bytes) -> NewReconciliation | Faulty:
    """Read a JSON body, or say everything that is wrong with it."""
    document = read_json(raw)
    if isinstance(document, Unreadable):
        return _faulty(*(_of_whole(fault) for fault in document.faults))
    if not isinstance(document, dict):
        return _faulty(UploadFault(pointer="", code="body_not_an_object", message="The body is a JSON object."))
    listed = document.pop("erp", None)
    faults: list[UploadFault] = []
    body: ReconciliationBody | None = None
    try:
        body = ReconciliationBody.model_validate(document)
    except ValidationError as error:
        entries = [{**entry, "loc": ("body", *entry["loc"])} for entry in error.errors(include_url=False)]
        faults = [
            _of_whole(fault) for fault in faults_of(RequestValidationError(entries, body=document), ReconciliationBody)
        ]
    span = None if body is None else Span.of(body.from_, body.to)
    erp = None if listed is None else of_json(listed, span)
    in_all = len(faults)
    if erp is not None:
        faults, in_all = [*faults, *erp.faults], in_all + erp.faults_in_all
    if faults or body is None:
        return _faulty(*faults, in_all=in_all)
    return NewReconciliation(store=body.store, from_=body.from_, to=body.to, erp=None if erp is None else erp.entries)


def read_file(raw: bytes, query: ReconciliationQuery) -> NewReconciliation | Faulty:
    """Read a CSV, or say everything that is wrong with it; the query was checked before."""
    assert query.store is not None
    assert query.from_ is not None
    assert query.to is not None
    erp = of_csv(raw, Span.of(query.from_, query.to))
    if erp.faults:
        return _faulty(*erp.faults, in_all=erp.faults_in_all)
    return NewReconciliation(store=query.store, from_=query.from_, to=query.to, erp=erp.entries)


def _faulty(*faults: UploadFault, in_all: int | None = None) -> Faulty:
    return Faulty(faults=faults[:LISTED_FAULTS], in_all=len(faults) if in_all is None else in_all)


def _of_whole(fault: InputFault) -> UploadFault:
    return UploadFault(pointer=fault.pointer, code=fault.code, message=fault.message, facts=fault.facts)


def check_query(query: ReconciliationQuery, *, as_csv: bool) -> None:
    """Hold the query to what goes with the body: everything with a CSV, nothing with JSON."""
    names = {"store": query.store, "from": query.from_, "to": query.to}
    if as_csv:
        faults = [
            InputFault(code="missing_field", pointer=f"/{name}", place="query", message=f"{name} has to be there.")
            for name, value in names.items()
            if value is None
        ]
    else:
        faults = [
            InputFault(code="unknown_field", pointer=f"/{name}", place="query", message="JSON has this in its body.")
            for name, value in names.items()
            if value is not None
        ]
    if faults:
        raise invalid_request(faults)
