"""What callers get back about what happened to a refund."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from app.api.values import Time
from app.api.views import View
from app.ledger.events import RefundEvent


class EventView(View):
    """Something that happened to a refund."""

    id: str
    object: Literal["event"] = "event"
    type: Annotated[str, Field(examples=["refund.succeeded"])]
    actor: Annotated[str, Field(description="`key:<id>`, `worker`, `gateway`, or a person's name behind a key.")]
    data: dict[str, Any]
    at: Time


class EventList(View):
    """A page of a refund's timeline, oldest first."""

    data: list[EventView]
    next_cursor: Annotated[str | None, Field(description="Send it as `after` for the next page; null on the last.")]


def event_view(event: RefundEvent) -> EventView:
    """Show an event."""
    data: Mapping[str, Any] = event.data
    return EventView(id=str(event.id), type=event.type, actor=event.actor, data=dict(data), at=event.at)
