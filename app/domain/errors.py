"""What the business says no to, as values.

An expected "no" is a `Refusal` made of `Fault`s: every fault found, each with a stable code, a JSON pointer into the
request, a message that is safe to show and facts a program can use. Nothing here is raised.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

#: Every business refusal, by its stable code. `api/problem_table.py` explains each one to people.
RefusalCode = Literal[
    "exceeds_refundable",
    "quantity_exceeds_refundable",
    "line_amount_exceeds_refundable",
    "tax_exceeds_refundable",
    "line_not_found",
    "tax_rate_not_found",
    "ambiguous_sku",
    "duplicate_line",
    "currency_mismatch",
    "precision_exceeded",
    "nothing_to_refund",
    "order_not_paid",
    "order_status_not_refundable",
    "gateway_cannot_refund",
    "gateway_declined",
    "gateway_support_unknown",
    "not_supported_by_store",
    "store_refused",
    "amount_mismatch",
    "conflicting_fields",
    "missing_field",
    "order_not_found",
    "order_changed",
    "refund_in_progress",
    "store_blocked",
    "store_misconfigured",
    "expired",
]

Fact = str | int | bool | None | list[str] | list[dict[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that is wrong with a request."""

    code: RefusalCode
    pointer: str  #: JSON pointer (RFC 6901) into the request body; "" means the request as a whole
    message: str  #: a full sentence, safe to show to the caller
    facts: Mapping[str, Fact] = field(default_factory=dict)  #: e.g. {"refundable": "5.00"}; amounts are plain strings


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """The request cannot be carried out, with every reason found; the first fault is the one to lead with."""

    faults: tuple[Fault, ...]

    @property
    def code(self) -> RefusalCode:
        """Name the leading fault."""
        return self.faults[0].code
