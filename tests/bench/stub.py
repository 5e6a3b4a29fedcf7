"""A store that answers as quickly as it can after a fixed delay, for measuring what the gateway adds.

Twenty stores in one process, one per path (`/s7/wp-json/wc/v3/...`). Every order exists and bears any number of
refunds; nothing is remembered, because a real store's work is not what is measured here.
"""

import asyncio
import itertools
import json
import re
import sys
from typing import Any

import uvicorn

_NUMBER = itertools.count(1000)
_ORDER = re.compile(rb"/orders/(\d+)(/refunds)?$")


def _order(order_id: int) -> bytes:
    body = {
        "id": order_id,
        "number": str(order_id),
        "status": "processing",
        "currency": "EUR",
        "prices_include_tax": False,
        "total": "107100.00000000",
        "date_created_gmt": "2026-11-21T02:23:12",
        "date_modified_gmt": "2026-11-21T02:23:12",
        "date_paid_gmt": "2026-11-21T02:23:12",
        "payment_method": "stubpay",
        "payment_method_title": "Stub",
        "line_items": [
            {
                "id": 1,
                "name": "Album",
                "sku": "SKU0",
                "quantity": 10000,
                "total": "90000.00000000",
                "total_tax": "17100.00000000",
                "taxes": [{"id": 1, "total": "17100", "subtotal": "17100"}],
            }
        ],
        "tax_lines": [{"id": 2, "rate_id": 1, "label": "VAT", "compound": False, "rate_percent": 19}],
        "shipping_lines": [],
        "fee_lines": [],
        "refunds": [],
        "needs_payment": False,
    }
    return json.dumps(body).encode()


_GATEWAY = json.dumps({"id": "stubpay", "enabled": True, "method_supports": ["products", "refunds"]}).encode()
_DECIMALS = json.dumps({"id": "woocommerce_price_num_decimals", "value": "2"}).encode()


def app(delay_s: float) -> Any:
    """Make the ASGI application."""

    async def stub(scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        status, answer = 200, b"[]"
        path = scope["path"].encode()
        found = _ORDER.search(path)
        if found is not None:
            await asyncio.sleep(delay_s)
            order_id = int(found[1])
            if scope["method"] == "POST":
                asked = json.loads(body)
                status = 201
                refund = {
                    "id": next(_NUMBER),
                    "amount": asked["amount"],
                    "reason": asked.get("reason", ""),
                    "refunded_payment": asked.get("api_refund", True),
                    "meta_data": [],
                    "line_items": [],
                }
                answer = json.dumps(refund).encode()
            elif not found[2]:
                answer = _order(order_id)
        elif b"payment_gateways" in path:
            answer = _GATEWAY
        elif b"price_num_decimals" in path:
            answer = _DECIMALS
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
