"""How a request travels: httpx on httpcore's pools behind the address guard, its failures sorted.

A request that fails is sorted by one question, may bytes have left?

    OutboundError
    ├── NotSent      pool, DNS, forbidden address, connect, TLS: the store has provably seen nothing of the request
    └── MaybeSent    write, read, protocol, size cap, decoding: the store may have carried it out
"""

import ssl
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from typing import Literal, NoReturn

import httpcore
import httpx

from app.addresses import UnfitAddress

#: Requests at a time over one store's pool. One pool of 32 had a quarter of the throughput and a p99 of 250 ms.
MAX_CONNECTIONS = 8
_MAX_IDLE = 4
#: Below the shortest keep-alive in the wild (Apache's default is 5 s), so that we hang up first, not the store.
_KEEPALIVE_S = 4.0

NotSentReason = Literal["url", "ca_file", "pool", "dns", "address", "connect", "tls", "certificate", "late", "internal"]
MaybeSentReason = Literal["write", "timeout", "read", "protocol", "too_large", "decoding", "internal"]


class OutboundError(Exception):
    """A request got no usable answer. `str(error)` is safe to show: it holds no URL and no address."""


class NotSent(OutboundError):
    """Provably no byte of the request has left."""

    def __init__(self, reason: NotSentReason, message: str) -> None:
        """Keep the reason for programs and the message for people."""
        super().__init__(message)
        self.reason = reason


class MaybeSent(OutboundError):
    """Some or all of the request may have reached the other side."""

    def __init__(self, reason: MaybeSentReason, message: str) -> None:
        """Keep the reason for programs and the message for people."""
        super().__init__(message)
        self.reason = reason


def raise_sorted(error: Exception) -> NoReturn:
    """Raise NotSent or MaybeSent for what httpcore reports."""
    match error:
        case UnfitAddress():
            raise NotSent(error.reason, str(error)) from error
        case httpcore.PoolTimeout():
            raise NotSent("pool", "No connection to the store became free in time.") from error
        case httpcore.ConnectTimeout():
            raise NotSent("connect", "The store could not be reached in time.") from error
        case httpcore.ConnectError():
            cause = _tls_error(error)
            if isinstance(cause, ssl.SSLCertVerificationError):
                raise NotSent(
                    "certificate", f"The store's certificate is not valid: {cause.verify_message}."
                ) from error
            if cause is not None:
                raise NotSent("tls", "The TLS handshake with the store failed.") from error
            raise NotSent("connect", "The store did not accept the connection.") from error
        case httpcore.UnsupportedProtocol():
            raise NotSent("url", "The store's address is neither http nor https.") from error
        case httpcore.ReadTimeout():
            raise MaybeSent("timeout", "The store did not answer in time.") from error
        case httpcore.WriteTimeout() | httpcore.WriteError():
            raise MaybeSent("write", "The connection broke while the request was being sent.") from error
        case httpcore.ReadError():
            raise MaybeSent("read", "The connection broke before the answer was complete.") from error
        case httpcore.ProtocolError():
            raise MaybeSent("protocol", "The store hung up or answered with something that is not HTTP.") from error
        case _:
            raise error


def _tls_error(error: BaseException | None) -> ssl.SSLError | None:
    """Find what went wrong in the handshake below the layers that each wrapped it in an error of their own."""
    while error is not None and not isinstance(error, ssl.SSLError):
        error = error.__cause__ or error.__context__
    return error


class _Stream(httpx.AsyncByteStream):
    def __init__(self, inner: AsyncIterable[bytes], close: Callable[[], Awaitable[None]]) -> None:
        self._inner = inner
        self._close = close

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._inner:
                yield chunk
        except Exception as error:
            raise_sorted(error)

    async def aclose(self) -> None:
        await self._close()


class Transport(httpx.AsyncBaseTransport):
    """Two httpcore pools behind the guard: one that keeps connections, one that never reuses any.

    A kept connection may have been closed by the store a moment ago, which shows only after bytes have left: for a
    refund that means doubt, a quiet period and perhaps a person. A new connection fails as NotSent instead, and costs
    one handshake (measured on loopback: +0.5 ms over plain HTTP, +1.7 ms over TLS) on a call that takes a second.
    """

    def __init__(self, context: ssl.SSLContext, backend: httpcore.AsyncNetworkBackend) -> None:
        self._kept = httpcore.AsyncConnectionPool(
            ssl_context=context,
            max_connections=MAX_CONNECTIONS,
            max_keepalive_connections=_MAX_IDLE,
            keepalive_expiry=_KEEPALIVE_S,
            network_backend=backend,
        )
        self._fresh = httpcore.AsyncConnectionPool(
            ssl_context=context,
            max_connections=MAX_CONNECTIONS,
            max_keepalive_connections=0,
            network_backend=backend,
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        pool = self._fresh if request.extensions["fresh"] else self._kept
        try:
            response = await pool.handle_async_request(
                httpcore.Request(
                    method=request.method,
                    url=httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
                    headers=request.headers.raw,
                    content=request.stream,
                    extensions=request.extensions,
                )
            )
        except Exception as error:
            raise_sorted(error)
        assert isinstance(response.stream, AsyncIterable)
        return httpx.Response(
            response.status,
            headers=response.headers,
            stream=_Stream(response.stream, response.aclose),
            extensions=response.extensions,
        )

    async def aclose(self) -> None:
        await self._kept.aclose()
        await self._fresh.aclose()
