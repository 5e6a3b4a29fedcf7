"""What callers get back about batches and their items."""

from collections import defaultdict
from collections.abc import Iterable
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field

from app.api.problems import Problem
from app.api.values import AmountText, Time
from app.api.views import FailureView, OrderRef, View
from app.domain.batch import BatchMode, BatchStatus, ItemStatus, StoppedBy
from app.domain.money import iso_decimals, plain
from app.domain.refund import PaymentMode
from app.flows import batch_results as flow_results
from app.flows.batch_results import BatchNotFound, BatchWrongState, Tally

_LAST: frozenset[BatchStatus] = frozenset({"finished", "canceled", "expired"})


def is_over(batch: flow_results.BatchView) -> bool:
    """Say whether nothing will change any more; a canceled batch may still have refunds under way."""
    return batch.status in _LAST and batch.processed >= batch.items


class BatchCountsView(View):
    """How many items stand where."""

    waiting: Annotated[int, Field(description="Not taken up yet.")] = 0
    pending: int = 0
    sending: int = 0
    succeeded: int = 0
    failed: Annotated[int, Field(description="There is a refund, and no money moved.")] = 0
    uncertain: int = 0
    needs_review: int = 0
    canceled: int = 0
    refused: Annotated[int, Field(description="It came to no refund; `failure` says why.")] = 0
    dropped: Annotated[int, Field(description="The batch was canceled before it was taken up.")] = 0
    valid: Annotated[int, Field(description="Of a dry run: it could be refunded.")] = 0


class BatchSumView(View):
    """What the items of a status come to in a currency."""

    status: ItemStatus
    currency: Annotated[str | None, Field(description="Null where it is not known yet.")]
    items: int
    amount: Annotated[AmountText | None, Field(description="Null where no amount is known yet.")]


class BatchStoreSumView(BatchSumView):
    """What a store's items of a status come to in a currency."""

    store: str


class BatchLimitView(View):
    """What the batch may pay at most in a currency."""

    currency: str
    max_total: AmountText
    taken: Annotated[AmountText, Field(description="By refunds that have not failed.")]


class BatchView(View):
    """A batch and how far it has come. `processed` never falls: items that came to an end, or to a person."""

    id: str
    object: Literal["batch"] = "batch"
    name: str
    mode: Annotated[BatchMode, Field(description="`check`: a dry run.")]
    status: Annotated[
        BatchStatus,
        Field(
            description="`scheduled`: begins at `start_at`; `held`: waits for its release; `stopped`: by itself, see "
            "`stopped_by`, and can be resumed; `expired`: nobody released it in time."
        ),
    ]
    stopped_by: StoppedBy | None
    start_at: Time | None
    release_until: Time | None
    stop_after_failures: int | None
    stop_if_over: Annotated[str | None, Field(description="A share of 1.", examples=["0.05"])]
    limits: list[BatchLimitView]
    items: int
    processed: int
    counts: BatchCountsView
    amounts: Annotated[list[BatchSumView], Field(description="By status and currency.")]
    stores: Annotated[list[BatchStoreSumView], Field(description="By store, currency and status.")]
    rate_per_s: Annotated[float | None, Field(description="Items processed per second, lately.")]
    ends_at: Annotated[Time | None, Field(description="Estimated by the rate.")]
    schedule_id: Annotated[str | None, Field(description="The schedule that made it.")]
    created_by: str
    released_by: str | None
    created_at: Time
    updated_at: Time
    started_at: Time | None
    finished_at: Time | None


class BatchList(View):
    """A page of batches, newest first."""

    data: list[BatchView]
    next_cursor: Annotated[str | None, Field(description="Send it as `after` for the next page; null on the last.")]


class BatchItemView(View):
    """An item of a batch and what became of it."""

    item: Annotated[int, Field(description="Its place in what was uploaded, from 1.")]
    object: Literal["batch_item"] = "batch_item"
    store: str
    order: OrderRef
    external_reference: str | None
    status: ItemStatus
    replayed: Annotated[bool, Field(description="Its refund was there before this batch, by its reference.")]
    refund_id: str | None
    store_refund_id: str | None
    money: Annotated[str | None, Field(description="As the refund says; null where there is none.")]
    amount: AmountText | None
    currency: str | None
    payment: PaymentMode
    failure: FailureView | None
    settled_at: Time | None


class BatchItemList(View):
    """A page of a batch's items, by their numbers."""

    data: list[BatchItemView]
    next_cursor: Annotated[str | None, Field(description="Send it as `after` for the next page; null on the last.")]


def batch_view(batch: flow_results.BatchView) -> BatchView:
    """Show a batch."""
    counts: dict[str, int] = defaultdict(int)
    for tally in batch.tallies:
        counts[tally.status] += tally.items
    stops = batch.stops
    return BatchView(
        id=batch.id,
        name=batch.name,
        mode=batch.mode,
        status=batch.status,
        stopped_by=batch.stopped_by,
        start_at=batch.start_at,
        release_until=batch.release_until,
        stop_after_failures=stops.stop_after_failures,
        stop_if_over=None if stops.stop_if_over is None else format(stops.stop_if_over.normalize(), "f"),
        limits=[
            BatchLimitView(
                currency=currency,
                max_total=plain(limit.max_total, iso_decimals(currency)),
                taken=plain(limit.taken, iso_decimals(currency)),
            )
            for currency, limit in sorted(batch.limits.items())
        ],
        items=batch.items,
        processed=batch.processed,
        counts=BatchCountsView(**counts),
        amounts=_sums(batch.tallies),
        stores=[
            BatchStoreSumView(
                store=tally.store,
                status=tally.status,
                currency=tally.currency,
                items=tally.items,
                amount=_amount(tally.amount, tally.currency, tally.decimals),
            )
            for tally in sorted(batch.tallies, key=lambda tally: (tally.store, tally.currency or "", tally.status))
        ],
        rate_per_s=None if batch.rate_per_s is None else round(batch.rate_per_s, 2),
        ends_at=batch.ends_at,
        schedule_id=batch.schedule_id,
        created_by=batch.created_by,
        released_by=batch.released_by,
        created_at=batch.created_at,
        updated_at=batch.updated_at,
        started_at=batch.started_at,
        finished_at=batch.finished_at,
    )


def _sums(tallies: Iterable[Tally]) -> list[BatchSumView]:
    """Add stores up; stores may differ in the decimals of a currency, then the finest are shown."""
    groups: dict[tuple[str, ItemStatus], list[Tally]] = defaultdict(list)
    for tally in tallies:
        groups[tally.currency or "", tally.status].append(tally)
    return [
        BatchSumView(
            status=status,
            currency=currency or None,
            items=sum(tally.items for tally in group),
            amount=_total(group),
        )
        for (currency, status), group in sorted(groups.items())
    ]


def _total(group: list[Tally]) -> str | None:
    amounts = [tally.amount for tally in group if tally.amount is not None]
    decimals = max((tally.decimals for tally in group if tally.decimals is not None), default=None)
    return _amount(sum(amounts, Decimal(0)) if amounts else None, group[0].currency, decimals)


def _amount(amount: Decimal | None, currency: str | None, decimals: int | None) -> str | None:
    if amount is None:
        return None
    return plain(amount, iso_decimals(currency or "") if decimals is None else decimals)


def item_view(item: flow_results.ItemView) -> BatchItemView:
    """Show an item."""
    failure = item.failure
    return BatchItemView(
        item=item.id,
        store=item.store,
        order=OrderRef(id=item.order_id, number=item.order_number),
        external_reference=item.external_reference,
        status=item.status,
        replayed=item.replayed,
        refund_id=item.refund_id,
        store_refund_id=item.store_refund_id,
        money=item.money,
        amount=_amount(item.amount, item.currency, item.decimals),
        currency=item.currency,
        payment=item.payment,
        failure=None
        if failure is None
        else FailureView(code=failure.code, message=failure.message, facts=dict(failure.facts)),
        settled_at=item.settled_at,
    )


def batch_problem(no: BatchNotFound | BatchWrongState) -> Problem:
    """Say a flow's "no" about a batch as a problem."""
    if isinstance(no, BatchNotFound):
        return Problem("batch_not_found", f"There is no batch {no.batch_id[:64]}.", batch_id=no.batch_id[:64])
    detail = f"The batch is {no.view.status}; this needs {' or '.join(no.allowed)}."
    return Problem("wrong_state", detail, batch=batch_view(no.view), allowed=list(no.allowed))
