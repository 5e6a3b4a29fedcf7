"""Orders in the Legacy REST API's JSON (/wc-api/v3), read into snapshots.

It shows less of an order than wc/v3: no tax per rate, no tax of a single shipping line, no date of payment. What cannot
be understood raises Unreadable.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import product

from app.domain.money import apportion, round_half_up
from app.domain.order import LineKind, OrderLine, OrderSnapshot, TaxPart, TaxRate
from app.stores.reading import (
    DP,
    JsonObject,
    Unreadable,
    flag_of,
    id_of,
    mapping,
    number_of,
    rate_of,
    required_number,
    rows,
    text_of,
)
from app.stores.woo_legacy_answers import DECIMALS
from app.stores.woo_legacy_wire import store_refund, time_shown
from app.stores.woo_v3_wire import decimals_of_order, decimals_setting

#: No names, addresses or e-mails.
ORDER_FIELDS = (
    "id,order_number,created_at,updated_at,status,currency,total,shipping_tax,payment_details,line_items,"
    "shipping_lines,tax_lines,fee_lines"
)

ZERO = Decimal(0)


def store_decimals(store: JsonObject) -> int:
    """Read the store's decimals from the API's index. Raises Unreadable."""
    return decimals_setting(_meta(store).get("price_num_decimals"))


def prices_include_tax(store: JsonObject) -> bool:
    """Read from the API's index whether prices are entered with tax; each order of wc/v3 would say it for itself."""
    return flag_of(_meta(store).get("tax_included")) or False


def _meta(store: JsonObject) -> JsonObject:
    return mapping(store.get("meta") or {}, "store.meta")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    """An order line with its tax as a whole, which is all that the API shows of it."""

    id: str
    kind: LineKind
    name: str
    sku: str
    quantity: Decimal
    net: Decimal
    tax: Decimal
    tax_class: str  #: lines of one class are charged with the same rates


def _lines(order: JsonObject) -> list[_Line]:
    found: list[_Line] = []
    for row in rows(order.get("line_items"), "order.line_items"):
        where = "order.line_items[]"
        found.append(
            _Line(
                id=id_of(row.get("id"), f"{where}.id"),
                kind="item",
                name=text_of(row.get("name"), f"{where}.name"),
                sku=text_of(row.get("sku"), f"{where}.sku"),
                quantity=number_of(row.get("quantity"), f"{where}.quantity"),
                net=required_number(row.get("total"), f"{where}.total"),
                tax=number_of(row.get("total_tax"), f"{where}.total_tax"),
                tax_class=text_of(row.get("tax_class"), f"{where}.tax_class"),
            )
        )
    shipping = rows(order.get("shipping_lines"), "order.shipping_lines")
    totals = [required_number(row.get("total"), "order.shipping_lines[].total") for row in shipping]
    # The order shows the tax of all its shipping together; it is spread by what each line costs.
    taxes = _spread(number_of(order.get("shipping_tax"), "order.shipping_tax"), totals)
    for row, total, tax in zip(shipping, totals, taxes, strict=True):
        found.append(
            _Line(
                id=id_of(row.get("id"), "order.shipping_lines[].id"),
                kind="shipping",
                name=text_of(row.get("method_title"), "order.shipping_lines[].method_title"),
                sku="",
                quantity=ZERO,
                net=total,
                tax=tax,
                tax_class="/shipping",
            )
        )
    found += (
        _Line(
            id=id_of(row.get("id"), "order.fee_lines[].id"),
            kind="fee",
            name=text_of(row.get("title"), "order.fee_lines[].title"),
            sku="",
            quantity=ZERO,
            net=required_number(row.get("total"), "order.fee_lines[].total"),
            tax=number_of(row.get("total_tax"), "order.fee_lines[].total_tax"),
            tax_class=text_of(row.get("tax_class"), "order.fee_lines[].tax_class"),
        )
        for row in rows(order.get("fee_lines"), "order.fee_lines")
    )
    return found


def _spread(whole: Decimal, weights: Sequence[Decimal]) -> tuple[Decimal, ...]:
    """Split an amount of either sign in proportion, to the last digit that is read."""
    if not weights:
        return ()
    parts = apportion(abs(whole), [abs(weight) for weight in weights], DP)
    return tuple(part if whole >= 0 else -part for part in parts)


def _split_taxes(lines: Sequence[_Line], charged: Mapping[str, Decimal]) -> list[tuple[TaxPart, ...]]:
    """Put each line's tax under the rates that the order was charged with.

    With one rate it is that rate's. With several, lines of one tax class have the same rates: when there is exactly one
    way to give each class a single rate so that the rates' totals come out to the cent, that is the way it was. In all
    other cases the tax is left under all rates in proportion to their totals. The sum over the rates is the line's tax
    and so exact; the share of each rate is then an estimate, and the store's tax report by rate as good as that.
    """
    if not charged:
        return [() for _ in lines]
    if len(charged) == 1:
        (rate,) = charged
        return [(TaxPart(rate_id=rate, amount=line.tax),) if line.tax else () for line in lines]
    rate_of_class = _only_way(lines, charged)
    if rate_of_class is not None:
        return [
            (TaxPart(rate_id=rate_of_class[line.tax_class], amount=line.tax),) if line.tax else () for line in lines
        ]
    rates = list(charged)
    return [
        tuple(
            TaxPart(rate_id=rate, amount=part)
            for rate, part in zip(rates, _spread(line.tax, list(charged.values())), strict=True)
            if part
        )
        for line in lines
    ]


def _only_way(lines: Sequence[_Line], charged: Mapping[str, Decimal]) -> Mapping[str, str] | None:
    per_class: dict[str, Decimal] = {}
    for line in lines:
        if line.tax:
            per_class[line.tax_class] = per_class.get(line.tax_class, ZERO) + line.tax
    if not per_class or len(charged) ** len(per_class) > 4096:
        return None
    found: list[dict[str, str]] = []
    for way in product(charged, repeat=len(per_class)):
        sums = dict.fromkeys(charged, ZERO)
        for rate, amount in zip(way, per_class.values(), strict=True):
            sums[rate] += amount
        if all(
            round_half_up(sums[rate], DECIMALS) == round_half_up(total, DECIMALS) for rate, total in charged.items()
        ):
            found.append(dict(zip(per_class, way, strict=True)))
    return found[0] if len(found) == 1 else None


def order_snapshot(
    value: object, listed: Sequence[JsonObject], *, store: JsonObject, read_at: datetime
) -> OrderSnapshot:
    """Read an order, with its refunds as they were listed beside it and the API's index."""
    order = mapping(value, "order")
    total = required_number(order.get("total"), "order.total")
    if total < 0:
        raise Unreadable("order.total is negative")
    currency = text_of(order.get("currency"), "order.currency")
    if not (currency.isascii() and currency.isalnum() and currency == currency.upper() and 3 <= len(currency) <= 10):
        raise Unreadable("order.currency is not a currency")
    lines = _lines(order)
    tax_lines = rows(order.get("tax_lines"), "order.tax_lines")
    charged: dict[str, Decimal] = {}
    for row in tax_lines:
        rate = rate_of(row.get("rate_id"), "order.tax_lines[].rate_id")
        charged[rate] = charged.get(rate, ZERO) + number_of(row.get("total"), "order.tax_lines[].total")
    refunds = [store_refund(row, order) for row in listed]
    order_id = id_of(order.get("id"), "order.id")
    payment = mapping(order.get("payment_details") or {}, "order.payment_details")
    created_at = time_shown(order, "created_at", "order")
    modified_at = time_shown(order, "updated_at", "order")
    return OrderSnapshot(
        id=order_id,
        number=text_of(order.get("order_number"), "order.order_number") or order_id,
        status=text_of(order.get("status"), "order.status").removeprefix("wc-"),
        currency=currency,
        decimals=decimals_of_order(store_decimals(store), currency, total, [refund.amount for refund in refunds]),
        total=total,
        prices_include_tax=prices_include_tax(store),
        created_at=created_at,
        modified_at=modified_at,
        # The API says that the order was paid and not when: only whether there is a date bears on a refund.
        paid_at=(created_at or modified_at or read_at) if flag_of(payment.get("paid")) else None,
        payment_method=text_of(payment.get("method_id"), "order.payment_details.method_id"),
        payment_method_title=text_of(payment.get("method_title"), "order.payment_details.method_title"),
        lines=tuple(
            OrderLine(
                id=line.id,
                kind=line.kind,
                name=line.name,
                sku=line.sku,
                quantity=line.quantity,
                net=line.net,
                taxes=taxes,
            )
            for line, taxes in zip(lines, _split_taxes(lines, charged), strict=True)
        ),
        tax_rates=tuple(
            TaxRate(
                rate_id=rate_of(row.get("rate_id"), "order.tax_lines[].rate_id"),
                label=text_of(row.get("title"), "order.tax_lines[].title"),
                percent=None,
                compound=flag_of(row.get("compound")) or False,
            )
            for row in tax_lines
        ),
        refunds=tuple(refunds),
        read_at=read_at,
    )
