"""Jobs of what comes in: messages of other systems, and notices of stores."""

from typing import cast

import procrastinate

from app.flows import notices, take_in
from app.jobs.queues import ERRANDS, UPKEEP
from app.jobs.slot import RuntimeSlot
from app.ledger.notices import LookKind


def register(app: procrastinate.App, runtime: RuntimeSlot) -> None:
    """Add the tasks to the job app."""

    @app.task(name=take_in.TASK, queue=ERRANDS)
    async def take_in_message(message_id: str) -> None:
        await take_in.take_in(runtime.get(), message_id)

    @app.task(name=notices.TASK, queue=ERRANDS)
    async def reread_order(store_id: str, kind: str, subject: str) -> None:
        await notices.reread(runtime.get(), store_id, cast("LookKind", kind), subject)

    @app.periodic(cron="* * * * * */5", periodic_id="sweep_inbound")
    @app.task(name="sweep_inbound", queue=UPKEEP, queueing_lock="sweep_inbound")
    async def sweep_inbound(timestamp: int) -> None:  # noqa: ARG001  # every periodic task is given its time
        await take_in.sweep(runtime.get())
        await notices.sweep(runtime.get())

    @app.periodic(cron="7 * * * * 41", periodic_id="tidy_inbound")
    @app.task(name="tidy_inbound", queue=UPKEEP, queueing_lock="tidy_inbound")
    async def tidy_inbound(timestamp: int) -> None:  # noqa: ARG001
        await take_in.tidy(runtime.get())
        await notices.tidy(runtime.get())
