"""The durable jobs: each is a few lines that call a flow. Procrastinate runs them, on any process that works.

A job is only a nudge. What has to be done stands in rows, so that a job lost with its worker is made up for by the next
sweep.
"""

from app.jobs.engine import ProcrastinateJobs, build, run_workers
from app.jobs.slot import RuntimeSlot

__all__ = ["ProcrastinateJobs", "RuntimeSlot", "build", "run_workers"]
