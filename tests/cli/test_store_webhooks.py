"""Registering a store's webhooks from the command line."""

from collections.abc import Iterator

import httpx
import pytest

from tests.cli.conftest import Cli
from tests.sandbox.conftest import serving

KEYS = {
    "REFUND_GATEWAY_CONSUMER_KEY": "ck_sandbox_rw",
    "REFUND_GATEWAY_CONSUMER_SECRET": "cs_sandbox_rw",
}
READ_ONLY = {
    "REFUND_GATEWAY_CONSUMER_KEY": "ck_sandbox_ro",
    "REFUND_GATEWAY_CONSUMER_SECRET": "cs_sandbox_ro",
}
ADD = ("store", "add", "--tenant", "acme", "--name", "shop", "--auth", "oauth1", "--api", "v3", "--no-check")
CHECK = ("store", "check", "--tenant", "acme", "--name", "shop")
PUBLIC = "https://refunds.example"


@pytest.fixture
def shop_url(cli: Cli) -> Iterator[str]:
    cli("tenant", "add", "acme")
    with serving(seed=False, assume_https=False, webhooks="held") as url:
        yield url


def folded(text: str) -> str:
    """Undo the folding of lines."""
    return " ".join(text.split())


def test_a_store_is_added_with_its_webhooks(cli: Cli, shop_url: str) -> None:
    cli(*ADD, "--url", shop_url, "--with-webhooks", REFUND_GATEWAY_PUBLIC_URL=f"{PUBLIC}/", **KEYS)

    queued = httpx.get(f"{shop_url}/sandbox/webhooks").json()["queued"]
    assert [one["arg"] for one in queued] == [None] * 4
    (state,) = [check for check in cli(*CHECK, "--json").json["checks"] if check["name"] == "webhooks"]
    assert (state["ok"], PUBLIC in state["detail"]) == (True, True)


def test_nobody_registers_webhooks_for_an_address_that_is_not_known(cli: Cli, shop_url: str) -> None:
    unknown = cli(*ADD, "--url", shop_url, "--with-webhooks", ok=False, **KEYS)
    odd = cli(*ADD, "--url", shop_url, "--with-webhooks", "--webhook-url", "refunds.example", ok=False, **KEYS)

    assert (unknown.code, odd.code) == (2, 2)
    assert "REFUND_GATEWAY_PUBLIC_URL" in unknown.err
    assert cli("store", "list", "--tenant", "acme", "--json").json["data"] == []


def test_check_repairs_what_is_missing_and_says_what_wordpress_would_not_reach(cli: Cli, shop_url: str) -> None:
    cli(*ADD, "--url", shop_url, **KEYS)

    first = cli(*CHECK, "--repair", "--webhook-url", "http://127.0.0.1:9000")
    again = cli(*CHECK, "--repair", "--webhook-url", PUBLIC)

    assert "4 registered" in folded(first.err)
    assert "80, 443 and 8080 only, not to 9000" in folded(first.err)
    assert "4 active with the right address and secret" in folded(again.err)
    assert "Warning" not in again.err


def test_a_store_that_cannot_be_told_is_kept_and_ends_the_repair(cli: Cli, shop_url: str) -> None:
    added = cli(*ADD, "--url", shop_url, "--with-webhooks", "--webhook-url", PUBLIC, **READ_ONLY)
    repaired = cli(*CHECK, "--repair", "--webhook-url", PUBLIC, ok=False)

    assert "Warning" in added.err
    assert repaired.code == 4
    assert "Shop manager" in folded(repaired.err)
