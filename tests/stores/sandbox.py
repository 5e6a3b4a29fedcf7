"""The sandbox store on a real socket, and stores of both APIs on it."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import trustme
import uvicorn

from app.domain.order import OrderSnapshot
from app.domain.refund import PaymentMode, RefundPlan, StorePolicy
from app.outbound import Outbound
from app.sandbox.main import create_app
from app.stores.connection import AuthMethod, StoreConnection, StoreLimits
from app.stores.woo_legacy import WooLegacyStore
from app.stores.woo_v3 import WooV3Store

READ_AT = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)


class Sandbox:
    """A running sandbox store, a client for its admin API and lines to it."""

    def __init__(self, url: str, admin: httpx.AsyncClient, lines: Outbound, ca_file: Path | None) -> None:
        self.url = url
        self.admin = admin
        self.lines = lines
        self.ca_file = ca_file

    def connection(self, *, auth: AuthMethod = "oauth1", key: str = "rw", secret: str | None = None) -> StoreConnection:
        return StoreConnection(
            store_id=f"{auth}-{key}",
            url=self.url,
            auth=auth,
            consumer_key=f"ck_sandbox_{key}",
            consumer_secret=secret or f"cs_sandbox_{key}",
            ca_file=self.ca_file,
        )

    def store(
        self, *, auth: AuthMethod = "oauth1", key: str = "rw", secret: str | None = None, **limits: Any
    ) -> WooV3Store:
        return WooV3Store(self.connection(auth=auth, key=key, secret=secret), self.lines, limits=StoreLimits(**limits))

    def legacy(
        self,
        *,
        auth: AuthMethod = "oauth1",
        key: str = "rw",
        secret: str | None = None,
        policy: StorePolicy | None = None,
        **limits: Any,
    ) -> WooLegacyStore:
        return WooLegacyStore(
            self.connection(auth=auth, key=key, secret=secret),
            self.lines,
            limits=StoreLimits(**limits),
            policy=policy,
        )

    async def settings(self, **changes: Any) -> None:
        answer = await self.admin.post("/sandbox/settings", json=changes)
        assert answer.status_code == 200, answer.text

    async def requests(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = (await self.admin.get("/sandbox/requests")).json()
        return rows

    async def foreign_refund(self, order_id: str, amount: str, *, reason: str = "") -> str:
        answer = await self.admin.post(f"/sandbox/orders/{order_id}/refunds", json={"amount": amount, "reason": reason})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    async def order(self, **options: Any) -> str:
        answer = await self.admin.post("/sandbox/orders", json={"payment_method": "sandboxpay", **options})
        assert answer.status_code == 201, answer.text
        return str(answer.json()[0]["id"])

    async def fault(self, name: str, **options: Any) -> None:
        answer = await self.admin.post("/sandbox/faults", json={"fault": name, **options})
        assert answer.status_code < 300, answer.text

    async def payouts(self, order_id: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = (await self.admin.get("/sandbox/payouts", params={"order_id": order_id})).json()
        return rows


@asynccontextmanager
async def running(tls: tuple[trustme.LeafCert, Path] | None = None, **options: Any) -> AsyncIterator[Sandbox]:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    config = uvicorn.Config(create_app(**options), log_level="error", access_log=False, lifespan="on")
    if tls is not None:
        config.load()
        config.ssl = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls[0].configure_cert(config.ssl)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:
        await asyncio.sleep(0.005)
    scheme = "http" if tls is None else "https"
    url = f"{scheme}://127.0.0.1:{listener.getsockname()[1]}"
    lines = Outbound(allow_private=True)
    verify = True if tls is None else ssl.create_default_context(cafile=str(tls[1]))
    async with httpx.AsyncClient(base_url=url, verify=verify, trust_env=False) as admin:
        try:
            yield Sandbox(url, admin, lines, None if tls is None else tls[1])
        finally:
            await lines.aclose()
            await admin.aclose()
            server.should_exit = True
            await serving
            listener.close()


def amount_plan(order: OrderSnapshot, amount: str, *, payment: PaymentMode = "gateway", reason: str = "") -> RefundPlan:
    return RefundPlan(
        order_id=order.id,
        order_number=order.number,
        currency=order.currency,
        decimals=order.decimals,
        amount=Decimal(amount),
        lines=(),
        goodwill=Decimal(0),
        unallocated=Decimal(amount),
        payment=payment,
        restock=False,
        reason=reason,
        payment_method=order.payment_method,
    )
