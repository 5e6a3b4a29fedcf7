"""What is left of an order: in total, and of every line by quantity, net and tax rate.

Two limits hold side by side. The order's is what was paid less every refund, whatever the refund was for. A line's is
what was charged for it less what refunds took from that very line (matched by `_refunded_item_id`, OF:593). An
amount-only refund lowers the first and no line, so that lines can have more left than their order (ORD:2267).

Refunds of ours that the snapshot cannot show yet are passed in as holds, and count exactly once.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from app.domain.money import ZERO, apportion, prorate, round_down, round_half_up, round_up
from app.domain.order import LineKind, OrderLine, OrderSnapshot, RefundedLine, StoreRefund, TaxPart
from app.domain.refund import RefundPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """A refund of ours, under way or done, that a snapshot may not show yet."""

    refund_id: str
    amount: Decimal
    lines: tuple[RefundedLine, ...]
    marker: str | None  #: what the store's row carries in its reason or meta data, once it shows
    store_refund_id: str | None  #: the store's row, as soon as it is known
    counts_unseen: bool = True  #: it counts although the snapshot does not show it
    #: It had succeeded before the snapshot was read: not showing, its row is gone. What its payment gateway paid stays
    #: paid, but a refund that only records may record it again.
    is_past: bool = False
    #: A payment gateway has paid it, or may have: lowering its row's amount takes nothing back.
    is_paid: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Net and tax that add up to a total, all in multiples of the smallest unit."""

    net: Decimal
    taxes: tuple[TaxPart, ...]

    @property
    def total(self) -> Decimal:
        """Sum net and tax."""
        return sum((part.amount for part in self.taxes), self.net)


@dataclass(frozen=True, slots=True, kw_only=True)
class RemainingLine:
    """What is left of one order line.

    `net` and `taxes` are exact, may be finer than the smallest unit and are never negative. They add up to `gross`, or
    to more where earlier refunds took more from one part than there was of it.
    """

    line: OrderLine
    currency: str
    decimals: int
    quantity: Decimal
    net: Decimal
    taxes: tuple[TaxPart, ...]  #: one per rate, in the line's order
    gross: Decimal  #: exact
    total: Decimal  #: what can still be refunded, in multiples of the smallest unit; never negative

    @property
    def cents(self) -> Parts:
        """Give all that is left in the smallest unit, as it would be refunded in one go."""
        return self.split(self.total)

    @property
    def net_limit(self) -> Decimal:
        """Give the most net a refund may take: what is left, rounded up to the smallest unit."""
        return round_up(self.net, self.decimals)

    def tax_limit(self, rate_id: str) -> Decimal | None:
        """Give the most tax a refund may take of a rate, or None when the line was never charged with it."""
        for part in self.taxes:
            if part.rate_id == rate_id:
                return round_up(part.amount, self.decimals)
        return None

    def of_quantity(self, quantity: Decimal) -> Parts:
        """Compute what some of the units left are worth (0 < quantity ≤ what is left).

        Each time the share is taken of what is left, so the last unit takes the remainder, and units refunded one by
        one add up to the line.
        """
        return self.split(prorate(self.gross, quantity, self.quantity, self.decimals))

    def split(self, total: Decimal) -> Parts:
        """Split a total (0 ≤ total ≤ what is left) over net and rates in proportion to what is left of each.

        No part exceeds what is left of it, rounded up to the smallest unit. That always works out: what is left
        of the line, rounded half up, is never more than its parts, each rounded up.
        """
        weights = [self.net, *(part.amount for part in self.taxes)]
        limits = [round_up(weight, self.decimals) for weight in weights]
        shares = apportion(total, weights, self.decimals)
        parts = [min(share, limit) for share, limit in zip(shares, limits, strict=True)]
        surplus = total - sum(parts, ZERO)
        for i in sorted(range(len(parts)), key=lambda i: (parts[i] - weights[i], i)):
            more = min(surplus, limits[i] - parts[i])
            parts[i] += more
            surplus -= more
        taxes = tuple(
            TaxPart(rate_id=part.rate_id, amount=amount) for part, amount in zip(self.taxes, parts[1:], strict=True)
        )
        return Parts(net=parts[0], taxes=taxes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Remaining:
    """What is left of an order; amounts are multiples of its smallest unit."""

    currency: str
    decimals: int
    total: Decimal  #: the most that any refund may come to; never negative
    refunded_total: Decimal  #: by the store's own refunds, as in the snapshot
    held_total: Decimal  #: by holds that the snapshot does not show
    lines: tuple[RemainingLine, ...]  #: in the order's order, emptied ones included

    def line(self, line_id: str) -> RemainingLine | None:
        """Find a line of any kind by its id."""
        for left in self.lines:
            if left.line.id == line_id:
                return left
        return None

    def of_kind(self, kind: LineKind) -> tuple[RemainingLine, ...]:
        """Give all lines of one kind."""
        return tuple(left for left in self.lines if left.line.kind == kind)


def remaining(order: OrderSnapshot, holds: Sequence[Hold] = ()) -> Remaining:
    """Work out what is left of an order after the store's refunds and the holds that these do not include yet.

    Where the store does not show which lines a refund of ours took from, our own record of it does.
    """
    shown = {hold.refund_id: refund for hold in holds for refund in order.refunds if _shows(refund, hold)}
    hidden = [hold for hold in holds if hold.counts_unseen and hold.refund_id not in shown]
    refunded = sum((refund.amount for refund in order.refunds), ZERO)
    held = sum((hold.amount for hold in hidden), ZERO)
    # The legacy API lets anybody set a row's amount anew (LO:1736); what was paid stays paid.
    held += sum(
        max(ZERO, hold.amount - shown[hold.refund_id].amount)
        for hold in holds
        if hold.is_paid and hold.counts_unseen and hold.refund_id in shown
    )
    taken: dict[str, list[RefundedLine]] = {}
    for lines in (*(_lines_of(refund, holds) for refund in order.refunds), *(hold.lines for hold in hidden)):
        for line in lines:
            taken.setdefault(line.item_id, []).append(line)
    return Remaining(
        currency=order.currency,
        decimals=order.decimals,
        # A store may have let finer amounts through; a fraction of the smallest unit can never be sent.
        total=round_down(max(ZERO, order.total - refunded - held), order.decimals),
        refunded_total=round_half_up(refunded, order.decimals),
        held_total=round_half_up(held, order.decimals),
        lines=tuple(_line_left(line, taken.get(line.id, []), order) for line in order.lines),
    )


def refunded_lines(plan: RefundPlan) -> tuple[RefundedLine, ...]:
    """Say what a plan takes from the order's lines, as a hold on them has to know it."""
    return tuple(
        RefundedLine(item_id=line.line_id, quantity=line.quantity, net=line.net, taxes=line.taxes)
        for line in plan.lines
    )


def _lines_of(refund: StoreRefund, holds: Sequence[Hold]) -> tuple[RefundedLine, ...]:
    if not refund.lines_known:
        for hold in holds:
            if _shows(refund, hold) and hold.amount == refund.amount:
                return hold.lines
    return refund.lines


def _shows(refund: StoreRefund, hold: Hold) -> bool:
    if hold.store_refund_id is not None:
        # From then on the marker proves nothing: people copy reasons.
        return refund.id == hold.store_refund_id
    if not hold.marker:  # an empty marker would be found in every reason
        return False
    return hold.marker in refund.reason or hold.marker in (refund.reference or "")


def _line_left(line: OrderLine, taken: Iterable[RefundedLine], order: OrderSnapshot) -> RemainingLine:
    quantity, net = line.quantity, line.net
    taxes: dict[str, Decimal] = {}
    for part in line.taxes:
        taxes[part.rate_id] = taxes.get(part.rate_id, ZERO) + part.amount
    gross = net + sum(taxes.values(), ZERO)
    for refund in taken:
        quantity -= refund.quantity
        net -= refund.net
        gross -= refund.net
        for part in refund.taxes:
            # A refund may name a rate that the line never had (no store checks it): it lowers the line all the same.
            gross -= part.amount
            if part.rate_id in taxes:
                taxes[part.rate_id] -= part.amount
    # The sum is taken before each part is held at zero: 8.33 refunded of 8.325 net leaves the tax half a cent less.
    return RemainingLine(
        line=line,
        currency=order.currency,
        decimals=order.decimals,
        quantity=max(ZERO, quantity),
        net=max(ZERO, net),
        taxes=tuple(TaxPart(rate_id=rate_id, amount=max(ZERO, amount)) for rate_id, amount in taxes.items()),
        gross=max(ZERO, gross),
        total=round_half_up(max(ZERO, gross), order.decimals),
    )
