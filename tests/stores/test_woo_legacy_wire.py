"""Orders and refunds as the Legacy REST API shows them, and the body it is sent."""

import json
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from app.domain.order import OrderSnapshot, TaxPart
from app.domain.refund import PlanLine, RefundPlan
from app.stores.reading import JsonObject, Unreadable
from app.stores.woo_legacy_order import order_snapshot
from app.stores.woo_legacy_wire import order_notes, refund_body, v3_document

READ_AT = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)
BY_NAME: dict[str, dict[str, Any]] = {
    exchange["name"]: exchange["response"]["json"]
    for exchange in json.loads((Path(__file__).parents[1] / "recordings" / "legacy_v3_refunds.json").read_text())
}
STORE: JsonObject = BY_NAME["index"]["store"]


def view(**changes: object) -> dict[str, Any]:
    return {**deepcopy(BY_NAME["view order"]["order"]), **changes}


def read(order: dict[str, Any] | None = None, refunds: str | list[dict[str, Any]] = "list") -> OrderSnapshot:
    listed = BY_NAME[refunds]["order_refunds"] if isinstance(refunds, str) else refunds
    return order_snapshot(order or view(), listed, store=STORE, read_at=READ_AT)


def test_the_recorded_order_is_read_to_the_cent() -> None:
    order = read()
    assert (order.id, order.number, order.status, order.currency, order.decimals) == (
        "197",
        "197",
        "processing",
        "EUR",
        2,
    )
    assert (order.total, order.prices_include_tax, order.payment_method) == (Decimal("88.64"), False, "testpay")
    assert order.paid_at == order.created_at == datetime(2026, 11, 21, 2, 23, 32, tzinfo=UTC)
    gross = sum((line.net + sum((part.amount for part in line.taxes), Decimal(0)) for line in order.lines), Decimal(0))
    assert gross == order.total
    assert {part.rate_id for line in order.lines for part in line.taxes} == {"1"}
    shipping = next(line for line in order.lines if line.kind == "shipping")
    assert shipping.taxes == (TaxPart(rate_id="1", amount=Decimal("0.95")),)


def test_a_refunds_line_is_traced_to_the_only_line_of_its_product() -> None:
    refund = next(refund for refund in read().refunds if refund.id == "200")
    assert [(line.item_id, line.quantity, line.net, line.taxes) for line in refund.lines] == [
        ("291", Decimal(1), Decimal("9.00"), (TaxPart(rate_id="1", amount=Decimal("1.71")),))
    ]
    assert not refund.lines_known


def test_an_ambiguous_line_is_not_traced() -> None:
    twin = view()
    twin["line_items"].append({**twin["line_items"][0], "id": 999})
    assert [refund.lines for refund in read(twin).refunds if refund.id == "200"] == [()]
    several = view()
    several["tax_lines"].append({**several["tax_lines"][0], "rate_id": 2})
    assert [refund.lines for refund in read(several).refunds if refund.id == "200"] == [()]
    other = view(line_items=[])
    assert [refund.lines for refund in read(other).refunds if refund.id == "200"] == [()]


def taxed(lines: list[tuple[str, str]], charged: dict[int, str], shipping_tax: str = "0") -> OrderSnapshot:
    """Read an order whose lines have these tax classes and taxes, charged with these rates."""
    return read(
        view(
            line_items=[
                {
                    "id": i,
                    "name": "x",
                    "product_id": i,
                    "total": "10",
                    "total_tax": tax,
                    "tax_class": name,
                    "quantity": 1,
                }
                for i, (name, tax) in enumerate(lines, start=1)
            ],
            fee_lines=[],
            shipping_tax=shipping_tax,
            tax_lines=[{"id": 1, "rate_id": rate, "total": total, "title": "T"} for rate, total in charged.items()],
        ),
        [],
    )


def test_classes_with_one_rate_each_get_it_when_the_totals_say_so() -> None:
    order = taxed([("", "1.90"), ("reduced", "0.70"), ("", "3.80")], {1: "6.65", 2: "0.70"}, shipping_tax="0.95")
    rates = [[(part.rate_id, part.amount) for part in line.taxes] for line in order.lines]
    assert rates == [
        [("1", Decimal("1.90"))],
        [("2", Decimal("0.70"))],
        [("1", Decimal("3.80"))],
        [("1", Decimal("0.95"))],
    ]


@pytest.mark.parametrize(
    ("lines", "charged"),
    [
        ([("", "1.50")], {1: "0.50", 2: "1.00"}),  # one class with two rates
        ([("a", "1.00"), ("b", "1.00")], {1: "1.00", 2: "1.00"}),  # two ways that come out
    ],
)
def test_otherwise_tax_is_spread_over_the_rates_and_stays_whole(
    lines: list[tuple[str, str]], charged: dict[int, str]
) -> None:
    order = taxed(lines, charged)
    items = [line for line in order.lines if line.kind == "item"]
    for line, (_, tax) in zip(items, lines, strict=True):
        assert sum((part.amount for part in line.taxes), Decimal(0)) == Decimal(tax)
        assert [part.rate_id for part in line.taxes] == ["1", "2"]


def test_shipping_tax_is_spread_by_what_each_line_costs() -> None:
    order = read(
        view(
            shipping_lines=[
                {"id": 1, "method_title": "A", "total": "10.00"},
                {"id": 2, "method_title": "B", "total": "5.00"},
                {"id": 3, "method_title": "Free", "total": "0.00"},
            ],
            shipping_tax="1.00",
        )
    )
    taxes = [sum((part.amount for part in line.taxes), Decimal(0)) for line in order.lines if line.kind == "shipping"]
    assert taxes == [Decimal("0.66666667"), Decimal("0.33333333"), 0]


def test_an_unpaid_order_has_no_date_of_payment() -> None:
    assert read(view(payment_details={"method_id": "cod", "method_title": "", "paid": False})).paid_at is None
    missing = read(view(created_at="1970-01-01T00:00:00Z", updated_at=None))
    assert (missing.created_at, missing.paid_at) == (None, READ_AT)


@pytest.mark.parametrize(
    "changes",
    [
        {"id": 0},
        {"total": ""},
        {"total": "-1"},
        {"currency": "EU€"},
        {"currency": "eur"},
        {"line_items": "x"},
        {"line_items": [{"id": 1, "total": "1,50"}]},
        {"tax_lines": [{"rate_id": "x", "total": "1"}]},
        {"payment_details": "x"},
        {"created_at": "yesterday"},
    ],
)
def test_what_is_not_an_order_is_unreadable(changes: dict[str, Any]) -> None:
    with pytest.raises(Unreadable):
        read(view(**changes))


PLAN = RefundPlan(
    order_id="197",
    order_number="197",
    currency="EUR",
    decimals=2,
    amount=Decimal("9.71"),
    lines=(
        PlanLine(
            line_id="291",
            kind="item",
            name="Album",
            sku="A",
            quantity=Decimal(1),
            net=Decimal("9.00"),
            taxes=(TaxPart(rate_id="1", amount=Decimal("1.71")), TaxPart(rate_id="2", amount=Decimal(0))),
        ),
        PlanLine(line_id="294", kind="fee", name="Off", sku="", quantity=Decimal(0), net=Decimal("-1.00"), taxes=()),
        PlanLine(line_id="295", kind="fee", name="None", sku="", quantity=Decimal(0), net=Decimal(0), taxes=()),
    ),
    goodwill=Decimal(0),
    unallocated=Decimal(0),
    payment="gateway",
    restock=False,
    reason="Customer request",
    store_meta={"erp": "7", "refund_payment": True},
)


def test_the_body_holds_nothing_but_what_may_be_in_it() -> None:
    assert refund_body(PLAN, marker="RG-7F3K9Q2X", marker_in_reason=True) == {
        "order_refund": {
            "amount": "9.71",
            "reason": "Customer request [RG-7F3K9Q2X]",
            "line_items": {
                "291": {"qty": 1, "refund_total": "9.00", "refund_tax": {"1": "1.71"}},
                "294": {"qty": 0, "refund_total": "-1.00", "refund_tax": {}},
            },
            "restock_items": False,
        }
    }


def test_amounts_have_two_decimals_whatever_the_currency_has() -> None:
    yen = replace(PLAN, decimals=0, amount=Decimal(100), lines=(), restock=True)
    body: Any = refund_body(yen, marker="RG-7F3K9Q2X", marker_in_reason=False)
    assert body["order_refund"]["amount"] == "100.00"
    assert (body["order_refund"]["reason"], body["order_refund"]["restock_items"]) == ("Customer request", True)


def test_documents_have_the_decimals_asked_for() -> None:
    row = BY_NAME["create with line items"]["order_refund"]
    shown = v3_document(row, order_id="197", dp=0)
    assert (shown["amount"], shown["line_items"][0]["total"], shown["line_items"][0]["quantity"]) == ("11", "-9", -1)
    assert v3_document(row, order_id="197", dp=4)["amount"] == "10.7100"


def test_notes_have_no_author_so_that_each_may_be_a_gateways() -> None:
    notes = order_notes(
        [
            {"id": 9, "created_at": "2026-11-21T02:23:33Z", "note": "Refunded &euro;1.00", "customer_note": False},
            {"id": 8, "created_at": "2026-11-21T02:23:32Z", "note": "Called", "customer_note": False},
        ]
    )
    assert [(note.id, note.text, note.by_system) for note in notes] == [
        ("8", "Called", True),
        ("9", "Refunded €1.00", True),
    ]
    with pytest.raises(Unreadable):
        order_notes([{"id": 9, "note": "x"}])
