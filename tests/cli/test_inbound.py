"""Sources and their messages from the command line."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from app.api.inbound_intake import arrival_of
from app.flows import take_in
from app.ledger import inbound
from app.settings import Settings
from app.wiring import open_runtime
from tests.cli.conftest import Cli

SOURCE: dict[str, Any] = {
    "name": "oms",
    "verification": {"kind": "standard"},
    "only_if": "order",
    "mapping": {"store": "'shop'", "order_id": "order", "amount": "total"},
}


@pytest.fixture
def source(cli: Cli, tmp_path: Path) -> dict[str, Any]:
    """Give a source as it was added from a file."""
    cli("tenant", "add", "acme")
    file = tmp_path / "oms.json"
    file.write_text(json.dumps(SOURCE))
    added: dict[str, Any] = cli("inbound", "add", "--tenant", "acme", str(file), "--json").json
    return added


def keep(cli: Cli, source_id: str, *bodies: bytes) -> None:
    """Take messages in, as the API does once they are verified."""

    async def take() -> None:
        options = {name.removeprefix("REFUND_GATEWAY_").lower(): value for name, value in cli.environment.items()}
        settings = Settings(**options)
        async with open_runtime(settings, works=False, url=options["database_url"]) as rt:
            async with rt.database.reading() as conn:
                found = await inbound.source_by_id(conn, source_id)
            assert found is not None
            for body in bodies:
                await take_in.receive(rt, found, await arrival_of(found, {}, body))

    asyncio.run(take())


def test_a_source_is_added_from_a_file_and_listed_without_its_secret(cli: Cli, source: dict[str, Any]) -> None:
    listed = cli("inbound", "list", "--tenant", "acme", "--json").json["data"]

    assert source["secret"].startswith("whsec_")
    assert [one["id"] for one in listed] == [source["id"]]
    assert "secret" not in listed[0]
    assert "oms" in cli("inbound", "list", "--tenant", "acme").out


def test_a_faulty_file_is_told_so(cli: Cli, source: dict[str, Any], tmp_path: Path) -> None:
    faulty, again = tmp_path / "faulty.json", tmp_path / "oms.json"
    faulty.write_text(json.dumps({**SOURCE, "mapping": "order["}))

    assert "mapping" in cli("inbound", "add", "--tenant", "acme", str(faulty), ok=False).err
    assert "already" in cli("inbound", "add", "--tenant", "acme", str(again), ok=False).err


def test_a_message_is_tried_out(cli: Cli, source: dict[str, Any], tmp_path: Path) -> None:
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    good.write_text('{"order": "7", "total": "1.00"}')
    bad.write_text('{"order": 7, "total": "1.00"}')

    shown = cli("inbound", "test", "--tenant", "acme", "oms", str(good)).json
    refused = cli("inbound", "test", "--tenant", "acme", "oms", str(bad), ok=False)

    assert (shown["outcome"], shown["refund_request"]["order_id"]) == ("refund", "7")
    assert (refused.code, refused.json["failure"]["errors"][0]["pointer"]) == (1, "/order_id")


def test_failed_messages_are_listed_and_replayed(cli: Cli, source: dict[str, Any]) -> None:
    keep(cli, source["id"], b"no JSON", b'{"order": 7}', b"{}")

    listed = cli("inbound", "messages", "--tenant", "acme", "oms", "--status", "failed", "--json").json["data"]
    replayed = cli("inbound", "replay", "--tenant", "acme", "oms")
    single = cli("inbound", "replay", "--tenant", "acme", "oms", listed[0]["id"], ok=False)

    assert [one["failure"]["code"] for one in listed] == ["invalid_request", "invalid_json"]
    assert "2 failed" in replayed.err
    assert single.code == 1
    assert "ignored" in cli("inbound", "messages", "--tenant", "acme", source["id"]).out
    assert cli("inbound", "replay", "--tenant", "acme", "oms", "im_0", ok=False).code == 3
    assert cli("inbound", "messages", "--tenant", "acme", "nobody", ok=False).code == 3
