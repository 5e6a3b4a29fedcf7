"""Looking for the orders that a schedule refunds, page by page; creates nothing, here or in the store."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from app.domain.decision import decide
from app.domain.errors import Refusal
from app.domain.money import ZERO
from app.domain.order_query import OrderSummary
from app.domain.refund import RefundCommand, RefundPlan
from app.domain.schedule import Mismatch, RefundsPlan, command_of, over_limit, refunded_of
from app.flows.order_reading import stretches
from app.flows.runtime import Runtime
from app.flows.settle import Shop
from app.ledger import schedule_runs, standing
from app.stores.port import OrderNotFound

_WHY: dict[Mismatch, str] = {
    "created": "It was not created within the window.",
    "paid": "It was not paid within the window, or the store does not show when.",
    "completed": "It was not completed within the window.",
    "modified": "It was not modified within the window.",
    "payment_method": "It has another payment method.",
    "currency": "It is in another currency.",
    "total": "Its total is outside the bounds.",
    "sku": "It has none of the SKUs.",
    "meta": "It does not have the meta data.",
    "customer": "It is another customer's.",
    "refunded": "As much was refunded of it as the selector does not admit.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What is looked for, and for whom."""

    schedule_id: str
    store_id: str
    store: str
    plan: RefundsPlan  #: with the customer's e-mail
    at: datetime  #: what the windows are counted from


@dataclass(frozen=True, slots=True, kw_only=True)
class Pick:
    """An order that is to be refunded, and what of it."""

    order_id: str
    order_number: str
    command: RefundCommand
    refund: RefundPlan  #: as it would be now
    used_up: int  #: references of the schedule that belong to canceled refunds of the order


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """An order that the store listed and that is not to be refunded."""

    order_id: str
    order_number: str
    reason: str  #: stable: a `Mismatch`, "taken", "max_total", or why the refund would be refused
    message: str


@dataclass(slots=True, kw_only=True)
class Selection:
    """What a search has come to so far."""

    picks: list[Pick] = field(default_factory=list)
    totals: dict[str, Decimal] = field(default_factory=dict)  #: by currency
    looked_at: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    examples: list[LeftOut] = field(default_factory=list)  #: the first ones that were left out
    cut_short: str | None = None  #: "max_orders" or "looked_at" when there may be more orders

    def leave_out(self, one: LeftOut, *, examples: int) -> None:
        """Count an order as left out."""
        self.left_out[one.reason] += 1
        if len(self.examples) < examples:
            self.examples.append(one)


async def select(
    rt: Runtime,
    shop: Shop,
    search: Search,
    *,
    max_orders: int,
    look_at_most: int | None = None,
    examples: int = 0,
) -> Selection:
    """Go through the store's orders, oldest first, until there are no more or enough. Raises what reading a store does.

    Every order that fits is read and decided on as for a refund, so that what is selected is what will be asked for.
    """
    found = Selection()
    exhausted: set[str] = set()
    async with aclosing(stretches(shop.store, search.plan.selector.query(search.at))) as parts:
        async for part in parts:
            found.looked_at += len(part.orders)
            fitting = [order for order in part.orders if not _leave_misfit(search, order, found, examples)]
            candidates = await _untaken(rt, search, fitting, found, examples)
            done = 0
            while done < len(candidates) and len(found.picks) < max_orders:
                together = candidates[done : done + _AT_A_TIME]
                for one in await _weigh_all(rt, shop, search, together, exhausted):
                    if len(found.picks) < max_orders:
                        _sort_in(search, one, found, exhausted, examples)
                        done += 1
            is_last = part.next_page is None
            if len(found.picks) >= max_orders:
                found.cut_short = "max_orders" if done < len(candidates) or not is_last else None
                return found
            if look_at_most is not None and found.looked_at >= look_at_most and not is_last:
                found.cut_short = "looked_at"
                return found
    return found


async def _untaken(
    rt: Runtime, search: Search, orders: Sequence[OrderSummary], found: Selection, examples: int
) -> list[tuple[OrderSummary, int]]:
    """Give the orders that the schedule may take, each with how many of its references it has used up."""
    async with rt.database.reading() as conn:
        taken = await schedule_runs.taken(conn, search.schedule_id, search.store_id, [order.id for order in orders])
    candidates: list[tuple[OrderSummary, int]] = []
    for order in orders:
        before = taken.get(order.id)
        if before is not None and not before.is_free:
            found.leave_out(_because(order, "taken", "This schedule has refunded it before."), examples=examples)
        else:
            candidates.append((order, 0 if before is None else before.used_up))
    return candidates


def _sort_in(search: Search, one: Pick | LeftOut, found: Selection, exhausted: set[str], examples: int) -> None:
    if isinstance(one, LeftOut):
        found.leave_out(one, examples=examples)
        return
    currency = one.refund.currency.upper()
    # Once an order was too much, later and smaller ones are not let past it.
    if currency in exhausted or over_limit(search.plan.max_total, found.totals, currency, one.refund.amount):
        exhausted.add(currency)
        found.leave_out(_over_total(one.order_id, one.order_number), examples=examples)
        return
    found.totals[currency] = found.totals.get(currency, ZERO) + one.refund.amount
    found.picks.append(one)


#: Orders that are read at a time; each takes up to three calls, and the store's own limit holds besides.
_AT_A_TIME = 4


def _leave_misfit(search: Search, order: OrderSummary, found: Selection, examples: int) -> bool:
    reason = search.plan.selector.mismatch(order, search.at)
    if reason is not None:
        found.leave_out(_because(order, reason, _WHY[reason]), examples=examples)
    return reason is not None


def _because(order: OrderSummary, reason: str, message: str) -> LeftOut:
    return LeftOut(order_id=order.id, order_number=order.number, reason=reason, message=message)


def _over_total(order_id: str, order_number: str) -> LeftOut:
    return LeftOut(
        order_id=order_id,
        order_number=order_number,
        reason="max_total",
        message="With it the run would come to more than its max_total, or it is in a currency without one.",
    )


async def _weigh_all(
    rt: Runtime, shop: Shop, search: Search, orders: Sequence[tuple[OrderSummary, int]], exhausted: set[str]
) -> list[Pick | LeftOut]:
    async with rt.database.reading() as conn:
        now = await schedule_runs.clock(conn)
    return await asyncio.gather(
        *(
            _skip_exhausted(order)
            if order.currency.upper() in exhausted
            else _weigh(rt, shop, search, order, used_up, read_at=now)
            for order, used_up in orders
        )
    )


async def _skip_exhausted(order: OrderSummary) -> LeftOut:
    return _over_total(order.id, order.number)


async def _weigh(
    rt: Runtime, shop: Shop, search: Search, listed: OrderSummary, used_up: int, *, read_at: datetime
) -> Pick | LeftOut:
    """Read an order and say what the schedule's refund of it would be."""
    plan = search.plan
    try:
        order = await shop.store.read_order(listed.id, read_at=read_at, priority="background")
    except OrderNotFound as error:
        return _because(listed, "order_not_found", str(error))
    if not plan.selector.admits_refunded(refunded_of(order), order.total):
        return _because(listed, "refunded", _WHY["refunded"])
    capability = await shop.store.payment_capability(order.payment_method, priority="background")
    async with rt.database.reading() as conn:
        against = await standing.commitments(conn, search.store_id, order.id, snapshot_read_at=read_at)
    if against.in_doubt is not None:
        return _because(
            listed, "refund_in_progress", f"{against.in_doubt}, whose outcome is not known, blocks the order."
        )
    command = command_of(plan, order, schedule_id=search.schedule_id, store=search.store, earlier=used_up)
    verdict = decide(command, order, holds=against.holds, capability=capability, policy=shop.policy)
    if isinstance(verdict, Refusal):
        return _because(listed, verdict.code, verdict.faults[0].message)
    return Pick(order_id=order.id, order_number=order.number, command=command, refund=verdict, used_up=used_up)
