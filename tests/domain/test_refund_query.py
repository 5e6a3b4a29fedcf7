"""What a list of a store's refunds shows, where the gateway puts it together itself."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from app.domain.order import StoreRefund
from app.domain.refund_query import Candidate, Moment, RefundQuery, chosen, paged

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def made(refund_id: str, order_id: str = "12", *, minutes: int = 0, reason: str = "") -> Candidate:
    refund = StoreRefund(
        id=refund_id,
        amount=Decimal(5),
        reason=reason,
        refunded_payment=None,
        created_at=NOON + timedelta(minutes=minutes),
        reference=None,
        lines=(),
    )
    return Candidate(order_id=order_id, refund=refund)


ALL = [made("9", minutes=1), made("10", minutes=3, reason="Broken mug"), made("11", "13", minutes=2, reason="late")]


def ids(**fields: Any) -> list[str]:
    return [candidate.refund.id for candidate in chosen(ALL, RefundQuery(**fields))]


def test_the_newest_comes_first_unless_told_otherwise() -> None:
    assert ids() == ["10", "11", "9"]
    assert ids(order="asc") == ["9", "11", "10"]
    assert ids(orderby="id") == ["11", "10", "9"]
    assert ids(orderby="id", order="asc") == ["9", "10", "11"]
    assert ids(orderby="include", include=("11", "9")) == ["11", "9"]


def test_filters_take_away_what_does_not_match() -> None:
    assert ids(parent=("13",)) == ["11"]
    assert ids(parent_exclude=("13",)) == ["10", "9"]
    assert ids(include=("9", "10"), exclude=("9",)) == ["10"]
    assert ids(search="MUG broken") == ["10"]
    assert ids(search="11") == ["11"]
    assert ids(search="mug late") == []


def test_bounds_of_time_are_exclusive_and_changes_count_as_making() -> None:
    at = Moment(at=NOON + timedelta(minutes=2))
    assert ids(after=at) == ["10"]
    assert ids(before=at) == ["9"]
    assert ids(modified_after=at) == ["10"]
    assert ids(modified_before=at) == ["9"]


def test_a_refund_without_a_date_is_in_no_range() -> None:
    undated = Candidate(order_id="12", refund=StoreRefund(**{**_fields(ALL[0].refund), "created_at": None}))
    assert chosen([undated], RefundQuery(after=Moment(at=NOON))) == []
    assert chosen([undated], RefundQuery()) == [undated]


def _fields(refund: StoreRefund) -> dict[str, Any]:
    return {name: getattr(refund, name) for name in StoreRefund.__dataclass_fields__}


def test_pages_are_cut_by_page_or_by_offset() -> None:
    found = chosen(ALL, RefundQuery())
    assert [c.refund.id for c in paged(found, RefundQuery(per_page=2, page=2))] == ["9"]
    assert [c.refund.id for c in paged(found, RefundQuery(per_page=2, offset=1))] == ["11", "9"]
    assert paged(found, RefundQuery(page=9)) == []


def test_a_time_without_an_offset_is_the_stores_own() -> None:
    local = Moment(at=NOON.replace(tzinfo=None))
    assert RefundQuery(after=local, before=Moment(at=NOON)).local_bounds == ("after",)
