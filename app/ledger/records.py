"""A refund as the ledger keeps it, and how its parts are written to and read from JSON columns."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal, cast

from app.domain.order import TaxPart
from app.domain.refund import (
    Failure,
    ItemRequest,
    LineRequest,
    LinesRequest,
    Money,
    Observation,
    PlanLine,
    RecordedPayment,
    RefundCommand,
    RefundPlan,
    Status,
    StoreApi,
    TaxRequest,
)

Json = dict[str, Any]

#: api: asked of the gateway; store: made by others, in the store's admin or past the gateway.
Origin = Literal["api", "store"]
#: The normalized API, the front for WooCommerce's clients, or a store where it was seen.
Via = Literal["v1", "front", "seen"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LastAnswer:
    """What is known of the last attempt's answer; no answer at all is None in the record."""

    kind: str  #: "not_sent", "unknown", "refused", "contradicted" or "refunded"
    turned_away: str | None  #: see `stores.port.Unknown`
    http_status: int | None
    store_code: str | None
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundRecord:
    """A refund and everything that was decided and learned about it."""

    id: str
    tenant_id: str
    store_id: str
    store: str  #: the store's name
    order_id: str | None
    order_number: str | None
    external_reference: str | None
    fingerprint: bytes
    command: RefundCommand
    plan: RefundPlan | None  #: None until it was validated against the order
    amount: Decimal | None
    currency: str | None
    decimals: int | None
    payment: RecordedPayment
    restock: bool
    reason: str
    reason_code: str | None
    metadata: Mapping[str, str]
    origin: Origin
    marker: str
    status: Status
    money: Money
    store_refund_id: str | None
    failure: Failure | None
    evidence: tuple[Observation, ...]
    attempts: int
    fence: int
    executor: str | None
    lease_until: datetime | None
    waited_for_until: datetime | None
    sent_at: datetime | None
    touch_lost_at: datetime | None
    answer: LastAnswer | None
    due_at: datetime | None
    expires_at: datetime
    request_id: str
    created_by: str
    created_at: datetime
    updated_at: datetime
    settled_at: datetime | None
    payment_method: str | None = None  #: the order's payment gateway; None where it was never read
    sent_via: StoreApi | None = None  #: the API of the last attempt
    via: Via = "v1"
    told_at: datetime | None = None  #: when a front's client was given the outcome
    deleted_at: datetime | None = None  #: when its row in the store was deleted, or found to be gone
    deleted_by: str | None = None
    duplicate_of: str | None = None  #: the refund of ours that this one turned out to be
    batch_id: str | None = None  #: the batch that it was made for
    batch_item: int | None = None  #: its item's number there


def record_of(row: Mapping[str, Any]) -> RefundRecord:
    """Read a row of `refund` joined with its store's name."""
    values = {name: row[name] for name in RefundRecord.__dataclass_fields__}
    values["command"] = command_from(row["command"])
    values["plan"] = plan_from(row["plan"]) if row["plan"] is not None else None
    values["failure"] = failure_from(row["failure"]) if row["failure"] is not None else None
    values["evidence"] = tuple(observation_from(entry) for entry in row["evidence"])
    values["answer"] = LastAnswer(**row["answer"]) if row["answer"] is not None else None
    return RefundRecord(**values)


def _text(amount: Decimal | None) -> str | None:
    return None if amount is None else format(amount, "f")


def _amount(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


def _taxes_json(taxes: tuple[TaxRequest, ...] | None) -> list[Json] | None:
    return None if taxes is None else [{"rate_id": tax.rate_id, "amount": _text(tax.amount)} for tax in taxes]


def _taxes_from(value: list[Json] | None) -> tuple[TaxRequest, ...] | None:
    return (
        None if value is None else tuple(TaxRequest(rate_id=t["rate_id"], amount=Decimal(t["amount"])) for t in value)
    )


def _lines_json(lines: LinesRequest | None) -> Any:
    if lines is None or lines == "all":
        return lines
    if isinstance(lines, Decimal):
        return _text(lines)
    return [{"line_id": line.line_id, "amount": _text(line.amount), "taxes": _taxes_json(line.taxes)} for line in lines]


def _lines_from(value: Any) -> LinesRequest | None:
    if value is None:
        return None
    if value == "all":
        return "all"
    if isinstance(value, str):
        return Decimal(value)
    return tuple(
        LineRequest(line_id=line["line_id"], amount=_amount(line["amount"]), taxes=_taxes_from(line["taxes"]))
        for line in value
    )


def command_json(command: RefundCommand) -> Json:
    """Write a command; amounts keep the digits they were given with.

    Fields that came later are written only where they say something: the fingerprints of older requests are made of
    this, and have to stay what they were.
    """
    later: Json = {}
    if command.store_meta:
        later["store_meta"] = dict(command.store_meta)
    if command.dialect != "gateway":
        later["dialect"] = command.dialect
    return later | {
        "store": command.store,
        "order_id": command.order_id,
        "order_number": command.order_number,
        "external_reference": command.external_reference,
        "amount": _text(command.amount),
        "currency": command.currency,
        "items": [
            {
                "line_item_id": item.line_item_id,
                "sku": item.sku,
                "quantity": item.quantity,
                "amount": _text(item.amount),
                "taxes": _taxes_json(item.taxes),
            }
            for item in command.items
        ],
        "shipping": _lines_json(command.shipping),
        "fees": _lines_json(command.fees),
        "remaining": command.remaining,
        "goodwill": _text(command.goodwill),
        "reason": command.reason,
        "reason_code": command.reason_code,
        "payment": command.payment,
        "restock": command.restock,
        "metadata": dict(command.metadata),
        "expected_refunded_total": _text(command.expected_refunded_total),
        "quote_id": command.quote_id,
    }


def command_from(value: Json) -> RefundCommand:
    """Read what `command_json` wrote."""
    return RefundCommand(
        **{
            **value,
            "amount": _amount(value["amount"]),
            "items": tuple(
                ItemRequest(**{**item, "amount": _amount(item["amount"]), "taxes": _taxes_from(item["taxes"])})
                for item in value["items"]
            ),
            "shipping": _lines_from(value["shipping"]),
            "fees": _lines_from(value["fees"]),
            "goodwill": _amount(value["goodwill"]),
            "expected_refunded_total": _amount(value["expected_refunded_total"]),
        }
    )


def plan_json(plan: RefundPlan) -> Json:
    """Write a plan."""
    return {
        "order_id": plan.order_id,
        "order_number": plan.order_number,
        "currency": plan.currency,
        "decimals": plan.decimals,
        "amount": _text(plan.amount),
        "lines": [
            {
                "line_id": line.line_id,
                "kind": line.kind,
                "name": line.name,
                "sku": line.sku,
                "quantity": _text(line.quantity),
                "net": _text(line.net),
                "taxes": [{"rate_id": part.rate_id, "amount": _text(part.amount)} for part in line.taxes],
            }
            for line in plan.lines
        ],
        "goodwill": _text(plan.goodwill),
        "unallocated": _text(plan.unallocated),
        "payment": plan.payment,
        "restock": plan.restock,
        "reason": plan.reason,
        "payment_method": plan.payment_method,
        "is_partial": plan.is_partial,
        "store_meta": dict(plan.store_meta),
    }


def plan_from(value: Json) -> RefundPlan:
    """Read what `plan_json` wrote."""
    return RefundPlan(
        **{
            **value,
            "amount": Decimal(value["amount"]),
            "goodwill": Decimal(value["goodwill"]),
            "unallocated": Decimal(value["unallocated"]),
            "lines": tuple(
                PlanLine(
                    **{
                        **line,
                        "quantity": Decimal(line["quantity"]),
                        "net": Decimal(line["net"]),
                        "taxes": tuple(
                            TaxPart(rate_id=part["rate_id"], amount=Decimal(part["amount"])) for part in line["taxes"]
                        ),
                    }
                )
                for line in value["lines"]
            ),
        }
    )


def failure_json(failure: Failure) -> Json:
    """Write a failure."""
    return {"code": failure.code, "message": failure.message, "facts": dict(failure.facts)}


def failure_from(value: Json) -> Failure:
    """Read what `failure_json` wrote."""
    return Failure(**value)


def observation_json(observation: Observation) -> Json:
    """Write a piece of evidence."""
    return {
        "kind": observation.kind,
        "text": observation.text,
        "at": observation.at.isoformat(),
        "facts": dict(observation.facts),
    }


def observation_from(value: Json) -> Observation:
    """Read what `observation_json` wrote."""
    return Observation(**{**value, "at": datetime.fromisoformat(cast("str", value["at"]))})
