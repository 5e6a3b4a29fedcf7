"""What callers send, strictly: unknown fields, numbers for texts and texts for numbers are faults."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from app.api.reading import Unreadable
from app.api.values import (
    Amount,
    Currency,
    Label,
    LineId,
    MetaKey,
    MetaValue,
    OrderId,
    QuoteId,
    RateId,
    Reference,
    Slug,
    StoreName,
    StoreRefundId,
    Text,
)
from app.domain.refund import (
    ItemRequest,
    LineRequest,
    LinesRequest,
    PaymentMode,
    RefundCommand,
    Resolution,
    TaxRequest,
)
from app.flows.amend import UNSET, Changes

_LIST_LIMIT = 500


class Body(BaseModel):
    """A JSON object of a request."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _is_readable(cls, value: Any) -> Any:
        # FastAPI has objects read by their attributes: of nothing but optional fields, this one would be an empty body.
        if isinstance(value, Unreadable):
            raise PydanticCustomError("wrong_type", "The body cannot be read.")
        return value


class TaxBody(Body):
    """A tax rate's share of a line's amount."""

    rate_id: RateId
    amount: Amount


Taxes = Annotated[
    list[TaxBody] | None,
    Field(
        max_length=_LIST_LIMIT,
        description="The tax contained in `amount`, by rate, for callers whose books have computed it. "
        "Without it the gateway computes it.",
    ),
]


class ItemBody(Body):
    """Units or money of one product line, named by `line_item_id` or `sku`."""

    line_item_id: LineId | None = None
    sku: Label | None = None
    quantity: Annotated[int | None, Field(ge=1, le=1_000_000)] = None
    amount: Annotated[Amount | None, Field(description="Gross, for all units of this entry together.")] = None
    taxes: Taxes = None


class ShippingBody(Body):
    """All that is left of one shipping line, or a gross amount of it."""

    shipping_line_id: LineId
    amount: Amount | None = None
    taxes: Taxes = None


class FeeBody(Body):
    """All that is left of one fee line, or a gross amount of it."""

    fee_line_id: LineId
    amount: Amount | None = None
    taxes: Taxes = None


def _form_of_lines(value: Any) -> str | None:
    if isinstance(value, list):
        return "lines"
    if value == "all":
        return "all"
    # A number is sent on to be refused as an amount, which says what to do about it.
    return "amount" if isinstance(value, (str, int, float, Decimal)) and not isinstance(value, bool) else None


_FORM = Discriminator(
    _form_of_lines,
    custom_error_type="wrong_type",
    custom_error_message='This is "all", an amount such as "5.00", or a list of lines.',
)
ShippingForm = Annotated[
    Annotated[Literal["all"], Tag("all")]
    | Annotated[Amount, Tag("amount")]
    | Annotated[list[ShippingBody], Field(max_length=_LIST_LIMIT), Tag("lines")],
    _FORM,
]
FeesForm = Annotated[
    Annotated[Literal["all"], Tag("all")]
    | Annotated[Amount, Tag("amount")]
    | Annotated[list[FeeBody], Field(max_length=_LIST_LIMIT), Tag("lines")],
    _FORM,
]


class MetaBody(Body):
    """A piece of meta data to keep with the refund in the store."""

    key: MetaKey
    value: MetaValue


def _no_key_twice(entries: Sequence[MetaBody] | None) -> Sequence[MetaBody] | None:
    keys = [entry.key for entry in entries or ()]
    twice = next((key for i, key in enumerate(keys) if key in keys[:i]), None)
    if twice is not None:
        raise PydanticCustomError("duplicate_key", "The key {key} occurs more than once.", {"key": repr(twice)})
    return entries


Metadata = Annotated[
    dict[Annotated[str, Field(pattern=r"^[!-~]{1,40}$")], Text],
    Field(max_length=50, description="Up to 50 pairs of text, returned as they are."),
]


class RefundBody(Body):
    """A refund to preview or to carry out.

    Name the order by `order_id` or `order_number`, and say what to refund: an `amount`, parts of the order (`items`,
    `shipping`, `fees`, `goodwill`), or all that is left (`remaining`).
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "store": "acme-de",
                    "order_id": "1234",
                    "external_reference": "CM-2026-00017",
                    "amount": "20.00",
                    "currency": "EUR",
                    "reason": "Customer request",
                },
                {
                    "store": "acme-de",
                    "order_number": "DE-10027",
                    "items": [
                        {"line_item_id": "311", "quantity": 1},
                        {"sku": "SKU1", "quantity": 2, "amount": "30.00"},
                    ],
                    "shipping": "all",
                    "fees": [{"fee_line_id": "4", "amount": "1.00"}],
                    "goodwill": "3.00",
                    "reason": "Damaged in transit",
                    "reason_code": "damaged",
                    "metadata": {"rma": "R-9"},
                },
                {"store": "acme-de", "order_id": "1234", "remaining": True, "payment": "manual"},
            ]
        }
    )

    store: StoreName
    order_id: OrderId | None = None
    order_number: Annotated[
        Label | None, Field(description="The number customers see; matched exactly, never fuzzily.")
    ] = None
    external_reference: Annotated[
        Reference | None, Field(description="Your document's number; unique per store for ever.")
    ] = None
    amount: Annotated[
        Amount | None,
        Field(description="An amount refund; beside parts, a check: it must equal their computed sum."),
    ] = None
    currency: Annotated[Currency | None, Field(description="A check: it must be the order's.")] = None
    items: Annotated[list[ItemBody] | None, Field(max_length=_LIST_LIMIT)] = None
    shipping: Annotated[
        ShippingForm | None, Field(description='"all" that is left, a gross amount, or named shipping lines.')
    ] = None
    fees: Annotated[FeesForm | None, Field(description='"all" that is left, a gross amount, or named fee lines.')] = (
        None
    )
    remaining: Annotated[bool, Field(description="Everything that is left of the order.")] = False
    goodwill: Annotated[Amount | None, Field(description="On top of the parts, taken from no line.")] = None
    reason: Annotated[
        Text,
        Field(description="Kept in the store and shown to the customer. WooCommerce drops backslashes from it."),
    ] = ""
    reason_code: Annotated[Slug | None, Field(description="Your own classification, for filters and reports.")] = None
    payment: Annotated[
        PaymentMode,
        Field(description="`gateway` moves money through the store's payment gateway; `manual` only records it."),
    ] = "gateway"
    restock: bool = False
    metadata: Metadata | None = None
    store_meta_data: Annotated[
        list[MetaBody] | None,
        Field(
            max_length=20,
            description="Written to the refund's own meta data in the store, for its plugins; not by the legacy API. "
            "What is only for you belongs into `metadata`.",
        ),
        AfterValidator(_no_key_twice),
    ] = None
    expected_refunded_total: Annotated[
        Amount | None, Field(description="Refuse unless the store has refunded exactly this much so far.")
    ] = None
    quote_id: Annotated[QuoteId | None, Field(description="Refuse unless the preview's promise still holds.")] = None


def to_command(body: RefundBody) -> RefundCommand:
    """Say in the domain's words what the caller asks for."""
    return RefundCommand(
        store=body.store,
        order_id=body.order_id,
        order_number=body.order_number,
        external_reference=body.external_reference,
        amount=body.amount,
        currency=body.currency,
        items=tuple(
            ItemRequest(
                line_item_id=item.line_item_id,
                sku=item.sku,
                quantity=item.quantity,
                amount=item.amount,
                taxes=_taxes(item.taxes),
            )
            for item in body.items or ()
        ),
        shipping=_lines(body.shipping),
        fees=_lines(body.fees),
        remaining=body.remaining,
        goodwill=body.goodwill,
        reason=body.reason,
        reason_code=body.reason_code,
        payment=body.payment,
        restock=body.restock,
        metadata=body.metadata or {},
        store_meta={entry.key: entry.value for entry in body.store_meta_data or ()},
        expected_refunded_total=body.expected_refunded_total,
        quote_id=body.quote_id,
    )


def _lines(lines: Literal["all"] | Decimal | list[ShippingBody] | list[FeeBody] | None) -> LinesRequest | None:
    if not isinstance(lines, list):
        return lines
    return tuple(
        LineRequest(
            line_id=line.shipping_line_id if isinstance(line, ShippingBody) else line.fee_line_id,
            amount=line.amount,
            taxes=_taxes(line.taxes),
        )
        for line in lines
    )


def _taxes(taxes: list[TaxBody] | None) -> tuple[TaxRequest, ...] | None:
    return None if taxes is None else tuple(TaxRequest(rate_id=tax.rate_id, amount=tax.amount) for tax in taxes)


class ResolveBody(Body):
    """What a person found out about a refund in review, after a look at the payment provider."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"outcome": "succeeded", "note": "Paid back on 21 Nov, PSP reference 8835", "by": "J. Doe"}]
        }
    )

    outcome: Annotated[
        Resolution, Field(description="`succeeded` and `failed` end it; `resend` sends it once more as if new.")
    ]
    note: Annotated[Text, Field(min_length=1, description="What was looked at, and what it showed.")]
    by: Annotated[Label | None, Field(description="Who looked; without it, the name of the API key.")] = None
    store_refund_id: Annotated[
        StoreRefundId | None,
        Field(
            description="With `succeeded`: the store's row that was found to be this refund's, where the gateway could "
            "not tell. It has to be under the refund's order, and no other refund's."
        ),
    ] = None


def _without_defaults(schema: dict[str, Any]) -> None:
    """Take the defaults out of a schema: what a request leaves out is left as it is."""
    for field in schema["properties"].values():
        field.pop("default", None)
    schema["minProperties"] = 1
    schema["examples"] = [{"reason": "Damaged in transit", "metadata": {"rma": "R-10"}}]


class AmendBody(Body):
    """The words of a refund to change; what is left out stays as it is (RFC 7396)."""

    model_config = ConfigDict(json_schema_extra=_without_defaults)

    reason: Annotated[Text, Field(description="Pushed to the store where its API can take a new one.")] = ""
    reason_code: Annotated[Slug | None, Field(description="Null takes it away.")] = None
    metadata: Annotated[Metadata, Field(description="Takes the place of all there was.")] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.model_fields_set:
            raise PydanticCustomError("missing_field", "Name at least one of reason, reason_code and metadata.")
        return self


def to_changes(body: AmendBody) -> Changes:
    """Say in the flow's words what is to be changed."""
    given = body.model_fields_set
    return Changes(
        reason=body.reason if "reason" in given else UNSET,
        reason_code=body.reason_code if "reason_code" in given else UNSET,
        metadata=body.metadata if "metadata" in given else UNSET,
    )
