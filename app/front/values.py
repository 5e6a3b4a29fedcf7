"""Single values of a WooCommerce client's request, read so that nothing about money is guessed.

PHP would make something of almost anything: "1,50" becomes 150.00, "1E+1" 11.00, "5 EUR" 5.00, and "false" is true.
"""

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from app.domain.money import MalformedAmount, parse_amount
from app.front.errors import Faults

_ID = re.compile(r"[1-9][0-9]{0,17}", re.ASCII)
_RATE_ID = re.compile(r"0|[1-9][0-9]{0,17}", re.ASCII)
_NEGATIVE = re.compile(r"-[0-9]+(\.[0-9]+)?", re.ASCII)
_COUNT = re.compile(r"0|[1-9][0-9]{0,8}", re.ASCII)
#: Parts of a line come as clients have computed them, such as 8.333333333333334.
_PART = re.compile(r"(0|[1-9][0-9]{0,11})(\.[0-9]{1,20})?", re.ASCII)
_REASON_LENGTH = 3_000

_PLAIN = 'write it with plain digits and a dot, such as "12.50"'


def amount_text(faults: Faults, given: str, *, pointer: str) -> Decimal | None:
    """Read the amount of a refund from a text."""
    if not given:
        faults.add("amount", "The amount is empty.", pointer=pointer, situation="not_positive")
        return None
    try:
        amount = parse_amount(given)
    except MalformedAmount:
        if _NEGATIVE.fullmatch(given):
            faults.add("amount", "The amount is negative.", pointer=pointer, situation="not_positive")
        else:
            shown = given if len(given) <= 40 else f"{given[:40]}…"
            faults.add("amount", f"{shown!r} is no amount: {_PLAIN}.", pointer=pointer, situation="invalid_amount")
        return None
    return positive(faults, amount, pointer=pointer)


def positive(faults: Faults, amount: Decimal, *, pointer: str) -> Decimal | None:
    """Take an amount that is more than nothing."""
    if amount > 0:
        return amount
    faults.add("amount", f"An amount of {amount:f} refunds nothing.", pointer=pointer, situation="not_positive")
    return None


def number(value: Any) -> Decimal | None:
    """Read a number of JSON by its exact value; None for anything else, and for what no shop charges.

    What it gives can be written out: it has at most 15 digits before the dot and 30 behind it.
    """
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return None
    exact = Decimal(value)
    if exact == 0:
        return Decimal(0)
    exponent = exact.as_tuple().exponent
    return exact if isinstance(exponent, int) and exponent >= -30 and exact.adjusted() < 15 else None


def part_amount(value: Any) -> Decimal | None:
    """Read a part of a line: a number of JSON or a text of plain digits, not negative; None for anything else."""
    if not isinstance(value, str):
        exact = number(value)
        if exact is None:
            return None
        value = format(exact, "f")
    return Decimal(value) if _PART.fullmatch(value) else None


def id_of(value: Any, *, rate: bool = False) -> str | None:
    """Read an id, as a number or as text; a tax rate's may be 0."""
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str):
        return None
    return text if (_RATE_ID if rate else _ID).fullmatch(text) else None


def count(value: Any) -> int | None:
    """Read a number of units; None for anything that is not a whole number from 0."""
    if isinstance(value, Decimal):
        exact = number(value)
        value = int(exact) if exact is not None and exact == exact.to_integral_value() else None
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    return int(text) if isinstance(text, str) and _COUNT.fullmatch(text) else None


def boolean(value: Any) -> bool | None:
    """Read what WordPress takes for a boolean (rest_is_boolean); None for anything else."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return {"true": True, "1": True, "false": False, "0": False}.get(value.lower())
    return {1: True, 0: False}.get(value) if isinstance(value, int) else None


def flag(faults: Faults, params: Mapping[str, Any], name: str, *, default: bool) -> bool:
    """Read a boolean parameter; one that is missing or null has its default (PU:67)."""
    value = params.get(name)
    if value is None:
        return default
    read = boolean(value)
    if read is None:
        wrong_type(faults, name, "boolean")
        return default
    return read


def reason_of(faults: Faults, value: Any, *, pointer: str) -> str:
    """Read the reason."""
    if value is None:
        return ""
    if not isinstance(value, str):
        wrong_type(faults, "reason", "string", pointer=pointer)
        return ""
    if len(value) > _REASON_LENGTH:
        faults.add("reason", f"The reason has more than {_REASON_LENGTH} characters.", pointer=pointer)
    return value


def wrong_type(faults: Faults, name: str, wanted: str, *, pointer: str = "") -> None:
    """Note that a parameter has not its type, in WordPress's words."""
    faults.add(name, f"{name} is not of type {wanted}.", pointer=pointer, kind="rest_invalid_type")


def misspelled(faults: Faults, given: Iterable[str], known: Iterable[str], *, param: str = "", pointer: str) -> None:
    """Note every name that is a known one but for its case, hyphens or underscores.

    WooCommerce ignores unknown names: {"Amount": "20.00"} was answered with a refund of 0.00.
    """
    plain = {_plain(name): name for name in known}
    for name in given:
        meant = plain.get(_plain(name))
        if meant is not None and meant != name:
            message = f"There is no {name[:60]}; did you mean {meant}?"
            faults.add(param or name[:60], message, pointer=f"{pointer}/{name[:60]}")


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "").replace(" ", "")
