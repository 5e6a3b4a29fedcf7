"""OAuth 1.0a, one-legged, HMAC-SHA256, as WooCommerce verifies it (AUTH:286-520)."""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from urllib.parse import quote


def _encoded(text: str) -> str:
    """Percent-encode like PHP's rawurlencode: only letters, digits and -_.~ stay."""
    return quote(text, safe="-._~")


def base_string(method: str, url: str, params: Mapping[str, str]) -> str:
    """Give the text that is signed.

    `url` is the address without a query, as the site itself would write it. Parameters are sorted by their raw name
    (AUTH:413), each `name=value` is encoded once by its parts and once as a whole; a JSON body takes no part.
    """
    pairs = sorted((name, value) for name, value in params.items() if name != "oauth_signature")
    joined = "%26".join(_encoded(f"{_encoded(name)}={_encoded(value)}") for name, value in pairs)
    return f"{method.upper()}&{_encoded(url)}&{joined}"


def signed(
    method: str,
    url: str,
    params: Mapping[str, str],
    *,
    consumer_key: str,
    consumer_secret: str,
    nonce: str,
    timestamp: int,
) -> dict[str, str]:
    """Add the OAuth parameters and their signature to a request's query parameters.

    `nonce` must be new for every request, retries included: the store refuses one it has seen. `timestamp` is in
    seconds since 1970 and may be 15 minutes off at most.
    """
    complete = {
        **params,
        "oauth_consumer_key": consumer_key,
        "oauth_nonce": nonce,
        "oauth_signature_method": "HMAC-SHA256",
        "oauth_timestamp": str(timestamp),
    }
    text = base_string(method, url, complete)
    # The key ends in "&" because there is no token secret.
    digest = hmac.new(f"{consumer_secret}&".encode(), text.encode(), hashlib.sha256).digest()
    return {**complete, "oauth_signature": base64.b64encode(digest).decode("ascii")}
