"""Every failure is sorted by one question: may bytes have left?"""

import asyncio
import gzip
import logging
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
import uvloop

from app.outbound import Answer, MaybeSent, NotSent, Outbound
from tests.stores.raw_server import Asked, answering, http, raw_server, reset

Respond = Callable[[Asked, asyncio.StreamWriter], Awaitable[None]]


def outbound(**options: object) -> Outbound:
    return Outbound(**{"allow_private": True, "connect_timeout_s": 1.0, "write_timeout_s": 1.0, **options})  # type: ignore[arg-type]


async def post(out: Outbound, url: str, *, read_timeout_s: float = 2.0, limit_bytes: int = 10_000) -> Answer:
    return await out.get("s").request(
        "POST", url, headers={}, content=b"{}", read_timeout_s=read_timeout_s, limit_bytes=limit_bytes, fresh=True
    )


async def get(out: Outbound, url: str, *, limit_bytes: int = 10_000) -> Answer:
    return await out.get("s").request("GET", url, headers={}, read_timeout_s=2.0, limit_bytes=limit_bytes)


async def closes(asked: Asked, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def resets(asked: Asked, writer: asyncio.StreamWriter) -> None:
    reset(writer)


async def hangs(asked: Asked, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(30)


async def truncates(asked: Asked, writer: asyncio.StreamWriter) -> None:
    writer.write(http(201, b'{"id": 7}')[:-4])
    await writer.drain()
    writer.close()


async def resets_midway(asked: Asked, writer: asyncio.StreamWriter) -> None:
    writer.write(http(201, b'{"id": 7}')[:-4])
    await writer.drain()
    await asyncio.sleep(0.05)
    reset(writer)


async def babbles(asked: Asked, writer: asyncio.StreamWriter) -> None:
    writer.write(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")


async def drips(asked: Asked, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 9000\r\n\r\n")
    while True:
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.02)


async def floods(asked: Asked, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + b"400\r\n" + b"x" * 1024 + b"\r\n")
    for _ in range(100):
        writer.write(b"400\r\n" + b"x" * 1024 + b"\r\n")
        await writer.drain()


@pytest.mark.parametrize(
    ("respond", "reason"),
    [
        (closes, "protocol"),
        (resets, "read"),
        (hangs, "timeout"),
        (truncates, "protocol"),
        (resets_midway, "read"),
        (babbles, "protocol"),
        (floods, "too_large"),
        (answering(http(200, gzip.compress(b"x" * 20_000), {"content-encoding": "gzip"})), "too_large"),
        (answering(http(200, gzip.compress(b"{}")[:-6], {"content-encoding": "gzip"})), "decoding"),
        (answering(http(200, b"no gzip", {"content-encoding": "gzip"})), "decoding"),
        (answering(http(200, b"{}", {"content-encoding": "br"})), "decoding"),
    ],
    ids=lambda value: getattr(value, "__name__", value) if not isinstance(value, str) else value,
)
async def test_a_delivered_request_without_a_usable_answer_may_have_been_sent(respond: Respond, reason: str) -> None:
    out = outbound()
    async with raw_server(respond) as server:
        with pytest.raises(MaybeSent) as caught:
            await post(out, server.url, read_timeout_s=0.2)
        assert caught.value.reason == reason
        assert len(server.asked) == 1
        await out.aclose()


async def test_a_dripping_answer_ends_at_the_overall_limit() -> None:
    out = outbound(connect_timeout_s=0.1, write_timeout_s=0.1)
    async with raw_server(drips) as server:
        started = time.monotonic()
        with pytest.raises(MaybeSent) as caught:
            await post(out, server.url, read_timeout_s=0.1)
        assert caught.value.reason == "timeout"
        assert time.monotonic() - started < 2
        await out.aclose()


async def test_a_refused_connection_was_not_sent() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(NotSent) as caught:
        await post(outbound(), f"http://127.0.0.1:{port}/")
    assert caught.value.reason == "connect"


async def test_an_unanswered_connection_was_not_sent() -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        for client in waiting:
            client.setblocking(False)
            client.connect_ex(address)
        with pytest.raises(NotSent) as caught:
            await post(outbound(connect_timeout_s=0.2), f"http://127.0.0.1:{address[1]}/")
        for client in waiting:
            client.close()
    assert caught.value.reason == "connect"


async def test_a_server_that_never_finishes_the_tls_handshake_was_not_sent_anything() -> None:
    async with raw_server(hangs) as server:
        with pytest.raises(NotSent) as caught:
            await post(outbound(connect_timeout_s=0.2), f"https://127.0.0.1:{server.port}/")
    assert caught.value.reason == "connect"
    assert server.asked == []


async def test_a_busy_pool_was_not_sent() -> None:
    out = outbound(connect_timeout_s=0.2)
    async with raw_server(hangs) as server:
        busy = [asyncio.create_task(get(out, server.url)) for _ in range(8)]
        while len(server.asked) < 8:
            await asyncio.sleep(0.01)
        with pytest.raises(NotSent) as caught:
            await get(out, server.url)
        assert caught.value.reason == "pool"
        for task in busy:
            task.cancel()
        await asyncio.gather(*busy, return_exceptions=True)
        await out.aclose()
        assert server.connections == 8


@pytest.mark.parametrize(
    "url",
    ["ftp://shop.example/", "shop.example", "http://[::1", "http://" + "a" * 300 + ".example/"],
)
async def test_an_impossible_address_was_not_sent(url: str) -> None:
    with pytest.raises(NotSent):
        await post(outbound(), url)


async def test_an_unknown_host_was_not_sent() -> None:
    async def nowhere(host: str, port: int) -> Sequence[str]:
        raise socket.gaierror(-2, "Name or service not known")

    with pytest.raises(NotSent) as caught:
        await post(outbound(resolver=nowhere), "http://shop.example/")
    assert caught.value.reason == "dns"
    assert "shop.example" in str(caught.value)


async def test_a_slow_resolver_was_not_sent() -> None:
    async def slow(host: str, port: int) -> Sequence[str]:
        await asyncio.sleep(30)
        return []

    with pytest.raises(NotSent) as caught:
        await post(outbound(resolver=slow, connect_timeout_s=0.1), "http://shop.example/")
    assert caught.value.reason == "dns"


async def test_the_address_checked_is_the_address_connected_to() -> None:
    """A name that points to a permitted address first and to loopback afterwards gains nothing by it."""
    answers = [["93.184.215.14"], ["127.0.0.1"]]
    asked: list[str] = []

    async def rebinding(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return answers[min(len(asked), len(answers)) - 1]

    async with raw_server(answering(http(200, b"inside"))) as server:
        out = Outbound(connect_timeout_s=0.3, resolver=rebinding)
        with pytest.raises(NotSent) as first:
            await get(out, f"http://shop.example:{server.port}/")
        assert first.value.reason == "connect"  # that address does not answer from here
        assert asked == ["shop.example"]
        with pytest.raises(NotSent) as second:
            await get(out, f"http://shop.example:{server.port}/")
        assert second.value.reason == "address"
        assert server.connections == 0
        await out.aclose()


async def test_a_forbidden_address_beside_a_permitted_one_is_never_connected_to() -> None:
    async def both(host: str, port: int) -> Sequence[str]:
        return ["127.0.0.1", "192.0.0.9"]  # the second is global, and nobody answers there

    async with raw_server(answering(http(200))) as server:
        with pytest.raises(NotSent) as caught:
            await get(Outbound(connect_timeout_s=0.2, resolver=both), f"http://shop.example:{server.port}/")
        assert caught.value.reason in ("address", "connect")
        assert server.connections == 0


async def test_a_dead_first_address_leaves_time_for_the_second() -> None:
    async def two(host: str, port: int) -> Sequence[str]:
        return ["127.0.0.2", "127.0.0.1"]

    async with raw_server(answering(http(200, b"ok"))) as server:
        out = outbound(resolver=two)
        answer = await get(out, f"http://shop.example:{server.port}/")
        assert answer.body == b"ok"
        assert server.asked[0].headers["host"] == f"shop.example:{server.port}"
        await out.aclose()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "169.254.169.254", "10.0.0.1"])
async def test_private_addresses_are_refused_by_default(host: str) -> None:
    with pytest.raises(NotSent) as caught:
        await get(Outbound(connect_timeout_s=1.0), f"http://{host}:9/")
    assert caught.value.reason == "address"


async def test_a_redirect_is_an_answer_and_is_not_followed() -> None:
    out = outbound()
    async with raw_server(answering(http(301, b"", {"location": "/elsewhere"}))) as server:
        answer = await post(out, server.url)
        assert (answer.status, answer.headers["location"], len(server.asked)) == (301, "/elsewhere", 1)
        await out.aclose()


async def test_a_compressed_answer_is_unpacked_though_none_was_asked_for() -> None:
    out = outbound()
    async with raw_server(answering(http(200, gzip.compress(b"hello"), {"content-encoding": "gzip"}))) as server:
        assert (await get(out, server.url)).body == b"hello"
        assert server.asked[0].headers["accept-encoding"] == "identity"
        await out.aclose()


async def test_cookies_and_environment_proxies_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    out = outbound()
    async with raw_server(answering(http(200, b"", {"set-cookie": "wordpress_logged_in=1; Path=/"}))) as server:
        await get(out, server.url)
        await get(out, server.url)
        assert "cookie" not in server.asked[1].headers
        assert server.asked[0].headers["user-agent"].startswith("refund-gateway/")
        await out.aclose()


async def test_reads_share_a_connection_and_a_fresh_request_has_its_own() -> None:
    out = outbound()
    async with raw_server(answering(http(200, b"ok"))) as server:
        await get(out, server.url)
        await get(out, server.url)
        assert server.connections == 1
        await post(out, server.url)
        await post(out, server.url)
        assert server.connections == 3
        assert server.asked[-1].headers["connection"] == "close"
        await out.aclose()


async def test_a_store_that_vanished_between_two_requests_was_not_sent_the_refund() -> None:
    """The kept connection of the read before is dead, which a POST on it would only notice after writing."""
    out = outbound()
    async with raw_server(answering(http(200, b"ok"))) as server:
        await get(out, server.url)
    with pytest.raises(NotSent):
        await post(out, server.url)
    await out.aclose()


async def test_urls_are_never_logged(caplog: pytest.LogCaptureFixture) -> None:
    for name in ("", "httpx", "httpcore"):
        caplog.set_level(logging.DEBUG, logger=name)
    out = outbound()
    async with raw_server(answering(http(200, b"ok"))) as server:
        await get(out, f"{server.url}/?consumer_secret=cs_topsecret")
        await out.aclose()
    assert caplog.records  # httpcore's own lines, which hold no URL
    assert "cs_topsecret" not in caplog.text


async def test_idle_lines_are_closed_and_busy_ones_are_not() -> None:
    out = outbound()
    async with raw_server(hangs) as server:
        busy = asyncio.create_task(get(out, server.url))
        while not server.asked:
            await asyncio.sleep(0.01)
        out.get("other")
        assert await out.close_idle(timedelta(minutes=1)) == 0
        assert await out.close_idle(timedelta(0)) == 1
        assert not busy.done()
        busy.cancel()
        await asyncio.gather(busy, return_exceptions=True)
        assert await out.close_idle(timedelta(0)) == 1
        await out.aclose()


async def test_all_lines_share_one_tls_context() -> None:
    out = outbound()
    for number in range(3):
        out.get(f"store-{number}")
    assert len(out._contexts) == 1


@pytest.fixture
def authority(tmp_path: Path) -> tuple[trustme.CA, Path]:
    ca = trustme.CA()
    file = tmp_path / "ca.pem"
    ca.cert_pem.write_to_path(str(file))
    return ca, file


def server_context(ca: trustme.CA, name: str, *, not_after: datetime | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(name, not_after=not_after).configure_cert(context)
    return context


async def to_loopback(host: str, port: int) -> Sequence[str]:
    return ["127.0.0.1"]


async def test_a_store_with_its_own_ca_is_trusted_by_that_ca_and_its_own_name(
    authority: tuple[trustme.CA, Path],
) -> None:
    ca, file = authority
    names: list[str | None] = []
    context = server_context(ca, "shop.example")
    context.sni_callback = lambda _socket, name, _context: names.append(name)
    out = outbound(resolver=to_loopback)
    async with raw_server(answering(http(200, b"ok")), context) as server:
        url = f"https://shop.example:{server.port}/"
        line = out.get("s", ca_file=file)
        answer = await line.request("GET", url, headers={}, read_timeout_s=2, limit_bytes=100)
        assert answer.body == b"ok"
        assert names == ["shop.example"]
        probe = await out.probe(url, ca_file=file)
        assert probe.tls_version is not None
        assert probe.certificate_expires_at is not None
        assert probe.certificate_expires_at > datetime.now(UTC)
        await out.aclose()


@pytest.mark.parametrize("case", ["unknown authority", "another name", "expired"])
async def test_an_invalid_certificate_was_not_sent(authority: tuple[trustme.CA, Path], case: str) -> None:
    ca, file = authority
    expired = datetime.now(UTC) - timedelta(days=1) if case == "expired" else None
    context = server_context(ca, "other.example" if case == "another name" else "shop.example", not_after=expired)
    out = outbound(resolver=to_loopback)
    async with raw_server(answering(http(200, b"ok")), context) as server:
        line = out.get("s", ca_file=None if case == "unknown authority" else file)
        with pytest.raises(NotSent) as caught:
            await line.request(
                "POST",
                f"https://shop.example:{server.port}/",
                headers={},
                content=b"{}",
                read_timeout_s=2,
                limit_bytes=100,
                fresh=True,
            )
        assert caught.value.reason == "certificate"
        assert server.asked == []
        await out.aclose()


async def test_a_missing_ca_file_was_not_sent(tmp_path: Path) -> None:
    with pytest.raises(NotSent) as caught:
        outbound().get("s", ca_file=tmp_path / "none.pem")
    assert caught.value.reason == "ca_file"


async def test_a_server_without_tls_was_not_sent() -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(http(400))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(NotSent) as caught:
        await post(outbound(), f"https://127.0.0.1:{port}/")
    server.close()
    assert caught.value.reason == "tls"


def test_the_guard_and_the_sorting_are_the_same_under_uvloop() -> None:
    async def main() -> None:
        out = outbound()
        async with raw_server(closes) as server:
            with pytest.raises(MaybeSent):
                await post(out, server.url)
        with pytest.raises(NotSent) as refused:
            await post(out, server.url)
        assert refused.value.reason == "connect"
        with pytest.raises(NotSent) as forbidden:
            await get(Outbound(), "http://localhost/")
        assert forbidden.value.reason == "address"
        await out.aclose()

    uvloop.run(main())


async def test_a_request_that_is_late_when_its_connection_stands_is_not_sent() -> None:
    out = outbound()
    async with raw_server(answering(http(200, b"ok"))) as server:
        with pytest.raises(NotSent) as late:
            await out.get("s").request(
                "POST",
                server.url,
                headers={},
                content=b"{}",
                read_timeout_s=5,
                limit_bytes=1000,
                fresh=True,
                send_by=time.monotonic() - 0.001,
            )
        assert late.value.reason == "late"
        assert server.asked == []
    await out.aclose()


async def test_a_stream_gives_its_headers_before_its_body() -> None:
    more = asyncio.Event()

    async def slowly(asked: Asked, writer: asyncio.StreamWriter) -> None:
        whole = http(200, b"first second")
        writer.write(whole[:-7])
        await writer.drain()
        await more.wait()
        writer.write(whole[-7:])

    out = outbound()
    async with raw_server(slowly) as server:
        line = out.get("s")
        async with line.stream("GET", server.url, headers={}, read_timeout_s=2.0, limit_bytes=100) as answer:
            assert (answer.status, answer.headers["content-length"], line.in_flight) == (200, "12", 1)
            pieces = answer.chunks()
            assert await anext(pieces) == b"first"
            more.set()
            assert await anext(pieces) == b" second"
            assert await anext(pieces, None) is None
        assert line.in_flight == 0
        await out.aclose()


async def streamed(out: Outbound, url: str, *, read_timeout_s: float = 1.0, limit_bytes: int = 100) -> bytes:
    async with out.get("s").stream(
        "GET", url, headers={}, read_timeout_s=read_timeout_s, limit_bytes=limit_bytes
    ) as answer:
        return b"".join([piece async for piece in answer.chunks()])


async def test_a_stream_is_held_to_its_size_and_its_time() -> None:
    async def drips(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
        for _ in range(1000):
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.02)

    out = outbound(connect_timeout_s=0.05, write_timeout_s=0.05)
    async with raw_server(drips) as server:
        for limit_bytes, reason in ((5, "too_large"), (5000, "timeout")):
            with pytest.raises(MaybeSent) as caught:
                await streamed(out, server.url, read_timeout_s=0.1, limit_bytes=limit_bytes)
            assert caught.value.reason == reason
        await out.aclose()


@pytest.mark.parametrize(("behave", "reason"), [(closes, "protocol"), (resets, "read"), (truncates, "protocol")])
async def test_a_stream_that_breaks_may_have_been_sent(behave: Respond, reason: str) -> None:
    out = outbound()
    async with raw_server(behave) as server:
        with pytest.raises(MaybeSent) as caught:
            await streamed(out, server.url)
        assert caught.value.reason == reason
        await out.aclose()


async def test_a_stream_that_nobody_takes_was_not_sent() -> None:
    out = outbound()
    async with raw_server(answering(http(200))) as server:
        url = server.url
    with pytest.raises(NotSent):
        await streamed(out, url)
    await out.aclose()
