"""Which addresses and types of events there can be, and when to try again."""

import re
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.delivery import EVENT_TYPE_PATTERN, UnfitUrl, fit_url, wait_before_retry, wait_before_trial

_SCHEDULE = (5.0, 30.0, 120.0, 600.0, 3_600.0, 10_800.0)


@pytest.mark.parametrize("text", ["refund.failed", "refund.*", "store.recovered", "batch.finished", "batch.*"])
def test_types_and_families_are_known(text: str) -> None:
    assert re.fullmatch(EVENT_TYPE_PATTERN, text)


@pytest.mark.parametrize(
    "text", ["", "*", "refund", "refund.", "refund.faild", "refund.failed.x", "orders.*", "batch.X"]
)
def test_nothing_else_is_a_type(text: str) -> None:
    assert not re.fullmatch(EVENT_TYPE_PATTERN, text)


def test_a_host_is_read_out_of_an_address() -> None:
    assert fit_url("https://erp.example:8443/hooks?x=1", allow_http=False) == "erp.example"
    assert fit_url("https://[2001:db8::1]/", allow_http=False) == "2001:db8::1"
    assert fit_url("http://erp.example/", allow_http=True) == "erp.example"
    with pytest.raises(UnfitUrl, match="https"):
        fit_url("http://erp.example/", allow_http=False)


@given(st.text(min_size=8, max_size=60))
def test_any_text_is_an_address_or_is_refused_without_being_quoted(text: str) -> None:
    said = ""
    try:
        assert fit_url(text, allow_http=True)
    except UnfitUrl as error:
        said = str(error)
    assert text not in said


@given(retries=st.integers(1, 100), chance=st.floats(0, 1))
def test_waits_follow_the_schedule_within_a_tenth(retries: int, chance: float) -> None:
    wait = wait_before_retry(retries, _SCHEDULE, chance=chance).total_seconds()
    base = _SCHEDULE[min(retries, 6) - 1]
    assert 0.9 * base - 1e-6 <= wait <= 1.1 * base + 1e-6


def test_three_days_take_some_thirty_tries() -> None:
    spent, tries = timedelta(0), 1
    while (spent := spent + wait_before_retry(tries, _SCHEDULE, chance=0.5)) < timedelta(days=3):
        tries += 1
    assert 25 < tries < 35


def test_the_longer_an_outage_lasts_the_less_it_is_tried_and_it_is_soon_found_to_be_over() -> None:
    def wait(**since: float) -> float:
        return wait_before_trial(timedelta(**since), 5, chance=0.5).total_seconds()

    assert wait(seconds=1) == 5
    assert wait(minutes=5) == 25
    assert wait(hours=1) == 300
    assert wait(days=2) == 900
