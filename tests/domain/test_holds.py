"""Which refunds of ours count against an order, and what is known of lines that a store does not show."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

from app.domain.decision import decide
from app.domain.errors import Refusal
from app.domain.order import RefundedLine, StoreRefund, TaxPart
from app.domain.refund import RefundCommand, RefundPlan, StorePolicy
from app.domain.remaining import Hold, remaining
from tests.domain.test_fine_parts import order

D = Decimal
TAKEN = (RefundedLine(item_id="5", quantity=D(1), net=D("8.33"), taxes=(TaxPart(rate_id="1", amount=D("1.66")),)),)


def hold(**fields: Any) -> Hold:
    base = Hold(refund_id="rf_1", amount=D("9.99"), lines=TAKEN, marker="RG-00000001", store_refund_id="9")
    return replace(base, **fields)


def row(**fields: Any) -> StoreRefund:
    base = StoreRefund(
        id="9",
        amount=D("9.99"),
        reason="[RG-00000001]",
        refunded_payment=None,
        created_at=None,
        reference=None,
        lines=(),
    )
    return replace(base, **fields)


def test_what_the_store_shows_counts_once() -> None:
    shown = replace(order(), refunds=(row(lines=TAKEN),))
    left = remaining(shown, (hold(is_past=True),))
    assert (left.total, left.held_total, left.refunded_total) == (D("6.00"), D("0.00"), D("9.99"))


def test_what_was_paid_counts_without_its_row() -> None:
    left = remaining(order(), (hold(is_past=True),))
    assert (left.total, left.held_total) == (D("6.00"), D("9.99"))
    assert left.lines[0].total == 0


def test_what_was_only_recorded_does_not() -> None:
    assert remaining(order(), (hold(counts_unseen=False, is_past=True),)).total == D("15.99")


def test_lines_that_the_store_does_not_show_are_taken_from_our_record() -> None:
    shown = replace(order(), refunds=(row(lines_known=False),))
    assert remaining(shown, (hold(),)).lines[0].total == 0
    # Somebody has changed the row's amount: then our record of it no longer holds.
    changed = replace(order(), refunds=(row(lines_known=False, amount=D("5.00")),))
    assert remaining(changed, (hold(),)).lines[0].total == D("9.99")


def test_a_refund_that_only_records_may_record_again_what_was_paid() -> None:
    def decided(payment: str, held: Hold) -> RefundPlan | Refusal:
        command = RefundCommand(store="demo", order_id="12", amount=D("10.00"), payment=payment)  # type: ignore[arg-type]
        return decide(command, order(), holds=(held,), capability="refunds", policy=StorePolicy())

    assert isinstance(decided("gateway", hold(is_past=True)), Refusal)
    assert isinstance(decided("manual", hold(is_past=True)), RefundPlan)
    # What is still under way counts against both.
    assert isinstance(decided("manual", hold(store_refund_id=None)), Refusal)
