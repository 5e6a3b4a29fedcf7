"""Schedules, their runs and looks ahead, as callers see them."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import Field

from app.api.values import AmountText, Time
from app.api.views import FailureView, View
from app.domain.money import iso_decimals, plain
from app.domain.schedule import (
    BatchStart,
    MissedRuns,
    ReconciliationPlan,
    RefundsPlan,
    RunStatus,
    ScheduleKind,
    Selector,
    Window,
    format_duration,
)
from app.flows.cron import zone_of
from app.flows.schedule_selection import LeftOut, Pick
from app.flows.schedules import LookAhead, Opened
from app.ledger.schedule_runs import Run
from app.ledger.schedules import action_json

Totals = Annotated[dict[str, AmountText], Field(description="By currency.", examples=[{"EUR": "120.00"}])]


class ScheduleView(View):
    """A schedule; what its kind does not have is null."""

    id: Annotated[str, Field(examples=["sd_01J8ZK5Q3N6T0V9W2X4Y7A8B9C"])]
    object: Literal["schedule"] = "schedule"
    name: str
    kind: ScheduleKind
    store: str
    cron: str
    time_zone: str
    selector: Annotated[dict[str, Any] | None, Field(description="As it was sent.")]
    action: Annotated[dict[str, Any] | None, Field(description="As it was sent.")]
    reason: str | None
    reason_code: str | None
    payment: str | None
    restock: bool | None
    metadata: dict[str, str] | None
    mode: BatchStart | None
    max_orders: int | None
    max_total: Totals | None
    window: Annotated[str | None, Field(examples=["P1D"])]
    missed: MissedRuns
    paused: bool
    next_run_at: Annotated[Time | None, Field(description="Null while it is paused.")]
    is_default: Annotated[bool, Field(description="Made by the gateway itself when the store was added.")]
    created_by: str
    created_at: Time
    updated_at: Time


class ScheduleList(View):
    """A page of schedules, newest first."""

    data: list[ScheduleView]
    next_cursor: str | None


class ScheduleRunView(View):
    """One time that a schedule fired, and what it came to."""

    id: Annotated[str, Field(examples=["sr_01J8ZK5Q3N6T0V9W2X4Y7A8B9C"])]
    object: Literal["schedule_run"] = "schedule_run"
    schedule_id: str
    status: RunStatus
    due_at: Annotated[Time, Field(description="The time that it ran for; windows are counted back from it.")]
    asked_by: Annotated[str | None, Field(description="Who had it run beside its time.")]
    missed_runs: Annotated[int | None, Field(description="Of a skipped run: for how many times that passed it stands.")]
    batch_id: Annotated[str | None, Field(description="Null when there was no order to refund.")]
    reconciliation_id: str | None
    looked_at: Annotated[int, Field(description="Orders that the store listed.")]
    selected: int
    totals: Totals
    left_out: Annotated[
        dict[str, int], Field(description="How many orders, by the reason.", examples=[{"paid": 12, "taken": 3}])
    ]
    cut_short: Annotated[str | None, Field(description="`max_orders` when there may be more orders.")]
    failure: FailureView | None
    tries: int
    started_at: Time | None
    finished_at: Time | None


class ScheduleRunList(View):
    """A page of runs, newest first."""

    data: list[ScheduleRunView]
    next_cursor: str | None


class NextRunView(View):
    """When a schedule fires."""

    at: Time
    local: Annotated[str, Field(description="In the schedule's time zone.", examples=["2026-11-23T06:00:00+01:00"])]
    reconciles: Annotated[list[Time] | None, Field(description="Of a reconciliation: from and to.")] = None


class PickedView(View):
    """An order that would be refunded, and how much of it."""

    order: dict[str, str]
    amount: AmountText
    currency: str
    payment: str
    external_reference: str | None


class LeftOutView(View):
    """An order that would not be refunded."""

    order: dict[str, str]
    reason: Annotated[str, Field(description="The test that it fails, or why its refund would be refused.")]
    message: str


class LookAheadView(View):
    """When a schedule fires next, and what it would select if it did so now. Nothing was created."""

    object: Literal["schedule_preview"] = "schedule_preview"
    next_runs: list[NextRunView]
    looked_at: int
    selected: list[PickedView]
    totals: Totals
    left_out: Annotated[list[LeftOutView], Field(description="The first of them.")]
    left_out_by_reason: dict[str, int]
    cut_short: Annotated[
        str | None,
        Field(description="`max_orders` or `looked_at` when there may be more orders than the preview went through."),
    ]


def schedule_view(found: Opened) -> ScheduleView:
    """Show a schedule."""
    schedule, plan = found.schedule, found.plan
    of_refunds = plan if isinstance(plan, RefundsPlan) else None
    terms = None if of_refunds is None else of_refunds.terms
    return ScheduleView(
        id=schedule.id,
        name=schedule.name,
        kind=schedule.kind,
        store=schedule.store,
        cron=schedule.cron,
        time_zone=schedule.time_zone,
        selector=None if of_refunds is None else selector_document(of_refunds.selector),
        action=None if of_refunds is None else action_json(of_refunds.action),
        reason=None if terms is None else terms.reason,
        reason_code=None if terms is None else terms.reason_code,
        payment=None if terms is None else terms.payment,
        restock=None if terms is None else terms.restock,
        metadata=None if terms is None else dict(terms.metadata),
        mode=None if of_refunds is None else of_refunds.mode,
        max_orders=None if of_refunds is None else of_refunds.max_orders,
        max_total=None if of_refunds is None else _totals(of_refunds.max_total),
        window=format_duration(timedelta(days=plan.window_days)) if isinstance(plan, ReconciliationPlan) else None,
        missed=schedule.missed,
        paused=schedule.paused,
        next_run_at=schedule.next_at,
        is_default=schedule.is_default,
        created_by=schedule.created_by,
        created_at=schedule.created_at,
        updated_at=schedule.updated_at,
    )


def request_document(view: ScheduleView) -> dict[str, Any]:
    """Give a schedule as the body that would make it."""
    shown = view.model_dump(
        mode="json",
        exclude={"id", "object", "next_run_at", "is_default", "created_by", "created_at", "updated_at"},
    )
    return {name: value for name, value in shown.items() if value is not None}


def selector_document(selector: Selector) -> dict[str, Any]:
    """Write a selector as a request does, without what it does not test."""
    bounds = {"min": selector.min_total, "max": selector.max_total}
    total = {name: format(bound, "f") for name, bound in bounds.items() if bound is not None}
    customer = {"id": selector.customer_id, "email": selector.customer_email}
    windows = {name: _window(getattr(selector, name)) for name in ("created", "paid", "completed", "modified")}
    tests: dict[str, Any] = {
        "status": list(selector.statuses),
        **windows,
        "payment_method": list(selector.payment_methods),
        "currency": selector.currency,
        "total": total,
        "sku": list(selector.skus),
        "meta": [{"key": test.key} | ({} if test.value is None else {"value": test.value}) for test in selector.meta],
        "customer": {name: value for name, value in customer.items() if value is not None},
        "refunded": selector.refunded,
    }
    return {name: test for name, test in tests.items() if test}


def _window(window: Window | None) -> dict[str, str] | None:
    if window is None:
        return None
    lengths = {"older_than": window.older_than, "newer_than": window.newer_than}
    return {name: format_duration(length) for name, length in lengths.items() if length is not None}


def _totals(totals: Any) -> dict[str, str]:
    return {currency: plain(Decimal(total), iso_decimals(currency)) for currency, total in totals.items()}


def run_view(run: Run) -> ScheduleRunView:
    """Show a run."""
    failure = run.failure
    return ScheduleRunView(
        id=run.id,
        schedule_id=run.schedule_id,
        status=run.status,
        due_at=run.due_at,
        asked_by=run.asked_by,
        missed_runs=run.stands_for if run.status == "skipped" else None,
        batch_id=run.batch_id,
        reconciliation_id=run.reconciliation_id,
        looked_at=run.looked_at,
        selected=run.selected,
        totals=_totals(run.totals),
        left_out=dict(run.left_out),
        cut_short=run.cut_short,
        failure=None
        if failure is None
        else FailureView(code=failure.code, message=failure.message, facts=dict(failure.facts)),
        tries=run.tries,
        started_at=run.started_at,
        finished_at=run.finished_at,
    )


def look_ahead_view(ahead: LookAhead) -> LookAheadView:
    """Show a look ahead."""
    found = ahead.selection
    return LookAheadView(
        next_runs=[_next_run(ahead, position, at) for position, at in enumerate(ahead.next_runs)],
        looked_at=0 if found is None else found.looked_at,
        selected=[] if found is None else [_picked(pick) for pick in found.picks],
        totals={} if found is None else _totals(found.totals),
        left_out=[] if found is None else [_left_out(one) for one in found.examples],
        left_out_by_reason={} if found is None else dict(found.left_out),
        cut_short=None if found is None else found.cut_short,
    )


def _next_run(ahead: LookAhead, position: int, at: datetime) -> NextRunView:
    return NextRunView(
        at=at,
        local=at.astimezone(zone_of(ahead.time_zone)).isoformat(timespec="seconds"),
        reconciles=list(ahead.ranges[position]) if ahead.ranges else None,
    )


def _picked(pick: Pick) -> PickedView:
    return PickedView(
        order={"id": pick.order_id, "number": pick.order_number},
        amount=plain(pick.refund.amount, pick.refund.decimals),
        currency=pick.refund.currency,
        payment=pick.refund.payment,
        external_reference=pick.command.external_reference,
    )


def _left_out(one: LeftOut) -> LeftOutView:
    return LeftOutView(order={"id": one.order_id, "number": one.order_number}, reason=one.reason, message=one.message)
