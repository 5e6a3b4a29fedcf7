"""The smaller parts of wc/v3 behave as documented, where no recording shows them."""

from typing import Any

import httpx
import pytest

from tests.sandbox.conftest import make_order, refund

V3 = "/wp-json/wc/v3"
HOOK = {"name": "h", "topic": "order.updated", "delivery_url": "https://gateway.example/hook", "secret": "s"}


async def test_the_index_names_the_namespaces_to_anybody(shop: httpx.AsyncClient) -> None:
    shop.auth = None
    index = (await shop.get("/wp-json/")).json()

    assert "wc/v3" in index["namespaces"]
    assert (await shop.get(f"{V3}/")).json()["namespace"] == "wc/v3"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("settings/general/woocommerce_price_num_decimals", "3"),
        ("settings/general/woocommerce_currency", "KWD"),
        ("settings/tax/woocommerce_prices_include_tax", "yes"),
        ("settings/tax/woocommerce_tax_round_at_subtotal", "no"),
    ],
)
async def test_settings_say_what_the_store_is_set_to(shop: httpx.AsyncClient, path: str, value: str) -> None:
    await shop.post("/sandbox/settings", json={"decimals": 3, "currency": "KWD", "prices_include_tax": True})

    assert (await shop.get(f"{V3}/{path}")).json()["value"] == value
    group = path.split("/")[1]
    assert path.split("/")[2] in [one["id"] for one in (await shop.get(f"{V3}/settings/{group}")).json()]


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("settings/general/unknown", "rest_setting_setting_invalid"),
        ("settings/unknown", "rest_setting_setting_group_invalid"),
        ("products/99", "woocommerce_rest_product_invalid_id"),
        ("customers/99", "woocommerce_rest_invalid_id"),
        ("webhooks/99", "woocommerce_rest_shop_webhook_invalid_id"),
        ("orders/99/notes", "woocommerce_rest_order_invalid_id"),
        ("payment_gateways", ""),
    ],
)
async def test_what_is_not_there_is_404(shop: httpx.AsyncClient, path: str, code: str) -> None:
    answer = await shop.get(f"{V3}/{path}")

    if code:
        assert (answer.status_code, answer.json()["code"]) == (404, code)
    else:
        assert answer.status_code == 200


async def test_products_are_the_catalogue_and_their_stock_follows_orders_and_refunds(shop: httpx.AsyncClient) -> None:
    line = {"product_id": 10, "quantity": 3}
    order = (
        await shop.post(f"{V3}/orders", json={"payment_method": "testpay", "set_paid": True, "line_items": [line]})
    ).json()
    item = order["line_items"][0]["id"]
    listed = (await shop.get(f"{V3}/products")).json()
    assert {one["id"]: one["stock_quantity"] for one in listed} == {10: 997, 11: 1000}

    await refund(shop, order["id"], line_items=[{"id": item, "quantity": 2, "refund_total": "1.00"}])

    assert (await shop.get(f"{V3}/products/10")).json()["stock_quantity"] == 999


@pytest.mark.parametrize(("path", "ids"), [("products", [11, 10]), ("customers", [3, 2])])
async def test_products_and_customers_are_listed_in_pages(shop: httpx.AsyncClient, path: str, ids: list[int]) -> None:
    every, second = (
        await shop.get(f"{V3}/{path}"),
        await shop.get(f"{V3}/{path}", params={"per_page": 1, "page": 2, "_fields": "id"}),
    )

    assert [one["id"] for one in every.json()] == ids
    assert second.json() == [{"id": ids[1]}]
    assert (second.headers["X-WP-Total"], second.headers["X-WP-TotalPages"]) == ("2", "2")
    assert 'rel="prev"' in second.headers["Link"]
    assert (await shop.get(f"{V3}/{path}/{ids[0]}")).json() == every.json()[0]
    assert (await shop.get(f"{V3}/{path}/99")).status_code == 404


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ({"search": "shir"}, [11]),
        ({"sku": "SKU0"}, [10]),
        ({"include": "10"}, [10]),
        ({"exclude": "10", "order": "asc"}, [11]),
    ],
)
async def test_products_can_be_looked_for(shop: httpx.AsyncClient, query: dict[str, str], ids: list[int]) -> None:
    assert [one["id"] for one in (await shop.get(f"{V3}/products", params=query)).json()] == ids


async def test_a_customer_is_found_by_address(shop: httpx.AsyncClient) -> None:
    found = (await shop.get(f"{V3}/customers", params={"email": "ada@example.com"})).json()

    assert [(one["first_name"], one["billing"]["email"]) for one in found] == [("Ada", "ada@example.com")]


async def test_notes_can_be_told_apart(shop: httpx.AsyncClient) -> None:
    order = await make_order(shop)
    path = f"{V3}/orders/{order['id']}/notes"
    made = await shop.post(path, json={"note": "Hello", "customer_note": True})

    assert [note["note"] for note in (await shop.get(path, params={"type": "customer"})).json()] == ["Hello"]
    assert (await shop.get(f"{path}/{made.json()['id']}")).json()["note"] == "Hello"
    assert (await shop.get(f"{path}/1")).status_code == 404
    assert (await shop.post(path, json={})).json()["code"] == "rest_missing_callback_param"


async def test_a_webhook_is_active_and_its_secret_stays_hidden(shop: httpx.AsyncClient) -> None:
    made = await shop.post(f"{V3}/webhooks", json={**HOOK, "status": "paused"})
    webhook = made.json()

    assert (made.status_code, webhook["status"], webhook["resource"], webhook["event"]) == (
        201,
        "active",
        "order",
        "updated",
    )
    assert "secret" not in webhook
    updated = await shop.put(f"{V3}/webhooks/{webhook['id']}", json={"status": "paused"})
    assert updated.json()["status"] == "paused"
    assert [one["id"] for one in (await shop.get(f"{V3}/webhooks", params={"status": "paused"})).json()] == [
        webhook["id"]
    ]
    assert (await shop.delete(f"{V3}/webhooks/{webhook['id']}")).status_code == 501
    assert (await shop.delete(f"{V3}/webhooks/{webhook['id']}", params={"force": "true"})).status_code == 200
    assert (await shop.get(f"{V3}/webhooks/{webhook['id']}")).status_code == 404


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"topic": "refund.created"}, "woocommerce_rest_shop_webhook_invalid_topic"),
        ({"topic": ""}, "woocommerce_rest_shop_webhook_invalid_topic"),
        ({"delivery_url": "ftp://x"}, "woocommerce_rest_shop_webhook_invalid_delivery_url"),
    ],
)
async def test_a_webhook_wants_a_known_topic_and_an_address(
    shop: httpx.AsyncClient, changes: dict[str, Any], code: str
) -> None:
    answer = await shop.post(f"{V3}/webhooks", json={**HOOK, **changes})

    assert (answer.status_code, answer.json()["code"]) == (400, code)


async def test_action_topics_are_allowed(shop: httpx.AsyncClient) -> None:
    made = await shop.post(f"{V3}/webhooks", json={**HOOK, "topic": "action.woocommerce_order_refunded"})

    assert made.json()["hooks"] == ["woocommerce_order_refunded"]


async def test_a_post_can_mean_another_method(shop: httpx.AsyncClient) -> None:
    order = await make_order(shop)

    by_query = await shop.post(f"{V3}/orders/{order['id']}", params={"_method": "DELETE", "force": "true"})

    assert by_query.status_code == 200
    assert (await shop.get(f"{V3}/orders/{order['id']}")).status_code == 404


async def test_orders_are_found_by_number_customer_and_time(shop: httpx.AsyncClient) -> None:
    order, other = await make_order(shop), await make_order(shop, status="on-hold", set_paid=False)

    async def found(**params: str) -> list[int]:
        return [one["id"] for one in (await shop.get(f"{V3}/orders", params=params)).json()]

    assert await found(search=str(order["id"])) == [order["id"]]
    assert await found(search="Byron") == [other["id"], order["id"]]
    assert await found(status="on-hold") == [other["id"]]
    assert await found(after="2100-01-01T00:00:00") == []
    assert await found(include=f"{order['id']}", _fields="id") == [order["id"]]


@pytest.mark.parametrize(("status", "code"), [("percent", 201), ("", 400)])
async def test_coupons_want_a_code(shop: httpx.AsyncClient, status: str, code: int) -> None:
    answer = await shop.post(f"{V3}/coupons", json={"code": "SUMMER" if status else "", "discount_type": "percent"})

    assert answer.status_code == code
