"""Cron expressions in a time zone: five fields, read as Debian's cron reads them where clocks are changed.

A job for a time of day fires once on the day of a change: at the end of the hour that is left out, or in the first of
the two hours that are called the same. One for every hour or minute goes by real time.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Literal
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

#: Schedules fire no more often than that.
LEAST_APART = timedelta(minutes=5)
_LONGEST = 100
_FIELDS = 5
#: Names of the machine's own setting, and of none.
_NO_ZONES = frozenset({"localtime", "posixrules", "Factory"})


class CronRefused(ValueError):
    """A schedule cannot have this time; `str(error)` says why."""

    def __init__(self, field: Literal["cron", "time_zone"], message: str) -> None:
        """Name the field that is wrong."""
        super().__init__(message)
        self.field = field


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones()) - _NO_ZONES


def zone_of(name: str) -> ZoneInfo:
    """Give a time zone by its IANA name; raises CronRefused."""
    if name not in _zones():
        raise CronRefused("time_zone", 'There is no such time zone; write one like "Europe/Berlin" or "UTC".')
    return ZoneInfo(name)


def check(cron: str, zone: ZoneInfo, *, at: datetime) -> None:
    """Raise CronRefused for an expression that is none, never fires, or fires more often than every five minutes."""
    if len(cron) > _LONGEST or len(cron.split()) != _FIELDS:
        raise CronRefused(
            "cron",
            'A cron expression has five fields: minute, hour, day of month, month, day of week, as in "0 6 * * 1".',
        )
    try:
        fires = _from(cron, zone, at)
        last = next(fires, None)
    except CronSimError as error:
        raise CronRefused("cron", f"The cron expression cannot be read: {error}.") from None
    if last is None:
        raise CronRefused("cron", "There is no such day: the cron expression never fires.")
    # Minutes and hours are the same on every day that it fires on: one day shows how close they get.
    day_after = last + timedelta(days=1, hours=2)
    for fire in fires:
        if fire - last < LEAST_APART:
            raise CronRefused("cron", "The cron expression fires more often than every 5 minutes.")
        if fire > day_after:
            return
        last = fire


def _from(cron: str, zone: ZoneInfo, at: datetime) -> Iterator[datetime]:
    """Give the times after `at`, each later than the one before it.

    Begun in the second of two hours of the same name, the expression's first time may be in the first one and past.
    """
    last = at
    for fire in CronSim(cron, at.astimezone(zone)):
        moment = fire.astimezone(UTC)
        if moment > last:
            yield moment
            last = moment


def after(cron: str, zone: ZoneInfo, at: datetime) -> datetime:
    """Give the first time after `at`, aware UTC. The expression was checked before."""
    return next(_from(cron, zone, at))


def upcoming(cron: str, zone: ZoneInfo, at: datetime, *, count: int) -> list[datetime]:
    """Give the next times after `at`, aware UTC; fewer than `count` where there are not as many in sight."""
    return [fire for fire, _ in zip(_from(cron, zone, at), range(count), strict=False)]


def between(cron: str, zone: ZoneInfo, first: datetime, until: datetime) -> Iterator[datetime]:
    """Give `first` and every time after it up to `until`, which is in it."""
    if first > until:
        return
    yield first
    for fire in _from(cron, zone, first):
        if fire > until:
            return
        yield fire
