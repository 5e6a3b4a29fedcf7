"""Tenants, stores and keys, as an administrator meets them."""

import os
import pty
import select
from typing import Any

import psycopg
import pytest

from app.crypto import Sealer, is_api_key
from tests.cli.conftest import SEALING_KEYS, Cli
from tests.conftest import Sandbox, free_port

_SECRETS = {"REFUND_GATEWAY_CONSUMER_KEY": "ck_sandbox_rw", "REFUND_GATEWAY_CONSUMER_SECRET": "cs_sandbox_rw"}


def _add(url: str, *more: str) -> tuple[str, ...]:
    return ("store", "add", "--tenant", "acme", "--name", "shop", "--url", url, *more)


def _row(cli: Cli, query: str) -> tuple[Any, ...] | None:
    with psycopg.connect(cli.environment["REFUND_GATEWAY_DATABASE_URL"]) as conn:
        return conn.execute(query.encode()).fetchone()


def test_tenants_are_added_once_and_listed(cli: Cli) -> None:
    assert cli("tenant", "list").out == ""
    added = cli("tenant", "add", "acme", "--json").json
    assert added["name"] == "acme"
    assert cli("tenant", "list", "--json").json == {"data": [added]}
    assert "acme" in cli("tenant", "list").out
    again = cli("tenant", "add", "acme", ok=False)
    assert (again.code, again.err) == (1, "refund-gateway: There is a tenant 'acme' already.\n")
    assert cli("tenant", "add", "Acme GmbH", ok=False).code == 2


def test_an_unknown_tenant_or_store_is_not_found(cli: Cli) -> None:
    missing = cli("store", "list", "--tenant", "nobody", ok=False)
    assert (missing.code, missing.out) == (3, "")
    assert "nobody" in missing.err
    cli("tenant", "add", "acme")
    for verb in ("check", "disable", "policy"):
        assert cli("store", verb, "--tenant", "acme", "--name", "none", ok=False).code == 3


async def test_a_store_is_added_sealed_and_looked_over(cli: Cli, sandbox: Sandbox) -> None:
    await cli.aside("tenant", "add", "acme")
    ran = await cli.aside(*_add(f"{sandbox.url.upper()}/", "--auth", "oauth1"), **_SECRETS)
    assert "✓ credentials" in ran.out
    assert "✗" not in ran.out
    row = _row(cli, "SELECT id, url, api, credentials FROM store")
    assert row is not None
    assert row[1:3] == (sandbox.url, "v3")
    assert b"cs_sandbox_rw" in Sealer.from_text(SEALING_KEYS).open(row[3], aad=row[0])
    listings = [await cli.aside("store", "list", "--tenant", "acme", *form) for form in ((), ("--json",))]
    for shown in (ran, *listings):
        assert "sandbox_rw" not in shown.out + shown.err
    report = await cli.aside("store", "check", "--tenant", "acme", "--name", "shop", "--json")
    assert report.json["ok"] is True


def test_a_store_that_fails_its_check_is_kept_with_a_warning(cli: Cli) -> None:
    cli("tenant", "add", "acme")
    url = f"http://127.0.0.1:{free_port()}"
    ran = cli(*_add(url, "--auth", "oauth1", "--json"), **_SECRETS)
    assert ran.json["store"]["url"] == url
    assert ran.json["health"]["ok"] is False
    checked = cli("store", "check", "--tenant", "acme", "--name", "shop", ok=False)
    assert checked.code == 4
    assert "✗ reachable" in checked.out
    assert "→" in checked.out
    again = cli(*_add(url, "--auth", "oauth1", "--no-check"), ok=False, **_SECRETS)
    assert again.code == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("https://shop.example", "--api", "v2"), "v2"),
        (("http://shop.example",), "oauth1"),
        (("https://user:pw@shop.example",), "credentials"),
        (("ftp://shop.example",), "https://"),
        (("https://shop.example", "--ca-file", "/nonexistent.pem"), "PEM"),
    ],
)
def test_what_cannot_work_is_refused_before_it_is_kept(cli: Cli, arguments: tuple[str, ...], said: str) -> None:
    cli("tenant", "add", "acme")
    ran = cli(*_add(*arguments), ok=False, **_SECRETS)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err
    assert _row(cli, "SELECT 1 FROM store") is None


def test_plain_http_is_refused_where_private_stores_are(cli: Cli) -> None:
    cli("tenant", "add", "acme")
    ran = cli(
        *_add("http://shop.example", "--auth", "oauth1"),
        ok=False,
        REFUND_GATEWAY_ALLOW_PRIVATE_STORES="false",
        **_SECRETS,
    )
    assert ran.code == 2


def test_missing_keys_are_named_when_nobody_can_be_asked(cli: Cli) -> None:
    cli("tenant", "add", "acme")
    ran = cli(*_add("https://shop.example"), ok=False)
    assert ran.code == 2
    assert "REFUND_GATEWAY_CONSUMER_KEY" in ran.err


def test_a_prompt_shows_nothing_of_what_is_typed(cli: Cli) -> None:
    cli("tenant", "add", "acme")
    ours, theirs = pty.openpty()
    process = cli.start(*_add("https://shop.example", "--no-check"), stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    try:
        shown = b""
        # The space behind the colon is written last, when the terminal no longer shows what is typed.
        for prompt, secret in ((b"key: ", b"ck_typed_in"), (b"secret: ", b"cs_typed_in")):
            while prompt not in shown:
                shown += _read(ours)
            os.write(ours, secret + b"\n")
        while more := _read(ours):
            shown += more
        assert process.wait(20) == 0, shown
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    assert b"typed_in" not in shown
    row = _row(cli, "SELECT id, credentials FROM store")
    assert row is not None
    assert b"ck_typed_in" in Sealer.from_text(SEALING_KEYS).open(row[1], aad=row[0])


def _read(terminal: int) -> bytes:
    """Read what a process has written; nothing when it has ended."""
    assert select.select([terminal], [], [], 20)[0]
    try:
        return os.read(terminal, 4096)
    except OSError:  # Linux says so when the other side has gone
        return b""


async def test_keys_and_address_are_rotated_together(cli: Cli, sandbox: Sandbox) -> None:
    await cli.aside("tenant", "add", "acme")
    await cli.aside(*_add("https://old.example", "--no-check"), **_SECRETS)
    ran = await cli.aside(
        *("store", "rotate", "--tenant", "acme", "--name", "shop", "--url", sandbox.url, "--auth", "oauth1", "--json"),
        **_SECRETS,
    )
    assert ran.json["store"]["url"] == sandbox.url
    assert ran.json["health"]["ok"] is True


def test_a_disabled_store_stays_listed_and_out_of_use(cli: Cli) -> None:
    cli("tenant", "add", "acme")
    cli(*_add("https://shop.example", "--no-check"), **_SECRETS)
    assert "is disabled" in cli("store", "disable", "--tenant", "acme", "--name", "shop").err
    assert "already" in cli("store", "disable", "--tenant", "acme", "--name", "shop").err
    assert "disabled" in cli("store", "list", "--tenant", "acme").out
    assert cli("store", "check", "--tenant", "acme", "--name", "shop", ok=False).code == 3


def test_a_policy_changes_only_in_what_is_given(cli: Cli) -> None:
    cli("tenant", "add", "acme")
    cli(*_add("https://shop.example", "--no-check"), **_SECRETS)
    of_shop = ("store", "policy", "--tenant", "acme", "--name", "shop", "--json")
    before = cli(*of_shop).json
    assert before["marker_in_reason"] is True
    after = cli(*of_shop, "--no-marker-in-reason", "--on-absence", "resend").json
    assert after == {**before, "marker_in_reason": False, "on_absence": "resend"}
    assert cli(*of_shop, "--refundable-status", "completed").json == {**after, "refundable_statuses": ["completed"]}


def test_a_key_is_shown_once_and_kept_as_a_hash(cli: Cli) -> None:
    cli("tenant", "add", "acme")
    made = cli("key", "create", "--tenant", "acme", "--name", "ERP")
    text = made.out.strip()
    row = _row(cli, "SELECT secret_hash, scopes, store_ids FROM api_key")
    assert row is not None
    assert is_api_key(text, row[0])
    assert set(row[1]) == {"refunds:read", "refunds:write", "orders:read", "stores:read", "events:read"}
    assert row[2] is None
    listed = cli("key", "list", "--tenant", "acme").out + cli("key", "list", "--tenant", "acme", "--json").out
    assert text.split("_")[1] in listed
    assert text.split("_", 2)[2] not in listed


def test_a_key_is_limited_to_stores_and_scopes_that_exist(cli: Cli) -> None:
    cli("tenant", "add", "acme")
    cli(*_add("https://shop.example", "--no-check"), **_SECRETS)
    create = ("key", "create", "--tenant", "acme", "--name", "ERP", "--json")
    made = cli(*create, "--scopes", "refunds:read, orders:read", "--stores", "shop").json
    assert (made["scopes"], made["stores"]) == (["orders:read", "refunds:read"], ["shop"])
    wrong = cli(*create, "--scopes", "refunds:all", ok=False)
    assert (wrong.code, wrong.out) == (2, "")
    assert "refunds:approve" in wrong.err
    assert cli(*create, "--stores", "shop,none", ok=False).code == 3


def test_a_key_is_revoked_by_its_own_tenant_only(cli: Cli) -> None:
    cli("tenant", "add", "acme")
    cli("tenant", "add", "other")
    key = cli("key", "create", "--tenant", "acme", "--name", "ERP", "--json").json
    assert cli("key", "revoke", key["id"], "--tenant", "other", ok=False).code == 3
    assert cli("key", "revoke", key["id"], "--tenant", "acme", "--json").json["revoked_at"] is not None
    assert "already" in cli("key", "revoke", key["id"], "--tenant", "acme").err
