"""Pages of refunds that a store's API does not put together by itself."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Literal

from app.domain.order import StoreRefund
from app.domain.refund_query import Candidate, RefundQuery, chosen, paged
from app.stores.port import ListedRefund, ListTooLong, RefundPage

#: Rows that are read at most to filter them here.
ROWS_MAX = 2_000
#: Orders whose own refunds are read at most for one list.
ORDERS_MAX = 500
#: Orders whose refunds are read at a time.
AT_A_TIME = 3


def too_long(what: str) -> ListTooLong:
    """Say that a list cannot be put together here."""
    return ListTooLong(f"{what}; narrow the list down by dates or ask for the refunds of single orders.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Refunds that were read, as the store dates them, and how."""

    rows: Sequence[ListedRefund]
    in_order: bool  #: the store has sorted them
    served_by: Literal["store", "orders"]


def page_of(
    found: Found, query: RefundQuery, *, decimals: int, filtered_here: tuple[str, ...], ahead: timedelta
) -> RefundPage:
    """Filter what was found, sort it unless the store has, and cut the page out of it."""
    by_id = {row.refund.id: row for row in found.rows}
    kept = chosen((Candidate(order_id=row.order_id, refund=row.refund) for row in by_id.values()), query)
    if found.in_order:
        ids = {candidate.refund.id for candidate in kept}
        kept = [Candidate(order_id=row.order_id, refund=row.refund) for id_, row in by_id.items() if id_ in ids]
    return RefundPage(
        refunds=tuple(by_our_clock((by_id[candidate.refund.id] for candidate in paged(kept, query)), ahead)),
        total=len(kept),
        decimals=decimals,
        served_by=found.served_by,
        filtered_here=filtered_here,
    )


def by_our_clock(rows: Iterable[ListedRefund], ahead: timedelta) -> Iterable[ListedRefund]:
    """Date refunds by our clock; their documents keep the store's times."""
    return (replace(row, refund=dated(row.refund, ahead)) for row in rows)


def dated(refund: StoreRefund, ahead: timedelta) -> StoreRefund:
    """Date a refund by our clock, which the store's is so far ahead of."""
    return refund if refund.created_at is None else replace(refund, created_at=refund.created_at - ahead)
