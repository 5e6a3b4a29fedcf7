"""Saying what a refund would be, without doing it."""

from datetime import timedelta

from ulid import ULID

from app.domain.decision import check_command, decide
from app.domain.errors import Refusal
from app.domain.order_state import fingerprint, summary
from app.domain.refund import RefundCommand
from app.domain.remaining import remaining
from app.flows.results import Caller, OrderBlocked, Preview, Quote, StoreNotFound
from app.flows.runtime import Runtime
from app.flows.settle import Shop
from app.flows.submit import Reading, money_fingerprint, read_order
from app.ledger import quotes, search, standing


async def preview(rt: Runtime, caller: Caller, command: RefundCommand) -> Preview:
    """Decide on a refund and keep the decision as a quote; nothing else is created, here or in the store."""
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
        held = against.holds
    plan = decide(command, order, holds=held, capability=found.capability, policy=policy)
    if isinstance(plan, Refusal):
        return plan
    quote_id = f"qt_{ULID()}"
    async with rt.database.transaction() as conn:
        expires_at = await quotes.insert(
            conn,
            caller.tenant_id,
            quote_id=quote_id,
            store_id=opening.store_id,
            order_id=order.id,
            fingerprint=money_fingerprint(command),
            state=fingerprint(order),
            summary=summary(order),
            amount=plan.amount,
            ttl=timedelta(seconds=rt.settings.quote_ttl_s),
        )
    before = remaining(order, held).total
    return Quote(
        id=quote_id,
        expires_at=expires_at,
        plan=plan,
        refundable_before=before,
        refundable_after=before - plan.amount,
        capability=found.capability,
        warnings=tuple(_warnings(found, plan_is_full=before == plan.amount, held=against.unfinished)),
    )


def _warnings(found: Reading, *, plan_is_full: bool, held: int) -> list[str]:
    warnings = []
    if found.capability == "unknown":
        warnings.append("The store does not say whether this payment method can refund; it may still refuse.")
    if held:
        warnings.append(f"{held} other refund(s) of this order are under way or in review and count against it.")
    if plan_is_full:
        warnings.append("This refunds everything that is left; the store will mark the order as refunded.")
    return warnings
