"""Sealed store credentials and API keys; no I/O.

Exceptions:

    CryptoError
    ├── MalformedSealingKeys   the setting cannot be read
    └── Unsealable             wrong key, wrong row or altered bytes; which of them cannot be told
"""

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_FORMAT = 1
_NONCE_BYTES = 12
_KEY_BYTES = 32
_SEALING_KEY_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}", re.ASCII)

#: Crockford's base32 in lower case: no i, l, o or u, so an id survives being read out.
_ID_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_KEY_ID_PATTERN = r"[0-9a-hjkmnp-tv-z]{12}"
_KEY_ID = re.compile(_KEY_ID_PATTERN, re.ASCII)
_API_KEY = re.compile(rf"rgk_({_KEY_ID_PATTERN})_[A-Za-z0-9_-]{{43}}", re.ASCII)


class CryptoError(Exception):
    """Something secret could not be read."""


class MalformedSealingKeys(CryptoError):
    """The setting does not read `id:base64` with 32 bytes per key."""


class Unsealable(CryptoError):
    """The bytes were not sealed by one of our keys for this row, or were altered since."""


@dataclass(frozen=True, slots=True)
class Sealer:
    """Seals secrets with AES-256-GCM under named keys: the first seals, all open.

    A sealed value reads: format (1 byte), length of the key's id (1 byte), the id, nonce (12 bytes), ciphertext and
    tag. Everything before the nonce is authenticated too, together with the caller's associated data.
    """

    _sealing_id: str
    _keys: Mapping[str, AESGCM] = field(repr=False)

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Read `id:base64,id:base64,…`; raises MalformedSealingKeys, which never quotes the text."""
        keys: dict[str, AESGCM] = {}
        for position, entry in enumerate(text.split(","), 1):
            key_id, _, encoded = entry.strip().partition(":")
            if _SEALING_KEY_ID.fullmatch(key_id) is None:
                raise MalformedSealingKeys(f"Sealing key {position} must read id:base64 with a plain id.")
            if key_id in keys:
                raise MalformedSealingKeys(f"The id of sealing key {position} is used twice.")
            try:
                raw = base64.b64decode(encoded, validate=True)
            except binascii.Error:
                raise MalformedSealingKeys(f"Sealing key {position} is not base64.") from None
            if len(raw) != _KEY_BYTES:
                raise MalformedSealingKeys(f"Sealing key {position} must have {_KEY_BYTES} bytes.")
            keys[key_id] = AESGCM(raw)
        return cls(next(iter(keys)), keys)

    def seal(self, plain: bytes, *, aad: str) -> bytes:
        """Encrypt `plain` so that it opens only with the same `aad`, for example the id of the row it is kept in."""
        key_id = self._sealing_id.encode()
        head = bytes((_FORMAT, len(key_id))) + key_id
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return head + nonce + self._keys[self._sealing_id].encrypt(nonce, plain, head + aad.encode())

    def open(self, sealed: bytes, *, aad: str) -> bytes:
        """Decrypt what `seal` gave for the same `aad`; raises Unsealable for anything else."""
        start = 2 + sealed[1] if len(sealed) > 1 and sealed[0] == _FORMAT else 0
        head, nonce, body = sealed[:start], sealed[start : start + _NONCE_BYTES], sealed[start + _NONCE_BYTES :]
        key = self._keys.get(head[2:].decode("ascii", "replace"))
        if key is None or len(nonce) < _NONCE_BYTES:
            raise Unsealable("The value was sealed with a key that is not among the sealing keys.")
        try:
            return key.decrypt(nonce, body, head + aad.encode())
        except InvalidTag:
            raise Unsealable("The value was sealed for another row, or was altered.") from None

    def is_current(self, sealed: bytes) -> bool:
        """Say whether the first key sealed this; if not, sealing it again lets the older key be retired."""
        return sealed[2 : 2 + sealed[1]] == self._sealing_id.encode() if len(sealed) > 1 else False


def new_sealing_key() -> str:
    """Make a sealing key as `REFUND_GATEWAY_SEALING_KEYS` wants it."""
    return f"{_random_id(6)}:{base64.b64encode(secrets.token_bytes(_KEY_BYTES)).decode()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewApiKey:
    """An API key at the only moment at which its text is known."""

    id: str
    text: str = field(repr=False)  #: `rgk_<id>_<43 characters>`, 256 random bits; shown once, never stored
    hash: bytes


def new_api_key() -> NewApiKey:
    """Make an API key; only its hash may be kept."""
    key_id = _random_id(12)
    text = f"rgk_{key_id}_{secrets.token_urlsafe(32)}"
    return NewApiKey(id=key_id, text=text, hash=hash_api_key(text))


@dataclass(frozen=True, slots=True, kw_only=True)
class NewConsumerKey:
    """A key for WooCommerce's own clients at the only moment at which its secret is shown."""

    id: str
    consumer_key: str  #: `ck_` and 40 hexadecimal digits, as WooCommerce's own
    consumer_secret: str = field(repr=False)  #: `cs_` and 40 hexadecimal digits: 160 random bits
    hash: bytes


def new_consumer_key() -> NewConsumerKey:
    """Make a key and secret; the secret may be kept sealed only."""
    secret = f"cs_{secrets.token_hex(20)}"
    return NewConsumerKey(
        id=_random_id(12),
        consumer_key=f"ck_{secrets.token_hex(20)}",
        consumer_secret=secret,
        hash=hash_api_key(secret),
    )


def hash_api_key(text: str) -> bytes:
    """Give the SHA-256 of a key's text; a slow hash would add nothing to 256 random bits."""
    return hashlib.sha256(text.encode()).digest()


def api_key_id(text: str) -> str | None:
    """Read the id out of a key's text; None when the text cannot be a key."""
    match = _API_KEY.fullmatch(text)
    return match[1] if match else None


def api_key_text(key_id: str, secret: str) -> str | None:
    """Put a key's text together from HTTP Basic's user name and password; None when they cannot be a key.

    The password may be the last part of the key or the whole of it.
    """
    text = secret if secret.startswith("rgk_") else f"rgk_{key_id}_{secret}"
    return text if _KEY_ID.fullmatch(key_id) and api_key_id(text) == key_id else None


def is_api_key(text: str, secret_hash: bytes) -> bool:
    """Compare a presented key with a stored hash in constant time."""
    return hmac.compare_digest(hash_api_key(text), secret_hash)


def _random_id(length: int) -> str:
    return "".join(secrets.choice(_ID_ALPHABET) for _ in range(length))
