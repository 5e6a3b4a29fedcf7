"""The frame around requests: ids, bodies within limits, log lines, and the last resort."""

import asyncio
import io
import json
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import structlog
from fastapi import FastAPI

from app import api
from app.settings import Settings
from app.telemetry import Metrics, configure_logging
from tests.api.problems import problem
from tests.conftest import serving

METRICS = Metrics()


@asynccontextmanager
async def running(**options: Any) -> AsyncIterator[tuple[str, httpx.AsyncClient]]:
    """Serve an API that has no runtime: whatever needs one crashes."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.metrics = METRICS
        yield

    settings = Settings(body_limit_bytes=1000, log_format="json")
    async with serving(api.build(settings, lifespan, **options)) as url, httpx.AsyncClient(base_url=url) as client:
        yield url, client


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before = (root.handlers[:], root.level)
    stream = io.StringIO()
    configure_logging(Settings(log_format="json", log_level="info"), stream=stream)
    yield stream
    structlog.reset_defaults()
    root.handlers[:], root.level = before


def lines(logged: io.StringIO, event: str) -> list[dict[str, Any]]:
    return [line for line in map(json.loads, logged.getvalue().splitlines()) if line["event"] == event]


async def raw(url: str, request: bytes, *, then: bytes = b"", after_s: float = 0) -> bytes:
    """Send bytes as they are and read until the server hangs up."""
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(request)
    await writer.drain()
    if then:
        await asyncio.sleep(after_s)
        writer.write(then)
        await writer.drain()
    try:
        async with asyncio.timeout(5):
            return await reader.read()
    finally:
        writer.close()


async def test_a_request_id_is_taken_over_or_made(logged: io.StringIO) -> None:
    async with running() as (_, client):
        assert (await client.get("/livez", headers={"X-Request-Id": "erp-42"})).headers["x-request-id"] == "erp-42"
        for unfit in ("x" * 129, "two words", b"\xe9"):
            answer = await client.get("/livez", headers={"X-Request-Id": unfit})
            assert answer.headers["x-request-id"].startswith("req_")
        document = problem(await client.get("/none", headers={"X-Request-Id": "erp-43"}), 404, "not_found")
        assert document["request_id"] == "erp-43"
    assert lines(logged, "request.finished")[0]["request_id"] == "erp-42"


async def test_the_log_line_holds_the_template_and_nothing_of_the_request(logged: io.StringIO) -> None:
    async with running() as (_, client):
        await client.get("/problems/Jane%20Doe?email=jane@example.com", headers={"X-Api-Secret": "hush"})
        await client.get("/Jane")
    first, second = lines(logged, "request.finished")
    assert (first["method"], first["route"], first["status"]) == ("GET", "/problems/{code}", 404)
    assert first["duration_ms"] > 0
    assert second["route"] == "unmatched"
    for secret in ("Jane", "jane@example.com", "hush"):
        assert secret not in logged.getvalue()
    labels = {"route": "/problems/{code}", "status": "404"}
    assert METRICS.value("refund_gateway_requests_total", labels) == 1


async def test_a_crash_is_a_problem_and_its_traceback_is_logged(logged: io.StringIO) -> None:
    async with running() as (_, client):
        answer = await client.get("/v1/stores", headers={"Authorization": "Bearer x"})
    problem(answer, 500, "internal_error")
    assert "Traceback" not in answer.text
    [crash] = lines(logged, "request.crashed")
    assert "AttributeError" in crash["exception"]
    assert crash["request_id"] == answer.headers["x-request-id"]
    assert lines(logged, "request.finished")[0]["status"] == 500


async def test_a_body_that_is_announced_too_large_is_not_read() -> None:
    async with running() as (url, _):
        head = b"POST /v1/refunds HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\n\r\n"
        answer = await raw(url, head)
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert b'"code":"body_too_large"' in answer
        assert b"connection: close" in answer.lower()


async def test_a_body_that_turns_out_too_large_is_not_read_to_its_end() -> None:
    async with running() as (_, client):

        async def chunks() -> AsyncIterator[bytes]:
            for _ in range(11):
                yield b" " * 100

        document = problem(await client.post("/v1/refunds", content=chunks()), 413, "body_too_large")
        assert document["limit_bytes"] == 1000


async def test_a_body_of_exactly_the_limit_is_read() -> None:
    async with running() as (_, client):
        answer = await client.post("/v1/refunds", content=b" " * 1000)
        assert answer.status_code == 500  # it got as far as the runtime that is not there


async def test_a_slow_body_is_given_up() -> None:
    async with running(body_within_s=0.2) as (url, _):
        head = b"POST /v1/refunds HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{"
        answer = await raw(url, head)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b'"code":"body_too_slow"' in answer


async def test_a_body_in_pieces_is_put_together() -> None:
    async with running() as (url, _):
        head = b"POST /problems HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 4\r\n\r\n{"
        assert (await raw(url, head, then=b"}  ", after_s=0.05)).startswith(b"HTTP/1.1 405 ")


async def test_a_client_that_leaves_early_is_on_record(logged: io.StringIO) -> None:
    async with running() as (url, _):
        host, port = url.removeprefix("http://").split(":")
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"POST /v1/refunds HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{")
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.close()
        async with asyncio.timeout(5):
            while not lines(logged, "request.finished"):
                await asyncio.sleep(0.01)
    assert lines(logged, "request.finished")[0]["status"] == 499
