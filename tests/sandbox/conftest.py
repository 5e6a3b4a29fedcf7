"""A sandbox store on a real socket."""

import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from app.sandbox.main import create_app

READ_WRITE = ("ck_sandbox_rw", "cs_sandbox_rw")
READ_ONLY = ("ck_sandbox_ro", "cs_sandbox_ro")


@contextmanager
def serving(database: Path | None = None, **options: Any) -> Iterator[str]:
    """Serve a sandbox from a thread and give its address."""
    app = create_app(database, **{"assume_https": True, **options})
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", access_log=False))
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


def client_of(url: str, key: tuple[str, str] | None = READ_WRITE) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=url, auth=httpx.BasicAuth(*key) if key else None, timeout=10)


@pytest.fixture(scope="session")
def sandbox_url() -> Iterator[str]:
    with serving(seed=False) as url:
        yield url


@pytest.fixture
async def shop(sandbox_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a sandbox without orders, faults and a past."""
    async with client_of(sandbox_url) as client:
        await client.post("/sandbox/reset")
        yield client


async def make_order(shop: httpx.AsyncClient, **wanted: Any) -> dict[str, Any]:
    """Return the wc/v3 JSON of a new order; by default two albums, paid by sandboxpay."""
    answer = await shop.post("/sandbox/orders", json=wanted)
    assert answer.status_code == 201, answer.text
    return dict(answer.json()[0])


async def refund(shop: httpx.AsyncClient, order_id: int, amount: str = "1.00", **fields: Any) -> httpx.Response:
    return await shop.post(f"/wp-json/wc/v3/orders/{order_id}/refunds", json={"amount": amount, **fields})


async def refunds(shop: httpx.AsyncClient, order_id: int) -> list[dict[str, Any]]:
    return list((await shop.get(f"/wp-json/wc/v3/orders/{order_id}/refunds", params={"per_page": 100})).json())


async def payouts(shop: httpx.AsyncClient, order_id: int) -> list[str]:
    """Return the amounts that the provider really paid for an order."""
    answer = await shop.get("/sandbox/payouts", params={"order_id": order_id})
    return [payout["amount"] for payout in answer.json()]


async def notes(shop: httpx.AsyncClient, order_id: int) -> list[str]:
    """Return the order notes that the payment gateway wrote."""
    answer = await shop.get(f"/wp-json/wc/v3/orders/{order_id}/notes")
    return [note["note"] for note in answer.json() if note["note"].startswith("Refunded ")]
