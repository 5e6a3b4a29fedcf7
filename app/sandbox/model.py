"""What the sandbox keeps of an order, a refund and their lines: stored values, never formatted ones."""

import re
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Literal, TypeAlias, TypedDict

from pydantic import BaseModel, JsonValue

WOOCOMMERCE_VERSION = "9.4.0"

#: Statuses of orders that WooCommerce knows, in the order its messages name them.
STATUSES = ("pending", "processing", "on-hold", "completed", "cancelled", "refunded", "failed", "checkout-draft")

Json: TypeAlias = dict[str, JsonValue]


class Meta(BaseModel):
    id: int
    key: str
    value: JsonValue


class Tax(BaseModel):
    """One rate's tax on one line; `subtotal` (before discounts) only on product lines."""

    rate_id: int
    total: Decimal
    subtotal: Decimal | None = None


class TaxRate(BaseModel):
    id: int
    name: str
    percent: Decimal
    compound: bool = False
    priority: int = 1
    shipping: bool = True

    @property
    def code(self) -> str:
        return f"{self.name.upper()}-{self.priority}"


class Line(BaseModel):
    """A product line; net amounts, in a refund negative."""

    id: int
    name: str
    product_id: int
    sku: str
    quantity: Decimal
    subtotal: Decimal
    total: Decimal
    subtotal_tax: Decimal = Decimal(0)
    total_tax: Decimal = Decimal(0)
    taxes: list[Tax] = []
    meta: list[Meta] = []


class Shipping(BaseModel):
    id: int
    method_title: str
    method_id: str
    total: Decimal
    total_tax: Decimal = Decimal(0)
    taxes: list[Tax] = []
    meta: list[Meta] = []


class Fee(BaseModel):
    id: int
    name: str
    tax_status: str = "taxable"
    total: Decimal
    total_tax: Decimal = Decimal(0)
    taxes: list[Tax] = []
    meta: list[Meta] = []


class TaxLine(BaseModel):
    """The sum of one rate over an order or a refund."""

    id: int
    rate_id: int
    rate_code: str
    label: str
    compound: bool
    percent: Decimal
    tax_total: Decimal
    shipping_tax_total: Decimal


class CouponLine(BaseModel):
    id: int
    code: str
    discount: Decimal
    discount_tax: Decimal
    discount_type: str
    nominal_amount: Decimal
    meta: list[Meta] = []


class Order(BaseModel):
    id: int
    status: str
    currency: str
    prices_include_tax: bool
    created: datetime
    modified: datetime
    paid: datetime | None = None
    completed: datetime | None = None
    order_key: str
    payment_method: str = ""
    payment_method_title: str = ""
    transaction_id: str = ""
    customer_note: str = ""
    #: A registered customer's; a guest's is 0.
    customer_id: int = 0
    billing: dict[str, str] = {}
    shipping: dict[str, str] = {}
    meta: list[Meta] = []
    discount_total: Decimal = Decimal(0)
    discount_tax: Decimal = Decimal(0)
    shipping_total: Decimal = Decimal(0)
    shipping_tax: Decimal = Decimal(0)
    cart_tax: Decimal = Decimal(0)
    total: Decimal = Decimal(0)
    lines: list[Line] = []
    shipping_lines: list[Shipping] = []
    fees: list[Fee] = []
    tax_lines: list[TaxLine] = []
    coupons: list[CouponLine] = []
    #: What the sandbox made the order for; shown by its admin API only.
    description: str = ""
    stock_reduced: bool = False


class Refund(BaseModel):
    id: int
    order_id: int
    created: datetime
    modified: datetime
    #: What the store says it refunded, unrounded as it came in.
    amount: Decimal
    reason: str
    paid: bool = False
    meta: list[Meta] = []
    lines: list[Line] = []
    shipping_lines: list[Shipping] = []
    fees: list[Fee] = []
    tax_lines: list[TaxLine] = []


class RefundSummary(BaseModel):
    """What an order tells of its refunds."""

    id: int
    reason: str
    amount: Decimal


class Product(BaseModel):
    id: int
    name: str
    sku: str
    price: Decimal
    stock: int


class Coupon(BaseModel):
    id: int
    code: str
    discount_type: Literal["percent", "fixed_cart"]
    amount: Decimal
    created: datetime


class Note(BaseModel):
    id: int
    order_id: int
    author: str
    text: str
    customer_note: bool
    created: datetime


#: Where orders live: in posts (`off`), in their own tables (`on`), or in both (`synced`).
Hpos: TypeAlias = Literal["off", "on", "synced"]

#: What `system_status` calls HPOS_enabled and HPOS_sync_enabled.
HPOS: Mapping[Hpos, dict[str, bool]] = {
    "off": {"hpos": False, "hpos_sync": False},
    "on": {"hpos": True, "hpos_sync": False},
    "synced": {"hpos": True, "hpos_sync": True},
}


class Installation(TypedDict, total=False):
    """What of a store's installation can be chosen when it starts; what is left out stays as it was."""

    #: Whether the Legacy REST API plugin answers under /wc-api/v3.
    legacy: bool
    #: Whether /wp-json/wc/v3 is there at all.
    rest_v3: bool
    hpos: Hpos
    woocommerce_version: str


class StoreSettings(BaseModel):
    """The store's own settings, as its admin would set them."""

    decimals: int = 2
    currency: str = "EUR"
    prices_include_tax: bool = False
    hpos: bool = False
    hpos_sync: bool = False
    legacy: bool = True
    rest_v3: bool = True
    woocommerce_version: str = WOOCOMMERCE_VERSION
    #: Ids of the tax rates that orders made over REST get.
    tax_rate_ids: list[int] = [1]

    @property
    def version(self) -> tuple[int, ...]:
        """Return WooCommerce's version as numbers, to compare with."""
        numbers = re.match(r"\d+(?:\.\d+)*", self.woocommerce_version)
        return tuple(int(part) for part in numbers[0].split(".")) if numbers else ()

    @property
    def posts_hold_orders(self) -> bool:
        """Say whether orders can be found among the posts, where the legacy API looks for them (LR:104)."""
        return not self.hpos or self.hpos_sync
