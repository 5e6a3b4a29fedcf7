"""A journal's rows add up to the refund, whatever it is made of."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from app.domain.journal import NO_RATE, journal
from app.domain.order import LineKind, TaxPart
from app.domain.refund import PlanLine, RefundPlan

CENTS = st.integers(min_value=0, max_value=10_000_00).map(lambda cents: Decimal(cents).scaleb(-2))
TAXES = st.dictionaries(st.sampled_from(["1", "2", "10"]), CENTS, max_size=3).map(
    lambda parts: tuple(TaxPart(rate_id=rate_id, amount=amount) for rate_id, amount in parts.items())
)


def line(net: str | Decimal, *taxes: tuple[str, str], kind: LineKind = "item") -> PlanLine:
    return PlanLine(
        line_id="1",
        kind=kind,
        name="",
        sku="",
        quantity=Decimal(1),
        net=Decimal(net),
        taxes=tuple(TaxPart(rate_id=rate_id, amount=Decimal(amount)) for rate_id, amount in taxes),
    )


LINES = st.builds(
    PlanLine,
    line_id=st.just("1"),
    kind=st.sampled_from(["item", "shipping", "fee"]),
    name=st.just(""),
    sku=st.just(""),
    quantity=st.just(Decimal(1)),
    net=CENTS,
    taxes=TAXES,
)


def plan(*lines: PlanLine, goodwill: Decimal = Decimal(0), unallocated: Decimal = Decimal(0)) -> RefundPlan:
    return RefundPlan(
        order_id="1",
        order_number="1",
        currency="EUR",
        decimals=2,
        amount=sum((part.total for part in lines), goodwill + unallocated),
        lines=lines,
        goodwill=goodwill,
        unallocated=unallocated,
        payment="gateway",
        restock=False,
        reason="",
    )


@given(st.lists(LINES, max_size=6), CENTS, CENTS)
def test_the_rows_add_up_to_the_amount_and_every_part_is_in_them_once(
    lines: list[PlanLine], goodwill: Decimal, unallocated: Decimal
) -> None:
    refund = plan(*lines, goodwill=goodwill, unallocated=unallocated)
    rows = journal(refund)
    assert sum(row.gross for row in rows) == refund.amount
    assert sum(row.net for row in rows) == refund.net
    for row in rows:
        assert row.gross == row.net + row.tax
        charged = [part.amount for one in lines for part in one.taxes if part.rate_id == row.rate_id]
        assert row.tax == sum(charged)
    of_kind = {kind: [one for one in lines if one.kind == kind] for kind in ("item", "shipping", "fee")}
    assert sum(row.items_net + row.items_tax for row in rows) == sum(one.total for one in of_kind["item"])
    assert sum(row.shipping_net + row.shipping_tax for row in rows) == sum(one.total for one in of_kind["shipping"])
    assert sum(row.fees_net + row.fees_tax for row in rows) == sum(one.total for one in of_kind["fee"])
    rates = [row.rate_id for row in rows]
    assert len(set(rates)) == len(rates) >= 1


def test_net_stands_with_the_rate_that_a_line_bears_most_of() -> None:
    refund = plan(
        line("9.00", ("1", "1.71")),
        line("4.00", ("2", "0.28"), ("10", "0.40"), kind="shipping"),
        line("1.00", kind="fee"),
        goodwill=Decimal("3.00"),
    )
    free, one, two, ten = journal(refund)
    assert (free.rate_id, free.fees_net, free.goodwill, free.tax) == (NO_RATE, Decimal("1.00"), Decimal("3.00"), 0)
    assert (one.rate_id, one.items_net, one.items_tax) == ("1", Decimal("9.00"), Decimal("1.71"))
    assert (two.rate_id, two.net, two.shipping_tax) == ("2", 0, Decimal("0.28"))
    assert (ten.rate_id, ten.shipping_net, ten.shipping_tax) == ("10", Decimal("4.00"), Decimal("0.40"))


def test_a_rate_of_nothing_keeps_its_name() -> None:
    [row] = journal(plan(line("9.00", ("7", "0.00"))))
    assert (row.rate_id, row.gross, row.tax) == ("7", Decimal("9.00"), 0)


def test_an_amount_alone_is_one_row() -> None:
    [row] = journal(plan(unallocated=Decimal("5.00")))
    assert (row.rate_id, row.unallocated, row.gross) == (NO_RATE, Decimal("5.00"), Decimal("5.00"))
