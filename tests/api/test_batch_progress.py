"""The progress of batches as server-sent events, over real sockets."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI, Request

from app import api
from app.api.auth import KeyRing, still_admitted
from app.api.batch_progress import changes
from app.cli.processes import Server
from app.flows import batch_results as flow_results
from app.flows import batches as flow
from app.flows.runtime import Runtime
from app.telemetry import Metrics
from tests.api.conftest import Gateway
from tests.conftest import free_port


async def events(lines: AsyncIterator[str]) -> AsyncIterator[dict[str, Any]]:
    """Read server-sent events as a browser does; comments are left out."""
    fields: dict[str, Any] = {}
    async for line in lines:
        if not line and fields:
            yield fields | {"data": json.loads(fields["data"])}
            fields = {}
        elif line and not line.startswith(":"):
            name, _, value = line.partition(": ")
            fields[name] = value


@asynccontextmanager
async def watching(
    client: httpx.AsyncClient, batch_id: str, **headers: str
) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
    async with client.stream("GET", f"/v1/batches/{batch_id}/progress", headers=headers) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert "no-store" in answer.headers.get_list("cache-control", split_commas=True)
        yield events(answer.aiter_lines())


@pytest.fixture
async def held(gateway: Gateway) -> str:
    """Give a held batch of two refunds."""
    refund = {"store": "demo", "order_id": "12", "amount": "1.00"}
    answer = await gateway.client.post("/v1/batches", json={"items": [refund, refund], "mode": "hold"})
    assert answer.status_code == 202, answer.text
    batch_id: str = answer.json()["id"]
    return batch_id


async def test_every_change_is_told_and_the_end_closes_the_stream(gateway: Gateway, held: str) -> None:
    async with watching(gateway.client, held) as told, asyncio.timeout(10):
        first = await anext(told)
        assert (first["event"], first["data"]["id"], first["data"]["status"]) == ("progress", held, "held")
        for action, status in (("release", "running"), ("pause", "paused")):
            await gateway.client.post(f"/v1/batches/{held}/{action}")
            assert (await anext(told))["data"]["status"] == status
        await gateway.client.post(f"/v1/batches/{held}/cancel")
        last = await anext(told)
        assert (last["event"], last["data"]["status"], last["data"]["counts"]["dropped"]) == ("finished", "canceled", 2)
        assert [event async for event in told] == []
    async with watching(gateway.client, held, **{"Last-Event-ID": last["id"]}) as told:
        assert [event["event"] async for event in told] == ["finished"]


async def test_what_a_client_knows_already_is_not_told_again(gateway: Gateway, held: str) -> None:
    async with watching(gateway.client, held) as told:
        known = (await anext(told))["id"]
    async with watching(gateway.client, held, **{"Last-Event-ID": known}) as told, asyncio.timeout(10):
        await asyncio.sleep(0.2)
        await gateway.client.post(f"/v1/batches/{held}/release")
        event = await anext(told)
        assert (event["data"]["status"], event["id"] == known) == ("running", False)


async def test_a_stream_without_changes_ends_after_a_while(gateway: Gateway, held: str) -> None:
    batch = await flow.look(gateway.rt, gateway.shop.caller, held)
    assert isinstance(batch, flow_results.BatchView)

    async def told(**options: Any) -> list[Any]:
        asked = {"known": None, "admitted": _yes, "stopping": lambda: False, "pause_s": 0.01, "still_s": 60.0}
        asked |= options
        async with asyncio.timeout(5):
            return [event.event async for event in changes(gateway.rt, gateway.shop.caller, batch, **asked)]

    assert await told(still_s=0.05) == ["progress"]
    assert await told(stopping=lambda: True) == ["progress"]
    assert await told(admitted=_no) == ["progress"]
    assert await told(known=(await _first_id(gateway, batch)), stopping=lambda: True) == []


async def _yes() -> bool:
    return True


async def _no() -> bool:
    return False


async def test_a_key_that_was_revoked_is_not_admitted_any_more(gateway: Gateway) -> None:
    key = await gateway.key("refunds:read")
    state = SimpleNamespace(keys=KeyRing(remembered_s=-1), runtime=gateway.rt)
    headers = [(b"authorization", f"Bearer {key}".encode())]
    request = Request({"type": "http", "headers": headers, "app": SimpleNamespace(state=state)})
    assert await still_admitted(request, "refunds:read")
    assert not await still_admitted(request, "refunds:write")
    async with gateway.rt.database.committing() as conn:
        await conn.execute("UPDATE api_key SET revoked_at = now()")
    assert not await still_admitted(request, "refunds:read")


async def _first_id(gateway: Gateway, batch: flow_results.BatchView) -> str | None:
    told = changes(gateway.rt, gateway.shop.caller, batch, known=None, admitted=_yes, stopping=lambda: True)
    return (await anext(told)).id


async def test_a_client_that_goes_away_ends_its_stream(gateway: Gateway, held: str) -> None:
    async with watching(gateway.client, held) as told:
        await anext(told)
    watched = b'refund_gateway_requests_total{route="/v1/batches/{batch_id}/progress"'
    async with asyncio.timeout(5):
        while watched not in gateway.metrics.text():
            await asyncio.sleep(0.02)


async def test_a_server_that_stops_does_not_wait_for_its_streams(rt: Runtime, gateway: Gateway, held: str) -> None:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.runtime = replace(rt)
        app.state.metrics = Metrics()
        yield

    port = free_port()
    config = uvicorn.Config(api.build(rt.settings, lifespan), port=port, log_config=None, access_log=False)
    server = Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    headers = {"Authorization": gateway.client.headers["Authorization"]}
    async with (
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers) as client,
        watching(client, held) as told,
    ):
        await anext(told)
        server.should_exit = True
        async with asyncio.timeout(5):
            assert [event async for event in told] == []
            await serving
