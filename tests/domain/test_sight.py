"""What of an order and its notes bears on an attempt, and what does not."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from app.domain.order import OrderNote, OrderSnapshot, StoreRefund
from app.domain.sight import Sight, sight_of, without_markers

LOST = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
MARKER = "RG-7F3K9Q2X"


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
