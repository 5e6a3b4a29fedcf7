"""The adapter against the sandbox store, which behaves as WooCommerce was recorded to."""

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import pytest
import stamina
import trustme

from app.domain.refund import PlanLine, RefundPlan
from app.stores.connection import AuthMethod
from app.stores.port import (
    Contradicted,
    NotSent,
    OrderNotFound,
    Refunded,
    Refused,
    StoreMisconfigured,
    StoreUnavailable,
    Unknown,
)
from tests.stores.sandbox import READ_AT, Sandbox, amount_plan, running


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with running() as started:
        with stamina.set_testing(True, attempts=3):
            yield started


async def test_a_refund_of_a_line_is_paid_recorded_and_read_back(sandbox: Sandbox) -> None:
    store = sandbox.store()
    order_id = await sandbox.order()
    order = await store.read_order(order_id, read_at=READ_AT)
    line = next(line for line in order.lines if line.kind == "item")
    unit_net = (line.net / line.quantity).quantize(Decimal("0.01"))
    plan = RefundPlan(
        order_id=order.id,
        order_number=order.number,
        currency=order.currency,
        decimals=order.decimals,
        amount=unit_net,
        lines=(
            PlanLine(
                line_id=line.id,
                kind="item",
                name=line.name,
                sku=line.sku,
                quantity=Decimal(1),
                net=unit_net,
                taxes=(),
            ),
        ),
        goodwill=Decimal(0),
        unallocated=Decimal(0),
        payment="gateway",
        restock=True,
        reason="Customer request",
    )
    answer = await store.refund(plan, marker="RG-7F3K9Q2X", request_id="req-1")
    assert isinstance(answer, Refunded), answer
    (payout,) = await sandbox.payouts(order_id)
    assert Decimal(payout["amount"]) == unit_net
    (refund,) = (await store.read_order(order_id, read_at=READ_AT, verify=True)).refunds
    assert (refund.id, refund.amount, refund.refunded_payment) == (answer.store_refund_id, unit_net, True)
    assert (refund.reference, refund.reason) == ("RG-7F3K9Q2X", "Customer request [RG-7F3K9Q2X]")
    assert [(part.item_id, part.quantity, part.net) for part in refund.lines] == [(line.id, Decimal(1), unit_net)]
    read = await store.read_refund(order_id, refund.id)
    assert read is not None
    assert (read.order_id, read.document["parent_id"]) == (order_id, int(order_id))
    assert (read.refund.id, read.refund.amount, read.refund.reference) == (refund.id, unit_net, refund.reference)
    assert await store.read_refund(order_id, order_id) is None
    assert await store.read_refund(order_id, "99999999") is None
    notes = await store.read_notes(order_id)
    assert any("Refund ID" in note.text and note.by_system for note in notes)
    log = (await sandbox.admin.get("/sandbox/requests")).json()
    posted = [row for row in log if row["method"] == "POST"]
    assert [row["request_id"] for row in posted] == ["req-1"]
    assert posted[0]["user_agent"].startswith("refund-gateway/")


async def test_what_the_store_refuses_is_refused(sandbox: Sandbox) -> None:
    store = sandbox.store()
    order = await store.read_order(await sandbox.order(), read_at=READ_AT)
    cases = [
        (amount_plan(order, "99999.00"), "exceeds_refundable", False),
        (amount_plan(order, "1.00", reason="decline"), "gateway_declined", True),
        (amount_plan(order, "1.00", reason="false"), "gateway_declined", True),
    ]
    for plan, code, needs_look in cases:
        answer = await store.refund(plan, marker="RG-1", request_id="r")
        assert isinstance(answer, Refused), answer
        assert (answer.code, answer.needs_look) == (code, needs_look)
    assert await sandbox.payouts(order.id) == []
    cash = await store.read_order(await sandbox.order(payment_method="cod"), read_at=READ_AT)
    answer = await store.refund(amount_plan(cash, "1.00"), marker="RG-1", request_id="r")
    assert isinstance(answer, Refused)
    assert answer.code == "gateway_cannot_refund"
    assert isinstance(
        await store.refund(amount_plan(cash, "1.00", payment="manual"), marker="RG-2", request_id="r"), Refunded
    )


@pytest.mark.parametrize(
    ("fault", "kind", "paid"),
    [
        ("lost_answer", Unknown, 1),
        ("truncated_json", Unknown, 1),
        ("bad_gateway_after", Unknown, 1),
        ("die_after_paying", Unknown, 1),
        ("die_before_paying", Unknown, 0),
        ("fatal", Unknown, 0),
        ("bad_gateway", Unknown, 0),
        ("rate_limited", Unknown, 0),
        ("maintenance", Unknown, 0),
        ("unavailable", Unknown, 0),
        ("html", Unknown, 0),
        ("captcha", Unknown, 0),
        ("redirect", Unknown, 0),
        ("decline", Refused, 0),
        ("gateway_false", Refused, 0),
        ("fail_after_paying", Refused, 1),
        ("wrong_amount", Contradicted, 1),
        ("unpaid_201", Contradicted, 0),
        ("bom", Refunded, 1),
        ("notice", Refunded, 1),
    ],
)
async def test_no_fault_is_taken_for_something_it_is_not(
    sandbox: Sandbox, fault: str, kind: type[object], paid: int
) -> None:
    store = sandbox.store()
    order = await store.read_order(await sandbox.order(), read_at=READ_AT)
    await sandbox.fault(fault, order_id=int(order.id), times=1)
    answer = await store.refund(amount_plan(order, "5.00"), marker="RG-1", request_id="r")
    assert isinstance(answer, kind), answer
    assert len(await sandbox.payouts(order.id)) == paid
    if isinstance(answer, Refused):
        # What may hide a payment is marked as such.
        assert answer.needs_look
    expected = {
        "rate_limited": "rate_limited",
        "maintenance": "maintenance",
        "captcha": "captcha",
        "redirect": "redirected",
    }
    if isinstance(answer, Unknown):
        assert answer.turned_away == expected.get(fault)


async def test_a_refund_that_takes_longer_than_our_patience_is_unknown_and_paid(sandbox: Sandbox) -> None:
    store = sandbox.store(refund_timeout_s=0.2)
    order = await store.read_order(await sandbox.order(), read_at=READ_AT)
    answer = await store.refund(amount_plan(order, "5.00", reason="slow600"), marker="RG-1", request_id="r")
    assert isinstance(answer, Unknown)
    under_way = (await store.read_order(order.id, read_at=READ_AT, verify=True)).refunds
    assert [(refund.refunded_payment, "RG-1" in refund.reason) for refund in under_way] == [(False, True)]
    await asyncio.sleep(0.7)
    (refund,) = (await store.read_order(order.id, read_at=READ_AT, verify=True)).refunds
    assert (refund.refunded_payment, refund.reference) == (True, "RG-1")
    assert len(await sandbox.payouts(order.id)) == 1


async def test_passing_faults_of_reads_are_waited_out(sandbox: Sandbox) -> None:
    store = sandbox.store()
    order_id = await sandbox.order()
    for fault in ("bad_gateway", "html", "truncated_json"):
        await sandbox.fault(fault, operation="read", times=1)
        assert (await store.read_order(order_id, read_at=READ_AT)).id == order_id
    for fault in ("bom", "notice"):
        await sandbox.fault(fault, operation="read", times=3)
        assert (await store.read_order(order_id, read_at=READ_AT)).id == order_id


async def test_lasting_faults_of_reads_are_told_apart(sandbox: Sandbox) -> None:
    order_id = await sandbox.order()
    for fault, kind in (
        ("maintenance", StoreUnavailable),
        ("captcha", StoreUnavailable),
        ("redirect", StoreMisconfigured),
    ):
        await sandbox.fault(fault, operation="read")
        with pytest.raises(kind):
            await sandbox.store().read_order(order_id, read_at=READ_AT)
        await sandbox.admin.delete("/sandbox/faults")
    with pytest.raises(OrderNotFound):
        await sandbox.store().read_order("99999999", read_at=READ_AT)


async def test_the_decimals_are_the_stores_or_the_currencys(sandbox: Sandbox) -> None:
    store = sandbox.store()
    euro = await store.read_order(await sandbox.order(), read_at=READ_AT)
    lines = [{"name": "Tea", "sku": "T", "quantity": 2, "price": "500"}]
    yen = await store.read_order(
        await sandbox.order(currency="JPY", lines=lines, tax_rates=[], shipping="0", fees=[]), read_at=READ_AT
    )
    assert (euro.decimals, yen.decimals, yen.total) == (2, 0, Decimal(1000))
    answer = await store.refund(amount_plan(yen, "300"), marker="RG-1", request_id="r")
    assert isinstance(answer, Refunded), answer


async def test_payment_methods_and_orders_are_found(sandbox: Sandbox) -> None:
    store = sandbox.store()
    assert await store.payment_capability("sandboxpay") == "refunds"
    assert await store.payment_capability("cod") == "no_refunds"
    assert await store.payment_capability("gone_gateway") == "missing"
    order_id = await sandbox.order()
    order = await store.read_order(order_id, read_at=READ_AT)
    assert await store.find_order(order.number) == (order_id,)
    assert await store.find_order("no such number") == ()


async def test_a_store_in_order_checks_out(sandbox: Sandbox) -> None:
    report = await sandbox.store().check()
    found = {check.name: check.ok for check in report.checks}
    assert report.ok, report.checks
    assert found["write_permission"] is True
    assert found["credentials"] is True
    assert (report.currency, report.decimals) == ("EUR", 2)
    assert report.woocommerce_version is not None
    assert "wc/v3" in report.apis
    assert {method.id: method.capability for method in report.payment_methods}["sandboxpay"] == "refunds"
    assert report.clock_skew_s is None or abs(report.clock_skew_s) < 5
    orders = (await sandbox.admin.get("/sandbox/orders")).json()
    assert all(
        row["method"] == "GET" or "/orders/0/" in row["path"]
        for row in (await sandbox.admin.get("/sandbox/requests")).json()
    )
    assert orders


async def test_a_key_that_may_only_read_is_found_out_without_writing(sandbox: Sandbox) -> None:
    report = await sandbox.store(key="ro").check()
    found = {check.name: check for check in report.checks}
    assert not report.ok
    assert found["credentials"].ok is True
    assert found["write_permission"].ok is False
    assert "Read/Write" in (found["write_permission"].remedy or "")


async def test_a_wrong_secret_is_found_out(sandbox: Sandbox) -> None:
    store = sandbox.store(secret="cs_wrong")
    report = await store.check()
    assert {check.name: check.ok for check in report.checks}["credentials"] is False
    with pytest.raises(StoreMisconfigured):
        await store.read_order(await sandbox.order(), read_at=READ_AT)


@pytest.mark.parametrize("auth", ["basic", "query", "oauth1"])
async def test_every_kind_of_authentication_works_over_https(auth: AuthMethod, tmp_path: Path) -> None:
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    async with running((ca.issue_cert("127.0.0.1"), tmp_path / "ca.pem")) as sandbox:
        store = sandbox.store(auth=auth)
        order = await store.read_order(await sandbox.order(), read_at=READ_AT)
        answer = await store.refund(amount_plan(order, "1.00"), marker="RG-1", request_id="r")
        assert isinstance(answer, Refunded), answer
        tls = {check.name: check for check in (await store.check()).checks}["tls"]
        assert tls.ok
        assert "TLSv1" in tls.detail


async def test_a_store_that_has_gone_was_sent_nothing() -> None:
    async with running() as sandbox:
        store = sandbox.store()
        order = await store.read_order(await sandbox.order(), read_at=READ_AT)
    assert isinstance(await store.refund(amount_plan(order, "1.00"), marker="RG-1", request_id="r"), NotSent)
    report = await store.check()
    assert not report.ok
