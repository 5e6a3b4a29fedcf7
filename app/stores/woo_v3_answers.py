"""What a store's answer means, decided by its code, message and data and never by the HTTP status alone.

WooCommerce sends every refusal of a refund as HTTP 500 (facts: `new WP_Error(code, message, 404)` passes an integer
where WordPress wants `['status' => 404]`).
"""

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from app.domain.errors import RefusalCode
from app.domain.money import plain
from app.domain.refund import RefundPlan
from app.stores.answers import (
    TURNED_AWAY_TEXT,
    Codes,
    Reply,
    StoreSaid,
    credentials_text,
    exchange_of,
    retry_after_s,
)
from app.stores.cleaning import clean
from app.stores.port import Contradicted, Exchange, Refunded, Refused, StoreAnswer, Unknown
from app.stores.reading import Unreadable, id_of, number_of

#: Answered by the permission check or the parameter check, before the refund's code is reached, with 401 or 403.
_AUTH_CODES = frozenset(
    {
        "woocommerce_rest_authentication_error",
        "woocommerce_rest_authentication_missing_parameter",
        "woocommerce_rest_cannot_view",
        "woocommerce_rest_cannot_create",
        "woocommerce_rest_cannot_edit",
        "woocommerce_rest_cannot_delete",
        "rest_forbidden",
        "rest_forbidden_context",
        "rest_cannot_access",
        "rest_not_logged_in",
        "rest_login_required",
        "rest_disabled",
        "rest_cookie_invalid_nonce",
        "invalid_username",
        "incorrect_password",
    }
)

#: Checked by WordPress and the controller before anything is created (V3R:38-50, CRUD:200): (our code, explanation).
_REFUSED_BEFORE: Mapping[str, tuple[RefusalCode, str]] = {
    "woocommerce_rest_invalid_order_id": ("order_not_found", "The store knows no such order."),
    "woocommerce_rest_shop_order_invalid_id": ("order_not_found", "The store knows no such order."),
    "woocommerce_rest_invalid_order_refund": ("store_refused", "The store takes the amount for negative or empty."),
    "woocommerce_rest_shop_order_refund_exists": (
        "store_refused",
        "The store takes the request for an existing refund.",
    ),
    "rest_invalid_param": ("store_refused", "The store does not accept a field of the request."),
    "rest_missing_callback_param": ("store_refused", "The store misses a field in the request."),
    "rest_invalid_json": ("store_refused", "The store could not read the request."),
    "rest_no_route": (
        "store_misconfigured",
        "The store has no WooCommerce REST API v3: WooCommerce is inactive, too old or not at this address.",
    ),
}

V3_CODES = Codes(
    prefix="woocommerce_rest_",
    own=frozenset(_REFUSED_BEFORE),
    credentials=_AUTH_CODES,
    credentials_statuses=frozenset({401, 403}),
    missing={"rest_no_route": _REFUSED_BEFORE["rest_no_route"][1]},
)

_CANNOT_CREATE = "woocommerce_rest_cannot_create_order_refund"

#: WooCommerce's own texts under `_CANNOT_CREATE` (OF:549, 719-739); all but the last are sent before the gateway is
#: called. A store in another language sends a translation, which like any gateway's own text needs a look at the
#: order's notes.
_CANNOT_CREATE_TEXTS: Mapping[str, tuple[RefusalCode, str]] = {
    "Invalid order ID.": ("order_not_found", "The store knows no such order."),
    "Invalid refund amount.": ("exceeds_refundable", "The amount is more than the store finds left to refund."),
    "The payment gateway for this order does not exist.": (
        "gateway_cannot_refund",
        "The order's payment gateway is no longer installed in the store.",
    ),
    "The payment gateway for this order does not support automatic refunds.": (
        "gateway_cannot_refund",
        "The order's payment gateway does not support refunds.",
    ),
    "An error occurred while attempting to create the refund using the payment gateway API.": (
        "gateway_declined",
        "The payment gateway declined the refund without giving a reason.",
    ),
}

_ORDER_LINK = re.compile(r"/orders/(\d+)(?:/refunds(?:/\d+)?)?/?$")


def classify(reply: Reply, plan: RefundPlan, *, duration_ms: float, secrets: tuple[str, ...]) -> StoreAnswer:
    """Say what an answer to POST orders/{id}/refunds means for the money."""
    exchange = exchange_of(reply, duration_ms=duration_ms, secrets=secrets)
    answer, away = reply.answer, reply.away
    value = None if reply.document is None else reply.document.value
    if answer.status == 201 and isinstance(value, dict):
        return _created(value, plan, exchange)
    if reply.error is not None and away is None:
        refused = _refused(reply.error, answer.status, plan, exchange, secrets)
        if refused is not None:
            return refused
    wait_s = retry_after_s(answer)
    if away is not None:
        return Unknown(message=TURNED_AWAY_TEXT[away], turned_away=away, retry_after_s=wait_s, exchange=exchange)
    if answer.status == 200 and isinstance(value, dict) and "refunded_payment" in value:
        return Contradicted(
            message="The store answered with a refund, but not with 201 as for a new one.",
            store_refund_id=_id(value),
            facts={"http_status": "200"},
            exchange=exchange,
        )
    if answer.status == 200 and isinstance(value, list):
        # A redirect behind the scenes has made a GET of the POST (woocommerce-rest-api-js-lib #76): a list came back.
        return Unknown(
            message="The store answered the refund with a list, as if it had been a read.",
            turned_away="redirected",
            retry_after_s=None,
            exchange=exchange,
        )
    return Unknown(
        message=f"The store's answer (HTTP {answer.status}) does not say what became of the refund.",
        turned_away=None,
        retry_after_s=wait_s,
        exchange=exchange,
    )


def _refused(
    error: StoreSaid, status: int, plan: RefundPlan, exchange: Exchange, secrets: tuple[str, ...]
) -> Refused | None:
    """Read a refusal; None when the code leaves open what happened.

    Left open are, among others, internal_server_error (PHP died, perhaps after paying) and
    woocommerce_rest_shop_order_refund_not_created.
    """
    if error.code == _CANNOT_CREATE:
        known = _CANNOT_CREATE_TEXTS.get(error.message)
        if known is not None:
            # A gateway that returns false may have caught its own provider's time-out: its notes are looked at too.
            unsure = known[0] == "gateway_declined" and plan.payment == "gateway"
            return Refused(code=known[0], message=known[1], needs_look=unsure, exchange=exchange)
        # Whatever happened, WooCommerce has deleted the row (OF:636, 692); only a gateway may have paid meanwhile.
        asked = plan.payment == "gateway"
        return Refused(
            code="gateway_declined" if asked else "store_refused",
            message=f"The store reports: {clean(error.message, secrets)}",
            needs_look=asked,
            exchange=exchange,
        )
    if error.code in _REFUSED_BEFORE:
        code, message = _REFUSED_BEFORE[error.code]
        return Refused(code=code, message=message, needs_look=False, exchange=exchange)
    if V3_CODES.blame_credentials(error.code, status):
        return Refused(
            code="store_misconfigured",
            message=credentials_text(error),
            needs_look=False,
            exchange=exchange,
        )
    return None


def _id(refund: Mapping[str, object]) -> str | None:
    value = refund.get("id")
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    try:
        return id_of(value, "id")
    except Unreadable:
        return None


def _created(refund: Mapping[str, object], plan: RefundPlan, exchange: Exchange) -> Refunded | Contradicted:
    """Believe a 201 only when it says everything that it has to say; text around the JSON does not matter then."""
    facts: dict[str, str] = {}
    refund_id = _id(refund)
    if refund_id is None:
        facts["id"] = "missing"
    try:
        amount = number_of(refund.get("amount"), "amount")
        if refund.get("amount") in (None, "") or amount != plan.amount:
            facts |= {"amount_asked": plain(plan.amount, plan.decimals), "amount_stored": plain(amount, plan.decimals)}
    except Unreadable:
        facts |= {"amount_asked": plain(plan.amount, plan.decimals), "amount_stored": "unreadable"}
    order_id = _order_of(refund)
    if order_id is not None and order_id != plan.order_id:
        facts |= {"order_asked": plan.order_id, "order_stored": order_id}
    paid = refund.get("refunded_payment")
    if (paid is not True) if plan.payment == "gateway" else (paid is True):
        facts |= {
            "payment_asked": plan.payment,
            "refunded_payment": str(paid).lower() if paid in (True, False) else "?",
        }
    if refund_id is not None and not facts:
        return Refunded(store_refund_id=refund_id, exchange=exchange)
    return Contradicted(
        message="The store reports a refund that is not the one it was asked for.",
        store_refund_id=refund_id,
        facts=facts,
        exchange=exchange,
    )


def _order_of(refund: Mapping[str, object]) -> str | None:
    """Read the order a refund belongs to from its links (V2R); the Location header holds a raw pattern (CRUD:234)."""
    links = refund.get("_links")
    up = links.get("up") if isinstance(links, dict) else None
    first = up[0] if isinstance(up, list) and up else None
    href = first.get("href") if isinstance(first, dict) else None
    found = _ORDER_LINK.search(urlsplit(href).path) if isinstance(href, str) and href.startswith("http") else None
    return None if found is None else found.group(1)
