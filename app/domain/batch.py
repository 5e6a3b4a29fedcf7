"""Batches: many refunds taken on together, and what may stop them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Literal

from app.domain.errors import Fact
from app.domain.refund import RefundCommand

#: run: at once or at `start_at`; hold: waits for its release; check: only tells what the refunds would be.
BatchMode = Literal["run", "hold", "check"]
BatchStatus = Literal["scheduled", "held", "running", "paused", "stopped", "finished", "canceled", "expired"]
#: Why a batch stopped by itself.
StoppedBy = Literal["failures", "failure_share", "max_total"]
#: How far an item has come. waiting: not taken up yet; refused: it came to no refund; dropped: its batch was canceled
#: before it was taken up; valid: only in a check; the rest is what its refund says.
ItemStatus = Literal[
    "waiting",
    "pending",
    "sending",
    "succeeded",
    "failed",
    "uncertain",
    "needs_review",
    "canceled",
    "refused",
    "dropped",
    "valid",
]
#: Items at most in one batch.
MAX_ITEMS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Stops:
    """What stops a batch by itself; a person may let it go on."""

    max_total: Mapping[str, Decimal] = field(default_factory=dict)  #: at most so much, by currency (ISO 4217)
    stop_after_failures: int | None = None  #: so many failed or refused items
    stop_if_over: Decimal | None = None  #: this share (0 to 1) of what was processed failed; looked at from 20 items on


@dataclass(frozen=True, slots=True, kw_only=True)
class NewItem:
    """An item as it was uploaded."""

    number: int  #: its place in the upload, from 1
    command: RefundCommand


@dataclass(frozen=True, slots=True, kw_only=True)
class NewBatch:
    """A batch that is to be made."""

    mode: BatchMode
    items: tuple[NewItem, ...]
    name: str = ""
    start_at: datetime | None = None  #: not before; None: at once
    release_until: datetime | None = None  #: of a held one; None: as the settings say
    stops: Stops = field(default_factory=Stops)
    schedule_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RowFault:
    """One thing that is wrong with an uploaded item."""

    number: int  #: the item's, from 1
    pointer: str  #: JSON pointer into the item, as in a refund's request
    code: str
    message: str
    facts: Mapping[str, Fact] = field(default_factory=dict)


#: A share says little of the first few items.
_SHARE_FROM = 20


def stop_of(
    *, processed: int, failed: int, left: int, stop_after_failures: int | None, stop_if_over: Decimal | None
) -> StoppedBy | None:
    """Say why a batch has to stop, by what was processed and failed since a person last let it go on.

    The share of failures counts from 20 items on. Nothing stops a batch that has nothing `left` to be taken up.
    """
    if left <= 0:
        return None
    if stop_after_failures is not None and failed >= stop_after_failures:
        return "failures"
    if stop_if_over is not None and processed >= _SHARE_FROM and failed > stop_if_over * processed:
        return "failure_share"
    return None
