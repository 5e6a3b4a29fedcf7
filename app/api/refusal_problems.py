"""What the business says no to; see `domain.errors`."""

from collections.abc import Mapping

from app.api.problem_codes import ProblemCode, ProblemType

_CORRECT = "Correct what `errors` points at and send the request again, with a new Idempotency-Key."

REFUSAL_PROBLEMS: Mapping[ProblemCode, ProblemType] = {
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
    "gateway_support_unknown": ProblemType(
        422,
        "Nobody knows whether the payment method can refund",
        "The store does not say whether the payment method of this order can pay money back, and its answer to a "
        "refund would not tell whether any was paid. Nothing was sent.",
        "If you know that it can, have the store's policy vouch for it: `refund-gateway store policy "
        "--refunding-methods …`. Else pay the money back yourself and record it with payment: manual.",
    ),
    "not_supported_by_store": ProblemType(
        422,
        "The store's API cannot do this",
        "The API that the store is spoken to in has no place for something that the request asks for.",
        "Leave out what `errors` points at. `metadata` is kept by the gateway, whatever the store can do.",
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
