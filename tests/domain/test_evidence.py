"""A test per row of the evidence table, and the promise that holds for all of them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.evidence import (
    RULES,
    Attempt,
    Limits,
    NotMoved,
    Resend,
    Review,
    Succeeded,
    Verdict,
    Wait,
    weigh,
)
from app.domain.order import StoreRefund
from app.domain.refund import Failure
from app.domain.sight import Sight

LOST = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
MARKER = "RG-7F3K9Q2X"
LIMITS = Limits(quiet=timedelta(seconds=5), store_limit=timedelta(seconds=120), on_absence="review")
ATTEMPT = Attempt(
    payment="gateway",
    amount=Decimal("20.00"),
    decimals=2,
    marker=MARKER,
    touch_lost_at=LOST,
    answer="none",
    refusal=None,
)
MANUAL = replace(ATTEMPT, payment="manual")
REFUSED = replace(ATTEMPT, answer="refused", refusal=Failure(code="gateway_declined", message="Card expired."))
NO_ANSWER = replace(
    REFUSED,
    refusal=Failure(code="gateway_declined", message="cURL error 28: Operation timed out after 70000 milliseconds"),
)
NOT_NOW = replace(ATTEMPT, answer="turned_away_for_now")
NOT_YOU = replace(
    ATTEMPT, answer="turned_away_for_good", refusal=Failure(code="store_misconfigured", message="Redirected.")
)


def row(**fields: object) -> StoreRefund:
    values: dict[str, object] = {
        "id": "726",
        "amount": Decimal("20.00"),
        "reason": f"Customer request [{MARKER}]",
        "refunded_payment": False,
        "created_at": LOST,
        "reference": None,
        "lines": (),
    }
    return StoreRefund(**(values | fields))  # type: ignore[arg-type]


def seen(
    after_s: float, *rows: StoreRefund, notes: tuple[str, ...] = (), lookalikes: tuple[StoreRefund, ...] = ()
) -> Sight:
    return Sight(rows=rows, gateway_notes=notes, lookalikes=lookalikes, looked_at=LOST + timedelta(seconds=after_s))


PAID = row(refunded_payment=True)
LATE = 121.0

TABLE: list[tuple[str, Attempt, Sight, Limits, type[Verdict]]] = [
    ("several_rows", ATTEMPT, seen(LATE, PAID, row(id="727")), LIMITS, Review),
    ("row_of_another_amount", ATTEMPT, seen(LATE, row(amount=Decimal(2000), refunded_payment=True)), LIMITS, Review),
    ("paid_row", ATTEMPT, seen(0, PAID), LIMITS, Succeeded),
    ("paid_row", REFUSED, seen(0, PAID), LIMITS, Succeeded),
    ("manual_row_that_was_paid", MANUAL, seen(0, PAID), LIMITS, Review),
    ("manual_row", MANUAL, seen(0, row()), LIMITS, Succeeded),
    ("unpaid_row_while_the_store_may_be_working", ATTEMPT, seen(119, row()), LIMITS, Wait),
    ("unpaid_row_while_the_store_may_be_working", NOT_NOW, seen(119, row()), LIMITS, Wait),
    ("unpaid_row", ATTEMPT, seen(LATE, row()), LIMITS, Review),
    ("unpaid_row", ATTEMPT, seen(LATE, row(refunded_payment=None)), LIMITS, Review),
    ("no_row_but_a_payment_note", REFUSED, seen(0, notes=("Refunded 20.00",)), LIMITS, Review),
    ("no_row_but_a_payment_note", ATTEMPT, seen(LATE, notes=("Refunded 20.00",)), LIMITS, Review),
    ("the_provider_did_not_answer", NO_ANSWER, seen(0), LIMITS, Review),
    ("refused_and_nothing_to_see", REFUSED, seen(0), LIMITS, NotMoved),
    ("refused_and_nothing_to_see", replace(REFUSED, refusal=None), seen(0), LIMITS, NotMoved),
    ("nothing_to_see_yet", ATTEMPT, seen(119), LIMITS, Wait),
    ("nothing_to_see_yet", MANUAL, seen(119), LIMITS, Wait),
    ("nothing_to_see_yet", NOT_NOW, seen(4), LIMITS, Wait),
    ("a_lookalike", ATTEMPT, seen(LATE, lookalikes=(row(id="9", reason=""),)), LIMITS, Review),
    ("turned_away_for_now", NOT_NOW, seen(5), LIMITS, Resend),
    ("turned_away_for_good", NOT_YOU, seen(5), LIMITS, NotMoved),
    ("absent_manual_refund", MANUAL, seen(LATE), LIMITS, Resend),
    ("absent_and_may_be_resent", ATTEMPT, seen(LATE), replace(LIMITS, on_absence="resend"), Resend),
    ("absent", ATTEMPT, seen(LATE), LIMITS, Review),
]


@pytest.mark.parametrize(("rule", "attempt", "sight", "limits", "verdict"), TABLE)
def test_each_row_of_the_table_decides_its_case(
    rule: str, attempt: Attempt, sight: Sight, limits: Limits, verdict: type[Verdict]
) -> None:
    found, decided = weigh(attempt, sight, limits)
    assert (found, type(decided)) == (rule, verdict)
    assert decided.why


def test_the_table_above_covers_every_rule() -> None:
    assert {rule.name for rule in RULES} == {name for name, *_ in TABLE}


def test_waiting_ends_exactly_when_the_store_limit_does() -> None:
    _, early = weigh(ATTEMPT, seen(10, row()), LIMITS)
    assert early == Wait(until=LOST + timedelta(seconds=120), why=early.why)
    assert isinstance(weigh(ATTEMPT, seen(120, row()), LIMITS)[1], Review)


@pytest.mark.parametrize(
    ("text", "lost"),
    [
        ("cURL error 28: Operation timed out after 70001 milliseconds", True),
        ("There was a problem connecting: the connection was reset.", True),
        ("Request time-out at the bank.", True),
        ("No response from PayPal server.", True),
        ("Gateway declined the refund.", False),
        ("The charge has already been refunded.", False),
        ("Insufficient funds in your account.", False),
    ],
)
def test_a_refusal_for_want_of_the_providers_answer_is_no_decline(text: str, lost: bool) -> None:
    attempt = replace(REFUSED, refusal=Failure(code="gateway_declined", message=f"The store reports: {text}"))
    assert isinstance(weigh(attempt, seen(0), LIMITS)[1], Review if lost else NotMoved)


def test_a_decline_keeps_the_payment_gateways_words() -> None:
    _, verdict = weigh(REFUSED, seen(0), LIMITS)
    assert isinstance(verdict, NotMoved)
    assert verdict.failure == Failure(code="gateway_declined", message="Card expired.")


ROWS = st.builds(
    row,
    id=st.sampled_from(["1", "2"]),
    amount=st.sampled_from([Decimal("20.00"), Decimal("19.99")]),
    refunded_payment=st.sampled_from([True, False, None]),
)


@given(
    payment=st.sampled_from(["gateway", "manual"]),
    answer=st.sampled_from(["none", "refused", "turned_away_for_now", "turned_away_for_good"]),
    rows=st.lists(ROWS, max_size=2),
    notes=st.lists(st.just("Refunded 20.00"), max_size=1),
    after_s=st.floats(0, 1000),
    on_absence=st.sampled_from(["review", "resend"]),
)
def test_nothing_that_shows_is_ever_called_not_moved_or_sent_again(
    payment: str, answer: str, rows: list[StoreRefund], notes: list[str], after_s: float, on_absence: str
) -> None:
    attempt = replace(ATTEMPT, payment=payment, answer=answer)
    sight = seen(after_s, *rows, notes=tuple(notes))
    _, verdict = weigh(attempt, sight, replace(LIMITS, on_absence=on_absence))
    if rows or (notes and payment == "gateway"):
        assert not isinstance(verdict, NotMoved | Resend)
    if isinstance(verdict, Succeeded):
        assert len(rows) == 1
        assert rows[0].amount == attempt.amount
        assert payment == "manual" or rows[0].refunded_payment is True


def test_people_read_amounts_as_they_write_them() -> None:
    _, verdict = weigh(ATTEMPT, seen(0, row(amount=Decimal("150.00000000"))), LIMITS)
    assert verdict.why == "The store's refund is of 150.00, not of 20.00."
