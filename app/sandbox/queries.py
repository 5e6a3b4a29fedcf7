"""The filters and orderings that lists of orders and of refunds share (CRUD:567-706)."""

from collections.abc import Mapping, Sequence
from typing import Literal

from app.sandbox.rest import Call, Param

LIST_PARAMS: Mapping[str, Param] = {
    "context": Param(kind="string", default="view", among=("view", "edit")),
    "page": Param(kind="integer", default=1, least=1),
    "per_page": Param(kind="integer", default=10, least=1, most=100),
    "search": Param(kind="string"),
    "after": Param(kind="date"),
    "before": Param(kind="date"),
    "modified_after": Param(kind="date"),
    "modified_before": Param(kind="date"),
    "dates_are_gmt": Param(kind="boolean", default=False),
    "exclude": Param(kind="integers", default=[]),
    "include": Param(kind="integers", default=[]),
    "offset": Param(kind="integer"),
    "order": Param(kind="string", default="desc", among=("asc", "desc")),
    "orderby": Param(kind="string", default="date", among=("date", "id", "include", "title", "slug", "modified")),
    "parent": Param(kind="integers", default=[]),
    "parent_exclude": Param(kind="integers", default=[]),
    "dp": Param(kind="integer"),
}


def date_conditions(call: Call) -> tuple[list[str], list[str | int]]:
    """Return the SQL conditions of the date parameters; the shop's time zone is UTC."""
    conditions, values = [], list[str | int]()
    for name, test in (
        ("after", "created > ?"),
        ("before", "created < ?"),
        ("modified_after", "modified > ?"),
        ("modified_before", "modified < ?"),
    ):
        given = call.text(name)
        if given:
            conditions.append(test)
            values.append(given.removesuffix("Z")[:19])
    return conditions, values


def id_conditions(call: Call) -> tuple[list[str], list[str | int]]:
    """Return the SQL conditions of `include` and `exclude`."""
    conditions, values = [], list[str | int]()
    for name, test in (("include", "id IN"), ("exclude", "id NOT IN")):
        ids = call.integers(name)
        if ids:
            conditions.append(f"{test} ({marks(ids)})")
            values += ids
    return conditions, values


def marks(values: Sequence[object]) -> str:
    """Return a placeholder for each value."""
    return ", ".join("?" * len(values))


def page_of(
    call: Call, table: Literal["orders", "refunds"], conditions: Sequence[str], values: Sequence[str | int]
) -> tuple[list[int], int]:
    """Return the ids on the page asked for, and how many there are on all."""
    direction = "ASC" if call.text("order") == "asc" else "DESC"
    orderings = {
        "date": f"created {direction}, id {direction}",
        "id": f"id {direction}",
        "slug": f"id {direction}",
        "modified": f"modified {direction}, id",
        # A title is "Refund – <date to the minute>".
        "title": f"substr(created, 1, 16) {direction}, id",
    }
    by = call.text("orderby") or "date"
    wanted = call.integers("include")
    ids = call.store.ids(table, " AND ".join(conditions) or "1", values, orderings.get(by, "id"))
    if by == "include" and wanted:
        ids.sort(key=wanted.index)
    per_page = call.integer("per_page") or 10
    start = call.integer("offset") or ((call.integer("page") or 1) - 1) * per_page
    return ids[start : start + per_page], len(ids)
