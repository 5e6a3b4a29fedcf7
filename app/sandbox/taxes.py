"""Taxes, discounts and totals, computed as WooCommerce 9.4 computes them (abstract-wc-order.php, class-wc-tax.php)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal

from app.sandbox.model import CouponLine, Fee, Line, Order, Shipping, Tax, TaxLine, TaxRate
from app.sandbox.php import round_half_down, round_half_up, six_places

#: Gives the next id of an order line.
NextId = Callable[[], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounding:
    """How the store rounds: to its decimals, halves of a tax downwards where prices include tax."""

    decimals: int
    prices_include_tax: bool

    def price(self, value: Decimal) -> Decimal:
        return round_half_up(value, self.decimals)

    def tax(self, value: Decimal) -> Decimal:
        return (round_half_down if self.prices_include_tax else round_half_up)(value, self.decimals)


def tax_on_net(net: Decimal, rates: Sequence[TaxRate]) -> dict[int, Decimal]:
    """Return each rate's tax on a net amount to six places; a compound rate also taxes the taxes before it."""
    taxes = {rate.id: net * rate.percent / 100 for rate in rates if not rate.compound}
    for rate in rates:
        if rate.compound:
            taxes[rate.id] = (net + sum(taxes.values())) * rate.percent / 100
    return {rate.id: six_places(taxes[rate.id]) for rate in rates}


def tax_in_gross(gross: Decimal, rates: Sequence[TaxRate]) -> dict[int, Decimal]:
    """Return each rate's tax contained in a gross amount to six places."""
    taxes: dict[int, Decimal] = {}
    before_compound = gross
    for rate in reversed([rate for rate in rates if rate.compound]):
        taxes[rate.id] = before_compound - before_compound / (1 + rate.percent / 100)
        before_compound -= taxes[rate.id]
    regular = [rate for rate in rates if not rate.compound]
    divisor = 1 + sum((rate.percent for rate in regular), Decimal(0)) / 100
    for rate in regular:
        taxes[rate.id] = before_compound * (rate.percent / 100) / divisor
    return {rate.id: six_places(taxes[rate.id]) for rate in rates}


def net_of(gross: Decimal, rates: Sequence[TaxRate]) -> Decimal:
    """Return the net amount in a gross one, to six places."""
    return six_places(gross - sum(tax_in_gross(gross, rates).values()))


def tax_line(line: Line, rates: Sequence[TaxRate], rounding: Rounding) -> None:
    """Set a product line's taxes from its net amounts."""
    totals, subtotals = tax_on_net(line.total, rates), tax_on_net(line.subtotal, rates)
    line.taxes = [Tax(rate_id=rate.id, total=totals[rate.id], subtotal=subtotals[rate.id]) for rate in rates]
    line.total_tax = sum((rounding.tax(value) for value in totals.values()), Decimal(0))
    line.subtotal_tax = sum((rounding.tax(value) for value in subtotals.values()), Decimal(0))


def tax_charge(charge: Shipping | Fee, rates: Sequence[TaxRate], rounding: Rounding) -> None:
    """Set a shipping line's or fee's taxes from its net total."""
    totals = tax_on_net(charge.total, rates)
    charge.taxes = [Tax(rate_id=rate_id, total=value) for rate_id, value in totals.items()]
    charge.total_tax = sum((rounding.tax(value) for value in totals.values()), Decimal(0))


def apply_percent_coupon(order: Order, coupon: CouponLine, rates: Sequence[TaxRate], rounding: Rounding) -> None:
    """Take a percentage off every line, to whole cents; the cents lost go to the first lines (class-wc-discounts.php).

    Lines must already carry the taxes of their undiscounted amounts.
    """
    scale = Decimal(10) ** rounding.decimals
    share = coupon.nominal_amount / 100
    gross = order.prices_include_tax
    cents = {
        line.id: round_half_up((line.subtotal + (sum_subtotal_tax(line) if gross else 0)) * scale, 0)
        for line in order.lines
    }
    off = {line_id: (value * share).quantize(Decimal(1), rounding=ROUND_FLOOR) for line_id, value in cents.items()}
    missing = round_half_up(sum(cents.values(), Decimal(0)) * share, 0) - sum(off.values())
    for line in sorted(order.lines, key=lambda line: cents[line.id] * line.quantity, reverse=True):
        for _ in range(int(line.quantity)):
            if missing > 0 and off[line.id] < cents[line.id]:
                off[line.id] += 1
                missing -= 1
    for line in order.lines:
        amount = off[line.id] / scale
        if gross:
            tax = rounding.tax(sum(tax_in_gross(amount, rates).values(), Decimal(0)))
            coupon.discount += amount - tax
            amount = net_of(amount, rates)
        else:
            tax = rounding.tax(sum(tax_on_net(amount, rates).values(), Decimal(0)))
            coupon.discount += amount
        coupon.discount_tax += tax
        line.total = max(Decimal(0), line.total - amount)


def sum_subtotal_tax(line: Line) -> Decimal:
    """Return a line's tax before discounts, unrounded."""
    return sum((tax.subtotal or Decimal(0) for tax in line.taxes), Decimal(0))


def sum_tax_lines(
    *,
    lines: Sequence[Line],
    fees: Sequence[Fee],
    shipping: Sequence[Shipping],
    known: Sequence[TaxRate],
    rounding: Rounding,
    next_id: NextId,
) -> list[TaxLine]:
    """Return one tax line per rate, each line's tax rounded first; an unknown rate has no code (update_taxes)."""
    rates = {rate.id: rate for rate in known}
    items: dict[int, Decimal] = {}
    carriage: dict[int, Decimal] = {}
    charges: list[Line | Fee] = [*lines, *fees]
    for charge in charges:
        for tax in charge.taxes:
            items[tax.rate_id] = items.get(tax.rate_id, Decimal(0)) + rounding.tax(tax.total)
    for parcel in shipping:
        for tax in parcel.taxes:
            carriage[tax.rate_id] = carriage.get(tax.rate_id, Decimal(0)) + rounding.tax(tax.total)
    result = []
    for rate_id in dict.fromkeys((*items, *carriage)):
        rate = rates.get(rate_id)
        result.append(
            TaxLine(
                id=next_id(),
                rate_id=rate_id,
                rate_code=rate.code if rate else "",
                label=rate.name if rate else "Tax",
                compound=rate.compound if rate else False,
                percent=rate.percent if rate else Decimal(0),
                tax_total=items.get(rate_id, Decimal(0)),
                shipping_tax_total=carriage.get(rate_id, Decimal(0)),
            )
        )
    return result


def total_order(order: Order, *, known: Sequence[TaxRate], rounding: Rounding, next_id: NextId) -> None:
    """Set an order's tax lines and totals from its lines, fees and shipping (calculate_totals)."""
    order.tax_lines = sum_tax_lines(
        lines=order.lines,
        fees=order.fees,
        shipping=order.shipping_lines,
        known=known,
        rounding=rounding,
        next_id=next_id,
    )
    order.cart_tax = sum((tax.tax_total for tax in order.tax_lines), Decimal(0))
    order.shipping_tax = sum((tax.shipping_tax_total for tax in order.tax_lines), Decimal(0))
    order.shipping_total = sum((rounding.price(parcel.total) for parcel in order.shipping_lines), Decimal(0))
    subtotal = sum((rounding.price(line.subtotal) for line in order.lines), Decimal(0))
    cart = sum((rounding.price(line.total) for line in order.lines), Decimal(0))
    taxes = [tax for line in order.lines for tax in line.taxes]
    order.discount_total = rounding.price(subtotal - cart)
    order.discount_tax = rounding.tax(sum(((tax.subtotal or Decimal(0)) - tax.total for tax in taxes), Decimal(0)))
    fees = sum((fee.total for fee in order.fees), Decimal(0))
    order.total = rounding.price(cart + fees + order.shipping_total + order.cart_tax + order.shipping_tax)
