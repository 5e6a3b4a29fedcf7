"""Keys of the sandbox: Basic and query string over https, OAuth 1.0a anywhere (class-wc-rest-authentication.php)."""

import base64
import binascii
import hashlib
import hmac
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import unquote

from app.sandbox.php import PhpValue, flatten, rawurlencode
from app.sandbox.rest import RestError

Permissions = Literal["read", "write", "read_write"]

#: Seconds a timestamp may differ from the store's clock (AUTH:504).
_WINDOW_S = 15 * 60
OAUTH_PARAMETERS = (
    "oauth_consumer_key",
    "oauth_timestamp",
    "oauth_nonce",
    "oauth_signature",
    "oauth_signature_method",
)
_DIGESTS = {"HMAC-SHA1": hashlib.sha1, "HMAC-SHA256": hashlib.sha256}


class CredentialsError(Exception):
    """Credentials are wrong, stale or not good for this; the text is WooCommerce's, the same in both its APIs."""


@dataclass(frozen=True, slots=True)
class SandboxKey:
    """A REST API key of the sandbox store."""

    consumer_key: str
    consumer_secret: str
    permissions: Permissions


DEFAULT_KEYS = (
    SandboxKey("ck_sandbox_rw", "cs_sandbox_rw", "read_write"),
    SandboxKey("ck_sandbox_ro", "cs_sandbox_ro", "read"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """What of a request counts for its credentials."""

    method: str
    #: `https://shop.example/wp-json/wc/v3/orders`: the address a signature is computed for.
    url: str
    is_https: bool
    query: Mapping[str, PhpValue]
    #: A form-encoded body's parameters; a JSON body is not signed.
    form: Mapping[str, PhpValue]
    authorization: str


@dataclass(slots=True)
class Keyring:
    """The store's keys and the nonces it has seen."""

    keys: Sequence[SandboxKey]
    #: By key and timestamp, as WordPress keeps them: a second nonce of one second replaces the first (AUTH:520).
    _nonces: dict[str, dict[int, str]] = field(default_factory=dict)

    def authenticate(self, request: Signed) -> SandboxKey | None:
        """Return the key a request to wc/v3 was made with, or None if it has no usable credentials.

        Raises RestError (401) for wrong ones and for a key that may not do this.
        """
        try:
            key = (self._basic(request) if request.is_https else None) or self._oauth(request)
            if key is not None:
                permit(key, request.method)
        except CredentialsError as error:
            raise RestError("woocommerce_rest_authentication_error", str(error), 401) from None
        return key

    def find(self, consumer_key: str) -> SandboxKey | None:
        return next((key for key in self.keys if key.consumer_key == consumer_key), None)

    def known(self, consumer_key: str) -> SandboxKey:
        """Return a key by its name, or raise CredentialsError."""
        key = self.find(consumer_key)
        if key is None:
            raise CredentialsError("Consumer key is invalid.")
        return key

    def check_freshness(self, key: SandboxKey, timestamp_text: str, nonce: str) -> None:
        """Remember a key's nonce; raise CredentialsError for a used one and for a timestamp of another time."""
        timestamp = int(timestamp_text) if timestamp_text.isdecimal() else 0
        now = time.time()
        if abs(timestamp - now) > _WINDOW_S:
            raise CredentialsError("Invalid timestamp.")
        seen = self._nonces.setdefault(key.consumer_key, {})
        if nonce in seen.values():
            raise CredentialsError("Invalid nonce - nonce has already been used.")
        seen[timestamp] = nonce
        for old in [second for second in seen if second < now - _WINDOW_S]:
            del seen[old]

    def _basic(self, request: Signed) -> SandboxKey | None:
        name, secret = request.query.get("consumer_key"), request.query.get("consumer_secret")
        if not (isinstance(name, str) and isinstance(secret, str) and name and secret):
            name, secret = basic_header(request.authorization)
        if not name or not secret:
            return None
        key = self.find(name)
        if key is not None and not is_secret_of(key, secret):
            raise CredentialsError("Consumer secret is invalid.")
        return key

    def _oauth(self, request: Signed) -> SandboxKey | None:
        params = {**request.query, **request.form, **_oauth_header(request.authorization)}
        missing = [name for name in OAUTH_PARAMETERS if not params.get(name)]
        if len(missing) == len(OAUTH_PARAMETERS):
            return None
        if missing:
            plural = "s" if len(missing) > 1 else ""
            raise RestError(
                "woocommerce_rest_authentication_missing_parameter",
                f"Missing OAuth parameter{plural} {', '.join(missing)}",
                401,
            )
        key = self.known(str(params["oauth_consumer_key"]))
        check_signature(request, params, key)
        self.check_freshness(key, str(params["oauth_timestamp"]), str(params["oauth_nonce"]))
        return key


def is_secret_of(key: SandboxKey, secret: str) -> bool:
    return hmac.compare_digest(key.consumer_secret.encode(), secret.encode())


def permit(key: SandboxKey, method: str) -> None:
    """Raise CredentialsError if the key may not do this; one that may only write cannot even read (AUTH:571-600)."""
    wanted = "read" if method in {"GET", "HEAD"} else "write"
    if method != "OPTIONS" and key.permissions not in (wanted, "read_write"):
        raise CredentialsError(f"The API key provided does not have {wanted} permissions.")


def basic_header(authorization: str) -> tuple[str, str]:
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return "", ""
    try:
        name, _, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return name, secret


def _oauth_header(authorization: str) -> dict[str, str]:
    """Parse `Authorization: OAuth k="v", …`."""
    scheme, _, pairs = authorization.strip().partition(" ")
    if scheme.lower() != "oauth":
        return {}
    params = {}
    for pair in pairs.split(","):
        name, equals, value = pair.strip().partition("=")
        if equals and name.startswith("oauth_"):
            params[name] = unquote(value.strip('"'))
    return params


def check_signature(request: Signed, params: Mapping[str, PhpValue], key: SandboxKey) -> None:
    """Raise CredentialsError unless the parameters' `oauth_signature` signs the request with the key."""
    digest = _DIGESTS.get(str(params["oauth_signature_method"]))
    if digest is None:
        raise CredentialsError("Invalid signature - signature method is invalid.")
    signed = {name: params[name] for name in sorted(params) if name != "oauth_signature"}
    pairs = (rawurlencode(f"{rawurlencode(name)}={rawurlencode(value)}") for name, value in flatten(signed))
    text = f"{request.method}&{rawurlencode(request.url)}&{'%26'.join(pairs)}"
    expected = base64.b64encode(hmac.digest(f"{key.consumer_secret}&".encode(), text.encode(), digest)).decode()
    given = str(params["oauth_signature"]).replace(" ", "+")
    if not hmac.compare_digest(expected.encode(), given.encode()):
        raise CredentialsError("Invalid signature - provided signature does not match.")
