"""Messages that were kept: taken in once, postponed, given up."""

from datetime import timedelta
from typing import Any

import pytest

from app.domain.refund import RefundCommand
from app.flows import take_in
from app.flows.results import Accepted
from app.flows.runtime import Runtime
from app.flows.submit import submit
from app.flows.take_in import Arrival
from app.ledger import inbound
from app.ledger.inbound import Message, Outcome, Source
from tests.conftest import Shop

COMMAND = RefundCommand(store="demo", order_id="1", remaining=True, external_reference="CN-1")


@pytest.fixture
async def source(rt: Runtime, shop: Shop) -> Source:
    async with rt.database.transaction() as conn:
        return await inbound.add_source(
            conn,
            id="src_1",
            tenant_id=shop.tenant_id,
            name="oms",
            verification={"kind": "bearer"},
            secret=b"",
            mapping={"expression": "@"},
            dedupe=None,
            store=None,
            store_ids=None,
            created_by="test",
        )


async def received(rt: Runtime, source: Source, command: RefundCommand = COMMAND) -> Message:
    arrival = Arrival(dedupe_key="k", headers={}, body=b"{}", outcome=Outcome(command=command))
    message, _ = await take_in.receive(rt, source, arrival)
    return message


async def as_it_is(rt: Runtime, message: Message) -> Message:
    async with rt.database.reading() as conn:
        found = await inbound.message(conn, message.tenant_id, message.source_id, message.id)
    assert found is not None
    return found


async def execute(rt: Runtime, statement: Any) -> None:
    async with rt.database.transaction() as conn:
        await conn.execute(statement)


async def test_two_workers_take_a_message_in_once(rt: Runtime, source: Source) -> None:
    message = await received(rt, source)

    async with rt.database.committing() as conn:
        first = await inbound.take(conn, message.id, lease=timedelta(seconds=15))
    await take_in.take_in(rt, message.id)

    assert first is not None
    assert (await as_it_is(rt, message)).status == "received"


async def test_a_message_waits_for_the_same_request_that_is_under_way(rt: Runtime, shop: Shop, source: Source) -> None:
    same = await submit(rt, shop.caller, COMMAND, idempotency_key=None, request_id="r", wait_s=0, at_once=True)
    assert isinstance(same, Accepted)
    await execute(
        rt,
        "UPDATE refund SET executor = 'ex', lease_until = now() + interval '1 min',"
        " waited_for_until = now() + interval '1 min'",
    )
    message = await received(rt, source)

    await take_in.take_in(rt, message.id)

    assert (await as_it_is(rt, message)).status == "received"
    assert await take_in.sweep(rt) == 0
    await execute(rt, "UPDATE refund SET executor = NULL, lease_until = NULL, waited_for_until = NULL")
    await execute(rt, "UPDATE inbound_message SET due_at = now()")
    assert await take_in.sweep(rt) == 1
    await take_in.take_in(rt, message.id)
    assert (await as_it_is(rt, message)).refund_id == same.record.id


async def test_a_message_that_can_never_be_taken_in_is_given_up_visibly(rt: Runtime, source: Source) -> None:
    message = await received(rt, source)
    await execute(rt, "UPDATE inbound_message SET attempts = 150")

    await take_in.take_in(rt, message.id)

    after = await as_it_is(rt, message)
    assert after.failure is not None
    assert (after.status, after.failure["code"]) == ("failed", "given_up")


async def test_a_store_that_the_source_may_not_use_is_told_in_the_message(rt: Runtime, source: Source) -> None:
    await execute(rt, "UPDATE inbound_source SET store_ids = '{}'")
    message = await received(rt, source)

    await take_in.take_in(rt, message.id)

    after = await as_it_is(rt, message)
    assert after.failure is not None
    assert after.failure["code"] == "store_not_found"


async def test_a_replay_that_comes_too_late_changes_nothing(rt: Runtime, source: Source) -> None:
    arrival = Arrival(dedupe_key="f", headers={}, body=b"", outcome=Outcome(failure={"code": "c", "message": "m"}))
    failed, _ = await take_in.receive(rt, source, arrival)
    first = await take_in.replay(rt, failed, Outcome(command=COMMAND))

    assert first is not None
    assert first.status == "received"
    assert await take_in.replay(rt, failed, Outcome()) is None
