"""The JSON of wc-api/v3: orders, refunds and notes, formatted as the plugin formats them."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from pydantic import JsonValue

from app.sandbox.model import Json, Line, Meta, Note, Order, Refund
from app.sandbox.php import fixed, json_number
from app.sandbox.store import Store
from app.sandbox.taxes import Rounding

_NAMES = ("first_name", "last_name", "company", "address_1", "address_2", "city", "state", "postcode", "country")
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - the shop keeps its times without a zone, in UTC

#: A refund's amounts have two decimals whatever the store's are (LO:1601).
_REFUND_PLACES = 2


def order(it: Order, store: Store, *, places: int, all_item_meta: bool, site_url: str, with_meta: bool = False) -> Json:
    """Return an order; `places` is `filter[dp]`, 2 without it, and formats only.

    `with_meta` is `filter[meta]`: the order's meta that is not hidden, under a product's name, because the plugin does
    not know WooCommerce's subclass of an order (LR:maybe_add_meta).
    """
    rounding = store.rounding(prices_include_tax=it.prices_include_tax)

    def money(value: Decimal) -> str:
        return fixed(value, places)

    billing: Json = {name: it.billing.get(name, "") for name in (*_NAMES, "email", "phone")}
    shipping: Json = {name: it.shipping.get(name, "") for name in _NAMES}
    shown_meta: Json = {one.key: one.value for one in reversed(it.meta) if not one.key.startswith("_")}
    return {
        "id": it.id,
        "order_number": str(it.id),
        "order_key": it.order_key,
        "created_at": date(it.created),
        "updated_at": date(it.modified),
        "completed_at": date(it.completed or _EPOCH),
        "status": it.status,
        "currency": it.currency,
        "total": money(it.total),
        "subtotal": money(sum((rounding.price(line.subtotal) for line in it.lines), Decimal(0))),
        "total_line_items_quantity": json_number(sum((line.quantity for line in it.lines), Decimal(0))),
        "total_tax": money(it.cart_tax + it.shipping_tax),
        "total_shipping": money(it.shipping_total),
        "cart_tax": money(it.cart_tax),
        "shipping_tax": money(it.shipping_tax),
        "total_discount": money(it.discount_total),
        "shipping_methods": ", ".join(parcel.method_title for parcel in it.shipping_lines),
        "payment_details": {
            "method_id": it.payment_method,
            "method_title": it.payment_method_title,
            "paid": it.paid is not None,
        },
        "billing_address": billing,
        "shipping_address": shipping,
        "note": it.customer_note,
        "customer_ip": "",
        "customer_user_agent": "",
        "customer_id": it.customer_id,
        "view_order_url": f"{site_url}/my-account/view-order/{it.id}/",
        "line_items": [
            {
                "id": line.id,
                "subtotal": money(line.subtotal),
                "subtotal_tax": money(line.subtotal_tax),
                "total": money(line.total),
                "total_tax": money(line.total_tax),
                "price": money(_unit_price(line)),
                **_product(line, store, all_item_meta=all_item_meta),
            }
            for line in it.lines
        ],
        "shipping_lines": [
            {
                "id": parcel.id,
                "method_id": parcel.method_id,
                "method_title": parcel.method_title,
                "total": money(parcel.total),
            }
            for parcel in it.shipping_lines
        ],
        "tax_lines": [
            {
                "id": tax.id,
                "rate_id": tax.rate_id,
                "code": tax.rate_code,
                "title": tax.label,
                "total": money(tax.tax_total + tax.shipping_tax_total),
                "compound": tax.compound,
            }
            for tax in it.tax_lines
            if tax.tax_total + tax.shipping_tax_total
        ],
        "fee_lines": [
            {
                "id": fee.id,
                "title": fee.name,
                "tax_class": "",
                "total": money(rounding.price(fee.total)),
                "total_tax": money(fee.total_tax),
            }
            for fee in it.fees
        ],
        "coupon_lines": [{"id": one.id, "code": one.code, "amount": money(one.discount)} for one in it.coupons],
        "customer": {
            "id": it.customer_id,
            "email": billing["email"],
            "first_name": billing["first_name"],
            "last_name": billing["last_name"],
            "billing_address": billing,
            "shipping_address": shipping,
        },
        **({"product_meta": shown_meta} if with_meta and shown_meta else {}),
    }


def refund(it: Refund, store: Store, rounding: Rounding, *, all_item_meta: bool) -> Json:
    """Return a refund: product lines only, and nothing of what a gateway paid or a client noted."""
    return {
        "id": it.id,
        "created_at": date(it.created),
        "amount": fixed(it.amount, _REFUND_PLACES),
        "reason": it.reason,
        "line_items": [
            {
                "id": line.id,
                "subtotal": fixed(rounding.price(line.subtotal), _REFUND_PLACES),
                "subtotal_tax": fixed(line.subtotal_tax, _REFUND_PLACES),
                "total": fixed(rounding.price(line.total), _REFUND_PLACES),
                "total_tax": fixed(rounding.tax(line.total_tax), _REFUND_PLACES),
                "price": fixed(rounding.price(_unit_price(line)), _REFUND_PLACES),
                **_product(line, store, all_item_meta=all_item_meta),
                # The plugin reads `refunded_item_id`; WooCommerce writes `_refunded_item_id` (LO:1594, OF:593).
                "refunded_item_id": 0,
            }
            for line in it.lines
        ],
    }


def note(it: Note) -> Json:
    """Return a note; its id is text, as WordPress' database gives it."""
    return {"id": str(it.id), "created_at": date(it.created), "note": it.text, "customer_note": it.customer_note}


def date(when: datetime) -> str:
    return when.isoformat(timespec="seconds") + "Z"


def _unit_price(line: Line) -> Decimal:
    return line.total / line.quantity if line.quantity else Decimal(0)


def _product(line: Line, store: Store, *, all_item_meta: bool) -> Json:
    product = store.product(line.product_id)
    return {
        "quantity": json_number(line.quantity),
        "tax_class": "",
        "name": line.name,
        "product_id": line.product_id,
        "sku": product.sku if product else None,
        "meta": _metas(line.meta, hidden_too=all_item_meta),
    }


def _metas(metas: Sequence[Meta], *, hidden_too: bool) -> list[JsonValue]:
    """Meta whose key begins with an underscore is hidden unless `filter[all_item_meta]` is "true"."""
    return [
        {"key": meta.key, "value": meta.value, "label": meta.key}
        for meta in metas
        if hidden_too or not meta.key.startswith("_")
    ]
