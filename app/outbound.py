"""Every byte that leaves for a store: TLS, timeouts, the address guard and the size cap.

How failures are sorted is told in `transport`.
"""

import asyncio
import logging
import ssl
import time
import zlib
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path

import httpcore
import httpx

from app import __version__
from app.addresses import GuardedBackend, Resolver, resolve
from app.transport import MAX_CONNECTIONS, MaybeSent, NotSent, OutboundError, Transport, raise_sorted

__all__ = [
    "MAX_CONNECTIONS",
    "Answer",
    "Line",
    "MaybeSent",
    "NotSent",
    "Outbound",
    "OutboundError",
    "Probe",
    "Streaming",
]

USER_AGENT = f"refund-gateway/{__version__}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A complete HTTP answer."""

    status: int
    headers: Mapping[str, str]  #: names in lower case
    body: bytes  #: decompressed


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What a TLS (or TCP) handshake with a store showed."""

    tls_version: str | None  #: None for plain HTTP
    certificate_expires_at: datetime | None


class _Progress:
    """Hears from httpcore when the first byte of a request is about to be written."""

    __slots__ = ("_send_by", "may_have_left")

    def __init__(self, send_by: float | None) -> None:
        self._send_by = send_by
        self.may_have_left = False

    async def __call__(self, event: str, _info: Mapping[str, object]) -> None:
        if event.endswith(".send_request_headers.started"):
            if self._send_by is not None and time.monotonic() > self._send_by:
                raise NotSent("late", "The request could not leave in time.")
            self.may_have_left = True


@contextmanager
def _sorting(progress: _Progress) -> Iterator[None]:
    """Turn whatever a request fails with into NotSent or MaybeSent."""
    try:
        yield
    except NotSent as error:
        if progress.may_have_left:
            raise MaybeSent("internal", str(error)) from error
        raise
    except MaybeSent:
        raise
    except TimeoutError as error:
        if progress.may_have_left:
            raise MaybeSent("timeout", "The store's answer took too long.") from error
        raise NotSent("connect", "The store could not be reached in time.") from error
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        raise NotSent("url", "The store's address is not a valid http or https address.") from error
    except Exception as error:
        # Whatever a library throws besides, the one question that matters has an answer.
        if progress.may_have_left:
            raise MaybeSent("internal", f"The request failed midway ({type(error).__name__}).") from error
        raise NotSent("internal", f"The request could not be sent ({type(error).__name__}).") from error


class Streaming:
    """An answer whose headers are there and whose body is still coming."""

    def __init__(self, response: httpx.Response, progress: _Progress, *, until: float, limit_bytes: int) -> None:
        self.status = response.status_code
        #: Names in lower case.
        self.headers: Mapping[str, str] = {name.lower(): value for name, value in response.headers.items()}
        self._response = response
        self._progress = progress
        self._until = until
        self._limit_bytes = limit_bytes

    async def chunks(self) -> AsyncIterator[bytes]:
        """Give the body as it was sent, compression included; raises MaybeSent when it breaks off or is too large."""
        pieces = self._response.aiter_raw()
        size = 0
        while True:
            # The limit is set anew for every piece: whoever takes them may do so from another task.
            with _sorting(self._progress):
                async with asyncio.timeout_at(self._until):
                    piece = await anext(pieces, None)
            if piece is None:
                return
            size += len(piece)
            if size > self._limit_bytes:
                raise MaybeSent("too_large", f"The store's answer is larger than {self._limit_bytes} bytes.")
            yield piece


class Line:
    """The connections to one store. Made by `Outbound.get`; safe to use from many tasks at a time."""

    def __init__(
        self, transport: httpx.AsyncBaseTransport, *, connect_timeout_s: float, write_timeout_s: float
    ) -> None:
        # Cookies are refused: a session that one answer starts would change how WordPress authenticates the next.
        jar = CookieJar(policy=DefaultCookiePolicy(allowed_domains=[]))
        self._http = httpx.AsyncClient(transport=transport, trust_env=False, follow_redirects=False, cookies=jar)
        self._connect_timeout_s = connect_timeout_s
        self._write_timeout_s = write_timeout_s
        self.in_flight = 0
        self.used_at = time.monotonic()

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        read_timeout_s: float,
        limit_bytes: int,
        content: bytes | None = None,
        fresh: bool = False,
        send_by: float | None = None,
    ) -> Answer:
        """Send one request, once, and read its whole answer; raise NotSent or MaybeSent when there is none.

        `fresh` opens a connection of its own for it. `send_by` (of time.monotonic) is looked at last of all, when the
        connection stands and before the first byte: later than that it is NotSent. Redirects are answers like others.
        """
        progress = _Progress(send_by)
        self.in_flight += 1
        try:
            with _sorting(progress):
                request = self._request(
                    method, url, headers, content, progress, read_timeout_s=read_timeout_s, fresh=fresh
                )
                async with asyncio.timeout(self._overall_s(read_timeout_s)):
                    return await self._exchange(request, limit_bytes)
        finally:
            self.in_flight -= 1
            self.used_at = time.monotonic()

    @asynccontextmanager
    async def stream(
        self, method: str, url: str, *, headers: Mapping[str, str], read_timeout_s: float, limit_bytes: int
    ) -> AsyncIterator["Streaming"]:
        """Send one request, once, and give its answer as soon as the headers are there; errors as of `request`.

        The overall time limit holds for the body as well, however slowly it is taken.
        """
        progress = _Progress(None)
        until = asyncio.get_running_loop().time() + self._overall_s(read_timeout_s)
        self.in_flight += 1
        try:
            with _sorting(progress):
                request = self._request(
                    method, url, headers, None, progress, read_timeout_s=read_timeout_s, fresh=False
                )
                async with asyncio.timeout_at(until):
                    response = await self._http.send(request, stream=True)
            try:
                yield Streaming(response, progress, until=until, limit_bytes=limit_bytes)
            finally:
                await response.aclose()
        finally:
            self.in_flight -= 1
            self.used_at = time.monotonic()

    def _overall_s(self, read_timeout_s: float) -> float:
        """Limit a whole exchange, for a store that drips its answer byte by byte and so never times out on a read."""
        return 2 * self._connect_timeout_s + self._write_timeout_s + 2 * read_timeout_s

    def _request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        content: bytes | None,
        progress: "_Progress",
        *,
        read_timeout_s: float,
        fresh: bool,
    ) -> httpx.Request:
        # Uncompressed, because a small answer can unpack to a huge one, and to save our processor.
        ours = {"User-Agent": USER_AGENT, "Accept-Encoding": "identity"} | ({"Connection": "close"} if fresh else {})
        return self._http.build_request(
            method,
            url,
            headers={**ours, **headers},
            content=content,
            timeout=httpx.Timeout(
                connect=self._connect_timeout_s,
                read=read_timeout_s,
                write=self._write_timeout_s,
                pool=self._connect_timeout_s,
            ),
            extensions={"trace": progress, "fresh": fresh},
        )

    async def _exchange(self, request: httpx.Request, limit_bytes: int) -> Answer:
        response = await self._http.send(request, stream=True)
        try:
            body = bytearray()
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > limit_bytes:
                    raise MaybeSent("too_large", f"The store's answer is larger than {limit_bytes} bytes.")
        finally:
            await response.aclose()
        packing = response.headers.get("content-encoding", "identity").strip().lower()
        return Answer(
            status=response.status_code,
            headers={name.lower(): value for name, value in response.headers.items()},
            body=bytes(body) if packing in ("", "identity") else _unpacked(bytes(body), packing, limit_bytes),
        )

    async def aclose(self) -> None:
        """Close every connection."""
        await self._http.aclose()


def _unpacked(body: bytes, packing: str, limit_bytes: int) -> bytes:
    if packing not in ("gzip", "x-gzip", "deflate"):
        raise MaybeSent("decoding", "The store's answer is compressed in a way that was not asked for.")
    try:
        unpacker = zlib.decompressobj(47)  # 47: zlib or gzip, whichever the header says
        plain = unpacker.decompress(body, limit_bytes + 1)
    except zlib.error as error:
        raise MaybeSent("decoding", "The store's answer could not be decompressed.") from error
    if len(plain) > limit_bytes:
        raise MaybeSent("too_large", f"The store's answer is larger than {limit_bytes} bytes.")
    if not unpacker.eof:
        raise MaybeSent("decoding", "The store's compressed answer was cut off.")
    return plain


class Outbound:
    """All lines to all stores of one process."""

    def __init__(
        self,
        *,
        allow_private: bool = False,
        connect_timeout_s: float = 5.0,
        write_timeout_s: float = 20.0,
        resolver: Resolver = resolve,
    ) -> None:
        """Open nothing yet. `allow_private` permits private, loopback and link-local addresses."""
        self.allow_private = allow_private
        self._connect_timeout_s = connect_timeout_s
        self._write_timeout_s = write_timeout_s
        self._backend = GuardedBackend(allow_private=allow_private, resolver=resolver)
        self._contexts: dict[Path | None, ssl.SSLContext] = {}
        self._lines: dict[tuple[str, Path | None], Line] = {}
        # httpx logs whole URLs at INFO, and with query-string authentication those hold the store's secret.
        logging.getLogger("httpx").disabled = True

    def get(self, store_key: str, *, ca_file: Path | None = None) -> Line:
        """Give the store's line, a new one if it has none. Raises NotSent when the CA file cannot be used."""
        line = self._lines.get((store_key, ca_file))
        if line is None:
            line = self._lines[store_key, ca_file] = Line(
                Transport(self._context(ca_file), self._backend),
                connect_timeout_s=self._connect_timeout_s,
                write_timeout_s=self._write_timeout_s,
            )
        return line

    def _context(self, ca_file: Path | None) -> ssl.SSLContext:
        context = self._contexts.get(ca_file)
        if context is None:
            try:
                context = (
                    httpx.create_ssl_context(trust_env=False)
                    if ca_file is None
                    else ssl.create_default_context(cafile=str(ca_file))
                )
            except (OSError, ssl.SSLError) as error:
                raise NotSent("ca_file", "The store's CA file cannot be read or holds no certificate.") from error
            self._contexts[ca_file] = context
        return context

    async def probe(self, url: str, *, ca_file: Path | None = None) -> Probe:
        """Connect to a store and shake hands, sending nothing. Raises NotSent with the reason."""
        try:
            target = httpx.URL(url)
        except httpx.InvalidURL as error:
            raise NotSent("url", "The store's address is not a valid http or https address.") from error
        secure = target.scheme == "https"
        host = target.raw_host.decode("ascii")
        context = self._context(ca_file) if secure else None
        try:
            port = target.port or (443 if secure else 80)
            stream = await self._backend.connect_tcp(host, port, self._connect_timeout_s)
            if context is None:
                await stream.aclose()
                return Probe(tls_version=None, certificate_expires_at=None)
            stream = await stream.start_tls(context, host, self._connect_timeout_s)
        except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
            raise_sorted(error)
        tls: ssl.SSLObject = stream.get_extra_info("ssl_object")
        certificate = tls.getpeercert() or {}
        expires = certificate.get("notAfter")
        version = tls.version()
        await stream.aclose()
        return Probe(
            tls_version=version,
            certificate_expires_at=datetime.fromtimestamp(ssl.cert_time_to_seconds(expires), UTC)
            if isinstance(expires, str)
            else None,
        )

    async def close_idle(self, older_than: timedelta) -> int:
        """Close the lines that nobody has used for so long; give their number."""
        limit = time.monotonic() - older_than.total_seconds()
        idle = [key for key, line in self._lines.items() if line.in_flight == 0 and line.used_at <= limit]
        lines = [self._lines.pop(key) for key in idle]
        for line in lines:
            await line.aclose()
        return len(lines)

    async def aclose(self) -> None:
        """Close every line."""
        lines, self._lines = list(self._lines.values()), {}
        for line in lines:
            await line.aclose()
