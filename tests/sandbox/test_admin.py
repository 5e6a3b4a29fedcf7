"""The sandbox's own API makes what tests need, and tells the truth afterwards."""

import json
import os
import signal
import ssl
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme

from app.sandbox.main import create_app
from tests.conftest import free_port
from tests.sandbox.conftest import READ_WRITE, make_order, refund, refunds


async def seeded(database: Path | None = None, *, seed: bool = True) -> list[dict[str, Any]]:
    app = create_app(database, seed=seed)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="https://shop.test") as shop:
        listed = (await shop.get("/sandbox/orders")).json()
    app.site.store.close()
    return list(listed)


async def test_a_new_store_has_orders_of_every_kind_with_the_same_ids_each_time() -> None:
    orders = await seeded()

    assert orders == await seeded()
    assert [order["description"].split(",")[0] for order in orders] == [
        "Taxes exclusive",
        "Taxes inclusive",
        "Shipping and a fee",
        "A coupon of 10 %",
        "Japanese yen",
        "Cash on delivery: no refunds by gateway",
        "Never paid",
        "Partly refunded already",
        "Several tax rates",
    ]
    assert {order["payment_method"] for order in orders if order["status"] == "processing"} == {"sandboxpay"}


async def test_a_second_start_finds_the_data_again(tmp_path: Path) -> None:
    database = tmp_path / "shop.sqlite"

    first = await seeded(database)

    assert await seeded(database) == first


async def test_a_store_can_start_empty() -> None:
    assert await seeded(seed=False) == []


async def test_orders_made_to_measure_add_up(shop: httpx.AsyncClient) -> None:
    orders = (
        await shop.post(
            "/sandbox/orders",
            json={
                "payment_method": "testpay",
                "currency": "CHF",
                "lines": [{"name": "Pen", "sku": "PEN", "quantity": 3, "price": "1.99"}],
                "tax_rates": [
                    {"name": "A", "percent": "5"},
                    {"name": "B", "percent": "9.975", "compound": True, "shipping": False},
                ],
                "shipping": "4.00",
                "fees": [{"name": "Tip", "total": "1.00", "taxable": False}],
                "coupon_percent": "10",
                "status": "completed",
                "count": 3,
            },
        )
    ).json()

    assert len({order["id"] for order in orders}) == 3
    order = orders[0]
    assert (order["currency"], order["payment_method"], order["status"]) == ("CHF", "testpay", "completed")
    (line,) = order["line_items"]
    assert (line["subtotal"], line["total"], order["discount_total"]) == ("5.97", "5.37", "0.60")
    # 5.37 × 5 % = 0.2685; (5.37 + 0.2685) × 9.975 % = 0.56244; shipping 4.00 × 5 % = 0.20
    assert [tax["total"] for tax in line["taxes"]] == ["0.2685", "0.56244"]
    assert (order["cart_tax"], order["shipping_tax"], order["total"]) == ("0.83", "0.20", "11.40")


async def test_prices_including_compound_taxes_come_apart_and_together_again(shop: httpx.AsyncClient) -> None:
    rates = [{"name": "A", "percent": "5"}, {"name": "B", "percent": "10", "compound": True}]

    order = await make_order(
        shop, lines=[{"price": "115.50"}], tax_rates=rates, prices_include_tax=True, coupon_percent="50"
    )

    (line,) = order["line_items"]
    assert (line["subtotal"], line["total"], order["total"]) == ("100.00", "50.00", "57.75")
    assert [tax["total"] for tax in line["taxes"]] == ["2.5", "5.25"]


async def test_a_refund_made_in_wp_admin_counts_like_any_other(shop: httpx.AsyncClient) -> None:
    order = await make_order(shop)
    line = order["line_items"][0]["id"]
    body = {"amount": "10.71", "reason": "by hand", "lines": {line: {"qty": 1, "refund_total": "9.00"}}}

    made = await shop.post(f"/sandbox/orders/{order['id']}/refunds", json=body)

    assert made.status_code == 201
    assert [row["reason"] for row in await refunds(shop, order["id"])] == ["by hand"]
    assert (await refund(shop, order["id"], order["total"])).json()["message"] == "Invalid refund amount."
    assert (await shop.post("/sandbox/orders/1/refunds", json={"amount": "1"})).status_code == 404


async def test_the_request_log_knows_who_asked_what_and_no_secrets(shop: httpx.AsyncClient) -> None:
    await shop.delete("/sandbox/requests")
    await shop.get(
        "/wp-json/wc/v3/orders",
        params={"per_page": 1, "consumer_secret": "cs_sandbox_rw", "consumer_key": "ck_sandbox_rw"},
        headers={"User-Agent": "test/1", "X-Request-Id": "r-1"},
    )

    (logged,) = (await shop.get("/sandbox/requests")).json()

    assert "cs_sandbox_rw" not in json.dumps(logged)
    assert {key: logged[key] for key in ("method", "path", "query", "user_agent", "request_id", "status")} == {
        "method": "GET",
        "path": "/wp-json/wc/v3/orders",
        "query": "per_page=1",
        "user_agent": "test/1",
        "request_id": "r-1",
        "status": 200,
    }


async def test_reset_empties_the_store_and_can_plant_it_again(shop: httpx.AsyncClient) -> None:
    order = await make_order(shop)
    await refund(shop, order["id"])

    assert (await shop.post("/sandbox/reset")).json() == {"orders": 0}
    assert (await shop.get("/sandbox/payouts")).json() == []
    assert (await shop.post("/sandbox/reset", json={"seed": True})).json() == {"orders": 9}


@pytest.mark.parametrize("path", ["/", "/sandbox", "/sandbox/"])
async def test_the_front_page_names_every_call(shop: httpx.AsyncClient, path: str) -> None:
    page = (await shop.get(path)).json()

    assert {"`POST /sandbox/faults`", "`GET /sandbox/payouts?order_id=`"} <= set(page["calls"])


def test_as_a_process_it_speaks_tls_and_what_it_paid_survives_a_kill(tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    command = [
        *(sys.executable, "-m", "app.sandbox", "--database", str(tmp_path / "shop.sqlite"), "--log-level", "warning"),
        *("--port", str(port := free_port()), "--tls-cert", str(tmp_path / "cert.pem")),
        *("--tls-key", str(tmp_path / "key.pem")),
        *("--no-legacy", "--rest-v3", "--hpos", "synced", "--woocommerce-version", "8.9.1"),
    ]
    context = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
    with httpx.Client(base_url=f"https://127.0.0.1:{port}", verify=context, auth=READ_WRITE, timeout=10) as shop:
        first = subprocess.Popen(command)
        try:
            order = _first_order(shop)
            paid = shop.post(f"/wp-json/wc/v3/orders/{order['id']}/refunds", json={"amount": "1.00"})
        finally:
            os.kill(first.pid, signal.SIGKILL)
            first.wait()
        second = subprocess.Popen(command)
        try:
            _first_order(shop)
            payouts = shop.get("/sandbox/payouts").json()
            rows = shop.get(f"/wp-json/wc/v3/orders/{order['id']}/refunds").json()
            settings = shop.get("/sandbox/settings").json()
        finally:
            second.kill()
            second.wait()
    assert paid.status_code == 201
    assert [(payout["order_id"], Decimal(payout["amount"])) for payout in payouts] == [(order["id"], Decimal(1))]
    assert [row["id"] for row in rows] == [paid.json()["id"]]
    installed = {"legacy": False, "rest_v3": True, "hpos": True, "hpos_sync": True, "woocommerce_version": "8.9.1"}
    assert settings == settings | installed


def _first_order(shop: httpx.Client) -> dict[str, Any]:
    deadline = time.monotonic() + 15
    while True:
        try:
            return dict(shop.get("/sandbox/orders").json()[0])
        except httpx.ConnectError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
