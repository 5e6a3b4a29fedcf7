"""How the flows answer: an expected "no" is a value. The API gives each its status in one table."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal

from app.domain.errors import Refusal
from app.domain.order import OrderSnapshot
from app.domain.refund import GatewayCapability, RefundPlan
from app.domain.remaining import Remaining
from app.ledger.learned import Learned
from app.ledger.records import RefundRecord
from app.stores.port import Features, ListedRefund, RefundPage, Update


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who asks: a key of a tenant."""

    tenant_id: str
    key_id: str
    name: str
    scopes: frozenset[str]
    store_ids: frozenset[str] | None  #: None: every store of the tenant

    @property
    def actor(self) -> str:
        """Name the caller for the timeline."""
        return f"key:{self.key_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """There is a refund; its status says how far it has come."""

    record: RefundRecord
    replayed: bool  #: it was there before this request


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreNotFound:
    """The tenant has no such store, or the key may not use it."""

    store: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyReused:
    """The Idempotency-Key was used with other content before, or for something else."""

    resource_id: str  #: what the first request with it created


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceConflict:
    """The external reference belongs to a refund with other content."""

    refund_id: str
    differing: tuple[str, ...]  #: names of the differing fields


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestInProgress:
    """The first request with this key or reference still runs."""

    refund_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderBlocked:
    """A refund whose outcome is not known blocks the order."""

    refund_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreFailed:
    """The store could not be read and nothing was created."""

    code: str  #: "store_unavailable", "store_misconfigured" or "order_not_found"
    message: str
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AmbiguousOrderNumber:
    """More than one order carries exactly this number."""

    order_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class QuoteRefused:
    """The quote cannot be used: unknown, expired, or made for other content."""

    code: str  #: "quote_not_found", "quote_expired" or "quote_mismatch"
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderChanged:
    """The order is not what the quote was made for."""

    differences: Mapping[str, tuple[str, str]]  #: field: (then, now)


Submission = (
    Accepted
    | Refusal
    | StoreNotFound
    | KeyReused
    | ReferenceConflict
    | RequestInProgress
    | OrderBlocked
    | StoreFailed
    | AmbiguousOrderNumber
    | QuoteRefused
    | OrderChanged
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """A preview: what the refund would be, and for how long that holds."""

    id: str
    expires_at: datetime
    plan: RefundPlan
    refundable_before: Decimal
    refundable_after: Decimal
    capability: GatewayCapability
    warnings: tuple[str, ...]


Preview = Quote | Refusal | StoreNotFound | StoreFailed | AmbiguousOrderNumber | OrderBlocked


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderView:
    """An order with what is left of it and whether its payment method can refund."""

    order: OrderSnapshot
    remaining: Remaining
    capability: GatewayCapability
    ours: Mapping[str, str]  #: our refund's id by the store's refund id
    blocked_by: str | None  #: the refund in doubt that blocks the order


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundNotFound:
    """The tenant has no such refund, or the key may not see it."""

    refund_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WrongState:
    """The refund's state does not allow this."""

    record: RefundRecord
    allowed: tuple[str, ...]  #: the states that do


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreRefundNotFound:
    """The store has no such refund under that order."""

    store_refund_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundListing:
    """A page of a store's refunds, each with the ledger's record of it."""

    page: RefundPage
    ours: Mapping[str, str]  #: the ledger's refund by the store's refund id; empty where nobody asked for it
    #: store: its own list; orders: its orders were read one by one; ledger: what the ledger has seen of it so far
    served_by: Literal["store", "orders", "ledger"]
    complete: bool  #: False when only what the ledger has seen could be given


@dataclass(frozen=True, slots=True, kw_only=True)
class OneListed:
    """A refund of a store with the ledger's record of it."""

    listed: ListedRefund
    refund_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PaidByGateway:
    """The refund was paid by the store's payment gateway; deleting its row has to be asked for expressly."""

    store_refund_id: str
    refund_id: str | None
    certain: bool = True  #: False where the store's API does not tell whether a refund made by others was paid


@dataclass(frozen=True, slots=True, kw_only=True)
class NoStoreRefund:
    """The refund has no row in its store that could be deleted."""

    record: RefundRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Deleted:
    """The store's row of a refund is gone; the ledger keeps its record. No money came back by it."""

    record: RefundRecord
    listed: ListedRefund | None  #: the row as it was last; None when it had gone before
    money_stays_paid: bool | None  #: its payment gateway had paid: the customer keeps the money; None: nobody knows
    by_this: bool  #: deleted by this request; False when it was gone already


Deletion = (
    Deleted
    | StoreNotFound
    | RefundNotFound
    | StoreRefundNotFound
    | PaidByGateway
    | NoStoreRefund
    | WrongState
    | StoreFailed
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Amended:
    """A refund's words were changed here, and in the store where its API can."""

    record: RefundRecord
    in_store: Update | Literal["not_asked", "unreachable"]  #: what became of a new reason there


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a store can do, by what it says and by what its refunds have shown."""

    features: Features
    learned: Mapping[str, Learned]  #: by payment method
