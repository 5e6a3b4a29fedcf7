"""The durable jobs: each is a few lines that call a flow. Procrastinate runs them, on any process that works.

A job is only a nudge. What has to be done stands in the refund's row, so that a job lost with its worker is made up for
by the next sweep.
"""

from datetime import datetime
from typing import Any

import procrastinate
from procrastinate import exceptions

from app.database import Connection
from app.flows import recover, remove
from app.flows.runtime import Runtime
from app.flows.send import send

_QUEUE = "refunds"
_UPKEEP = "upkeep"


class ProcrastinateJobs:
    """Implements `flows.runtime.Jobs`: defers on the caller's connection, so that job and row commit together."""

    def __init__(self, app: procrastinate.App) -> None:
        """Defer through this app."""
        self._app = app

    async def settle_later(self, conn: Connection, refund_id: str, *, at: datetime) -> None:
        """Have an uncertain refund looked at, not before `at`."""
        await self._defer(conn, "settle_refund", refund_id, at)

    async def send_later(self, conn: Connection, refund_id: str, *, at: datetime | None) -> None:
        """Have a pending refund sent, not before `at`."""
        await self._defer(conn, "send_refund", refund_id, at)

    async def _defer(self, conn: Connection, task: str, refund_id: str, at: datetime | None) -> None:
        try:
            # A savepoint, because the lock of a job that waits already is a unique violation.
            async with conn.transaction():
                await self._app.configure_task(
                    task, queueing_lock=f"{task} {refund_id}", schedule_at=at, connection=conn
                ).defer_async(refund_id=refund_id)
        except exceptions.AlreadyEnqueued:
            return


def build(
    connector: procrastinate.PsycopgConnector, runtime: "RuntimeSlot", *, sweep_interval_s: float
) -> procrastinate.App:
    """Make the job app of one process; tasks find the runtime in its slot."""
    app = procrastinate.App(connector=connector)
    every = max(1, min(59, round(sweep_interval_s)))

    @app.task(name="settle_refund", queue=_QUEUE)
    async def settle_refund(refund_id: str) -> None:
        await recover.settle(runtime.get(), refund_id)

    @app.task(name="send_refund", queue=_QUEUE)
    async def send_refund(refund_id: str) -> None:
        await send(runtime.get(), refund_id)

    @app.periodic(cron=f"*/{every} * * * * *", periodic_id="sweep")
    @app.task(name="sweep", queue=_UPKEEP, queueing_lock="sweep", pass_context=False)
    async def sweep(timestamp: int) -> None:  # noqa: ARG001  # every periodic task is given its time
        await recover.sweep(runtime.get())

    @app.periodic(cron="*/30 * * * * *", periodic_id="finish_deletions")
    @app.task(name="finish_deletions", queue=_UPKEEP, queueing_lock="finish_deletions")
    async def finish_deletions(timestamp: int) -> None:  # noqa: ARG001
        await remove.finish_deletions(runtime.get())

    @app.periodic(cron="17 */10 * * * *", periodic_id="tidy")
    @app.task(name="tidy", queue=_UPKEEP, queueing_lock="tidy")
    async def tidy(timestamp: int) -> None:  # noqa: ARG001
        await recover.tidy(runtime.get())
        await app.job_manager.delete_old_jobs(nb_hours=24, include_failed=True, include_cancelled=True)
        for job in await app.job_manager.get_stalled_jobs():
            # Its worker died; the sweep has seen to the refund, the job itself is only in the way.
            await app.job_manager.finish_job(job, status=procrastinate.jobs.Status.FAILED, delete_job=True)

    return app


class RuntimeSlot:
    """Where tasks find the runtime, which can only be built after the job app."""

    def __init__(self) -> None:
        """Start empty."""
        self._runtime: Runtime | None = None

    def put(self, runtime: Runtime) -> None:
        """Fill the slot."""
        self._runtime = runtime

    def get(self) -> Runtime:
        """Give the runtime; tasks never run before it is there."""
        assert self._runtime is not None
        return self._runtime


def worker_options(*, concurrency: int, grace_s: float) -> dict[str, Any]:
    """Give the options of this gateway's workers: quick to notice, and quiet."""
    return {
        "queues": [_QUEUE, _UPKEEP],
        "concurrency": concurrency,
        "fetch_job_polling_interval": 1.0,
        "install_signal_handlers": False,
        "delete_jobs": procrastinate.jobs.DeleteJobCondition.SUCCESSFUL,
        "shutdown_graceful_timeout": grace_s,
        "update_heartbeat_interval": 5.0,
        "stalled_worker_timeout": 20.0,
    }
