"""What a reconciliation has found, as JSON, CSV and a page to read and print; written page by page."""

import base64
import csv
import hashlib
import io
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from pydantic_core import to_json

from app.api.batch_results import harmless
from app.api.reconciliation_views import DriftView, drift_view, report_view
from app.flows.reconcile import Report, drifts
from app.flows.runtime import Runtime

_PAGE = 500
#: Characters of the page that are sent together; the template writes a few at a time.
_CHUNK = 16_384
COLUMNS = (
    "class",
    "against",
    "at",
    "store",
    "order_id",
    "order_number",
    "amount",
    "currency",
    "refund_id",
    "store_refund_id",
    "external_reference",
    "action",
    "proposal",
    "evidence",
)
_TITLES: Mapping[str, str] = {
    "matched": "Matched",
    "missing_in_store": "Missing in the store",
    "missing_in_ledger": "Missing in the ledger",
    "amount_differs": "Amount differs",
    "payment_flag_differs": "Payment flag differs",
    "deleted_in_store": "Deleted in the store",
    "duplicate_suspicion": "Duplicate suspicion",
    "missing_in_erp": "Missing in the ERP",
    "missing_in_gateway": "Missing in the gateway",
    "in_doubt": "In doubt",
}
_SIDES: Mapping[str, str] = {
    "ledger": "Ledger",
    "store": "Store",
    "erp": "ERP",
    "other": "The other refund",
    "asked": "The store was asked",
}

_FOLDER = Path(__file__).parent / "templates"
_STYLE = (_FOLDER / "report.css").read_text()
#: Nothing from anywhere, no scripts, no forms: only the style that stands in the page, by its hash.
POLICY = (
    "default-src 'none'; style-src 'sha256-"
    + base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    + "'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_TEMPLATE = Environment(
    loader=FileSystemLoader(_FOLDER),
    autoescape=True,
    enable_async=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    auto_reload=False,
).get_template("report.html")


async def found_by(rt: Runtime, report: Report) -> AsyncIterator[DriftView]:
    """Give every drift of a reconciliation, never more than a page of them in memory."""
    after: int | None = None
    while True:
        page = await drifts(rt, report.record, limit=_PAGE, after=after)
        for drift in page:
            yield drift_view(drift)
        if len(page) < _PAGE:
            return
        after = page[-1].id


async def as_json(rt: Runtime, report: Report) -> AsyncIterator[bytes]:
    """Write the whole report as one JSON object."""
    head = to_json(report_view(report), by_alias=True)
    yield head[:-1] + b',"drifts_found":['
    first = True
    async for drift in found_by(rt, report):
        yield (b"" if first else b",") + to_json(drift, by_alias=True)
        first = False
    yield b"]}"


async def as_csv(rt: Runtime, report: Report) -> AsyncIterator[bytes]:
    """Write a row per drift; text that a spreadsheet would take for a formula has an apostrophe before it."""
    yield _written([COLUMNS])
    async for drift in found_by(rt, report):
        yield _written([_cells(report, drift)])


def _written(rows: Iterable[Iterable[object]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


def _cells(report: Report, drift: DriftView) -> list[object]:
    document: dict[str, Any] = drift.model_dump(mode="json", by_alias=True)
    cells = {
        **document,
        "store": report.record.store,
        "order_id": drift.order.id,
        "order_number": drift.order.number,
        "evidence": to_json(drift.evidence).decode(),
    }
    return [harmless(cells[name]) for name in COLUMNS]


async def as_page(rt: Runtime, report: Report) -> AsyncIterator[bytes]:
    """Write a page for people."""
    shown = report_view(report)
    parts: list[str] = []
    waiting = 0
    async for part in _TEMPLATE.generate_async(
        style=_STYLE, report=shown, titles=_TITLES, sides=_SIDES, drifts=found_by(rt, report)
    ):
        parts.append(part)
        waiting += len(part)
        if waiting >= _CHUNK:
            yield "".join(parts).encode()
            parts, waiting = [], 0
    yield "".join(parts).encode()
