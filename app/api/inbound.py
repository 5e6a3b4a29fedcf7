"""Messages of other systems: sources, what they send, what became of it, and replays."""

import asyncio
import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, cast

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.routing import APIRoute

from app.api import documentation as docs
from app.api.auth import RateLimit, caller_of
from app.api.deps import IdempotencyKey, runtime_of
from app.api.errors import problem_of
from app.api.inbound_bodies import (
    InboundSourceBody,
    InboundSourceChangeBody,
    SecretRotationBody,
    changed_reading,
    to_reading,
)
from app.api.inbound_intake import BodyForgotten, arrival_of, read_anew
from app.api.inbound_mapping import understand
from app.api.inbound_queries import MessageListQuery, ReplayQuery
from app.api.inbound_views import (
    InboundMessageList,
    InboundSourceList,
    InboundSourceView,
    InboundSourceWithSecretView,
    InboundTestView,
    MessageReceiptView,
    MessagesReplayedView,
    WholeInboundMessageView,
    inbound_test_view,
    message_view,
    message_with_body_view,
    source_view,
    source_with_secret_view,
)
from app.api.keyed import KeyedRoute
from app.api.paging import cursor_of, cut_page, message_cursor, source_cursor
from app.api.problem_codes import ProblemCode
from app.api.problems import InputFault, Problem, invalid_request
from app.api.queries import Page
from app.api.trace import trace_of
from app.api.values import MESSAGE_ID_PATTERN, SOURCE_ID_PATTERN
from app.flows import sources, take_in
from app.flows.content import request_fingerprint
from app.flows.results import KeyReused, StoreNotFound
from app.flows.sources import (
    HeaderUnproved,
    NameTaken,
    Reading,
    SecretUnusable,
    SourceMade,
    SourceNotFound,
    secrets_of,
)
from app.ledger import inbound as ledger
from app.ledger.inbound import Message, Source
from app.signatures import is_genuine, verification_from

router = APIRouter(prefix="/v1/inbound", tags=["Inbound"], route_class=KeyedRoute)
_SOURCE_ID = re.compile(SOURCE_ID_PATTERN)
_MESSAGE_ID = re.compile(MESSAGE_ID_PATTERN)
_OF_SOURCES: tuple[ProblemCode, ...] = ("source_not_found",)
_OF_NAMES: tuple[ProblemCode, ...] = (*docs.OF_BODIES, "name_taken", "store_not_found")
_CREATED = ("Location", "Idempotent-Replayed")
_ANY_BODY: Mapping[str, Any] = {
    "description": "The message as the other system sends it: JSON of any shape.",
    "required": True,
    "content": {"application/json": {"schema": {}}},
}


async def _source_id(
    source: Annotated[
        str, Path(description="The source's id.", json_schema_extra={"pattern": SOURCE_ID_PATTERN}, examples=["src_1"])
    ],
) -> str:
    if _SOURCE_ID.fullmatch(source) is None:
        raise Problem("source_not_found", source_id=source[:64])
    return source


async def _message_id(
    message: Annotated[
        str, Path(description="The message's id.", json_schema_extra={"pattern": MESSAGE_ID_PATTERN}, examples=["im_1"])
    ],
) -> str:
    if _MESSAGE_ID.fullmatch(message) is None:
        raise Problem("message_not_found", message_id=message[:64])
    return message


SourceInPath = Annotated[str, Depends(_source_id)]
UncheckedSource = Annotated[str, Path(description="The source's id.", examples=["src_1"])]
MessageInPath = Annotated[str, Depends(_message_id)]


async def _source(request: Request, source_id: str) -> Source:
    found = await sources.find(runtime_of(request), caller_of(request), source_id)
    if isinstance(found, SourceNotFound):
        raise _problem(found)
    return found


def _problem(
    no: SourceNotFound | NameTaken | StoreNotFound | SecretUnusable | HeaderUnproved | KeyReused,
) -> Problem:
    match no:
        case SourceNotFound():
            return Problem("source_not_found", source_id=no.source_id[:64])
        case NameTaken():
            return Problem("name_taken", f"The tenant has a source {no.name!r} already.", name=no.name)
        case SecretUnusable():
            message = "Secrets of Standard Webhooks are base64 of at least 16 bytes, usually behind whsec_."
            return invalid_request([InputFault(code="malformed_value", pointer="/secret", message=message)])
        case HeaderUnproved():
            message = (
                f"The header {no.header} is not signed: a recorded message could come again under another one. Take "
                "an id of the body, or leave it out: the same body is the same message then."
            )
            return invalid_request([InputFault(code="malformed_value", pointer="/dedupe/header", message=message)])
        case _:
            return problem_of(no)


@router.post(
    "",
    operation_id="create_inbound_source",
    status_code=201,
    **docs.documented(
        "admin",
        [*_OF_NAMES, "idempotency_key_reused"],
        answers={
            200: {
                "description": "The source was there before this request.",
                "model": InboundSourceWithSecretView,
                "headers": _CREATED,
            },
            201: {"description": "The source; its `url` takes messages from now on.", "headers": _CREATED},
        },
    ),
)
async def create_source(
    request: Request, response: Response, body: InboundSourceBody, idempotency_key: IdempotencyKey = None
) -> InboundSourceWithSecretView:
    """Let another system send messages of its own making, and say what they mean as refunds."""
    made = await sources.create(
        runtime_of(request),
        caller_of(request),
        to_reading(body),
        secret=body.secret,
        idempotency_key=idempotency_key,
        fingerprint=request_fingerprint("create_inbound_source", body.model_dump_json().encode()),
    )
    if not isinstance(made, SourceMade):
        raise _problem(made)
    response.headers["Location"] = f"/v1/inbound/{made.source.id}"
    if made.replayed:
        response.status_code = 200
        response.headers["Idempotent-Replayed"] = "true"
    return source_with_secret_view(made)


@router.get(
    "",
    operation_id="list_inbound_sources",
    **docs.documented(
        "admin", docs.OF_INPUT, answers={200: {"description": "A page of sources, newest first.", "headers": ["Link"]}}
    ),
)
async def list_sources(request: Request, response: Response, query: Annotated[Page, Query()]) -> InboundSourceList:
    """List the tenant's sources of messages, newest first."""
    caller = caller_of(request)
    async with runtime_of(request).database.reading() as conn:
        found = await ledger.sources(
            conn,
            caller.tenant_id,
            store_ids=caller.store_ids,
            limit=query.limit + 1,
            after=source_cursor(query.after),
        )
    shown, cursor = cut_page(request, response, found, query.limit)
    return InboundSourceList(data=[source_view(source) for source in shown], next_cursor=cursor)


@router.get(
    "/{source}",
    operation_id="get_inbound_source",
    **docs.documented("admin", _OF_SOURCES, answers={200: {"description": "The source, without its secret."}}),
)
async def get_source(request: Request, source: SourceInPath) -> InboundSourceView:
    """Read how a source's messages are verified and read."""
    return source_view(await _source(request, source))


@router.patch(
    "/{source}",
    operation_id="change_inbound_source",
    **docs.documented(
        "admin",
        [*_OF_NAMES, *_OF_SOURCES],
        answers={200: {"description": "The source as it is now."}},
        also_taken="application/merge-patch+json",
        body=InboundSourceChangeBody.__name__,
    ),
)
async def change_source(request: Request, source: SourceInPath, body: InboundSourceChangeBody) -> InboundSourceView:
    """Change how a source's messages are read, from the next one on; earlier ones are replayed to be read anew."""
    found = await _source(request, source)
    after = await sources.change(runtime_of(request), found, changed_reading(Reading.of(found), body))
    if not isinstance(after, Source):
        raise _problem(after)
    return source_view(after)


@router.delete(
    "/{source}",
    operation_id="delete_inbound_source",
    status_code=204,
    response_class=Response,
    **docs.documented("admin", _OF_SOURCES, answers={204: {"description": "The source takes no more messages."}}),
)
async def delete_source(request: Request, source: SourceInPath) -> Response:
    """Take a source out of use for good. Messages that it has sent are still carried out."""
    await sources.delete(runtime_of(request), await _source(request, source))
    return Response(status_code=204)


@router.post(
    "/{source}/rotate-secret",
    operation_id="rotate_inbound_secret",
    **docs.documented(
        "admin", [*docs.OF_BODIES, *_OF_SOURCES], answers={200: {"description": "The source, with its new secret."}}
    ),
)
async def rotate_secret(
    request: Request, source: SourceInPath, body: SecretRotationBody
) -> InboundSourceWithSecretView:
    """Give a source a new secret; the old one counts as well for `overlap_s` seconds."""
    made = await sources.rotate(
        runtime_of(request),
        await _source(request, source),
        secret=body.secret,
        overlap=timedelta(seconds=body.overlap_s),
    )
    if not isinstance(made, SourceMade):
        raise _problem(made)
    return source_with_secret_view(made)


@router.post(
    "/{source}/test",
    operation_id="test_inbound_source",
    **docs.documented(
        "admin",
        ["body_too_large", "body_too_slow", *_OF_SOURCES],
        answers={200: {"description": "What the message would become."}},
        request_body=_ANY_BODY,
    ),
)
async def test_source(request: Request, source: SourceInPath) -> InboundTestView:
    """Say what a message would become, without keeping it: its key, the mapped refund, and every fault.

    Signatures are not looked at; the order is not either.
    """
    found = await _source(request, source)
    understood = await asyncio.to_thread(understand, found, _headers(request), await request.body())
    async with runtime_of(request).database.reading() as conn:
        before = await ledger.message_by_key(conn, found, understood.dedupe_key)
    return inbound_test_view(understood, before)


@router.get(
    "/{source}/messages",
    operation_id="list_inbound_messages",
    **docs.documented(
        "admin",
        [*docs.OF_INPUT, *_OF_SOURCES],
        answers={200: {"description": "A page of messages, newest first.", "headers": ["Link"]}},
    ),
)
async def list_messages(
    request: Request, response: Response, source: SourceInPath, query: Annotated[MessageListQuery, Query()]
) -> InboundMessageList:
    """List what a source has sent, newest first."""
    found = await _source(request, source)
    async with runtime_of(request).database.reading() as conn:
        entries = await ledger.messages(
            conn, found, status=query.status, limit=query.limit + 1, after=message_cursor(query.after)
        )
    shown, cursor = cut_page(request, response, entries, query.limit)
    return InboundMessageList(data=[message_view(message) for message in shown], next_cursor=cursor)


@router.get(
    "/{source}/messages/{message}",
    operation_id="get_inbound_message",
    **docs.documented(
        "admin", [*_OF_SOURCES, "message_not_found"], answers={200: {"description": "The message as it came."}}
    ),
)
async def get_message(request: Request, source: SourceInPath, message: MessageInPath) -> WholeInboundMessageView:
    """Read a message with its body, and what became of it."""
    return message_with_body_view(await _message(request, await _source(request, source), message))


async def _message(request: Request, source: Source, message_id: str) -> Message:
    async with runtime_of(request).database.reading() as conn:
        found = await ledger.message(conn, source.tenant_id, source.id, message_id)
    if found is None:
        raise Problem("message_not_found", message_id=message_id[:64])
    return found


@router.post(
    "/{source}/messages/replay",
    operation_id="replay_inbound_messages",
    **docs.documented(
        "admin", [*docs.OF_INPUT, *_OF_SOURCES], answers={200: {"description": "What the replay came to."}}
    ),
)
async def replay_messages(
    request: Request, source: SourceInPath, query: Annotated[ReplayQuery, Query()]
) -> MessagesReplayedView:
    """Read failed messages anew as the source is read today, oldest first; go on with `next_cursor`."""
    found = await _source(request, source)
    async with runtime_of(request).database.reading() as conn:
        ids = await ledger.failed_ids(conn, found, limit=query.limit + 1, after=message_cursor(query.after))
    counts = {"received": 0, "ignored": 0, "failed": 0}
    for message_id in ids[: query.limit]:
        status = (await _read_anew(request, found, message_id)).status
        # What a worker was quick to accept was received first.
        counts["received" if status == "accepted" else status] += 1
    cursor = cursor_of(ids[query.limit - 1]) if len(ids) > query.limit else None
    return MessagesReplayedView(**counts, next_cursor=cursor)


@router.post(
    "/{source}/messages/{message}/replay",
    operation_id="replay_inbound_message",
    **docs.documented(
        "admin",
        [*_OF_SOURCES, "message_not_found", "message_forgotten"],
        answers={200: {"description": "The message as it is now."}},
    ),
)
async def replay_message(request: Request, source: SourceInPath, message: MessageInPath) -> WholeInboundMessageView:
    """Read a failed or ignored message anew as its source is read today; any other is given as it is."""
    return message_with_body_view(await _read_anew(request, await _source(request, source), message))


async def _read_anew(request: Request, source: Source, message_id: str) -> Message:
    try:
        return await read_anew(runtime_of(request), source, await _message(request, source, message_id))
    except BodyForgotten:
        raise Problem("message_forgotten", message_id=message_id) from None


async def receive_message(request: Request, response: Response, source: UncheckedSource) -> MessageReceiptView:
    """Take a message from a source, proved by the source's own secret instead of an API key.

    The same message again gives the same answer, with `Idempotent-Replayed: true`.
    """
    rt = runtime_of(request)
    body, headers = await request.body(), _headers(request)
    found = None
    if _SOURCE_ID.fullmatch(source) is not None:
        async with rt.database.reading() as conn:
            found = await ledger.source_by_id(conn, source)
    if found is None or not is_genuine(
        verification_from(found.verification), secrets_of(rt, found), headers=headers, body=body, now=rt.clock()
    ):
        raise Problem("not_verified")
    cast("RateLimit", request.app.state.rate_limit).take(found.id, trace_of(request.scope))
    kept, is_new = await take_in.receive(rt, found, await arrival_of(found, headers, body))
    if not is_new:
        response.headers["Idempotent-Replayed"] = "true"
    return MessageReceiptView(id=kept.id, received_at=kept.received_at)


# Proved by a source's own secret, and so no KeyedRoute.
router.add_api_route(
    "/{source}",
    receive_message,
    methods=["POST"],
    operation_id="receive_inbound_message",
    status_code=202,
    route_class_override=APIRoute,
    **docs.documented(
        None,
        ["not_verified", "rate_limited", "body_too_large", "body_too_slow"],
        answers={
            202: {"description": "The message is kept, and will be seen to.", "headers": ["Idempotent-Replayed"]},
        },
        request_body=_ANY_BODY,
    ),
)


def _headers(request: Request) -> dict[str, str]:
    """Give the headers by their names in lower case; of several of a name the last."""
    return {name.lower(): value for name, value in request.headers.items()}
