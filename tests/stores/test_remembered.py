"""A fact is asked for once, however many want it at the same time."""

import asyncio

import pytest

from app.stores.remembered import Remembered


class Source:
    def __init__(self) -> None:
        self.asked = 0
        self.fails = False

    async def fetch(self) -> int:
        self.asked += 1
        await asyncio.sleep(0.01)
        if self.fails:
            raise LookupError("down")
        return self.asked


async def test_everyone_waits_for_the_same_answer_and_it_is_kept() -> None:
    source, facts = Source(), Remembered[str, int](60)
    assert await asyncio.gather(*(facts.get("a", source.fetch) for _ in range(10))) == [1] * 10
    assert await facts.get("a", source.fetch) == 1
    assert await facts.get("b", source.fetch) == 2


async def test_a_value_is_forgotten_after_its_time() -> None:
    now = 0.0
    source, facts = Source(), Remembered[str, int](60, clock=lambda: now)
    await facts.get("a", source.fetch)
    now = 59.9
    assert await facts.get("a", source.fetch) == 1
    now = 60.0
    assert await facts.get("a", source.fetch) == 2


async def test_a_failure_reaches_all_who_wait_and_is_not_kept() -> None:
    source, facts = Source(), Remembered[str, int](60)
    source.fails = True
    answers = await asyncio.gather(*(facts.get("a", source.fetch) for _ in range(3)), return_exceptions=True)
    assert [type(answer) for answer in answers] == [LookupError] * 3
    source.fails = False
    assert await facts.get("a", source.fetch) == 2


async def test_one_callers_cancellation_does_not_take_the_answer_from_the_others() -> None:
    source, facts = Source(), Remembered[str, int](60)
    first = asyncio.create_task(facts.get("a", source.fetch))
    second = asyncio.create_task(facts.get("a", source.fetch))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == 1
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_no_more_than_the_limit_is_kept() -> None:
    source, facts = Source(), Remembered[int, int](60, limit=2)
    for key in (1, 2, 3):
        await facts.get(key, source.fetch)
    await facts.get(3, source.fetch)
    assert source.asked == 3
    await facts.get(1, source.fetch)
    assert source.asked == 4
