"""Reconciliations over the API: uploads, progress, reports in three forms, and signing off."""

import csv
import io
import json
from datetime import UTC, date, datetime, timedelta
from typing import Any

import httpx
import pytest

from app.flows import reconciling
from tests.api.conftest import Gateway
from tests.conftest import Sandbox, add_shop


def window(**fields: Any) -> dict[str, Any]:
    now = datetime.now(UTC)
    return {"store": "demo", "from": (now - timedelta(hours=1)).isoformat(), "to": now.isoformat(), **fields}


async def post(gateway: Gateway, body: dict[str, Any], **headers: str) -> httpx.Response:
    return await gateway.client.post("/v1/reconciliations", json=body, headers=headers)


async def post_csv(gateway: Gateway, content: bytes | str, **query: str) -> httpx.Response:
    return await gateway.client.post(
        "/v1/reconciliations", content=content, params=window(**query), headers={"Content-Type": "text/csv"}
    )


async def finished(gateway: Gateway, **fields: Any) -> dict[str, Any]:
    """Start a reconciliation, carry it out, and give it as it is then."""
    made = await post(gateway, window(**fields))
    assert made.status_code == 202, made.text
    await reconciling.run(gateway.rt, made.json()["id"])
    return dict((await gateway.client.get(made.headers["Location"])).json())


async def foreign(sandbox: Sandbox, order: dict[str, Any], amount: str = "3.00", reason: str = "") -> str:
    body = {"amount": amount, "reason": reason}
    answer = await sandbox.client.post(f"/sandbox/orders/{order['id']}/refunds", json=body)
    return str(answer.json()["id"])


async def test_a_reconciliation_is_taken_on_shows_its_progress_and_then_its_totals(
    gateway: Gateway, sandbox: Sandbox, order: dict[str, Any]
) -> None:
    assert (await gateway.refund(order)).status_code == 201
    row_id = await foreign(sandbox, order)
    made = await post(gateway, window())
    assert made.status_code == 202
    shown = made.json()
    assert (shown["status"], shown["progress"]["phase"], shown["matched"]) == ("queued", "reading", None)
    early = await gateway.client.get(f"{made.headers['Location']}/report.csv")
    assert (early.status_code, early.json()["code"]) == (409, "reconciliation_not_finished")
    await reconciling.run(gateway.rt, shown["id"])
    report = (await gateway.client.get(made.headers["Location"])).json()
    assert (report["status"], report["matched"], report["drifts"]) == ("finished", 1, 1)
    assert report["progress"]["rows_read"] == report["progress"]["rows_expected"] == 2
    today = report["totals"][0]["day"]
    assert report["totals"] == [
        {"day": today, "currency": "EUR", "class": "matched", "refunds": 1, "amount": "5.00"},
        {"day": today, "currency": "EUR", "class": "missing_in_ledger", "refunds": 1, "amount": "3.00"},
    ]
    [drift] = (await gateway.client.get(f"{made.headers['Location']}/drifts")).json()["data"]
    assert (drift["class"], drift["store_refund_id"], drift["action"]) == (
        "missing_in_ledger",
        row_id,
        "accept_as_observed",
    )
    none = await gateway.client.get(f"{made.headers['Location']}/drifts", params={"class": "in_doubt"})
    assert none.json()["data"] == []
    listed = (await gateway.client.get("/v1/reconciliations", params={"status": "finished"})).json()
    assert [entry["id"] for entry in listed["data"]] == [shown["id"]]


async def test_drifts_are_listed_page_by_page(gateway: Gateway, sandbox: Sandbox) -> None:
    for _ in range(5):
        await foreign(sandbox, await sandbox.new_order())
    shown = await finished(gateway)
    url, pages = f"/v1/reconciliations/{shown['id']}/drifts?limit=2", []
    while True:
        answer = await gateway.client.get(url)
        pages.append([drift["id"] for drift in answer.json()["data"]])
        if "next" not in answer.links:
            break
        url = answer.links["next"]["url"]
    assert [len(page) for page in pages] == [2, 2, 1]
    assert len({drift for page in pages for drift in page}) == 5


async def test_the_same_key_starts_one_reconciliation(gateway: Gateway) -> None:
    body = window(erp=[{"reference": "R-1", "amount": "5.0", "date": f"{datetime.now(UTC).date()}"}])
    first = await post(gateway, body, **{"Idempotency-Key": "night"})
    body["erp"][0]["amount"] = "5.00"
    again = await post(gateway, body, **{"Idempotency-Key": "night"})
    assert (first.status_code, again.status_code) == (202, 200)
    assert again.json()["id"] == first.json()["id"]
    assert again.headers["Idempotent-Replayed"] == "true"
    other = await post(gateway, {**body, "erp": []}, **{"Idempotency-Key": "night"})
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert other.json()["resource_id"] == first.json()["id"]


@pytest.mark.parametrize("delimiter", [",", ";"])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
async def test_an_erps_list_is_taken_as_csv(
    gateway: Gateway, sandbox: Sandbox, order: dict[str, Any], delimiter: str, bom: bytes
) -> None:
    assert (await gateway.refund(order, external_reference="CM-1")).status_code == 201
    today = datetime.now(UTC).date()
    text = f"Date,amount,reference,order,currency\r\n{today},5.00,CM-1,,EUR\r\n\r\n{today}T10:00:00Z,1.00,,77,\r\n"
    made = await post_csv(gateway, bom + text.replace(",", delimiter).encode())
    assert made.status_code == 202, made.text
    assert made.json()["erp_entries"] == 2
    await reconciling.run(gateway.rt, made.json()["id"])
    [drift] = (await gateway.client.get(f"{made.headers['Location']}/drifts")).json()["data"]
    assert (drift["class"], drift["refund_id"], drift["evidence"]["erp"]["order"]) == ("missing_in_gateway", None, "77")


def test_the_days_of_an_erp_are_utc() -> None:
    assert datetime.fromisoformat("2026-11-21T00:30:00+02:00").astimezone(UTC).date() == date(2026, 11, 20)


async def test_every_fault_of_a_list_is_told_with_its_place_and_nothing_is_made(gateway: Gateway) -> None:
    today = datetime.now(UTC).date()
    rows = [
        "reference;order;amount;date;currency",
        f"CM-1;;1,50;{today};EUR",
        f";;1.50;{today};EUR",
        "CM-2;;0;yesterday;Euro",
        f"CM-3;;2.00;{today}",
        "CM-4;;2.00;1999-01-01;EUR",
        f"CM-5;;2.00;{today};EUR",
    ]
    answer = await post_csv(gateway, "\n".join(rows))
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    faults = [(e["row"], e["line"], e.get("column"), e["code"]) for e in answer.json()["errors"]]
    assert faults == [
        (1, 2, "amount", "malformed_amount"),
        (2, 3, "reference", "missing_field"),
        (3, 4, "amount", "out_of_range"),
        (3, 4, "currency", "malformed_value"),
        (3, 4, "date", "malformed_value"),
        (4, 5, None, "invalid_csv"),
        (5, 6, "date", "out_of_range"),
    ]
    assert "comma" in answer.json()["errors"][0]["message"]
    assert answer.json()["errors_in_all"] == 7
    assert (await gateway.client.get("/v1/reconciliations")).json()["data"] == []


@pytest.mark.parametrize(
    ("content", "code", "column"),
    [
        ("", "missing_field", None),
        ("reference;amount\n", "missing_field", None),
        ("reference,amount,date,date\n", "duplicate_key", "date"),
        ("reference,ammount,amount,date\n", "unknown_field", "ammount"),
        ('reference,amount,date\n"CM-1,1.00,2026-11-21\n', "invalid_csv", None),
        ("reference,amount,date\nCM-1,1,50,2026-11-21\n", "invalid_csv", None),
        ("amount,date\n", "missing_field", None),
        ("reference,amount,date\nCM-\xe9,1.00,2026-11-21\n".encode("latin-1"), "invalid_encoding", None),
    ],
)
async def test_a_file_that_cannot_be_read_is_refused(
    gateway: Gateway, content: str | bytes, code: str, column: str | None
) -> None:
    answer = await post_csv(gateway, content)
    assert answer.status_code == 422, answer.text
    assert (answer.json()["errors"][0]["code"], answer.json()["errors"][0].get("column")) == (code, column)


async def test_faults_of_a_json_list_point_into_it(gateway: Gateway) -> None:
    today = f"{datetime.now(UTC).date()}"
    entries: list[Any] = [
        {"reference": "CM-1", "amount": 1.5, "date": today},
        {"reference": 7, "amount": "1.50", "date": today, "a/b": 1},
        "no entry",
        {"order": "12", "amount": "1.50", "date": today},
    ]
    answer = await post(gateway, {**window(erp=entries), "storre": "demo"})
    faults = [(e["pointer"], e["code"]) for e in answer.json()["errors"]]
    assert faults == [
        ("/storre", "unknown_field"),
        ("/erp/0/amount", "amount_not_text"),
        ("/erp/1/a~1b", "unknown_field"),
        ("/erp/1/reference", "wrong_type"),
        ("/erp/2", "wrong_type"),
    ]


async def test_requests_that_mean_nothing_are_refused(gateway: Gateway) -> None:
    now = datetime.now(UTC)
    for body, code, pointer in (
        ({}, "missing_field", "/store"),
        ([], "body_not_an_object", ""),
        (window(erp="none"), "wrong_type", "/erp"),
        (window(to=(now + timedelta(days=1)).isoformat()), "out_of_range", "/to"),
        (window(to=(now - timedelta(days=1)).isoformat()), "out_of_range", "/to"),
    ):
        answer = await gateway.client.post("/v1/reconciliations", json=body)
        first = answer.json()["errors"][0]
        assert (answer.status_code, first["code"], first["pointer"]) == (422, code, pointer)
    unknown = await post(gateway, window(store="other"))
    assert (unknown.status_code, unknown.json()["code"]) == (404, "store_not_found")
    xml = await gateway.client.post("/v1/reconciliations", content=b"<a/>", headers={"Content-Type": "text/xml"})
    assert xml.status_code == 415
    latin = {"Content-Type": "text/csv; charset=iso-8859-1"}
    encoded = await gateway.client.post("/v1/reconciliations", content=b"a", params=window(), headers=latin)
    assert encoded.status_code == 415
    without = await gateway.client.post("/v1/reconciliations", content=b"a", headers={"Content-Type": "text/csv"})
    assert [fault["pointer"] for fault in without.json()["errors"]] == ["/store", "/from", "/to"]
    both = await gateway.client.post("/v1/reconciliations", json=window(), params={"store": "demo"})
    assert both.json()["errors"][0]["in"] == "query"
    odd = await gateway.client.get("/v1/reconciliations", params={"schedule": "\0"})
    assert (odd.status_code, odd.json()["errors"][0]["pointer"]) == (422, "/schedule")


async def test_a_report_reads_the_same_as_json_and_csv(
    gateway: Gateway, sandbox: Sandbox, order: dict[str, Any]
) -> None:
    assert (await gateway.refund(order, external_reference="=1+1")).status_code == 201
    await foreign(sandbox, order)
    shown = await finished(gateway, erp=[])
    report = (await gateway.client.get(f"/v1/reconciliations/{shown['id']}/report.json")).json()
    found = report.pop("drifts_found")
    assert report == shown
    assert [drift["class"] for drift in found] == ["missing_in_ledger", "missing_in_erp", "missing_in_erp"]
    answer = await gateway.client.get(f"/v1/reconciliations/{shown['id']}/report.csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [(row["class"], row["amount"], row["refund_id"]) for row in rows] == [
        (drift["class"], drift["amount"], drift["refund_id"]) for drift in found
    ]
    assert sorted(row["external_reference"] for row in rows) == ["", "", "'=1+1"]
    assert json.loads(rows[0]["evidence"]) == found[0]["evidence"]


async def test_the_page_shows_everything_and_runs_nothing(
    gateway: Gateway, sandbox: Sandbox, order: dict[str, Any]
) -> None:
    evil = "<script>alert(1)</script>"
    assert (await gateway.refund(order, external_reference=evil)).status_code == 201
    shown = await finished(gateway, erp=[])
    signing = {"name": "<b>Ada", "note": "<img src=x>"}
    await gateway.client.post(f"/v1/reconciliations/{shown['id']}/sign-off", json=signing)
    answer = await gateway.client.get(f"/v1/reconciliations/{shown['id']}/report.html")
    page = answer.text
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'; style-src 'sha256-" in answer.headers["content-security-policy"]
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert "<script" not in page
    assert "<img" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "Signed off by <strong>&lt;b&gt;Ada</strong>" in page
    assert "http" not in page.split("<body>")[0]
    assert "Missing in the ERP" in page
    assert "Book the refund in the ERP." in page
    assert page.rstrip().endswith("</html>")


async def test_a_report_is_signed_off_once(gateway: Gateway, order: dict[str, Any]) -> None:
    shown = await finished(gateway)
    url = f"/v1/reconciliations/{shown['id']}/sign-off"
    key = await gateway.key("refunds:read", "refunds:write")
    signing = {"name": "Ada", "note": "fine"}
    denied = await gateway.client.post(url, json=signing, headers={"Authorization": f"Bearer {key}"})
    assert (denied.status_code, denied.json()["required_scope"]) == (403, "refunds:approve")
    signed = await gateway.client.post(url, json=signing)
    assert (signed.status_code, signed.json()["signed_off"]["name"]) == (200, "Ada")
    assert (await gateway.client.post(url, json=signing)).json() == signed.json()
    other = await gateway.client.post(url, json={"name": "Bob", "note": "fine"})
    assert (other.status_code, other.json()["code"]) == (409, "already_signed_off")
    assert other.json()["reconciliation"]["signed_off"]["name"] == "Ada"


async def test_keys_see_what_they_may(gateway: Gateway, sandbox: Sandbox) -> None:
    shown = await finished(gateway)
    elsewhere = await add_shop(gateway.rt, sandbox.url, name="other")
    keys = {
        "limited": await gateway.key("admin", store_ids=["st_other"]),
        "of another tenant": await gateway.key("admin", tenant_id=elsewhere.tenant_id),
    }
    for key in keys.values():
        headers = {"Authorization": f"Bearer {key}"}
        for path in ("", "/drifts", "/report.csv", "/report.html", "/report.json"):
            answer = await gateway.client.get(f"/v1/reconciliations/{shown['id']}{path}", headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (404, "reconciliation_not_found")
        assert (await gateway.client.get("/v1/reconciliations", headers=headers)).json()["data"] == []
        assert (await gateway.client.post("/v1/reconciliations", json=window(), headers=headers)).status_code == 404
    reader = {"Authorization": f"Bearer {await gateway.key('refunds:read')}"}
    assert (await gateway.client.post("/v1/reconciliations", json=window(), headers=reader)).status_code == 403
    malformed = await gateway.client.get("/v1/reconciliations/rc_%00")
    assert malformed.status_code == 404
