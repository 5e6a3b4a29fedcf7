"""Signing what goes out, by Standard Webhooks; its own library does the work."""

import base64
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from standardwebhooks import Webhook

_SECRET_BYTES = 32


def new_secret() -> str:
    """Make a signing secret, `whsec_` and 256 random bits in base64; shown once, kept sealed."""
    return f"whsec_{base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode('ascii')}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """An event as a receiver gets it."""

    id: str  #: the same each time the event is sent, so that receivers know it again
    type: str
    at: datetime  #: when it happened
    data: Mapping[str, Any] = field(repr=False)

    def body(self) -> str:
        """Give the JSON that is sent and signed."""
        said = {"type": self.type, "timestamp": _time(self.at), "data": self.data}
        return json.dumps(said, ensure_ascii=False, separators=(",", ":"))


def signed_headers(message: Message, body: str, secrets_: Sequence[str], *, now: datetime) -> dict[str, str]:
    """Give the headers of a delivery that leaves now, with one signature for each secret that counts."""
    return {
        "Content-Type": "application/json",
        "webhook-id": message.id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(Webhook(secret).sign(message.id, now, body) for secret in secrets_),
    }


def _time(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
