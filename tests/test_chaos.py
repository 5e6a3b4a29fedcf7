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
