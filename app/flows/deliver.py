"""Delivering events to webhook endpoints: in order per subject, signed, and tried again until they are taken.

What has to go out stands in rows. Taking a delivery leases its row by the ledger's clock, sending it happens between
transactions, and a process that dies in between is followed by another one when the lease is over: a receiver may get
an event twice, with the same `webhook-id`, but never not at all and never out of its subject's order.
"""

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog

from app.database import Connection
from app.domain.delivery import FAILING_FROM, wait_before_retry, wait_before_trial
from app.flows import relay
from app.flows.runtime import Runtime
from app.flows.signing import Message, signed_headers
from app.ledger import deliveries, endpoints
from app.ledger.deliveries import Attempt, Claimed
from app.ledger.endpoints import Endpoint
from app.outbound import OutboundError
from app.stores.answers import retry_after_s

log = structlog.get_logger(__name__)

#: Deliveries to one endpoint at a time, by all processes together.
_AT_A_TIME = 8
#: How long one job goes on, so that a process that wants to stop is not kept by an endpoint with much to do.
_SHIFT_S = 10.0
#: While something is being sent and there is room for more, how often to look for more.
_LOOK_EVERY_S = 0.25
#: Nothing of an answer is kept; a longer one is not read.
_ANSWER_LIMIT_BYTES = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where to send, and how to sign."""

    endpoint_id: str
    url: str = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Posted:
    """What became of one POST."""

    attempt: Attempt
    retry_after: timedelta | None = None  #: the receiver asked for that much time
    gone: bool = False  #: the receiver wants nothing more, ever


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sent:
    claimed: Claimed
    posted: Posted


async def deliver(rt: Runtime, endpoint_id: str) -> None:
    """Send an endpoint what can go out now, and go on for a while as long as there is more."""
    until = time.monotonic() + _SHIFT_S
    flying: set[asyncio.Task[_Sent]] = set()
    landed: set[asyncio.Task[_Sent]] = set()
    try:
        while True:
            takes_more = time.monotonic() < until
            sent = [task.result() for task in landed]
            target, claimed = await _turn(rt, endpoint_id, sent, flying=len(flying), takes_more=takes_more)
            if target is not None:
                flying |= {asyncio.create_task(_send(rt, target, one)) for one in claimed}
            if not flying:
                return
            landed, flying = await asyncio.wait(
                flying,
                timeout=_LOOK_EVERY_S if takes_more and len(flying) < _AT_A_TIME else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
    finally:
        # Cancelled, or the ledger went away: what was not written down is sent again when its lease is over.
        for task in flying:
            task.cancel()
        await asyncio.gather(*flying, return_exceptions=True)


async def _turn(
    rt: Runtime, endpoint_id: str, sent: Sequence[_Sent], *, flying: int, takes_more: bool
) -> tuple[Target | None, list[Claimed]]:
    """Write down what was sent and take what comes next, in one transaction under the endpoint's lock."""
    lease = timedelta(seconds=2 * rt.settings.webhook_timeout_s)
    claimed: list[Claimed] = []
    async with rt.database.transaction() as conn:
        found = await endpoints.lock(conn, endpoint_id)
        if found is None:
            return None, []
        endpoint, now = found
        for one in sent:
            endpoint = await _write_down(rt, conn, endpoint, one, now=now)
        if endpoint.disabled_at is not None:
            await endpoints.rest(conn, endpoint_id, wake_at=None)
            return None, []
        failing = endpoint.failures >= FAILING_FROM
        under_way = await deliveries.under_way(conn, endpoint_id)
        room = (1 if failing else _AT_A_TIME) - under_way
        if takes_more and room > 0 and not (endpoint.quiet_until is not None and endpoint.quiet_until > now):
            claimed = await deliveries.claim(conn, endpoint_id, limit=room, lease=lease, as_trial=failing)
        if claimed or flying:
            await endpoints.busy(conn, endpoint_id, lease=lease)
        elif under_way == 0:
            await _rest(rt, conn, endpoint, failing=failing)
        # Else another process is at it, and will see to the rest.
        target = await target_of(rt, conn, endpoint) if claimed else None
    for one in sent:
        rt.meters.delivery_tried(outcome=one.posted.attempt.error or "delivered")
    return target, claimed


async def _rest(rt: Runtime, conn: Connection, endpoint: Endpoint, *, failing: bool) -> None:
    due_at = await deliveries.next_due(conn, endpoint.id, as_trial=failing)
    if due_at is not None and endpoint.quiet_until is not None:
        due_at = max(due_at, endpoint.quiet_until)
    await endpoints.rest(conn, endpoint.id, wake_at=due_at)
    await relay.nudge(rt, conn)


async def _write_down(rt: Runtime, conn: Connection, endpoint: Endpoint, sent: _Sent, *, now: datetime) -> Endpoint:
    """Put an attempt on record, with what it says of the endpoint; gives the endpoint as it is afterwards."""
    posted, failing = sent.posted, endpoint.failures >= FAILING_FROM
    if posted.attempt.error is None:
        kept = await deliveries.finish(conn, sent.claimed, posted.attempt, wait=None)
        if kept and endpoint.failing_since is not None:
            endpoint = await endpoints.succeeded(conn, endpoint, end_quiet=failing)
            await deliveries.bring_forward(conn, endpoint.id, every=failing)
        return endpoint
    settings = rt.settings
    wait = wait_before_retry(sent.claimed.retries + 1, settings.webhook_backoff_s, chance=_chance())
    if posted.retry_after is not None:
        wait = max(wait, posted.retry_after)
    if not await deliveries.finish(conn, sent.claimed, posted.attempt, wait=wait):
        return endpoint
    failures = endpoint.failures + (sent.claimed.id != endpoint.last_failed_id)
    failing_for = timedelta(0) if endpoint.failing_since is None else now - endpoint.failing_since
    quiet_for = posted.retry_after
    if failures >= FAILING_FROM:
        trial = wait_before_trial(failing_for, settings.webhook_backoff_s[0], chance=_chance())
        quiet_for = trial if quiet_for is None else max(trial, quiet_for)
    endpoint = await endpoints.failed(conn, endpoint, sent.claimed.id, failures=failures, quiet_for=quiet_for)
    since = endpoint.failing_since
    hopeless = since is not None and now - since >= timedelta(seconds=settings.webhook_disable_after_s)
    if endpoint.disabled_at is not None or not (posted.gone or hopeless):
        return endpoint
    log.warning("webhook_endpoint.disabled", endpoint_id=endpoint.id, gone=posted.gone)
    return await endpoints.disable(conn, endpoint, "gone" if posted.gone else "failing")


def _chance() -> float:
    return random.random()  # noqa: S311 - spreads retries, guards nothing


async def target_of(rt: Runtime, conn: Connection, endpoint: Endpoint) -> Target:
    """Give what sending to an endpoint needs; raises crypto.Unsealable when the sealing keys do not fit."""
    sealed = await endpoints.secrets(conn, endpoint.id)
    opened = tuple(rt.sealer.open(secret.sealed, aad=endpoint.id).decode() for secret in sealed)
    return Target(endpoint_id=endpoint.id, url=endpoint.url, secrets=opened)


async def _send(rt: Runtime, target: Target, claimed: Claimed) -> _Sent:
    message = Message(id=f"evt_{claimed.event_id}", type=claimed.type, at=claimed.at, data=claimed.data)
    posted = await post(rt, target, message)
    log.info(
        "event.sent",
        endpoint_id=target.endpoint_id,
        delivery_id=f"wd_{claimed.id}",
        event_id=message.id,
        type=message.type,
        status=posted.attempt.status,
        error=posted.attempt.error,
        duration_ms=posted.attempt.latency_ms,
    )
    return _Sent(claimed=claimed, posted=posted)


async def post(rt: Runtime, target: Target, message: Message) -> Posted:
    """Send a message once and say what became of it; never raises for what the receiver or the network does."""
    at, started = rt.clock(), time.monotonic()
    timeout_s = rt.settings.webhook_timeout_s
    body = message.body()
    status, error, retry_after = None, None, None
    try:
        # The line's own limits are made for stores: a receiver has this much time for everything.
        async with asyncio.timeout(timeout_s):
            answer = await rt.outbound.get(target.endpoint_id).request(
                "POST",
                target.url,
                headers=signed_headers(message, body, target.secrets, now=at),
                read_timeout_s=timeout_s,
                limit_bytes=_ANSWER_LIMIT_BYTES,
                content=body.encode(),
                # Within the lease or never: somebody else may have taken the delivery over since.
                send_by=started + timeout_s,
            )
    except TimeoutError:
        error = "timeout"
    except OutboundError as failure:
        error = str(getattr(failure, "reason", "internal"))
    else:
        status = answer.status
        error = _error_of(status)
        seconds = retry_after_s(answer) if status in (429, 503) else None
        retry_after = None if seconds is None else timedelta(seconds=seconds)
    latency_ms = round((time.monotonic() - started) * 1000)
    attempt = Attempt(at=at, status=status, latency_ms=latency_ms, error=error)
    return Posted(attempt=attempt, retry_after=retry_after, gone=status == 410)


def _error_of(status: int) -> str | None:
    """Name a status that is no success; redirects are none, because they could lead anywhere."""
    if 200 <= status < 300:
        return None
    if status == 410:
        return "gone"
    return "redirected" if 300 <= status < 400 else "refused" if status < 500 else "failed"


async def tidy(rt: Runtime) -> None:
    """Give up what was tried for long enough, and forget what was finished long ago."""
    async with rt.database.transaction() as conn:
        await endpoints.wake(conn, await deliveries.give_up(conn))
        await relay.nudge(rt, conn)
    async with rt.database.transaction() as conn:
        await deliveries.forget(conn, finished_for=timedelta(seconds=rt.settings.webhook_kept_s))
