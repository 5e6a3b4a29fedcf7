from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from app.domain.decision import check_command, decide, fits
from app.domain.errors import Fact, Fault, Refusal
from app.domain.order import LineKind, OrderLine, OrderSnapshot, RefundedLine, StoreRefund, TaxPart, TaxRate
from app.domain.refund import (
    GatewayCapability,
    ItemRequest,
    LineRequest,
    PlanLine,
    RefundCommand,
    RefundPlan,
    StorePolicy,
    TaxRequest,
)
from app.domain.remaining import Hold

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
D = Decimal


def line(line_id: str, net: str, *tax: str, kind: LineKind = "item", sku: str = "", quantity: str = "0") -> OrderLine:
    taxes = tuple(TaxPart(rate_id=str(i), amount=D(amount)) for i, amount in enumerate(tax, 2))
    return OrderLine(
        id=line_id, kind=kind, name=f"Line {line_id}", sku=sku, quantity=D(quantity), net=D(net), taxes=taxes
    )


def order(
    total: str, *lines: OrderLine, refunds: Sequence[StoreRefund] = (), decimals: int = 2, rates: int = 1
) -> OrderSnapshot:
    return OrderSnapshot(
        id="217",
        number="DE-217",
        status="processing",
        currency="EUR",
        decimals=decimals,
        total=D(total),
        prices_include_tax=False,
        created_at=NOON,
        modified_at=NOON,
        paid_at=NOON,
        payment_method="testpay",
        payment_method_title="Test Pay",
        lines=lines,
        tax_rates=tuple(
            TaxRate(rate_id=str(i), label="VAT", percent=D(20), compound=False) for i in range(2, 2 + rates)
        ),
        refunds=tuple(refunds),
        read_at=NOON,
    )


def row(amount: str, *lines: RefundedLine) -> StoreRefund:
    return StoreRefund(
        id="900", amount=D(amount), reason="", refunded_payment=True, created_at=NOON, reference=None, lines=lines
    )


#: As recorded from a store: 9.99 including 20 %.
ONE_SHIRT = order("9.99", line("303", "8.325", "1.665", sku="SKU1", quantity="1"))
#: As recorded: three shirts and shipping, prices including 20 %.
THREE_SHIRTS = order(
    "65.91",
    line("309", "49.975", "9.995", sku="SKU1", quantity="3"),
    line("310", "4.95", "0.99", kind="shipping"),
)
#: As recorded: a coupon of 10 % over two products, shipping and a fee.
COUPON = order(
    "81.34",
    line("318", "24.29", "4.858", sku="SKU0", quantity="3"),
    line("319", "35.99", "7.198", sku="SKU1", quantity="2"),
    line("320", "5.00", "1", kind="shipping"),
    line("321", "2.50", "0.5", kind="fee"),
)


def ask(**fields: object) -> RefundCommand:
    return replace(RefundCommand(store="s", order_id="217"), **fields)


def item(line_item_id: str | None = None, **fields: object) -> ItemRequest:
    return replace(ItemRequest(line_item_id=line_item_id), **fields)


def tax(rate_id: str, amount: str) -> TaxRequest:
    return TaxRequest(rate_id=rate_id, amount=D(amount))


def judge(
    command: RefundCommand,
    snapshot: OrderSnapshot = COUPON,
    *,
    holds: Sequence[Hold] = (),
    capability: GatewayCapability = "refunds",
    policy: StorePolicy | None = None,
) -> RefundPlan | Refusal:
    return decide(command, snapshot, holds=holds, capability=capability, policy=policy or StorePolicy())


def planned(command: RefundCommand, snapshot: OrderSnapshot = COUPON, **facts: object) -> RefundPlan:
    answer = judge(command, snapshot, **facts)
    assert isinstance(answer, RefundPlan), answer
    assert answer.amount == sum((part.total for part in answer.lines), answer.goodwill + answer.unallocated)
    return answer


def refused(command: RefundCommand, snapshot: OrderSnapshot = COUPON, **facts: object) -> list[Fault]:
    answer = judge(command, snapshot, **facts)
    assert isinstance(answer, Refusal), answer
    return list(answer.faults)


def places(faults: Sequence[Fault]) -> list[tuple[str, str]]:
    return [(fault.code, fault.pointer) for fault in faults]


def texts(part: PlanLine) -> list[str]:
    return [part.line_id, *(str(value) for value in (part.quantity, part.net, *(t.amount for t in part.taxes)))]


def the_fault(code: str, pointer: str, faults: Sequence[Fault], **facts: Fact) -> Fault:
    assert places(faults) == [(code, pointer)]
    assert dict(faults[0].facts).items() >= facts.items()
    return faults[0]


# What is planned


def test_an_amount_alone_is_taken_from_no_line() -> None:
    plan = planned(ask(amount=D("20"), reason="Sorry", restock=True))
    assert (str(plan.amount), str(plan.unallocated), str(plan.goodwill), plan.lines) == ("20.00", "20.00", "0.00", ())
    assert (plan.order_id, plan.order_number, plan.currency, plan.decimals) == ("217", "DE-217", "EUR", 2)
    assert (plan.payment, plan.restock, plan.reason) == ("gateway", True, "Sorry")


def test_the_one_shirt_that_a_store_refuses_in_its_own_numbers_is_refunded_to_the_cent() -> None:
    plan = planned(ask(items=(item("303", quantity=1),)), ONE_SHIRT)
    assert texts(plan.lines[0]) == ["303", "1", "8.33", "1.66"]
    assert plan.amount == D("9.99")


def test_one_of_three_shirts_is_what_the_recorded_store_paid() -> None:
    plan = planned(ask(items=(item("309", quantity=1),)), THREE_SHIRTS)
    assert texts(plan.lines[0]) == ["309", "1", "16.66", "3.33"]
    assert (plan.amount, plan.net, plan.tax) == (D("19.99"), D("16.66"), D("3.33"))


def test_the_coupon_order_line_by_line_comes_to_its_total() -> None:
    items = (item("318", quantity=3), item(sku="SKU1", quantity=2))
    plan = planned(ask(items=items, shipping="all", fees="all", amount=D("81.34")))
    assert [texts(part) for part in plan.lines] == [
        ["318", "3", "24.29", "4.86"],
        ["319", "2", "35.99", "7.20"],
        ["320", "0", "5.00", "1.00"],
        ["321", "0", "2.50", "0.50"],
    ]
    assert (plan.amount, plan.unallocated) == (D("81.34"), 0)


def test_an_item_amount_is_gross_and_split_as_the_line_is() -> None:
    plan = planned(ask(items=(item("319", amount=D("12")), item("318", quantity=2, amount=D("0.01")))))
    assert [texts(part) for part in plan.lines] == [["319", "0", "10.00", "2.00"], ["318", "2", "0.01", "0.00"]]


def test_explicit_taxes_leave_the_rest_of_the_amount_as_net() -> None:
    entry = item("319", amount=D("10"), taxes=(tax("2", "0.5"),))
    fee = LineRequest(line_id="321", amount=D("1.00"), taxes=())
    plan = planned(ask(items=(entry,), fees=(fee,)))
    assert [texts(part) for part in plan.lines] == [["319", "0", "9.50", "0.50"], ["321", "0", "1.00", "0.00"]]


def test_shipping_and_fees_by_amount_fill_the_lines_in_order() -> None:
    two = replace(COUPON, lines=(*COUPON.lines, line("322", "4", "0.8", kind="shipping")), total=D("86.14"))
    plan = planned(ask(shipping=D("7.20"), fees=(LineRequest(line_id="321"),)), two)
    assert [texts(part) for part in plan.lines] == [
        ["320", "0", "5.00", "1.00"],
        ["322", "0", "1.00", "0.20"],
        ["321", "0", "2.50", "0.50"],
    ]
    plan = planned(ask(shipping=D("6.00")), two)
    assert [part.line_id for part in plan.lines] == ["320"]


def test_goodwill_is_given_on_top_and_taken_from_no_line() -> None:
    plan = planned(ask(goodwill=D("3"), fees=D("1.00"), amount=D("4.00")))
    assert (str(plan.goodwill), plan.unallocated, plan.amount) == ("3.00", 0, D("4.00"))
    assert texts(plan.lines[0]) == ["321", "0", "0.83", "0.17"]
    alone = planned(ask(goodwill=D("3")))
    assert (alone.amount, alone.goodwill, alone.lines) == (3, 3, ())


def test_a_free_gift_goes_back_with_what_was_paid_for() -> None:
    gift = order("10.00", line("1", "10", quantity="1"), line("2", "0", quantity="1"))
    plan = planned(ask(items=(item("1", quantity=1), item("2", quantity=1))), gift)
    assert [texts(part) for part in plan.lines] == [["1", "1", "10.00"], ["2", "1", "0.00"]]
    the_fault("nothing_to_refund", "/items/0", refused(ask(items=(item("2", quantity=1),)), gift), refundable="10.00")


def test_a_rounding_excess_is_trimmed_off_the_largest_computed_lines() -> None:
    """Three lines of 0.004 net and 0.004 tax: each is worth a cent, the store charged nothing for them."""
    small = [line(str(i), "0.004", "0.004", quantity="1") for i in range(3)]
    charged = order("12.00", line("9", "10", "2", quantity="1"), *small)
    entries = tuple(item(part.id, quantity=1) for part in charged.lines)
    plan = planned(ask(items=entries), charged)
    assert plan.amount == D("12.00")
    assert [part.total for part in plan.lines] == [D("11.97"), D("0.01"), D("0.01"), D("0.01")]
    assert texts(plan.lines[0]) == ["9", "1", "9.98", "1.99"]
    assert planned(ask(items=entries[::-1]), charged).lines == plan.lines[::-1]
    named = (item("9", quantity=1, amount=D("12.00")), *entries[1:])
    plan = planned(ask(items=named), charged)
    assert [part.total for part in plan.lines] == [D("12.00"), 0, 0, 0]


def test_trimming_goes_on_with_the_next_line_when_the_largest_is_used_up() -> None:
    charged = order(
        "2.99", line("1", "0.01", quantity="1"), line("2", "0.01", quantity="1"), line("3", "3", quantity="1")
    )
    plan = planned(ask(items=(item("1", quantity=1), item("2", quantity=1), item("3", amount=D("2.98")))), charged)
    assert [part.total for part in plan.lines] == [0, D("0.01"), D("2.98")]
    plan = planned(ask(items=(item("1", quantity=1), item("2", quantity=1), item("3", amount=D("2.99")))), charged)
    assert [part.total for part in plan.lines] == [0, 0, D("2.99")]


def test_four_rates_per_line_may_round_by_more_than_a_cent_a_line() -> None:
    rates = ["0.0045"] * 4
    charged = order("10.00", *(line(str(i), "1.004", *rates, quantity="1") for i in range(10)), rates=4)
    entries = tuple(item(part.id, quantity=1) for part in charged.lines)
    assert planned(ask(items=entries), charged).amount == D("10.00")


def test_an_excess_beyond_rounding_is_refused_rather_than_trimmed() -> None:
    short = replace(COUPON, total=D("30"))
    faults = refused(ask(items=(item("318", quantity=3), item("319", quantity=1))), short)
    fault = the_fault("exceeds_refundable", "", faults, refundable="30.00", requested="50.74")
    assert fault.message == "30.00 EUR of the order can still be refunded, not 50.74 EUR."


def test_an_amount_named_by_the_caller_is_never_trimmed() -> None:
    short = replace(ONE_SHIRT, total=D("9.98"))
    faults = refused(ask(items=(item("303", amount=D("9.99")),), amount=D("9.99")), short)
    the_fault("exceeds_refundable", "/amount", faults, refundable="9.98", requested="9.99")


def test_an_excess_that_the_computed_lines_cannot_bear_is_refused_with_what_was_asked() -> None:
    charged = order("9.97", line("1", "0.01", quantity="1"), line("2", "9.99", quantity="1"))
    faults = refused(ask(items=(item("1", quantity=1), item("2", amount=D("9.99")))), charged)
    the_fault("exceeds_refundable", "", faults, refundable="9.97", requested="10.00")


# Everything that is left


def test_remaining_takes_the_order_as_it_was_paid() -> None:
    plan = planned(ask(remaining=True, amount=D("81.34")))
    assert [texts(part) for part in plan.lines] == [
        ["318", "3", "24.29", "4.86"],
        ["319", "2", "35.99", "7.20"],
        ["320", "0", "5.00", "1.00"],
        ["321", "0", "2.50", "0.50"],
    ]
    assert (plan.amount, plan.unallocated) == (D("81.34"), 0)


def test_remaining_scales_the_lines_down_when_the_order_has_less_and_takes_all_units() -> None:
    plan = planned(ask(remaining=True), replace(COUPON, refunds=(row("40.67"),)))
    assert [str(part.total) for part in plan.lines] == ["14.58", "21.59", "3.00", "1.50"]
    assert [part.quantity for part in plan.lines] == [3, 2, 0, 0]
    assert (plan.amount, plan.unallocated) == (D("40.67"), 0)


def test_remaining_gives_what_no_line_accounts_for_as_unallocated() -> None:
    plan = planned(ask(remaining=True), replace(ONE_SHIRT, total=D("10.01")))
    assert (plan.amount, str(plan.unallocated)) == (D("10.01"), "0.02")
    assert texts(plan.lines[0]) == ["303", "1", "8.33", "1.66"]


def test_remaining_leaves_out_lines_that_are_used_up() -> None:
    taken = row("35.15", RefundedLine(item_id="318", quantity=D(3), net=D("24.29"), taxes=COUPON.lines[0].taxes))
    plan = planned(ask(remaining=True), replace(COUPON, refunds=(replace(taken, amount=D("29.15")),)))
    assert [part.line_id for part in plan.lines] == ["319", "320", "321"]
    assert plan.amount == D("52.19")


def test_remaining_of_an_emptied_order_is_nothing() -> None:
    faults = refused(ask(remaining=True), replace(COUPON, status="refunded", refunds=(row("81.34"),)))
    the_fault("nothing_to_refund", "/remaining", faults, refundable="0.00")


def test_an_amount_beside_remaining_has_to_be_what_remains() -> None:
    faults = refused(ask(remaining=True, amount=D("81.35")))
    the_fault("amount_mismatch", "/amount", faults, amount="81.35", computed="81.34")


# What is refused


@pytest.mark.parametrize("amount", ["81.35", "1000000"])
def test_more_than_the_order_has_left_is_refused_with_what_is_refundable(amount: str) -> None:
    the_fault("exceeds_refundable", "/amount", refused(ask(amount=D(amount))), refundable="81.34")


def test_a_refunded_order_has_nothing_refundable() -> None:
    gone = replace(COUPON, status="refunded", refunds=(row("81.34"),))
    the_fault("exceeds_refundable", "/amount", refused(ask(amount=D(1)), gone), refundable="0.00", requested="1.00")


def test_refunds_under_way_count_against_the_order() -> None:
    held = Hold(refund_id="rf_1", amount=D("80.00"), lines=(), marker="[RG-1]", store_refund_id=None)
    faults = refused(ask(amount=D("1.35")), holds=[held])
    the_fault("exceeds_refundable", "/amount", faults, refundable="1.34")


def test_goodwill_beyond_what_the_lines_leave_is_refused_at_goodwill() -> None:
    faults = refused(ask(shipping="all", goodwill=D("75.35")))
    the_fault("exceeds_refundable", "/goodwill", faults, refundable="81.34", requested="81.35")
    the_fault("exceeds_refundable", "/goodwill", refused(ask(goodwill=D("81.35"))), refundable="81.34")
    faults = refused(ask(items=(item("319", quantity=2),), goodwill=D("1.00")), replace(COUPON, total=D("30")))
    the_fault("exceeds_refundable", "", faults, refundable="30.00", requested="44.19")


def test_more_units_than_are_left_are_refused() -> None:
    faults = refused(ask(items=(item("318", quantity=4), item("319", quantity=3, amount=D("50.00")))))
    assert places(faults) == [
        ("quantity_exceeds_refundable", "/items/0/quantity"),
        ("quantity_exceeds_refundable", "/items/1/quantity"),
        ("line_amount_exceeds_refundable", "/items/1/amount"),
    ]
    assert faults[0].facts == {"line_id": "318", "refundable": "3", "requested": "4"}
    assert faults[0].message == "Of the item line 318 (Line 318), 3 can still be refunded, not 4."
    only_units = refused(ask(items=(item("319", quantity=3, amount=D("5.00")),)))
    the_fault("quantity_exceeds_refundable", "/items/0/quantity", only_units)


def test_more_money_than_a_line_has_left_is_refused() -> None:
    fault = the_fault(
        "line_amount_exceeds_refundable",
        "/items/0/amount",
        refused(ask(items=(item("318", amount=D("29.16")),))),
        refundable="29.15",
        requested="29.16",
        part="gross",
    )
    assert "29.15 EUR gross" in fault.message
    the_fault("line_amount_exceeds_refundable", "/shipping", refused(ask(shipping=D("6.01"))), refundable="6.00")
    named = refused(ask(fees=(LineRequest(line_id="321", amount=D("3.01")),)))
    the_fault("line_amount_exceeds_refundable", "/fees/0/amount", named, refundable="3.00")


def test_more_net_than_a_line_has_left_is_refused_though_its_total_would_bear_it() -> None:
    faults = refused(ask(items=(item("318", amount=D("25.00"), taxes=(tax("2", "0.10"),)),)))
    the_fault("line_amount_exceeds_refundable", "/items/0/amount", faults, part="net", refundable="24.29")


def test_more_tax_than_a_line_was_charged_is_refused_per_rate() -> None:
    entry = item("318", amount=D("10"), taxes=(tax("2", "4.87"), tax("9", "1.00")))
    faults = refused(ask(items=(entry,)))
    assert places(faults) == [
        ("tax_exceeds_refundable", "/items/0/taxes/0/amount"),
        ("tax_rate_not_found", "/items/0/taxes/1/rate_id"),
    ]
    assert faults[0].facts == {"line_id": "318", "rate_id": "2", "refundable": "4.86", "requested": "4.87"}
    assert faults[1].facts == {"line_id": "318", "rate_id": "9", "rate_ids": ["2"]}


def test_taxes_above_their_amount_are_a_mismatch() -> None:
    faults = refused(ask(items=(item("318", amount=D("1.00"), taxes=(tax("2", "1.01"),)),)))
    the_fault("amount_mismatch", "/items/0/taxes", faults, amount="1.00", computed="1.01")


def test_an_amount_beside_entries_has_to_be_their_sum() -> None:
    faults = refused(ask(amount=D("20"), shipping="all", goodwill=D("1.00")))
    the_fault("amount_mismatch", "/amount", faults, amount="20.00", computed="7.00")


def test_an_amount_above_the_order_is_named_even_when_the_entries_cannot_be_summed() -> None:
    faults = refused(ask(amount=D("100"), items=(item("999", quantity=1),)))
    assert places(faults) == [("line_not_found", "/items/0/line_item_id"), ("exceeds_refundable", "/amount")]
    assert places(refused(ask(amount=D("10"), items=(item("999", quantity=1),)))) == [
        ("line_not_found", "/items/0/line_item_id")
    ]


def test_lines_are_found_only_under_their_own_kind() -> None:
    faults = refused(
        ask(
            items=(item("320", quantity=1), item(sku="sku0", quantity=1), item(sku="", quantity=1)),
            shipping=(LineRequest(line_id="321"),),
            fees=(LineRequest(line_id="5"),),
        )
    )
    assert places(faults) == [
        ("line_not_found", "/items/0/line_item_id"),
        ("line_not_found", "/items/1/sku"),
        ("line_not_found", "/items/2/sku"),
        ("line_not_found", "/shipping/0/shipping_line_id"),
        ("line_not_found", "/fees/0/fee_line_id"),
    ]
    assert "one of its shipping lines" in faults[0].message
    assert faults[1].facts == {"sku": "sku0"}


def test_a_sku_on_several_lines_is_ambiguous() -> None:
    twice = replace(COUPON, lines=(*COUPON.lines, replace(COUPON.lines[0], id="330")))
    faults = refused(ask(items=(item(sku="SKU0", quantity=1),)), twice)
    the_fault("ambiguous_sku", "/items/0/sku", faults, line_item_ids=["318", "330"], sku="SKU0")


def test_two_entries_must_not_take_from_one_line() -> None:
    faults = refused(ask(items=(item("318", quantity=1), item(sku="SKU0", quantity=1), item("318", amount=D(1)))))
    assert places(faults) == [("duplicate_line", "/items/2/line_item_id"), ("duplicate_line", "/items/1/sku")]
    fees = (LineRequest(line_id="321", amount=D(1)), LineRequest(line_id="321", amount=D(1)))
    the_fault("duplicate_line", "/fees/1/fee_line_id", refused(ask(fees=fees)), first="/fees/0")


def test_another_currency_is_refused_and_its_case_is_not() -> None:
    the_fault("currency_mismatch", "/currency", refused(ask(amount=D(1), currency="USD")), currency="EUR")
    assert planned(ask(amount=D(1), currency="eur")).currency == "EUR"


def test_digits_finer_than_the_order_has_are_refused_wherever_they_stand() -> None:
    faults = refused(
        ask(
            amount=D("1.005"),
            items=(item("318", amount=D("1.000"), taxes=(tax("2", "0.001"),)), item("319", amount=D("1.123"))),
            shipping=D("1.001"),
            fees=(LineRequest(line_id="321", amount=D("0.500")),),
            goodwill=D("0.001"),
            expected_refunded_total=D("0.000"),
        )
    )
    assert places(faults) == [
        ("precision_exceeded", pointer)
        for pointer in (
            "/amount",
            "/items/0/amount",
            "/items/0/taxes/0/amount",
            "/items/1/amount",
            "/shipping",
            "/fees/0/amount",
            "/goodwill",
            "/expected_refunded_total",
        )
    ]
    assert faults[0].facts == {"amount": "1.005", "decimals": 2}


def test_a_yen_order_has_no_digits_behind_the_dot() -> None:
    yen = replace(order("110", line("1", "100", "10", quantity="3"), decimals=0), currency="JPY")
    the_fault("precision_exceeded", "/amount", refused(ask(amount=D("100.50")), yen), decimals=0)
    assert texts(planned(ask(items=(item("1", quantity=1),)), yen).lines[0]) == ["1", "1", "34", "3"]


@pytest.mark.parametrize("kind", ["shipping", "fees"])
def test_all_of_nothing_is_nothing_to_refund(kind: str) -> None:
    the_fault("nothing_to_refund", f"/{kind}", refused(ask(**{kind: "all"}), ONE_SHIRT), refundable="0.00")


def test_a_line_whose_money_is_gone_is_nothing_to_refund() -> None:
    taken = (
        RefundedLine(item_id="318", quantity=D(0), net=D("24.29"), taxes=(TaxPart(rate_id="2", amount=D("4.86")),)),
        RefundedLine(item_id="321", quantity=D(0), net=D("2.50"), taxes=(TaxPart(rate_id="2", amount=D("0.50")),)),
    )
    used = replace(COUPON, refunds=(row("32.15", *taken),))
    faults = refused(ask(items=(item("318", quantity=3),), fees=(LineRequest(line_id="321"),)), used)
    assert places(faults) == [("nothing_to_refund", "/items/0"), ("nothing_to_refund", "/fees/0")]
    faults = refused(ask(fees=(LineRequest(line_id="321", amount=D("0.01")),)), used)
    the_fault("line_amount_exceeds_refundable", "/fees/0/amount", faults, refundable="0.00")


def test_a_discount_sold_as_a_fee_is_not_refundable_and_lowers_the_order() -> None:
    discounted = order("9.50", line("1", "10", quantity="1"), line("4", "-2", kind="fee"), line("5", "1.5", kind="fee"))
    assert [part.line_id for part in planned(ask(fees="all"), discounted).lines] == ["5"]
    the_fault("nothing_to_refund", "/fees/0", refused(ask(fees=(LineRequest(line_id="4"),)), discounted))
    assert planned(ask(items=(item("1", quantity=1),)), replace(discounted, total=D("9.98"))).amount == D("9.98")
    plan = planned(ask(remaining=True), discounted)
    assert [(part.line_id, str(part.total)) for part in plan.lines] == [("1", "8.26"), ("5", "1.24")]


def test_an_order_never_paid_is_refused_with_its_status() -> None:
    pending = replace(COUPON, status="pending", paid_at=None)
    faults = refused(ask(amount=D(1)), pending)
    assert places(faults) == [("order_not_paid", ""), ("order_status_not_refundable", "")]
    assert faults[1].facts == {"status": "pending", "allowed": ["completed", "on-hold", "processing", "refunded"]}
    assert places(refused(ask(amount=D(1), payment="manual"), pending)) == places(faults)


def test_a_policy_may_allow_manual_refunds_of_unpaid_orders_and_no_others() -> None:
    cancelled = replace(COUPON, status="cancelled", paid_at=None)
    policy = StorePolicy(manual_refunds_of_unpaid_orders=True)
    assert planned(ask(amount=D(1), payment="manual"), cancelled, policy=policy).payment == "manual"
    assert len(refused(ask(amount=D(1)), cancelled, policy=policy)) == 2


def test_a_status_outside_the_policy_is_refused() -> None:
    faults = refused(ask(amount=D(1)), policy=StorePolicy(refundable_statuses=frozenset()))
    fault = the_fault("order_status_not_refundable", "", faults, status="processing", allowed=[])
    assert fault.message.endswith("refunds orders in: none.")


@pytest.mark.parametrize(
    ("capability", "why"), [("no_refunds", "cannot pay money back"), ("missing", "is no longer installed")]
)
def test_a_payment_method_that_cannot_refund_names_the_manual_way(capability: GatewayCapability, why: str) -> None:
    faults = refused(ask(amount=D(1)), capability=capability)
    fault = the_fault("gateway_cannot_refund", "/payment", faults, payment="manual", capability=capability)
    assert fault.message == (
        f"The order's payment method Test Pay {why}; "
        "send payment: manual to record a refund that is paid outside the store."
    )
    assert planned(ask(amount=D(1), payment="manual"), capability=capability).payment == "manual"


def test_an_unknown_capability_is_left_to_the_store() -> None:
    assert planned(ask(amount=D(1)), capability="unknown").amount == 1


def test_a_precondition_that_no_longer_holds_leads_the_faults() -> None:
    part_refunded = replace(COUPON, refunds=(row("10.00"),))
    assert planned(ask(amount=D(1), expected_refunded_total=D("10")), part_refunded).amount == 1
    faults = refused(ask(amount=D(1), currency="USD", expected_refunded_total=D("0.00")), part_refunded)
    assert places(faults) == [("order_changed", "/expected_refunded_total"), ("currency_mismatch", "/currency")]
    assert faults[0].facts == {"expected": "0.00", "actual": "10.00"}


def test_every_fault_is_answered_at_once() -> None:
    faults = refused(
        RefundCommand(
            store="s",
            items=(item(quantity=1), item("999", amount=D("1.001")), item("318", quantity=9)),
            shipping="all",
            currency="USD",
        ),
        replace(COUPON, status="failed", paid_at=None, lines=COUPON.lines[:2]),
        capability="missing",
    )
    assert places(faults) == [
        ("missing_field", "/order_id"),
        ("missing_field", "/items/0/line_item_id"),
        ("currency_mismatch", "/currency"),
        ("precision_exceeded", "/items/1/amount"),
        ("order_not_paid", ""),
        ("order_status_not_refundable", ""),
        ("gateway_cannot_refund", "/payment"),
        ("line_not_found", "/items/1/line_item_id"),
        ("quantity_exceeds_refundable", "/items/2/quantity"),
        ("nothing_to_refund", "/shipping"),
    ]


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (ask(amount=D("0.00")), [("nothing_to_refund", "/amount")]),
        (ask(items=(item("318", amount=D(0)),)), [("nothing_to_refund", "/items/0/amount")]),
        (ask(items=(item("318", quantity=0),)), [("nothing_to_refund", "/items/0/quantity")]),
        (ask(shipping=D(0)), [("nothing_to_refund", "/shipping")]),
        (ask(goodwill=D(0)), [("nothing_to_refund", "/goodwill")]),
        (ask(), [("missing_field", "")]),
        (ask(shipping=()), [("missing_field", "")]),
        (ask(items=(item("318"),)), [("missing_field", "/items/0/quantity")]),
        (ask(fees=(LineRequest(line_id="321", taxes=()),)), [("missing_field", "/fees/0/amount")]),
        (
            ask(items=(item("318", amount=D(1), taxes=(tax("2", "0.1"), tax("2", "0.1"))),)),
            [("conflicting_fields", "/items/0/taxes/1/rate_id")],
        ),
        (ask(remaining=True, items=(item("318", quantity=1),)), [("conflicting_fields", "/remaining")]),
    ],
)
def test_what_a_command_alone_gets_wrong_is_refused_with_an_order_too(
    command: RefundCommand, expected: list[tuple[str, str]]
) -> None:
    early = check_command(command)
    assert early is not None
    assert places(early.faults) == expected
    assert places(refused(command)) == expected


# Whether a plan still fits


def still_fits(
    plan: RefundPlan, snapshot: OrderSnapshot, *, holds: Sequence[Hold] = (), capability: GatewayCapability = "refunds"
) -> list[tuple[str, str]]:
    answer = fits(plan, snapshot, holds=holds, capability=capability, policy=StorePolicy())
    return [] if answer is None else places(answer.faults)


ONE_OF_EACH = ask(items=(item("318", quantity=2),), shipping="all")


def test_a_plan_fits_the_order_it_was_made_for() -> None:
    assert still_fits(planned(ONE_OF_EACH), COUPON) == []


def test_a_plan_does_not_fit_an_order_with_less_left() -> None:
    plan = planned(ask(amount=D("80.00")))
    held = Hold(refund_id="rf_2", amount=D("1.35"), lines=(), marker=None, store_refund_id=None)
    assert still_fits(plan, COUPON, holds=[held]) == [("exceeds_refundable", "")]
    assert still_fits(plan, replace(COUPON, refunds=(row("1.34"),))) == []


def test_a_plan_does_not_fit_lines_with_less_left_of_any_part() -> None:
    plan = planned(ONE_OF_EACH)
    units = RefundedLine(item_id="318", quantity=D(2), net=D("0"), taxes=())
    assert still_fits(plan, replace(COUPON, refunds=(row("0", units),))) == [("quantity_exceeds_refundable", "")]
    money = RefundedLine(item_id="318", quantity=D(0), net=D("20"), taxes=(TaxPart(rate_id="2", amount=D(4)),))
    assert still_fits(plan, replace(COUPON, refunds=(row("24", money),))) == [
        ("line_amount_exceeds_refundable", ""),
        ("line_amount_exceeds_refundable", ""),
        ("tax_exceeds_refundable", ""),
    ]


def test_a_plan_does_not_fit_an_order_that_lost_its_line_or_its_tax_rate() -> None:
    plan = planned(ONE_OF_EACH)
    assert still_fits(plan, replace(COUPON, lines=COUPON.lines[:2])) == [("line_not_found", "")]
    untaxed = replace(COUPON.lines[0], net=D("29.15"), taxes=())
    assert still_fits(plan, replace(COUPON, lines=(untaxed, *COUPON.lines[1:]))) == [("tax_rate_not_found", "")]


def test_a_plan_does_not_fit_an_order_in_another_state() -> None:
    plan = planned(ONE_OF_EACH)
    assert still_fits(plan, replace(COUPON, status="failed", paid_at=None), capability="missing") == [
        ("order_not_paid", ""),
        ("order_status_not_refundable", ""),
        ("gateway_cannot_refund", "/payment"),
    ]
    assert still_fits(plan, replace(COUPON, currency="USD")) == [("currency_mismatch", "")]
    assert still_fits(plan, replace(COUPON, decimals=0)) == [("currency_mismatch", "")]
