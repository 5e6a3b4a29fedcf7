"""The adapter of the Legacy REST API against the sandbox store, which behaves as the plugin was recorded to."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import stamina
import trustme

from app.domain.decision import decide
from app.domain.money import round_half_up
from app.domain.order import OrderSnapshot, TaxPart
from app.domain.refund import ItemRequest, PlanLine, RefundCommand, RefundPlan, StorePolicy
from app.domain.refund_query import Moment, RefundQuery
from app.domain.sight import sight_of
from app.stores.connection import AuthMethod
from app.stores.port import (
    ListTooLong,
    ListUnsupported,
    NotSent,
    OrderNotFound,
    Refunded,
    Refused,
    StoreMisconfigured,
    StoreUnavailable,
    Unknown,
)
from tests.stores.sandbox import READ_AT, Sandbox, amount_plan, running

MARKER = "RG-7F3K9Q2X"
FUTURE = datetime(2100, 1, 1, tzinfo=UTC)


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with running() as started:
        await started.settings(legacy=True)
        with stamina.set_testing(True, attempts=3):
            yield started


def shape(order: OrderSnapshot) -> Any:
    """Give what both APIs show of an order."""
    lines = [(line.id, line.kind, line.name, line.sku, line.quantity, line.net) for line in order.lines]
    # The plugin shows a line's tax in whole cents.
    taxes = {line.id: round_half_up(sum((part.amount for part in line.taxes), Decimal(0)), 2) for line in order.lines}
    refunds = [(refund.id, refund.amount, refund.reason) for refund in order.refunds]
    facts = (order.id, order.number, order.status, order.currency, order.decimals, order.total, order.payment_method)
    return facts, lines, taxes, sorted(refunds), [rate.rate_id for rate in order.tax_rates]


#: Of products that exist: the plugin reads a line's SKU from its product.
PRODUCTS = [{"product_id": 10, "quantity": 3}, {"product_id": 11, "name": "Shirt", "sku": "SKU1", "price": "19.99"}]
ORDERS: dict[str, dict[str, Any]] = {
    "plain": {},
    "with shipping and a fee": {
        "shipping": [{"name": "Flat", "total": "5.00"}, {"name": "Express", "total": "2.50"}],
        "fees": [{"name": "Gift", "total": "2.50"}],
    },
    "in yen": {"currency": "JPY"},
    "unpaid": {"set_paid": False, "status": "pending"},
}


@pytest.mark.parametrize("options", ORDERS.values(), ids=ORDERS)
async def test_an_order_reads_as_it_does_over_v3(sandbox: Sandbox, options: dict[str, Any]) -> None:
    order_id = await sandbox.order(lines=PRODUCTS, **options)
    await sandbox.foreign_refund(order_id, "1.00", reason="by hand")
    legacy = await sandbox.legacy().read_order(order_id, read_at=READ_AT)
    v3 = await sandbox.store().read_order(order_id, read_at=READ_AT)
    assert shape(legacy) == shape(v3)
    assert (legacy.paid_at is None) == (v3.paid_at is None)
    assert [refund.lines_known for refund in legacy.refunds] == [False]
    assert legacy.refunds[0].refunded_payment is None
    assert legacy.refunds[0].created_at == v3.refunds[0].created_at


async def test_an_unknown_order_is_not_found(sandbox: Sandbox) -> None:
    store = sandbox.legacy()
    for order_id in ("99999999", "abc", "1/notes"):
        with pytest.raises(OrderNotFound):
            await store.read_order(order_id, read_at=READ_AT)
        with pytest.raises(OrderNotFound):
            await store.read_notes(order_id)
        with pytest.raises(OrderNotFound):
            await store.list_refunds(RefundQuery(), order_id=order_id)


def line_plan(order: OrderSnapshot) -> RefundPlan:
    """Refund one unit of the first product line."""
    line = next(line for line in order.lines if line.kind == "item")
    net = (line.net / line.quantity).quantize(Decimal("0.01"))
    taxes = tuple(
        TaxPart(rate_id=part.rate_id, amount=(part.amount / line.quantity).quantize(Decimal("0.01")))
        for part in line.taxes
    )
    amount = net + sum((part.amount for part in taxes), Decimal(0))
    unit = PlanLine(
        line_id=line.id, kind="item", name=line.name, sku=line.sku, quantity=Decimal(1), net=net, taxes=taxes
    )
    return replace(amount_plan(order, str(amount)), lines=(unit,), unallocated=Decimal(0))


async def test_a_refund_of_a_line_is_paid_recorded_and_traced_back(sandbox: Sandbox) -> None:
    store, order_id = sandbox.legacy(), await sandbox.order()
    plan = line_plan(await store.read_order(order_id, read_at=READ_AT))
    answer = await store.refund(plan, marker=MARKER, request_id="req-1")
    assert isinstance(answer, Refunded), answer
    (payout,) = await sandbox.payouts(order_id)
    assert Decimal(payout["amount"]) == plan.amount
    (refund,) = (await store.read_order(order_id, read_at=READ_AT, verify=True)).refunds
    assert (refund.id, refund.amount, refund.reason) == (answer.store_refund_id, plan.amount, f"[{MARKER}]")
    assert [(line.item_id, line.quantity, line.net, line.taxes) for line in refund.lines] == [
        (plan.lines[0].line_id, Decimal(1), plan.lines[0].net, plan.lines[0].taxes)
    ]
    # What v3 has stored is the same refund, with its line.
    (stored,) = (await sandbox.store().read_order(order_id, read_at=READ_AT)).refunds
    assert [(line.item_id, line.quantity, line.net) for line in stored.lines] == [
        (plan.lines[0].line_id, Decimal(1), plan.lines[0].net)
    ]


TAXED: dict[str, dict[str, Any]] = {
    "inclusive": {
        "prices_include_tax": True,
        "tax_rates": [{"percent": "20"}],
        "lines": [
            {"product_id": 10, "quantity": 1, "price": "9.99"},
            {"product_id": 11, "quantity": 3, "price": "9.99"},
        ],
    },
    "with two rates": {
        "tax_rates": [{"name": "A", "percent": "5"}, {"name": "B", "percent": "9.975"}],
        "lines": [
            {"product_id": 10, "quantity": 3, "price": "3.33"},
            {"product_id": 11, "quantity": 1, "price": "7.77"},
        ],
        "shipping": [{"name": "Flat", "total": "4.99"}],
    },
    "with compound rates": {
        "tax_rates": [{"name": "A", "percent": "5"}, {"name": "B", "percent": "9.975", "compound": True}],
        "lines": [{"product_id": 10, "quantity": 7, "price": "1.07"}],
        "fees": [{"name": "Gift", "total": "2.50"}],
    },
    "with a coupon": {"coupon_percent": "15", "lines": PRODUCTS},
}


@pytest.mark.parametrize("options", TAXED.values(), ids=TAXED)
async def test_an_order_can_be_refunded_to_the_last_cent(sandbox: Sandbox, options: dict[str, Any]) -> None:
    store, order_id = sandbox.legacy(), await sandbox.order(**options)

    async def refund(marker: str, **command: Any) -> None:
        order = await store.read_order(order_id, read_at=READ_AT, verify=True)
        plan = decide(
            RefundCommand(store="s", order_id=order_id, **command),
            order,
            holds=(),
            capability="refunds",
            policy=StorePolicy(),
        )
        assert isinstance(plan, RefundPlan), plan
        answer = await store.refund(plan, marker=marker, request_id="")
        assert isinstance(answer, Refunded), answer

    order = await store.read_order(order_id, read_at=READ_AT)
    first = next(line for line in order.lines if line.kind == "item")
    await refund("RG-00000000", items=(ItemRequest(line_item_id=first.id, quantity=1),))
    await refund("RG-00000001", remaining=True)
    assert sum(Decimal(payout["amount"]) for payout in await sandbox.payouts(order_id)) == order.total


async def test_a_manual_refund_moves_no_money(sandbox: Sandbox) -> None:
    store, order_id = sandbox.legacy(), await sandbox.order(payment_method="cod")
    order = await store.read_order(order_id, read_at=READ_AT)
    answer = await store.refund(amount_plan(order, "1.00", payment="manual"), marker=MARKER, request_id="")
    assert isinstance(answer, Refunded)
    paying = await sandbox.order()
    order = await store.read_order(paying, read_at=READ_AT)
    assert isinstance(
        await store.refund(amount_plan(order, "1.00", payment="manual"), marker=MARKER, request_id=""), Refunded
    )
    assert await sandbox.payouts(paying) == await sandbox.payouts(order_id) == []
    assert all(one["query"].get("api_refund") == "0" for one in await posts(sandbox))


async def posts(sandbox: Sandbox) -> list[dict[str, Any]]:
    found = [one for one in await sandbox.requests() if one["method"] == "POST" and "/refunds" in one["path"]]
    for one in found:
        if not isinstance(one["query"], dict):
            one["query"] = dict(pair.split("=", 1) for pair in one["query"].split("&") if "=" in pair)
    return found


@pytest.mark.parametrize(
    ("options", "code"),
    [({"payment_method": "cod"}, "gateway_cannot_refund"), ({"payment_method": "gone_pay"}, "gateway_cannot_refund")],
)
async def test_a_gateway_that_cannot_refund_is_asked_nothing(
    sandbox: Sandbox, options: dict[str, Any], code: str
) -> None:
    store, order_id = sandbox.legacy(), await sandbox.order(**options)
    order = await store.read_order(order_id, read_at=READ_AT)
    answer = await store.refund(amount_plan(order, "1.00"), marker=MARKER, request_id="")
    assert isinstance(answer, Refused)
    assert (answer.code, answer.needs_look) == (code, False)
    assert await posts(sandbox) == []


async def test_without_v3_nothing_proves_that_a_gateway_refunds_but_the_owners_word(sandbox: Sandbox) -> None:
    await sandbox.settings(rest_v3=False)
    order_id = await sandbox.order()
    store = sandbox.legacy()
    assert await store.payment_capability("sandboxpay") == "unprovable"
    order = await store.read_order(order_id, read_at=READ_AT)
    answer = await store.refund(amount_plan(order, "1.00"), marker=MARKER, request_id="")
    assert isinstance(answer, Refused)
    assert answer.code == "gateway_support_unknown"
    assert await posts(sandbox) == []
    vouched = sandbox.legacy(policy=StorePolicy(refunding_methods=frozenset({"sandboxpay"})))
    assert await vouched.payment_capability("sandboxpay") == "refunds"
    assert isinstance(await vouched.refund(amount_plan(order, "1.00"), marker=MARKER, request_id=""), Refunded)
    assert len(await sandbox.payouts(order_id)) == 1


@pytest.mark.parametrize("reason", ["decline", "false"])
async def test_a_decline_needs_a_look_and_leaves_its_row(sandbox: Sandbox, reason: str) -> None:
    store, order_id = sandbox.legacy(), await sandbox.order()
    order = await store.read_order(order_id, read_at=READ_AT)
    answer = await store.refund(amount_plan(order, "1.00", reason=reason), marker=MARKER, request_id="")
    assert isinstance(answer, Refused), answer
    assert (answer.code, answer.needs_look) == ("gateway_declined", True)
    notes = await store.read_notes(order_id)
    after = await store.read_order(order_id, read_at=READ_AT, verify=True)
    sight = sight_of(
        order=after,
        notes=notes,
        marker=MARKER,
        amount=Decimal("1.00"),
        sent_at=datetime.now(UTC) - timedelta(seconds=5),
        known_refund_ids=frozenset(),
        looked_at=READ_AT,
    )
    assert [row.id for row in sight.rows] == [refund.id for refund in after.refunds]
    assert len(sight.rows) == 1
    assert sight.gateway_notes == ()
    assert await sandbox.payouts(order_id) == []


async def test_what_dies_after_paying_is_unknown_and_its_note_shows(sandbox: Sandbox) -> None:
    store, order_id = sandbox.legacy(), await sandbox.order()
    order = await store.read_order(order_id, read_at=READ_AT)
    sent_at = datetime.now(UTC)
    answer = await store.refund(amount_plan(order, "1.00", reason="crash"), marker=MARKER, request_id="")
    assert isinstance(answer, Unknown), answer
    assert len(await sandbox.payouts(order_id)) == 1
    after = await store.read_order(order_id, read_at=READ_AT, verify=True)
    assert [refund.reason for refund in after.refunds] == [f"crash [{MARKER}]"]
    assert all(
        note.by_system and note.created_at >= sent_at - timedelta(minutes=1)
        for note in await store.read_notes(order_id)
    )


async def test_above_the_remainder_the_store_dies_and_nothing_is_known(sandbox: Sandbox) -> None:
    store, order_id = sandbox.legacy(), await sandbox.order()
    order = await store.read_order(order_id, read_at=READ_AT)
    assert isinstance(await store.refund(amount_plan(order, "1000.00"), marker=MARKER, request_id=""), Unknown)
    nowhere = replace(amount_plan(order, "1.00"), order_id="99999999")
    assert isinstance(await store.refund(nowhere, marker=MARKER, request_id=""), Unknown)
    assert await sandbox.payouts(order_id) == []


async def test_a_lost_answer_is_unknown_and_a_dead_store_is_not_sent(sandbox: Sandbox) -> None:
    store, order_id = sandbox.legacy(), await sandbox.order()
    order = await store.read_order(order_id, read_at=READ_AT)
    assert await store.payment_capability("sandboxpay") == "refunds"
    await sandbox.fault("lost_answer", operation="refund")
    assert isinstance(await store.refund(amount_plan(order, "1.00"), marker=MARKER, request_id=""), Unknown)
    assert len(await sandbox.payouts(order_id)) == 1
    await sandbox.lines.aclose()
    late = await store.refund(amount_plan(order, "1.00"), marker=MARKER, request_id="", send_by=0.0)
    assert isinstance(late, NotSent)
    assert len(await sandbox.payouts(order_id)) == 1


async def test_hidden_orders_are_neither_read_nor_paid(sandbox: Sandbox) -> None:
    order_id = await sandbox.order()
    plan = amount_plan(await sandbox.legacy().read_order(order_id, read_at=READ_AT), "1.00")
    await sandbox.settings(hpos="on")
    for payment in ("gateway", "manual"):
        store = sandbox.legacy()
        with pytest.raises(StoreMisconfigured, match="compatibility mode"):
            await store.read_order(order_id, read_at=READ_AT)
        answer = await store.refund(replace(plan, payment=payment), marker=MARKER, request_id="")
        assert isinstance(answer, Refused)
        assert (answer.code, answer.needs_look) == ("store_misconfigured", False)
        assert "compatibility mode" in answer.message
    assert await posts(sandbox) == []
    assert await sandbox.payouts(order_id) == []


async def test_a_store_that_pays_and_then_says_no_such_order_is_unknown(sandbox: Sandbox) -> None:
    store, order_id = sandbox.legacy(), await sandbox.order()
    plan = amount_plan(await store.read_order(order_id, read_at=READ_AT), "1.00")
    # The storage is switched while the adapter still remembers it as it was.
    await store.payment_capability("sandboxpay")
    await sandbox.settings(hpos="on")
    answer = await store.refund(plan, marker=MARKER, request_id="")
    assert isinstance(answer, Unknown), answer
    assert answer.exchange.store_code == "woocommerce_api_invalid_order"
    assert len(await sandbox.payouts(order_id)) == 1


async def test_synchronised_storage_works(sandbox: Sandbox) -> None:
    order_id = await sandbox.order()
    await sandbox.settings(hpos="synced")
    store = sandbox.legacy()
    plan = amount_plan(await store.read_order(order_id, read_at=READ_AT), "1.00")
    assert isinstance(await store.refund(plan, marker=MARKER, request_id=""), Refunded)


async def test_three_decimals_are_too_fine(sandbox: Sandbox) -> None:
    order_id = await sandbox.order()
    plan = amount_plan(await sandbox.legacy().read_order(order_id, read_at=READ_AT), "1.00")
    await sandbox.settings(decimals=3)
    store = sandbox.legacy()
    with pytest.raises(StoreMisconfigured, match="3 decimals"):
        await store.read_order(order_id, read_at=READ_AT)
    answer = await store.refund(replace(plan, decimals=3, amount=Decimal("1.001")), marker=MARKER, request_id="")
    assert isinstance(answer, Refused)
    assert answer.code == "store_misconfigured"
    assert await posts(sandbox) == []


async def test_orders_are_found_by_their_number_only(sandbox: Sandbox) -> None:
    store, order_id = sandbox.legacy(), await sandbox.order()
    assert await store.find_order(order_id) == (order_id,)
    for number in ("", " ", "99999999", "A-1", f"0{order_id}"):
        assert await store.find_order(number) == ()
    await sandbox.order(count=600)
    with pytest.raises(StoreUnavailable, match="by its id"):
        await store.find_order("A-1")
    assert await store.find_order(order_id) == (order_id,)


@pytest.fixture
async def shop(sandbox: Sandbox) -> tuple[str, str, dict[str, str]]:
    """Nothing but two orders with three refunds (a, b, c) and one (d)."""
    await sandbox.admin.post("/sandbox/reset", json={"seed": False})
    await sandbox.settings(legacy=True)
    first, second = await sandbox.order(), await sandbox.order()
    ids = {
        name: await sandbox.foreign_refund(first, "1.00", reason=f"reason {word}")
        for name, word in (("a", "one"), ("b", "two"), ("c", "three"))
    }
    return first, second, ids | {"d": await sandbox.foreign_refund(second, "2.00", reason="broken glass")}


QUERIES: list[tuple[str, dict[str, Any], str, tuple[str, ...]]] = [
    ("defaults", {}, "dcba", ()),
    ("a page", {"per_page": 2, "page": 2}, "ba", ("page", "per_page")),
    ("ascending", {"order": "asc", "per_page": 1}, "a", ("per_page", "order")),
    ("before", {"before": Moment(at=FUTURE)}, "dcba", ("before",)),
    ("after", {"modified_after": Moment(at=FUTURE)}, "", ("modified_after",)),
    ("a search", {"search": "glass"}, "d", ("search",)),
    ("a context", {"context": "edit", "dp": 3}, "dcba", ()),
]


@pytest.mark.parametrize(("values", "expected", "here"), [case[1:] for case in QUERIES], ids=[c[0] for c in QUERIES])
async def test_every_parameter_is_served_here(
    sandbox: Sandbox, shop: Any, values: dict[str, Any], expected: str, here: tuple[str, ...]
) -> None:
    page = await sandbox.legacy().list_refunds(RefundQuery(**values))
    names = {id_: name for name, id_ in shop[2].items()}
    assert "".join(names[row.refund.id] for row in page.refunds) == expected
    assert (page.served_by, page.filtered_here, page.decimals) == ("orders", here, 2)


async def test_lists_of_orders_and_of_parents(sandbox: Sandbox, shop: Any) -> None:
    first, second, ids = shop
    store = sandbox.legacy()
    page = await store.list_refunds(RefundQuery(per_page=2), order_id=first)
    assert [row.refund.id for row in page.refunds] == [ids["c"], ids["b"]]
    assert (page.total, page.served_by) == (3, "store")
    parents = await store.list_refunds(RefundQuery(parent=(second, "99999999", "x")))
    assert [row.order_id for row in parents.refunds] == [second]
    rest = await store.list_refunds(RefundQuery(parent_exclude=(second,), include=(ids["a"], ids["d"])))
    assert [row.refund.id for row in rest.refunds] == [ids["a"]]
    nothing = await store.list_refunds(RefundQuery(parent=(second,)), order_id=first)
    assert (nothing.refunds, nothing.total) == ((), 0)


async def test_a_documents_shape_is_that_of_v3(sandbox: Sandbox) -> None:
    store, order_id = sandbox.legacy(), await sandbox.order(lines=PRODUCTS)
    plan = line_plan(await store.read_order(order_id, read_at=READ_AT))
    await store.refund(plan, marker=MARKER, request_id="")
    (ours,) = (await store.list_refunds(RefundQuery(), order_id=order_id)).refunds
    (theirs,) = (await sandbox.store().list_refunds(RefundQuery(), order_id=order_id)).refunds
    assert list(ours.document) == [name for name in theirs.document if name != "_links"]
    for name in ("id", "parent_id", "date_created", "date_created_gmt", "amount", "reason", "refunded_payment"):
        assert ours.document[name] == theirs.document[name]
    mine, its = ours.document["line_items"][0], theirs.document["line_items"][0]
    for name in ("id", "name", "product_id", "quantity", "subtotal", "total", "total_tax", "sku"):
        assert mine[name] == its[name], name
    assert ours.refund.refunded_payment is None
    (shown,) = (await store.list_refunds(RefundQuery(dp=4), order_id=order_id)).refunds
    assert shown.document["amount"] == f"{plan.amount}00"


async def test_times_of_the_stores_own_zone_cannot_be_served(sandbox: Sandbox) -> None:
    local = RefundQuery(after=Moment(at=datetime.fromisoformat("2026-11-21")))
    for order_id in (None, await sandbox.order()):
        with pytest.raises(ListUnsupported, match="after with an offset"):
            await sandbox.legacy().list_refunds(local, order_id=order_id)


async def test_too_many_orders_are_too_long(sandbox: Sandbox) -> None:
    await sandbox.order(count=501)
    with pytest.raises(ListTooLong, match="500 orders"):
        await sandbox.legacy().list_refunds(RefundQuery())


async def test_a_refund_is_read_and_deleted_only_under_its_own_order(sandbox: Sandbox, shop: Any) -> None:
    first, second, ids = shop
    store = sandbox.legacy()
    assert await store.read_refund(second, ids["a"]) is None
    assert await store.read_refund(first, first) is None
    read = await store.read_refund(first, ids["a"])
    assert read is not None
    assert (read.order_id, read.refund.id) == (first, ids["a"])
    for order_id, refund_id in ((second, ids["a"]), (first, second), ("99999999", ids["a"]), (first, "x")):
        assert await store.delete_refund(order_id, refund_id) == "absent"
    assert not [one for one in await sandbox.requests() if one["method"] == "DELETE"]
    assert await store.delete_refund(first, ids["a"]) == "deleted"
    assert await store.delete_refund(first, ids["a"]) == "absent"


async def test_a_changed_reason_is_taken_and_not_shown(sandbox: Sandbox) -> None:
    store, order_id = sandbox.legacy(), await sandbox.order()
    refund_id = await sandbox.foreign_refund(order_id, "1.00", reason=f"before [{MARKER}]")
    assert await store.update_refund(order_id, refund_id, reason="after") == "accepted"
    assert await store.update_refund(order_id, "99999999", reason="after") == "absent"
    assert await store.update_refund(order_id, refund_id, reason="before") == "shown"
    with pytest.raises(StoreMisconfigured, match="may only read"):
        await sandbox.legacy(key="ro").update_refund(order_id, refund_id, reason="x")
    with pytest.raises(StoreMisconfigured, match="may only read"):
        await sandbox.legacy(key="ro").delete_refund(order_id, refund_id)


async def test_a_key_that_may_not_write_or_is_wrong_is_refused_before_anything(sandbox: Sandbox) -> None:
    order_id = await sandbox.order()
    plan = amount_plan(await sandbox.legacy().read_order(order_id, read_at=READ_AT), "1.00")
    answer = await sandbox.legacy(key="ro").refund(plan, marker=MARKER, request_id="")
    assert isinstance(answer, Refused)
    assert (answer.code, answer.needs_look) == ("store_misconfigured", False)
    with pytest.raises(StoreMisconfigured, match="does not accept the API key"):
        await sandbox.legacy(secret="cs_wrong").read_order(order_id, read_at=READ_AT)
    assert await sandbox.payouts(order_id) == []


async def test_a_store_without_the_plugin_is_misconfigured(sandbox: Sandbox) -> None:
    order_id = await sandbox.order()
    await sandbox.settings(legacy=False)
    with pytest.raises(StoreMisconfigured, match="switched off"):
        await sandbox.legacy().read_order(order_id, read_at=READ_AT)


async def test_raw_reads_go_to_the_legacy_api(sandbox: Sandbox) -> None:
    store, order_id = sandbox.legacy(), await sandbox.order()
    answer = await store.read_raw(f"orders/{order_id}", [("filter[dp]", "4"), ("fields", "id"), ("_method", "DELETE")])
    assert (answer.status, answer.body.strip()) == (200, b'{"order":{"id":%s}}' % order_id.encode())
    async with store.stream("orders/count", []) as streamed:
        assert b"".join([piece async for piece in streamed.chunks()])


async def test_features_tell_of_both_apis(sandbox: Sandbox) -> None:
    found = await sandbox.legacy().features()
    v3, legacy = found.apis
    assert (v3.used, v3.available, v3.update) == (False, True, False)
    assert (legacy.used, legacy.available, legacy.update, legacy.store_wide_list) == (True, True, True, False)
    await sandbox.settings(rest_v3=False)
    alone = await sandbox.legacy(policy=StorePolicy(refunding_methods=frozenset({"pay"}))).features()
    assert alone.apis[0].available is not True
    assert (alone.apis[1].available, alone.woocommerce_version) == (True, "9.4.0")
    assert [(method.id, method.capability) for method in alone.payment_methods] == [("pay", "refunds")]


async def test_a_sound_store_passes_its_check_and_nothing_was_written(sandbox: Sandbox) -> None:
    report = await sandbox.legacy().check()
    assert report.ok, report
    assert (report.woocommerce_version, report.decimals, report.hpos) == ("9.4.0", 2, "off")
    assert "wc-api/v3" in report.apis
    assert {check.name for check in report.checks} >= {"rest_api", "credentials", "write_permission", "payment_methods"}
    assert {one["path"] for one in await posts(sandbox)} == {"/wc-api/v3/orders/0/refunds"}


@pytest.mark.parametrize(
    ("settings", "key", "failing"),
    [
        ({"legacy": False}, "rw", "rest_api"),
        ({"hpos": "on"}, "rw", "order_storage"),
        ({"decimals": 3}, "rw", "decimals"),
        ({}, "ro", "write_permission"),
        ({}, "nobody", "credentials"),
    ],
)
async def test_a_check_names_what_is_wrong_and_what_to_do(
    sandbox: Sandbox, settings: dict[str, Any], key: str, failing: str
) -> None:
    await sandbox.settings(**settings)
    report = await sandbox.legacy(key=key).check()
    failed = {check.name: check for check in report.checks if check.ok is False}
    assert failing in failed
    assert failed[failing].remedy
    assert not report.ok


@pytest.mark.parametrize("auth", ["basic", "query"])
async def test_over_https_credentials_go_into_the_header_or_the_query(tmp_path: Path, auth: AuthMethod) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    async with running((authority.issue_cert("127.0.0.1"), tmp_path / "ca.pem")) as sandbox:
        await sandbox.settings(legacy=True)
        order_id = await sandbox.order()
        store = sandbox.legacy(auth=auth)
        plan = amount_plan(await store.read_order(order_id, read_at=READ_AT), "1.00")
        assert isinstance(await store.refund(plan, marker=MARKER, request_id=""), Refunded)
        with pytest.raises(StoreMisconfigured, match="no OAuth signatures"):
            await sandbox.legacy(auth="oauth1").read_notes(order_id)
