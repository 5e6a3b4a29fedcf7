"""What the answers of the Legacy REST API, /wc-api/v3, mean for the money (plugin 1.0.1).

Its refund is written first and paid afterwards, and nothing is undone when the payment fails: a refusal by the payment
gateway leaves the row behind. A 2xx says nothing by itself: a decline is sent as 200 with `errors`, and a payment
gateway that cannot refund is answered with 201 and no word about it.
"""

from collections.abc import Mapping

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
from app.stores.reading import Unreadable, id_of, required_number

#: Amounts are shown and taken with this many decimals, whatever the store's own (LO:1601).
DECIMALS = 2

_AUTH_CODES = frozenset(
    {
        "woocommerce_api_authentication_error",
        "woocommerce_api_user_cannot_create_order_refund",
        "woocommerce_api_user_cannot_read_order",
        "woocommerce_api_user_cannot_edit_order",
        "woocommerce_api_user_cannot_delete_order",
    }
)

LEGACY_CODES = Codes(
    prefix="woocommerce_api_",
    own=frozenset(),
    credentials=_AUTH_CODES,
    # A wrong way to authenticate comes with 200 (LS:164), a missing OAuth parameter with 404 (LA:144).
    credentials_statuses=None,
    missing={
        "woocommerce_api_disabled": "The store's Legacy REST API is not there: its plugin is missing or switched off.",
        "woocommerce_api_no_route": "The store's Legacy REST API does not know this resource.",
        "rest_no_route": "The store has no WooCommerce REST API v3 beside its Legacy REST API.",
    },
)

#: Checked before anything is created (LO:1617-1647): (our code, explanation). That an order or a refund cannot be
#: found is not among them: it also comes back after the payment, when the new row is read (LO:1683).
_REFUSED_BEFORE: Mapping[str, tuple[RefusalCode, str]] = {
    "woocommerce_api_missing_order_refund_data": ("store_refused", "The store misses the refund in the request."),
    "woocommerce_api_missing_callback_param": ("store_refused", "The store could not read the request."),
    "woocommerce_api_invalid_order_refund": ("store_refused", "The store takes the amount for missing or negative."),
    "woocommerce_api_invalid_order_id": ("order_not_found", "The store takes the order's id for invalid."),
    "woocommerce_api_no_route": ("store_misconfigured", LEGACY_CODES.missing["woocommerce_api_no_route"]),
    "woocommerce_api_disabled": ("store_misconfigured", LEGACY_CODES.missing["woocommerce_api_disabled"]),
}
#: The only codes of `_AUTH_CODES` that a POST gets before anything is created.
_KEY_REFUSED_BEFORE = frozenset(
    {"woocommerce_api_authentication_error", "woocommerce_api_user_cannot_create_order_refund"}
)

_API_FAILED = "woocommerce_api_create_order_refund_api_failed"


def classify(reply: Reply, plan: RefundPlan, *, duration_ms: float, secrets: tuple[str, ...]) -> StoreAnswer:
    """Say what an answer to POST orders/{id}/refunds means for the money.

    The plan's payment method is known to refund: nothing in a 201 would tell.
    """
    exchange = exchange_of(reply, duration_ms=duration_ms, secrets=secrets)
    answer, away = reply.answer, reply.away
    value = None if reply.document is None else reply.document.value
    if answer.status == 201 and reply.error is None and isinstance(value, dict) and "order_refund" in value:
        return _created(value["order_refund"], plan, exchange)
    if reply.error is not None and away is None:
        refused = _refused(reply.error, answer.status, plan, exchange, secrets)
        if refused is not None:
            return refused
    if away is not None:
        return Unknown(
            message=TURNED_AWAY_TEXT[away],
            turned_away=away,
            retry_after_s=retry_after_s(answer),
            exchange=exchange,
        )
    if answer.status == 200 and isinstance(value, dict) and "order_refunds" in value:
        return Unknown(
            message="The store answered the refund with a list, as if it had been a read.",
            turned_away="redirected",
            retry_after_s=None,
            exchange=exchange,
        )
    return Unknown(
        message=f"The store's answer (HTTP {answer.status}) does not say what became of the refund.",
        turned_away=None,
        retry_after_s=retry_after_s(answer),
        exchange=exchange,
    )


def _refused(
    error: StoreSaid, status: int, plan: RefundPlan, exchange: Exchange, secrets: tuple[str, ...]
) -> Refused | None:
    """Read a refusal; None when the code leaves open what happened.

    Left open are, among others, internal_server_error (what is above the remainder and an unknown order end in one,
    and so does a gateway that dies) and an order that cannot be found (paid before it was looked for, LO:1683).
    """
    if error.code in _REFUSED_BEFORE:
        code, message = _REFUSED_BEFORE[error.code]
        return Refused(code=code, message=message, needs_look=False, exchange=exchange)
    if error.code in _KEY_REFUSED_BEFORE:
        return Refused(code="store_misconfigured", message=credentials_text(error), needs_look=False, exchange=exchange)
    if plan.payment != "gateway":
        return None
    if error.code == _API_FAILED:
        # The gateway returned false; it may have caught its own provider's time-out.
        message = "The payment gateway declined the refund without giving a reason."
        return Refused(code="gateway_declined", message=message, needs_look=True, exchange=exchange)
    if status == 200 and not LEGACY_CODES.are_own(error.code) and error.code != "internal_server_error":
        message = f"The store reports: {clean(error.message, secrets)}"
        return Refused(code="gateway_declined", message=message, needs_look=True, exchange=exchange)
    return None


def _created(value: object, plan: RefundPlan, exchange: Exchange) -> Refunded | Contradicted:
    """Believe a 201 only with an id and the asked amount; whether money moved it cannot say."""
    refund = value if isinstance(value, dict) else {}
    facts: dict[str, str] = {}
    refund_id: str | None = None
    try:
        refund_id = id_of(refund.get("id"), "order_refund.id")
    except Unreadable:
        facts["id"] = "missing"
    asked = plain(plan.amount, plan.decimals)
    try:
        amount = required_number(refund.get("amount"), "order_refund.amount")
        if amount != plan.amount:
            facts |= {"amount_asked": asked, "amount_stored": plain(amount, plan.decimals)}
    except Unreadable:
        facts |= {"amount_asked": asked, "amount_stored": "unreadable"}
    if refund_id is not None and not facts:
        return Refunded(store_refund_id=refund_id, exchange=exchange)
    return Contradicted(
        message="The store reports a refund that is not the one it was asked for.",
        store_refund_id=refund_id,
        facts=facts,
        exchange=exchange,
    )
