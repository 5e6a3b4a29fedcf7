"""What every flow that changes a refund has in common."""

from dataclasses import dataclass
from typing import Any

from app.domain.refund import Failure, StorePolicy
from app.flows.runtime import Runtime
from app.ledger import refunds
from app.ledger.events import NewEvent
from app.ledger.records import RefundRecord
from app.stores.port import Exchange, Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Shop:
    """A store with what its owner allows."""

    store: Store
    policy: StorePolicy


async def fail(
    rt: Runtime,
    record: RefundRecord,
    failure: Failure,
    *,
    data: dict[str, Any] | None = None,
    store_refund_id: str | None = None,
) -> RefundRecord | None:
    """Settle a refund as failed: no money moved. `store_refund_id` names a row that the store keeps all the same."""
    event = NewEvent(
        type="refund.failed",
        actor=rt.executor_id,
        data={"code": failure.code, "message": failure.message, **(data or {})},
    )
    async with rt.database.committing() as conn:
        return await refunds.mark_failed(conn, record, event, failure=failure, store_refund_id=store_refund_id)


async def settled(rt: Runtime, record: RefundRecord, after: RefundRecord | None) -> RefundRecord:
    """Count a refund's new state; read it again when somebody else has changed it."""
    if after is None:
        return await as_it_is(rt, record)
    rt.meters.refund_settled(store=after.store, status=after.status, payment=after.payment)
    return after


async def as_it_is(rt: Runtime, record: RefundRecord) -> RefundRecord:
    async with rt.database.reading() as conn:
        now = await refunds.get(conn, record.id)
    assert now is not None
    return now


def wire(exchange: Exchange) -> dict[str, Any]:
    """Give what went over the wire as event data."""
    data = {
        "http_status": exchange.http_status,
        "store_code": exchange.store_code,
        "store_text": exchange.text or None,
        "duration_ms": round(exchange.duration_ms, 1),
    }
    return {name: value for name, value in data.items() if value is not None}
