"""Facts about a store that change rarely, asked for once and remembered for a while."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Remembered(Generic[Key, Value]):
    """Keeps each value for `ttl_s`; whoever wants one that is just being fetched waits for the same answer."""

    def __init__(self, ttl_s: float, *, limit: int = 256, clock: Callable[[], float] = time.monotonic) -> None:
        """Start empty; at most `limit` values are kept, the oldest going first."""
        self._ttl_s = ttl_s
        self._limit = limit
        self._clock = clock
        self._kept: dict[Key, tuple[float, Value]] = {}
        self._fetching: dict[Key, asyncio.Task[Value]] = {}

    async def get(self, key: Key, fetch: Callable[[], Awaitable[Value]]) -> Value:
        """Give the remembered value or the fetched one; what `fetch` raises reaches all who wait and is not kept."""
        kept = self._kept.get(key)
        if kept is not None and self._clock() - kept[0] < self._ttl_s:
            return kept[1]
        task = self._fetching.get(key)
        if task is None:
            task = self._fetching[key] = asyncio.create_task(self._fetch(key, fetch))
            task.add_done_callback(_seen)
        # Shielded: one caller's cancellation must not take the answer from the others.
        return await asyncio.shield(task)

    async def _fetch(self, key: Key, fetch: Callable[[], Awaitable[Value]]) -> Value:
        try:
            value = await fetch()
        finally:
            self._fetching.pop(key, None)
        self._kept.pop(key, None)
        self._kept[key] = (self._clock(), value)
        while len(self._kept) > self._limit:
            self._kept.pop(next(iter(self._kept)))
        return value


def _seen(task: asyncio.Task[Value]) -> None:
    """Look at a failure even when everyone who waited for it has gone, or asyncio complains."""
    if not task.cancelled():
        task.exception()
