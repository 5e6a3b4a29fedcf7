"""Keys, scopes and limits."""

import asyncio
import base64
import time
from dataclasses import replace

import pytest

from app.api.auth import KeyRing, RateLimit
from app.api.problems import Problem
from app.api.trace import Trace
from app.crypto import new_api_key
from app.flows.runtime import Runtime
from app.ledger import tenants
from tests.api.conftest import Gateway, opened
from tests.api.problems import problem
from tests.conftest import Shop

ROUTES: list[tuple[str, str, str]] = [
    ("POST", "/v1/refunds", "refunds:write"),
    ("POST", "/v1/refunds/preview", "refunds:write"),
    ("GET", "/v1/refunds", "refunds:read"),
    ("GET", "/v1/refunds/rf_1", "refunds:read"),
    ("GET", "/v1/refunds/rf_1/events", "events:read"),
    ("POST", "/v1/refunds/rf_1/cancel", "refunds:write"),
    ("POST", "/v1/refunds/rf_1/resolve", "refunds:approve"),
    ("POST", "/v1/refunds/rf_1/recheck", "refunds:write"),
    ("GET", "/v1/stores", "stores:read"),
    ("GET", "/v1/stores/demo", "stores:read"),
    ("GET", "/v1/stores/demo/health", "stores:read"),
    ("GET", "/v1/stores/demo/capabilities", "stores:read"),
    ("GET", "/v1/stores/demo/orders/1", "orders:read"),
    ("GET", "/v1/stores/demo/orders/1/refunds", "orders:read"),
    ("GET", "/v1/stores/demo/orders/1/refunds/2", "orders:read"),
]
SCOPES = {scope for _, _, scope in ROUTES}


async def test_every_route_asks_for_a_key_and_for_its_scope(gateway: Gateway) -> None:
    for method, path, scope in ROUTES:
        anonymous = await gateway.client.request(method, path, headers={"Authorization": ""})
        problem(anonymous, 401, "unauthorized")
        assert anonymous.headers["www-authenticate"].startswith("Bearer ")
        key = await gateway.key(*(SCOPES - {scope}))
        lacking = await gateway.client.request(method, path, headers={"Authorization": f"Bearer {key}"})
        assert problem(lacking, 403, "forbidden")["required_scope"] == scope
        key = await gateway.key(scope)
        allowed = await gateway.client.request(method, path, headers={"Authorization": f"Bearer {key}"})
        assert allowed.status_code not in (401, 403), path


async def test_a_key_works_as_bearer_and_as_basic_and_no_other_way(gateway: Gateway) -> None:
    key = await gateway.key("stores:read")
    _, key_id, secret = key.split("_", 2)

    def basic(text: str) -> str:
        return f"Basic {base64.b64encode(text.encode()).decode()}"

    for good in (f"Bearer {key}", f"bearer  {key}", basic(f"{key_id}:{secret}"), basic(f"{key_id}:{key}")):
        answer = await gateway.client.get("/v1/stores", headers={"Authorization": good})
        assert answer.status_code == 200, good
    other = new_api_key().text
    for bad in (
        f"Bearer {other}",
        f"Bearer {key[:-1]}x" if key[-1] != "x" else f"Bearer {key[:-1]}y",
        f"Token {key}",
        key,
        "Bearer",
        basic(f"{key_id}:wrong"),
        basic(f"nobody:{secret}"),
        "Basic !!!",
        "Basic /w==",
    ):
        answer = await gateway.client.get("/v1/stores", headers={"Authorization": bad})
        problem(answer, 401, "unauthorized")
        assert key not in answer.text


async def test_a_key_is_shown_before_anything_is_read(gateway: Gateway) -> None:
    answer = await gateway.client.post("/v1/refunds", content=b"{junk", headers={"Authorization": "Bearer x"})
    problem(answer, 401, "unauthorized")
    answer = await gateway.client.get("/v1/refunds/nonsense", headers={"Authorization": "Bearer x"})
    problem(answer, 401, "unauthorized")


async def test_a_revoked_key_stops_working_within_five_seconds(rt: Runtime, shop: Shop) -> None:
    ring, new = KeyRing(remembered_s=0.05), new_api_key()
    async with rt.database.transaction() as conn:
        await tenants.add_key(
            conn, id=new.id, tenant_id=shop.tenant_id, name="erp", secret_hash=new.hash, scopes=["refunds:read"]
        )
    assert KeyRing().remembered_s <= 5
    caller = await ring.identify(rt.database, f"Bearer {new.text}")
    assert (caller.tenant_id, caller.key_id, caller.scopes) == (shop.tenant_id, new.id, {"refunds:read"})
    async with rt.database.transaction() as conn:
        await tenants.revoke_key(conn, shop.tenant_id, new.id)
    await asyncio.sleep(0.06)
    with pytest.raises(Problem, match="unauthorized"):
        await ring.identify(rt.database, f"Bearer {new.text}")


async def test_a_remembered_key_does_not_open_for_another_secret(rt: Runtime, shop: Shop) -> None:
    ring, new = KeyRing(), new_api_key()
    async with rt.database.transaction() as conn:
        await tenants.add_key(
            conn, id=new.id, tenant_id=shop.tenant_id, name="erp", secret_hash=new.hash, scopes=["refunds:read"]
        )
    forged = f"rgk_{new.id}_{'A' * 43}"
    for _ in range(2):
        with pytest.raises(Problem, match="unauthorized"):
            await ring.identify(rt.database, f"Bearer {forged}")
        await ring.identify(rt.database, f"Bearer {new.text}")


async def test_requests_are_counted_per_key(rt: Runtime, shop: Shop) -> None:
    limited = replace(rt, settings=rt.settings.model_copy(update={"rate_limit": "3/minute"}))
    async with opened(limited, shop) as gateway:
        left = []
        for _ in range(3):
            answer = await gateway.client.get("/v1/stores")
            assert answer.status_code == 200
            left.append(answer.headers["ratelimit-remaining"])
        assert left == ["2", "1", "0"]
        too_many = await gateway.client.get("/v1/stores")
        document = problem(too_many, 429, "rate_limited")
        assert document["retryable"]
        assert too_many.headers["ratelimit-limit"] == "3"
        assert 1 <= int(too_many.headers["retry-after"]) <= 60
        other = await gateway.key("stores:read")
        answer = await gateway.client.get("/v1/stores", headers={"Authorization": f"Bearer {other}"})
        assert answer.status_code == 200
        # An unknown key is not counted, and what needs no key has no limit.
        assert (await gateway.client.get("/livez")).status_code == 200


def test_a_limit_that_cannot_be_read_stops_the_start() -> None:
    with pytest.raises(ValueError, match="parse"):
        RateLimit("often")


def test_counting_a_request_costs_next_to_nothing() -> None:
    limit, trace = RateLimit("1000000/minute"), Trace(request_id="r")
    began = time.perf_counter()
    for _ in range(2000):
        trace.headers.clear()
        limit.take("key", trace)
    assert (time.perf_counter() - began) / 2000 < 200e-6
