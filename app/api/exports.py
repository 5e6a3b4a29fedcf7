"""Exports: refunds as rows for journals."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import Field

from app.api import documentation as docs
from app.api import queries
from app.api.auth import caller_of
from app.api.batch_input import Moment
from app.api.deps import runtime_of
from app.api.errors import problem_of
from app.api.export_rows import COLUMNS, ExportRow, as_csv, as_ndjson
from app.api.keyed import KeyedRoute
from app.api.problems import InputFault, invalid_request
from app.api.values import StoreName
from app.domain.refund import Status
from app.flows import export as flow
from app.flows.results import StoreNotFound
from app.ledger.exports import Export, ExportedBy

router = APIRouter(prefix="/v1/exports", tags=["Exports"], route_class=KeyedRoute)

_ROWS = (
    "A row for each refund and tax rate, oldest first; `rate_id` is empty for what is without tax, and the rows' "
    "`gross` adds up to the refund's amount. A line that several rates were charged on has its net with the one that "
    "it bears most of. Refunds that others made are a row each, with what is known of them."
)


class ExportQuery(queries.Query):
    """Which refunds to export."""

    from_: Annotated[Moment, Field(alias="from", description="Inclusive.")]
    to: Annotated[Moment, Field(description="Exclusive.")]
    by: Annotated[
        ExportedBy, Field(description="The time that has to be within: when a refund was settled, or created.")
    ] = "settled"
    store: StoreName | None = None
    status: Status = "succeeded"


def _documented(content: Mapping[str, Any], description: str) -> dict[str, Any]:
    return docs.documented(
        "refunds:read",
        [*docs.OF_INPUT, "store_not_found"],
        answers={200: {"description": f"{_ROWS} {description}", "content": dict(content)}},
    )


async def _export(request: Request, query: ExportQuery) -> Export:
    if query.from_ >= query.to:
        fault = InputFault(code="out_of_range", pointer="/to", place="query", message="It has to be after `from`.")
        raise invalid_request([fault])
    planned = await flow.plan(
        runtime_of(request),
        caller_of(request),
        from_=query.from_,
        to=query.to,
        by=query.by,
        status=query.status,
        store=query.store,
    )
    if isinstance(planned, StoreNotFound):
        raise problem_of(planned)
    return planned


def _named(query: ExportQuery, extension: str) -> dict[str, str]:
    name = f"refunds-{query.from_:%Y%m%d}-{query.to:%Y%m%d}.{extension}"
    return {"Content-Disposition": f'attachment; filename="{name}"'}


@router.get(
    "/refunds.csv",
    operation_id="export_refunds_as_csv",
    response_class=StreamingResponse,
    **_documented(
        {"text/csv": {"schema": {"type": "string"}}},
        f"Columns: {', '.join(COLUMNS)}. Text that a spreadsheet would take for a formula has an apostrophe before it.",
    ),
)
async def export_refunds_as_csv(request: Request, query: Annotated[ExportQuery, Query()]) -> Response:
    """Read the refunds of a time as CSV, a row per refund and tax rate, ready for journals."""
    parts = as_csv(runtime_of(request), caller_of(request).tenant_id, await _export(request, query))
    return StreamingResponse(parts, media_type="text/csv; charset=utf-8", headers=_named(query, "csv"))


@router.get(
    "/refunds.ndjson",
    operation_id="export_refunds_as_ndjson",
    response_class=StreamingResponse,
    **_documented(
        {"application/x-ndjson": {"schema": {"type": "string"}}},
        f"Each line is a JSON object with: {', '.join(ExportRow.model_fields)}. What is not known is null.",
    ),
)
async def export_refunds_as_ndjson(request: Request, query: Annotated[ExportQuery, Query()]) -> Response:
    """Read the refunds of a time as NDJSON, a line per refund and tax rate, ready for journals."""
    parts = as_ndjson(runtime_of(request), caller_of(request).tenant_id, await _export(request, query))
    return StreamingResponse(parts, media_type="application/x-ndjson", headers=_named(query, "ndjson"))
