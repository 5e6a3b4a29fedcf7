"""Single calls to a store's wc/v3 API: signed, admitted by the gate and the breaker, reads tried again."""

import base64
import json
import secrets
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Literal
from urllib.parse import quote, urlencode

import stamina

from app import outbound
from app.outbound import MAX_CONNECTIONS, Answer, Outbound
from app.stores.connection import StoreConnection, StoreLimits, site_of
from app.stores.gate import Breaker, BreakerOpen, BreakerState, NoSlot, PriorityGate
from app.stores.oauth1 import signed
from app.stores.port import Priority, StoreError, StoreMisconfigured, StoreUnavailable
from app.stores.woo_v3_answers import Reply, http_date, is_store_failure, read_failure

#: answered: WooCommerce itself; failed: a 5xx without its code; turned_away: something before it; lost: maybe sent.
Outcome = Literal["answered", "failed", "turned_away", "not_sent", "lost", "canceled"]

#: Told about every exchange: store id, name of the call, outcome, seconds.
Observe = Callable[[str, str, Outcome, float], None]

#: Retry-After beyond this is the caller's to wait for.
_PATIENCE_S = 5.0
_ATTEMPTS = 3
_CACHE_BUSTER = "rg_nocache"
#: A Date header has whole seconds and is as old as the answer took to arrive.
_CLOCK_GRAIN = timedelta(seconds=2)

#: Failures to send that are ours or a person's to mend, and say nothing about the store's health.
_NOT_THE_STORES_FAULT = frozenset({"url", "ca_file", "address", "pool", "late", "internal"})


class NotThere(StoreError):
    """The store says that what was asked for does not exist."""


class WooV3Calls:
    """One store's API, call by call. Safe to use from many tasks at a time."""

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
        """Read a resource below /wp-json/wc/v3/ and give its JSON; tried again while the store is unavailable.

        `verify` gets past caches. A store's answer with a code in `absent` raises NotThere, any other failure
        StoreUnavailable or StoreMisconfigured.
        """
        async for attempt in stamina.retry_context(
            on=_worth_another_try, attempts=_ATTEMPTS, timeout=None, wait_initial=0.2, wait_max=2.0, wait_jitter=0.2
        ):
            with attempt:
                # Caches keep answers to a URL, so what is to be seen fresh gets one of its own each time.
                query = {**params, _CACHE_BUSTER: secrets.token_hex(8)} if verify else params
                return await self._get_once(path, query, call, priority, absent)
        raise AssertionError("stamina either returns or raises")

    async def _get_once(
        self, path: str, params: Mapping[str, str], call: str, priority: Priority, absent: frozenset[str]
    ) -> object:
        try:
            reply = await self.exchange("GET", path, params, call=call, priority=priority)
        except BreakerOpen as error:
            raise StoreUnavailable(str(error), retry_after_s=error.retry_after_s) from error
        except outbound.NotSent as error:
            if error.reason in ("url", "ca_file", "address", "certificate"):
                raise StoreMisconfigured(str(error)) from error
            raise StoreUnavailable(str(error)) from error
        except outbound.MaybeSent as error:
            raise StoreUnavailable(str(error)) from error
        if reply.error is not None and reply.error.code in absent:
            raise NotThere(
                "The store has nothing of that id.", store_code=reply.error.code, http_status=reply.answer.status
            )
        failure = read_failure(reply, secrets=self.connection.secrets)
        if failure is not None:
            raise failure
        assert reply.document is not None
        return reply.document.value

    async def post_once(
        self,
        path: str,
        params: Mapping[str, str],
        body: object,
        *,
        call: str,
        priority: Priority,
        request_id: str,
        send_by: float | None = None,
    ) -> Reply:
        """Send a POST once, on a connection of its own, with the patience that a payment provider needs.

        It leaves before `send_by` (of time.monotonic) or not at all, however long a slot or a connection takes.

        Raises outbound.NotSent or BreakerOpen when nothing has left, outbound.MaybeSent when something may have, and
        StoreMisconfigured, with nothing sent, when the address cannot be used.
        """
        return await self.exchange(
            "POST",
            path,
            params,
            call=call,
            priority=priority,
            content=json.dumps(body, separators=(",", ":")).encode(),
            request_id=request_id,
            read_timeout_s=self.limits.refund_timeout_s,
            send_by=send_by,
        )

    async def exchange(
        self,
        method: Literal["GET", "POST"],
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
        """Carry out one exchange, whatever the answer says. Raises as `post_once`."""
        if self._breaker.state == "open":
            self._breaker.admit()
        try:
            # As long as one refund may hold a slot; who waits longer has not been sent.
            within_s = self.limits.refund_timeout_s
            if send_by is not None:
                within_s = min(within_s, max(send_by - time.monotonic(), 0.001))
            async with self._gate.slot(priority, within_s=within_s):
                return await self._admitted(method, path, params, call, content, request_id, read_timeout_s, send_by)
        except NoSlot as error:
            raise outbound.NotSent("pool", str(error)) from error

    async def _admitted(
        self,
        method: Literal["GET", "POST"],
        path: str,
        params: Mapping[str, str],
        call: str,
        content: bytes | None,
        request_id: str,
        read_timeout_s: float | None,
        send_by: float | None,
    ) -> Reply:
        url, headers = self._signed(method, path, params)
        headers |= {"Accept": "application/json", "Cache-Control": "no-cache"}
        if content is not None:
            headers["Content-Type"] = "application/json"
        if request_id:
            headers["X-Request-Id"] = "".join(c for c in request_id if "!" <= c <= "~")[:128]
        self._breaker.admit()
        outcome: Outcome = "canceled"
        started = time.monotonic()
        try:
            line = self._lines.get(self.connection.store_id, ca_file=self.connection.ca_file)
            answer = await line.request(
                method,
                url,
                headers=headers,
                content=content,
                read_timeout_s=read_timeout_s or self.limits.read_timeout_s,
                limit_bytes=self.limits.response_limit_bytes,
                fresh=content is not None,
                send_by=send_by,
            )
            theirs = http_date(answer.headers.get("date", ""))
            if theirs is not None and (content is not None or _CACHE_BUSTER in params):
                # A cache's answer shows the time at which it was kept.
                self._ahead = theirs - datetime.now(UTC)
            reply = Reply.of(answer)
            failed = is_store_failure(reply)
            outcome = "turned_away" if reply.away is not None else "failed" if failed else "answered"
        except outbound.NotSent as error:
            outcome = "not_sent"
            if error.reason in _NOT_THE_STORES_FAULT:
                self._breaker.given_up()
            else:
                self._breaker.failed()
            raise
        except outbound.MaybeSent:
            outcome = "lost"
            self._breaker.failed()
            raise
        except BaseException:
            self._breaker.given_up()
            raise
        else:
            if failed:
                self._breaker.failed()
            else:
                self._breaker.succeeded()
            return reply
        finally:
            if self._observe is not None:
                self._observe(self.connection.store_id, call, outcome, time.monotonic() - started)

    def _signed(self, method: str, path: str, params: Mapping[str, str]) -> tuple[str, dict[str, str]]:
        """Give a request's whole URL and its Authorization header, if that is where the credentials go."""
        key, secret = self.connection.consumer_key, self.connection.consumer_secret
        # Only addresses with wp-json/wc/ in their path are authenticated; ?rest_route= is not (AUTH:69-84).
        url = f"{self.site}/wp-json/wc/v3/{path}"
        headers: dict[str, str] = {}
        query = dict(params)
        if self.connection.auth == "basic":
            headers["Authorization"] = "Basic " + base64.b64encode(f"{key}:{secret}".encode()).decode("ascii")
        elif self.connection.auth == "query":
            query |= {"consumer_key": key, "consumer_secret": secret}
        else:
            query = signed(
                method,
                url,
                query,
                consumer_key=key,
                consumer_secret=secret,
                nonce=secrets.token_hex(16),
                timestamp=int(time.time()),
            )
        return (f"{url}?{urlencode(query, quote_via=quote, safe='')}" if query else url), headers

    async def open_get(self, path: str, params: Mapping[str, str]) -> Answer:
        """Read a public resource of the site without credentials, past gate and breaker.

        Raises outbound.OutboundError or StoreMisconfigured.
        """
        line = self._lines.get(self.connection.store_id, ca_file=self.connection.ca_file)
        return await line.request(
            "GET",
            f"{self.site}/{path}" + (f"?{urlencode(params)}" if params else ""),
            headers={"Accept": "application/json", "Cache-Control": "no-cache"},
            read_timeout_s=self.limits.read_timeout_s,
            limit_bytes=self.limits.response_limit_bytes,
        )

    async def probe(self) -> outbound.Probe:
        """Shake hands with the store. Raises outbound.NotSent or StoreMisconfigured."""
        return await self._lines.probe(self.site, ca_file=self.connection.ca_file)


def _worth_another_try(error: Exception) -> bool | float:
    if not isinstance(error, StoreUnavailable):
        return False
    if error.retry_after_s is None:
        return True
    return error.retry_after_s if error.retry_after_s <= _PATIENCE_S else False
