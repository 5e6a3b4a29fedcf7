"""WooCommerce's JSON becomes snapshots, plans become WooCommerce's JSON."""

import json
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.money import MalformedAmount
from app.domain.order import TaxPart
from app.domain.refund import PlanLine, RefundPlan
from app.stores.reading import Unreadable, number_of, read_json, rows, text_of, time_of
from app.stores.woo_v3_wire import (
    capability,
    decimals_of_order,
    decimals_setting,
    decimals_shown,
    order_notes,
    order_snapshot,
    payment_methods,
    refund_body,
    refund_sums,
    store_refund,
)

RECORDINGS = Path(__file__).parents[1] / "recordings"
READ_AT = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)


def recorded(file: str, name: str) -> Any:
    for exchange in json.loads((RECORDINGS / f"{file}.json").read_text()):
        if exchange["name"] == name:
            # Through the parser, so that numbers are Decimals as in real life.
            document = read_json(json.dumps(exchange["response"]["json"]).encode())
            assert document is not None
            return document.value
    raise LookupError(name)


def test_an_order_is_read_to_the_last_digit() -> None:
    order = order_snapshot(recorded("orders_gateways_settings", "order dp=6"), [], store_decimals=2, read_at=READ_AT)
    assert (order.id, order.number, order.status, order.currency, order.decimals) == (
        "182",
        "182",
        "processing",
        "EUR",
        2,
    )
    assert order.total == Decimal("88.64")
    assert order.paid_at == datetime(2026, 11, 21, 2, 23, 21, tzinfo=UTC)
    assert (order.payment_method, order.prices_include_tax, order.read_at) == ("testpay", False, READ_AT)
    assert [(line.id, line.kind, line.name, line.sku) for line in order.lines] == [
        ("255", "item", "Album", "SKU0"),
        ("256", "item", "Shirt", "SKU1"),
        ("257", "shipping", "Flat", ""),
        ("258", "fee", "Gift", ""),
    ]
    shirt = order.lines[1]
    assert (shirt.quantity, shirt.net, shirt.taxes) == (
        Decimal(2),
        Decimal("39.98"),
        (TaxPart(rate_id="1", amount=Decimal("7.5962")),),  # not total_tax, which is rounded
    )
    assert [(rate.rate_id, rate.label, rate.percent, rate.compound) for rate in order.tax_rates] == [
        ("1", "VAT", Decimal(19), False)
    ]


def test_a_refunds_lines_are_positive_and_name_the_order_line_they_came_from() -> None:
    refund = store_refund(recorded("v3_create_refund", "line item as strings"))
    assert (refund.id, refund.amount, refund.reason, refund.refunded_payment) == (
        "123",
        Decimal("23.79"),
        "strings",
        True,
    )
    (line,) = refund.lines
    assert (line.item_id, line.quantity, line.net, line.taxes) == (
        "166",
        Decimal(1),
        Decimal("19.99"),
        (TaxPart(rate_id="1", amount=Decimal("3.80")),),
    )


def test_a_refund_under_way_shows_neither_payment_nor_marker() -> None:
    (row,) = recorded("v3_in_flight", "payment provider takes 3 s: list 0.5 s after the POST was sent")
    refund = store_refund(row)
    assert (refund.refunded_payment, refund.reference, refund.amount) == (False, None, Decimal("7.00"))


def test_our_marker_is_found_in_the_meta_data() -> None:
    row = recorded("v3_create_refund", "amount only")
    meta = [{"key": "x", "value": {"a": 1}}, {"key": "_refund_gateway", "value": "RG-7F3K9Q2X"}]
    assert store_refund({**row, "meta_data": meta}).reference == "RG-7F3K9Q2X"
    assert store_refund(row).reference is None


def test_the_orders_own_list_of_refunds_is_positive_by_id() -> None:
    sums = refund_sums(recorded("v3_rounding", "three shirts after: order dp=8"))
    assert sums == {"213": Decimal("19.99"), "214": Decimal("19.99"), "215": Decimal("19.99")}


@pytest.mark.parametrize(
    ("store", "currency", "total", "refunds", "expected"),
    [
        (2, "EUR", "88.64", [], 2),
        (2, "EUR", "88.00", [], 2),
        (2, "JPY", "1000.00", [], 0),
        (2, "JPY", "1000.00", ["100.50"], 2),
        (2, "JPY", "1000.50", [], 2),
        (2, "KWD", "12.35", [], 2),
        (3, "KWD", "12.345", [], 3),
        (3, "EUR", "12.340", [], 2),
        (3, "EUR", "12.345", [], 3),
        (0, "EUR", "12", [], 0),
        (0, "EUR", "12.5", [], 1),  # changed from 1 to 0 decimals after the order
        (4, "USD", "9.9900", ["1.0000"], 2),
        (2, "JPY", "1E+3", [], 0),
    ],
)
def test_an_orders_decimals_are_the_stores_unless_its_currency_has_fewer_and_they_suffice(
    store: int, currency: str, total: str, refunds: list[str], expected: int
) -> None:
    assert decimals_of_order(store, currency, Decimal(total), [Decimal(text) for text in refunds]) == expected


def test_the_digits_of_a_total_read_without_dp_are_the_stores_decimals() -> None:
    exchanges = json.loads((RECORDINGS / "orders_gateways_settings.json").read_text())
    answers = [exchange["response"].get("json") for exchange in exchanges]
    (yen,) = [answer for answer in answers if isinstance(answer, dict) and answer.get("currency") == "JPY"]
    assert yen["total"] == "3213.00"
    assert decimals_shown(yen) == 2
    assert order_snapshot(yen, [], store_decimals=2, read_at=READ_AT).decimals == 0


@pytest.mark.parametrize(("value", "decimals"), [("2", 2), (2, 2), ("0", 0), (" 3 ", 3)])
def test_the_setting_is_a_text_or_a_number(value: object, decimals: int) -> None:
    assert decimals_setting(value) == decimals


@pytest.mark.parametrize("value", ["", None, "-1", "9", "two", [], True, "٢"])
def test_no_other_setting_is_believed(value: object) -> None:
    with pytest.raises(Unreadable):
        decimals_setting(value)


def test_gateways_say_what_they_support() -> None:
    methods = {
        method.id: method for method in payment_methods(recorded("orders_gateways_settings", "payment gateways"))
    }
    assert {name: method.capability for name, method in methods.items()} == {
        "bacs": "no_refunds",
        "cheque": "no_refunds",
        "cod": "no_refunds",
        "testpay": "refunds",
    }
    assert (methods["cheque"].enabled, methods["bacs"].enabled) == (False, True)
    assert capability({"id": "old"}) == "unknown"
    assert capability({"method_supports": {"1": "products", "2": "refunds"}}) == "refunds"


def test_notes_are_plain_text_oldest_first_and_name_who_wrote_them() -> None:
    value = recorded("orders_gateways_settings", "order notes")
    notes = order_notes([*reversed(value), {**value[0], "id": 999, "author": "Ada", "note": "<b>Hi</b>"}])
    assert [note.id for note in notes] == ["85", "86", "87", "999"]
    assert notes[0].text == "Stock levels reduced: Album (SKU0) 1110→1107, Shirt (SKU1) 944→942"
    assert [note.by_system for note in notes] == [True, True, True, False]
    assert notes[0].created_at == datetime(2026, 11, 21, 2, 23, 16, tzinfo=UTC)


def plan_line(line_id: str, quantity: str, net: str, taxes: dict[str, str]) -> PlanLine:
    return PlanLine(
        line_id=line_id,
        kind="item",
        name="x",
        sku="",
        quantity=Decimal(quantity),
        net=Decimal(net),
        taxes=tuple(TaxPart(rate_id=rate, amount=Decimal(amount)) for rate, amount in taxes.items()),
    )


def plan(**changes: Any) -> RefundPlan:
    facts: dict[str, Any] = {
        "order_id": "119",
        "order_number": "119",
        "currency": "EUR",
        "decimals": 2,
        "amount": Decimal("20.00"),
        "lines": (),
        "goodwill": Decimal(0),
        "unallocated": Decimal(0),
        "payment": "gateway",
        "restock": False,
        "reason": "Customer request",
    }
    return RefundPlan(**{**facts, **changes})


def test_the_body_is_exactly_what_woocommerce_reads() -> None:
    lines = (
        plan_line("165", "1", "9", {"1": "1.71", "2": "0"}),
        plan_line("166", "0", "5.5", {}),
        plan_line("167", "0", "0", {"1": "0.00"}),
        plan_line("168", "2", "0", {}),
        plan_line("169", "0", "-3.00", {"1": "-0.57"}),
        plan_line("170", "1.5", "1.00", {}),
    )
    body = refund_body(plan(lines=lines), marker="RG-7F3K9Q2X", marker_in_reason=True)
    assert body == {
        "amount": "20.00",
        "reason": "Customer request [RG-7F3K9Q2X]",
        "api_refund": True,
        "api_restock": False,
        "line_items": [
            {"id": 165, "quantity": 1, "refund_total": "9.00", "refund_tax": [{"id": 1, "refund_total": "1.71"}]},
            {"id": 166, "quantity": 0, "refund_total": "5.50", "refund_tax": []},
            {"id": 168, "quantity": 2, "refund_total": "0.00", "refund_tax": []},
            {"id": 169, "quantity": 0, "refund_total": "-3.00", "refund_tax": [{"id": 1, "refund_total": "-0.57"}]},
            {"id": 170, "quantity": "1.5", "refund_total": "1.00", "refund_tax": []},
        ],
        "meta_data": [{"key": "_refund_gateway", "value": "RG-7F3K9Q2X"}],
    }


def test_the_body_says_manual_and_restock_when_asked() -> None:
    body = refund_body(plan(payment="manual", restock=True, reason=""), marker="RG-1", marker_in_reason=True)
    assert (body["api_refund"], body["api_restock"], body["reason"]) == (False, True, "[RG-1]")
    assert refund_body(plan(), marker="RG-1", marker_in_reason=False)["reason"] == "Customer request"


@given(st.decimals(min_value=0, max_value=10**11, places=3), st.integers(0, 3))
def test_an_amount_is_written_in_plain_digits_or_not_at_all(amount: Decimal, decimals: int) -> None:
    try:
        written = refund_body(plan(amount=amount, decimals=decimals), marker="m", marker_in_reason=True)["amount"]
    except MalformedAmount:
        assert amount != round(amount, decimals)
        return
    assert isinstance(written, str)
    assert set(written) <= set("0123456789.")
    assert Decimal(written) == amount


@pytest.mark.parametrize(
    ("value", "number"),
    [
        ("1.50", "1.50"),
        ("-3.8", "-3.8"),
        ("-0.00", "0.00"),
        (3, "3"),
        (Decimal("8.325"), "8.325"),
        ("1.0E-5", "0.000010"),
        ("7.59620000000000051", "7.59620000"),
        ("999999999999.99999999", "999999999999.99999999"),
        ("", "0"),
        (None, "0"),
    ],
)
def test_a_number_is_exact_up_to_eight_digits(value: object, number: str) -> None:
    read = number_of(value, "x")
    assert str(read) == number


@pytest.mark.parametrize(
    "value",
    ["1,50", "abc", "1_000", "٣", "NaN", "Infinity", "1e99", "9" * 16, True, [], {}, "1 2", "--1", "+1"],
)
def test_nothing_else_is_a_number(value: object) -> None:
    with pytest.raises(Unreadable):
        number_of(value, "x")


@pytest.mark.parametrize("value", ["1000000000000", "-1000000000000.00", "1e12", "999999999999.999999999"])
def test_what_the_ledger_cannot_keep_is_no_amount(value: str) -> None:
    with pytest.raises(Unreadable, match="too large"):
        number_of(value, "x")


@pytest.mark.parametrize(
    ("body", "value", "tainted"),
    [
        (b'{"a": 1}', {"a": 1}, False),
        (b"[]", [], False),
        (b'\xef\xbb\xbf{"a": 1.10}', {"a": Decimal("1.10")}, False),
        (b' \r\n [{"a": 1}] \n', [{"a": 1}], False),
        (b'Warning: Array [] to {} in x.php\n[{"a": 1}]', [{"a": 1}], True),
        (b'{"a": 1}<!-- x -->', {"a": 1}, True),
        (b'{"a": "\xff"}', {"a": "�"}, True),
    ],
)
def test_json_is_found_in_what_stores_send(body: bytes, value: object, tainted: bool) -> None:
    document = read_json(body)
    assert document is not None
    assert (document.value, document.tainted) == (value, tainted)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html></html>",
        b"null",
        b'"text"',
        b"12",
        b'{"a": 1',
        b'[{"a": 1}, {"a": 2}',
        b'{"a": NaN}',
        b'{"a": ' + b"9" * 5000 + b"}",
        b"[" * 100_000,
        b"<p>[]</p>",
        b'{"a": 1e999999999999999999999}',
        b'{"a": 1e999999999}',
        b'{"a": 0e-999999999}',
    ],
)
def test_broken_json_is_none(body: bytes) -> None:
    assert read_json(body) is None


def test_text_that_no_database_can_hold_is_mended() -> None:
    assert text_of("a\0b\ud800c", "x") == "ab?c"
    assert rows({"0": {"a": 1}, "2": {"b": 2}}, "x") == [{"a": 1}, {"b": 2}]


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-21T02:23:21", datetime(2026, 11, 21, 2, 23, 21, tzinfo=UTC)),
        ("2026-11-21T02:23:21+01:00", datetime(2026, 11, 21, 1, 23, 21, tzinfo=UTC)),
        ("0000-00-00T00:00:00", None),
        ("0001-01-01T00:00:00", None),
        ("0001-01-01T00:00:00+23:00", None),
        ("9999-12-31T23:59:59-23:00", None),
    ],
)
def test_a_time_can_be_reckoned_with_or_is_none(text: str, moment: datetime | None) -> None:
    assert time_of({"date_created": text}, "date_created", "order") == moment


ANY = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 10**20) | st.decimals(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def paths(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner: list[tuple[Any, ...]] = [at]
    if isinstance(value, dict):
        for key, item in value.items():
            inner += paths(item, (*at, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            inner += paths(item, (*at, index))
    return inner


def replaced(value: Any, at: tuple[Any, ...], by: Any) -> Any:
    if not at:
        return by
    copy = value.copy()
    copy[at[0]] = replaced(value[at[0]], at[1:], by)
    return copy


ORDER = recorded("v3_rounding", "three shirts after: order dp=8")
REFUND = recorded("v3_create_refund", "line item as strings")
NOTES = recorded("orders_gateways_settings", "order notes")


@given(st.sampled_from(paths(ORDER)), ANY)
def test_a_changed_order_is_read_or_called_unreadable(at: tuple[Any, ...], by: object) -> None:
    changed = replaced(ORDER, at, by)
    with suppress(Unreadable):
        refund_sums(changed)
    with suppress(Unreadable):
        snapshot = order_snapshot(changed, [], store_decimals=2, read_at=READ_AT)
        assert snapshot.total >= 0
        assert snapshot.total.is_finite()


@given(st.sampled_from(paths(REFUND)), ANY)
def test_a_changed_refund_is_read_or_called_unreadable(at: tuple[Any, ...], by: object) -> None:
    with suppress(Unreadable):
        assert store_refund(replaced(REFUND, at, by)).amount >= 0


@given(st.sampled_from(paths(NOTES)), ANY)
def test_changed_notes_are_read_or_called_unreadable(at: tuple[Any, ...], by: object) -> None:
    with suppress(Unreadable):
        assert all(note.created_at.tzinfo is UTC for note in order_notes(replaced(NOTES, at, by)))


@given(ANY)
def test_any_other_shape_is_read_or_called_unreadable(value: object) -> None:
    for read in (capability, payment_methods, decimals_setting, decimals_shown):
        with suppress(Unreadable):
            read(value)
