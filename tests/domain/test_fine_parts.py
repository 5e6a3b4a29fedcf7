"""Requests in WooCommerce's conventions: parts finer than a cent, amounts beside lines, shipping among the items."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.decision import check_command, decide
from app.domain.errors import Refusal
from app.domain.fine_parts import in_smallest_units
from app.domain.money import ZERO
from app.domain.order import OrderLine, OrderSnapshot, TaxPart, TaxRate
from app.domain.refund import ItemRequest, RefundCommand, RefundPlan, StorePolicy, TaxRequest

D = Decimal


def item(line_id: str, net: str, *taxes: str, quantity: int | None = None) -> ItemRequest:
    parts = tuple(TaxRequest(rate_id=str(i + 1), amount=D(tax)) for i, tax in enumerate(taxes))
    gross = D(net) + sum((part.amount for part in parts), ZERO)
    return ItemRequest(line_item_id=line_id, quantity=quantity, amount=gross, taxes=parts)


def wanted(*items: ItemRequest, amount: str | None = None, **fields: Any) -> RefundCommand:
    return RefundCommand(
        store="demo",
        order_id="12",
        items=items,
        amount=None if amount is None else D(amount),
        dialect="woocommerce",
        **fields,
    )


def order() -> OrderSnapshot:
    now = datetime(2026, 11, 21, tzinfo=UTC)
    line = OrderLine(
        id="5",
        kind="item",
        name="Mug",
        sku="",
        quantity=D(1),
        net=D("8.325"),
        taxes=(TaxPart(rate_id="1", amount=D("1.665")),),
    )
    shipping = OrderLine(
        id="6",
        kind="shipping",
        name="Post",
        sku="",
        quantity=ZERO,
        net=D("5.00"),
        taxes=(TaxPart(rate_id="1", amount=D("1.00")),),
    )
    return OrderSnapshot(
        id="12",
        number="12",
        status="processing",
        currency="EUR",
        decimals=2,
        total=D("15.99"),
        prices_include_tax=True,
        created_at=now,
        modified_at=now,
        paid_at=now,
        payment_method="pay",
        payment_method_title="Pay",
        lines=(line, shipping),
        tax_rates=(TaxRate(rate_id="1", label="VAT", percent=D(20), compound=False),),
        refunds=(),
        read_at=now,
    )


def decided(command: RefundCommand) -> RefundPlan | Refusal:
    return decide(command, order(), holds=(), capability="refunds", policy=StorePolicy())


def plan(command: RefundCommand) -> RefundPlan:
    found = decided(command)
    assert isinstance(found, RefundPlan), found
    return found


def test_parts_finer_than_a_cent_add_up_to_what_was_paid() -> None:
    found = plan(wanted(item("5", "8.325", "1.665", quantity=1)))
    assert found.amount == D("9.99")
    (line,) = found.lines
    assert (line.net, line.tax, line.quantity) == (D("8.33"), D("1.66"), 1)


def test_parts_rounded_up_beside_a_lower_amount_give_way_to_it() -> None:
    """At dp=2 the parts of 9.99 incl. 20 % read as 8.33 + 1.67 = 10.00."""
    found = plan(wanted(item("5", "8.33", "1.67", quantity=1), amount="9.99"))
    assert found.amount == D("9.99")
    assert found.lines[0].total == D("9.99")


def test_an_amount_above_its_lines_gives_the_rest_as_goodwill() -> None:
    found = plan(wanted(item("5", "1.00", "0.20"), amount="3.00"))
    assert (found.amount, found.goodwill, found.lines[0].total) == (D("3.00"), D("1.80"), D("1.20"))


def test_an_amount_well_below_its_lines_is_refused() -> None:
    refused = decided(wanted(item("5", "8.00", "1.60"), amount="3.00"))
    assert isinstance(refused, Refusal)
    assert refused.faults[0].code == "amount_mismatch"


def test_shipping_may_stand_among_the_items_and_its_quantity_means_nothing() -> None:
    found = plan(wanted(item("5", "1.00"), item("6", "5.00", "1.00", quantity=1)))
    assert [(line.kind, line.quantity, line.total) for line in found.lines] == [
        ("item", 0, D("1.00")),
        ("shipping", 0, D("6.00")),
    ]


def test_units_alone_can_go_back_into_stock_beside_an_amount() -> None:
    found = plan(wanted(ItemRequest(line_item_id="5", quantity=1, amount=ZERO, taxes=()), amount="2.00"))
    assert (found.amount, found.goodwill, found.lines[0].quantity, found.lines[0].total) == (D("2.00"), D("2.00"), 1, 0)


def test_what_is_computed_here_needs_no_price() -> None:
    found = plan(wanted(ItemRequest(line_item_id="5", quantity=1), ItemRequest(line_item_id="6", quantity=1)))
    assert found.amount == D("15.99")


def test_an_amount_finer_than_a_cent_is_refused_as_ever() -> None:
    refused = decided(RefundCommand(store="demo", order_id="12", amount=D("1.005"), dialect="woocommerce"))
    assert isinstance(refused, Refusal)
    assert refused.faults[0].code == "precision_exceeded"


def test_parts_too_fine_to_come_to_anything_refund_nothing() -> None:
    refused = decided(wanted(item("5", "0.001", quantity=1)))
    assert isinstance(refused, Refusal)
    assert refused.faults[0].code == "nothing_to_refund"


@pytest.mark.parametrize("key", ["_refunded_payment", "_REFUND_AMOUNT", "_refund_gateway"])
def test_what_woocommerce_or_the_gateway_keeps_of_its_own_is_no_meta_data(key: str) -> None:
    refused = check_command(wanted(amount="1.00", store_meta={key: "1"}))
    assert isinstance(refused, Refusal)
    assert [(fault.code, fault.pointer) for fault in refused.faults] == [("conflicting_fields", "/store_meta_data")]
    assert check_command(wanted(amount="1.00", store_meta={"rma": "1"})) is None


def test_commands_of_our_own_are_left_as_they_are() -> None:
    command = RefundCommand(store="demo", order_id="12", items=(item("5", "8.325", "1.665"),))
    assert in_smallest_units(command, 2) is command


_parts = st.decimals(min_value=0, max_value=500, places=6, allow_nan=False, allow_infinity=False)


@given(st.lists(st.tuples(_parts, st.lists(_parts, max_size=3)), min_size=1, max_size=5), st.integers(0, 3))
def test_rounded_parts_always_add_up(lines: list[tuple[Decimal, list[Decimal]]], decimals: int) -> None:
    command = wanted(*(item(str(i + 1), str(net), *map(str, taxes)) for i, (net, taxes) in enumerate(lines)))
    fitted = in_smallest_units(command, decimals)
    exact = sum((i.amount or ZERO for i in command.items), ZERO)
    total = sum((i.amount or ZERO for i in fitted.items), ZERO)
    unit = D(1).scaleb(-decimals)
    assert abs(total - exact) <= unit / 2
    for before, after in zip(command.items, fitted.items, strict=True):
        assert after.amount is not None
        assert before.amount is not None
        assert after.amount % unit == 0
        assert all(tax.amount % unit == 0 for tax in after.taxes or ())
        assert sum((tax.amount for tax in after.taxes or ()), ZERO) <= after.amount
