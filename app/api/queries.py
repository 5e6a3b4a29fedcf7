"""What callers ask for in an address: pages, filters and flags, as strictly as bodies."""

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from app.api.values import ID_PATTERN, Amount, Currency, OrderId, QueryTime, Reference, Slug, StoreName, Text
from app.domain.refund import Money, RecordedPayment, Status
from app.domain.refund_query import Moment, Order, OrderBy, RefundQuery
from app.ledger.records import Origin, Via

_IDS_AT_A_TIME = 500
_ID = re.compile(ID_PATTERN)
#: RFC 3339, the offset left to choice; years that stores and databases can reckon with.
_TIME_PATTERN = (
    r"^[12][0-9]{3}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})?$"
)
_TIME = re.compile(_TIME_PATTERN)
_LOST_PLUS = re.compile(r" [0-9]{2}:[0-9]{2}$")


def _read_flag(value: Any) -> bool:
    match value:
        case bool():
            return value
        case "true":
            return True
        case "false":
            return False
        case _:
            raise PydanticCustomError("malformed_value", "Write true or false.")


#: Either word and nothing else: what "1", "on" or "" would mean is not guessed.
Flag = Annotated[bool, PlainValidator(_read_flag), WithJsonSchema({"type": "boolean"})]


def _read_ids(value: Any) -> tuple[str, ...]:
    ids = [part.strip() for text in value for part in text.split(",")]
    for part in ids:
        if _ID.fullmatch(part) is None:
            raise PydanticCustomError(
                "malformed_value",
                'Write ids as whole numbers with commas between them, for example "311,312"; {part} is none. '
                "Leave the parameter out to ask for no ids.",
                {"part": repr(part[:40])},
            )
    if len(ids) > _IDS_AT_A_TIME:
        raise PydanticCustomError("too_long", "Too many ids.", {"max_length": _IDS_AT_A_TIME})
    return tuple(ids)


#: Separated by commas, or the parameter once for each.
Ids = Annotated[
    tuple[str, ...],
    PlainValidator(_read_ids),
    WithJsonSchema(
        {"type": "array", "items": {"type": "string", "pattern": ID_PATTERN}, "minItems": 1, "maxItems": _IDS_AT_A_TIME}
    ),
]


def _ids(name: str, description: str) -> Any:
    return Field(validation_alias=AliasChoices(name, f"{name}[]"), description=description)


def _read_store_time(value: Any) -> datetime:
    if isinstance(value, str) and _TIME.fullmatch(value) is not None:
        try:
            at = datetime.fromisoformat(value.upper())
            return at if at.tzinfo is None else at.astimezone(UTC)
        except ValueError:
            pass
    hint = " A + has to be written as %2B in an address." if _LOST_PLUS.search(str(value)) else ""
    raise PydanticCustomError(
        "malformed_value", 'Write times by RFC 3339, for example "2026-11-21T10:00:00Z".{hint}', {"hint": hint}
    )


#: Aware UTC, or naive when it came without an offset.
StoreTime = Annotated[
    datetime,
    PlainValidator(_read_store_time),
    WithJsonSchema({"type": "string", "pattern": _TIME_PATTERN, "examples": ["2026-11-21T10:00:00Z"]}),
]


class Query(BaseModel):
    """The parameters of an address; unknown ones are faults."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Page(Query):
    """How much of a list to give, and from where on."""

    limit: Annotated[int, Field(ge=1, le=200, description="Entries at most.")] = 50
    after: Annotated[str | None, Field(max_length=100, description="The `next_cursor` of the page before.")] = None


class LedgerQuery(Page):
    """Which refunds of the ledger to list; filters are joined with "and"."""

    store: StoreName | None = None
    order_id: OrderId | None = None
    status: Status | None = None
    money: Money | None = None
    external_reference: Reference | None = None
    origin: Annotated[
        Origin | None, Field(description="`api`: asked of the gateway; `store`: made by others, and seen in the store.")
    ] = None
    via: Annotated[
        Via | None,
        Field(description="The door it came in by: this API, the front for WooCommerce's clients, or seen in a store."),
    ] = None
    payment: RecordedPayment | None = None
    payment_method: Annotated[Text | None, Field(description="The id of the order's payment gateway.")] = None
    deleted: Annotated[
        Flag | None, Field(description="Only those whose row in the store is gone, or only those that have it still.")
    ] = None
    reason_code: Slug | None = None
    currency: Currency | None = None
    created_from: Annotated[QueryTime | None, Field(description="Inclusive.")] = None
    created_to: Annotated[QueryTime | None, Field(description="Exclusive.")] = None
    settled_from: Annotated[QueryTime | None, Field(description="Inclusive.")] = None
    settled_to: Annotated[QueryTime | None, Field(description="Exclusive.")] = None
    amount_from: Annotated[Amount | None, Field(description="Inclusive.")] = None
    amount_to: Annotated[Amount | None, Field(description="Inclusive.")] = None


class DeletionQuery(Query):
    """How a row in a store is to be deleted."""

    force: Annotated[
        Flag,
        Field(description="Delete it even though its payment gateway has paid. No money comes back by that."),
    ] = False


class StoreRefundQuery(Query):
    """How to show one of a store's refunds."""

    context: Annotated[
        Literal["view", "edit"], Field(description="WooCommerce's; it makes no difference to what is shown here.")
    ] = "view"
    dp: Annotated[
        int | None,
        Field(ge=0, le=8, description="Digits behind the dot; amounts that are finer keep theirs. Else the store's."),
    ] = None


_TIMES = " Exclusive; in the store's own time zone unless it has an offset or `dates_are_gmt` is true."


class StoreRefundsQuery(StoreRefundQuery):
    """Which of a store's refunds to list, by WooCommerce's own parameters; filters are joined with "and".

    Lists of ids are separated by commas, or the parameter is repeated, also as `include[]`.
    """

    page: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    per_page: Annotated[int, Field(ge=1, le=100, description="Entries of a page at most.")] = 10
    offset: Annotated[
        int | None, Field(ge=0, le=100_000_000, description="Entries to leave out, in place of `page`.")
    ] = None
    search: Annotated[
        Text,
        Field(description="Words that all occur in the reason, or the refund's id. WooCommerce itself ignores it."),
    ] = ""
    after: Annotated[StoreTime | None, Field(description="Only those made after this time." + _TIMES)] = None
    before: Annotated[StoreTime | None, Field(description="Only those made before this time." + _TIMES)] = None
    modified_after: Annotated[StoreTime | None, Field(description="Only those changed after it." + _TIMES)] = None
    modified_before: Annotated[StoreTime | None, Field(description="Only those changed before it." + _TIMES)] = None
    dates_are_gmt: Annotated[Flag, Field(description="Times without an offset are UTC.")] = False
    include: Annotated[Ids, _ids("include", "Only these refunds, by the store's ids.")] = ()
    exclude: Annotated[Ids, _ids("exclude", "Not these refunds.")] = ()
    parent: Annotated[
        Ids, _ids("parent", "Only refunds of these orders, by the store's ids. WooCommerce itself ignores it.")
    ] = ()
    parent_exclude: Annotated[Ids, _ids("parent_exclude", "No refunds of these orders.")] = ()
    order: Order = "desc"
    orderby: OrderBy = "date"

    def in_the_domains_words(self) -> RefundQuery:
        """Give what is asked for; times without an offset are UTC or the store's own, as `dates_are_gmt` says."""
        return RefundQuery(
            page=self.page,
            per_page=self.per_page,
            offset=self.offset,
            order=self.order,
            orderby=self.orderby,
            search=self.search,
            after=self._moment(self.after),
            before=self._moment(self.before),
            modified_after=self._moment(self.modified_after),
            modified_before=self._moment(self.modified_before),
            include=self.include,
            exclude=self.exclude,
            parent=self.parent,
            parent_exclude=self.parent_exclude,
            context=self.context,
            dp=self.dp,
        )

    def _moment(self, at: datetime | None) -> Moment | None:
        if at is None:
            return None
        return Moment(at=at.replace(tzinfo=UTC) if at.tzinfo is None and self.dates_are_gmt else at)


class OrderRefundsQuery(StoreRefundsQuery):
    """Which of an order's refunds to list; hardly any order has more than a page of them."""

    per_page: Annotated[int, Field(ge=1, le=100, description="Entries of a page at most.")] = 100
