"""Windows, selectors and durations, without any store."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.order_query import OrderSummary
from app.domain.schedule import (
    MalformedDuration,
    ReconciliationPlan,
    Selector,
    Window,
    format_duration,
    over_limit,
    parse_duration,
    reference_of,
)

NOW = datetime(2026, 11, 23, 5, 0, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("P14D", 14 * DAY),
        ("14d", 14 * DAY),
        ("PT12H", DAY / 2),
        ("12h", DAY / 2),
        ("P1DT6H", 1.25 * DAY),
        ("P2W", 14 * DAY),
        ("2w", 14 * DAY),
        ("P0D", timedelta(0)),
    ],
)
def test_lengths_of_time_are_read(text: str, length: timedelta) -> None:
    assert parse_duration(text) == length


@pytest.mark.parametrize(
    "text",
    ["", "P", "PT", "P1DT", "14", "P14", "-P1D", "P1M", "P1Y", "PT5M", "PT30S", "1.5d", "P1.5D", "14 d", "P99999D"],
)
def test_anything_else_is_none(text: str) -> None:
    with pytest.raises(MalformedDuration):
        parse_duration(text)


@given(st.integers(0, 3_660 * 24))
def test_reading_and_writing_a_length_are_inverse(hours: int) -> None:
    length = timedelta(hours=hours)
    assert parse_duration(format_duration(length)) == length


def test_the_windows_of_daily_runs_meet_without_a_gap_and_without_overlap() -> None:
    window = Window(older_than=DAY, newer_than=2 * DAY)
    for seconds in range(-90_000, 90_000, 1_800):
        moment = NOW - 1.5 * DAY + timedelta(seconds=seconds)
        assert sum(window.holds(moment, NOW + days * DAY) for days in range(-3, 4)) == 1
    assert not window.holds(None, NOW)


@pytest.mark.parametrize(
    ("window", "empty"),
    [
        (Window(older_than=DAY, newer_than=2 * DAY), False),
        (Window(older_than=DAY, newer_than=DAY), True),
        (Window(older_than=2 * DAY, newer_than=DAY), True),
        (Window(older_than=DAY), False),
        (Window(newer_than=DAY), False),
    ],
)
def test_a_window_without_any_time_is_found_out(window: Window, empty: bool) -> None:
    assert window.is_empty is empty


def order(**fields: object) -> OrderSummary:
    plain: dict[str, object] = {
        "id": "1",
        "number": "1",
        "status": "processing",
        "currency": "EUR",
        "total": Decimal(10),
        "created_at": NOW - DAY,
        "modified_at": NOW - DAY,
        "paid_at": NOW - DAY,
        "completed_at": NOW - DAY,
        "payment_method": "pay",
        "skus": frozenset({"A"}),
        "customer_id": "2",
        "customer_email": "ada@example.com",
        "meta": {"rma": ("1", "2")},
        "refunded": Decimal(0),
        "has_refunds": False,
    }
    return OrderSummary(**{**plain, **fields})  # type: ignore[arg-type]


@given(
    st.integers(0, 100).map(lambda hours: NOW - timedelta(hours=hours)),
    st.integers(0, 100).map(lambda hours: NOW - timedelta(hours=hours)),
    st.integers(0, 60),
    st.integers(1, 60),
)
def test_what_the_store_is_asked_for_leaves_out_nothing_that_fits(
    created: datetime, later: datetime, older: int, newer: int
) -> None:
    paid = max(created, later)
    window = Window(older_than=timedelta(hours=older), newer_than=timedelta(hours=older + newer))
    shown = order(created_at=created, paid_at=paid, completed_at=paid, modified_at=max(paid, created))
    for name in ("created", "paid", "completed", "modified"):
        selector = Selector(**{name: window})  # type: ignore[arg-type]
        assert selector.mismatch(shown, NOW) is not None or selector.query(NOW).admits(shown)


def test_a_list_that_does_not_show_refunds_leaves_that_test_for_later() -> None:
    selector = Selector(refunded="none")
    assert selector.mismatch(order(refunded=None, has_refunds=None), NOW) is None
    assert selector.mismatch(order(refunded=Decimal(1), has_refunds=True), NOW) == "refunded"
    assert selector.admits_refunded(Decimal(0), Decimal(10))
    assert not Selector(refunded="partly").admits_refunded(Decimal(10), Decimal(10))


def test_a_customers_e_mail_does_not_show_in_a_selectors_text() -> None:
    assert "ada@" not in repr(Selector(customer_email="ada@example.com"))


def test_limits_hold_whatever_the_case_of_a_currency() -> None:
    limits, totals = {"EUR": Decimal(10)}, {"EUR": Decimal(7)}
    assert over_limit(limits, totals, "eur", Decimal("3.01"))
    assert not over_limit(limits, totals, "EUR", Decimal(3))
    assert over_limit(limits, totals, "USD", Decimal("0.01"))
    assert not over_limit({}, totals, "USD", Decimal(300))


def test_a_reference_is_always_the_same_until_it_is_used_up() -> None:
    assert [reference_of("sd_1", "12", earlier=earlier) for earlier in (0, 0, 1)] == ["sd_1:12", "sd_1:12", "sd_1:12:2"]


def test_a_reconciliation_ends_at_midnight_of_its_own_day() -> None:
    plan, tokyo = ReconciliationPlan(window_days=1), ZoneInfo("Asia/Tokyo")
    begin, end = plan.range(datetime(2026, 11, 22, 16, 0, tzinfo=UTC), tokyo)
    assert (begin.isoformat(), end.isoformat()) == ("2026-11-22T00:00:00+09:00", "2026-11-23T00:00:00+09:00")
