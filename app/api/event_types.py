"""Types of events as callers name them: one by one, or a family at a time."""

import re
from typing import Annotated, Any

from pydantic import AfterValidator, Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from app.domain.delivery import EVENT_FAMILIES, EVENT_TYPE_PATTERN

_AT_A_TIME = 50
_PATTERN = re.compile(EVENT_TYPE_PATTERN)
_HOW = (
    'Name a type, such as "refund.succeeded", or a family, such as "refund.*"; there are the families '
    f"{', '.join(EVENT_FAMILIES)}."
)


def _known(text: str) -> str:
    if _PATTERN.fullmatch(text) is None:
        raise PydanticCustomError("malformed_value", "There are no such events. {how}", {"how": _HOW})
    return text


#: `refund.failed`, or a whole family as `refund.*`.
EventType = Annotated[
    str,
    AfterValidator(_known),
    WithJsonSchema({"type": "string", "pattern": EVENT_TYPE_PATTERN, "examples": ["refund.succeeded", "refund.*"]}),
]

EventTypes = Annotated[
    list[EventType],
    Field(min_length=1, max_length=_AT_A_TIME, description=f"Types of events, or families such as `refund.*`. {_HOW}"),
]


def _read_types(value: Any) -> tuple[str, ...]:
    types = [_known(part.strip()) for text in value for part in text.split(",")]
    if len(types) > _AT_A_TIME:
        raise PydanticCustomError("too_long", "Too many types.", {"max_length": _AT_A_TIME})
    return tuple(types)


#: In an address: separated by commas, or the parameter once for each.
QueryTypes = Annotated[
    tuple[str, ...],
    PlainValidator(_read_types),
    WithJsonSchema(
        {
            "type": "array",
            "items": {"type": "string", "pattern": EVENT_TYPE_PATTERN},
            "minItems": 1,
            "maxItems": _AT_A_TIME,
        }
    ),
]
