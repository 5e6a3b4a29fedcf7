"""What goes to one store over all its APIs: admitted by its gate and its breaker, signed, timed."""

import base64
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Literal
from urllib.parse import quote, urlencode

from app import outbound
from app.oauth1 import signed
from app.outbound import MAX_CONNECTIONS, Answer, Outbound, Streaming
from app.stores.answers import Reply, http_date, is_store_failure
from app.stores.apis import Api
from app.stores.connection import StoreConnection, StoreLimits, site_of
from app.stores.gate import Breaker, BreakerState, NoSlot, PriorityGate
from app.stores.port import Priority, StoreMisconfigured
from app.stores.raw import folded

Method = Literal["GET", "OPTIONS", "POST", "PUT", "DELETE"]

#: answered: WooCommerce itself; failed: a 5xx without its code; turned_away: something before it; lost: maybe sent.
Outcome = Literal["answered", "failed", "turned_away", "not_sent", "lost", "canceled"]

#: Told about every exchange: store id, name of the call, outcome, seconds.
Observe = Callable[[str, str, Outcome, float], None]

#: The name of the parameter that gives a read a URL of its own.
CACHE_BUSTER = "rg_nocache"

#: A Date header has whole seconds and is as old as the answer took to arrive.
_CLOCK_GRAIN = timedelta(seconds=2)
_CLOCK_ERROR_MAX = timedelta(days=100 * 365)

#: Failures to send that are ours or a person's to mend, and say nothing about the store's health.
_NOT_THE_STORES_FAULT = frozenset({"url", "ca_file", "address", "pool", "late", "internal"})


class _Watched:
    """An exchange under way; what it ends with goes to the breaker and to who observes."""

    __slots__ = ("failed", "outcome")

    def __init__(self) -> None:
        self.outcome: Outcome = "canceled"
        self.failed = False

    def answered(self, reply: Reply) -> None:
        """Take note of an answer."""
        self.failed = is_store_failure(reply)
        self.outcome = "turned_away" if reply.away is not None else "failed" if self.failed else "answered"


class Traffic:
    """One store's connections, whichever API they go to. Safe to use from many tasks at a time."""

    def __init__(
        self, connection: StoreConnection, lines: Outbound, limits: StoreLimits, observe: Observe | None = None
    ) -> None:
        """Connect to nothing yet; a faulty address shows with the first call."""
        self.connection = connection
        self.limits = limits
        self._lines = lines
        self._observe = observe
        self._gate = PriorityGate(min(limits.concurrency, MAX_CONNECTIONS))
        self._breaker = Breaker(threshold=limits.breaker_threshold, ttl_s=limits.breaker_ttl_s)
        self._ahead = timedelta(0)

    @property
    def clock_ahead(self) -> timedelta:
        """Say how far the store's clock is ahead of ours, by its last answer; nothing where that is within a second.

        What the store dates is compared with what we date: without this a clock gone wrong would hide a payment note.
        """
        return self._ahead if abs(self._ahead) > _CLOCK_GRAIN else timedelta(0)

    @property
    def breaker_state(self) -> BreakerState:
        """Say whether requests reach the store at present."""
        return self._breaker.state

    @property
    def site(self) -> str:
        """Give the shop's address in canonical form. Raises StoreMisconfigured."""
        return site_of(self.connection, allow_private=self._lines.allow_private)

    async def exchange(
        self,
        api: Api,
        method: Method,
        path: str,
        query: Sequence[tuple[str, str]],
        *,
        call: str,
        priority: Priority,
        content: bytes | None = None,
        request_id: str = "",
        read_timeout_s: float | None = None,
        send_by: float | None = None,
    ) -> Reply:
        """Carry out one exchange, whatever the answer says; what changes something goes over a connection of its own.

        It leaves before `send_by` (of time.monotonic) or not at all.

        Raises outbound.NotSent or BreakerOpen when nothing has left, outbound.MaybeSent when something may have, and
        StoreMisconfigured, with nothing sent, when the address cannot be used.
        """
        changes = method not in ("GET", "OPTIONS")
        async with self._slot(priority, send_by=send_by):
            url, headers = self._signed(api, method, path, query)
            if content is not None:
                headers["Content-Type"] = "application/json"
            if request_id:
                headers["X-Request-Id"] = "".join(c for c in request_id if "!" <= c <= "~")[:128]
            with self._watched(call) as watched:
                answer = await self._line().request(
                    method,
                    url,
                    headers=headers,
                    content=content,
                    read_timeout_s=read_timeout_s or self.limits.read_timeout_s,
                    limit_bytes=self.limits.response_limit_bytes,
                    fresh=changes,
                    send_by=send_by,
                )
                theirs = http_date(answer.headers.get("date", ""))
                if theirs is not None and (changes or any(name == CACHE_BUSTER for name, _ in query)):
                    # A cache's answer shows the time at which it was kept.
                    ahead = theirs - datetime.now(UTC)
                    # So far off, it is no clock that the store's dates could have been taken from.
                    self._ahead = ahead if abs(ahead) < _CLOCK_ERROR_MAX else timedelta(0)
                reply = Reply.of(answer, api.codes)
                watched.answered(reply)
            return reply

    @asynccontextmanager
    async def stream(self, api: Api, path: str, query: Sequence[tuple[str, str]]) -> AsyncIterator[Streaming]:
        """Read a resource and give its answer as soon as the headers are there; the slot is held to the end.

        Raises as `exchange`.
        """
        async with self._slot("interactive", send_by=None):
            url, headers = self._signed(api, "GET", path, query)
            with self._watched("read_raw") as watched:
                async with self._line().stream(
                    "GET",
                    url,
                    headers=headers,
                    read_timeout_s=self.limits.read_timeout_s,
                    limit_bytes=self.limits.response_limit_bytes,
                ) as answer:
                    # Whether a 500 is a refusal in WooCommerce's words shows only in the body, which is not ours.
                    watched.failed = answer.status in (429, 502, 503, 504)
                    watched.outcome = "failed" if watched.failed else "answered"
                    yield answer

    @asynccontextmanager
    async def _slot(self, priority: Priority, *, send_by: float | None) -> AsyncIterator[None]:
        if self._breaker.state == "open":
            self._breaker.admit()
        # As long as one refund may hold a slot; who waits longer has not been sent.
        within_s = self.limits.refund_timeout_s
        if send_by is not None:
            within_s = min(within_s, max(send_by - time.monotonic(), 0.001))
        try:
            async with self._gate.slot(priority, within_s=within_s):
                yield
        except NoSlot as error:
            raise outbound.NotSent("pool", str(error)) from error

    @contextmanager
    def _watched(self, call: str) -> Iterator[_Watched]:
        """Have the breaker admit an exchange, and tell it and who observes how that ended."""
        self._breaker.admit()
        watched = _Watched()
        started = time.monotonic()
        try:
            yield watched
        except outbound.NotSent as error:
            watched.outcome = "not_sent"
            if error.reason in _NOT_THE_STORES_FAULT:
                self._breaker.given_up()
            else:
                self._breaker.failed()
            raise
        except outbound.MaybeSent:
            watched.outcome = "lost"
            self._breaker.failed()
            raise
        except BaseException:
            self._breaker.given_up()
            raise
        else:
            if watched.failed:
                self._breaker.failed()
            else:
                self._breaker.succeeded()
        finally:
            if self._observe is not None:
                self._observe(self.connection.store_id, call, watched.outcome, time.monotonic() - started)

    def _line(self) -> outbound.Line:
        return self._lines.get(self.connection.store_id, ca_file=self.connection.ca_file)

    def _signed(self, api: Api, method: str, path: str, query: Sequence[tuple[str, str]]) -> tuple[str, dict[str, str]]:
        """Give a request's whole URL and its headers, its credentials in the one or the other."""
        key, secret = self.connection.consumer_key, self.connection.consumer_secret
        url = f"{self.site}/{api.root}" + (f"/{path}" if path else "")
        headers = {"Accept": "application/json", "Cache-Control": "no-cache"}
        pairs = list(query)
        if self.connection.auth == "basic":
            headers["Authorization"] = "Basic " + base64.b64encode(f"{key}:{secret}".encode()).decode("ascii")
        elif self.connection.auth == "query":
            pairs += [("consumer_key", key), ("consumer_secret", secret)]
        elif url.startswith("https://") and not api.oauth_over_https:
            raise StoreMisconfigured(
                "Over https the Legacy REST API takes no OAuth signatures; use the basic or query authentication."
            )
        else:
            complete = signed(
                method,
                url,
                folded(pairs),
                consumer_key=key,
                consumer_secret=secret,
                nonce=secrets.token_hex(16),
                timestamp=int(time.time()),
            )
            # The legacy API signs `filter[a]` and `filter[b]` in the order in which they came (LA:226).
            pairs = sorted(complete.items())
        return (f"{url}?{urlencode(pairs, quote_via=quote, safe='')}" if pairs else url), headers

    async def open_get(self, path: str, params: Mapping[str, str]) -> Answer:
        """Read a public resource of the site without credentials, past gate and breaker.

        Raises outbound.OutboundError or StoreMisconfigured.
        """
        return await self._line().request(
            "GET",
            f"{self.site}/{path}" + (f"?{urlencode(params)}" if params else ""),
            headers={"Accept": "application/json", "Cache-Control": "no-cache"},
            read_timeout_s=self.limits.read_timeout_s,
            limit_bytes=self.limits.response_limit_bytes,
        )

    async def probe(self) -> outbound.Probe:
        """Shake hands with the store. Raises outbound.NotSent or StoreMisconfigured."""
        return await self._lines.probe(self.site, ca_file=self.connection.ca_file)
