"""Lists in parts: opaque cursors over the ledger's own lists, numbered pages over those of stores."""

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from typing import Protocol, TypeVar
from urllib.parse import urlencode

from fastapi import Request, Response

from app.api.problems import InputFault, invalid_request
from app.api.values import (
    BATCH_ID_PATTERN,
    ENDPOINT_ID_PATTERN,
    MESSAGE_ID_PATTERN,
    RECONCILIATION_ID_PATTERN,
    REFUND_ID_PATTERN,
    RUN_ID_PATTERN,
    SCHEDULE_ID_PATTERN,
    SOURCE_ID_PATTERN,
)
from app.domain.refund_query import RefundQuery

_REFUND_ID = re.compile(REFUND_ID_PATTERN)
_SOURCE_ID = re.compile(SOURCE_ID_PATTERN)
_MESSAGE_ID = re.compile(MESSAGE_ID_PATTERN)
_BATCH_ID = re.compile(BATCH_ID_PATTERN)
_RECONCILIATION_ID = re.compile(RECONCILIATION_ID_PATTERN)
_SCHEDULE_ID = re.compile(SCHEDULE_ID_PATTERN)
_RUN_ID = re.compile(RUN_ID_PATTERN)
_ENDPOINT_ID = re.compile(ENDPOINT_ID_PATTERN)
_EVENT_CURSOR = re.compile(r"^[1-9][0-9]{0,17}$")
_FEED_CURSOR = re.compile(r"^(0|[1-9][0-9]{0,17})$")


def cursor_of(last_id: str) -> str:
    """Make the opaque cursor that stands for everything behind `last_id`."""
    return base64.urlsafe_b64encode(last_id.encode()).decode().rstrip("=")


def refund_cursor(after: str | None) -> str | None:
    """Read a cursor over refunds; raises `invalid_request` for junk."""
    return None if after is None else _read_cursor(after, _REFUND_ID)


def source_cursor(after: str | None) -> str | None:
    """Read a cursor over sources; raises `invalid_request` for junk."""
    return None if after is None else _read_cursor(after, _SOURCE_ID)


def message_cursor(after: str | None) -> str | None:
    """Read a cursor over inbound messages; raises `invalid_request` for junk."""
    return None if after is None else _read_cursor(after, _MESSAGE_ID)


def event_cursor(after: str | None) -> int | None:
    """Read a cursor over events; raises `invalid_request` for junk."""
    return None if after is None else int(_read_cursor(after, _EVENT_CURSOR))


def feed_cursor(after: str | None) -> int | None:
    """Read a cursor over the feed, which may stand for its very beginning; raises `invalid_request` for junk."""
    return None if after is None else int(_read_cursor(after, _FEED_CURSOR))


def endpoint_cursor(after: str | None) -> str | None:
    """Read a cursor over webhook endpoints; raises `invalid_request` for junk."""
    return None if after is None else _read_cursor(after, _ENDPOINT_ID)


def batch_cursor(after: str | None) -> str | None:
    """Read a cursor over batches; raises `invalid_request` for junk."""
    return None if after is None else _read_cursor(after, _BATCH_ID)


def schedule_cursor(after: str | None) -> str | None:
    """Read a cursor over schedules; raises `invalid_request` for junk."""
    return None if after is None else _read_cursor(after, _SCHEDULE_ID)


def run_cursor(after: str | None) -> str | None:
    """Read a cursor over a schedule's runs; raises `invalid_request` for junk."""
    return None if after is None else _read_cursor(after, _RUN_ID)


def reconciliation_cursor(after: str | None) -> str | None:
    """Read a cursor over reconciliations; raises `invalid_request` for junk."""
    return None if after is None else _read_cursor(after, _RECONCILIATION_ID)


def number_cursor(after: str | None) -> int | None:
    """Read a cursor over numbered entries; raises `invalid_request` for junk."""
    return event_cursor(after)


def _read_cursor(after: str, pattern: re.Pattern[str]) -> str:
    try:
        last_id = base64.b64decode(after + "=" * (-len(after) % 4), altchars=b"-_", validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        last_id = ""
    if pattern.fullmatch(last_id) is None or cursor_of(last_id) != after:
        fault = InputFault(
            code="malformed_value",
            pointer="/after",
            place="query",
            message="This is no cursor of this list; take next_cursor from the page before.",
        )
        raise invalid_request([fault])
    return last_id


class HasId(Protocol):
    """An entry of a list, in the list's order."""

    @property
    def id(self) -> str | int:
        """Name the entry."""
        ...


Entry = TypeVar("Entry", bound=HasId)


def cut_page(
    request: Request, response: Response, entries: Sequence[Entry], limit: int
) -> tuple[Sequence[Entry], str | None]:
    """Give a page and the cursor of the next one, from up to `limit + 1` entries; sets the Link header."""
    if len(entries) <= limit:
        return entries, None
    shown = entries[:limit]
    cursor = cursor_of(str(shown[-1].id))
    _set_links(request, response, {"next": {"after": cursor}}, replacing=("after",))
    return shown, cursor


def link_pages(request: Request, response: Response, query: RefundQuery, *, shown: int, total: int | None) -> None:
    """Set the Link header of a numbered page: `first` and `prev` where there are any, `next` and `last` likewise."""
    start, per_page = query.start, query.per_page
    by_offset = query.offset is not None
    # Pages are counted from where this one starts when the caller counts in entries.
    begun = start % per_page if by_offset else 0
    last = None if total is None else begun + max(0, total - 1 - begun) // per_page * per_page
    links: dict[str, int] = {}
    if start > 0:
        links["first"] = 0
        links["prev"] = max(0, start - per_page if last is None else min(start - per_page, last))
    if start + shown < total if total is not None else shown >= per_page:
        links["next"] = start + per_page
        if last is not None:
            links["last"] = last

    def place(first: int) -> Mapping[str, str]:
        return {"offset": str(first)} if by_offset else {"page": str(first // per_page + 1)}

    _set_links(request, response, {rel: place(at) for rel, at in links.items()}, replacing=("page", "offset"))


def _set_links(
    request: Request, response: Response, links: Mapping[str, Mapping[str, str]], *, replacing: Sequence[str]
) -> None:
    kept = [(name, value) for name, value in request.query_params.multi_items() if name not in replacing]
    written = [
        f'<{request.url.path}?{urlencode([*kept, *changed.items()])}>; rel="{rel}"' for rel, changed in links.items()
    ]
    if written:
        response.headers["Link"] = ", ".join(written)
