"""Webhooks as the sandbox sends them, held against recorded ones."""

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.sandbox.conftest import client_of, make_order, refund, serving

V3 = "/wp-json/wc/v3"
SECRET = "whsec-demo-1"
RECORDED = json.loads((Path(__file__).parents[1] / "recordings" / "webhook_deliveries.json").read_text())["deliveries"]


@dataclass(slots=True)
class Receiver:
    """Takes down what is sent to it, and answers as told."""

    url: str
    status: int = 200
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    def topics(self) -> list[str]:
        return [headers.get("x-wc-webhook-topic", "ping") for headers, _ in self.got]


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """Run a receiver that speaks just enough HTTP."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        taken.got.append((headers, await reader.readexactly(int(headers["content-length"]))))
        writer.write(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" % taken.status)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    taken = Receiver(url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook")
    async with server:
        yield taken


@pytest.fixture
async def shop() -> AsyncIterator[httpx.AsyncClient]:
    """A client of a sandbox that holds its webhooks back until it is told to deliver them."""
    with serving(seed=False, webhooks="held") as url:
        async with client_of(url) as client:
            yield client


async def listen(shop: httpx.AsyncClient, receiver: Receiver, *topics: str) -> list[int]:
    """Register webhooks and let their pings out."""
    made = [
        await shop.post(f"{V3}/webhooks", json={"topic": topic, "delivery_url": receiver.url, "secret": SECRET})
        for topic in topics
    ]
    await deliver(shop)
    return [one.json()["id"] for one in made]


async def deliver(shop: httpx.AsyncClient, how: str = "once") -> list[dict[str, Any]]:
    answer = await shop.post("/sandbox/webhooks/deliver", json={"how": how})
    assert answer.status_code == 200, answer.text
    return list(answer.json())


async def webhook(shop: httpx.AsyncClient, webhook_id: int) -> dict[str, Any]:
    return dict((await shop.get(f"{V3}/webhooks/{webhook_id}")).json())


async def test_a_new_webhook_is_pinged_as_recorded(shop: httpx.AsyncClient, receiver: Receiver) -> None:
    (webhook_id,) = await listen(shop, receiver, "order.updated")

    ((headers, body),) = receiver.got
    ping = RECORDED[0]
    assert body == f"webhook_id={webhook_id}".encode()
    assert {name: headers[name.lower()] for name in ping["headers"]} == ping["headers"]
    assert not [name for name in headers if name.startswith("x-wc-")]


async def test_a_webhook_that_was_never_reached_is_pinged_with_every_change(
    shop: httpx.AsyncClient, receiver: Receiver
) -> None:
    receiver.status = 500
    (webhook_id,) = await listen(shop, receiver, "order.updated")
    receiver.status = 200
    for _ in range(2):
        await shop.put(f"{V3}/webhooks/{webhook_id}", json={"name": "again"})
        await deliver(shop)

    assert receiver.topics() == ["ping", "ping"]


@pytest.mark.parametrize("topic", ["order.created", "order.updated", "action.woocommerce_order_refunded"])
async def test_a_delivery_has_the_recorded_headers_and_a_good_signature(
    shop: httpx.AsyncClient, receiver: Receiver, topic: str
) -> None:
    await listen(shop, receiver, topic)
    order = await make_order(shop)
    await refund(shop, order["id"])

    await deliver(shop)

    headers, body = receiver.got[-1]
    recorded = next(one for one in RECORDED if one["headers"].get("X-WC-Webhook-Topic") == topic)
    assert {name.lower() for name in recorded["headers"]} <= set(headers)
    for name in ("User-Agent", "Content-Type", "X-WC-Webhook-Resource", "X-WC-Webhook-Event"):
        assert headers[name.lower()] == recorded["headers"][name]
    digest = hmac.new(SECRET.encode(), body, hashlib.sha256).digest()
    assert headers["x-wc-webhook-signature"] == base64.b64encode(digest).decode()
    sent, as_recorded = json.loads(body), json.loads(recorded["body"])
    assert set(sent) == set(as_recorded)
    assert sent.get("arg", sent.get("id")) == order["id"]


async def test_what_happens_meanwhile_is_merged_and_shown_as_it_is_by_then(
    shop: httpx.AsyncClient, receiver: Receiver
) -> None:
    await listen(shop, receiver, "order.updated", "action.woocommerce_order_refunded")
    order = await make_order(shop)
    for _ in range(3):
        await refund(shop, order["id"])

    sent = await deliver(shop)

    assert [one["topic"] for one in sent] == ["order.updated", "action.woocommerce_order_refunded"]
    assert len(json.loads(receiver.got[-2][1])["refunds"]) == 3


async def test_a_deleted_order_is_delivered_as_an_error(shop: httpx.AsyncClient, receiver: Receiver) -> None:
    await listen(shop, receiver, "order.updated")
    order = await make_order(shop)
    await shop.delete(f"{V3}/orders/{order['id']}", params={"force": "true"})

    await deliver(shop)

    assert json.loads(receiver.got[-1][1])["code"] == "woocommerce_rest_shop_order_invalid_id"


async def test_a_deleted_refund_updates_no_order(shop: httpx.AsyncClient, receiver: Receiver) -> None:
    await listen(
        shop,
        receiver,
        "order.updated",
        "action.woocommerce_refund_deleted",
        "action.woocommerce_delete_order_refund",
    )
    order = await make_order(shop)
    by_rest, by_hand = [(await refund(shop, order["id"])).json()["id"] for _ in range(2)]
    await deliver(shop)

    await shop.delete(f"{V3}/orders/{order['id']}/refunds/{by_rest}", params={"force": "true"})
    over_rest = await deliver(shop)
    await shop.delete(f"/sandbox/orders/{order['id']}/refunds/{by_hand}")
    in_admin = await deliver(shop)

    assert [(one["topic"], one["arg"]) for one in over_rest] == [("action.woocommerce_delete_order_refund", by_rest)]
    assert {(one["topic"], one["arg"]) for one in in_admin} == {
        ("action.woocommerce_delete_order_refund", by_hand),
        ("action.woocommerce_refund_deleted", by_hand),
    }


async def test_the_seventh_failure_in_a_row_disables_a_webhook(shop: httpx.AsyncClient, receiver: Receiver) -> None:
    (webhook_id,) = await listen(shop, receiver, "order.updated")
    order = await make_order(shop)
    await deliver(shop)
    statuses = []
    receiver.status = 503
    for _ in range(7):
        await refund(shop, order["id"])
        await deliver(shop)
        statuses.append((await webhook(shop, webhook_id))["status"])
    sent = len(receiver.got)

    await refund(shop, order["id"])

    assert statuses == ["active"] * 6 + ["disabled"]
    assert await deliver(shop) == []
    assert len(receiver.got) == sent


async def test_a_success_in_between_forgives_the_failures(shop: httpx.AsyncClient, receiver: Receiver) -> None:
    (webhook_id,) = await listen(shop, receiver, "order.updated")
    order = await make_order(shop)
    for status in (*[500] * 7, 302, *[500] * 6):
        receiver.status = status
        await refund(shop, order["id"])
        await deliver(shop, "drop" if status == 500 and len(receiver.got) == 7 else "once")

    assert (await webhook(shop, webhook_id))["status"] == "active"


async def test_deliveries_come_twice_backwards_or_never_when_told_so(
    shop: httpx.AsyncClient, receiver: Receiver
) -> None:
    await listen(shop, receiver, "order.updated")
    first, second = (await make_order(shop))["id"], (await make_order(shop))["id"]

    assert [one["arg"] for one in await deliver(shop, "reversed")] == [second, first]
    await refund(shop, first)
    assert [one["arg"] for one in await deliver(shop, "twice")] == [first, first]
    await refund(shop, first)
    assert await deliver(shop, "drop") == []
    assert await deliver(shop) == []


async def test_switched_on_they_come_by_themselves_and_off_never(shop: httpx.AsyncClient, receiver: Receiver) -> None:
    await listen(shop, receiver, "order.created")
    await shop.post("/sandbox/webhooks", json={"mode": "on"})

    await make_order(shop)
    async with asyncio.timeout(5):
        while len(receiver.got) < 2:
            await asyncio.sleep(0.01)

    assert receiver.topics() == ["ping", "order.created"]
    await shop.post("/sandbox/webhooks", json={"mode": "off"})
    await make_order(shop)
    assert (await shop.get("/sandbox/webhooks")).json()["queued"] == []
    assert (await shop.post("/sandbox/webhooks", json={"mode": "loud"})).status_code == 422


async def test_legacy_webhooks_send_what_the_legacy_api_shows_while_its_plugin_is_there(
    shop: httpx.AsyncClient, receiver: Receiver
) -> None:
    body = {"webhook": {"topic": "order.updated", "delivery_url": receiver.url, "secret": SECRET}}
    credentials = {"consumer_key": "ck_sandbox_rw", "consumer_secret": "cs_sandbox_rw"}
    made = await shop.post("/wc-api/v3/webhooks", json=body, params=credentials)
    assert (made.status_code, made.json()["webhook"]["status"]) == (201, "active")
    assert [one["id"] for one in (await shop.get("/wc-api/v3/webhooks", params=credentials)).json()["webhooks"]] == [1]
    await deliver(shop)
    order = await make_order(shop)
    await deliver(shop)

    assert json.loads(receiver.got[-1][1])["order"]["id"] == order["id"]

    await shop.post("/sandbox/settings", json={"legacy": False})
    await refund(shop, order["id"])
    assert await deliver(shop) == []
