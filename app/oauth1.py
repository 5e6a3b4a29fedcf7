"""OAuth 1.0a, one-legged, as WooCommerce verifies it (AUTH:286-520): signing for a store, verifying for its clients."""

import base64
import hashlib
import hmac
from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import quote, unquote

Pair = tuple[str, str]

_DIGESTS = {"HMAC-SHA1": hashlib.sha1, "HMAC-SHA256": hashlib.sha256}
SIGNATURE_METHODS = frozenset(_DIGESTS)


def _encoded(text: str) -> str:
    """Percent-encode like PHP's rawurlencode: only letters, digits and -_.~ stay."""
    return quote(text, safe="-._~")


def base_string(method: str, url: str, params: Mapping[str, str]) -> str:
    """Give the text that is signed.

    `url` is the address without a query, as the site itself would write it. Parameters are sorted by their raw name
    (AUTH:413), each `name=value` is encoded once by its parts and once as a whole; a JSON body takes no part.
    """
    return _joined(method, url, sorted((name, value) for name, value in params.items() if name != "oauth_signature"))


def _joined(method: str, url: str, pairs: Iterable[Pair]) -> str:
    joined = "%26".join(_encoded(f"{_encoded(name)}={_encoded(value)}") for name, value in pairs)
    return f"{method.upper()}&{_encoded(url)}&{joined}"


def _signature(text: str, consumer_secret: str, signature_method: str) -> str:
    # The key ends in "&" because there is no token secret.
    digest = hmac.digest(f"{consumer_secret}&".encode(), text.encode(), _DIGESTS[signature_method])
    return base64.b64encode(digest).decode("ascii")


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
    return {**complete, "oauth_signature": _signature(text, consumer_secret, "HMAC-SHA256")}


def is_signed(
    method: str,
    url: str,
    *,
    as_php: Sequence[Pair],
    as_sent: Sequence[Pair],
    signature: str,
    signature_method: str,
    consumer_secret: str,
) -> bool:
    """Say whether a signature is right; `signature_method` is one of SIGNATURE_METHODS.

    `as_php` are the parameters as PHP reads them: the last of a repeated name, and lists under the names of their
    places, `include[0]`. WooCommerce signs those, sorted by what stands before the bracket (AUTH:413). `as_sent` are
    all of them with their own names, which a client signs that keeps to RFC 5849 instead.
    """
    ways = (
        sorted(_unsigned(as_php), key=lambda pair: pair[0].split("[", 1)[0]),
        sorted(_unsigned(as_sent), key=lambda pair: (_encoded(pair[0]), _encoded(pair[1]))),
    )
    # A "+" that a client left bare in its query has been read as a space (AUTH:409).
    given = unquote(signature.replace(" ", "+")).encode()
    right = [_signature(_joined(method, url, pairs), consumer_secret, signature_method).encode() for pairs in ways]
    return any(hmac.compare_digest(given, one) for one in right)


def _unsigned(pairs: Iterable[Pair]) -> list[Pair]:
    return [(name, value) for name, value in pairs if name != "oauth_signature"]
