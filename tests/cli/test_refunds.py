"""Refunds from the command line: by the API's rules, with exit codes that tell the truth."""

import asyncio
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from tests.cli.conftest import Cli
from tests.conftest import Sandbox, free_port

AddStore = Callable[[str], None]
_OF_SHOP = ("--tenant", "acme", "--store", "shop")


@pytest.fixture
async def order(add_store: AddStore, sandbox: Sandbox) -> dict[str, Any]:
    """Give a paid order of three albums, 10.71 each, in the sandbox store."""
    await asyncio.to_thread(add_store, sandbox.url)
    return await sandbox.new_order()


def _count(cli: Cli) -> int:
    with psycopg.connect(cli.environment["REFUND_GATEWAY_DATABASE_URL"]) as conn:
        row = conn.execute("SELECT count(*) FROM refund").fetchone()
    assert row is not None
    return int(row[0])


async def test_a_preview_creates_nothing(cli: Cli, sandbox: Sandbox, order: dict[str, Any]) -> None:
    line = order["line_items"][0]["id"]
    of_order = ("refund", "preview", *_OF_SHOP, "--order", str(order["id"]), "--item", f"{line}:2")
    seen = (await cli.aside(*of_order, "--json")).json
    assert (seen["amount"], seen["refundable"]) == ("21.42", {"before": "32.13", "after": "10.71"})
    assert "21.42 EUR" in (await cli.aside(*of_order)).out
    assert await sandbox.payouts(order["id"]) == []
    assert _count(cli) == 0


async def test_a_refund_is_carried_out_and_shown(cli: Cli, sandbox: Sandbox, order: dict[str, Any]) -> None:
    made = await cli.aside(
        *("refund", "create", *_OF_SHOP, "--order-number", order["number"], "--item", "sku:SKU0:1"),
        *("--goodwill", "1.00", "--reason", "[red]Broken[/red]", "--reference", "CM-1", "--json"),
    )
    refund = made.json
    assert (refund["status"], refund["money"], refund["amount"]) == ("succeeded", "moved", "11.71")
    assert [payout["amount"] for payout in await sandbox.payouts(order["id"])] == ["11.71"]
    shown = await cli.aside("refund", "show", refund["id"], "--tenant", "acme", "--json")
    assert {name: shown.json[name] for name in refund} == refund
    types = [event["type"] for event in shown.json["events"]]
    assert types == ["refund.created", "refund.sending", "refund.succeeded"]
    assert shown.json["events"][0]["actor"].startswith("key:cli:")
    for_people = (await cli.aside("refund", "show", refund["id"], "--tenant", "acme")).out
    assert "[red]Broken[/red]" in for_people
    assert "refund.succeeded" in for_people
    listed = await cli.aside("refund", "list", "--tenant", "acme", "--status", "succeeded", "--json")
    assert listed.json == {"data": [refund], "next_cursor": None}
    assert refund["id"] in (await cli.aside("refund", "list", "--tenant", "acme")).out
    assert (await cli.aside("refund", "list", "--tenant", "acme", "--status", "failed", "--json")).json["data"] == []


async def test_the_same_command_never_pays_twice(cli: Cli, sandbox: Sandbox, order: dict[str, Any]) -> None:
    command = ("refund", "create", *_OF_SHOP, "--order", str(order["id"]), "--amount", "5.00", "--json")
    for names in (("--reference", "CM-1"), ("--idempotency-key", "key-1")):
        first, second = [await cli.aside(*command, *names) for _ in range(2)]
        assert first.json["id"] == second.json["id"]
    assert [payout["amount"] for payout in await sandbox.payouts(order["id"])] == ["5.00", "5.00"]
    conflict = await cli.aside(*command[:-2], "6.00", "--json", "--reference", "CM-1", ok=False)
    assert (conflict.code, conflict.json["code"]) == (1, "external_reference_conflict")


async def test_pages_follow_each_other(cli: Cli, order: dict[str, Any]) -> None:
    command = ("refund", "create", *_OF_SHOP, "--order", str(order["id"]), "--amount", "1.00", "--json")
    made = [(await cli.aside(*command)).json["id"] for _ in range(3)]
    first = (await cli.aside("refund", "list", "--tenant", "acme", "--limit", "2", "--json")).json
    assert [refund["id"] for refund in first["data"]] == made[:0:-1]
    rest = await cli.aside("refund", "list", "--tenant", "acme", "--after", first["next_cursor"], "--json")
    assert [refund["id"] for refund in rest.json["data"]] == made[:1]


async def test_a_refusal_exits_with_1_and_says_every_fault(cli: Cli, sandbox: Sandbox, order: dict[str, Any]) -> None:
    command = ("refund", "create", *_OF_SHOP, "--order", str(order["id"]), "--amount", "50.00", "--currency", "USD")
    ran = await cli.aside(*command, ok=False)
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.count("\n") == 1
    for_scripts = await cli.aside(*command, "--json", ok=False)
    assert for_scripts.code == 1
    assert {fault["code"] for fault in for_scripts.json["errors"]} >= {"currency_mismatch"}
    assert await sandbox.payouts(order["id"]) == []


async def test_a_declined_refund_exits_with_1(cli: Cli, order: dict[str, Any]) -> None:
    command = ("refund", "create", *_OF_SHOP, "--order", str(order["id"]), "--amount", "5.00", "--reason", "decline")
    ran = await cli.aside(*command, "--json", ok=False)
    assert (ran.code, ran.json["status"], ran.json["money"]) == (1, "failed", "not_moved")


async def test_an_unknown_outcome_exits_with_5_and_says_how_to_ask_again(
    cli: Cli, sandbox: Sandbox, order: dict[str, Any]
) -> None:
    command = ("refund", "create", *_OF_SHOP, "--order", str(order["id"]), "--amount", "5.00")
    ran = await cli.aside(*command, "--reason", "[[fault:lost_answer]]", "--reference", "CM-9", ok=False)
    assert ran.code == 5
    assert "--reference CM-9" in ran.err
    assert "uncertain" in ran.out
    assert len(await sandbox.payouts(order["id"])) == 1
    blocked = await cli.aside(*command, "--json", ok=False)
    assert (blocked.code, blocked.json["code"]) == (1, "refund_in_progress")


async def test_a_refund_not_waited_for_exits_with_5(cli: Cli, order: dict[str, Any]) -> None:
    command = ("refund", "create", *_OF_SHOP, "--order", str(order["id"]), "--amount", "5.00", "--wait", "0")
    ran = await cli.aside(*command, "--reason", "slow400", "--json", ok=False)
    assert ran.code == 5
    # The command stays until its refund is in safe hands.
    shown = await cli.aside("refund", "show", ran.json["id"], "--tenant", "acme", "--json")
    assert shown.json["status"] == "succeeded"


async def test_what_is_not_there_exits_with_3(cli: Cli, order: dict[str, Any]) -> None:
    amount = ("--amount", "5.00")
    for verb in ("preview", "create"):
        no_order = await cli.aside("refund", verb, *_OF_SHOP, "--order", "987654", *amount, ok=False)
        of_none = ("--tenant", "acme", "--store", "none", "--order", str(order["id"]))
        no_store = await cli.aside("refund", verb, *of_none, *amount, ok=False)
        assert (no_order.code, no_store.code) == (3, 3)
    for refund_id in ("rf_01J8ZK5Q3N6T0V9W2X4Y7A8B9C", "nonsense"):
        assert (await cli.aside("refund", "show", refund_id, "--tenant", "acme", ok=False)).code == 3


def test_a_store_that_is_down_exits_with_4(cli: Cli, add_store: AddStore) -> None:
    add_store(f"http://127.0.0.1:{free_port()}")
    ran = cli("refund", "create", *_OF_SHOP, "--order", "100", "--amount", "5.00", ok=False)
    assert (ran.code, ran.out) == (4, "")
    assert _count(cli) == 0


@pytest.mark.parametrize(
    "options",
    [
        ("--amount", "1,50"),
        ("--amount", "1E+1"),
        ("--amount", "-5.00"),
        ("--amount", " 5.00"),
        ("--goodwill", "5 EUR"),
        ("--shipping", "everything"),
        ("--item", "311"),
        ("--item", "311:1.5"),
        ("--item", "SKU0:1"),
        ("--item", "sku::1"),
        ("--item", "311:0"),
        ("--amount", "5.00", "--idempotency-key", "with space"),
        ("--amount", "5.00", "--wait", "-1"),
    ],
)
def test_what_is_not_clear_is_wrong_usage(cli: Cli, options: tuple[str, ...]) -> None:
    ran = cli("refund", "create", *_OF_SHOP, "--order", "100", *options, ok=False)
    assert (ran.code, ran.out) == (2, "")
    assert options[-2] in ran.err
