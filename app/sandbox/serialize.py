"""The JSON of wc/v3: formatted values, key order and links as WooCommerce 9.4 sends them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from pydantic import JsonValue

from app.sandbox.catalogue import CURRENCIES
from app.sandbox.model import (
    Coupon,
    CouponLine,
    Fee,
    Json,
    Line,
    Meta,
    Note,
    Order,
    Refund,
    RefundSummary,
    Shipping,
    Tax,
    TaxLine,
)
from app.sandbox.php import fixed, json_number, trimmed

ORDER_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
REFUND_METHODS = ("GET", "DELETE")

_ADDRESS = ("first_name", "last_name", "company", "address_1", "address_2", "city", "state", "postcode", "country")
_BILLING = (*_ADDRESS, "email", "phone")
_SHIPPING = (*_ADDRESS, "phone")


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """How one request wants things shown: decimal places (`dp`, formatting only) and where links point to."""

    places: int
    #: `https://shop.example/wp-json`
    root: str
    #: WooCommerce's, as its admin page shows it.
    version: str

    def money(self, value: Decimal) -> str:
        return fixed(value, self.places)

    def url(self, path: str) -> str:
        return f"{self.root}/wc/v3/{path}"


def links(view: View, path: str, *, allow: Sequence[str] = (), up: str | None = None) -> JsonValue:
    """Return the `_links` of the thing at `path`; its collection is the path without the last part."""
    own: Json = {"href": view.url(path)}
    if allow:
        own["targetHints"] = {"allow": list(allow)}
    result: Json = {"self": [own], "collection": [{"href": view.url(path.rpartition("/")[0])}]}
    if up is not None:
        result["up"] = [{"href": view.url(up)}]
    return result


def order(it: Order, refunds: Sequence[RefundSummary], view: View) -> Json:
    """Return an order as wc/v3 shows it."""
    money = view.money
    key = f"?pay_for_order=true&key={it.order_key}"
    return {
        "id": it.id,
        "parent_id": 0,
        "status": it.status,
        "currency": it.currency,
        "version": view.version,
        "prices_include_tax": it.prices_include_tax,
        "date_created": _date(it.created),
        "date_modified": _date(it.modified),
        "discount_total": money(it.discount_total),
        "discount_tax": money(it.discount_tax),
        "shipping_total": money(it.shipping_total),
        "shipping_tax": money(it.shipping_tax),
        "cart_tax": money(it.cart_tax),
        "total": money(it.total),
        "total_tax": money(it.cart_tax + it.shipping_tax),
        "customer_id": it.customer_id,
        "order_key": it.order_key,
        "billing": {name: it.billing.get(name, "") for name in _BILLING},
        "shipping": {name: it.shipping.get(name, "") for name in _SHIPPING},
        "payment_method": it.payment_method,
        "payment_method_title": it.payment_method_title,
        "transaction_id": it.transaction_id,
        "customer_ip_address": "",
        "customer_user_agent": "",
        "created_via": "rest-api",
        "customer_note": it.customer_note,
        "date_completed": _date(it.completed),
        "date_paid": _date(it.paid),
        "cart_hash": "",
        "number": str(it.id),
        "meta_data": _metas(it.meta),
        "line_items": [_line(line, view) for line in it.lines],
        "tax_lines": [_tax_line(line, view) for line in it.tax_lines],
        "shipping_lines": [_shipping(line, view) for line in it.shipping_lines],
        "fee_lines": [_fee(line, view) for line in it.fees],
        "coupon_lines": [_coupon_line(line) for line in it.coupons],
        "refunds": [{"id": one.id, "reason": one.reason, "total": "-" + money(one.amount)} for one in refunds],
        "payment_url": f"{view.root.removesuffix('/wp-json')}/checkout/order-pay/{it.id}/{key}",
        "is_editable": it.status in {"pending", "on-hold"},
        "needs_payment": it.status in {"pending", "failed"} and it.total > 0,
        "needs_processing": bool(it.lines),
        "date_created_gmt": _date(it.created),
        "date_modified_gmt": _date(it.modified),
        "date_completed_gmt": _date(it.completed),
        "date_paid_gmt": _date(it.paid),
        "currency_symbol": CURRENCIES[it.currency][2] if it.currency in CURRENCIES else it.currency,
        "_links": links(view, f"orders/{it.id}", allow=ORDER_METHODS),
    }


def refund(it: Refund, view: View, *, with_parent: bool = False) -> Json:
    """Return a refund as wc/v3 shows it; the store-wide list adds `parent_id`."""
    parent: Json = {"parent_id": it.order_id} if with_parent else {}
    return {
        "id": it.id,
        **parent,
        "date_created": _date(it.created),
        "date_created_gmt": _date(it.created),
        "amount": view.money(it.amount),
        "reason": it.reason,
        "refunded_by": 1,
        "refunded_payment": it.paid,
        "meta_data": _metas(it.meta),
        "line_items": [_line(line, view) for line in it.lines],
        "shipping_lines": [_shipping(line, view) for line in it.shipping_lines],
        "tax_lines": [_tax_line(line, view) for line in it.tax_lines],
        "fee_lines": [_fee(line, view) for line in it.fees],
        "_links": links(
            view,
            f"orders/{it.order_id}/refunds/{it.id}",
            allow=REFUND_METHODS,
            up=f"orders/{it.order_id}",
        ),
    }


def note(it: Note, view: View) -> Json:
    return {
        "id": it.id,
        "author": it.author,
        "date_created": _date(it.created),
        "date_created_gmt": _date(it.created),
        "note": it.text,
        "customer_note": it.customer_note,
        "_links": links(
            view, f"orders/{it.order_id}/notes/{it.id}", allow=("GET", "DELETE"), up=f"orders/{it.order_id}"
        ),
    }


def coupon(it: Coupon, view: View) -> Json:
    nothing: Mapping[str, JsonValue] = {
        "usage_count": 0,
        "individual_use": False,
        "product_ids": [],
        "excluded_product_ids": [],
        "usage_limit": None,
        "usage_limit_per_user": None,
        "limit_usage_to_x_items": None,
        "free_shipping": False,
        "product_categories": [],
        "excluded_product_categories": [],
        "exclude_sale_items": False,
        "minimum_amount": view.money(Decimal(0)),
        "maximum_amount": view.money(Decimal(0)),
        "email_restrictions": [],
        "used_by": [],
        "meta_data": [],
    }
    return {
        "id": it.id,
        "code": it.code,
        "amount": view.money(it.amount),
        "status": "publish",
        "date_created": _date(it.created),
        "date_created_gmt": _date(it.created),
        "date_modified": _date(it.created),
        "date_modified_gmt": _date(it.created),
        "discount_type": it.discount_type,
        "description": "",
        "date_expires": None,
        "date_expires_gmt": None,
        **nothing,
        "_links": links(view, f"coupons/{it.id}", allow=ORDER_METHODS),
    }


def _date(when: datetime | None) -> str | None:
    return when.isoformat(timespec="seconds") if when else None


def _metas(metas: Sequence[Meta]) -> JsonValue:
    return [{"id": meta.id, "key": meta.key, "value": meta.value} for meta in metas]


def _displayed(metas: Sequence[Meta]) -> JsonValue:
    """A line's meta also says how to display it, as text."""
    shown: list[JsonValue] = []
    for meta in metas:
        value = meta.value if isinstance(meta.value, str) else json.dumps(meta.value)
        shown.append({"id": meta.id, "key": meta.key, "value": value, "display_key": meta.key, "display_value": value})
    return shown


def _taxes(taxes: Sequence[Tax]) -> JsonValue:
    """`dp` does not reach a line's taxes in 9.4 (V2O:247)."""
    return [
        {
            "id": tax.rate_id,
            "total": trimmed(tax.total),
            "subtotal": "" if tax.subtotal is None else trimmed(tax.subtotal),
        }
        for tax in taxes
    ]


def _line(line: Line, view: View) -> JsonValue:
    price = json_number(line.total / line.quantity) if line.quantity else 0
    return {
        "id": line.id,
        "name": line.name,
        "product_id": line.product_id,
        "variation_id": 0,
        "quantity": json_number(line.quantity),
        "tax_class": "",
        "subtotal": view.money(line.subtotal),
        "subtotal_tax": view.money(line.subtotal_tax),
        "total": view.money(line.total),
        "total_tax": view.money(line.total_tax),
        "taxes": _taxes(line.taxes),
        "meta_data": _displayed(line.meta),
        "sku": line.sku,
        "price": price,
        "image": {"id": "", "src": ""},
        "parent_name": None,
    }


def _tax_line(line: TaxLine, view: View) -> JsonValue:
    return {
        "id": line.id,
        "rate_code": line.rate_code,
        "rate_id": line.rate_id,
        "label": line.label,
        "compound": line.compound,
        "tax_total": view.money(line.tax_total),
        "shipping_tax_total": view.money(line.shipping_tax_total),
        "rate_percent": json_number(line.percent),
        "meta_data": [],
    }


def _shipping(line: Shipping, view: View) -> JsonValue:
    return {
        "id": line.id,
        "method_title": line.method_title,
        "method_id": line.method_id,
        "instance_id": "",
        "total": view.money(line.total),
        "total_tax": view.money(line.total_tax),
        "taxes": _taxes(line.taxes),
        "meta_data": _displayed(line.meta),
    }


def _fee(line: Fee, view: View) -> JsonValue:
    return {
        "id": line.id,
        "name": line.name,
        "tax_class": "",
        "tax_status": line.tax_status,
        "amount": "",
        "total": view.money(line.total),
        "total_tax": view.money(line.total_tax),
        "taxes": _taxes(line.taxes),
        "meta_data": _displayed(line.meta),
    }


def _coupon_line(line: CouponLine) -> JsonValue:
    return {
        "id": line.id,
        "code": line.code,
        "discount": trimmed(line.discount),
        "discount_tax": trimmed(line.discount_tax),
        "meta_data": _displayed(line.meta),
        "discount_type": line.discount_type,
        "nominal_amount": json_number(line.nominal_amount),
        "free_shipping": False,
    }
