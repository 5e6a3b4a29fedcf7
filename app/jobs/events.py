"""Jobs of what goes out: events are delivered to webhook endpoints. Giving them their places is no job, see `relay`."""

import procrastinate

from app.flows import deliver
from app.jobs.queues import DELIVERIES, UPKEEP
from app.jobs.slot import RuntimeSlot


def register(app: procrastinate.App, runtime: RuntimeSlot) -> None:
    """Add the tasks to the job app."""

    @app.task(name="deliver", queue=DELIVERIES)
    async def deliver_events(endpoint_id: str) -> None:
        await deliver.deliver(runtime.get(), endpoint_id)

    @app.periodic(cron="* * * * * */30", periodic_id="tidy_deliveries")
    @app.task(name="tidy_deliveries", queue=UPKEEP, queueing_lock="tidy_deliveries")
    async def tidy_deliveries(timestamp: int) -> None:  # noqa: ARG001  # every periodic task is given its time
        await deliver.tidy(runtime.get())
