"""Webhook registration of wc/v3: the sandbox keeps webhooks and does not deliver them.

New ones are always active, and a secret is never readable back (webhooks-v1:337-379).
"""

import re
import secrets
from collections.abc import Mapping

from pydantic import BaseModel, JsonValue

from app.sandbox.model import Json
from app.sandbox.rest import Answer, Call, Param, RestError, not_found
from app.sandbox.serialize import ORDER_METHODS, View, links

PARAMS: Mapping[str, Param] = {
    "name": Param(kind="string"),
    "topic": Param(kind="string"),
    "delivery_url": Param(kind="string"),
    "secret": Param(kind="string"),
    "status": Param(kind="string", among=("active", "paused", "disabled")),
}
LIST_PARAMS: Mapping[str, Param] = {
    "context": Param(kind="string", default="view", among=("view", "edit")),
    "page": Param(kind="integer", default=1, least=1),
    "per_page": Param(kind="integer", default=10, least=1, most=100),
    "status": Param(kind="string", default="all", among=("all", "active", "paused", "disabled")),
}
SINGLE_PARAMS: Mapping[str, Param] = {"force": Param(kind="boolean", default=False)}

_TOPIC = re.compile(
    r"(?:coupon|customer|order|product)\.(?:created|updated|deleted|restored)|action\.[a-z0-9_]+", re.ASCII
)
_URL = re.compile(r"https?://[^\s/]+\S*")


class Webhook(BaseModel):
    id: int
    name: str
    status: str = "active"
    topic: str
    delivery_url: str
    secret: str
    created: str
    modified: str


async def create(call: Call) -> Answer:
    """Answer POST webhooks."""
    topic, url = _checked_topic(call.text("topic") or ""), _checked_url(call.text("delivery_url") or "")
    moment = call.store.now().isoformat()
    with call.store.transaction():
        webhook = Webhook(
            id=call.store.next_id("webhook"),
            name=call.text("name") or f"Webhook created on {moment}",
            topic=topic,
            delivery_url=url,
            secret=call.text("secret") or secrets.token_urlsafe(40)[:50],
            created=moment,
            modified=moment,
        )
        call.store.save_webhook(webhook.id, webhook.model_dump_json())
    location = {"Location": call.view().url(f"webhooks/{webhook.id}")}
    return Answer(_shown(webhook, call.view()), status=201, headers=location)


async def list_webhooks(call: Call) -> Answer:
    """Answer GET webhooks, newest first."""
    wanted = call.text("status")
    webhooks = [Webhook.model_validate_json(doc) for doc in call.store.webhooks()]
    found = [webhook for webhook in webhooks if wanted in ("all", webhook.status)]
    per_page, page = call.integer("per_page") or 10, call.integer("page") or 1
    shown: list[JsonValue] = [_shown(one, call.view()) for one in found[(page - 1) * per_page : page * per_page]]
    return Answer(shown, headers={"X-WP-Total": str(len(found)), "X-WP-TotalPages": str(-(-len(found) // per_page))})


async def retrieve(call: Call) -> Answer:
    """Answer GET webhooks/{id}."""
    return Answer(_shown(_existing(call), call.view()))


async def update(call: Call) -> Answer:
    """Answer PUT webhooks/{id}."""
    webhook = _existing(call)
    changes = {name: value for name in PARAMS if (value := call.text(name)) is not None}
    if "topic" in changes:
        _checked_topic(changes["topic"])
    if "delivery_url" in changes:
        _checked_url(changes["delivery_url"])
    webhook = webhook.model_copy(update={**changes, "modified": call.store.now().isoformat()})
    with call.store.transaction():
        call.store.save_webhook(webhook.id, webhook.model_dump_json())
    return Answer(_shown(webhook, call.view()))


async def delete(call: Call) -> Answer:
    """Answer DELETE webhooks/{id}: only with `force`."""
    webhook = _existing(call)
    if not call.flag("force"):
        raise RestError("woocommerce_rest_trash_not_supported", "Webhooks do not support trashing.", 501)
    with call.store.transaction():
        call.store.delete_webhook(webhook.id)
    return Answer(_shown(webhook, call.view()))


def _existing(call: Call) -> Webhook:
    doc = call.store.webhook(call.id())
    if doc is None:
        raise not_found("woocommerce_rest_shop_webhook_invalid_id", "Invalid ID.")
    return Webhook.model_validate_json(doc)


def _checked_topic(topic: str) -> str:
    if not _TOPIC.fullmatch(topic):
        raise RestError(
            "woocommerce_rest_shop_webhook_invalid_topic", "Webhook topic is required and must be valid.", 400
        )
    return topic


def _checked_url(url: str) -> str:
    if not _URL.fullmatch(url):
        raise RestError(
            "woocommerce_rest_shop_webhook_invalid_delivery_url",
            "Webhook delivery URL must be a valid URL starting with http:// or https://.",
            400,
        )
    return url


def _shown(webhook: Webhook, view: View) -> Json:
    resource, _, event = webhook.topic.partition(".")
    hooks: list[JsonValue] = (
        [event]
        if resource == "action"
        else ["woocommerce_update_order", "woocommerce_order_refunded"]
        if webhook.topic == "order.updated"
        else [f"woocommerce_new_{resource}"]
    )
    return {
        "id": webhook.id,
        "name": webhook.name,
        "status": webhook.status,
        "topic": webhook.topic,
        "resource": resource,
        "event": event,
        "hooks": hooks,
        "delivery_url": webhook.delivery_url,
        "date_created": webhook.created,
        "date_created_gmt": webhook.created,
        "date_modified": webhook.modified,
        "date_modified_gmt": webhook.modified,
        "_links": links(view, f"webhooks/{webhook.id}", allow=ORDER_METHODS),
    }
