"""WooCommerce's public Python client, unmodified: nothing changes for it but its address and its keys."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme
from woocommerce import API

from app.settings import Settings
from app.wiring import open_runtime
from tests.conftest import Sandbox, add_shop, serving
from tests.front.conftest import Front, Key, add_key, application


def client(site: str, key: Key, **options: Any) -> API:
    return API(url=site, consumer_key=key.consumer_key, consumer_secret=key.consumer_secret, timeout=20, **options)


async def call(method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call the client, which knows no asyncio, from a thread."""
    return await asyncio.to_thread(method, *args, **kwargs)


async def lives_through_a_refund(woo: API, order: dict[str, Any]) -> None:
    """Create, retrieve, list and delete a refund over wc/v3, and make mistakes."""
    path = f"orders/{order['id']}/refunds"
    line = order["line_items"][0]
    taxes = [{"id": line["taxes"][0]["id"], "refund_total": 1.71}]
    lines = [{"id": line["id"], "quantity": 1, "refund_total": 9, "refund_tax": taxes}]

    made = await call(
        woo.post, path, {"line_items": lines, "reason": "Größe passt nicht & zurück", "api_restock": False}
    )
    assert made.status_code == 201, made.text
    refund = made.json()
    assert (refund["amount"], refund["reason"]) == ("10.71", "Größe passt nicht & zurück")
    assert refund["refunded_payment"] is True
    assert made.headers["Location"] == f"{woo.url}/wp-json/wc/v3/{path}/{refund['id']}"

    read = await call(woo.get, f"{path}/{refund['id']}", params={"dp": 4, "_fields": "id,amount"})
    assert {name: read.json()[name] for name in ("id", "amount")} == {"id": refund["id"], "amount": "10.7100"}
    listed = await call(woo.get, path, params={"per_page": 1, "order": "asc", "include[0]": refund["id"]})
    assert ([row["id"] for row in listed.json()], listed.headers["X-WP-Total"]) == ([refund["id"]], "1")
    everywhere = await call(woo.get, "refunds", params={"search": "Größe passt"})
    assert [row["parent_id"] for row in everywhere.json()] == [order["id"]]

    for body, code in (
        ({"amount": "1,50"}, "woocommerce_rest_cannot_create_order_refund"),
        ({"amount": "1000.00"}, "woocommerce_rest_cannot_create_order_refund"),
        ({"amount": 5}, "rest_invalid_param"),
        ({}, "woocommerce_rest_invalid_order_refund"),
    ):
        refused = await call(woo.post, path, body)
        assert (refused.status_code, refused.json()["code"]) == (400, code)

    gone = await call(woo.delete, f"{path}/{refund['id']}", params={"force": True})
    assert (gone.status_code, gone.json()["id"]) == (200, refund["id"])
    missing = await call(woo.get, f"{path}/{refund['id']}")
    assert (missing.status_code, missing.json()["code"]) == (404, "woocommerce_rest_shop_order_refund_invalid_id")


async def test_the_python_client_works_over_http_with_signatures(front_of_v3: Front, order: dict[str, Any]) -> None:
    await lives_through_a_refund(client(front_of_v3.site, front_of_v3.key), order)

    assert await front_of_v3.paid(order) == ["10.71"]


@asynccontextmanager
async def over_https(
    settings: Settings, database_url: str, sandbox: Sandbox, folder: Path
) -> AsyncIterator[tuple[str, Key, str]]:
    """Serve the front with a certificate: give its site, a key and the authority's file."""
    authority, certificate = trustme.CA(), folder / "server.pem"
    authority.cert_pem.write_to_path(folder / "ca.pem")
    issued = authority.issue_cert("127.0.0.1")
    issued.private_key_and_cert_chain_pem.write_to_path(certificate)
    async with (
        open_runtime(settings, works=False, url=database_url) as rt,
        serving(application(rt), ssl_certfile=str(certificate)) as url,
    ):
        shop = await add_shop(rt, sandbox.url)
        yield f"{url}/stores/demo", await add_key(rt, shop.tenant_id), str(folder / "ca.pem")


@pytest.mark.parametrize("in_query", [False, True], ids=["basic", "query-string"])
async def test_the_python_client_works_over_https(
    in_query: bool, settings: Settings, database_url: str, sandbox: Sandbox, order: dict[str, Any], tmp_path: Path
) -> None:
    async with over_https(settings, database_url, sandbox, tmp_path) as (site, key, authority):
        woo = client(site, key, query_string_auth=in_query, verify_ssl=authority)
        await lives_through_a_refund(woo, order)

    assert [payout["amount"] for payout in await sandbox.payouts(order["id"])] == ["10.71"]


async def test_the_python_client_works_with_the_legacy_api_on_both_kinds_of_store(
    front_of_either: Front, order: dict[str, Any]
) -> None:
    front = front_of_either
    woo = client(front.site, front.key, wp_api=False, version="v3")
    path = f"orders/{order['id']}/refunds"
    line = str(order["line_items"][0]["id"])

    lines = {line: {"qty": 1, "refund_total": 9, "refund_tax": {str(order["line_items"][0]["taxes"][0]["id"]): 1.71}}}
    made = await call(woo.post, path, {"order_refund": {"amount": 10.71, "reason": "small", "line_items": lines}})
    assert made.status_code == 201, made.text
    refund = made.json()["order_refund"]
    assert (refund["amount"], refund["reason"], refund["line_items"][0]["quantity"]) == ("10.71", "small", -1)

    read = await call(woo.get, f"{path}/{refund['id']}", params={"fields": "id,amount"})
    assert read.json() == {"order_refund": {"id": refund["id"], "amount": "10.71"}}
    listed = await call(woo.get, path)
    assert [row["id"] for row in listed.json()["order_refunds"]] == [refund["id"]]
    changed = await call(woo.put, f"{path}/{refund['id']}", {"order_refund": {"reason": "too small"}})
    assert changed.status_code == 200
    refused = await call(woo.post, path, {"order_refund": {"amount": "1000"}})
    assert (refused.status_code, refused.json()["errors"][0]["message"]) == (400, "Invalid refund amount.")
    gone = await call(woo.delete, f"{path}/{refund['id']}", params={"force": "true"})
    assert gone.json() == {"message": "Permanently deleted refund"}
    assert await front.paid(order) == ["10.71"]


async def test_two_clients_of_the_same_second_do_not_get_in_each_others_way(
    front_of_v3: Front, order: dict[str, Any]
) -> None:
    """WooCommerce keeps one nonce per second, the gateway every one of them."""
    woo = client(front_of_v3.site, front_of_v3.key)
    answers = await asyncio.gather(*(call(woo.get, f"orders/{order['id']}/refunds") for _ in range(12)))

    assert {answer.status_code for answer in answers} == {200}
