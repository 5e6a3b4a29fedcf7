"""Refunds: preview, carry out, read."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from app.api import documentation as docs
from app.api.auth import caller_of
from app.api.deps import PREFER, IdempotencyKey, RefundIdInPath, preference, runtime_of
from app.api.errors import answer_submission, problem_of
from app.api.event_views import EventList, event_view
from app.api.keyed import KeyedRoute
from app.api.paging import cut_page, event_cursor, refund_cursor
from app.api.problem_codes import ProblemCode
from app.api.queries import LedgerQuery, Page
from app.api.schemas import RefundBody, to_command
from app.api.trace import trace_of
from app.api.views import PreviewView, RefundList, RefundView, preview_view, refund_view
from app.flows.preview import preview
from app.flows.results import Accepted, Caller, Quote, RefundNotFound
from app.flows.runtime import Runtime
from app.flows.submit import submit
from app.ledger import events, refunds, search
from app.ledger.records import RefundRecord

router = APIRouter(prefix="/v1/refunds", tags=["Refunds"], route_class=KeyedRoute)

_OF_POSTS: tuple[ProblemCode, ...] = (
    *docs.OF_BODIES,
    *docs.OF_DECISIONS,
    *docs.OF_STORES,
    "ambiguous_order_number",
)
_OF_CREATION: tuple[ProblemCode, ...] = (
    *_OF_POSTS,
    "idempotency_key_reused",
    "external_reference_conflict",
    "request_in_progress",
    "quote_not_found",
    "quote_expired",
    "quote_mismatch",
    "refund_failed",
    "refund_canceled",
)
_CREATED = ("Location", "Idempotent-Replayed", "Preference-Applied")


@router.post(
    "",
    operation_id="create_refund",
    status_code=201,
    **docs.documented(
        "refunds:write",
        _OF_CREATION,
        answers={
            201: {"description": "The refund succeeded.", "headers": _CREATED},
            202: {
                "description": "The refund is not final yet; read it at Location.",
                "model": RefundView,
                "headers": _CREATED,
            },
        },
        parameters=[PREFER],
        failures=docs.OF_DECISIONS,
    ),
)
async def create_refund(
    request: Request,
    response: Response,
    body: RefundBody,
    idempotency_key: IdempotencyKey = None,
) -> RefundView:
    """Carry a refund out, exactly once, and answer with the truth.

    Send an `Idempotency-Key` or an `external_reference` with it, better both: the same request can then be repeated
    without fear. The answer comes when the outcome is known, or after the time that `Prefer: wait=N` allows.
    """
    runtime = runtime_of(request)
    preferred = preference(request, runtime.settings)
    submission = await submit(
        runtime,
        caller_of(request),
        to_command(body),
        idempotency_key=idempotency_key,
        request_id=trace_of(request.scope).request_id,
        wait_s=preferred.wait_s,
        at_once=preferred.at_once,
    )
    if not isinstance(submission, Accepted):
        raise problem_of(submission)
    if preferred.applied is not None:
        response.headers["Preference-Applied"] = preferred.applied
    return answer_submission(submission, response)


@router.post(
    "/preview",
    operation_id="preview_refund",
    **docs.documented("refunds:write", _OF_POSTS, answers={200: {"description": "What the refund would be."}}),
)
async def preview_refund(request: Request, body: RefundBody) -> PreviewView:
    """Say what a refund would be, without doing it.

    Creates nothing beyond the quote, which binds a refund to the order's present state for 15 minutes.
    """
    command = to_command(body)
    outcome = await preview(runtime_of(request), caller_of(request), command)
    if not isinstance(outcome, Quote):
        raise problem_of(outcome)
    return preview_view(command.store, outcome)


@router.get(
    "",
    operation_id="list_refunds",
    **docs.documented(
        "refunds:read",
        docs.OF_INPUT,
        answers={200: {"description": "A page of refunds, newest first.", "headers": ["Link"]}},
    ),
)
async def list_refunds(
    request: Request,
    response: Response,
    query: Annotated[LedgerQuery, Query()],
) -> RefundList:
    """List refunds, newest first."""
    caller = caller_of(request)
    filters = search.RefundFilters(store_ids=caller.store_ids, **query.model_dump(exclude={"limit", "after"}))
    async with runtime_of(request).database.reading() as conn:
        found = await search.page(
            conn, caller.tenant_id, filters, limit=query.limit + 1, after=refund_cursor(query.after)
        )
    records, cursor = cut_page(request, response, found, query.limit)
    return RefundList(data=[refund_view(record) for record in records], next_cursor=cursor)


async def _find(runtime: Runtime, caller: Caller, refund_id: str) -> RefundRecord:
    async with runtime.database.reading() as conn:
        record = await refunds.find(conn, caller.tenant_id, refund_id)
    if record is None or (caller.store_ids is not None and record.store_id not in caller.store_ids):
        raise problem_of(RefundNotFound(refund_id=refund_id))
    return record


@router.get(
    "/{refund_id}",
    operation_id="get_refund",
    **docs.documented("refunds:read", ["refund_not_found"], answers={200: {"description": "The refund as it is."}}),
)
async def get_refund(request: Request, refund_id: RefundIdInPath) -> RefundView:
    """Read a refund in its present state."""
    return refund_view(await _find(runtime_of(request), caller_of(request), refund_id))


@router.get(
    "/{refund_id}/events",
    operation_id="list_refund_events",
    **docs.documented(
        "events:read",
        [*docs.OF_INPUT, "refund_not_found"],
        answers={200: {"description": "A page of the refund's timeline, oldest first.", "headers": ["Link"]}},
    ),
)
async def list_refund_events(
    request: Request,
    response: Response,
    refund_id: RefundIdInPath,
    query: Annotated[Page, Query()],
) -> EventList:
    """Read a refund's timeline: every change, attempt and answer of the store, who and when."""
    runtime, caller = runtime_of(request), caller_of(request)
    record = await _find(runtime, caller, refund_id)
    async with runtime.database.reading() as conn:
        found = await events.timeline(
            conn, caller.tenant_id, record.id, limit=query.limit + 1, after=event_cursor(query.after)
        )
    timeline, cursor = cut_page(request, response, found, query.limit)
    return EventList(data=[event_view(event) for event in timeline], next_cursor=cursor)
