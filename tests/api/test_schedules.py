"""Schedules over the API: what can be made, what is refused and where, and what a look ahead shows."""

from typing import Any

import httpx
import pytest

from app.flows import schedule_runs
from app.settings import Settings
from tests.api.conftest import Gateway
from tests.conftest import Sandbox, add_shop


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"reconciliation_cron": "off"})


BODY: dict[str, Any] = {
    "name": "Uncollected parcels",
    "store": "demo",
    "cron": "0 6 * * 1-5",
    "time_zone": "Europe/Berlin",
    "selector": {
        "status": ["processing"],
        "created": {"newer_than": "P30D"},
        "payment_method": ["sandboxpay"],
        "currency": "EUR",
        "total": {"min": "5.00", "max": "100.00"},
        "sku": ["SKU0"],
        "customer": {"email": "ada@example.com"},
        "refunded": "none",
    },
    "action": {"type": "percentage", "percentage": "50"},
    "reason": "Parcel not collected",
    "reason_code": "uncollected",
    "payment": "gateway",
    "metadata": {"case": "7"},
    "mode": "run",
    "max_orders": 200,
    "max_total": {"eur": "5000.00"},
    "missed": "skip",
}


async def post(
    gateway: Gateway, path: str = "", headers: dict[str, str] | None = None, **changes: Any
) -> httpx.Response:
    body = {name: value for name, value in {**BODY, **changes}.items() if value is not ...}
    return await gateway.client.post(f"/v1/schedules{path}", json=body, headers=headers or {})


async def test_a_schedule_is_made_read_listed_and_deleted(gateway: Gateway) -> None:
    made = await post(gateway)
    assert made.status_code == 201, made.text
    shown = made.json()
    assert made.headers["location"] == f"/v1/schedules/{shown['id']}"
    assert (
        shown.items()
        >= {
            "object": "schedule",
            "kind": "refunds",
            "name": "Uncollected parcels",
            "store": "demo",
            "selector": BODY["selector"],
            "action": BODY["action"],
            "max_total": {"EUR": "5000.00"},
            "metadata": {"case": "7"},
            "mode": "run",
            "missed": "skip",
            "paused": False,
            "window": None,
            "is_default": False,
        }.items()
    )
    assert shown["next_run_at"].endswith("Z")
    assert shown["created_by"].startswith("key:")
    path = made.headers["location"]
    assert (await gateway.client.get(path)).json() == shown
    second = (await post(gateway, name="Second")).json()
    page = await gateway.client.get("/v1/schedules", params={"limit": 1})
    assert [one["id"] for one in page.json()["data"]] == [second["id"]]
    rest = await gateway.client.get("/v1/schedules", params={"after": page.json()["next_cursor"], "store": "demo"})
    assert [one["id"] for one in rest.json()["data"]] == [shown["id"]]
    assert (await gateway.client.get("/v1/schedules", params={"kind": "reconciliation"})).json()["data"] == []
    assert (await gateway.client.delete(path)).status_code == 200
    assert (await gateway.client.get(path)).json()["code"] == "schedule_not_found"
    assert (await gateway.client.delete(path)).status_code == 404


async def test_a_repeated_request_makes_one_schedule(gateway: Gateway) -> None:
    key = {"Idempotency-Key": "s-1"}
    first, again = await post(gateway, headers=key), await post(gateway, headers=key)
    assert (again.status_code, again.json()["id"]) == (201, first.json()["id"])
    assert again.headers["idempotent-replayed"] == "true"
    other = await post(gateway, headers=key, name="Other")
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert len((await gateway.client.get("/v1/schedules")).json()["data"]) == 1


FAULTS: list[tuple[dict[str, Any], str, str]] = [
    ({"name": ...}, "/name", "missing_field"),
    ({"cron": "0 6 * *"}, "/cron", "malformed_value"),
    ({"cron": "* * * * *"}, "/cron", "malformed_value"),
    ({"cron": "0 0 31 4 *"}, "/cron", "malformed_value"),
    ({"time_zone": "Europe/Atlantis"}, "/time_zone", "malformed_value"),
    ({"selector": ...}, "", "missing_field"),
    ({"action": ...}, "", "missing_field"),
    ({"selector": {}}, "/selector", "missing_field"),
    ({"selector": {"created": {}}}, "/selector/created", "missing_field"),
    ({"selector": {"created": {"newer_than": "P1M"}}}, "/selector/created/newer_than", "malformed_value"),
    ({"selector": {"created": {"newer_than": 14}}}, "/selector/created/newer_than", "wrong_type"),
    ({"selector": {"paid": {"newer_than": "P1D", "older_than": "P2D"}}}, "/selector/paid", "out_of_range"),
    ({"selector": {"total": {"min": 5}}}, "/selector/total/min", "amount_not_text"),
    ({"selector": {"total": {"min": "5.00", "max": "4.00"}}}, "/selector/total", "out_of_range"),
    ({"selector": {"status": []}}, "/selector/status", "malformed_value"),
    ({"selector": {"status": ["Wc Processing"]}}, "/selector/status/0", "malformed_value"),
    ({"selector": {"customer": {}}}, "/selector/customer", "missing_field"),
    ({"selector": {"customer": {"id": "1", "email": "a@b.c"}}}, "/selector/customer", "missing_field"),
    ({"selector": {"customer": {"email": "nobody"}}}, "/selector/customer/email", "malformed_value"),
    ({"selector": {"skus": ["A"]}}, "/selector/skus", "unknown_field"),
    ({"selector": {"refunded": "wholly"}}, "/selector/refunded", "invalid_choice"),
    ({"action": {"type": "everything"}}, "/action", "malformed_value"),
    ({"action": "remaining"}, "/action", "malformed_value"),
    ({"action": {"type": "percentage"}}, "/action/percentage", "missing_field"),
    ({"action": {"type": "percentage", "percentage": "100.01"}}, "/action/percentage", "out_of_range"),
    ({"action": {"type": "percentage", "percentage": "0"}}, "/action/percentage", "out_of_range"),
    ({"action": {"type": "percentage", "percentage": "5", "amount": "1.00"}}, "/action/amount", "unknown_field"),
    ({"action": {"type": "amount", "amount": "5.00"}}, "/action/currency", "missing_field"),
    ({"action": {"type": "amount", "amount": "5,00", "currency": "EUR"}}, "/action/amount", "malformed_amount"),
    ({"action": {"type": "amount", "amount": "0.00", "currency": "EUR"}}, "/action", "out_of_range"),
    ({"action": {"type": "lines", "lines": []}}, "/action/lines", "malformed_value"),
    ({"action": {"type": "lines", "lines": [{"sku": "A"}]}}, "/action/lines/0/quantity", "missing_field"),
    ({"action": {"type": "lines", "lines": [{"sku": "A", "quantity": 1}] * 2}}, "/action/lines", "duplicate_key"),
    ({"max_orders": 0}, "/max_orders", "out_of_range"),
    ({"max_orders": 10_001}, "/max_orders", "out_of_range"),
    ({"max_total": {"EUR": "1.001"}}, "/max_total", "malformed_value"),
    ({"max_total": {"EUR": "1.00", "eur": "2.00"}}, "/max_total", "duplicate_key"),
    ({"max_total": {"Euro": "1.00"}}, "/max_total/Euro", "malformed_value"),
    ({"missed": "some"}, "/missed", "invalid_choice"),
    ({"mode": "check"}, "/mode", "invalid_choice"),
    ({"window": "P1D"}, "", "malformed_value"),
    ({"kind": "reconciliation"}, "", "malformed_value"),
]


async def test_every_fault_is_pointed_at_and_nothing_is_made(gateway: Gateway) -> None:
    for changes, pointer, code in FAULTS:
        for path in ("", "/preview"):
            answer = await post(gateway, path, **changes)
            assert answer.status_code == 422, (changes, answer.text)
            faults = [(fault["pointer"], fault["code"]) for fault in answer.json()["errors"]]
            assert (pointer, code) in faults, (changes, faults)
    many = await post(gateway, cron="nonsense", time_zone="Nowhere", selector={"total": {"min": "2", "max": "1"}})
    assert [fault["pointer"] for fault in many.json()["errors"]] == ["/time_zone", "/cron", "/selector/total"]
    assert (await gateway.client.get("/v1/schedules")).json()["data"] == []


async def test_a_store_that_is_not_there_is_said(gateway: Gateway) -> None:
    answer = await post(gateway, store="elsewhere")
    assert (answer.status_code, answer.json()["code"]) == (404, "store_not_found")


async def test_a_schedule_is_changed_part_by_part(gateway: Gateway) -> None:
    made = (await post(gateway)).json()
    path = f"/v1/schedules/{made['id']}"
    changed = await gateway.client.patch(path, json={"cron": "30 7 * * *", "reason_code": None, "max_total": None})
    assert changed.status_code == 200, changed.text
    expected: dict[str, Any] = {"cron": "30 7 * * *", "reason_code": None, "max_total": {}}
    moving = {"next_run_at", "updated_at"}
    for name, value in changed.json().items():
        if name not in moving:
            assert value == expected.get(name, made[name]), name
    assert changed.json()["next_run_at"] != made["next_run_at"]
    selector = {"modified": {"older_than": "36h"}, "total": {"min": "1.50"}}
    again = await gateway.client.patch(path, json={"selector": selector, "action": {"type": "remaining"}})
    assert again.json()["selector"] == {"modified": {"older_than": "P1DT12H"}, "total": {"min": "1.50"}}
    assert again.json()["next_run_at"] == changed.json()["next_run_at"]


@pytest.mark.parametrize(
    ("changes", "pointer", "code"),
    [
        ({}, "", "missing_field"),
        ({"cron": None}, "/cron", "missing_field"),
        ({"cron": "*/2 * * * *"}, "/cron", "malformed_value"),
        ({"action": None}, "", "missing_field"),
        ({"selector": {"paid": {"newer_than": "x"}}}, "/selector/paid/newer_than", "malformed_value"),
        ({"window": "P1D"}, "", "malformed_value"),
        ({"store": "demo"}, "/store", "unknown_field"),
        ({"kind": "reconciliation"}, "/kind", "unknown_field"),
    ],
)
async def test_a_change_that_cannot_be_changes_nothing(
    gateway: Gateway, changes: dict[str, Any], pointer: str, code: str
) -> None:
    made = (await post(gateway)).json()
    answer = await gateway.client.patch(f"/v1/schedules/{made['id']}", json=changes)
    assert answer.status_code == 422, answer.text
    assert (pointer, code) in [(fault["pointer"], fault["code"]) for fault in answer.json()["errors"]]
    assert (await gateway.client.get(f"/v1/schedules/{made['id']}")).json() == made


async def test_a_schedule_is_paused_and_resumed(gateway: Gateway) -> None:
    made = (await post(gateway)).json()
    path = f"/v1/schedules/{made['id']}"
    for _ in range(2):
        paused = (await gateway.client.post(f"{path}/pause")).json()
        assert (paused["paused"], paused["next_run_at"]) == (True, None)
    resumed = (await gateway.client.post(f"{path}/resume")).json()
    assert (resumed["paused"], resumed["next_run_at"]) == (False, made["next_run_at"])


async def test_a_run_now_shows_what_it_came_to(gateway: Gateway, sandbox: Sandbox) -> None:
    order = await sandbox.new_order()
    await sandbox.new_order(lines=[{"sku": "SKU7", "price": "9.00"}])
    made = (await post(gateway, mode="hold")).json()
    path = f"/v1/schedules/{made['id']}"
    key = {"Idempotency-Key": "now-1"}
    asked = await gateway.client.post(f"{path}/run-now", headers=key)
    assert (asked.status_code, asked.json()["status"]) == (202, "due")
    again = await gateway.client.post(f"{path}/run-now", headers=key)
    assert (again.json()["id"], again.headers["idempotent-replayed"]) == (asked.json()["id"], "true")
    await schedule_runs.run(gateway.rt, asked.json()["id"])
    (run,) = (await gateway.client.get(f"{path}/runs")).json()["data"]
    assert (
        run.items()
        >= {
            "id": asked.json()["id"],
            "status": "finished",
            "looked_at": 2,
            "selected": 1,
            "totals": {"EUR": "16.07"},
            "left_out": {"sku": 1},
            "failure": None,
        }.items()
    )
    batch = (await gateway.client.get(f"/v1/batches/{run['batch_id']}")).json()
    assert (batch["status"], batch["schedule_id"]) == ("held", made["id"])
    items = (await gateway.client.get(f"/v1/batches/{run['batch_id']}/items")).json()["data"]
    assert [item["external_reference"] for item in items] == [f"{made['id']}:{order['id']}"]
    second = await gateway.client.post(f"{path}/run-now")
    page = (await gateway.client.get(f"{path}/runs", params={"limit": 1})).json()
    assert [one["id"] for one in page["data"]] == [second.json()["id"]]
    rest = (await gateway.client.get(f"{path}/runs", params={"after": page["next_cursor"]})).json()
    assert [one["id"] for one in rest["data"]] == [run["id"]]


@pytest.mark.parametrize("saved", [False, True])
async def test_a_look_ahead_shows_the_next_runs_and_what_would_be_refunded(
    gateway: Gateway,
    sandbox: Sandbox,
    saved: bool,
) -> None:
    order = await sandbox.new_order()
    other = await sandbox.new_order(lines=[{"sku": "SKU7", "price": "9.00"}])
    if saved:
        made = (await post(gateway)).json()
        answer = await gateway.client.get(f"/v1/schedules/{made['id']}/preview", params={"limit": 5})
    else:
        answer = await post(gateway, "/preview?limit=5")
    assert answer.status_code == 200, answer.text
    ahead = answer.json()
    assert len(ahead["next_runs"]) == 5
    for run in ahead["next_runs"]:
        assert run["local"][11:] in ("06:00:00+01:00", "06:00:00+02:00")
    (picked,) = ahead["selected"]
    assert (
        picked.items()
        >= {
            "order": {"id": str(order["id"]), "number": str(order["id"])},
            "amount": "16.07",
            "currency": "EUR",
        }.items()
    )
    (left,) = ahead["left_out"]
    assert (left["order"]["id"], left["reason"]) == (str(other["id"]), "sku")
    assert (ahead["totals"], ahead["left_out_by_reason"]) == ({"EUR": "16.07"}, {"sku": 1})
    assert (await gateway.client.get("/v1/batches")).json()["data"] == []
    assert len((await gateway.client.get("/v1/schedules")).json()["data"]) == int(saved)


async def test_a_reconciliation_is_scheduled_and_looked_ahead_to(gateway: Gateway) -> None:
    body = {"name": "Weekly", "kind": "reconciliation", "store": "demo", "cron": "0 4 * * 1", "window": "P7D"}
    made = await gateway.client.post("/v1/schedules", json=body)
    assert made.status_code == 201, made.text
    assert (made.json()["window"], made.json()["selector"], made.json()["mode"]) == ("P7D", None, None)
    path = f"/v1/schedules/{made.json()['id']}"
    ahead = (await gateway.client.get(f"{path}/preview")).json()
    begin, end = ahead["next_runs"][0]["reconciles"]
    assert (end, ahead["selected"]) == (ahead["next_runs"][0]["at"].replace("T04", "T00"), [])
    assert begin < end
    changed = await gateway.client.patch(path, json={"window": "P1D", "name": "Daily"})
    assert (changed.json()["window"], changed.json()["name"]) == ("P1D", "Daily")
    refused = await gateway.client.patch(path, json={"window": "P40D"})
    assert [fault["pointer"] for fault in refused.json()["errors"]] == ["/window"]


async def test_a_key_sees_the_schedules_of_its_own_stores_only(gateway: Gateway, sandbox: Sandbox) -> None:
    made = (await post(gateway)).json()
    elsewhere = await add_shop(gateway.rt, sandbox.url, name="other")
    stranger = await gateway.key("admin", tenant_id=elsewhere.tenant_id)
    limited = await gateway.key("admin", store_ids=[elsewhere.store_id])
    for key in (stranger, limited):
        headers = {"Authorization": f"Bearer {key}"}
        assert (await gateway.client.get("/v1/schedules", headers=headers)).json()["data"] == []
        for method, path in (
            ("GET", ""),
            ("DELETE", ""),
            ("GET", "/runs"),
            ("GET", "/preview"),
            ("POST", "/pause"),
            ("POST", "/resume"),
            ("POST", "/run-now"),
        ):
            answer = await gateway.client.request(method, f"/v1/schedules/{made['id']}{path}", headers=headers)
            assert answer.status_code == 404, (method, path)
        assert (await gateway.client.post("/v1/schedules", json=BODY, headers=headers)).status_code == 404
    assert (await gateway.client.get(f"/v1/schedules/{made['id']}")).json() == made


async def test_reading_needs_one_scope_and_writing_another(gateway: Gateway) -> None:
    made = (await post(gateway)).json()
    reader = {"Authorization": f"Bearer {await gateway.key('refunds:read')}"}
    assert (await gateway.client.get(f"/v1/schedules/{made['id']}", headers=reader)).status_code == 200
    assert (await gateway.client.get(f"/v1/schedules/{made['id']}/preview", headers=reader)).status_code == 200
    for method, path in (
        ("POST", ""),
        ("POST", "/preview"),
        ("DELETE", f"/{made['id']}"),
        ("POST", f"/{made['id']}/pause"),
    ):
        answer = await gateway.client.request(method, f"/v1/schedules{path}", headers=reader, json=BODY)
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


async def test_a_store_that_cannot_be_read_is_said_by_a_look_ahead(gateway: Gateway, sandbox: Sandbox) -> None:
    await sandbox.fault(operation="read", fault="maintenance", times=50)
    answer = await post(gateway, "/preview")
    assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable")
    assert int(answer.headers["retry-after"]) > 0
