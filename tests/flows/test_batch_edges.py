"""Batches at their edges: limits that change on the way, stores that stay away, items that break, orders in a row."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal

import pytest

from app.domain.batch import ItemStatus, Stops
from app.flows import batches, lanes
from app.flows.batch_results import BatchNotFound, BatchView, BatchWrongState, ItemView
from app.flows.runtime import Runtime
from app.flows.send import send
from app.ledger import batch_items
from app.settings import Settings
from app.wiring import open_runtime
from tests.conftest import Sandbox, Shop, add_shop, eventually
from tests.flows.test_batches import counts, item, make, orders, over, paid, view_of


@pytest.fixture
async def worker(settings: Settings, database_url: str) -> AsyncIterator[Runtime]:
    """Run a worker."""
    async with open_runtime(settings, works=True, url=database_url) as runtime:
        yield runtime


async def listed(rt: Runtime, shop: Shop, batch_id: str, status: ItemStatus | None = None) -> list[ItemView]:
    found = await batches.items(rt, shop.caller, batch_id, status=status, limit=100, after=None)
    assert not isinstance(found, BatchNotFound)
    return found


async def change(rt: Runtime, query: str, *values: object) -> None:
    async with rt.database.committing() as conn:
        await conn.execute(query.encode(), values)


async def test_a_refund_counts_once_when_a_limit_is_counted_anew(rt: Runtime, shop: Shop, sandbox: Sandbox) -> None:
    (order_id,) = await orders(sandbox, 1)
    await sandbox.fault(fault="decline", order_id=int(order_id), operation="refund", times=1)
    rows = [item(n, order_id) for n in range(1, 4)]
    made = await make(rt, shop.caller, *rows, stops=Stops(max_total={"EUR": Decimal("2.00")}))
    await lanes.run_lane(rt, shop.store_id)
    view = await view_of(rt, shop, made)
    assert (view.status, counts(view)) == ("finished", {"failed": 1, "succeeded": 2})


async def test_a_limit_set_on_the_way_counts_what_was_paid_before(rt: Runtime, shop: Shop, sandbox: Sandbox) -> None:
    ids = await orders(sandbox, 3)
    made = await make(rt, shop.caller, *[item(n, order_id) for n, order_id in enumerate(ids, 1)])
    await change(rt, "UPDATE batch_item SET due_at = now() + interval '1 h' WHERE number > 1")
    await lanes.run_lane(rt, shop.store_id)
    await batches.pause(rt, shop.caller, made.view.id)
    await batches.resume(rt, shop.caller, made.view.id, stops=Stops(max_total={"EUR": Decimal("2.00")}))
    await change(rt, "UPDATE batch_item SET due_at = NULL")
    await lanes.run_lane(rt, shop.store_id)
    view = await view_of(rt, shop, made)
    assert (view.status, view.stopped_by, view.limits["EUR"].taken) == ("stopped", "max_total", Decimal("2.00"))
    assert sum(await paid(sandbox, ids)) == 2


@pytest.mark.parametrize("by", ["send", "sweep"])
async def test_what_comes_back_in_line_after_the_cancellation_is_not_sent(
    rt: Runtime, shop: Shop, sandbox: Sandbox, by: str
) -> None:
    (order_id,) = await orders(sandbox, 1)
    await sandbox.fault(fault="die_before_paying", order_id=int(order_id), operation="refund", times=1)
    made = await make(rt, shop.caller, item(1, order_id))
    await lanes.run_lane(rt, shop.store_id)
    (entry,) = await listed(rt, shop, made.view.id)
    assert (entry.status, entry.refund_id is None) == ("uncertain", False)
    assert entry.refund_id is not None
    canceled = await batches.cancel(rt, shop.caller, made.view.id)
    assert isinstance(canceled, BatchView)
    assert (canceled.status, canceled.processed) == ("canceled", 0)
    # As if its answer had proven that it never arrived.
    await change(rt, "UPDATE refund SET status = 'pending', money = 'not_moved', due_at = now(), touch_lost_at = NULL")
    if by == "send":
        await send(rt, entry.refund_id)
    await lanes.sweep(rt)
    view = await view_of(rt, shop, made)
    assert (counts(view), view.processed) == ({"canceled": 1}, 1)
    assert await paid(sandbox, [order_id]) == [0]


async def test_a_person_may_send_a_refund_of_a_canceled_batch_again(rt: Runtime, shop: Shop, sandbox: Sandbox) -> None:
    (order_id,) = await orders(sandbox, 1)
    made = await make(rt, shop.caller, item(1, order_id))
    await lanes.run_lane(rt, shop.store_id)
    (entry,) = await listed(rt, shop, made.view.id)
    assert entry.refund_id is not None
    await change(rt, "UPDATE batch SET status = 'canceled', finished_at = now()")
    await change(rt, "UPDATE refund SET status = 'pending', money = 'not_moved', settled_at = NULL, due_at = now()")
    await lanes.sweep(rt)
    after = await send(rt, entry.refund_id)
    assert after is not None
    assert after.status == "succeeded"
    assert (await view_of(rt, shop, made)).processed == 1


async def test_an_item_is_not_given_up_because_its_batch_is_old(rt: Runtime, shop: Shop, sandbox: Sandbox) -> None:
    ids = await orders(sandbox, 2)
    made = await make(rt, shop.caller, *[item(n, order_id) for n, order_id in enumerate(ids, 1)])
    await change(rt, "UPDATE batch SET started_at = now() - interval '3 days'")
    await sandbox.fault(fault="unavailable", operation="read", times=6)
    await lanes.run_lane(rt, shop.store_id)
    assert counts(await view_of(rt, shop, made)) == {"waiting": 2}
    # Hundreds of tries, minutes apart: longer than a refund may wait to be sent.
    await change(rt, "UPDATE batch_item SET tries = 400, due_at = NULL WHERE number = 1")
    await sandbox.fault(fault="unavailable", operation="read", order_id=int(ids[0]))
    await lanes.run_lane(rt, shop.store_id)
    (refused,) = await listed(rt, shop, made.view.id, "refused")
    assert refused.failure is not None
    assert (refused.id, refused.failure.code) == (1, "store_unavailable")


async def test_an_item_that_breaks_every_time_comes_to_an_end(rt: Runtime, shop: Shop, sandbox: Sandbox) -> None:
    (order_id,) = await orders(sandbox, 1)
    made = await make(rt, shop.caller, item(1, order_id))
    await change(rt, "UPDATE batch SET caller = '{}'")
    await lanes.run_lane(rt, shop.store_id)
    assert counts(await view_of(rt, shop, made)) == {"waiting": 1}
    await change(rt, "UPDATE batch_item SET tries = 400, due_at = NULL")
    await lanes.run_lane(rt, shop.store_id)
    await lanes.sweep(rt)
    view = await view_of(rt, shop, made)
    assert (view.status, counts(view)) == ("finished", {"refused": 1})
    assert await paid(sandbox, [order_id]) == [0]


async def test_many_items_of_one_order_do_not_keep_others_waiting(rt: Runtime, shop: Shop, sandbox: Sandbox) -> None:
    first, other = await orders(sandbox, 2)
    rows = [item(n, first, "0.10") for n in range(1, 25)]
    made = await make(rt, shop.caller, *rows, item(25, other, "0.10"))
    await lanes.run_lane(rt, shop.store_id)
    entries = await listed(rt, shop, made.view.id)
    assert [entry.status for entry in entries] == ["succeeded"] * 25
    place = sorted(entries, key=lambda entry: entry.refund_id or "").index(entries[24])
    assert place < 3


async def test_a_paused_batch_with_nothing_left_to_do_is_finished(
    worker: Runtime, shop: Shop, sandbox: Sandbox
) -> None:
    (order_id,) = await orders(sandbox, 1)
    await sandbox.fault(fault="slow", operation="refund", delay_s=0.5)
    made = await make(worker, shop.caller, item(1, order_id))

    async def sent() -> bool:
        return counts(await view_of(worker, shop, made)) == {"sending": 1}

    await eventually(sent)
    assert isinstance(await batches.pause(worker, shop.caller, made.view.id), BatchView)
    view = await over(worker, shop, made)
    assert counts(view) == {"succeeded": 1}


async def test_a_release_that_comes_too_late_says_so(rt: Runtime, shop: Shop) -> None:
    made = await make(rt, shop.caller, item(1, 1), mode="hold", release_until=rt.clock() - timedelta(seconds=1))
    refused = await batches.release(rt, shop.caller, made.view.id)
    assert isinstance(refused, BatchWrongState)
    assert (refused.view.status, counts(refused.view), refused.view.processed) == ("expired", {"dropped": 1}, 1)


async def test_what_a_legacy_store_cannot_keep_is_refused(rt: Runtime, sandbox: Sandbox) -> None:
    shop = await add_shop(rt, sandbox.url, api="legacy")
    for mode in ("run", "check"):
        made = await make(rt, shop.caller, item(1, 1, store_meta={"a": "b"}), mode=mode)
        await lanes.run_lane(rt, shop.store_id)
        (refused,) = await listed(rt, shop, made.view.id)
        assert refused.failure is not None
        assert (refused.status, refused.failure.code) == ("refused", "not_supported_by_store")


async def test_a_disabled_store_is_left_alone_until_it_is_enabled(rt: Runtime, shop: Shop) -> None:
    made = await make(rt, shop.caller, item(1, 1))
    async with rt.database.reading() as conn:
        assert await batch_items.stores_with_work(conn) == [shop.store_id]
        await change(rt, "UPDATE store SET disabled_at = now()")
        assert await batch_items.stores_with_work(conn) == []
    await lanes.run_lane(rt, shop.store_id)
    assert counts(await view_of(rt, shop, made)) == {"waiting": 1}


async def test_a_cancellation_leaves_alone_what_another_batch_has_joined(
    rt: Runtime, shop: Shop, sandbox: Sandbox
) -> None:
    (order_id,) = await orders(sandbox, 1)
    row = item(1, order_id, external_reference="CM-1")
    await sandbox.fault(fault="die_before_paying", order_id=int(order_id), operation="refund", times=1)
    first, second = await make(rt, shop.caller, row), await make(rt, shop.caller, row)
    await lanes.run_lane(rt, shop.store_id)
    await change(rt, "UPDATE refund SET status = 'pending', money = 'not_moved', due_at = now(), touch_lost_at = NULL")
    await batches.cancel(rt, shop.caller, first.view.id)
    (entry,) = await listed(rt, shop, second.view.id)
    assert (entry.status, entry.replayed) == ("pending", True)
    await batches.cancel(rt, shop.caller, second.view.id)
    await lanes.sweep(rt)
    for made in (first, second):
        view = await view_of(rt, shop, made)
        assert (counts(view), view.processed) == ({"canceled": 1}, 1)


async def test_lanes_are_counted_by_the_process_that_works_in_them(rt: Runtime, shop: Shop) -> None:
    async with rt.database.committing() as conn:
        assert await batch_items.lanes_in_hand(conn, "ex_1") == 0
        assert await batch_items.enter_lane(conn, shop.store_id, "ex_1", lease=timedelta(seconds=9))
        assert await batch_items.lanes_in_hand(conn, "ex_1") == 1
        assert await batch_items.lanes_in_hand(conn, "ex_2") == 0


async def test_two_processes_in_one_lane_pay_and_count_every_item_once(
    settings: Settings, rt: Runtime, shop: Shop, sandbox: Sandbox
) -> None:
    ids = await orders(sandbox, 24)
    rows = [item(n, order_id, "32.13") for n, order_id in enumerate(ids, 1)]
    made = await make(rt, shop.caller, *rows, item(25, 999_999))
    async with open_runtime(settings, works=False, url=rt.database.url) as other:
        first = asyncio.create_task(lanes.run_lane(rt, shop.store_id))
        await asyncio.sleep(0.03)
        # As if the first process had been paused for longer than its lease, and went on in this very moment.
        await change(rt, "UPDATE lane SET lease_until = now() - interval '1 s'")
        await asyncio.gather(first, lanes.run_lane(other, shop.store_id), lanes.sweep(rt), lanes.sweep(other))
    await lanes.sweep(rt)
    view = await view_of(rt, shop, made)
    assert (view.status, view.processed, counts(view)) == ("finished", 25, {"succeeded": 24, "refused": 1})
    assert await paid(sandbox, ids) == [1] * 24
    async with rt.database.reading() as conn:
        row = await (await conn.execute("SELECT failed FROM batch")).fetchone()
    assert row == {"failed": 1}
