"""Stores and orders over HTTP, live from a sandbox store."""

from datetime import UTC, datetime
from typing import Any

import httpx

from app.api.shop_views import capabilities_view
from app.flows.results import Capabilities
from app.ledger.learned import Learned
from app.stores.port import Features, PaymentMethod
from tests.api.conftest import Gateway
from tests.api.problems import problem
from tests.conftest import Sandbox


async def read(gateway: Gateway, path: str) -> Any:
    answer: httpx.Response = await gateway.client.get(path)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_stores_are_shown_without_their_credentials(gateway: Gateway) -> None:
    listed = await read(gateway, "/v1/stores")
    assert [store["name"] for store in listed["data"]] == ["demo"]
    shown = await read(gateway, "/v1/stores/demo")
    assert shown == listed["data"][0]
    assert (shown["api"], shown["auth"], shown["disabled_at"]) == ("v3", "oauth1", None)
    assert (shown["policy"]["on_absence"], shown["policy"]["refunding_methods"]) == ("review", [])
    assert "credentials" not in str(shown)


async def test_an_order_shows_what_is_left_of_every_line(gateway: Gateway, order: dict[str, Any]) -> None:
    made = await gateway.refund(order, amount=None, items=[{"sku": "SKU0", "quantity": 1}])
    assert made.status_code == 201, made.text
    shown = await read(gateway, f"/v1/stores/demo/orders/{order['id']}")
    assert (shown["total"], shown["refunded_total"], shown["refundable_total"]) == ("32.13", "10.71", "21.42")
    assert (shown["currency"], shown["decimals"], shown["blocked_by"]) == ("EUR", 2, None)
    [item] = shown["items"]
    assert (item["sku"], item["quantity"], item["total"]) == ("SKU0", 3, "32.13")
    left = item["refundable"]
    assert (left["quantity"], left["net"], left["tax"], left["total"]) == (2, "18.00", "3.42", "21.42")
    assert shown["payment_method"]["capability"] == "refunds"
    assert [rate["percent"] for rate in shown["tax_rates"]] == ["19"]
    [refund] = shown["refunds"]
    assert refund["refund_id"] == made.json()["id"]
    assert refund["lines"][0]["net"] == "9.00"


async def test_the_stores_own_refunds_are_linked_to_ours(
    gateway: Gateway, sandbox: Sandbox, order: dict[str, Any]
) -> None:
    made = (await gateway.refund(order)).json()
    path = f"/v1/stores/demo/orders/{order['id']}/refunds"
    listed = await read(gateway, path)
    [refund] = listed["data"]
    assert (refund["id"], refund["amount"], refund["refunded_payment"], refund["refund_id"]) == (
        made["store_refund_id"],
        "5.00",
        True,
        made["id"],
    )
    assert await read(gateway, f"{path}/{refund['id']}") == refund
    problem(await gateway.client.get(f"{path}/{order['id']}"), 404, "store_refund_not_found")
    problem(await gateway.client.get(f"{path}/abc"), 404, "store_refund_not_found")


async def test_what_is_not_there_is_404(gateway: Gateway) -> None:
    for path, code in (
        ("/v1/stores/other", "store_not_found"),
        ("/v1/stores/Not%20A%20Store%00", "store_not_found"),
        ("/v1/stores/other/health", "store_not_found"),
        ("/v1/stores/other/capabilities", "store_not_found"),
        ("/v1/stores/other/orders/1", "store_not_found"),
        ("/v1/stores/demo/orders/999999", "order_not_found"),
        ("/v1/stores/demo/orders/..%2Fusers", "not_found"),
        ("/v1/stores/demo/orders/012", "order_not_found"),
        ("/v1/stores/demo/orders/999999/refunds", "order_not_found"),
        ("/v1/stores/demo/orders/999999/refunds/1", "order_not_found"),
    ):
        problem(await gateway.client.get(path), 404, code)


async def test_a_store_is_looked_over(gateway: Gateway) -> None:
    health = await read(gateway, "/v1/stores/demo/health")
    assert (health["store"], health["currency"], health["decimals"]) == ("demo", "EUR", 2)
    assert {check["name"] for check in health["checks"]} >= {"credentials", "write_permission"}


async def test_a_store_says_what_it_can_do(gateway: Gateway, sandbox: Sandbox) -> None:
    await sandbox.client.post("/sandbox/settings", json={"legacy": False})
    capabilities = await read(gateway, "/v1/stores/demo/capabilities")
    assert (capabilities["store"], capabilities["woocommerce_version"]) == ("demo", "9.4.0")
    assert capabilities["apis"] == ["wc/v3"]
    by_api = {api["name"]: api for api in capabilities["features"]}
    assert set(by_api) == {"wc/v3", "wc-api/v3"}
    v3, legacy = by_api["wc/v3"], by_api["wc-api/v3"]
    assert (v3["used"], v3["available"], legacy["used"], legacy["available"]) == (True, True, False, False)
    assert [v3[name] for name in ("store_wide_list", "update", "delete", "meta_data", "native_preview")] == [
        True,
        False,
        True,
        True,
        False,
    ]
    methods = {method["id"]: method for method in capabilities["payment_methods"]}
    paying, by_hand = methods["sandboxpay"], methods["cod"]
    assert (paying["capability"], paying["partial"], paying["learned"]) == ("refunds", None, None)
    assert (by_hand["capability"], by_hand["partial"]) == ("no_refunds", False)


async def test_a_stores_refunds_teach_what_its_payment_methods_can_do(
    gateway: Gateway, sandbox: Sandbox, order: dict[str, Any]
) -> None:
    made = (await gateway.refund(order)).json()
    await gateway.refund(order, reason="decline")
    gone = await sandbox.new_order(payment_method="gone_gateway")
    await gateway.refund(gone, payment="manual")
    capabilities = await read(gateway, "/v1/stores/demo/capabilities")
    methods = {method["id"]: method for method in capabilities["payment_methods"]}
    learned = methods["sandboxpay"]["learned"]
    assert methods["sandboxpay"]["partial"] is True
    assert (learned["succeeded"], learned["failed"]) == (1, 1)
    assert learned["last_success_at"] == learned["last_partial_success_at"] == made["settled_at"]
    assert learned["last_failure_code"] == "gateway_declined"
    # A manual refund teaches nothing about a payment gateway.
    assert "gone_gateway" not in methods


def test_a_payment_method_that_the_store_no_longer_lists_is_missing() -> None:
    at = datetime(2026, 11, 21, tzinfo=UTC)
    learned = Learned(
        last_success_at=at,
        last_partial_success_at=None,
        last_failure_at=None,
        last_failure_code=None,
        succeeded=1,
        failed=0,
    )
    listed = PaymentMethod(id="cod", title="Cash", enabled=False, capability="no_refunds")
    for methods, capability, partial in (((listed,), "missing", False), ((), "unknown", None)):
        features = Features(woocommerce_version=None, apis=(), payment_methods=methods)
        shown = capabilities_view("demo", Capabilities(features=features, learned={"old": learned}))
        old = shown.payment_methods[-1]
        assert (old.id, old.enabled, old.capability, old.partial) == ("old", None, capability, partial)
