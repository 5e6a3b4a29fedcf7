"""What else of the legacy API can be read, and who may."""

import time
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
from woocommerce.oauth import OAuth

from app.sandbox.main import create_app
from tests.sandbox.conftest import READ_ONLY, READ_WRITE, make_order, refund
from tests.sandbox.replay import sign

HTTP, HTTPS = "http://shop.test", "https://shop.test"
LEGACY = "/wc-api/v3"
AUTHENTICATION = "woocommerce_api_authentication_error"


def client(base_url: str = HTTPS, **options: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(create_app(seed=False, **options)), base_url=base_url)


def signed(method: str = "GET", path: str = f"{LEGACY}/orders", **changes: str) -> dict[str, str]:
    """Return the query of a signed request; changes are made before signing."""
    params = {
        "oauth_consumer_key": "ck_sandbox_rw",
        "oauth_timestamp": str(int(time.time())),
        "oauth_nonce": "nonce",
        "oauth_signature_method": "HMAC-SHA256",
        **changes,
    }
    return {**params, "oauth_signature": sign(method, HTTP + path, params, "cs_sandbox_rw")}


def refusal(answer: httpx.Response) -> tuple[int, str, str]:
    (error,) = answer.json()["errors"]
    return answer.status_code, error["code"], error["message"]


async def test_without_the_plugin_errors_is_an_object() -> None:
    async with client(legacy=False) as shop:
        answers = [await shop.get(path) for path in (LEGACY, f"{LEGACY}/orders", "/wc-api/v1/orders")]

    assert [answer.status_code for answer in answers] == [404] * 3
    assert {answer.json()["errors"]["code"] for answer in answers} == {"woocommerce_api_disabled"}


async def test_a_gateways_callback_is_not_the_api(shop: httpx.AsyncClient) -> None:
    answer = await shop.get("/wc-api/wc_gateway_paypal")

    assert (answer.status_code, answer.text) == (400, "-1")


@pytest.mark.parametrize("path", [LEGACY, f"{LEGACY}/"])
async def test_the_index_is_public_and_knows_version_and_money(path: str) -> None:
    async with client(HTTP, woocommerce_version="8.2.1") as shop:
        await shop.post("/sandbox/settings", json={"decimals": 3, "currency": "KWD", "prices_include_tax": True})
        store = (await shop.get(path)).json()["store"]

    assert (store["wc_version"], store["URL"]) == ("8.2.1", HTTP)
    meta = store["meta"]
    assert (meta["currency"], meta["price_num_decimals"], meta["tax_included"]) == ("KWD", 3, True)


async def test_an_order_can_be_read_with_more_decimals_and_fewer_fields(shop: httpx.AsyncClient) -> None:
    order = await make_order(shop, lines=[{"price": "19.99", "quantity": 2}], coupon_percent="10")
    query = {"filter[dp]": "4", "fields": "id,total,line_items,payment_details.paid,tax_lines.id"}

    shown = (await shop.get(f"{LEGACY}/orders/{order['id']}", params=query)).json()["order"]

    assert list(shown) == ["id", "total", "payment_details", "line_items", "tax_lines"]
    assert (shown["payment_details"], shown["tax_lines"]) == ({"paid": True}, [])
    (line,) = shown["line_items"]
    assert (line["subtotal"], line["total"], line["price"], line["sku"]) == ("39.9800", "35.9800", "17.9900", None)


async def test_an_order_shows_its_coupon_and_its_lines_meta_on_demand(shop: httpx.AsyncClient) -> None:
    order = await make_order(shop, lines=[{"product_id": 10, "quantity": 2}], coupon_percent="10")
    path = f"{LEGACY}/orders/{order['id']}"

    plain, full = [
        (await shop.get(path, params=query)).json()["order"] for query in ({}, {"filter[all_item_meta]": "true"})
    ]

    assert [(one["code"], one["amount"]) for one in plain["coupon_lines"]] == [("off10", "1.80")]
    assert plain["line_items"][0]["meta"] == []
    assert [(one["key"], one["value"]) for one in full["line_items"][0]["meta"]] == [("_reduced_stock", "2")]


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/orders/99999999", "woocommerce_api_no_order_found"),
        ("/orders/0", "woocommerce_api_invalid_order_id"),
        ("/orders/10", "woocommerce_api_invalid_order"),
        ("/orders/99999999/notes", "woocommerce_api_no_order_found"),
        ("/customers", "woocommerce_api_no_route"),
    ],
)
async def test_what_is_no_order_is_404(shop: httpx.AsyncClient, path: str, code: str) -> None:
    assert refusal(await shop.get(LEGACY + path))[:2] == (404, code)


@pytest.mark.parametrize("version", ["v1", "v2"])
async def test_only_the_third_version_is_served(shop: httpx.AsyncClient, version: str) -> None:
    assert refusal(await shop.get(f"/wc-api/{version}/orders"))[:2] == (404, "woocommerce_api_no_route")


async def test_a_list_has_totals_and_links_without_the_port(shop: httpx.AsyncClient) -> None:
    ids = [(await make_order(shop))["id"] for _ in range(5)]
    query = {"filter[limit]": "2", "page": "2", "fields": "id"}

    second = await shop.get(f"{LEGACY}/orders", params=query)
    beyond = await shop.get(f"{LEGACY}/orders", params={**query, "page": "9"})
    every = await shop.get(f"{LEGACY}/orders", params={**query, "filter[limit]": "-1"})

    assert [one["id"] for one in second.json()["orders"]] == [ids[2], ids[1]]
    assert (second.headers["X-WC-Total"], second.headers["X-WC-TotalPages"]) == ("5", "3")
    base = f"<http://127.0.0.1{LEGACY}/orders?filter[limit]=2&fields=id&page="
    relations = (("first", 1), ("prev", 1), ("next", 3), ("last", 3))
    assert second.headers["Link"] == ", ".join(f'{base}{page}>; rel="{relation}"' for relation, page in relations)
    assert (beyond.json(), beyond.headers["X-WC-Total"]) == ({"orders": []}, "0")
    assert (len(every.json()["orders"]), every.headers["X-WC-TotalPages"]) == (5, "0")


async def test_a_list_can_be_narrowed(shop: httpx.AsyncClient) -> None:
    order, other = await make_order(shop), await make_order(shop, status="on-hold", set_paid=False)
    created = (await shop.get(f"{LEGACY}/orders/{order['id']}")).json()["order"]["created_at"]

    async def found(**query: str) -> list[int]:
        answer = await shop.get(f"{LEGACY}/orders", params={"filter[order]": "asc", **query})
        return [one["id"] for one in answer.json()["orders"]]

    both = [order["id"], other["id"]]
    assert await found(status="on-hold") == [other["id"]]
    assert await found(status="on-hold,processing") == both
    assert await found(status="any") == []
    assert await found(**{"filter[created_at_min]": created}) == both
    assert await found(**{"filter[updated_at_min]": "2100-01-01T00:00:00Z"}) == []
    assert await found(**{"filter[created_at_max]": "2020-01-01"}) == []
    assert await found(**{"filter[created_at_min]": "whenever"}) == both
    assert await found(**{"filter[in]": str(order["id"])}) == [order["id"]]
    assert await found(**{"filter[not_in]": str(order["id"])}) == [other["id"]]
    assert await found(**{"filter[offset]": "1"}) == [other["id"]]


async def test_notes_are_newest_first_with_ids_as_text(shop: httpx.AsyncClient) -> None:
    order = await make_order(shop)
    await refund(shop, order["id"], "3.00")

    notes = (await shop.get(f"{LEGACY}/orders/{order['id']}/notes")).json()["order_notes"]

    assert [list(note) for note in notes] == [["id", "created_at", "note", "customer_note"]] * len(notes)
    assert notes[0]["note"].startswith("Refunded 3.00 EUR")
    assert [int(note["id"]) for note in notes] == sorted((int(note["id"]) for note in notes), reverse=True)
    assert isinstance(notes[0]["id"], str)


async def test_head_has_the_headers_only(shop: httpx.AsyncClient) -> None:
    await make_order(shop)

    answer = await shop.head(f"{LEGACY}/orders")

    assert (answer.status_code, answer.headers["X-WC-Total"], answer.content) == (200, "1", b"")


async def test_over_https_the_query_comes_before_the_header_and_oauth_is_not_tried() -> None:
    right, wrong = dict(zip(("consumer_key", "consumer_secret"), READ_WRITE, strict=True)), ("ck_sandbox_rw", "cs_no")
    async with client() as shop:
        by_query = await shop.get(f"{LEGACY}/orders", params=right, auth=httpx.BasicAuth(*wrong))
        by_wrong_query = await shop.get(
            f"{LEGACY}/orders", params={**right, "consumer_secret": "cs_no"}, auth=httpx.BasicAuth(*READ_WRITE)
        )
        by_oauth = await shop.get(f"{LEGACY}/orders", params=signed())

    assert by_query.status_code == 200
    assert refusal(by_wrong_query) == (401, AUTHENTICATION, "Consumer secret is invalid.")
    assert "WWW-Authenticate" not in by_wrong_query.headers
    assert refusal(by_oauth) == (401, AUTHENTICATION, "Consumer Secret is invalid.")
    assert by_oauth.headers["WWW-Authenticate"].startswith("Basic realm=")


async def test_over_http_basic_and_query_credentials_are_missing_oauth_parameters() -> None:
    async with client(HTTP) as shop:
        basic = await shop.get(f"{LEGACY}/orders", auth=httpx.BasicAuth(*READ_WRITE))
        partly = await shop.get(f"{LEGACY}/orders", params={"oauth_consumer_key": "ck_sandbox_rw"})

    assert refusal(basic) == (404, AUTHENTICATION, "oauth_consumer_key parameter is missing")
    assert refusal(partly) == (404, AUTHENTICATION, "oauth_timestamp parameter is missing")


async def test_over_http_a_signature_in_the_header_does_not_count() -> None:
    header = "OAuth " + ", ".join(f'{name}="{value}"' for name, value in signed().items())
    async with client(HTTP) as shop:
        answer = await shop.get(f"{LEGACY}/orders", headers={"Authorization": header})

    assert answer.status_code == 404


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (signed(oauth_consumer_key="ck_unknown"), "Consumer key is invalid."),
        ({**signed(), "page": "2"}, "Invalid signature - provided signature does not match."),
        ({**signed(), "oauth_signature_method": "PLAINTEXT"}, "Invalid signature - signature method is invalid."),
        (signed(oauth_timestamp=str(int(time.time()) - 901)), "Invalid timestamp."),
    ],
)
async def test_a_bad_signature_is_401_with_its_reason(query: dict[str, str], message: str) -> None:
    async with client(HTTP) as shop:
        assert refusal(await shop.get(f"{LEGACY}/orders", params=query)) == (401, AUTHENTICATION, message)


async def test_a_nonce_works_once_in_either_api() -> None:
    async with client(HTTP) as shop:
        first = await shop.get(f"{LEGACY}/orders", params=signed())
        second = await shop.get("/wp-json/wc/v3/orders", params=signed(path="/wp-json/wc/v3/orders"))

    assert first.status_code == 200
    assert second.json()["message"] == "Invalid nonce - nonce has already been used."


async def test_a_signature_counts_for_the_method_that_is_meant() -> None:
    path = f"{LEGACY}/orders"
    async with client(HTTP) as shop:
        meant = await shop.post(path, params=signed("GET", _method="GET"))
        sent = await shop.post(path, params=signed("POST", _method="GET", oauth_nonce="other"))

    assert (meant.status_code, sent.status_code) == (200, 401)


async def test_the_public_client_library_signs_as_the_legacy_api_expects() -> None:
    oauth = OAuth(
        url=f"{HTTP}{LEGACY}/orders?filter[limit]=5&status=a b",
        consumer_key="ck_sandbox_rw",
        consumer_secret="cs_sandbox_rw",
        version="v3",
        method="GET",
        oauth_timestamp=int(time.time()),
    )
    url = oauth.get_oauth_url()
    async with client(HTTP) as shop:
        answer = await shop.get(url)

    assert dict(parse_qsl(urlsplit(url).query))["filter[limit]"] == "5"
    assert answer.status_code == 200, answer.text


async def test_a_key_may_do_what_it_was_made_for() -> None:
    reading = httpx.BasicAuth(*READ_ONLY)
    async with client() as shop:
        assert (await shop.get(f"{LEGACY}/orders", auth=reading)).status_code == 200
        answer = await shop.delete(f"{LEGACY}/orders/1/refunds/1", auth=reading)

    assert refusal(answer) == (401, AUTHENTICATION, "The API key provided does not have write permissions.")


async def test_an_unheard_of_method_is_400(shop: httpx.AsyncClient) -> None:
    answer = await shop.options(f"{LEGACY}/orders")

    assert refusal(answer)[:2] == (400, "woocommerce_api_unsupported_method")
