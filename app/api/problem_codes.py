"""The codes of every problem, and what is known of each kind."""

from dataclasses import dataclass
from typing import Literal, get_args

from app.domain.errors import RefusalCode

#: What the API itself has to say no to; the business's own refusals come from the domain.
ApiCode = Literal[
    "invalid_request",
    "body_too_large",
    "body_too_slow",
    "unsupported_media_type",
    "unauthorized",
    "forbidden",
    "not_found",
    "method_not_allowed",
    "store_not_found",
    "refund_not_found",
    "batch_not_found",
    "reconciliation_not_found",
    "reconciliation_not_finished",
    "already_signed_off",
    "schedule_not_found",
    "webhook_endpoint_not_found",
    "webhook_endpoint_disabled",
    "delivery_not_found",
    "replay_too_large",
    "too_many_endpoints",
    "store_refund_not_found",
    "no_store_refund",
    "source_not_found",
    "message_not_found",
    "message_forgotten",
    "name_taken",
    "not_verified",
    "paid_by_gateway",
    "list_too_long",
    "list_unsupported",
    "idempotency_key_reused",
    "external_reference_conflict",
    "request_in_progress",
    "ambiguous_order_number",
    "quote_not_found",
    "quote_expired",
    "quote_mismatch",
    "wrong_state",
    "refund_failed",
    "refund_canceled",
    "store_unavailable",
    "rate_limited",
    "internal_error",
    "service_unavailable",
]
ProblemCode = ApiCode | RefusalCode

#: Codes that a refund's failure can carry and that have a page of their own.
FAILURE_CODES: frozenset[ProblemCode] = frozenset(get_args(RefusalCode))

#: What can be wrong with a request before it means anything; named in `errors` of an `invalid_request`.
InputCode = Literal[
    "malformed_amount",
    "amount_not_text",
    "unknown_field",
    "missing_field",
    "wrong_type",
    "malformed_value",
    "too_long",
    "out_of_range",
    "invalid_choice",
    "invalid_json",
    "invalid_csv",
    "invalid_encoding",
    "duplicate_key",
    "duplicate_reference",
    "body_not_an_object",
]


@dataclass(frozen=True, slots=True)
class ProblemType:
    """A kind of problem, as its page explains it."""

    status: int
    title: str
    explanation: str
    remedy: str
    retryable: bool = False  #: the very same request can succeed later
