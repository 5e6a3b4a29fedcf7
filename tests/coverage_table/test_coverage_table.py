"""Every cell of the README's table of operations and parameters is tried."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from app import api, front
from app.crypto import new_api_key, new_consumer_key
from app.flows.runtime import Runtime
from app.ledger import tenants
from app.telemetry import Metrics
from app.wiring import seal_credentials
from tests.conftest import Sandbox, serving
from tests.coverage_table.doors import V1, Door, FrontLegacy, FrontV3
from tests.coverage_table.rows import World, observed
from tests.coverage_table.table import COLUMNS, ROWS, markdown

_SCOPES = ("refunds:read", "refunds:write", "refunds:delete", "orders:read", "stores:read")
_README = Path(__file__).parents[2] / "README.md"


def test_the_readme_shows_the_table_that_is_tried() -> None:
    text = _README.read_text()
    begin, end = "<!-- what works where -->\n", "<!-- /what works where -->"
    assert text[text.index(begin) + len(begin) : text.index(end)] == markdown()


@asynccontextmanager
async def _gateway(rt: Runtime) -> AsyncIterator[str]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.runtime, app.state.metrics = rt, Metrics()
        yield

    app = api.build(rt.settings.model_copy(update={"rate_limit": "1000000/minute"}), lifespan)
    front.attach(app)
    async with serving(app) as url:
        yield url


async def _keys(rt: Runtime, sandbox: Sandbox, kind: str) -> tuple[str, tuple[str, str]]:
    """Add a tenant with the sandbox as its store; gives an API key and a key for WooCommerce's clients."""
    tenant_id, store_id = tenants.new_tenant_id(), tenants.new_store_id()
    plain, compat = new_api_key(), new_consumer_key()
    credentials = seal_credentials(rt.sealer, store_id, consumer_key="ck_sandbox_rw", consumer_secret="cs_sandbox_rw")
    async with rt.database.transaction() as conn:
        await tenants.add_tenant(conn, id=tenant_id, name=f"t-{kind}")
        await tenants.add_store(
            conn,
            id=store_id,
            tenant_id=tenant_id,
            name="shop",
            url=sandbox.url,
            api="legacy" if kind == "legacy" else "v3",
            auth="oauth1",
            credentials=credentials,
        )
        await tenants.add_key(
            conn, id=plain.id, tenant_id=tenant_id, name="plain", secret_hash=plain.hash, scopes=_SCOPES
        )
        await tenants.add_key(
            conn,
            id=compat.id,
            tenant_id=tenant_id,
            name="compat",
            secret_hash=compat.hash,
            scopes=_SCOPES,
            consumer_key=compat.consumer_key,
            consumer_secret=rt.sealer.seal(compat.consumer_secret.encode(), aad=compat.id),
        )
    return plain.text, (compat.consumer_key, compat.consumer_secret)


@pytest.mark.parametrize("column", range(len(COLUMNS)), ids=[f"{door} on {kind}" for door, kind in COLUMNS])
async def test_every_cell_is_true(rt: Runtime, sandbox: Sandbox, column: int) -> None:
    name, kind = COLUMNS[column]
    key, compat = await _keys(rt, sandbox, kind)
    async with _gateway(rt) as url, httpx.AsyncClient(timeout=30) as client:
        door: Door = {
            "/v1": V1(client, url, "shop", ("", key)),
            "wp-json/wc/v3": FrontV3(client, url, "shop", compat),
            "wc-api/v3": FrontLegacy(client, url, "shop", compat),
        }[name]
        world = World(door=door, kind="legacy" if kind == "legacy" else "v3", sandbox=sandbox)
        wrong = []
        for row in ROWS:
            try:
                found = await observed(row.probe, world)
            except (AssertionError, KeyError, TypeError, httpx.HTTPError) as error:  # so that one run names every fault
                found = f"broken: {error!r}"
            if found != row.cells[column]:
                wrong.append((row.operation, row.parameter, row.cells[column], found))
            await asyncio.sleep(0)
    assert not wrong, "\n".join(map(str, wrong))
