"""Fixtures for tests that need the real thing: PostgreSQL, a sandbox store on a socket, a runtime, a tenant."""

import asyncio
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest
import uvicorn
from fasteners import InterProcessLock

from app.crypto import new_sealing_key
from app.database import migrate, start_embedded, stop_embedded
from app.domain.refund import StorePolicy
from app.flows.results import Caller
from app.flows.runtime import Runtime
from app.ledger import tenants
from app.sandbox.main import create_app as create_sandbox
from app.settings import Settings
from app.wiring import open_runtime, seal_credentials, sealer

SEALING_KEYS = new_sealing_key()


def free_port() -> int:
    """Give a TCP port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """Run one embedded PostgreSQL for the whole test run, beside a migrated template database; give its URL.

    Not below pytest's own folder: that one is closed to the user that PostgreSQL runs as when root runs the tests.
    """
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", f"{os.getpid()}")
    folder = Path(tempfile.gettempdir()) / f"refund-gateway-tests-{run}"
    folder.mkdir(exist_ok=True)
    with InterProcessLock(folder / "starting.lock"):
        url = start_embedded(folder / "postgres")
        with psycopg.connect(url, autocommit=True) as conn:
            known = conn.execute("SELECT 1 FROM pg_database WHERE datname = 'ledger_template'").fetchone()
            if known is None:
                conn.execute("CREATE DATABASE ledger_template")
                migrate(url.replace("/postgres?", "/ledger_template?"))
    yield url
    if stop_embedded(folder / "postgres"):
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def chaos_folder() -> Iterator[Path]:
    """Give a folder that a PostgreSQL of the test's own can run in."""
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        yield Path(folder)


@pytest.fixture
def database_url(postgres: str) -> Iterator[str]:
    """Give a migrated database of the test's own."""
    name = f"test_{uuid4().hex}"
    with psycopg.connect(postgres, autocommit=True) as conn:
        conn.execute(f"CREATE DATABASE {name} TEMPLATE ledger_template STRATEGY file_copy")
    yield postgres.replace("/postgres?", f"/{name}?")
    with psycopg.connect(postgres, autocommit=True) as conn:
        conn.execute(f"DROP DATABASE {name} WITH (FORCE)")


@asynccontextmanager
async def serving(app: Any, **options: Any) -> AsyncIterator[str]:
    """Serve an ASGI app on a free port of this machine and give its base URL."""
    port = free_port()
    config = uvicorn.Config(app, host="127.0.0.1", port=port, log_config=None, access_log=False, **options)
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:
        if task.done():
            await task
        await asyncio.sleep(0.005)
    scheme = "https" if options.get("ssl_certfile") else "http"
    try:
        yield f"{scheme}://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await task


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A running sandbox store and a client to its admin endpoints."""

    url: str
    client: httpx.AsyncClient

    async def new_order(self, **fields: Any) -> dict[str, Any]:
        """Create a paid order of three albums at 9.00 plus 19 % tax, unless told otherwise."""
        body = {
            "payment_method": "sandboxpay",
            "lines": [{"name": "Album", "sku": "SKU0", "quantity": 3, "price": "9.00"}],
            "tax_rates": [{"percent": "19", "label": "VAT"}],
            "set_paid": True,
            "count": 1,
            **fields,
        }
        answer = await self.client.post("/sandbox/orders", json=body)
        assert answer.status_code in (200, 201), answer.text
        return answer.json()[0]

    async def payouts(self, order_id: object) -> list[dict[str, Any]]:
        """List what the payment provider really paid for an order."""
        answer = await self.client.get("/sandbox/payouts", params={"order_id": str(order_id)})
        return answer.json()

    async def fault(self, **fields: Any) -> None:
        """Have the store misbehave."""
        answer = await self.client.post("/sandbox/faults", json=fields)
        assert answer.status_code in (200, 201), answer.text


@pytest.fixture
async def sandbox(tmp_path: Path) -> AsyncIterator[Sandbox]:
    """Run a sandbox store without orders."""
    app = create_sandbox(tmp_path / "sandbox.db", seed=False)
    async with serving(app) as url, httpx.AsyncClient(base_url=url, timeout=30) as client:
        yield Sandbox(url=url, client=client)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Give settings for tests: private stores allowed, short waits."""
    return Settings(
        var=tmp_path / "var",
        sealing_keys=SEALING_KEYS,
        allow_private_stores=True,
        database_pool_size=8,
        lease_s=3.0,
        quiet_period_s=0.3,
        store_limit_s=1.5,
        sweep_interval_s=1.0,
        store_connect_timeout_s=2.0,
        store_read_timeout_s=5.0,
        store_refund_timeout_s=10.0,
        default_wait_s=10.0,
        log_format="console",
    )


@dataclass(frozen=True, slots=True)
class Shop:
    """A tenant with one store, and a caller that may do everything."""

    tenant_id: str
    store_id: str
    caller: Caller


async def add_shop(
    rt: Runtime, url: str, *, policy: StorePolicy | None = None, name: str = "demo", api: tenants.StoreApi = "v3"
) -> Shop:
    """Add a tenant with a store at `url` that speaks OAuth 1.0a, as over plain HTTP it has to."""
    seal = sealer(rt.settings)
    tenant_id, store_id = tenants.new_tenant_id(), tenants.new_store_id()
    credentials = seal_credentials(seal, store_id, consumer_key="ck_sandbox_rw", consumer_secret="cs_sandbox_rw")
    async with rt.database.transaction() as conn:
        await tenants.add_tenant(conn, id=tenant_id, name=f"{name}-{uuid4().hex[:6]}")
        await tenants.add_store(
            conn,
            id=store_id,
            tenant_id=tenant_id,
            name=name,
            url=url,
            api=api,
            auth="oauth1",
            credentials=credentials,
            ca_file=None,
            policy=policy or StorePolicy(),
        )
    caller = Caller(tenant_id=tenant_id, key_id="test", name="test", scopes=frozenset({"admin"}), store_ids=None)
    return Shop(tenant_id=tenant_id, store_id=store_id, caller=caller)


@pytest.fixture
async def rt(settings: Settings, database_url: str) -> AsyncIterator[Runtime]:
    """Open a runtime that runs no jobs."""
    async with open_runtime(settings, works=False, url=database_url) as runtime:
        yield runtime


@pytest.fixture
async def shop(rt: Runtime, sandbox: Sandbox) -> Shop:
    """Give a tenant whose store is the sandbox."""
    return await add_shop(rt, sandbox.url)


async def eventually(check: Callable[[], Awaitable[Any]], *, within_s: float = 10.0) -> Any:
    """Ask again and again until the answer is true, and give it; fail when that takes too long."""
    async with asyncio.timeout(within_s):
        while True:
            found = await check()
            if found:
                return found
            await asyncio.sleep(0.03)


PYTHON = sys.executable
