"""Working on one item of a batch: the refund of any request, reserved together with the item that it is for.

Crash by crash: until the reservation commits, the item waits and whoever comes next takes it up; from then on it has
its refund, which goes on like any other.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Literal, assert_never

from app.database import Connection
from app.domain.decision import check_command, decide
from app.domain.errors import Refusal
from app.domain.refund import Failure, RefundPlan
from app.domain.remaining import Hold, refunded_lines
from app.flows.content import content_fingerprint
from app.flows.execute import carry_out, refusal_failure
from app.flows.mirror import Where, mirror_order
from app.flows.reserve import Identical, Reading, Reserved, against_quote, draft_of, read_order, reserve
from app.flows.results import (
    AmbiguousOrderNumber,
    Caller,
    OrderBlocked,
    OrderChanged,
    QuoteRefused,
    StoreFailed,
)
from app.flows.runtime import Runtime
from app.flows.settle import Shop
from app.flows.submit import refused_by_api
from app.ledger import batch_items, batches, refunds, search, standing
from app.ledger.batch_items import Item
from app.ledger.records import RefundRecord

#: ended: it came to an end, or its refund goes on by itself; failed: likewise, and nothing was paid; later: it is to be
#: taken up again; unavailable: likewise, because the store could not be read; withdrawn: its batch does not run any
#: more; over_limit: its batch may not pay that much.
Worked = Literal["ended", "failed", "later", "unavailable", "withdrawn", "over_limit"]

_FIRST_WAIT_S = 2.0
_LONGEST_WAIT_S = 300.0


class _Withdrawn(Exception):
    """The item is not to be worked on any more."""


class _OverLimit(Exception):
    """The batch may not pay that much."""


async def carry_out_item(rt: Runtime, shop: Shop, item: Item) -> Worked:
    """Make the item's refund and carry it out, or say why there is none."""
    command = item.command
    content = content_fingerprint(command)
    if item.known_refund_id is not None:
        return await _join(rt, item, item.known_refund_id, content)
    refusal = check_command(command) or refused_by_api(command, shop.store.api)
    if refusal is not None:
        return await _refuse(rt, item, refusal_failure(refusal))
    found = await read_order(shop, command, read_at=item.now, priority="background")
    if not isinstance(found, Reading):
        return await _unread(rt, item, found)
    caller = caller_of(item)
    stale = await against_quote(rt, caller, command, item.store_id, found.order)
    if stale is not None:
        return await _refuse(rt, item, _stale_failure(stale))
    draft = replace(
        draft_of(rt, caller, command, item.store_id, content, item.request_id),
        batch_id=item.batch_id,
        batch_item=item.number,
    )

    async def link(conn: Connection, record: RefundRecord) -> None:
        linked = await batch_items.link(conn, item, record.id, replayed=False)
        if linked is None:
            raise _Withdrawn
        assert record.amount is not None
        assert record.currency is not None
        # Last, because its row is shared by all of the batch's refunds and stays locked until the commit.
        if linked.limited and not await batches.take(
            conn, item.batch_id, record.currency, record.amount, for_refund=record.id
        ):
            raise _OverLimit

    try:
        reserved = await reserve(rt, draft, found, shop, None, waits=timedelta(0), also=link)
    except _Withdrawn:
        return "withdrawn"
    except _OverLimit:
        return "over_limit"
    match reserved:
        case Reserved():
            if found.order.refunds or reserved.has_history:
                where = Where(tenant_id=item.tenant_id, store_id=item.store_id, store=command.store, api=shop.store.api)
                rt.executions.aside(mirror_order(rt, where, found.order))
            after = await carry_out(rt, reserved.record, shop, priority="background", alone=reserved.alone)
            return "failed" if after.status == "failed" else "ended"
        case Refusal():
            return await _refuse(rt, item, refusal_failure(reserved))
        case OrderBlocked():
            message = f"{reserved.refund_id}, whose outcome is not known, blocks the order."
            return await put_off(rt, item, Failure(code="refund_in_progress", message=message)) or "later"
        case None:
            # The reference was taken while the order was being read, or the item itself by another process.
            return await _join_by_reference(rt, item, content)
        case Identical():
            raise AssertionError("only requests by the front join others")
        case _:
            assert_never(reserved)


async def check_item(
    rt: Runtime, shop: Shop, item: Item, earlier: Callable[[str], Sequence[RefundPlan]]
) -> RefundPlan | Worked:
    """Find out what the item's refund would be, after those of `earlier` items of the order; creates none.

    Gives the plan, which is on record then, or how else it ended.
    """
    if item.known_refund_id is not None:
        async with rt.database.committing() as conn:
            await batch_items.find_valid(conn, item, None)
        return "ended"
    refusal = refused_by_api(item.command, shop.store.api)
    if refusal is not None:
        return await _refuse(rt, item, refusal_failure(refusal))
    found = await read_order(shop, item.command, read_at=item.now, priority="background")
    if not isinstance(found, Reading):
        return await _unread(rt, item, found)
    order = found.order
    stale = await against_quote(rt, caller_of(item), item.command, item.store_id, order)
    if stale is not None:
        return await _refuse(rt, item, _stale_failure(stale))
    async with rt.database.reading() as conn:
        against = await standing.commitments(conn, item.store_id, order.id, snapshot_read_at=order.read_at)
    if against.in_doubt is not None:
        message = f"{against.in_doubt}, whose outcome is not known, blocks the order."
        return await _refuse(rt, item, Failure(code="refund_in_progress", message=message))
    planned = tuple(
        Hold(
            refund_id=f"item before {item.number}",
            amount=plan.amount,
            lines=refunded_lines(plan),
            marker=None,
            store_refund_id=None,
        )
        for plan in earlier(order.id)
    )
    plan = decide(
        item.command, order, holds=(*against.holds, *planned), capability=found.capability, policy=shop.policy
    )
    if isinstance(plan, Refusal):
        return await _refuse(rt, item, refusal_failure(plan))
    async with rt.database.committing() as conn:
        await batch_items.find_valid(conn, item, plan)
    return plan


def caller_of(item: Item) -> Caller:
    """Give the caller on whose behalf the item's refund is made."""
    value = item.caller
    store_ids = value["store_ids"]
    return Caller(
        tenant_id=item.tenant_id,
        key_id=value["key_id"],
        name=value["name"],
        scopes=frozenset(value["scopes"]),
        store_ids=None if store_ids is None else frozenset(store_ids),
    )


async def _join(rt: Runtime, item: Item, refund_id: str, content: bytes) -> Worked:
    """Let the item be done by the refund that its reference belongs to, if that was asked for in the same way."""
    async with rt.database.transaction() as conn:
        record = await refunds.get(conn, refund_id)
        assert record is not None
        if record.fingerprint == content:
            linked = await batch_items.link(conn, item, refund_id, replayed=True)
            return "withdrawn" if linked is None else "ended"
    message = f"The reference belongs to {refund_id}, which was asked for with other content."
    conflict = Failure(code="external_reference_conflict", message=message, facts={"refund_id": refund_id})
    return await _refuse(rt, item, conflict)


async def _join_by_reference(rt: Runtime, item: Item, content: bytes) -> Worked:
    reference = item.command.external_reference
    async with rt.database.reading() as conn:
        known = await search.by_references(conn, item.tenant_id, [] if reference is None else [reference])
    there = None if reference is None else known.get((item.store_id, reference))
    return "withdrawn" if there is None else await _join(rt, item, there.refund_id, content)


async def _refuse(rt: Runtime, item: Item, failure: Failure) -> Worked:
    async with rt.database.committing() as conn:
        await batch_items.refuse(conn, item, failure)
    return "failed"


async def _unread(rt: Runtime, item: Item, why: StoreFailed | AmbiguousOrderNumber) -> Worked:
    match why:
        case AmbiguousOrderNumber():
            message = f"The store has {len(why.order_ids)} orders of this number."
            return await _refuse(rt, item, Failure(code="ambiguous_order_number", message=message))
        case StoreFailed(code="order_not_found"):
            return await _refuse(rt, item, Failure(code=why.code, message=why.message))
        case StoreFailed():
            return await put_off(rt, item, Failure(code=why.code, message=why.message)) or "unavailable"
        case _:
            assert_never(why)


async def put_off(rt: Runtime, item: Item, why: Failure) -> Worked | None:
    """Take the item up again later: None. One that was put off for as long as any accepted refund may wait is refused.

    The waits count, not the time since its batch began: that may have been paused for days, or have much to do.
    """
    if _waited_s(item.tries) >= rt.settings.pending_expiry_s:
        return await _refuse(rt, item, why)
    async with rt.database.committing() as conn:
        await batch_items.put_off(conn, item, by=timedelta(seconds=_wait_s(item.tries)))
    return None


def _wait_s(tries: int) -> float:
    return min(_FIRST_WAIT_S * 2.0 ** min(tries, 10), _LONGEST_WAIT_S)


def _waited_s(tries: int) -> float:
    return sum(map(_wait_s, range(tries)))


def _stale_failure(stale: QuoteRefused | OrderChanged) -> Failure:
    match stale:
        case QuoteRefused():
            return Failure(code=stale.code, message=stale.message)
        case OrderChanged():
            fields = ", ".join(stale.differences)
            return Failure(code="order_changed", message=f"The order has changed since the quote was made: {fields}.")
        case _:
            assert_never(stale)
