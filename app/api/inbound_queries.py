"""Which inbound messages to list or to replay."""

from typing import Annotated

from pydantic import Field

from app.api.queries import Page, Query
from app.ledger.inbound import MessageStatus


class MessageListQuery(Page):
    """Which of a source's messages to list."""

    status: MessageStatus | None = None


class ReplayQuery(Query):
    """How many failed messages to replay, and from where on."""

    limit: Annotated[int, Field(ge=1, le=500, description="Messages at most.")] = 200
    after: Annotated[str | None, Field(max_length=100, description="The `next_cursor` of the call before.")] = None
