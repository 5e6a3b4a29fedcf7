"""A refund from request to outcome, on a real database and a sandbox store behind a real socket."""

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from app.domain.errors import Refusal
from app.domain.refund import ItemRequest, RefundCommand
from app.flows.preview import preview
from app.flows.results import (
    Accepted,
    KeyReused,
    OrderBlocked,
    OrderChanged,
    Quote,
    QuoteRefused,
    ReferenceConflict,
    RequestInProgress,
    StoreFailed,
    StoreNotFound,
    Submission,
)
from app.flows.runtime import Runtime
from app.flows.submit import submit
from app.ledger import events, refunds
from tests.conftest import Sandbox, Shop


def command(order: dict[str, Any], **fields: Any) -> RefundCommand:
    values: dict[str, Any] = {"store": "demo", "order_id": str(order["id"]), "amount": Decimal("5.00")}
    return RefundCommand(**(values | fields))


async def post(
    rt: Runtime, shop: Shop, wanted: RefundCommand, *, key: str | None = None, wait_s: float = 10, at_once: bool = False
) -> Submission:
    return await submit(
        rt, shop.caller, wanted, idempotency_key=key, request_id="req-1", wait_s=wait_s, at_once=at_once
    )


async def test_a_refund_is_carried_out_and_on_record(rt: Runtime, shop: Shop, sandbox: Sandbox) -> None:
    order = await sandbox.new_order()
    answer = await post(rt, shop, command(order, reason="Customer request"))
    assert isinstance(answer, Accepted)
    record = answer.record
    assert (record.status, record.money, record.amount) == ("succeeded", "moved", Decimal("5.00"))
    payouts = await sandbox.payouts(order["id"])
    assert [(p["amount"], str(p["refund_id"])) for p in payouts] == [("5.00", record.store_refund_id)]
    assert f"[{record.marker}]" in payouts[0]["reason"]
    async with rt.database.reading() as conn:
        timeline = await events.timeline(conn, shop.tenant_id, record.id, limit=10)
    assert [event.type for event in timeline] == ["refund.created", "refund.sending", "refund.succeeded"]


async def test_fifty_identical_requests_make_one_refund(rt: Runtime, shop: Shop, sandbox: Sandbox) -> None:
    order = await sandbox.new_order()
    wanted = command(order, external_reference="CM-1")
    answers = await asyncio.gather(*(post(rt, shop, wanted, key="key-1") for _ in range(50)))
    ids = {a.record.id if isinstance(a, Accepted) else a.refund_id for a in answers}  # type: ignore[union-attr]
    assert len(ids) == 1
    assert {type(a) for a in answers} <= {Accepted, RequestInProgress}
    assert len(await sandbox.payouts(order["id"])) == 1


async def test_an_order_that_bears_ten_of_fifty_refunds_gets_ten(rt: Runtime, shop: Shop, sandbox: Sandbox) -> None:
    order = await sandbox.new_order(
        lines=[{"name": "Album", "sku": "A", "quantity": 10, "price": "5.00"}], tax_rates=[]
    )
    assert order["total"] == "50.00"
    answers = await asyncio.gather(
        *(post(rt, shop, command(order, external_reference=f"CM-{i}"), wait_s=60) for i in range(50))
    )
    succeeded = [a for a in answers if isinstance(a, Accepted) and a.record.status == "succeeded"]
    refused = [a for a in answers if isinstance(a, Refusal) and a.code == "exceeds_refundable"]
    assert (len(succeeded), len(refused)) == (10, 40)
    assert sum(Decimal(p["amount"]) for p in await sandbox.payouts(order["id"])) == 50


async def test_a_repeated_request_is_recognised(rt: Runtime, shop: Shop, sandbox: Sandbox) -> None:
    order = await sandbox.new_order()
    first = await post(rt, shop, command(order, external_reference="CM-1"), key="k1")
    assert isinstance(first, Accepted)
    for key in ("k1", "k2", None):
        again = await post(rt, shop, command(order, external_reference="CM-1", amount=Decimal("5.0")), key=key)
        assert again == Accepted(record=first.record, replayed=True)
    other = command(order, external_reference="CM-1", amount=Decimal("6.00"))
    assert await post(rt, shop, other) == ReferenceConflict(refund_id=first.record.id, differing=("amount",))
    # k2 was bound to the refund when it was found by its reference.
    for key in ("k1", "k2"):
        assert await post(rt, shop, other, key=key) == KeyReused(resource_id=first.record.id)
    assert len(await sandbox.payouts(order["id"])) == 1


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"amount": Decimal("32.14")}, "exceeds_refundable"),
        ({"amount": Decimal("1.005")}, "precision_exceeded"),
        ({"amount": None, "items": (ItemRequest(sku="nope", quantity=1),)}, "line_not_found"),
        ({"currency": "USD"}, "currency_mismatch"),
    ],
)
async def test_a_refusal_creates_nothing(
    rt: Runtime, shop: Shop, sandbox: Sandbox, fields: dict[str, Any], code: str
) -> None:
    order = await sandbox.new_order()
    answer = await post(rt, shop, command(order, external_reference="CM-1", **fields), key="k")
    assert isinstance(answer, Refusal)
    assert answer.code == code
    assert await sandbox.payouts(order["id"]) == []
    async with rt.database.reading() as conn:
        row = await (await conn.execute("SELECT count(*) AS n FROM refund")).fetchone()
    assert row == {"n": 0}


async def test_a_decline_is_a_failed_refund_without_money(rt: Runtime, shop: Shop, sandbox: Sandbox) -> None:
    order = await sandbox.new_order()
    await sandbox.fault(order_id=order["id"], operation="refund", fault="decline", times=1)
    answer = await post(rt, shop, command(order))
    assert isinstance(answer, Accepted)
    assert (answer.record.status, answer.record.money) == ("failed", "not_moved")
    assert answer.record.failure is not None
    assert answer.record.failure.code == "gateway_declined"
    again = await post(rt, shop, command(order))
    assert isinstance(again, Accepted)
    assert again.record.status == "succeeded"


async def test_an_error_after_the_payment_is_never_called_a_decline(rt: Runtime, shop: Shop, sandbox: Sandbox) -> None:
    order = await sandbox.new_order()
    await sandbox.fault(order_id=order["id"], operation="refund", fault="fail_after_paying", times=1)
    answer = await post(rt, shop, command(order))
    assert isinstance(answer, Accepted)
    assert (answer.record.status, answer.record.money) == ("needs_review", "unknown")
    assert answer.record.failure is not None
    assert answer.record.failure.code == "payment_without_row"
    assert len(await sandbox.payouts(order["id"])) == 1


@pytest.mark.parametrize("fault", ["wrong_amount", "unpaid_201"])
async def test_a_201_that_contradicts_itself_goes_to_a_person(
    rt: Runtime, shop: Shop, sandbox: Sandbox, fault: str
) -> None:
    order = await sandbox.new_order()
    await sandbox.fault(order_id=order["id"], operation="refund", fault=fault, times=1)
    answer = await post(rt, shop, command(order))
    assert isinstance(answer, Accepted)
    assert answer.record.status == "needs_review"
    assert answer.record.evidence


async def test_a_refund_in_doubt_blocks_its_order_only(rt: Runtime, shop: Shop, sandbox: Sandbox) -> None:
    order, other = await sandbox.new_order(), await sandbox.new_order()
    await sandbox.fault(order_id=order["id"], operation="refund", fault="die_after_paying", times=1)
    first = await post(rt, shop, command(order))
    assert isinstance(first, Accepted)
    assert first.record.status == "uncertain"
    assert await post(rt, shop, command(order)) == OrderBlocked(refund_id=first.record.id)
    assert await preview(rt, shop.caller, command(order)) == OrderBlocked(refund_id=first.record.id)
    elsewhere = await post(rt, shop, command(other))
    assert isinstance(elsewhere, Accepted)
    assert elsewhere.record.status == "succeeded"


async def test_a_slow_store_is_answered_for_later(rt: Runtime, shop: Shop, sandbox: Sandbox) -> None:
    order = await sandbox.new_order()
    await sandbox.fault(order_id=order["id"], operation="refund", fault="slow", times=1, delay_s=1.0)
    wanted = command(order, external_reference="CM-1")
    answer = await post(rt, shop, wanted, wait_s=0.3)
    assert isinstance(answer, Accepted)
    assert answer.record.status == "sending"
    await rt.executions.drain(rt_grace(5))
    async with rt.database.reading() as conn:
        record = await refunds.get(conn, answer.record.id)
    assert record is not None
    assert record.status == "succeeded"


def rt_grace(seconds: float) -> Any:
    from datetime import timedelta

    return timedelta(seconds=seconds)


async def test_a_store_that_cannot_be_read_creates_nothing(rt: Runtime, shop: Shop, sandbox: Sandbox) -> None:
    order = await sandbox.new_order()
    await sandbox.fault(operation="read", fault="unavailable", retry_after_s=1)
    answer = await post(rt, shop, command(order))
    assert isinstance(answer, StoreFailed)
    assert answer.code == "store_unavailable"
    unknown = await post(rt, shop, command(order, store="nope"))
    assert unknown == StoreNotFound(store="nope")


async def test_a_quote_binds_the_refund_to_the_order_it_was_made_for(rt: Runtime, shop: Shop, sandbox: Sandbox) -> None:
    order = await sandbox.new_order()
    quote = await preview(rt, shop.caller, command(order))
    assert isinstance(quote, Quote)
    assert (quote.refundable_before, quote.refundable_after) == (Decimal("32.13"), Decimal("27.13"))
    other_amount = await post(rt, shop, command(order, amount=Decimal("6.00"), quote_id=quote.id))
    assert isinstance(other_amount, QuoteRefused)
    assert other_amount.code == "quote_mismatch"
    taken = await post(rt, shop, command(order, quote_id=quote.id, reason="as quoted"))
    assert isinstance(taken, Accepted)
    assert taken.record.status == "succeeded"
    changed = await post(rt, shop, command(order, quote_id=quote.id))
    assert isinstance(changed, OrderChanged)
    assert changed.differences["refunded_total"] == ("0.00", "5.00")
    unknown = await post(rt, shop, command(order, quote_id="qt_none"))
    assert isinstance(unknown, QuoteRefused)
    assert unknown.code == "quote_not_found"
