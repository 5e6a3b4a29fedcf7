"""Schedules as callers send them, said in the domain's words."""

from typing import assert_never

from app.api.schedule_schemas import (
    FixedAmountBody,
    GivenLinesBody,
    OnlyShippingBody,
    PercentageBody,
    RemainingBody,
    ScheduleBody,
    SelectorBody,
    WindowBody,
)
from app.domain.schedule import (
    Action,
    MetaTest,
    Plan,
    ReconciliationPlan,
    RefundAmount,
    RefundLines,
    RefundPercentage,
    RefundRemaining,
    RefundShipping,
    RefundsPlan,
    Selector,
    Terms,
    Window,
)
from app.flows.schedules import NewSchedule


def to_new_schedule(body: ScheduleBody) -> NewSchedule:
    """Say in the flow's words what schedule is asked for."""
    return NewSchedule(
        name=body.name,
        store=body.store,
        cron=body.cron,
        time_zone=body.time_zone,
        plan=_plan(body),
        missed=body.missed,
        paused=body.paused,
    )


def _plan(body: ScheduleBody) -> Plan:
    if body.kind == "reconciliation":
        return ReconciliationPlan(window_days=1 if body.window is None else body.window.days)
    assert body.selector is not None
    assert body.action is not None
    return RefundsPlan(
        selector=_selector(body.selector),
        action=_action(body.action),
        terms=Terms(
            reason=body.reason,
            reason_code=body.reason_code,
            payment=body.payment,
            restock=body.restock,
            metadata=body.metadata or {},
        ),
        mode=body.mode,
        max_orders=body.max_orders,
        max_total=body.max_total or {},
    )


def _selector(body: SelectorBody) -> Selector:
    return Selector(
        statuses=tuple(dict.fromkeys(body.status or ())),
        created=_window(body.created),
        paid=_window(body.paid),
        completed=_window(body.completed),
        modified=_window(body.modified),
        payment_methods=tuple(dict.fromkeys(body.payment_method or ())),
        currency=None if body.currency is None else body.currency.upper(),
        min_total=None if body.total is None else body.total.min,
        max_total=None if body.total is None else body.total.max,
        skus=tuple(dict.fromkeys(body.sku or ())),
        meta=tuple(MetaTest(key=test.key, value=test.value) for test in body.meta or ()),
        customer_id=None if body.customer is None else body.customer.id,
        customer_email=None if body.customer is None else body.customer.email,
        refunded=body.refunded,
    )


def _window(body: WindowBody | None) -> Window | None:
    return None if body is None else Window(older_than=body.older_than, newer_than=body.newer_than)


def _action(body: RemainingBody | OnlyShippingBody | PercentageBody | FixedAmountBody | GivenLinesBody) -> Action:
    match body:
        case RemainingBody():
            return RefundRemaining()
        case OnlyShippingBody():
            return RefundShipping()
        case PercentageBody():
            return RefundPercentage(percentage=body.percentage)
        case FixedAmountBody():
            return RefundAmount(amount=body.amount, currency=body.currency.upper())
        case GivenLinesBody():
            return RefundLines(lines=tuple((line.sku, line.quantity) for line in body.lines))
        case _:
            assert_never(body)
