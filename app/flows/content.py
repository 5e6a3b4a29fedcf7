"""What a request asks for, so that the same content is known again however it is written."""

import hashlib
import json
from dataclasses import replace
from decimal import Decimal

from app.domain.refund import RefundCommand
from app.ledger.records import command_json


def content_fingerprint(command: RefundCommand) -> bytes:
    """Hash what a request asks for; amounts count by value, and the quote and the precondition do not count."""
    same = replace(command, quote_id=None, expected_refunded_total=None)
    return hashlib.sha256(json.dumps(_normalised(command_json(same)), sort_keys=True).encode()).digest()


def money_fingerprint(command: RefundCommand) -> bytes:
    """Hash what a quote binds: everything but the wording and the references."""
    same = replace(command, external_reference=None, reason="", reason_code=None, metadata={}, store_meta={})
    return content_fingerprint(same)


def request_fingerprint(operation: str, content: bytes) -> bytes:
    """Hash what a request asks for that creates something else than a refund, for its Idempotency-Key."""
    return hashlib.sha256(operation.encode() + b"\0" + content).digest()


def _normalised(value: object) -> object:
    """Write amounts without trailing zeros, so that "20.0" and "20.00" are the same."""
    if isinstance(value, dict):
        amounts = ("amount", "shipping", "fees", "goodwill")
        return {
            name: format(Decimal(part).normalize(), "f")
            if name in amounts and isinstance(part, str) and part != "all"
            # Whatever a caller keeps there under such a name is no amount.
            else part
            if name in ("metadata", "store_meta")
            else _normalised(part)
            for name, part in value.items()
        }
    if isinstance(value, list):
        return [_normalised(part) for part in value]
    return value


def differing(before: RefundCommand, now: RefundCommand) -> tuple[str, ...]:
    """Name the fields in which two requests differ, as callers of the API know them."""
    ours, theirs = _normalised(command_json(before)), _normalised(command_json(now))
    assert isinstance(ours, dict)
    assert isinstance(theirs, dict)
    ignored = ("quote_id", "expected_refunded_total")
    wire_names = {"store_meta": "store_meta_data"}
    return tuple(
        wire_names.get(name, name)
        for name in (*ours, *(theirs.keys() - ours.keys()))
        if name not in ignored and ours.get(name) != theirs.get(name)
    )
