"""When schedules fire: where clocks change, and which expressions are refused."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.flows import cron

BERLIN = ZoneInfo("Europe/Berlin")
#: Clocks go from 2:00 CET to 3:00 CEST, and from 3:00 CEST to 2:00 CET.
SPRING, AUTUMN = datetime(2026, 3, 28, 12, tzinfo=UTC), datetime(2026, 10, 24, 12, tzinfo=UTC)


def local(expression: str, at: datetime, count: int) -> list[str]:
    return [f"{fire.astimezone(BERLIN):%d. %H:%M %Z}" for fire in cron.upcoming(expression, BERLIN, at, count=count)]


def test_a_time_of_day_stays_the_same_on_the_clock_when_it_is_changed() -> None:
    assert local("0 6 * * *", SPRING, 2) == ["29. 06:00 CEST", "30. 06:00 CEST"]
    assert cron.upcoming("0 6 * * *", BERLIN, SPRING - timedelta(days=1), count=2) == [
        datetime(2026, 3, 28, 5, tzinfo=UTC),
        datetime(2026, 3, 29, 4, tzinfo=UTC),
    ]
    assert local("0 6 * * *", AUTUMN, 2) == ["25. 06:00 CET", "26. 06:00 CET"]


def test_a_time_that_is_left_out_in_spring_fires_once_when_the_clock_goes_on() -> None:
    assert local("30 2 * * *", SPRING, 2) == ["29. 03:00 CEST", "30. 02:30 CEST"]


def test_a_time_that_comes_twice_in_autumn_fires_once() -> None:
    assert local("30 2 * * *", AUTUMN, 2) == ["25. 02:30 CEST", "26. 02:30 CET"]


def test_every_half_hour_goes_by_real_time() -> None:
    for change in (SPRING, AUTUMN):
        fires = cron.upcoming("*/30 * * * *", BERLIN, change, count=60)
        assert {after - before for before, after in pairwise(fires)} == {timedelta(minutes=30)}


def test_asked_in_the_second_of_two_hours_the_first_one_is_past() -> None:
    second = datetime(2026, 10, 25, 1, 10, tzinfo=UTC)  # 02:10 CET; 02:30 CEST was 40 minutes ago
    assert second.astimezone(BERLIN).fold == 1
    assert local("30 2 * * *", second, 1) == ["26. 02:30 CET"]


@given(
    st.sampled_from(["30 2 * * *", "0 */2 * * *", "*/7 2,3 * * *", "15 * * * *", "0 0 1 * *"]),
    st.sampled_from([SPRING, AUTUMN]),
    st.integers(0, 48 * 60),
)
def test_the_next_time_is_always_later(expression: str, change: datetime, minutes: int) -> None:
    moment = change + timedelta(minutes=minutes)
    fires = [moment, *cron.upcoming(expression, BERLIN, moment, count=20)]
    assert all(before < after for before, after in pairwise(fires))
    assert cron.after(expression, BERLIN, moment) == fires[1]
    assert list(cron.between(expression, BERLIN, fires[1], fires[5])) == fires[1:6]
    assert list(cron.between(expression, BERLIN, fires[5], fires[1])) == []


@pytest.mark.parametrize(
    "expression",
    ["*/5 * * * *", "0 6 * * 1-5", "0 0 29 2 *", "0 9 L * *", "0 9 * * mon#1", "55 23 * * *", "0 0 31 1,2 *"],
)
def test_sound_expressions_are_taken(expression: str) -> None:
    cron.check(expression, BERLIN, at=SPRING)


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("", "five fields"),
        ("0 6 * *", "five fields"),
        ("0 0 6 * * *", "five fields"),
        ("@daily", "five fields"),
        ("0 25 * * *", "cannot be read"),
        ("nonsense 6 * * *", "cannot be read"),
        ("0 0 30 2 *", "cannot be read"),
        ("0 0 31 4,6 *", "cannot be read"),
        ("* * * * *", "every 5 minutes"),
        ("*/4 * * * *", "every 5 minutes"),
        ("0,59 * * * *", "every 5 minutes"),
        ("0,58 0,23 * * *", "every 5 minutes"),
        ("1,2 0 1 1 *", "every 5 minutes"),
        ("1," * 60 + "1 * * * *", "five fields"),
    ],
)
def test_other_expressions_are_refused(expression: str, why: str) -> None:
    with pytest.raises(cron.CronRefused, match=why) as refused:
        cron.check(expression, BERLIN, at=SPRING)
    assert refused.value.field == "cron"


@pytest.mark.parametrize("name", ["", "Europe", "Europe/Atlantis", "../etc/passwd", "localtime", "CEST"])
def test_only_real_time_zones_are_taken(name: str) -> None:
    with pytest.raises(cron.CronRefused, match="no such time zone") as refused:
        cron.zone_of(name)
    assert refused.value.field == "time_zone"
