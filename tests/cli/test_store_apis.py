"""Which API a store has, what it can do, and what its owner vouches for, from the command line."""

from typing import Any

import psycopg
import pytest

from tests.cli.conftest import Cli
from tests.conftest import Sandbox, free_port

_SECRETS = {"REFUND_GATEWAY_CONSUMER_KEY": "ck_sandbox_rw", "REFUND_GATEWAY_CONSUMER_SECRET": "cs_sandbox_rw"}
_OF_SHOP = ("--tenant", "acme", "--name", "shop")


def _api(cli: Cli) -> Any:
    with psycopg.connect(cli.environment["REFUND_GATEWAY_DATABASE_URL"]) as conn:
        row = conn.execute("SELECT api FROM store").fetchone()
    assert row is not None
    return row[0]


async def _add(cli: Cli, url: str, *more: str) -> Any:
    await cli.aside("tenant", "add", "acme")
    return await cli.aside("store", "add", *_OF_SHOP, "--url", url, "--auth", "oauth1", *more, **_SECRETS)


@pytest.mark.parametrize(
    ("installed", "found"),
    [
        ({"legacy": True, "rest_v3": True}, "v3"),
        ({"legacy": False, "rest_v3": True}, "v3"),
        ({"legacy": True, "rest_v3": False}, "legacy"),
    ],
)
async def test_auto_finds_out_which_api_a_store_has_and_prefers_v3(
    cli: Cli, sandbox: Sandbox, installed: dict[str, bool], found: str
) -> None:
    await sandbox.client.post("/sandbox/settings", json=installed)
    ran = await _add(cli, sandbox.url, "--json")
    assert ran.json["store"]["api"] == _api(cli) == found
    assert f"--api {found}" in ran.err


async def test_a_store_that_shows_no_api_stays_auto(cli: Cli, sandbox: Sandbox) -> None:
    await sandbox.client.post("/sandbox/settings", json={"legacy": False, "rest_v3": False})
    ran = await _add(cli, sandbox.url, "--json")
    assert ran.json["store"]["api"] == _api(cli) == "auto"
    assert "neither" in ran.err


async def test_a_store_that_is_down_stays_auto_until_it_is_looked_at_again(cli: Cli, sandbox: Sandbox) -> None:
    ran = await _add(cli, f"http://127.0.0.1:{free_port()}", "--json")
    assert (ran.json["store"]["api"], ran.json["health"]["ok"]) == ("auto", False)
    assert "stays auto" in ran.err
    assert "sandbox_rw" not in ran.err
    rotated = await cli.aside("store", "rotate", *_OF_SHOP, "--url", sandbox.url, "--json", **_SECRETS)
    assert (rotated.json["store"]["api"], rotated.json["health"]["ok"]) == ("v3", True)


async def test_a_store_that_is_not_to_be_looked_at_is_not(cli: Cli, sandbox: Sandbox) -> None:
    ran = await _add(cli, sandbox.url, "--no-check", "--json")
    assert ran.json["store"]["api"] == "auto"
    assert (await sandbox.client.get("/sandbox/requests")).json() == []


async def test_a_named_api_is_kept_and_can_be_changed(cli: Cli, sandbox: Sandbox) -> None:
    await sandbox.client.post("/sandbox/settings", json={"legacy": True})
    assert (await _add(cli, sandbox.url, "--api", "legacy", "--json")).json["store"]["api"] == "legacy"
    assert (await cli.aside("store", "check", *_OF_SHOP, "--json")).json["ok"] is True
    rotate = ("store", "rotate", *_OF_SHOP, "--json")
    assert (await cli.aside(*rotate, **_SECRETS)).json["store"]["api"] == "legacy"
    assert (await cli.aside(*rotate, "--api", "auto", **_SECRETS)).json["store"]["api"] == "v3"


async def test_capabilities_are_shown_for_people_and_for_scripts(cli: Cli, sandbox: Sandbox) -> None:
    await sandbox.client.post("/sandbox/settings", json={"legacy": True})
    await _add(cli, sandbox.url)
    shown = (await cli.aside("store", "capabilities", *_OF_SHOP, "--json")).json
    assert {api["name"] for api in shown["features"]} == {"wc/v3", "wc-api/v3"}
    assert {method["id"] for method in shown["payment_methods"]} >= {"sandboxpay", "cod"}
    table = (await cli.aside("store", "capabilities", *_OF_SHOP)).out
    for text in ("9.4.0", "wc/v3", "wc-api/v3", "sandboxpay"):
        assert text in table
    assert (await cli.aside("store", "capabilities", "--tenant", "acme", "--name", "none", ok=False)).code == 3


async def test_payment_methods_are_vouched_for_until_they_are_taken_away(cli: Cli) -> None:
    await _add(cli, "http://shop.example", "--no-check")

    async def policy(*options: str) -> Any:
        return (await cli.aside("store", "policy", *_OF_SHOP, "--json", *options)).json

    before = await policy()
    assert before["refunding_methods"] == []
    vouched = await policy("--refunding-methods", "stripe, paypal")
    assert vouched == {**before, "refunding_methods": ["paypal", "stripe"]}
    assert await policy("--on-absence", "resend") == {**vouched, "on_absence": "resend"}
    assert (await policy("--refunding-methods", ""))["refunding_methods"] == []
