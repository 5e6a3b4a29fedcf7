"""Twenty stores that take a fixed time for every call and remember what they paid, for measuring batches.

Each takes four calls at a time, as a shop's PHP does; the next one waits. `/paid` says how often every order was paid
and how many calls a store had under way at most.
"""

import asyncio
import itertools
import json
import re
import sys
from collections import defaultdict
from typing import Any

import uvicorn

from tests.bench.stub import _DECIMALS, _GATEWAY, _order

_ORDER = re.compile(r"^/(s\d+)/.*/orders/(\d+)(/refunds|/notes)?$")
_AT_A_TIME = 4


class Shops:
    """What the stores remember."""

    def __init__(self, delay_s: float) -> None:
        self.delay_s = delay_s
        self.slots: dict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(_AT_A_TIME))
        self.under_way: dict[str, int] = defaultdict(int)
        self.most: dict[str, int] = defaultdict(int)
        self.calls = 0
        self.refunds: dict[tuple[str, int], list[dict[str, Any]]] = defaultdict(list)
        self.ids = itertools.count(1000)

    async def answer(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        if path == "/paid":
            paid = {f"{store} {order}": len(rows) for (store, order), rows in self.refunds.items()}
            return 200, json.dumps({"paid": paid, "most": self.most, "calls": self.calls}).encode()
        if "payment_gateways" in path:
            return 200, _GATEWAY
        if "price_num_decimals" in path:
            return 200, _DECIMALS
        found = _ORDER.match(path)
        if found is None:
            return 200, b"[]"
        store, order_id, part = found[1], int(found[2]), found[3]
        self.calls += 1
        self.under_way[store] += 1
        self.most[store] = max(self.most[store], self.under_way[store])
        try:
            async with self.slots[store]:
                # What a store has begun it ends, whoever hangs up.
                return await asyncio.shield(self._work(method, store, order_id, part, body))
        finally:
            self.under_way[store] -= 1

    async def _work(self, method: str, store: str, order_id: int, part: str | None, body: bytes) -> tuple[int, bytes]:
        await asyncio.sleep(self.delay_s)
        rows = self.refunds.get((store, order_id), [])
        if method == "POST":
            asked = json.loads(body)
            row = {
                "id": next(self.ids),
                "amount": asked["amount"],
                "reason": asked.get("reason", ""),
                "refunded_payment": asked.get("api_refund", True),
                "meta_data": asked.get("meta_data", []),
                "line_items": [],
                "date_created_gmt": "2026-11-21T02:23:12",
            }
            self.refunds[(store, order_id)].append(row)
            return 201, json.dumps(row).encode()
        if part == "/refunds":
            return 200, json.dumps(rows).encode()
        if part == "/notes":
            return 200, b"[]"
        if not rows:
            return 200, _order(order_id)
        order = json.loads(_order(order_id))
        order["refunds"] = [{"id": row["id"], "reason": "", "total": f"-{row['amount']}"} for row in rows]
        return 200, json.dumps(order).encode()


def app(delay_s: float) -> Any:
    """Make the ASGI application."""
    shops = Shops(delay_s)

    async def stub(scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        status, answer = await shops.answer(scope["method"], scope["path"], body)
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    return stub


if __name__ == "__main__":
    uvicorn.run(
        app(float(sys.argv[2])),
        host="127.0.0.1",
        port=int(sys.argv[1]),
        loop="uvloop",
        http="httptools",
        log_level="error",
        access_log=False,
        lifespan="off",
    )
