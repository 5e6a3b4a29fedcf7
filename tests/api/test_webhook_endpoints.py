"""Webhook endpoints over HTTP, from the first secret to the last replay."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from standardwebhooks import WebhookVerificationError

from app.flows import relay
from app.flows.deliver import deliver
from app.flows.endpoints import ENDPOINTS_MAX, UrlRefused, unfit
from app.flows.runtime import Runtime
from tests.api.conftest import Gateway
from tests.api.problems import problem
from tests.api.test_events import happen
from tests.conftest import add_shop
from tests.flows.receiver import Receiver, receiving

PATH = "/v1/webhook-endpoints"


@pytest.fixture
def rt(rt: Runtime) -> Runtime:
    """Give a runtime whose deliveries are tried again after a moment."""
    return replace(rt, settings=rt.settings.model_copy(update={"webhook_backoff_s": (0.05,), "webhook_timeout_s": 1.0}))


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """Run a receiver that takes everything."""
    async with receiving() as running:
        yield running


async def add(gateway: Gateway, url: str, *, key: str | None = None, **fields: Any) -> dict[str, Any]:
    headers = {} if key is None else {"Idempotency-Key": key}
    answer = await gateway.client.post(PATH, json={"url": url, **fields}, headers=headers)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    assert answer.headers["location"] == f"{PATH}/{made['id']}"
    return made


async def work(gateway: Gateway, made: dict[str, Any]) -> None:
    await relay.relay(gateway.rt)
    await deliver(gateway.rt, made["id"])


async def test_an_endpoint_is_added_read_changed_and_deleted(gateway: Gateway) -> None:
    made = await add(
        gateway, "https://erp.example/hooks?token=1", types=["refund.*"], description="ERP", stores=["demo"]
    )
    assert made["secret"].startswith("whsec_")
    path = f"{PATH}/{made['id']}"
    got = (await gateway.client.get(path)).json()
    assert got == {**made, "secret": None}
    assert (got["enabled"], got["types"], got["stores"], got["failing_since"]) == (True, ["refund.*"], ["demo"], None)
    assert (await gateway.client.get(PATH)).json()["data"] == [got]
    changed = await gateway.client.patch(path, json={"types": None, "enabled": False})
    assert changed.status_code == 200, changed.text
    after = changed.json()
    assert (after["types"], after["stores"], after["description"]) == (None, ["demo"], "ERP")
    assert (after["enabled"], after["disabled_reason"]) == (False, "by_request")
    back = (await gateway.client.patch(path, json={"enabled": True, "stores": None})).json()
    assert (back["enabled"], back["disabled_at"], back["stores"]) == (True, None, None)
    assert (await gateway.client.delete(path)).status_code == 204
    for answer in (await gateway.client.get(path), await gateway.client.delete(path)):
        problem(answer, 404, "webhook_endpoint_not_found")


async def test_the_list_goes_page_by_page(gateway: Gateway) -> None:
    made = [(await add(gateway, f"https://erp.example/{number}"))["id"] for number in range(3)]
    first = (await gateway.client.get(PATH, params={"limit": 2})).json()
    rest = (await gateway.client.get(PATH, params={"limit": 2, "after": first["next_cursor"]})).json()
    assert [view["id"] for view in first["data"] + rest["data"]] == made
    assert rest["next_cursor"] is None


async def test_a_repeated_request_adds_nothing_and_does_not_show_the_secret_again(gateway: Gateway) -> None:
    made = await add(gateway, "https://erp.example/hooks", key="k-1")
    again = await gateway.client.post(
        PATH, json={"url": "https://erp.example/hooks"}, headers={"Idempotency-Key": "k-1"}
    )
    assert (again.status_code, again.headers["idempotent-replayed"]) == (201, "true")
    assert again.json() == {**made, "secret": None}
    other = await gateway.client.post(
        PATH, json={"url": "https://erp.example/other"}, headers={"Idempotency-Key": "k-1"}
    )
    assert problem(other, 422, "idempotency_key_reused")["resource_id"] == made["id"]
    path, key = f"{PATH}/{made['id']}/rotate-secret", {"Idempotency-Key": "k-2"}
    turned = (await gateway.client.post(path, headers=key)).json()
    assert turned["secret"] not in (None, made["secret"])
    replayed = await gateway.client.post(path, headers=key)
    assert (replayed.json(), replayed.headers["idempotent-replayed"]) == ({**turned, "secret": None}, "true")
    assert turned["old_secrets_until"] is not None


_UNFIT = [
    "https://user:pass@erp.example/",
    "https://erp.example/#part",
    "ftp://erp.example/",
    "//erp.example/",
    "https://",
    "https://erp.example:0/",
    "https://erp.example:99999/",
    "https://erp example/",
    "https://erp.example\\@internal/",
    "https://erp.exämple/",
    "https://169.254.169.254/latest",
    "https://[::ffff:169.254.169.254]/",
    "https://erp.example/" + "x" * 2048,
    "http://[fd00:ec2::254]/",
]


async def test_an_address_that_nothing_may_be_sent_to_is_refused(gateway: Gateway) -> None:
    for url in _UNFIT:
        document = problem(await gateway.client.post(PATH, json={"url": url}), 422, "invalid_request")
        assert document["errors"][0]["pointer"] == "/url", url
    assert (await gateway.client.get(PATH)).json()["data"] == []


async def test_in_production_addresses_are_public_and_by_https(gateway: Gateway) -> None:
    production = gateway.rt.settings.model_copy(update={"allow_private_stores": False})
    strict = replace(gateway.rt, settings=production)
    for url in ("http://erp.example/", "https://127.0.0.1/", "https://10.0.0.7/", "https://[::1]/"):
        assert isinstance(unfit(strict, url), UrlRefused), url
    assert unfit(strict, "https://erp.example:8443/hooks") is None


_FAULTY = [
    ({"url": "https://erp.example/", "types": ["refund.suceeded"]}, "/types/0"),
    ({"url": "https://erp.example/", "types": []}, "/types"),
    ({"url": "https://erp.example/", "secret": "whsec_x"}, "/secret"),
    ({}, "/url"),
]


async def test_what_cannot_be_meant_is_refused(gateway: Gateway) -> None:
    for body, pointer in _FAULTY:
        document = problem(await gateway.client.post(PATH, json=body), 422, "invalid_request")
        assert document["errors"][0]["pointer"] == pointer, body


async def test_a_test_message_is_signed_and_says_how_it_went(gateway: Gateway, receiver: Receiver) -> None:
    made = await add(gateway, receiver.url)
    told = (await gateway.client.post(f"{PATH}/{made['id']}/test")).json()
    assert told["delivered"]
    assert (told["attempt"]["status"], told["attempt"]["error"]) == (204, None)
    assert receiver.got[0].verify(made["secret"])["type"] == "webhook_endpoint.test"
    receiver.decide = lambda message: 500
    told = (await gateway.client.post(f"{PATH}/{made['id']}/test")).json()
    assert (told["delivered"], told["attempt"]["status"], told["attempt"]["error"]) == (False, 500, "failed")
    gone = await add(gateway, "http://127.0.0.1:9/hooks")
    told = (await gateway.client.post(f"{PATH}/{gone['id']}/test")).json()
    assert (told["delivered"], told["attempt"]["status"], told["attempt"]["error"]) == (False, None, "connect")
    assert (await gateway.client.get("/v1/events")).json()["data"] == []


async def test_a_rotated_secret_verifies_beside_the_old_one(gateway: Gateway, receiver: Receiver) -> None:
    made = await add(gateway, receiver.url)
    path = f"{PATH}/{made['id']}"
    new = (await gateway.client.post(f"{path}/rotate-secret", json={"overlap_s": 60})).json()["secret"]
    await gateway.client.post(f"{path}/test")
    receiver.got[-1].verify(made["secret"])
    receiver.got[-1].verify(new)
    newest = (await gateway.client.post(f"{path}/rotate-secret", json={"overlap_s": 0})).json()["secret"]
    await gateway.client.post(f"{path}/test")
    receiver.got[-1].verify(newest)
    with pytest.raises(WebhookVerificationError):
        receiver.got[-1].verify(new)


async def test_deliveries_are_listed_with_status_and_latency_and_replayed(gateway: Gateway, receiver: Receiver) -> None:
    made = await add(gateway, receiver.url)
    path = f"{PATH}/{made['id']}"
    receiver.decide = lambda message: 204 if message["data"]["number"] else 404
    for number in range(3):
        await happen(gateway, "refund.failed" if number == 2 else "refund.succeeded", f"rf_{number}", number=number)
    await work(gateway, made)
    listed = (await gateway.client.get(f"{path}/deliveries", params={"limit": 2})).json()
    older = (await gateway.client.get(f"{path}/deliveries", params={"limit": 2, "after": listed["next_cursor"]})).json()
    assert [one["subject"] for one in listed["data"] + older["data"]] == ["rf_2", "rf_1", "rf_0"]
    done, [refused] = listed["data"][0], older["data"]
    assert (done["status"], done["next_attempt_at"], done["last_attempt"]["status"]) == ("delivered", None, 204)
    assert done["last_attempt"]["latency_ms"] >= 0
    assert done["event"] == receiver.got[-1].id or done["event"] in {one.id for one in receiver.got}
    assert (refused["status"], refused["last_attempt"]["error"]) == ("pending", "refused")
    assert refused["next_attempt_at"] > refused["last_attempt"]["at"]

    async def ids(**query: Any) -> list[str]:
        answer = await gateway.client.get(f"{path}/deliveries", params=query)
        assert answer.status_code == 200, answer.text
        return [one["subject"] for one in answer.json()["data"]]

    assert await ids(status="pending") == ["rf_0"]
    assert await ids(type="refund.failed") == ["rf_2"]
    assert await ids(type="refund.*", status="delivered") == ["rf_2", "rf_1"]
    detail = (await gateway.client.get(f"{path}/deliveries/{refused['id']}")).json()
    assert len(detail["history"]) == detail["attempts"] >= 1
    # One, then all of them.
    answer = await gateway.client.post(f"{path}/deliveries/{done['id']}/replay")
    assert (answer.status_code, answer.json()["status"]) == (200, "pending")
    receiver.decide = lambda message: 204
    await work(gateway, made)
    assert [one.id for one in receiver.got].count(done["event"]) == 2
    answer = await gateway.client.post(f"{path}/replay", json={"since": made["created_at"], "types": ["refund.failed"]})
    assert (answer.status_code, answer.json()["deliveries"]) == (200, 1), answer.text
    problem(await gateway.client.get(f"{path}/deliveries/wd_999"), 404, "delivery_not_found")
    problem(await gateway.client.post(f"{path}/deliveries/rf_1/replay"), 404, "delivery_not_found")
    await gateway.client.patch(path, json={"enabled": False})
    answer = await gateway.client.post(f"{path}/deliveries/{done['id']}/replay")
    problem(answer, 409, "webhook_endpoint_disabled")
    answer = await gateway.client.post(f"{path}/replay", json={"since": made["created_at"]})
    problem(answer, 409, "webhook_endpoint_disabled")
    document = problem(await gateway.client.post(f"{path}/replay", json={"since": "today"}), 422, "invalid_request")
    assert document["errors"][0]["pointer"] == "/since"


async def test_endpoints_are_for_admins_of_the_tenant_and_of_the_stores(gateway: Gateway) -> None:
    made = await add(gateway, "https://erp.example/hooks")
    path = f"{PATH}/{made['id']}"
    for scope in ("events:read", "stores:write"):
        headers = {"Authorization": f"Bearer {await gateway.key(scope)}"}
        problem(await gateway.client.get(PATH, headers=headers), 403, "forbidden")
    stranger = await add_shop(gateway.rt, "http://127.0.0.1:9")
    headers = {"Authorization": f"Bearer {await gateway.key('admin', tenant_id=stranger.tenant_id)}"}
    for action in ("", "/deliveries"):
        problem(await gateway.client.get(path + action, headers=headers), 404, "webhook_endpoint_not_found")
    for action in ("/test", "/rotate-secret", "/deliveries/wd_1/replay"):
        problem(await gateway.client.post(path + action, headers=headers), 404, "webhook_endpoint_not_found")
    # A key that is limited to stores makes endpoints for these alone, and sees no others.
    limited = {"Authorization": f"Bearer {await gateway.key('admin', store_ids=[gateway.shop.store_id])}"}
    problem(await gateway.client.get(path, headers=limited), 404, "webhook_endpoint_not_found")
    theirs = (await gateway.client.post(PATH, json={"url": "https://erp.example/"}, headers=limited)).json()
    assert theirs["stores"] == ["demo"]
    assert [view["id"] for view in (await gateway.client.get(PATH, headers=limited)).json()["data"]] == [theirs["id"]]
    widened = await gateway.client.patch(f"{PATH}/{theirs['id']}", json={"stores": None}, headers=limited)
    assert widened.json()["stores"] == ["demo"]
    none = {"Authorization": f"Bearer {await gateway.key('admin', store_ids=['st_other'])}"}
    problem(
        await gateway.client.post(PATH, json={"url": "https://erp.example/", "stores": ["demo"]}, headers=none),
        404,
        "store_not_found",
    )


async def test_the_numbers_tell_of_what_is_on_its_way(gateway: Gateway) -> None:
    made = await add(gateway, "http://127.0.0.1:9/hooks")
    await happen(gateway, "refund.failed", "rf_1")
    await gateway.client.get("/metrics")
    assert gateway.metrics.value("refund_gateway_unplaced_events") == 1
    await work(gateway, made)
    await gateway.client.get("/metrics")
    assert gateway.metrics.value("refund_gateway_unplaced_events") == 0
    assert gateway.metrics.value("refund_gateway_waiting_deliveries") == 1
    lag = gateway.metrics.value("refund_gateway_delivery_lag_seconds")
    assert lag is not None
    assert lag > 0
    await gateway.client.patch(f"{PATH}/{made['id']}", json={"enabled": False})
    await gateway.client.get("/metrics")
    assert gateway.metrics.value("refund_gateway_waiting_deliveries") == 0


async def test_a_tenant_has_a_bounded_number_of_endpoints(gateway: Gateway) -> None:
    first = await add(gateway, "https://erp.example/hooks", key="first")
    async with gateway.rt.database.transaction() as conn:
        await conn.execute(
            "INSERT INTO webhook_endpoint (id, tenant_id, url, description, created_by)"
            " SELECT 'we_' || n, %s, 'https://erp.example', '', 'test' FROM generate_series(2, %s) AS n",
            (gateway.shop.tenant_id, ENDPOINTS_MAX),
        )

    full = await gateway.client.post(PATH, json={"url": "https://erp.example"}, headers={"Idempotency-Key": "one-more"})
    problem(full, 409, "too_many_endpoints")
    assert (await add(gateway, "https://erp.example/hooks", key="first"))["id"] == first["id"]

    await gateway.client.delete(f"{PATH}/{first['id']}")
    await add(gateway, "https://erp.example", key="one-more")
