"""A store's address and credentials are fit for each other, or nothing is sent."""

import pytest

from app.settings import Settings
from app.stores.connection import AuthMethod, StoreConnection, StoreLimits, site_of
from app.stores.port import StoreMisconfigured


def connection(url: str, auth: AuthMethod = "basic") -> StoreConnection:
    return StoreConnection(
        store_id="s", url=url, auth=auth, consumer_key="ck_secretive", consumer_secret="cs_secretive"
    )


def test_a_connection_shows_no_secret() -> None:
    shown = repr(connection("https://shop.example"))
    assert "secretive" not in shown
    assert "shop.example" in shown


@pytest.mark.parametrize(
    ("url", "site"),
    [
        ("https://shop.example", "https://shop.example"),
        ("https://Shop.Example:443/", "https://shop.example"),
        (" https://shop.example/de/ ", "https://shop.example/de"),
        ("https://shop.example:8443/De//", "https://shop.example:8443/De"),
        ("https://[2606:2800:21f::1]:8443", "https://[2606:2800:21f::1]:8443"),
    ],
)
def test_an_address_is_brought_to_its_canonical_form(url: str, site: str) -> None:
    assert site_of(connection(url), allow_private=False) == site


@pytest.mark.parametrize(
    "url",
    [
        "",
        "shop.example",
        "ftp://shop.example",
        "https://",
        "https://user:pw@shop.example",
        "https://shop.example?x=1",
        "https://shop.example/#x",
        "https://shop.example:99999",
        "https://shop.example:port",
        "http://shop.example",
    ],
)
def test_an_unfit_address_is_refused(url: str) -> None:
    with pytest.raises(StoreMisconfigured) as caught:
        site_of(connection(url, "oauth1"), allow_private=False)
    assert "pw" not in str(caught.value)


def test_plain_http_is_for_signed_requests_to_development_stores() -> None:
    assert site_of(connection("http://127.0.0.1:8090", "oauth1"), allow_private=True) == "http://127.0.0.1:8090"
    for auth in ("basic", "query"):
        with pytest.raises(StoreMisconfigured, match="oauth1"):
            site_of(connection("http://127.0.0.1:8090", auth), allow_private=True)


def test_limits_come_from_the_settings() -> None:
    limits = StoreLimits.of(Settings(store_concurrency=7, store_refund_timeout_s=99))
    assert (limits.concurrency, limits.refund_timeout_s) == (7, 99)
    assert StoreLimits.of(Settings()) == StoreLimits()
