"""For those who run the gateway: is it alive, is it ready, what are its numbers."""

from datetime import timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import Field

from app.api import documentation as docs
from app.api.deps import runtime_of
from app.api.problems import Problem
from app.api.views import View
from app.database import HEAD, OUTAGES, current_revision
from app.flows.runtime import Runtime
from app.ledger import deliveries, executors, feed, search
from app.telemetry import Metrics

router = APIRouter(tags=["Operations"])

_WORKER_SEEN_WITHIN = timedelta(seconds=30)


class LiveView(View):
    """The process answers."""

    status: Literal["alive"] = "alive"


class ReadyView(View):
    """Everything that a refund needs is there."""

    status: Literal["ready"] = "ready"
    checks: Annotated[dict[str, bool], Field(examples=[{"database": True, "migrations": True, "worker": True}])]


@router.get(
    "/livez", operation_id="livez", **docs.documented(None, answers={200: {"description": "The process is alive."}})
)
async def livez() -> LiveView:
    """Say that the process answers; nothing else is looked at."""
    return LiveView()


@router.get(
    "/readyz", operation_id="readyz", **docs.documented(None, answers={200: {"description": "Refunds can be taken."}})
)
async def readyz(request: Request) -> ReadyView:
    """Say whether refunds can be taken: the ledger answers, its schema fits, and a worker was seen lately."""
    checks = await _checks(runtime_of(request))
    if not all(checks.values()):
        missing = ", ".join(name for name, ok in checks.items() if not ok)
        raise Problem("service_unavailable", f"Not ready: {missing}.", headers={"Retry-After": "5"}, checks=checks)
    return ReadyView(checks=checks)


async def _checks(runtime: Runtime) -> dict[str, bool]:
    checks = {"database": False, "migrations": False, "worker": False}
    try:
        async with runtime.database.reading() as conn:
            checks["database"] = True
            checks["migrations"] = await current_revision(conn) == HEAD
            seen_at = await executors.worker_seen_at(conn) if checks["migrations"] else None
    except OUTAGES:
        return checks
    checks["worker"] = seen_at is not None and runtime.clock() - seen_at < _WORKER_SEEN_WITHIN
    return checks


@router.get(
    "/metrics",
    operation_id="metrics",
    response_class=Response,
    **docs.documented(
        None,
        answers={
            200: {
                "description": "Prometheus' text format.",
                "content": {"text/plain": {"schema": {"type": "string"}}},
            }
        },
    ),
)
async def metrics(request: Request) -> Response:
    """Give the numbers of this process, and those of the ledger as it is now."""
    numbers: Metrics = request.app.state.metrics
    try:
        async with runtime_of(request).database.reading() as conn:
            numbers.ledger_read(
                unfinished=await search.counts_by_status(conn), job_lag_s=await search.oldest_due_s(conn)
            )
            lag, backlog = await feed.lag(conn), await deliveries.backlog(conn)
        numbers.feed_read(
            unplaced=lag.events,
            lag_s=lag.oldest_s,
            waiting=backlog.deliveries,
            delivery_lag_s=backlog.oldest_s,
        )
    except OUTAGES:
        numbers.ledger_lost()
    return Response(numbers.text(), media_type=CONTENT_TYPE_LATEST)
