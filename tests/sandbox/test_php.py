"""Numbers and text are read as PHP reads them; the expected values are PHP 8.2's own."""

from decimal import Decimal

import pytest

from app.sandbox import php
from app.sandbox.model import TaxRate
from app.sandbox.taxes import net_of, tax_in_gross, tax_on_net


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ("10", "9", True),
        ("1e1", "9.5", True),
        ("1,50", "88.64", False),
        ("9,50", "88.64", True),
        ("abc", "88.64", True),
        ("0", "", True),
        ("0", "-5", True),
        ("0", "-5 EUR", True),
        (" 5", "4", True),
        ("5 ", "4", True),
        ("5.", "4", True),
        (".5", "0.4", True),
    ],
)
def test_strings_compare_as_numbers_only_if_both_are_numeric(left: str, right: str, expected: bool) -> None:
    assert php.greater(left, right) is expected


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [("1,50", "150"), ("1E+1", "11"), ("5 EUR", "5"), ("1.234.50", "1234.50"), ("-3", "-3"), ("", "0"), ("-", "0")],
)
def test_an_amount_is_cleaned_of_what_is_no_digit(text: str, cleaned: str) -> None:
    assert php.clean_decimal(text) == Decimal(cleaned)


@pytest.mark.parametrize(
    ("value", "expected"), [("12abc", "12"), (" 1e2x", "100"), (True, "1"), (None, "0"), (0.1, "0.1"), ("-.5", "-0.5")]
)
def test_arithmetic_takes_the_number_in_front(value: object, expected: str) -> None:
    assert php.number(value) == Decimal(expected)


@pytest.mark.parametrize("value", ["abc", "", [1], {}])
def test_arithmetic_on_anything_else_is_a_type_error(value: object) -> None:
    with pytest.raises(php.PhpTypeError):
        php.number(value)


@pytest.mark.parametrize(
    ("value", "expected"), [("9.9900", "9.99"), ("500", "500"), ("0.30000000000000004", "0.3"), ("-0.0", "0")]
)
def test_a_sum_prints_with_fourteen_digits(value: str, expected: str) -> None:
    assert php.strval(Decimal(value)) == expected


def test_formatting_never_shows_a_negative_zero() -> None:
    assert [php.fixed(Decimal(value), 2) for value in ("-0.001", "-1.005", "1.005")] == ["0.00", "-1.01", "1.01"]


def test_queries_nest_like_php_arrays() -> None:
    parsed = php.parse_query("a=1&b[]=x&b[]=y&c[k][l]=z&d.e=%20&&a=2")

    assert parsed == {"a": "2", "b": {"0": "x", "1": "y"}, "c": {"k": {"l": "z"}}, "d_e": " "}
    assert php.flatten(parsed) == [("a", "2"), ("b[0]", "x"), ("b[1]", "y"), ("c[k][l]", "z"), ("d_e", " ")]


@pytest.mark.parametrize("gross", ["9.99", "115.50", "0.01", "1000000.00"])
def test_the_tax_in_a_gross_amount_is_the_tax_on_its_net(gross: str) -> None:
    rates = [
        TaxRate(id=1, name="A", percent=Decimal(5)),
        TaxRate(id=2, name="B", percent=Decimal("9.975"), compound=True),
        TaxRate(id=3, name="C", percent=Decimal(2)),
    ]
    inside, on_top = tax_in_gross(Decimal(gross), rates), tax_on_net(net_of(Decimal(gross), rates), rates)

    assert all(abs(inside[rate.id] - on_top[rate.id]) <= Decimal("0.000002") for rate in rates)
