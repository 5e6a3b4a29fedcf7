"""Measure batches: `python -m tests.bench.batches [--items N] [--workers N] [--kills N] [--delay S]`; prints JSON.

The ratio is to what the stores allow: four calls at a time each, two calls per refund.
"""

import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import psutil

from app.crypto import new_sealing_key
from app.database import migrate, start_embedded
from app.domain.batch import NewBatch, NewItem
from app.domain.refund import RefundCommand, StorePolicy
from app.flows import batches
from app.flows.batch_results import BatchMade, BatchView
from app.flows.results import Caller
from app.ledger import tenants
from app.settings import Settings
from app.wiring import open_runtime, seal_credentials, sealer
from tests.conftest import free_port

_AT_A_TIME = 4
_CALLS_PER_REFUND = 2


def _worker(env: dict[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "app.cli", "worker"], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


async def measure(
    folder: Path, *, items: int, stores: int, workers: int, kills: int, delay_s: float, stub: str = "batch_stub"
) -> dict[str, Any]:
    """Run one batch and give what was seen."""
    url = await asyncio.to_thread(start_embedded, folder / "postgres")
    await asyncio.to_thread(migrate, url)
    port, keys = free_port(), new_sealing_key()
    given = {
        "DATABASE_URL": url,
        "SEALING_KEYS": keys,
        "ALLOW_PRIVATE_STORES": "true",
        "LOG_LEVEL": "warning",
    }
    if kills:
        # So that what a killed worker leaves behind is taken up within the time of a measurement.
        given |= {"LEASE_S": "3", "QUIET_PERIOD_S": "1", "STORE_LIMIT_S": "5"}
    env = {**os.environ, **{f"REFUND_GATEWAY_{name}": value for name, value in given.items()}}
    shops = subprocess.Popen([sys.executable, "-m", f"tests.bench.{stub}", str(port), str(delay_s)])
    settings = Settings(
        database_url=url,  # type: ignore[arg-type]
        sealing_keys=keys,  # type: ignore[arg-type]
        allow_private_stores=True,
    )
    running: list[subprocess.Popen[bytes]] = []
    try:
        async with open_runtime(settings, works=False, url=url) as rt, httpx.AsyncClient(timeout=60) as client:
            caller = await _add_stores(rt, port, stores)
            made = await _make(rt, caller, items, stores)
            running = [_worker(env) for _ in range(workers)]
            seen = await _watch(rt, caller, made, running, env, kills=kills, items=items)
            told = (await client.get(f"http://127.0.0.1:{port}/paid")).json()
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait(timeout=30)
        shops.kill()
        shops.wait()
    allowed = stores * _AT_A_TIME / delay_s / _CALLS_PER_REFUND
    return {
        "items": items,
        "stores": stores,
        "workers": workers,
        "kills": kills,
        "delay_ms": round(delay_s * 1000),
        **seen,
        "stores_allow_per_s": round(allowed, 1),
        "ratio": round(seen["per_s"] / allowed, 3),
        "paid_once": sum(times == 1 for times in told["paid"].values()),
        "paid_twice": sum(times > 1 for times in told["paid"].values()),
        "calls_at_a_time_at_most": max(told["most"].values()),
        "calls_per_refund": round(told["calls"] / items, 2),
    }


async def _add_stores(rt: Any, port: int, stores: int) -> Caller:
    seal, tenant_id = sealer(rt.settings), tenants.new_tenant_id()
    async with rt.database.transaction() as conn:
        await tenants.add_tenant(conn, id=tenant_id, name="bench")
        for i in range(stores):
            store_id = tenants.new_store_id()
            await tenants.add_store(
                conn,
                id=store_id,
                tenant_id=tenant_id,
                name=f"s{i}",
                url=f"http://127.0.0.1:{port}/s{i}",
                api="v3",
                auth="oauth1",
                credentials=seal_credentials(seal, store_id, consumer_key="ck_bench", consumer_secret="cs_bench"),
                ca_file=None,
                policy=StorePolicy(on_absence="resend"),
            )
    return Caller(tenant_id=tenant_id, key_id="bench", name="bench", scopes=frozenset({"admin"}), store_ids=None)


async def _make(rt: Any, caller: Caller, items: int, stores: int) -> BatchMade:
    rows = tuple(
        NewItem(
            number=n,
            command=RefundCommand(
                store=f"s{n % stores}",
                order_id=str(n),
                amount=Decimal("1.00"),
                external_reference=f"CM-{n}",
                reason="batch",
            ),
        )
        for n in range(1, items + 1)
    )
    new = NewBatch(mode="run", items=rows)
    made = await batches.create(rt, caller, new, idempotency_key=None, fingerprint=b"", request_id="bench")
    assert isinstance(made, BatchMade), made
    return made


async def _watch(
    rt: Any,
    caller: Caller,
    made: BatchMade,
    running: list[subprocess.Popen[bytes]],
    env: dict[str, str],
    *,
    kills: int,
    items: int,
) -> dict[str, Any]:
    """Follow a batch to its end, kill workers on the way, and see that progress never goes backwards."""
    chance = random.Random(4)
    marks = [items * (n + 1) // (kills + 1) for n in range(kills)]
    began: float | None = None
    first, last, backwards, peak = 0, 0, 0, 0
    while True:
        view = await batches.look(rt, caller, made.view.id)
        assert isinstance(view, BatchView)
        if view.processed < last:
            backwards += 1
        last = view.processed
        if began is None and view.processed:
            began, first = time.monotonic(), view.processed
        for process in running:
            if process.poll() is None:
                peak = max(peak, psutil.Process(process.pid).memory_info().rss)
        if marks and view.processed >= marks[0]:
            marks.pop(0)
            victim = chance.randrange(len(running))
            running[victim].kill()
            running[victim].wait()
            running[victim] = _worker(env)
        if view.status in ("finished", "stopped"):
            break
        await asyncio.sleep(0.5)
    assert began is not None
    took = time.monotonic() - began
    return {
        "status": view.status,
        "seconds": round(took, 1),
        "per_s": round((items - first) / took, 1),
        "by_status": {
            tally.status: sum(t.items for t in view.tallies if t.status == tally.status) for tally in view.tallies
        },
        "progress_went_back": backwards,
        "peak_mb_of_a_worker": round(peak / 1e6),
    }


def main() -> None:
    """Measure as told."""
    options = argparse.ArgumentParser()
    options.add_argument("--items", type=int, default=10_000)
    options.add_argument("--stores", type=int, default=20)
    options.add_argument("--workers", type=int, default=1)
    options.add_argument("--kills", type=int, default=0)
    options.add_argument("--delay", type=float, default=0.05)
    given = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        result = asyncio.run(
            measure(
                Path(folder),
                items=given.items,
                stores=given.stores,
                workers=given.workers,
                kills=given.kills,
                delay_s=given.delay,
            )
        )
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
