"""How verbs show refunds, and how they say no."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

from ulid import ULID

from app.api.errors import No, problem_of
from app.api.values import REFUND_ID_PATTERN
from app.api.views import BreakdownView, LineView, refund_view
from app.cli.ends import Ended, Exit
from app.cli.screen import iso, show_facts, show_json, show_table
from app.domain.refund import GatewayCapability, Money
from app.flows.results import RefundNotFound, RequestInProgress, StoreFailed, StoreNotFound, StoreRefundNotFound
from app.ledger.records import RefundRecord

REFUND_ID = re.compile(REFUND_ID_PATTERN)

CAPABILITIES: Mapping[GatewayCapability, str] = {
    "refunds": "the payment method can refund",
    "no_refunds": "the payment method cannot refund",
    "missing": "the payment method is no longer installed",
    "unknown": "the store does not say whether the payment method can refund",
    "unprovable": "nobody can say whether the payment method can refund; see `store policy --refunding-methods`",
}


def say_no(no: No, *, as_json: bool) -> NoReturn:
    """End the verb with a flow's "no": the API's own words, and its whole document for scripts."""
    problem = problem_of(no)
    if as_json:
        show_json(problem.document(request_id=f"cli_{ULID()}"))
    match no:
        case RefundNotFound() | StoreNotFound() | StoreRefundNotFound() | StoreFailed(code="order_not_found"):
            code = Exit.NOT_FOUND
        case StoreFailed():
            code = Exit.STORE
        case RequestInProgress():
            code = Exit.NOT_KNOWN
        case _:
            code = Exit.REFUSED
    faults = [str(fault["message"]) for fault in problem.errors or ()]
    sentence = " ".join(dict.fromkeys(faults)) or problem.detail
    if isinstance(no, StoreNotFound):
        sentence = f"The tenant has no store {no.store!r} in use."
    raise Ended(code, sentence)


def amount_of(record: RefundRecord) -> str:
    """Write a refund's amount with its currency, as far as both are known."""
    shown = refund_view(record).amount
    return "" if shown is None else f"{shown} {record.currency or ''}".rstrip()


_MONEY: dict[Money, str] = {
    "moved": "moved: the payment provider has paid it back",
    "not_moved": "not moved",
    "unknown": "not known",
    "outside": "outside: the store only records it",
}


def show_refund(record: RefundRecord) -> None:
    """Show a refund with its parts."""
    shown = refund_view(record)
    number = f" (number {record.order_number})" if record.order_number else ""
    show_facts(
        [
            ("refund", record.id),
            ("status", record.status),
            ("money", _MONEY[record.money]),
            ("store", record.store),
            ("order", None if record.order_id is None else f"{record.order_id}{number}"),
            ("amount", amount_of(record)),
            ("payment", record.payment),
            ("reason", record.reason),
            ("reason code", record.reason_code),
            ("reference", record.external_reference),
            ("origin", "made by others" if record.origin == "store" else None),
            ("store refund", record.store_refund_id),
            ("deleted", None if record.deleted_at is None else f"{iso(record.deleted_at)} by {record.deleted_by}"),
            ("the same as", record.duplicate_of),
            ("marker", record.marker if record.origin == "api" else None),
            ("failure", None if record.failure is None else f"{record.failure.code}: {record.failure.message}"),
            ("attempts", record.attempts),
            ("created", record.created_at),
            ("settled", record.settled_at),
        ]
    )
    if shown.breakdown is not None:
        show_breakdown(shown.breakdown)


def show_breakdown(breakdown: BreakdownView) -> None:
    """Show where the money of a refund comes from."""
    parts: list[tuple[str, str, LineView]] = [
        *(("item", line.line_item_id, line) for line in breakdown.items),
        *(("shipping", line.shipping_line_id, line) for line in breakdown.shipping),
        *(("fee", line.fee_line_id, line) for line in breakdown.fees),
    ]
    rows: list[tuple[object, ...]] = [
        (kind, line_id, line.name, line.quantity or "", line.net, line.tax, line.total) for kind, line_id, line in parts
    ]
    if rows:
        show_table(["part", "line", "name", "quantity", "net", "tax", "amount"], rows, empty="")
    others = [("goodwill", breakdown.goodwill), ("unallocated", breakdown.unallocated)]
    show_facts((name, value) for name, value in others if value.strip("0.") and rows)


def with_facts(text: str, facts: Iterable[tuple[str, Any]]) -> str:
    """Write facts behind a text; those that say nothing are left out."""
    shown = " ".join(f"{name}={value}" for name, value in facts if value not in (None, "", [], {}))
    return f"{text} ({shown})" if text and shown else text or shown
