"""Messages of other systems, from their signature to the refund."""

import hashlib
import hmac
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from standardwebhooks.webhooks import Webhook

from app.flows import take_in
from app.wiring import open_runtime
from tests.api.conftest import Gateway, opened
from tests.conftest import Sandbox, eventually

SECRET = "a-secret-of-the-oms"
SOURCE: dict[str, Any] = {
    "name": "oms",
    "verification": {"kind": "hmac", "header": "X-Signature", "prefix": "sha256="},
    "secret": SECRET,
    "only_if": "event == 'refund'",
    "mapping": {
        "order_id": "to_string(order.id)",
        "amount": "refund.total",
        "external_reference": "refund.number",
        "reason": "refund.reason",
    },
    "dedupe": {"expression": "event_id"},
    "store": "demo",
}


def message(order: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    refund = {"total": "5.00", "number": "CN-1", "reason": "Too small", **changes.pop("refund", {})}
    return {
        "event": "refund",
        "event_id": "ev-1",
        "order": {"id": order["id"] if order else 1},
        "refund": refund,
        **changes,
    }


async def add(gateway: Gateway, **changes: Any) -> dict[str, Any]:
    answer = await gateway.client.post("/v1/inbound", json={**SOURCE, **changes})
    assert answer.status_code == 201, answer.text
    return answer.json()


def signed(body: bytes, secret: str = SECRET) -> dict[str, str]:
    return {"X-Signature": f"sha256={hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}"}


async def send(
    gateway: Gateway, source: dict[str, Any], body: dict[str, Any] | bytes, **headers: str
) -> httpx.Response:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    async with httpx.AsyncClient(base_url=gateway.url) as outsider:
        return await outsider.post(source["url"], content=raw, headers={**signed(raw), **headers})


async def messages(gateway: Gateway, source: dict[str, Any], **query: str) -> list[dict[str, Any]]:
    answer = await gateway.client.get(f"{source['url']}/messages", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


async def carried_out(gateway: Gateway, source: dict[str, Any]) -> dict[str, Any]:
    """Do what a worker does, and give the newest message."""
    for one in await messages(gateway, source):
        await take_in.take_in(gateway.rt, one["id"])
    return (await messages(gateway, source))[0]


async def test_a_message_becomes_a_refund(gateway: Gateway, order: dict[str, Any]) -> None:
    source = await add(gateway)

    answer = await send(gateway, source, message(order))

    assert answer.status_code == 202
    assert "idempotent-replayed" not in answer.headers
    taken = await carried_out(gateway, source)
    assert (taken["id"], taken["status"], taken["attempts"]) == (answer.json()["id"], "accepted", 1)
    refund = (await gateway.client.get(f"/v1/refunds/{taken['refund_id']}")).json()
    assert (refund["external_reference"], refund["order"]["id"]) == ("CN-1", str(order["id"]))
    assert (refund["reason"], refund["status"]) == ("Too small", "pending")


async def test_a_worker_pays_what_a_message_asks_for(gateway: Gateway, sandbox: Sandbox, order: dict[str, Any]) -> None:
    source = await add(gateway)
    await send(gateway, source, message(order))

    async with open_runtime(gateway.rt.settings, works=True, url=gateway.rt.database.url):
        await eventually(lambda: sandbox.payouts(order["id"]))

    assert [one["amount"] for one in await sandbox.payouts(order["id"])] == ["5.00"]


async def test_what_was_answered_202_survives_the_loss_of_every_job(gateway: Gateway, order: dict[str, Any]) -> None:
    source = await add(gateway)
    await send(gateway, source, message(order))
    async with gateway.rt.database.transaction() as conn:
        # As if the worker had died with it.
        await conn.execute("DELETE FROM procrastinate_jobs")

    assert await take_in.sweep(gateway.rt) == 1

    async with open_runtime(gateway.rt.settings, works=True, url=gateway.rt.database.url):
        await eventually(lambda: messages(gateway, source, status="accepted"))


async def test_a_message_that_was_cut_off_makes_no_second_refund(gateway: Gateway, order: dict[str, Any]) -> None:
    source = await add(gateway, mapping={"order_id": "to_string(order.id)", "amount": "refund.total"})
    await send(gateway, source, message(order))
    first = await carried_out(gateway, source)
    async with gateway.rt.database.transaction() as conn:
        # The refund was made, and the process died before it could say so.
        await conn.execute(
            "UPDATE inbound_message SET status = 'received', refund_id = NULL, due_at = clock_timestamp()"
        )

    again = await carried_out(gateway, source)

    assert (again["attempts"], again["refund_id"]) == (2, first["refund_id"])
    assert len((await gateway.client.get("/v1/refunds")).json()["data"]) == 1


async def test_the_same_message_again_is_the_same_message(gateway: Gateway, order: dict[str, Any]) -> None:
    source = await add(gateway)
    first = await send(gateway, source, message(order))

    again = await send(gateway, source, message(order, refund={"total": "6.00"}))

    assert (again.status_code, again.json()) == (202, first.json())
    assert again.headers["idempotent-replayed"] == "true"
    assert len(await messages(gateway, source)) == 1


async def test_without_an_id_of_its_own_a_message_is_known_by_its_bytes(gateway: Gateway) -> None:
    source = await add(gateway, dedupe=None)
    await send(gateway, source, b"{}")

    assert (await send(gateway, source, b"{}")).headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in (await send(gateway, source, b"{ }")).headers
    assert {one["dedupe_key"].partition(":")[0] for one in await messages(gateway, source)} == {"sha256"}


async def test_a_message_can_be_known_by_a_header(gateway: Gateway) -> None:
    source = await add(gateway, dedupe={"header": "X-Event"}, verification={"kind": "bearer", "header": "X-Token"})
    token = {"X-Token": SECRET}
    await send(gateway, source, b"{}", **{"X-Event": "e 1"}, **token)

    again = await send(gateway, source, b"[]", **{"x-event": "e 1"}, **token)
    assert again.headers["idempotent-replayed"] == "true"
    kept = (await messages(gateway, source))[0]
    assert kept["headers"]["x-event"] == "e 1"
    assert "x-token" not in kept["headers"]


@pytest.mark.parametrize("kind", [SOURCE["verification"], {"kind": "standard"}])
async def test_a_header_that_is_not_signed_tells_no_messages_apart(gateway: Gateway, kind: dict[str, Any]) -> None:
    unsigned = {"dedupe": {"header": "X-Event"}}
    secret = "MDEyMzQ1Njc4OWFiY2RlZg=="
    refused = await gateway.client.post(
        "/v1/inbound", json={**SOURCE, "verification": kind, "secret": secret, **unsigned}
    )
    source = await add(gateway, verification=kind, secret=secret)
    unchanged = await gateway.client.patch(source["url"], json=unsigned)

    for answer in (refused, unchanged):
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/dedupe/header")
    if kind["kind"] == "standard":
        by_id = await gateway.client.patch(source["url"], json={"dedupe": {"header": "Webhook-Id"}})
        assert by_id.status_code == 200, by_id.text


@pytest.mark.parametrize(
    ("mapping", "body"),
    [
        ("@", b'{"a":' * 900 + b"1" + b"}" * 900),
        ("{amount: sum(@)}", b"[9" + b"9" * 4_290 + b", 9" + b"9" * 4_299 + b"]"),
        ("{amount: `1e999`}", b"{}"),
        ("{order_id: &a}", b"{}"),
        ('{reason: `"\\u0000"`}', b"{}"),
        ('{"\\ud800": order_id}', b"{}"),
        ("@", b"\xff\xfe"),
    ],
)
async def test_whatever_a_mapping_makes_of_a_message_is_kept_and_shown(
    gateway: Gateway, mapping: str, body: bytes
) -> None:
    source = await add(gateway, mapping=mapping, only_if=None, dedupe={"expression": mapping})

    shown = await gateway.client.post(f"{source['url']}/test", content=body)
    sent = await send(gateway, source, body)

    assert (shown.status_code, sent.status_code) == (200, 202)
    assert [one["status"] for one in await messages(gateway, source)] == ["failed"]


async def test_strangers_and_unknown_addresses_get_the_same_answer(gateway: Gateway) -> None:
    source = await add(gateway)
    answers = [
        await send(gateway, source, b"{}", **{"X-Signature": "sha256=00"}),
        await send(gateway, source, b"{}", **{"X-Signature": ""}),
        await send(gateway, {"url": "/v1/inbound/src_01J8ZK5Q3N6T0V9W2X4Y7A8B9C"}, b"{}"),
        await send(gateway, {"url": "/v1/inbound/%00"}, b"{}"),
    ]

    for answer in answers:
        problem = {**answer.json(), "request_id": None}
        assert (answer.status_code, problem) == (401, {**answers[0].json(), "request_id": None})
        assert set(answer.headers) == set(answers[0].headers)
    assert await messages(gateway, source) == []


async def test_standard_webhooks_are_taken_while_they_are_recent(gateway: Gateway, order: dict[str, Any]) -> None:
    source = await add(gateway, verification={"kind": "standard"}, secret=None, dedupe=None)
    body = json.dumps(message(order))

    def headers(at: datetime) -> dict[str, str]:
        signature = Webhook(source["secret"]).sign("msg_1", at, body)
        return {"webhook-id": "msg_1", "webhook-timestamp": str(int(at.timestamp())), "webhook-signature": signature}

    now = datetime.now(UTC)
    old = await send(gateway, source, body.encode(), **headers(now - timedelta(minutes=10)))
    good = await send(gateway, source, body.encode(), **headers(now))

    assert (old.status_code, good.status_code) == (401, 202)
    assert (await messages(gateway, source))[0]["dedupe_key"] == "id:msg_1"


async def test_a_bearer_is_enough_for_systems_that_know_nothing_else(gateway: Gateway) -> None:
    source = await add(gateway, verification={"kind": "bearer"}, secret=None)

    good = await send(gateway, source, b"{}", Authorization=f"Bearer {source['secret']}")
    forged = await send(gateway, source, b"{}", Authorization=f"Bearer {SECRET}")

    assert (good.status_code, forged.status_code) == (202, 401)


async def test_an_old_secret_counts_until_the_overlap_ends(gateway: Gateway) -> None:
    source = await add(gateway)

    rotated = await gateway.client.post(f"{source['url']}/rotate-secret", json={"overlap_s": 60})
    new = signed(b"[1]", rotated.json()["secret"])

    assert rotated.json()["old_secret_until"] is not None
    assert (await send(gateway, source, b"[1]", **new)).status_code == 202
    assert (await send(gateway, source, b"[2]")).status_code == 202
    await gateway.client.post(f"{source['url']}/rotate-secret", json={"overlap_s": 0, "secret": SECRET + "-2"})
    assert (await send(gateway, source, b"[3]")).status_code == 401
    assert (await send(gateway, source, b"[1]", **new)).status_code == 401


async def test_messages_about_something_else_are_ignored(gateway: Gateway) -> None:
    source = await add(gateway)
    await send(gateway, source, message(event="order.packed"))

    assert [one["status"] for one in await messages(gateway, source)] == ["ignored"]


@pytest.mark.parametrize(
    ("body", "code", "pointer"),
    [
        (b"no JSON", "invalid_json", ""),
        (b'{"event": "refund", "event": "order"}', "invalid_json", "/event"),
        (json.dumps(message(refund={"total": "5,00"})).encode(), "invalid_request", "/amount"),
        (json.dumps(message(refund={"total": 5.5})).encode(), "invalid_request", "/amount"),
        (json.dumps(message(order={"id": "x"}, refund={"number": 7})).encode(), "invalid_request", "/order_id"),
    ],
)
async def test_a_faulty_message_is_kept_with_every_fault(
    gateway: Gateway, body: bytes, code: str, pointer: str
) -> None:
    source = await add(gateway)

    assert (await send(gateway, source, body)).status_code == 202

    kept = (await messages(gateway, source, status="failed"))[0]
    assert kept["failure"]["code"] == code
    assert pointer in [fault["pointer"] for fault in kept["failure"]["errors"]]
    whole = (await gateway.client.get(f"{source['url']}/messages/{kept['id']}")).json()
    assert whole["body"].encode() == body


async def test_an_expression_that_fails_is_kept_and_replayed_once_it_is_right(
    gateway: Gateway, order: dict[str, Any]
) -> None:
    source = await add(gateway, mapping={"order_id": "to_string(order.id)", "amount": "join('', refund.reason)"})
    await send(gateway, source, message(order))
    failed = (await messages(gateway, source))[0]
    assert failed["failure"]["code"] == "mapping_failed"

    await gateway.client.patch(source["url"], json={"mapping": SOURCE["mapping"]})
    replay = await gateway.client.post(f"{source['url']}/messages/{failed['id']}/replay")

    assert (replay.json()["status"], replay.json()["failure"]) == ("received", None)
    assert replay.json()["replayed_at"] is not None
    assert (await carried_out(gateway, source))["status"] == "accepted"


async def test_replaying_what_succeeded_does_nothing(gateway: Gateway, order: dict[str, Any]) -> None:
    source = await add(gateway)
    await send(gateway, source, message(order))
    accepted = await carried_out(gateway, source)

    replay = (await gateway.client.post(f"{source['url']}/messages/{accepted['id']}/replay")).json()

    assert {**replay, "body": None} == {**accepted, "body": None}


async def test_all_failed_messages_are_replayed_page_by_page(gateway: Gateway, order: dict[str, Any]) -> None:
    source = await add(gateway)
    for number in range(3):
        refund = {"total": 1 + number, "number": f"CN-{number}"}
        await send(gateway, source, message(order, event_id=f"ev-{number}", refund=refund))
    await gateway.client.patch(source["url"], json={"amounts_as_numbers": True})

    first = (await gateway.client.post(f"{source['url']}/messages/replay", params={"limit": 2})).json()
    after = {"limit": 2, "after": first["next_cursor"]}
    rest = (await gateway.client.post(f"{source['url']}/messages/replay", params=after)).json()

    assert (first["received"], rest["received"], rest["next_cursor"]) == (2, 1, None)
    await carried_out(gateway, source)
    assert {one["status"] for one in await messages(gateway, source)} == {"accepted"}


async def test_a_refusal_is_kept_like_any_other_fault(gateway: Gateway, order: dict[str, Any]) -> None:
    source = await add(gateway)
    await send(gateway, source, message(order))
    other = message(order, event_id="ev-2", refund={"total": "6.00"})
    await carried_out(gateway, source)

    await send(gateway, source, other)

    failure = (await carried_out(gateway, source))["failure"]
    assert failure["code"] == "external_reference_conflict"
    assert failure["facts"]["differing"] == ["amount"]


async def test_a_test_shows_what_a_message_would_become_and_keeps_nothing(
    gateway: Gateway, order: dict[str, Any]
) -> None:
    source = await add(gateway, amounts_as_numbers=True)
    body = json.dumps(message(order)).replace('"5.00"', "5.10").encode()

    shown = (await gateway.client.post(f"{source['url']}/test", content=body)).json()

    assert shown["outcome"] == "refund"
    assert shown["refund_request"] == {
        "order_id": str(order["id"]),
        "amount": "5.10",
        "external_reference": "CN-1",
        "reason": "Too small",
        "store": "demo",
    }
    assert (shown["dedupe_key"], shown["repeats"]) == ("id:ev-1", None)
    assert await messages(gateway, source) == []
    faulty = (await gateway.client.post(f"{source['url']}/test", content=b'{"event": "refund"}')).json()
    assert (faulty["outcome"], faulty["failure"]["code"]) == ("failed", "invalid_request")


async def test_bodies_are_forgotten_and_keys_are_not(gateway: Gateway, order: dict[str, Any]) -> None:
    source = await add(gateway)
    await send(gateway, source, b"no JSON")
    async with gateway.rt.database.transaction() as conn:
        await conn.execute("UPDATE inbound_message SET received_at = received_at - interval '40 days'")

    await take_in.tidy(gateway.rt)

    kept = (await messages(gateway, source))[0]
    assert (await gateway.client.get(f"{source['url']}/messages/{kept['id']}")).json()["body"] is None
    forgotten = {"code": "invalid_json", "message": "What was wrong is no longer kept.", "errors": [], "facts": {}}
    assert kept["failure"] == forgotten
    replay = await gateway.client.post(f"{source['url']}/messages/{kept['id']}/replay")
    assert (replay.status_code, replay.json()["code"]) == (409, "message_forgotten")
    assert (await send(gateway, source, b"no JSON")).headers["idempotent-replayed"] == "true"


async def test_a_source_is_created_once_and_its_secret_is_shown_once(gateway: Gateway) -> None:
    body = {**SOURCE, "secret": None}
    made = await gateway.client.post("/v1/inbound", json=body, headers={"Idempotency-Key": "k1"})
    again = await gateway.client.post("/v1/inbound", json=body, headers={"Idempotency-Key": "k1"})
    other = await gateway.client.post("/v1/inbound", json={**body, "name": "b"}, headers={"Idempotency-Key": "k1"})

    assert (made.status_code, again.status_code) == (201, 200)
    assert made.json()["secret"]
    assert (again.json()["id"], again.json()["secret"]) == (made.json()["id"], None)
    assert again.headers["idempotent-replayed"] == "true"
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert "secret" not in (await gateway.client.get(made.json()["url"])).json()
    taken = await gateway.client.post("/v1/inbound", json=body)
    assert (taken.status_code, taken.json()["code"]) == (409, "name_taken")


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"mapping": "order["}, "/mapping"),
        ({"mapping": {"amuont": "x"}}, "/mapping"),
        ({"mapping": {}}, "/mapping"),
        ({"only_if": ""}, "/only_if"),
        ({"dedupe": {}}, "/dedupe"),
        ({"verification": {"kind": "magic"}}, "/verification"),
        ({"verification": {"kind": "hmac", "header": "X", "signed": "{timestamp}{body}"}}, "/verification"),
        ({"secret": "short"}, "/secret"),
        ({"verification": {"kind": "standard"}, "secret": "this is not base64"}, "/secret"),
    ],
)
async def test_a_source_that_could_not_work_is_refused(gateway: Gateway, changes: dict[str, Any], pointer: str) -> None:
    answer = await gateway.client.post("/v1/inbound", json={**SOURCE, **changes})

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert pointer in [fault["pointer"] for fault in answer.json()["errors"]]


async def test_a_deleted_source_takes_nothing_more(gateway: Gateway) -> None:
    source = await add(gateway)

    assert (await gateway.client.delete(source["url"])).status_code == 204

    assert (await send(gateway, source, b"{}")).status_code == 401
    assert (await gateway.client.get(source["url"])).json()["code"] == "source_not_found"
    assert (await gateway.client.get("/v1/inbound")).json()["data"] == []
    await add(gateway)


async def test_keys_limited_to_stores_make_sources_limited_to_them(gateway: Gateway) -> None:
    await add(gateway)
    key = await gateway.key("admin", store_ids=[gateway.shop.store_id])
    own = {"Authorization": f"Bearer {key}"}

    made = await gateway.client.post("/v1/inbound", json={**SOURCE, "name": "limited"}, headers=own)

    assert made.json()["store_ids"] == [gateway.shop.store_id]
    listed = (await gateway.client.get("/v1/inbound", headers=own)).json()["data"]
    assert [one["name"] for one in listed] == ["limited"]
    nowhere = {**SOURCE, "name": "nowhere", "store": "elsewhere"}
    assert (await gateway.client.post("/v1/inbound", json=nowhere)).json()["code"] == "store_not_found"


async def test_only_admins_see_sources_and_messages(gateway: Gateway) -> None:
    source = await add(gateway)
    weak = {"Authorization": f"Bearer {await gateway.key('refunds:write', 'refunds:read')}"}

    for method, path in (
        ("GET", "/v1/inbound"),
        ("GET", source["url"]),
        ("GET", f"{source['url']}/messages"),
        ("POST", f"{source['url']}/test"),
    ):
        assert (await gateway.client.request(method, path, headers=weak)).status_code == 403


async def test_a_source_cannot_flood_the_gateway(gateway: Gateway) -> None:
    rt = replace(gateway.rt, settings=gateway.rt.settings.model_copy(update={"rate_limit": "2/minute"}))
    async with opened(rt, gateway.shop) as limited:
        source = await add(limited)
        answers = [(await send(limited, source, b"[%d]" % number)).status_code for number in range(3)]

    assert answers == [202, 202, 429]
