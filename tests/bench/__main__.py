"""Measure the gateway and print JSON: `python -m tests.bench [--quick]`."""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psutil
import psycopg
import woocommerce

from app.crypto import NewApiKey, new_api_key, new_sealing_key
from app.database import Database, migrate, start_embedded
from app.ledger import tenants
from app.settings import Settings
from app.wiring import seal_credentials, sealer
from tests.bench.client import Wire
from tests.bench.front import front_reads
from tests.conftest import free_port

DELAY_S = 0.05
STORES = 20


class Bench:
    """A stub store, a database and gateway processes, and what is measured of them."""

    def __init__(self, folder: Path, *, quick: bool) -> None:
        self.folder = folder
        self.quick = quick
        self.stub_port = free_port()
        self.processes: list[subprocess.Popen[bytes]] = []
        self.key: NewApiKey = new_api_key()
        self.headers = {"Authorization": f"Bearer {self.key.text}"}
        self.tenant_id = tenants.new_tenant_id()
        self.orders = 1000
        self.store_ids = [tenants.new_store_id() for _ in range(STORES)]

    async def open(self) -> None:
        """Start the database and the stub store, and add the tenant with its stores."""
        url = await asyncio.to_thread(start_embedded, self.folder / "postgres")
        name = f"bench_{uuid4().hex[:8]}"
        with psycopg.connect(url, autocommit=True) as conn:
            conn.execute(f"CREATE DATABASE {name}")
        self.url = url.replace("/postgres?", f"/{name}?")
        await asyncio.to_thread(migrate, self.url)
        keys = new_sealing_key()
        self.env = {
            **os.environ,
            "REFUND_GATEWAY_DATABASE_URL": self.url,
            "REFUND_GATEWAY_SEALING_KEYS": keys,
            "REFUND_GATEWAY_ALLOW_PRIVATE_STORES": "true",
            "REFUND_GATEWAY_RATE_LIMIT": "100000000/minute",
        }
        seal = sealer(Settings(sealing_keys=keys))
        database = Database(self.url, size=2)
        await database.open()
        async with database.transaction() as conn:
            await tenants.add_tenant(conn, id=self.tenant_id, name="bench")
            for i, store_id in enumerate(self.store_ids):
                credentials = seal_credentials(seal, store_id, consumer_key="ck_bench", consumer_secret="cs_bench")
                await tenants.add_store(
                    conn,
                    id=store_id,
                    tenant_id=self.tenant_id,
                    name=f"s{i}",
                    url=f"http://127.0.0.1:{self.stub_port}/s{i}",
                    api="v3",
                    auth="oauth1",
                    credentials=credentials,
                    ca_file=None,
                )
            await tenants.add_key(
                conn,
                id=self.key.id,
                tenant_id=self.tenant_id,
                name="bench",
                secret_hash=self.key.hash,
                scopes=["refunds:read", "refunds:write"],
                store_ids=None,
            )
        await database.close()
        self._spawn([sys.executable, "-m", "tests.bench.stub", str(self.stub_port), str(DELAY_S)])
        await self._up(self.stub_port, "/")

    def _spawn(self, command: list[str]) -> subprocess.Popen[bytes]:
        with (self.folder / "processes.log").open("ab") as log:
            process = subprocess.Popen(command, env=self.env, stdout=log, stderr=log)
        self.processes.append(process)
        return process

    async def gateway(self, *, worker: bool = True) -> tuple[int, subprocess.Popen[bytes]]:
        """Start a gateway and give its port and process."""
        port = free_port()
        command = [str(Path(sys.executable).with_name("refund-gateway")), "serve", "--port", str(port)]
        process = self._spawn(command if worker else [*command, "--no-worker"])
        await self._up(port, "/livez")
        return port, process

    async def sandbox(self, port: int) -> None:
        """Start a sandbox store without orders."""
        database = str(self.folder / f"sandbox-{port}.db")
        options = ["--host", "127.0.0.1", "--port", str(port), "--database", database, "--no-seed"]
        self._spawn([sys.executable, "-m", "app.sandbox", *options, "--log-level", "warning"])
        await self._up(port, "/sandbox/orders")

    async def _up(self, port: int, path: str) -> None:
        async with asyncio.timeout(30), httpx.AsyncClient() as client:
            while True:
                try:
                    await client.get(f"http://127.0.0.1:{port}{path}")
                    return
                except httpx.TransportError:
                    await asyncio.sleep(0.05)

    def close(self) -> None:
        """Stop everything."""
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.wait(20)

    def refund(self, store: int) -> dict[str, Any]:
        """Give the body of a refund, each of an order of its own: the stub forgets what it has refunded."""
        self.orders += 1
        return {
            "store": f"s{store}",
            "order_id": str(self.orders),
            "external_reference": uuid4().hex,
            "items": [{"line_item_id": "1", "quantity": 1}],
        }


async def latency(bench: Bench, port: int) -> dict[str, Any]:
    """One refund at a time, against the public client doing the same three calls."""
    count = 10 if bench.quick else 40
    peer = woocommerce.API(
        url=f"http://127.0.0.1:{bench.stub_port}/s0",
        consumer_key="ck_bench",
        consumer_secret="cs_bench",
        version="wc/v3",
        timeout=30,
    )

    def by_hand(order_id: int) -> None:
        order = peer.get(f"orders/{order_id}").json()
        peer.get(f"orders/{order_id}/refunds").json()
        line = order["line_items"][0]
        body = {
            "amount": "10.71",
            "line_items": [
                {
                    "id": line["id"],
                    "quantity": 1,
                    "refund_total": "9.00",
                    "refund_tax": [{"id": 1, "refund_total": "1.71"}],
                }
            ],
        }
        assert peer.post(f"orders/{order_id}/refunds", body).status_code == 201

    wire = Wire(port)
    for _ in range(3):  # the store's decimals and payment gateways are read once
        await wire.call("POST", "/v1/refunds", bench.headers, bench.refund(0))
    ours, theirs, hops = [], [], []
    direct = Wire(bench.stub_port)
    for i in range(count):
        started = time.perf_counter()
        await direct.call("GET", f"/s0/wp-json/wc/v3/orders/{100 + i}", {})
        hops.append((time.perf_counter() - started) * 1000)
        started = time.perf_counter()
        status, body = await wire.call("POST", "/v1/refunds", bench.headers, bench.refund(0))
        ours.append((time.perf_counter() - started) * 1000)
        assert status == 201, body
        started = time.perf_counter()
        await asyncio.to_thread(by_hand, 100 + i)
        theirs.append((time.perf_counter() - started) * 1000)
    wire.close()
    direct.close()
    mine = statistics.median(ours)
    return {
        "gateway_ms": round(mine, 1),
        "client_ms": round(statistics.median(theirs), 1),
        "ratio": round(mine / statistics.median(theirs), 3),
        "one_call_to_the_store_ms": round(statistics.median(hops), 1),
        # Order and refunds are read side by side, so that a refund takes two calls, one after the other.
        "own_share_ms": round(mine - 2 * statistics.median(hops), 1),
    }


async def load(
    ports: list[int], concurrency: int, total: int, call: Callable[[Wire, int], Awaitable[None]]
) -> dict[str, Any]:
    """Make `total` calls with so many at a time, and give calls per second and the quantiles in ms."""
    left = iter(range(total))
    took: list[float] = []

    async def worker(number: int) -> None:
        wire = Wire(ports[number % len(ports)])
        for i in left:
            started = time.perf_counter()
            await call(wire, i)
            took.append((time.perf_counter() - started) * 1000)
        wire.close()

    started = time.perf_counter()
    await asyncio.gather(*(worker(number) for number in range(concurrency)))
    seconds = time.perf_counter() - started
    cuts = statistics.quantiles(took, n=100)
    return {"per_s": round(total / seconds, 1), "p50_ms": round(cuts[49], 1), "p99_ms": round(cuts[98], 1)}


async def throughput(bench: Bench, ports: list[int]) -> dict[str, Any]:
    """Refunds per second over twenty stores, 64 at a time."""

    async def call(wire: Wire, i: int) -> None:
        status, body = await wire.call("POST", "/v1/refunds", bench.headers, bench.refund(i % STORES))
        assert status == 201, body

    await load(ports, 64, 64 * 2, call)
    return await load(ports, 64, 400 if bench.quick else 2000, call)


async def replays(bench: Bench, ports: list[int]) -> dict[str, Any]:
    """The same request again and again."""
    body = bench.refund(0)
    headers = {**bench.headers, "Idempotency-Key": uuid4().hex}
    first = Wire(ports[0])
    await first.call("POST", "/v1/refunds", headers, body)
    first.close()

    async def call(wire: Wire, _: int) -> None:
        status, answer = await wire.call("POST", "/v1/refunds", headers, body)
        assert status == 201, answer

    return await load(ports, 32, 1000 if bench.quick else 6000, call)


async def pages(bench: Bench, port: int) -> dict[str, Any]:
    """A page of a ledger with a million refunds: the first, and page 10,000."""
    rows = 50_000 if bench.quick else 1_000_000
    with psycopg.connect(bench.url, autocommit=True) as conn:
        conn.execute(
            """
INSERT INTO refund (id, tenant_id, store_id, order_id, order_number, fingerprint, command, plan, amount, currency,
    decimals, payment, restock, reason, metadata, marker, status, money, settled_at, store_refund_id, expires_at,
    request_id, created_by)
SELECT 'rf_00' || lpad(n::text, 24, '0'), tenant_id, store_id, (n %% 100000)::text, (n %% 100000)::text, fingerprint,
    command, plan, amount, currency, decimals, payment, restock, reason, metadata, 'X' || n, status, money,
    settled_at, n::text, expires_at, request_id, created_by
FROM generate_series(1, %s) AS n, (SELECT * FROM refund WHERE status = 'succeeded' LIMIT 1) AS one""",
            (rows,),
        )
        conn.execute("ANALYZE refund")
        depth = min(10_000, rows // 20 - 1)
        start = conn.execute(
            "SELECT id FROM refund WHERE tenant_id = %s ORDER BY id DESC OFFSET %s LIMIT 1",
            (bench.tenant_id, depth * 10),
        ).fetchone()
    assert start is not None
    import base64

    cursor = base64.urlsafe_b64encode(str(start[0]).encode()).decode().rstrip("=")
    result: dict[str, Any] = {"rows": rows}
    for name, path in (("first_page", "/v1/refunds?limit=10"), ("page_10000", f"/v1/refunds?limit=10&after={cursor}")):

        async def call(wire: Wire, _: int, path: str = path) -> None:
            status, answer = await wire.call("GET", path, bench.headers)
            assert status == 200, answer

        result[name] = await load([port], 1, 200 if bench.quick else 1000, call)
    return result


def megabytes(process: subprocess.Popen[bytes]) -> float:
    """Give a process's resident memory."""
    return round(psutil.Process(process.pid).memory_info().rss / 1e6, 1)


def medians(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Give the median of every figure over several runs."""
    return {name: round(statistics.median(run[name] for run in runs), 3) for name in runs[0]}


async def measure(folder: Path, *, quick: bool) -> dict[str, Any]:
    """Run every benchmark."""
    bench = Bench(folder, quick=quick)
    repeat = 1 if quick else 3
    try:
        await bench.open()
        port, process = await bench.gateway()
        report: dict[str, Any] = {"cores": os.cpu_count(), "runs": repeat}
        report["memory_idle_mb"] = megabytes(process)
        report["latency"] = medians([await latency(bench, port) for _ in range(repeat)])
        report["throughput_one_process"] = medians([await throughput(bench, [port]) for _ in range(repeat)])
        report["replays_one_process"] = medians([await replays(bench, [port]) for _ in range(repeat)])
        report["front_reads"] = await front_reads(bench, port)
        second, _ = await bench.gateway(worker=False)
        report["throughput_two_processes"] = medians([await throughput(bench, [port, second]) for _ in range(repeat)])
        report["replays_two_processes"] = medians([await replays(bench, [port, second]) for _ in range(repeat)])
        report["pages"] = await pages(bench, port)
        report["memory_after_mb"] = megabytes(process)
        return report
    finally:
        bench.close()


def main() -> None:
    """Print the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer calls, for a first impression")
    quick = parser.parse_args().quick
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        print(json.dumps(asyncio.run(measure(Path(folder), quick=quick)), indent=2))


if __name__ == "__main__":
    main()
