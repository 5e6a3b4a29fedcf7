"""Refunds for journals: the columns of an export, and how a refund becomes rows."""

import csv
import io
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from typing import Any

from pydantic_core import to_json

from app.api.batch_results import harmless
from app.api.values import Time
from app.api.views import View, decimals_of, refund_view
from app.domain.journal import NO_RATE, JournalRow, journal
from app.domain.money import plain
from app.flows import export as flow
from app.flows.runtime import Runtime
from app.ledger.exports import Export
from app.ledger.records import RefundRecord


class ExportRow(View):
    """A refund's part under one tax rate. The `gross` of all of a refund's rows adds up to its amount.

    A journal entry takes one line per column that is not zero: `items_net`, `shipping_net`, `fees_net`, `goodwill` and
    `unallocated` to their accounts, `tax` to that of the rate, and `gross` to what was paid: `payment` says whether by
    the payment gateway `payment_method` or by hand.
    """

    refund_id: str
    external_reference: str | None
    store: str
    order_id: str | None
    order_number: str | None
    status: str
    money: str
    created_at: Time
    settled_at: Time | None
    currency: str | None
    rate_id: str  #: the store's; "" for what is without tax
    gross: str | None
    net: str | None  #: None where it is not known how a refund divides, as of one that others made
    tax: str | None
    items_net: str | None
    items_tax: str | None
    shipping_net: str | None
    shipping_tax: str | None
    fees_net: str | None
    fees_tax: str | None
    goodwill: str | None
    unallocated: str | None
    payment: str
    payment_method: str | None
    store_refund_id: str | None
    origin: str
    reason_code: str | None
    batch_id: str | None
    deleted_at: Time | None


COLUMNS = tuple(ExportRow.model_fields)
_AMOUNTS = (
    "gross",
    "net",
    "tax",
    "items_net",
    "items_tax",
    "shipping_net",
    "shipping_tax",
    "fees_net",
    "fees_tax",
    "goodwill",
    "unallocated",
)
#: What every row of a refund says.
_OF_REFUND = tuple(name for name in COLUMNS if name in RefundRecord.__dataclass_fields__)


def rows_of(record: RefundRecord) -> Iterator[ExportRow]:
    """Divide a refund into rows by tax rate; one whose division is not known is a row of its own."""
    common: dict[str, Any] = {name: getattr(record, name) for name in _OF_REFUND}
    common["refund_id"] = record.id
    if record.plan is None:
        unknown: Mapping[str, None] = dict.fromkeys(_AMOUNTS)
        gross = refund_view(record).amount
        yield ExportRow(**{**common, **unknown, "rate_id": NO_RATE, "gross": gross})
        return
    for row in journal(record.plan):
        yield ExportRow(**common, rate_id=row.rate_id, **_amounts(row, decimals_of(record)))


def _amounts(row: JournalRow, decimals: int) -> dict[str, str]:
    return {name: plain(getattr(row, name), decimals) for name in _AMOUNTS}


async def as_csv(rt: Runtime, tenant_id: str, export: Export) -> AsyncIterator[bytes]:
    """Write the export as CSV; text that a spreadsheet would take for a formula has an apostrophe before it."""
    yield _written([COLUMNS])
    async for page in flow.pages(rt, tenant_id, export):
        yield _written(_cells(row) for record in page for row in rows_of(record))


async def as_ndjson(rt: Runtime, tenant_id: str, export: Export) -> AsyncIterator[bytes]:
    """Write the export with a JSON object per line."""
    async for page in flow.pages(rt, tenant_id, export):
        yield b"".join(to_json(row) + b"\n" for record in page for row in rows_of(record))


def _cells(row: ExportRow) -> list[object]:
    document = row.model_dump(mode="json")
    # A negative amount begins like a formula and is none.
    return [document[name] if name in _AMOUNTS else harmless(document[name]) for name in COLUMNS]


def _written(rows: Iterable[Iterable[object]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()
