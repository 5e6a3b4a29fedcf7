"""Requests in WooCommerce's own conventions, brought to the smallest unit in which refunds are reckoned here.

WooCommerce keeps parts of lines with six decimals and takes them as they come: 9.99 incl. 20 % is refunded as 8.325
net and 1.665 tax by one client, and as 8.33 + 1.67 beside an amount of "9.99" by another. What is sent to a store has
to add up in the smallest unit, so the sums count and the parts are fitted to them.
"""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

from app.domain.money import ZERO, apportion, digits_behind_the_dot, quantum, round_half_up
from app.domain.refund import ItemRequest, RefundCommand, TaxRequest


def in_smallest_units(command: RefundCommand, decimals: int) -> RefundCommand:
    """Round the lines of a command in WooCommerce's dialect so that parts, lines and amount still add up.

    An amount above the sum of its lines becomes goodwill, as it does in WooCommerce, where the amount alone counts
    (PU:81); one that is lower by rounding alone lowers the lines. Other commands are given back as they are.
    """
    if command.dialect != "woocommerce" or not command.items:
        return command
    priced = [item for item in command.items if item.amount is not None]
    amounts = [item.amount for item in priced if item.amount is not None]
    if not priced or any(amount < 0 for amount in amounts):
        return command
    total = round_half_up(sum(amounts, ZERO), decimals)
    asked = command.amount
    all_priced = len(priced) == len(command.items)
    goodwill = command.goodwill
    if all_priced and asked is not None and digits_behind_the_dot(asked) <= decimals:
        slack = quantum(decimals) * sum(1 + len(item.taxes or ()) for item in priced)
        if asked > total:
            goodwill = asked - total
        elif total - asked <= slack:
            total = asked
    shares = iter(apportion(total, amounts, decimals))
    items = tuple(item if item.amount is None else _fitted(item, next(shares), decimals) for item in command.items)
    return replace(command, items=items, goodwill=goodwill)


def _fitted(item: ItemRequest, gross: Decimal, decimals: int) -> ItemRequest:
    assert item.amount is not None
    taxes: Sequence[TaxRequest] = item.taxes or ()
    net = item.amount - sum((tax.amount for tax in taxes), ZERO)
    if net < 0 or any(tax.amount < 0 for tax in taxes):
        return item
    _, *parts = apportion(gross, [net, *(tax.amount for tax in taxes)], decimals)
    fitted = tuple(replace(tax, amount=part) for tax, part in zip(taxes, parts, strict=True))
    return replace(item, amount=gross, taxes=fitted if item.taxes is not None else None)
