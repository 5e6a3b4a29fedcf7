import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

from app.signatures import (
    Bearer,
    Hmac,
    Standard,
    Verification,
    is_from_woocommerce,
    is_genuine,
    is_usable,
    new_secret,
    verification_from,
    verification_json,
)

RECORDED = json.loads((Path(__file__).parent / "recordings" / "webhook_deliveries.json").read_text())
SIGNED = [one for one in RECORDED["deliveries"] if "X-WC-Webhook-Signature" in one["headers"]]
BODY = b'{"id": 7}'
NOW = datetime.now(UTC)


def genuine(verification: Verification, secret: str, headers: dict[str, str], body: bytes = BODY) -> bool:
    return is_genuine(verification, [secret], headers=headers, body=body, now=NOW)


def stamped(at: datetime) -> str:
    return str(int(at.timestamp()))


@pytest.mark.parametrize("delivery", SIGNED, ids=lambda one: one["headers"]["X-WC-Webhook-Topic"])
def test_what_woocommerce_sent_verifies_and_nothing_else_does(delivery: dict[str, Any]) -> None:
    signature, body = delivery["headers"]["X-WC-Webhook-Signature"], delivery["body"].encode()

    assert is_from_woocommerce(signature, RECORDED["secret"], body)
    assert not is_from_woocommerce(signature, RECORDED["secret"], body + b" ")
    assert not is_from_woocommerce(signature, "whsec-demo-2", body)
    assert not is_from_woocommerce("", RECORDED["secret"], body)
    assert not is_from_woocommerce("é" + signature[1:], RECORDED["secret"], body)


def test_wordpress_decodes_special_characters_in_a_secret() -> None:
    digest = hmac.new(b"a<b&c\"d'e", BODY, hashlib.sha256).digest()

    assert is_from_woocommerce(base64.b64encode(digest).decode(), "a&lt;b&amp;c&quot;d&#039;e", BODY)


def standard_headers(secret: str, *, at: datetime | None = None, body: str = BODY.decode()) -> dict[str, str]:
    # The library looks at the clock itself: a time from when this file was read may be too old by now.
    at = at or datetime.now(UTC)
    signature = Webhook(secret).sign("msg_1", at, body)
    return {"webhook-id": "msg_1", "webhook-timestamp": stamped(at), "webhook-signature": signature}


def test_standard_webhooks_verify_while_they_are_recent() -> None:
    secret = new_secret(Standard())
    good = standard_headers(secret)

    assert genuine(Standard(), secret, good)
    assert not genuine(Standard(), new_secret(Standard()), good)
    assert not genuine(Standard(), secret, good, b'{"id": 8}')
    assert not genuine(Standard(), secret, standard_headers(secret, at=datetime.now(UTC) - timedelta(minutes=6)))
    assert not genuine(Standard(), secret, standard_headers(secret, at=datetime.now(UTC) + timedelta(minutes=6)))


@pytest.mark.parametrize(
    "changes",
    [
        {"webhook-signature": ""},
        {"webhook-signature": "v1"},
        {"webhook-signature": "v1,%%%"},
        {"webhook-signature": "v1,a,b"},
        {"webhook-timestamp": "nan"},
        {"webhook-timestamp": "1e99"},
        {"webhook-id": ""},
    ],
)
def test_a_malformed_standard_webhook_is_refused_and_nothing_breaks(changes: dict[str, str]) -> None:
    secret = new_secret(Standard())

    assert not genuine(Standard(), secret, {**standard_headers(secret), **changes})
    assert not genuine(Standard(), secret, standard_headers(secret), b"\xff")


@pytest.mark.parametrize("algorithm", ["sha256", "sha512", "sha1"])
@pytest.mark.parametrize("encoding", ["hex", "base64"])
def test_an_hmac_verifies_in_every_form(algorithm: Any, encoding: Any) -> None:
    kind = Hmac(header="X-Signature", algorithm=algorithm, encoding=encoding, prefix="v1=")
    digest = hmac.new(b"a secret", BODY, algorithm).digest()
    written = digest.hex() if encoding == "hex" else base64.b64encode(digest).decode()

    assert genuine(kind, "a secret", {"x-signature": f"v1={written}"})
    assert not genuine(kind, "a secret", {"x-signature": written})
    assert not genuine(kind, "a secret", {"x-signature": f"v1={written}"}, b"{}")
    assert not genuine(kind, "another", {"x-signature": f"v1={written}"})
    assert not genuine(kind, "a secret", {})


def test_a_signed_timestamp_has_to_be_recent_and_its_own() -> None:
    kind = Hmac(header="x-sig", timestamp_header="X-Time", signed="{timestamp}.{body}", tolerance_s=60)

    def headers(at: datetime, *, shown: datetime | None = None, milliseconds: bool = False) -> dict[str, str]:
        stamp = stamped(at) + ("000" if milliseconds else "")
        signature = hmac.new(b"s" * 20, f"{stamp}.".encode() + BODY, hashlib.sha256).hexdigest()
        return {"x-sig": signature, "x-time": stamp if shown is None else stamped(shown)}

    assert genuine(kind, "s" * 20, headers(NOW))
    assert genuine(kind, "s" * 20, headers(NOW, milliseconds=True))
    assert not genuine(kind, "s" * 20, headers(NOW - timedelta(seconds=70)))
    assert not genuine(kind, "s" * 20, headers(NOW + timedelta(seconds=70)))
    assert not genuine(kind, "s" * 20, headers(NOW - timedelta(seconds=70), shown=NOW))
    assert not genuine(kind, "s" * 20, {**headers(NOW), "x-time": "soon"})


def test_a_bearer_is_compared_as_a_whole() -> None:
    assert genuine(Bearer(), "a long secret", {"authorization": "Bearer a long secret"})
    assert genuine(Bearer(header="X-Token"), "token", {"x-token": "token"})
    assert not genuine(Bearer(), "a long secret", {"authorization": "Bearer a long"})
    assert not genuine(Bearer(), "a long secret", {"authorization": ""})
    assert not genuine(Bearer(), "a long secret", {})


def test_any_of_the_secrets_that_count_will_do() -> None:
    both = ["the new one", "the old one"]

    assert is_genuine(Bearer(), both, headers={"authorization": "Bearer the old one"}, body=b"", now=NOW)
    assert not is_genuine(Bearer(), [], headers={"authorization": "Bearer "}, body=b"", now=NOW)


@pytest.mark.parametrize("kind", [Standard(), Bearer(), Hmac(header="x", prefix="sha256=")])
def test_a_kind_of_verification_is_read_as_it_was_written(kind: Verification) -> None:
    assert verification_from(json.loads(json.dumps(verification_json(kind)))) == kind
    assert is_usable(new_secret(kind), kind)


def test_a_secret_of_standard_webhooks_is_base64() -> None:
    assert not is_usable("no base64 at all", Standard())
    assert not is_usable("whsec_c2hvcnQ=", Standard())
    assert is_usable("no base64 at all", Bearer())
