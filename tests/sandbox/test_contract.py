"""The sandbox answers every recorded exchange as the real store did, over wc/v3 and over the legacy API.

Compared are status, headers (content type, Allow, totals, links, location) and the whole JSON: keys, their order and
values. Ids may differ but must stand for each other throughout.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from tests.sandbox.replay import FILES, RECORDINGS, Difference, Exchange, Replay, exchanges, replayed


@dataclass(frozen=True)
class Accepted:
    """A difference that may be, and why."""

    why: str
    #: Where: a pattern of `Difference.at`.
    at: str
    #: Whether ours will do in place of the recorded value.
    will_do: Callable[[Any, Any], bool]
    #: Of which exchanges: a pattern of their names.
    of: str = ".*"


def _same_shape(ours: Any, recorded: Any) -> bool:
    """Two texts alike but for their letters and digits."""
    return _blurred(ours) == _blurred(recorded)


def _blurred(value: Any) -> str:
    return re.sub(r"\w", "x", str(value))


ACCEPTED = (
    Accepted(
        "the replay's clock is set to each recorded creation; changes happened up to seconds later",
        r".*\.date_\w+",
        _same_shape,
    ),
    Accepted(
        "an order's key is random", r".*\.order_key", lambda ours, recorded: ours[:9] == recorded[:9] == "wc_order_"
    ),
    Accepted(
        "it holds the order's key and id",
        r".*\.payment_url",
        lambda ours, recorded: re.sub(r"\d+/|key=.*", "", ours) == re.sub(r"\d+/|key=.*", "", recorded),
    ),
    Accepted(
        "the sandbox knows fewer currencies",
        r"\.options\.keys",
        lambda ours, recorded: set(ours) < set(recorded),
        of="general settings: currency",
    ),
    Accepted("every shop has its own name", r"\.store\.name", lambda ours, _recorded: bool(ours), of="index"),
    Accepted(
        "when a refund was last modified is not in the recording",
        r"\[\]\..*",
        lambda _ours, _recorded: True,
        of="store refunds: orderby modified",
    ),
)


@pytest.fixture(scope="module")
def replay() -> Replay:
    return replayed()


@pytest.mark.parametrize(
    ("file", "position", "exchange"),
    [pytest.param(*each, id=f"{each[0]}-{each[1]}-{each[2]['name']}") for each in exchanges()],
)
def test_a_recorded_exchange_is_answered_as_recorded(
    replay: Replay, file: str, position: int, exchange: Exchange
) -> None:
    differences = replay.differences[file, position]
    assert [str(one) for one in differences if not _accepted(one, exchange["name"])] == []


def test_no_exchange_is_left_out(replay: Replay) -> None:
    counted = Counter(file for file, _ in replay.differences)

    assert counted == {file: len(json.loads((RECORDINGS / f"{file}.json").read_text())) for file in FILES}
    assert counted["legacy_v3_refunds"] == 43
    assert {path.stem for path in RECORDINGS.glob("*.json")} - set(FILES) == {"webhook_deliveries"}


def test_a_wrong_answer_would_be_noticed(replay: Replay) -> None:
    file, position, exchange = next(one for one in exchanges() if one[2]["name"] == "amount only")
    wrong = {**exchange["response"]["json"], "amount": "10.01", "id": 1}

    differences = replay.differ(exchange["response"]["json"], wrong)

    assert {one.at for one in differences if not _accepted(one, exchange["name"])} >= {".id", ".amount"}
    assert replay.differences[file, position] == []


def test_every_accepted_difference_still_occurs(replay: Replay) -> None:
    occurring: Sequence[tuple[Difference, str]] = [
        (difference, exchange["name"])
        for file, position, exchange in exchanges()
        for difference in replay.differences[file, position]
    ]

    assert [one.why for one in ACCEPTED if not any(_fits(one, *each) for each in occurring)] == []


def _accepted(difference: Difference, name: str) -> bool:
    return any(_fits(one, difference, name) for one in ACCEPTED)


def _fits(accepted: Accepted, difference: Difference, name: str) -> bool:
    return bool(
        re.fullmatch(accepted.of, name)
        and re.fullmatch(accepted.at, difference.at)
        and accepted.will_do(difference.ours, difference.recorded)
    )
