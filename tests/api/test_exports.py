"""Exports: rows for journals that add up, page by page, and only what a key may see."""

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest

from app.flows.mirror import Where, mirror_rows
from tests.api.conftest import Gateway
from tests.conftest import Sandbox, add_shop
from tests.flows.scripted import row as store_row
from tests.ledger.factories import add_refund


def window(**query: str) -> dict[str, str]:
    now = datetime.now(UTC)
    day = {
        "from": f"{now - timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}",
        "to": f"{now + timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}",
    }
    return {**day, **query}


async def exported(gateway: Gateway, **query: str) -> list[dict[str, str]]:
    answer = await gateway.client.get("/v1/exports/refunds.csv", params=window(**query))
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    return list(csv.DictReader(io.StringIO(answer.text)))


async def ndjson(gateway: Gateway, **query: str) -> list[dict[str, Any]]:
    answer: httpx.Response = await gateway.client.get("/v1/exports/refunds.ndjson", params=window(**query))
    assert answer.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in answer.text.splitlines()]


async def test_a_refund_by_parts_is_a_row_per_rate_that_adds_up(gateway: Gateway, sandbox: Sandbox) -> None:
    order = await sandbox.new_order()
    refund = await gateway.refund(
        order,
        amount=None,
        items=[{"sku": "SKU0", "quantity": 1}],
        goodwill="2.00",
        external_reference="=cmd()",
        reason_code="damaged",
    )
    assert refund.status_code == 201, refund.text
    free, taxed = await exported(gateway)
    assert (free["rate_id"], free["goodwill"], free["gross"], free["tax"]) == ("", "2.00", "2.00", "0.00")
    assert (taxed["items_net"], taxed["items_tax"], taxed["gross"]) == ("9.00", "1.71", "10.71")
    assert taxed["rate_id"] == refund.json()["breakdown"]["items"][0]["taxes"][0]["rate_id"]
    assert Decimal(free["gross"]) + Decimal(taxed["gross"]) == Decimal(refund.json()["amount"])
    for row in (free, taxed):
        assert (row["refund_id"], row["store"], row["order_id"]) == (refund.json()["id"], "demo", str(order["id"]))
        assert (row["currency"], row["payment"], row["money"]) == ("EUR", "gateway", "moved")
        assert (row["external_reference"], row["reason_code"]) == ("'=cmd()", "damaged")
    lines = await ndjson(gateway)
    assert [line["external_reference"] for line in lines] == ["=cmd()", "=cmd()"]
    assert [{name: "" if line[name] is None else line[name] for name in line} for line in lines] == [
        {**row, "external_reference": "=cmd()"} for row in (free, taxed)
    ]


async def test_a_refund_that_others_made_is_one_row_with_what_is_known(gateway: Gateway) -> None:
    where = Where(tenant_id=gateway.shop.tenant_id, store_id=gateway.shop.store_id, store="demo", api="v3")
    made = store_row("901", "7.00", refunded_payment=True, created_at=datetime.now(UTC))
    await mirror_rows(gateway.rt, where, [("12", made)])
    [row] = await exported(gateway)
    assert (row["rate_id"], row["gross"], row["net"], row["tax"]) == ("", "7.00", "", "")
    assert (row["origin"], row["store_refund_id"], row["currency"]) == ("store", "901", "")


async def test_filters_narrow_down_what_is_exported(gateway: Gateway, sandbox: Sandbox) -> None:
    order = await sandbox.new_order()
    settled = (await gateway.refund(order)).json()["id"]
    async with gateway.rt.database.transaction() as conn:
        pending = await add_refund(conn, gateway.shop.tenant_id, gateway.shop.store_id)
    assert {row["refund_id"] for row in await exported(gateway)} == {settled}
    assert {row["refund_id"] for row in await exported(gateway, by="created", status="pending")} == {pending.id}
    assert await exported(gateway, status="failed") == []
    early = {"from": "2020-01-01T00:00:00Z", "to": "2020-01-02T00:00:00Z"}
    assert await exported(gateway, **early) == []
    assert len(await exported(gateway, store="demo")) == 1


async def test_all_pages_come_in_the_order_of_time(gateway: Gateway) -> None:
    async with gateway.rt.database.transaction() as conn:
        record = await add_refund(conn, gateway.shop.tenant_id, gateway.shop.store_id)
        # Thirteen hundred alike, some at the very same time, so that pages break between equals.
        columns = await (
            await conn.execute(
                "SELECT string_agg(quote_ident(column_name), ', ') AS names FROM information_schema.columns"
                " WHERE table_name = 'refund' AND column_name NOT IN ('id', 'marker', 'created_at')"
            )
        ).fetchone()
        assert columns is not None
        names = columns["names"]
        await conn.execute(
            f"INSERT INTO refund (id, marker, created_at, {names})"
            f" SELECT 'rf_' || n, 'm' || n, created_at - make_interval(secs => n %% 7), {names}"
            " FROM refund, generate_series(1, 1300) AS n WHERE id = %s",
            (record.id,),
        )
    rows = await exported(gateway, by="created", status="pending")
    assert len({row["refund_id"] for row in rows}) == 1301
    keys = [(row["created_at"], row["refund_id"]) for row in rows if row["rate_id"] == "1"]
    assert len(keys) == 1301
    assert [at for at, _ in keys] == sorted(at for at, _ in keys)


async def test_keys_export_what_they_may(gateway: Gateway, sandbox: Sandbox, order: dict[str, Any]) -> None:
    assert (await gateway.refund(order)).status_code == 201
    other = await add_shop(gateway.rt, sandbox.url, name="other")
    limited = {"Authorization": f"Bearer {await gateway.key('refunds:read', store_ids=['st_other'])}"}
    foreign = {"Authorization": f"Bearer {await gateway.key('refunds:read', tenant_id=other.tenant_id)}"}
    for headers in (limited, foreign):
        answer = await gateway.client.get("/v1/exports/refunds.ndjson", params=window(), headers=headers)
        assert (answer.status_code, answer.text) == (200, "")
        asked = await gateway.client.get("/v1/exports/refunds.csv", params=window(store="demo"), headers=headers)
        assert (asked.status_code, asked.json()["code"]) == (404, "store_not_found")
    writer = {"Authorization": f"Bearer {await gateway.key('refunds:write')}"}
    assert (await gateway.client.get("/v1/exports/refunds.csv", params=window(), headers=writer)).status_code == 403


@pytest.mark.parametrize(
    ("query", "pointer"),
    [({"from": "yesterday"}, "/from"), ({"to": "2001-01-01T00:00:00Z"}, "/to"), ({"by": "paid"}, "/by")],
)
async def test_a_time_that_is_none_is_refused(gateway: Gateway, query: dict[str, str], pointer: str) -> None:
    answer = await gateway.client.get("/v1/exports/refunds.csv", params=window(**query))
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, pointer)
