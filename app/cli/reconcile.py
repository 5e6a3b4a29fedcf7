"""`refund-gateway reconcile` and `export`: what differs between ledger, store and ERP; refunds as rows for journals."""

import asyncio
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import typer

from app.api.batch_intake import Faulty
from app.api.erp_list import Span, of_csv, of_json
from app.api.export_rows import as_csv, as_ndjson
from app.api.reading import Unreadable, read_json
from app.api.reconciliation_views import report_view
from app.cli.access import TenantName, caller_of, load_settings, no_store, runtime
from app.cli.ends import Ended, Exit, verb
from app.cli.screen import AsJson, note, show_facts, show_json, show_table
from app.domain.money import plain
from app.domain.reconciliation import ErpEntry, NewReconciliation
from app.domain.refund import Status
from app.flows import export as export_flow
from app.flows import reconcile as flow
from app.flows import reconciling
from app.flows.reconcile import ReconciliationMade, Report, WindowRefused
from app.flows.results import Caller, StoreNotFound
from app.flows.runtime import Runtime
from app.ledger.exports import ExportedBy

_LOOK_EVERY_S = 0.5

From = Annotated[str, typer.Option("--from", metavar="TIME", help="Inclusive: a day (UTC), or a time with an offset.")]
To = Annotated[str, typer.Option("--to", metavar="TIME", help="Exclusive: a day (UTC), or a time with an offset.")]


@verb
async def reconcile(
    tenant: TenantName,
    store: Annotated[str, typer.Option("--store", metavar="NAME", help="The store's name.", show_default=False)],
    from_: From,
    to: To,
    *,
    erp: Annotated[
        Path | None,
        typer.Option("--erp", metavar="FILE", exists=True, dir_okay=False, help="The ERP's list: .csv, or .json."),
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Carry it out here, unless a worker does, and show it.")] = False,
    as_json: AsJson = False,
) -> None:
    """Compare the ledger's refunds of a time with the store's, and with the ERP's list.

    Without --wait a worker carries it out. With it the exit code is 0 when nothing differs, and 1 when something does.
    """
    since, until = _moment(from_, "--from"), _moment(to, "--to")
    entries = None if erp is None else await asyncio.to_thread(_entries, erp, Span.of(since, until))
    new = NewReconciliation(store=store, from_=since, to=until, erp=entries)
    async with runtime(load_settings()) as rt:
        caller = await caller_of(rt, tenant)
        made = await flow.create(rt, caller, new, idempotency_key=None)
        match made:
            case StoreNotFound():
                raise no_store(tenant, store)
            case WindowRefused():
                raise Ended(Exit.USAGE, f"--{made.bound}: {made.message}")
            case ReconciliationMade():
                report = Report(record=made.record, totals=())
            case _:
                raise AssertionError(made)
        if wait:
            report = await _finished(rt, caller, made.record.id)
    if as_json:
        show_json(report_view(report))
    else:
        _show(report)
    record = report.record
    if record.failure is not None:
        raise Ended(Exit.STORE, f"It failed: {record.failure.message}")
    if record.drifts:
        raise Ended(
            Exit.REFUSED, f"{record.drifts} drifts: GET /v1/reconciliations/{record.id}/report.html shows them."
        )


async def _finished(rt: Runtime, caller: Caller, reconciliation_id: str) -> Report:
    shown = ""
    while True:
        work = asyncio.create_task(reconciling.run(rt, reconciliation_id))
        while True:
            done, _ = await asyncio.wait([work], timeout=_LOOK_EVERY_S)
            found = await flow.look(rt, caller, reconciliation_id)
            assert isinstance(found, Report)
            record = found.record
            progress = f"{record.phase}: {record.rows_read} rows read, {record.asked} refunds asked for"
            if progress != shown:
                note(progress)
                shown = progress
            if done:
                work.result()
                break
        if found.record.status in ("finished", "failed"):
            return found
        await asyncio.sleep(_LOOK_EVERY_S)


def _show(report: Report) -> None:
    record = report.record
    show_facts(
        [
            ("reconciliation", record.id),
            ("status", record.status),
            ("store", record.store),
            ("from", record.from_at),
            ("to", record.to_at),
            ("matched", record.matched),
            ("drifts", record.drifts),
        ]
    )
    if record.status == "finished":
        show_table(
            ["day", "currency", "class", "refunds", "amount"],
            [
                (total.day, total.currency, total.total_class, total.refunds, plain(total.amount, total.decimals))
                for total in report.totals
            ],
            empty="There were no refunds.",
        )


@verb
async def export(
    tenant: TenantName,
    from_: From,
    to: To,
    *,
    store: Annotated[str | None, typer.Option("--store", metavar="NAME", help="Only this store's.")] = None,
    by: Annotated[ExportedBy, typer.Option("--by", help="The time that has to be within.")] = "settled",
    status: Annotated[Status, typer.Option("--status", help="Only refunds in this state.")] = "succeeded",
    form: Annotated[Literal["csv", "ndjson"], typer.Option("--format", help="How to write them.")] = "csv",
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Where to, in place of stdout.")] = None,
) -> None:
    """Write the refunds of a time, a row per refund and tax rate, ready for journals."""
    since, until = _moment(from_, "--from"), _moment(to, "--to")
    if since >= until:
        raise Ended(Exit.USAGE, "--to: It has to be after --from.")
    async with runtime(load_settings()) as rt:
        caller = await caller_of(rt, tenant)
        planned = await export_flow.plan(rt, caller, from_=since, to=until, by=by, status=status, store=store)
        if isinstance(planned, StoreNotFound):
            raise no_store(tenant, planned.store)
        parts = as_csv if form == "csv" else as_ndjson
        target = sys.stdout.buffer if out is None else await asyncio.to_thread(out.open, "wb")
        try:
            async for part in parts(rt, caller.tenant_id, planned):
                await asyncio.to_thread(target.write, part)
            target.flush()
        finally:
            if out is not None:
                target.close()


def _moment(text: str, option: str) -> datetime:
    """Read a day or a time; a day is its beginning, in UTC."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is not None and len(text) == len("2026-11-21"):
        at = at.replace(tzinfo=UTC)
    if at is None or at.tzinfo is None or not 2000 <= at.year <= 2199:
        raise Ended(
            Exit.USAGE, f"{option}: {text[:40]!r} is neither a day such as 2026-11-21 nor a time with an offset."
        )
    return at.astimezone(UTC)


def _entries(file: Path, span: Span) -> tuple[ErpEntry, ...]:
    raw = file.read_bytes()
    if file.suffix.lower() == ".json":
        document = read_json(raw)
        if isinstance(document, Unreadable):
            raise Ended(Exit.USAGE, f"{file}: {document.faults[0].message}")
        listed = of_json(document.get("erp") if isinstance(document, dict) else document, span)
    else:
        listed = of_csv(raw, span)
    if listed.faults:
        for fault in listed.faults:
            note(f"{file}: {fault.place}: {fault.message}" if fault.place else f"{file}: {fault.message}")
        problem = Faulty(faults=listed.faults, in_all=listed.faults_in_all).problem()
        raise Ended(Exit.USAGE, problem.detail)
    return listed.entries
