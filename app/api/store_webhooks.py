"""Where stores send their webhooks."""

import re
from typing import Annotated, Literal
from urllib.parse import parse_qsl

from fastapi import APIRouter, Path, Request
from pydantic import Field
from starlette.datastructures import Headers

from app.api import documentation as docs
from app.api.deps import runtime_of
from app.api.problems import Problem
from app.api.views import View
from app.flows.notices import Notice, Noticed, receive

router = APIRouter(prefix="/v1/stores", tags=["Inbound"])

_STORE = re.compile(r"st_[0-9A-Za-z]{1,40}|[a-z0-9][a-z0-9-]{0,62}", re.ASCII)
_NUMBER = re.compile(r"[0-9]{1,18}", re.ASCII)


class WebhookTakenView(View):
    """What a store's webhook came to."""

    object: Literal["webhook_taken"] = "webhook_taken"
    outcome: Annotated[
        Noticed | Literal["ping"],
        Field(
            description="`looked`: what it names is read from the store; `repeated`: it came before; `ignored`: it "
            "names nothing of ours."
        ),
    ]


@router.post(
    "/{store}/webhooks",
    operation_id="receive_store_webhook",
    **docs.documented(
        None,
        ["not_verified", "body_too_large", "body_too_slow"],
        answers={200: {"description": "Taken; it is seen to by a worker."}},
        request_body={
            "description": "As WooCommerce sends it. Its signature proves it; nothing in it but an id is believed.",
            "required": True,
            "content": {"application/json": {"schema": {"type": "object"}}},
        },
    ),
)
async def receive_webhook(
    request: Request,
    store: Annotated[str, Path(description="The store's id, or its name.")],
) -> WebhookTakenView:
    """Take a webhook of a WooCommerce store, and have the order that it names read from the store.

    `refund-gateway store check --repair` registers this address in the store.
    """
    body, headers = await request.body(), request.headers
    if _is_ping(headers, body):
        return WebhookTakenView(outcome="ping")
    notice = Notice(
        webhook_id=headers.get("x-wc-webhook-id", ""),
        topic=headers.get("x-wc-webhook-topic", ""),
        signature=headers.get("x-wc-webhook-signature", ""),
        body=body,
    )
    known = _STORE.fullmatch(store) is not None and bool(notice.signature)
    outcome = await receive(runtime_of(request), store, notice) if known else None
    if outcome is None:
        raise Problem("not_verified")
    return WebhookTakenView(outcome=outcome)


def _is_ping(headers: Headers, body: bytes) -> bool:
    """Tell WooCommerce's ping: a form with the webhook's number, and none of the other headers (WH:602-625).

    It is sent before anything is signed, and has to be answered 200; nothing is done for it.
    """
    if any(name.startswith("x-wc-webhook-") for name in headers):
        return False
    if len(body) > 100:
        return False
    form = parse_qsl(body.decode("latin-1"))
    return len(form) == 1 and form[0][0] == "webhook_id" and _NUMBER.fullmatch(form[0][1]) is not None
