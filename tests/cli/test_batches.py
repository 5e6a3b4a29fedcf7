"""Files of refunds from the command line: all rows or none, carried out by a worker, with an exit code that is true."""

import asyncio
import csv
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from app.settings import Settings
from app.wiring import open_runtime
from tests.cli.conftest import SEALING_KEYS, Cli
from tests.conftest import Sandbox

AddStore = Callable[[str], None]
TENANT = ("--tenant", "acme")
OF_SHOP = (*TENANT, "--store", "shop")


@pytest.fixture
def settings(cli: Cli, tmp_path: Path) -> Settings:
    """Give the settings of a worker of the command line's gateway."""
    return Settings(
        database_url=SecretStr(cli.environment["REFUND_GATEWAY_DATABASE_URL"]),
        sealing_keys=SecretStr(SEALING_KEYS),
        var=tmp_path / "var",
        allow_private_stores=True,
        lease_s=3.0,
        quiet_period_s=0.3,
        store_limit_s=1.5,
        sweep_interval_s=1.0,
        shutdown_grace_s=5,
    )


@pytest.fixture
async def order(add_store: AddStore, sandbox: Sandbox) -> dict[str, Any]:
    """Give a paid order of three albums, 10.71 each, in the sandbox store."""
    await asyncio.to_thread(add_store, sandbox.url)
    return await sandbox.new_order()


@pytest.fixture
async def _worker(order: dict[str, Any], settings: Settings) -> AsyncIterator[None]:
    async with open_runtime(settings, works=True):
        yield


def write(path: Path, *rows: str, header: str = "order_id,external_reference,amount,reason") -> str:
    path.write_text("\n".join([header, *rows, ""]))
    return str(path)


@pytest.mark.usefixtures("_worker")
async def test_a_file_is_watched_to_its_end_and_its_results_are_written(
    cli: Cli, sandbox: Sandbox, order: dict[str, Any], tmp_path: Path
) -> None:
    file = write(tmp_path / "refunds.csv", f"{order['id']},CM-1,5.00,", f"{order['id']},CM-2,1.00,")
    ran = await cli.aside("batch", "run", file, *OF_SHOP, "--watch", "--max-total", "EUR:50.00", "--json")
    batch = ran.json
    assert (batch["status"], batch["counts"]["succeeded"], batch["name"]) == ("finished", 2, "refunds.csv")
    assert batch["limits"] == [{"currency": "EUR", "max_total": "50.00", "taken": "6.00"}]
    assert "2/2 finished, 2 succeeded (6.00 EUR)" in ran.err
    assert "No worker" not in ran.err
    with Path(f"{file}.results.csv").open() as results:
        table = list(csv.DictReader(results))
    assert [(row["row"], row["external_reference"], row["status"], row["amount"]) for row in table] == [
        ("1", "CM-1", "succeeded", "5.00"),
        ("2", "CM-2", "succeeded", "1.00"),
    ]
    assert sorted(payout["amount"] for payout in await sandbox.payouts(order["id"])) == ["1.00", "5.00"]
    shown = await cli.aside("batch", "show", batch["id"], *TENANT)
    assert "2 of 2 processed" in shown.out
    assert "6.00 of 50.00 EUR" in shown.out
    items = await cli.aside("batch", "items", batch["id"], *TENANT, "--limit", "1", "--json")
    assert ([item["item"] for item in items.json["data"]], items.json["next_cursor"]) == ([1], 1)
    rest = await cli.aside("batch", "items", batch["id"], *TENANT, "--after", "1")
    assert "CM-2" in rest.out
    assert "CM-1" not in rest.out
    printed = await cli.aside("batch", "results", batch["id"], *TENANT)
    assert [row["external_reference"] for row in csv.DictReader(printed.out.splitlines())] == ["CM-1", "CM-2"]


@pytest.mark.usefixtures("_worker")
async def test_the_exit_code_tells_whether_everything_succeeded(
    cli: Cli, sandbox: Sandbox, order: dict[str, Any], tmp_path: Path
) -> None:
    file = write(tmp_path / "refunds.csv", f"{order['id']},CM-1,1.00,", f"{order['id']},CM-2,1.00,decline")
    out = tmp_path / "out.csv"
    ran = await cli.aside("batch", "run", file, *OF_SHOP, "--watch", "--results", str(out), ok=False)
    assert ran.code == 1
    assert "1 of 2 items did not succeed" in ran.err
    assert "gateway_declined" in out.read_text()
    too_much = write(tmp_path / "more.csv", f"{order['id']},CM-3,1.00,", f"{order['id']},CM-4,1000.00,")
    checked = await cli.aside("batch", "run", too_much, *OF_SHOP, "--dry-run", "--watch", "--json", ok=False)
    assert checked.code == 1
    assert (checked.json["counts"]["valid"], checked.json["counts"]["refused"]) == (1, 1)
    assert len(await sandbox.payouts(order["id"])) == 1
    stopped = await cli.aside(
        *("batch", "run", too_much, *OF_SHOP, "--watch", "--max-total", "EUR:0.50", "--results", str(out)), ok=False
    )
    assert stopped.code == 5
    assert "batch resume" in stopped.err
    assert len(await sandbox.payouts(order["id"])) == 1


async def test_without_a_worker_a_batch_waits_and_says_so(cli: Cli, order: dict[str, Any], tmp_path: Path) -> None:
    file = write(tmp_path / "refunds.csv", f"{order['id']},CM-1,1.00,")
    ran = await cli.aside("batch", "run", file, *OF_SHOP, "--json")
    assert ran.json["status"] == "running"
    assert "No worker is running" in ran.err


async def test_a_batch_is_held_released_paused_resumed_and_canceled(
    cli: Cli, order: dict[str, Any], tmp_path: Path
) -> None:
    file = write(tmp_path / "refunds.csv", f"{order['id']},CM-1,1.00,")
    made = (await cli.aside("batch", "run", file, *OF_SHOP, "--mode", "hold", "--release-within", "600", "--json")).json
    assert made["status"] == "held"

    async def act(verb: str, *options: str, ok: bool = True) -> Any:
        ran = await cli.aside("batch", verb, made["id"], *TENANT, *options, "--json", ok=ok)
        return ran.json["status"] if ok else (ran.code, ran.json["code"])

    assert await act("resume", ok=False) == (1, "wrong_state")
    assert [await act(verb) for verb in ("release", "pause", "resume", "pause")] == [
        "running",
        "paused",
        "running",
        "paused",
    ]
    await act("resume", "--max-total", "eur:2.50", "--stop-if-over", "0.1")
    shown = (await cli.aside("batch", "show", made["id"], *TENANT, "--json")).json
    assert (shown["limits"][0]["max_total"], shown["stop_if_over"]) == ("2.50", "0.1")
    assert await act("cancel") == "canceled"
    watched = await cli.aside("batch", "show", made["id"], *TENANT, "--watch", ok=False)
    assert (watched.code, "is canceled" in watched.err) == (1, True)
    listed = (await cli.aside("batch", "list", *TENANT, "--status", "canceled", "--json")).json
    assert [batch["id"] for batch in listed["data"]] == [made["id"]]
    assert made["id"] in (await cli.aside("batch", "list", *TENANT)).out
    assert (await cli.aside("batch", "list", *TENANT, "--status", "held", "--json")).json["data"] == []


async def test_faults_are_shown_row_by_row_and_nothing_is_made(cli: Cli, order: dict[str, Any], tmp_path: Path) -> None:
    file = write(tmp_path / "refunds.csv", "12;CM-1;5,00", "#13;CM-1;1.00", header="order_id;external_reference;amount")
    ran = await cli.aside("batch", "run", file, *OF_SHOP, ok=False)
    assert ran.code == 1
    first, second = (line.split() for line in ran.out.splitlines()[2:4])
    assert first[:4] == ["1", "2", "amount", "malformed_amount"]
    assert second[:4] == ["2", "3", "order_id", "malformed_value"]
    assert "There is a comma in the amount" in ran.out
    assert "2 things are wrong with" in ran.err
    for_scripts = await cli.aside("batch", "run", file, *OF_SHOP, "--json", ok=False)
    assert [error["row"] for error in for_scripts.json["errors"]] == [1, 2]
    assert (await cli.aside("batch", "list", *TENANT, "--json")).json["data"] == []


async def test_json_files_have_their_options_in_them_and_given_ones_come_first(
    cli: Cli, order: dict[str, Any], tmp_path: Path
) -> None:
    refund = {"order_id": str(order["id"]), "amount": "1.00"}
    file = tmp_path / "batch.json"
    document = {"store": "shop", "name": "Friday", "mode": "hold", "max_total": {"EUR": "9.00"}, "items": [refund]}
    file.write_text(json.dumps(document))
    made = (await cli.aside("batch", "run", str(file), *TENANT, "--json")).json
    assert (made["name"], made["status"], made["limits"][0]["max_total"]) == ("Friday", "held", "9.00")
    other = await cli.aside("batch", "run", str(file), *TENANT, "--name", "Later", "--max-total", "EUR:8.00", "--json")
    assert (other.json["name"], other.json["limits"][0]["max_total"]) == ("Later", "8.00")
    lines = tmp_path / "refunds.ndjson"
    lines.write_text(json.dumps(refund))
    held = ("batch", "run", str(lines), *OF_SHOP, "--mode", "hold", "--idempotency-key", "k-1", "--json")
    first, again = (await cli.aside(*held)).json, await cli.aside(*held)
    assert (again.json["id"], "there already" in again.err) == (first["id"], True)
    reused = await cli.aside(*held, "--name", "Other", ok=False)
    assert (reused.code, reused.json["code"]) == (1, "idempotency_key_reused")
    file.write_text("{")
    broken = await cli.aside("batch", "run", str(file), *TENANT, "--json", ok=False)
    assert (broken.code, broken.json["errors"][0]["code"]) == (1, "invalid_json")


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("refunds.xlsx", (), ".csv"),
        ("refunds.csv", ("--max-total", "50"), "--max-total"),
        ("refunds.csv", ("--stop-if-over", "5%"), "--stop-if-over"),
        ("refunds.csv", ("--start-at", "tomorrow"), "--start-at"),
        ("refunds.csv", ("--release-within", "60"), "release_within_s goes with the mode hold"),
        ("refunds.csv", ("--results", "out.csv"), "--watch"),
        ("refunds.csv", ("--idempotency-key", "ü"), "--idempotency-key"),
    ],
)
def test_what_is_not_clear_is_wrong_usage(
    cli: Cli, tmp_path: Path, name: str, options: tuple[str, ...], said: str
) -> None:
    file = write(tmp_path / name, "12,CM-1,1.00,")
    ran = cli("batch", "run", file, *OF_SHOP, *options, ok=False)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err


def test_what_is_not_there_exits_with_3(cli: Cli, add_store: AddStore) -> None:
    add_store("http://127.0.0.1:1")
    for verb in ("show", "items", "results", "release", "pause", "resume", "cancel"):
        ran = cli("batch", verb, "bt_01J8ZK5Q3N6T0V9W2X4Y7A8B9C", *TENANT, ok=False)
        assert (ran.code, ran.out) == (3, "")
