"""What callers send to make and change schedules."""

from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    ConfigDict,
    Discriminator,
    Field,
    PlainValidator,
    Tag,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from app.api.queries import Page
from app.api.schemas import Body, Metadata
from app.api.values import ID_PATTERN, Amount, Currency, Label, Slug, StoreName, Text
from app.domain.money import digits_behind_the_dot, iso_decimals
from app.domain.refund import PaymentMode
from app.domain.schedule import (
    DEFAULT_MAX_ORDERS,
    MAX_ORDERS,
    BatchStart,
    MalformedDuration,
    MissedRuns,
    RefundState,
    ScheduleKind,
    parse_duration,
)

_LONGEST_WINDOW_DAYS = 31
_HOW = 'Write a length of time in days or hours, for example "P14D", "PT12H" or "14d".'


def _read_duration(value: Any) -> timedelta:
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, str):
        raise PydanticCustomError("wrong_type", _HOW)
    try:
        return parse_duration(value)
    except MalformedDuration:
        raise PydanticCustomError("malformed_value", _HOW) from None


Duration = Annotated[
    timedelta,
    PlainValidator(_read_duration),
    WithJsonSchema({"type": "string", "maxLength": 20, "examples": ["P14D", "PT12H", "14d"]}),
]


def _whole_days(length: timedelta) -> timedelta:
    if not timedelta(0) < length <= timedelta(days=_LONGEST_WINDOW_DAYS) or length % timedelta(days=1):
        raise PydanticCustomError(
            "out_of_range", "Write whole days, from one to {most}: for example P1D.", {"most": _LONGEST_WINDOW_DAYS}
        )
    return length


class WindowBody(Body):
    """A stretch of time before the run: older than one length of time, newer than another, or both."""

    older_than: Duration | None = None
    newer_than: Duration | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.older_than is None and self.newer_than is None:
            raise PydanticCustomError("missing_field", "Name older_than, newer_than, or both.")
        return self


class TotalBody(Body):
    """Bounds of an order's total; both are included."""

    min: Amount | None = None
    max: Amount | None = None


class MetaTestBody(Body):
    """Meta data that an order has to have; with a `value`, exactly that one."""

    key: Annotated[str, Field(min_length=1, max_length=255)]
    value: Annotated[str | None, Field(max_length=1_000)] = None


class CustomerBody(Body):
    """A customer, by the store's id or by e-mail."""

    id: Annotated[str | None, Field(pattern=ID_PATTERN)] = None
    email: Annotated[str | None, Field(pattern=r"^[^@\s]{1,64}@[^@\s]{1,255}$", repr=False)] = None

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if (self.id is None) == (self.email is None):
            raise PydanticCustomError("missing_field", "Name the customer by id or by email, not by both.")
        return self


Statuses = Annotated[
    list[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$")]], Field(min_length=1, max_length=20)
]
Labels = Annotated[list[Label], Field(min_length=1, max_length=100)]


class SelectorBody(Body):
    """Which orders; every test that is given has to hold. Times are counted back from the run."""

    status: Annotated[Statuses | None, Field(description="One of these, as the store calls them.")] = None
    created: WindowBody | None = None
    paid: Annotated[WindowBody | None, Field(description="Not for stores of the legacy API, which hide it.")] = None
    completed: WindowBody | None = None
    modified: WindowBody | None = None
    payment_method: Annotated[Labels | None, Field(description="One of these ids of payment gateways.")] = None
    currency: Currency | None = None
    total: TotalBody | None = None
    sku: Annotated[Labels | None, Field(description="At least one of them is in the order.")] = None
    meta: Annotated[
        list[MetaTestBody] | None,
        Field(min_length=1, max_length=10, description="The legacy API shows no keys that begin with an underscore."),
    ] = None
    customer: CustomerBody | None = None
    refunded: Annotated[
        RefundState | None, Field(description="`none`: nothing was refunded yet; `partly`: something, and not all.")
    ] = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if all(getattr(self, name) is None for name in type(self).model_fields):
            raise PydanticCustomError("missing_field", "Say which orders: a selector needs at least one test.")
        return self


class RemainingBody(Body):
    """Everything that is left of the order."""

    type: Literal["remaining"]


class OnlyShippingBody(Body):
    """All that is left of the order's shipping."""

    type: Literal["shipping"]


def _a_share(percentage: Decimal) -> Decimal:
    if not 0 < percentage <= 100 or digits_behind_the_dot(percentage) > 4:
        raise PydanticCustomError("out_of_range", "A percentage is above 0 and at most 100, with up to four digits.")
    return percentage


class PercentageBody(Body):
    """A share of the order's total, rounded half up; never more than what is left."""

    type: Literal["percentage"]
    percentage: Annotated[Amount, AfterValidator(_a_share)]


class FixedAmountBody(Body):
    """The same amount for every order of this currency."""

    type: Literal["amount"]
    amount: Amount
    currency: Currency

    @model_validator(mode="after")
    def _is_something(self) -> Self:
        if self.amount == 0:
            raise PydanticCustomError("out_of_range", "An amount of 0 refunds nothing.")
        return self


class GivenLineBody(Body):
    """Units of one product."""

    sku: Label
    quantity: Annotated[int, Field(ge=1, le=1_000_000)]


def _no_sku_twice(lines: list[GivenLineBody]) -> list[GivenLineBody]:
    if len({line.sku for line in lines}) < len(lines):
        raise PydanticCustomError("duplicate_key", "A SKU occurs more than once.")
    return lines


class GivenLinesBody(Body):
    """Units of products, by SKU; orders that do not have them all are left out."""

    type: Literal["lines"]
    lines: Annotated[list[GivenLineBody], Field(min_length=1, max_length=100), AfterValidator(_no_sku_twice)]


_ACTIONS = ("remaining", "shipping", "percentage", "amount", "lines")


def _branch(value: Any) -> str | None:
    """Name the branch so that it is never taken for a field of the same name when faults are pointed at."""
    kind = value.get("type") if isinstance(value, dict) else getattr(value, "type", None)
    return f"[{kind}]" if kind in _ACTIONS else None


ActionBody = Annotated[
    Annotated[RemainingBody, Tag("[remaining]")]
    | Annotated[OnlyShippingBody, Tag("[shipping]")]
    | Annotated[PercentageBody, Tag("[percentage]")]
    | Annotated[FixedAmountBody, Tag("[amount]")]
    | Annotated[GivenLinesBody, Tag("[lines]")],
    Discriminator(
        _branch,
        custom_error_type="malformed_value",
        custom_error_message=f"An action is an object whose type is one of: {', '.join(_ACTIONS)}.",
    ),
]


def _upper_case(limits: dict[str, Decimal]) -> dict[str, Decimal]:
    upper = {currency.upper(): most for currency, most in limits.items()}
    if len(upper) < len(limits):
        raise PydanticCustomError("duplicate_key", "A currency occurs more than once.")
    for currency, most in upper.items():
        if digits_behind_the_dot(most) > iso_decimals(currency):
            raise PydanticCustomError(
                "malformed_value", "{currency} has fewer digits behind the dot.", {"currency": currency}
            )
    return upper


MaxTotal = Annotated[dict[Currency, Amount], Field(max_length=20), AfterValidator(_upper_case)]

_OF_REFUNDS = (
    "selector",
    "action",
    "reason",
    "reason_code",
    "payment",
    "restock",
    "metadata",
    "mode",
    "max_orders",
    "max_total",
)
_EXAMPLE: dict[str, Any] = {
    "name": "Uncollected parcels",
    "store": "acme-de",
    "cron": "0 6 * * 1-5",
    "time_zone": "Europe/Berlin",
    "selector": {
        "status": ["completed"],
        "paid": {"older_than": "P14D", "newer_than": "P30D"},
        "meta": [{"key": "parcel", "value": "returned"}],
    },
    "action": {"type": "remaining"},
    "reason": "Parcel not collected",
    "reason_code": "uncollected",
    "mode": "hold",
    "max_orders": 200,
    "max_total": {"EUR": "5000.00"},
    "missed": "last",
}


class ScheduleBody(Body):
    """Refunds of the orders that a selector finds, or reconciliations, at the times of a cron expression."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    name: Label
    kind: ScheduleKind = "refunds"
    store: StoreName
    cron: Annotated[
        str,
        Field(
            max_length=100,
            description="Minute, hour, day of month, month, day of week; every five minutes at most.",
            examples=["0 6 * * 1-5"],
        ),
    ]
    time_zone: Annotated[str, Field(max_length=64, description="IANA.", examples=["Europe/Berlin"])] = "UTC"
    selector: Annotated[SelectorBody | None, Field(description="Of refunds: which orders.")] = None
    action: Annotated[ActionBody | None, Field(description="Of refunds: what of each order.")] = None
    reason: Text = ""
    reason_code: Slug | None = None
    payment: PaymentMode = "gateway"
    restock: bool = False
    metadata: Metadata | None = None
    mode: Annotated[
        BatchStart, Field(description="Whether a run's batch begins by itself, or waits for a person to release it.")
    ] = "hold"
    max_orders: Annotated[int, Field(ge=1, le=MAX_ORDERS, description="In one run.")] = DEFAULT_MAX_ORDERS
    max_total: Annotated[
        MaxTotal | None, Field(description="In one run, by currency; with it, other currencies are left out.")
    ] = None
    window: Annotated[
        Annotated[Duration, AfterValidator(_whole_days)] | None,
        Field(description="Of a reconciliation: so many whole days before its own, in its time zone; P1D without it."),
    ] = None
    missed: Annotated[
        MissedRuns,
        Field(
            description="What becomes of times that passed while no gateway was running: `skip` them, make up for the "
            "`last` one, or for `all` (the last 100)."
        ),
    ] = "last"
    paused: bool = False

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        if self.kind == "refunds":
            missing = [name for name in ("selector", "action") if getattr(self, name) is None]
            if missing:
                raise PydanticCustomError(
                    "missing_field", "A schedule of refunds needs its {names}.", {"names": " and its ".join(missing)}
                )
            if self.window is not None:
                raise PydanticCustomError("malformed_value", "Only reconciliations have a window.")
        else:
            given = [name for name in _OF_REFUNDS if name in self.model_fields_set and getattr(self, name) is not None]
            if given:
                raise PydanticCustomError(
                    "malformed_value", "A reconciliation has no {names}.", {"names": " and no ".join(given)}
                )
        return self


class ScheduleChangesBody(Body):
    """Parts of a schedule to change (RFC 7396); each takes the place of what there was, and null takes it away."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1, "examples": [{"cron": "0 7 * * *"}]})

    name: Label | None = None
    cron: Annotated[str | None, Field(max_length=100)] = None
    time_zone: Annotated[str | None, Field(max_length=64)] = None
    selector: SelectorBody | None = None
    action: ActionBody | None = None
    reason: Text | None = None
    reason_code: Slug | None = None
    payment: PaymentMode | None = None
    restock: bool | None = None
    metadata: Metadata | None = None
    mode: BatchStart | None = None
    max_orders: Annotated[int | None, Field(ge=1, le=MAX_ORDERS)] = None
    max_total: MaxTotal | None = None
    window: Annotated[Duration, AfterValidator(_whole_days)] | None = None
    missed: MissedRuns | None = None
    paused: bool | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.model_fields_set:
            raise PydanticCustomError("missing_field", "Name what is to be changed.")
        return self


class ScheduleQuery(Page):
    """Which schedules to list."""

    store: StoreName | None = None
    kind: ScheduleKind | None = None
