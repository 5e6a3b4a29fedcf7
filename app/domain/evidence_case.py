"""What the tables of evidence are about: an attempt, what its store shows, and what may follow from it."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Literal

from app.domain.money import plain
from app.domain.order import StoreRefund
from app.domain.refund import Failure, PaymentMode, StoreApi
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
    sent_via: StoreApi = "v3"


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
    store_refund_id: str | None = None  #: the row that the store has kept all the same


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


def lost_touch(refusal: Failure | None) -> bool:
    """Say whether a refusal is for want of the payment provider's answer, which is no decline."""
    return refusal is not None and _LOST_TOUCH.search(refusal.message) is not None


def failure_of(case: Case, code: str, message: str) -> Failure:
    """Give the refusal in its own words, or these."""
    return case.attempt.refusal or Failure(code=code, message=message)
