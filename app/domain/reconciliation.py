"""Reconciliations: what can differ between ledger, store and ERP, and what to do about it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Literal, get_args

ReconciliationStatus = Literal["queued", "running", "finished", "failed"]
#: reading: the store's refunds; adopting: rows that the ledger had not heard of; collecting: the ledger's refunds;
#: asking: the store, once for each refund that its list did not show; comparing: everything.
Phase = Literal["reading", "adopting", "collecting", "asking", "comparing"]
#: How a store's refunds are read: by its own list of them, or order by order.
Reads = Literal["list", "orders"]
DriftClass = Literal[
    "missing_in_store",
    "missing_in_ledger",
    "amount_differs",
    "payment_flag_differs",
    "deleted_in_store",
    "duplicate_suspicion",
    "missing_in_erp",
    "missing_in_gateway",
    "in_doubt",
]
#: A class of refunds in the totals.
TotalClass = Literal["matched"] | DriftClass
#: With what a refund was compared.
Against = Literal["store", "erp", "ledger"]
Action = Literal[
    "look_up_payment",
    "record_in_store",
    "accept_as_observed",
    "delete_stray_row",
    "correct_store_amount",
    "correct_erp_amount",
    "check_who_deleted",
    "accept_deletion",
    "check_for_double_payment",
    "book_in_erp",
    "reverse_in_erp",
    "send_or_reverse",
    "resolve_review",
    "wait_for_recovery",
]

DRIFT_CLASSES: tuple[DriftClass, ...] = get_args(DriftClass)

#: What is proposed, in words; nothing of it is ever done by the gateway itself.
ACTIONS: Mapping[Action, str] = {
    "look_up_payment": "Store and gateway disagree on whether it was paid: look the payment up at the payment "
    "provider. What the provider says is the truth; correct the side that is wrong.",
    "record_in_store": "Look the payment up at the payment provider. If it was made, record a manual refund of the "
    "amount in the store, so that the order shows it; if it was not, reverse it in the books.",
    "accept_as_observed": "It was made past the gateway, in the store's admin or by a plugin, and is on record now. "
    "Check who made it and why, and book it if it was not booked yet.",
    "delete_stray_row": "The refund came to nothing, yet the store keeps a row of it, which makes less of the order "
    "refundable. Delete the row in the store.",
    "correct_store_amount": "Compare with the payment provider. If the gateway is right, somebody has changed the row "
    "in the store: delete it there and record the right amount by hand.",
    "correct_erp_amount": "Correct the ERP's document to what was paid.",
    "check_who_deleted": "The money was paid and has not come back. Find out who deleted the row in the store, and "
    "record a manual refund there if the order has to show it.",
    "accept_deletion": "The refund was only recorded, not paid through the store. If its deletion was meant, reverse "
    "it in the books.",
    "check_for_double_payment": "Look both up at the payment provider and find out whether two were meant. If one "
    "was not, the customer has been paid twice.",
    "book_in_erp": "Book the refund in the ERP.",
    "reverse_in_erp": "The refund did not come about, or is booked more than once: reverse the ERP's document.",
    "send_or_reverse": "The gateway was never asked for it. Send the refund if it is still owed, or reverse the ERP's "
    "document.",
    "resolve_review": "Look the payment up at the payment provider and resolve the refund with what was found "
    "(POST /v1/refunds/{id}/resolve).",
    "wait_for_recovery": "The gateway is still finding out by itself; look at the refund again later.",
}

#: The longest time that one reconciliation may cover.
LONGEST = timedelta(days=400)
#: Entries of an ERP's list at most.
MAX_ENTRIES = 200_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ErpEntry:
    """A refund as the ERP has booked it."""

    number: int  #: its place in the list, from 1
    reference: str | None  #: the ERP's document number
    order: str | None  #: the order's id or number
    amount: Decimal
    currency: str | None
    day: date


@dataclass(frozen=True, slots=True, kw_only=True)
class NewReconciliation:
    """What is to be compared."""

    store: str
    from_: datetime  #: inclusive, aware UTC
    to: datetime  #: exclusive, aware UTC
    erp: tuple[ErpEntry, ...] | None = None  #: None: no list was given; () is a list without entries


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadRow:
    """A refund as a store shows it, as far as it is compared."""

    store_refund_id: str
    order_id: str
    amount: Decimal
    paid: bool | None  #: the store's `refunded_payment`; None where its API does not say
    made_at: datetime | None  #: by our clock
    marker: str | None  #: of ours, as far as it carries one
    reason: str
    currency: str | None = None
