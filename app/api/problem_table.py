"""The table of every problem the API can answer with.

It decides the status, feeds the pages under `/problems`, and is what OpenAPI documents per route.
"""

from collections.abc import Mapping
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
    "store_refund_not_found",
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
    "duplicate_key",
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


_CORRECT = "Correct what `errors` points at and send the request again, with a new Idempotency-Key."

PROBLEMS: Mapping[ProblemCode, ProblemType] = {
    "invalid_request": ProblemType(
        422,
        "The request is malformed",
        "The request could not be understood, so nothing was looked up and nothing was created. `errors` names every "
        "fault found, each with a pointer to its place.",
        "Correct what `errors` points at and send the request again.",
    ),
    "body_too_large": ProblemType(
        413,
        "The request body is too large",
        "The body is larger than this gateway reads; nothing was created.",
        "Send less at a time. A refund with hundreds of lines fits easily.",
    ),
    "body_too_slow": ProblemType(
        408,
        "The request body did not arrive in time",
        "The rest of the body was not received in time; nothing was created.",
        "Send the request again.",
        retryable=True,
    ),
    "unsupported_media_type": ProblemType(
        415,
        "The request body is not JSON",
        "The Content-Type names something other than JSON; nothing was created.",
        "Send JSON with Content-Type: application/json.",
    ),
    "unauthorized": ProblemType(
        401,
        "The API key is missing or not valid",
        "No API key was given, or it is unknown, wrong or revoked.",
        "Send Authorization: Bearer <key>, or HTTP Basic with the key's id and secret.",
    ),
    "forbidden": ProblemType(
        403,
        "The API key lacks a scope",
        "The key is valid, but it may not do this; `required_scope` names what it lacks.",
        "Use a key that has the scope.",
    ),
    "not_found": ProblemType(
        404, "There is nothing here", "No resource has this address.", "Compare the path with /openapi.json."
    ),
    "method_not_allowed": ProblemType(
        405,
        "The method does not fit the resource",
        "The resource exists, but not for this HTTP method; the Allow header names those that it has.",
        "Use one of the methods in the Allow header.",
    ),
    "store_not_found": ProblemType(
        404,
        "There is no such store",
        "The tenant has no store of this name that is in use, or the key is limited to other stores.",
        "Compare the name with GET /v1/stores.",
    ),
    "refund_not_found": ProblemType(
        404,
        "There is no such refund",
        "The gateway knows no refund of this id, or the key is limited to other stores.",
        "Look for it by external_reference with GET /v1/refunds.",
    ),
    "store_refund_not_found": ProblemType(
        404,
        "The store has no such refund",
        "The order has no refund of this id in the store.",
        "Read the order's refunds with GET /v1/stores/{store}/orders/{order_id}/refunds.",
    ),
    "idempotency_key_reused": ProblemType(
        422,
        "The Idempotency-Key belongs to another request",
        "The key was used before with other content; `refund_id` names what it created. Nothing new was created.",
        "Use a new key for a new request, and the same key only to repeat the same one.",
    ),
    "external_reference_conflict": ProblemType(
        409,
        "The external reference belongs to another refund",
        "A refund with this reference exists and differs in the fields named in `differing`. References are unique "
        "per store for ever; nothing new was created.",
        "Read the refund named in `refund_id`. If a second refund is meant, give it its own reference.",
    ),
    "request_in_progress": ProblemType(
        409,
        "The first request is still running",
        "A request with the same Idempotency-Key or external reference is being carried out right now.",
        "Send the same request again after Retry-After seconds, or read the refund named in `refund_id`.",
        retryable=True,
    ),
    "ambiguous_order_number": ProblemType(
        409,
        "Several orders have this number",
        "More than one order of the store carries exactly this number; `order_ids` lists them.",
        "Name the order by its order_id.",
    ),
    "quote_not_found": ProblemType(
        422,
        "There is no such quote",
        "The quote is unknown, or belongs to another tenant or store.",
        "Ask for a new preview and send its quote_id.",
    ),
    "quote_expired": ProblemType(
        409, "The quote has expired", "The quote no longer holds.", "Ask for a new preview and send its quote_id."
    ),
    "quote_mismatch": ProblemType(
        422,
        "The quote was made for another refund",
        "What the request asks for differs from what was previewed.",
        "Send exactly what was previewed, or ask for a new preview.",
    ),
    "wrong_state": ProblemType(
        409,
        "The refund's state does not allow this",
        "The refund is in another state than those in `allowed`; `refund` shows it as it is.",
        "Read the refund and decide anew.",
    ),
    "refund_failed": ProblemType(
        422,
        "The refund failed",
        "No money was moved. `refund.failure` says why.",
        "Read `refund.failure`; a new attempt needs a new Idempotency-Key and a new external reference.",
    ),
    "refund_canceled": ProblemType(
        422,
        "The refund was canceled",
        "This request's refund was canceled before it was sent; no money was moved.",
        "If the refund is wanted after all, send it with a new Idempotency-Key and a new external reference.",
    ),
    "store_unavailable": ProblemType(
        503,
        "The store cannot be reached",
        "The store did not answer, or asked to be left alone for a while. Nothing was created.",
        "Send the same request again after Retry-After seconds, or with Prefer: respond-async to have it carried out "
        "when the store is back.",
        retryable=True,
    ),
    "rate_limited": ProblemType(
        429,
        "Too many requests",
        "The key has used up its requests for now; nothing was created.",
        "Wait for Retry-After seconds. The RateLimit headers show what is left.",
        retryable=True,
    ),
    "internal_error": ProblemType(
        500,
        "Something is wrong with the gateway",
        "The request failed for a reason that is not the caller's. What it was about may or may not exist.",
        "Send the same request again with the same Idempotency-Key or external reference: it is never carried out "
        "twice. If it goes on, report the request_id.",
        retryable=True,
    ),
    "service_unavailable": ProblemType(
        503,
        "The gateway is not ready",
        "The gateway cannot reach its ledger, or is starting or stopping.",
        "Send the same request again after Retry-After seconds.",
        retryable=True,
    ),
    "exceeds_refundable": ProblemType(
        422,
        "More than is left of the order",
        "The refund comes to more than what was paid less everything refunded or under way; `refundable` says how "
        "much is left.",
        "Lower the amount, or ask for `remaining`.",
    ),
    "quantity_exceeds_refundable": ProblemType(
        422, "More units than are left", "The line has fewer units left than asked for.", _CORRECT
    ),
    "line_amount_exceeds_refundable": ProblemType(
        422, "More than is left of the line", "The line has less money left than asked for.", _CORRECT
    ),
    "tax_exceeds_refundable": ProblemType(
        422,
        "More tax than is left",
        "The line has less of this tax left than asked for.",
        "Leave `taxes` out to have them computed, or lower the amount.",
    ),
    "line_not_found": ProblemType(
        422,
        "The order has no such line",
        "No line of the order has this id or SKU.",
        "Read the order's lines with GET /v1/stores/{store}/orders/{order_id}.",
    ),
    "tax_rate_not_found": ProblemType(
        422,
        "The line has no such tax rate",
        "The line was not charged with this tax rate.",
        "Read the order's tax rates, or leave `taxes` out to have them computed.",
    ),
    "ambiguous_sku": ProblemType(
        422,
        "Several lines have this SKU",
        "More than one line of the order has this SKU.",
        "Name the line by its line_item_id.",
    ),
    "duplicate_line": ProblemType(
        422, "A line is named twice", "Two entries of the request are about the same order line.", "Join the entries."
    ),
    "currency_mismatch": ProblemType(
        422,
        "Another currency than the order's",
        "Refunds are made in the currency that the order was paid in.",
        "Convert on your side, or leave `currency` out.",
    ),
    "precision_exceeded": ProblemType(
        422,
        "More digits than the currency has",
        "An amount is finer than the store's smallest unit. Nothing is ever rounded silently.",
        "Round on your side to `decimals` digits.",
    ),
    "nothing_to_refund": ProblemType(
        422,
        "There is nothing to refund",
        "What was asked for comes to nothing, or nothing is left of the order.",
        "Read what is refundable with GET /v1/stores/{store}/orders/{order_id}.",
    ),
    "order_not_paid": ProblemType(
        422,
        "The order was never paid",
        "There is no payment to give back.",
        "If the money came another way, have the store's policy allow manual refunds of unpaid orders.",
    ),
    "order_status_not_refundable": ProblemType(
        422,
        "The order's status does not allow refunds",
        "The store's policy names the statuses whose orders may be refunded.",
        "Change the order's status in the store, or the policy.",
    ),
    "gateway_cannot_refund": ProblemType(
        422,
        "The payment method cannot refund",
        "The store's payment gateway for this order has no refunds, or is no longer installed.",
        "Pay the money back yourself and record it with payment: manual.",
    ),
    "gateway_declined": ProblemType(
        422,
        "The payment gateway declined",
        "The payment provider said no. No money was moved.",
        "Read the provider's words in `refund.failure`; a new attempt needs a new Idempotency-Key.",
    ),
    "store_refused": ProblemType(
        422,
        "The store refused the refund",
        "The store said no for a reason of its own. No money was moved.",
        "Read the store's words in `refund.failure`.",
    ),
    "amount_mismatch": ProblemType(
        422,
        "The amount is not the sum of the parts",
        "`amount` stands beside parts whose computed sum differs; both are named.",
        "Leave `amount` out, or correct one of the two.",
    ),
    "conflicting_fields": ProblemType(
        422, "Fields contradict each other", "The request asks for two things that exclude each other.", _CORRECT
    ),
    "missing_field": ProblemType(
        422, "Something has to be named", "The request lacks something that it needs to make sense.", _CORRECT
    ),
    "order_not_found": ProblemType(
        404,
        "The store has no such order",
        "The store knows no order of this id or number.",
        "Compare the id with the store's. Order numbers are matched exactly.",
    ),
    "order_changed": ProblemType(
        409,
        "The order has changed",
        "The order is not what the quote or the precondition was made for; the difference is named.",
        "Read the order again, and decide whether the refund is still right.",
    ),
    "refund_in_progress": ProblemType(
        409,
        "Another refund of this order is unresolved",
        "A refund of the same order is being carried out, or its outcome is not known yet; `refund_id` names it. "
        "Until it is settled a second one could pay twice.",
        "Send the same request again when that refund is settled.",
        retryable=True,
    ),
    "store_blocked": ProblemType(
        422,
        "Something in front of the store keeps the gateway out",
        "A firewall, captcha or redirect answered in the store's place. No money was moved.",
        "Have the store's host let the gateway through, then send the refund anew.",
    ),
    # 502: neither the caller nor the gateway is at fault, and the same request will fail until a person acts.
    "store_misconfigured": ProblemType(
        502,
        "The connection to the store is not set up correctly",
        "The store's address, credentials, permissions or API are wrong; a person has to correct them. Nothing was "
        "created, or if `refund` is there, no money was moved.",
        "Run `refund-gateway store check`, or GET /v1/stores/{store}/health, and do what it says.",
    ),
    "expired": ProblemType(
        422,
        "The refund could not be sent in time",
        "The store was not reachable for as long as the refund was allowed to wait. No money was moved.",
        "Send it anew with a new Idempotency-Key and external reference.",
    ),
}

INPUT_FAULTS: Mapping[InputCode, str] = {
    "malformed_amount": "An amount is not a plain decimal such as “20.00”: it has a sign, an exponent, a comma, a "
    "space, a currency or leading zeros.",
    "amount_not_text": "An amount is a JSON number; amounts are text, because a number may lose cents on its way.",
    "unknown_field": "There is no such field; `suggestion` names the one that is probably meant.",
    "missing_field": "A field that has to be there is not.",
    "wrong_type": "The value has another JSON type than the field.",
    "malformed_value": "The value is not written as the field needs it.",
    "too_long": "The text or list is longer than `limit`.",
    "out_of_range": "The number is too small or too large.",
    "invalid_choice": "The value is none of `choices`.",
    "invalid_json": "The body is not JSON (RFC 8259); `position` counts characters from its start.",
    "duplicate_key": "An object names the same key twice, and it cannot be known which one is meant.",
    "body_not_an_object": "The body is JSON, but not an object.",
}
