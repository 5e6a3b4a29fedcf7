"""What became of an attempt whose answer is not enough: one table, read from the top, the first row that fits decides.

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

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Literal

from app.domain.money import plain
from app.domain.order import StoreRefund
from app.domain.refund import Failure, PaymentMode
from app.domain.sight import Sight

#: How the last attempt ended, as far as its own answer goes.
AnswerKind = Literal[
    "none",  # no answer, or one that says nothing: timeout, reset, 502, a PHP fatal
    "refused",  # WooCommerce's own refusal whose text is the payment gateway's
    "turned_away_for_now",  # something before WooCommerce said: not now (rate limit, maintenance)
    "turned_away_for_good",  # something before WooCommerce said: not you (redirect, captcha, firewall)
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A refund that was sent, or may have been."""

    payment: PaymentMode
    amount: Decimal
    decimals: int
    marker: str
    touch_lost_at: datetime  #: the latest moment at which it can still have been sent or heard of
    answer: AnswerKind
    refusal: Failure | None  #: what the answer said, for "refused" and "turned_away_for_good"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long a store may go on, and what its owner allows."""

    quiet: timedelta  #: after a complete answer from something in front of the store
    store_limit: timedelta  #: after losing touch with a store that may be working
    on_absence: Literal["review", "resend"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Succeeded:
    """The store carried it out."""

    store_refund_id: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NotMoved:
    """It did not happen and will not."""

    failure: Failure
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """It is too early to tell."""

    until: datetime
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Resend:
    """It did not happen, and may be sent again."""

    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """The store does not know the truth; a person has to ask the payment provider."""

    code: str
    why: str
    store_refund_id: str | None = None


Verdict = Succeeded | NotMoved | Wait | Resend | Review


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """An attempt, what the store shows of it, and the limits that apply."""

    attempt: Attempt
    sight: Sight
    limits: Limits

    @property
    def row(self) -> StoreRefund:
        """Give the marked row; only asked when there is exactly one."""
        return self.sight.rows[0]

    def shown(self, amount: Decimal) -> str:
        """Write an amount for people."""
        return plain(amount, self.attempt.decimals)

    @property
    def present(self) -> bool:
        """Say whether the store shows a row with our marker."""
        return bool(self.sight.rows)

    @property
    def gateway(self) -> bool:
        """Say whether the payment gateway was asked to pay."""
        return self.attempt.payment == "gateway"

    @property
    def turned_away(self) -> bool:
        """Say whether something in front of WooCommerce seems to have answered."""
        return self.attempt.answer in ("turned_away_for_now", "turned_away_for_good")

    @property
    def settles_at(self) -> datetime:
        """Say from when on an absent or unpaid row is what it will stay."""
        return self.attempt.touch_lost_at + (
            self.limits.quiet if self.turned_away and not self.present else self.limits.store_limit
        )

    @property
    def early(self) -> bool:
        """Say whether the store may still be at work."""
        return self.sight.looked_at < self.settles_at


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One row of the table."""

    name: str
    applies: Callable[[Case], bool]
    verdict: Callable[[Case], Verdict]


#: How stores word that the payment provider's answer was lost: WordPress's HTTP errors, and gateways' own.
_LOST_TOUCH = re.compile(
    r"time[d -]*out|curl error|connection|unreachable|could not (connect|resolve)|no (response|answer|reply)"
    r"|did not (respond|answer|reply)|empty (response|reply)|communicating|bad gateway"
    r"|service unavailable|network error",
    re.IGNORECASE,
)


def _lost_touch(refusal: Failure | None) -> bool:
    return refusal is not None and _LOST_TOUCH.search(refusal.message) is not None


def _failure(case: Case, code: str, message: str) -> Failure:
    return case.attempt.refusal or Failure(code=code, message=message)


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
        applies=lambda case: case.attempt.answer == "refused" and _lost_touch(case.attempt.refusal),
        verdict=lambda _: Review(
            code="provider_did_not_answer",
            why="The store gave the refund up because its payment provider did not answer; the provider may have paid.",
        ),
    ),
    Rule(
        name="refused_and_nothing_to_see",
        applies=lambda case: case.attempt.answer == "refused",
        verdict=lambda case: NotMoved(
            failure=_failure(case, "gateway_declined", "The payment gateway declined the refund."),
            why="The store refused the refund, shows no trace of it, and its payment gateway left no note.",
        ),
    ),
    Rule(
        name="nothing_to_see_yet",
        applies=lambda case: case.early,
        verdict=lambda case: Wait(
            until=case.settles_at, why="The store shows nothing of the refund; it may still be at work."
        ),
    ),
    Rule(
        name="a_lookalike",
        applies=lambda case: bool(case.sight.lookalikes),
        verdict=lambda case: Review(
            code="lookalike",
            why="The store shows a refund of this amount made since, without the marker: it may be this one.",
            store_refund_id=case.sight.lookalikes[0].id,
        ),
    ),
    Rule(
        name="turned_away_for_now",
        applies=lambda case: case.attempt.answer == "turned_away_for_now",
        verdict=lambda _: Resend(
            why="Something in front of the store turned the request away, and no trace of it shows."
        ),
    ),
    Rule(
        name="turned_away_for_good",
        applies=lambda case: case.attempt.answer == "turned_away_for_good",
        verdict=lambda case: NotMoved(
            failure=_failure(case, "store_blocked", "Something in front of the store turned the request away."),
            why="Something in front of the store turned the request away, and no trace of it shows.",
        ),
    ),
    Rule(
        name="absent_manual_refund",
        applies=lambda case: not case.gateway,
        verdict=lambda _: Resend(why="Nothing of the manual refund is to be found, and no money was to move."),
    ),
    Rule(
        name="absent_and_may_be_resent",
        applies=lambda case: case.limits.on_absence == "resend",
        verdict=lambda _: Resend(
            why="Nothing of the refund is to be found, and the store's policy allows it to be sent again."
        ),
    ),
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
    rule = next(rule for rule in RULES if rule.applies(case))
    return rule.name, rule.verdict(case)
