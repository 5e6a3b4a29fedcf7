"""Events on their way out: which ones are meant, where they may go, and when to try again."""

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Literal
from urllib.parse import urlsplit

DeliveryStatus = Literal["pending", "delivered", "failed"]
DisabledReason = Literal["by_request", "gone", "failing"]

URL_LIMIT = 2_048
#: So many different deliveries that fail in a row, without a success in between, are the endpoint's fault, not theirs.
FAILING_FROM = 5
#: A receiver that was away for an hour is found back within five minutes.
_TRIALS_PER_OUTAGE = 12
_LONGEST_BETWEEN_TRIALS = timedelta(minutes=15)

#: What there is to hear of; None: the family's own pages say.
EVENT_FAMILIES: Mapping[str, frozenset[str] | None] = {
    "refund": frozenset(
        {
            "created",
            "sending",
            "succeeded",
            "failed",
            "uncertain",
            "needs_review",
            "resolved",
            "canceled",
            "deleted",
            "observed",
        }
    ),
    "store": frozenset({"unreachable", "recovered"}),
    "webhook_endpoint": frozenset({"disabled"}),
    "batch": None,
    "schedule": None,
    "reconciliation": None,
}
#: A type, or a family where it ends with `.*`.
EVENT_TYPE_PATTERN = "^({})$".format(
    "|".join(
        rf"{family}\.({'[a-z][a-z_]{0,40}' if verbs is None else '|'.join(sorted(verbs))}|\*)"
        for family, verbs in EVENT_FAMILIES.items()
    )
)
_HOST = re.compile(r"[A-Za-z0-9._:%-]+", re.ASCII)


class UnfitUrl(ValueError):
    """An address that no event can be sent to; the message says why and does not quote it."""


def fit_url(url: str, *, allow_http: bool) -> str:
    """Give the host of an address that events can be sent to; raises UnfitUrl for any other."""
    if len(url) > URL_LIMIT:
        raise UnfitUrl(f"An address has at most {URL_LIMIT} characters.")
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        raise UnfitUrl("An address is plain ASCII without spaces; write other characters percent-encoded.")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise UnfitUrl("The address cannot be read.") from None
    if parts.scheme not in ("https", "http") or not parts.hostname or _HOST.fullmatch(parts.hostname) is None:
        raise UnfitUrl("The address must look like https://erp.example/hooks.")
    if port == 0:
        raise UnfitUrl("The address has a port that nobody can listen on.")
    if parts.scheme == "http" and not allow_http:
        raise UnfitUrl("The address must begin with https://.")
    if parts.username is not None or parts.password is not None:
        raise UnfitUrl("The address must not hold credentials; every delivery is signed.")
    if parts.fragment:
        raise UnfitUrl("The address must not have a fragment.")
    return parts.hostname


def wait_before_retry(retries: int, schedule: Sequence[float], *, chance: float) -> timedelta:
    """Say how long a delivery that has failed `retries` times waits; the schedule's last entry (seconds) repeats.

    `chance` (0 to 1) spreads it by a tenth either way, so that what failed together does not come back together.
    """
    base = schedule[min(retries, len(schedule)) - 1]
    return timedelta(seconds=base * (0.9 + 0.2 * chance))


def wait_before_trial(failing_for: timedelta, shortest_s: float, *, chance: float) -> timedelta:
    """Say how long an endpoint that fails as a whole is left alone: in proportion to how long it has been failing."""
    wait = min(max(failing_for / _TRIALS_PER_OUTAGE, timedelta(seconds=shortest_s)), _LONGEST_BETWEEN_TRIALS)
    return wait * (0.9 + 0.2 * chance)
