"""What callers ask of batches beside their items: how to carry them out, and what stops them."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal, Self

from pydantic import Field, PlainValidator, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from app.api.queries import Flag, Page, Query
from app.api.schemas import Body
from app.api.values import Amount, Currency, Label, Slug, StoreName
from app.domain.batch import MAX_ITEMS, BatchStatus, ItemStatus, Stops
from app.domain.money import AMOUNT_PATTERN, MalformedAmount, digits_behind_the_dot, parse_amount

_CURRENCY = re.compile(r"[A-Za-z]{3}", re.ASCII)
_LONGEST_HOLD_S = 90 * 86_400
_OLDEST_YEAR, _NEWEST_YEAR = 2000, 2199


def _read_moment(value: Any) -> datetime:
    if isinstance(value, str) and len(value) >= 20 and value[10] in "Tt":
        try:
            at = datetime.fromisoformat(value.upper())
        except ValueError:
            at = None
        if at is not None and at.tzinfo is not None and _OLDEST_YEAR <= at.year <= _NEWEST_YEAR:
            return at.astimezone(UTC)
    raise PydanticCustomError(
        "malformed_value", 'Write times by RFC 3339 with an offset, for example "2026-11-21T10:00:00Z".'
    )


def _read_share(value: Any) -> Decimal:
    try:
        share = parse_amount(value) if isinstance(value, str) else None
    except MalformedAmount:
        share = None
    if share is None or share > 1 or digits_behind_the_dot(share) > 4:
        raise PydanticCustomError(
            "malformed_value", 'Write the share as text from "0" to "1" with up to four digits, for example "0.05".'
        )
    return share


def _by_currency(pairs: Iterable[tuple[str, Decimal]]) -> dict[str, Decimal]:
    """Write currencies in capitals; raises PydanticCustomError when one is there twice."""
    limits: dict[str, Decimal] = {}
    for name, amount in pairs:
        currency = name.upper()
        if currency in limits:
            message = "The currency {currency} is there more than once."
            raise PydanticCustomError("duplicate_key", message, {"currency": currency})
        limits[currency] = amount
    return limits


def _read_limit(text: str) -> tuple[str, Decimal]:
    currency, _, amount = text.partition(":")
    if _CURRENCY.fullmatch(currency) is None:
        message = "Write a limit as its currency and amount, for example EUR:1000.00."
        raise PydanticCustomError("malformed_value", message)
    try:
        return currency, parse_amount(amount)
    except MalformedAmount:
        message = "Write the amount of a limit as a plain decimal with a dot, for example EUR:1000.00."
        raise PydanticCustomError("malformed_amount", message) from None


def _checked_limits(texts: Any) -> tuple[str, ...]:
    _by_currency(map(_read_limit, texts))
    return tuple(texts)


Moment = Annotated[
    datetime,
    PlainValidator(_read_moment),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-11-21T22:00:00Z"]}),
]
Share = Annotated[
    Decimal,
    PlainValidator(_read_share),
    WithJsonSchema({"type": "string", "pattern": r"^(0(\.[0-9]{1,4})?|1(\.0{1,4})?)$", "examples": ["0.05"]}),
]
LimitTexts = Annotated[
    tuple[str, ...],
    PlainValidator(_checked_limits),
    WithJsonSchema({"type": "array", "items": {"type": "string", "pattern": f"^[A-Za-z]{{3}}:{AMOUNT_PATTERN[1:]}"}}),
]
Mode = Literal["run", "hold"]

_STORE = Field(description="The store of the items that name none.")
_NAME = Field(description="What people know it by.")
_MODE = Field(description="`run`: at once, or at `start_at`; `hold`: waits for its release.")
_DRY_RUN = Field(description="Only say what the refunds would be, by the stores as they are; nothing is refunded.")
_START_AT = Field(description="Not to be begun before.")
_WITHIN = Field(ge=60, le=_LONGEST_HOLD_S, description="With `hold`: seconds after which it expires unreleased.")
_MAX_TOTAL = Field(description="At most so much in a currency; the batch stops before it would be more.")
_FAILURES = Field(ge=1, le=MAX_ITEMS, description="Stop after so many failed items.")
_SHARE = Field(description="Stop when more than this share of the processed items failed; looked at from 20 items on.")


class StopsBody(Body):
    """What stops a batch by itself; what is left out stays as it is, null takes it away."""

    max_total: Annotated[dict[Currency, Amount] | None, _MAX_TOTAL] = None
    stop_after_failures: Annotated[int | None, _FAILURES] = None
    stop_if_over: Annotated[Share | None, _SHARE] = None

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        _by_currency((self.max_total or {}).items())
        return self

    def over(self, stops: Stops) -> Stops:
        """Give a batch's stops with what is changed."""
        given = self.model_fields_set
        return Stops(
            max_total=_by_currency((self.max_total or {}).items()) if "max_total" in given else stops.max_total,
            stop_after_failures=(
                self.stop_after_failures if "stop_after_failures" in given else stops.stop_after_failures
            ),
            stop_if_over=self.stop_if_over if "stop_if_over" in given else stops.stop_if_over,
        )


def _checked_hold(mode: Mode, release_within_s: int | None) -> None:
    if release_within_s is not None and mode != "hold":
        raise PydanticCustomError("malformed_value", "release_within_s goes with the mode hold.")


class BatchBody(Body):
    """Up to 10,000 refunds to carry out, and how."""

    items: Annotated[list[Any], Field(max_length=MAX_ITEMS)]
    store: Annotated[StoreName | None, _STORE] = None
    name: Annotated[Label | None, _NAME] = None
    mode: Annotated[Mode, _MODE] = "run"
    dry_run: Annotated[bool, _DRY_RUN] = False
    start_at: Annotated[Moment | None, _START_AT] = None
    release_within_s: Annotated[int | None, _WITHIN] = None
    max_total: Annotated[dict[Currency, Amount], _MAX_TOTAL] = Field(default_factory=dict)
    stop_after_failures: Annotated[int | None, _FAILURES] = None
    stop_if_over: Annotated[Share | None, _SHARE] = None

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        _checked_hold(self.mode, self.release_within_s)
        self.limits()
        return self

    def limits(self) -> dict[str, Decimal]:
        """Give what may be paid at most, by currency."""
        return _by_currency(self.max_total.items())


class BatchQuery(Query):
    """How to carry out the refunds of a file; JSON has this in its body."""

    store: Annotated[StoreName | None, _STORE] = None
    name: Annotated[Label | None, _NAME] = None
    mode: Annotated[Mode, _MODE] = "run"
    dry_run: Annotated[Flag, _DRY_RUN] = False
    start_at: Annotated[Moment | None, _START_AT] = None
    release_within_s: Annotated[int | None, _WITHIN] = None
    max_total: Annotated[
        LimitTexts, Field(description="As `EUR:1000.00`, once for each currency: at most so much.")
    ] = ()
    stop_after_failures: Annotated[int | None, _FAILURES] = None
    stop_if_over: Annotated[Share | None, _SHARE] = None

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        _checked_hold(self.mode, self.release_within_s)
        return self

    def limits(self) -> dict[str, Decimal]:
        """Give what may be paid at most, by currency."""
        return _by_currency(map(_read_limit, self.max_total))


class BatchListQuery(Page):
    """Which batches to list."""

    status: BatchStatus | None = None
    schedule: Annotated[Slug | None, Field(description="Only those that this schedule made.")] = None


class ItemListQuery(Page):
    """Which items of a batch to list."""

    status: ItemStatus | None = None


BatchOptions = BatchBody | BatchQuery
