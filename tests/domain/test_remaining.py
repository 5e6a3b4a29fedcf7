from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from app.domain.order import OrderLine, OrderSnapshot, RefundedLine, StoreRefund, TaxPart, TaxRate
from app.domain.refund import PlanLine, RefundPlan
from app.domain.remaining import Hold, Parts, refunded_lines, remaining

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def taxes(*amounts: str) -> tuple[TaxPart, ...]:
    return tuple(TaxPart(rate_id=str(i), amount=Decimal(amount)) for i, amount in enumerate(amounts, 2))


def item(net: str, *tax: str, line_id: str = "309", quantity: str = "1") -> OrderLine:
    return OrderLine(
        id=line_id, kind="item", name="Shirt", sku="S", quantity=Decimal(quantity), net=Decimal(net), taxes=taxes(*tax)
    )


def refunded(net: str, *tax: str, line_id: str = "309", quantity: str = "1") -> RefundedLine:
    return RefundedLine(item_id=line_id, quantity=Decimal(quantity), net=Decimal(net), taxes=taxes(*tax))


def row(
    amount: str, *lines: RefundedLine, row_id: str = "900", reason: str = "", ref: str | None = None
) -> StoreRefund:
    return StoreRefund(
        id=row_id,
        amount=Decimal(amount),
        reason=reason,
        refunded_payment=True,
        created_at=NOON,
        reference=ref,
        lines=lines,
    )


def hold(amount: str, *lines: RefundedLine, marker: str | None = None, store_refund_id: str | None = None) -> Hold:
    return Hold(refund_id="rf_1", amount=Decimal(amount), lines=lines, marker=marker, store_refund_id=store_refund_id)


def order(total: str, *lines: OrderLine, refunds: tuple[StoreRefund, ...] = (), decimals: int = 2) -> OrderSnapshot:
    return OrderSnapshot(
        id="212",
        number="212",
        status="completed",
        currency="EUR",
        decimals=decimals,
        total=Decimal(total),
        prices_include_tax=True,
        created_at=NOON,
        modified_at=NOON,
        paid_at=NOON,
        payment_method="testpay",
        payment_method_title="Test",
        lines=lines,
        tax_rates=(TaxRate(rate_id="2", label="VAT", percent=Decimal(20), compound=False),),
        refunds=refunds,
        read_at=NOON,
    )


def texts(parts: Parts) -> list[str]:
    return [str(parts.net), *(str(part.amount) for part in parts.taxes), str(parts.total)]


THREE_SHIRTS = item("49.975", "9.995", quantity="3")


def test_an_untouched_line_has_all_of_its_exact_parts_and_its_cents_left() -> None:
    left = remaining(order("9.99", item("8.325", "1.665")))
    (line,) = left.lines
    assert (left.total, left.refunded_total, left.held_total) == (Decimal("9.99"), 0, 0)
    assert (line.quantity, line.net, line.taxes) == (1, Decimal("8.325"), taxes("1.665"))
    assert texts(line.cents) == ["8.33", "1.66", "9.99"]
    assert (line.net_limit, line.tax_limit("2"), line.tax_limit("9")) == (Decimal("8.33"), Decimal("1.67"), None)


def test_three_shirts_refunded_one_by_one_take_what_the_recorded_store_paid() -> None:
    refunds: tuple[StoreRefund, ...] = ()
    for number in range(3):
        left = remaining(order("65.91", THREE_SHIRTS, refunds=refunds))
        parts = left.lines[0].of_quantity(Decimal(1))
        assert parts.total == Decimal("19.99")
        assert parts.net in (Decimal("16.66"), Decimal("16.65"))
        line = RefundedLine(item_id="309", quantity=Decimal(1), net=parts.net, taxes=parts.taxes)
        refunds = (*refunds, row("19.99", line, row_id=str(number)))
    left = remaining(order("65.91", THREE_SHIRTS, refunds=refunds))
    assert left.total == Decimal("5.94")
    assert (left.lines[0].quantity, left.lines[0].total) == (0, 0)


def test_the_last_unit_takes_the_remainder() -> None:
    taken = refunded("6.66", "0.00", quantity="2")
    (line,) = remaining(order("10.00", item("10", "0", quantity="3"), refunds=(row("6.66", taken),))).lines
    assert texts(line.of_quantity(Decimal(1))) == ["3.34", "0.00", "3.34"]


def test_units_never_come_to_more_than_the_money_left_on_their_line() -> None:
    (line,) = remaining(order("0.01", item("0.009", quantity="2"))).lines
    assert line.of_quantity(Decimal(1)).total == Decimal("0.00")
    (line,) = remaining(
        order("1.00", item("0.5", quantity="3"), refunds=(row("0.49", refunded("0.49", quantity="0")),))
    ).lines
    assert line.of_quantity(Decimal(2)).total == Decimal("0.01")


def test_a_part_that_is_used_up_leaves_its_cent_to_the_next_short_one() -> None:
    (line,) = remaining(order("5.01", item("5.00", "0.003", "0.003"))).lines
    assert texts(line.cents) == ["5.00", "0.01", "0.00", "5.01"]
    (line,) = remaining(order("2000.02", item("1000", "1000", *["0.0015"] * 10))).lines
    assert texts(line.cents) == ["1000.00", "1000.00", "0.01", "0.01", *["0.00"] * 8, "2000.02"]
    (line,) = remaining(order("2.02", item("1.00", "1.00", "0.008", "0.007"))).lines
    assert texts(line.cents) == ["1.00", "1.00", "0.01", "0.01", "2.02"]


def test_half_a_cent_taken_too_much_of_net_is_missing_from_the_tax() -> None:
    taken = row("9.99", refunded("8.33", "1.66"))
    (line,) = remaining(order("9.99", item("8.325", "1.665"), refunds=(taken,))).lines
    assert (line.gross, line.total, line.net, line.taxes) == (0, 0, 0, taxes("0.005"))
    taken = row("9.99", refunded("8.32", "1.67"))
    (line,) = remaining(order("9.99", item("8.325", "1.665"), refunds=(taken,))).lines
    assert (line.gross, line.total, line.net, line.taxes) == (0, 0, Decimal("0.005"), taxes("0"))


def test_an_over_refunded_line_has_nothing_left_rather_than_less() -> None:
    taken = row("3.00", refunded("30000", "0", quantity="5"))
    left = remaining(order("9.99", item("8.325", "1.665"), refunds=(taken,)))
    (line,) = left.lines
    assert (line.quantity, line.net, line.gross, line.total) == (0, 0, 0, 0)
    assert left.total == Decimal("6.99")


def test_a_refund_of_a_rate_the_line_never_had_still_lowers_the_line() -> None:
    foreign = RefundedLine(
        item_id="309", quantity=Decimal(0), net=Decimal(0), taxes=(TaxPart(rate_id="77", amount=Decimal("4.00")),)
    )
    (line,) = remaining(order("9.99", item("8.325", "1.665"), refunds=(row("4.00", foreign),))).lines
    assert (line.total, line.net, line.taxes) == (Decimal("5.99"), Decimal("8.325"), taxes("1.665"))
    assert texts(line.cents) == ["4.99", "1.00", "5.99"]


def test_a_rate_listed_twice_on_a_line_counts_as_one() -> None:
    twice = replace(item("10"), taxes=(*taxes("1.005"), *taxes("1.000")))
    (line,) = remaining(order("12.01", twice)).lines
    assert line.taxes == taxes("2.005")
    assert texts(line.cents) == ["10.00", "2.01", "12.01"]


def test_refunds_are_matched_by_line_and_amount_only_refunds_touch_no_line() -> None:
    other = item("10.00", "2.00", line_id="310")
    taken = (
        row("12.00", refunded("10.00", "2.00", line_id="310")),
        row("5.00"),
        row("1.00", refunded("1", line_id="1")),
    )
    left = remaining(order("71.97", THREE_SHIRTS, other, refunds=taken))
    assert left.total == Decimal("53.97")
    assert left.refunded_total == Decimal("18.00")
    assert [line.total for line in left.lines] == [Decimal("59.97"), 0]
    shirts = left.line("309")
    assert shirts is not None
    assert shirts.quantity == 3
    assert left.line("1") is None


@pytest.mark.parametrize(
    ("total", "amounts", "expected"),
    [("10.00", ["4.00", "7.00"], "0.00"), ("10.00", ["1.005"], "8.99"), ("10.00", ["0.00"], "10.00")],
)
def test_the_order_never_has_less_than_nothing_nor_a_fraction_of_a_cent_left(
    total: str, amounts: list[str], expected: str
) -> None:
    left = remaining(order(total, refunds=tuple(row(amount) for amount in amounts)))
    assert str(left.total) == expected


def test_a_fee_that_was_a_discount_is_not_refundable() -> None:
    discount = OrderLine(
        id="4", kind="fee", name="Loyalty", sku="", quantity=Decimal(0), net=Decimal(-5), taxes=taxes("-1")
    )
    left = remaining(order("3.99", item("8.325", "1.665"), discount))
    (fee,) = left.of_kind("fee")
    assert (fee.total, fee.net, fee.tax_limit("2")) == (0, 0, 0)
    assert texts(fee.cents) == ["0.00", "0.00", "0.00"]


def test_a_yen_order_is_split_in_whole_yen() -> None:
    (line,) = remaining(order("110", item("100", "10", quantity="3"), decimals=0)).lines
    assert texts(line.of_quantity(Decimal(1))) == ["34", "3", "37"]


def test_a_hold_lowers_the_order_and_its_lines() -> None:
    left = remaining(order("65.91", THREE_SHIRTS), [hold("19.99", refunded("16.66", "3.33"), marker="[RG-1]")])
    assert (left.total, left.refunded_total, left.held_total) == (Decimal("45.92"), 0, Decimal("19.99"))
    assert (left.lines[0].quantity, left.lines[0].total) == (2, Decimal("39.98"))


@pytest.mark.parametrize(
    ("shown", "held"),
    [
        (row("1.00", reason="Sorry [RG-1]"), hold("1.00", marker="[RG-1]")),
        (row("1.00", ref="RG-1"), hold("1.00", marker="RG-1")),
        (row("1.00", ref="a RG-1"), hold("1.00", marker="RG-1")),
        (row("1.00", row_id="726"), hold("1.00", store_refund_id="726")),
        (row("1.00", row_id="726"), hold("1.00", store_refund_id="726", marker="[RG-1]")),
    ],
)
def test_a_hold_whose_row_is_shown_is_not_counted_again(shown: StoreRefund, held: Hold) -> None:
    left = remaining(order("10.00", refunds=(row("2.00", row_id="1"), shown)), [held])
    assert (left.total, left.held_total) == (Decimal("7.00"), 0)


@pytest.mark.parametrize(
    "held", [hold("1.00", marker="[RG-2]"), hold("1.00", marker=""), hold("1.00"), hold("1.00", store_refund_id="9")]
)
def test_a_hold_that_no_row_shows_is_counted(held: Hold) -> None:
    left = remaining(order("10.00", refunds=(row("2.00", reason="[RG-1]"),)), [held])
    assert (left.total, left.held_total) == (Decimal("7.00"), Decimal("1.00"))


def test_a_plan_says_what_it_takes_from_the_lines() -> None:
    line = PlanLine(
        line_id="309",
        kind="item",
        name="Shirt",
        sku="S",
        quantity=Decimal(1),
        net=Decimal("16.66"),
        taxes=taxes("3.33"),
    )
    plan = RefundPlan(
        order_id="212",
        order_number="212",
        currency="EUR",
        decimals=2,
        amount=Decimal("20.99"),
        lines=(line,),
        goodwill=Decimal("1.00"),
        unallocated=Decimal(0),
        payment="gateway",
        restock=False,
        reason="",
    )
    assert refunded_lines(plan) == (refunded("16.66", "3.33"),)
