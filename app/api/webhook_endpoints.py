"""Webhook endpoints: add, look, change, rotate secrets, try out, and replay deliveries."""

import re
from datetime import timedelta
from typing import Annotated, NoReturn, assert_never

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from app.api import documentation as docs
from app.api.auth import caller_of
from app.api.deps import IdempotencyKey, runtime_of
from app.api.endpoint_views import (
    DeliveriesQuery,
    DeliveryDetailView,
    DeliveryList,
    DeliveryView,
    EndpointTestView,
    EventReplayBody,
    EventReplayView,
    WebhookEndpointBody,
    WebhookEndpointChangeBody,
    WebhookEndpointList,
    WebhookEndpointView,
    WebhookSecretRotationBody,
    attempt_view,
    delivery_detail_view,
    delivery_view,
    endpoint_view,
    to_draft,
    to_endpoint_change,
)
from app.api.errors import problem_of
from app.api.keyed import KeyedRoute
from app.api.paging import cut_page, endpoint_cursor, event_cursor
from app.api.problems import InputFault, Problem, invalid_request
from app.api.queries import Page
from app.api.values import ENDPOINT_ID_PATTERN
from app.flows import endpoints
from app.flows.content import request_fingerprint
from app.flows.endpoints import (
    DeliveryNotFound,
    EndpointDisabled,
    EndpointNotFound,
    EndpointView,
    ReplayTooLarge,
    TooManyEndpoints,
    UrlRefused,
)
from app.flows.results import KeyReused, StoreNotFound
from app.ledger.deliveries import Attempt, Delivery

router = APIRouter(prefix="/v1/webhook-endpoints", tags=["Events"], route_class=KeyedRoute)

_ENDPOINT_ID = re.compile(ENDPOINT_ID_PATTERN)
_DELIVERY_ID_PATTERN = r"^wd_[1-9][0-9]{0,17}$"
_DELIVERY_ID = re.compile(_DELIVERY_ID_PATTERN)

_No = (
    EndpointNotFound
    | DeliveryNotFound
    | EndpointDisabled
    | ReplayTooLarge
    | TooManyEndpoints
    | UrlRefused
    | StoreNotFound
    | KeyReused
)


async def _endpoint_id(
    endpoint_id: Annotated[
        str,
        Path(description="The endpoint's id.", json_schema_extra={"pattern": ENDPOINT_ID_PATTERN}, examples=["we_1"]),
    ],
) -> str:
    if _ENDPOINT_ID.fullmatch(endpoint_id) is None:
        _refuse(EndpointNotFound(endpoint_id=endpoint_id[:64]))
    return endpoint_id


async def _delivery_number(
    delivery_id: Annotated[
        str,
        Path(description="The delivery's id.", json_schema_extra={"pattern": _DELIVERY_ID_PATTERN}, examples=["wd_1"]),
    ],
) -> int:
    if _DELIVERY_ID.fullmatch(delivery_id) is None:
        _refuse(DeliveryNotFound(delivery_id=delivery_id[:64]))
    return int(delivery_id.removeprefix("wd_"))


_EndpointIdInPath = Annotated[str, Depends(_endpoint_id)]
_DeliveryInPath = Annotated[int, Depends(_delivery_number)]


def _refuse(no: _No) -> NoReturn:
    """Say a flow's "no" as a problem."""
    match no:
        case EndpointNotFound():
            detail = "There is no webhook endpoint of this id that this key may handle."
            raise Problem("webhook_endpoint_not_found", detail, endpoint_id=no.endpoint_id)
        case DeliveryNotFound():
            raise Problem("delivery_not_found", delivery_id=no.delivery_id)
        case EndpointDisabled():
            raise Problem("webhook_endpoint_disabled", endpoint_id=no.endpoint_id)
        case ReplayTooLarge():
            detail = f"More than {no.limit} events fall into the time; none of them was replayed."
            raise Problem("replay_too_large", detail, limit=no.limit)
        case TooManyEndpoints():
            raise Problem("too_many_endpoints", f"The tenant has {no.limit} webhook endpoints.", limit=no.limit)
        case UrlRefused():
            raise invalid_request([InputFault(code="malformed_value", pointer="/url", message=no.why)])
        case StoreNotFound() | KeyReused():
            raise problem_of(no)
        case _:
            assert_never(no)


def _answered(view: EndpointView, response: Response) -> WebhookEndpointView:
    if view.replayed:
        response.headers["Idempotent-Replayed"] = "true"
    return endpoint_view(view)


@router.post(
    "",
    operation_id="create_webhook_endpoint",
    status_code=201,
    **docs.documented(
        "admin",
        [
            *docs.OF_BODIES,
            "store_not_found",
            "idempotency_key_reused",
            "webhook_endpoint_not_found",
            "too_many_endpoints",
        ],
        answers={
            201: {
                "description": "The endpoint, with its `secret`: shown once, and not when the request is repeated.",
                "headers": ("Location", "Idempotent-Replayed"),
            }
        },
    ),
)
async def create_webhook_endpoint(
    request: Request, response: Response, body: WebhookEndpointBody, idempotency_key: IdempotencyKey = None
) -> WebhookEndpointView:
    """Have events sent to an address, from now on; what happened before can be replayed.

    Deliveries are signed by Standard Webhooks. Those about one subject, such as a refund, come one after the other, in
    the order in which things happened; one that is not answered with 2xx is tried again for three days. An event may
    come twice, then with the same `webhook-id`. An endpoint that answers 410, or fails for days, is disabled.
    """
    view = await endpoints.create(
        runtime_of(request),
        caller_of(request),
        to_draft(body),
        idempotency_key=idempotency_key,
        fingerprint=request_fingerprint("create_webhook_endpoint", body.model_dump_json().encode()),
    )
    if not isinstance(view, EndpointView):
        _refuse(view)
    response.headers["Location"] = f"/v1/webhook-endpoints/{view.id}"
    return _answered(view, response)


@router.get(
    "",
    operation_id="list_webhook_endpoints",
    **docs.documented(
        "admin", docs.OF_INPUT, answers={200: {"description": "A page of endpoints.", "headers": ["Link"]}}
    ),
)
async def list_webhook_endpoints(
    request: Request, response: Response, query: Annotated[Page, Query()]
) -> WebhookEndpointList:
    """List webhook endpoints, oldest first; a key that is limited to stores sees those of no other stores."""
    found = await endpoints.listed(
        runtime_of(request), caller_of(request), limit=query.limit + 1, after=endpoint_cursor(query.after)
    )
    shown, cursor = cut_page(request, response, found, query.limit)
    return WebhookEndpointList(data=[endpoint_view(view) for view in shown], next_cursor=cursor)


@router.get(
    "/{endpoint_id}",
    operation_id="get_webhook_endpoint",
    **docs.documented(
        "admin", ["webhook_endpoint_not_found"], answers={200: {"description": "The endpoint, and how it fares."}}
    ),
)
async def get_webhook_endpoint(request: Request, endpoint_id: _EndpointIdInPath) -> WebhookEndpointView:
    """Read a webhook endpoint; its secret is not shown."""
    view = await endpoints.look(runtime_of(request), caller_of(request), endpoint_id)
    if not isinstance(view, EndpointView):
        _refuse(view)
    return endpoint_view(view)


@router.patch(
    "/{endpoint_id}",
    operation_id="change_webhook_endpoint",
    **docs.documented(
        "admin",
        [*docs.OF_BODIES, "webhook_endpoint_not_found", "store_not_found"],
        answers={200: {"description": "The endpoint as it is now."}},
        also_taken="application/merge-patch+json",
        body=WebhookEndpointChangeBody.__name__,
    ),
)
async def change_webhook_endpoint(
    request: Request, endpoint_id: _EndpointIdInPath, body: WebhookEndpointChangeBody
) -> WebhookEndpointView:
    """Change a webhook endpoint, or take it out of use and put it back.

    Events that happen while it is disabled are not kept for it; replay the time since `disabled_at` if they are wanted.
    """
    view = await endpoints.change(runtime_of(request), caller_of(request), endpoint_id, to_endpoint_change(body))
    if not isinstance(view, EndpointView):
        _refuse(view)
    return endpoint_view(view)


@router.delete(
    "/{endpoint_id}",
    operation_id="delete_webhook_endpoint",
    status_code=204,
    **docs.documented("admin", ["webhook_endpoint_not_found"], answers={204: {"description": "The endpoint is gone."}}),
)
async def delete_webhook_endpoint(request: Request, endpoint_id: _EndpointIdInPath) -> None:
    """Delete a webhook endpoint with its deliveries, pending ones too; the events stay in the feed."""
    no = await endpoints.remove(runtime_of(request), caller_of(request), endpoint_id)
    if no is not None:
        _refuse(no)


@router.post(
    "/{endpoint_id}/rotate-secret",
    operation_id="rotate_webhook_secret",
    **docs.documented(
        "admin",
        [*docs.OF_BODIES, "webhook_endpoint_not_found", "idempotency_key_reused"],
        answers={
            200: {
                "description": "The endpoint, with its new `secret`: shown this once.",
                "headers": ["Idempotent-Replayed"],
            }
        },
    ),
)
async def rotate_webhook_secret(
    request: Request,
    response: Response,
    endpoint_id: _EndpointIdInPath,
    body: WebhookSecretRotationBody | None = None,
    idempotency_key: IdempotencyKey = None,
) -> WebhookEndpointView:
    """Replace an endpoint's secret. While old and new overlap, deliveries carry a signature of each."""
    asked = body or WebhookSecretRotationBody()
    view = await endpoints.rotate(
        runtime_of(request),
        caller_of(request),
        endpoint_id,
        overlap=timedelta(seconds=asked.overlap_s),
        idempotency_key=idempotency_key,
        fingerprint=request_fingerprint(f"rotate_webhook_secret {endpoint_id}", asked.model_dump_json().encode()),
    )
    if not isinstance(view, EndpointView):
        _refuse(view)
    return _answered(view, response)


@router.post(
    "/{endpoint_id}/test",
    operation_id="test_webhook_endpoint",
    **docs.documented(
        "admin", ["webhook_endpoint_not_found"], answers={200: {"description": "What became of the message."}}
    ),
)
async def test_webhook_endpoint(request: Request, endpoint_id: _EndpointIdInPath) -> EndpointTestView:
    """Send a signed `webhook_endpoint.test` now, once, and say what became of it. It is in no feed and no list."""
    attempt = await endpoints.try_out(runtime_of(request), caller_of(request), endpoint_id)
    if not isinstance(attempt, Attempt):
        _refuse(attempt)
    return EndpointTestView(delivered=attempt.error is None, attempt=attempt_view(attempt))


@router.get(
    "/{endpoint_id}/deliveries",
    operation_id="list_deliveries",
    **docs.documented(
        "admin",
        [*docs.OF_INPUT, "webhook_endpoint_not_found"],
        answers={200: {"description": "A page of deliveries, newest first.", "headers": ["Link"]}},
    ),
)
async def list_deliveries(
    request: Request, response: Response, endpoint_id: _EndpointIdInPath, query: Annotated[DeliveriesQuery, Query()]
) -> DeliveryList:
    """List what was and is to be delivered to an endpoint, newest first."""
    found = await endpoints.delivered(
        runtime_of(request),
        caller_of(request),
        endpoint_id,
        status=query.status,
        types=query.type,
        limit=query.limit + 1,
        after=event_cursor(query.after),
    )
    if isinstance(found, EndpointNotFound):
        _refuse(found)
    shown, cursor = cut_page(request, response, found, query.limit)
    return DeliveryList(data=[delivery_view(one) for one in shown], next_cursor=cursor)


@router.get(
    "/{endpoint_id}/deliveries/{delivery_id}",
    operation_id="get_delivery",
    **docs.documented(
        "admin",
        ["webhook_endpoint_not_found", "delivery_not_found"],
        answers={200: {"description": "The delivery with every attempt."}},
    ),
)
async def get_delivery(
    request: Request, endpoint_id: _EndpointIdInPath, delivery_id: _DeliveryInPath
) -> DeliveryDetailView:
    """Read a delivery with everything that was tried."""
    found = await endpoints.delivery(runtime_of(request), caller_of(request), endpoint_id, delivery_id)
    if not isinstance(found, endpoints.DeliveryView):
        _refuse(found)
    return delivery_detail_view(found)


@router.post(
    "/{endpoint_id}/deliveries/{delivery_id}/replay",
    operation_id="replay_delivery",
    **docs.documented(
        "admin",
        ["webhook_endpoint_not_found", "delivery_not_found", "webhook_endpoint_disabled"],
        answers={200: {"description": "The delivery, pending again."}},
    ),
)
async def replay_delivery(
    request: Request, endpoint_id: _EndpointIdInPath, delivery_id: _DeliveryInPath
) -> DeliveryView:
    """Have an event sent again, with the same `webhook-id`; one that is pending is due at once."""
    found = await endpoints.replay(runtime_of(request), caller_of(request), endpoint_id, delivery_id)
    if not isinstance(found, Delivery):
        _refuse(found)
    return delivery_view(found)


@router.post(
    "/{endpoint_id}/replay",
    operation_id="replay_events",
    **docs.documented(
        "admin",
        [*docs.OF_BODIES, "webhook_endpoint_not_found", "webhook_endpoint_disabled", "replay_too_large"],
        answers={200: {"description": "How many events are on their way now."}},
    ),
)
async def replay_events(request: Request, endpoint_id: _EndpointIdInPath, body: EventReplayBody) -> EventReplayView:
    """Have the events of a time sent, again or for the first time: those that the endpoint's types and stores match.

    Events from before the endpoint existed, and from when it was disabled, are among them. Repeating it is harmless.
    """
    count = await endpoints.replay_many(
        runtime_of(request),
        caller_of(request),
        endpoint_id,
        since=body.since,
        until=body.until,
        types=body.types,
        only_failed=body.only_failed,
    )
    if not isinstance(count, int):
        _refuse(count)
    return EventReplayView(deliveries=count)
