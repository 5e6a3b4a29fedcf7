"""Refund records to write, with everything filled in."""

import secrets
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from ulid import ULID

from app.database import Connection
from app.domain.order import TaxPart
from app.domain.refund import PlanLine, RefundCommand, RefundPlan
from app.ledger import refunds, tenants
from app.ledger.events import NewEvent
from app.ledger.records import RefundRecord

CREATED = NewEvent(type="refund.created", actor="test")
EVENT = NewEvent(type="refund.tested", actor="test")
LEASE = timedelta(seconds=60)


def plan(amount: str = "10.71", *, order_id: str = "12", payment: str = "gateway") -> RefundPlan:
    """Give a plan for one unit of a line at 9.00 plus 19 %, whatever the amount says."""
    line = PlanLine(
        line_id="311",
        kind="item",
        name="Album",
        sku="SKU0",
        quantity=Decimal(1),
        net=Decimal("9.00"),
        taxes=(TaxPart(rate_id="1", amount=Decimal("1.71")),),
    )
    return RefundPlan(
        order_id=order_id,
        order_number=order_id,
        currency="EUR",
        decimals=2,
        amount=Decimal(amount),
        lines=(line,),
        goodwill=Decimal(0),
        unallocated=Decimal(0),
        payment=payment,  # type: ignore[arg-type]
        restock=False,
        reason="Customer request",
    )


async def add_store(conn: Connection, name: str = "demo") -> tuple[str, str]:
    """Add a tenant with a store and give their ids."""
    tenant_id, store_id = tenants.new_tenant_id(), tenants.new_store_id()
    await tenants.add_tenant(conn, id=tenant_id, name=f"t-{secrets.token_hex(6)}")
    await tenants.add_store(
        conn,
        id=store_id,
        tenant_id=tenant_id,
        name=name,
        url="https://shop.example",
        api="v3",
        auth="basic",
        credentials=b"sealed",
        ca_file=None,
    )
    return tenant_id, store_id


def draft(tenant_id: str, store_id: str, *, planned: RefundPlan | None = None, **fields: Any) -> RefundRecord:
    """Give a pending refund that is not in the ledger yet."""
    now = datetime.now(UTC)
    the_plan = planned or plan()
    record = RefundRecord(
        id=f"rf_{ULID()}",
        tenant_id=tenant_id,
        store_id=store_id,
        store="demo",
        order_id=the_plan.order_id,
        order_number=the_plan.order_number,
        external_reference=None,
        fingerprint=b"content",
        command=RefundCommand(store="demo", order_id=the_plan.order_id, amount=the_plan.amount),
        plan=the_plan,
        amount=the_plan.amount,
        currency="EUR",
        decimals=2,
        payment=the_plan.payment,
        restock=False,
        reason="Customer request",
        reason_code=None,
        metadata={},
        origin="api",
        marker=f"RG-{secrets.token_hex(4).upper()}",
        status="pending",
        money="not_moved",
        store_refund_id=None,
        failure=None,
        evidence=(),
        attempts=0,
        fence=1,
        executor="ex_test",
        lease_until=None,
        waited_for_until=None,
        sent_at=None,
        touch_lost_at=None,
        answer=None,
        due_at=None,
        expires_at=now + timedelta(days=1),
        request_id="req",
        created_by="key:test",
        created_at=now,
        updated_at=now,
        settled_at=None,
    )
    return replace(record, **fields)


async def add_refund(
    conn: Connection, tenant_id: str, store_id: str, *, key: str | None = None, **fields: Any
) -> RefundRecord:
    """Write a pending refund."""
    record = draft(tenant_id, store_id, **fields)
    return await refunds.insert(conn, record, CREATED, idempotency_key=key, lease=LEASE, waits=timedelta(0))
