"""Jobs of batches: one lane per store, and their sweep."""

import procrastinate

from app.jobs.slot import RuntimeSlot


def register(app: procrastinate.App, runtime: RuntimeSlot) -> None:
    """Add the tasks to the job app."""
