"""A reconciliation finds exactly what differs, and says it with the facts of both sides."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from app.domain.reconciliation import ErpEntry, NewReconciliation
from app.domain.refund import RefundCommand
from app.flows import reconcile, reconciling
from app.flows.reconcile import Report
from app.flows.results import Accepted
from app.flows.runtime import Runtime
from app.flows.submit import submit
from app.ledger import reconciliations
from app.ledger.reconciliations import Drift, Reconciliation
from app.ledger.records import RefundRecord
from app.stores.port import Store
from tests.conftest import Sandbox, Shop


async def refunded(rt: Runtime, shop: Shop, order: dict[str, Any], amount: str = "5.00", **fields: Any) -> RefundRecord:
    command = RefundCommand(store="demo", order_id=str(order["id"]), amount=Decimal(amount), **fields)
    outcome = await submit(rt, shop.caller, command, idempotency_key=None, request_id="r", wait_s=8, at_once=False)
    assert isinstance(outcome, Accepted)
    assert outcome.record.status == "succeeded"
    return outcome.record


async def foreign(sandbox: Sandbox, order: dict[str, Any], amount: str = "5.00") -> str:
    answer = await sandbox.client.post(f"/sandbox/orders/{order['id']}/refunds", json={"amount": amount})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def of_store(rt: Runtime, shop: Shop) -> Store:
    store, _ = await rt.stores.open(shop.store_id)
    return store


async def removed(rt: Runtime, shop: Shop, record: RefundRecord) -> None:
    """Delete a refund's row past the gateway."""
    assert record.order_id is not None
    assert record.store_refund_id is not None
    assert await (await of_store(rt, shop)).delete_refund(record.order_id, record.store_refund_id) == "deleted"


async def rewritten(rt: Runtime, record: RefundRecord, assignments: str) -> None:
    """Make the ledger say something else of a refund than what happened."""
    async with rt.database.transaction() as conn:
        await conn.execute(f"UPDATE refund SET {assignments} WHERE id = %s", (record.id,))


async def started(rt: Runtime, shop: Shop, **fields: Any) -> Reconciliation:
    async with rt.database.reading() as conn:
        row = await (await conn.execute("SELECT clock_timestamp() AS now")).fetchone()
    assert row is not None
    now: datetime = row["now"]
    values: dict[str, Any] = {"store": "demo", "from_": now - timedelta(hours=1), "to": now}
    made = await reconcile.create(rt, shop.caller, NewReconciliation(**(values | fields)), idempotency_key=None)
    assert isinstance(made, reconcile.ReconciliationMade), made
    return made.record


async def finished(rt: Runtime, shop: Shop, record: Reconciliation) -> tuple[Report, list[Drift]]:
    await reconciling.run(rt, record.id)
    report = await reconcile.report(rt, shop.caller, record.id)
    assert isinstance(report, Report), report
    return report, await reconcile.drifts(rt, report.record, limit=500, after=None)


async def reconciled(rt: Runtime, shop: Shop, **fields: Any) -> tuple[Report, list[Drift]]:
    return await finished(rt, shop, await started(rt, shop, **fields))


def found(drifts: list[Drift]) -> list[tuple[str, str | None]]:
    return [(drift.drift_class, drift.refund_id) for drift in drifts]


async def left_over(rt: Runtime) -> int:
    """Count what was only kept while reconciliations ran."""
    async with rt.database.reading() as conn:
        row = await (
            await conn.execute(
                "SELECT (SELECT count(*) FROM reconciliation_row) + (SELECT count(*) FROM reconciliation_refund)"
                " + (SELECT count(*) FROM reconciliation_entry) AS n"
            )
        ).fetchone()
    assert row is not None
    return int(row["n"])


async def test_refunds_that_both_sides_show_alike_are_matched(rt: Runtime, shop: Shop, sandbox: Sandbox) -> None:
    orders = [await sandbox.new_order() for _ in range(3)]
    for order in orders:
        await refunded(rt, shop, order)
    await refunded(rt, shop, orders[0], "1.00", payment="manual")
    report, drifts = await reconciled(rt, shop)
    assert drifts == []
    assert (report.record.matched, report.record.drifts, report.record.status) == (4, 0, "finished")
    [total] = report.totals
    assert (total.total_class, total.currency, total.refunds, total.amount) == ("matched", "EUR", 4, Decimal("16.00"))
    assert await left_over(rt) == 0


async def test_a_row_made_in_the_admin_is_missing_in_the_ledger_once_and_is_then_on_record(
    rt: Runtime, shop: Shop, sandbox: Sandbox
) -> None:
    order = await sandbox.new_order()
    await refunded(rt, shop, order, "2.00")
    row_id = await foreign(sandbox, order)
    report, [drift] = await reconciled(rt, shop)
    assert (drift.drift_class, drift.store_refund_id, drift.amount) == ("missing_in_ledger", row_id, Decimal("5.00"))
    # The list names none: its order was read.
    assert drift.currency == "EUR"
    assert (drift.action, drift.currency) == ("accept_as_observed", "EUR")
    assert drift.evidence["ledger"]["origin"] == "store"
    assert drift.evidence["store"]["known_before"] is False
    assert (report.record.adopted, report.record.matched) == (1, 1)
    assert drift.refund_id is not None
    report, drifts = await reconciled(rt, shop)
    assert (drifts, report.record.matched) == ([], 2)


async def test_a_row_that_is_gone_is_asked_for_and_deleted_in_the_store(
    rt: Runtime, shop: Shop, sandbox: Sandbox
) -> None:
    paid = await refunded(rt, shop, await sandbox.new_order())
    by_hand = await refunded(rt, shop, await sandbox.new_order(), payment="manual")
    for record in (paid, by_hand):
        await removed(rt, shop, record)
    report, drifts = await reconciled(rt, shop)
    assert found(drifts) == [("deleted_in_store", paid.id), ("deleted_in_store", by_hand.id)]
    assert [drift.action for drift in drifts] == ["check_who_deleted", "accept_deletion"]
    assert drifts[0].evidence["asked"]["question"] == f"Refund {paid.store_refund_id} of order {paid.order_id}."
    assert drifts[0].evidence["asked"]["answer"] == "It is not there."
    assert "store" not in drifts[0].evidence
    # The ledger says it as well from now on, and goes on counting the payment.
    assert drifts[0].evidence["ledger"]["deleted_by"] == "store"
    assert drifts[0].evidence["ledger"]["money"] == "moved"
    assert (report.record.to_ask, report.record.asked, report.record.matched) == (2, 2, 0)


async def test_a_refund_that_the_store_never_had_is_missing_in_the_store(
    rt: Runtime, shop: Shop, sandbox: Sandbox
) -> None:
    record = await refunded(rt, shop, await sandbox.new_order())
    await removed(rt, shop, record)
    await rewritten(rt, record, "store_refund_id = NULL")
    _, [drift] = await reconciled(rt, shop)
    assert (drift.drift_class, drift.refund_id, drift.action) == ("missing_in_store", record.id, "record_in_store")
    assert record.marker in drift.evidence["asked"]["question"]


async def test_a_refund_without_its_row_s_id_is_matched_by_its_marker(
    rt: Runtime, shop: Shop, sandbox: Sandbox
) -> None:
    record = await refunded(rt, shop, await sandbox.new_order())
    await rewritten(rt, record, "store_refund_id = NULL")
    report, drifts = await reconciled(rt, shop)
    assert drifts == []
    assert (report.record.matched, report.record.adopted, report.record.to_ask) == (1, 0, 0)


async def test_amounts_that_differ_are_told_with_both(rt: Runtime, shop: Shop, sandbox: Sandbox) -> None:
    record = await refunded(rt, shop, await sandbox.new_order())
    await rewritten(rt, record, "amount = 4.99")
    _, [drift] = await reconciled(rt, shop)
    assert (drift.drift_class, drift.against, drift.refund_id) == ("amount_differs", "store", record.id)
    assert (drift.evidence["ledger"]["amount"], drift.evidence["store"]["amount"]) == ("4.99", "5.00")


@pytest.mark.parametrize("paid", [True, False])
async def test_a_payment_that_only_one_side_knows_of_is_a_drift(
    rt: Runtime, shop: Shop, sandbox: Sandbox, *, paid: bool
) -> None:
    record = await refunded(rt, shop, await sandbox.new_order(), payment="gateway" if paid else "manual")
    says = "payment = 'manual', money = 'outside'" if paid else "payment = 'gateway', money = 'moved'"
    await rewritten(rt, record, says)
    _, [drift] = await reconciled(rt, shop)
    assert (drift.drift_class, drift.refund_id, drift.action) == ("payment_flag_differs", record.id, "look_up_payment")
    assert drift.evidence["store"]["refunded_payment"] is paid


async def test_a_row_of_a_refund_that_failed_here_is_never_silent(rt: Runtime, shop: Shop, sandbox: Sandbox) -> None:
    paid = await refunded(rt, shop, await sandbox.new_order())
    unpaid = await refunded(rt, shop, await sandbox.new_order(), payment="manual")
    for record in (paid, unpaid):
        await rewritten(rt, record, "status = 'failed', money = 'not_moved'")
    await rewritten(rt, unpaid, "store_refund_id = NULL")
    _, drifts = await reconciled(rt, shop)
    assert found(drifts) == [("missing_in_ledger", unpaid.id), ("payment_flag_differs", paid.id)]
    assert [drift.action for drift in drifts] == ["delete_stray_row", "look_up_payment"]


async def test_two_alike_within_a_day_are_suspicious_whoever_made_them(
    rt: Runtime, shop: Shop, sandbox: Sandbox
) -> None:
    order = await sandbox.new_order()
    first = await refunded(rt, shop, order)
    second = await refunded(rt, shop, order)
    await refunded(rt, shop, order, "1.00")
    long_ago = await sandbox.new_order()
    older = await refunded(rt, shop, long_ago)
    await rewritten(rt, older, "settled_at = settled_at - interval '25 hours'")
    await refunded(rt, shop, long_ago)
    report, [drift] = await reconciled(rt, shop)
    assert (drift.drift_class, drift.refund_id, drift.against) == ("duplicate_suspicion", second.id, "ledger")
    assert drift.evidence["other"]["refund_id"] == first.id
    assert report.record.matched == 3


async def test_what_turned_out_to_be_one_refund_is_no_duplicate(rt: Runtime, shop: Shop, sandbox: Sandbox) -> None:
    order = await sandbox.new_order()
    first = await refunded(rt, shop, order)
    row_id = await foreign(sandbox, order)
    await reconciled(rt, shop)
    async with rt.database.transaction() as conn:
        await conn.execute("UPDATE refund SET duplicate_of = %s WHERE store_refund_id = %s", (first.id, row_id))
    _, drifts = await reconciled(rt, shop)
    assert drifts == []


async def test_refunds_in_doubt_are_told(rt: Runtime, shop: Shop, sandbox: Sandbox) -> None:
    record = await refunded(rt, shop, await sandbox.new_order())
    await removed(rt, shop, record)
    await rewritten(rt, record, "status = 'needs_review', money = 'unknown', settled_at = NULL, store_refund_id = NULL")
    report, [drift] = await reconciled(rt, shop)
    assert (drift.drift_class, drift.refund_id, drift.action) == ("in_doubt", record.id, "resolve_review")
    assert report.record.matched == 0


async def test_a_refund_belongs_to_the_time_that_it_was_settled_in(rt: Runtime, shop: Shop, sandbox: Sandbox) -> None:
    record = await refunded(rt, shop, await sandbox.new_order())
    await rewritten(rt, record, "settled_at = settled_at - interval '3 days'")
    report, drifts = await reconciled(rt, shop)
    assert (drifts, report.record.matched) == ([], 0)
    now = datetime.now(UTC)
    # Its row is not among those of that day: the store was asked for it.
    report, drifts = await reconciled(rt, shop, from_=now - timedelta(days=4), to=now - timedelta(days=2))
    assert (drifts, report.record.matched, report.record.asked) == ([], 1, 1)


async def test_a_row_that_came_back_is_matched_again(rt: Runtime, shop: Shop, sandbox: Sandbox) -> None:
    record = await refunded(rt, shop, await sandbox.new_order())
    await rewritten(rt, record, "deleted_at = now(), deleted_by = 'store'")
    report, drifts = await reconciled(rt, shop)
    assert (drifts, report.record.matched, report.record.adopted) == ([], 1, 0)
    async with rt.database.reading() as conn:
        row = await (await conn.execute("SELECT deleted_at FROM refund WHERE id = %s", (record.id,))).fetchone()
    assert row == {"deleted_at": None}


@pytest.fixture
async def old_store(sandbox: Sandbox) -> Sandbox:
    """Give a store without a list of all its refunds."""
    answer = await sandbox.client.post("/sandbox/settings", json={"woocommerce_version": "8.9.0"})
    assert answer.status_code == 200, answer.text
    return sandbox


async def test_a_store_without_a_list_is_read_order_by_order(rt: Runtime, shop: Shop, old_store: Sandbox) -> None:
    matched = await refunded(rt, shop, await old_store.new_order())
    gone = await refunded(rt, shop, await old_store.new_order())
    await removed(rt, shop, gone)
    row_id = await foreign(old_store, await old_store.new_order(), "3.00")
    await old_store.new_order()
    report, drifts = await reconciled(rt, shop)
    assert report.record.reads == "orders"
    assert [(drift.drift_class, drift.store_refund_id) for drift in drifts] == [
        ("deleted_in_store", gone.store_refund_id),
        ("missing_in_ledger", row_id),
    ]
    assert drifts[1].currency == "EUR"
    assert report.record.matched == 1
    assert matched.status == "succeeded"


def entry(number: int, **fields: Any) -> ErpEntry:
    values: dict[str, Any] = {"reference": None, "order": None, "currency": None, "day": datetime.now(UTC).date()}
    return ErpEntry(**({"number": number, "amount": Decimal("5.00")} | values | fields))


async def test_an_erps_list_is_matched_by_reference_and_then_by_order_amount_and_day(
    rt: Runtime, shop: Shop, sandbox: Sandbox
) -> None:
    orders = [await sandbox.new_order() for _ in range(7)]
    by_reference = await refunded(rt, shop, orders[0], external_reference="CM-1")
    dearer = await refunded(rt, shop, orders[1], external_reference="CM-2")
    by_order = await refunded(rt, shop, orders[2])
    twins = [await refunded(rt, shop, orders[3], "4.00"), await refunded(rt, shop, orders[3], "4.00")]
    unbooked = await refunded(rt, shop, orders[4])
    failed = await refunded(rt, shop, orders[5], external_reference="CM-6")
    await removed(rt, shop, failed)
    await rewritten(rt, failed, "status = 'failed', money = 'not_moved'")
    row_id = await foreign(sandbox, orders[6], "3.00")
    today = datetime.now(UTC).date()
    entries = (
        entry(1, reference="CM-1", order=str(orders[0]["id"])),
        entry(2, reference="CM-2", amount=Decimal("5.50")),
        entry(3, order=str(orders[2]["id"]), day=today - timedelta(days=1)),
        entry(4, order=str(orders[3]["number"]), amount=Decimal("4.00")),
        entry(5, reference="CM-6"),
        # The ERP's own number of what somebody has refunded in the store's admin.
        entry(6, reference="CM-7", order=str(orders[6]["id"]), amount=Decimal("3.00")),
        entry(7, reference="CM-8", order="999", amount=Decimal("9.00"), currency="EUR"),
        entry(8, reference="CM-1", order=str(orders[0]["id"])),
    )
    report, drifts = await reconciled(rt, shop, erp=entries)
    by_class: dict[str, list[Drift]] = {}
    for drift in drifts:
        by_class.setdefault(drift.drift_class, []).append(drift)
    [differs] = by_class.pop("amount_differs")
    assert (differs.refund_id, differs.against, differs.action) == (dearer.id, "erp", "correct_erp_amount")
    assert (differs.evidence["erp"]["amount"], differs.evidence["ledger"]["amount"]) == ("5.50", "5.00")
    missing = by_class.pop("missing_in_erp")
    assert {drift.refund_id for drift in missing} == {unbooked.id, twins[1].id}
    strays = {drift.evidence["erp"]["entry"]: drift for drift in by_class.pop("missing_in_gateway")}
    assert {number: drift.action for number, drift in strays.items()} == {
        5: "reverse_in_erp",
        7: "send_or_reverse",
        8: "reverse_in_erp",
    }
    assert strays[5].evidence["ledger"]["status"] == "failed"
    assert (strays[7].amount, strays[7].currency, strays[7].refund_id) == (Decimal("9.00"), "EUR", None)
    assert [drift.store_refund_id for drift in by_class.pop("missing_in_ledger")] == [row_id]
    assert [drift.refund_id for drift in by_class.pop("duplicate_suspicion")] == [twins[1].id]
    assert by_class == {}
    # The one by its order and the first of the twins; CM-1 is booked twice.
    assert report.record.matched == 2
    assert by_reference.status == by_order.status == "succeeded"


async def test_an_empty_list_of_an_erp_is_a_list(rt: Runtime, shop: Shop, sandbox: Sandbox) -> None:
    record = await refunded(rt, shop, await sandbox.new_order())
    _, drifts = await reconciled(rt, shop, erp=())
    assert found(drifts) == [("missing_in_erp", record.id)]


async def test_an_entry_at_the_edge_may_mean_a_refund_of_the_day_before(
    rt: Runtime, shop: Shop, sandbox: Sandbox
) -> None:
    record = await refunded(rt, shop, await sandbox.new_order())
    await rewritten(rt, record, "settled_at = settled_at - interval '26 hours'")
    edge = entry(1, order=record.order_id, day=datetime.now(UTC).date() - timedelta(days=1))
    _, drifts = await reconciled(rt, shop, erp=(edge,))
    assert drifts == []


async def test_totals_are_by_day_currency_and_class(rt: Runtime, shop: Shop, sandbox: Sandbox) -> None:
    records = [await refunded(rt, shop, await sandbox.new_order(), f"{amount}.00") for amount in (1, 2, 4)]
    await rewritten(rt, records[0], "settled_at = '2026-01-01T23:59:59Z'")
    await rewritten(rt, records[1], "settled_at = '2026-01-02T00:00:00Z', currency = 'USD'")
    await rewritten(rt, records[2], "settled_at = '2026-01-02T12:00:00Z', amount = 3.00")
    bounds = {"from_": datetime(2026, 1, 1, tzinfo=UTC), "to": datetime(2026, 1, 3, tzinfo=UTC)}
    report, _ = await reconciled(rt, shop, **bounds)
    assert [(f"{t.day}", t.currency, t.total_class, t.refunds, t.amount) for t in report.totals] == [
        ("2026-01-01", "EUR", "matched", 1, Decimal("1.00")),
        ("2026-01-02", "EUR", "amount_differs", 1, Decimal("3.00")),
        ("2026-01-02", "USD", "matched", 1, Decimal("2.00")),
    ]


async def test_what_was_signed_off_never_changes(rt: Runtime, shop: Shop, sandbox: Sandbox) -> None:
    record = await started(rt, shop)
    early = await reconcile.sign_off(rt, shop.caller, record.id, name="Ada", note="fine")
    assert isinstance(early, reconcile.NotFinished)
    await finished(rt, shop, record)
    signed = await reconcile.sign_off(rt, shop.caller, record.id, name="Ada", note="fine")
    assert isinstance(signed, Report)
    assert (signed.record.signed_off_by, signed.record.signed_off_note) == ("Ada", "fine")
    again = await reconcile.sign_off(rt, shop.caller, record.id, name="Ada", note="fine")
    assert isinstance(again, Report)
    assert again.record == signed.record
    other = await reconcile.sign_off(rt, shop.caller, record.id, name="Bob", note="no")
    assert isinstance(other, reconcile.SignedOffAlready)
    for change in (
        "UPDATE reconciliation SET drifts = 7",
        "DELETE FROM reconciliation_total",
        "UPDATE reconciliation_drift SET action = 'none'",
    ):
        with pytest.raises(Exception, match="never changes"):
            async with rt.database.transaction() as conn:
                await conn.execute(change)  # type: ignore[arg-type]


async def test_the_end_is_told_in_the_feed(rt: Runtime, shop: Shop, sandbox: Sandbox) -> None:
    await refunded(rt, shop, await sandbox.new_order())
    report, _ = await reconciled(rt, shop)
    async with rt.database.reading() as conn:
        cursor = await conn.execute("SELECT subject, store_id, data FROM event WHERE type = 'reconciliation.finished'")
        [row] = await cursor.fetchall()
    assert (row["subject"], row["store_id"]) == (report.record.id, shop.store_id)
    assert row["data"]["classes"] == {"matched": 1}
    assert row["data"]["status"] == "finished"


@pytest.mark.parametrize(
    ("bounds", "bound"),
    [
        ({"from_": timedelta(0), "to": timedelta(0)}, "to"),
        ({"from_": -timedelta(days=401), "to": timedelta(0)}, "from"),
        ({"from_": timedelta(0), "to": timedelta(minutes=5)}, "to"),
    ],
)
async def test_a_time_that_cannot_be_compared_is_refused(
    rt: Runtime, shop: Shop, bounds: dict[str, timedelta], bound: str
) -> None:
    now = datetime.now(UTC)
    at = {name: now + away for name, away in bounds.items()}
    new = NewReconciliation(store="demo", from_=at["from_"], to=at["to"])
    refused = await reconcile.create(rt, shop.caller, new, idempotency_key=None)
    assert isinstance(refused, reconcile.WindowRefused)
    assert refused.bound == bound


async def test_a_key_that_is_limited_to_other_stores_sees_nothing(rt: Runtime, shop: Shop, sandbox: Sandbox) -> None:
    record = await started(rt, shop)
    other = replace(shop.caller, store_ids=frozenset({"st_other"}))
    assert isinstance(await reconcile.look(rt, other, record.id), reconcile.ReconciliationNotFound)
    assert await reconcile.listed(rt, other, limit=10, after=None) == []
    now = datetime.now(UTC)
    new = NewReconciliation(store="demo", from_=now - timedelta(hours=1), to=now - timedelta(minutes=1))
    assert not isinstance(await reconcile.create(rt, other, new, idempotency_key=None), reconcile.ReconciliationMade)
    signed = await reconcile.sign_off(rt, other, record.id, name="Eve", note="")
    assert isinstance(signed, reconcile.ReconciliationNotFound)


async def test_a_schedule_starts_one_in_its_own_transaction(rt: Runtime, shop: Shop) -> None:
    now = datetime.now(UTC)
    async with rt.database.transaction() as conn:
        made = await reconcile.start(
            rt,
            conn,
            tenant_id=shop.tenant_id,
            store_id=shop.store_id,
            from_=now - timedelta(days=1),
            to=now,
            created_by="schedule",
            schedule_id="sc_1",
        )
        record = await reconciliations.find(conn, shop.tenant_id, made)
        cursor = await conn.execute("SELECT args FROM procrastinate_jobs WHERE task_name = 'reconcile'")
        [job] = await cursor.fetchall()
    assert record is not None
    assert (record.status, record.schedule_id, record.store) == ("queued", "sc_1", "demo")
    assert job["args"] == {"reconciliation_id": made}


async def test_a_payment_that_the_legacy_api_made_is_not_missing_its_flag(
    rt: Runtime, shop: Shop, sandbox: Sandbox
) -> None:
    """It never sets the flag, which the store shows over wc/v3 as false ever after."""
    record = await refunded(rt, shop, await sandbox.new_order(), payment="manual")
    await rewritten(rt, record, "payment = 'gateway', money = 'moved', sent_via = 'legacy'")
    _, drifts = await reconciled(rt, shop)
    assert drifts == []


async def test_each_entry_without_reference_finds_the_refund_of_its_own_day(
    rt: Runtime, shop: Shop, sandbox: Sandbox
) -> None:
    """Two instalments of an order, of which the ERP has booked the second one, a day later."""
    order = await sandbox.new_order()
    first, second = await refunded(rt, shop, order), await refunded(rt, shop, order)
    await rewritten(rt, first, "settled_at = settled_at - interval '9 days'")
    await rewritten(rt, second, "settled_at = settled_at - interval '2 days'")
    now = datetime.now(UTC)
    booked = entry(1, order=str(order["id"]), amount=Decimal("5.00"), day=(now - timedelta(days=1)).date())
    _, drifts = await reconciled(rt, shop, from_=now - timedelta(days=20), erp=(booked,))
    assert found(drifts) == [("missing_in_erp", first.id)]


async def test_of_entries_with_one_reference_the_one_that_agrees_is_the_refund(
    rt: Runtime, shop: Shop, sandbox: Sandbox
) -> None:
    record = await refunded(rt, shop, await sandbox.new_order(), external_reference="CM-1")
    booked = (entry(1, reference="CM-1", currency="USD"), entry(2, reference="CM-1", currency="EUR"))
    _, [drift] = await reconciled(rt, shop, erp=booked)
    assert (drift.drift_class, drift.refund_id, drift.action) == ("missing_in_gateway", record.id, "reverse_in_erp")
    assert drift.evidence["erp"]["entry"] == 1
