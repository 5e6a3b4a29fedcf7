"""Sending and settling, answer by answer, with a store that says what the test wants."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from app.domain.refund import RefundCommand, RefundPlan
from app.flows import execute
from app.flows.execute import Executions, conclude
from app.flows.results import Accepted
from app.flows.runtime import Runtime
from app.flows.send import send
from app.flows.settle import Shop as OpenShop
from app.flows.submit import submit
from app.ledger import events, refunds
from app.ledger.records import RefundRecord
from app.stores.port import Contradicted, Refunded, Refused, StoreAnswer, StoreUnavailable, Unknown
from tests.conftest import Shop, add_shop
from tests.flows.scripted import EXCHANGE, UNREACHABLE, ScriptedStore, with_store


@pytest.fixture
async def shop(rt: Runtime) -> Shop:
    return await add_shop(rt, "https://shop.example")


async def post(rt: Runtime, shop: Shop, **fields: Any) -> Any:
    values: dict[str, Any] = {"store": "demo", "order_id": "12", "amount": Decimal("5.00")}
    return await submit(
        rt,
        shop.caller,
        RefundCommand(**(values | fields)),
        idempotency_key=None,
        request_id="r",
        wait_s=8,
        at_once=False,
    )


async def timeline(rt: Runtime, record: RefundRecord) -> list[str]:
    async with rt.database.reading() as conn:
        return [event.type for event in await events.timeline(conn, record.tenant_id, record.id, limit=50)]


async def test_a_store_that_is_reached_at_the_second_try_is_sent_one_refund(rt: Runtime, shop: Shop) -> None:
    store = ScriptedStore(answers=[UNREACHABLE, Refunded(store_refund_id="726", exchange=EXCHANGE)])
    answer = await post(with_store(rt, store), shop)
    assert (answer.record.status, answer.record.attempts) == ("succeeded", 2)
    assert "refund.not_sent" in await timeline(rt, answer.record)
    assert len(set(store.sent)) == 1


async def test_a_store_that_is_not_reached_leaves_the_refund_to_the_workers(rt: Runtime, shop: Shop) -> None:
    store = ScriptedStore(answers=[UNREACHABLE])
    fixed = with_store(rt, store)
    answer = await post(fixed, shop)
    record = answer.record
    assert (record.status, record.money, record.attempts) == ("pending", "not_moved", 3)
    assert record.due_at is not None
    assert record.lease_until is None
    store.answers = []
    async with rt.database.reading() as conn:
        await conn.execute("UPDATE refund SET due_at = clock_timestamp() - interval '1 s'")
    sent = await send(fixed, record.id)
    assert sent is not None
    assert sent.status == "succeeded"


async def test_a_process_that_was_held_up_does_not_send_what_it_has_marked(rt: Runtime, shop: Shop) -> None:
    store = ScriptedStore()
    paused = with_store(replace(rt, settings=rt.settings.model_copy(update={"lease_s": 0.000001})), store)
    answer = await post(paused, shop)
    assert store.sent == []
    assert answer.record.status == "pending"


async def test_an_answer_that_contradicts_itself_is_kept_as_evidence(rt: Runtime, shop: Shop) -> None:
    contradiction = Contradicted(
        message="The store refunded 150.00, not 5.00.",
        store_refund_id="726",
        facts={"amount": "150.00"},
        exchange=EXCHANGE,
    )
    answer = await post(with_store(rt, ScriptedStore(answers=[contradiction])), shop)
    record = answer.record
    assert (record.status, record.store_refund_id) == ("needs_review", "726")
    assert record.evidence[0].facts["amount"] == "150.00"


async def test_a_refusal_that_proves_itself_needs_no_second_look(rt: Runtime, shop: Shop) -> None:
    refusal = Refused(code="exceeds_refundable", message="Invalid refund amount.", needs_look=False, exchange=EXCHANGE)
    store = ScriptedStore(answers=[refusal], reading_fails=None)
    answer = await post(with_store(rt, store), shop)
    assert (answer.record.status, answer.record.failure.code) == ("failed", "exceeds_refundable")


async def test_a_decline_that_cannot_be_looked_into_stays_uncertain(rt: Runtime, shop: Shop) -> None:
    store = ScriptedStore()

    async def refuse_and_go_down(plan: RefundPlan) -> StoreAnswer:
        store.reading_fails = StoreUnavailable("The store is down.")
        return Refused(code="gateway_declined", message="Declined.", needs_look=True, exchange=EXCHANGE)

    store.answers = [refuse_and_go_down]
    answer = await post(with_store(rt, store), shop)
    assert answer.record.status == "uncertain"
    assert answer.record.due_at > rt.clock()


async def test_a_refund_waits_while_another_of_its_order_is_sent(rt: Runtime, shop: Shop) -> None:
    release = asyncio.Event()

    async def slow(plan: RefundPlan) -> StoreAnswer:
        await release.wait()
        return Refunded(store_refund_id="1", exchange=EXCHANGE)

    store = ScriptedStore(answers=[slow, Refunded(store_refund_id="2", exchange=EXCHANGE)])
    fixed = with_store(rt, store)
    first = asyncio.create_task(post(fixed, shop))
    while not store.sent:
        await asyncio.sleep(0.01)
    second = asyncio.create_task(post(fixed, shop))
    await asyncio.sleep(0.2)
    assert len(store.sent) == 1
    release.set()
    assert {(await first).record.status, (await second).record.status} == {"succeeded"}


async def test_a_refund_behind_one_that_turns_doubtful_is_left_to_the_workers(rt: Runtime, shop: Shop) -> None:
    release = asyncio.Event()

    async def vanish(plan: RefundPlan) -> StoreAnswer:
        await release.wait()
        return Unknown(message="No answer.", turned_away=None, retry_after_s=None, exchange=EXCHANGE)

    store = ScriptedStore(answers=[vanish])
    fixed = with_store(rt, store)
    first = asyncio.create_task(post(fixed, shop))
    while not store.sent:
        await asyncio.sleep(0.01)
    second = asyncio.create_task(post(fixed, shop))
    await asyncio.sleep(0.1)
    release.set()
    assert (await first).record.status == "uncertain"
    behind = (await second).record
    assert behind.status == "pending"
    assert behind.due_at is not None
    # A worker that comes too early finds the order still blocked and puts it off again.
    async with rt.database.reading() as conn:
        await conn.execute("UPDATE refund SET due_at = clock_timestamp() - interval '1 s' WHERE status = 'pending'")
    again = await send(fixed, behind.id)
    assert again is not None
    assert again.status == "pending"
    assert len(store.sent) == 1


@pytest.mark.parametrize("trouble", ["store_down", "order_emptied"])
async def test_a_refund_that_waited_is_held_against_the_order_as_it_is_now(
    rt: Runtime, shop: Shop, trouble: str
) -> None:
    release = asyncio.Event()
    store = ScriptedStore()

    async def change_the_world(plan: RefundPlan) -> StoreAnswer:
        await release.wait()
        if trouble == "store_down":
            store.reading_fails = StoreUnavailable("The store is down.")
        else:
            store.order = replace(store.order, status="cancelled")
        return Refunded(store_refund_id="1", exchange=EXCHANGE)

    store.answers = [change_the_world]
    fixed = with_store(rt, store)
    first = asyncio.create_task(post(fixed, shop))
    while not store.sent:
        await asyncio.sleep(0.01)
    second = asyncio.create_task(post(fixed, shop))
    await asyncio.sleep(0.1)
    release.set()
    await first
    behind = (await second).record
    if trouble == "store_down":
        assert behind.status == "pending"
    else:
        assert (behind.status, behind.failure.code) == ("failed", "order_status_not_refundable")
    assert len(store.sent) == 1


async def test_a_refund_that_was_canceled_while_it_waited_is_not_sent(rt: Runtime, shop: Shop) -> None:
    store = ScriptedStore()
    fixed = with_store(rt, store)

    class Canceling(Executions):
        def start(self, work: Any) -> Any:
            async def cancel_first() -> Any:
                async with rt.database.reading() as conn:
                    await conn.execute("UPDATE refund SET status = 'canceled', settled_at = now(), fence = fence + 1")
                return await work

            return super().start(cancel_first())

    answer = await post(replace(fixed, executions=Canceling()), shop)
    assert answer.record.status == "canceled"
    assert store.sent == []


async def test_a_broken_execution_is_logged_and_leaves_its_row_to_recovery(
    rt: Runtime, shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    executions = Executions()

    async def broken() -> None:
        raise RuntimeError("lost the database")

    task = executions.start(broken())
    with pytest.raises(RuntimeError):
        await task
    await executions.drain(timedelta(0))
    assert executions.in_hand == 0


async def test_an_answer_is_settled_though_the_database_goes_away_for_a_moment(rt: Runtime, shop: Shop) -> None:
    store = ScriptedStore()
    lost = [True]

    class Flaky:
        """Loses its connections once, just when the store's answer is to be put on record."""

        def __getattr__(self, name: str) -> Any:
            if name in ("committing", "transaction") and store.sent and lost:
                lost.clear()
                raise psycopg.OperationalError("the connection was closed")
            return getattr(rt.database, name)

    answer = await post(replace(with_store(rt, store), database=Flaky()), shop)  # type: ignore[arg-type]
    assert lost == []
    assert (answer.record.status, len(store.sent)) == ("succeeded", 1)


async def test_draining_cancels_what_does_not_finish_in_time(rt: Runtime) -> None:
    executions = Executions()
    await executions.drain(timedelta(seconds=1))
    task = executions.start(asyncio.sleep(60))
    await asyncio.sleep(0)
    await executions.drain(timedelta(seconds=0.01))
    assert task.cancelled()


async def test_an_answer_for_a_refund_that_others_have_settled_is_kept_and_changes_nothing(
    rt: Runtime, shop: Shop
) -> None:
    store = ScriptedStore()
    answer = await post(with_store(rt, store), shop)
    assert isinstance(answer, Accepted)
    stale = replace(answer.record, status="sending", fence=answer.record.fence - 1)
    open_shop = OpenShop(store=store, policy=(await with_store(rt, store).stores.open("x"))[1])
    for late in (
        Unknown(message="?", turned_away=None, retry_after_s=None, exchange=EXCHANGE),
        UNREACHABLE,
    ):
        after = await conclude(rt, stale, late, open_shop)
        assert after == answer.record
    async with rt.database.reading() as conn:
        assert await refunds.get(conn, answer.record.id) == answer.record
    assert execute.wire(EXCHANGE) == {"duration_ms": 1.0}
