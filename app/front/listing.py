"""The parameters and headers of WooCommerce's lists of refunds (CRUD:413-444, 567-706)."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast
from urllib.parse import quote

from app.domain.refund_query import Moment, Order, OrderBy, RefundQuery
from app.front.asking import Asked
from app.front.errors import Faults
from app.front.form import PhpTree, flattened, listed
from app.front.values import boolean, wrong_type

_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,9})", re.ASCII)
_ID = re.compile(r"[0-9]{1,18}", re.ASCII)
_DATE = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?([Zz]|[+-][0-9]{2}(:[0-9]{2})?)?",
    re.ASCII,
)
_CONTEXTS = ("view", "edit")
_ORDERS = ("asc", "desc")
_ORDERBYS = ("date", "id", "include", "title", "slug", "modified")
_ID_LISTS = ("include", "exclude", "parent", "parent_exclude")
_DATES = ("after", "before", "modified_after", "modified_before")
_MOST_PER_PAGE = 100
#: Amounts are kept with six decimals at most; WooCommerce would write any number of zeros behind them.
_MOST_DECIMALS = 12


def list_query(query: PhpTree) -> RefundQuery:
    """Read the parameters of a list. Raises WooError in WordPress's words for those that are out of order."""
    faults = Faults()
    asked = RefundQuery()
    page = _integer(faults, query, "page", least=1)
    per_page = _integer(faults, query, "per_page", least=1, most=_MOST_PER_PAGE)
    offset = _integer(faults, query, "offset", least=0)
    search = query.get("search", "")
    if not isinstance(search, str):
        wrong_type(faults, "search", "string")
    asked = replace(
        asked,
        page=asked.page if page is None else page,
        per_page=asked.per_page if per_page is None else per_page,
        offset=offset,
        order=cast("Order", _choice(faults, query, "order", _ORDERS, asked.order)),
        orderby=cast("OrderBy", _choice(faults, query, "orderby", _ORDERBYS, asked.orderby)),
        search=search if isinstance(search, str) else "",
        **{name: _ids(faults, query, name) for name in _ID_LISTS},  # type: ignore[arg-type]
        **_moments(faults, query),  # type: ignore[arg-type]
    )
    asked = replace(asked, **_look(faults, query))
    faults.raise_any()
    return asked


def document_query(query: PhpTree) -> RefundQuery:
    """Read the parameters of a single refund: only how it is shown. Raises as `list_query`."""
    faults = Faults()
    shown = replace(RefundQuery(), **_look(faults, query))
    faults.raise_any()
    return shown


def _look(faults: Faults, query: PhpTree) -> dict[str, Any]:
    dp = _integer(faults, query, "dp")
    return {
        "context": _choice(faults, query, "context", _CONTEXTS, "view"),
        # A negative number loses its sign (absint).
        "dp": None if dp is None else min(abs(dp), _MOST_DECIMALS),
    }


def _integer(
    faults: Faults, query: PhpTree, name: str, *, least: int | None = None, most: int | None = None
) -> int | None:
    given = query.get(name)
    if given is None:
        return None
    if not isinstance(given, str) or _INTEGER.fullmatch(given.strip()) is None:
        wrong_type(faults, name, "integer")
        return None
    value = int(given)
    if least is not None and most is not None and not least <= value <= most:
        _out_of_bounds(faults, name, f"{name} must be between {least} (inclusive) and {most} (inclusive)")
    elif least is not None and value < least:
        _out_of_bounds(faults, name, f"{name} must be greater than or equal to {least}")
    return value


def _out_of_bounds(faults: Faults, name: str, message: str) -> None:
    faults.add(name, message, kind="rest_out_of_bounds")


def _choice(faults: Faults, query: PhpTree, name: str, choices: Sequence[str], default: str) -> str:
    given = query.get(name, default)
    if isinstance(given, str) and given in choices:
        return given
    comma = "," if len(choices) > 2 else ""
    message = f"{name} is not one of {', '.join(choices[:-1])}{comma} and {choices[-1]}."
    faults.add(name, message, kind="rest_not_in_enum")
    return default


def _ids(faults: Faults, query: PhpTree, name: str) -> tuple[str, ...]:
    """Read ids, with commas or spaces between them or as a list (wp_parse_list)."""
    given = query.get(name)
    if given is None:
        return ()
    parts = listed(given) if isinstance(given, dict) else [part for part in re.split(r"[\s,]+", given) if part]
    found: list[str] = []
    for i, part in enumerate(parts if isinstance(parts, list) else [*parts.values()]):
        if isinstance(part, str) and _ID.fullmatch(part):
            found.append(str(int(part)))
        else:
            faults.add(name, f"{name}[{i}] is not of type integer.", kind="rest_invalid_type")
    return tuple(found)


def _moments(faults: Faults, query: PhpTree) -> Mapping[str, Moment]:
    """Read the bounds; without a zone they are in the store's own, or in UTC with dates_are_gmt."""
    gmt = boolean(query.get("dates_are_gmt", "false"))
    if gmt is None:
        wrong_type(faults, "dates_are_gmt", "boolean")
    found: dict[str, Moment] = {}
    for name in _DATES:
        given = query.get(name)
        if given is None:
            continue
        at = _moment(given)
        if at is None:
            faults.add(name, "Invalid date.", kind="rest_invalid_date")
        else:
            found[name] = Moment(at=at.replace(tzinfo=UTC) if gmt and at.tzinfo is None else at)
    return found


def _moment(given: object) -> datetime | None:
    if not isinstance(given, str) or _DATE.fullmatch(given) is None:
        return None
    try:
        at = datetime.fromisoformat(given.upper())
        return at if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def list_headers(asked: Asked, query: RefundQuery, *, total: int | None, shown: int, decimals: int) -> dict[str, str]:
    """Give the headers of a page: the totals, as far as somebody has counted, and the pages before and after it.

    Credentials are not repeated in the links, which WooCommerce does.
    """
    if total is None:
        return {}
    pages = -(-total // query.per_page)
    headers = {"X-WP-Total": str(total), "X-WP-TotalPages": str(pages)}
    links = []
    if query.page > 1 and pages:
        links.append(f'<{_page_url(asked, query, min(query.page - 1, pages), shown, decimals)}>; rel="prev"')
    if query.page < pages:
        links.append(f'<{_page_url(asked, query, query.page + 1, shown, decimals)}>; rel="next"')
    if links:
        headers["Link"] = ", ".join(links)
    return headers


def _page_url(asked: Asked, query: RefundQuery, page: int, shown: int, decimals: int) -> str:
    params: PhpTree = dict(asked.own_query)
    for name in _ID_LISTS:
        if name in params:
            params[name] = {str(i): one for i, one in enumerate(getattr(query, name))}
    if "dp" not in params and shown:
        params["dp"] = str(decimals)
    params["page"] = str(page)
    text = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in flattened(params))
    return f"{asked.root}/{asked.path}?{text}"
