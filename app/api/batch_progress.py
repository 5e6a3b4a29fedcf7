"""The progress of a batch as server-sent events: the batch as it stands, whenever that has changed."""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable

from fastapi.sse import ServerSentEvent

from app.api.batch_views import BatchView, batch_view, is_over
from app.database import OUTAGES
from app.flows import batch_results as flow_results
from app.flows import batches as flow
from app.flows.batch_results import BatchNotFound
from app.flows.results import Caller
from app.flows.runtime import Runtime

#: Seconds between two looks, and so between two events at least.
_PAUSE_S = 0.5
#: Seconds without a change after which the stream ends; whoever is still interested connects again.
_STILL_S = 600.0
#: What goes on changing by itself while nothing happens.
_RESTLESS = {"rate_per_s", "ends_at", "updated_at"}


async def changes(
    rt: Runtime,
    caller: Caller,
    batch: flow_results.BatchView,
    *,
    known: str | None,
    admitted: Callable[[], Awaitable[bool]],
    stopping: Callable[[], bool],
    pause_s: float = _PAUSE_S,
    still_s: float = _STILL_S,
) -> AsyncIterator[ServerSentEvent]:
    """Give `progress` for every change, and `finished` as the last event of a batch that is over.

    `known` is the id of the last event that the client had: what it knows already is not told again. The stream also
    ends when nothing has changed for long, when the caller is not `admitted` any more, when the ledger is lost, and
    when the process stops.
    """
    changed_at = time.monotonic()
    while True:
        shown = batch_view(batch)
        mark = _mark(shown)
        if is_over(batch):
            yield ServerSentEvent(event="finished", id=mark, data=shown)
            return
        if mark != known:
            yield ServerSentEvent(event="progress", id=mark, data=shown)
            known, changed_at = mark, time.monotonic()
        elif time.monotonic() - changed_at > still_s:
            return
        await asyncio.sleep(pause_s)
        if stopping():
            return
        try:
            if not await admitted():
                return
            found = await flow.look(rt, caller, batch.id)
        except OUTAGES:
            return
        if isinstance(found, BatchNotFound):
            return
        batch = found


def _mark(shown: BatchView) -> str:
    """Name a state of a batch, the same in every process."""
    return hashlib.sha256(shown.model_dump_json(exclude=_RESTLESS).encode()).hexdigest()[:16]
