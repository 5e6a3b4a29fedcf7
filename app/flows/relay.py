"""From what has happened to what has to be delivered: events get their places, endpoints their deliveries.

No job is deferred where an event is written: that is the hot path of every refund, and most tenants have no endpoint.
The rows are the durable truth instead. Every worker looks a few times a second whether one waits, which costs a look at
an empty index, and does the rest for all events together.
"""

from datetime import timedelta

from app.database import Connection
from app.flows.runtime import Runtime
from app.ledger import deliveries, endpoints, feed

#: Events that get their places in one transaction.
_AT_A_TIME = 1_000
#: How long a job may take to begin before another one is deferred for its endpoint.
_NUDGE = timedelta(seconds=5)


async def relay(rt: Runtime) -> int:
    """Place new events, plan their deliveries and wake whoever delivers; gives how many events that were.

    Leaves the events alone while another process is at them.
    """
    async with rt.database.reading() as conn:
        idle = not await feed.waits(conn) and not await endpoints.any_awake(conn)
    return 0 if idle else await _place_all(rt, wait=False)


async def catch_up(rt: Runtime) -> None:
    """Place every event that was committed before this was called, so that a reader of the feed finds it there."""
    async with rt.database.reading() as conn:
        behind = await feed.waits(conn)
    if behind:
        await _place_all(rt, wait=True)


async def _place_all(rt: Runtime, *, wait: bool) -> int:
    placed = 0
    while True:
        async with rt.database.transaction() as conn:
            ids = await feed.sequence(conn, limit=_AT_A_TIME, wait=wait)
            if ids:
                give_up_after = timedelta(seconds=rt.settings.webhook_give_up_s)
                await endpoints.wake(conn, await deliveries.plan(conn, ids, give_up_after=give_up_after))
            await nudge(rt, conn)
        placed += len(ids)
        if len(ids) < _AT_A_TIME:
            return placed


async def nudge(rt: Runtime, conn: Connection) -> None:
    """Defer a job for every endpoint that has something to do and nobody at it."""
    for endpoint_id in await endpoints.nudge(conn, within=_NUDGE):
        await rt.jobs.later(conn, "deliver", {"endpoint_id": endpoint_id}, lock=endpoint_id)
