"""Which of a store's refunds a list shall show: WooCommerce's own parameters, and what they mean for a refund."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from app.domain.order import StoreRefund
from app.domain.sight import without_markers

Order = Literal["asc", "desc"]
OrderBy = Literal["date", "id", "include", "title", "slug", "modified"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """A bound of a date filter.

    `at` is aware UTC, or naive for a time in the store's own time zone, which only the store knows.
    """

    at: datetime

    @property
    def is_local(self) -> bool:
        """Say whether the time is in the store's own time zone."""
        return self.at.tzinfo is None


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundQuery:
    """The parameters of a list of refunds; the defaults are WooCommerce's (CRUD:567-706)."""

    page: int = 1
    per_page: int = 10  #: at most 100
    offset: int | None = None  #: takes the place of `page`
    order: Order = "desc"
    orderby: OrderBy = "date"
    search: str = ""
    after: Moment | None = None
    before: Moment | None = None
    modified_after: Moment | None = None
    modified_before: Moment | None = None
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    parent: tuple[str, ...] = ()
    parent_exclude: tuple[str, ...] = ()
    context: Literal["view", "edit"] = "view"
    dp: int | None = None  #: decimals of the amounts in the documents

    @property
    def start(self) -> int:
        """Give the number of refunds before the page."""
        return self.offset if self.offset is not None else (self.page - 1) * self.per_page

    @property
    def local_bounds(self) -> tuple[str, ...]:
        """Name the date filters whose times are in the store's own time zone."""
        names = ("after", "before", "modified_after", "modified_before")
        return tuple(name for name in names if (bound := getattr(self, name)) is not None and bound.is_local)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A refund of a store, with what a filter has to know about it."""

    order_id: str
    refund: StoreRefund


def chosen(candidates: Iterable[Candidate], query: RefundQuery) -> list[Candidate]:
    """Filter and sort refunds as the query says, pages aside.

    A refund's row never changes after it was made, so its date of change is taken for that of its making. Bounds are
    exclusive, as WooCommerce's are. `query.local_bounds` have to be empty.
    """
    assert not query.local_bounds
    kept = [candidate for candidate in candidates if _matches(candidate, query)]
    if query.orderby == "include" and query.include:
        place = {refund_id: i for i, refund_id in enumerate(query.include)}
        return sorted(kept, key=lambda candidate: place.get(candidate.refund.id, len(place)))
    kept.sort(key=_by_age, reverse=query.order == "desc")
    if query.orderby == "id":
        kept.sort(key=lambda candidate: int(candidate.refund.id), reverse=query.order == "desc")
    return kept


def paged(found: Sequence[Candidate], query: RefundQuery) -> Sequence[Candidate]:
    """Cut the page out of everything found."""
    return found[query.start : query.start + query.per_page]


def _by_age(candidate: Candidate) -> tuple[float, int]:
    made = candidate.refund.created_at
    return (0.0 if made is None else made.timestamp(), int(candidate.refund.id))


def _matches(candidate: Candidate, query: RefundQuery) -> bool:
    refund = candidate.refund
    if query.include and refund.id not in query.include:
        return False
    if refund.id in query.exclude or candidate.order_id in query.parent_exclude:
        return False
    if query.parent and candidate.order_id not in query.parent:
        return False
    said = without_markers(refund.reason).casefold()
    if query.search.strip() != refund.id and not all(word in said for word in query.search.casefold().split()):
        return False
    after = max((bound.at for bound in (query.after, query.modified_after) if bound is not None), default=None)
    before = min((bound.at for bound in (query.before, query.modified_before) if bound is not None), default=None)
    if after is None and before is None:
        return True
    made = refund.created_at
    return made is not None and (after is None or made > after) and (before is None or made < before)
