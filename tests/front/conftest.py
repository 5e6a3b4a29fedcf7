"""A gateway with its front on a socket, a sandbox store of either kind behind it, and keys for WooCommerce clients."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from app import api, front
from app.crypto import new_consumer_key
from app.flows.runtime import Runtime
from app.ledger import tenants
from app.ledger.tenants import FrontOptions
from app.telemetry import Metrics
from tests.conftest import Sandbox, Shop, add_shop, serving

EVERYTHING = ("refunds:read", "refunds:write", "refunds:delete", "orders:read", "stores:read")


@dataclass(frozen=True, slots=True)
class Key:
    """A consumer key and its secret."""

    id: str
    consumer_key: str
    consumer_secret: str

    @property
    def auth(self) -> httpx.BasicAuth:
        return httpx.BasicAuth(self.consumer_key, self.consumer_secret)


async def add_key(
    rt: Runtime,
    tenant_id: str,
    *,
    scopes: Iterable[str] = EVERYTHING,
    options: FrontOptions | None = None,
    store_ids: Iterable[str] | None = None,
    named: tuple[str, str] | None = None,
) -> Key:
    """Make a key for WooCommerce clients; `named` gives it a consumer key and secret of the test's own."""
    new = new_consumer_key()
    consumer_key, consumer_secret = named or (new.consumer_key, new.consumer_secret)
    async with rt.database.transaction() as conn:
        await tenants.add_key(
            conn,
            id=new.id,
            tenant_id=tenant_id,
            name="shop software",
            secret_hash=new.hash,
            scopes=scopes,
            store_ids=store_ids,
            consumer_key=consumer_key,
            consumer_secret=rt.sealer.seal(consumer_secret.encode(), aad=new.id),
            front=options or FrontOptions(),
        )
    return Key(id=new.id, consumer_key=consumer_key, consumer_secret=consumer_secret)


@dataclass(frozen=True, slots=True)
class Front:
    """A running front, and a client of it that comes through a proxy which ends TLS."""

    url: str  #: over plain HTTP, as an OAuth client reaches it
    client: httpx.AsyncClient  #: with Basic, at the root of the store's wc/v3
    legacy: httpx.AsyncClient  #: the same, at the root of its wc-api/v3
    key: Key
    rt: Runtime
    shop: Shop
    sandbox: Sandbox

    async def other_key(self, *scopes: str, options: FrontOptions | None = None, **fields: Any) -> Key:
        return await add_key(self.rt, self.shop.tenant_id, scopes=scopes or EVERYTHING, options=options, **fields)

    @property
    def site(self) -> str:
        """Give what a client takes for its store's address."""
        return f"{self.url}/stores/demo"

    async def refund(self, order: dict[str, Any], **body: Any) -> httpx.Response:
        """POST a refund to wc/v3 as it is given."""
        return await self.client.post(f"orders/{order['id']}/refunds", json=body)

    async def paid(self, order: dict[str, Any]) -> list[str]:
        """List what the payment provider paid for an order."""
        return [payout["amount"] for payout in await self.sandbox.payouts(order["id"])]


def application(rt: Runtime) -> FastAPI:
    """Put the API and the front together over a runtime."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.runtime = rt
        app.state.metrics = Metrics()
        yield

    app = api.build(rt.settings, lifespan)
    front.attach(app)
    return app


@asynccontextmanager
async def opened(rt: Runtime, shop: Shop, sandbox: Sandbox) -> AsyncIterator[Front]:
    """Serve the front over a runtime."""
    async with serving(application(rt)) as url:
        key = await add_key(rt, shop.tenant_id)
        through_proxy = {"auth": key.auth, "headers": {"X-Forwarded-Proto": "https"}, "timeout": 20}
        async with (
            httpx.AsyncClient(base_url=f"{url}/stores/demo/wp-json/wc/v3/", **through_proxy) as client,
            httpx.AsyncClient(base_url=f"{url}/stores/demo/wc-api/v3/", **through_proxy) as legacy,
        ):
            yield Front(url=url, client=client, legacy=legacy, key=key, rt=rt, shop=shop, sandbox=sandbox)


@pytest.fixture
async def front_of_v3(rt: Runtime, shop: Shop, sandbox: Sandbox) -> AsyncIterator[Front]:
    """Give a front before a store with WooCommerce's REST API v3."""
    async with opened(rt, shop, sandbox) as running:
        yield running


@pytest.fixture
async def front_of_legacy(rt: Runtime, sandbox: Sandbox) -> AsyncIterator[Front]:
    """Give a front before a store that is spoken to in the legacy API."""
    async with opened(rt, await add_shop(rt, sandbox.url, api="legacy"), sandbox) as running:
        yield running


@pytest.fixture(params=["v3", "legacy"])
async def front_of_either(request: pytest.FixtureRequest, rt: Runtime, sandbox: Sandbox) -> AsyncIterator[Front]:
    """Give a front before a store of each kind."""
    async with opened(rt, await add_shop(rt, sandbox.url, api=request.param), sandbox) as running:
        yield running


@pytest.fixture
async def order(sandbox: Sandbox) -> dict[str, Any]:
    """Give a paid order of three albums, 32.13 in all."""
    return await sandbox.new_order()
