"""A store's words, made safe to keep and to show."""

import re

from app.stores.reading import plain_text

_KEY = re.compile(r"\bc[ks]_[0-9A-Za-z_]{6,}")
_PARAMETER = re.compile(r"\b((?:oauth_\w+|consumer_key|consumer_secret)(?:=|%3D))[^&\s\"'<>]+", re.IGNORECASE)
_EMAIL = re.compile(r"[\w.+%-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+")
_CARD = re.compile(r"\b\d(?:[ -]?\d){11,18}\b")


def clean(text: str, secrets: tuple[str, ...]) -> str:
    """Cut a store's text to 300 characters of plain text without credentials, e-mail addresses or card numbers."""
    text = text[:20_000].replace("\0", "")
    for secret in secrets:
        text = text.replace(secret, "•••")
    text = plain_text(text)
    for secret in secrets:  # again: tags or entities may have stood inside
        text = text.replace(secret, "•••")
    text = _PARAMETER.sub(r"\1•••", text)
    text = _KEY.sub("•••", text)
    text = _EMAIL.sub("•••", text)
    text = _CARD.sub("•••", text)
    return text if len(text) <= 300 else text[:299] + "…"
