"""Any order, any sequence of commands: never more than was paid, and never a cent lost."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from decimal import ROUND_CEILING, ROUND_HALF_DOWN, ROUND_HALF_UP, Decimal

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from app.domain.decision import check_command, decide, fits
from app.domain.errors import Refusal
from app.domain.money import digits_behind_the_dot
from app.domain.order import LineKind, OrderLine, OrderSnapshot, StoreRefund, TaxPart, TaxRate
from app.domain.refund import ItemRequest, LineRequest, RefundCommand, RefundPlan, StorePolicy, TaxRequest
from app.domain.remaining import Hold, refunded_lines, remaining

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
FINEST = Decimal("0.00000001")
PERCENTAGES = [Decimal(text) for text in ("20", "19", "7", "9.975", "5", "8.875", "0.25", "33.333")]

quick = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


# Orders, with their totals added up as WooCommerce does


def rounded(amount: Decimal, decimals: int, how: str = ROUND_HALF_UP) -> Decimal:
    return amount.quantize(Decimal(1).scaleb(-decimals), rounding=how)


def taxed(price: Decimal, rates: tuple[TaxRate, ...], *, inclusive: bool) -> tuple[Decimal, tuple[TaxPart, ...]]:
    """Split a price into net and tax per rate; compound rates come on top of net and all other taxes."""
    simple = sum((rate.percent for rate in rates if not rate.compound), Decimal(0)) / 100
    factor = 1 + simple
    for rate in rates:
        if rate.compound:
            factor *= 1 + rate.percent / 100
    net = (price / factor).quantize(FINEST) if inclusive else price
    base, parts = net * (1 + simple), []
    for rate in rates:
        amount = (base if rate.compound else net) * rate.percent / 100
        base += amount if rate.compound else 0
        parts.append(TaxPart(rate_id=rate.rate_id, amount=amount.quantize(FINEST)))
    return net, tuple(parts)


@st.composite
def orders(draw: st.DrawFn, *, discount_fees: bool = True) -> OrderSnapshot:
    decimals = draw(st.sampled_from([0, 2, 2, 3]))
    inclusive = draw(st.booleans())
    percentages = draw(st.lists(st.sampled_from(PERCENTAGES), max_size=4, unique=True))
    first_compound = draw(st.integers(min_value=1, max_value=4))
    rates = tuple(
        TaxRate(rate_id=str(i), label=f"Tax {i}", percent=percent, compound=i > first_compound)
        for i, percent in enumerate(percentages, 1)
    )
    coupon = draw(st.sampled_from([Decimal(1), Decimal(1), Decimal("0.9"), Decimal("0.667"), Decimal(0)]))
    kinds: list[LineKind] = draw(
        st.lists(st.sampled_from(["item", "item", "item", "shipping", "fee"]), min_size=1, max_size=6)
    )
    lines = []
    for i, kind in enumerate(kinds):
        lowest = -50 if kind == "fee" and discount_fees else 0
        price = Decimal(draw(st.integers(min_value=lowest, max_value=5_000))).scaleb(-decimals)
        quantity = draw(st.integers(min_value=1, max_value=7)) if kind == "item" else 0
        gross = (price * quantity * coupon if kind == "item" else price).quantize(FINEST)
        net, taxes = taxed(gross, rates, inclusive=inclusive)
        sku = draw(st.sampled_from(["", "A", "B"])) if kind == "item" else ""
        lines.append(
            OrderLine(
                id=str(10 + i), kind=kind, name=f"Line {i}", sku=sku, quantity=Decimal(quantity), net=net, taxes=taxes
            )
        )
    return OrderSnapshot(
        id="1",
        number="1",
        status="processing",
        currency="EUR",
        decimals=decimals,
        total=max(Decimal(0), charged(lines, decimals, inclusive=inclusive, per_line=draw(st.booleans()))),
        prices_include_tax=inclusive,
        created_at=NOON,
        modified_at=NOON,
        paid_at=NOON,
        payment_method="testpay",
        payment_method_title="Test",
        lines=tuple(lines),
        tax_rates=rates,
        refunds=(),
        read_at=NOON,
    )


def charged(lines: list[OrderLine], decimals: int, *, inclusive: bool, per_line: bool) -> Decimal:
    """Add up what the customer paid, rounding tax (and net) per line or only per rate, as the store is set."""
    how = ROUND_HALF_DOWN if inclusive else ROUND_HALF_UP
    by_rate: dict[str, Decimal] = defaultdict(Decimal)
    net = Decimal(0)
    for line in lines:
        net += rounded(line.net, decimals) if per_line else line.net
        for part in line.taxes:
            by_rate[part.rate_id] += rounded(part.amount, decimals, how) if per_line else part.amount
    return rounded(net, decimals) + sum((rounded(tax, decimals, how) for tax in by_rate.values()), Decimal(0))


# Commands, sensible and otherwise


def amounts(decimals: int) -> st.SearchStrategy[Decimal]:
    return st.integers(min_value=0, max_value=9_000).map(lambda units: Decimal(units).scaleb(-decimals))


@st.composite
def commands(draw: st.DrawFn, order: OrderSnapshot) -> RefundCommand:
    """Draw a command that makes sense for the order, though it may ask for too much."""
    left = remaining(order)
    amount = amounts(order.decimals)

    def taxes_of(line_id: str) -> tuple[TaxRequest, ...] | None:
        found = left.line(line_id)
        if found is None or not draw(st.booleans()):
            return None
        return tuple(
            TaxRequest(rate_id=part.rate_id, amount=draw(st.just(part.amount) | amount)) for part in found.cents.taxes
        )

    def some(kind: LineKind) -> list[OrderLine]:
        of_kind = [line for line in order.lines if line.kind == kind]
        return draw(st.lists(st.sampled_from(of_kind), unique=True)) if of_kind else []

    items = []
    for line in some("item"):
        quantity = draw(st.none() | st.integers(min_value=1, max_value=int(line.quantity)))
        gross = draw(amount) if quantity is None or draw(st.integers(0, 3)) == 0 else None
        taxes = taxes_of(line.id) if gross is not None else None
        items.append(ItemRequest(line_item_id=line.id, quantity=quantity, amount=gross, taxes=taxes))
    named = st.one_of(st.none(), st.just("all"), amount)
    shipping, fees = draw(named), draw(named)
    if draw(st.booleans()):
        fees = tuple(LineRequest(line_id=line.id, amount=draw(st.none() | amount)) for line in some("fee"))
    form = draw(st.sampled_from(["entries", "entries", "entries", "amount", "remaining"]))
    if form == "amount":
        return RefundCommand(store="s", order_id="1", amount=draw(amount))
    if form == "remaining":
        return RefundCommand(store="s", order_id="1", remaining=True)
    goodwill = draw(st.none() | amount) if draw(st.integers(0, 3)) == 0 else None
    return RefundCommand(store="s", order_id="1", items=tuple(items), shipping=shipping, fees=fees, goodwill=goodwill)


texts = st.text(max_size=4)
any_amount = st.decimals(
    min_value=0, max_value=10**12, allow_nan=False, allow_infinity=False, places=3
) | st.sampled_from(
    [Decimal(0), Decimal("0.00"), Decimal("1E+1"), Decimal("0.00000001"), Decimal("999999999999.99999999")]
)
line_ids = st.sampled_from(["10", "11", "12", "13", "99", ""])
any_taxes = st.none() | st.lists(
    st.builds(TaxRequest, rate_id=st.sampled_from(["1", "2", "9"]), amount=any_amount), max_size=3
).map(tuple)
any_lines = st.one_of(
    st.none(),
    st.just("all"),
    any_amount,
    st.lists(st.builds(LineRequest, line_id=line_ids, amount=st.none() | any_amount, taxes=any_taxes), max_size=3).map(
        tuple
    ),
)
any_command = st.builds(
    RefundCommand,
    store=texts,
    order_id=st.none() | texts,
    order_number=st.none() | texts,
    amount=st.none() | any_amount,
    currency=st.none() | st.sampled_from(["EUR", "eur", "JPY", ""]),
    items=st.lists(
        st.builds(
            ItemRequest,
            line_item_id=st.none() | line_ids,
            sku=st.none() | st.sampled_from(["A", "B", "C", ""]),
            quantity=st.none() | st.integers(min_value=-2, max_value=10**30),
            amount=st.none() | any_amount,
            taxes=any_taxes,
        ),
        max_size=4,
    ).map(tuple),
    shipping=any_lines,
    fees=any_lines,
    remaining=st.booleans(),
    goodwill=st.none() | any_amount,
    payment=st.sampled_from(["gateway", "manual"]),
    expected_refunded_total=st.none() | any_amount,
)


# The store


def judge(command: RefundCommand, order: OrderSnapshot, holds: tuple[Hold, ...] = ()) -> RefundPlan | Refusal:
    return decide(command, order, holds=holds, capability="refunds", policy=StorePolicy())


def carried_out(plan: RefundPlan, order: OrderSnapshot) -> OrderSnapshot:
    number = len(order.refunds)
    row = StoreRefund(
        id=str(900 + number),
        amount=plan.amount,
        reason=f"[RG-{number}]",
        refunded_payment=True,
        created_at=NOON,
        reference=None,
        lines=refunded_lines(plan),
    )
    return replace(order, refunds=(*order.refunds, row))


def refunded_by_part(
    order: OrderSnapshot,
) -> tuple[dict[str, Decimal], dict[tuple[str, str], Decimal], dict[str, Decimal]]:
    net: dict[str, Decimal] = defaultdict(Decimal)
    tax: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    quantity: dict[str, Decimal] = defaultdict(Decimal)
    for refund in order.refunds:
        for line in refund.lines:
            net[line.item_id] += line.net
            quantity[line.item_id] += line.quantity
            for part in line.taxes:
                tax[line.item_id, part.rate_id] += part.amount
    return net, tax, quantity


def gross(line: OrderLine) -> Decimal:
    return sum((part.amount for part in line.taxes), line.net)


def assert_never_too_much(order: OrderSnapshot) -> None:
    assert sum((refund.amount for refund in order.refunds), Decimal(0)) <= order.total
    net, tax, quantity = refunded_by_part(order)
    for line in order.lines:
        taxes = sum((tax[line.id, part.rate_id] for part in line.taxes), Decimal(0))
        assert quantity[line.id] <= line.quantity
        assert net[line.id] + taxes <= max(Decimal(0), rounded(gross(line), order.decimals))
        assert net[line.id] <= max(Decimal(0), rounded(line.net, order.decimals, ROUND_CEILING))
        for part in line.taxes:
            assert tax[line.id, part.rate_id] <= max(Decimal(0), rounded(part.amount, order.decimals, ROUND_CEILING))


def assert_adds_up(plan: RefundPlan) -> None:
    assert plan.amount == sum((line.total for line in plan.lines), plan.goodwill + plan.unallocated) > 0
    assert plan.net + plan.tax == plan.amount
    parts = [plan.amount, plan.goodwill, plan.unallocated]
    for line in plan.lines:
        parts += [line.net, *(part.amount for part in line.taxes)]
    assert all(part >= 0 and digits_behind_the_dot(part) == plan.decimals for part in parts)


@quick
@given(st.data())
def test_no_sequence_of_refunds_exceeds_what_was_paid_in_total_per_line_or_per_rate(data: st.DataObject) -> None:
    order = data.draw(orders())
    for _ in range(data.draw(st.integers(min_value=1, max_value=6))):
        answer = judge(data.draw(commands(order)), order)
        if isinstance(answer, RefundPlan):
            assert_adds_up(answer)
            order = carried_out(answer, order)
            assert_never_too_much(order)


@quick
@given(st.data())
def test_remaining_empties_the_order_exactly_and_leaves_nothing_refundable(data: st.DataObject) -> None:
    order = data.draw(orders())
    for _ in range(data.draw(st.integers(min_value=0, max_value=3))):
        answer = judge(data.draw(commands(order)), order)
        order = carried_out(answer, order) if isinstance(answer, RefundPlan) else order
    everything = RefundCommand(store="s", order_id="1", remaining=True)
    answer = judge(everything, order)
    if remaining(order).total > 0:
        assert isinstance(answer, RefundPlan)
        assert_adds_up(answer)
        order = carried_out(answer, order)
        assert_never_too_much(order)
        assert not any(line.quantity > 0 for line in remaining(order).lines)
    assert sum((refund.amount for refund in order.refunds), Decimal(0)) == order.total
    for command in (everything, data.draw(commands(order))):
        assert isinstance(judge(command, order), Refusal)


@quick
@given(orders(discount_fees=False), st.data())
def test_refunding_all_units_one_by_one_equals_the_line_to_the_cent(order: OrderSnapshot, data: st.DataObject) -> None:
    """Alone on its order, so that the line's own arithmetic shows; a unit worth less than a cent waits for the next."""
    items = [line for line in order.lines if line.kind == "item"]
    assume(items)
    line = data.draw(st.sampled_from(items))
    worth = rounded(gross(line), order.decimals)
    order = replace(order, lines=(line,), total=worth)
    waiting = 0
    for _ in range(int(line.quantity)):
        waiting += 1
        command = RefundCommand(store="s", order_id="1", items=(ItemRequest(line_item_id=line.id, quantity=waiting),))
        answer = judge(command, order)
        if isinstance(answer, Refusal):
            assert answer.code == "nothing_to_refund"
        else:
            order, waiting = carried_out(answer, order), 0
    net, tax, quantity = refunded_by_part(order)
    assert net[line.id] + sum(tax.values()) == worth == sum((refund.amount for refund in order.refunds), Decimal(0))
    assert quantity[line.id] + waiting == line.quantity


@quick
@given(orders(discount_fees=False))
def test_everything_line_by_line_is_never_refused_for_rounding(order: OrderSnapshot) -> None:
    items = tuple(
        ItemRequest(line_item_id=left.line.id, quantity=int(left.quantity))
        for left in remaining(order).lines
        if left.line.kind == "item" and left.total > 0
    )
    positive: Callable[[LineKind], str | None] = lambda kind: (  # noqa: E731
        "all" if any(left.total > 0 for left in remaining(order).of_kind(kind)) else None
    )
    command = RefundCommand(store="s", order_id="1", items=items, shipping=positive("shipping"), fees=positive("fee"))
    assume(order.total > 0 and (items or command.shipping or command.fees))
    answer = judge(command, order)
    assert isinstance(answer, RefundPlan)
    assert_adds_up(answer)
    assert_never_too_much(carried_out(answer, order))


@quick
@given(st.data())
def test_a_hold_counts_like_the_row_it_becomes_and_never_twice(data: st.DataObject) -> None:
    order = data.draw(orders())
    answer = judge(data.draw(commands(order)), order)
    assume(isinstance(answer, RefundPlan))
    assert isinstance(answer, RefundPlan)
    after = carried_out(answer, order)
    row = after.refunds[-1]
    by_marker = Hold(
        refund_id="rf_1", amount=answer.amount, lines=refunded_lines(answer), marker=row.reason, store_refund_id=None
    )
    by_id = replace(by_marker, marker=None, store_refund_id=row.id)
    for hold in (by_marker, by_id):
        hidden, shown = remaining(order, [hold]), remaining(after, [hold])
        assert hidden.lines == shown.lines
        assert hidden.total == shown.total == remaining(after).total
        assert (hidden.held_total, shown.held_total) == (answer.amount, 0)
        assert hidden.refunded_total + hidden.held_total == shown.refunded_total


@quick
@given(orders(), any_command)
def test_any_command_gets_a_plan_or_reasons_and_never_an_exception(
    order: OrderSnapshot, command: RefundCommand
) -> None:
    answer = judge(command, order)
    early = check_command(command)
    if isinstance(answer, RefundPlan):
        assert early is None
        assert_adds_up(answer)
        assert_never_too_much(carried_out(answer, order))
    else:
        places = [(fault.code, fault.pointer) for fault in answer.faults]
        assert places
        assert len(set(places)) == len(places)
        assert all(fault.message[-1] == "." and fault.message[0] != " " for fault in answer.faults)
        assert {(fault.code, fault.pointer) for fault in early.faults if early} <= set(places) if early else True


@quick
@given(st.data())
def test_a_plan_fits_the_order_it_was_decided_on_until_another_refund_takes_its_place(data: st.DataObject) -> None:
    order = data.draw(orders())
    plan = judge(data.draw(commands(order)), order)
    assume(isinstance(plan, RefundPlan))
    assert isinstance(plan, RefundPlan)
    facts = {"holds": (), "capability": "refunds", "policy": StorePolicy()}
    assert fits(plan, order, **facts) is None
    after = carried_out(plan, order)
    answer = fits(plan, after, **facts)
    if answer is None:
        assert_never_too_much(carried_out(plan, after))
    emptied = judge(RefundCommand(store="s", order_id="1", remaining=True), order)
    assert isinstance(emptied, RefundPlan)
    late = fits(plan, carried_out(emptied, order), **facts)
    assert late is not None
    assert late.code == "exceeds_refundable"
