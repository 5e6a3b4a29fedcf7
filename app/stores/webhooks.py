"""The webhooks that a store sends, in both of WooCommerce's APIs.

Registered over wc/v3 they show orders as wc/v3 does; registered over the legacy API, as that does, and with its plugin
gone WooCommerce 9.0 and later fails to build them (WH:430).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast, get_args

from app import outbound
from app.stores.answers import Reply, read_failure
from app.stores.calls import StoreCalls
from app.stores.failures import unreadable
from app.stores.gate import BreakerOpen
from app.stores.port import StoreError, StoreMisconfigured, StoreUnavailable, StoreWebhook, WebhookStatus
from app.stores.reading import JsonObject, Unreadable, id_of, mapping, rows, text_of

_PER_PAGE = 100
_PAGES_MAX = 20
#: Shown in WooCommerce > Settings > Advanced > Webhooks.
_NAME = "Refund Gateway"
_STATUSES = frozenset(get_args(WebhookStatus))
_ANSWERED = frozenset({200, 201})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Dialect:
    """How an API writes webhooks."""

    paging: Callable[[int], Mapping[str, str]]
    listed: Callable[[object], object]
    single: Callable[[object], object]
    sent: Callable[[Mapping[str, Any]], Mapping[str, Any]]


_V3 = _Dialect(
    paging=lambda page: {"per_page": str(_PER_PAGE), "page": str(page), "_fields": "id,status,topic,delivery_url"},
    listed=lambda value: value,
    single=lambda value: value,
    sent=lambda fields: fields,
)
#: Everything of the legacy API has an envelope.
_LEGACY = _Dialect(
    paging=lambda page: {"filter[limit]": str(_PER_PAGE), "page": str(page)},
    listed=lambda value: mapping(value, "answer").get("webhooks"),
    single=lambda value: mapping(value, "answer").get("webhook"),
    sent=lambda fields: {"webhook": fields},
)


class WebhookRows:
    """A store's webhooks over one of its APIs."""

    def __init__(self, calls: StoreCalls) -> None:
        """Speak to the API that the calls go to."""
        self._calls = calls
        self._dialect = _V3 if calls.api.name == "v3" else _LEGACY

    async def read(self) -> tuple[StoreWebhook, ...]:
        """Read all webhooks of the store. Raises StoreUnavailable or StoreMisconfigured."""
        found: dict[str, StoreWebhook] = {}
        try:
            for page in range(1, _PAGES_MAX + 1):
                answer = await self._calls.get(
                    "webhooks",
                    self._dialect.paging(page),
                    call="list_webhooks",
                    priority="interactive",
                    verify=True,
                )
                listed = [_webhook(row) for row in rows(self._dialect.listed(answer), "webhooks")]
                found |= {webhook.id: webhook for webhook in listed}
                if len(listed) < _PER_PAGE:
                    break
        except Unreadable as error:
            raise unreadable(error) from error
        return tuple(found.values())

    async def put(self, topic: str, delivery_url: str, secret: str, *, webhook_id: str | None) -> StoreWebhook:
        """Make a webhook, or make the one of this id right; it is active afterwards.

        Raises StoreUnavailable or StoreMisconfigured.
        """
        fields = {
            "name": f"{_NAME}: {topic}",
            "topic": topic,
            "delivery_url": delivery_url,
            "secret": secret,
            "status": "active",
        }
        try:
            reply = await self._calls.write_once(
                "POST" if webhook_id is None else "PUT",
                "webhooks" if webhook_id is None else f"webhooks/{webhook_id}",
                {},
                self._dialect.sent(fields),
                call="put_webhook",
                priority="interactive",
            )
        except BreakerOpen as error:
            raise StoreUnavailable(str(error), retry_after_s=error.retry_after_s) from error
        except outbound.OutboundError as error:
            raise StoreUnavailable(str(error)) from error
        value = None if reply.document is None else reply.document.value
        if reply.answer.status not in _ANSWERED or reply.error is not None or reply.away is not None or value is None:
            raise self._refusal(reply)
        try:
            return _webhook(mapping(self._dialect.single(value), "webhook"))
        except Unreadable as error:
            raise unreadable(error) from error

    def _refusal(self, reply: Reply) -> StoreError:
        failure = read_failure(reply, secrets=self._calls.connection.secrets)
        if failure is None:
            return StoreUnavailable("The store's answer is not usable.", http_status=reply.answer.status)
        if isinstance(failure, StoreMisconfigured) and reply.answer.status in (401, 403):
            return StoreMisconfigured(
                "The store does not let this API key make webhooks: its user has to be a Shop manager, and the key "
                "needs the permission Read/Write.",
                store_code=failure.store_code,
                http_status=failure.http_status,
            )
        return failure


def _webhook(row: JsonObject) -> StoreWebhook:
    status = text_of(row.get("status"), "webhook.status")
    return StoreWebhook(
        id=id_of(row.get("id"), "webhook.id"),
        topic=text_of(row.get("topic"), "webhook.topic"),
        # A status of a plugin's making does not deliver.
        status=cast("WebhookStatus", status) if status in _STATUSES else "paused",
        delivery_url=text_of(row.get("delivery_url"), "webhook.delivery_url"),
    )
