"""What became of an attempt whose answer is not enough: a table, read from the top, the first row that fits decides.

This is the table for wc/v3; `evidence_legacy` has the one for the Legacy REST API, which shows less and keeps more.
The facts behind it (WooCommerce 9.4, seen on a running store or read in its code):

- the refund's row is written before the payment gateway is called and carries `reason`, hence our marker, from the
  start; `refunded_payment` turns true only after the gateway succeeded, and meta data comes last;
- a decline deletes the row, and so does any exception after the gateway has paid (OF:692): an absent row alone never
  proves that no money moved;
- a store that loses touch with its payment provider deletes the row as well, though the provider may have paid
  (OF:636);
- a store goes on working after its client has gone, for as long as its own time limit allows;
- payment gateways leave an order note when they pay back, and most quote the reason, hence our marker, in it.

`weigh` never says that money did not move when the store shows anything of it.
"""

from app.domain.evidence_absent import WITHOUT_A_TRACE
from app.domain.evidence_case import (
    AnswerKind,
    Attempt,
    Case,
    Limits,
    NotMoved,
    Resend,
    Review,
    Rule,
    Succeeded,
    Verdict,
    Wait,
    failure_of,
    lost_touch,
)
from app.domain.evidence_legacy import LEGACY_RULES
from app.domain.sight import Sight

__all__ = [
    "LEGACY_RULES",
    "RULES",
    "AnswerKind",
    "Attempt",
    "Limits",
    "NotMoved",
    "Resend",
    "Review",
    "Succeeded",
    "Verdict",
    "Wait",
    "weigh",
]

RULES: tuple[Rule, ...] = (
    Rule(
        name="several_rows",
        applies=lambda case: len(case.sight.rows) > 1,
        verdict=lambda case: Review(
            code="several_store_refunds",
            why=f"The store shows {len(case.sight.rows)} refunds with this marker; only one was meant.",
        ),
    ),
    Rule(
        name="row_of_another_amount",
        applies=lambda case: case.present and case.row.amount != case.attempt.amount,
        verdict=lambda case: Review(
            code="amount_differs",
            why=f"The store's refund is of {case.shown(case.row.amount)}, not of {case.shown(case.attempt.amount)}.",
            store_refund_id=case.row.id,
        ),
    ),
    Rule(
        name="paid_row",
        applies=lambda case: case.present and case.gateway and case.row.refunded_payment is True,
        verdict=lambda case: Succeeded(
            store_refund_id=case.row.id, why="The store shows the refund and says that the payment gateway paid."
        ),
    ),
    Rule(
        name="manual_row_that_was_paid",
        applies=lambda case: case.present and not case.gateway and case.row.refunded_payment is True,
        verdict=lambda case: Review(
            code="paid_without_being_asked",
            why="A manual refund was asked for, but the store says that its payment gateway paid.",
            store_refund_id=case.row.id,
        ),
    ),
    Rule(
        name="manual_row",
        applies=lambda case: case.present and not case.gateway,
        verdict=lambda case: Succeeded(store_refund_id=case.row.id, why="The store shows the manual refund."),
    ),
    Rule(
        name="unpaid_row_while_the_store_may_be_working",
        applies=lambda case: case.present and case.early,
        verdict=lambda case: Wait(
            until=case.settles_at, why="The store shows the refund, not yet paid; it may still be at work."
        ),
    ),
    Rule(
        name="unpaid_row",
        applies=lambda case: case.present,
        verdict=lambda case: Review(
            code="row_without_payment",
            why="The store shows the refund but not that it was paid: it died before, during or after the payment.",
            store_refund_id=case.row.id,
        ),
    ),
    Rule(
        name="no_row_but_a_payment_note",
        applies=lambda case: case.gateway and bool(case.sight.gateway_notes),
        verdict=lambda _: Review(
            code="payment_without_row",
            why="The store shows no refund, but its payment gateway left a note: it may have paid.",
        ),
    ),
    Rule(
        name="the_provider_did_not_answer",
        applies=lambda case: case.attempt.answer == "refused" and lost_touch(case.attempt.refusal),
        verdict=lambda _: Review(
            code="provider_did_not_answer",
            why="The store gave the refund up because its payment provider did not answer; the provider may have paid.",
        ),
    ),
    Rule(
        name="refused_and_nothing_to_see",
        applies=lambda case: case.attempt.answer == "refused",
        verdict=lambda case: NotMoved(
            failure=failure_of(case, "gateway_declined", "The payment gateway declined the refund."),
            why="The store refused the refund, shows no trace of it, and its payment gateway left no note.",
        ),
    ),
    *WITHOUT_A_TRACE,
    Rule(
        name="absent",
        applies=lambda _: True,
        verdict=lambda _: Review(
            code="nothing_found",
            why="Nothing of the refund is to be found. It probably never happened, but a store that fails after paying "
            "looks the same.",
        ),
    ),
)


def weigh(attempt: Attempt, sight: Sight, limits: Limits) -> tuple[str, Verdict]:
    """Decide what became of an attempt; gives the name of the rule that fits, and its verdict."""
    case = Case(attempt=attempt, sight=sight, limits=limits)
    rules = LEGACY_RULES if attempt.sent_via == "legacy" else RULES
    rule = next(rule for rule in rules if rule.applies(case))
    return rule.name, rule.verdict(case)
