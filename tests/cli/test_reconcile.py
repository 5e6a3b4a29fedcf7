"""Reconciliations and exports from the command line."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Cli
from tests.conftest import Sandbox

AddStore = Callable[[str], None]


@pytest.fixture
async def order(add_store: AddStore, sandbox: Sandbox) -> dict[str, Any]:
    """Give a paid order of three albums in the sandbox store, with a refund of 2.00 that somebody made there."""
    await asyncio.to_thread(add_store, sandbox.url)
    made = await sandbox.new_order()
    await sandbox.client.post(f"/sandbox/orders/{made['id']}/refunds", json={"amount": "2.00"})
    return made


def _of_shop() -> tuple[str, ...]:
    now = datetime.now(UTC)
    return "--from", (now - timedelta(hours=1)).isoformat(), "--to", now.isoformat()


async def test_what_differs_is_found_and_is_on_record_then(cli: Cli, order: dict[str, Any], tmp_path: Path) -> None:
    erp = tmp_path / "erp.csv"
    erp.write_text(f"order;amount;date\n{order['id']};2.00;{datetime.now(UTC).date()}\n")
    asked = ("reconcile", "--tenant", "acme", "--store", "shop", *_of_shop(), "--erp", str(erp), "--wait", "--json")
    found = await cli.aside(*asked, ok=False)
    assert found.code == 1
    assert (found.json["status"], found.json["drifts"]) == ("finished", 1)
    assert [total["class"] for total in found.json["totals"]] == ["missing_in_ledger"]
    again = await cli.aside("reconcile", "--tenant", "acme", "--store", "shop", *_of_shop(), "--wait")
    assert "matched" in again.out
    rows = (await cli.aside("export", "--tenant", "acme", *_of_shop())).out.splitlines()
    assert rows[0].startswith("refund_id,external_reference,store,")
    assert len(rows) == 2
    out = tmp_path / "refunds.ndjson"
    await cli.aside("export", "--tenant", "acme", *_of_shop(), "--format", "ndjson", "--out", str(out))
    assert '"gross":"2.00"' in out.read_text()


async def test_a_list_with_faults_starts_nothing(cli: Cli, order: dict[str, Any], tmp_path: Path) -> None:
    erp = tmp_path / "erp.csv"
    erp.write_text(f"order;amount;date\n{order['id']};2,00;{datetime.now(UTC).date()}\n")
    refused = await cli.aside(
        "reconcile", "--tenant", "acme", "--store", "shop", *_of_shop(), "--erp", str(erp), ok=False
    )
    assert refused.code == 2
    assert "row 1, column amount" in refused.err
    assert "comma" in refused.err
