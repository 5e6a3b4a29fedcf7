"""Webhook endpoints on the wire: what callers send about them and get back."""

from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from app.api.event_types import EventTypes, QueryTypes
from app.api.queries import Page
from app.api.schemas import Body
from app.api.values import QueryTime, StoreName, Text, Time
from app.api.views import View
from app.domain.delivery import URL_LIMIT, DeliveryStatus, DisabledReason
from app.flows.endpoints import DeliveryView as DeliveryWithAttempts
from app.flows.endpoints import EndpointChange, EndpointDraft, EndpointView
from app.ledger.deliveries import Attempt, Delivery

_STORES_AT_A_TIME = 500
_LONGEST_OVERLAP_S = 7 * 86_400

Url = Annotated[
    str,
    Field(
        min_length=1,
        max_length=URL_LIMIT,
        description="Where events are sent to: https, without credentials or a fragment.",
        examples=["https://erp.example/hooks/refunds"],
    ),
]
Types = Annotated[EventTypes | None, Field(description="Which events to send; null for all of them.")]
StoreNames = Annotated[
    Annotated[list[StoreName], Field(min_length=1, max_length=_STORES_AT_A_TIME)] | None,
    Field(description="Only events of these stores; null for every store that the key may use."),
]


class WebhookEndpointBody(Body):
    """Where events are to be sent to, and which."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"url": "https://erp.example/hooks/refunds", "types": ["refund.*"], "description": "ERP"}]
        }
    )

    url: Url
    types: Types = None
    description: Annotated[Text, Field(description="For people; shown in the event that tells of its end.")] = ""
    stores: StoreNames = None


def _without_defaults(schema: dict[str, Any]) -> None:
    for field in schema["properties"].values():
        field.pop("default", None)


class WebhookEndpointChangeBody(Body):
    """What is to be another way; what is left out stays as it is (RFC 7396)."""

    model_config = ConfigDict(json_schema_extra=_without_defaults)

    url: Url = ""
    types: Types = None
    description: Text = ""
    stores: StoreNames = None
    enabled: Annotated[
        bool, Field(description="False takes it out of use; true puts it back, and what waits for it is due at once.")
    ] = True

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.model_fields_set:
            raise PydanticCustomError("missing_field", "Name at least one field to change.")
        return self


class WebhookSecretRotationBody(Body):
    """How a secret is to be replaced."""

    overlap_s: Annotated[
        int,
        Field(
            ge=0,
            le=_LONGEST_OVERLAP_S,
            description="For how long deliveries are signed with the old secret as well; 0 when it has leaked.",
        ),
    ] = 86_400


class EventReplayBody(Body):
    """Which events are to be sent again, or for the first time."""

    since: Annotated[QueryTime, Field(strict=False, description="What happened then or later.")]
    until: Annotated[QueryTime | None, Field(strict=False, description="What happened before; null for now.")] = None
    types: Types = None
    only_failed: Annotated[bool, Field(description="Only what was tried and given up.")] = False


class DeliveriesQuery(Page):
    """Which deliveries to list; filters are joined with "and"."""

    status: DeliveryStatus | None = None
    type: Annotated[QueryTypes | None, Field(description="Types of events, or families such as `refund.*`.")] = None


class WebhookEndpointView(View):
    """Where events are sent to, and how that goes."""

    id: Annotated[str, Field(examples=["we_01J8ZK5Q3N6T0V9W2X4Y7A8B9C"])]
    object: Literal["webhook_endpoint"] = "webhook_endpoint"
    url: str
    types: Annotated[list[str] | None, Field(description="Null: all.")]
    stores: Annotated[list[str] | None, Field(description="Null: all, and events that are about no store.")]
    description: str
    enabled: bool
    disabled_reason: Annotated[
        DisabledReason | None,
        Field(
            description="`gone`: it answered 410; `failing`: nothing but failures for days. Events that happen while "
            "it is disabled are not kept for it: replay them when it is back."
        ),
    ]
    disabled_at: Time | None
    failing_since: Annotated[Time | None, Field(description="Since when nothing has succeeded; null when all is well.")]
    old_secrets_until: Annotated[
        Time | None, Field(description="Until then deliveries are signed with an older secret as well.")
    ]
    secret: Annotated[
        str | None,
        Field(
            description="`whsec_…`, to verify deliveries with by Standard Webhooks. Shown once, when it was made.",
        ),
    ] = None
    created_at: Time
    updated_at: Time


class WebhookEndpointList(View):
    """A page of webhook endpoints, oldest first."""

    data: list[WebhookEndpointView]
    next_cursor: Annotated[str | None, Field(description="Send it as `after` for the next page; null on the last.")]


class DeliveryAttemptView(View):
    """One POST; of the answer nothing but its status is kept."""

    at: Time
    status: Annotated[int | None, Field(description="HTTP; null when there was no answer.")]
    latency_ms: int
    error: Annotated[
        str | None,
        Field(
            description="Null when it was taken, else why it was not: `refused` (4xx), `failed` (5xx), `redirected` "
            "(never followed), `gone` (410), `timeout`, or what was wrong with the connection.",
            examples=["timeout"],
        ),
    ]


class EndpointTestView(View):
    """What became of a test message."""

    object: Literal["webhook_test"] = "webhook_test"
    delivered: bool
    attempt: DeliveryAttemptView


class DeliveryView(View):
    """An event on its way to an endpoint."""

    id: Annotated[str, Field(examples=["wd_4711"])]
    object: Literal["webhook_delivery"] = "webhook_delivery"
    endpoint: str
    event: Annotated[str, Field(description="The event's id, sent as `webhook-id`.", examples=["evt_4711"])]
    type: str
    subject: str
    status: Annotated[
        DeliveryStatus,
        Field(description="`pending` until it was taken, `failed` when it was given up after three days."),
    ]
    attempts: int
    last_attempt: DeliveryAttemptView | None
    next_attempt_at: Annotated[
        Time | None,
        Field(
            description="Not before; null when it is over. It may have to wait for an earlier event of its subject, "
            "and for an endpoint that fails altogether; it is brought forward when the endpoint works again."
        ),
    ]
    created_at: Time
    finished_at: Time | None


class DeliveryDetailView(DeliveryView):
    """A delivery with everything that was tried."""

    history: Annotated[list[DeliveryAttemptView], Field(description="Every attempt, in their order.")]


class DeliveryList(View):
    """A page of deliveries, newest first."""

    data: list[DeliveryView]
    next_cursor: Annotated[str | None, Field(description="Send it as `after` for the next page; null on the last.")]


class EventReplayView(View):
    """What a replay has set going."""

    object: Literal["event_replay"] = "event_replay"
    deliveries: Annotated[int, Field(description="Deliveries that are pending now and were not before.")]


def to_draft(body: WebhookEndpointBody) -> EndpointDraft:
    """Say in the flow's words what is to be added."""
    return EndpointDraft(
        url=body.url,
        description=body.description,
        types=None if body.types is None else tuple(body.types),
        stores=None if body.stores is None else tuple(body.stores),
    )


def to_endpoint_change(body: WebhookEndpointChangeBody) -> EndpointChange:
    """Say in the flow's words what is to be changed."""
    return EndpointChange(
        named=frozenset(body.model_fields_set),
        url=body.url,
        description=body.description,
        types=None if body.types is None else tuple(body.types),
        stores=None if body.stores is None else tuple(body.stores),
        enabled=body.enabled,
    )


def endpoint_view(view: EndpointView) -> WebhookEndpointView:
    """Show an endpoint."""
    endpoint = view.endpoint
    return WebhookEndpointView(
        id=endpoint.id,
        url=endpoint.url,
        types=None if endpoint.types is None else list(endpoint.types),
        stores=None if view.stores is None else list(view.stores),
        description=endpoint.description,
        enabled=endpoint.disabled_at is None,
        disabled_reason=endpoint.disabled_reason,
        disabled_at=endpoint.disabled_at,
        failing_since=endpoint.failing_since,
        old_secrets_until=view.old_secrets_until,
        secret=view.secret,
        created_at=endpoint.created_at,
        updated_at=endpoint.updated_at,
    )


def attempt_view(attempt: Attempt) -> DeliveryAttemptView:
    """Show an attempt."""
    return DeliveryAttemptView(at=attempt.at, status=attempt.status, latency_ms=attempt.latency_ms, error=attempt.error)


def delivery_view(delivery: Delivery) -> DeliveryView:
    """Show a delivery."""
    last = None
    if delivery.last_attempt_at is not None and delivery.last_latency_ms is not None:
        last = DeliveryAttemptView(
            at=delivery.last_attempt_at,
            status=delivery.last_status,
            latency_ms=delivery.last_latency_ms,
            error=delivery.last_error,
        )
    return DeliveryView(
        id=f"wd_{delivery.id}",
        endpoint=delivery.endpoint_id,
        event=f"evt_{delivery.event_id}",
        type=delivery.type,
        subject=delivery.subject,
        status=delivery.status,
        attempts=delivery.attempts,
        last_attempt=last,
        next_attempt_at=delivery.due_at if delivery.status == "pending" else None,
        created_at=delivery.created_at,
        finished_at=delivery.finished_at,
    )


def delivery_detail_view(found: DeliveryWithAttempts) -> DeliveryDetailView:
    """Show a delivery with everything that was tried."""
    shown = delivery_view(found.delivery)
    return DeliveryDetailView(
        **{name: getattr(shown, name) for name in DeliveryView.model_fields},
        history=[attempt_view(attempt) for attempt in found.attempts],
    )
