"""What became of an attempt over the Legacy REST API: the table of `evidence`, for an API that never says "paid".

The facts behind it (plugin 1.0.1, seen on a running store or read in its code, LO:1617-1683):

- the refund's row, with `reason` and hence our marker, is complete before the payment gateway is asked, and nothing
  removes it afterwards: a decline leaves it behind, and so does a store that dies;
- nothing of a row tells whether its payment gateway paid; there is no meta data either;
- notes show no author, so any of them may be a payment gateway's.

So a row proves nothing but a manual refund, and an absent one says more than over wc/v3: without a row nothing was
paid, unless somebody has deleted it. `weigh` never says that money did not move when the store shows anything of it,
but for a decline whose row is there and whose payment gateway left no note.
"""

from app.domain.evidence_absent import WITHOUT_A_TRACE
from app.domain.evidence_case import (
    Case,
    NotMoved,
    Review,
    Rule,
    Succeeded,
    Verdict,
    Wait,
    failure_of,
    lost_touch,
)
from app.domain.money import round_half_up
from app.domain.refund import Failure

#: The API shows amounts with two decimals.
_DECIMALS = 2


def _another_amount(case: Case) -> bool:
    return round_half_up(case.row.amount, _DECIMALS) != round_half_up(case.attempt.amount, _DECIMALS)


def _row_id(case: Case) -> str | None:
    return case.row.id if case.present else None


def _declined(case: Case) -> Verdict:
    failure = failure_of(case, "gateway_declined", "The payment gateway declined the refund.")
    if not case.present:
        why = "The store refused the refund, shows no trace of it, and its payment gateway left no note."
        return NotMoved(failure=failure, why=why)
    left = case.row.id
    return NotMoved(
        failure=Failure(
            code=failure.code,
            message=failure.message,
            facts={**failure.facts, "leftover_store_refund_id": left},
        ),
        why=f"The payment gateway declined the refund and left no note. The store has kept its row, {left}, as this "
        "API always does: it counts as refunded there until it is deleted.",
        store_refund_id=left,
    )


def _unproven(case: Case) -> Verdict:
    why = "The store shows the refund, and this API never says whether it was paid."
    if case.sight.gateway_notes:
        why += " A note on the order, which may be the payment gateway's, speaks for it."
    else:
        why += " No note of the payment gateway speaks for it."
    return Review(code="row_without_proof", why=why, store_refund_id=case.row.id)


LEGACY_RULES: tuple[Rule, ...] = (
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
        applies=lambda case: case.present and _another_amount(case),
        verdict=lambda case: Review(
            code="amount_differs",
            why=f"The store's refund is of {case.shown(case.row.amount)}, not of {case.shown(case.attempt.amount)}.",
            store_refund_id=case.row.id,
        ),
    ),
    Rule(
        name="manual_row",
        applies=lambda case: case.present and not case.gateway,
        verdict=lambda case: Succeeded(store_refund_id=case.row.id, why="The store shows the manual refund."),
    ),
    Rule(
        name="refused_but_a_payment_note",
        applies=lambda case: case.gateway and case.attempt.answer == "refused" and bool(case.sight.gateway_notes),
        verdict=lambda case: Review(
            code="payment_note_after_refusal",
            why="The store refused the refund, but a note on the order may say that its payment gateway paid.",
            store_refund_id=_row_id(case),
        ),
    ),
    Rule(
        name="the_provider_did_not_answer",
        applies=lambda case: case.attempt.answer == "refused" and lost_touch(case.attempt.refusal),
        verdict=lambda case: Review(
            code="provider_did_not_answer",
            why="The store reports that its payment provider did not answer; the provider may have paid.",
            store_refund_id=_row_id(case),
        ),
    ),
    Rule(
        name="declined",
        applies=lambda case: case.attempt.answer == "refused",
        verdict=_declined,
    ),
    Rule(
        name="row_while_the_store_may_be_working",
        applies=lambda case: case.present and case.early,
        verdict=lambda case: Wait(
            until=case.settles_at, why="The store shows the refund; it may still be at work on its payment."
        ),
    ),
    Rule(
        name="row_without_proof",
        applies=lambda case: case.present,
        verdict=_unproven,
    ),
    Rule(
        name="no_row_but_a_payment_note",
        applies=lambda case: case.gateway and bool(case.sight.gateway_notes),
        verdict=lambda _: Review(
            code="payment_without_row",
            why="The store shows no refund, but a note on the order may be its payment gateway's: it may have paid.",
        ),
    ),
    *WITHOUT_A_TRACE,
    Rule(
        name="absent",
        applies=lambda _: True,
        verdict=lambda _: Review(
            code="nothing_found",
            why="Nothing of the refund is to be found. On this API a refund's row is written before anything is paid, "
            "so it was not paid unless somebody has deleted the row.",
        ),
    ),
)
