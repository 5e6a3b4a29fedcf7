"""Workers are killed with SIGKILL while they deliver: no event is lost, and none comes out of its refund's order."""

import asyncio
import os
import random
import sys
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from app.flows.endpoints import EndpointView
from app.flows.runtime import Runtime
from app.ledger import feed
from tests.conftest import SEALING_KEYS, Shop, add_shop, eventually
from tests.flows.receiver import receiving
from tests.flows.test_relay import endpoint, rows

_REFUNDS, _EVENTS = 25, 4


class Workers:
    """Two worker processes that come and go."""

    def __init__(self, database_url: str, log: Path) -> None:
        self.log = log
        self.processes: list[asyncio.subprocess.Process] = []
        self.environment = {
            **os.environ,
            "REFUND_GATEWAY_DATABASE_URL": database_url,
            "REFUND_GATEWAY_SEALING_KEYS": SEALING_KEYS,
            "REFUND_GATEWAY_ALLOW_PRIVATE_STORES": "true",
            "REFUND_GATEWAY_WEBHOOK_TIMEOUT_S": "0.5",
            "REFUND_GATEWAY_WEBHOOK_BACKOFF_S": "[0.1, 0.2]",
            "REFUND_GATEWAY_SHUTDOWN_GRACE_S": "0.1",
        }

    async def start(self) -> None:
        with self.log.open("ab") as out:
            self.processes.append(
                await asyncio.create_subprocess_exec(
                    sys.executable, "-m", "app.cli", "worker", env=self.environment, stdout=out, stderr=out
                )
            )

    async def kill_one(self) -> None:
        """Kill the oldest one that lives, and start another."""
        victim = self.processes.pop(0)
        assert victim.returncode is None, self.log.read_text()
        victim.kill()
        await victim.wait()
        await self.start()


@asynccontextmanager
async def working(database_url: str, log: Path) -> AsyncIterator[Workers]:
    """Run two workers."""
    workers = Workers(database_url, log)
    try:
        await asyncio.gather(workers.start(), workers.start())
        yield workers
    finally:
        for process in workers.processes:
            process.kill()
        await asyncio.gather(*(process.wait() for process in workers.processes))


async def _all_happen(rt: Runtime, shop: Shop) -> None:
    """Let refunds go through their states, side by side."""
    for number in range(_EVENTS):
        for refund in range(_REFUNDS):
            async with rt.database.transaction() as conn:
                await feed.append(
                    conn,
                    shop.tenant_id,
                    event_type="refund.succeeded",
                    subject=f"rf_{refund}",
                    data={"refund": refund, "number": number},
                    store_id=shop.store_id,
                )
            await asyncio.sleep(0.02)


@pytest.mark.slow
async def test_nothing_is_lost_or_out_of_order_when_workers_are_killed(
    rt: Runtime, database_url: str, tmp_path: Path
) -> None:
    shop, chance = await add_shop(rt, "http://127.0.0.1:9"), random.Random(4)

    def decide(message: dict[str, Any]) -> int:
        return 503 if chance.random() < 0.1 else 204

    async with receiving() as receiver, working(database_url, tmp_path / "log") as workers:
        receiver.decide, receiver.takes_s = decide, 0.03
        made = await endpoint(rt, shop, receiver.url)
        assert isinstance(made, EndpointView)
        happening = asyncio.create_task(_all_happen(rt, shop))

        async def begun() -> bool:
            return len(receiver.got) > 5

        await eventually(begun, within_s=15)
        cut_off = 0
        for _ in range(3):
            await workers.kill_one()
            [under_way] = await rows(rt, "SELECT count(*) AS n FROM webhook_delivery WHERE lease_until IS NOT NULL")
            cut_off += under_way["n"]
            heard = len(receiver.got)

            async def goes_on(heard: int = heard) -> bool:
                return len(receiver.got) > heard + 3 or await _left(rt) == 0

            await eventually(goes_on, within_s=15)
        await happening
        assert cut_off > 0, "nobody was killed in the middle"

        async def all_over() -> bool:
            [events] = await rows(rt, "SELECT count(*) AS n FROM event WHERE position IS NULL")
            return events["n"] == 0 and await _left(rt) == 0

        await eventually(all_over, within_s=20)
    came = defaultdict(list)
    for message in receiver.taken():
        came[message["data"]["refund"]].append(message["data"]["number"])
    # What a killed worker had sent without writing it down comes again, before anything later.
    assert {refund: sorted(set(numbers)) for refund, numbers in came.items()} == {
        refund: list(range(_EVENTS)) for refund in range(_REFUNDS)
    }
    assert all(numbers == sorted(numbers) for numbers in came.values())
    assert {row["status"] for row in await rows(rt, "SELECT status FROM webhook_delivery")} == {"delivered"}


async def _left(rt: Runtime) -> int:
    [row] = await rows(rt, "SELECT count(*) AS n FROM webhook_delivery WHERE status = 'pending'")
    return int(row["n"])
