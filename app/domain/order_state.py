"""An order's state, reduced to what a refund depends on, so that a quote can be bound to it.

The fingerprint tells whether anything changed, the summary what. Neither looks at dates of modification, notes or
addresses: an order that was only edited there keeps its quotes.
"""

import hashlib
import json
from collections.abc import Iterable
from decimal import Decimal
from typing import TypedDict

from app.domain.errors import Fault
from app.domain.money import ZERO, round_half_up
from app.domain.order import OrderSnapshot, RefundedLine, TaxPart


class OrderSummary(TypedDict):
    """What of an order is kept beside a quote, fit for JSON; amounts are plain strings."""

    status: str
    paid: bool
    currency: str
    total: str
    refunded_total: str
    refund_ids: list[str]
    payment_method: str
    lines: str  #: a digest


class Difference(TypedDict):
    """One thing that changed; `before` and `now` are for people and programs alike."""

    field: str
    before: str
    now: str


def fingerprint(order: OrderSnapshot) -> str:
    """Give 32 hexadecimal digits that change whenever something changes that a refund of the order depends on.

    The order in which the store lists lines and refunds, and the zeros it pads amounts with, make no difference.
    """
    return _digest(
        {
            **summary(order),
            "decimals": order.decimals,
            "refunds": sorted([refund.id, _plain(refund.amount), *_taken(refund.lines)] for refund in order.refunds),
        }
    )


def summary(order: OrderSnapshot) -> OrderSummary:
    """Give what `differences` needs to say later how the order has changed."""
    refunded = sum((refund.amount for refund in order.refunds), ZERO)
    lines = sorted(
        [line.id, line.kind, line.sku, _plain(line.quantity), _plain(line.net), *_rates(line.taxes)]
        for line in order.lines
    )
    return OrderSummary(
        status=order.status,
        paid=order.paid_at is not None,
        currency=order.currency,
        total=format(round_half_up(order.total, order.decimals), "f"),
        refunded_total=format(round_half_up(refunded, order.decimals), "f"),
        refund_ids=sorted(refund.id for refund in order.refunds),
        payment_method=order.payment_method,
        lines=_digest(lines),
    )


def differences(before: OrderSummary, order: OrderSnapshot) -> tuple[Difference, ...]:
    """Say what has changed since a summary was taken; () when none of what it holds did."""
    now = summary(order)
    pairs = (
        ("status", before["status"], now["status"]),
        ("paid", _yes_no(before["paid"]), _yes_no(now["paid"])),
        ("currency", before["currency"], now["currency"]),
        ("total", before["total"], now["total"]),
        ("refunded_total", before["refunded_total"], now["refunded_total"]),
        ("refund_ids", ", ".join(before["refund_ids"]), ", ".join(now["refund_ids"])),
        ("payment_method", before["payment_method"], now["payment_method"]),
    )
    changed = [Difference(field=field, before=was, now=is_now) for field, was, is_now in pairs if was != is_now]
    if before["lines"] != now["lines"]:
        changed.append(Difference(field="lines", before="as quoted", now="edited"))
    return tuple(changed)


def order_changed(before: OrderSummary, order: OrderSnapshot, *, pointer: str = "/quote_id") -> Fault:
    """Word the refusal of a request that is bound to a state the order is no longer in."""
    changes = differences(before, order)
    told = "; ".join(
        f"{change['field']} was {change['before'] or 'none'}, is {change['now'] or 'none'}" for change in changes
    )
    return Fault(
        code="order_changed",
        pointer=pointer,
        message=f"The order has changed since it was quoted ({told or 'one of its refunds was edited'}).",
        facts={
            "differences": [
                {"field": change["field"], "before": change["before"], "now": change["now"]} for change in changes
            ]
        },
    )


def _taken(lines: Iterable[RefundedLine]) -> list[str]:
    return sorted(
        "|".join([line.item_id, _plain(line.quantity), _plain(line.net), *_rates(line.taxes)]) for line in lines
    )


def _rates(taxes: Iterable[TaxPart]) -> list[str]:
    return sorted(f"{part.rate_id}={_plain(part.amount)}" for part in taxes)


def _plain(amount: Decimal) -> str:
    return format(amount.normalize() + ZERO, "f")


def _yes_no(flag: bool) -> str:
    return "yes" if flag else "no"


def _digest(value: object) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:32]
