"""The clockwork of the periodic jobs."""

import itertools
from datetime import UTC, datetime

import procrastinate

from app.jobs import RuntimeSlot, build


def _gaps(app: procrastinate.App, task: str) -> set[int]:
    """Give the seconds between the next runs of a periodic task, over ten minutes or more."""
    (periodic,) = [one for (name, _), one in app.periodic_registry.periodic_tasks.items() if name == task]
    clock = periodic.croniter
    clock.set_current(datetime(2026, 11, 21, 9, tzinfo=UTC).timestamp())
    times = [clock.get_next(float) for _ in range(200)]
    return {round(after - before) for before, after in itertools.pairwise(times)}


def test_what_sees_to_abandoned_work_runs_every_few_seconds() -> None:
    # In a cron of six fields seconds come last: in the first one they would be minutes, and the task would rest for
    # minutes and then run every second.
    app = build(procrastinate.PsycopgConnector(), RuntimeSlot(), sweep_interval_s=3.0)
    for task, _ in app.periodic_registry.periodic_tasks:
        longest = max(_gaps(app, task))
        assert longest <= (30 if not task.startswith("tidy") else 3_600), task
        assert min(_gaps(app, task)) >= 2, task
    assert _gaps(app, "sweep") == {3}
    assert _gaps(app, "sweep_batches") == {3}
