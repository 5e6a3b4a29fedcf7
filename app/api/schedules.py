"""Schedules: refunds of selected orders, and reconciliations, at the times of a cron expression."""

import json
from typing import Annotated, NoReturn, TypeVar

from fastapi import APIRouter, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import Field, ValidationError

from app.api import documentation as docs
from app.api.auth import caller_of
from app.api.deps import IdempotencyKey, ScheduleIdInPath, runtime_of
from app.api.errors import problem_of
from app.api.keyed import KeyedRoute
from app.api.paging import cut_page, run_cursor, schedule_cursor
from app.api.problems import InputFault, Problem, invalid_request
from app.api.queries import Page
from app.api.queries import Query as Parameters
from app.api.schedule_intake import to_new_schedule
from app.api.schedule_schemas import ScheduleBody, ScheduleChangesBody, ScheduleQuery
from app.api.schedule_views import (
    LookAheadView,
    ScheduleList,
    ScheduleRunList,
    ScheduleRunView,
    ScheduleView,
    look_ahead_view,
    request_document,
    run_view,
    schedule_view,
)
from app.flows import schedules as flow
from app.flows.content import request_fingerprint
from app.flows.results import KeyReused, StoreFailed, StoreNotFound
from app.flows.schedules import LookAhead, NewSchedule, Opened, RunAsked, ScheduleFaulty, ScheduleMade, ScheduleNotFound

router = APIRouter(prefix="/v1/schedules", tags=["Schedules"], route_class=KeyedRoute)

No = ScheduleNotFound | ScheduleFaulty | StoreNotFound | StoreFailed | KeyReused
Yes = TypeVar("Yes")


class LookAheadQuery(Parameters):
    """How far to look."""

    limit: Annotated[
        int, Field(ge=1, le=100, description="Orders to select at most, and to show of those that are left out.")
    ] = 20


@router.post(
    "",
    operation_id="create_schedule",
    status_code=201,
    **docs.documented(
        "refunds:write",
        [*docs.OF_BODIES, "store_not_found", "idempotency_key_reused"],
        answers={201: {"description": "The schedule.", "headers": ("Location", "Idempotent-Replayed")}},
    ),
)
async def create_schedule(
    request: Request, response: Response, body: ScheduleBody, idempotency_key: IdempotencyKey = None
) -> ScheduleView:
    """Make a schedule.

    Each run of a schedule of refunds makes a batch of the orders that its selector finds. An order is never refunded
    twice by the same schedule; it is selected again only if the item it was taken for was never sent.
    """
    made = await flow.create(
        runtime_of(request),
        caller_of(request),
        to_new_schedule(body),
        idempotency_key=idempotency_key,
        fingerprint=request_fingerprint("create_schedule", _content(body)),
    )
    if not isinstance(made, ScheduleMade):
        _refuse(made)
    response.headers["Location"] = f"/v1/schedules/{made.opened.id}"
    if made.replayed:
        response.headers["Idempotent-Replayed"] = "true"
    return schedule_view(made.opened)


def _content(body: ScheduleBody) -> bytes:
    return json.dumps(body.model_dump(), default=str, sort_keys=True).encode()


@router.post(
    "/preview",
    operation_id="preview_new_schedule",
    **docs.documented(
        "refunds:write",
        [*docs.OF_BODIES, *docs.OF_STORES],
        answers={200: {"description": "When it would run, and what it would select now."}},
    ),
)
async def preview_new_schedule(
    request: Request, body: ScheduleBody, query: Annotated[LookAheadQuery, Query()]
) -> LookAheadView:
    """Say when a schedule would run and what it would select now, without making it or anything else."""
    return await _look_ahead(request, to_new_schedule(body), query.limit)


@router.get(
    "",
    operation_id="list_schedules",
    **docs.documented(
        "refunds:read",
        docs.OF_INPUT,
        answers={200: {"description": "A page of schedules, newest first.", "headers": ["Link"]}},
    ),
)
async def list_schedules(
    request: Request, response: Response, query: Annotated[ScheduleQuery, Query()]
) -> ScheduleList:
    """List schedules, newest first; every store has a nightly reconciliation to begin with."""
    found = await flow.listed(
        runtime_of(request),
        caller_of(request),
        store=query.store,
        kind=query.kind,
        limit=query.limit + 1,
        after=schedule_cursor(query.after),
    )
    shown, cursor = cut_page(request, response, found, query.limit)
    return ScheduleList(data=[schedule_view(one) for one in shown], next_cursor=cursor)


@router.get(
    "/{schedule_id}",
    operation_id="get_schedule",
    **docs.documented("refunds:read", ["schedule_not_found"], answers={200: {"description": "The schedule."}}),
)
async def get_schedule(request: Request, schedule_id: ScheduleIdInPath) -> ScheduleView:
    """Read a schedule."""
    return schedule_view(_yes(await flow.look(runtime_of(request), caller_of(request), schedule_id)))


@router.patch(
    "/{schedule_id}",
    operation_id="change_schedule",
    **docs.documented(
        "refunds:write",
        [*docs.OF_BODIES, "schedule_not_found"],
        answers={200: {"description": "The schedule as it is now."}},
        also_taken="application/merge-patch+json",
        body=ScheduleChangesBody.__name__,
    ),
)
async def change_schedule(request: Request, schedule_id: ScheduleIdInPath, body: ScheduleChangesBody) -> ScheduleView:
    """Change parts of a schedule; its store and its kind stay. Runs that have begun go on as they were."""
    changes = body.model_dump(exclude_unset=True)

    def rewrite(found: Opened) -> NewSchedule:
        document = request_document(schedule_view(found)) | changes
        document = {name: value for name, value in document.items() if value is not None}
        try:
            return to_new_schedule(ScheduleBody.model_validate(document))
        except ValidationError as error:
            faults = [{**fault, "loc": ("body", *fault["loc"])} for fault in error.errors()]
            raise RequestValidationError(faults, body=document) from error

    return schedule_view(_yes(await flow.change(runtime_of(request), caller_of(request), schedule_id, rewrite)))


@router.delete(
    "/{schedule_id}",
    operation_id="delete_schedule",
    **docs.documented(
        "refunds:write", ["schedule_not_found"], answers={200: {"description": "The schedule as it was."}}
    ),
)
async def delete_schedule(request: Request, schedule_id: ScheduleIdInPath) -> ScheduleView:
    """Delete a schedule for good. The batches of its runs stay, and go on."""
    return schedule_view(_yes(await flow.delete(runtime_of(request), caller_of(request), schedule_id)))


@router.post(
    "/{schedule_id}/pause",
    operation_id="pause_schedule",
    **docs.documented(
        "refunds:write", ["schedule_not_found"], answers={200: {"description": "The schedule, which fires no more."}}
    ),
)
async def pause_schedule(request: Request, schedule_id: ScheduleIdInPath) -> ScheduleView:
    """Pause a schedule. Runs that have begun come to their end."""
    return schedule_view(_yes(await flow.pause(runtime_of(request), caller_of(request), schedule_id)))


@router.post(
    "/{schedule_id}/resume",
    operation_id="resume_schedule",
    **docs.documented(
        "refunds:write", ["schedule_not_found"], answers={200: {"description": "The schedule, which fires again."}}
    ),
)
async def resume_schedule(request: Request, schedule_id: ScheduleIdInPath) -> ScheduleView:
    """Let a paused schedule go on with its next time; those that passed meanwhile are not made up for."""
    return schedule_view(_yes(await flow.resume(runtime_of(request), caller_of(request), schedule_id)))


@router.post(
    "/{schedule_id}/run-now",
    operation_id="run_schedule_now",
    status_code=202,
    **docs.documented(
        "refunds:write",
        [*docs.OF_INPUT, "schedule_not_found", "idempotency_key_reused"],
        answers={202: {"description": "The run, which a worker takes up.", "headers": ("Idempotent-Replayed",)}},
    ),
)
async def run_schedule_now(
    request: Request, response: Response, schedule_id: ScheduleIdInPath, idempotency_key: IdempotencyKey = None
) -> ScheduleRunView:
    """Run a schedule now, beside its times, paused or not."""
    asked = await flow.run_now(
        runtime_of(request),
        caller_of(request),
        schedule_id,
        idempotency_key=idempotency_key,
        fingerprint=request_fingerprint("run_schedule_now", schedule_id.encode()),
    )
    if not isinstance(asked, RunAsked):
        _refuse(asked)
    if asked.replayed:
        response.headers["Idempotent-Replayed"] = "true"
    return run_view(asked.run)


@router.get(
    "/{schedule_id}/runs",
    operation_id="list_schedule_runs",
    **docs.documented(
        "refunds:read",
        [*docs.OF_INPUT, "schedule_not_found"],
        answers={200: {"description": "A page of the schedule's runs, newest first.", "headers": ["Link"]}},
    ),
)
async def list_schedule_runs(
    request: Request, response: Response, schedule_id: ScheduleIdInPath, query: Annotated[Page, Query()]
) -> ScheduleRunList:
    """List what a schedule's runs came to, newest first."""
    found = await flow.runs(
        runtime_of(request), caller_of(request), schedule_id, limit=query.limit + 1, after=run_cursor(query.after)
    )
    shown, cursor = cut_page(request, response, _yes(found), query.limit)
    return ScheduleRunList(data=[run_view(one) for one in shown], next_cursor=cursor)


@router.get(
    "/{schedule_id}/preview",
    operation_id="preview_schedule",
    **docs.documented(
        "refunds:read",
        [*docs.OF_INPUT, *docs.OF_STORES, "schedule_not_found"],
        answers={200: {"description": "When it runs next, and what it would select now."}},
    ),
)
async def preview_schedule(
    request: Request, schedule_id: ScheduleIdInPath, query: Annotated[LookAheadQuery, Query()]
) -> LookAheadView:
    """Say when a schedule runs next and what it would select if it did so now; creates nothing."""
    found = _yes(await flow.look(runtime_of(request), caller_of(request), schedule_id))
    return await _look_ahead(request, flow.as_new(found), query.limit, schedule_id=schedule_id)


async def _look_ahead(request: Request, new: NewSchedule, limit: int, *, schedule_id: str = "sd_new") -> LookAheadView:
    ahead = await flow.look_ahead(runtime_of(request), caller_of(request), new, limit=limit, schedule_id=schedule_id)
    if not isinstance(ahead, LookAhead):
        _refuse(ahead)
    return look_ahead_view(ahead)


def _yes(outcome: Yes | ScheduleNotFound | ScheduleFaulty) -> Yes:
    if isinstance(outcome, ScheduleNotFound | ScheduleFaulty):
        _refuse(outcome)
    return outcome


def _refuse(no: No) -> NoReturn:
    match no:
        case ScheduleNotFound():
            raise Problem("schedule_not_found", f"There is no schedule {no.schedule_id}.", schedule_id=no.schedule_id)
        case ScheduleFaulty():
            raise invalid_request(
                [InputFault(code=fault.code, pointer=fault.pointer, message=fault.message) for fault in no.faults]
            )
        case _:
            raise problem_of(no)
