"""Requests that no WooCommerce client sends: they are refused in its shape, byte by byte as they come."""

import asyncio
from itertools import product
from typing import Any
from urllib.parse import urlsplit

import pytest

from app.front.answers import fit
from app.front.values import number, part_amount
from app.stores.reading import exact
from tests.front.conftest import Front


async def raw(front: Front, target: bytes, *headers: bytes, method: bytes = b"GET", body: bytes = b"") -> bytes:
    """Send a request as it stands and give the whole answer."""
    at = urlsplit(front.url)
    assert at.hostname is not None
    reader, writer = await asyncio.open_connection(at.hostname, at.port)
    own = [b"Host: gateway.example", b"Connection: close", b"Content-Length: %d" % len(body)]
    writer.write(b"\r\n".join([method + b" " + target + b" HTTP/1.1", *own, *headers, b"", body]))
    async with asyncio.timeout(5):
        answer = await reader.read()
    writer.close()
    return answer


async def test_a_name_that_no_store_can_have_is_repeated_nowhere(front_of_v3: Front) -> None:
    names = (b"%E2%82%AC", b"x%0d%0aSet-Cookie:%20evil=1%0d%0aX:%20", b"Demo", b"%00", b"a%3E%22")
    paths = (b"wp-json/wc/v3/orders/1/refunds", b"wp-json", b"wc-api/v3/orders/1/refunds")

    for name, path, method in product(names, paths, (b"GET", b"OPTIONS", b"POST")):
        answer = await raw(front_of_v3, b"/stores/%b/%b" % (name, path), method=method)

        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 404"), (name, path, method)
        assert b"_no_route" in body
        assert b"cookie" not in head.lower()
        assert b"\r\nlink:" not in head.lower()


def test_nothing_in_a_header_can_end_it() -> None:
    given = {"Link": "<https://shöp.example/€\r\nSet-Cookie: x=1>", "Other": 'a\tb "c"\x7f\ud800'}

    assert fit(given) == {"Link": "<https://shöp.example/%E2%82%AC%0D%0ASet-Cookie: x=1>", "Other": 'a\tb "c"%7F%3F'}


async def test_credentials_in_no_alphabet_are_a_strangers(front_of_v3: Front) -> None:
    path = b"/stores/demo/wp-json/wc/v3/orders/1/refunds"

    for credentials in (b"Basic \xe9\xe9", b"Basic a", b"Basic =", b"Basic \xff", b"basic"):
        answer = await raw(front_of_v3, path, b"X-Forwarded-Proto: https", b"Authorization: " + credentials)

        assert answer.startswith(b"HTTP/1.1 401"), credentials
        assert b"woocommerce_rest_cannot_view" in answer


async def test_a_number_that_cannot_be_written_out_makes_a_body_unreadable(
    front_of_v3: Front, order: dict[str, Any]
) -> None:
    path, headers = f"orders/{order['id']}/refunds", {"Content-Type": "application/json"}

    for literal in ("1e99999999999999999999", "1e999999999", "0e-999999999999", "-1E-99999", "0e2000"):
        refund = f'{{"amount": {literal}, "line_items": [{{"id": 1, "refund_total": {literal}}}]}}'
        v3 = await front_of_v3.client.post(path, content=refund, headers=headers)
        legacy = await front_of_v3.legacy.post(path, content=f'{{"order_refund": {refund}}}', headers=headers)

        for answer in (v3, legacy):
            assert answer.status_code == 400, literal
            assert "too long" in answer.text
    assert await front_of_v3.paid(order) == []


@pytest.mark.parametrize(
    ("literal", "read"),
    [
        ("8.333333333333334", "8.333333333333334"),
        ("1E2", "100"),
        ("0e-300", "0"),
        ("0.0", "0"),
        ("1e14", "100000000000000"),
        ("1e15", None),
        ("1e-30", "0." + "0" * 29 + "1"),
        ("1e-31", None),
        ("1." + "0" * 31, None),
        ("1e400", None),
    ],
)
def test_a_number_of_a_request_has_few_enough_digits_to_be_written_out(literal: str, read: str | None) -> None:
    found = number(exact(literal))

    assert (None if found is None else format(found, "f")) == read


def test_a_part_of_a_line_may_be_nothing_however_it_is_written() -> None:
    assert part_amount(exact("0e-1400")) == 0
    assert part_amount(10**4000) is None


@pytest.mark.parametrize(
    "query",
    [
        "reason=a%00b",
        "meta_data[0][key]=a&meta_data[0][value]=b%00",
        "meta_data[0][key]=a%00&meta_data[0][value]=b",
        "x%00=1",
    ],
)
async def test_a_nul_in_a_query_is_refused_as_in_a_body(front_of_v3: Front, order: dict[str, Any], query: str) -> None:
    path = f"orders/{order['id']}/refunds"

    created = await front_of_v3.client.post(f"{path}?{query}", json={"amount": "1.00"})
    legacy = await front_of_v3.legacy.post(f"{path}?{query}", json={"order_refund": {"amount": "1.00"}})
    listed = await front_of_v3.client.get(f"{path}?{query}")
    by_form = await front_of_v3.client.post(path, data={"amount": "1.00", "reason": "a\0b"})

    for answer in (created, listed, by_form):
        assert (answer.status_code, answer.json()["code"]) == (400, "rest_invalid_json")
        assert "NUL" in answer.json()["message"]
    assert legacy.status_code == 400
    assert await front_of_v3.paid(order) == []


async def test_half_a_surrogate_pair_in_a_query_is_no_text_of_anybodys(
    front_of_v3: Front, order: dict[str, Any]
) -> None:
    answer = await front_of_v3.client.post(f"orders/{order['id']}/refunds?reason=a%ED%A0%80b", json={"amount": "1.00"})

    assert answer.status_code == 201
    assert answer.json()["reason"] == "a\ufffd\ufffd\ufffdb"


@pytest.mark.parametrize(
    "query",
    [
        "before=9999-12-31T23:59:59.5Z",
        "modified_before=9999-12-31T23:59:59.9%2B00:00",
        "before=9999-12-31T23:59:59.9&after=2020-01-01T00:00:00Z",
        "after=0001-01-01T00:00:00",
        "after=0001-01-01T00:00:00&dates_are_gmt=true",
    ],
)
@pytest.mark.parametrize("path", ["refunds", "orders/{}/refunds"])
async def test_the_ends_of_time_are_bounds_like_others(
    front_of_v3: Front, order: dict[str, Any], path: str, query: str
) -> None:
    assert (await front_of_v3.refund(order, amount="1.00")).status_code == 201

    answer = await front_of_v3.client.get(f"{path.format(order['id'])}?{query}")

    assert (answer.status_code, [row["amount"] for row in answer.json()]) == (200, ["1.00"])
