"""What callers say of sources: how their messages are verified, read, and told apart."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, assert_never

from pydantic import AfterValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from app.api.inbound_expressions import NoExpression, check_expression
from app.api.schemas import Body, RefundBody
from app.api.values import STORE_PATTERN, StoreName
from app.flows.sources import Reading
from app.signatures import BODY_ALONE, Algorithm, Bearer, Encoding, Hmac, Standard, Verification, verification_json

_HEADER_PATTERN = r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}$"
_DAY_S = 86_400

HeaderName = Annotated[str, Field(pattern=_HEADER_PATTERN, examples=["X-Signature"])]


def _readable(expression: str) -> str:
    try:
        check_expression(expression)
    except NoExpression as error:
        raise PydanticCustomError(
            "malformed_value", "This is no JMESPath expression: {why}", {"why": str(error)}
        ) from None
    return expression


Expression = Annotated[str, Field(min_length=1, max_length=8_000), AfterValidator(_readable)]


class StandardVerificationBody(Body):
    """Standard Webhooks: `webhook-id`, `webhook-timestamp` and `webhook-signature`, not older than five minutes."""

    kind: Literal["standard"]


class HmacVerificationBody(Body):
    """An HMAC in a header, over the body or over a timestamp and the body."""

    kind: Literal["hmac"]
    header: HeaderName
    algorithm: Algorithm = "sha256"
    encoding: Encoding = "hex"
    prefix: Annotated[
        str, Field(pattern=r"^[!-~]{0,32}$", description="Before the signature in its header.", examples=["sha256="])
    ] = ""
    timestamp_header: Annotated[
        HeaderName | None, Field(description="Of seconds or milliseconds since 1970; old ones are refused then.")
    ] = None
    signed: Annotated[
        str,
        Field(
            pattern=r"^[ -~]{1,200}$",
            description="What is signed, with `{body}` and `{timestamp}`.",
            examples=["{timestamp}.{body}"],
        ),
    ] = BODY_ALONE
    tolerance_s: Annotated[int, Field(ge=1, le=_DAY_S, description="Seconds that a timestamp may be off.")] = 300

    @model_validator(mode="after")
    def _signs_what_counts(self) -> Self:
        if self.signed.count(BODY_ALONE) != 1:
            raise PydanticCustomError("malformed_value", "`signed` has to have {body} in it once.")
        if ("{timestamp}" in self.signed) != (self.timestamp_header is not None):
            raise PydanticCustomError(
                "malformed_value",
                "A timestamp counts only if it is signed: give timestamp_header, and {timestamp} in `signed`, or "
                "neither of them.",
            )
        return self


class BearerVerificationBody(Body):
    """The secret itself in a header, behind `Bearer ` or alone."""

    kind: Literal["bearer"]
    header: HeaderName = "Authorization"


VerificationBody = Annotated[
    StandardVerificationBody | HmacVerificationBody | BearerVerificationBody, Field(discriminator="kind")
]


class DedupeBody(Body):
    """Where a message's own id is to be found; one of the two."""

    header: Annotated[
        HeaderName | None,
        Field(description="One that is signed: `webhook-id` of Standard Webhooks; any behind a bearer token."),
    ] = None
    expression: Annotated[Expression | None, Field(description="JMESPath over the body.")] = None

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if (self.header is None) == (self.expression is None):
            raise PydanticCustomError("missing_field", "Give either header or expression.")
        return self


def _known_fields(fields: dict[str, str]) -> dict[str, str]:
    unknown = next((name for name in fields if name not in RefundBody.model_fields), None)
    if unknown is not None:
        raise PydanticCustomError("malformed_value", "A refund has no field {name}.", {"name": repr(unknown[:40])})
    if not fields:
        raise PydanticCustomError("missing_field", "Name at least one field.")
    return fields


Fields = Annotated[dict[str, Expression], Field(max_length=40), AfterValidator(_known_fields)]
MappingForm = Annotated[
    Expression | Fields,
    Field(
        description="JMESPath: one expression that gives a refund's body (the body of `POST /v1/refunds`), or one for "
        "each of its fields. Null means that the message is about no refund. Ids are text: `to_string(order.id)`.",
        examples=[{"order_id": "to_string(order.id)", "amount": "refund.total", "external_reference": "refund.number"}],
    ),
]
OnlyIf = Annotated[
    Expression | None,
    Field(description="Messages for which this gives null, false or nothing are ignored.", examples=["type=='refund'"]),
]
AsNumbers = Annotated[
    bool,
    Field(
        description="Take JSON numbers for amounts, exactly as they are written in the message. Without it they are "
        "faults."
    ),
]
Secret = Annotated[
    str,
    Field(
        pattern=r"^[!-~]{16,512}$",
        description="The secret that the other system uses. Without it one is made, and shown once.",
        json_schema_extra={"writeOnly": True},
    ),
]
DefaultStore = Annotated[StoreName | None, Field(description="The store of messages whose mapping names none.")]


class InboundSourceBody(Body):
    """A system that sends messages of its own making."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "name": "oms",
                    "verification": {"kind": "hmac", "header": "X-Signature", "prefix": "sha256="},
                    "only_if": "event == 'return.approved'",
                    "mapping": {
                        "order_id": "to_string(order.shop_id)",
                        "amount": "refund.total",
                        "external_reference": "refund.number",
                        "reason": "refund.reason",
                    },
                    "amounts_as_numbers": True,
                    "dedupe": {"expression": "event_id"},
                    "store": "acme-de",
                }
            ]
        }
    )

    name: Annotated[str, Field(pattern=STORE_PATTERN, description="Unique among the tenant's sources.")]
    verification: VerificationBody
    secret: Secret | None = None
    mapping: MappingForm
    only_if: OnlyIf = None
    amounts_as_numbers: AsNumbers = False
    dedupe: Annotated[
        DedupeBody | None,
        Field(description="Without it: `webhook-id` of Standard Webhooks, else the SHA-256 of the body."),
    ] = None
    store: DefaultStore = None


def _without_defaults(schema: dict[str, Any]) -> None:
    """Take the defaults out of a schema: what a request leaves out is left as it is."""
    for field in schema["properties"].values():
        field.pop("default", None)
    schema["minProperties"] = 1
    schema["examples"] = [{"amounts_as_numbers": True}]


class InboundSourceChangeBody(Body):
    """What to change of a source; what is left out stays as it is (RFC 7396). Its secret has a call of its own."""

    model_config = ConfigDict(json_schema_extra=_without_defaults)

    name: Annotated[str, Field(pattern=STORE_PATTERN)] = ""
    verification: VerificationBody = BearerVerificationBody(kind="bearer")
    mapping: MappingForm = "@"
    only_if: OnlyIf = None
    amounts_as_numbers: AsNumbers = False
    dedupe: DedupeBody | None = None
    store: DefaultStore = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.model_fields_set:
            raise PydanticCustomError("missing_field", "Name at least one field to change.")
        return self


class SecretRotationBody(Body):
    """A new secret for a source."""

    secret: Secret | None = None
    overlap_s: Annotated[
        int, Field(ge=0, le=30 * _DAY_S, description="Seconds for which the old secret counts as well.")
    ] = _DAY_S


def to_verification(body: VerificationBody) -> Verification:
    """Say in the gateway's words how messages are verified."""
    match body:
        case StandardVerificationBody():
            return Standard()
        case HmacVerificationBody():
            return Hmac(**body.model_dump())
        case BearerVerificationBody():
            return Bearer(**body.model_dump())
        case _:
            assert_never(body)


def to_reading(body: InboundSourceBody) -> Reading:
    """Say in the gateway's words how a new source's messages are read."""
    return Reading(
        name=body.name,
        verification=verification_json(to_verification(body.verification)),
        mapping=_mapping(body, {"amounts_as_numbers": False}),
        dedupe=None if body.dedupe is None else body.dedupe.model_dump(exclude_none=True),
        store=body.store,
    )


def changed_reading(before: Reading, body: InboundSourceChangeBody) -> Reading:
    """Say how a source's messages are read from now on."""
    given = body.model_fields_set
    return Reading(
        name=body.name if "name" in given else before.name,
        verification=verification_json(to_verification(body.verification))
        if "verification" in given
        else before.verification,
        mapping=_mapping(body, before.mapping),
        dedupe=(None if body.dedupe is None else body.dedupe.model_dump(exclude_none=True))
        if "dedupe" in given
        else before.dedupe,
        store=body.store if "store" in given else before.store,
    )


def _mapping(body: InboundSourceBody | InboundSourceChangeBody, before: Mapping[str, Any]) -> Mapping[str, Any]:
    given = body.model_fields_set
    mapping = dict(before)
    if "mapping" in given:
        mapping = {name: value for name, value in mapping.items() if name not in ("expression", "fields")}
        mapping |= {"expression": body.mapping} if isinstance(body.mapping, str) else {"fields": body.mapping}
    for name in ("only_if", "amounts_as_numbers"):
        if name in given:
            mapping[name] = getattr(body, name)
    return mapping
