"""Procrastinate, as this gateway uses it."""

import asyncio
from collections.abc import Mapping
from datetime import datetime

import procrastinate
import structlog
from procrastinate import exceptions

from app.database import Connection
from app.jobs import batches, events, inbound, reconciliations, refunds, schedules
from app.jobs.queues import WORKERS
from app.jobs.slot import RuntimeSlot

log = structlog.get_logger(__name__)


class ProcrastinateJobs:
    """Implements `flows.runtime.Jobs`: defers on the caller's connection, so that job and row commit together."""

    def __init__(self, app: procrastinate.App) -> None:
        """Defer through this app."""
        self._app = app

    async def settle_later(self, conn: Connection, refund_id: str, *, at: datetime) -> None:
        """Have an uncertain refund looked at, not before `at`."""
        await self.later(conn, "settle_refund", {"refund_id": refund_id}, lock=refund_id, at=at)

    async def send_later(self, conn: Connection, refund_id: str, *, at: datetime | None) -> None:
        """Have a pending refund sent, not before `at`."""
        await self.later(conn, "send_refund", {"refund_id": refund_id}, lock=refund_id, at=at)

    async def later(
        self, conn: Connection, task: str, arguments: Mapping[str, str], *, lock: str, at: datetime | None = None
    ) -> None:
        """Defer a task unless one with the same lock waits already."""
        try:
            # A savepoint, because the lock of a job that waits already is a unique violation.
            async with conn.transaction():
                await self._app.configure_task(
                    task, queueing_lock=f"{task} {lock}", schedule_at=at, connection=conn
                ).defer_async(**arguments)
        except exceptions.AlreadyEnqueued:
            return


def build(
    connector: procrastinate.PsycopgConnector, runtime: RuntimeSlot, *, sweep_interval_s: float
) -> procrastinate.App:
    """Make the job app of one process; tasks find the runtime in its slot."""
    app = procrastinate.App(connector=connector)
    refunds.register(app, runtime, sweep_interval_s=sweep_interval_s)
    for area in (batches, schedules, inbound, events, reconciliations):
        area.register(app, runtime)
    return app


async def run_workers(app: procrastinate.App, *, grace_s: float) -> None:
    """Run jobs of every queue until cancelled; a worker that breaks (the database went away) starts again."""
    async with asyncio.TaskGroup() as workers:
        for queues, concurrency in WORKERS.items():
            workers.create_task(_keep_working(app, queues, concurrency, grace_s))


async def _keep_working(app: procrastinate.App, queues: tuple[str, ...], concurrency: int, grace_s: float) -> None:
    while True:
        try:
            await app.run_worker_async(
                queues=list(queues),
                name=queues[0],
                concurrency=concurrency,
                fetch_job_polling_interval=1.0,
                install_signal_handlers=False,
                delete_jobs=procrastinate.jobs.DeleteJobCondition.SUCCESSFUL,
                shutdown_graceful_timeout=grace_s,
                update_heartbeat_interval=5.0,
                stalled_worker_timeout=20.0,
            )
        except Exception:
            log.exception("worker.broke", queues=queues)
            await asyncio.sleep(1)
