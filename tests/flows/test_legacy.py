"""The flows on a store that is spoken to in the legacy API, where a 200 can be a decline and a row proves nothing."""

from decimal import Decimal
from typing import Any

import pytest

from app.domain.errors import Refusal
from app.domain.refund import ItemRequest, StorePolicy
from app.flows import remove, view
from app.flows.change import recheck
from app.flows.results import Accepted, Deleted, OrderView, StoreFailed
from app.flows.runtime import Runtime
from app.ledger import events, tenants
from tests.conftest import Sandbox, Shop, add_shop
from tests.flows.test_recover import settled
from tests.flows.test_submit import command, post


@pytest.fixture
async def shop(rt: Runtime, sandbox: Sandbox) -> Shop:
    return await add_shop(rt, sandbox.url, api="legacy")


async def set_up(sandbox: Sandbox, **fields: Any) -> None:
    answer = await sandbox.client.post("/sandbox/settings", json=fields)
    assert answer.status_code == 200, answer.text


async def test_a_refund_moves_money_once_and_says_so(rt: Runtime, shop: Shop, sandbox: Sandbox) -> None:
    order = await sandbox.new_order()
    line = str(order["line_items"][0]["id"])
    done = await post(rt, shop, command(order, amount=None, items=(ItemRequest(line_item_id=line, quantity=1),)))
    assert isinstance(done, Accepted), done
    assert (done.record.status, done.record.money, done.record.sent_via) == ("succeeded", "moved", "legacy")
    (payout,) = await sandbox.payouts(order["id"])
    assert Decimal(payout["amount"]) == done.record.amount == Decimal("10.71")


async def test_a_manual_refund_calls_no_gateway(rt: Runtime, shop: Shop, sandbox: Sandbox) -> None:
    """`api_refund` counts in the query only: in the body this API ignores it and pays."""
    order = await sandbox.new_order()
    done = await post(rt, shop, command(order, payment="manual"))
    assert isinstance(done, Accepted)
    assert (done.record.status, done.record.money) == ("succeeded", "outside")
    assert await sandbox.payouts(order["id"]) == []


async def test_lines_refunded_through_us_are_not_refunded_twice(rt: Runtime, shop: Shop, sandbox: Sandbox) -> None:
    order = await sandbox.new_order()
    line = str(order["line_items"][0]["id"])
    two = (ItemRequest(line_item_id=line, quantity=2),)
    assert isinstance(await post(rt, shop, command(order, amount=None, items=two)), Accepted)
    again = await post(rt, shop, command(order, amount=None, items=two))
    assert isinstance(again, Refusal)
    assert again.faults[0].code == "quantity_exceeds_refundable"


async def test_overage_never_reaches_a_store_that_would_die_of_it(rt: Runtime, shop: Shop, sandbox: Sandbox) -> None:
    order = await sandbox.new_order()
    refused = await post(rt, shop, command(order, amount=Decimal("1000.00")))
    assert isinstance(refused, Refusal)
    assert refused.faults[0].code == "exceeds_refundable"
    missing = await post(rt, shop, command({**order, "id": 99999}))
    assert isinstance(missing, StoreFailed)
    assert missing.code == "order_not_found"


@pytest.mark.parametrize("fault", ["decline", "gateway_false"])
async def test_a_declined_refund_leaves_a_row_that_is_found_and_never_counts_as_money(
    rt: Runtime, shop: Shop, sandbox: Sandbox, fault: str
) -> None:
    order = await sandbox.new_order()
    await sandbox.fault(order_id=order["id"], operation="refund", fault=fault, times=1)
    declined = await post(rt, shop, command(order))
    assert isinstance(declined, Accepted)
    record = declined.record
    assert (record.status, record.money) == ("failed", "not_moved")
    assert record.failure is not None
    assert record.failure.code == "gateway_declined"
    assert record.store_refund_id is not None
    assert record.failure.facts["leftover_store_refund_id"] == record.store_refund_id
    assert await sandbox.payouts(order["id"]) == []
    shown = await view.order(rt, shop.caller, "demo", str(order["id"]))
    assert isinstance(shown, OrderView)
    assert shown.ours == {record.store_refund_id: record.id}
    # It takes its part of the order until it is deleted, which needs no force: nothing was paid.
    gone = await remove.delete(rt, shop.caller, record.id, force=False)
    assert isinstance(gone, Deleted)
    assert not gone.money_stays_paid
    everything = await post(rt, shop, command(order, amount=None, remaining=True))
    assert isinstance(everything, Accepted)
    assert everything.record.money == "moved"


@pytest.mark.parametrize(
    ("fault", "status", "code", "paid"),
    [
        ("lost_answer", "needs_review", "row_without_proof", 1),
        ("die_after_paying", "needs_review", "row_without_proof", 1),
        ("die_before_paying", "needs_review", "row_without_proof", 0),
        ("bad_gateway_after", "needs_review", "row_without_proof", 1),
        ("fail_after_paying", "needs_review", None, 1),
        ("bad_gateway", "needs_review", "nothing_found", 0),
        ("rate_limited", "succeeded", None, 1),
    ],
)
async def test_every_unclear_answer_comes_to_its_true_end(
    rt: Runtime, shop: Shop, sandbox: Sandbox, fault: str, status: str, code: str | None, paid: int
) -> None:
    """The API never tells whether a row was paid: what nobody can know goes to a person, with the row named."""
    order = await sandbox.new_order()
    await sandbox.fault(order_id=order["id"], operation="refund", fault=fault, times=1)
    answer = await post(rt, shop, command(order))
    assert isinstance(answer, Accepted)
    record = await settled(rt, answer.record.id)
    assert record.status == status, record
    if code is not None:
        assert record.failure is not None
        assert record.failure.code == code
    if code == "row_without_proof":
        assert record.store_refund_id is not None
    assert len(await sandbox.payouts(order["id"])) == paid
    if status == "needs_review":
        again = await recheck(rt, shop.caller, record.id)
        assert isinstance(again, Accepted)
        assert again.record.status == "needs_review"


async def test_a_lost_manual_refund_settles_by_its_row(rt: Runtime, shop: Shop, sandbox: Sandbox) -> None:
    order = await sandbox.new_order()
    await sandbox.fault(order_id=order["id"], operation="refund", fault="lost_answer", times=1)
    answer = await post(rt, shop, command(order, payment="manual"))
    assert isinstance(answer, Accepted)
    record = await settled(rt, answer.record.id)
    assert (record.status, record.money) == ("succeeded", "outside")


async def test_a_payment_method_that_cannot_refund_is_refused_beforehand(
    rt: Runtime, shop: Shop, sandbox: Sandbox
) -> None:
    """The store would answer 201 and move nothing."""
    order = await sandbox.new_order(payment_method="cod")
    refused = await post(rt, shop, command(order))
    assert isinstance(refused, Refusal)
    assert refused.faults[0].code == "gateway_cannot_refund"


async def test_without_the_other_api_the_owner_has_to_vouch_for_a_payment_method(rt: Runtime, sandbox: Sandbox) -> None:
    await set_up(sandbox, rest_v3=False)
    order = await sandbox.new_order()
    bare = await add_shop(rt, sandbox.url, api="legacy")
    refused = await post(rt, bare, command(order))
    assert isinstance(refused, Refusal)
    assert refused.faults[0].code == "gateway_support_unknown"
    vouched = await add_shop(
        rt, sandbox.url, api="legacy", policy=StorePolicy(refunding_methods=frozenset({"sandboxpay"}))
    )
    done = await post(rt, vouched, command(order))
    assert isinstance(done, Accepted)
    assert done.record.money == "moved"
    assert len(await sandbox.payouts(order["id"])) == 1


async def test_order_tables_without_sync_are_refused_before_anything_is_paid(
    rt: Runtime, shop: Shop, sandbox: Sandbox
) -> None:
    """The store would pay and answer 404."""
    order = await sandbox.new_order()
    await set_up(sandbox, hpos="on")
    refused = await post(rt, shop, command(order))
    assert isinstance(refused, StoreFailed)
    assert refused.code == "store_misconfigured"
    assert "HPOS" in refused.message or "order storage" in refused.message.lower()
    assert await sandbox.payouts(order["id"]) == []
    await set_up(sandbox, hpos="synced")
    other = await add_shop(rt, sandbox.url, api="legacy")
    assert isinstance(await post(rt, other, command(order)), Accepted)


@pytest.mark.parametrize(("rest_v3", "found"), [(True, "v3"), (False, "legacy")])
async def test_auto_finds_out_which_api_a_store_has(rt: Runtime, sandbox: Sandbox, rest_v3: bool, found: str) -> None:
    await set_up(sandbox, rest_v3=rest_v3)
    shop = await add_shop(rt, sandbox.url, api="auto", policy=StorePolicy(refunding_methods=frozenset({"sandboxpay"})))
    order = await sandbox.new_order()
    done = await post(rt, shop, command(order))
    assert isinstance(done, Accepted)
    assert done.record.sent_via == found
    async with rt.database.reading() as conn:
        row = await tenants.store_by_id(conn, shop.store_id)
        timeline = await events.timeline(conn, shop.tenant_id, done.record.id, limit=10)
    assert row is not None
    assert row.api == found
    assert [event.type for event in timeline][-1] == "refund.succeeded"


async def test_a_store_that_cannot_be_asked_yet_stays_auto(rt: Runtime) -> None:
    shop = await add_shop(rt, "http://127.0.0.1:9", api="auto")
    refused = await view.order(rt, shop.caller, "demo", "12")
    assert isinstance(refused, StoreFailed)
    async with rt.database.reading() as conn:
        row = await tenants.store_by_id(conn, shop.store_id)
    assert row is not None
    assert row.api == "auto"
