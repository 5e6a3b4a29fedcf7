"""The table, and how the README shows it."""

from collections.abc import Iterator

from tests.coverage_table import rows
from tests.coverage_table.rows import FAR_FUTURE, FAR_PAST, Row, everything, listing, nothing

COLUMNS = (
    ("/v1", "v3"),
    ("/v1", "legacy"),
    ("wp-json/wc/v3", "v3"),
    ("wp-json/wc/v3", "legacy"),
    ("wc-api/v3", "v3"),
    ("wc-api/v3", "legacy"),
)

_ALL = ("yes",) * 6
_NO = ("refused",) * 6
_WITHOUT_LEGACY_DOOR = ("yes", "here", "yes", "here", "–", "–")
_HERE = ("here", "here", "here", "here", "–", "–")


def _lists() -> Iterator[Row]:
    by_parameter = {
        "page, per_page": (lambda made: [made[0]], {"page": "2", "per_page": "2"}),
        "offset": (lambda made: made[1::-1], {"offset": "1"}),
        "order": (lambda made: made, {"order": "asc", "orderby": "id"}),
        "orderby: date": (everything, {"orderby": "date"}),
        "orderby: id": (everything, {"orderby": "id"}),
        "orderby: include": (lambda made: [made[2], made[0]], {"orderby": "include", "include": "{c},{a}"}),
        "orderby: title": (everything, {"orderby": "title"}),
        "orderby: slug": (everything, {"orderby": "slug"}),
        "orderby: modified": (everything, {"orderby": "modified"}),
        "include": (lambda made: [made[2], made[0]], {"include": "{a},{c}"}),
        "exclude": (lambda made: [made[2], made[0]], {"exclude": "{b}"}),
        "search": (lambda made: [made[1]], {"search": "lot 1"}),
        "after": (everything, {"after": FAR_PAST}),
        "before": (nothing, {"before": FAR_PAST}),
        "modified_after": (nothing, {"modified_after": FAR_FUTURE}),
        "modified_before": (everything, {"modified_before": FAR_FUTURE}),
        "dates_are_gmt": (everything, {"after": FAR_PAST.rstrip("Z"), "dates_are_gmt": "true"}),
        "times of the store's own zone": (everything, {"after": FAR_PAST.rstrip("Z")}),
        "parent": (everything, {"parent": "{o}"}),
        "parent_exclude": (nothing, {"parent_exclude": "{o}"}),
        "context": (everything, {"context": "edit"}),
        "dp": (everything, {"dp": "4"}),
    }
    for scope, operation in (("order", "List an order's refunds"), ("store", "List the store's refunds")):
        yield Row(
            operation=operation,
            parameter="",
            probe=listing(scope, everything),
            cells=_ALL if scope == "order" else _WITHOUT_LEGACY_DOOR,
        )
        for parameter, (expected, params) in by_parameter.items():
            cells = _WITHOUT_LEGACY_DOOR
            if parameter in ("search", "parent"):
                cells = _HERE
            if parameter == "parent_exclude" and scope == "order":
                cells = _HERE
            if parameter.startswith("times"):
                cells = ("yes", "refused", "yes", "refused", "–", "–")
            yield Row(operation=operation, parameter=parameter, probe=listing(scope, expected, **params), cells=cells)
        yield Row(
            operation=operation,
            parameter="_fields, fields",
            probe=listing(scope, everything, _fields="id,amount"),
            cells=("–", "–", "yes", "here", "here", "here")
            if scope == "order"
            else ("–", "–", "yes", "here", "–", "–"),
        )


ROWS: tuple[Row, ...] = (
    Row(operation="Create", parameter="amount", probe=rows.amount, cells=_ALL),
    Row(
        operation="Create",
        parameter="line_items: id, quantity, refund_total, refund_tax",
        probe=rows.line_items,
        cells=_ALL,
    ),
    Row(operation="Create", parameter="shipping and fee lines", probe=rows.shipping_and_fees, cells=_ALL),
    Row(operation="Create", parameter="compute_totals", probe=rows.computed, cells=_HERE),
    Row(operation="Create", parameter="reason", probe=rows.reason, cells=_ALL),
    Row(operation="Create", parameter="api_refund: false", probe=rows.manual, cells=_ALL),
    Row(operation="Create", parameter="api_restock, restock_items", probe=rows.restock, cells=_ALL),
    Row(
        operation="Create",
        parameter="meta_data",
        probe=rows.meta_data,
        cells=("yes", "refused", "yes", "refused", "–", "–"),
    ),
    Row(operation="Create", parameter="more than is left", probe=rows.overage, cells=_NO),
    Row(operation="Preview (11.1)", parameter="", probe=rows.preview, cells=_HERE),
    Row(operation="Retrieve", parameter="", probe=rows.retrieve, cells=_ALL),
    Row(operation="Retrieve", parameter="dp", probe=rows.retrieve_dp, cells=("–", "–", "yes", "here", "–", "–")),
    Row(
        operation="Retrieve",
        parameter="context",
        probe=rows.retrieve_context,
        cells=("–", "–", "yes", "here", "–", "–"),
    ),
    Row(
        operation="Retrieve",
        parameter="_fields, fields",
        probe=rows.retrieve_fields,
        cells=("–", "–", "yes", "here", "here", "here"),
    ),
    Row(operation="Retrieve", parameter="under another order", probe=rows.retrieve_elsewhere, cells=_NO),
    *_lists(),
    Row(
        operation="Update",
        parameter="reason",
        probe=rows.update_reason,
        cells=("kept here", "yes", "–", "–", "kept here", "yes"),
    ),
    Row(
        operation="Update",
        parameter="amount",
        probe=rows.update_amount,
        cells=("refused", "refused", "–", "–", "refused", "refused"),
    ),
    Row(operation="Delete", parameter="", probe=rows.delete, cells=_ALL),
    Row(operation="Delete", parameter="force: true, of one that was paid", probe=rows.delete_paid, cells=_ALL),
    Row(operation="Delete", parameter="without force, of one that was paid", probe=rows.delete_paid_unasked, cells=_NO),
    Row(operation="Delete", parameter="under another order", probe=rows.delete_elsewhere, cells=_NO),
)


def markdown() -> str:
    """Write the table as the README shows it."""
    head = "| | `/v1` on v3 | `/v1` on legacy | front v3 on v3 | front v3 on legacy | front legacy on v3"
    lines = [
        f"{head} | front legacy on legacy |",
        "|---|---|---|---|---|---|---|",
    ]
    operation = ""
    for row in ROWS:
        if row.operation != operation:
            operation = row.operation
            lines.append(f"| **{operation}** | | | | | | |" if row.parameter else _line(f"**{operation}**", row))
            if not row.parameter:
                continue
        lines.append(_line(row.parameter, row))
    return "\n".join(lines) + "\n"


def _line(name: str, row: Row) -> str:
    return f"| {name} | " + " | ".join(row.cells) + " |"
