"""The crash test: refunds through several gateway processes that are killed again and again, on a store that lies.

`make chaos` runs it whole; `tests/test_chaos.py` a smaller one. Afterwards the ledger is held against what the
sandbox's payment provider really paid.
"""

import argparse
import asyncio
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psycopg
from psycopg.rows import dict_row

from app.crypto import new_api_key, new_consumer_key, new_sealing_key
from app.database import Database, migrate, start_embedded, stop_embedded
from app.ledger import tenants
from app.oauth1 import signed
from app.settings import Settings
from app.wiring import seal_credentials, sealer
from tests.chaos_gateway import STEPS
from tests.conftest import free_port

#: Faults of the store's refund POST, and how often each befalls one; a fifth of the answers in all.
REFUND_FAULTS = {
    "decline": 0.02,
    "gateway_false": 0.01,
    "fail_after_paying": 0.015,
    "die_after_paying": 0.015,
    "die_before_paying": 0.015,
    "lost_answer": 0.02,
    "truncated_json": 0.015,
    "rate_limited": 0.015,
    "bad_gateway": 0.015,
    "bad_gateway_after": 0.015,
    "maintenance": 0.01,
    "unavailable": 0.01,
    "html": 0.01,
    "captcha": 0.01,
    "fatal": 0.01,
    "bom": 0.01,
}
READ_FAULTS = {"rate_limited": 0.01, "bad_gateway": 0.01, "lost_answer": 0.01, "notice": 0.01, "truncated_json": 0.01}

#: Outcomes in review and what must be true of the store for each, so that no evidence could have settled it.
REVIEWS = {
    "row_without_proof",
    "payment_note_after_refusal",
    "provider_did_not_answer",
    "row_without_payment",
    "payment_without_row",
    "nothing_found",
}


@dataclass(frozen=True, slots=True)
class Plan:
    """How much of everything."""

    orders: int = 60
    refunds_per_order: int = 6
    gateways: int = 3
    kills: int = 20
    clients: int = 16
    seed: int = 1
    api: str = "v3"  #: which of WooCommerce's APIs the gateway speaks to the store in
    door: str = "v1"  #: v1: the normalized API; front: as a WooCommerce client that has no idempotency keys


@dataclass(slots=True)
class Report:
    """What happened."""

    seconds: float = 0.0
    asked: int = 0
    accepted: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)
    review_rules: Counter[str] = field(default_factory=Counter)
    kills: Counter[str] = field(default_factory=Counter)
    payouts: int = 0
    uncertain_on_the_way: int = 0
    slowest_take_over_s: float = 0.0  #: from the end of a dead process's lease to somebody else taking over
    faults: list[str] = field(default_factory=list)  #: promises that were broken; must stay empty

    def as_json(self) -> dict[str, Any]:
        """Give the report for printing."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


class World:
    """PostgreSQL, the sandbox store, and gateways that come and go."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.plan = plan
        self.folder = folder
        self.random = random.Random(plan.seed)
        self.report = Report()
        self.sandbox_port = free_port()
        self.ports = [free_port() for _ in range(plan.gateways)]
        self.processes: dict[int, asyncio.subprocess.Process] = {}
        self.env: dict[str, str] = {}
        self.api_key = ""
        self.url = ""
        self.done = asyncio.Event()
        self.traps = [*STEPS]
        self.steps_armed: dict[int, str | None] = {}

    async def open(self) -> None:
        """Start everything and make the tenant."""
        self.url = await asyncio.to_thread(start_embedded, self.folder / "postgres")
        name = f"chaos_{uuid4().hex[:8]}"
        with psycopg.connect(self.url, autocommit=True) as conn:
            conn.execute(f"CREATE DATABASE {name}")
        self.url = self.url.replace("/postgres?", f"/{name}?")
        await asyncio.to_thread(migrate, self.url)
        self.env = {
            **os.environ,
            "REFUND_GATEWAY_DATABASE_URL": self.url,
            "REFUND_GATEWAY_SEALING_KEYS": new_sealing_key(),
            "REFUND_GATEWAY_ALLOW_PRIVATE_STORES": "true",
            "REFUND_GATEWAY_LEASE_S": "2",
            "REFUND_GATEWAY_QUIET_PERIOD_S": "0.5",
            "REFUND_GATEWAY_STORE_LIMIT_S": "3",
            "REFUND_GATEWAY_SWEEP_INTERVAL_S": "1",
            "REFUND_GATEWAY_STORE_REFUND_TIMEOUT_S": "5",
            "REFUND_GATEWAY_STORE_READ_TIMEOUT_S": "5",
            "REFUND_GATEWAY_BREAKER_THRESHOLD": "50",
            "REFUND_GATEWAY_BREAKER_TTL_S": "1",
            "REFUND_GATEWAY_RATE_LIMIT": "1000000/minute",
            "REFUND_GATEWAY_DATABASE_POOL_SIZE": "10",
            "REFUND_GATEWAY_LOG_LEVEL": "warning",
        }
        await self._add_tenant()
        self.sandbox = await self._spawn(
            "sandbox.log",
            "app.sandbox",
            *("--host", "127.0.0.1", "--port", str(self.sandbox_port)),
            *("--database", str(self.folder / f"{name}.sandbox.db"), "--no-seed", "--log-level", "warning"),
        )
        await self._up(self.sandbox_port, "/sandbox/orders")
        for port in self.ports:
            await self.start_gateway(port)
        for port in self.ports:
            await self._up(port, "/livez")

    async def _add_tenant(self) -> None:
        settings = Settings(sealing_keys=self.env["REFUND_GATEWAY_SEALING_KEYS"])
        tenant_id, store_id, key = tenants.new_tenant_id(), tenants.new_store_id(), new_api_key()
        self.api_key = key.text
        credentials = seal_credentials(
            sealer(settings), store_id, consumer_key="ck_sandbox_rw", consumer_secret="cs_sandbox_rw"
        )
        database = Database(self.url, size=2)
        await database.open()
        async with database.transaction() as conn:
            await tenants.add_tenant(conn, id=tenant_id, name="chaos")
            await tenants.add_store(
                conn,
                id=store_id,
                tenant_id=tenant_id,
                name="shop",
                url=f"http://127.0.0.1:{self.sandbox_port}",
                api="legacy" if self.plan.api == "legacy" else "v3",
                auth="oauth1",
                credentials=credentials,
                ca_file=None,
            )
            scopes = ["refunds:read", "refunds:write", "orders:read"]
            await tenants.add_key(
                conn, id=key.id, tenant_id=tenant_id, name="chaos", secret_hash=key.hash, scopes=scopes, store_ids=None
            )
            compat = self.compat = new_consumer_key()
            await tenants.add_key(
                conn,
                id=compat.id,
                tenant_id=tenant_id,
                name="chaos, by the front",
                secret_hash=compat.hash,
                scopes=scopes,
                consumer_key=compat.consumer_key,
                consumer_secret=sealer(settings).seal(compat.consumer_secret.encode(), aad=compat.id),
                front=tenants.FrontOptions(wait_s=4),
            )
        await database.close()

    async def _up(self, port: int, path: str) -> None:
        async with asyncio.timeout(30), httpx.AsyncClient() as client:
            while True:
                try:
                    if (await client.get(f"http://127.0.0.1:{port}{path}")).status_code == 200:
                        return
                except httpx.TransportError:
                    await asyncio.sleep(0.05)

    async def start_gateway(self, port: int) -> None:
        """Start a gateway; while kills are left, every other one carries a trap."""
        killed = sum(self.report.kills.values())
        step = None
        if self.traps and killed < self.plan.kills:
            step = self.traps.pop(0)
        self.steps_armed[port] = step
        # Recovery's steps are rare: the first time has to do.
        nth = str(self.random.randint(1, 3) if step in STEPS[:5] else 1)
        self.processes[port] = await self._spawn(
            "gateways.log", "tests.chaos_gateway", str(port), *((step, nth) if step else ())
        )

    async def _spawn(self, log_name: str, module: str, *arguments: str) -> asyncio.subprocess.Process:
        with (self.folder / log_name).open("ab") as log:
            return await asyncio.create_subprocess_exec(
                sys.executable, "-m", module, *arguments, env=self.env, stdout=log, stderr=log
            )

    async def keep_alive(self) -> None:
        """Start every gateway again that died."""
        while not self.done.is_set():
            for port, process in list(self.processes.items()):
                if process.returncode is not None and not self.done.is_set():
                    step = self.steps_armed[port] if process.returncode == -signal.SIGKILL else "exit"
                    self.report.kills[step or "at random"] += 1
                    await self.start_gateway(port)
            await asyncio.sleep(0.05)

    async def kill_at_random(self) -> None:
        """Kill gateways at random moments, until enough have died."""
        while not self.done.is_set():
            await asyncio.sleep(self.random.uniform(0.8, 2.5))
            if sum(self.report.kills.values()) + len(self.traps) >= self.plan.kills:
                if sum(self.report.kills.values()) >= self.plan.kills:
                    return
                continue
            # One that carries a trap is left to walk into it.
            free = [port for port in self.ports if self.steps_armed[port] is None]
            if free and self.processes[port := self.random.choice(free)].returncode is None:
                self.processes[port].kill()

    async def close(self) -> None:
        """Stop everything."""
        self.done.set()
        for process in [*self.processes.values(), self.sandbox]:
            if process.returncode is None:
                process.terminate()
        for process in [*self.processes.values(), self.sandbox]:
            try:
                async with asyncio.timeout(15):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()
        await asyncio.to_thread(stop_embedded, self.folder / "postgres")


def bodies(order: dict[str, Any], count: int, pick: random.Random) -> list[dict[str, Any]]:
    """Make refunds for an order: amounts, units, manual ones, and one of whatever is left at the end."""
    line = order["line_items"][0]
    made: list[dict[str, Any]] = []
    for _ in range(count - 1):
        body: dict[str, Any] = {"order_id": str(order["id"]), "store": "shop"}
        match pick.choice(["amount", "amount", "unit", "line_amount", "manual"]):
            case "amount":
                body |= {"amount": f"{pick.randint(50, 900) / 100:.2f}", "currency": "EUR"}
            case "unit":
                body |= {"items": [{"line_item_id": str(line["id"]), "quantity": 1}]}
            case "line_amount":
                body |= {"items": [{"line_item_id": str(line["id"]), "amount": f"{pick.randint(10, 300) / 100:.2f}"}]}
            case _:
                body |= {"amount": f"{pick.randint(50, 300) / 100:.2f}", "payment": "manual"}
        made.append(body)
    made.append({"order_id": str(order["id"]), "store": "shop", "remaining": True})
    return made


def in_woocommerces_words(body: dict[str, Any], reason: str) -> dict[str, Any]:
    """Say a refund as a WooCommerce client would."""
    said: dict[str, Any] = {"reason": reason, "api_restock": False}
    if body.get("payment") == "manual":
        said["api_refund"] = False
    if "items" in body:
        (item,) = body["items"]
        line: dict[str, Any] = {"id": int(item["line_item_id"])}
        if "quantity" in item:
            return said | {"compute_totals": True, "line_items": [line | {"quantity": 1}]}
        return said | {"line_items": [line | {"refund_total": item["amount"]}]}
    return said | {"amount": body.get("amount", "0.50")}


async def ask_at_the_front(world: World, client: httpx.AsyncClient, body: dict[str, Any]) -> None:
    """Post a refund as WooCommerce's clients do, and again until somebody says what became of it."""
    reason = f"CM-{uuid4().hex}"
    world.report.asked += 1
    give_up_at = time.monotonic() + 12
    while True:
        port = world.random.choice(world.ports)
        url = f"http://127.0.0.1:{port}/stores/shop/wp-json/wc/v3/orders/{body['order_id']}/refunds"
        query = signed(
            "POST",
            url,
            {},
            consumer_key=world.compat.consumer_key,
            consumer_secret=world.compat.consumer_secret,
            nonce=uuid4().hex,
            timestamp=int(time.time()),
        )
        try:
            answer = await client.post(url, params=query, json=in_woocommerces_words(body, reason))
        except httpx.TransportError:
            await asyncio.sleep(0.2)
            continue
        said = answer.json()
        code = said.get("code")
        if answer.status_code == 201:
            world.report.accepted += 1
            return
        if answer.status_code in (409, 429, 503, 504) and time.monotonic() < give_up_at:
            await asyncio.sleep(0.3)
            continue
        if answer.status_code >= 500 and answer.status_code not in (503, 504):
            world.report.faults.append(f"{answer.status_code} for {body}: {answer.text[:300]}")
            return
        # A 409 names the refund that is in the way, not this one.
        if "refund-gateway-refund" in answer.headers and answer.status_code != 409:
            world.report.accepted += 1
        else:
            world.report.refused[str(code)] += 1
        return


async def ask(world: World, client: httpx.AsyncClient, body: dict[str, Any]) -> None:
    """Post a refund until there is an answer that means something, as an ERP would: same reference, same key."""
    reference = f"CM-{uuid4().hex}"
    headers = {"Authorization": f"Bearer {world.api_key}", "Idempotency-Key": reference, "Prefer": "wait=4"}
    world.report.asked += 1
    while True:
        port = world.random.choice(world.ports)
        try:
            answer = await client.post(
                f"http://127.0.0.1:{port}/v1/refunds", json={**body, "external_reference": reference}, headers=headers
            )
        except httpx.TransportError:
            await asyncio.sleep(0.2)
            continue
        if answer.status_code >= 500 and answer.status_code != 503:
            world.report.faults.append(f"{answer.status_code} for {body}: {answer.text[:300]}")
            return
        code = answer.json().get("code") if answer.status_code >= 400 else None
        if code in ("request_in_progress", "refund_in_progress", "store_unavailable", "rate_limited"):
            await asyncio.sleep(0.3)
            continue
        if answer.status_code in (201, 202) or (answer.status_code == 422 and "refund" in answer.json()):
            world.report.accepted += 1
        else:
            world.report.refused[str(code)] += 1
        return


async def run(plan: Plan, folder: Path) -> Report:
    """Carry the crash test out and give its report."""
    world = World(plan, folder)
    started = time.monotonic()
    await world.open()
    try:
        async with httpx.AsyncClient(timeout=30) as client:
            made = await client.post(
                f"http://127.0.0.1:{world.sandbox_port}/sandbox/orders",
                json={
                    "payment_method": "sandboxpay",
                    "lines": [
                        {"name": "Album", "sku": "SKU0", "quantity": 5, "price": "9.00"},
                        {"name": "Shirt", "sku": "SKU1", "quantity": 1, "price": "19.99"},
                    ],
                    "tax_rates": [{"percent": "19", "label": "VAT"}],
                    "set_paid": True,
                    "count": plan.orders,
                },
            )
            orders = made.json()
            for operation, faults in (("refund", REFUND_FAULTS), ("read", READ_FAULTS)):
                for fault, probability in faults.items():
                    body = {"operation": operation, "fault": fault, "probability": probability, "retry_after_s": 1}
                    answer = await client.post(f"http://127.0.0.1:{world.sandbox_port}/sandbox/faults", json=body)
                    assert answer.status_code < 300, answer.text
            work = [body for order in orders for body in bodies(order, plan.refunds_per_order, world.random)]
            # Orders stay interleaved, and every order's refunds in their sequence, "everything left" at the end.
            work.sort(key=lambda body: (bool(body.get("remaining")), world.random.random()))
            queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
            for body in work:
                queue.put_nowait(body)

            async def one_client() -> None:
                asking = ask_at_the_front if plan.door == "front" else ask
                while not queue.empty():
                    await asking(world, client, queue.get_nowait())

            upkeep = [asyncio.create_task(world.keep_alive()), asyncio.create_task(world.kill_at_random())]
            async with asyncio.timeout(60 + plan.orders * plan.refunds_per_order):
                await asyncio.gather(*(one_client() for _ in range(plan.clients)))
            # From here on the store behaves, and what is left has to come to an end by itself.
            while sum(world.report.kills.values()) < plan.kills:
                port = world.random.choice(world.ports)
                world.steps_armed[port] = None
                if world.processes[port].returncode is None:
                    world.processes[port].kill()
                await asyncio.sleep(1)
            await client.delete(f"http://127.0.0.1:{world.sandbox_port}/sandbox/faults")
            await _settle(world)
            world.done.set()
            await asyncio.gather(*upkeep)
            await judge(world, client)
    finally:
        await world.close()
    world.report.seconds = round(time.monotonic() - started, 1)
    return world.report


async def _settle(world: World) -> None:
    """Wait until every refund is final or in review."""
    async with asyncio.timeout(90), await psycopg.AsyncConnection.connect(world.url, autocommit=True) as conn:
        while True:
            cursor = await conn.execute(
                "SELECT count(*) FROM refund WHERE status IN ('pending', 'sending', 'uncertain')"
            )
            row = await cursor.fetchone()
            if row is not None and row[0] == 0:
                return
            await asyncio.sleep(0.5)


async def judge(world: World, client: httpx.AsyncClient) -> None:
    """Hold the ledger against the payouts and the store's own books, and put every broken promise in the report."""
    report = world.report
    sandbox = f"http://127.0.0.1:{world.sandbox_port}"
    payouts = (await client.get(f"{sandbox}/sandbox/payouts")).json()
    orders = {
        str(order["id"]): Decimal(order["total"]) for order in (await client.get(f"{sandbox}/sandbox/orders")).json()
    }
    async with await psycopg.AsyncConnection.connect(world.url, row_factory=dict_row) as conn:
        records = await (await conn.execute("SELECT * FROM refund ORDER BY id")).fetchall()
        doubts = await (
            await conn.execute(
                "SELECT count(DISTINCT refund_id) AS n FROM refund_event WHERE type = 'refund.uncertain'"
            )
        ).fetchone()
        found = await (
            await conn.execute(
                "SELECT max(extract(epoch FROM event.at - refund.touch_lost_at))::float8 AS s"
                " FROM refund_event AS event JOIN refund ON refund.id = event.refund_id"
                " WHERE event.type = 'refund.uncertain' AND event.data ? 'by' AND refund.attempts = 1"
            )
        ).fetchone()
    report.slowest_take_over_s = round(found["s"] or 0.0, 2) if found else 0.0
    if report.slowest_take_over_s > 10:
        report.faults.append(f"a take-over took {report.slowest_take_over_s} s")
    report.uncertain_on_the_way = doubts["n"] if doubts else 0
    report.payouts = len(payouts)
    if len(records) < report.accepted:
        report.faults.append(f"{report.accepted} accepted, {len(records)} in the ledger")
    if world.plan.door == "front":
        for reason, times in Counter(record["reason"] for record in records).items():
            if times > 1:
                report.faults.append(f"the request {reason} became {times} refunds")
    records = [record for record in records if record["origin"] == "api"]
    paid: dict[str, list[Decimal]] = {}
    for payout in payouts:
        marker = payout["reason"].rsplit("[", 1)[-1].rstrip("]")
        paid.setdefault(marker, []).append(Decimal(payout["amount"]))
    for record in records:
        report.statuses[record["status"]] += 1
        _judge_refund(report, record, paid.pop(record["marker"], []))
        if record["status"] == "needs_review":
            url = f"http://127.0.0.1:{world.ports[0]}/v1/refunds/{record['id']}/recheck"
            again = await client.post(url, headers={"Authorization": f"Bearer {world.api_key}"})
            if again.json().get("status") != "needs_review":
                report.faults.append(f"{record['id']} is in review though a look settles it: {again.text[:300]}")
    if paid:
        report.faults.append(f"payouts that no refund knows of: {paid}")
    for order_id, total in orders.items():
        spent = sum((Decimal(p["amount"]) for p in payouts if str(p["order_id"]) == order_id), Decimal(0))
        manual = sum(
            (
                record["amount"]
                for record in records
                if record["order_id"] == order_id and record["payment"] == "manual" and record["status"] == "succeeded"
            ),
            Decimal(0),
        )
        if spent + manual > total:
            report.faults.append(f"order {order_id}: {spent} paid and {manual} by hand, of {total}")


def _judge_refund(report: Report, record: dict[str, Any], paid: list[Decimal]) -> None:
    name = f"{record['id']} ({record['payment']}, {record['status']}, {record['failure']})"
    if len(paid) > 1:
        report.faults.append(f"{name} was paid {len(paid)} times")
    if record["payment"] == "manual" and paid:
        report.faults.append(f"{name} was paid though nobody asked")
    match record["status"]:
        case "succeeded":
            expected = [record["amount"]] if record["payment"] == "gateway" else []
            if paid != expected:
                report.faults.append(f"{name} of {record['amount']} was paid {paid}")
        case "failed" | "canceled":
            if paid:
                report.faults.append(f"{name} was paid {paid}")
        case "needs_review":
            rule = record["failure"]["code"]
            report.review_rules[rule] += 1
            if rule not in REVIEWS or not record["evidence"]:
                report.faults.append(f"{name} is in review without a reason")
            if rule == "nothing_found" and paid:
                report.faults.append(f"{name}: the note of its payout was overlooked")
            if record["payment"] == "manual":
                report.faults.append(f"{name}: a manual refund can always be settled")
        case status:
            report.faults.append(f"{name} never came to an end ({status})")


def main() -> None:
    """Run the full crash test, or a smaller one, and print its report as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, value in (("orders", 60), ("refunds-per-order", 6), ("gateways", 3), ("kills", 20), ("clients", 16)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--api", choices=("v3", "legacy"), default="v3")
    parser.add_argument("--door", choices=("v1", "front"), default="v1")
    plan = Plan(**vars(parser.parse_args()))
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        report = asyncio.run(run(plan, Path(folder)))
    missed = [step for step in STEPS if step not in report.kills]
    if missed and plan.kills >= 2 * len(STEPS):
        report.faults.append(f"nobody died at {missed}")
    print(
        json.dumps(
            {"plan": {name: getattr(plan, name) for name in plan.__dataclass_fields__}} | report.as_json(), indent=2
        )
    )
    sys.exit(1 if report.faults else 0)


if __name__ == "__main__":
    main()
