"""A small crash test for every run; `make chaos` runs the large one."""

from pathlib import Path

import pytest

from tests.chaos import Plan, run


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_killed_gateways_and_a_lying_store_lose_no_money(chaos_folder: Path) -> None:
    plan = Plan(orders=12, refunds_per_order=5, gateways=3, kills=12, clients=10, seed=7)
    report = await run(plan, chaos_folder)
    assert report.faults == []
    assert report.asked == 60
    assert sum(report.kills.values()) >= plan.kills
    assert sum(report.statuses.values()) == report.accepted
    assert report.uncertain_on_the_way > 0


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("api", "door"), [("v3", "front"), ("legacy", "v1"), ("legacy", "front")])
async def test_the_same_holds_by_the_front_and_on_a_legacy_store(chaos_folder: Path, api: str, door: str) -> None:
    plan = Plan(orders=8, refunds_per_order=4, gateways=2, kills=6, clients=8, seed=11, api=api, door=door)
    report = await run(plan, chaos_folder)
    assert report.faults == []
    assert report.asked == 32
    assert sum(report.kills.values()) >= plan.kills
    assert report.uncertain_on_the_way > 0
