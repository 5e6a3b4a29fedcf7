"""Jobs of what goes out: events get their place in the feed, and are delivered to webhook endpoints."""

import procrastinate

from app.jobs.slot import RuntimeSlot


def register(app: procrastinate.App, runtime: RuntimeSlot) -> None:
    """Add the tasks to the job app."""
