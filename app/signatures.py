"""How messages from outside prove whose they are; no I/O.

Standard Webhooks, an HMAC in whatever header and form a system sends it, a bearer token, and WooCommerce's own. All
comparisons take constant time, and all of a source's valid secrets are tried.
"""

import base64
import binascii
import hashlib
import hmac
import re
import secrets as random
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal, assert_never

from standardwebhooks.webhooks import EmptyWebhookSecretError, Webhook, WebhookVerificationError

Algorithm = Literal["sha256", "sha512", "sha1"]
Encoding = Literal["hex", "base64"]

#: What of a message is signed, as a template.
BODY_ALONE = "{body}"
_STANDARD_PREFIX = "whsec_"
_SECRET_BYTES = 32
_TIMESTAMP = re.compile(r"[0-9]{1,16}", re.ASCII)
#: Seconds since 1970 have ten digits until the year 2286; longer ones are in milliseconds.
_LONGEST_SECONDS = 11


@dataclass(frozen=True, slots=True, kw_only=True)
class Standard:
    """Standard Webhooks: `webhook-id`, `webhook-timestamp` and `webhook-signature`, within five minutes."""

    kind: Literal["standard"] = "standard"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hmac:
    """A plain HMAC over the body, or over a timestamp and the body."""

    kind: Literal["hmac"] = "hmac"
    header: str
    algorithm: Algorithm = "sha256"
    encoding: Encoding = "hex"
    prefix: str = ""  #: before the signature in its header, such as "sha256="
    timestamp_header: str | None = None  #: of seconds or milliseconds since 1970
    signed: str = BODY_ALONE  #: with `{timestamp}` where there is one, such as "{timestamp}.{body}"
    tolerance_s: int = 300  #: how old or how far ahead a timestamp may be


@dataclass(frozen=True, slots=True, kw_only=True)
class Bearer:
    """The secret itself in a header, behind "Bearer " or alone."""

    kind: Literal["bearer"] = "bearer"
    header: str = "Authorization"


Verification = Standard | Hmac | Bearer


def verification_json(verification: Verification) -> Mapping[str, Any]:
    """Write a kind of verification as it is kept."""
    return asdict(verification)


def verification_from(value: Mapping[str, Any]) -> Verification:
    """Read what `verification_json` wrote."""
    match value["kind"]:
        case "standard":
            return Standard()
        case "hmac":
            return Hmac(**value)
        case _:
            return Bearer(**value)


def new_secret(verification: Verification) -> str:
    """Make a secret of 256 random bits, written as its kind wants it."""
    if isinstance(verification, Standard):
        return _STANDARD_PREFIX + base64.b64encode(random.token_bytes(_SECRET_BYTES)).decode()
    return random.token_urlsafe(_SECRET_BYTES)


def is_usable(secret: str, verification: Verification) -> bool:
    """Say whether a secret that another system gave can be verified with."""
    if not isinstance(verification, Standard):
        return True
    text = secret.removeprefix(_STANDARD_PREFIX)
    try:
        return len(base64.b64decode(text + "=" * (-len(text) % 4), validate=True)) >= _SECRET_BYTES // 2
    except (binascii.Error, ValueError):
        return False


def proves_header(verification: Verification, header: str) -> bool:
    """Say whether a message that is genuine proves a header as well.

    A header that is not signed can be changed by whoever has recorded a message. Behind a bearer token nothing is
    signed: who has that can send anything.
    """
    match verification:
        case Standard():
            return header.lower() == "webhook-id"
        case Hmac():
            return False
        case Bearer():
            return True
        case _:
            assert_never(verification)


def is_genuine(
    verification: Verification,
    secrets: Iterable[str],
    *,
    headers: Mapping[str, str],
    body: bytes,
    now: datetime,
) -> bool:
    """Say whether a message was sent by somebody who knows one of the secrets; `headers` by names in lower case."""
    # Every secret is tried, so that the time it takes does not tell which of them it was.
    found = [_verifies(verification, secret, headers, body, now) for secret in secrets]
    return any(found)


def _verifies(verification: Verification, secret: str, headers: Mapping[str, str], body: bytes, now: datetime) -> bool:
    match verification:
        case Standard():
            try:
                Webhook(secret).verify(body, dict(headers), json_parse=False)
            except (WebhookVerificationError, EmptyWebhookSecretError, ValueError, TypeError):
                # The library raises ValueError for a signature that is no base64, and for a body that is not UTF-8.
                return False
            return True
        case Hmac():
            return _is_hmac(verification, secret, headers, body, now)
        case Bearer():
            given = headers.get(verification.header.lower(), "")
            scheme, _, token = given.partition(" ")
            return _same(token.strip() if scheme.lower() == "bearer" else given.strip(), secret)
        case _:
            assert_never(verification)


def _is_hmac(kind: Hmac, secret: str, headers: Mapping[str, str], body: bytes, now: datetime) -> bool:
    timestamp = ""
    if kind.timestamp_header is not None:
        timestamp = headers.get(kind.timestamp_header.lower(), "").strip()
        if not _is_recent(timestamp, now, kind.tolerance_s):
            return False
    before, _, after = kind.signed.partition(BODY_ALONE)
    signed = b"".join(
        (before.replace("{timestamp}", timestamp).encode(), body, after.replace("{timestamp}", timestamp).encode())
    )
    digest = hmac.new(secret.encode(), signed, kind.algorithm).digest()
    given = headers.get(kind.header.lower(), "").strip()
    if not given.startswith(kind.prefix):
        return False
    given = given.removeprefix(kind.prefix)
    if kind.encoding == "hex":
        return _same(given.lower(), digest.hex())
    return _same(given, base64.b64encode(digest).decode())


def _is_recent(timestamp: str, now: datetime, tolerance_s: int) -> bool:
    if _TIMESTAMP.fullmatch(timestamp) is None:
        return False
    seconds = int(timestamp) if len(timestamp) <= _LONGEST_SECONDS else int(timestamp) // 1000
    return abs(now.timestamp() - seconds) <= tolerance_s


def is_from_woocommerce(signature: str, secret: str, body: bytes) -> bool:
    """Say whether a body carries WooCommerce's signature of it: base64 of its HMAC-SHA256 (WH:451-456).

    WordPress decodes special characters in the secret before it signs.
    """
    digest = hmac.new(_specialchars_decoded(secret).encode(), body, hashlib.sha256).digest()
    return _same(signature.strip(), base64.b64encode(digest).decode())


def _specialchars_decoded(secret: str) -> str:
    """Undo what `wp_specialchars_decode` undoes, quotes included; the ampersand last, so that nothing is undone twice.

    An owner's `a&lt;b` signs as `a<b`.
    """
    for entity, character in (
        ("&lt;", "<"),
        ("&#060;", "<"),
        ("&gt;", ">"),
        ("&#062;", ">"),
        ("&quot;", '"'),
        ("&#034;", '"'),
        ("&#x22;", '"'),
        ("&#039;", "'"),
        ("&#x27;", "'"),
        ("&amp;", "&"),
        ("&#038;", "&"),
        ("&#x26;", "&"),
    ):
        secret = secret.replace(entity, character)
    return secret


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(errors="replace"), expected.encode())
