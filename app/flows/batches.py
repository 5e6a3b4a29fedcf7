"""Batches as people handle them: make, look, release, pause, resume, cancel. `lanes` does the work."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal

from app.database import Connection
from app.domain.batch import BatchMode, BatchStatus, ItemStatus, NewBatch, RowFault, StoppedBy, Stops
from app.domain.refund import Failure
from app.flows.results import Caller, KeyReused
from app.flows.runtime import Runtime


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """What a batch may pay at most in a currency."""

    max_total: Decimal
    taken: Decimal  #: by refunds that have not failed


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """How many items of a store and currency stand at a status, and how much they are."""

    status: ItemStatus
    store: str
    currency: str | None  #: None where it is not known yet
    items: int
    amount: Decimal | None  #: None where no amount is known yet
    decimals: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchView:
    """A batch and how far it has come."""

    id: str
    name: str
    mode: BatchMode
    status: BatchStatus
    stopped_by: StoppedBy | None
    start_at: datetime | None
    release_until: datetime | None
    stops: Stops
    limits: Mapping[str, Limit]
    schedule_id: str | None
    created_by: str
    released_by: str | None
    created_at: datetime
    updated_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    items: int
    processed: int  #: items that have come to an end or to a person, once; never falls
    tallies: tuple[Tally, ...]
    rate_per_s: float | None  #: items processed per second, lately; None while nothing can be said
    ends_at: datetime | None  #: estimated


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemView:
    """An item and what became of it."""

    id: int  #: its number; lists go by it
    store: str
    order_id: str | None
    order_number: str | None
    external_reference: str | None
    status: ItemStatus
    replayed: bool  #: its refund was there before, by its reference
    refund_id: str | None
    store_refund_id: str | None
    money: str | None
    amount: Decimal | None
    currency: str | None
    decimals: int | None
    payment: str
    failure: Failure | None
    settled_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchMade:
    """The batch is there."""

    view: BatchView
    replayed: bool  #: it was there before this request, by its Idempotency-Key


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchFaulty:
    """Nothing was made: every fault of every item."""

    faults: tuple[RowFault, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchNotFound:
    """The tenant has no such batch, or the key is limited to other stores than its items'."""

    batch_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchWrongState:
    """The batch's status does not allow this."""

    view: BatchView
    allowed: tuple[BatchStatus, ...]


async def create(
    rt: Runtime, caller: Caller, new: NewBatch, *, idempotency_key: str | None, fingerprint: bytes, request_id: str
) -> BatchMade | BatchFaulty | KeyReused:
    """Take a batch on if nothing is wrong with any of its items. `fingerprint` is of the request's whole content."""
    raise NotImplementedError


async def check_items(rt: Runtime, caller: Caller, new: NewBatch) -> tuple[RowFault, ...]:
    """Find everything that is wrong with items by themselves, among each other and against the ledger."""
    raise NotImplementedError


async def write(
    rt: Runtime, conn: Connection, caller: Caller, new: NewBatch, *, request_id: str, created_by: str
) -> str:
    """Write a checked batch in the caller's transaction, with the job that will run it; gives its id."""
    raise NotImplementedError


async def look(rt: Runtime, caller: Caller, batch_id: str) -> BatchView | BatchNotFound:
    """Give a batch and how far it has come."""
    raise NotImplementedError


async def listed(
    rt: Runtime, caller: Caller, *, status: BatchStatus | None, schedule_id: str | None, limit: int, after: str | None
) -> list[BatchView]:
    """Give batches, newest first, from behind the batch `after`."""
    raise NotImplementedError


async def items(
    rt: Runtime, caller: Caller, batch_id: str, *, status: ItemStatus | None, limit: int, after: int | None
) -> list[ItemView] | BatchNotFound:
    """Give items of a batch by their numbers, from behind the number `after`."""
    raise NotImplementedError


async def release(rt: Runtime, caller: Caller, batch_id: str) -> BatchView | BatchNotFound | BatchWrongState:
    """Let a held batch run."""
    raise NotImplementedError


async def pause(rt: Runtime, caller: Caller, batch_id: str) -> BatchView | BatchNotFound | BatchWrongState:
    """Take up no more items; those under way come to their end."""
    raise NotImplementedError


async def resume(
    rt: Runtime, caller: Caller, batch_id: str, *, stops: Stops | None
) -> BatchView | BatchNotFound | BatchWrongState:
    """Let a paused or stopped batch go on; `stops` replaces what may stop it. Failures so far no longer count."""
    raise NotImplementedError


async def cancel(rt: Runtime, caller: Caller, batch_id: str) -> BatchView | BatchNotFound | BatchWrongState:
    """Drop what has not been taken up, and withdraw what was not sent; what is under way comes to its end."""
    raise NotImplementedError


BatchAction = Literal["release", "pause", "resume", "cancel"]
