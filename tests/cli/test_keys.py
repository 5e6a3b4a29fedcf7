"""Keys for WooCommerce's own clients, from the command line."""

from typing import Any

import psycopg
import pytest

from app.crypto import Sealer, is_api_key
from tests.cli.conftest import SEALING_KEYS, Cli

_CREATE = ("key", "create", "--tenant", "acme", "--name", "old plugin")


def _row(cli: Cli) -> tuple[Any, ...]:
    with psycopg.connect(cli.environment["REFUND_GATEWAY_DATABASE_URL"]) as conn:
        row = conn.execute(
            "SELECT id, secret_hash, consumer_key, consumer_secret, front, scopes FROM api_key"
        ).fetchone()
    assert row is not None
    return row


def test_a_consumer_secret_is_shown_once_and_kept_sealed(cli: Cli) -> None:
    cli("tenant", "add", "acme")
    made = cli(*_CREATE, "--compat")
    shown = dict(line.rsplit(maxsplit=1) for line in made.out.splitlines())
    key, secret = shown["consumer key"], shown["consumer secret"]
    assert key.startswith("ck_")
    assert secret.startswith("cs_")
    assert secret not in made.err
    key_id, secret_hash, consumer_key, sealed, front, scopes = _row(cli)
    assert consumer_key == key
    assert is_api_key(secret, secret_hash)
    assert Sealer.from_text(SEALING_KEYS).open(sealed, aad=key_id) == secret.encode()
    assert front in ({}, {"unknown_status": 504, "wait_s": None, "reads": []})
    assert set(scopes) == {"refunds:read", "refunds:write", "refunds:delete", "orders:read"}
    listed = cli("key", "list", "--tenant", "acme")
    [as_json] = cli("key", "list", "--tenant", "acme", "--json").json["data"]
    assert key in listed.out
    assert "compat" in listed.out
    assert (as_json["kind"], as_json["consumer_key"]) == ("compat", key)
    assert as_json["front"] == {"unknown_status": 504, "wait_s": None, "reads": []}
    assert secret not in listed.out + str(as_json)


def test_a_consumer_keys_options_are_kept(cli: Cli) -> None:
    cli("tenant", "add", "acme")
    options = ("--reads", "products, orders", "--unknown-status", "202", "--wait", "0.5", "--scopes", "refunds:read")
    made = cli(*_CREATE, "--compat", "--json", *options).json
    assert made["consumer_secret"].startswith("cs_")
    assert made["front"] == {"unknown_status": 202, "wait_s": 0.5, "reads": ["orders", "products"]}
    assert made["scopes"] == ["refunds:read"]
    _, _, consumer_key, _, front, _ = _row(cli)
    assert (consumer_key, front) == (made["consumer_key"], made["front"])


def test_other_keys_are_of_the_usual_kind(cli: Cli) -> None:
    cli("tenant", "add", "acme")
    made = cli(*_CREATE, "--json").json
    assert (made["kind"], made["consumer_key"], made["front"]) == ("api", None, None)
    assert made["key"].startswith("rgk_")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--reads", "orders"), "--compat"),
        (("--wait", "1"), "--compat"),
        (("--unknown-status", "202"), "--compat"),
        (("--compat", "--reads", "orders,coupons"), "coupons"),
        (("--compat", "--unknown-status", "500"), "500"),
        (("--compat", "--wait", "-1"), "--wait"),
        (("--compat", "--wait", "121"), "120"),
        (("--compat", "--wait", "nan"), "--wait"),
        (("--compat", "--scopes", "refunds:all"), "refunds:approve"),
        (("--compat", "--scopes", ","), "scope"),
    ],
)
def test_options_that_are_not_clear_make_no_key(cli: Cli, options: tuple[str, ...], said: str) -> None:
    cli("tenant", "add", "acme")
    ran = cli(*_CREATE, *options, ok=False)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err
    assert cli("key", "list", "--tenant", "acme", "--json").json == {"data": []}


def test_a_consumer_secret_needs_sealing_keys(cli: Cli) -> None:
    cli("tenant", "add", "acme")
    assert cli(*_CREATE, "--compat", ok=False, REFUND_GATEWAY_SEALING_KEYS="").code == 6
    assert cli(*_CREATE, REFUND_GATEWAY_SEALING_KEYS="").code == 0
