"""Receivers that do not behave: none of them keeps a job, breaks it, or stays without a record of what it did."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from app.flows import relay
from app.flows.deliver import deliver
from app.flows.runtime import Runtime
from tests.conftest import Shop
from tests.flows.test_deliver import only, rt, shop  # noqa: F401 - fixtures
from tests.flows.test_relay import endpoint, happen

Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def raw(answer: Answer) -> AsyncIterator[str]:
    """Answer every request with bytes of one's own making."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            await answer(writer)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    finally:
        server.close()


def says(text: bytes) -> Answer:
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(text)

    return answer


async def drips(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"X-A: b\r\n")
        await writer.drain()
        await asyncio.sleep(0.05)


async def hints(writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(0.02)


def _with(headers: bytes, body: bytes = b"") -> bytes:
    return b"HTTP/1.1 " + headers + b"\r\n\r\n" + body


_FOR_EVER = b"Retry-After: Fri, 31 Dec 9999 23:59:59 -2359\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT"


@pytest.mark.parametrize(
    ("answer", "status", "error"),
    [
        (says(b""), None, "protocol"),
        (says(_with(b"101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade")), None, "protocol"),
        (says(_with(b"503 Later\r\nContent-Length: 0\r\n" + _FOR_EVER)), 503, "failed"),
        (says(_with(b"429 Later\r\nContent-Length: 0\r\nRetry-After: 999999999")), 429, "refused"),
        (drips, None, "timeout"),
        (hints, None, "timeout"),
    ],
)
async def test_whatever_a_receiver_does_is_on_record_as_one_failed_attempt(
    rt: Runtime,  # noqa: F811
    shop: Shop,  # noqa: F811
    answer: Answer,
    status: int | None,
    error: str,
) -> None:
    async with raw(answer) as url:
        made = await endpoint(rt, shop, url)
        await happen(rt, shop, "refund.succeeded", "rf_1")
        await relay.relay(rt)
        began = rt.clock()
        async with asyncio.timeout(5):
            await deliver(rt, made.id)

    delivery = await only(rt, made)
    assert (delivery.status, delivery.last_status, delivery.last_error) == ("pending", status, error)
    assert delivery.due_at < began + timedelta(hours=1, minutes=1)
