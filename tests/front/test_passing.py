"""What else can be read through the front: only what a key's setting names, and never a secret."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from app.flows.runtime import Runtime
from app.front.secrets import without_gateway_secrets, without_setting_secrets
from app.ledger.tenants import FrontOptions
from tests.conftest import Sandbox, add_shop, serving
from tests.front.conftest import Front, Key, opened

ALL = FrontOptions(reads=frozenset({"orders", "products", "customers", "payment_gateways", "settings"}))
GATEWAYS = [
    {
        "id": "stripe",
        "title": "Card",
        "enabled": True,
        "method_supports": ["products", "refunds"],
        "connection_token": "acct_SECRET",
        "settings": {
            "title": {"id": "title", "label": "Title", "type": "text", "value": "Card", "default": "Card"},
            "testmode": {"id": "testmode", "type": "checkbox", "value": "yes", "default": "no"},
            "secret_key": {
                "id": "secret_key",
                "label": "Secret key",
                "description": "The secret of your account",
                "type": "password",
                "value": "sk_live_SECRET",
                "default": "",
            },
            "merchant": {"id": "merchant", "type": "text", "value": "M-SECRET", "default": ""},
            "webhook": {"id": "webhook", "type": "select", "value": "whsec_SECRET"},
            "untyped": {"value": "SECRET"},
        },
        "_links": {"self": [{"href": "https://shop.example/wp-json/wc/v3/payment_gateways/stripe"}]},
    }
]


@pytest.fixture
async def reader(front_of_v3: Front) -> Key:
    """Give a key that may read everything that can be read."""
    return await front_of_v3.other_key(options=ALL)


@pytest.mark.parametrize(
    "path",
    [
        "orders",
        "orders/{order}",
        "orders/{order}/notes",
        "orders?per_page=1&status=processing",
        "products",
        "customers",
        "payment_gateways",
        "payment_gateways/cod?_fields=id,method_supports",
        "settings/general/woocommerce_currency",
    ],
)
async def test_a_read_is_passed_through_where_the_key_allows_it(
    front_of_v3: Front, reader: Key, order: dict[str, Any], path: str
) -> None:
    path = path.format(order=order["id"])

    allowed = await front_of_v3.client.get(path, auth=reader.auth)
    refused = await front_of_v3.client.get(path)

    assert allowed.status_code == 200, allowed.text
    assert allowed.json()
    assert (refused.status_code, refused.json()["code"]) == (403, "refund_gateway_not_passed_on")
    assert refused.json()["data"]["refund_gateway"]["setting"] == "front.reads"


async def test_each_resource_needs_its_scope_besides(front_of_v3: Front) -> None:
    orders_only = await front_of_v3.other_key("orders:read", options=ALL)

    answers = {
        path: (await front_of_v3.client.get(path, auth=orders_only.auth)).status_code
        for path in ("orders", "products", "customers", "payment_gateways", "settings/general")
    }

    assert answers == {
        "orders": 200,
        "products": 200,
        "customers": 200,
        "payment_gateways": 403,
        "settings/general": 403,
    }


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "orders"),
        ("PUT", "orders/1"),
        ("DELETE", "orders/1"),
        ("POST", "orders/batch"),
        ("POST", "orders/1/notes"),
        ("PUT", "payment_gateways/cod"),
        ("POST", "settings/general/batch"),
        ("POST", "webhooks"),
        ("PATCH", "products/1"),
    ],
)
async def test_nothing_but_refunds_is_written(front_of_v3: Front, reader: Key, method: str, path: str) -> None:
    answer = await front_of_v3.client.request(method, path, auth=reader.auth, json={"status": "refunded"})

    assert (answer.status_code, answer.json()["code"]) == (403, "refund_gateway_read_only")
    assert "refunds" in answer.json()["message"]


async def test_the_legacy_api_says_the_same(front_of_legacy: Front, order: dict[str, Any]) -> None:
    reader = await front_of_legacy.other_key(options=ALL)

    read = await front_of_legacy.legacy.get(f"orders/{order['id']}", auth=reader.auth)
    written = await front_of_legacy.legacy.put(f"orders/{order['id']}", auth=reader.auth, json={"order": {}})
    other = await front_of_legacy.client.get(f"orders/{order['id']}", auth=reader.auth)

    assert (read.status_code, read.json()["order"]["id"]) == (200, order["id"])
    assert (written.status_code, written.json()["errors"][0]["code"]) == (403, "refund_gateway_read_only")
    assert (other.status_code, other.json()["code"]) == (404, "refund_gateway_not_on_this_store")


@pytest.mark.parametrize(
    "path",
    [
        "coupons",
        "system_status",
        "webhooks",
        "data/currencies",
        "orders/%2e%2e/customers",
        "orders/1/..%2fsettings",
        "orders/1%3Fx=1",
        "orders/x/refunds",
        "orders/1/Refunds",
        "orders/1/REFUNDS/2",
        "orders/1/%52efunds",
        "orders/1/%2552efunds",
        "orders/1/refund%53/",
        "orders/1/refunds/2/3",
        "orders//1",
        "orders/.htaccess",
    ],
)
async def test_no_other_way_leads_anywhere(front_of_v3: Front, path: str) -> None:
    orders_only = await front_of_v3.other_key(options=FrontOptions(reads=frozenset({"orders"})))
    url = f"{front_of_v3.site}/wp-json/wc/v3/{path}"

    # As it stands, without any encoding of httpx's own.
    request = httpx.Request("GET", httpx.URL(url).copy_with(raw_path=f"/stores/demo/wp-json/wc/v3/{path}".encode()))
    request.headers["X-Forwarded-Proto"] = "https"
    answer = await front_of_v3.client.send(request, auth=orders_only.auth)

    assert (answer.status_code, answer.json()["code"]) == (404, "rest_no_route")


@pytest.fixture
async def odd(rt: Runtime, sandbox: Sandbox) -> AsyncIterator[Front]:
    """Give a front before a store that says what no store should."""

    async def gateways(request: Request) -> Response:
        return JSONResponse(GATEWAYS if "_fields" not in request.query_params else "hidden")

    async def orders(request: Request) -> Response:
        async def pieces() -> AsyncIterator[bytes]:
            yield b'[{"id": 1}, '
            await asyncio.sleep(0.05)
            if request.query_params.get("search") == "broken":
                raise ConnectionResetError
            yield json.dumps(dict(request.query_params)).encode() + b"]"

        links = (
            f'<https://shop.example/wp-json/wc/v3/orders?consumer_secret=cs_x&{request.url.query}&page=2>; rel="next", '
            '<https://shop.example/wp-json/>; rel="https://api.w.org/"'
        )
        headers = {"Link": links, "Set-Cookie": "session=1", "X-WP-Total": "2", "Server": "shop", "X-Powered-By": "PHP"}
        answer = StreamingResponse(pieces(), media_type="application/json", headers=headers)
        answer.raw_headers.append((b"allow", "GET, €".encode()))
        return answer

    async def deep(_request: Request) -> Response:
        return Response("[" * 900 + "]" * 900, media_type="application/json")

    async def html(_request: Request) -> Response:
        return HTMLResponse("<b>sk_live_SECRET</b>")

    async def moved(_request: Request) -> Response:
        return Response(status_code=302, headers={"Location": "https://shop.example/login"})

    root = "/wp-json/wc/v3"
    app = Starlette(
        routes=[
            Route(f"{root}/payment_gateways", gateways),
            Route(f"{root}/payment_gateways/html", html),
            Route(f"{root}/payment_gateways/deep", deep),
            Route(f"{root}/orders", orders),
            Route(f"{root}/products", moved),
        ]
    )
    async with serving(app) as url, opened(rt, await add_shop(rt, url), sandbox) as running:
        yield running


@pytest.mark.parametrize(
    "query",
    ["", "?_fields=settings", "?_fields=settings.secret_key.value", "?_envelope=1&_jsonp=x", "?_fields[]=settings"],
)
async def test_a_gateways_secrets_stay_in_the_store_whatever_is_asked_for(odd: Front, query: str) -> None:
    reader = await odd.other_key(options=ALL)

    answer = await odd.client.get(f"payment_gateways{query}", auth=reader.auth)

    assert answer.status_code == 200
    assert "SECRET" not in answer.text
    assert answer.headers["Refund-Gateway-Removed"] == "secrets"
    if not query:
        (gateway,) = answer.json()
        assert gateway["method_supports"] == ["products", "refunds"]
        assert gateway["settings"]["title"]["value"] == "Card"
        assert gateway["settings"]["testmode"]["value"] == "yes"
        assert gateway["settings"]["secret_key"]["description"] == "The secret of your account"
        assert gateway["_links"]["self"][0]["href"].startswith("https://127.0.0.1:")


@pytest.mark.parametrize("what", ["html", "deep"])
async def test_what_cannot_be_searched_for_secrets_is_kept_back(odd: Front, what: str) -> None:
    reader = await odd.other_key(options=ALL)

    answer = await odd.client.get(f"payment_gateways/{what}", auth=reader.auth)

    assert (answer.status_code, answer.json()["code"]) == (503, "refund_gateway_store_unavailable")
    assert "SECRET" not in answer.text


async def test_a_passed_answer_keeps_its_headers_of_substance_alone(odd: Front) -> None:
    reader = await odd.other_key(options=ALL)
    secrets = {"consumer_key": "ck_x", "consumer_secret": "cs_x"}

    answer = await odd.client.get("orders", params={"per_page": 1, **secrets, "_method": "DELETE"}, auth=reader.auth)
    signed_in = await odd.client.get("orders", params={"per_page": 1, "include[]": [1, 2]}, auth=reader.auth)

    assert answer.status_code in (401, 405)  # those are no credentials of this key
    assert signed_in.json()[0] == {"id": 1}
    assert signed_in.json()[1]["per_page"] == "1"
    assert "set-cookie" not in signed_in.headers
    assert "x-powered-by" not in signed_in.headers
    assert signed_in.headers["X-WP-Total"] == "2"
    assert signed_in.headers["Allow"] == "GET, %E2%82%AC"
    assert "cs_" not in signed_in.headers["Link"]
    assert "oauth_" not in signed_in.headers["Link"]
    assert "shop.example" not in signed_in.headers["Link"]
    assert "/stores/demo/wp-json/wc/v3/orders?" in signed_in.headers["Link"]


async def test_an_answer_that_breaks_off_breaks_off_here_too(odd: Front) -> None:
    reader = await odd.other_key(options=ALL)

    with pytest.raises(httpx.RemoteProtocolError):
        await odd.client.get("orders?search=broken", auth=reader.auth)


async def test_a_redirect_is_no_answer(odd: Front) -> None:
    reader = await odd.other_key(options=ALL)

    answer = await odd.client.get("products", auth=reader.auth)

    assert (answer.status_code, answer.json()["code"]) == (502, "refund_gateway_store_misconfigured")
    assert "Location" not in answer.headers


def test_settings_keep_choices_and_what_every_visitor_sees_and_nothing_that_was_typed_in() -> None:
    settings = [
        {"id": "woocommerce_currency", "type": "select", "value": "EUR", "options": {"EUR": "Euro"}},
        {"id": "woocommerce_price_num_decimals", "type": "number", "value": "2", "default": "2"},
        {"id": "woocommerce_calc_taxes", "type": "checkbox", "value": "yes"},
        {"id": "woocommerce_price_decimal_sep", "type": "text", "value": ","},
        {"id": "shop_image", "type": "image_width", "value": {"width": "300", "crop": True, "token": "SECRET"}},
        {"id": "smtp", "type": "password", "value": "SECRET", "default": "SECRET"},
        {"id": "maxmind_license_key", "type": "select", "value": "SECRET"},
        {"id": "woocommerce_store_address", "type": "text", "value": "SECRET", "label": "Address", "tip": "Token"},
        {"id": "x", "type": "text", "value": {"name": "SECRET"}, "stored_as": "SECRET"},
        {"id": "untyped", "value": "SECRET"},
        {"id": "odd", "type": ["text"], "value": "SECRET"},
    ]

    cleaned = without_setting_secrets(settings)

    assert "SECRET" not in json.dumps(cleaned)
    assert cleaned[:4] == settings[:4]
    assert cleaned[4]["value"] == {"width": "300", "crop": True, "token": ""}
    assert (cleaned[7]["value"], cleaned[7]["label"], cleaned[7]["tip"]) == ("", "Address", "Token")


@pytest.mark.parametrize(
    "known_as",
    [
        "woocommerce_shipstation_auth_key",
        "woocommerce_stripe_sk",
        "smtp_pass",
        "merchant_pin",
        "encryption_key",
        "woocommerce_paypal_client_id",
        "woocommerce_stock_email_recipient",
    ],
)
@pytest.mark.parametrize("kind", ["text", "textarea", "email", "password", "safe_text", ""])
def test_no_text_that_was_typed_in_is_shown_whatever_its_name(known_as: str, kind: str) -> None:
    setting = {"id": known_as, "type": kind, "value": "SECRET", "default": "SECRET"}

    assert without_setting_secrets([setting]) == [setting | {"value": "", "default": ""}]
    assert without_gateway_secrets({"settings": {known_as: setting}}) == {
        "settings": {known_as: setting | {"value": "", "default": ""}}
    }


def test_settings_in_no_known_form_are_blanked() -> None:
    gateway = {"id": "x", "settings": {"merchant": "SECRET", "deep": {"merchant": "SECRET"}, "list": ["SECRET"]}}

    assert without_gateway_secrets([gateway, {"settings": ["SECRET"]}]) == [
        {"id": "x", "settings": {"merchant": "", "deep": "", "list": ""}},
        {"settings": []},
    ]


def test_a_document_without_settings_stays_as_it_is() -> None:
    document = [{"id": "cod", "method_supports": ["products"], "order": 1, "enabled": True, "settings": {}}]

    assert without_gateway_secrets(document) == document
