"""What a store's answer means, decided by its code, message and data and never by the HTTP status alone.

WooCommerce sends every refusal of a refund as HTTP 500 (facts: `new WP_Error(code, message, 404)` passes an integer
where WordPress wants `['status' => 404]`), and proxies, caches and security plugins answer in its place.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Literal
from urllib.parse import urlsplit

from app.domain.errors import RefusalCode
from app.domain.money import plain
from app.domain.refund import RefundPlan
from app.outbound import Answer
from app.stores.cleaning import clean
from app.stores.port import (
    Contradicted,
    Exchange,
    Refunded,
    Refused,
    StoreAnswer,
    StoreError,
    StoreMisconfigured,
    StoreUnavailable,
    Unknown,
)
from app.stores.reading import Document, Unreadable, id_of, number_of, plain_text, read_json

TurnedAway = Literal["rate_limited", "maintenance", "captcha", "redirected", "blocked"]

#: Bytes of a body that are looked at for words.
_START = 20_000

#: The longest Retry-After that is believed, in seconds.
_RETRY_AFTER_MAX_S = 3600.0

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

_CHALLENGE = re.compile(
    r"captcha|cf-chl|challenge-platform|<title>\s*just a moment|checking your browser|ddos protection", re.IGNORECASE
)
_MAINTENANCE = re.compile(r"maintenance", re.IGNORECASE)
#: Statuses with which web servers and firewalls answer by themselves when their body is no JSON.
_BLOCKING = frozenset({400, 401, 403, 404, 405, 406, 410, 413, 414, 415, 418, 431, 451, 455, 494, 495, 496, 497, 501})

_ORDER_LINK = re.compile(r"/orders/(\d+)(?:/refunds(?:/\d+)?)?/?$")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSaid:
    """A WordPress error object."""

    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer with what could be read out of it."""

    answer: Answer
    document: Document | None  #: the JSON in its body
    error: StoreSaid | None
    away: TurnedAway | None  #: what seems to have answered in WooCommerce's place

    @classmethod
    def of(cls, answer: Answer) -> "Reply":
        """Read an answer."""
        document = read_json(answer.body)
        error = _said(document)
        return cls(answer=answer, document=document, error=error, away=_turned_away(answer, document, error))


def _said(document: Document | None) -> StoreSaid | None:
    value = None if document is None else document.value
    if not isinstance(value, dict):
        return None
    code, message = value.get("code"), value.get("message")
    if not isinstance(code, str) or not code or not isinstance(message, str) or "id" in value:
        return None
    return StoreSaid(code=code[:100], message=plain_text(message))


def exchange_of(reply: Reply, *, duration_ms: float, secrets: tuple[str, ...]) -> Exchange:
    """Keep of an answer what evidence needs: the store's message, else the start of its body."""
    value = None if reply.document is None else reply.document.value
    if reply.error is not None:
        text = reply.error.message
    elif isinstance(value, dict):
        # A refund's body names products; these three fields say what matters.
        text = ", ".join(f"{name}: {value[name]}" for name in ("id", "amount", "refunded_payment") if name in value)
    else:
        text = reply.answer.body[:_START].decode("utf-8-sig", errors="replace")
    return Exchange(
        duration_ms=duration_ms,
        http_status=reply.answer.status,
        store_code=None if reply.error is None else clean(reply.error.code, secrets),
        text=clean(text, secrets),
    )


def retry_after_s(answer: Answer) -> float | None:
    """Read Retry-After in seconds, at most an hour; a date is held against the answer's own Date."""
    text = answer.headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit() and len(text) <= 9:
        return min(float(text), _RETRY_AFTER_MAX_S)
    until, now = (http_date(answer.headers.get(name, "")) for name in ("retry-after", "date"))
    if until is None or now is None:
        return None
    return min(max((until - now).total_seconds(), 0.0), _RETRY_AFTER_MAX_S)


def http_date(text: str) -> datetime | None:
    """Read a date as HTTP headers write it; None when it is none."""
    try:
        moment = parsedate_to_datetime(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError, TypeError, IndexError):
        return None


def _turned_away(answer: Answer, document: Document | None, error: StoreSaid | None) -> TurnedAway | None:
    """Name what has answered in WooCommerce's place; None when nothing says so.

    Sources: 429 by hosts (WooCommerce.NET #803), 202 with `SG-Captcha` (#52896), 403 and 455 by firewalls (#810, #712),
    WordPress in maintenance: 503 with Retry-After (WP load.php:414), as JSON with the code "wp_die" or as a page.
    """
    status, headers = answer.status, answer.headers
    if 300 <= status < 400:
        return "redirected"
    if status == 429:
        return "rate_limited"
    if "sg-captcha" in headers or headers.get("cf-mitigated", "").lower() == "challenge":
        return "captcha"
    if error is not None and status in (401, 403) and not _is_woocommerce(error.code):
        return "blocked"
    if document is not None and status != 503:
        return None
    start = answer.body[:_START].decode("utf-8", errors="replace")
    by_wordpress = status == 503 and "retry-after" in headers and (error is None or error.code == "wp_die")
    if by_wordpress and _MAINTENANCE.search(start):
        return "maintenance"
    if document is None and status in (200, 202, 401, 403, 503) and _CHALLENGE.search(start):
        return "captcha"
    return "blocked" if document is None and status in _BLOCKING else None


def _is_woocommerce(code: str) -> bool:
    return code in _AUTH_CODES or code.startswith("woocommerce_rest_") or code in _REFUSED_BEFORE


_TURNED_AWAY_TEXT: Mapping[TurnedAway, str] = {
    "rate_limited": "The store's host is limiting requests.",
    "maintenance": "The store is in maintenance.",
    "captcha": "A captcha or browser check stands before the store.",
    "redirected": "The store redirected the request.",
    "blocked": "A web server or firewall before the store blocked the request.",
}


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
        return Unknown(message=_TURNED_AWAY_TEXT[away], turned_away=away, retry_after_s=wait_s, exchange=exchange)
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
    if error.code in _AUTH_CODES and status in (401, 403):
        return Refused(
            code="store_misconfigured",
            message=_credentials_text(error),
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


def _credentials_text(error: StoreSaid) -> str:
    if "write permission" in error.message:
        return "The API key may only read; it needs the permission Read/Write."
    if error.code == "woocommerce_rest_authentication_error":
        return "The store does not accept the API key, its secret or its signature."
    return (
        "The store does not let this API key do that: the key is unknown, its user lacks the rights of a shop manager, "
        "or the host strips the credentials from the request."
    )


def read_failure(reply: Reply, *, secrets: tuple[str, ...]) -> StoreError | None:
    """Give the error that an answer to a read means; None when it is a 200 with JSON."""
    answer, document, error, away = reply.answer, reply.document, reply.error, reply.away
    status = answer.status
    if status == 200 and document is not None and error is None and away is None:
        return None
    code = None if error is None else error.code
    if away == "redirected":
        target = urlsplit(answer.headers.get("location", ""))
        where = f" to {target.scheme}://{target.hostname}" if target.scheme and target.hostname else ""
        return StoreMisconfigured(
            f"The store redirects{clean(where, secrets)}; its canonical address has to be configured.",
            http_status=status,
        )
    if away == "blocked" and status == 404:
        return StoreMisconfigured(
            "There is no WordPress REST API at the store's address; the address or the permalinks are wrong.",
            http_status=status,
        )
    if away is not None:
        return StoreUnavailable(
            _TURNED_AWAY_TEXT[away], retry_after_s=retry_after_s(answer), store_code=code, http_status=status
        )
    if error is not None:
        return _read_refusal(error, status, retry_after_s(answer), secrets)
    problem = "no JSON" if document is None else f"HTTP {status}"
    return StoreUnavailable(
        f"The store's answer is not usable ({problem}).", retry_after_s=retry_after_s(answer), http_status=status
    )


def _read_refusal(error: StoreSaid, status: int, wait_s: float | None, secrets: tuple[str, ...]) -> StoreError:
    if error.code in _AUTH_CODES and status in (401, 403):
        return StoreMisconfigured(_credentials_text(error), store_code=error.code, http_status=status)
    if error.code == "rest_no_route":
        return StoreMisconfigured(_REFUSED_BEFORE[error.code][1], store_code=error.code, http_status=status)
    said_so = clean(error.message, secrets)
    if 400 <= status < 500:
        return StoreMisconfigured(f"The store refused to answer: {said_so}", store_code=error.code, http_status=status)
    return StoreUnavailable(
        f"The store failed: {said_so}", retry_after_s=wait_s, store_code=error.code, http_status=status
    )


def is_store_failure(reply: Reply) -> bool:
    """Say whether an answer counts against the store's circuit breaker.

    A 5xx with one of WooCommerce's own codes is a refusal, not a failure; a redirect or a firewall's dislike of one
    request is nothing that leaving the store alone would cure.
    """
    if reply.away is not None:
        return reply.away in ("rate_limited", "maintenance", "captcha")
    return reply.answer.status >= 500 and (reply.error is None or not _is_woocommerce(reply.error.code))
