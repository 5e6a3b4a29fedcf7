"""Single calls to a store's APIs: signed, admitted by the gate and the breaker, reads tried again."""

import json
import secrets
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

import stamina

from app import outbound
from app.outbound import Answer, Outbound, Streaming
from app.stores.answers import Reply, read_failure
from app.stores.apis import Api
from app.stores.connection import StoreConnection, StoreLimits
from app.stores.gate import BreakerOpen, BreakerState
from app.stores.port import Priority, RawAnswer, StoreError, StoreMisconfigured, StoreUnavailable
from app.stores.raw import allowed, checked_path
from app.stores.traffic import CACHE_BUSTER, Method, Observe, Traffic

#: Retry-After beyond this is the caller's to wait for.
_PATIENCE_S = 5.0
_ATTEMPTS = 3


class NotThere(StoreError):
    """The store says that what was asked for does not exist."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Got:
    """The JSON of a read, and its headers in lower case."""

    value: object
    headers: Mapping[str, str]

    def count(self, header: str) -> int | None:
        """Read a header that counts something; None when it is missing or no number."""
        text = self.headers.get(header, "").strip()
        return int(text) if text.isascii() and text.isdigit() and len(text) <= 12 else None


class StoreCalls:
    """One of a store's APIs, call by call. Safe to use from many tasks at a time."""

    def __init__(self, traffic: Traffic, api: Api) -> None:
        """Connect to nothing yet; a faulty address shows with the first call."""
        self._traffic = traffic
        self.api = api

    @classmethod
    def to(
        cls,
        connection: StoreConnection,
        lines: Outbound,
        api: Api,
        limits: StoreLimits,
        observe: Observe | None = None,
    ) -> "StoreCalls":
        """Start with a gate, a breaker and a clock of the store's own."""
        return cls(Traffic(connection, lines, limits, observe), api)

    def beside(self, api: Api) -> "StoreCalls":
        """Give calls to another API of the same store; they share its gate, its breaker and its clock."""
        return StoreCalls(self._traffic, api)

    @property
    def connection(self) -> StoreConnection:
        """Give the store's address and credentials."""
        return self._traffic.connection

    @property
    def limits(self) -> StoreLimits:
        """Give what the store may take of our time."""
        return self._traffic.limits

    @property
    def clock_ahead(self) -> timedelta:
        """Say how far the store's clock is ahead of ours, by its last answer; nothing where that is within a second."""
        return self._traffic.clock_ahead

    @property
    def breaker_state(self) -> BreakerState:
        """Say whether requests reach the store at present."""
        return self._traffic.breaker_state

    async def get(
        self,
        path: str,
        params: Mapping[str, str],
        *,
        call: str,
        priority: Priority,
        verify: bool = False,
        absent: frozenset[str] = frozenset(),
    ) -> object:
        """Read a resource below the API's root and give its JSON; tried again while the store is unavailable.

        `verify` gets past caches. A store's answer with a code in `absent` raises NotThere, any other failure
        StoreUnavailable or StoreMisconfigured.
        """
        got = await self.get_with_headers(path, params, call=call, priority=priority, verify=verify, absent=absent)
        return got.value

    async def get_with_headers(
        self,
        path: str,
        params: Mapping[str, str],
        *,
        call: str,
        priority: Priority,
        verify: bool = False,
        absent: frozenset[str] = frozenset(),
        method: Literal["GET", "OPTIONS"] = "GET",
    ) -> Got:
        """Read like `get`, and give the answer's headers as well."""
        async for attempt in _retries():
            with attempt:
                # Caches keep answers to a URL, so what is to be seen fresh gets one of its own each time.
                query = {**params, CACHE_BUSTER: secrets.token_hex(8)} if verify else params
                return await self._get_once(method, path, query, call, priority, absent)
        raise AssertionError("stamina either returns or raises")

    async def _get_once(
        self,
        method: Literal["GET", "OPTIONS"],
        path: str,
        params: Mapping[str, str],
        call: str,
        priority: Priority,
        absent: frozenset[str],
    ) -> Got:
        with _as_store_error():
            reply = await self.exchange(method, path, params, call=call, priority=priority)
        if reply.error is not None and reply.error.code in absent:
            raise NotThere(
                "The store has nothing of that id.", store_code=reply.error.code, http_status=reply.answer.status
            )
        failure = read_failure(reply, secrets=self.connection.secrets)
        if failure is not None:
            raise failure
        assert reply.document is not None
        return Got(value=reply.document.value, headers=reply.answer.headers)

    async def write_once(
        self,
        method: Literal["POST", "PUT", "DELETE"],
        path: str,
        params: Mapping[str, str],
        body: object = None,
        *,
        call: str,
        priority: Priority,
        request_id: str = "",
        send_by: float | None = None,
    ) -> Reply:
        """Send a request that changes something once, on a connection of its own; a POST with a payment's patience.

        It leaves before `send_by` (of time.monotonic) or not at all, however long a slot or a connection takes.

        Raises outbound.NotSent or BreakerOpen when nothing has left, outbound.MaybeSent when something may have, and
        StoreMisconfigured, with nothing sent, when the address cannot be used.
        """
        return await self.exchange(
            method,
            path,
            params,
            call=call,
            priority=priority,
            content=None if body is None else json.dumps(body, separators=(",", ":")).encode(),
            request_id=request_id,
            read_timeout_s=self.limits.refund_timeout_s if method == "POST" else None,
            send_by=send_by,
        )

    async def exchange(
        self,
        method: Method,
        path: str,
        params: Mapping[str, str],
        *,
        call: str,
        priority: Priority,
        content: bytes | None = None,
        request_id: str = "",
        read_timeout_s: float | None = None,
        send_by: float | None = None,
    ) -> Reply:
        """Carry out one exchange, whatever the answer says. Raises as `write_once`."""
        return await self._traffic.exchange(
            self.api,
            method,
            path,
            tuple(params.items()),
            call=call,
            priority=priority,
            content=content,
            request_id=request_id,
            read_timeout_s=read_timeout_s,
            send_by=send_by,
        )

    async def read_raw(self, path: str, query: Sequence[tuple[str, str]]) -> RawAnswer:
        """Read a resource as the store answers; tried again while there is no answer at all.

        Raises StoreUnavailable or StoreMisconfigured, the latter for a redirect, too.
        """
        where, asked = checked_path(path), allowed(query)
        async for attempt in _retries():
            with attempt, _as_store_error():
                reply = await self._traffic.exchange(
                    self.api, "GET", where, asked, call="read_raw", priority="interactive"
                )
                _no_redirect(reply)
                answer = reply.answer
                return RawAnswer(status=answer.status, headers=answer.headers, body=answer.body)
        raise AssertionError("stamina either returns or raises")

    @asynccontextmanager
    async def stream(self, path: str, query: Sequence[tuple[str, str]]) -> AsyncIterator["StoreStream"]:
        """Read like `read_raw`, with a body that is handed on as it comes."""
        where, asked = checked_path(path), allowed(query)
        async with AsyncExitStack() as stack:
            answer = await self._opened(stack, where, asked)
            if 300 <= answer.status < 400:
                empty = Answer(status=answer.status, headers=answer.headers, body=b"")
                _no_redirect(Reply.of(empty, self.api.codes))
            yield StoreStream(answer)

    async def _opened(self, stack: AsyncExitStack, path: str, query: Sequence[tuple[str, str]]) -> Streaming:
        async for attempt in _retries():
            with attempt, _as_store_error():
                return await stack.enter_async_context(self._traffic.stream(self.api, path, query))
        raise AssertionError("stamina either returns or raises")

    async def open_get(self, path: str, params: Mapping[str, str]) -> Answer:
        """Read a public resource of the site without credentials, past gate and breaker.

        Raises outbound.OutboundError or StoreMisconfigured.
        """
        return await self._traffic.open_get(path, params)

    async def probe(self) -> outbound.Probe:
        """Shake hands with the store. Raises outbound.NotSent or StoreMisconfigured."""
        return await self._traffic.probe()


class StoreStream:
    """Implements `port.Streamed`."""

    def __init__(self, answer: Streaming) -> None:
        """Take over an answer whose headers are there."""
        self.status = answer.status
        self.headers = answer.headers
        self._answer = answer

    async def chunks(self) -> AsyncIterator[bytes]:
        """Give the body piece by piece; raises StoreUnavailable when it breaks off or is larger than allowed."""
        with _as_store_error():
            async for piece in self._answer.chunks():
                yield piece


def _no_redirect(reply: Reply) -> None:
    if 300 <= reply.answer.status < 400 and reply.answer.status != 304:
        failure = read_failure(reply, secrets=())
        assert failure is not None
        raise failure


@contextmanager
def _as_store_error() -> Iterator[None]:
    """Turn what keeps a read from being answered into the port's errors."""
    try:
        yield
    except BreakerOpen as error:
        raise StoreUnavailable(str(error), retry_after_s=error.retry_after_s) from error
    except outbound.NotSent as error:
        if error.reason in ("url", "ca_file", "address", "certificate"):
            raise StoreMisconfigured(str(error)) from error
        raise StoreUnavailable(str(error)) from error
    except outbound.MaybeSent as error:
        raise StoreUnavailable(str(error)) from error


def _retries() -> AsyncIterator[stamina.Attempt]:
    return stamina.retry_context(
        on=_worth_another_try, attempts=_ATTEMPTS, timeout=None, wait_initial=0.2, wait_max=2.0, wait_jitter=0.2
    )


def _worth_another_try(error: Exception) -> bool | float:
    if not isinstance(error, StoreUnavailable):
        return False
    if error.retry_after_s is None:
        return True
    return error.retry_after_s if error.retry_after_s <= _PATIENCE_S else False
