"""What can be told of any store's answer, whichever API it comes from: its JSON, its error, who really answered.

Proxies, caches and security plugins answer in WooCommerce's place, and WooCommerce's HTTP statuses say little: what
counts is the error's code, and each API has its own (`Codes`).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Literal
from urllib.parse import urlsplit

from app.outbound import Answer
from app.stores.cleaning import clean
from app.stores.port import Exchange, StoreError, StoreMisconfigured, StoreUnavailable
from app.stores.reading import Document, plain_text, read_json

TurnedAway = Literal["rate_limited", "maintenance", "captcha", "redirected", "blocked"]

#: Bytes of a body that are looked at for words.
_START = 20_000

#: The longest Retry-After that is believed, in seconds.
_RETRY_AFTER_MAX_S = 3600.0

_CHALLENGE = re.compile(
    r"captcha|cf-chl|challenge-platform|<title>\s*just a moment|checking your browser|ddos protection", re.IGNORECASE
)
_MAINTENANCE = re.compile(r"maintenance", re.IGNORECASE)
#: Statuses with which web servers and firewalls answer by themselves when their body is no JSON.
_BLOCKING = frozenset({400, 401, 403, 404, 405, 406, 410, 413, 414, 415, 418, 431, 451, 455, 494, 495, 496, 497, 501})


@dataclass(frozen=True, slots=True, kw_only=True)
class Codes:
    """The error codes of one of WooCommerce's APIs, by what they say."""

    prefix: str  #: of WooCommerce's own codes
    own: frozenset[str]  #: further codes that only WordPress and WooCommerce send
    credentials: frozenset[str]  #: the key, its signature or its user's rights are not good enough
    credentials_statuses: frozenset[int] | None  #: with which those codes mean that; None for any
    missing: Mapping[str, str]  #: by the codes of an API that is not there: what to tell a person

    def are_own(self, code: str) -> bool:
        """Say whether WordPress or WooCommerce itself sends this code."""
        return code.startswith(self.prefix) or code in self.own or code in self.credentials or code in self.missing

    def blame_credentials(self, code: str, status: int) -> bool:
        """Say whether an error means that the API key may not do what was asked."""
        return code in self.credentials and (self.credentials_statuses is None or status in self.credentials_statuses)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSaid:
    """An error as the store reported it."""

    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer with what could be read out of it."""

    answer: Answer
    codes: Codes
    document: Document | None  #: the JSON in its body
    error: StoreSaid | None
    away: TurnedAway | None  #: what seems to have answered in WooCommerce's place

    @classmethod
    def of(cls, answer: Answer, codes: Codes) -> "Reply":
        """Read an answer of the API with these codes."""
        document = read_json(answer.body)
        error = _said(document)
        return cls(
            answer=answer,
            codes=codes,
            document=document,
            error=error,
            away=_turned_away(answer, document, error, codes),
        )


def _said(document: Document | None) -> StoreSaid | None:
    """Find the error: an object of WordPress's, or the first of the legacy API's `errors`, a list or one object."""
    value = None if document is None else document.value
    if isinstance(value, dict) and "errors" in value and "id" not in value:
        value = value["errors"]
        if isinstance(value, list):
            value = value[0] if value else None
    if not isinstance(value, dict):
        return None
    code, message = value.get("code"), value.get("message")
    if isinstance(code, int) and not isinstance(code, bool):
        code = str(code)  # payment gateways pass their provider's numbers on
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
        refund = value.get("order_refund")
        value = refund if isinstance(refund, dict) else value
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


def _turned_away(answer: Answer, document: Document | None, error: StoreSaid | None, codes: Codes) -> TurnedAway | None:
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
    if error is not None and status in (401, 403) and not codes.are_own(error.code):
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


TURNED_AWAY_TEXT: Mapping[TurnedAway, str] = {
    "rate_limited": "The store's host is limiting requests.",
    "maintenance": "The store is in maintenance.",
    "captcha": "A captcha or browser check stands before the store.",
    "redirected": "The store redirected the request.",
    "blocked": "A web server or firewall before the store blocked the request.",
}


def credentials_text(error: StoreSaid) -> str:
    """Tell a person what is wrong with the API key."""
    if "write permission" in error.message:
        return "The API key may only read; it needs the permission Read/Write."
    if error.code.endswith("_authentication_error"):
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
            "There is no WooCommerce API at the store's address; the address or the permalinks are wrong.",
            http_status=status,
        )
    if away is not None:
        return StoreUnavailable(
            TURNED_AWAY_TEXT[away], retry_after_s=retry_after_s(answer), store_code=code, http_status=status
        )
    if error is not None:
        return _read_refusal(error, reply.codes, status, retry_after_s(answer), secrets)
    problem = "no JSON" if document is None else f"HTTP {status}"
    return StoreUnavailable(
        f"The store's answer is not usable ({problem}).", retry_after_s=retry_after_s(answer), http_status=status
    )


def _read_refusal(
    error: StoreSaid, codes: Codes, status: int, wait_s: float | None, secrets: tuple[str, ...]
) -> StoreError:
    if codes.blame_credentials(error.code, status):
        return StoreMisconfigured(credentials_text(error), store_code=error.code, http_status=status)
    if error.code in codes.missing:
        return StoreMisconfigured(codes.missing[error.code], store_code=error.code, http_status=status)
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
    return reply.answer.status >= 500 and (reply.error is None or not reply.codes.are_own(reply.error.code))
