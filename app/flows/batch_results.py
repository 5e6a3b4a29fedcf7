"""How the flows of batches answer."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from app.domain.batch import BatchMode, BatchStatus, ItemStatus, RowFault, StoppedBy, Stops
from app.domain.refund import Failure


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
