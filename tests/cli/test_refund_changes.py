"""Amending and deleting refunds from the command line."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.cli.conftest import Cli
from tests.conftest import Sandbox

AddStore = Callable[[str], None]


@pytest.fixture
async def refund(cli: Cli, add_store: AddStore, sandbox: Sandbox) -> dict[str, Any]:
    """Give a paid refund of 5.00 of an order of 32.13."""
    await asyncio.to_thread(add_store, sandbox.url)
    order = await sandbox.new_order()
    command = ("refund", "create", "--tenant", "acme", "--store", "shop", "--order", str(order["id"]))
    made: dict[str, Any] = (await cli.aside(*command, "--amount", "5.00", "--reason", "Too small", "--json")).json
    return made


async def test_a_refunds_words_are_changed(cli: Cli, refund: dict[str, Any]) -> None:
    amend = ("refund", "amend", refund["id"], "--tenant", "acme")
    changed = await cli.aside(
        *amend, "--reason", "Damaged", "--reason-code", "damaged", "--metadata", "rma=R=9", "--json"
    )
    assert changed.json["in_store"] == "unsupported"
    assert [changed.json[name] for name in ("reason", "reason_code", "metadata")] == [
        "Damaged",
        "damaged",
        {"rma": "R=9"},
    ]
    cleared = await cli.aside(*amend, "--reason-code", "", "--json")
    assert (cleared.json["reason_code"], cleared.json["reason"]) == (None, "Damaged")
    for_people = await cli.aside(*amend, "--reason", "Broken")
    assert "Broken" in for_people.out
    assert "kept here alone" in for_people.err


async def test_changes_that_are_not_clear_are_wrong_usage(cli: Cli, refund: dict[str, Any]) -> None:
    for options in ((), ("--reason", "x" * 501), ("--reason-code", "not a slug"), ("--metadata", "rma")):
        ran = await cli.aside("refund", "amend", refund["id"], "--tenant", "acme", *options, ok=False)
        assert (ran.code, ran.out) == (2, ""), options
        assert ran.err


async def test_a_paid_refunds_row_is_deleted_by_force_only(cli: Cli, sandbox: Sandbox, refund: dict[str, Any]) -> None:
    delete = ("refund", "delete", refund["id"], "--tenant", "acme")
    refused = await cli.aside(*delete, "--json", ok=False)
    assert (refused.code, refused.json["code"]) == (1, "paid_by_gateway")
    assert "no money" in (await cli.aside(*delete, ok=False)).err
    done = (await cli.aside(*delete, "--force", "--json")).json
    assert (done["deleted_now"], done["money_stays_paid"], done["refund"]["money"]) == (True, True, "moved")
    assert done["refund"]["deleted_by"].startswith("key:cli:")
    assert "already" in (await cli.aside(*delete)).err
    assert len(await sandbox.payouts(refund["order"]["id"])) == 1
    shown = (await cli.aside("refund", "show", refund["id"], "--tenant", "acme")).out
    assert "deleted" in shown
    assert "refund.deleted" in shown


async def test_lists_are_narrowed_to_who_made_them_and_whether_they_are_there(
    cli: Cli, sandbox: Sandbox, refund: dict[str, Any]
) -> None:
    order_id = refund["order"]["id"]
    await sandbox.client.post(f"/sandbox/orders/{order_id}/refunds", json={"amount": "2.00", "reason": "by hand"})
    # The order is read for a preview, and with it what others made of it.
    create = (
        "refund",
        "create",
        "--tenant",
        "acme",
        "--store",
        "shop",
        "--order",
        order_id,
        "--amount",
        "1.00",
        "--json",
    )
    ours = {refund["id"], (await cli.aside(*create)).json["id"]}

    async def listed(*options: str) -> set[str]:
        ran = await cli.aside("refund", "list", "--tenant", "acme", "--json", *options)
        return {found["id"] for found in ran.json["data"]}

    assert await listed("--origin", "api") == ours
    [foreign] = await listed("--origin", "store")
    # Made moments ago: its payment might still be under way, unless stores are quicker than that.
    early = await cli.aside("refund", "delete", foreign, "--tenant", "acme", ok=False)
    assert "may still be under way" in early.err
    await cli.aside("refund", "delete", foreign, "--tenant", "acme", REFUND_GATEWAY_STORE_LIMIT_S="0.001")
    assert await listed("--deleted") == {foreign}
    assert await listed("--not-deleted") == ours
    table = (await cli.aside("refund", "list", "--tenant", "acme")).out
    assert "store, deleted" in table


async def test_what_is_not_there_exits_with_3(cli: Cli, refund: dict[str, Any]) -> None:
    for refund_id in ("rf_01J8ZK5Q3N6T0V9W2X4Y7A8B9C", "nonsense"):
        assert (await cli.aside("refund", "delete", refund_id, "--tenant", "acme", ok=False)).code == 3
        amend = ("refund", "amend", refund_id, "--tenant", "acme", "--reason", "x")
        assert (await cli.aside(*amend, ok=False)).code == 3
    assert (await cli.aside("refund", "delete", refund["id"], "--tenant", "nobody", ok=False)).code == 3
