"""What became of a batch's items, as CSV for the books: a row per item."""

import csv
import io
from collections.abc import AsyncIterator, Iterable

from app.api.batch_views import item_view
from app.flows import batches as flow
from app.flows.batch_results import BatchNotFound, ItemView
from app.flows.results import Caller
from app.flows.runtime import Runtime

COLUMNS = (
    "row",
    "store",
    "external_reference",
    "order_id",
    "order_number",
    "status",
    "money",
    "amount",
    "currency",
    "payment",
    "replayed",
    "refund_id",
    "store_refund_id",
    "failure_code",
    "failure_message",
    "settled_at",
)
#: A spreadsheet takes a cell that begins with one of these for a formula.
_FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n")
_PAGE = 500


async def results(rt: Runtime, caller: Caller, batch_id: str) -> AsyncIterator[bytes] | BatchNotFound:
    """Give the results of a batch in parts; the first page is read before this returns."""
    first = await flow.items(rt, caller, batch_id, status=None, limit=_PAGE, after=None)
    if isinstance(first, BatchNotFound):
        return first
    return _parts(rt, caller, batch_id, first)


async def _parts(rt: Runtime, caller: Caller, batch_id: str, page: list[ItemView]) -> AsyncIterator[bytes]:
    yield _written([COLUMNS])
    while page:
        yield _written(map(_cells, page))
        if len(page) < _PAGE:
            return
        more = await flow.items(rt, caller, batch_id, status=None, limit=_PAGE, after=page[-1].id)
        assert not isinstance(more, BatchNotFound)
        page = more


def _written(rows: Iterable[Iterable[object]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


def _cells(item: ItemView) -> list[object]:
    shown = item_view(item)
    document = shown.model_dump(mode="json")
    failure = shown.failure
    texts = {
        **document,
        "row": shown.item,
        "order_id": shown.order.id,
        "order_number": shown.order.number,
        "replayed": "true" if shown.replayed else "false",
        "failure_code": failure.code if failure else None,
        "failure_message": failure.message if failure else None,
    }
    return [harmless(texts[name]) for name in COLUMNS]


def harmless(value: object) -> object:
    """Keep a text from being taken for a formula, by an apostrophe before it."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULAS) else value
