"""What stores send by themselves: recorded deliveries, and a sandbox that sends its own."""

import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.flows import notices as flow
from app.flows.webhooks import TOPICS, Repaired, WebhookAddressUnusable, repair
from app.ledger import notices
from app.wiring import open_runtime
from tests.api.conftest import Gateway, opened
from tests.conftest import Sandbox, add_shop, eventually

RECORDED = json.loads((Path(__file__).parents[1] / "recordings" / "webhook_deliveries.json").read_text())
PINGS = [one for one in RECORDED["deliveries"] if "X-WC-Webhook-ID" not in one["headers"]]
SIGNED = [one for one in RECORDED["deliveries"] if "X-WC-Webhook-ID" in one["headers"]]
ACTION = next(one for one in SIGNED if one["headers"]["X-WC-Webhook-Topic"].startswith("action."))


@pytest.fixture
async def known(gateway: Gateway) -> Gateway:
    """Give a gateway whose store signs its webhooks with the recordings' secret."""
    secret = gateway.rt.sealer.seal(RECORDED["secret"].encode(), aad=gateway.shop.store_id)
    async with gateway.rt.database.transaction() as conn:
        await notices.keep_secret(conn, gateway.shop.store_id, secret, base_url=gateway.url)
    return gateway


async def deliver(
    gateway: Gateway, delivery: dict[str, Any], *, store: str | None = None, **headers: str
) -> httpx.Response:
    path = f"/v1/stores/{store or gateway.shop.store_id}/webhooks"
    async with httpx.AsyncClient(base_url=gateway.url) as outsider:
        return await outsider.post(path, content=delivery["body"].encode(), headers={**delivery["headers"], **headers})


async def looks(gateway: Gateway) -> list[tuple[str, str]]:
    async with gateway.rt.database.reading() as conn:
        rows = await (await conn.execute("SELECT kind, subject FROM store_look ORDER BY kind, subject")).fetchall()
    return [(row["kind"], row["subject"]) for row in rows]


def notice(topic: str, body: Any, *, webhook_id: str = "9") -> dict[str, Any]:
    raw = body if isinstance(body, str) else json.dumps(body)
    digest = hmac.new(RECORDED["secret"].encode(), raw.encode(), hashlib.sha256).digest()
    headers = {
        "Content-Type": "application/json",
        "X-WC-Webhook-Topic": topic,
        "X-WC-Webhook-ID": webhook_id,
        "X-WC-Webhook-Signature": base64.b64encode(digest).decode(),
    }
    return {"headers": headers, "body": raw}


@pytest.mark.parametrize("delivery", SIGNED, ids=lambda one: one["headers"]["X-WC-Webhook-Topic"])
async def test_recorded_deliveries_bring_a_look_at_their_order(known: Gateway, delivery: dict[str, Any]) -> None:
    answer = await deliver(known, delivery)

    assert (answer.status_code, answer.json()["outcome"]) == (200, "looked")
    body = json.loads(delivery["body"])
    assert await looks(known) == [("order", str(body.get("arg") or body["id"]))]


@pytest.mark.parametrize("delivery", PINGS, ids=["first", "second"])
@pytest.mark.parametrize("store", [None, "st_unknown", "no such name!"])
async def test_pings_are_answered_200_whatever_is_known(
    gateway: Gateway, delivery: dict[str, Any], store: str | None
) -> None:
    answer = await deliver(gateway, delivery, store=store)

    assert (answer.status_code, answer.json()["outcome"]) == (200, "ping")
    assert await looks(gateway) == []


async def test_tampered_deliveries_and_unknown_stores_get_the_same_answer(known: Gateway) -> None:
    tampered = {**ACTION, "body": ACTION["body"].replace("41", "42")}
    answers = [
        await deliver(known, tampered),
        await deliver(known, ACTION, **{"X-WC-Webhook-Signature": ""}),
        await deliver(known, ACTION, store="st_unknown"),
        await deliver(known, ACTION, store="elsewhere"),
        await deliver(known, {**ACTION, "body": "webhook_id=1"}),
    ]

    for answer in answers:
        problem = {**answer.json(), "request_id": None}
        assert (answer.status_code, problem) == (401, {**answers[0].json(), "request_id": None})
    assert await looks(known) == []


async def test_a_store_that_was_never_registered_is_believed_nothing(gateway: Gateway) -> None:
    assert (await deliver(gateway, ACTION)).status_code == 401


async def test_one_snapshot_counts_once_and_every_action_counts(known: Gateway) -> None:
    snapshot = next(one for one in SIGNED if one["headers"]["X-WC-Webhook-Topic"] == "order.updated")
    outcomes = [(await deliver(known, one)).json()["outcome"] for one in (snapshot, snapshot, ACTION, ACTION)]

    # Two refunds of an order send the very same action; both are in the recording.
    assert outcomes == ["looked", "repeated", "looked", "looked"]
    assert await looks(known) == [("order", "41")]


@pytest.mark.parametrize(
    ("topic", "body", "expected"),
    [
        ("action.woocommerce_refund_deleted", {"action": "woocommerce_refund_deleted", "arg": 7}, [("refund", "7")]),
        ("action.woocommerce_refund_created", {"action": "woocommerce_refund_created", "arg": "7"}, [("refund", "7")]),
        ("action.woocommerce_order_fully_refunded", {"arg": 7}, [("order", "7")]),
        ("order.updated", {"order": {"id": 7}}, [("order", "7")]),
        ("order.updated", {"code": "woocommerce_rest_shop_order_invalid_id", "data": {"status": 404}}, []),
        ("order.updated", {"id": -7}, []),
        ("order.updated", {"id": True}, []),
        ("order.updated", {"id": "7; DROP"}, []),
        ("order.updated", "no JSON", []),
        ("order.updated", "[" * 10_000, []),
        ("action.something_else", {"arg": 7}, []),
        ("product.updated", {"id": 7}, []),
        ("", {"id": 7}, []),
    ],
)
async def test_only_an_id_is_taken_from_a_notice(
    known: Gateway, topic: str, body: Any, expected: list[tuple[str, str]]
) -> None:
    answer = await deliver(known, notice(topic, body))

    assert (answer.status_code, answer.json()["outcome"]) == (200, "looked" if expected else "ignored")
    assert await looks(known) == expected


async def test_what_came_while_an_order_was_read_brings_another_look(known: Gateway, order: dict[str, Any]) -> None:
    subject = ("order", str(order["id"]))
    async with known.rt.database.transaction() as conn:
        await notices.ask(conn, known.shop.store_id, *subject)
    async with known.rt.database.committing() as conn:
        taken = await notices.take(conn, known.shop.store_id, *subject, lease=flow._LEASE, at_a_time=4)
        assert taken is not None
        await notices.ask(conn, known.shop.store_id, *subject)

        assert await notices.done(conn, taken) is False

    await flow.reread(known.rt, known.shop.store_id, *subject)
    assert await looks(known) == []


async def test_a_store_that_cannot_be_read_is_asked_again_for_a_day(
    known: Gateway, sandbox: Sandbox, order: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    await sandbox.fault(fault="html", operation="any")
    subject = ("order", str(order["id"]))
    async with known.rt.database.transaction() as conn:
        await notices.ask(conn, known.shop.store_id, *subject)

    await flow.reread(known.rt, known.shop.store_id, *subject)

    assert await looks(known) == [subject]
    async with known.rt.database.reading() as conn:
        assert await notices.due(conn, limit=10, of_a_store=10) == []
        await conn.execute("UPDATE store_look SET due_at = now(), first_at = now() - interval '25 hours'")
    assert await flow.sweep(known.rt) == 1
    await flow.reread(known.rt, known.shop.store_id, *subject)
    assert await looks(known) == []
    assert "notice.given_up" in "".join(capsys.readouterr())


async def test_an_order_that_is_gone_is_let_go_of(known: Gateway) -> None:
    async with known.rt.database.transaction() as conn:
        await notices.ask(conn, known.shop.store_id, "order", "999")
        await notices.ask(conn, known.shop.store_id, "refund", "998")

    await flow.reread(known.rt, known.shop.store_id, "order", "999")
    await flow.reread(known.rt, known.shop.store_id, "refund", "998")

    assert await looks(known) == []


async def test_a_store_of_the_same_name_cuts_nobody_off(known: Gateway) -> None:
    other = await add_shop(known.rt, "http://127.0.0.1:9")
    secret = known.rt.sealer.seal(b"another secret", aad=other.store_id)
    async with known.rt.database.transaction() as conn:
        await notices.keep_secret(conn, other.store_id, secret, base_url=known.url)

    answer = await deliver(known, notice("order.updated", {"id": 7}), store="demo")

    assert (answer.status_code, answer.json()["outcome"]) == (200, "looked")
    async with known.rt.database.reading() as conn:
        rows = await (await conn.execute("SELECT store_id FROM store_look")).fetchall()
    assert [row["store_id"] for row in rows] == [known.shop.store_id]


async def test_one_store_never_has_all_workers_look_at_it(known: Gateway) -> None:
    store_id = known.shop.store_id
    async with known.rt.database.transaction() as conn:
        for number in range(1, 8):
            await notices.ask(conn, store_id, "order", str(number))
        taken = [
            await notices.take(conn, store_id, "order", str(number), lease=flow._LEASE, at_a_time=flow._AT_A_TIME)
            for number in range(1, 8)
        ]
        due = await notices.due(conn, limit=500, of_a_store=2)
    assert [look is not None for look in taken] == [True] * 4 + [False] * 3
    assert due == [(store_id, "order", "5"), (store_id, "order", "6")]

    first = taken[0]
    assert first is not None
    async with known.rt.database.transaction() as conn:
        assert await notices.done(conn, first)
    # The place is free again, and whoever leaves it sends for the next one.
    await flow.reread(known.rt, store_id, "order", "5")
    async with known.rt.database.reading() as conn:
        jobs = await (await conn.execute("SELECT args ->> 'subject' AS subject FROM procrastinate_jobs")).fetchall()
    assert [job["subject"] for job in jobs] == ["6"]


# End to end: a sandbox that sends its webhooks to a gateway with a worker.


@pytest.fixture
async def told(gateway: Gateway, sandbox: Sandbox) -> AsyncIterator[Gateway]:
    """Give a gateway with a worker, whose store sends its webhooks to it."""
    await sandbox.client.post("/sandbox/webhooks", json={"mode": "on"})
    async with (
        open_runtime(gateway.rt.settings, works=True, url=gateway.rt.database.url) as rt,
        opened(rt, gateway.shop) as running,
    ):
        registered = await repair(rt, gateway.shop.caller, "demo", base_url=running.url)
        assert isinstance(registered, Repaired)
        assert registered.made == TOPICS
        yield running


async def listed(gateway: Gateway, **query: str) -> list[dict[str, Any]]:
    return (await gateway.client.get("/v1/refunds", params=query)).json()["data"]


async def made_in_admin(sandbox: Sandbox, order: dict[str, Any]) -> int:
    answer = await sandbox.client.post(
        f"/sandbox/orders/{order['id']}/refunds", json={"amount": "3.00", "reason": "by hand"}
    )
    return int(answer.json()["id"])


async def test_a_refund_made_in_the_stores_admin_shows_up_here(
    told: Gateway, sandbox: Sandbox, order: dict[str, Any]
) -> None:
    store_refund_id = await made_in_admin(sandbox, order)

    (seen,) = await eventually(lambda: listed(told))

    assert (seen["origin"], seen["store_refund_id"], seen["amount"]) == ("store", str(store_refund_id), "3.00")


@pytest.mark.parametrize("by", ["admin", "rest"])
async def test_a_refund_deleted_in_the_store_is_noticed(
    told: Gateway, sandbox: Sandbox, order: dict[str, Any], by: str
) -> None:
    store_refund_id = await made_in_admin(sandbox, order)
    await eventually(lambda: listed(told))

    if by == "admin":
        await sandbox.client.delete(f"/sandbox/orders/{order['id']}/refunds/{store_refund_id}")
    else:
        adapter, _ = await told.rt.stores.open(told.shop.store_id)
        assert await adapter.delete_refund(str(order["id"]), str(store_refund_id)) == "deleted"

    async def gone() -> bool:
        return (await listed(told))[0]["deleted_at"] is not None

    await eventually(gone)
    assert (await listed(told))[0]["deleted_by"] == "store"


async def test_webhooks_twice_and_in_the_wrong_order_come_to_the_same(
    told: Gateway, sandbox: Sandbox, order: dict[str, Any]
) -> None:
    await sandbox.client.post("/sandbox/webhooks", json={"mode": "held"})
    await made_in_admin(sandbox, order)

    for how in ("twice", "reversed"):
        sent = (await sandbox.client.post("/sandbox/webhooks/deliver", json={"how": how})).json()
        assert {one["status"] for one in sent} <= {200}
        await made_in_admin(sandbox, order)
    await sandbox.client.post("/sandbox/webhooks/deliver", json={"how": "once"})

    async def three() -> bool:
        return len(await listed(told)) == 3

    await eventually(three)


async def test_a_disabled_webhook_is_found_and_repaired(
    gateway: Gateway, sandbox: Sandbox, order: dict[str, Any]
) -> None:
    await sandbox.client.post("/sandbox/webhooks", json={"mode": "held"})
    await repair(gateway.rt, gateway.shop.caller, "demo", base_url="http://127.0.0.1:9")
    for _ in range(7):
        await made_in_admin(sandbox, order)
        await sandbox.client.post("/sandbox/webhooks/deliver")

    (check,) = await webhook_checks(gateway, "webhooks")

    assert check["ok"] is False
    assert "order.updated is disabled" in check["detail"]
    again = await repair(gateway.rt, gateway.shop.caller, "demo", base_url=gateway.url)
    assert isinstance(again, Repaired)
    assert (again.made, set(again.changed)) == ((), set(TOPICS))
    assert [one["ok"] for one in await webhook_checks(gateway, "webhooks")] == [True]
    await sandbox.client.post("/sandbox/webhooks/deliver", json={"how": "drop"})
    await made_in_admin(sandbox, order)
    sent = (await sandbox.client.post("/sandbox/webhooks/deliver")).json()
    assert {one["status"] for one in sent} == {200}


async def webhook_checks(gateway: Gateway, name: str) -> list[dict[str, Any]]:
    health = (await gateway.client.get("/v1/stores/demo/health")).json()
    return [check for check in health["checks"] if check["name"] == name]


async def test_a_store_without_webhooks_is_told_so_and_is_well(gateway: Gateway) -> None:
    (check,) = await webhook_checks(gateway, "webhooks")

    assert (check["ok"], "None are registered" in check["detail"]) == (None, True)


async def test_addresses_that_wordpress_would_not_deliver_to_are_doubted(gateway: Gateway) -> None:
    for base, doubts in (
        ("https://gateway.example", 0),
        ("https://gateway.example:8080/rg", 0),
        ("https://gateway.example:8443", 1),
        ("http://10.0.0.7:8000", 3),
    ):
        registered = await repair(gateway.rt, gateway.shop.caller, "demo", base_url=base)
        assert isinstance(registered, Repaired)
        assert len(registered.doubts) == doubts
        assert len(await webhook_checks(gateway, "webhook_address")) == (1 if doubts else 0)
    for base in ("gateway.example", "http://[gateway", "https://user@gateway.example"):
        with pytest.raises(WebhookAddressUnusable):
            await repair(gateway.rt, gateway.shop.caller, "demo", base_url=base)


async def test_a_store_of_the_legacy_api_tells_as_well(gateway: Gateway, sandbox: Sandbox) -> None:
    shop = await add_shop(gateway.rt, sandbox.url, name="old", api="legacy")
    await sandbox.client.post("/sandbox/webhooks", json={"mode": "held"})
    registered = await repair(gateway.rt, shop.caller, "old", base_url=gateway.url)
    assert isinstance(registered, Repaired)
    order = await sandbox.new_order()
    await made_in_admin(sandbox, order)

    sent = (await sandbox.client.post("/sandbox/webhooks/deliver")).json()

    assert {one["status"] for one in sent} == {200}
    assert ("order", str(order["id"])) in await looks(gateway)
    assert await repair(gateway.rt, shop.caller, "old", base_url=gateway.url) == Repaired(
        made=(), changed=TOPICS, delivery_url=registered.delivery_url, doubts=registered.doubts
    )
