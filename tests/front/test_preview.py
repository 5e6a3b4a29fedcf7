"""What the front says a refund would come to, beside what WooCommerce 11.1 itself says of the same order."""

from collections.abc import Mapping, Sequence
from typing import Any

import httpx
import pytest

from app.ledger import refunds
from tests.conftest import Sandbox
from tests.front.conftest import Front

Line = Mapping[str, Any]


async def install(sandbox: Sandbox, **settings: Any) -> None:
    """Change what the store has installed."""
    answer = await sandbox.client.post("/sandbox/settings", json=settings)
    assert answer.status_code == 200, answer.text


async def big_order(sandbox: Sandbox) -> dict[str, Any]:
    """Make an order with two products, shipping and a fee, each taxed in whole cents."""
    return await sandbox.new_order(
        lines=[
            {"name": "Album", "sku": "SKU0", "quantity": 3, "price": "19.00", "product_id": 10},
            {"name": "Poster", "sku": "SKU1", "quantity": 1, "price": "7.00"},
        ],
        shipping="5.00",
        fees=[{"name": "Gift", "total": "2.00"}],
    )


async def native(sandbox: Sandbox, order: Mapping[str, Any], body: Any) -> httpx.Response:
    """Ask the store itself, which answers from 11.1 on."""
    await install(sandbox, woocommerce_version="11.1.0")
    async with httpx.AsyncClient(base_url=sandbox.url, auth=("ck_sandbox_rw", "cs_sandbox_rw")) as client:
        return await client.post(
            f"/wp-json/wc/v3/orders/{order['id']}/refunds/preview",
            json=body,
            headers={"X-Forwarded-Proto": "https"},
        )


async def previewed(front: Front, order: Mapping[str, Any], *lines: Line, **params: str) -> httpx.Response:
    path = f"orders/{order['id']}/refunds/preview"
    return await front.client.post(path, json={"line_items": lines}, params=params)


async def nothing_happened(front: Front, order: Mapping[str, Any]) -> None:
    """Check that the store was only read, and that the ledger has neither a refund nor a quote."""
    assert await front.paid(dict(order)) == []
    seen = (await front.sandbox.client.get("/sandbox/requests")).json()
    writes = [one for one in seen if one["method"] not in ("GET", "HEAD", "OPTIONS")]
    assert all(one["path"].endswith("/preview") for one in writes), writes
    async with front.rt.database.reading() as conn:
        left = await conn.execute("SELECT id FROM refund UNION ALL SELECT id FROM quote")
        assert await left.fetchall() == []


def several(order: Mapping[str, Any]) -> list[Line]:
    albums, _ = order["line_items"]
    return [
        {"line_item_id": order["shipping_lines"][0]["id"], "refund_total": 2.38},
        {"line_item_id": albums["id"], "quantity": 2},
        {"line_item_id": order["fee_lines"][0]["id"], "quantity": 1},
    ]


def by_money(order: Mapping[str, Any]) -> list[Line]:
    albums, poster = order["line_items"]
    return [
        {"line_item_id": str(albums["id"]), "quantity": 1, "refund_total": "10.01"},
        {"line_item_id": poster["id"], "refund_total": 1},
    ]


def everything(order: Mapping[str, Any]) -> list[Line]:
    lines = [*order["line_items"], *order["shipping_lines"], *order["fee_lines"]]
    return [{"line_item_id": line["id"], "quantity": line.get("quantity", 1)} for line in lines]


@pytest.mark.parametrize("version", ["8.9.1", "11.1.0"])
async def test_it_is_what_woocommerce_says_on_stores_of_any_version_and_kind(
    front_of_either: Front, sandbox: Sandbox, version: str
) -> None:
    order = await big_order(sandbox)
    for lines in (several(order), by_money(order), everything(order)):
        await install(sandbox, woocommerce_version=version)

        answer = await previewed(front_of_either, order, *lines)

        assert answer.status_code == 200, answer.text
        own = (await native(sandbox, order, {"line_items": lines})).json()
        assert answer.json() == own
        assert list(answer.json()) == list(own)
        assert answer.headers["Allow"] == "POST"
    await nothing_happened(front_of_either, order)


async def test_what_was_refunded_before_is_taken_off(front_of_v3: Front, sandbox: Sandbox) -> None:
    order = await big_order(sandbox)
    albums = order["line_items"][0]["id"]
    made = await front_of_v3.refund(order, compute_totals=True, line_items=[{"id": albums, "quantity": 1}])
    assert made.status_code == 201, made.text
    line = {"line_item_id": albums, "quantity": 2}

    answer = await previewed(front_of_v3, order, line)

    assert answer.json() == (await native(sandbox, order, {"line_items": [line]})).json()


async def test_create_makes_what_was_shown(front_of_either: Front, sandbox: Sandbox) -> None:
    order = await big_order(sandbox)
    lines = several(order)
    shown = (await previewed(front_of_either, order, *lines)).json()

    made = await front_of_either.refund(
        order,
        compute_totals=True,
        line_items=[
            {"id": line["line_item_id"], **{k: line[k] for k in line if k != "line_item_id"}} for line in lines
        ],
    )

    assert (made.status_code, made.json()["amount"]) == (201, shown["total"])
    assert await front_of_either.paid(order) == [shown["total"]]
    async with front_of_either.rt.database.reading() as conn:
        record = await refunds.get(conn, made.headers["Refund-Gateway-Refund"])
    assert record is not None
    assert record.plan is not None
    assert {(line.line_id, f"{line.net:.2f}", f"{line.tax:.2f}") for line in record.plan.lines} == {
        (str(item["id"]), item["subtotal"], item["tax"])
        for part in shown["breakdown"].values()
        for item in part["items"]
    }


async def test_fields_can_be_chosen(front_of_v3: Front, order: dict[str, Any]) -> None:
    line = {"line_item_id": order["line_items"][0]["id"], "quantity": 1}

    answer = await previewed(front_of_v3, order, line, _fields="total,breakdown.fees.tax")

    assert answer.json() == {"breakdown": {"fees": {"tax": "0.00"}}, "total": "10.71"}


async def test_a_form_is_read_as_well(front_of_v3: Front, order: dict[str, Any]) -> None:
    fields = {"line_items[0][line_item_id]": order["line_items"][0]["id"], "line_items[0][quantity]": "2"}

    answer = await front_of_v3.client.post(f"orders/{order['id']}/refunds/preview", data=fields)

    assert answer.json()["total"] == "21.42"


async def test_who_cannot_pay_back_can_still_tell_what_it_comes_to(front_of_either: Front, sandbox: Sandbox) -> None:
    order = await sandbox.new_order(payment_method="bacs")
    line = {"line_item_id": order["line_items"][0]["id"], "quantity": 1}

    answer = await previewed(front_of_either, order, line)

    assert (answer.status_code, answer.json()["total"]) == (200, "10.71")


def _faulty(order: Mapping[str, Any]) -> dict[str, Sequence[Line]]:
    line = {"line_item_id": order["line_items"][0]["id"]}
    return {
        "too_many": [{**line, "quantity": 4}],
        "none": [{**line, "quantity": 0}],
        "a_half": [{**line, "quantity": 1.5}],
        "neither": [line],
        "no_money": [{**line, "refund_total": 0}],
        "no_amount": [{**line, "refund_total": "1,50"}],
        "too_much": [{**line, "refund_total": "67.84"}],
        "no_such_line": [{"line_item_id": 999_999, "quantity": 1}],
        "twice": [{**line, "quantity": 1}, {**line, "quantity": 1}],
        "empty": [],
        "unknown_name": [{**line, "quantity": 1, "price": "1.00"}],
        "creates_name": [{"id": line["line_item_id"], "quantity": 1}],
    }


async def test_it_refuses_as_woocommerce_does(front_of_either: Front, sandbox: Sandbox) -> None:
    order = await big_order(sandbox)
    for fault, lines in _faulty(order).items():
        answer = await previewed(front_of_either, order, *lines)

        own = await native(sandbox, order, {"line_items": lines})
        assert own.status_code in (400, 422), fault
        assert (answer.status_code, answer.json()["code"]) == (own.status_code, own.json()["code"]), fault
        assert answer.json()["data"]["status"] == own.status_code
        pointers = [error["pointer"] for error in answer.json()["data"]["refund_gateway"]["errors"]]
        assert all(pointer.startswith("/line_items") for pointer in pointers), fault
    await nothing_happened(front_of_either, order)


@pytest.mark.parametrize("body", [{}, {"line_items": None}, []])
async def test_without_lines_it_answers_just_as_wordpress_does(
    front_of_v3: Front, sandbox: Sandbox, order: dict[str, Any], body: Any
) -> None:
    answer = await front_of_v3.client.post(f"orders/{order['id']}/refunds/preview", json=body)

    assert (answer.status_code, answer.json()) == (400, (await native(sandbox, order, {})).json())


@pytest.mark.parametrize(
    ("taken", "line", "code"),
    [
        ({"amount": "80.00"}, {"quantity": 3}, "preview_exceeds_max_refundable"),
        ({"amount": None}, {"quantity": 1}, "order_not_refundable"),
        ({"by_line": True}, {"quantity": 1}, "line_item_already_refunded"),
        ({"by_line": True}, {"refund_total": "1.00"}, "line_item_already_refunded"),
    ],
)
async def test_what_is_gone_is_refused_as_woocommerce_does(
    front_of_v3: Front, sandbox: Sandbox, taken: dict[str, Any], line: Line, code: str
) -> None:
    order = await big_order(sandbox)
    albums = order["line_items"][0]["id"]
    body = (
        {"compute_totals": True, "line_items": [{"id": albums, "quantity": 3}]}
        if "by_line" in taken
        else {"amount": taken["amount"] or order["total"]}
    )
    assert (await front_of_v3.refund(order, **body)).status_code == 201
    lines = [{"line_item_id": albums, **line}]

    answer = await previewed(front_of_v3, order, *lines)

    own = await native(sandbox, order, {"line_items": lines})
    assert answer.json()["code"] == own.json()["code"] == f"woocommerce_rest_{code}"
    assert answer.status_code == own.status_code == 422


async def test_an_order_that_was_never_paid_has_nothing_to_refund(front_of_either: Front, sandbox: Sandbox) -> None:
    order = await sandbox.new_order(set_paid=False)

    answer = await previewed(front_of_either, order, {"line_item_id": order["line_items"][0]["id"], "quantity": 1})

    assert (answer.status_code, answer.json()["code"]) == (422, "woocommerce_rest_order_not_refundable")
    assert "never been paid" in answer.json()["message"]


@pytest.mark.parametrize("order_id", ["999999", "0", "9" * 25])
async def test_an_order_that_is_not_there_is_said_to_be(front_of_either: Front, order_id: str) -> None:
    answer = await previewed(front_of_either, {"id": order_id}, {"line_item_id": 1, "quantity": 1})

    assert (answer.status_code, answer.json()["code"]) == (404, "woocommerce_rest_invalid_order_id")


async def test_every_fault_is_named_with_its_place(front_of_v3: Front, sandbox: Sandbox) -> None:
    order = await big_order(sandbox)
    albums, poster = (line["id"] for line in order["line_items"])

    shape = await previewed(front_of_v3, order, {"line_item_id": albums, "quantity": 0}, {"quantity": 1, "qty": 1})
    sums = await previewed(
        front_of_v3, order, {"line_item_id": albums, "quantity": 9}, {"line_item_id": poster, "refund_total": "99"}
    )

    def named(answer: httpx.Response) -> list[str]:
        return [error["pointer"] for error in answer.json()["data"]["refund_gateway"]["errors"]]

    assert shape.json()["code"] == "rest_invalid_param"
    assert named(shape) == ["/line_items/0/quantity", "/line_items/1/qty", "/line_items/1/line_item_id"]
    assert sums.json()["code"] == "woocommerce_rest_quantity_exceeds_refundable"
    assert named(sums) == ["/line_items/0/quantity", "/line_items/1/refund_total"]


async def test_it_takes_a_key_that_may_refund(front_of_v3: Front, order: dict[str, Any]) -> None:
    reader = await front_of_v3.other_key("refunds:read", "orders:read")
    path = f"orders/{order['id']}/refunds/preview"
    body = {"line_items": [{"line_item_id": order["line_items"][0]["id"], "quantity": 1}]}

    refused = await front_of_v3.client.post(path, json=body, auth=reader.auth)
    of_no_order = await front_of_v3.client.post("orders/0/refunds/preview", json=body, auth=reader.auth)

    for answer in (refused, of_no_order):
        assert (answer.status_code, answer.json()["code"]) == (401, "woocommerce_rest_authentication_error")


async def test_a_store_that_is_away_is_said_to_be(front_of_v3: Front, sandbox: Sandbox, order: dict[str, Any]) -> None:
    await sandbox.fault(operation="read", fault="maintenance", times=50)

    answer = await previewed(front_of_v3, order, {"line_item_id": order["line_items"][0]["id"], "quantity": 1})

    assert (answer.status_code, answer.json()["code"]) == (503, "refund_gateway_store_unavailable")


async def test_it_is_told_of_where_clients_look_and_nowhere_else(front_of_v3: Front, order: dict[str, Any]) -> None:
    path = f"orders/{order['id']}/refunds/preview"
    options = await front_of_v3.client.options(path)
    routes = (await front_of_v3.client.get("")).json()["routes"]
    read = await front_of_v3.client.get(path)
    legacy = await front_of_v3.legacy.post(path, json={"line_items": []})

    assert (options.headers["Allow"], options.json()["methods"]) == ("POST", ["POST"])
    assert options.json()["endpoints"][0]["args"]["line_items"]["required"] is True
    described = routes[r"/wc/v3/orders/(?P<order_id>[\d]+)/refunds/preview"]
    assert described == options.json()
    assert (read.status_code, read.json()["code"]) == (404, "rest_no_route")
    assert (legacy.status_code, legacy.json()["errors"][0]["code"]) == (404, "woocommerce_api_no_route")
