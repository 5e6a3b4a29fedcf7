"""Orders of a store as they are searched for: by what the store can filter, with what is needed to filter the rest."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderQuery:
    """What a search over a store's orders is narrowed to; () and None leave a field open. Times are aware UTC."""

    statuses: tuple[str, ...] = ()  #: slugs without "wc-"
    created_from: datetime | None = None
    created_to: datetime | None = None  #: exclusive
    modified_from: datetime | None = None
    modified_to: datetime | None = None  #: exclusive
    customer_id: str | None = None

    def admits(self, order: "OrderSummary") -> bool:
        """Say whether an order is one of those searched for; a time that the store does not show is outside."""
        return (
            (not self.statuses or order.status in self.statuses)
            and _within(order.created_at, self.created_from, self.created_to)
            and _within(order.modified_at, self.modified_from, self.modified_to)
            and (self.customer_id is None or order.customer_id == self.customer_id)
        )


def _within(at: datetime | None, since: datetime | None, until: datetime | None) -> bool:
    if since is None and until is None:
        return True
    return at is not None and (since is None or at >= since) and (until is None or at < until)


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderSummary:
    """An order as a store's list shows it, without its refunds' details."""

    id: str
    number: str
    status: str
    currency: str
    total: Decimal
    created_at: datetime | None
    modified_at: datetime | None
    paid_at: datetime | None
    completed_at: datetime | None
    payment_method: str
    skus: frozenset[str]
    customer_id: str | None
    customer_email: str = field(repr=False)  #: personal data: for comparing only, "" where there is none
    meta: Mapping[str, tuple[str, ...]] = field(repr=False)  #: values written as text, by key
    refunded: Decimal | None  #: the sum of its refunds; None where the list does not show it
    has_refunds: bool | None  #: None where the list does not show it


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderPage:
    """A page of a store's orders, in the order of their ids."""

    orders: tuple[OrderSummary, ...]
    ids: tuple[str, ...]  #: of all that the store listed, those that the query does not admit as well
    next_page: int | None  #: None after the last one
