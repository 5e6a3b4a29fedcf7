from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.money import (
    MalformedAmount,
    apportion,
    digits_behind_the_dot,
    format_amount,
    iso_decimals,
    parse_amount,
    prorate,
    quantum,
    round_down,
    round_half_up,
    round_up,
)

units = st.integers(min_value=0, max_value=10**14)
decimal_places = st.sampled_from([0, 2, 3])


@given(units, decimal_places)
def test_parse_and_format_are_inverse(number: int, decimals: int) -> None:
    amount = Decimal(number % 10 ** (12 + decimals)).scaleb(-decimals)
    text = format_amount(amount, decimals)
    assert parse_amount(text) == amount
    assert format_amount(parse_amount(text), decimals) == text
    assert digits_behind_the_dot(parse_amount(text)) == decimals


@pytest.mark.parametrize("text", ["0", "0.00", "20.00", "999999999999.99999999", "0.001", "10"])
def test_a_plain_decimal_keeps_its_digits_as_written(text: str) -> None:
    assert format(parse_amount(text), "f") == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        " 1",
        "1 ",
        "1\n",
        "1,50",
        "1,000",
        "1E+1",
        "1e3",
        "+1",
        "-1",
        "-0",
        "01",
        "00.5",
        ".5",
        "5.",
        "5 EUR",
        "NaN",
        "Infinity",
        "0x10",
        "1_0",
        "١",
        "1.2.3",
        "1000000000000",
        "0.123456789",
        "∞",
    ],
)
def test_anything_a_store_could_misread_is_no_amount(text: str) -> None:
    with pytest.raises(MalformedAmount):
        parse_amount(text)


@pytest.mark.parametrize(
    ("amount", "decimals", "text"),
    [
        ("9.9", 2, "9.90"),
        ("1E+3", 0, "1000"),
        ("100.000", 0, "100"),
        ("0", 3, "0.000"),
        ("-0", 2, "0.00"),
        ("123456789012345678901234567890.10", 2, "123456789012345678901234567890.10"),
    ],
)
def test_an_amount_is_written_with_exactly_its_decimals(amount: str, decimals: int, text: str) -> None:
    assert format_amount(Decimal(amount), decimals) == text


@pytest.mark.parametrize("amount", ["1.005", "-1", "-0.001", "NaN", "Infinity", "sNaN"])
def test_an_amount_that_would_have_to_be_rounded_is_not_written(amount: str) -> None:
    with pytest.raises(MalformedAmount):
        format_amount(Decimal(amount), 2)


@pytest.mark.parametrize(
    ("amount", "half_up", "up", "down"),
    [
        ("1.005", "1.01", "1.01", "1.00"),
        ("1.004", "1.00", "1.01", "1.00"),
        ("9.995", "10.00", "10.00", "9.99"),
        ("-1.005", "-1.01", "-1.00", "-1.01"),
        ("2", "2.00", "2.00", "2.00"),
    ],
)
def test_rounding_goes_where_its_name_says(amount: str, half_up: str, up: str, down: str) -> None:
    results = [str(rounding(Decimal(amount), 2)) for rounding in (round_half_up, round_up, round_down)]
    assert results == [half_up, up, down]


def test_amounts_longer_than_the_default_precision_are_rounded_exactly() -> None:
    assert round_half_up(Decimal("99999999999999999999999999999.995"), 2) == Decimal(
        "100000000000000000000000000000.00"
    )


@pytest.mark.parametrize(
    ("currency", "decimals"), [("EUR", 2), ("jpy", 0), ("KWD", 3), ("ISK", 0), ("TND", 3), ("XAF", 0), ("???", 2)]
)
def test_a_currency_has_the_decimals_of_iso_4217(currency: str, decimals: int) -> None:
    assert iso_decimals(currency) == decimals
    assert quantum(decimals) == Decimal(10) ** -decimals


@pytest.mark.parametrize(
    ("amount", "part", "whole", "share"),
    [
        ("59.97", "1", "3", "19.99"),
        ("10", "1", "3", "3.33"),
        ("10", "2", "3", "6.67"),
        ("0.01", "1", "2", "0.01"),
        ("0.03", "1", "6", "0.01"),
        ("0.0299999999", "1", "6", "0.00"),
        ("10", "0.5", "2.5", "2.00"),
    ],
)
def test_a_prorated_share_is_rounded_half_up_once(amount: str, part: str, whole: str, share: str) -> None:
    assert str(prorate(Decimal(amount), Decimal(part), Decimal(whole), 2)) == share


@given(units, st.lists(st.decimals(min_value=0, max_value=10**9, places=8), min_size=1, max_size=6), decimal_places)
def test_apportioned_parts_add_up_and_stay_within_a_unit_of_their_share(
    number: int, weights: list[Decimal], decimals: int
) -> None:
    total = Decimal(number).scaleb(-decimals)
    parts = apportion(total, weights, decimals)
    assert len(parts) == len(weights)
    assert sum(parts) == total
    whole = sum(weights)
    for part, weight in zip(parts, weights, strict=True):
        assert digits_behind_the_dot(part) == decimals
        if whole > 0:
            assert abs(part * whole - total * weight) < quantum(decimals) * whole


@pytest.mark.parametrize(
    ("total", "weights", "parts"),
    [
        ("10.00", ["1", "1", "1"], ["3.34", "3.33", "3.33"]),
        ("9.99", ["8.325", "1.665"], ["8.33", "1.66"]),
        ("0.01", ["0.2", "0.8"], ["0.00", "0.01"]),
        ("5.00", ["0", "0"], ["5.00", "0.00"]),
        ("0.00", ["1", "2"], ["0.00", "0.00"]),
        ("5.00", [], []),
        ("7.00", ["1E+2", "0"], ["7.00", "0.00"]),
    ],
)
def test_left_over_units_go_to_the_largest_fraction_and_then_to_the_first(
    total: str, weights: list[str], parts: list[str]
) -> None:
    assert [str(part) for part in apportion(Decimal(total), [Decimal(w) for w in weights], 2)] == parts
