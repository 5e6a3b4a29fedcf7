"""Jobs of single refunds, and the upkeep of all."""

import procrastinate

from app.flows import recover, remove
from app.flows.send import send
from app.jobs.queues import REFUNDS, UPKEEP
from app.jobs.slot import RuntimeSlot


def register(app: procrastinate.App, runtime: RuntimeSlot, *, sweep_interval_s: float) -> None:
    """Add the tasks to the job app."""
    # Seconds are the last field here, not the first one.
    every = max(1, min(59, round(sweep_interval_s)))

    @app.task(name="settle_refund", queue=REFUNDS)
    async def settle_refund(refund_id: str) -> None:
        await recover.settle(runtime.get(), refund_id)

    @app.task(name="send_refund", queue=REFUNDS)
    async def send_refund(refund_id: str) -> None:
        await send(runtime.get(), refund_id)

    @app.periodic(cron=f"* * * * * */{every}", periodic_id="sweep")
    @app.task(name="sweep", queue=UPKEEP, queueing_lock="sweep", pass_context=False)
    async def sweep(timestamp: int) -> None:  # noqa: ARG001  # every periodic task is given its time
        await recover.sweep(runtime.get())

    @app.periodic(cron="* * * * * */30", periodic_id="finish_deletions")
    @app.task(name="finish_deletions", queue=UPKEEP, queueing_lock="finish_deletions")
    async def finish_deletions(timestamp: int) -> None:  # noqa: ARG001
        await remove.finish_deletions(runtime.get())

    @app.periodic(cron="*/10 * * * * 17", periodic_id="tidy")
    @app.task(name="tidy", queue=UPKEEP, queueing_lock="tidy")
    async def tidy(timestamp: int) -> None:  # noqa: ARG001
        await recover.tidy(runtime.get())
        await app.job_manager.delete_old_jobs(nb_hours=24, include_failed=True, include_cancelled=True)
        for job in await app.job_manager.get_stalled_jobs():
            # Its worker died; the sweeps have seen to its rows, the job itself is only in the way.
            await app.job_manager.finish_job(job, status=procrastinate.jobs.Status.FAILED, delete_job=True)
