"""The texts and numbers of the wire: amounts, ids, names, times."""

import json
import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BeforeValidator,
    Field,
    JsonValue,
    PlainSerializer,
    PlainValidator,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

from app.domain.command import TAKEN_META_KEYS
from app.domain.money import AMOUNT_PATTERN, MalformedAmount, parse_amount

#: Canonical numerals only: "01234" would be the same order in the store and another one in our locks.
ID_PATTERN = r"^[1-9][0-9]{0,17}$"
_RATE_ID_PATTERN = r"^(0|[1-9][0-9]{0,17})$"
STORE_PATTERN = r"^[a-z0-9][a-z0-9-]{0,62}$"
REFUND_ID_PATTERN = r"^rf_[0-9A-Za-z]{1,40}$"
BATCH_ID_PATTERN = r"^bt_[0-9A-Za-z]{1,40}$"
RECONCILIATION_ID_PATTERN = r"^rc_[0-9A-Za-z]{1,40}$"
ENDPOINT_ID_PATTERN = r"^we_[0-9A-Za-z]{1,40}$"
SOURCE_ID_PATTERN = r"^src_[0-9A-Za-z]{1,40}$"
SCHEDULE_ID_PATTERN = r"^sd_[0-9A-Za-z]{1,40}$"
RUN_ID_PATTERN = r"^sr_[0-9A-Za-z]{1,40}$"
MESSAGE_ID_PATTERN = r"^im_[0-9A-Za-z]{1,40}$"
_QUOTE_ID_PATTERN = r"^qt_[0-9A-Za-z]{1,40}$"
#: Without control characters, and without white space at either end.
_LABEL_PATTERN = r"^[^\s\x00-\x1f\x7f-\x9f]([^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f])?$"
_TEXT_PATTERN = r"^[^\x00-\x1f\x7f-\x9f]*$"
VISIBLE_PATTERN = r"^[!-~]{1,255}$"

#: What callers' number formatters add, the tell-tale ones first.
_ADDITIONS = (
    (re.compile("[A-DF-Za-df-z\\u20a0-\\u20cf$£¥]"), "text or a currency"),
    (re.compile("[eE]"), "an exponent"),
    (re.compile(","), "a comma"),
    (re.compile("[+\\-\\u2212]"), "a sign"),
    (re.compile("\\s"), "a space"),
)
_HOW = 'Write amounts as plain decimals with a dot, for example "20.00".'


def _read_amount(value: Any) -> Decimal:
    if isinstance(value, Decimal):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        raise PydanticCustomError("amount_not_text", 'Amounts are text, not numbers: write "20.00" with its quotes.')
    if not isinstance(value, str):
        raise PydanticCustomError("wrong_type", 'An amount is text, for example "20.00".')
    try:
        return parse_amount(value)
    except MalformedAmount:
        found = next((name for pattern, name in _ADDITIONS if pattern.search(value)), None)
        why = f"There is {found} in the amount. " if found else "This is not an amount. "
        raise PydanticCustomError("malformed_amount", "{why}{how}", {"why": why, "how": _HOW}) from None


_AMOUNT_SCHEMA = {"type": "string", "pattern": AMOUNT_PATTERN, "examples": ["20.00"]}

#: A decimal in major units, as text; at most 12 digits before and 8 behind the dot.
Amount = Annotated[Decimal, PlainValidator(_read_amount), WithJsonSchema(_AMOUNT_SCHEMA)]

#: An amount in an answer: already written with the order's decimals.
AmountText = Annotated[str, Field(examples=["20.00"])]


def _read_time(value: Any) -> Any:
    # A number would be taken for seconds since 1970.
    if not isinstance(value, str) or len(value) < 20 or value[4:5] != "-" or value[10:11] not in "Tt":
        raise PydanticCustomError("malformed_value", 'Write times by RFC 3339, for example "2026-11-21T10:00:00Z".')
    return value


#: A time in a query: RFC 3339 with an offset; "Z" is the safe one, because "+" means a space in a query.
QueryTime = Annotated[
    AwareDatetime,
    BeforeValidator(_read_time),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-11-21T10:00:00Z"]}),
]


def _write_time(value: datetime) -> str:
    return value.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


#: A time in an answer: RFC 3339, UTC, with a Z.
Time = Annotated[
    datetime,
    PlainSerializer(_write_time, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-11-21T10:00:00.000Z"]}),
]

StoreName = Annotated[str, Field(pattern=STORE_PATTERN, description="The store's name in the gateway.")]
OrderId = Annotated[str, Field(pattern=ID_PATTERN, description="The store's id of the order, as text.")]
LineId = Annotated[str, Field(pattern=ID_PATTERN, description="The store's id of the order line, as text.")]
RateId = Annotated[str, Field(pattern=_RATE_ID_PATTERN, description="The store's id of the tax rate, as text.")]
StoreRefundId = Annotated[str, Field(pattern=ID_PATTERN, description="The store's id of the refund, as text.")]
QuoteId = Annotated[str, Field(pattern=_QUOTE_ID_PATTERN, description="The `quote_id` of a preview.")]
Label = Annotated[str, Field(pattern=_LABEL_PATTERN, min_length=1, max_length=100)]
Reference = Annotated[str, Field(pattern=_LABEL_PATTERN, min_length=1, max_length=255)]
Currency = Annotated[str, Field(pattern=r"^[A-Za-z]{3}$", description="ISO 4217.", examples=["EUR"])]
Text = Annotated[str, Field(pattern=_TEXT_PATTERN, max_length=500)]
Slug = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]

_META_VALUE_BYTES = 4_096
_META_VALUE_DEPTH = 20


def _free_key(key: str) -> str:
    if key.lower() in TAKEN_META_KEYS:
        raise PydanticCustomError("malformed_value", "WooCommerce or the gateway keeps something of its own there.")
    return key


def _shallow_value(value: Any) -> Any:
    level = [value]
    for _ in range(_META_VALUE_DEPTH + 1):
        level = [
            inner
            for outer in level
            if isinstance(outer, (list, dict))
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return value
    raise PydanticCustomError("malformed_value", "The value is nested too deeply.")


def _small_value(value: JsonValue) -> JsonValue:
    try:
        size = len(json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode())
    except ValueError:
        raise PydanticCustomError("out_of_range", "A number in the value is too large.") from None
    if size > _META_VALUE_BYTES:
        raise PydanticCustomError("too_long", "Too long.", {"max_length": _META_VALUE_BYTES, "unit": "bytes of JSON"})
    return value


MetaKey = Annotated[str, Field(pattern=_LABEL_PATTERN, min_length=1, max_length=255), AfterValidator(_free_key)]
#: Any JSON, in at most 4 KB.
MetaValue = Annotated[
    JsonValue,
    BeforeValidator(_shallow_value),
    AfterValidator(_small_value),
    WithJsonSchema({"description": "Any JSON, up to 4 KB."}),
]


def whole(quantity: Decimal) -> int | float:
    """Give a number of units; plugins sell fractions of them."""
    return int(quantity) if quantity == quantity.to_integral_value() else float(quantity)
