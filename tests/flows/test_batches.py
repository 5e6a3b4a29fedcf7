"""Batches against a sandbox store: every item once, limits held, and every way of stopping and going on."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from app.domain.batch import NewBatch, NewItem, Stops, stop_of
from app.domain.refund import RefundCommand
from app.flows import batches, lanes
from app.flows.batch_results import BatchFaulty, BatchMade, BatchNotFound, BatchView, BatchWrongState
from app.flows.results import Accepted, Caller, KeyReused
from app.flows.runtime import Runtime
from app.flows.submit import submit
from app.ledger import batches as rows_of_batches
from app.settings import Settings
from app.wiring import open_runtime
from tests.conftest import Sandbox, Shop, add_shop, eventually


@pytest.fixture
async def worker(settings: Settings, database_url: str) -> AsyncIterator[Runtime]:
    """Run a worker."""
    async with open_runtime(settings, works=True, url=database_url) as runtime:
        yield runtime


def item(number: int, order_id: Any, amount: str = "1.00", **fields: Any) -> NewItem:
    """Make an item of a plain amount."""
    given = {"store": "demo", "order_id": str(order_id), "amount": Decimal(amount), "reason": "batch"} | fields
    return NewItem(number=number, command=RefundCommand(**given))


async def make(rt: Runtime, caller: Caller, *items: NewItem, key: str | None = None, **fields: Any) -> Any:
    """Create a batch."""
    new = NewBatch(**{"mode": "run", "items": items, **fields})
    return await batches.create(rt, caller, new, idempotency_key=key, fingerprint=repr(items).encode(), request_id="r")


async def view_of(rt: Runtime, shop: Shop, made: Any) -> BatchView:
    """Look at a batch again."""
    view = await batches.look(rt, shop.caller, made.view.id)
    assert isinstance(view, BatchView)
    return view


async def over(rt: Runtime, shop: Shop, made: Any, *statuses: str, within_s: float = 15.0) -> BatchView:
    """Wait until a batch has one of the statuses, `finished` unless told otherwise."""
    wanted = statuses or ("finished",)

    async def reached() -> BatchView | None:
        view = await view_of(rt, shop, made)
        return view if view.status in wanted else None

    return await eventually(reached, within_s=within_s)


def counts(view: BatchView) -> dict[str, int]:
    """Count a view's items by status."""
    found: dict[str, int] = {}
    for tally in view.tallies:
        found[tally.status] = found.get(tally.status, 0) + tally.items
    return found


async def orders(sandbox: Sandbox, count: int) -> list[str]:
    """Create orders of 32.13 each."""
    answer = await sandbox.client.post(
        "/sandbox/orders",
        json={
            "payment_method": "sandboxpay",
            "lines": [{"name": "Album", "sku": "SKU0", "quantity": 3, "price": "9.00"}],
            "tax_rates": [{"percent": "19", "label": "VAT"}],
            "set_paid": True,
            "count": count,
        },
    )
    return [str(order["id"]) for order in answer.json()]


async def paid(sandbox: Sandbox, ids: list[str]) -> list[int]:
    """Count what was paid for each order."""
    return [len(await sandbox.payouts(order_id)) for order_id in ids]


async def test_every_item_is_refunded_once_and_the_batch_finishes(
    worker: Runtime, shop: Shop, sandbox: Sandbox
) -> None:
    ids = await orders(sandbox, 12)
    made = await make(worker, shop.caller, *[item(n, order_id) for n, order_id in enumerate(ids, 1)])
    assert isinstance(made, BatchMade)
    view = await over(worker, shop, made)
    assert (view.processed, counts(view)) == (12, {"succeeded": 12})
    assert view.tallies[0].amount == Decimal("12.00")
    assert await paid(sandbox, ids) == [1] * 12
    listed = await batches.items(worker, shop.caller, view.id, status="succeeded", limit=5, after=10)
    assert not isinstance(listed, BatchNotFound)
    assert [entry.id for entry in listed] == [11, 12]
    assert all(entry.money == "moved" and entry.store_refund_id for entry in listed)
    async with worker.database.reading() as conn:
        told = await (
            await conn.execute("SELECT type FROM event WHERE subject = %s ORDER BY id", (view.id,))
        ).fetchall()
    assert [row["type"] for row in told] == ["batch.created", "batch.started", "batch.finished"]


async def test_many_items_of_one_order_never_exceed_it(worker: Runtime, shop: Shop, sandbox: Sandbox) -> None:
    (order_id,) = await orders(sandbox, 1)
    made = await make(worker, shop.caller, *[item(n, order_id, "10.00") for n in range(1, 6)])
    view = await over(worker, shop, made)
    assert counts(view) == {"succeeded": 3, "refused": 2}
    assert len(await sandbox.payouts(order_id)) == 3
    listed = await batches.items(worker, shop.caller, view.id, status="refused", limit=5, after=None)
    assert not isinstance(listed, BatchNotFound)
    assert [(entry.id, entry.failure and entry.failure.code) for entry in listed] == [
        (4, "exceeds_refundable"),
        (5, "exceeds_refundable"),
    ]


async def test_a_file_uploaded_again_pays_nothing_again(worker: Runtime, shop: Shop, sandbox: Sandbox) -> None:
    ids = await orders(sandbox, 4)
    rows = [item(n, order_id, external_reference=f"CM-{n}") for n, order_id in enumerate(ids, 1)]
    first = await make(worker, shop.caller, *rows)
    await over(worker, shop, first)
    again = await over(worker, shop, await make(worker, shop.caller, *rows))
    assert counts(again) == {"succeeded": 4}
    listed = await batches.items(worker, shop.caller, again.id, status=None, limit=9, after=None)
    assert not isinstance(listed, BatchNotFound)
    assert all(entry.replayed for entry in listed)
    assert await paid(sandbox, ids) == [1] * 4


async def test_two_uploads_of_a_file_at_once_pay_once(worker: Runtime, shop: Shop, sandbox: Sandbox) -> None:
    ids = await orders(sandbox, 6)
    rows = [item(n, order_id, external_reference=f"CM-{n}") for n, order_id in enumerate(ids, 1)]
    made = await asyncio.gather(*[make(worker, shop.caller, *rows) for _ in range(2)])
    views = [await over(worker, shop, one) for one in made]
    assert [counts(view) for view in views] == [{"succeeded": 6}] * 2
    assert await paid(sandbox, ids) == [1] * 6


async def test_the_same_key_gives_the_same_batch(rt: Runtime, shop: Shop) -> None:
    first = await make(rt, shop.caller, item(1, 1), key="k")
    again = await make(rt, shop.caller, item(1, 1), key="k")
    assert (again.view.id, again.replayed) == (first.view.id, True)
    assert await make(rt, shop.caller, item(1, 2), key="k") == KeyReused(resource_id=first.view.id)


async def test_a_key_that_made_a_batch_makes_no_refund(rt: Runtime, shop: Shop) -> None:
    made = await make(rt, shop.caller, item(1, 1), key="k")
    asked = await submit(
        rt, shop.caller, item(1, 1).command, idempotency_key="k", request_id="r", wait_s=1, at_once=True
    )
    assert asked == KeyReused(resource_id=made.view.id)


async def test_every_fault_of_every_item_is_named_and_nothing_is_made(rt: Runtime, shop: Shop) -> None:
    known = await submit(
        rt,
        shop.caller,
        item(1, 7, external_reference="OLD").command,
        idempotency_key=None,
        request_id="r",
        wait_s=1,
        at_once=True,
    )
    assert isinstance(known, Accepted)
    faulty = await make(
        rt,
        shop.caller,
        item(1, 1, external_reference="A"),
        item(2, 1, amount="0.00"),
        item(3, 1, store="elsewhere"),
        item(4, 2, external_reference="A"),
        item(5, 7, amount="2.00", external_reference="OLD"),
    )
    assert isinstance(faulty, BatchFaulty)
    assert {(fault.number, fault.pointer, fault.code) for fault in faulty.faults} == {
        (2, "/amount", faulty.faults[0].code),
        (3, "/store", "store_not_found"),
        (4, "/external_reference", "duplicate_reference"),
        (5, "/external_reference", "external_reference_conflict"),
    }
    async with rt.database.reading() as conn:
        assert await (await conn.execute("SELECT FROM batch")).fetchall() == []


async def test_a_check_tells_what_would_be_and_pays_nothing(worker: Runtime, shop: Shop, sandbox: Sandbox) -> None:
    ids = await orders(sandbox, 3)
    rows = [item(n, order_id, "20.00") for n, order_id in enumerate([*ids, ids[0], "999999"], 1)]
    view = await over(worker, shop, await make(worker, shop.caller, *rows, mode="check"))
    # The second refund of the first order no longer fits beside the first one.
    assert counts(view) == {"valid": 3, "refused": 2}
    (valid,) = [tally for tally in view.tallies if tally.status == "valid"]
    assert (valid.store, valid.currency, valid.amount) == ("demo", "EUR", Decimal("60.00"))
    assert await paid(sandbox, ids) == [0, 0, 0]
    async with worker.database.reading() as conn:
        assert await (await conn.execute("SELECT FROM refund")).fetchall() == []


async def test_a_held_batch_waits_for_its_release(worker: Runtime, shop: Shop, sandbox: Sandbox) -> None:
    ids = await orders(sandbox, 2)
    made = await make(worker, shop.caller, *[item(n, order_id) for n, order_id in enumerate(ids, 1)], mode="hold")
    assert made.view.status == "held"
    await lanes.sweep(worker)
    await lanes.run_lane(worker, shop.store_id)
    assert await paid(sandbox, ids) == [0, 0]
    released = await batches.release(worker, shop.caller, made.view.id)
    assert isinstance(released, BatchView)
    assert released.released_by == shop.caller.actor
    await over(worker, shop, made)
    assert await paid(sandbox, ids) == [1, 1]
    assert isinstance(await batches.release(worker, shop.caller, made.view.id), BatchWrongState)


async def test_a_held_batch_that_nobody_releases_expires(rt: Runtime, shop: Shop) -> None:
    made = await make(rt, shop.caller, item(1, 1), mode="hold", release_until=rt.clock() + timedelta(milliseconds=50))
    await asyncio.sleep(0.06)
    assert isinstance(await batches.release(rt, shop.caller, made.view.id), BatchWrongState)
    await lanes.sweep(rt)
    view = await view_of(rt, shop, made)
    assert (view.status, counts(view), view.processed) == ("expired", {"dropped": 1}, 1)


async def test_a_batch_starts_at_its_time(worker: Runtime, shop: Shop, sandbox: Sandbox) -> None:
    (order_id,) = await orders(sandbox, 1)
    start_at = worker.clock() + timedelta(seconds=1.5)
    made = await make(worker, shop.caller, item(1, order_id), start_at=start_at)
    assert made.view.status == "scheduled"
    view = await over(worker, shop, made)
    assert view.started_at is not None
    assert view.started_at >= start_at


@pytest.mark.parametrize(
    ("stops", "why"),
    [
        (Stops(stop_after_failures=2), "failures"),
        (Stops(max_total={"EUR": Decimal("3.50")}), "max_total"),
        (Stops(max_total={"USD": Decimal("1000.00")}), "max_total"),
    ],
)
async def test_a_batch_stops_by_itself_and_goes_on_when_told(
    worker: Runtime, shop: Shop, sandbox: Sandbox, stops: Stops, why: str
) -> None:
    ids = await orders(sandbox, 20)
    failing = 2 if why == "failures" else 0
    rows = [item(n, order_id if n > failing else "999999") for n, order_id in enumerate(ids, 1)]
    made = await make(worker, shop.caller, *rows, stops=stops)
    stopped = await over(worker, shop, made, "stopped")
    assert stopped.stopped_by == why
    await eventually(lambda: _resting(worker))
    total = sum(await paid(sandbox, ids))
    most = {"failures": 17, "max_total": 3 if "EUR" in stops.max_total else 0}[why]
    assert total <= most
    if why == "max_total" and "EUR" in stops.max_total:
        assert stopped.limits["EUR"].taken == Decimal(total)
        assert total == 3
    resumed = await batches.resume(worker, shop.caller, made.view.id, stops=Stops())
    assert isinstance(resumed, BatchView)
    assert resumed.limits == {}
    view = await over(worker, shop, made)
    assert view.processed == 20
    assert sum(await paid(sandbox, ids)) == 20 - failing


async def _resting(rt: Runtime) -> bool:
    return rt.executions.in_hand == 0


async def test_what_failed_does_not_use_up_the_limit(worker: Runtime, shop: Shop, sandbox: Sandbox) -> None:
    ids = await orders(sandbox, 4)
    await sandbox.fault(fault="decline", order_id=int(ids[0]))
    rows = [item(n, order_id) for n, order_id in enumerate(ids, 1)]
    made = await make(worker, shop.caller, *rows[:2], stops=Stops(max_total={"EUR": Decimal("2.00")}))
    await over(worker, shop, made)
    async with worker.database.transaction() as conn:
        assert not await rows_of_batches.take(conn, made.view.id, "EUR", Decimal("1.01"), for_refund="rf_")
        assert await rows_of_batches.take(conn, made.view.id, "EUR", Decimal("1.00"), for_refund="rf_")


async def test_pause_and_cancel_leave_alone_what_was_not_taken_up(
    worker: Runtime, shop: Shop, sandbox: Sandbox
) -> None:
    ids = await orders(sandbox, 30)
    await sandbox.fault(fault="latency", operation="any", delay_s=0.1)
    made = await make(worker, shop.caller, *[item(n, order_id) for n, order_id in enumerate(ids, 1)])

    async def some() -> bool:
        return (await view_of(worker, shop, made)).processed >= 3

    await eventually(some)
    paused = await batches.pause(worker, shop.caller, made.view.id)
    assert isinstance(paused, BatchView)
    await eventually(lambda: _resting(worker))
    before = sum(await paid(sandbox, ids))
    assert 3 <= before < 30
    await lanes.sweep(worker)
    await asyncio.sleep(0.3)
    assert sum(await paid(sandbox, ids)) == before
    canceled = await batches.cancel(worker, shop.caller, made.view.id)
    assert isinstance(canceled, BatchView)
    assert canceled.status == "canceled"
    assert counts(canceled) == {"succeeded": before, "dropped": 30 - before}
    assert canceled.processed == 30
    assert isinstance(await batches.resume(worker, shop.caller, made.view.id, stops=None), BatchWrongState)


async def test_a_store_that_is_away_is_waited_for(
    settings: Settings, rt: Runtime, shop: Shop, sandbox: Sandbox
) -> None:
    ids = await orders(sandbox, 6)
    await sandbox.fault(fault="unavailable", operation="read", times=5)
    made = await make(rt, shop.caller, *[item(n, order_id) for n, order_id in enumerate(ids, 1)])
    quick = settings.model_copy(update={"breaker_ttl_s": 0.5})
    async with open_runtime(quick, works=True, url=rt.database.url):
        view = await over(rt, shop, made, within_s=25)
    assert counts(view) == {"succeeded": 6}
    assert await paid(sandbox, ids) == [1] * 6


async def test_a_killed_lane_is_taken_over(settings: Settings, rt: Runtime, shop: Shop, sandbox: Sandbox) -> None:
    (order_id,) = await orders(sandbox, 1)
    made = await make(rt, shop.caller, item(1, order_id))
    async with rt.database.committing() as conn:
        await conn.execute("DELETE FROM procrastinate_jobs")
        await conn.execute(
            "INSERT INTO lane VALUES (%s, 'ex_dead', clock_timestamp() + interval '0.5 s')", (shop.store_id,)
        )
    await lanes.run_lane(rt, shop.store_id)
    assert await sandbox.payouts(order_id) == []
    async with open_runtime(settings, works=True, url=rt.database.url):
        await over(rt, shop, made)
    assert len(await sandbox.payouts(order_id)) == 1


async def test_a_key_limited_to_other_stores_neither_sees_nor_makes_the_batch(
    rt: Runtime, shop: Shop, sandbox: Sandbox
) -> None:
    made = await make(rt, shop.caller, item(1, 1))
    limited = replace(shop.caller, store_ids=frozenset({"st_other"}))
    assert isinstance(await batches.look(rt, limited, made.view.id), BatchNotFound)
    assert isinstance(await batches.cancel(rt, limited, made.view.id), BatchNotFound)
    assert isinstance(await make(rt, limited, item(1, 1)), BatchFaulty)
    assert await batches.listed(rt, limited, status=None, schedule_id=None, limit=5, after=None) == []
    stranger = await add_shop(rt, sandbox.url)
    assert isinstance(await batches.look(rt, stranger.caller, made.view.id), BatchNotFound)


def test_a_share_of_failures_counts_from_twenty_items_on() -> None:
    few = {"stop_after_failures": None, "stop_if_over": Decimal("0.1"), "left": 5}
    assert stop_of(processed=19, failed=19, **few) is None
    assert stop_of(processed=20, failed=2, **few) is None
    assert stop_of(processed=20, failed=3, **few) == "failure_share"
    assert stop_of(processed=20, failed=3, **{**few, "left": 0}) is None
