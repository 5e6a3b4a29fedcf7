"""WooCommerce's wc/v3 JSON, read into snapshots and written from plans; nothing else knows its shape.

What cannot be understood raises Unreadable, never KeyError.
"""

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal

from app.domain.money import digits_behind_the_dot, format_amount, iso_decimals
from app.domain.order import LineKind, OrderLine, OrderNote, OrderSnapshot, RefundedLine, StoreRefund, TaxPart, TaxRate
from app.domain.refund import GatewayCapability, PlanLine, RefundPlan
from app.stores.port import ListedRefund, PaymentMethod
from app.stores.reading import (
    DP,
    NUMBER,
    JsonObject,
    Unreadable,
    flag_of,
    id_of,
    is_id,
    mapping,
    number_of,
    plain_text,
    rate_of,
    required_number,
    rows,
    text_of,
    time_of,
)

#: The meta key that carries our marker.
MARKER_KEY = "_refund_gateway"

#: No names, addresses or e-mails. `date_x` is asked for beside `date_x_gmt`, which WooCommerce derives from it.
ORDER_FIELDS = (
    "id,number,status,currency,total,prices_include_tax,date_created,date_created_gmt,date_modified,date_modified_gmt,"
    "date_paid,date_paid_gmt,payment_method,payment_method_title,line_items,shipping_lines,fee_lines,tax_lines,refunds"
)
REFUND_FIELDS = (
    "id,date_created,date_created_gmt,amount,reason,refunded_payment,meta_data,line_items,shipping_lines,fee_lines"
)
NOTE_FIELDS = "id,author,date_created,date_created_gmt,note"


def _taxes(value: object, where: str) -> tuple[TaxPart, ...]:
    """Take a line's tax per rate. `total` is read from the parts: `total_tax` is rounded per rate."""
    parts: dict[str, Decimal] = {}
    for row in rows(value, where):
        rate = rate_of(row.get("id"), f"{where}.id")
        parts[rate] = parts.get(rate, Decimal(0)) + number_of(row.get("total"), f"{where}.total")
    return tuple(TaxPart(rate_id=rate, amount=amount) for rate, amount in parts.items())


_LINE_LISTS: tuple[tuple[LineKind, str], ...] = (
    ("item", "line_items"),
    ("shipping", "shipping_lines"),
    ("fee", "fee_lines"),
)


def _order_lines(order: JsonObject) -> Iterable[OrderLine]:
    for kind, name in _LINE_LISTS:
        for row in rows(order.get(name), f"order.{name}"):
            where = f"order.{name}[]"
            yield OrderLine(
                id=id_of(row.get("id"), f"{where}.id"),
                kind=kind,
                name=text_of(row.get("method_title" if kind == "shipping" else "name"), f"{where}.name"),
                sku=text_of(row.get("sku"), f"{where}.sku") if kind == "item" else "",
                quantity=number_of(row.get("quantity"), f"{where}.quantity") if kind == "item" else Decimal(0),
                net=required_number(row.get("total"), f"{where}.total"),
                taxes=_taxes(row.get("taxes"), f"{where}.taxes"),
            )


def _meta(row: JsonObject, key: str, where: str) -> str | None:
    for entry in rows(row.get("meta_data"), f"{where}.meta_data"):
        value = entry.get("value")
        if entry.get("key") == key and isinstance(value, str | int) and not isinstance(value, bool):
            return str(value)
    return None


def _refunded_lines(refund: JsonObject) -> Iterable[RefundedLine]:
    for _kind, name in _LINE_LISTS:
        where = f"refund.{name}[]"
        for row in rows(refund.get(name), f"refund.{name}"):
            item = _meta(row, "_refunded_item_id", where)
            if item is None or not is_id(item):
                # Nothing says which line it took from: it lowers the order's cap only, like an amount refund.
                continue
            yield RefundedLine(
                item_id=item,
                quantity=abs(number_of(row.get("quantity"), f"{where}.quantity")),
                net=-number_of(row.get("total"), f"{where}.total") + 0,
                taxes=tuple(
                    TaxPart(rate_id=part.rate_id, amount=-part.amount + 0)
                    for part in _taxes(row.get("taxes"), f"{where}.taxes")
                ),
            )


def store_refund(value: object) -> StoreRefund:
    """Read one refund of an order."""
    row = mapping(value, "refund")
    return StoreRefund(
        id=id_of(row.get("id"), "refund.id"),
        amount=abs(required_number(row.get("amount"), "refund.amount")),
        reason=text_of(row.get("reason"), "refund.reason"),
        refunded_payment=flag_of(row.get("refunded_payment")),
        created_at=time_of(row, "date_created", "refund"),
        reference=_meta(row, MARKER_KEY, "refund"),
        lines=tuple(_refunded_lines(row)),
    )


def refund_sums(order: object) -> dict[str, Decimal]:
    """Give the refunds by id that the order itself names, unpaginated (ORD:2063); totals there are "-12.34"."""
    listed = rows(mapping(order, "order").get("refunds"), "order.refunds")
    return {
        id_of(row.get("id"), "order.refunds[].id"): abs(required_number(row.get("total"), "order.refunds[].total"))
        for row in listed
    }


def order_snapshot(
    value: object, refunds: Sequence[StoreRefund], *, store_decimals: int, read_at: datetime
) -> OrderSnapshot:
    """Read an order, with its refunds as they were listed beside it."""
    order = mapping(value, "order")
    total = required_number(order.get("total"), "order.total")
    if total < 0:
        raise Unreadable("order.total is negative")
    currency = text_of(order.get("currency"), "order.currency")
    if re.fullmatch(r"[A-Z0-9]{3,10}", currency) is None:
        raise Unreadable("order.currency is not a currency")
    order_id = id_of(order.get("id"), "order.id")
    return OrderSnapshot(
        id=order_id,
        number=text_of(order.get("number"), "order.number") or order_id,
        status=text_of(order.get("status"), "order.status").removeprefix("wc-"),
        currency=currency,
        decimals=decimals_of_order(store_decimals, currency, total, [refund.amount for refund in refunds]),
        total=total,
        prices_include_tax=flag_of(order.get("prices_include_tax")) or False,
        created_at=time_of(order, "date_created", "order"),
        modified_at=time_of(order, "date_modified", "order"),
        paid_at=time_of(order, "date_paid", "order"),
        payment_method=text_of(order.get("payment_method"), "order.payment_method"),
        payment_method_title=text_of(order.get("payment_method_title"), "order.payment_method_title"),
        lines=tuple(_order_lines(order)),
        tax_rates=tuple(
            TaxRate(
                rate_id=rate_of(row.get("rate_id"), "order.tax_lines[].rate_id"),
                label=text_of(row.get("label"), "order.tax_lines[].label"),
                percent=None
                if row.get("rate_percent") in (None, "")
                else number_of(row.get("rate_percent"), "order.tax_lines[].rate_percent"),
                compound=flag_of(row.get("compound")) or False,
            )
            for row in rows(order.get("tax_lines"), "order.tax_lines")
        ),
        refunds=tuple(refunds),
        read_at=read_at,
    )


def _needed_decimals(amount: Decimal) -> int:
    return digits_behind_the_dot(amount.normalize() + 0)


def decimals_of_order(store_decimals: int, currency: str, total: Decimal, refunds: Iterable[Decimal]) -> int:
    """Give the decimals that this order's amounts may have.

    Decimals are set per store, not per currency: a yen order of a store with two decimals shows "1000.00" but has no
    hundredths. The currency's own decimals count when everything paid and refunded so far fits them. Never fewer than
    the total needs, or the last fraction could not be refunded.
    """
    needed = _needed_decimals(total)
    own = iso_decimals(currency)
    if own < store_decimals and all(_needed_decimals(amount) <= own for amount in (total, *refunds)):
        return own
    return max(store_decimals, needed)


def decimals_setting(value: object) -> int:
    """Read the store's number of decimals from its settings (`value` is a text there, a number in system_status)."""
    text = text_of(value, "the number of decimals").strip()
    if re.fullmatch(r"[0-9]{1,2}", text, re.ASCII) is None or int(text) > DP:
        raise Unreadable("the number of decimals is not between 0 and 8")
    return int(text)


def decimals_shown(order: object) -> int:
    """Infer the store's decimals from an order's total read without `dp`."""
    text = text_of(mapping(order, "order").get("total"), "order.total")
    if NUMBER.fullmatch(text) is None:
        raise Unreadable("order.total is not a number")
    return min(digits_behind_the_dot(Decimal(text)), DP)


def capability(value: object) -> GatewayCapability:
    """Read from a payment gateway whether it can refund; `method_supports` exists in wc/v3 only."""
    supports = mapping(value, "payment gateway").get("method_supports")
    if isinstance(supports, dict):
        supports = list(supports.values())
    if not isinstance(supports, list):
        return "unknown"
    return "refunds" if "refunds" in supports else "no_refunds"


def payment_methods(value: object) -> tuple[PaymentMethod, ...]:
    """Read the list of payment gateways. A disabled one can still refund (OF:718)."""
    return tuple(
        PaymentMethod(
            id=text_of(row.get("id"), "payment_gateways[].id"),
            title=plain_text(text_of(row.get("title"), "payment_gateways[].title")),
            enabled=row.get("enabled") is True,
            capability=capability(row),
        )
        for row in rows(value, "payment_gateways")
    )


def order_notes(value: object) -> tuple[OrderNote, ...]:
    """Read an order's notes, oldest first; what WooCommerce and plugins write is signed "WooCommerce" or "system"."""
    notes = []
    for row in rows(value, "notes"):
        author = text_of(row.get("author"), "notes[].author")
        created_at = time_of(row, "date_created", "notes[]")
        if created_at is None:
            raise Unreadable("notes[].date_created is missing")
        notes.append(
            OrderNote(
                id=id_of(row.get("id"), "notes[].id"),
                author=author,
                text=plain_text(text_of(row.get("note"), "notes[].note")),
                created_at=created_at,
                by_system=author.strip().lower() in ("woocommerce", "system"),
            )
        )
    return tuple(sorted(notes, key=lambda note: (note.created_at, int(note.id))))


def _line_amount(amount: Decimal, decimals: int) -> str:
    """Write a line's amount exactly; unlike the whole, a discount line's part is negative."""
    sign = "-" if amount < 0 else ""
    return sign + format_amount(abs(amount), decimals)


def _line(line: PlanLine, decimals: int) -> dict[str, object]:
    whole = line.quantity == line.quantity.to_integral_value()
    return {
        "id": int(line.line_id),
        # WooCommerce does not validate it (V2R:449); plugins that sell fractions read them as text.
        "quantity": int(line.quantity) if whole else format(line.quantity.normalize(), "f"),
        "refund_total": _line_amount(line.net, decimals),
        "refund_tax": [
            {"id": int(part.rate_id), "refund_total": _line_amount(part.amount, decimals)}
            for part in line.taxes
            if part.amount != 0
        ],
    }


def marked_reason(reason: str, marker: str | None) -> str:
    """Put the marker behind the reason, the only text of ours that a store writes before it pays."""
    if marker is None:
        return reason
    return f"{reason} [{marker}]" if reason else f"[{marker}]"


def refund_body(plan: RefundPlan, *, marker: str, marker_in_reason: bool) -> dict[str, object]:
    """Write a plan as the body of POST wc/v3/orders/{id}/refunds.

    Every amount is a text of plain digits with a dot (V2R:398; "1,50" would be 150.00). `amount` is always there: a
    missing one makes a refund of 0.00. `api_refund` and `api_restock` are always there: both default to true.
    """
    return {
        "amount": format_amount(plan.amount, plan.decimals),
        "reason": marked_reason(plan.reason, marker if marker_in_reason else None),
        "api_refund": plan.payment == "gateway",
        "api_restock": plan.restock,
        "line_items": [
            _line(line, plan.decimals) for line in plan.lines if line.quantity != 0 or line.net != 0 or line.tax != 0
        ],
        "meta_data": [
            *({"key": key, "value": value} for key, value in plan.store_meta.items() if key != MARKER_KEY),
            {"key": MARKER_KEY, "value": marker},
        ],
    }


def listed_refund(document: JsonObject, *, order_id: str | None, exact: JsonObject | None = None) -> ListedRefund:
    """Read a row of a list; `exact` is the same row with all its decimals, where the list was asked for fewer.

    Only the list of the whole store names the orders (`parent_id`); an order's own gets it put where that has it.
    """
    parent = id_of(document.get("parent_id"), "refunds[].parent_id") if order_id is None else order_id
    first = {"id": document.get("id"), "parent_id": int(parent)}
    return ListedRefund(
        order_id=parent,
        refund=store_refund(document if exact is None else exact),
        document=first | {name: value for name, value in document.items() if name not in first},
    )
