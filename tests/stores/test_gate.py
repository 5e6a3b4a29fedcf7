"""The priority gate loses no slot, and the breaker tells failures from silence."""

import asyncio
import random
from contextlib import AsyncExitStack

import pytest

from app.stores.gate import Breaker, BreakerOpen, NoSlot, PriorityGate
from app.stores.port import Priority


async def test_interactive_goes_before_background_and_each_in_its_order() -> None:
    gate = PriorityGate(1)
    order: list[str] = []

    async def work(name: str, priority: Priority) -> None:
        async with gate.slot(priority, within_s=5):
            order.append(name)
            await asyncio.sleep(0)

    async with gate.slot("interactive", within_s=5):
        tasks = [
            asyncio.create_task(work(name, priority))
            for name, priority in (
                ("b1", "background"),
                ("i1", "interactive"),
                ("b2", "background"),
                ("i2", "interactive"),
            )
        ]
        await asyncio.sleep(0.01)
        assert order == []
    await asyncio.gather(*tasks)
    assert order == ["i1", "i2", "b1", "b2"]


async def test_no_more_than_the_limit_are_inside_and_no_slot_is_lost_to_cancellation() -> None:
    gate = PriorityGate(3)
    inside = most = 0
    dice = random.Random(7)

    async def work(priority: Priority) -> None:
        nonlocal inside, most
        async with gate.slot(priority, within_s=dice.choice([0.001, 5])):
            inside += 1
            most = max(most, inside)
            try:
                await asyncio.sleep(dice.random() / 200)
            finally:
                inside -= 1

    tasks = [asyncio.create_task(work(dice.choice(["interactive", "background"]))) for _ in range(300)]
    for task in dice.sample(tasks, 150):
        await asyncio.sleep(0)
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert most == 3
    # All three slots are free again: three may enter at once, a fourth may not.
    async with AsyncExitStack() as held:
        for _ in range(3):
            await held.enter_async_context(gate.slot("background", within_s=0.1))
        with pytest.raises(NoSlot):
            await held.enter_async_context(gate.slot("interactive", within_s=0.01))


async def test_a_slot_handed_to_a_task_that_is_cancelled_in_that_moment_is_passed_on() -> None:
    gate = PriorityGate(1)

    async def enter() -> str:
        async with gate.slot("interactive", within_s=5):
            return "in"

    async with gate.slot("interactive", within_s=5):
        first, second = asyncio.create_task(enter()), asyncio.create_task(enter())
        await asyncio.sleep(0)
    first.cancel()  # its turn is set, but it has not run yet
    assert await second == "in"
    with pytest.raises(asyncio.CancelledError):
        await first


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def breaker(clock: Clock) -> Breaker:
    return Breaker(threshold=3, ttl_s=15, clock=clock)


def test_failures_in_a_row_open_the_breaker_and_a_success_between_does_not_count() -> None:
    clock = Clock()
    watched = breaker(clock)
    for report in (watched.failed, watched.failed, watched.succeeded, watched.failed, watched.failed):
        watched.admit()
        report()
    assert watched.state == "closed"
    watched.admit()
    watched.failed()
    assert watched.state == "open"
    clock.now += 5
    with pytest.raises(BreakerOpen) as caught:
        watched.admit()
    assert caught.value.retry_after_s == 10


def opened(clock: Clock) -> Breaker:
    watched = breaker(clock)
    for _ in range(3):
        watched.failed()
    clock.now += 16
    assert watched.state == "half_open"
    return watched


def test_a_half_open_breaker_lets_one_request_through() -> None:
    watched = opened(Clock())
    watched.admit()
    with pytest.raises(BreakerOpen):
        watched.admit()
    watched.succeeded()
    assert watched.state == "closed"
    watched.admit()


def test_a_failed_trial_opens_the_breaker_again() -> None:
    watched = opened(Clock())
    watched.admit()
    watched.failed()
    assert watched.state == "open"


def test_a_trial_given_up_counts_as_nothing() -> None:
    watched = opened(Clock())
    watched.admit()
    watched.given_up()
    assert watched.state == "half_open"
    watched.admit()
