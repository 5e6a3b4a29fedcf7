"""What callers ask of reconciliations and get back about them."""

from datetime import date
from typing import Annotated, Any, Literal, assert_never

from pydantic import ConfigDict, Field

from app.api.batch_input import Moment
from app.api.problems import InputFault, Problem, invalid_request
from app.api.queries import Page, Query
from app.api.schemas import Body
from app.api.values import SCHEDULE_ID_PATTERN, AmountText, Label, StoreName, Text, Time
from app.api.views import FailureView, OrderRef, View
from app.domain.money import plain
from app.domain.reconciliation import (
    ACTIONS,
    Action,
    Against,
    DriftClass,
    Phase,
    Reads,
    ReconciliationStatus,
    TotalClass,
)
from app.flows.reconcile import (
    NotFinished,
    ReconciliationNotFound,
    Report,
    SignedOffAlready,
    WindowRefused,
)
from app.ledger.reconciliations import Drift, Reconciliation, Total

_FROM = Field(alias="from", description="Inclusive.")
_TO = Field(description="Exclusive, and not in the future.")


class ReconciliationBody(Body):
    """What is to be compared; a refund belongs to it by when it was settled. The ERP's list stands beside."""

    store: StoreName
    from_: Annotated[Moment, _FROM]
    to: Annotated[Moment, _TO]


class ReconciliationQuery(Query):
    """What is to be compared, for a list that is sent as CSV."""

    store: StoreName | None = None
    from_: Annotated[Moment | None, _FROM] = None
    to: Annotated[Moment | None, _TO] = None


class ReconciliationListQuery(Page):
    """Which reconciliations to list."""

    store: StoreName | None = None
    status: ReconciliationStatus | None = None
    schedule: Annotated[
        str | None, Field(pattern=SCHEDULE_ID_PATTERN, description="The schedule that started them.")
    ] = None


class DriftListQuery(Page):
    """Which drifts to list."""

    drift_class: Annotated[DriftClass | None, Field(alias="class")] = None


class SignOffBody(Body):
    """Who has seen to what a reconciliation has found."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "Ada Example", "note": "Both deletions were meant; booked as 4711."}]}
    )

    name: Annotated[Label, Field(description="Who signs.")]
    note: Annotated[Text, Field(min_length=1, description="What was done about it.")]


class ProgressView(View):
    """How far a reconciliation has come."""

    phase: Annotated[
        Phase,
        Field(
            description="`reading`: the store's refunds; `adopting`: rows that the ledger had not heard of; "
            "`collecting`: the ledger's refunds; `asking`: the store, once for each refund that its list did not show; "
            "`comparing`: everything."
        ),
    ]
    rows_read: Annotated[int, Field(description="Rows of the store, a day before and after included.")]
    rows_expected: Annotated[int | None, Field(description="As the store counts them; null where it does not.")]
    adopted: Annotated[int, Field(description="Rows that the ledger had not heard of, and now has.")]
    refunds: Annotated[int | None, Field(description="Of the ledger, to be compared.")]
    to_ask: Annotated[int | None, Field(description="Refunds that the store's list did not show.")]
    asked: Annotated[int, Field(description="Those of them that the store was asked for.")]
    reads: Annotated[Reads | None, Field(description="By the store's own list, or order by order.")]


class SignOffView(View):
    """Who has seen to it."""

    name: str
    note: str
    by: Annotated[str, Field(description="The key that it came through.")]
    at: Time


class ReconciliationView(View):
    """A comparison of a store's refunds with the ledger's, and with an ERP's list where one was given."""

    model_config = ConfigDict(populate_by_name=True)

    id: Annotated[str, Field(examples=["rc_01J8ZK5Q3N6T0V9W2X4Y7A8B9C"])]
    object: Literal["reconciliation"] = "reconciliation"
    status: ReconciliationStatus
    store: str
    from_: Annotated[Time, Field(alias="from", description="Inclusive.")]
    to: Annotated[Time, Field(description="Exclusive.")]
    progress: ProgressView
    erp_entries: Annotated[int | None, Field(description="Of the ERP's list; null when none was given.")]
    matched: Annotated[
        int | None, Field(description="Refunds without any drift; null until it is finished, as `drifts`.")
    ]
    drifts: Annotated[int | None, Field(description="A refund can have several.")]
    failure: FailureView | None
    signed_off: SignOffView | None
    schedule_id: str | None
    created_by: str
    created_at: Time
    started_at: Time | None
    finished_at: Time | None


class TotalView(View):
    """How many refunds of a day and currency fell into a class, and how much they are."""

    model_config = ConfigDict(populate_by_name=True)

    day: Annotated[date, Field(description="UTC.")]
    currency: Annotated[str | None, Field(description="Null where the order of a refund was never read.")]
    total_class: Annotated[TotalClass, Field(alias="class")]
    refunds: int
    amount: AmountText


class ReconciliationReportView(ReconciliationView):
    """A reconciliation with its totals."""

    totals: Annotated[list[TotalView], Field(description="By day, currency and class; empty until it is finished.")]


class ReconciliationList(View):
    """A page of reconciliations, newest first."""

    data: list[ReconciliationView]
    next_cursor: Annotated[str | None, Field(description="Send it as `after` for the next page; null on the last.")]


class DriftView(View):
    """One way in which a refund differs, with the facts of every side, and what to do about it."""

    model_config = ConfigDict(populate_by_name=True)

    id: str
    object: Literal["drift"] = "drift"
    drift_class: Annotated[DriftClass, Field(alias="class")]
    against: Annotated[Against, Field(description="With what the ledger differs, or `ledger` for itself.")]
    refund_id: Annotated[str | None, Field(description="Null for an ERP's entry that no refund was found for.")]
    store_refund_id: str | None
    order: OrderRef
    external_reference: str | None
    at: Annotated[Time, Field(description="By which it belongs to the reconciliation.")]
    amount: AmountText | None
    currency: str | None
    action: Annotated[Action, Field(description="What is proposed; the gateway does nothing of it by itself.")]
    proposal: Annotated[str, Field(description="The same in words.")]
    evidence: Annotated[
        dict[str, Any],
        Field(
            description="`ledger`, `store` and `erp`: the facts of each side; `other`: the refund that it is like; "
            "`asked`: what the store was asked for by itself, and what it said."
        ),
    ]


class DriftList(View):
    """A page of drifts, by class and then by time."""

    data: list[DriftView]
    next_cursor: Annotated[str | None, Field(description="Send it as `after` for the next page; null on the last.")]


def reconciliation_view(record: Reconciliation) -> ReconciliationView:
    """Show a reconciliation."""
    return ReconciliationView(**_members(record))


def report_view(report: Report) -> ReconciliationReportView:
    """Show a reconciliation with its totals."""
    return ReconciliationReportView(**_members(report.record), totals=[total_view(total) for total in report.totals])


def _members(record: Reconciliation) -> dict[str, Any]:
    failure = record.failure
    signed_off = None
    if record.signed_off_at is not None:
        signed_off = SignOffView(
            name=record.signed_off_by or "",
            note=record.signed_off_note or "",
            by=record.signed_off_key or "",
            at=record.signed_off_at,
        )
    return {
        "id": record.id,
        "status": record.status,
        "store": record.store,
        "from_": record.from_at,
        "to": record.to_at,
        "progress": ProgressView(
            phase=record.phase,
            rows_read=record.rows_read,
            rows_expected=record.rows_expected,
            adopted=record.adopted,
            refunds=record.refunds,
            to_ask=record.to_ask,
            asked=record.asked,
            reads=record.reads,
        ),
        "erp_entries": record.erp_entries,
        "matched": record.matched,
        "drifts": record.drifts,
        "failure": None
        if failure is None
        else FailureView(code=failure.code, message=failure.message, facts=dict(failure.facts)),
        "signed_off": signed_off,
        "schedule_id": record.schedule_id,
        "created_by": record.created_by,
        "created_at": record.created_at,
        "started_at": record.started_at,
        "finished_at": record.finished_at,
    }


def total_view(total: Total) -> TotalView:
    """Show a total."""
    return TotalView(
        day=total.day,
        currency=total.currency,
        total_class=total.total_class,
        refunds=total.refunds,
        amount=plain(total.amount, total.decimals),
    )


def drift_view(drift: Drift) -> DriftView:
    """Show a drift."""
    return DriftView(
        id=str(drift.id),
        drift_class=drift.drift_class,
        against=drift.against,
        refund_id=drift.refund_id,
        store_refund_id=drift.store_refund_id,
        order=OrderRef(id=drift.order_id, number=drift.order_number),
        external_reference=drift.external_reference,
        at=drift.at,
        amount=None if drift.amount is None else plain(drift.amount, drift.decimals),
        currency=drift.currency,
        action=drift.action,
        proposal=ACTIONS[drift.action],
        evidence=dict(drift.evidence),
    )


def reconciliation_problem(
    no: ReconciliationNotFound | NotFinished | SignedOffAlready | WindowRefused, *, in_query: bool = False
) -> Problem:
    """Say a "no" about a reconciliation as a problem."""
    match no:
        case ReconciliationNotFound():
            return Problem(
                "reconciliation_not_found",
                f"There is no reconciliation {no.reconciliation_id}.",
                reconciliation_id=no.reconciliation_id,
            )
        case NotFinished():
            detail = f"The reconciliation is {no.record.status}."
            if no.record.failure is not None:
                detail = f"The reconciliation failed: {no.record.failure.message}"
            return Problem("reconciliation_not_finished", detail, reconciliation=reconciliation_view(no.record))
        case SignedOffAlready():
            return Problem(
                "already_signed_off",
                f"{no.record.signed_off_by} has signed the report off; it never changes again.",
                reconciliation=reconciliation_view(no.record),
            )
        case WindowRefused():
            place: Literal["query", "body"] = "query" if in_query else "body"
            fault = InputFault(code="out_of_range", pointer=f"/{no.bound}", message=no.message, place=place)
            return invalid_request([fault])
        case _:
            assert_never(no)
