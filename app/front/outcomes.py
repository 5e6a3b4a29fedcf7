"""What became of a refund, or of the attempt to take it on, in WooCommerce's words."""

import math
from collections.abc import Iterable, Sequence
from typing import Any, Literal, assert_never

from app.domain.errors import Fault, Refusal
from app.flows.results import (
    AmbiguousOrderNumber,
    KeyReused,
    OrderBlocked,
    OrderChanged,
    QuoteRefused,
    ReferenceConflict,
    StoreFailed,
    StoreNotFound,
)
from app.front.errors import GatewaySays, ParamFault, WooError
from app.front.lines import Place
from app.front.v3_body import Parsed
from app.front.words import Situation
from app.ledger.records import RefundRecord

No = (
    Refusal
    | StoreNotFound
    | KeyReused
    | ReferenceConflict
    | OrderBlocked
    | StoreFailed
    | AmbiguousOrderNumber
    | QuoteRefused
    | OrderChanged
)

#: How the adapters begin what a store or its payment gateway says; WooCommerce says it without.
_REPORTED = "The store reports: "
_RETRY_BLOCKED_ORDER_S = 5
_RETRY_STORE_S = 10
_RETRY_UNKNOWN_S = 5

#: What a refund failed of, or was refused for, where WooCommerce has words of its own.
_SITUATIONS: dict[str, Situation] = {
    "exceeds_refundable": "exceeds",
    "order_not_found": "order_not_found",
    "gateway_declined": "declined",
    "gateway_cannot_refund": "gateway_unable",
    "gateway_support_unknown": "gateway_unable",
}
#: Situations whose text WooCommerce has fixed; the gateway's own goes to `refund_gateway.message`.
_FIXED_TEXT: frozenset[Situation] = frozenset({"exceeds", "order_not_found", "gateway_unable", "gateway_missing"})


def refused(no: No, parsed: Parsed | None = None) -> WooError:
    """Say why nothing was taken on. `parsed` tells where in the request the faults stand."""
    match no:
        case Refusal():
            return _refusal(no, parsed)
        case StoreNotFound():
            return WooError("no_route")
        case KeyReused():
            return WooError("key_reused", says=GatewaySays(code="idempotency_key_reused", refund_id=no.resource_id))
        case ReferenceConflict():
            return WooError("conflict", says=GatewaySays(code="external_reference_conflict", refund_id=no.refund_id))
        case OrderBlocked():
            says = GatewaySays(code="refund_in_progress", refund_id=no.refund_id)
            return WooError("order_blocked", says=says, headers=_retry_after(_RETRY_BLOCKED_ORDER_S))
        case StoreFailed():
            return store_failed(no)
        case AmbiguousOrderNumber() | QuoteRefused() | OrderChanged():
            # Only requests that name a number or a quote come to this, and no WooCommerce client can.
            return WooError("conflict")
        case _:
            assert_never(no)


def store_failed(no: StoreFailed) -> WooError:
    """Say that a store could not be read."""
    says = GatewaySays(code=no.code, message=no.message)
    match no.code:
        case "order_not_found":
            return WooError("order_not_found", says=says)
        case "list_too_long" | "list_unsupported":
            return WooError("list_too_long", no.message, says=says)
        case "store_misconfigured":
            return WooError("store_misconfigured", no.message, says=says)
        case _:
            wait_s = _RETRY_STORE_S if no.retry_after_s is None else max(1, math.ceil(no.retry_after_s))
            return WooError("store_unavailable", no.message, says=says, headers=_retry_after(wait_s))


def _refusal(refusal: Refusal, parsed: Parsed | None) -> WooError:
    lead = refusal.faults[0]
    pointers = _pointers(refusal, parsed)
    says = says_of(refusal, parsed)
    situation = _situation(lead)
    if situation is not None:
        return WooError(situation, None if situation in _FIXED_TEXT else lead.message, says=says)
    if all(pointers):
        faults = [
            ParamFault(param=_param(pointer, parsed), message=fault.message, pointer=pointer)
            for fault, pointer in zip(refusal.faults, pointers, strict=True)
        ]
        return WooError("invalid_param", faults=faults, says=says)
    return WooError("not_created", lead.message, says=says)


def says_of(refusal: Refusal, parsed: Parsed | None) -> GatewaySays:
    """Name every fault of a refusal with its place in the client's request."""
    lead = refusal.faults[0]
    errors = list(_errors(refusal.faults, _pointers(refusal, parsed)))
    return GatewaySays(code=lead.code, message=lead.message, errors=errors)


def _pointers(refusal: Refusal, parsed: Parsed | None) -> list[str]:
    return [_pointer(fault.pointer, parsed) for fault in refusal.faults]


def _situation(fault: Fault) -> Situation | None:
    if fault.facts.get("capability") == "missing":
        return "gateway_missing"
    if fault.code == "nothing_to_refund" and fault.pointer in ("", "/amount"):
        return "not_positive"
    return _SITUATIONS.get(fault.code)


def _errors(faults: Iterable[Fault], pointers: Iterable[str]) -> Iterable[dict[str, Any]]:
    for fault, pointer in zip(faults, pointers, strict=True):
        yield {**fault.facts, "code": fault.code, "pointer": pointer, "message": fault.message}


def _param(pointer: str, parsed: Parsed | None) -> str:
    above = "" if parsed is None else parsed.above
    return pointer.removeprefix(above).lstrip("/").split("/")[0] or "order_refund"


def _pointer(pointer: str, parsed: Parsed | None) -> str:
    """Translate a pointer into our own request into one into the client's."""
    above = "" if parsed is None else parsed.above
    parts = pointer.split("/")[1:]
    match parts:
        case ["payment"]:
            return "/api_refund"
        case ["store_meta_data", *_]:
            return "/meta_data"
        case ["goodwill"]:
            return f"{above}/amount"
        case ["items", index, *rest] if parsed is not None and int(index) < len(parsed.places):
            return _in_line(parsed.places[int(index)], rest)
        case ["items", *_]:
            return f"{above}/line_items"
        case [name, *_] if name in ("amount", "reason"):
            return f"{above}/{name}"
        case _:
            return ""


def _in_line(place: Place, rest: Sequence[str]) -> str:
    match rest:
        case ["line_item_id"]:
            return place.id
        case ["quantity"]:
            return place.quantity
        case ["amount"]:
            return f"{place.pointer}/refund_total"
        case ["taxes", index, *_] if int(index) < len(place.taxes):
            return place.taxes[int(index)]
        case ["taxes"]:
            return f"{place.pointer}/refund_tax"
        case _:
            return place.pointer


def unsuccessful(record: RefundRecord, *, unknown_status: Literal[202, 504]) -> WooError:
    """Say that a refund has failed, was canceled, or is not known to have done either."""
    if record.status == "canceled":
        says = GatewaySays(code="refund_canceled", refund_id=record.id, status=record.status)
        return WooError("canceled", says=says)
    if record.status != "failed":
        says = GatewaySays(code="outcome_unknown", refund_id=record.id, status=record.status)
        headers = _retry_after(_RETRY_UNKNOWN_S)
        return WooError("outcome_unknown", status=unknown_status, says=says, headers=headers)
    failure = record.failure
    if failure is None:
        says = GatewaySays(code="refund_failed", refund_id=record.id, status=record.status)
        return WooError("not_created", says=says)
    situation = _SITUATIONS.get(failure.code, "not_created")
    if failure.facts.get("capability") == "missing":
        situation = "gateway_missing"
    says = GatewaySays(code=failure.code, message=failure.message, refund_id=record.id, status=record.status)
    # Final: the same request again, once this answer was given, is another attempt.
    status = 400 if situation != "order_not_found" else None
    return WooError(situation, _said(situation, failure.message), status=status, says=says)


def lost(*, unknown_status: Literal[202, 504]) -> WooError:
    """Say that nobody can tell now whether a refund was taken on, because the ledger was lost on the way."""
    return WooError(
        "outcome_unknown",
        "The refund gateway has lost its database on the way, and it is not known whether the refund was taken on. Do "
        "not send another one: repeat this very request, which joins the refund if there is one.",
        status=unknown_status,
        says=GatewaySays(code="outcome_unknown"),
        headers=_retry_after(_RETRY_UNKNOWN_S),
    )


def _said(situation: Situation, message: str) -> str | None:
    """Give a failure's text as WooCommerce would; None where the situation has one of its own."""
    if situation in _FIXED_TEXT:
        return None
    if situation == "declined" and not message.startswith(_REPORTED):
        # The payment gateway has given no reason.
        return None
    return message.removeprefix(_REPORTED)


def _retry_after(seconds: int) -> dict[str, str]:
    return {"Retry-After": str(seconds)}
