"""A gateway is killed with SIGKILL while a WooCommerce client waits; the client repeats its call, and pays once."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests
from woocommerce import API

from app.domain.refund import StorePolicy
from app.flows.runtime import Runtime
from tests.conftest import SEALING_KEYS, Sandbox, add_shop, free_port
from tests.front.conftest import Key, add_key

#: Where it dies: with nothing sent, in the middle, with the answer in hand, with the outcome on record.
STEPS = ("reserved", "sending_committed", "mid_post", "answered", "settled")


@asynccontextmanager
async def _gateway(database_url: str, port: int, log: Path, *trap: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a real gateway process; `trap` is the step at which it kills itself."""
    env = {
        **os.environ,
        "REFUND_GATEWAY_DATABASE_URL": database_url,
        "REFUND_GATEWAY_SEALING_KEYS": SEALING_KEYS,
        "REFUND_GATEWAY_ALLOW_PRIVATE_STORES": "true",
        "REFUND_GATEWAY_LEASE_S": "2",
        "REFUND_GATEWAY_QUIET_PERIOD_S": "0.3",
        "REFUND_GATEWAY_STORE_LIMIT_S": "3",
        "REFUND_GATEWAY_SWEEP_INTERVAL_S": "1",
        "REFUND_GATEWAY_DATABASE_POOL_SIZE": "6",
    }
    with log.open("ab") as out:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.chaos_gateway", str(port), *trap, env=env, stdout=out, stderr=out
        )
    try:
        async with asyncio.timeout(30), httpx.AsyncClient() as client:
            while True:
                assert process.returncode is None, log.read_text()
                try:
                    if (await client.get(f"http://127.0.0.1:{port}/livez")).status_code == 200:
                        break
                except httpx.TransportError:
                    await asyncio.sleep(0.05)
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def _client(port: int, key: Key, **options: Any) -> API:
    return API(
        url=f"http://127.0.0.1:{port}/stores/demo",
        consumer_key=key.consumer_key,
        consumer_secret=key.consumer_secret,
        timeout=30,
        **options,
    )


async def _until_told(post: Callable[[], Any]) -> Any:
    """Repeat the call as a person would who presses the button again, until it says what became of the refund."""
    async with asyncio.timeout(40):
        while True:
            answer = await asyncio.to_thread(post)
            if answer.status_code not in (409, 503, 504):
                return answer
            await asyncio.sleep(0.3)


@pytest.mark.slow
@pytest.mark.parametrize("step", STEPS)
async def test_repeating_a_call_that_a_kill_cut_off_pays_once(
    rt: Runtime, database_url: str, sandbox: Sandbox, tmp_path: Path, step: str
) -> None:
    order = await sandbox.new_order()
    # Dead between commit and first byte, nothing ever shows in the store: by default a person decides whether to send
    # it again, a store's policy can.
    policy = StorePolicy(on_absence="resend" if step == "sending_committed" else "review")
    shop = await add_shop(rt, sandbox.url, policy=policy)
    key, port = await add_key(rt, shop.tenant_id), free_port()
    woo = _client(port, key)

    def post() -> Any:
        return woo.post(f"orders/{order['id']}/refunds", {"amount": "5.00", "reason": "too small"})

    async with _gateway(database_url, port, tmp_path / "log", step) as killed:
        with pytest.raises(requests.ConnectionError):
            await asyncio.to_thread(post)
        assert await killed.wait() == -signal.SIGKILL
    async with _gateway(database_url, port, tmp_path / "log"):
        told = await _until_told(post)
        assert told.status_code == 201, told.text
        assert told.json()["refunded_payment"] is True
        listed = (await asyncio.to_thread(woo.get, f"orders/{order['id']}/refunds")).json()
        assert [row["id"] for row in listed] == [told.json()["id"]]
        assert [payout["amount"] for payout in await sandbox.payouts(order["id"])] == ["5.00"]
        # Whoever was told may mean another refund by the same words.
        again = await _until_told(post)
        assert again.status_code == 201
        assert again.json()["id"] != told.json()["id"]
    assert len(await sandbox.payouts(order["id"])) == 2


@pytest.mark.slow
@pytest.mark.parametrize(("step", "status"), [("reserved", 201), ("mid_post", 504)])
async def test_on_a_legacy_store_it_pays_once_and_says_when_nobody_can_know(
    rt: Runtime, database_url: str, sandbox: Sandbox, tmp_path: Path, step: str, status: int
) -> None:
    order = await sandbox.new_order()
    shop = await add_shop(rt, sandbox.url, api="legacy")
    key, port = await add_key(rt, shop.tenant_id), free_port()
    woo = _client(port, key, wp_api=False, version="v3")

    def post() -> Any:
        return woo.post(f"orders/{order['id']}/refunds", {"order_refund": {"amount": "5.00", "reason": "too small"}})

    async with _gateway(database_url, port, tmp_path / "log", step) as killed:
        with pytest.raises(requests.ConnectionError):
            await asyncio.to_thread(post)
        await killed.wait()
    async with _gateway(database_url, port, tmp_path / "log"):
        for _ in range(2):
            told = await asyncio.to_thread(post)
            assert told.status_code == status, told.text
            if status == 201:
                break
            # This API never says whether a row was paid.
            assert told.json()["refund_gateway"]["status"] == "needs_review"
    assert len(await sandbox.payouts(order["id"])) == 1
