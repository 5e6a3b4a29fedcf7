"""How much may be asked of one store at a time, and when not to ask at all."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Literal

from app.stores.port import Priority

BreakerState = Literal["closed", "open", "half_open"]


class NoSlot(Exception):
    """Too many requests to the store are under way; nothing was sent."""


class PriorityGate:
    """Lets at most `limit` tasks in at a time; interactive ones before background ones, each kind in its order."""

    def __init__(self, limit: int) -> None:
        """Start with nobody inside."""
        self._free = limit
        self._waiting: dict[Priority, deque[asyncio.Future[None]]] = {"interactive": deque(), "background": deque()}

    @asynccontextmanager
    async def slot(self, priority: Priority, *, within_s: float) -> AsyncIterator[None]:
        """Hold a slot; raise NoSlot when none became free within that many seconds."""
        await self._enter(priority, within_s)
        try:
            yield
        finally:
            self._leave()

    async def _enter(self, priority: Priority, within_s: float) -> None:
        if self._free > 0:
            # Nobody can be waiting: a slot that becomes free is handed over, never put back while someone waits.
            self._free -= 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting[priority].append(turn)
        try:
            async with asyncio.timeout(within_s):
                await turn
        except BaseException as error:
            # Cancelled or timed out in the very moment the slot was handed over: pass it on, or it is lost for ever.
            if turn.done() and not turn.cancelled():
                self._leave()
            else:
                turn.cancel()
            if isinstance(error, TimeoutError):
                raise NoSlot("Too many requests to the store are under way.") from error
            raise

    def _leave(self) -> None:
        for queue in (self._waiting["interactive"], self._waiting["background"]):
            while queue:
                turn = queue.popleft()
                if not turn.done():
                    turn.set_result(None)
                    return
        self._free += 1


class BreakerOpen(Exception):
    """The store has failed too often lately; nothing was sent."""

    def __init__(self, retry_after_s: float) -> None:
        """Keep how long the breaker stays open."""
        super().__init__(f"The store failed repeatedly; it is left alone for another {retry_after_s:.0f} s.")
        self.retry_after_s = retry_after_s


class Breaker:
    """Opens after `threshold` failures in a row and lets a single request try again after `ttl_s`.

    Its own few lines rather than a library's, because a cancelled request must count neither as failure nor as
    success, and because a half-open breaker must let one request through, not all that are waiting.
    """

    def __init__(self, *, threshold: int, ttl_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Start closed. `clock` counts seconds."""
        self._threshold = threshold
        self._ttl_s = ttl_s
        self._clock = clock
        self._failures = 0
        self._open_until: float | None = None
        self._trial = False

    @property
    def state(self) -> BreakerState:
        """Say whether requests pass."""
        if self._open_until is None:
            return "closed"
        return "open" if self._clock() < self._open_until else "half_open"

    def admit(self) -> None:
        """Let a request pass, or raise BreakerOpen. Whoever passes must report `succeeded`, `failed` or `given_up`."""
        if self._open_until is None:
            return
        left = self._open_until - self._clock()
        if left > 0:
            raise BreakerOpen(left)
        if self._trial:
            raise BreakerOpen(1.0)
        self._trial = True

    def succeeded(self) -> None:
        """Close the breaker: the store has answered."""
        self._failures = 0
        self._open_until = None
        self._trial = False

    def failed(self) -> None:
        """Count a failure, and open the breaker when it was one too many."""
        self._failures += 1
        if self._trial or self._failures >= self._threshold:
            self._open_until = self._clock() + self._ttl_s
        self._trial = False

    def given_up(self) -> None:
        """Count nothing: the request was cancelled, or failed for a reason that is not the store's."""
        self._trial = False
