"""What becomes of refunds whose process died or whose answer said too little."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from app.domain.refund import StorePolicy
from app.flows import recover
from app.flows.change import cancel, recheck, resolve
from app.flows.results import Accepted, WrongState
from app.flows.runtime import Runtime
from app.flows.send import send
from app.ledger import events, refunds
from app.ledger.events import NewEvent
from app.ledger.records import RefundRecord
from app.stores.port import Store
from tests.conftest import Sandbox, Shop, add_shop, eventually
from tests.flows.test_submit import command, post


async def read(rt: Runtime, refund_id: str) -> RefundRecord:
    async with rt.database.reading() as conn:
        record = await refunds.get(conn, refund_id)
    assert record is not None
    return record


async def settled(rt: Runtime, refund_id: str, *, within_s: float = 8) -> RefundRecord:
    """Do a worker's work until the refund has come to an end."""

    async def one_round() -> RefundRecord | None:
        await recover.sweep(rt)
        await recover.settle(rt, refund_id)
        await send(rt, refund_id)
        record = await read(rt, refund_id)
        return record if record.status in ("succeeded", "failed", "needs_review", "canceled") else None

    found: RefundRecord = await eventually(one_round, within_s=within_s)
    return found


async def uncertain(rt: Runtime, shop: Shop, sandbox: Sandbox, fault: str, **fields: Any) -> tuple[Any, RefundRecord]:
    order = await sandbox.new_order()
    await sandbox.fault(order_id=order["id"], operation="refund", fault=fault, times=1)
    answer = await post(rt, shop, command(order, **fields))
    assert isinstance(answer, Accepted), answer
    assert answer.record.status == "uncertain", answer.record
    return order, answer.record


@pytest.mark.parametrize(
    ("fault", "status", "rule", "paid"),
    [
        ("lost_answer", "succeeded", "paid_row", 1),
        ("truncated_json", "succeeded", "paid_row", 1),
        ("bad_gateway_after", "succeeded", "paid_row", 1),
        ("die_after_paying", "needs_review", "unpaid_row", 1),
        ("die_before_paying", "needs_review", "unpaid_row", 0),
        ("bad_gateway", "needs_review", "absent", 0),
        ("fatal", "needs_review", "absent", 0),
        ("html", "needs_review", "absent", 0),
        ("rate_limited", "succeeded", "turned_away_for_now", 1),
        ("maintenance", "succeeded", "turned_away_for_now", 1),
        ("captcha", "failed", "turned_away_for_good", 0),
        ("redirect", "failed", "turned_away_for_good", 0),
    ],
)
async def test_every_unclear_answer_comes_to_its_true_end(
    rt: Runtime, shop: Shop, sandbox: Sandbox, fault: str, status: str, rule: str, paid: int
) -> None:
    order, record = await uncertain(rt, shop, sandbox, fault)
    record = await settled(rt, record.id)
    assert record.status == status
    assert len(await sandbox.payouts(order["id"])) == paid
    async with rt.database.reading() as conn:
        timeline = await events.timeline(conn, shop.tenant_id, record.id, limit=50)
    assert rule in {event.data.get("rule") for event in timeline}
    if status == "needs_review":
        assert record.money == "unknown"
        assert any(observation.kind == rule for observation in record.evidence)


@pytest.mark.parametrize("fault", ["lost_answer", "bad_gateway", "die_before_paying", "fatal", "html"])
async def test_a_manual_refund_always_comes_to_an_end_and_is_recorded_once(
    rt: Runtime, shop: Shop, sandbox: Sandbox, fault: str
) -> None:
    order, record = await uncertain(rt, shop, sandbox, fault, payment="manual")
    record = await settled(rt, record.id)
    assert (record.status, record.money) == ("succeeded", "outside")
    assert await sandbox.payouts(order["id"]) == []
    view = await sandbox.client.get("/sandbox/orders")
    assert view.status_code == 200


async def test_a_policy_may_have_absent_refunds_sent_again(rt: Runtime, sandbox: Sandbox) -> None:
    shop = await add_shop(rt, sandbox.url, policy=StorePolicy(on_absence="resend"))
    order, record = await uncertain(rt, shop, sandbox, "bad_gateway")
    record = await settled(rt, record.id)
    assert (record.status, record.attempts) == ("succeeded", 2)
    assert len(await sandbox.payouts(order["id"])) == 1


async def test_a_store_still_at_work_is_waited_for(rt: Runtime, shop: Shop, sandbox: Sandbox) -> None:
    """The client gives up, the store does not: looking at once would have paid twice."""
    order = await sandbox.new_order()
    await sandbox.fault(order_id=order["id"], operation="refund", fault="slow", delay_s=1.2, times=1)
    answer = await post(rt, shop, command(order), wait_s=0.1)
    assert isinstance(answer, Accepted)
    await rt.executions.drain(timedelta(seconds=0.2))  # the process is told to stop in the middle of the POST
    record = await read(rt, answer.record.id)
    assert record.status == "uncertain"
    record = await settled(rt, record.id)
    assert record.status == "succeeded"
    assert len(await sandbox.payouts(order["id"])) == 1


class Dead(BaseException):
    """Stands for the end of a process."""


async def abandon(rt: Runtime, shop: Shop, order: Any, *, sent: bool) -> RefundRecord:
    """Leave a refund as a process does that dies before or after it has put `sending` on record."""
    store, policy = await rt.stores.open(shop.store_id)

    class Dying:
        def __getattr__(self, name: str) -> Any:
            return getattr(store, name)

        async def refund(self, *args: Any, **kwargs: Any) -> Any:
            raise Dead

    class Book:
        async def open(self, store_id: str) -> tuple[Store, StorePolicy]:
            return Dying(), policy  # type: ignore[return-value]

    wanted = command(order, external_reference="CM-1")
    dying = replace(rt, stores=Book())
    if sent:
        with pytest.raises(Dead):
            await post(dying, shop, wanted)
    else:

        class Unstarted(type(rt.executions)):  # type: ignore[misc]
            def start(self, work: Any) -> Any:
                work.close()
                raise Dead

        with pytest.raises(Dead):
            await post(replace(dying, executions=Unstarted()), shop, wanted)
    async with rt.database.reading() as conn:
        row = await (await conn.execute("SELECT id FROM refund")).fetchone()
        # The beats of the process have stopped.
        await conn.execute("UPDATE refund SET executor = 'ex_dead', lease_until = clock_timestamp()")
    assert row is not None
    return await read(rt, row["id"])


async def test_a_process_that_dies_before_sending_loses_nothing(rt: Runtime, shop: Shop, sandbox: Sandbox) -> None:
    order = await sandbox.new_order()
    record = await abandon(rt, shop, order, sent=False)
    assert record.status == "pending"
    record = await settled(rt, record.id)
    assert record.status == "succeeded"
    assert len(await sandbox.payouts(order["id"])) == 1


async def test_a_process_that_dies_while_sending_leaves_a_doubt_that_a_person_settles(
    rt: Runtime, shop: Shop, sandbox: Sandbox
) -> None:
    order = await sandbox.new_order()
    record = await abandon(rt, shop, order, sent=True)
    assert record.status == "sending"
    record = await settled(rt, record.id)
    assert record.status == "needs_review"
    assert record.failure is not None
    assert record.failure.code == "nothing_found"
    # It keeps its part of the order, but no longer blocks the rest.
    further = await post(rt, shop, command(order, amount=Decimal("27.14")))
    assert not isinstance(further, Accepted)
    rest = await post(rt, shop, command(order, amount=Decimal("27.13")))
    assert isinstance(rest, Accepted)
    assert rest.record.status == "succeeded"
    found = await resolve(rt, shop.caller, record.id, outcome="resend", note="Not at the provider.", person="Ada")
    assert isinstance(found, Accepted)
    record = await settled(rt, record.id)
    assert record.status == "succeeded"
    assert sum(Decimal(p["amount"]) for p in await sandbox.payouts(order["id"])) == Decimal("32.13")
    async with rt.database.reading() as conn:
        timeline = await events.timeline(conn, shop.tenant_id, record.id, limit=50)
    resolved = next(event for event in timeline if event.type == "refund.resolved")
    assert (resolved.data["by"], resolved.data["note"]) == ("Ada", "Not at the provider.")


@pytest.mark.parametrize(("outcome", "money"), [("succeeded", "moved"), ("failed", "not_moved")])
async def test_a_person_settles_what_the_store_cannot_tell(
    rt: Runtime, shop: Shop, sandbox: Sandbox, outcome: Any, money: str
) -> None:
    _, record = await uncertain(rt, shop, sandbox, "die_after_paying")
    wrong = await resolve(rt, shop.caller, record.id, outcome=outcome, note="too early", person="Ada")
    assert isinstance(wrong, WrongState)
    await settled(rt, record.id)
    found = await resolve(rt, shop.caller, record.id, outcome=outcome, note="Looked.", person="Ada")
    assert isinstance(found, Accepted)
    assert (found.record.status, found.record.money) == (outcome, money)
    again = await resolve(rt, shop.caller, record.id, outcome=outcome, note="Looked.", person="Ada")
    assert again == Accepted(record=found.record, replayed=True)
    other = await resolve(rt, shop.caller, record.id, outcome=outcome, note="Changed my mind.", person="Ada")
    assert isinstance(other, WrongState)


async def test_looking_again_settles_a_review_only_when_the_store_says_it_paid(
    rt: Runtime, shop: Shop, sandbox: Sandbox
) -> None:
    _, record = await uncertain(rt, shop, sandbox, "bad_gateway")
    await settled(rt, record.id)
    found = await recheck(rt, shop.caller, record.id)
    assert isinstance(found, Accepted)
    assert found.record.status == "needs_review"


async def test_a_refund_accepted_unseen_is_validated_and_sent(rt: Runtime, shop: Shop, sandbox: Sandbox) -> None:
    order = await sandbox.new_order()
    answer = await post(rt, shop, command(order), at_once=True)
    assert isinstance(answer, Accepted)
    assert (answer.record.status, answer.record.amount) == ("pending", None)
    record = await settled(rt, answer.record.id)
    assert (record.status, record.amount) == ("succeeded", Decimal("5.00"))
    refused = await post(rt, shop, command(order, amount=Decimal(99)), at_once=True)
    assert isinstance(refused, Accepted)
    record = await settled(rt, refused.record.id)
    assert record.status == "failed"
    assert record.failure is not None
    assert record.failure.code == "exceeds_refundable"


async def test_a_pending_refund_waits_for_its_store_and_can_be_canceled(
    rt: Runtime, shop: Shop, sandbox: Sandbox
) -> None:
    order = await sandbox.new_order()
    await sandbox.fault(operation="read", fault="bad_gateway")
    answer = await post(rt, shop, command(order), at_once=True)
    assert isinstance(answer, Accepted)
    await send(rt, answer.record.id)
    record = await read(rt, answer.record.id)
    assert record.status == "pending"
    assert record.due_at is not None
    assert record.due_at > rt.clock()
    found = await cancel(rt, shop.caller, record.id)
    assert isinstance(found, Accepted)
    assert found.record.status == "canceled"
    assert isinstance(await cancel(rt, shop.caller, record.id), Accepted)
    await sandbox.client.delete("/sandbox/faults")
    assert await send(rt, record.id) is None
    assert await sandbox.payouts(order["id"]) == []


async def test_a_pending_refund_expires(rt: Runtime, shop: Shop, sandbox: Sandbox) -> None:
    order = await sandbox.new_order()
    answer = await post(rt, shop, command(order), at_once=True)
    assert isinstance(answer, Accepted)
    async with rt.database.reading() as conn:
        await conn.execute("UPDATE refund SET expires_at = clock_timestamp()")
    record = await send(rt, answer.record.id)
    assert record is not None
    assert record.failure is not None
    assert (record.status, record.failure.code) == ("failed", "expired")


async def test_an_order_that_changed_since_the_plan_is_not_overdrawn(rt: Runtime, shop: Shop, sandbox: Sandbox) -> None:
    order = await sandbox.new_order()
    record = await abandon(rt, shop, order, sent=False)
    by_hand = await sandbox.client.post(f"/sandbox/orders/{order['id']}/refunds", json={"amount": "30.00"})
    assert by_hand.status_code < 300, by_hand.text
    record = await settled(rt, record.id)
    assert record.status == "failed"
    assert record.failure is not None
    assert record.failure.code == "exceeds_refundable"


async def test_a_late_answer_changes_nothing_and_is_kept(rt: Runtime, shop: Shop, sandbox: Sandbox) -> None:
    order = await sandbox.new_order()
    await sandbox.fault(order_id=order["id"], operation="refund", fault="slow", delay_s=0.6, times=1)
    answer = await post(rt, shop, command(order), wait_s=0.1)
    assert isinstance(answer, Accepted)
    async with rt.database.transaction() as conn:
        # Somebody else takes the process for dead while it waits for the store.
        event = NewEvent(type="refund.uncertain", actor="test")
        taken = await refunds.mark_uncertain(
            conn, answer.record, event, answer=None, touch_lost_at=rt.clock(), due_at=rt.clock()
        )
    assert taken is not None
    await asyncio.sleep(0.9)
    record = await settled(rt, taken.id)
    assert record.status == "succeeded"
    async with rt.database.reading() as conn:
        timeline = await events.timeline(conn, shop.tenant_id, record.id, limit=50)
    types = [event.type for event in timeline]
    assert "refund.answered_late" in types
    assert types.count("refund.succeeded") == 1
