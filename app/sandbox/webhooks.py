"""Webhook registration of wc/v3; `deliveries` sends them where that is switched on.

New ones are always active, and a secret is never readable back (webhooks-v1:337-379).
"""

import re
import secrets
from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import BaseModel, JsonValue

from app.sandbox.model import Json
from app.sandbox.rest import Answer, Call, Param, RestError, not_found
from app.sandbox.serialize import ORDER_METHODS, View, links
from app.sandbox.store import Store

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

#: Announced where a webhook has to be pinged: when it is made, and by changes until a ping got through.
SAVED = "sandbox_webhook_saved"

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
    #: Whose payloads it sends.
    api: Literal["v3", "legacy"] = "v3"
    #: In a row.
    failures: int = 0
    #: No ping has got through yet.
    pending: bool = True


async def create(call: Call) -> Answer:
    """Answer POST webhooks."""
    webhook = make(call.store, _given(call))
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
    return Answer(_shown(change(call.store, _existing(call), _given(call)), call.view()))


async def delete(call: Call) -> Answer:
    """Answer DELETE webhooks/{id}: only with `force`."""
    webhook = _existing(call)
    if not call.flag("force"):
        raise RestError("woocommerce_rest_trash_not_supported", "Webhooks do not support trashing.", 501)
    with call.store.transaction():
        call.store.delete_webhook(webhook.id)
    return Answer(_shown(webhook, call.view()))


def make(store: Store, given: Mapping[str, str], *, api: Literal["v3", "legacy"] = "v3") -> Webhook:
    """Save a new webhook; raise RestError for a topic or an address that is none."""
    topic, url = _checked_topic(given.get("topic", "")), _checked_url(given.get("delivery_url", ""))
    moment = store.now().isoformat()
    with store.transaction():
        webhook = Webhook(
            id=store.next_id("webhook"),
            name=given.get("name") or f"Webhook created on {moment}",
            topic=topic,
            delivery_url=url,
            secret=given.get("secret") or secrets.token_urlsafe(40)[:50],
            created=moment,
            modified=moment,
            api=api,
        )
        store.save_webhook(webhook.id, webhook.model_dump_json())
    store.do_action(SAVED, webhook.id)
    return webhook


def change(store: Store, webhook: Webhook, given: Mapping[str, str]) -> Webhook:
    """Save what is given of a webhook; raise RestError for a topic or an address that is none."""
    if "topic" in given:
        _checked_topic(given["topic"])
    if "delivery_url" in given:
        _checked_url(given["delivery_url"])
    webhook = webhook.model_copy(update={**given, "modified": store.now().isoformat()})
    with store.transaction():
        store.save_webhook(webhook.id, webhook.model_dump_json())
    if webhook.pending:
        store.do_action(SAVED, webhook.id)
    return webhook


def hooks_of(topic: str) -> Sequence[str]:
    """Return the hooks that a topic listens to (WH:952-955)."""
    resource, _, event = topic.partition(".")
    if resource == "action":
        return (event,)
    if topic == "order.updated":
        return ("woocommerce_update_order", "woocommerce_order_refunded")
    if topic == "order.deleted":
        return ("woocommerce_delete_order",)
    return (f"woocommerce_new_{resource}",)


def _given(call: Call) -> dict[str, str]:
    return {name: value for name in PARAMS if (value := call.text(name)) is not None}


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
    return {
        "id": webhook.id,
        "name": webhook.name,
        "status": webhook.status,
        "topic": webhook.topic,
        "resource": resource,
        "event": event,
        "hooks": list(hooks_of(webhook.topic)),
        "delivery_url": webhook.delivery_url,
        "date_created": webhook.created,
        "date_created_gmt": webhook.created,
        "date_modified": webhook.modified,
        "date_modified_gmt": webhook.modified,
        "_links": links(view, f"webhooks/{webhook.id}", allow=ORDER_METHODS),
    }
