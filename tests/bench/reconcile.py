"""Reconcile 100,000 refunds and print JSON: `python -m tests.bench.reconcile [--refunds N]`.

A stub store serves its list of all refunds, a seeded set of every class of drift has to be found exactly, and the
worker that compares is a process of its own, whose peak of memory is held to a bound.
"""

import argparse
import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import httpx
import psycopg
import uvicorn

from app.crypto import new_sealing_key
from app.database import Database, migrate, start_embedded
from app.domain.reconciliation import ErpEntry, NewReconciliation
from app.flows import reconcile, reconciling
from app.flows.results import Caller
from app.ledger import reconciliations, tenants
from app.settings import Settings
from app.telemetry import configure_logging
from app.wiring import open_runtime, seal_credentials, sealer
from tests.conftest import free_port
from tests.ledger.factories import add_refund

DAY = datetime(2026, 3, 10, tzinfo=UTC)
WINDOW = timedelta(days=30)
RSS_BOUND_MB = 250
#: How many of each class are seeded; every one is a refund of its own.
SEEDED = {
    "missing_in_store": 11,
    "missing_in_ledger": 13,
    "amount_differs": 34,  # 17 in the store, and as many in the ERP
    "payment_flag_differs": 19,
    "deleted_in_store": 23,
    "duplicate_suspicion": 29,
    "missing_in_erp": 31 + 13,  # what only the store knew is in no ERP's list either
    "missing_in_gateway": 37,
    "in_doubt": 41,
}


def cut(refunds: int) -> dict[str, range]:
    """Give the numbers of the refunds that something is wrong with; the rest match."""
    cuts: dict[str, range] = {}
    at = 1
    for name, size in (
        ("missing_in_store", 11),
        ("missing_in_ledger", 13),
        ("amount_differs", 17),
        ("payment_flag_differs", 19),
        ("deleted_in_store", 23),
        ("duplicate_suspicion", 2 * 29),
        ("missing_in_erp", 31),
        ("erp_differs", 17),
        ("in_doubt", 41),
    ):
        cuts[name] = range(at, at + size)
        at += size
    assert at < refunds
    return cuts


def stub(refunds: int) -> Any:
    """Make a store that has these refunds, without those that it is to lack."""
    cuts = cut(refunds)
    gone = {*cuts["missing_in_store"], *cuts["deleted_in_store"], *cuts["in_doubt"]}
    ids = [number for number in range(1, refunds + 1) if number not in gone]
    step = WINDOW / (refunds + 1)

    def document(number: int) -> dict[str, Any]:
        made = (DAY + step * number).strftime("%Y-%m-%dT%H:%M:%S")
        amount = amount_of(number, cuts) + (number in cuts["amount_differs"])
        return {
            "id": number,
            "parent_id": 1_000_000 + _order_of(number, cuts),
            "date_created": made,
            "date_created_gmt": made,
            "amount": f"{amount:.8f}",
            "reason": "",
            "refunded_payment": number not in cuts["payment_flag_differs"],
            "meta_data": [],
            "line_items": [],
        }

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        await receive()
        query = {name: values[0] for name, values in parse_qs(scope["query_string"].decode()).items()}
        status, answer, extra = 200, b"[]", []
        path = scope["path"]
        if path.endswith("/wc/v3/refunds") and scope["method"] == "OPTIONS":
            answer = b'{"namespace": "wc/v3", "methods": ["GET"], "endpoints": [{"methods": ["GET"], "args": {}}]}'
        elif path.endswith("/wc/v3/refunds"):
            offset, size = int(query.get("offset", 0)), int(query.get("per_page", 10))
            answer = json.dumps([document(number) for number in ids[offset : offset + size]]).encode()
            extra = [(b"x-wp-total", str(len(ids)).encode())]
        elif "/orders/" in path and "/refunds/" in path:
            status = 404
            answer = json.dumps(
                {"code": "woocommerce_rest_shop_order_refund_invalid_id", "message": "Invalid ID."}
            ).encode()
        elif path.endswith("price_num_decimals"):
            answer = json.dumps({"id": "woocommerce_price_num_decimals", "value": "2"}).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode()), *extra]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    return app


def _order_of(number: int, cuts: dict[str, range]) -> int:
    """Give the order of a refund; those of the duplicates come in pairs."""
    twins = cuts["duplicate_suspicion"]
    return twins.start + (number - twins.start) // 2 if number in twins else number


def amount_of(number: int, cuts: dict[str, range]) -> Decimal:
    """Give what a refund is by the ledger; twins are alike."""
    return Decimal(7) if number in cuts["duplicate_suspicion"] else Decimal(number % 90 + 10)


async def seed(database: Database, tenant_id: str, store_id: str, refunds: int) -> None:
    """Put everything on record but what only the store knows, by one statement from one refund."""
    cuts = cut(refunds)
    async with database.transaction() as conn:
        first = await add_refund(conn, tenant_id, store_id)
        names = await (
            await conn.execute(
                "SELECT string_agg(quote_ident(column_name), ', ') AS names FROM information_schema.columns"
                " WHERE table_name = 'refund' AND column_name NOT IN ('id', 'marker', 'created_at', 'settled_at',"
                " 'status', 'money', 'store_refund_id', 'order_id', 'order_number', 'amount', 'external_reference',"
                " 'lease_until', 'waited_for_until', 'due_at')"
            )
        ).fetchone()
        assert names is not None
        twins, doubt, lost = cuts["duplicate_suspicion"], cuts["in_doubt"], cuts["missing_in_store"]
        await conn.execute(
            f"INSERT INTO refund (id, marker, created_at, settled_at, status, money, store_refund_id, order_id,"
            f"  order_number, amount, external_reference, {names['names']})"
            " SELECT 'rf_bench' || lpad(n::text, 9, '0'), 'RG-' || n, made, CASE WHEN NOT doubt THEN made END,"
            "  CASE WHEN doubt THEN 'needs_review' ELSE 'succeeded' END,"
            "  CASE WHEN doubt THEN 'unknown' ELSE 'moved' END,"
            "  CASE WHEN NOT (doubt OR n BETWEEN %(lost)s AND %(lost_to)s) THEN n::text END,"
            "  (1000000 + CASE WHEN n BETWEEN %(twins)s AND %(twins_to)s"
            "   THEN %(twins)s + (n - %(twins)s) / 2 ELSE n END)::text,"
            "  (1000000 + n)::text, n %% 90 + 10, 'CM-' || n, " + names["names"] + " FROM (SELECT n,"
            "   %(day)s::timestamptz + %(step)s * n AS made, n BETWEEN %(doubt)s AND %(doubt_to)s AS doubt"
            "   FROM generate_series(1, %(refunds)s) AS n WHERE n NOT BETWEEN %(unknown)s AND %(unknown_to)s) AS new,"
            "  refund WHERE refund.id = %(first)s",
            {
                "lost": lost.start,
                "lost_to": lost.stop - 1,
                "twins": twins.start,
                "twins_to": twins.stop - 1,
                "doubt": doubt.start,
                "doubt_to": doubt.stop - 1,
                "unknown": cuts["missing_in_ledger"].start,
                "unknown_to": cuts["missing_in_ledger"].stop - 1,
                "day": DAY,
                "step": WINDOW / (refunds + 1),
                "refunds": refunds,
                "first": first.id,
            },
        )
    async with database.transaction() as conn:
        # Twins have one amount, on both sides.
        await conn.execute(
            "UPDATE refund SET amount = 7 WHERE store_id = %s AND store_refund_id::integer BETWEEN %s AND %s",
            (store_id, twins.start, twins.stop - 1),
        )
        # As autovacuum does within a minute; a hundred thousand refunds never come at once.
        await conn.execute("ANALYZE refund")


def entries(refunds: int) -> tuple[ErpEntry, ...]:
    """Give the ERP's list."""
    cuts = cut(refunds)
    step = WINDOW / (refunds + 1)
    unbooked = {*cuts["missing_in_erp"], *cuts["missing_in_ledger"], *cuts["in_doubt"]}
    booked = [
        ErpEntry(
            number=number,
            reference=f"CM-{number}",
            order=None,
            amount=amount_of(number, cuts) + (number in cuts["erp_differs"]),
            currency="EUR",
            day=(DAY + step * number).date(),
        )
        for number in range(1, refunds + 1)
        if number not in unbooked
    ]
    strays = [
        ErpEntry(
            number=refunds + n,
            reference=f"STRAY-{n}",
            order=str(n),
            amount=Decimal(1),
            currency="EUR",
            day=DAY.date(),
        )
        for n in range(1, SEEDED["missing_in_gateway"] + 1)
    ]
    return (*booked, *strays)


async def work(url: str, reconciliation_id: str) -> None:
    """Carry the reconciliation out in this process, and print what it took."""
    began = time.perf_counter()
    settings = Settings()
    configure_logging(settings)
    async with open_runtime(settings, works=False, url=url) as rt:
        await reconciling.run(rt, reconciliation_id)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": round(time.perf_counter() - began, 1), "peak_rss_mb": round(peak_mb)}))


async def bench(folder: Path, refunds: int) -> dict[str, Any]:
    """Seed, reconcile in a process of its own, and hold what was found to what was seeded."""
    root = await asyncio.to_thread(start_embedded, folder / "postgres")
    with psycopg.connect(root, autocommit=True) as conn:
        conn.execute("CREATE DATABASE bench")
    url = root.replace("/postgres?", "/bench?")
    await asyncio.to_thread(migrate, url)
    keys, port = new_sealing_key(), free_port()
    env = {
        **os.environ,
        "REFUND_GATEWAY_SEALING_KEYS": keys,
        "REFUND_GATEWAY_ALLOW_PRIVATE_STORES": "true",
        "REFUND_GATEWAY_LOG_LEVEL": "warning",
    }
    module = [sys.executable, "-m", "tests.bench.reconcile"]
    store = subprocess.Popen([*module, "--stub", str(port), "--refunds", str(refunds)], env=env)
    try:
        database = Database(url, size=2)
        await database.open()
        tenant_id, store_id = tenants.new_tenant_id(), tenants.new_store_id()
        settings = Settings(sealing_keys=keys, allow_private_stores=True, var=folder)
        async with database.transaction() as conn:
            await tenants.add_tenant(conn, id=tenant_id, name="bench")
            await tenants.add_store(
                conn,
                id=store_id,
                tenant_id=tenant_id,
                name="bench",
                url=f"http://127.0.0.1:{port}",
                api="v3",
                auth="oauth1",
                credentials=seal_credentials(
                    sealer(settings), store_id, consumer_key="ck_bench", consumer_secret="cs_bench"
                ),
                ca_file=None,
            )
        began = time.perf_counter()
        await seed(database, tenant_id, store_id, refunds)
        seeded_s = time.perf_counter() - began
        await _up(port)
        caller = Caller(tenant_id=tenant_id, key_id="b", name="b", scopes=frozenset({"admin"}), store_ids=None)
        async with open_runtime(settings, works=False, url=url) as rt:
            new = NewReconciliation(store="bench", from_=DAY, to=DAY + WINDOW, erp=entries(refunds))
            began = time.perf_counter()
            made = await reconcile.create(rt, caller, new, idempotency_key=None)
            taken_on_s = time.perf_counter() - began
            assert isinstance(made, reconcile.ReconciliationMade), made
        del new
        done = await asyncio.to_thread(
            subprocess.run,
            [*module, "--work", url, made.record.id],
            env=env,
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        async with database.reading() as conn:
            record = await reconciliations.find(conn, tenant_id, made.record.id)
            totals = await reconciliations.totals(conn, made.record.id)
        await database.close()
    finally:
        store.terminate()
        store.wait()
    assert record is not None
    counts: Counter[str] = Counter()
    for total in totals:
        counts[total.total_class] += total.refunds
    return {
        "refunds": refunds,
        "status": record.status,
        "failure": None if record.failure is None else record.failure.message,
        "seeded_s": round(seeded_s, 1),
        "taken_on_s": round(taken_on_s, 1),
        "worker": json.loads(done.stdout),
        "rows_read": record.rows_read,
        "asked": record.asked,
        "found": dict(sorted(counts.items())),
    }


async def _up(port: int) -> None:
    async with asyncio.timeout(30), httpx.AsyncClient() as client:
        while True:
            try:
                await client.get(f"http://127.0.0.1:{port}/")
                return
            except httpx.TransportError:
                await asyncio.sleep(0.05)


def main() -> None:
    """Run the benchmark, or one of its processes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--refunds", type=int, default=100_000)
    parser.add_argument("--stub", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--work", nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.stub is not None:
        uvicorn.run(stub(asked.refunds), host="127.0.0.1", port=asked.stub, log_level="error", lifespan="off")
        return
    if asked.work is not None:
        asyncio.run(work(*asked.work))
        return
    with tempfile.TemporaryDirectory(prefix="bench-reconcile-") as folder:
        result = asyncio.run(bench(Path(folder), asked.refunds))
    print(json.dumps(result, indent=2))
    found = {name: n for name, n in result["found"].items() if name != "matched"}
    assert found == dict(sorted(SEEDED.items())), (found, SEEDED)
    assert result["worker"]["peak_rss_mb"] <= RSS_BOUND_MB


if __name__ == "__main__":
    main()
