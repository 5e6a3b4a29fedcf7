"""Signing a request as a WooCommerce client does, with every part of it open to be got wrong."""

import base64
import hashlib
import hmac
import secrets
import time
from collections.abc import Sequence
from urllib.parse import quote

from tests.front.conftest import Key

Pair = tuple[str, str]
DIGESTS = {"HMAC-SHA1": hashlib.sha1, "HMAC-SHA256": hashlib.sha256}


def encoded(text: str) -> str:
    return quote(text, safe="-._~")


def signed(
    method: str,
    url: str,
    query: Sequence[Pair],
    key: Key,
    *,
    also: Sequence[Pair] = (),
    signature_method: str = "HMAC-SHA256",
    ago_s: float = 0,
    nonce: str | None = None,
    secret: str | None = None,
) -> list[Pair]:
    """Give the OAuth parameters of a request; `also` are signed parameters that stand elsewhere, as in a form."""
    oauth = [
        ("oauth_consumer_key", key.consumer_key),
        ("oauth_nonce", nonce or secrets.token_hex(8)),
        ("oauth_signature_method", signature_method),
        ("oauth_timestamp", str(int(time.time() - ago_s))),
    ]
    pairs = sorted([*query, *also, *oauth], key=lambda pair: pair[0].split("[")[0])
    joined = "%26".join(encoded(f"{encoded(name)}={encoded(value)}") for name, value in pairs)
    text = f"{method}&{encoded(url)}&{joined}"
    digest = hmac.digest(
        f"{secret or key.consumer_secret}&".encode(), text.encode(), DIGESTS.get(signature_method, hashlib.sha256)
    )
    return [*oauth, ("oauth_signature", base64.b64encode(digest).decode())]


def address(url: str, pairs: Sequence[Pair]) -> str:
    """Write a URL with its query."""
    return f"{url}?{'&'.join(f'{encoded(name)}={encoded(value)}' for name, value in pairs)}"
