"""What is installed decides which routes and parameters there are, and a client can find out."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.sandbox.main import create_app
from app.sandbox.model import StoreSettings
from tests.sandbox.conftest import make_order, payouts, refund, refunds

V3 = "/wp-json/wc/v3"


async def install(shop: httpx.AsyncClient, **settings: Any) -> None:
    answer = await shop.post("/sandbox/settings", json=settings)
    assert answer.status_code == 200, answer.text


async def preview(shop: httpx.AsyncClient, order_id: int, *lines: dict[str, Any]) -> httpx.Response:
    return await shop.post(f"{V3}/orders/{order_id}/refunds/preview", json={"line_items": lines})


async def create(shop: httpx.AsyncClient, order_id: int, *lines: dict[str, Any], **fields: Any) -> httpx.Response:
    body = {"compute_totals": True, "line_items": lines, **fields}
    return await shop.post(f"{V3}/orders/{order_id}/refunds", json=body)


async def test_settings_are_told_and_a_reset_returns_to_those_of_the_start(tmp_path: Path) -> None:
    app = create_app(tmp_path / "shop.sqlite", seed=False, legacy=False, hpos="synced", woocommerce_version="8.9.1")
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="https://shop.test") as shop:
        started = (await shop.get("/sandbox/settings")).json()
        await install(shop, legacy="on", hpos="on", decimals=3)
        changed = (await shop.get("/sandbox/settings")).json()
        await shop.post("/sandbox/reset")
        assert (await shop.get("/sandbox/settings")).json() == started
    app.site.store.close()

    assert started == StoreSettings(legacy=False, hpos=True, hpos_sync=True, woocommerce_version="8.9.1").model_dump()
    assert changed == started | {"legacy": True, "hpos_sync": False, "decimals": 3}


async def test_a_second_start_changes_what_it_names_and_nothing_else(tmp_path: Path) -> None:
    first = create_app(tmp_path / "shop.sqlite", seed=False, woocommerce_version="8.9.1")
    first.site.store.close()

    second = create_app(tmp_path / "shop.sqlite", seed=False, rest_v3=False)

    settings = second.site.store.settings()
    second.site.store.close()
    assert (settings.woocommerce_version, settings.rest_v3) == ("8.9.1", False)


@pytest.mark.parametrize("settings", [{"hpos": "maybe"}, {"woocommerce_version": "newest"}, {"legacy": "perhaps"}])
async def test_settings_that_make_no_sense_are_refused(shop: httpx.AsyncClient, settings: dict[str, str]) -> None:
    assert (await shop.post("/sandbox/settings", json=settings)).status_code == 422


@pytest.mark.parametrize(("hpos", "shown"), [("off", (False, False)), ("on", (True, False)), ("synced", (True, True))])
async def test_the_system_status_shows_version_and_hpos(
    shop: httpx.AsyncClient, hpos: str, shown: tuple[bool, bool]
) -> None:
    await install(shop, hpos=hpos, woocommerce_version="9.9.0")

    status = (await shop.get(f"{V3}/system_status")).json()

    assert status["environment"]["version"] == "9.9.0"
    assert (status["settings"]["HPOS_enabled"], status["settings"]["HPOS_sync_enabled"]) == shown


async def test_without_wc_v3_every_route_is_missing_and_the_legacy_api_goes_on(shop: httpx.AsyncClient) -> None:
    order = await make_order(shop)
    await install(shop, rest_v3=False)

    for path in (V3, f"{V3}/orders", f"{V3}/orders/{order['id']}", f"{V3}/system_status"):
        answer = await shop.get(path)
        assert (answer.status_code, answer.json()["code"]) == (404, "rest_no_route")
    assert (await shop.options(f"{V3}/orders")).json() == []
    assert "wc/v3" not in (await shop.get("/wp-json")).json()["namespaces"]
    assert (await shop.get(f"/wc-api/v3/orders/{order['id']}")).status_code == 200


@pytest.mark.parametrize(("version", "status"), [("8.9.1", 404), ("9.0.0", 200), ("10.4", 200), ("11.1.0-rc.1", 200)])
async def test_the_store_wide_list_of_refunds_came_with_9_0(shop: httpx.AsyncClient, version: str, status: int) -> None:
    await install(shop, woocommerce_version=version)

    answer = await shop.get(f"{V3}/refunds")

    assert answer.status_code == status
    assert ("/wc/v3/refunds" in (await shop.get(V3)).json()["routes"]) is (status == 200)
    if status == 404:
        assert answer.json()["code"] == "rest_no_route"


@pytest.mark.parametrize(("version", "known"), [("9.4.0", False), ("11.0.9", False), ("11.1.0", True)])
async def test_options_tells_whether_the_store_computes_totals(
    shop: httpx.AsyncClient, version: str, known: bool
) -> None:
    await install(shop, woocommerce_version=version)

    described = await shop.options(f"{V3}/orders/1/refunds")

    body = described.json()
    assert list(body) == ["namespace", "methods", "endpoints", "schema"]
    assert (body["namespace"], body["methods"], described.headers["Allow"]) == ("wc/v3", ["GET", "POST"], "GET, POST")
    args = next(one["args"] for one in body["endpoints"] if one["methods"] == ["POST"])
    assert args["amount"] == {"type": "string", "required": False}
    assert args["api_refund"] == {"type": "boolean", "default": True, "required": False}
    assert ("compute_totals" in args) is known
    previewing = (await shop.options(f"{V3}/orders/1/refunds/preview")).json()
    assert (previewing != []) is known
    if known:
        assert previewing["endpoints"][0]["args"]["line_items"]["required"] is True


async def test_options_of_a_plain_route_links_to_it_and_of_none_is_an_empty_list(shop: httpx.AsyncClient) -> None:
    plain, nothing = await shop.options(f"{V3}/refunds"), await shop.options(f"{V3}/refundz")

    assert plain.json()["_links"]["self"][0]["href"].endswith(f"{V3}/refunds")
    assert (nothing.status_code, nothing.json(), "Allow" in nothing.headers) == (200, [], False)
    assert (await shop.options(V3)).json()["methods"] == ["GET"]


async def test_options_allows_nobody_nothing_but_tells_all(shop: httpx.AsyncClient) -> None:
    shop.auth = None

    answer = await shop.options(f"{V3}/orders/1/refunds")

    assert (answer.status_code, answer.json()["methods"], "Allow" in answer.headers) == (200, ["GET", "POST"], False)


async def test_methods_of_one_endpoint_are_told_together(shop: httpx.AsyncClient) -> None:
    endpoints = (await shop.options(f"{V3}/orders/1")).json()["endpoints"]

    assert [one["methods"] for one in endpoints] == [["GET"], ["POST", "PUT", "PATCH"], ["DELETE"]]


async def test_the_namespaces_index_names_routes_by_their_patterns(shop: httpx.AsyncClient) -> None:
    index = (await shop.get(V3)).json()

    refunding = index["routes"][r"/wc/v3/orders/(?P<order_id>[\d]+)/refunds/(?P<id>[\d]+)"]
    assert (refunding["namespace"], refunding["methods"]) == ("wc/v3", ["GET", "DELETE"])
    assert r"/wc/v3/orders/(?P<order_id>[\d]+)/refunds/preview" not in index["routes"]


async def test_an_older_store_drops_compute_totals_and_makes_a_refund_of_nothing(shop: httpx.AsyncClient) -> None:
    order = await make_order(shop)
    item = order["line_items"][0]["id"]

    made = await create(shop, order["id"], {"id": item, "quantity": 1})
    previewed = await preview(shop, order["id"], {"line_item_id": item, "quantity": 1})

    assert (made.status_code, made.json()["amount"]) == (201, "0.00")
    assert (previewed.status_code, previewed.json()["code"]) == (404, "rest_no_route")


async def test_a_preview_is_what_create_then_makes(shop: httpx.AsyncClient) -> None:
    await install(shop, woocommerce_version="11.1.0")
    order = await make_order(shop, lines=[{"price": "19.99", "quantity": 3}], shipping="5.00")
    item, parcel = order["line_items"][0]["id"], order["shipping_lines"][0]["id"]

    previewed = await preview(
        shop,
        order["id"],
        {"line_item_id": item, "quantity": 2},
        {"line_item_id": parcel, "refund_total": 2.38},
    )

    body = previewed.json()
    assert list(body) == ["breakdown", "subtotal", "tax", "total", "max_refundable"]
    assert (body["subtotal"], body["tax"], body["total"]) == ("41.97", "7.98", "49.95")
    assert body["max_refundable"] == order["total"]
    products = body["breakdown"]["products"]
    assert products["items"] == [
        {
            "id": item,
            "name": "Album",
            "product_id": 0,
            "quantity": 2,
            "subtotal": "39.97",
            "tax": "7.60",
            "total": "47.57",
        }
    ]
    assert body["breakdown"]["shipping"]["items"][0]["quantity"] is None
    assert body["breakdown"]["fees"] == {"subtotal": "0.00", "tax": "0.00", "items": []}
    assert await refunds(shop, order["id"]) == []

    made = await create(shop, order["id"], {"id": item, "quantity": 2}, {"id": str(parcel), "refund_total": "2.38"})

    assert (made.status_code, made.json()["amount"]) == (201, body["total"])
    (line,) = made.json()["line_items"]
    assert (line["quantity"], line["total"], line["total_tax"]) == (-2, "-39.97", "-7.60")
    assert await payouts(shop, order["id"]) == [body["total"]]


async def test_units_refunded_one_by_one_add_up_to_the_line(shop: httpx.AsyncClient) -> None:
    await install(shop, woocommerce_version="11.1.0")
    order = await make_order(shop, lines=[{"price": "9.99", "quantity": 3}])
    item = order["line_items"][0]["id"]

    amounts = [(await create(shop, order["id"], {"id": item, "quantity": 1})).json()["amount"] for _ in range(3)]

    assert sum(map(Decimal, amounts)) == Decimal(order["total"])


async def test_taxes_of_ones_own_come_on_top(shop: httpx.AsyncClient) -> None:
    await install(shop, woocommerce_version="11.1.0")
    order = await make_order(shop)
    line = {"id": order["line_items"][0]["id"], "refund_total": 5, "refund_tax": [{"id": 1, "refund_total": 0.5}]}

    made = (await create(shop, order["id"], line)).json()

    assert (made["amount"], made["line_items"][0]["total"], made["line_items"][0]["total_tax"]) == (
        "5.50",
        "-5.00",
        "-0.50",
    )


@pytest.mark.parametrize(
    ("line", "fields", "status", "code"),
    [
        ({"quantity": 3}, {}, 422, "quantity_exceeds_refundable"),
        ({"quantity": 0}, {}, 400, "invalid_quantity"),
        ({"quantity": 1.5}, {}, 400, "invalid_quantity"),
        ({}, {}, 400, "missing_quantity_or_refund_total"),
        ({"refund_total": 0}, {}, 400, "invalid_refund_total"),
        ({"refund_total": "x"}, {}, 400, "invalid_refund_total"),
        ({"refund_total": 30}, {}, 422, "refund_total_exceeds_line"),
        ({"id": 1, "quantity": 1}, {}, 400, "line_item_not_found"),
        ({"quantity": 1}, {"amount": "1.00"}, 400, "invalid_refund_amount"),
        ({"quantity": 1}, {"amount": "0.00"}, 400, "invalid_refund_amount"),
        ({"quantity": 1}, {"amount": "ten"}, 400, "invalid_refund_amount"),
        ({"quantity": 1}, {"amount": "99.00"}, 422, "refund_exceeds_remaining"),
        ({"quantity": 1}, {"reason": "decline"}, 400, "cannot_create_refund"),
    ],
)
async def test_computed_refunds_are_refused_with_codes_of_their_own(
    shop: httpx.AsyncClient, line: dict[str, Any], fields: dict[str, Any], status: int, code: str
) -> None:
    await install(shop, woocommerce_version="11.1.0")
    order = await make_order(shop)

    answer = await create(shop, order["id"], {"id": order["line_items"][0]["id"], **line}, **fields)

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert (await refunds(shop, order["id"]), await payouts(shop, order["id"])) == ([], [])


async def test_a_preview_refuses_with_prefixed_codes(shop: httpx.AsyncClient) -> None:
    await install(shop, woocommerce_version="11.1.0")
    order = await make_order(shop)
    line = {"line_item_id": order["line_items"][0]["id"], "quantity": 2}

    async def refusal(order_id: int, *lines: dict[str, Any]) -> tuple[int, str]:
        answer = await preview(shop, order_id, *lines)
        return answer.status_code, answer.json()["code"].removeprefix("woocommerce_rest_")

    assert await refusal(99999999, line) == (404, "invalid_order_id")
    assert await refusal(order["id"], line, line) == (400, "duplicate_line_item")
    assert await refusal(order["id"]) == (400, "rest_invalid_param")
    assert await refusal(order["id"], {**line, "price": 1}) == (400, "rest_invalid_param")
    nothing = await shop.post(f"{V3}/orders/{order['id']}/refunds/preview", json={})
    assert (nothing.status_code, nothing.json()["code"]) == (400, "rest_missing_callback_param")
    await refund(shop, order["id"], "20.00")
    assert await refusal(order["id"], line) == (422, "preview_exceeds_max_refundable")
    await refund(shop, order["id"], "1.42")
    assert await refusal(order["id"], line) == (422, "order_not_refundable")


async def test_a_line_refunded_in_full_is_refunded_already(shop: httpx.AsyncClient) -> None:
    await install(shop, woocommerce_version="11.1.0")
    order = await make_order(shop, shipping="5.00")
    item = order["line_items"][0]["id"]
    await create(shop, order["id"], {"id": item, "quantity": 2})

    answer = await create(shop, order["id"], {"id": item, "refund_total": 1})

    assert (answer.status_code, answer.json()["code"]) == (422, "line_item_already_refunded")
