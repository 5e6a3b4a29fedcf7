"""Webhooks of the legacy API: the same rows as wc/v3's, in an envelope; their payloads are the legacy API's."""

from pydantic import JsonValue

from app.sandbox import webhooks
from app.sandbox.legacy_call import LegacyAnswer, LegacyCall, LegacyError
from app.sandbox.model import Json
from app.sandbox.rest import RestError
from app.sandbox.webhooks import Webhook


async def list_webhooks(call: LegacyCall) -> LegacyAnswer:
    """Answer GET webhooks, newest first, all on one page."""
    kept = [Webhook.model_validate_json(doc) for doc in call.store.webhooks()]
    shown: list[JsonValue] = [_shown(webhook) for webhook in kept] if call.text("page") in (None, "1") else []
    return LegacyAnswer({"webhooks": shown})


async def create(call: LegacyCall) -> LegacyAnswer:
    """Answer POST webhooks."""
    given = call.inner("webhook", doing="create")
    try:
        made = webhooks.make(call.store, _texts(given), api="legacy")
    except RestError as error:
        raise LegacyError(error.code.replace("rest_shop", "api"), str(error.body["message"]), 400) from None
    return LegacyAnswer({"webhook": _shown(made)}, status=201)


async def update(call: LegacyCall) -> LegacyAnswer:
    """Answer PUT webhooks/{id}."""
    doc = call.store.webhook(call.id("id"))
    if doc is None:
        raise LegacyError("woocommerce_api_no_webhook_found", "No webhook found", 404)
    try:
        changed = webhooks.change(
            call.store, Webhook.model_validate_json(doc), _texts(call.inner("webhook", doing="edit"))
        )
    except RestError as error:
        raise LegacyError(error.code.replace("rest_shop", "api"), str(error.body["message"]), 400) from None
    return LegacyAnswer({"webhook": _shown(changed)})


def _texts(given: Json) -> dict[str, str]:
    return {name: value for name in webhooks.PARAMS if isinstance(value := given.get(name), str)}


def _shown(webhook: Webhook) -> Json:
    resource, _, event = webhook.topic.partition(".")
    return {
        "id": webhook.id,
        "name": webhook.name,
        "status": webhook.status,
        "topic": webhook.topic,
        "resource": resource,
        "event": event,
        "hooks": list(webhooks.hooks_of(webhook.topic)),
        "delivery_url": webhook.delivery_url,
        "created_at": webhook.created,
        "updated_at": webhook.modified,
    }
