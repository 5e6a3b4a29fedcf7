"""What there is to say no to, in the words and codes of both of WooCommerce's APIs.

WooCommerce answers most refusals of a refund with HTTP 500 (`new WP_Error(code, message, 404)` passes a number where
WordPress wants an array). Here the status is an honest one; the code and the text stay WooCommerce's where it has any.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

#: Which API a client speaks: wc/v3, or wc-api/v3 of the Legacy REST API plugin.
Face = Literal["v3", "legacy"]

Situation = Literal[
    "no_route",
    "authentication",
    "missing_oauth_parameter",
    "cannot_view",
    "cannot_list",
    "cannot_create",
    "cannot_edit",
    "cannot_delete",
    "rate_limited",
    "override_without_post",
    "read_only",
    "not_passed_on",
    "other_api",
    "invalid_param",
    "invalid_json",
    "missing_envelope",
    "existing_refund",
    "invalid_key",
    "key_reused",
    "missing_lines",
    "no_amount",
    "not_positive",
    "invalid_amount",
    "exceeds",
    "no_quantity_or_total",
    "invalid_quantity",
    "invalid_refund_total",
    "line_not_found",
    "duplicate_line",
    "line_refunded",
    "quantity_exceeds",
    "total_exceeds_line",
    "preview_of_nothing",
    "preview_exceeds",
    "order_not_refundable",
    "gateway_unable",
    "gateway_missing",
    "declined",
    "not_created",
    "canceled",
    "outcome_unknown",
    "order_blocked",
    "conflict",
    "order_not_found",
    "refund_not_found",
    "refund_of_other_order",
    "no_trash",
    "paid_refund",
    "amount_is_fixed",
    "being_sent",
    "list_too_long",
    "store_unavailable",
    "store_misconfigured",
    "service_unavailable",
]


@dataclass(frozen=True, slots=True)
class Words:
    """A situation in the words of both APIs."""

    status: int
    code: str
    message: str
    legacy_code: str = ""  #: the same as `code` when empty
    legacy_message: str = ""
    legacy_status: int = 0


_CREATE = "woocommerce_rest_cannot_create_order_refund"
_LEGACY_CREATE = "woocommerce_api_cannot_create_order_refund"
_LEGACY_AMOUNT = "woocommerce_api_invalid_order_refund"
_LEGACY_REFUND = "woocommerce_api_invalid_order_refund_id"
_LEGACY_LOGIN = "woocommerce_api_authentication_error"

WORDS: Mapping[Situation, Words] = {
    "no_route": Words(
        404,
        "rest_no_route",
        "No route was found matching the URL and request method.",
        "woocommerce_api_no_route",
        "No route was found matching the URL and request method",
    ),
    "authentication": Words(401, "woocommerce_rest_authentication_error", "Consumer key is invalid.", _LEGACY_LOGIN),
    "missing_oauth_parameter": Words(
        401,
        "woocommerce_rest_authentication_missing_parameter",
        "Missing OAuth parameter",
        _LEGACY_LOGIN,
        legacy_status=404,  # LA:144
    ),
    "cannot_view": Words(
        403,
        "woocommerce_rest_cannot_view",
        "Sorry, you cannot view this resource.",
        "woocommerce_api_user_cannot_read_order_refund",
        legacy_status=401,
    ),
    "cannot_list": Words(
        403,
        "woocommerce_rest_cannot_view",
        "Sorry, you cannot list resources.",
        "woocommerce_api_user_cannot_read_order_refund",
        legacy_status=401,
    ),
    "cannot_create": Words(
        403,
        "woocommerce_rest_cannot_create",
        "Sorry, you are not allowed to create resources.",
        "woocommerce_api_user_cannot_create_order_refund",
        legacy_status=401,
    ),
    "cannot_edit": Words(
        403,
        "woocommerce_rest_cannot_edit",
        "Sorry, you are not allowed to edit this resource.",
        "woocommerce_api_user_cannot_edit_order_refund",
        legacy_status=401,
    ),
    "cannot_delete": Words(
        403,
        "woocommerce_rest_cannot_delete",
        "Sorry, you are not allowed to delete this resource.",
        "woocommerce_api_user_cannot_delete_order_refund",
        legacy_status=401,
    ),
    "rate_limited": Words(429, "refund_gateway_rate_limited", "The key has made too many requests; wait a little."),
    "override_without_post": Words(
        405, "refund_gateway_method_override", "Only a POST can stand for another method; nothing was done."
    ),
    "read_only": Words(
        403,
        "refund_gateway_read_only",
        "Nothing but refunds can be written through the refund gateway; send this request to the store itself.",
    ),
    "not_passed_on": Words(
        403, "refund_gateway_not_passed_on", "The key's setting front.reads does not allow this to be read."
    ),
    "other_api": Words(
        404,
        "refund_gateway_not_on_this_store",
        "The store is spoken to in WooCommerce's other API; only refunds are translated between the two.",
    ),
    "invalid_param": Words(400, "rest_invalid_param", "Invalid parameter(s): ", _LEGACY_AMOUNT),
    "invalid_json": Words(
        400,
        "rest_invalid_json",
        "Invalid JSON body passed.",
        "woocommerce_api_missing_callback_param",
        "Missing parameter data",
    ),
    "missing_envelope": Words(
        400,
        "woocommerce_api_missing_order_refund_data",
        "No order_refund data specified to create order_refund",
    ),
    "existing_refund": Words(
        400, "woocommerce_rest_shop_order_refund_exists", "Cannot create existing shop_order_refund."
    ),
    "invalid_key": Words(
        400, "refund_gateway_invalid_idempotency_key", "An Idempotency-Key has 1 to 255 visible ASCII characters."
    ),
    "key_reused": Words(
        422, "refund_gateway_idempotency_key_reused", "This Idempotency-Key made a refund of other content."
    ),
    "missing_lines": Words(400, "rest_missing_callback_param", "Missing parameter(s): line_items"),
    "no_amount": Words(
        400,
        "woocommerce_rest_invalid_order_refund",
        "Refund amount is required: send amount, or line_items with their refund_total.",
        _LEGACY_AMOUNT,
        "Refund amount is required.",
    ),
    "not_positive": Words(
        400,
        "woocommerce_rest_invalid_order_refund",
        "Refund amount must be greater than zero.",
        _LEGACY_AMOUNT,
        "Refund amount must be positive.",
    ),
    "invalid_amount": Words(400, _CREATE, "Invalid refund amount.", _LEGACY_AMOUNT),
    "exceeds": Words(400, _CREATE, "Invalid refund amount.", _LEGACY_CREATE),
    # The codes of refunds/preview (11.1), which have honest statuses there, too.
    "no_quantity_or_total": Words(
        400,
        "woocommerce_rest_missing_quantity_or_refund_total",
        "A line needs a quantity or a refund_total.",
    ),
    "invalid_quantity": Words(400, "woocommerce_rest_invalid_quantity", "A quantity is a whole number from 1."),
    "invalid_refund_total": Words(
        400, "woocommerce_rest_invalid_refund_total", "A refund_total is an amount of more than zero."
    ),
    "line_not_found": Words(400, "woocommerce_rest_line_item_not_found", "The order has no such line."),
    "duplicate_line": Words(400, "woocommerce_rest_duplicate_line_item", "A line is named twice."),
    "line_refunded": Words(
        422, "woocommerce_rest_line_item_already_refunded", "Nothing of the line is left to refund."
    ),
    "quantity_exceeds": Words(
        422, "woocommerce_rest_quantity_exceeds_refundable", "The line has fewer units left than that."
    ),
    "total_exceeds_line": Words(422, "woocommerce_rest_refund_total_exceeds_line", "The line has less left than that."),
    "preview_of_nothing": Words(
        400, "woocommerce_rest_invalid_refund_amount", "Refund total must be greater than zero."
    ),
    "preview_exceeds": Words(
        422, "woocommerce_rest_preview_exceeds_max_refundable", "The order has less left to refund than that."
    ),
    "order_not_refundable": Words(
        422, "woocommerce_rest_order_not_refundable", "Nothing of the order can be refunded."
    ),
    "gateway_unable": Words(
        400,
        _CREATE,
        "The payment gateway for this order does not support automatic refunds.",
        "woocommerce_api_create_order_refund_api_failed",
    ),
    "gateway_missing": Words(
        400,
        _CREATE,
        "The payment gateway for this order does not exist.",
        "woocommerce_api_create_order_refund_api_failed",
    ),
    "declined": Words(
        400,
        _CREATE,
        "An error occurred while attempting to create the refund using the payment gateway API.",
        "woocommerce_api_create_order_refund_api_failed",
    ),
    "not_created": Words(400, _CREATE, "The refund was not created.", _LEGACY_CREATE),
    "canceled": Words(409, "refund_gateway_refund_canceled", "The refund was canceled before it was sent."),
    "outcome_unknown": Words(
        504,
        "refund_gateway_outcome_unknown",
        "The refund was taken on, but its outcome is not known yet. Do not send another one: repeat this very request, "
        "which joins it, or look it up at the refund gateway.",
    ),
    "order_blocked": Words(
        409,
        "refund_gateway_order_blocked",
        "Another refund of this order is not settled yet; a second one now could pay twice.",
    ),
    "conflict": Words(409, "refund_gateway_conflict", "The request contradicts an earlier one."),
    "order_not_found": Words(
        404,
        "woocommerce_rest_invalid_order_id",
        "Invalid order ID.",
        "woocommerce_api_no_order_found",
        "No order found with that ID",
    ),
    "refund_not_found": Words(
        404,
        "woocommerce_rest_shop_order_refund_invalid_id",
        "Invalid ID.",
        _LEGACY_REFUND,
        "An order refund with the provided ID could not be found.",
    ),
    "refund_of_other_order": Words(
        404,
        "woocommerce_rest_invalid_order_refund_id",
        "Invalid order refund ID.",
        _LEGACY_REFUND,
        "The order refund ID provided is not associated with the order.",
    ),
    "no_trash": Words(501, "woocommerce_rest_trash_not_supported", "The shop_order_refund does not support trashing."),
    "paid_refund": Words(
        400,
        "refund_gateway_paid_refund",
        "The payment gateway has paid this refund. Deleting it brings no money back; only the store's record of it "
        "would be gone. Repeat the request with force=true if that is meant.",
    ),
    "amount_is_fixed": Words(
        400,
        _LEGACY_AMOUNT,
        "The amount of a refund is what was paid and cannot be changed.",
    ),
    "being_sent": Words(
        409, "refund_gateway_refund_in_progress", "The refund is still under way; nothing of it can be changed now."
    ),
    "list_too_long": Words(400, "refund_gateway_list_too_long", "The list is too long to be filtered."),
    "store_unavailable": Words(503, "refund_gateway_store_unavailable", "The store cannot be reached now."),
    "store_misconfigured": Words(
        502, "refund_gateway_store_misconfigured", "The store's address, credentials or permissions are wrong."
    ),
    "service_unavailable": Words(
        503,
        "refund_gateway_unavailable",
        "The refund gateway cannot reach its database, and could not finish the request; repeat it later.",
    ),
}
