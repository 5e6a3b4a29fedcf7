"""What the front for WooCommerce's clients adds to a read: through the gateway against the sandbox store directly."""

import statistics
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode
from uuid import uuid4

import httpx

from app.crypto import new_consumer_key
from app.database import Database
from app.ledger import tenants
from app.oauth1 import signed
from app.settings import Settings
from app.wiring import seal_credentials, sealer
from tests.bench.client import Wire
from tests.conftest import free_port

if TYPE_CHECKING:
    from tests.bench.__main__ import Bench

_SANDBOX = ("ck_sandbox_rw", "cs_sandbox_rw")


async def front_reads(bench: "Bench", port: int) -> dict[str, Any]:
    """Read a refund, an order's refunds and the store's refunds, turn by turn; gives medians in ms."""
    sandbox_port = free_port()
    await bench.sandbox(sandbox_port)
    order_id, refund_id = await _an_order_with_refunds(sandbox_port)
    key = await _a_key_for(bench, sandbox_port)
    reads = {
        "refund": f"orders/{order_id}/refunds/{refund_id}",
        "refunds_of_an_order": f"orders/{order_id}/refunds",
        "refunds_of_the_store": "refunds",
    }
    through, direct = Wire(port), Wire(sandbox_port)
    result: dict[str, Any] = {}
    for name, path in reads.items():
        ours: list[float] = []
        theirs: list[float] = []
        for i in range(30 if bench.quick else 300):
            for wire, base, credentials, took in (
                (direct, f"http://127.0.0.1:{sandbox_port}", _SANDBOX, theirs),
                (through, f"http://127.0.0.1:{port}/stores/sandbox", key, ours),
            ):
                target = _target(f"{base}/wp-json/wc/v3/{path}", credentials)
                started = time.perf_counter()
                status, answer = await wire.call("GET", target, {})
                if i >= 5:
                    took.append((time.perf_counter() - started) * 1000)
                assert status == 200, answer
        result[name] = {
            "front_ms": round(statistics.median(ours), 2),
            "sandbox_ms": round(statistics.median(theirs), 2),
            "added_ms": round(statistics.median(ours) - statistics.median(theirs), 2),
        }
    through.close()
    direct.close()
    return result


def _target(url: str, credentials: tuple[str, str]) -> str:
    key, secret = credentials
    query = signed(
        "GET", url, {}, consumer_key=key, consumer_secret=secret, nonce=uuid4().hex, timestamp=int(time.time())
    )
    return f"/{url.split('/', 3)[3]}?{urlencode(query, quote_via=quote, safe='')}"


async def _an_order_with_refunds(sandbox_port: int) -> tuple[int, int]:
    base = f"http://127.0.0.1:{sandbox_port}"
    async with httpx.AsyncClient(timeout=30) as client:
        body = {
            "payment_method": "sandboxpay",
            "lines": [{"name": "Album", "sku": "SKU0", "quantity": 3, "price": "9.00"}],
            "tax_rates": [{"percent": "19", "label": "VAT"}],
            "set_paid": True,
            "count": 1,
        }
        order = (await client.post(f"{base}/sandbox/orders", json=body)).json()[0]
        for amount in ("1.00", "2.00", "3.00"):
            target = f"{base}/wp-json/wc/v3/orders/{order['id']}/refunds"
            query = signed(
                "POST",
                target,
                {},
                consumer_key=_SANDBOX[0],
                consumer_secret=_SANDBOX[1],
                nonce=uuid4().hex,
                timestamp=int(time.time()),
            )
            made = await client.post(target, params=query, json={"amount": amount, "reason": "bench"})
            assert made.status_code == 201, made.text
    return order["id"], made.json()["id"]


async def _a_key_for(bench: "Bench", sandbox_port: int) -> tuple[str, str]:
    seal = sealer(Settings(sealing_keys=bench.env["REFUND_GATEWAY_SEALING_KEYS"]))
    store_id, key = tenants.new_store_id(), new_consumer_key()
    credentials = seal_credentials(seal, store_id, consumer_key=_SANDBOX[0], consumer_secret=_SANDBOX[1])
    database = Database(bench.url, size=2)
    await database.open()
    async with database.transaction() as conn:
        await tenants.add_store(
            conn,
            id=store_id,
            tenant_id=bench.tenant_id,
            name="sandbox",
            url=f"http://127.0.0.1:{sandbox_port}",
            api="v3",
            auth="oauth1",
            credentials=credentials,
            ca_file=None,
        )
        await tenants.add_key(
            conn,
            id=key.id,
            tenant_id=bench.tenant_id,
            name="bench, by the front",
            secret_hash=key.hash,
            scopes=["refunds:read", "refunds:write"],
            consumer_key=key.consumer_key,
            consumer_secret=seal.seal(key.consumer_secret.encode(), aad=key.id),
        )
    await database.close()
    return key.consumer_key, key.consumer_secret
