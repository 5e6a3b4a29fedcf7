"""Reconciliation: what differs between the ledger, a store and an ERP's list, and who has seen to it."""

import asyncio
import re
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.responses import StreamingResponse

from app.api import documentation as docs
from app.api.auth import caller_of
from app.api.batch_intake import Faulty
from app.api.deps import IdempotencyKey, runtime_of
from app.api.errors import problem_of
from app.api.keyed import KeyedRoute
from app.api.paging import cut_page, number_cursor, reconciliation_cursor
from app.api.problems import Problem
from app.api.reconciliation_intake import check_query, is_csv, read_document, read_file, request_body
from app.api.reconciliation_reports import COLUMNS, POLICY, as_csv, as_json, as_page
from app.api.reconciliation_views import (
    DriftList,
    DriftListQuery,
    ReconciliationList,
    ReconciliationListQuery,
    ReconciliationQuery,
    ReconciliationReportView,
    ReconciliationView,
    SignOffBody,
    drift_view,
    reconciliation_problem,
    reconciliation_view,
    report_view,
)
from app.api.values import RECONCILIATION_ID_PATTERN
from app.flows import reconcile as flow
from app.flows.reconcile import ReconciliationMade, Report, WindowRefused

router = APIRouter(prefix="/v1/reconciliations", tags=["Reconciliation"], route_class=KeyedRoute)

_ID = re.compile(RECONCILIATION_ID_PATTERN)
_CREATED = ("Location", "Idempotent-Replayed")


@router.post(
    "",
    operation_id="create_reconciliation",
    status_code=202,
    **docs.documented(
        "refunds:write",
        [*docs.OF_BODIES, "store_not_found", "idempotency_key_reused"],
        answers={
            200: {
                "description": "The reconciliation was there before this request.",
                "model": ReconciliationView,
                "headers": _CREATED,
            },
            202: {"description": "The reconciliation is taken on; read it at Location.", "headers": _CREATED},
        },
        request_body=request_body(),
    ),
)
async def create_reconciliation(
    request: Request,
    response: Response,
    query: Annotated[ReconciliationQuery, Query()],
    idempotency_key: IdempotencyKey = None,
) -> ReconciliationView:
    """Compare the ledger's refunds of a time with the store's, one by one, and with the ERP's list if one is sent.

    Nothing is written to the store. Refunds that the ledger had not heard of are on record afterwards. The
    ERP's list is taken whole or not at all: `errors` names every fault by `row`, `line` and `column`.
    """
    sent_as_csv = is_csv(request)
    check_query(query, as_csv=sent_as_csv)
    raw = await request.body()
    read = await (asyncio.to_thread(read_file, raw, query) if sent_as_csv else asyncio.to_thread(read_document, raw))
    if isinstance(read, Faulty):
        raise read.problem()
    made = await flow.create(runtime_of(request), caller_of(request), read, idempotency_key=idempotency_key)
    if isinstance(made, WindowRefused):
        raise reconciliation_problem(made, in_query=sent_as_csv)
    if not isinstance(made, ReconciliationMade):
        raise problem_of(made)
    response.headers["Location"] = f"/v1/reconciliations/{made.record.id}"
    if made.replayed:
        response.headers["Idempotent-Replayed"] = "true"
        response.status_code = 200
    return reconciliation_view(made.record)


@router.get(
    "",
    operation_id="list_reconciliations",
    **docs.documented(
        "refunds:read",
        docs.OF_INPUT,
        answers={200: {"description": "A page of reconciliations, newest first.", "headers": ["Link"]}},
    ),
)
async def list_reconciliations(
    request: Request, response: Response, query: Annotated[ReconciliationListQuery, Query()]
) -> ReconciliationList:
    """List reconciliations, newest first."""
    found = await flow.listed(
        runtime_of(request),
        caller_of(request),
        limit=query.limit + 1,
        after=reconciliation_cursor(query.after),
        store=query.store,
        status=query.status,
        schedule_id=query.schedule,
    )
    records, cursor = cut_page(request, response, found, query.limit)
    return ReconciliationList(data=[reconciliation_view(record) for record in records], next_cursor=cursor)


async def _known_id(
    reconciliation_id: Annotated[
        str,
        Path(
            description="The reconciliation's id.",
            json_schema_extra={"pattern": RECONCILIATION_ID_PATTERN},
            examples=["rc_1"],
        ),
    ],
) -> str:
    if _ID.fullmatch(reconciliation_id) is None:
        shown = reconciliation_id[:64]
        raise Problem("reconciliation_not_found", "There is no reconciliation of this id.", reconciliation_id=shown)
    return reconciliation_id


IdInPath = Annotated[str, Depends(_known_id)]


@router.get(
    "/{reconciliation_id}",
    operation_id="get_reconciliation",
    **docs.documented(
        "refunds:read",
        ["reconciliation_not_found"],
        answers={200: {"description": "How far it has come; once it is finished, its totals."}},
    ),
)
async def get_reconciliation(request: Request, reconciliation_id: IdInPath) -> ReconciliationReportView:
    """Read a reconciliation: how far it has come, and what it came to by day, currency and class."""
    found = await flow.look(runtime_of(request), caller_of(request), reconciliation_id)
    if not isinstance(found, Report):
        raise reconciliation_problem(found)
    return report_view(found)


async def _finished(request: Request, reconciliation_id: IdInPath) -> Report:
    found = await flow.report(runtime_of(request), caller_of(request), reconciliation_id)
    if not isinstance(found, Report):
        raise reconciliation_problem(found)
    return found


Finished = Annotated[Report, Depends(_finished)]


@router.get(
    "/{reconciliation_id}/drifts",
    operation_id="list_drifts",
    **docs.documented(
        "refunds:read",
        [*docs.OF_INPUT, "reconciliation_not_found", "reconciliation_not_finished"],
        answers={200: {"description": "A page of what differs, by class and then by time.", "headers": ["Link"]}},
    ),
)
async def list_drifts(
    request: Request, response: Response, report: Finished, query: Annotated[DriftListQuery, Query()]
) -> DriftList:
    """List what differs, with the facts of both sides and what to do about it."""
    found = await flow.drifts(
        runtime_of(request),
        report.record,
        limit=query.limit + 1,
        after=number_cursor(query.after),
        drift_class=query.drift_class,
    )
    drifts, cursor = cut_page(request, response, found, query.limit)
    return DriftList(data=[drift_view(drift) for drift in drifts], next_cursor=cursor)


def _documented(media_type: str, schema: dict[str, Any], description: str) -> dict[str, Any]:
    return docs.documented(
        "refunds:read",
        ["reconciliation_not_found", "reconciliation_not_finished"],
        answers={200: {"description": description, "content": {media_type: {"schema": schema}}}},
    )


@router.get(
    "/{reconciliation_id}/report.json",
    operation_id="get_reconciliation_report",
    response_class=StreamingResponse,
    **_documented(
        "application/json",
        {"type": "object"},
        "The reconciliation with its totals, and in `drifts_found` every drift as in the list of them.",
    ),
)
async def get_reconciliation_report(request: Request, report: Finished) -> Response:
    """Read the whole report as JSON."""
    return StreamingResponse(as_json(runtime_of(request), report), media_type="application/json")


@router.get(
    "/{reconciliation_id}/report.csv",
    operation_id="get_reconciliation_report_as_csv",
    response_class=StreamingResponse,
    **_documented(
        "text/csv",
        {"type": "string"},
        f"A row per drift: {', '.join(COLUMNS)}. Text that a spreadsheet would take for a formula has an apostrophe "
        "before it.",
    ),
)
async def get_reconciliation_report_as_csv(request: Request, report: Finished) -> Response:
    """Read what differs as CSV, a row per drift."""
    headers = {"Content-Disposition": f'attachment; filename="{report.record.id}.csv"'}
    parts = as_csv(runtime_of(request), report)
    return StreamingResponse(parts, media_type="text/csv; charset=utf-8", headers=headers)


@router.get(
    "/{reconciliation_id}/report.html",
    operation_id="get_reconciliation_report_as_page",
    response_class=StreamingResponse,
    **_documented("text/html", {"type": "string"}, "A page to read and to print; it loads nothing."),
)
async def get_reconciliation_report_as_page(request: Request, report: Finished) -> Response:
    """Read the report as a page: totals by day, currency and class, and each drift with its evidence."""
    headers = {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
    parts = as_page(runtime_of(request), report)
    return StreamingResponse(parts, media_type="text/html; charset=utf-8", headers=headers)


@router.post(
    "/{reconciliation_id}/sign-off",
    operation_id="sign_off_reconciliation",
    **docs.documented(
        "refunds:approve",
        [*docs.OF_BODIES, "reconciliation_not_found", "reconciliation_not_finished", "already_signed_off"],
        answers={200: {"description": "The report is signed off, and never changes again."}},
    ),
)
async def sign_off_reconciliation(
    request: Request, reconciliation_id: IdInPath, body: SignOffBody
) -> ReconciliationReportView:
    """Sign a finished report off, once. The same name and note again give the same answer."""
    found = await flow.sign_off(
        runtime_of(request), caller_of(request), reconciliation_id, name=body.name, note=body.note
    )
    if not isinstance(found, Report):
        raise reconciliation_problem(found)
    return report_view(found)
