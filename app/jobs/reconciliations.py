"""Jobs of reconciliations."""

import procrastinate

from app.flows import reconciling
from app.jobs.queues import ERRANDS, UPKEEP
from app.jobs.slot import RuntimeSlot


def register(app: procrastinate.App, runtime: RuntimeSlot) -> None:
    """Add the tasks to the job app."""

    @app.task(name="reconcile", queue=ERRANDS)
    async def reconcile(reconciliation_id: str) -> None:
        await reconciling.run(runtime.get(), reconciliation_id)

    @app.periodic(cron="* * * * * */10", periodic_id="sweep_reconciliations")
    @app.task(name="sweep_reconciliations", queue=UPKEEP, queueing_lock="sweep_reconciliations")
    async def sweep_reconciliations(timestamp: int) -> None:  # noqa: ARG001  # every periodic task is given its time
        await reconciling.sweep(runtime.get())
