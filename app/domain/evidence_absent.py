"""What an attempt of which a store shows nothing came to: the rows that the tables of both APIs end with, but the last.

They may only stand behind everything that a store can show: a row, a payment note, a refusal.
"""

from app.domain.evidence_case import NotMoved, Resend, Review, Rule, Wait, failure_of

WITHOUT_A_TRACE: tuple[Rule, ...] = (
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
        # Which row it may be is told and not kept as ours: it may be anybody's.
        verdict=lambda case: Review(
            code="lookalike",
            why=f"The store shows a refund of this amount made since, {case.sight.lookalikes[0].id}, "
            "without the marker: it may be this one.",
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
            failure=failure_of(case, "store_blocked", "Something in front of the store turned the request away."),
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
)
