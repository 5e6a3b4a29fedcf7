"""Orders and order notes of wc-api/v3, to read only."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from urllib.parse import urlsplit

from pydantic import JsonValue

from app.sandbox import legacy_serialize
from app.sandbox.legacy_call import LegacyAnswer, LegacyCall, selected
from app.sandbox.model import Json, Order
from app.sandbox.php import flatten

_DEFAULT_LIMIT = 10
_DEFAULT_PLACES = 2

#: `filter[…]`: the SQL condition it stands for; both ends are included.
_DATE_FILTERS = {
    "created_at_min": "created >= ?",
    "created_at_max": "created <= ?",
    "updated_at_min": "modified >= ?",
    "updated_at_max": "modified <= ?",
}
_ORDERINGS = {"date": "created", "modified": "modified", "id": "id"}


async def retrieve(call: LegacyCall) -> LegacyAnswer:
    """Answer GET orders/{id}."""
    order = call.store.order(call.existing_order("id"))
    assert order is not None
    return LegacyAnswer({"order": _shown(call, order)})


async def list_orders(call: LegacyCall) -> LegacyAnswer:
    """Answer GET orders; with orders outside the posts, there are none to be found."""
    conditions, values = _conditions(call)
    by = _ORDERINGS.get(call.filter("orderby").lower(), "created")
    direction = "ASC" if call.filter("order").upper() == "ASC" else "DESC"
    ids = call.store.ids("orders", " AND ".join(conditions) or "1", values, f"{by} {direction}, id {direction}")
    limit, page = _integer(call.filter("limit")) or _DEFAULT_LIMIT, abs(_integer(call.text("page") or "")) or 1
    start = _integer(call.filter("offset")) or (page - 1) * limit
    found = ids if limit < 0 else ids[start : start + limit]
    # A page beyond the last one counts nothing, and a list without a limit no pages (WP_Query::set_found_posts).
    total = len(ids) if found else 0
    pages = -(-total // limit) if limit > 0 else 0
    orders = [order for order in map(call.store.order, found) if order is not None]
    headers = {"X-WC-Total": str(total), "X-WC-TotalPages": str(pages)}
    links = _links(call, page, pages)
    if links:
        headers["Link"] = ", ".join(links)
    return LegacyAnswer({"orders": [_shown(call, order) for order in orders]}, headers=headers)


async def list_notes(call: LegacyCall) -> LegacyAnswer:
    """Answer GET orders/{id}/notes, newest first."""
    order_id = call.existing_order("order_id")
    notes = [legacy_serialize.note(note) for note in reversed(call.store.notes(order_id))]
    return LegacyAnswer({"order_notes": [selected(note, call.text("fields")) for note in notes]})


def _shown(call: LegacyCall, order: Order) -> Json:
    places = call.filter("dp")
    shown = legacy_serialize.order(
        order,
        call.store,
        places=max(0, _integer(places)) if places else _DEFAULT_PLACES,
        all_item_meta=call.filter("all_item_meta") == "true",
        site_url=call.site_url,
        with_meta=call.filter("meta") == "true",
    )
    return selected(shown, call.text("fields"))


def _conditions(call: LegacyCall) -> tuple[list[str], list[str | int]]:
    conditions, values = [], list[str | int]()
    if not call.store.settings().posts_hold_orders:
        conditions.append("0")
    # `any` is no status and finds nothing; without `status` every order is found.
    statuses = (call.text("status") or call.filter("status")).split(",")
    if statuses != [""]:
        conditions.append(f"status IN ({', '.join('?' * len(statuses))})")
        values += statuses
    for name, condition in _DATE_FILTERS.items():
        if given := call.filter(name):
            conditions.append(condition)
            values.append(_moment(given))
    for name, test in (("in", "id IN"), ("not_in", "id NOT IN")):
        if given := call.filter(name):
            ids = [_integer(one) for one in given.split(",")]
            conditions.append(f"{test} ({', '.join('?' * len(ids))})")
            values += ids
    return conditions, values


def _moment(text: str) -> str:
    """Read a date like the plugin: in UTC whatever zone it names, and unreadable ones as the epoch (LS:531)."""
    text = re.sub(r"[+-]\d+:+\d+$", "+00:00", re.sub(r"\.\d+", "", text))
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = datetime.fromtimestamp(0, UTC)
    return moment.replace(tzinfo=None).isoformat(timespec="seconds")


def _links(call: LegacyCall, page: int, pages: int) -> Sequence[str]:
    """Return links to other pages: decoded, with all the query's parameters, and without the shop's port (LS:503)."""
    targets = [
        *([("first", 1), ("prev", page - 1)] if page > 1 else []),
        *([("next", page + 1)] if page < pages else []),
        *([("last", pages)] if page != pages else []),
    ]
    site = urlsplit(call.site_url)
    kept = {name: value for name, value in call.query.items() if name != "page"}
    found = []
    for relation, target in targets:
        query = "&".join(f"{name}={value}" for name, value in [*flatten(kept), ("page", str(target))])
        found.append(f'<{site.scheme}://{site.hostname}{call.path}?{query}>; rel="{relation}"')
    return found


def _integer(value: JsonValue) -> int:
    """Read like PHP's `intval`: 0 where there is no number."""
    number = re.match(r"\s*[+-]?\d+", str(value))
    return int(number[0]) if number else 0
