"""A test per row of the table for the Legacy REST API, and the promise that holds for all of them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.evidence import (
    LEGACY_RULES,
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
from app.domain.order import OrderNote, OrderSnapshot, StoreRefund
from app.domain.refund import Failure
from app.domain.sight import Sight, sight_of

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
    sent_via="legacy",
)
MANUAL = replace(ATTEMPT, payment="manual")
REFUSED = replace(ATTEMPT, answer="refused", refusal=Failure(code="gateway_declined", message="Card expired."))
NO_ANSWER = replace(
    REFUSED, refusal=Failure(code="gateway_declined", message="cURL error 28: Operation timed out after 70000 ms")
)
NOT_NOW = replace(ATTEMPT, answer="turned_away_for_now")
NOT_YOU = replace(
    ATTEMPT, answer="turned_away_for_good", refusal=Failure(code="store_misconfigured", message="Redirected.")
)
LATE = 121.0


def row(**fields: object) -> StoreRefund:
    values: dict[str, object] = {
        "id": "726",
        "amount": Decimal("20.00"),
        "reason": f"Customer request [{MARKER}]",
        "refunded_payment": None,
        "created_at": LOST,
        "reference": None,
        "lines": (),
        "lines_known": False,
    }
    return StoreRefund(**(values | fields))  # type: ignore[arg-type]


def seen(
    after_s: float, *rows: StoreRefund, notes: tuple[str, ...] = (), lookalikes: tuple[StoreRefund, ...] = ()
) -> Sight:
    return Sight(rows=rows, gateway_notes=notes, lookalikes=lookalikes, looked_at=LOST + timedelta(seconds=after_s))


NOTE = ("Refunded 20.00",)

TABLE: list[tuple[str, Attempt, Sight, Limits, type[Verdict]]] = [
    ("several_rows", ATTEMPT, seen(LATE, row(), row(id="727")), LIMITS, Review),
    ("row_of_another_amount", ATTEMPT, seen(LATE, row(amount=Decimal(2000))), LIMITS, Review),
    ("row_of_another_amount", MANUAL, seen(LATE, row(amount=Decimal("19.99"))), LIMITS, Review),
    ("manual_row", MANUAL, seen(0, row()), LIMITS, Succeeded),
    ("manual_row", MANUAL, seen(0, row(amount=Decimal("20.004"))), LIMITS, Succeeded),
    ("refused_but_a_payment_note", REFUSED, seen(0, row(), notes=NOTE), LIMITS, Review),
    ("refused_but_a_payment_note", REFUSED, seen(LATE, notes=NOTE), LIMITS, Review),
    ("the_provider_did_not_answer", NO_ANSWER, seen(0, row()), LIMITS, Review),
    ("declined", REFUSED, seen(0, row()), LIMITS, NotMoved),
    ("declined", REFUSED, seen(0), LIMITS, NotMoved),
    ("row_while_the_store_may_be_working", ATTEMPT, seen(119, row()), LIMITS, Wait),
    ("row_while_the_store_may_be_working", NOT_NOW, seen(119, row()), LIMITS, Wait),
    ("row_without_proof", ATTEMPT, seen(LATE, row()), LIMITS, Review),
    ("row_without_proof", ATTEMPT, seen(LATE, row(), notes=NOTE), replace(LIMITS, on_absence="resend"), Review),
    ("no_row_but_a_payment_note", ATTEMPT, seen(LATE, notes=NOTE), LIMITS, Review),
    ("nothing_to_see_yet", ATTEMPT, seen(119), LIMITS, Wait),
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
    assert {rule.name for rule in LEGACY_RULES} == {name for name, *_ in TABLE}


def test_a_decline_names_the_row_that_the_store_has_kept() -> None:
    _, verdict = weigh(REFUSED, seen(0, row()), LIMITS)
    assert isinstance(verdict, NotMoved)
    assert verdict.store_refund_id == "726"
    assert verdict.failure == Failure(
        code="gateway_declined", message="Card expired.", facts={"leftover_store_refund_id": "726"}
    )
    assert "726" in verdict.why


def test_a_decline_without_a_row_leaves_nothing_over() -> None:
    _, verdict = weigh(replace(REFUSED, refusal=None), seen(0), LIMITS)
    assert isinstance(verdict, NotMoved)
    assert (verdict.store_refund_id, verdict.failure.facts) == (None, {})


def test_a_row_is_never_proof_of_a_payment_but_a_note_speaks_for_it() -> None:
    with_note, without = (weigh(ATTEMPT, seen(LATE, row(), notes=notes), LIMITS)[1] for notes in (NOTE, ()))
    assert isinstance(with_note, Review)
    assert isinstance(without, Review)
    assert with_note.code == without.code == "row_without_proof"
    assert "speaks for it" in with_note.why
    assert "No note" in without.why


def test_waiting_ends_exactly_when_the_store_limit_does() -> None:
    _, early = weigh(ATTEMPT, seen(10, row()), LIMITS)
    assert early == Wait(until=LOST + timedelta(seconds=120), why=early.why)
    assert isinstance(weigh(ATTEMPT, seen(120, row()), LIMITS)[1], Review)


def test_an_absent_row_says_that_nothing_was_paid_unless_it_was_deleted() -> None:
    _, verdict = weigh(ATTEMPT, seen(LATE), LIMITS)
    assert "unless somebody has deleted the row" in verdict.why


def test_the_same_sight_is_weighed_by_the_table_of_the_api_it_was_sent_through() -> None:
    assert weigh(replace(ATTEMPT, sent_via="v3"), seen(LATE, row()), LIMITS)[0] == "unpaid_row"


def test_a_row_that_may_be_unpaid_explains_no_note_away() -> None:
    by_hand = row(id="9", reason="by hand")
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
        refunds=(by_hand, row()),
        read_at=LOST,
    )
    note = OrderNote(id="1", author="", text="Refunded 20.00", created_at=LOST, by_system=True)
    sight = sight_of(
        order=order,
        notes=(note,),
        marker=MARKER,
        amount=Decimal("20.00"),
        sent_at=LOST,
        known_refund_ids=frozenset(),
        looked_at=LOST,
    )
    assert (sight.rows, sight.lookalikes, sight.gateway_notes) == ((row(),), (by_hand,), (note.text,))
    assert weigh(REFUSED, sight, LIMITS)[0] == "refused_but_a_payment_note"


ROWS = st.builds(row, id=st.sampled_from(["1", "2"]), amount=st.sampled_from([Decimal("20.00"), Decimal("19.99")]))


@given(
    payment=st.sampled_from(["gateway", "manual"]),
    answer=st.sampled_from(["none", "refused", "turned_away_for_now", "turned_away_for_good"]),
    rows=st.lists(ROWS, max_size=2),
    notes=st.lists(st.just("Refunded 20.00"), max_size=1),
    after_s=st.floats(0, 1000),
    on_absence=st.sampled_from(["review", "resend"]),
)
def test_what_may_have_been_paid_is_never_called_not_moved_or_sent_again(
    payment: str, answer: str, rows: list[StoreRefund], notes: list[str], after_s: float, on_absence: str
) -> None:
    attempt = replace(ATTEMPT, payment=payment, answer=answer)
    sight = seen(after_s, *rows, notes=tuple(notes))
    _, verdict = weigh(attempt, sight, replace(LIMITS, on_absence=on_absence))
    if rows or (notes and payment == "gateway"):
        assert not isinstance(verdict, Resend)
    if payment == "gateway" and (notes or (rows and answer != "refused")):
        assert not isinstance(verdict, NotMoved)
    if isinstance(verdict, Succeeded):
        assert payment == "manual"
        assert [found.amount for found in rows] == [attempt.amount]
