"""Who asks: API keys, their scopes, and how often they may ask."""

import base64
import binascii
import math
import time
from collections import OrderedDict
from typing import Literal, cast

from fastapi import Request
from limits import RateLimitItem, parse
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter

from app.api.problems import Problem
from app.api.trace import Trace, trace_of
from app.crypto import api_key_id, api_key_text, is_api_key
from app.database import Database
from app.flows.results import Caller
from app.ledger import tenants

Scope = Literal[
    "refunds:read",
    "refunds:write",
    "refunds:approve",
    "refunds:delete",
    "orders:read",
    "stores:read",
    "stores:write",
    "events:read",
    "admin",
]

_REMEMBERED_KEYS = 10_000


class KeyRing:
    """Tells who a key belongs to; remembers good keys for some seconds, bad ones never."""

    def __init__(self, *, remembered_s: float = 3.0) -> None:
        """Start with no key known; a revoked key works for `remembered_s` seconds at most."""
        self.remembered_s = remembered_s
        self._known: OrderedDict[str, tuple[float, tenants.KeyRow, Caller]] = OrderedDict()

    async def identify(self, database: Database, authorization: str | None) -> Caller:
        """Give the caller that an Authorization header belongs to; raises the problem `unauthorized` for any other."""
        text = _presented(authorization)
        key_id = None if text is None else api_key_id(text)
        if text is None or key_id is None:
            raise _unauthorized(authorization)
        now = time.monotonic()
        known = self._known.get(key_id)
        if known is None or known[0] < now:
            async with database.reading() as conn:
                row = await tenants.key_by_id(conn, key_id)
            if row is None or row.revoked_at is not None:
                self._known.pop(key_id, None)
                raise _unauthorized(authorization)
            caller = Caller(
                tenant_id=row.tenant_id, key_id=row.id, name=row.name, scopes=row.scopes, store_ids=row.store_ids
            )
            known = (now + self.remembered_s, row, caller)
        _, row, caller = known
        if not is_api_key(text, row.secret_hash):
            raise _unauthorized(authorization)
        self._known[key_id] = known
        if len(self._known) > _REMEMBERED_KEYS:
            self._known.popitem(last=False)
        return caller


def _presented(authorization: str | None) -> str | None:
    """Read the key out of a Bearer or Basic header."""
    scheme, _, value = (authorization or "").partition(" ")
    value = value.strip()
    match scheme.lower():
        case "bearer":
            return value
        case "basic":
            try:
                user, _, password = base64.b64decode(value, validate=True).decode().partition(":")
            except (binascii.Error, UnicodeDecodeError):
                return None
            return api_key_text(user, password)
        case _:
            return None


def _unauthorized(authorization: str | None) -> Problem:
    if authorization is None:
        detail = "Send Authorization: Bearer <key>, or HTTP Basic with the key's id and secret."
        challenge = 'Bearer realm="refund-gateway"'
    else:
        detail = "The API key is unknown, wrong or revoked."
        challenge = 'Bearer realm="refund-gateway", error="invalid_token"'
    if (authorization or "").lower().startswith("basic"):
        challenge = 'Basic realm="refund-gateway", charset="UTF-8"'
    return Problem("unauthorized", detail, headers={"WWW-Authenticate": challenge})


class RateLimit:
    """So many requests per key and window, counted in this process; a window opens with its first request."""

    def __init__(self, limit: str) -> None:
        """Take a limit such as `600/minute`; raises ValueError for anything else."""
        self._item: RateLimitItem = parse(limit)
        self._limiter = FixedWindowRateLimiter(MemoryStorage())

    def take(self, key_id: str, trace: Trace) -> None:
        """Count a request and note the RateLimit headers; raises `rate_limited` when it was one too many."""
        allowed = self._limiter.hit(self._item, key_id)
        resets_at, remaining = self._limiter.get_window_stats(self._item, key_id)
        reset_s = max(1, math.ceil(resets_at - time.time()))
        trace.headers += (
            (b"ratelimit-limit", b"%d" % self._item.amount),
            (b"ratelimit-remaining", b"%d" % max(0, remaining)),
            (b"ratelimit-reset", b"%d" % reset_s),
        )
        if not allowed:
            raise Problem("rate_limited", headers={"Retry-After": str(reset_s)}, retry_after_s=reset_s)


async def admit(request: Request, scope: Scope) -> None:
    """Let a request pass whose key has the scope; raises `unauthorized`, `rate_limited` or `forbidden`.

    `admin` includes every other scope.
    """
    state = request.app.state
    caller = await cast("KeyRing", state.keys).identify(state.runtime.database, request.headers.get("authorization"))
    trace = trace_of(request.scope)
    trace.caller = caller
    cast("RateLimit", state.rate_limit).take(caller.key_id, trace)
    if scope not in caller.scopes and "admin" not in caller.scopes:
        raise Problem(
            "forbidden",
            f"The key {caller.name!r} lacks the scope {scope}.",
            headers={"WWW-Authenticate": f'Bearer realm="refund-gateway", error="insufficient_scope", scope="{scope}"'},
            required_scope=scope,
        )


async def still_admitted(request: Request, scope: Scope) -> bool:
    """Say whether an admitted request would be admitted again: for answers that go on for hours. Counts no request."""
    state = request.app.state
    try:
        caller = await cast("KeyRing", state.keys).identify(
            state.runtime.database, request.headers.get("authorization")
        )
    except Problem:
        return False
    return scope in caller.scopes or "admin" in caller.scopes


def caller_of(request: Request) -> Caller:
    """Give the caller of a request that was admitted."""
    caller = trace_of(request.scope).caller
    assert caller is not None
    return caller
