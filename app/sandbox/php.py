"""PHP's and WooCommerce's way with text and numbers, as far as a store's answers depend on it."""

import re
from decimal import ROUND_HALF_DOWN, ROUND_HALF_UP, Context, Decimal
from typing import TypeAlias
from urllib.parse import quote, quote_plus, unquote_plus

#: A parsed query parameter: text, or PHP's array of such.
PhpValue: TypeAlias = str | dict[str, "PhpValue"]

#: Decimal places WooCommerce keeps of a computed number (WC_ROUNDING_PRECISION).
ROUNDING_PRECISION = 6

_NUMERIC = re.compile(r"[ \t\n\r\v\f]*[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?[ \t\n\r\v\f]*")
_LEADING = re.compile(r"[ \t\n\r\v\f]*[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?")
_UNWANTED = re.compile(r"\.(?![^.]+$)|[^0-9.-]")
_KEY_PART = re.compile(r"\[([^\]]*)\]")
_FOURTEEN_DIGITS = Context(prec=14, rounding=ROUND_HALF_UP)


class PhpTypeError(Exception):
    """Arithmetic on something PHP cannot count with: WooCommerce does not catch it and dies."""


def is_numeric(value: object) -> bool:
    """Say whether PHP would call the value numeric; text counts when all of it is a number."""
    if isinstance(value, bool):
        return False
    if isinstance(value, int | float | Decimal):
        return True
    return isinstance(value, str) and _NUMERIC.fullmatch(value) is not None


def greater(left: str, right: str) -> bool:
    """Compare like PHP 8's `>` on two strings: as numbers if both are numeric, else as text (OF:549)."""
    if is_numeric(left) and is_numeric(right):
        return Decimal(left.strip()) > Decimal(right.strip())
    return left > right


def number(value: object) -> Decimal:
    """Return the number PHP's arithmetic makes of a value.

    Text with a number in front counts as that number. Raises PhpTypeError for arrays and for text without one.
    """
    if value is None or value is False:
        return Decimal(0)
    if value is True:
        return Decimal(1)
    if isinstance(value, Decimal):
        return value
    if isinstance(value, int):
        return Decimal(value)
    if isinstance(value, float):
        return Decimal(repr(value))
    if isinstance(value, str) and (match := _LEADING.match(value)):
        return Decimal(match.group().strip())
    raise PhpTypeError


def empty(value: object) -> bool:
    """Say whether PHP's `empty()` holds."""
    return value in (None, False, "", "0", 0, [], {})


def clean_decimal(text: str) -> Decimal:
    """Return what `wc_format_decimal` keeps of a text: digits, dots and minus signs, so "1,50" is 150."""
    kept = _UNWANTED.sub("", text)
    match = _LEADING.match(kept)
    return Decimal(match.group()) if match else Decimal(0)


def six_places(value: Decimal) -> Decimal:
    """Round to the precision in which WooCommerce stores computed numbers."""
    return round_half_up(value, ROUNDING_PRECISION)


def round_half_up(value: Decimal, places: int) -> Decimal:
    """Round half away from zero."""
    return value.quantize(Decimal(1).scaleb(-places), rounding=ROUND_HALF_UP)


def round_half_down(value: Decimal, places: int) -> Decimal:
    """Round half towards zero."""
    return value.quantize(Decimal(1).scaleb(-places), rounding=ROUND_HALF_DOWN)


def fixed(value: Decimal, places: int) -> str:
    """Format like `number_format`: exactly so many places, never a minus before zero."""
    rounded = round_half_up(value, places)
    return format(abs(rounded) if rounded.is_zero() else rounded, "f")


def trimmed(value: Decimal) -> str:
    """Format without trailing zeros and without an exponent."""
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in {"-0", ""} else text


def strval(value: Decimal) -> str:
    """Format a sum like PHP's `strval` of a float: 14 significant digits (PU:131)."""
    return trimmed(_FOURTEEN_DIGITS.plus(value))


def json_number(value: Decimal) -> int | float:
    """Return a number that JSON writes as PHP does: no fraction where there is none."""
    return int(value) if value == value.to_integral_value() else float(value)


def parse_query(text: str) -> dict[str, PhpValue]:
    """Parse a query string or form body into PHP's nested arrays (`a[]=1`, `a[k]=v`)."""
    result: dict[str, PhpValue] = {}
    for pair in text.split("&"):
        if not pair:
            continue
        raw_key, _, raw_value = pair.partition("=")
        key, value = unquote_plus(raw_key), unquote_plus(raw_value)
        head, bracket, tail = key.partition("[")
        parts = _KEY_PART.findall(bracket + tail)
        _store(result, [head.replace(".", "_").replace(" ", "_"), *parts], value)
    return result


def _store(into: dict[str, PhpValue], path: list[str], value: str) -> None:
    head, *rest = path
    if not head:
        head = str(1 + max((int(key) for key in into if key.isdecimal()), default=-1))
    if not rest:
        into[head] = value
        return
    nested = into.get(head)
    if not isinstance(nested, dict):
        nested = into[head] = {}
    _store(nested, rest, value)


def flatten(values: dict[str, PhpValue], prefix: str = "") -> list[tuple[str, str]]:
    """Return the leaves in order, with keys like `include[0]`."""
    pairs: list[tuple[str, str]] = []
    for key, value in values.items():
        name = f"{prefix}[{key}]" if prefix else key
        if isinstance(value, dict):
            pairs += flatten(value, name)
        else:
            pairs.append((name, value))
    return pairs


def build_query(values: dict[str, PhpValue]) -> str:
    """Write the query of a pagination link; WordPress drops a trailing `=` of a value."""
    return "&".join(f"{quote_plus(key)}={quote_plus(value.rstrip('='))}" for key, value in flatten(values))


def rawurlencode(text: str) -> str:
    """Encode by RFC 3986."""
    return quote(text, safe="-._~")
