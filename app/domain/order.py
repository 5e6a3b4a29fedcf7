"""An order as a store shows it, and what is still refundable of it.

Everything is read with `dp=8`: at the store's own decimals the parts of an order can add up to more than its total
(9.99 incl. 20 % reads as 8.33 + 1.67 = 10.00, and WooCommerce then refuses the refund of its own numbers).
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal

LineKind = Literal["item", "shipping", "fee"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaxPart:
    """One tax rate's share of a line."""

    rate_id: str
    amount: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class TaxRate:
    """A tax rate that the order was charged with."""

    rate_id: str
    label: str
    percent: Decimal | None
    compound: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderLine:
    """A product, shipping or fee line as ordered; never lowered by refunds."""

    id: str
    kind: LineKind
    name: str
    sku: str  #: "" for shipping and fees, and for products without one
    quantity: Decimal  #: 0 for shipping and fees; plugins allow fractions of products
    net: Decimal  #: after discounts, always without tax, up to 8 decimals; a discount sold as a fee is negative
    taxes: tuple[TaxPart, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundedLine:
    """What a refund took from a line; WooCommerce shows these negative, here they are positive."""

    item_id: str  #: the order line it came from, read from `_refunded_item_id`
    quantity: Decimal
    net: Decimal
    taxes: tuple[TaxPart, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreRefund:
    """A refund row as the store shows it. A row is not proof of money: see `refunded_payment`."""

    id: str
    amount: Decimal
    reason: str
    refunded_payment: bool | None  #: True only after the payment gateway succeeded; None when the store does not say
    created_at: datetime | None
    reference: str | None  #: our marker as kept in meta data; the store writes it only after everything else
    lines: tuple[RefundedLine, ...]
    lines_known: bool = True  #: False where the API does not show which order lines a refund took from (wc-api/v3)


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderSnapshot:
    """An order with all its refunds, read at one time."""

    id: str
    number: str
    status: str  #: WooCommerce's slug without "wc-", e.g. "processing"
    currency: str
    decimals: int  #: of the smallest unit that this order's amounts may have
    total: Decimal
    prices_include_tax: bool
    created_at: datetime | None
    modified_at: datetime | None
    paid_at: datetime | None
    payment_method: str  #: the payment gateway's id, "" when the order names none
    payment_method_title: str
    lines: tuple[OrderLine, ...]
    tax_rates: tuple[TaxRate, ...]
    refunds: tuple[StoreRefund, ...]
    read_at: datetime  #: when reading began, by the ledger's clock; later refunds may be missing


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderNote:
    """A note on an order; payment gateways leave one when they pay back."""

    id: str
    author: str
    text: str
    created_at: datetime  #: by our clock, corrected for the difference that the store's answers show
    by_system: bool  #: written by WooCommerce or a plugin, not by a named person
