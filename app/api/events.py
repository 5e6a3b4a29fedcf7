"""The feed: everything that has happened, in one order, to be read from any place on."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from app.api import documentation as docs
from app.api.auth import caller_of
from app.api.deps import runtime_of
from app.api.event_types import QueryTypes
from app.api.keyed import KeyedRoute
from app.api.paging import cursor_of, cut_page, feed_cursor
from app.api.queries import Page
from app.api.values import QueryTime, StoreName, Time
from app.api.views import View
from app.flows import relay
from app.ledger import feed
from app.ledger.feed import FeedEvent

router = APIRouter(prefix="/v1/events", tags=["Events"], route_class=KeyedRoute)


class FeedQuery(Page):
    """Which events to read, and from where on; filters are joined with "and"."""

    after: Annotated[
        str | None,
        Field(max_length=100, description="The `next_cursor` of an earlier page, however old: it never expires."),
    ] = None
    type: Annotated[
        QueryTypes | None,
        Field(
            description="Types such as `refund.failed`, or families such as `refund.*`; commas between them, or the "
            "parameter once for each."
        ),
    ] = None
    since: Annotated[QueryTime | None, Field(description="Only what happened then or later.")] = None
    store: StoreName | None = None
    subject: Annotated[
        str | None,
        Field(
            pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$",
            description="Only events about this, such as a refund's or a batch's id.",
            examples=["rf_01J8ZK5Q3N6T0V9W2X4Y7A8B9C"],
        ),
    ] = None


class FeedEventView(View):
    """Something that has happened."""

    id: Annotated[str, Field(description="The same here and as `webhook-id` of every delivery.", examples=["evt_4711"])]
    object: Literal["event"] = "event"
    type: Annotated[str, Field(examples=["refund.succeeded"])]
    store: Annotated[str | None, Field(description="The store's name, where the event is about one.")]
    subject: Annotated[str, Field(description="What it is about. Events of one subject are in their order.")]
    data: Annotated[dict[str, Any], Field(description="As things stood then; without free text.")]
    at: Time


class FeedPage(View):
    """A part of the feed, oldest event first."""

    data: list[FeedEventView]
    next_cursor: Annotated[
        str,
        Field(
            description="Send it as `after` to go on. There is one on the last page as well: it stands for the end of "
            "the feed as it was, so that a poller keeps it and asks with it again. It never expires."
        ),
    ]
    has_more: Annotated[bool, Field(description="There is more already; ask again at once.")]


@router.get(
    "",
    operation_id="list_events",
    **docs.documented(
        "events:read",
        docs.OF_INPUT,
        answers={200: {"description": "A page of events, oldest first.", "headers": ["Link"]}},
    ),
)
async def list_events(request: Request, response: Response, query: Annotated[FeedQuery, Query()]) -> FeedPage:
    """Read what has happened, oldest first. Every event is seen exactly once by a reader who keeps `next_cursor`.

    Whatever was committed before this request is in the feed when it is answered. A key that is limited to stores
    reads the events of these stores alone.
    """
    runtime, caller = runtime_of(request), caller_of(request)
    after = feed_cursor(query.after)
    await relay.catch_up(runtime)
    async with runtime.database.reading() as conn:
        # Looked at before the page is read: what is placed in between comes with the next one.
        end = await feed.end(conn, caller.tenant_id)
        found = await feed.page(
            conn,
            caller.tenant_id,
            limit=query.limit + 1,
            after=after,
            store_ids=caller.store_ids,
            types=query.type,
            since=query.since,
            subject=query.subject,
            store=query.store,
        )
    shown, cursor = cut_page(request, response, [_Placed(event) for event in found], query.limit)
    if cursor is None:
        last = shown[-1].id if shown else 0
        cursor = cursor_of(str(max(after or 0, end, last)))
        return FeedPage(data=[feed_event_view(entry.event) for entry in shown], next_cursor=cursor, has_more=False)
    return FeedPage(data=[feed_event_view(entry.event) for entry in shown], next_cursor=cursor, has_more=True)


class _Placed:
    """An event by its place, by which cursors go."""

    def __init__(self, event: FeedEvent) -> None:
        self.event = event
        self.id = event.position


def feed_event_view(event: FeedEvent) -> FeedEventView:
    """Show an event."""
    return FeedEventView(
        id=f"evt_{event.id}",
        type=event.type,
        store=event.store,
        subject=event.subject,
        data=dict(event.data),
        at=event.at,
    )
