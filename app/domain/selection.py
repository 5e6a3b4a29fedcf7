"""Which parts of which order lines a command asks for, each within what is left of its line.

Whether the order as a whole bears the sum is decided afterwards, in `decision`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Literal, assert_never

from app.domain.command import duplicate_line
from app.domain.errors import Fault
from app.domain.faults import (
    amount_exceeds,
    line_not_found,
    line_text,
    money_text,
    quantity_exceeds,
    tax_exceeds,
    tax_rate_not_found,
)
from app.domain.money import ZERO, apportion, digits_behind_the_dot, format_amount, quantum, round_half_up
from app.domain.order import LineKind, OrderSnapshot, TaxPart
from app.domain.refund import ItemRequest, LineRequest, LinesRequest, RefundCommand, TaxRequest
from app.domain.remaining import Parts, Remaining, RemainingLine


@dataclass(frozen=True, slots=True, kw_only=True)
class Pick:
    """What one entry of a command takes from one order line."""

    pointer: str  #: the entry in the request body
    left: RemainingLine
    quantity: Decimal
    parts: Parts
    computed: bool  #: worked out here, by quantity or as "all", rather than named by the caller


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What all entries take; `complete` only when every entry could be worked out."""

    picks: tuple[Pick, ...]
    faults: tuple[Fault, ...]
    complete: bool

    @property
    def total(self) -> Decimal:
        """Sum what is taken from the lines."""
        return sum((pick.parts.total for pick in self.picks), ZERO)


#: An entry's picks, or why there are none; no faults when `command.faults_of` or the precision check names them.
_Outcome = tuple[Pick, ...] | list[Fault]


def select(command: RefundCommand, left: Remaining) -> Selection:
    """Work out what items, shipping and fees take from the lines, with a fault for everything that cannot be."""
    picks: list[Pick] = []
    faults: list[Fault] = []
    complete = True
    for outcome in _outcomes(command, left):
        if isinstance(outcome, tuple):
            picks.extend(outcome)
        else:
            faults.extend(outcome)
            complete = False
    return Selection(picks=tuple(picks), faults=tuple(faults), complete=complete)


def select_everything(left: Remaining) -> tuple[tuple[Pick, ...], Decimal]:
    """Take all that is left of every line, and give what is left of the order beyond its lines.

    Where the order has less left than its lines (amount refunds, a discount sold as a fee), the lines share it in
    proportion to what is left of each. Quantities are taken in full either way: nothing of the order stays open.
    """
    lines = [line for line in left.lines if line.total > 0 or line.quantity > 0]
    totals = [line.total for line in lines]
    surplus = left.total - sum(totals, ZERO)
    shares = totals if surplus >= 0 else apportion(left.total, totals, left.decimals)
    picks = tuple(
        Pick(pointer="/remaining", left=line, quantity=line.quantity, parts=line.split(share), computed=True)
        for line, share in zip(lines, shares, strict=True)
    )
    return picks, max(ZERO, surplus)


def rounding_slack(order: OrderSnapshot) -> Decimal:
    """Give the most by which the lines of an order can exceed its total through rounding alone.

    WooCommerce rounds a line's net and each of its taxes by itself before adding up (round_item_subtotal,
    round_line_tax); every one of these may have lost half a unit that the line as a whole still has. The taxes are
    rounded once more per rate.
    """
    units = sum(1 + len(line.taxes) // 2 for line in order.lines) + len(order.tax_rates)
    return quantum(order.decimals) * units


def trim(picks: tuple[Pick, ...], excess: Decimal) -> tuple[Pick, ...]:
    """Take an excess off the computed picks, from the one with the largest total first.

    Every trimmed pick is split anew, so that its parts still add up and none is negative. What the caller named to the
    cent is never touched; the computed picks have to bear the excess.
    """
    trimmed = list(picks)
    computed = [i for i, pick in enumerate(picks) if pick.computed]
    for i in sorted(computed, key=lambda i: (-picks[i].parts.total, i)):
        total = picks[i].parts.total
        off = min(total, excess)
        excess -= off
        trimmed[i] = replace(picks[i], parts=picks[i].left.split(total - off))
    return tuple(trimmed)


def is_usable(amount: Decimal, decimals: int) -> bool:
    """Say whether an amount can be reckoned with at all; if not, another check has already named its fault."""
    return amount >= 0 and digits_behind_the_dot(amount) <= decimals


def _outcomes(command: RefundCommand, left: Remaining) -> Iterator[_Outcome]:
    taken: dict[str, str] = {}
    for i, item in enumerate(command.items):
        yield _item(f"/items/{i}", item, left, taken, any_kind=command.dialect == "woocommerce")
    yield from _lines("shipping", command.shipping, left, taken)
    yield from _lines("fee", command.fees, left, taken)


def _item(pointer: str, item: ItemRequest, left: Remaining, taken: dict[str, str], *, any_kind: bool) -> _Outcome:
    if item.line_item_id is not None and item.sku is None:
        field, reference = "line_item_id", item.line_item_id
        kind: LineKind | None = None if any_kind else "item"
        found = _by_id(f"{pointer}/line_item_id", item.line_item_id, kind, left)
    elif item.sku is not None and item.line_item_id is None:
        field, reference = "sku", item.sku
        found = _by_sku(f"{pointer}/sku", item.sku, left)
    else:
        return []
    if isinstance(found, Fault):
        return [found]
    first = taken.setdefault(found.line.id, pointer)
    if first != pointer:
        return [duplicate_line(f"{pointer}/{field}", reference, first)]

    # Shipping and fees have no quantity to take from; WooCommerce's clients send 1.
    is_item = found.line.kind == "item"
    quantity = Decimal(item.quantity or 0) if is_item else ZERO
    faults = []
    if quantity > found.quantity:
        faults.append(quantity_exceeds(f"{pointer}/quantity", quantity, found))
    if item.amount is not None:
        parts = _parts_of_amount(pointer, item.amount, item.taxes, found)
        if isinstance(parts, list):
            return [*faults, *parts]
    elif faults or (is_item and quantity <= 0):
        return faults
    elif found.total == 0 and _charged(found) != 0:
        return [_nothing_left(pointer, found)]
    else:
        parts = found.of_quantity(quantity) if is_item else found.cents
    if faults:
        return faults
    return (Pick(pointer=pointer, left=found, quantity=quantity, parts=parts, computed=item.amount is None),)


def _lines(
    kind: Literal["shipping", "fee"], request: LinesRequest | None, left: Remaining, taken: dict[str, str]
) -> Iterator[_Outcome]:
    pointer = "/shipping" if kind == "shipping" else "/fees"
    match request:
        case None:
            pass
        case "all":
            yield _all_of_kind(pointer, kind, left)
        case Decimal():
            yield _spread(pointer, request, kind, left)
        case tuple():
            for i, line in enumerate(request):
                yield _named(f"{pointer}/{i}", line, kind, left, taken)
        case _:
            assert_never(request)


def _all_of_kind(pointer: str, kind: LineKind, left: Remaining) -> _Outcome:
    lines = [line for line in left.of_kind(kind) if line.total > 0]
    if not lines:
        return [
            Fault(
                code="nothing_to_refund",
                pointer=pointer,
                message=f"The order has no {kind} line with anything left to refund.",
                facts={"refundable": format_amount(ZERO, left.decimals)},
            )
        ]
    return tuple(Pick(pointer=pointer, left=line, quantity=ZERO, parts=line.cents, computed=True) for line in lines)


def _spread(pointer: str, amount: Decimal, kind: LineKind, left: Remaining) -> _Outcome:
    if not is_usable(amount, left.decimals):
        return []
    lines = left.of_kind(kind)
    refundable = sum((line.total for line in lines), ZERO)
    if amount > refundable:
        return [
            Fault(
                code="line_amount_exceeds_refundable",
                pointer=pointer,
                message=f"Of the order's {kind} lines, {money_text(refundable, left)} can still be refunded, "
                f"not {money_text(amount, left)}.",
                facts={
                    "refundable": format_amount(refundable, left.decimals),
                    "requested": format_amount(amount, left.decimals),
                },
            )
        ]
    picks = []
    for line in lines:
        share = min(amount, line.total)
        amount -= share
        if share > 0:
            picks.append(Pick(pointer=pointer, left=line, quantity=ZERO, parts=line.split(share), computed=False))
    return tuple(picks)


def _named(pointer: str, request: LineRequest, kind: LineKind, left: Remaining, taken: dict[str, str]) -> _Outcome:
    reference = f"{pointer}/shipping_line_id" if kind == "shipping" else f"{pointer}/fee_line_id"
    found = _by_id(reference, request.line_id, kind, left)
    if isinstance(found, Fault):
        return [found]
    first = taken.setdefault(found.line.id, pointer)
    if first != pointer:
        return [duplicate_line(reference, request.line_id, first)]
    if request.amount is not None:
        parts = _parts_of_amount(pointer, request.amount, request.taxes, found)
        if isinstance(parts, list):
            return parts
    elif found.total == 0:
        return [_nothing_left(pointer, found)]
    else:
        parts = found.cents
    return (Pick(pointer=pointer, left=found, quantity=ZERO, parts=parts, computed=request.amount is None),)


def _by_id(pointer: str, line_id: str, kind: LineKind | None, left: Remaining) -> RemainingLine | Fault:
    found = left.line(line_id)
    if found is not None and kind in (found.line.kind, None):
        return found
    other = "" if found is None else f"; that is one of its {found.line.kind} lines"
    return line_not_found(pointer, line_id, f"The order has no {kind or ''} line {line_id}{other}.".replace("  ", " "))


def _by_sku(pointer: str, sku: str, left: Remaining) -> RemainingLine | Fault:
    matches = [line for line in left.of_kind("item") if line.line.sku == sku]
    if not matches:
        return Fault(
            code="line_not_found",
            pointer=pointer,
            message=f"The order has no item with the SKU {sku!r}; SKUs are compared exactly.",
            facts={"sku": sku},
        )
    if len(matches) > 1:
        ids = [match.line.id for match in matches]
        return Fault(
            code="ambiguous_sku",
            pointer=pointer,
            message=f"The SKU {sku!r} is on several lines of the order ({', '.join(ids)}); name one by line_item_id.",
            facts={"sku": sku, "line_item_ids": ids},
        )
    return matches[0]


def _parts_of_amount(
    pointer: str, amount: Decimal, taxes: tuple[TaxRequest, ...] | None, line: RemainingLine
) -> Parts | list[Fault]:
    if not is_usable(amount, line.decimals):
        return []
    faults = []
    if amount > line.total:
        faults.append(amount_exceeds(f"{pointer}/amount", "gross", amount, line.total, line))
    if taxes is None:
        return faults or line.split(amount)
    tax_faults = list(_tax_faults(pointer, taxes, line))
    named = {tax.rate_id: tax.amount for tax in taxes}
    if len(named) < len(taxes) or not all(is_usable(tax.amount, line.decimals) for tax in taxes):
        return [*faults, *tax_faults]
    tax_total = sum(named.values(), ZERO)
    net = amount - tax_total
    if net < 0:
        faults.append(
            Fault(
                code="amount_mismatch",
                pointer=f"{pointer}/taxes",
                message=f"The taxes add up to {money_text(tax_total, line)}, which is more than "
                f"the gross amount of {money_text(amount, line)} that they are part of.",
                facts={
                    "amount": format_amount(amount, line.decimals),
                    "computed": format_amount(tax_total, line.decimals),
                },
            )
        )
    elif net > line.net_limit and not faults:
        faults.append(amount_exceeds(f"{pointer}/amount", "net", net, line.net_limit, line))
    if faults or tax_faults:
        return [*faults, *tax_faults]
    parts = tuple(
        TaxPart(rate_id=part.rate_id, amount=round_half_up(named.get(part.rate_id, ZERO), line.decimals))
        for part in line.taxes
    )
    return Parts(net=round_half_up(net, line.decimals), taxes=parts)


def _tax_faults(pointer: str, taxes: tuple[TaxRequest, ...], line: RemainingLine) -> Iterator[Fault]:
    for i, tax in enumerate(taxes):
        limit = line.tax_limit(tax.rate_id)
        if limit is None:
            yield tax_rate_not_found(f"{pointer}/taxes/{i}/rate_id", tax.rate_id, line)
        elif is_usable(tax.amount, line.decimals) and tax.amount > limit:
            yield tax_exceeds(f"{pointer}/taxes/{i}/amount", tax.rate_id, tax.amount, limit, line)


def _nothing_left(pointer: str, line: RemainingLine) -> Fault:
    return Fault(
        code="nothing_to_refund",
        pointer=pointer,
        message=f"Nothing of the money charged for {line_text(line)} is left to refund.",
        facts={"line_id": line.line.id, "refundable": format_amount(ZERO, line.decimals)},
    )


def _charged(left: RemainingLine) -> Decimal:
    line = left.line
    return round_half_up(sum((part.amount for part in line.taxes), line.net), left.decimals)
