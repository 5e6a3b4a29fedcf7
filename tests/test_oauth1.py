"""OAuth 1.0a as WooCommerce verifies it."""

import base64
import hashlib
import hmac
import json
from pathlib import Path
from urllib.parse import quote

import pytest

from app.oauth1 import base_string, is_signed, signed

RECORDINGS = Path(__file__).parent / "recordings"
URL = "http://127.0.0.1:8088/wp-json/wc/v3/orders"


def test_the_base_string_follows_the_rules_that_woocommerce_checks() -> None:
    text = base_string("post", URL, {"b": "reason 3", "include[0]": "177", "a~": "ü&=+", "oauth_signature": "x"})
    assert text == (
        "POST&http%3A%2F%2F127.0.0.1%3A8088%2Fwp-json%2Fwc%2Fv3%2Forders&"
        "a~%3D%25C3%25BC%2526%253D%252B%26b%3Dreason%25203%26include%255B0%255D%3D177"
    )


def test_parameters_are_sorted_by_their_raw_names() -> None:
    # "[" is 0x5B and sorts before letters in lower case; encoded as "%5B" it would sort before digits too.
    assert base_string("GET", URL, {"a[b": "1", "a1": "2", "aB": "3"}).endswith("a1%3D2%26aB%3D3%26a%255Bb%3D1")


def test_the_signature_is_keyed_with_the_secret_and_an_empty_token() -> None:
    params = signed("GET", URL, {"dp": "8"}, consumer_key="ck", consumer_secret="cs", nonce="n", timestamp=1795227801)
    signature = params.pop("oauth_signature")
    expected = hmac.new(b"cs&", base_string("GET", URL, params).encode(), hashlib.sha256).digest()
    assert base64.b64decode(signature) == expected
    assert params == {
        "dp": "8",
        "oauth_consumer_key": "ck",
        "oauth_nonce": "n",
        "oauth_signature_method": "HMAC-SHA256",
        "oauth_timestamp": "1795227801",
    }


@pytest.mark.parametrize("name", ["oauth1 sha256 get", "oauth1 get with array and space", "oauth1 post"])
def test_the_parameters_are_those_that_a_real_store_accepted(name: str) -> None:
    exchanges = json.loads((RECORDINGS / "authentication.json").read_text())
    (query,) = [exchange["request"]["query"] for exchange in exchanges if exchange["name"] == name]
    own = {key: value for key, value in query.items() if not key.startswith("oauth_")}
    params = signed(
        "GET", URL, own, consumer_key=query["oauth_consumer_key"], consumer_secret="cs", nonce="n", timestamp=1
    )
    assert params.keys() == query.keys()
    assert params["oauth_signature_method"] == query["oauth_signature_method"]
    assert len(params["oauth_signature"]) == len(query["oauth_signature"])


def _is_signed(pairs: list[tuple[str, str]], *, as_php: list[tuple[str, str]] | None = None, **other: str) -> bool:
    given = dict(pairs)
    return is_signed(
        **{
            "method": "GET",
            "url": URL,
            "signature": given["oauth_signature"],
            "signature_method": "HMAC-SHA256",
            "consumer_secret": "cs",
            **other,
        },
        as_php=pairs if as_php is None else as_php,
        as_sent=pairs,
    )


def _signed(**params: str) -> list[tuple[str, str]]:
    return list(signed("GET", URL, params, consumer_key="ck", consumer_secret="cs", nonce="n", timestamp=1).items())


def test_what_is_signed_for_a_store_is_verified_here() -> None:
    pairs = _signed(b="ü +", a="/~")

    assert _is_signed(pairs)
    assert _is_signed([*pairs[1:], pairs[0]])


@pytest.mark.parametrize(
    "other",
    [
        {"method": "POST"},
        {"url": URL + "/"},
        {"consumer_secret": "cs2"},
        {"signature_method": "HMAC-SHA1"},
        {"signature": "x"},
    ],
)
def test_a_signature_is_good_for_one_request_and_secret(other: dict[str, str]) -> None:
    pairs = _signed(a="1")

    assert not _is_signed(pairs, **other)
    assert not _is_signed([("a", "2"), *pairs[1:]])


def test_a_plus_in_the_signature_may_have_become_a_space() -> None:
    for nonce in map(str, range(200)):
        pairs = signed("GET", URL, {}, consumer_key="ck", consumer_secret="cs", nonce=nonce, timestamp=1)
        if "+" in pairs["oauth_signature"]:
            break
    assert _is_signed(list((pairs | {"oauth_signature": pairs["oauth_signature"].replace("+", " ")}).items()))


@pytest.mark.parametrize(
    ("sent", "good"),
    [
        (["a[9]", "a[10]", "a1"], True),  # the order of arrival, as PHP keeps it
        (["a[10]", "a[9]", "a1"], True),  # by the encoded names (RFC 5849, section 3.4.1.3.2)
        (["a1", "a[9]", "a[10]"], False),
    ],
)
def test_lists_are_verified_in_woocommerces_order_and_in_that_of_the_rfc(sent: list[str], good: bool) -> None:
    text = "&".join(f"{_encoded(name)}=x" for name in sent)
    signature = ("oauth_signature", _sign(f"GET&{_encoded(URL)}&{_encoded(text)}"))
    arrived = [(name, "x") for name in ("a1", "a[9]", "a[10]")]

    assert _is_signed([*arrived, signature]) is good


def _encoded(text: str) -> str:
    return quote(text, safe="-._~")


def _sign(text: str) -> str:
    return base64.b64encode(hmac.digest(b"cs&", text.encode(), hashlib.sha256)).decode()
