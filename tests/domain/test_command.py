from dataclasses import replace
from decimal import Decimal

import pytest

from app.domain.command import amounts_of, faults_of
from app.domain.decision import check_command
from app.domain.refund import ItemRequest, LineRequest, RefundCommand, TaxRequest

BARE = RefundCommand(store="s", order_number="DE-1")


def places(command: RefundCommand) -> list[tuple[str, str]]:
    return [(fault.code, fault.pointer) for fault in faults_of(command)]


def of_items(*items: ItemRequest) -> RefundCommand:
    return replace(BARE, items=items)


@pytest.mark.parametrize(
    "command",
    [
        replace(BARE, amount=Decimal("1.00")),
        replace(BARE, remaining=True, amount=Decimal("1.00")),
        replace(BARE, shipping="all", fees=Decimal("1.00"), goodwill=Decimal("0.01")),
        replace(BARE, remaining=True, shipping=(), fees=()),
        replace(BARE, amount=Decimal(1), expected_refunded_total=Decimal(0)),
        of_items(ItemRequest(sku="", quantity=1), ItemRequest(line_item_id="", amount=Decimal(1))),
        of_items(ItemRequest(sku="A", amount=Decimal(1), taxes=(TaxRequest(rate_id="1", amount=Decimal(0)),))),
        replace(BARE, fees=(LineRequest(line_id="4"), LineRequest(line_id="5", amount=Decimal(1), taxes=()))),
    ],
)
def test_one_clear_question_has_no_faults(command: RefundCommand) -> None:
    assert check_command(command) is None


def test_an_order_is_named_exactly_once() -> None:
    command = replace(BARE, amount=Decimal(1))
    assert places(replace(command, order_number=None)) == [("missing_field", "/order_id")]
    assert places(replace(command, order_id="1")) == [("conflicting_fields", "/order_number")]


def test_remaining_stands_beside_nothing_it_would_include() -> None:
    command = replace(
        BARE,
        remaining=True,
        items=(ItemRequest(sku="A", quantity=1),),
        shipping="all",
        fees=Decimal(1),
        goodwill=Decimal(1),
    )
    (fault,) = faults_of(command)
    assert (fault.code, fault.pointer) == ("conflicting_fields", "/remaining")
    assert fault.facts == {"fields": ["remaining", "items", "shipping", "fees", "goodwill"]}


def test_an_item_names_its_line_exactly_once_and_says_how_much() -> None:
    command = of_items(ItemRequest(), ItemRequest(line_item_id="1", sku="A", quantity=-1))
    assert places(command) == [
        ("missing_field", "/items/0/line_item_id"),
        ("missing_field", "/items/0/quantity"),
        ("conflicting_fields", "/items/1/sku"),
        ("nothing_to_refund", "/items/1/quantity"),
    ]


def test_a_line_named_twice_is_a_duplicate_wherever_it_shows() -> None:
    one = LineRequest(line_id="7", amount=Decimal(1))
    command = replace(
        of_items(
            ItemRequest(sku="A", quantity=1),
            ItemRequest(line_item_id="A", quantity=1),
            ItemRequest(sku="A", quantity=1),
            ItemRequest(line_item_id="A", quantity=1),
        ),
        shipping=(one, one),
        fees=(one,),
    )
    faults = list(faults_of(command))
    assert [(fault.code, fault.pointer, fault.facts["first"]) for fault in faults] == [
        ("duplicate_line", "/items/2/sku", "/items/0"),
        ("duplicate_line", "/items/3/line_item_id", "/items/1"),
        ("duplicate_line", "/shipping/1/shipping_line_id", "/shipping/0"),
    ]
    assert faults[0].message == "The order line A is already refunded by /items/0; put both into one entry."


def test_taxes_need_their_amount_and_each_rate_once() -> None:
    rate = TaxRequest(rate_id="2", amount=Decimal("0.10"))
    command = replace(
        of_items(ItemRequest(sku="A", quantity=1, taxes=())),
        shipping=(LineRequest(line_id="7", amount=Decimal(1), taxes=(rate, rate)),),
    )
    assert places(command) == [
        ("missing_field", "/items/0/amount"),
        ("conflicting_fields", "/shipping/0/taxes/1/rate_id"),
    ]


def test_amounts_come_in_the_order_of_the_body_with_their_pointers() -> None:
    rate = TaxRequest(rate_id="2", amount=Decimal(-3))
    command = replace(
        of_items(ItemRequest(sku="A", amount=Decimal(2), taxes=(rate,))),
        amount=Decimal(1),
        shipping=(LineRequest(line_id="7"), LineRequest(line_id="8", amount=Decimal(4), taxes=(rate,))),
        fees=Decimal(0),
        goodwill=Decimal(6),
        expected_refunded_total=Decimal(0),
    )
    assert [(written.pointer, written.amount) for written in amounts_of(command)] == [
        ("/amount", 1),
        ("/items/0/amount", 2),
        ("/items/0/taxes/0/amount", -3),
        ("/shipping/1/amount", 4),
        ("/shipping/1/taxes/0/amount", -3),
        ("/fees", 0),
        ("/goodwill", 6),
        ("/expected_refunded_total", 0),
    ]
    assert places(command) == [
        ("nothing_to_refund", "/items/0/taxes/0/amount"),
        ("nothing_to_refund", "/shipping/1/taxes/0/amount"),
        ("nothing_to_refund", "/fees"),
    ]
