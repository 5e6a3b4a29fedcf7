"""Alive, ready, and the numbers."""

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from app import api
from app.crypto import new_api_key
from app.database import Database
from app.ledger import executors
from app.settings import Settings
from app.telemetry import Metrics
from tests.api.conftest import Gateway
from tests.api.problems import problem


async def test_a_gateway_with_a_worker_is_ready(gateway: Gateway) -> None:
    assert (await gateway.client.get("/livez")).json() == {"status": "alive"}
    without = await gateway.client.get("/readyz")
    document = problem(without, 503, "service_unavailable")
    assert document["checks"] == {"database": True, "migrations": True, "worker": False}
    async with gateway.rt.database.transaction() as conn:
        await executors.beat(conn, "ex_worker", works=True, lease=timedelta(seconds=3))
    answer = await gateway.client.get("/readyz")
    assert answer.status_code == 200
    assert answer.json() == {"status": "ready", "checks": {"database": True, "migrations": True, "worker": True}}


async def test_a_worker_that_was_not_seen_lately_is_none(gateway: Gateway) -> None:
    async with gateway.rt.database.transaction() as conn:
        await executors.beat(conn, "ex_worker", works=True, lease=timedelta(seconds=3))
        await conn.execute("UPDATE executor SET seen_at = now() - interval '31 seconds' WHERE works")
    problem(await gateway.client.get("/readyz"), 503, "service_unavailable")


async def test_a_schema_of_another_version_is_not_ready(gateway: Gateway) -> None:
    async with gateway.rt.database.transaction() as conn:
        await conn.execute("UPDATE alembic_version SET version_num = '0000'")
    document = problem(await gateway.client.get("/readyz"), 503, "service_unavailable")
    assert document["checks"] == {"database": True, "migrations": False, "worker": False}


async def test_the_numbers_are_those_of_process_and_ledger(gateway: Gateway, order: dict[str, Any]) -> None:
    await gateway.refund(order)
    answer = await gateway.client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    samples = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }
    route = (("route", "/v1/refunds"), ("status", "201"))
    assert samples["refund_gateway_requests_total", *route] == 1
    assert samples["refund_gateway_unfinished_refunds", ("status", "uncertain")] == 0
    assert samples[("refund_gateway_ledger_up",)] == 1


async def test_without_the_database_the_gateway_lives_and_says_so() -> None:
    # A pool that was never opened fails as one whose database has gone.
    database = Database("postgresql://127.0.0.1:9/none", size=2)
    app = api.build(Settings())
    app.state.runtime = SimpleNamespace(database=database, settings=Settings())
    app.state.metrics = Metrics()
    key = {"Authorization": f"Bearer {new_api_key().text}"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as client:
        assert (await client.get("/livez")).status_code == 200
        answer = await client.get("/v1/stores", headers=key)
        assert problem(answer, 503, "service_unavailable")["retryable"]
        assert int(answer.headers["retry-after"]) >= 1
        checks = problem(await client.get("/readyz"), 503, "service_unavailable")["checks"]
        assert not any(checks.values())
        assert "refund_gateway_ledger_up 0.0" in (await client.get("/metrics")).text
