"""Batches: many refunds taken on together, looked at, released, paused, resumed and canceled."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.responses import StreamingResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent

from app.api import documentation as docs
from app.api.auth import caller_of, still_admitted
from app.api.batch_documentation import BODY
from app.api.batch_files import FileForm, of_file
from app.api.batch_input import BatchListQuery, BatchOptions, BatchQuery, ItemListQuery, StopsBody
from app.api.batch_intake import Faulty, read_document, take_on
from app.api.batch_progress import changes
from app.api.batch_results import results
from app.api.batch_rows import Upload
from app.api.batch_views import BatchItemList, BatchList, BatchView, batch_problem, batch_view, item_view
from app.api.deps import BatchIdInPath, IdempotencyKey, runtime_of
from app.api.errors import problem_of
from app.api.keyed import KeyedRoute
from app.api.paging import batch_cursor, cut_page, number_cursor
from app.api.problem_codes import ProblemCode
from app.api.problems import InputFault, Problem, invalid_request
from app.api.trace import trace_of
from app.domain.batch import Stops
from app.flows import batch_results as flow_results
from app.flows import batches as flow
from app.flows.batch_results import BatchNotFound, BatchWrongState
from app.flows.content import request_fingerprint
from app.flows.results import KeyReused

router = APIRouter(prefix="/v1/batches", tags=["Batches"], route_class=KeyedRoute)

_FILES: dict[str, FileForm] = {
    "text/csv": "csv",
    "application/csv": "csv",
    "application/x-ndjson": "ndjson",
    "application/ndjson": "ndjson",
    "application/jsonl": "ndjson",
    "application/x-jsonlines": "ndjson",
}
_OF_CHANGES: tuple[ProblemCode, ...] = ("batch_not_found", "wrong_state")
_CREATED = ("Location", "Idempotent-Replayed")


def _form_of(request: Request) -> FileForm | None:
    """Tell from the Content-Type what is sent: a file, or None for JSON; none given is JSON."""
    given = request.headers.get("content-type", "")
    media_type, _, parameters = given.lower().partition(";")
    media_type = media_type.strip()
    charset = next(
        (part.partition("=")[2] for part in parameters.split(";") if part.strip().startswith("charset=")), ""
    )
    if charset.strip(' "') not in ("", "utf-8", "utf8", "us-ascii"):
        raise Problem("unsupported_media_type", f"The charset is {charset.strip()[:40]!r}; send UTF-8.")
    is_json = not given or media_type == "application/json"
    if is_json or (media_type.startswith("application/") and media_type.endswith("+json")):
        return None
    if media_type not in _FILES:
        raise Problem("unsupported_media_type", f"The Content-Type is {given[:100]!r}.")
    return _FILES[media_type]


def _read(form: FileForm | None, raw: bytes, query: BatchQuery) -> tuple[BatchOptions | None, Upload]:
    return (query, of_file(form, raw, store=query.store)) if form is not None else read_document(raw)


@router.post(
    "",
    operation_id="create_batch",
    status_code=202,
    **docs.documented(
        "refunds:write",
        [*docs.OF_BODIES, "idempotency_key_reused"],
        answers={
            200: {
                "description": "The batch was there before this request.",
                "model": BatchView,
                "headers": _CREATED,
            },
            202: {"description": "The batch is taken on; read it at Location.", "headers": _CREATED},
        },
        request_body=BODY,
    ),
)
async def create_batch(
    request: Request,
    response: Response,
    query: Annotated[BatchQuery, Query()],
    idempotency_key: IdempotencyKey = None,
) -> BatchView:
    """Take up to 10,000 refunds on, all of them or none: as JSON, NDJSON or CSV.

    Every row is checked first; `errors` names what is wrong with each, by `row`, `line` and `column`. The refunds are
    then carried out store by store within the stores' limits. Rows with an `external_reference` are never paid twice,
    however often a file is sent.
    """
    form = _form_of(request)
    if form is None and query.model_fields_set:
        raise invalid_request(
            [
                InputFault(
                    code="unknown_field", pointer=f"/{name}", place="query", message="JSON has this in its body."
                )
                for name in sorted(query.model_fields_set)
            ]
        )
    runtime, raw = runtime_of(request), await request.body()
    options, upload = await asyncio.to_thread(_read, form, raw, query)
    asked = f"create_batch {form} {sorted(request.query_params.multi_items())}"
    made = await take_on(
        runtime,
        caller_of(request),
        upload,
        options,
        idempotency_key=idempotency_key,
        fingerprint=request_fingerprint(asked, raw),
        request_id=trace_of(request.scope).request_id,
    )
    match made:
        case Faulty():
            raise made.problem()
        case KeyReused():
            raise problem_of(made)
    response.headers["Location"] = f"/v1/batches/{made.view.id}"
    if made.replayed:
        response.headers["Idempotent-Replayed"] = "true"
        response.status_code = 200
    return batch_view(made.view)


@router.get(
    "",
    operation_id="list_batches",
    **docs.documented(
        "refunds:read",
        docs.OF_INPUT,
        answers={200: {"description": "A page of batches, newest first.", "headers": ["Link"]}},
    ),
)
async def list_batches(request: Request, response: Response, query: Annotated[BatchListQuery, Query()]) -> BatchList:
    """List batches, newest first."""
    found = await flow.listed(
        runtime_of(request),
        caller_of(request),
        status=query.status,
        schedule_id=query.schedule,
        limit=query.limit + 1,
        after=batch_cursor(query.after),
    )
    batches, cursor = cut_page(request, response, found, query.limit)
    return BatchList(data=[batch_view(batch) for batch in batches], next_cursor=cursor)


async def _found(request: Request, batch_id: BatchIdInPath) -> flow_results.BatchView:
    return _known(await flow.look(runtime_of(request), caller_of(request), batch_id))


def _known(found: flow_results.BatchView | BatchNotFound | BatchWrongState) -> flow_results.BatchView:
    if not isinstance(found, flow_results.BatchView):
        raise batch_problem(found)
    return found


Found = Annotated[flow_results.BatchView, Depends(_found)]


@router.get(
    "/{batch_id}",
    operation_id="get_batch",
    **docs.documented("refunds:read", ["batch_not_found"], answers={200: {"description": "The batch as it is."}}),
)
async def get_batch(batch: Found) -> BatchView:
    """Read a batch: its options, how many items stand where, what they come to, and when it will probably end."""
    return batch_view(batch)


@router.get(
    "/{batch_id}/items",
    operation_id="list_batch_items",
    **docs.documented(
        "refunds:read",
        [*docs.OF_INPUT, "batch_not_found"],
        answers={200: {"description": "A page of the batch's items, by their numbers.", "headers": ["Link"]}},
    ),
)
async def list_batch_items(
    request: Request, response: Response, batch_id: BatchIdInPath, query: Annotated[ItemListQuery, Query()]
) -> BatchItemList:
    """List the items of a batch with what became of each."""
    found = await flow.items(
        runtime_of(request),
        caller_of(request),
        batch_id,
        status=query.status,
        limit=query.limit + 1,
        after=number_cursor(query.after),
    )
    if isinstance(found, BatchNotFound):
        raise batch_problem(found)
    items, cursor = cut_page(request, response, found, query.limit)
    return BatchItemList(data=[item_view(item) for item in items], next_cursor=cursor)


@router.get(
    "/{batch_id}/results.csv",
    operation_id="get_batch_results",
    response_class=StreamingResponse,
    **docs.documented(
        "refunds:read",
        ["batch_not_found"],
        answers={
            200: {
                "description": "A row per item, as it stands now. Text that a spreadsheet would take for a formula has "
                "an apostrophe before it.",
                "content": {"text/csv": {"schema": {"type": "string"}}},
            }
        },
    ),
)
async def get_batch_results(request: Request, batch_id: BatchIdInPath) -> Response:
    """Read what became of every item, as CSV."""
    parts = await results(runtime_of(request), caller_of(request), batch_id)
    if isinstance(parts, BatchNotFound):
        raise batch_problem(parts)
    headers = {"Content-Disposition": f'attachment; filename="{batch_id}.csv"'}
    return StreamingResponse(parts, media_type="text/csv; charset=utf-8", headers=headers)


@router.get(
    "/{batch_id}/progress",
    operation_id="watch_batch",
    response_class=EventSourceResponse,
    **docs.documented(
        "refunds:read",
        ["batch_not_found"],
        answers={
            200: {
                "description": "Server-sent events: `progress` with the batch whenever it has changed, at most twice a "
                "second, and `finished` as the last one. Ends after ten minutes without a change."
            }
        },
    ),
)
async def watch_batch(
    request: Request,
    batch: Found,
    last_event_id: Annotated[
        str | None, Header(description="The id of the last event that was received; it is not sent again.")
    ] = None,
) -> AsyncIterator[ServerSentEvent]:
    """Watch a batch until it is over."""

    def stopping() -> bool:
        return getattr(request.app.state, "stopping", False)

    async def admitted() -> bool:
        return await still_admitted(request, "refunds:read")

    watched = changes(
        runtime_of(request), caller_of(request), batch, known=last_event_id, admitted=admitted, stopping=stopping
    )
    async for event in watched:
        yield event


_CHANGED: dict[int, dict[str, Any]] = {200: {"description": "The batch as it is now."}}


@router.post(
    "/{batch_id}/release",
    operation_id="release_batch",
    **docs.documented("refunds:approve", _OF_CHANGES, answers=_CHANGED),
)
async def release_batch(request: Request, batch_id: BatchIdInPath) -> BatchView:
    """Let a held batch run."""
    return batch_view(_known(await flow.release(runtime_of(request), caller_of(request), batch_id)))


@router.post(
    "/{batch_id}/pause",
    operation_id="pause_batch",
    **docs.documented("refunds:write", _OF_CHANGES, answers=_CHANGED),
)
async def pause_batch(request: Request, batch_id: BatchIdInPath) -> BatchView:
    """Take up no more items; those under way come to their end."""
    return batch_view(_known(await flow.pause(runtime_of(request), caller_of(request), batch_id)))


@router.post(
    "/{batch_id}/resume",
    operation_id="resume_batch",
    **docs.documented("refunds:write", [*docs.OF_BODIES, *_OF_CHANGES], answers=_CHANGED),
)
async def resume_batch(request: Request, batch: Found, body: StopsBody | None = None) -> BatchView:
    """Let a paused or stopped batch go on, with other limits if there is a body. Failures so far no longer count."""
    stops: Stops | None = None if body is None or not body.model_fields_set else body.over(batch.stops)
    return batch_view(_known(await flow.resume(runtime_of(request), caller_of(request), batch.id, stops=stops)))


@router.post(
    "/{batch_id}/cancel",
    operation_id="cancel_batch",
    **docs.documented("refunds:write", _OF_CHANGES, answers=_CHANGED),
)
async def cancel_batch(request: Request, batch_id: BatchIdInPath) -> BatchView:
    """Drop what was not taken up, and withdraw what was not sent; what is under way comes to its end."""
    return batch_view(_known(await flow.cancel(runtime_of(request), caller_of(request), batch_id)))
