"""Jobs of what comes in: messages of other systems, and notices of stores."""

import procrastinate

from app.jobs.slot import RuntimeSlot


def register(app: procrastinate.App, runtime: RuntimeSlot) -> None:
    """Add the tasks to the job app."""
