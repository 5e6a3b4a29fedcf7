"""What a store shows of one attempt: its rows, and the notes that a payment gateway may have left for it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from app.domain.order import OrderNote, OrderSnapshot, StoreRefund

#: A marker as it stands in a refund's reason, e.g. RG-7F3K9Q2X; Crockford's letters, so that it can be read aloud.
MARKER_PATTERN = r"RG-[0-9A-HJKMNP-TV-Z]{8}"
_MARKER = re.compile(MARKER_PATTERN)
_MARKED = re.compile(rf"\s*\[?{MARKER_PATTERN}\]?")

#: Notes of WooCommerce's own about status and stock. In other languages they read differently and count as possible
#: payment notes, which errs on the side of asking a person.
_HOUSEKEEPING = re.compile(
    r"^(Order status changed|Order status set to|Stock levels|Item #?\d* ?.*stock (increased|reduced)|"
    r".* stock (increased|reduced) from )",
    re.IGNORECASE,
)
#: The store's clock shows whole seconds, and the correction for its difference is as coarse.
_CLOCK_SLACK = timedelta(seconds=2)
#: A payment note follows the row that it belongs to within this time.
_NOTE_FOLLOWS_ROW = timedelta(minutes=5)


def without_markers(reason: str) -> str:
    """Give a reason without anything that could be taken for a marker, such as one copied from an earlier refund.

    Backslashes go first, because stores drop them: a marker must not come together in the store that is none here.
    """
    plain, before = reason.replace("\\", ""), None
    while plain != before:
        before, plain = plain, _MARKED.sub("", plain)
    return plain


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What the store shows now, read past every cache."""

    rows: tuple[StoreRefund, ...]  #: refunds that carry our marker
    lookalikes: tuple[StoreRefund, ...]  #: unmarked refunds of the amount, made since the attempt, that are not ours
    gateway_notes: tuple[str, ...]  #: notes since the attempt that a payment gateway may have left, and nobody else's
    looked_at: datetime


def sight_of(
    *,
    order: OrderSnapshot,
    notes: Sequence[OrderNote],
    marker: str,
    amount: Decimal,
    sent_at: datetime,
    known_refund_ids: frozenset[str],
    looked_at: datetime,
    claimed_refund_ids: frozenset[str] = frozenset(),
) -> Sight:
    """Pick out of an order and its notes what bears on one attempt.

    The notes have to be read before the order: the other way round a refund that arrives between the two would show
    its note and not its row. `known_refund_ids` are the store's ids of all other refunds that the ledger knows, and
    `claimed_refund_ids` those of our own among them: their rows are theirs, whatever somebody has written into them.
    """
    rows = tuple(
        row
        for row in order.refunds
        if row.id not in claimed_refund_ids and (marker in row.reason or row.reference == marker)
    )
    since = sent_at - _CLOCK_SLACK
    lookalikes = tuple(
        row
        for row in order.refunds
        if row.amount == amount
        and row.id not in known_refund_ids
        and row.reference is None
        and _MARKER.search(row.reason) is None
        and (row.created_at is None or row.created_at >= since)
    )
    return Sight(
        rows=rows,
        lookalikes=lookalikes,
        gateway_notes=_payment_notes(order, notes, marker=marker, since=since),
        looked_at=looked_at,
    )


def _payment_notes(
    order: OrderSnapshot, notes: Sequence[OrderNote], *, marker: str, since: datetime
) -> tuple[str, ...]:
    """Give the notes that a payment gateway may have left for this attempt.

    A note that quotes our marker is ours. One that quotes another marker is another refund's. One without any is
    explained by a paid row of the amount it speaks of that it follows closely: every row explains one note, the
    earliest, so that a row whose own note was written before the attempt does not explain away a later one.
    """
    ours = tuple(note.text for note in notes if note.by_system and marker in note.text)
    quoted = {found for note in notes for found in _MARKER.findall(note.text)}
    explaining = [
        row for row in order.refunds if row.refunded_payment and not quoted.intersection(_MARKER.findall(row.reason))
    ]
    unexplained: list[str] = []
    for note in sorted(notes, key=lambda note: note.created_at):
        if not note.by_system or _MARKER.search(note.text) or _HOUSEKEEPING.match(note.text):
            continue
        row = next((row for row in explaining if _explains(row, note, order.decimals)), None)
        if row is not None:
            explaining.remove(row)
        elif note.created_at >= since:
            unexplained.append(note.text)
    return ours + tuple(unexplained)


def _explains(row: StoreRefund, note: OrderNote, decimals: int) -> bool:
    """Say whether a note may be the one that the payment gateway left for a row."""
    if (
        row.created_at is None
        or not row.created_at <= note.created_at + _CLOCK_SLACK <= row.created_at + _NOTE_FOLLOWS_ROW
    ):
        return False
    amount = f"{row.amount:.{decimals}f}"
    return any(
        re.search(rf"(?<![\d.,]){re.escape(text)}(?!\d)", note.text) for text in (amount, amount.replace(".", ","))
    )
