"""Credentials work where a real store takes them, and nowhere else."""

import time
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
from woocommerce.oauth import OAuth

from app.sandbox.main import create_app
from tests.sandbox.conftest import READ_ONLY, READ_WRITE
from tests.sandbox.replay import sign

HTTP, HTTPS = "http://shop.test", "https://shop.test"
ORDERS = "/wp-json/wc/v3/orders"


def client(base_url: str = HTTP, **options: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(create_app(seed=False, **options)), base_url=base_url)


def signed(url: str = HTTP + ORDERS, method: str = "GET", **changes: str) -> dict[str, str]:
    """Return the query of a signed request; changes are made before signing."""
    params = {
        "oauth_consumer_key": "ck_sandbox_rw",
        "oauth_timestamp": str(int(time.time())),
        "oauth_nonce": "nonce",
        "oauth_signature_method": "HMAC-SHA256",
        **changes,
    }
    return {**params, "oauth_signature": sign(method, url, params, "cs_sandbox_rw")}


async def refusal(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json().get("message", "")


@pytest.mark.parametrize(
    ("base_url", "options", "status"), [(HTTP, {}, 401), (HTTP, {"assume_https": True}, 200), (HTTPS, {}, 200)]
)
async def test_basic_and_query_credentials_want_https(base_url: str, options: dict[str, bool], status: int) -> None:
    async with client(base_url, **options) as shop:
        basic = await shop.get(ORDERS, auth=httpx.BasicAuth(*READ_WRITE))
        query = await shop.get(ORDERS, params=dict(zip(("consumer_key", "consumer_secret"), READ_WRITE, strict=True)))

    assert (basic.status_code, query.status_code) == (status, status)


async def test_the_public_client_library_signs_as_the_sandbox_expects() -> None:
    oauth = OAuth(
        url=f"{HTTP}{ORDERS}?per_page=5&search=a b",
        consumer_key="ck_sandbox_rw",
        consumer_secret="cs_sandbox_rw",
        version="wc/v3",
        method="GET",
        oauth_timestamp=int(time.time()),
    )
    url = oauth.get_oauth_url()
    async with client() as shop:
        answer = await shop.get(url)

    assert dict(parse_qsl(urlsplit(url).query))["search"] == "a b"
    assert answer.status_code == 200, answer.text


async def test_a_signature_counts_for_the_public_url() -> None:
    async with client(public_url="http://www.shop.example") as shop:
        for_public = await shop.get(ORDERS, params=signed(f"http://www.shop.example{ORDERS}"))
        for_host = await shop.get(ORDERS, params=signed(oauth_nonce="other"))

    assert (for_public.status_code, for_host.status_code) == (200, 401)


async def test_a_signature_may_come_in_the_header() -> None:
    header = "OAuth " + ", ".join(f'{name}="{httpx.QueryParams({"v": value})!s}"' for name, value in signed().items())
    async with client() as shop:
        answer = await shop.get(ORDERS, headers={"Authorization": header.replace('"v=', '"')})

    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (signed(oauth_consumer_key="ck_unknown"), "Consumer key is invalid."),
        ({**signed(), "per_page": "1"}, "Invalid signature - provided signature does not match."),
        (
            {**signed(), "oauth_signature_method": "PLAINTEXT"},
            "Invalid signature - signature method is invalid.",
        ),
        (
            {name: value for name, value in signed().items() if name not in {"oauth_nonce", "oauth_signature"}},
            "Missing OAuth parameters oauth_nonce, oauth_signature",
        ),
    ],
)
async def test_a_bad_signature_is_refused_with_its_reason(query: dict[str, str], message: str) -> None:
    async with client() as shop:
        assert await refusal(await shop.get(ORDERS, params=query)) == (401, message)


@pytest.mark.parametrize("off_by_s", [-901, 1000])
async def test_a_timestamp_of_another_time_is_refused(off_by_s: int) -> None:
    query = signed(oauth_timestamp=str(int(time.time()) + off_by_s))
    async with client() as shop:
        assert await refusal(await shop.get(ORDERS, params=query)) == (401, "Invalid timestamp.")


async def test_a_nonce_works_once() -> None:
    query = signed()
    async with client() as shop:
        assert (await shop.get(ORDERS, params=query)).status_code == 200
        assert await refusal(await shop.get(ORDERS, params=query)) == (
            401,
            "Invalid nonce - nonce has already been used.",
        )


async def test_a_key_may_do_what_it_was_made_for() -> None:
    async with client(HTTPS) as shop:
        reading = httpx.BasicAuth(*READ_ONLY)
        assert (await shop.get(ORDERS, auth=reading)).status_code == 200
        assert await refusal(await shop.post(ORDERS, auth=reading, json={})) == (
            401,
            "The API key provided does not have write permissions.",
        )


@pytest.mark.parametrize("header", ["Basic ???", "Basic Y2s=", "Bearer x", "Basic /w=="])
async def test_an_unreadable_header_is_no_credential(header: str) -> None:
    async with client(HTTPS) as shop:
        answer = await shop.get(ORDERS, headers={"Authorization": header})

    assert (answer.status_code, answer.json()["code"]) == (401, "woocommerce_rest_cannot_view")


@pytest.mark.parametrize(
    ("method", "code"),
    [
        ("GET", "woocommerce_rest_cannot_view"),
        ("PUT", "woocommerce_rest_cannot_edit"),
        ("DELETE", "woocommerce_rest_cannot_delete"),
    ],
)
async def test_nobody_may_do_nothing(method: str, code: str) -> None:
    async with client(HTTPS) as shop:
        answer = await shop.request(method, f"{ORDERS}/1")

    assert (answer.status_code, answer.json()["code"]) == (401, code)
