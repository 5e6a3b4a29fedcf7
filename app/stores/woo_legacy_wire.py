"""Refunds and notes in the Legacy REST API's JSON (/wc-api/v3), read, written, and turned into wc/v3's.

Of a refund it shows neither the order's lines that it took from nor whether it was paid, and of a note no author. What
cannot be understood raises Unreadable.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from app.domain.money import format_amount, plain, round_half_up
from app.domain.order import OrderNote, RefundedLine, StoreRefund, TaxPart
from app.domain.refund import PlanLine, RefundPlan
from app.stores.port import ListedRefund
from app.stores.reading import (
    JsonObject,
    Unreadable,
    id_of,
    number_of,
    plain_text,
    rate_of,
    required_number,
    rows,
    text_of,
    time_of,
)
from app.stores.woo_legacy_answers import DECIMALS
from app.stores.woo_v3_wire import marked_reason


def time_shown(row: JsonObject, name: str, where: str) -> datetime | None:
    """Take a time; the API writes the beginning of 1970 where there is none."""
    moment = time_of(row, name, where)
    return None if moment is None or moment == datetime(1970, 1, 1, tzinfo=UTC) else moment


def store_refund(row: JsonObject, order: JsonObject | None) -> StoreRefund:
    """Read one refund. With its order its product lines are traced back, if that can be done for all of them."""
    return StoreRefund(
        id=id_of(row.get("id"), "order_refund.id"),
        amount=abs(required_number(row.get("amount"), "order_refund.amount")),
        reason=text_of(row.get("reason"), "order_refund.reason"),
        refunded_payment=None,
        created_at=time_shown(row, "created_at", "order_refund"),
        reference=None,
        lines=() if order is None else _traced(row, order),
        lines_known=False,
    )


def _traced(refund: JsonObject, order: JsonObject) -> tuple[RefundedLine, ...]:
    """Trace a refund's product lines back to the order's, by product, name and SKU; () unless every one is unambiguous.

    `refunded_item_id` is always 0: the plugin looks it up under a wrong name (LO:1594). The tax is read as a whole and
    put under the order's only rate; with several rates nothing says whose it was.
    """
    by_product: dict[tuple[str, str, str], list[str]] = {}
    for row in rows(order.get("line_items"), "order.line_items"):
        by_product.setdefault(_product(row, "order.line_items[]"), []).append(id_of(row.get("id"), "line_items[].id"))
    tax_lines = rows(order.get("tax_lines"), "order.tax_lines")
    rates = {rate_of(row.get("rate_id"), "order.tax_lines[].rate_id") for row in tax_lines}
    found: list[RefundedLine] = []
    for row in rows(refund.get("line_items"), "order_refund.line_items"):
        where = "order_refund.line_items[]"
        candidates = by_product.get(_product(row, where), [])
        tax = -number_of(row.get("total_tax"), f"{where}.total_tax") + 0
        if len(candidates) != 1 or (tax and len(rates) != 1):
            return ()
        found.append(
            RefundedLine(
                item_id=candidates[0],
                quantity=abs(number_of(row.get("quantity"), f"{where}.quantity")),
                net=-number_of(row.get("total"), f"{where}.total") + 0,
                taxes=tuple(TaxPart(rate_id=rate, amount=tax) for rate in rates if tax),
            )
        )
    return tuple(found)


def _product(row: JsonObject, where: str) -> tuple[str, str, str]:
    return (
        text_of(row.get("product_id"), f"{where}.product_id"),
        text_of(row.get("name"), f"{where}.name"),
        text_of(row.get("sku"), f"{where}.sku"),
    )


def listed_refund(row: JsonObject, *, order_id: str, dp: int | None) -> ListedRefund:
    """Read a row of an order's list, in both of its forms."""
    return ListedRefund(
        order_id=order_id, refund=store_refund(row, None), document=v3_document(row, order_id=order_id, dp=dp)
    )


def v3_document(row: JsonObject, *, order_id: str, dp: int | None) -> dict[str, Any]:
    """Write a refund as wc/v3 shows it; what the API does not show is empty.

    `refunded_payment` is false because wc/v3 shows false for every refund of the legacy API, paid or not; times have
    no zone of their own there, and are UTC in both forms.
    """
    decimals = DECIMALS if dp is None else dp
    made = time_shown(row, "created_at", "order_refund")
    stamp = None if made is None else made.replace(tzinfo=None).isoformat(timespec="seconds")
    return {
        "id": int(id_of(row.get("id"), "order_refund.id")),
        "parent_id": int(order_id),
        "date_created": stamp,
        "date_created_gmt": stamp,
        "amount": _shown(abs(required_number(row.get("amount"), "order_refund.amount")), decimals),
        "reason": text_of(row.get("reason"), "order_refund.reason"),
        "refunded_by": 0,
        "refunded_payment": False,
        "meta_data": [],
        "line_items": [_v3_line(line, decimals) for line in rows(row.get("line_items"), "order_refund.line_items")],
        "shipping_lines": [],
        "tax_lines": [],
        "fee_lines": [],
    }


def _v3_line(row: JsonObject, decimals: int) -> dict[str, Any]:
    where = "order_refund.line_items[]"
    amounts = {
        name: _shown(number_of(row.get(name), f"{where}.{name}"), decimals)
        for name in ("subtotal", "subtotal_tax", "total", "total_tax")
    }
    quantity = number_of(row.get("quantity"), f"{where}.quantity")
    product_id = text_of(row.get("product_id"), f"{where}.product_id")
    return {
        "id": int(id_of(row.get("id"), f"{where}.id")),
        "name": text_of(row.get("name"), f"{where}.name"),
        "product_id": int(product_id) if product_id.isdigit() else 0,
        "variation_id": 0,
        "quantity": int(quantity) if quantity == quantity.to_integral_value() else quantity,
        "tax_class": text_of(row.get("tax_class"), f"{where}.tax_class"),
        **amounts,
        "taxes": [],
        "meta_data": [],
        "sku": text_of(row.get("sku"), f"{where}.sku"),
        "price": number_of(row.get("price"), f"{where}.price"),
    }


def _shown(amount: Decimal, decimals: int) -> str:
    return plain(round_half_up(amount, decimals), decimals)


def refund_body(plan: RefundPlan, *, marker: str, marker_in_reason: bool) -> dict[str, object]:
    """Write a plan as the body of POST /wc-api/v3/orders/{id}/refunds, which goes to wc_create_refund as it is.

    So nothing but these fields: `refund_payment` beside the API's own payment would pay twice (OF:633, LO:1668).
    `restock_items` is always there, whatever its default. Whether the payment gateway pays is in the query (LS:341).
    """
    return {
        "order_refund": {
            "amount": format_amount(plan.amount, DECIMALS),
            "reason": marked_reason(plan.reason, marker if marker_in_reason else None),
            "line_items": {
                line.line_id: _sent_line(line)
                for line in plan.lines
                if line.quantity != 0 or line.net != 0 or line.tax != 0
            },
            "restock_items": plan.restock,
        }
    }


def _sent_line(line: PlanLine) -> dict[str, object]:
    whole = line.quantity == line.quantity.to_integral_value()
    return {
        "qty": int(line.quantity) if whole else format(line.quantity.normalize(), "f"),
        "refund_total": _sent(line.net),
        "refund_tax": {part.rate_id: _sent(part.amount) for part in line.taxes if part.amount != 0},
    }


def _sent(amount: Decimal) -> str:
    """Write a line's amount exactly; unlike the whole, a discount line's part is negative."""
    return ("-" if amount < 0 else "") + format_amount(abs(amount), DECIMALS)


def order_notes(value: object) -> tuple[OrderNote, ...]:
    """Read an order's notes, oldest first. They have no author, so each may be a payment gateway's."""
    notes: Iterable[OrderNote] = (_note(row) for row in rows(value, "order_notes"))
    return tuple(sorted(notes, key=lambda note: (note.created_at, int(note.id))))


def _note(row: JsonObject) -> OrderNote:
    created_at = time_of(row, "created_at", "order_notes[]")
    if created_at is None:
        raise Unreadable("order_notes[].created_at is missing")
    return OrderNote(
        id=id_of(row.get("id"), "order_notes[].id"),
        author="",
        text=plain_text(text_of(row.get("note"), "order_notes[].note")),
        created_at=created_at,
        by_system=True,
    )
