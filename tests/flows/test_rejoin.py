"""Requests without a key of their own: the same again joins the first until somebody was given its outcome."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from app.domain.errors import Refusal
from app.domain.refund import RefundCommand, RefundPlan
from app.flows.rejoin import outcome_of, told
from app.flows.results import Accepted, RequestInProgress
from app.flows.runtime import Runtime
from app.flows.submit import submit
from app.stores.port import Refunded, Refused, StoreAnswer, Unknown
from tests.conftest import Shop, add_shop
from tests.flows.scripted import EXCHANGE, ScriptedStore, with_store

LOST = Unknown(message="No answer.", turned_away=None, retry_after_s=None, exchange=EXCHANGE)
DECLINED = Refused(code="gateway_declined", message="no", needs_look=False, exchange=EXCHANGE)


@pytest.fixture
async def shop(rt: Runtime) -> Shop:
    return await add_shop(rt, "https://shop.example")


@pytest.fixture
def store() -> ScriptedStore:
    return ScriptedStore()


@pytest.fixture
def fixed(rt: Runtime, store: ScriptedStore) -> Runtime:
    return with_store(rt, store)


async def post(rt: Runtime, shop: Shop, *, key: str | None = None, wait_s: float = 5, **fields: Any) -> Any:
    values: dict[str, Any] = {"store": "demo", "order_id": "12", "amount": Decimal("5.00"), "dialect": "woocommerce"}
    command = RefundCommand(**(values | fields))
    return await submit(
        rt, shop.caller, command, idempotency_key=key, request_id="r", wait_s=wait_s, at_once=False, via="front"
    )


async def test_twenty_identical_requests_at_once_are_one_refund(
    fixed: Runtime, shop: Shop, store: ScriptedStore
) -> None:
    answers = await asyncio.gather(*(post(fixed, shop) for _ in range(20)))
    assert {answer.record.id for answer in answers} == {answers[0].record.id}
    assert {answer.record.status for answer in answers} == {"succeeded"}
    assert sum(not answer.replayed for answer in answers) == 1
    assert len(store.sent) == 1


async def test_another_process_under_way_is_waited_for(fixed: Runtime, shop: Shop, store: ScriptedStore) -> None:
    async def slow(_plan: RefundPlan) -> StoreAnswer:
        await asyncio.sleep(0.4)
        return Refunded(store_refund_id="726", exchange=EXCHANGE)

    store.answers = [slow]
    first = asyncio.create_task(post(fixed, shop))
    await asyncio.sleep(0.1)
    second = await post(fixed, shop)
    assert isinstance(second, Accepted)
    assert (second.record.status, second.replayed) == ("succeeded", True)
    assert (await first).record.id == second.record.id
    assert len(store.sent) == 1


async def test_an_outcome_that_nobody_was_given_is_given_instead_of_paying_again(
    fixed: Runtime, shop: Shop, store: ScriptedStore
) -> None:
    first = await post(fixed, shop)
    again = await post(fixed, shop)
    assert again.record.id == first.record.id
    await told(fixed, again.record)
    third = await post(fixed, shop)
    assert third.record.id != first.record.id
    assert len(store.sent) == 2


async def test_a_decline_is_told_once_and_may_then_be_tried_again(
    fixed: Runtime, shop: Shop, store: ScriptedStore
) -> None:
    store.answers = [DECLINED]
    first = await post(fixed, shop)
    assert (await post(fixed, shop)).record.id == first.record.id
    await told(fixed, first.record)
    assert (await post(fixed, shop)).record.id != first.record.id


async def test_what_is_uncertain_stays_so_for_whoever_asks(fixed: Runtime, shop: Shop, store: ScriptedStore) -> None:
    store.answers = [LOST]
    first = await post(fixed, shop)
    assert first.record.status == "uncertain"
    # An answer that could not say what became of it is no outcome, and cannot be told.
    await told(fixed, first.record)
    again = await post(fixed, shop, wait_s=0.1)
    assert (again.record.id, again.record.status) == (first.record.id, "uncertain")
    assert len(store.sent) == 1


async def test_other_content_is_another_refund(fixed: Runtime, shop: Shop, store: ScriptedStore) -> None:
    first = await post(fixed, shop)
    assert (await post(fixed, shop, amount=Decimal("5.01"))).record.id != first.record.id
    assert (await post(fixed, shop, reason="else")).record.id != first.record.id
    assert (await post(fixed, shop, amount=Decimal("5.0"))).record.id == first.record.id
    assert len(store.sent) == 3


async def test_a_key_of_its_own_counts_instead(fixed: Runtime, shop: Shop, store: ScriptedStore) -> None:
    first = await post(fixed, shop, key="a")
    again = await post(fixed, shop, key="a")
    assert (again.record.id, again.replayed) == (first.record.id, True)
    other = await post(fixed, shop, key="b")
    assert other.record.id != first.record.id
    assert len(store.sent) == 2


async def test_the_normalized_api_never_joins_by_content(fixed: Runtime, shop: Shop, store: ScriptedStore) -> None:
    command = RefundCommand(store="demo", order_id="12", amount=Decimal("5.00"))
    for _ in range(2):
        await submit(fixed, shop.caller, command, idempotency_key=None, request_id="r", wait_s=5, at_once=False)
    assert len(store.sent) == 2


async def test_waiting_ends_when_it_has_to(fixed: Runtime, shop: Shop, store: ScriptedStore) -> None:
    store.answers = [LOST]
    first = await post(fixed, shop)
    until = fixed.clock() + timedelta(seconds=0.2)
    record = await outcome_of(fixed, first.record.id, until=until)
    assert record.status == "uncertain"
    assert fixed.clock() >= until


async def test_nothing_is_joined_across_orders_or_tenants(fixed: Runtime, shop: Shop, store: ScriptedStore) -> None:
    other = await add_shop(fixed, "https://shop.example")
    first = await post(fixed, shop)
    assert (await post(fixed, other)).record.id != first.record.id
    store.order = replace(store.order, id="13", number="13")
    assert (await post(fixed, shop, order_id="13")).record.id != first.record.id
    assert not isinstance(first, Refusal | RequestInProgress)
