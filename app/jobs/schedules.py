"""Jobs of schedules: their clock, and their runs."""

import procrastinate

from app.flows import schedule_runs
from app.jobs.queues import ERRANDS, UPKEEP
from app.jobs.slot import RuntimeSlot


def register(app: procrastinate.App, runtime: RuntimeSlot) -> None:
    """Add the tasks to the job app."""

    @app.task(name="run_schedule", queue=ERRANDS)
    async def run_schedule(run_id: str) -> None:
        await schedule_runs.run(runtime.get(), run_id)

    @app.periodic(cron="* * * * * */5", periodic_id="tick_schedules")
    @app.task(name="tick_schedules", queue=UPKEEP, queueing_lock="tick_schedules", pass_context=False)
    async def tick_schedules(timestamp: int) -> None:  # noqa: ARG001  # every periodic task is given its time
        await schedule_runs.tick(runtime.get())
