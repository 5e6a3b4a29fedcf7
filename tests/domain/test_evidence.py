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
    Sight,
    Succeeded,
    Verdict,
    Wait,
    sight_of,
    weigh,
    without_markers,
)
from app.domain.order import OrderNote, OrderSnapshot, StoreRefund
from app.domain.refund import Failure

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


def note(text: str, *, after_s: float, by_system: bool = True) -> OrderNote:
    return OrderNote(
        id="1", author="WooCommerce", text=text, created_at=LOST + timedelta(seconds=after_s), by_system=by_system
    )


def sight(*rows: StoreRefund, notes: tuple[OrderNote, ...] = (), known: frozenset[str] = frozenset()) -> Sight:
    order = OrderSnapshot(
        id="12",
        number="12",
        status="processing",
        currency="EUR",
        decimals=2,
        total=Decimal(100),
        prices_include_tax=False,
        created_at=LOST,
        modified_at=LOST,
        paid_at=LOST,
        payment_method="stripe",
        payment_method_title="Card",
        lines=(),
        tax_rates=(),
        refunds=rows,
        read_at=LOST,
    )
    return sight_of(
        order=order,
        notes=notes,
        marker=MARKER,
        amount=Decimal("20.00"),
        sent_at=LOST,
        known_refund_ids=known,
        looked_at=LOST,
    )


def test_the_marker_is_found_in_the_reason_or_in_meta_data() -> None:
    by_reason, by_meta = row(id="1"), row(id="2", reason="", reference=MARKER)
    assert sight(by_reason, by_meta, row(id="3", reason="[RG-00000000]")).rows == (by_reason, by_meta)


def test_lookalikes_are_unmarked_recent_and_not_ours() -> None:
    stranger = row(id="4", reason="")
    others = (
        row(id="5", reason="", amount=Decimal("1.00")),
        row(id="6", reason="", created_at=LOST - timedelta(minutes=1)),
        row(id="7", reason=""),
        row(id="8", reason="[RG-00000000]"),
    )
    assert sight(stranger, *others, known=frozenset({"7"})).lookalikes == (stranger,)


@pytest.mark.parametrize(
    "text",
    [
        "Order status changed from Processing to Refunded.",
        "Stock levels reduced: Album (SKU0) 10&rarr;7",
        "Item #12 stock increased from 3 to 4.",
    ],
)
def test_housekeeping_is_not_a_payment_note(text: str) -> None:
    assert sight(notes=(note(text, after_s=1),)).gateway_notes == ()


def test_a_note_with_the_marker_is_a_payment_note_at_any_time() -> None:
    text = f"Refunded 20.00 - Refund ID: re_1 - Reason: [{MARKER}]"
    assert sight(notes=(note(text, after_s=-999),)).gateway_notes == (text,)


def test_notes_of_other_refunds_people_and_earlier_times_do_not_count() -> None:
    notes = (
        note("Refunded 20.00 - Reason: [RG-00000000]", after_s=1),
        note("Called the customer.", after_s=1, by_system=False),
        note("Refunded 20.00", after_s=-60),
    )
    assert sight(notes=notes).gateway_notes == ()


def other(**fields: object) -> StoreRefund:
    """Give a paid refund that somebody else made, a second after the attempt."""
    values: dict[str, object] = {
        "id": "9",
        "reason": "by hand",
        "refunded_payment": True,
        "amount": Decimal("5.00"),
        "created_at": LOST + timedelta(seconds=1),
    }
    return row(**(values | fields))


def test_a_paid_row_explains_one_note_and_no_more() -> None:
    notes = (note("Refunded 5,00 EUR", after_s=2), note("Refunded 5.00 EUR", after_s=3))
    assert sight(other(), notes=notes).gateway_notes == ("Refunded 5.00 EUR",)


def test_a_row_that_had_its_note_before_the_attempt_explains_no_later_one() -> None:
    before = other(created_at=LOST - timedelta(seconds=4))
    notes = (note("Refunded 5.00", after_s=-4), note("Refunded 5.00", after_s=1))
    assert sight(before, notes=notes).gateway_notes == ("Refunded 5.00",)


@pytest.mark.parametrize(
    "row_of_another",
    [
        other(amount=Decimal("6.00")),
        other(amount=Decimal("15.00")),
        other(created_at=None),
        other(created_at=LOST + timedelta(minutes=1)),
        other(refunded_payment=False),
    ],
)
def test_a_row_of_another_amount_or_time_or_without_payment_explains_nothing(row_of_another: StoreRefund) -> None:
    assert sight(row_of_another, notes=(note("Refunded 5.00", after_s=2),)).gateway_notes == ("Refunded 5.00",)


def test_a_row_whose_own_note_quotes_it_explains_no_other_note() -> None:
    quoted = other(reason="[RG-00000000]")
    notes = (note("Refunded 5.00 [RG-00000000]", after_s=2), note("Refunded 5.00", after_s=3))
    assert sight(quoted, notes=notes).gateway_notes == ("Refunded 5.00",)


@pytest.mark.parametrize(
    ("reason", "clean"),
    [
        ("Customer request [RG-7F3K9Q2X]", "Customer request"),
        ("RG-7F3K9Q2X again", " again"),
        ("Ring RG-7 broken [sic]", "Ring RG-7 broken [sic]"),
    ],
)
def test_a_reason_cannot_carry_somebody_elses_marker(reason: str, clean: str) -> None:
    assert without_markers(reason) == clean


def test_people_read_amounts_as_they_write_them() -> None:
    _, verdict = weigh(ATTEMPT, seen(0, row(amount=Decimal("150.00000000"))), LIMITS)
    assert verdict.why == "The store's refund is of 150.00, not of 20.00."
