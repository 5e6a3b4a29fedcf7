"""Money as plain decimals: parsing, formatting and splitting without ever losing a cent.

Amounts are `Decimal`s in major units; a currency's smallest unit is given by its number of decimals (2 for EUR on most
stores, 0 for JPY, 3 for KWD). A float never comes near any of it.
"""

import re
from collections.abc import Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_UP, Context, Decimal
from fractions import Fraction
from math import floor

#: At most 12 digits before and 8 behind the dot; no sign, exponent, comma, space or leading zeros.
AMOUNT_PATTERN = r"^(0|[1-9][0-9]{0,11})(\.[0-9]{1,8})?$"
_AMOUNT = re.compile(AMOUNT_PATTERN, re.ASCII)

#: ISO 4217 currencies whose smallest unit is not a hundredth.
_ZERO_DECIMALS = frozenset(
    {"BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI", "VND", "VUV"}
    | {"XAF", "XOF", "XPF"}
)
_THREE_DECIMALS = frozenset({"BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"})

ZERO = Decimal(0)

#: Wide enough that no amount a store can show is rounded on the way, or refused by `quantize` for its length.
_WIDE = Context(prec=80)


class MalformedAmount(ValueError):
    """The text is not an amount of money as this API writes it."""


def parse_amount(text: str) -> Decimal:
    """Read a plain decimal such as "20.00"; the result keeps the digits as written.

    Raises MalformedAmount for anything else: signs, exponents, commas, spaces, leading zeros. A store would read "1,50"
    as 150.00 and "1E+1" as 11.00, so nothing is guessed here.
    """
    if _AMOUNT.fullmatch(text) is None:
        raise MalformedAmount(text)
    return Decimal(text)


def format_amount(amount: Decimal, decimals: int) -> str:
    """Write a non-negative amount with exactly `decimals` digits behind a dot; never an exponent, never rounded.

    Raises MalformedAmount when the amount is negative or finer than `decimals`, because silently rounding money is how
    cents get lost.
    """
    if not amount.is_finite() or amount < 0 or round_down(amount, decimals) != amount:
        raise MalformedAmount(f"{amount} does not fit {decimals} decimals")
    return format(round_down(amount.copy_abs(), decimals), "f")


def plain(amount: Decimal, decimals: int) -> str:
    """Write an amount with `decimals` digits, or with more when it is finer than that; nothing is rounded away."""
    unit = quantum(decimals)
    if amount.same_quantum(unit):
        return format(amount, "f")
    cut = amount.quantize(unit)
    return format(cut if cut == amount else amount.normalize(), "f")


def quantum(decimals: int) -> Decimal:
    """Give the smallest unit, e.g. 0.01 for two decimals."""
    return Decimal(1).scaleb(-decimals)


def round_half_up(amount: Decimal, decimals: int) -> Decimal:
    """Round to the smallest unit as WooCommerce and accountants do: half away from zero."""
    return amount.quantize(quantum(decimals), rounding=ROUND_HALF_UP, context=_WIDE)


def round_up(amount: Decimal, decimals: int) -> Decimal:
    """Round towards positive infinity to the smallest unit."""
    return amount.quantize(quantum(decimals), rounding=ROUND_CEILING, context=_WIDE)


def round_down(amount: Decimal, decimals: int) -> Decimal:
    """Round towards negative infinity to the smallest unit."""
    return amount.quantize(quantum(decimals), rounding=ROUND_FLOOR, context=_WIDE)


def digits_behind_the_dot(amount: Decimal) -> int:
    """Count the digits behind the dot as they were written, trailing zeros included."""
    exponent = amount.as_tuple().exponent
    assert isinstance(exponent, int)
    return max(0, -exponent)


def iso_decimals(currency: str) -> int:
    """Give the decimals of a currency's smallest unit by ISO 4217."""
    code = currency.upper()
    return 0 if code in _ZERO_DECIMALS else 3 if code in _THREE_DECIMALS else 2


def prorate(amount: Decimal, part: Decimal, whole: Decimal, decimals: int) -> Decimal:
    """Give `part` out of `whole` of a non-negative amount, rounded half up once, from the exact quotient."""
    units = Fraction(amount) * Fraction(part) / Fraction(whole) * 10**decimals
    return _from_units(floor(units + Fraction(1, 2)), decimals)


def apportion(total: Decimal, weights: Sequence[Decimal], decimals: int) -> tuple[Decimal, ...]:
    """Split `total` (a multiple of the smallest unit, ≥ 0) over non-negative weights; the parts add up to it exactly.

    Largest remainder, in whole numbers: every part is its exact share rounded down, and the units left go to the
    largest fractions, the earlier part winning a tie. With all weights zero everything goes to the first part.
    """
    if not weights:
        return ()
    digits = max(digits_behind_the_dot(weight) for weight in weights)
    scaled = [int(weight.scaleb(digits, _WIDE)) for weight in weights]
    whole = sum(scaled)
    if whole == 0:
        scaled, whole = [1, *scaled[1:]], 1
    units = int(total.scaleb(decimals, _WIDE))
    parts = [units * weight // whole for weight in scaled]
    by_fraction = sorted(range(len(parts)), key=lambda i: (-(units * scaled[i] % whole), i))
    for i in by_fraction[: units - sum(parts)]:
        parts[i] += 1
    return tuple(_from_units(part, decimals) for part in parts)


def _from_units(units: int, decimals: int) -> Decimal:
    return Decimal(units).scaleb(-decimals, _WIDE)
