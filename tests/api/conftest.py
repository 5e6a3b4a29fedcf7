"""A gateway on a socket, with a sandbox store behind it and keys to ask it with."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from app import api
from app.crypto import new_api_key
from app.flows.runtime import Runtime
from app.ledger import tenants
from app.telemetry import Metrics
from tests.conftest import Sandbox, Shop, serving


@dataclass(frozen=True, slots=True)
class Gateway:
    """A running gateway and a client that may do everything."""

    url: str
    client: httpx.AsyncClient
    rt: Runtime
    metrics: Metrics
    shop: Shop

    async def key(self, *scopes: str, store_ids: Iterable[str] | None = None, tenant_id: str | None = None) -> str:
        """Make a key with these scopes."""
        new = new_api_key()
        async with self.rt.database.transaction() as conn:
            await tenants.add_key(
                conn,
                id=new.id,
                tenant_id=tenant_id or self.shop.tenant_id,
                name="test",
                secret_hash=new.hash,
                scopes=scopes,
                store_ids=store_ids,
            )
        return new.text

    async def refund(self, order: dict[str, Any], **fields: Any) -> httpx.Response:
        """POST a refund of 5.00 of an order, unless told otherwise."""
        body = {"store": "demo", "order_id": str(order["id"]), "amount": "5.00", **fields}
        return await self.client.post("/v1/refunds", json={k: v for k, v in body.items() if v is not None})


@asynccontextmanager
async def opened(rt: Runtime, shop: Shop, **options: Any) -> AsyncIterator[Gateway]:
    """Serve the API over a runtime."""
    metrics = Metrics()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.runtime = rt
        app.state.metrics = metrics
        yield

    async with (
        serving(api.build(rt.settings, lifespan, **options)) as url,
        httpx.AsyncClient(base_url=url, timeout=20) as client,
    ):
        gateway = Gateway(url=url, client=client, rt=rt, metrics=metrics, shop=shop)
        client.headers["Authorization"] = f"Bearer {await gateway.key('admin')}"
        yield gateway


@pytest.fixture
async def gateway(rt: Runtime, shop: Shop) -> AsyncIterator[Gateway]:
    """Give a gateway whose only store is the sandbox."""
    async with opened(rt, shop) as running:
        yield running


@pytest.fixture
async def order(sandbox: Sandbox) -> dict[str, Any]:
    """Give a paid order of three albums, 32.13 in all."""
    return await sandbox.new_order()
