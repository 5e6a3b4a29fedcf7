"""Saying what a refund would be, without doing it."""

from dataclasses import dataclass, replace
from datetime import timedelta

from ulid import ULID

from app.domain.decision import check_command, decide
from app.domain.errors import Refusal
from app.domain.order import OrderSnapshot
from app.domain.order_state import fingerprint, summary
from app.domain.refund import GatewayCapability, RefundCommand, RefundPlan
from app.domain.remaining import Remaining, remaining
from app.flows.content import money_fingerprint
from app.flows.reserve import Reading, read_order
from app.flows.results import (
    AmbiguousOrderNumber,
    Caller,
    OrderBlocked,
    Preview,
    Quote,
    StoreFailed,
    StoreNotFound,
)
from app.flows.runtime import Runtime
from app.flows.settle import Shop
from app.ledger import quotes, search, standing

#: What makes a decision refuse a refund that is to be paid by the store's payment gateway.
_CANNOT_PAY: frozenset[GatewayCapability] = frozenset({"no_refunds", "missing", "unprovable"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighed:
    """What an order makes of a command, and what there was of it to take from."""

    store_id: str
    order: OrderSnapshot
    left: Remaining  #: before the refund, with what others hold of it taken off
    verdict: RefundPlan | Refusal
    capability: GatewayCapability
    unfinished: int  #: refunds of the order that are under way or in review


async def weigh(
    rt: Runtime, caller: Caller, command: RefundCommand, *, whoever_pays: bool = False
) -> Weighed | Refusal | StoreNotFound | StoreFailed | AmbiguousOrderNumber | OrderBlocked:
    """Decide on a refund of the order as it is now; nothing is created, here or in the store.

    With `whoever_pays`, an order whose payment method cannot pay back is weighed for a refund that is only recorded.
    """
    refusal = check_command(command)
    if refusal is not None:
        return refusal
    async with rt.database.reading() as conn:
        opening = await search.opening(
            conn, caller.tenant_id, command.store, idempotency_key=None, external_reference=None
        )
    if opening.store_id is None or (caller.store_ids is not None and opening.store_id not in caller.store_ids):
        return StoreNotFound(store=command.store)
    try:
        store, policy = await rt.stores.open(opening.store_id)
    except LookupError:
        return StoreNotFound(store=command.store)
    found = await read_order(Shop(store=store, policy=policy), command, read_at=opening.now)
    if not isinstance(found, Reading):
        return found
    order = found.order
    async with rt.database.reading() as conn:
        in_doubt = await standing.doubtful(conn, opening.store_id, order.id)
        if in_doubt is not None:
            return OrderBlocked(refund_id=in_doubt)
        against = await standing.commitments(conn, opening.store_id, order.id, snapshot_read_at=order.read_at)
    if whoever_pays and found.capability in _CANNOT_PAY:
        command = replace(command, payment="manual")
    return Weighed(
        store_id=opening.store_id,
        order=order,
        left=remaining(order, against.holds),
        verdict=decide(command, order, holds=against.holds, capability=found.capability, policy=policy),
        capability=found.capability,
        unfinished=against.unfinished,
    )


async def preview(rt: Runtime, caller: Caller, command: RefundCommand) -> Preview:
    """Decide on a refund and keep the decision as a quote; nothing else is created, here or in the store."""
    weighed = await weigh(rt, caller, command)
    if not isinstance(weighed, Weighed):
        return weighed
    plan, order, before = weighed.verdict, weighed.order, weighed.left.total
    if isinstance(plan, Refusal):
        return plan
    quote_id = f"qt_{ULID()}"
    async with rt.database.transaction() as conn:
        expires_at = await quotes.insert(
            conn,
            caller.tenant_id,
            quote_id=quote_id,
            store_id=weighed.store_id,
            order_id=order.id,
            fingerprint=money_fingerprint(command),
            state=fingerprint(order),
            summary=summary(order),
            amount=plan.amount,
            ttl=timedelta(seconds=rt.settings.quote_ttl_s),
        )
    return Quote(
        id=quote_id,
        expires_at=expires_at,
        plan=plan,
        refundable_before=before,
        refundable_after=before - plan.amount,
        capability=weighed.capability,
        warnings=tuple(_warnings(weighed, plan_is_full=before == plan.amount)),
    )


def _warnings(weighed: Weighed, *, plan_is_full: bool) -> list[str]:
    warnings = []
    if weighed.capability == "unknown":
        warnings.append("The store does not say whether this payment method can refund; it may still refuse.")
    if weighed.unfinished:
        warnings.append(
            f"{weighed.unfinished} other refund(s) of this order are under way or in review and count against it."
        )
    if plan_is_full:
        warnings.append("This refunds everything that is left; the store will mark the order as refunded.")
    return warnings
