"""JSON as stores really send it, and the few shapes that may come out of it.

Everything that comes in is distrusted: PHP notices before the JSON, numbers where strings belong, fields that a plugin
has changed. What cannot be understood raises Unreadable, never KeyError.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from html import unescape

from app.domain.money import digits_behind_the_dot, round_half_up

#: Digits behind the dot that are asked for (`dp`) and kept.
DP = 8

JsonObject = Mapping[str, object]

# PHP writes floats as 1.0E-5. Money beyond 15 digits or with a three-digit exponent is no money.
NUMBER = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,2})?", re.ASCII)
_ID = re.compile(r"[1-9][0-9]{0,18}", re.ASCII)
#: Digits before or behind the dot that a number of JSON may have at all; floats end at 1e308.
_LONGEST_NUMBER = 1_500
#: What the ledger cannot keep (numeric(20, 8)) is no amount of a shop's.
_TOO_LARGE = Decimal(10) ** 12
#: Years that a clock's error can be added to and taken from; a date of any other was never set.
_YEARS = range(1000, 9000)
#: Where JSON may begin behind PHP notices; "[]" and "{}" also occur in their texts and so do not count.
_BEGIN = re.compile(r'\{\s*"|\[\s*\{')
_TAG = re.compile(r"<[^<>]{0,2000}>")
_SPACE = re.compile(r"\s+")


class Unreadable(Exception):
    """The store's answer does not have the shape that WooCommerce gives it; `str(error)` names the place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A JSON value found in an answer's body."""

    value: object
    tainted: bool  #: other text stood before or behind it, or bytes that are not UTF-8 within


def is_id(text: str) -> bool:
    """Say whether a text is an id as WooCommerce writes it; "007" is not, so that no order has two names."""
    return _ID.fullmatch(text) is not None


def read_json(body: bytes) -> Document | None:
    """Find the JSON in a body; None when there is none, or when it is cut off.

    A byte order mark, white space and PHP notices before it are tolerated (wc-api-python #40, #12115), and so is text
    behind it. Inner objects of a broken document are never taken for the document.
    """
    try:
        text = body.decode("utf-8-sig")
        tainted = False
    except UnicodeDecodeError:
        text = body.decode("utf-8-sig", errors="replace")
        tainted = True
    text = text.strip().lstrip("\ufeff")
    start = 0
    if not text.startswith(("{", "[")):
        begin = _BEGIN.search(text)
        if begin is None:
            return None
        start, tainted = begin.start(), True
    try:
        value, end = _DECODER.raw_decode(text, start)
    except (ValueError, RecursionError):
        return None
    return Document(value=value, tainted=tainted or bool(text[end:].strip()))


def _no_constant(name: str) -> object:
    raise ValueError(name)


def exact(text: str) -> Decimal:
    """Read a number of JSON by its exact value. Raises ValueError for an exponent that no float of a program's has.

    Written out, 1e999999999 would take a gigabyte, and so would a zero with that exponent.
    """
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise ValueError(text) from None
    exponent = number.as_tuple().exponent
    if not isinstance(exponent, int) or abs(exponent) > _LONGEST_NUMBER or abs(number.adjusted()) > _LONGEST_NUMBER:
        raise ValueError(text)
    return number


_DECODER = json.JSONDecoder(parse_float=exact, parse_constant=_no_constant)


def plain_text(markup: str) -> str:
    """Take the tags out of a text, resolve its entities and fold its white space."""
    return _SPACE.sub(" ", unescape(_TAG.sub(" ", markup))).strip()


def mapping(value: object, where: str) -> JsonObject:
    """Take a JSON object. PHP writes an empty one as []."""
    if isinstance(value, dict):
        return value
    if value == []:
        return {}
    raise Unreadable(f"{where} is not an object")


def rows(value: object, where: str) -> list[JsonObject]:
    """Take a list of objects; null and an object keyed by position (a PHP array with gaps) count too."""
    if value is None:
        return []
    if isinstance(value, dict):
        value = list(value.values())
    if not isinstance(value, list):
        raise Unreadable(f"{where} is not a list")
    return [mapping(row, where) for row in value]


def text_of(value: object, where: str) -> str:
    """Take a text; null is "", and a number is its digits."""
    if isinstance(value, str):
        # JSON can hold half a surrogate pair and NUL; neither UTF-8 nor PostgreSQL can.
        return (
            value
            if value.isascii() and "\0" not in value
            else value.replace("\0", "").encode(errors="replace").decode()
        )
    if value is None:
        return ""
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        return format(value, "f") if isinstance(value, Decimal) else str(value)
    raise Unreadable(f"{where} is not a text")


def id_of(value: object, where: str) -> str:
    """Take a positive whole number, written as a number or as digits."""
    text = text_of(value, where)
    if not is_id(text):
        raise Unreadable(f"{where} is not an id")
    return text


def rate_of(value: object, where: str) -> str:
    """Take a tax rate's id; 0 is one (refunds with a bare tax amount get it)."""
    text = text_of(value, where)
    if text != "0" and not is_id(text):
        raise Unreadable(f"{where} is not an id")
    return text


def number_of(value: object, where: str) -> Decimal:
    """Take an exact number of at most 12 digits before the dot and 8 behind it.

    Finer ones, the noise of PHP floats, are rounded. "" and null are 0, as WooCommerce leaves the tax of an untaxed
    line.
    """
    text = text_of(value, where).strip()
    if not text:
        return Decimal(0)
    if NUMBER.fullmatch(text) is None:
        raise Unreadable(f"{where} is not a number")
    number = Decimal(text)
    if digits_behind_the_dot(number) > DP:
        number = round_half_up(number, DP)
    if abs(number) >= _TOO_LARGE:
        raise Unreadable(f"{where} is too large")
    # Adding zero turns "-0.00" into 0.00; scientific notation becomes plain digits.
    return Decimal(format(number + 0, "f"))


def required_number(value: object, where: str) -> Decimal:
    """Take a number that must be there."""
    if value is None or value == "":
        raise Unreadable(f"{where} is missing")
    return number_of(value, where)


def flag_of(value: object) -> bool | None:
    """Take true or false; None for anything else, because then the store has not said."""
    return value if isinstance(value, bool) else None


def time_of(row: JsonObject, name: str, where: str) -> datetime | None:
    """Take a time, which WooCommerce writes without a zone; without `_gmt` the store's local time stands in for UTC.

    None where it was never set, or is of a year that no shop has seen.
    """
    text = text_of(row.get(f"{name}_gmt"), f"{where}.{name}_gmt") or text_of(row.get(name), f"{where}.{name}")
    if not text or text.startswith("0000-"):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise Unreadable(f"{where}.{name} is not a time") from None
    if moment.year not in _YEARS:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
