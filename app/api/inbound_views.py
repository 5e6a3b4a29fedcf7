"""What callers get back about sources and their messages."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from app.api.inbound_mapping import Understood
from app.api.values import Time
from app.api.views import View
from app.flows.sources import SourceMade
from app.ledger.inbound import Message, MessageStatus, Source

_SECRET = Field(description="Of this answer alone, where the gateway made it: it is shown once. Else null.")


class InboundSourceView(View):
    """A system that sends messages of its own making to `url`."""

    id: str
    object: Literal["inbound_source"] = "inbound_source"
    name: str
    url: Annotated[str, Field(description="Where its messages go, below the gateway's address.")]
    verification: dict[str, Any]
    mapping: Annotated[str | dict[str, str], Field(description="JMESPath: one expression, or one for each field.")]
    only_if: str | None
    amounts_as_numbers: bool
    dedupe: Annotated[dict[str, str] | None, Field(description="Where a message's own id is to be found.")]
    store: str | None
    store_ids: Annotated[list[str] | None, Field(description="The stores its refunds may be of; null: every store.")]
    old_secret_until: Annotated[Time | None, Field(description="Until when the secret before this one counts too.")]
    created_by: str
    created_at: Time
    updated_at: Time


class InboundSourceWithSecretView(InboundSourceView):
    """A source that was just made, or was given a new secret."""

    secret: Annotated[str | None, _SECRET]


class InboundSourceList(View):
    """A page of sources, newest first."""

    data: list[InboundSourceView]
    next_cursor: Annotated[str | None, Field(description="Send it as `after` for the next page; null on the last.")]


class MessageReceiptView(View):
    """A message is kept, whatever it says."""

    id: str
    object: Literal["inbound_receipt"] = "inbound_receipt"
    received_at: Time


class MessageFailureView(View):
    """Why a message led to no refund."""

    code: Annotated[str, Field(examples=["mapping_failed", "invalid_request", "exceeds_refundable"])]
    message: str
    errors: Annotated[
        list[dict[str, Any]],
        Field(description="Every fault found; `in` says whether `pointer` is into the `message` or the `refund`."),
    ]
    facts: dict[str, Any]


class InboundMessageView(View):
    """A message, and what became of it."""

    id: str
    object: Literal["inbound_message"] = "inbound_message"
    source_id: str
    status: Annotated[
        MessageStatus,
        Field(
            description="`received`: its refund is about to be asked for; `accepted`: there is a refund, which says "
            "the rest; `ignored`: it is about no refund; `failed`: see `failure`, then replay it."
        ),
    ]
    dedupe_key: Annotated[str, Field(description="What makes another message the same as this one.")]
    refund_id: str | None
    failure: MessageFailureView | None
    attempts: int
    headers: dict[str, str]
    received_at: Time
    updated_at: Time
    replayed_at: Time | None


class WholeInboundMessageView(InboundMessageView):
    """A message as it came."""

    body: Annotated[str | None, Field(description="Null once it was forgotten.")]


class InboundMessageList(View):
    """A page of messages, newest first, without their bodies."""

    data: list[InboundMessageView]
    next_cursor: Annotated[str | None, Field(description="Send it as `after` for the next page; null on the last.")]


class MessagesReplayedView(View):
    """What a replay of failed messages came to."""

    object: Literal["inbound_replay"] = "inbound_replay"
    received: Annotated[int, Field(description="So many are understood now; their refunds are about to be asked for.")]
    ignored: int
    failed: Annotated[int, Field(description="So many fail as before, or otherwise.")]
    next_cursor: Annotated[str | None, Field(description="Send it as `after` to go on; null when all were read.")]


class InboundTestView(View):
    """What a message would become; nothing was kept."""

    object: Literal["inbound_test"] = "inbound_test"
    outcome: Literal["refund", "ignored", "failed"]
    dedupe_key: str
    repeats: Annotated[str | None, Field(description="The message that came before with this key.")]
    refund_request: Annotated[Any, Field(description="The body for `POST /v1/refunds` that the mapping gave.")]
    failure: MessageFailureView | None


def source_view(source: Source) -> InboundSourceView:
    """Show a source."""
    return InboundSourceView(**_source_fields(source))


def source_with_secret_view(made: SourceMade) -> InboundSourceWithSecretView:
    """Show a source with its new secret."""
    return InboundSourceWithSecretView(**_source_fields(made.source), secret=made.secret)


def _source_fields(source: Source) -> dict[str, Any]:
    mapping = source.mapping
    return {
        "id": source.id,
        "name": source.name,
        "url": f"/v1/inbound/{source.id}",
        "verification": dict(source.verification),
        "mapping": mapping["expression"] if "expression" in mapping else dict(mapping["fields"]),
        "only_if": mapping.get("only_if"),
        "amounts_as_numbers": bool(mapping.get("amounts_as_numbers")),
        "dedupe": None if source.dedupe is None else dict(source.dedupe),
        "store": source.store,
        "store_ids": None if source.store_ids is None else sorted(source.store_ids),
        "old_secret_until": source.previous_until,
        "created_by": source.created_by,
        "created_at": source.created_at,
        "updated_at": source.updated_at,
    }


def message_view(message: Message) -> InboundMessageView:
    """Show a message without its body."""
    return InboundMessageView(**_message_fields(message))


def message_with_body_view(message: Message) -> WholeInboundMessageView:
    """Show a message with its body, whose bytes are taken for UTF-8."""
    body = None if message.body is None else message.body.decode(errors="replace")
    return WholeInboundMessageView(**_message_fields(message), body=body)


def _message_fields(message: Message) -> dict[str, Any]:
    return {
        "id": message.id,
        "source_id": message.source_id,
        "status": message.status,
        "dedupe_key": message.dedupe_key,
        "refund_id": message.refund_id,
        "failure": _failure_view(message.failure),
        "attempts": message.attempts,
        "headers": dict(message.headers),
        "received_at": message.received_at,
        "updated_at": message.updated_at,
        "replayed_at": message.replayed_at,
    }


def _failure_view(failure: Mapping[str, Any] | None) -> MessageFailureView | None:
    if failure is None:
        return None
    facts = {name: fact for name, fact in failure.items() if name not in ("code", "message", "errors")}
    return MessageFailureView(
        code=failure["code"], message=failure["message"], errors=list(failure.get("errors", ())), facts=facts
    )


def inbound_test_view(understood: Understood, repeats: str | None) -> InboundTestView:
    """Show what a message would become."""
    status = understood.outcome.status
    return InboundTestView(
        outcome="refund" if status == "received" else "ignored" if status == "ignored" else "failed",
        dedupe_key=understood.dedupe_key,
        repeats=repeats,
        refund_request=understood.request,
        failure=_failure_view(understood.outcome.failure),
    )
