"""Batches over HTTP: taken on whole or not at all, carried out by a worker, and looked at from every side."""

import csv
import io
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from app import api
from app.api.batch_results import harmless
from app.api.batch_views import batch_view, is_over
from app.domain.batch import Stops
from app.flows import batch_results as flow_results
from app.flows.batch_results import Limit, Tally
from app.flows.results import Caller
from app.flows.runtime import Runtime
from app.sandbox.main import create_app as create_sandbox
from app.settings import Settings
from app.wiring import open_runtime
from tests.api.conftest import Gateway, opened
from tests.api.problems import problem
from tests.conftest import Sandbox, add_shop, eventually, serving

NOW = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
VIEW = flow_results.BatchView(
    id="bt_1",
    name="November",
    mode="run",
    status="running",
    stopped_by=None,
    start_at=None,
    release_until=None,
    stops=Stops(max_total={"EUR": Decimal(1000)}, stop_after_failures=5, stop_if_over=Decimal("0.0500")),
    limits={"EUR": Limit(max_total=Decimal(1000), taken=Decimal("40.1"))},
    schedule_id=None,
    created_by="key:k",
    released_by=None,
    created_at=NOW,
    updated_at=NOW,
    started_at=NOW,
    finished_at=None,
    items=7,
    processed=4,
    tallies=(
        Tally(status="succeeded", store="de", currency="EUR", items=2, amount=Decimal("30.1"), decimals=2),
        Tally(status="succeeded", store="at", currency="EUR", items=1, amount=Decimal(10), decimals=0),
        Tally(status="succeeded", store="de", currency="JPY", items=1, amount=Decimal(300), decimals=0),
        Tally(status="waiting", store="de", currency=None, items=3, amount=None, decimals=None),
    ),
    rate_per_s=3.14159,
    ends_at=NOW + timedelta(seconds=1),
)


@pytest.fixture
async def worker(settings: Settings, database_url: str, rt: Runtime) -> AsyncIterator[Runtime]:
    """Run a worker beside the gateway."""
    async with open_runtime(settings, works=True, url=database_url) as runtime:
        yield runtime


class OneCaller:
    """Stands for the key ring: everyone is the same caller."""

    async def identify(self, _database: object, _authorization: str | None) -> Caller:
        return Caller(tenant_id="tn_1", key_id="k", name="k", scopes=frozenset({"admin"}), store_ids=None)


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    """Ask an API that has no database: a request that gets past its form fails with 500."""
    app = api.build(Settings(rate_limit="100000/second"))
    app.state.keys = OneCaller()
    app.state.runtime = SimpleNamespace(database=None, settings=Settings())
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as asking:
        yield asking


async def over(gateway: Gateway, batch_id: str, *, within_s: float = 20) -> dict[str, Any]:
    """Wait until a batch is over, and give it."""

    async def look() -> dict[str, Any] | None:
        batch: dict[str, Any] = (await gateway.client.get(f"/v1/batches/{batch_id}")).json()
        return batch if batch["status"] in ("finished", "canceled", "expired", "stopped") else None

    found: dict[str, Any] = await eventually(look, within_s=within_s)
    return found


async def send(
    asked: Gateway | httpx.AsyncClient, content: str, media_type: str = "text/csv", **options: Any
) -> httpx.Response:
    """POST a file of the store demo."""
    client = asked.client if isinstance(asked, Gateway) else asked
    key = options.pop("key", None)
    headers = {"Content-Type": media_type, **({"Idempotency-Key": key} if key else {})}
    return await client.post("/v1/batches", content=content, headers=headers, params={"store": "demo", **options})


def test_a_batch_shows_its_money_as_text_by_status_store_and_currency() -> None:
    shown = batch_view(VIEW).model_dump(mode="json")
    assert shown["counts"]["succeeded"] == 4
    assert shown["counts"]["waiting"] == 3
    assert shown["amounts"] == [
        {"status": "waiting", "currency": None, "items": 3, "amount": None},
        {"status": "succeeded", "currency": "EUR", "items": 3, "amount": "40.10"},
        {"status": "succeeded", "currency": "JPY", "items": 1, "amount": "300"},
    ]
    assert [(part["store"], part["currency"], part["amount"]) for part in shown["stores"]] == [
        ("at", "EUR", "10"),
        ("de", None, None),
        ("de", "EUR", "30.10"),
        ("de", "JPY", "300"),
    ]
    assert shown["limits"] == [{"currency": "EUR", "max_total": "1000.00", "taken": "40.10"}]
    assert (shown["stop_if_over"], shown["stop_after_failures"], shown["rate_per_s"]) == ("0.05", 5, 3.14)
    assert shown["ends_at"] == "2026-11-21T10:00:01.000Z"
    assert not is_over(VIEW)


async def test_a_csv_is_carried_out_and_its_results_are_told(
    gateway: Gateway, sandbox: Sandbox, worker: Runtime
) -> None:
    orders = [await sandbox.new_order() for _ in range(3)]
    paid_on_delivery = await sandbox.new_order(payment_method="cod")
    rows = [f"{order['id']};CM-{i};5.0{i};Größe" for i, order in enumerate(orders, start=1)]
    rows[2] = rows[2].replace("Größe", "decline")
    text = "\ufefforder_id;external_reference;amount;reason\r\n" + "".join(f"{row}\r\n" for row in rows)
    text += f"{paid_on_delivery['id']};=CM+4;1.00;\r\n"
    answer = await send(gateway, text, name="November", max_total="EUR:100.00", stop_after_failures=5)
    assert answer.status_code == 202, answer.text
    made = answer.json()
    assert answer.headers["location"] == f"/v1/batches/{made['id']}"
    assert (made["name"], made["mode"], made["items"]) == ("November", "run", 4)
    batch = await over(gateway, made["id"])
    assert (batch["status"], batch["processed"]) == ("finished", 4)
    assert {name: count for name, count in batch["counts"].items() if count} == {
        "succeeded": 2,
        "failed": 1,
        "refused": 1,
    }
    assert [limit["max_total"] for limit in batch["limits"]] == ["100.00"]
    succeeded = next(part for part in batch["amounts"] if part["status"] == "succeeded")
    assert succeeded == {"status": "succeeded", "currency": "EUR", "items": 2, "amount": "10.03"}

    items = (await gateway.client.get(f"/v1/batches/{made['id']}/items", params={"status": "succeeded"})).json()["data"]
    assert [(item["item"], item["external_reference"], item["amount"], item["money"]) for item in items] == [
        (1, "CM-1", "5.01", "moved"),
        (2, "CM-2", "5.02", "moved"),
    ]
    refund = (await gateway.client.get(f"/v1/refunds/{items[0]['refund_id']}")).json()
    assert (refund["batch_id"], refund["batch_item"], refund["reason"]) == (made["id"], 1, "Größe")

    results = await gateway.client.get(f"/v1/batches/{made['id']}/results.csv")
    assert results.headers["content-type"] == "text/csv; charset=utf-8"
    assert results.headers["content-disposition"] == f'attachment; filename="{made["id"]}.csv"'
    table = list(csv.DictReader(io.StringIO(results.text)))
    assert [(row["row"], row["status"], row["money"], row["amount"], row["currency"]) for row in table[:2]] == [
        ("1", "succeeded", "moved", "5.01", "EUR"),
        ("2", "succeeded", "moved", "5.02", "EUR"),
    ]
    assert (table[2]["status"], table[2]["failure_code"], table[2]["money"]) == (
        "failed",
        "gateway_declined",
        "not_moved",
    )
    assert (table[3]["status"], table[3]["failure_code"]) == ("refused", "gateway_cannot_refund")
    assert table[3]["external_reference"] == "'=CM+4"
    assert table[0]["settled_at"].endswith("Z")
    assert [[payout["amount"] for payout in await sandbox.payouts(order["id"])] for order in orders] == [
        ["5.01"],
        ["5.02"],
        [],
    ]


async def test_the_same_file_again_pays_nothing_again(gateway: Gateway, sandbox: Sandbox, worker: Runtime) -> None:
    order = await sandbox.new_order()
    text = f"order_id,external_reference,amount\n{order['id']},CM-1,5.00\n"
    first = await send(gateway, text, key="key-1")
    same = await send(gateway, text, key="key-1")
    assert (first.status_code, same.status_code) == (202, 200)
    assert same.headers["idempotent-replayed"] == "true"
    assert same.json()["id"] == first.json()["id"]
    problem(await send(gateway, text, key="key-1", mode="hold"), 422, "idempotency_key_reused")
    await over(gateway, first.json()["id"])
    again = await send(gateway, text)
    assert again.json()["id"] != first.json()["id"]
    await over(gateway, again.json()["id"])
    [item] = (await gateway.client.get(f"{again.headers['location']}/items")).json()["data"]
    assert (item["status"], item["replayed"]) == ("succeeded", True)
    assert len(await sandbox.payouts(order["id"])) == 1


async def test_json_lines_and_json_make_the_same_batch(gateway: Gateway, sandbox: Sandbox) -> None:
    order = await sandbox.new_order()
    refund = {"order_id": str(order["id"]), "amount": "5.00"}
    made = [
        await send(gateway, json.dumps(refund), "application/x-ndjson", mode="hold", stop_if_over="0.05"),
        await gateway.client.post(
            "/v1/batches", json={"store": "demo", "items": [refund], "mode": "hold", "stop_if_over": "0.05"}
        ),
    ]
    for answer in made:
        assert answer.status_code == 202, answer.text
        batch = answer.json()
        assert (batch["status"], batch["mode"], batch["items"], batch["stop_if_over"]) == ("held", "hold", 1, "0.05")
        assert batch["release_until"] is not None


async def test_a_dry_run_says_what_the_refunds_would_be(gateway: Gateway, sandbox: Sandbox, worker: Runtime) -> None:
    order = await sandbox.new_order()
    answer = await send(gateway, f"order_id,sku,quantity\n{order['id']},SKU0,2\n{order['id']},SKU0,2\n", dry_run="true")
    assert answer.json()["mode"] == "check"
    batch = await over(gateway, answer.json()["id"])
    assert (batch["counts"]["valid"], batch["counts"]["refused"]) == (1, 1)
    valid = next(part for part in batch["stores"] if part["status"] == "valid")
    assert (valid["store"], valid["currency"], valid["amount"]) == ("demo", "EUR", "21.42")
    assert await sandbox.payouts(order["id"]) == []
    assert (await gateway.client.get("/v1/refunds")).json()["data"] == []


async def test_faults_of_form_and_business_come_together_and_nothing_is_made(gateway: Gateway) -> None:
    text = "store;order_id;external_reference;amount\n;12;CM-1;5.00\n;13;CM-2;5,00\n;14;CM-1;0.00\nother;15;CM-3;1.00\n"
    document = problem(await send(gateway, text), 422, "invalid_request")
    assert [(error["row"], error["line"], error.get("column"), error["code"]) for error in document["errors"]] == [
        (2, 3, "amount", "malformed_amount"),
        (3, 4, "amount", "nothing_to_refund"),
        (3, 4, "external_reference", "duplicate_reference"),
        (4, 5, "store", "store_not_found"),
    ]
    assert document["errors_in_all"] == 4
    assert "Row 2, column amount" in document["detail"]
    of_json = await gateway.client.post(
        "/v1/batches", json={"items": [{"store": "other", "order_id": "1", "amount": "1.00"}]}
    )
    [error] = problem(of_json, 422, "invalid_request")["errors"]
    assert (error["row"], error["pointer"], error["code"]) == (1, "/items/0/store", "store_not_found")
    assert (await gateway.client.get("/v1/batches")).json() == {"data": [], "next_cursor": None}


async def test_a_reference_that_belongs_to_another_refund_is_told(gateway: Gateway, order: dict[str, Any]) -> None:
    refund = (await gateway.refund(order, external_reference="CM-1")).json()
    answer = await send(gateway, f"order_id,external_reference,amount\n{order['id']},CM-1,6.00\n")
    [error] = problem(answer, 422, "invalid_request")["errors"]
    assert (error["code"], error["refund_id"], error["differing"]) == (
        "external_reference_conflict",
        refund["id"],
        ["amount"],
    )


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"mode": "go"}, ["mode"]),
        ({"max_total": "EUR"}, ["max_total"]),
        ({"max_total": "EUR:1,00"}, ["max_total"]),
        ({"max_total": ["EUR:1.00", "eur:2.00"]}, ["max_total"]),
        ({"stop_if_over": "1.5"}, ["stop_if_over"]),
        ({"stop_if_over": "0.00001"}, ["stop_if_over"]),
        ({"stop_after_failures": "0"}, ["stop_after_failures"]),
        ({"start_at": "2026-11-21T10:00:00"}, ["start_at"]),
        ({"start_at": "tomorrow"}, ["start_at"]),
        ({"release_within_s": "600"}, [""]),
        ({"dryrun": "true", "mode": "hold"}, ["dryrun"]),
    ],
)
async def test_options_that_are_not_right_are_refused(
    client: httpx.AsyncClient, options: dict[str, Any], names: list[str]
) -> None:
    answer = await send(client, "order_id,amount\n12,1.00\n", **options)
    errors = problem(answer, 422, "invalid_request")["errors"]
    assert [(error["in"], error["pointer"].strip("/")) for error in errors] == [("query", name) for name in names]


async def test_options_of_json_are_in_its_body_alone(client: httpx.AsyncClient) -> None:
    document = problem(await send(client, "{}", "application/json", dry_run="true"), 422, "invalid_request")
    assert [error["pointer"] for error in document["errors"]] == ["/dry_run", "/store"]
    both = await client.post("/v1/batches", json={"items": [], "release_within_s": 60, "stop_if_over": 0.05})
    assert [(error["pointer"], error["code"]) for error in problem(both, 422, "invalid_request")["errors"]] == [
        ("/stop_if_over", "malformed_value"),
        ("/items", "missing_field"),
    ]


async def test_other_media_types_and_charsets_are_refused(client: httpx.AsyncClient) -> None:
    for media_type in ("text/plain", "multipart/form-data", "text/csv; charset=windows-1252", "application/xml"):
        problem(await send(client, "order_id,amount\n12,1.00\n", media_type), 415, "unsupported_media_type")


async def test_media_types_are_read_as_they_may_be_written(gateway: Gateway) -> None:
    for media_type in ('TEXT/CSV; header=present; charset="UTF-8"', "application/csv"):
        answer = await send(gateway, "order_id,amount\n12,1.00\n", media_type, mode="hold")
        assert answer.status_code == 202, answer.text
    for media_type in ("application/jsonl", "application/x-ndjson; charset=utf-8"):
        answer = await send(gateway, '{"order_id": "12", "amount": "1.00"}', media_type, mode="hold")
        assert answer.status_code == 202, answer.text


async def test_a_held_batch_is_released_paused_resumed_and_canceled(gateway: Gateway, sandbox: Sandbox) -> None:
    order = await sandbox.new_order()
    text = f"order_id,amount\n{order['id']},5.00\n"
    where = (await send(gateway, text, mode="hold", release_within_s="600", max_total="EUR:9.00")).headers["location"]
    document = problem(await gateway.client.post(f"{where}/resume"), 409, "wrong_state")
    assert (document["batch"]["status"], document["allowed"]) == ("held", ["paused", "stopped"])
    writer = {"Authorization": f"Bearer {await gateway.key('refunds:write')}"}
    problem(await gateway.client.post(f"{where}/release", headers=writer), 403, "forbidden")
    assert (await gateway.client.post(f"{where}/release")).json()["status"] == "running"
    assert (await gateway.client.post(f"{where}/pause", headers=writer)).json()["status"] == "paused"
    problem(await gateway.client.post(f"{where}/resume", json={"max_total": {"EUR": 1}}), 422, "invalid_request")
    for unreadable in (b"{", b"\xff", b'{"max_total": {}, "max_total": {"EUR": "1"}}'):
        headers = {"Content-Type": "application/json"}
        answer = await gateway.client.post(f"{where}/resume", content=unreadable, headers=headers)
        assert answer.status_code in (400, 422), unreadable
        assert (await gateway.client.get(where)).json()["status"] == "paused"
    changed = {"max_total": {"eur": "8.00"}, "stop_if_over": "0.5"}
    assert (await gateway.client.post(f"{where}/resume", json=changed)).json()["status"] == "running"
    resumed = (await gateway.client.get(where)).json()
    assert (resumed["status"], resumed["limits"][0]["max_total"], resumed["stop_if_over"]) == ("running", "8.00", "0.5")
    await gateway.client.post(f"{where}/pause")
    await gateway.client.post(f"{where}/resume", json={"stop_after_failures": 3})
    resumed = (await gateway.client.get(where)).json()
    assert (resumed["limits"][0]["max_total"], resumed["stop_after_failures"]) == ("8.00", 3)
    canceled = (await gateway.client.post(f"{where}/cancel", headers=writer)).json()
    assert (canceled["status"], canceled["counts"]["dropped"], canceled["processed"]) == ("canceled", 1, 1)
    problem(await gateway.client.post(f"{where}/cancel"), 409, "wrong_state")


async def test_lists_of_batches_and_items_go_page_by_page(gateway: Gateway) -> None:
    rows = "".join(f"{i},1.00\n" for i in range(1, 6))
    made = [(await send(gateway, f"order_id,amount\n{rows}", mode="hold")).json()["id"] for _ in range(3)]
    await gateway.client.post(f"/v1/batches/{made[0]}/cancel")
    first = (await gateway.client.get("/v1/batches", params={"limit": 2})).json()
    rest = await gateway.client.get("/v1/batches", params={"limit": 2, "after": first["next_cursor"]})
    assert [batch["id"] for batch in first["data"] + rest.json()["data"]] == made[::-1]
    assert rest.json()["next_cursor"] is None
    held = (await gateway.client.get("/v1/batches", params={"status": "held"})).json()["data"]
    assert [batch["id"] for batch in held] == made[:0:-1]
    assert (await gateway.client.get("/v1/batches", params={"schedule": "sc_1"})).json()["data"] == []
    where = f"/v1/batches/{made[1]}/items"
    numbers: list[int] = []
    params: dict[str, Any] = {"limit": 2}
    while True:
        page = (await gateway.client.get(where, params=params)).json()
        numbers += [item["item"] for item in page["data"]]
        if page["next_cursor"] is None:
            break
        params["after"] = page["next_cursor"]
    assert numbers == [1, 2, 3, 4, 5]
    problem(await gateway.client.get(where, params={"after": "junk"}), 422, "invalid_request")
    problem(await gateway.client.get("/v1/batches", params={"after": "junk"}), 422, "invalid_request")
    table = list(csv.DictReader(io.StringIO((await gateway.client.get(f"/v1/batches/{made[1]}/results.csv")).text)))
    assert [(row["row"], row["status"], row["order_id"]) for row in table] == [
        (str(i), "waiting", str(i)) for i in range(1, 6)
    ]


async def test_what_is_not_there_is_not_found(gateway: Gateway) -> None:
    for batch_id in ("bt_01J8ZK5Q3N6T0V9W2X4Y7A8B9C", "nonsense"):
        for path in ("", "/items", "/results.csv", "/progress"):
            problem(await gateway.client.get(f"/v1/batches/{batch_id}{path}"), 404, "batch_not_found")
        for action in ("release", "pause", "resume", "cancel"):
            problem(await gateway.client.post(f"/v1/batches/{batch_id}/{action}"), 404, "batch_not_found")


async def test_a_key_for_some_stores_neither_makes_nor_sees_batches_of_others(
    rt: Runtime, gateway: Gateway, sandbox: Sandbox
) -> None:
    other = await add_shop(rt, sandbox.url, name="other")
    where = (await send(gateway, "order_id,amount\n12,1.00\n", mode="hold")).headers["location"]
    key = await gateway.key("admin", store_ids=[other.store_id])
    async with httpx.AsyncClient(base_url=gateway.url, headers={"Authorization": f"Bearer {key}"}) as limited:
        assert (await limited.get("/v1/batches")).json()["data"] == []
        for path in ("", "/items", "/results.csv", "/progress"):
            problem(await limited.get(f"{where}{path}"), 404, "batch_not_found")
        problem(await limited.post(f"{where}/cancel"), 404, "batch_not_found")
        body = {"store": "demo", "items": [{"order_id": "12", "amount": "1.00"}]}
        [error] = problem(await limited.post("/v1/batches", json=body), 422, "invalid_request")["errors"]
        assert error["code"] == "store_not_found"


async def test_a_large_file_is_taken_and_a_larger_one_is_not(rt: Runtime, gateway: Gateway) -> None:
    rows = "".join(f"{i},1.00,{'x' * 100}\n" for i in range(1, 10_001))
    answer = await send(gateway, f"order_id,amount,reason\n{rows}", mode="hold")
    assert (answer.status_code, answer.json()["items"]) == (202, 10_000)
    small = rt.settings.model_copy(update={"upload_limit_bytes": 300_000})
    async with opened(replace(rt, settings=small), gateway.shop) as limited:
        problem(await send(limited, f"order_id,amount,reason\n{rows}"), 413, "body_too_large")


@pytest.mark.parametrize("text", ["=1+1", "+49", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_a_cell_is_never_a_formula(text: str) -> None:
    assert harmless(text) == f"'{text}"


@pytest.mark.parametrize("value", ["5.00", "CM-1", "a=b", "", None, 7])
def test_other_cells_stay_as_they_are(value: object) -> None:
    assert harmless(value) == value


async def test_the_example_in_the_repository_does_what_it_says(rt: Runtime, worker: Runtime, tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "deploy" / "examples" / "refunds.csv").read_text()
    async with serving(create_sandbox(tmp_path / "practice.db", seed=True)) as url:
        shop = await add_shop(rt, url)
        async with opened(rt, shop) as gateway:
            batch = await over(gateway, (await send(gateway, text)).json()["id"])
            items = (await gateway.client.get(f"/v1/batches/{batch['id']}/items")).json()["data"]
    assert batch["status"] == "finished"
    failures = {item["item"]: item["failure"]["code"] for item in items if item["failure"]}
    assert failures == {6: "gateway_cannot_refund", 8: "gateway_declined"}
    assert batch["counts"]["succeeded"] == 6
