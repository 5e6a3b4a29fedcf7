"""A refund as an accountant books it: one row for each tax rate, and one for what is without tax."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Literal

from app.domain.money import ZERO
from app.domain.order import LineKind, TaxPart
from app.domain.refund import PlanLine, RefundPlan

#: Stands for what no tax rate applies to.
NO_RATE = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalRow:
    """A refund's part under one tax rate; what is without tax has the rate "".

    `gross` of a refund's rows adds up to its amount; `net` is items, shipping, fees, goodwill and what is unallocated.
    """

    rate_id: str
    items_net: Decimal = ZERO
    items_tax: Decimal = ZERO
    shipping_net: Decimal = ZERO
    shipping_tax: Decimal = ZERO
    fees_net: Decimal = ZERO
    fees_tax: Decimal = ZERO
    goodwill: Decimal = ZERO
    unallocated: Decimal = ZERO

    @property
    def net(self) -> Decimal:
        """Sum what is not tax."""
        return self.items_net + self.shipping_net + self.fees_net + self.goodwill + self.unallocated

    @property
    def tax(self) -> Decimal:
        """Sum the tax of this rate."""
        return self.items_tax + self.shipping_tax + self.fees_tax

    @property
    def gross(self) -> Decimal:
        """Sum net and tax."""
        return self.net + self.tax


def journal(plan: RefundPlan) -> tuple[JournalRow, ...]:
    """Divide a refund by tax rate, the part without tax first and then by the rates' ids.

    A line that several rates were charged on, as with a state's and a city's tax, has its net in the row of the one
    that it bears most of, so that no net is booked twice; the other rates' rows have their tax alone.
    """
    rows: dict[str, JournalRow] = {}
    for line in plan.lines:
        _book(rows, line)
    if plan.goodwill or plan.unallocated or not rows:
        free = rows.get(NO_RATE, JournalRow(rate_id=NO_RATE))
        rows[NO_RATE] = replace(free, goodwill=plan.goodwill, unallocated=plan.unallocated)
    return tuple(sorted(rows.values(), key=lambda row: (len(row.rate_id), row.rate_id)))


def _book(rows: dict[str, JournalRow], line: PlanLine) -> None:
    leading = _leading(line.taxes)
    _add(rows, leading, line.kind, "net", line.net)
    for part in line.taxes:
        _add(rows, part.rate_id, line.kind, "tax", part.amount)


def _leading(taxes: Iterable[TaxPart]) -> str:
    """Name the rate that a line bears most of; the first one of those alike, none when it bears none."""
    leading = min(taxes, key=lambda part: (-part.amount, len(part.rate_id), part.rate_id), default=None)
    return NO_RATE if leading is None else leading.rate_id


def _add(
    rows: dict[str, JournalRow], rate_id: str, kind: LineKind, share: Literal["net", "tax"], amount: Decimal
) -> None:
    row = rows.get(rate_id, JournalRow(rate_id=rate_id))
    rows[rate_id] = _with(row, kind, share, amount)


def _with(row: JournalRow, kind: LineKind, share: Literal["net", "tax"], amount: Decimal) -> JournalRow:
    match kind, share:
        case "item", "net":
            return replace(row, items_net=row.items_net + amount)
        case "item", _:
            return replace(row, items_tax=row.items_tax + amount)
        case "shipping", "net":
            return replace(row, shipping_net=row.shipping_net + amount)
        case "shipping", _:
            return replace(row, shipping_tax=row.shipping_tax + amount)
        case _, "net":
            return replace(row, fees_net=row.fees_net + amount)
        case _:
            return replace(row, fees_tax=row.fees_tax + amount)
