"""Sending webhooks as WooCommerce does: late, merged, never again, and built from what the shop shows by then.

A hook queues one delivery for each active webhook that listens to it, unless one for the same argument is queued
already (WHF:28-38). The payload is built when it is sent (WH:325). Nothing is ever sent a second time; the seventh
failure in a row disables a webhook (WH:552-561). WordPress' own rule about ports and private addresses is left out.
"""

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections import deque
from dataclasses import dataclass
from typing import Literal

import httpx

from app.sandbox import legacy_serialize, serialize
from app.sandbox.catalogue import WORDPRESS_VERSION
from app.sandbox.model import Json
from app.sandbox.serialize import View
from app.sandbox.store import Store
from app.sandbox.webhooks import SAVED, Webhook, hooks_of

#: off: nothing is queued; held: queued until somebody has it delivered; on: delivered shortly after the request.
Mode = Literal["off", "held", "on"]
#: What becomes of the queue: sent in order, each twice, last one first, or never.
How = Literal["once", "twice", "reversed", "drop"]

_TIMEOUT_S = 10.0
#: WooCommerce forgives so many failures in a row.
_FORGIVEN = 5
_SUCCESS = range(200, 303)
_LOGGED = 500
#: Since then the plugin of the legacy API has to be there to build its payloads (WH:430).
_WITHOUT_LEGACY = (9, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Queued:
    """A delivery to come; without an argument it is a ping."""

    webhook_id: int
    arg: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """A delivery that was tried."""

    webhook_id: int
    topic: str
    arg: int | None
    #: None for one that got no answer.
    status: int | None


class Deliveries:
    """A shop's queue of webhooks."""

    def __init__(self, store: Store, *, mode: Mode, public_url: str | None, delay_s: float = 0.05) -> None:
        """Listen to what happens in the shop; deliver `delay_s` after the first of it."""
        self._store = store
        self._delay_s = delay_s
        self._queue: list[Queued] = []
        self._task: asyncio.Task[None] | None = None
        self.mode: Mode = mode
        #: Where the shop is, for links and headers.
        self.site_url = public_url or "http://localhost"
        self.log: deque[Delivered] = deque(maxlen=_LOGGED)
        store.on_action = self._happened

    @property
    def queued(self) -> list[Queued]:
        """Return what is to be delivered, in its order."""
        return list(self._queue)

    def switch(self, mode: Mode) -> None:
        """Change whether things are queued and delivered; switched off, the queue is dropped."""
        self.mode = mode
        if mode == "off":
            self._queue.clear()
        self._wake()

    def forget(self) -> None:
        """Drop the queue and the log."""
        self._queue.clear()
        self.log.clear()

    async def close(self) -> None:
        """Stop delivering; what is queued is lost, as with a site that is switched off."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def deliver(self, how: How = "once") -> list[Delivered]:
        """Empty the queue, and return what was tried on the way."""
        if how == "drop":
            self._queue.clear()
        if how == "reversed":
            self._queue.reverse()
        tried: list[Delivered] = []
        async with httpx.AsyncClient(timeout=_TIMEOUT_S, follow_redirects=False, trust_env=False) as client:
            while self._queue:
                queued = self._queue.pop(0)
                for _ in range(2 if how == "twice" else 1):
                    done = await self._send(client, queued)
                    if done is not None:
                        tried.append(done)
        self.log.extend(tried)
        return tried

    def _happened(self, hook: str, arg: int) -> None:
        if self.mode == "off":
            return
        if hook == SAVED:
            self._enqueue(Queued(webhook_id=arg, arg=None))
            return
        for doc in reversed(self._store.webhooks()):
            webhook = Webhook.model_validate_json(doc)
            if webhook.status == "active" and hook in hooks_of(webhook.topic):
                self._enqueue(Queued(webhook_id=webhook.id, arg=arg))

    def _enqueue(self, queued: Queued) -> None:
        if queued not in self._queue:
            self._queue.append(queued)
        self._wake()

    def _wake(self) -> None:
        if self.mode == "on" and self._queue and (self._task is None or self._task.done()):
            self._task = asyncio.get_running_loop().create_task(self._deliver_soon())

    async def _deliver_soon(self) -> None:
        while self._queue and self.mode == "on":
            await asyncio.sleep(self._delay_s)
            await self.deliver()

    async def _send(self, client: httpx.AsyncClient, queued: Queued) -> Delivered | None:
        doc = self._store.webhook(queued.webhook_id)
        webhook = None if doc is None else Webhook.model_validate_json(doc)
        if webhook is None or webhook.status != "active":
            return None
        agent = f"WooCommerce/{self._view().version} Hookshot (WordPress/{WORDPRESS_VERSION})"
        if queued.arg is None:
            status = await self._post(
                client,
                webhook,
                f"webhook_id={webhook.id}".encode(),
                {"User-Agent": agent, "Content-Type": "application/x-www-form-urlencoded"},
            )
            if status == 200:
                self._change(webhook, pending=False)
            return Delivered(webhook_id=webhook.id, topic=webhook.topic, arg=None, status=status)
        payload = self._payload(webhook, queued.arg)
        if payload is None:
            return None
        # As PHP writes JSON.
        body = json.dumps(payload, separators=(",", ":")).replace("/", "\\/").encode()
        status = await self._post(client, webhook, body, {"User-Agent": agent, **self._headers(webhook, body)})
        if status is not None and status in _SUCCESS:
            self._change(webhook, failures=0)
        elif webhook.failures > _FORGIVEN:
            self._change(webhook, status="disabled")
        else:
            self._change(webhook, failures=webhook.failures + 1)
        return Delivered(webhook_id=webhook.id, topic=webhook.topic, arg=queued.arg, status=status)

    def _headers(self, webhook: Webhook, body: bytes) -> dict[str, str]:
        resource, _, event = webhook.topic.partition(".")
        signature = hmac.new(webhook.secret.encode(), body, hashlib.sha256).digest()
        # Not unique within a second (WH:465-468).
        delivery = hashlib.md5(f"{webhook.id}{int(time.time())}".encode(), usedforsecurity=False).hexdigest()
        return {
            "Content-Type": "application/json",
            "X-WC-Webhook-Source": f"{self.site_url}/",
            "X-WC-Webhook-Topic": webhook.topic,
            "X-WC-Webhook-Resource": resource,
            "X-WC-Webhook-Event": event,
            "X-WC-Webhook-Signature": base64.b64encode(signature).decode(),
            "X-WC-Webhook-ID": str(webhook.id),
            "X-WC-Webhook-Delivery-ID": delivery,
        }

    @staticmethod
    async def _post(client: httpx.AsyncClient, webhook: Webhook, body: bytes, headers: dict[str, str]) -> int | None:
        try:
            return (await client.post(webhook.delivery_url, content=body, headers=headers)).status_code
        except httpx.HTTPError:
            return None

    def _payload(self, webhook: Webhook, arg: int) -> Json | None:
        """Return what the shop shows by now: for an order that is gone, its API's error (#68698)."""
        resource, _, event = webhook.topic.partition(".")
        if resource == "action":
            return {"action": event, "arg": arg}
        order = self._store.order(arg)
        settings = self._store.settings()
        if webhook.api == "legacy":
            if settings.version >= _WITHOUT_LEGACY and not settings.legacy:
                return None
            if order is None:
                return {"errors": [{"code": "woocommerce_api_no_order_found", "message": "No order found"}]}
            shown = legacy_serialize.order(order, self._store, places=2, all_item_meta=False, site_url=self.site_url)
            return {"order": shown}
        if event == "deleted":
            return {"id": arg}
        if order is None:
            data: Json = {"status": 404}
            return {"code": "woocommerce_rest_shop_order_invalid_id", "message": "Invalid ID.", "data": data}
        return serialize.order(order, self._store.refund_summaries(arg), self._view())

    def _view(self) -> View:
        settings = self._store.settings()
        return View(places=settings.decimals, root=f"{self.site_url}/wp-json", version=settings.woocommerce_version)

    def _change(self, webhook: Webhook, **changes: object) -> None:
        """Save a webhook's counters, unless it was deleted meanwhile."""
        doc = self._store.webhook(webhook.id)
        if doc is None:
            return
        changed = Webhook.model_validate_json(doc).model_copy(update=changes)
        with self._store.transaction():
            self._store.save_webhook(changed.id, changed.model_dump_json())
