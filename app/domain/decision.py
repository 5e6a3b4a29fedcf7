"""The decision: a refund command against an order, giving a plan that can be sent as it is, or every reason why not."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from app.domain.command import amounts_of, faults_of, is_asked
from app.domain.errors import Fault, Refusal, RefusalCode
from app.domain.faults import (
    amount_exceeds,
    exceeds_refundable,
    line_not_found,
    money_text,
    quantity_exceeds,
    tax_exceeds,
    tax_rate_not_found,
)
from app.domain.fine_parts import in_smallest_units
from app.domain.money import ZERO, digits_behind_the_dot, format_amount, round_half_up
from app.domain.order import OrderSnapshot
from app.domain.refund import GatewayCapability, PaymentMode, PlanLine, RefundCommand, RefundPlan, StorePolicy
from app.domain.remaining import Hold, Remaining, remaining
from app.domain.selection import Pick, is_usable, rounding_slack, select, select_everything, trim


def decide(
    command: RefundCommand,
    order: OrderSnapshot,
    *,
    holds: Sequence[Hold],
    capability: GatewayCapability,
    policy: StorePolicy,
) -> RefundPlan | Refusal:
    """Turn a command into a plan that the order bears, or refuse it with every fault found.

    What is computed by quantity or as "all" may exceed the order by rounding (`rounding_slack`) and is then trimmed to
    what is left; amounts named by the caller never are. A precondition that no longer holds leads the faults.
    """
    left = remaining(order, _binding(holds, command.payment))
    command = in_smallest_units(command, order.decimals)
    draft, entry_faults = _draft(command, order, left)
    faults = _distinct(
        (
            *_precondition(command, left),
            *faults_of(command),
            *_currency(command, order),
            *_precision(command, order),
            *_standing(order, command.payment, capability, policy),
            *entry_faults,
            *_sums(command, draft, left),
        )
    )
    if faults or draft is None:
        return Refusal(faults=faults)
    return RefundPlan(
        order_id=order.id,
        order_number=order.number,
        currency=order.currency,
        decimals=order.decimals,
        amount=round_half_up(draft.total, order.decimals),
        lines=tuple(_plan_line(pick) for pick in draft.picks),
        goodwill=round_half_up(draft.goodwill, order.decimals),
        unallocated=round_half_up(draft.unallocated, order.decimals),
        payment=command.payment,
        restock=command.restock,
        reason=command.reason,
        payment_method=order.payment_method,
        is_partial=draft.total < left.total,
        store_meta=command.store_meta,
    )


def check_command(command: RefundCommand) -> Refusal | None:
    """Refuse a command for the faults that show without its order; None when there are none."""
    faults = _distinct(faults_of(command))
    return Refusal(faults=faults) if faults else None


def fits(
    plan: RefundPlan,
    order: OrderSnapshot,
    *,
    holds: Sequence[Hold],
    capability: GatewayCapability,
    policy: StorePolicy,
) -> Refusal | None:
    """Say why a plan decided earlier must not be sent to the order as it is now; None when it still fits.

    `holds` must not include the plan's own. Every pointer but /payment is "": a plan no longer knows its entries.
    """
    left = remaining(order, _binding(holds, plan.payment))
    faults = [*_standing(order, plan.payment, capability, policy)]
    if (plan.currency, plan.decimals) != (order.currency, order.decimals):
        faults.append(
            Fault(
                code="currency_mismatch",
                pointer="",
                message=f"The refund was computed in {plan.currency} with {plan.decimals} decimals, "
                f"but the order is now in {order.currency} with {order.decimals}.",
                facts={"currency": order.currency, "decimals": order.decimals},
            )
        )
    else:
        if plan.amount > left.total:
            faults.append(exceeds_refundable("", plan.amount, left))
        for line in plan.lines:
            faults.extend(_misfits(line, left))
    return Refusal(faults=tuple(faults)) if faults else None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Draft:
    """Where the money of a refund comes from; the order may still not bear it."""

    picks: tuple[Pick, ...] = ()
    goodwill: Decimal = ZERO
    unallocated: Decimal = ZERO

    @property
    def of_lines(self) -> Decimal:
        return sum((pick.parts.total for pick in self.picks), ZERO)

    @property
    def total(self) -> Decimal:
        return self.of_lines + self.goodwill + self.unallocated


def _draft(command: RefundCommand, order: OrderSnapshot, left: Remaining) -> tuple[_Draft | None, tuple[Fault, ...]]:
    """Say where the money comes from; None when an entry or amount cannot be reckoned with, which has its fault."""
    if command.remaining:
        picks, surplus = select_everything(left)
        return _Draft(picks=picks, unallocated=surplus), ()
    if command.items or is_asked(command.shipping) or is_asked(command.fees) or command.goodwill is not None:
        goodwill = command.goodwill or ZERO
        selection = select(command, left)
        if not selection.complete or not is_usable(goodwill, order.decimals):
            return None, selection.faults
        excess = selection.total - left.total
        computed = sum((pick.parts.total for pick in selection.picks if pick.computed), ZERO)
        may_trim = 0 < excess <= min(rounding_slack(order), computed)
        return _Draft(picks=trim(selection.picks, excess) if may_trim else selection.picks, goodwill=goodwill), ()
    if command.amount is not None and is_usable(command.amount, order.decimals):
        return _Draft(unallocated=command.amount), ()
    return None, ()


def _sums(command: RefundCommand, draft: _Draft | None, left: Remaining) -> Iterator[Fault]:
    amount = command.amount if command.amount is not None and is_usable(command.amount, left.decimals) else None
    if draft is None:
        if amount is not None and amount > left.total:
            yield exceeds_refundable("/amount", amount, left)
        return
    if draft.total == 0:
        computed = [pick.pointer for pick in draft.picks if pick.computed]
        # Parts finer than the smallest unit can come to nothing without any of them being zero.
        nothing = computed or ([""] if command.dialect == "woocommerce" else [])
        for pointer in ["/remaining"] if command.remaining else nothing:
            yield Fault(
                code="nothing_to_refund",
                pointer=pointer,
                message=f"This comes to nothing; of the order, {money_text(left.total, left)} can still be refunded.",
                facts={"refundable": format_amount(left.total, left.decimals)},
            )
    if amount is not None and amount != draft.total:
        yield Fault(
            code="amount_mismatch",
            pointer="/amount",
            message=f"The amount is {money_text(amount, left)}, but what is asked for beside it comes to "
            f"{money_text(draft.total, left)}.",
            facts={
                "amount": format_amount(amount, left.decimals),
                "computed": format_amount(draft.total, left.decimals),
            },
        )
    if draft.total > left.total:
        only_goodwill = draft.goodwill > 0 and draft.of_lines <= left.total
        pointer = "/amount" if amount == draft.total else "/goodwill" if only_goodwill else ""
        yield exceeds_refundable(pointer, draft.total, left)


def _precondition(command: RefundCommand, left: Remaining) -> Iterator[Fault]:
    expected = command.expected_refunded_total
    if expected is not None and is_usable(expected, left.decimals) and expected != left.refunded_total:
        yield Fault(
            code="order_changed",
            pointer="/expected_refunded_total",
            message=f"The store has refunded {money_text(left.refunded_total, left)} of the order so far, "
            f"not {money_text(expected, left)}.",
            facts={
                "expected": format_amount(expected, left.decimals),
                "actual": format_amount(left.refunded_total, left.decimals),
            },
        )


def _currency(command: RefundCommand, order: OrderSnapshot) -> Iterator[Fault]:
    if command.currency is not None and command.currency.upper() != order.currency.upper():
        yield Fault(
            code="currency_mismatch",
            pointer="/currency",
            message=f"The order is in {order.currency}, not in {command.currency}.",
            facts={"currency": order.currency, "requested": command.currency},
        )


def _precision(command: RefundCommand, order: OrderSnapshot) -> Iterator[Fault]:
    for written in amounts_of(command):
        digits = digits_behind_the_dot(written.amount)
        if digits > order.decimals:
            yield Fault(
                code="precision_exceeded",
                pointer=written.pointer,
                message=f"{written.amount:f} has {digits} digits behind the dot; "
                f"amounts of this order in {order.currency} have at most {order.decimals}.",
                facts={"amount": f"{written.amount:f}", "decimals": order.decimals},
            )


def _standing(
    order: OrderSnapshot, payment: PaymentMode, capability: GatewayCapability, policy: StorePolicy
) -> Iterator[Fault]:
    """Say what about the order's state and payment method forbids any refund. No store checks it (OF:535-551)."""
    if payment == "gateway" or not policy.manual_refunds_of_unpaid_orders:
        allowed = sorted(policy.refundable_statuses)
        if order.paid_at is None:
            yield Fault(
                code="order_not_paid",
                pointer="",
                message=f"Order {order.number} has never been paid (its status is {order.status}).",
                facts={"status": order.status},
            )
        if order.status not in policy.refundable_statuses:
            yield Fault(
                code="order_status_not_refundable",
                pointer="",
                message=f"The status of order {order.number} is {order.status}; "
                f"this store refunds orders in: {', '.join(allowed) or 'none'}.",
                facts={"status": order.status, "allowed": allowed},
            )
    if payment == "gateway" and capability == "unprovable":
        yield Fault(
            code="gateway_support_unknown",
            pointer="/payment",
            message=f"Nothing says whether the payment method {order.payment_method_title or order.payment_method} can "
            "pay money back, and this store's answer would not tell either; its owner can vouch for it in the store's "
            "policy (refunding_methods). Send payment: manual to record a refund that is paid outside the store.",
            facts={"payment_method": order.payment_method, "capability": capability, "payment": "manual"},
        )
    if payment == "gateway" and capability in ("no_refunds", "missing"):
        why = "is no longer installed" if capability == "missing" else "cannot pay money back"
        yield Fault(
            code="gateway_cannot_refund",
            pointer="/payment",
            message=f"The order's payment method {order.payment_method_title or order.payment_method} {why}; "
            "send payment: manual to record a refund that is paid outside the store.",
            facts={"payment_method": order.payment_method, "capability": capability, "payment": "manual"},
        )


def _binding(holds: Sequence[Hold], payment: PaymentMode) -> Sequence[Hold]:
    """Give the holds that bind a refund of this mode: recording once more what was paid moves no money."""
    if payment == "gateway":
        return holds
    return [replace(hold, counts_unseen=False) if hold.is_past else hold for hold in holds]


def _misfits(line: PlanLine, left: Remaining) -> Iterator[Fault]:
    now = left.line(line.line_id)
    if now is None:
        yield line_not_found(
            "", line.line_id, f"The order no longer has the {line.kind} line {line.line_id} ({line.name})."
        )
        return
    if line.quantity > now.quantity:
        yield quantity_exceeds("", line.quantity, now)
    if line.total > now.total:
        yield amount_exceeds("", "gross", line.total, now.total, now)
    if line.net > now.net_limit:
        yield amount_exceeds("", "net", line.net, now.net_limit, now)
    for tax in line.taxes:
        limit = now.tax_limit(tax.rate_id)
        if limit is None:
            yield tax_rate_not_found("", tax.rate_id, now)
        elif tax.amount > limit:
            yield tax_exceeds("", tax.rate_id, tax.amount, limit, now)


def _plan_line(pick: Pick) -> PlanLine:
    line = pick.left.line
    return PlanLine(
        line_id=line.id,
        kind=line.kind,
        name=line.name,
        sku=line.sku,
        quantity=pick.quantity,
        net=pick.parts.net,
        taxes=pick.parts.taxes,
    )


def _distinct(faults: Iterable[Fault]) -> tuple[Fault, ...]:
    """Keep the first of the faults that say the same about the same place."""
    first: dict[tuple[RefusalCode, str], Fault] = {}
    for fault in faults:
        first.setdefault((fault.code, fault.pointer), fault)
    return tuple(first.values())
