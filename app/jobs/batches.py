"""Jobs of batches: one lane per store, and their sweep."""

import procrastinate

from app.flows import lanes
from app.jobs.queues import LANES, UPKEEP
from app.jobs.slot import RuntimeSlot


def register(app: procrastinate.App, runtime: RuntimeSlot) -> None:
    """Add the tasks to the job app."""

    @app.task(name="run_lane", queue=LANES)
    async def run_lane(store_id: str) -> None:
        await lanes.run_lane(runtime.get(), store_id)

    @app.task(name="start_batch", queue=UPKEEP)
    async def start_batch(batch_id: str) -> None:
        await lanes.start(runtime.get(), batch_id)

    @app.periodic(cron="* * * * * */3", periodic_id="sweep_batches")
    @app.task(name="sweep_batches", queue=UPKEEP, queueing_lock="sweep_batches")
    async def sweep_batches(timestamp: int) -> None:  # noqa: ARG001  # every periodic task is given its time
        await lanes.sweep(runtime.get())
