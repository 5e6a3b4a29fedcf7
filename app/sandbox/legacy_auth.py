"""Credentials of the legacy API: over https the query string or Basic, over http OAuth 1.0a in the query alone."""

from collections.abc import Mapping
from urllib.parse import unquote

from app.sandbox.auth import (
    OAUTH_PARAMETERS,
    CredentialsError,
    Keyring,
    SandboxKey,
    Signed,
    basic_header,
    check_signature,
    is_secret_of,
    permit,
)
from app.sandbox.exchange import HttpRequest
from app.sandbox.legacy_call import LegacyError
from app.sandbox.php import PhpValue

_CHALLENGE = (
    'Basic realm="WooCommerce API. Use a consumer key in the username field '
    'and a consumer secret in the password field."'
)
_CODE = "woocommerce_api_authentication_error"


def authenticate(keyring: Keyring, request: HttpRequest, method: str, query: Mapping[str, PhpValue]) -> None:
    """Let a request pass whose key may do this; `method` is the overridden one, which also counts for the signature.

    Raises LegacyError: 401, or 404 for a missing OAuth parameter (LA:144).
    """
    try:
        key = _by_secret(keyring, request, query) if request.is_https else _signed(keyring, request, method, query)
        permit(key, method)
    except CredentialsError as error:
        raise LegacyError(_CODE, str(error), 401) from None


def _by_secret(keyring: Keyring, request: HttpRequest, query: Mapping[str, PhpValue]) -> SandboxKey:
    """A secret in the query comes first, and over https nothing else is tried (LA:75-101)."""
    name, secret = query.get("consumer_key"), query.get("consumer_secret")
    if isinstance(name, str) and isinstance(secret, str) and name and secret:
        key = keyring.known(name)
        if not is_secret_of(key, secret):
            raise CredentialsError("Consumer secret is invalid.")
        return key
    name, secret = basic_header(request.headers.get("authorization", ""))
    if not name or not secret:
        raise _challenged()
    key = keyring.known(name)
    if not is_secret_of(key, secret):
        raise _challenged()
    return key


def _signed(keyring: Keyring, request: HttpRequest, method: str, query: Mapping[str, PhpValue]) -> SandboxKey:
    for name in OAUTH_PARAMETERS:
        if not query.get(name):
            raise LegacyError(_CODE, f"{name} parameter is missing", 404)
    key = keyring.known(str(query["oauth_consumer_key"]))
    signed = Signed(
        method=method.upper(),
        url=request.site_url + request.path,
        is_https=False,
        query=query,
        form={},
        authorization="",
    )
    check_signature(signed, _decoded(query), key)
    keyring.check_freshness(key, str(query["oauth_timestamp"]), str(query["oauth_nonce"]))
    return key


def _challenged() -> LegacyError:
    return LegacyError(_CODE, "Consumer Secret is invalid.", 401, headers={"WWW-Authenticate": _CHALLENGE})


def _decoded(values: Mapping[str, PhpValue]) -> dict[str, PhpValue]:
    """Decode once more before signing: the plugin takes parameters for encoded ones (LA: normalize_parameters)."""
    return {
        unquote(key): unquote(value) if isinstance(value, str) else _decoded(value) for key, value in values.items()
    }
