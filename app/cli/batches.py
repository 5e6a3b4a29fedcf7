"""`refund-gateway batch`: files of refunds, taken on here and carried out by the workers."""

import asyncio
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from pydantic import ValidationError
from ulid import ULID

from app.api.batch_input import StopsBody
from app.api.batch_intake import Faulty, take_on
from app.api.batch_results import results as results_of
from app.api.batch_views import batch_view, item_view
from app.cli.access import TenantName, caller_of, load_settings, runtime
from app.cli.batch_file import read_file, say_faulty
from app.cli.batch_screen import BatchId, end_by_outcome, known, say_no_of_batch, show_batch, warn_without_worker
from app.cli.batch_watch import watch as watch_until_over
from app.cli.batch_watch import write_results
from app.cli.ends import EXIT_CODES, Ended, Exit, verb
from app.cli.refund_request import said_of
from app.cli.refund_screen import say_no
from app.cli.screen import AsJson, note, show_json, show_table
from app.domain.batch import BatchStatus, ItemStatus
from app.flows import batches as flow
from app.flows.batch_results import BatchNotFound
from app.flows.content import request_fingerprint
from app.flows.results import KeyReused

app = typer.Typer(no_args_is_help=True, help="Files of refunds: carry them out, watch them, stop them.")

MaxTotal = Annotated[
    list[str] | None,
    typer.Option("--max-total", metavar="EUR:100.00", help="At most so much in a currency; once for each."),
]
StopAfter = Annotated[int | None, typer.Option("--stop-after-failures", min=1, help="Stop after so many failed items.")]
StopIfOver = Annotated[
    str | None, typer.Option("--stop-if-over", metavar="0.05", help="Stop when more than this share has failed.")
]


@app.command(epilog=EXIT_CODES)
@verb
async def run(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False, help="A .csv, .ndjson, .jsonl or .json file.")
    ],
    tenant: TenantName,
    *,
    store: Annotated[str | None, typer.Option("--store", metavar="NAME", help="Of the rows that name none.")] = None,
    name: Annotated[str | None, typer.Option("--name", help="What people know it by.", show_default="FILE")] = None,
    mode: Annotated[
        Literal["run", "hold"] | None,
        typer.Option("--mode", help="hold: wait for `batch release`.", show_default="run"),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what the refunds would be.")] = False,
    start_at: Annotated[
        str | None, typer.Option("--start-at", metavar="TIME", help="Not before, e.g. 2026-11-21T22:00:00Z.")
    ] = None,
    release_within: Annotated[
        int | None,
        typer.Option("--release-within", metavar="SECONDS", help="With hold: expires when nobody releases it by then."),
    ] = None,
    max_total: MaxTotal = None,
    stop_after_failures: StopAfter = None,
    stop_if_over: StopIfOver = None,
    watch: Annotated[bool, typer.Option("--watch", help="Watch until it is over, and write the results file.")] = False,
    results: Annotated[
        Path | None,
        typer.Option("--results", metavar="OUT.csv", help="The results file.", show_default="FILE.results.csv"),
    ] = None,
    idempotency_key: Annotated[
        str | None, typer.Option("--idempotency-key", help="The same key never makes a second batch of the file.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Carry the refunds of a file out, all of its rows or, if anything is wrong with one of them, none.

    With --watch the exit code is 0 only if every item has succeeded. A row with an external_reference is never paid
    twice, however often its file is run.
    """
    if results is not None and not watch:
        raise Ended(Exit.USAGE, "--results goes with --watch; `refund-gateway batch results` writes them later.")
    if idempotency_key is not None and not (idempotency_key.isascii() and idempotency_key.isprintable()):
        raise Ended(Exit.USAGE, "--idempotency-key takes visible ASCII characters.")
    asked = {
        "store": store,
        "name": name,
        "mode": mode,
        "dry_run": dry_run or None,
        "start_at": start_at,
        "release_within_s": release_within,
        "max_total": max_total or None,
        "stop_after_failures": stop_after_failures,
        "stop_if_over": stop_if_over,
    }
    given = {option: value for option, value in asked.items() if value is not None}
    options, upload, raw = await asyncio.to_thread(read_file, file, given)
    async with runtime(load_settings()) as rt:
        caller = await caller_of(rt, tenant)
        made = await take_on(
            rt,
            caller,
            upload,
            options,
            idempotency_key=idempotency_key,
            fingerprint=request_fingerprint(f"create_batch {upload.form} {sorted(given.items())}", raw),
            request_id=f"cli_{ULID()}",
        )
        if isinstance(made, Faulty):
            say_faulty(file, made, as_json=as_json)
        if isinstance(made, KeyReused):
            say_no(made, as_json=as_json)
        if made.replayed:
            note("This batch was there already; nothing new was made.")
        if not watch:
            show_batch(made.view, as_json=as_json)
            await warn_without_worker(rt)
            return
        note(f"The batch is {made.view.id}. Ctrl-C ends the watching only.")
        shown = await watch_until_over(rt, caller, made.view)
        out = results or file.with_name(f"{file.name}.results.csv")
        await write_results(rt, caller, shown.id, out)
        show_batch(known(await flow.look(rt, caller, shown.id), as_json=as_json), as_json=as_json)
        note(f"The results are in {out}.")
    end_by_outcome(shown)


@app.command(epilog=EXIT_CODES)
@verb
async def show(
    tenant: TenantName,
    batch_id: BatchId,
    *,
    watch: Annotated[
        bool, typer.Option("--watch", help="Watch until it is over; 0 only if everything succeeded.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show a batch: how far it has come, and what its items come to."""
    async with runtime(load_settings()) as rt:
        caller = await caller_of(rt, tenant)
        batch = known(await flow.look(rt, caller, batch_id), as_json=as_json)
        if watch:
            await watch_until_over(rt, caller, batch)
            batch = known(await flow.look(rt, caller, batch_id), as_json=as_json)
    show_batch(batch, as_json=as_json)
    if watch:
        end_by_outcome(batch_view(batch))


@app.command("list", epilog=EXIT_CODES)
@verb
async def list_(
    tenant: TenantName,
    *,
    status: Annotated[BatchStatus | None, typer.Option("--status", help="Only those in this state.")] = None,
    schedule: Annotated[str | None, typer.Option("--schedule", metavar="ID", help="Only this schedule's.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="Batches at most.")] = 50,
    after: Annotated[str | None, typer.Option("--after", metavar="ID", help="Those older than this batch.")] = None,
    as_json: AsJson = False,
) -> None:
    """List batches, newest first."""
    async with runtime(load_settings()) as rt:
        caller = await caller_of(rt, tenant)
        found = await flow.listed(rt, caller, status=status, schedule_id=schedule, limit=limit + 1, after=after)
    batches, more = found[:limit], len(found) > limit
    if as_json:
        cursor = batches[-1].id if more else None
        show_json({"data": [batch_view(batch) for batch in batches], "next_cursor": cursor})
        return
    show_table(
        ["id", "created", "name", "mode", "status", "processed", "items", "by"],
        [
            (
                batch.id,
                batch.created_at,
                batch.name,
                batch.mode,
                batch.status,
                batch.processed,
                batch.items,
                batch.created_by,
            )
            for batch in batches
        ],
        empty="There is no such batch.",
    )
    if more:
        note(f"There are more: --after {batches[-1].id}")


@app.command(epilog=EXIT_CODES)
@verb
async def items(
    tenant: TenantName,
    batch_id: BatchId,
    *,
    status: Annotated[ItemStatus | None, typer.Option("--status", help="Only those that stand so.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="Items at most.")] = 100,
    after: Annotated[int | None, typer.Option("--after", metavar="NUMBER", help="Those behind this item.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the items of a batch with what became of each."""
    async with runtime(load_settings()) as rt:
        caller = await caller_of(rt, tenant)
        found = await flow.items(rt, caller, batch_id, status=status, limit=limit + 1, after=after)
        if isinstance(found, BatchNotFound):
            say_no_of_batch(found, as_json=as_json)
    shown, more = [item_view(item) for item in found[:limit]], len(found) > limit
    if as_json:
        show_json({"data": shown, "next_cursor": shown[-1].item if more else None})
        return
    show_table(
        ["item", "store", "order", "reference", "status", "money", "amount", "currency", "refund", "failure"],
        [
            (
                item.item,
                item.store,
                item.order.number or item.order.id,
                item.external_reference,
                item.status,
                item.money,
                item.amount,
                item.currency,
                item.refund_id,
                item.failure and item.failure.message,
            )
            for item in shown
        ],
        empty="There is no such item.",
    )
    if more:
        note(f"There are more: --after {shown[-1].item}")


@app.command(epilog=EXIT_CODES)
@verb
async def release(tenant: TenantName, batch_id: BatchId, *, as_json: AsJson = False) -> None:
    """Let a held batch run."""
    async with runtime(load_settings()) as rt:
        done = known(await flow.release(rt, await caller_of(rt, tenant), batch_id), as_json=as_json)
        await warn_without_worker(rt)
    show_batch(done, as_json=as_json)


@app.command(epilog=EXIT_CODES)
@verb
async def pause(tenant: TenantName, batch_id: BatchId, *, as_json: AsJson = False) -> None:
    """Take up no more items of a batch; those under way come to their end."""
    async with runtime(load_settings()) as rt:
        done = known(await flow.pause(rt, await caller_of(rt, tenant), batch_id), as_json=as_json)
    show_batch(done, as_json=as_json)


@app.command(epilog=EXIT_CODES)
@verb
async def resume(
    tenant: TenantName,
    batch_id: BatchId,
    *,
    max_total: MaxTotal = None,
    stop_after_failures: StopAfter = None,
    stop_if_over: StopIfOver = None,
    as_json: AsJson = False,
) -> None:
    """Let a paused or stopped batch go on, with other limits if some are given. Failures so far no longer count."""
    asked: dict[str, Any] = {
        "max_total": _limits(max_total) if max_total else None,
        "stop_after_failures": stop_after_failures,
        "stop_if_over": stop_if_over,
    }
    try:
        body = StopsBody.model_validate({option: value for option, value in asked.items() if value is not None})
    except ValidationError as error:
        raise Ended(Exit.USAGE, said_of(error)) from None
    async with runtime(load_settings()) as rt:
        caller = await caller_of(rt, tenant)
        batch = known(await flow.look(rt, caller, batch_id), as_json=as_json)
        stops = body.over(batch.stops) if body.model_fields_set else None
        done = known(await flow.resume(rt, caller, batch_id, stops=stops), as_json=as_json)
        await warn_without_worker(rt)
    show_batch(done, as_json=as_json)


@app.command(epilog=EXIT_CODES)
@verb
async def cancel(tenant: TenantName, batch_id: BatchId, *, as_json: AsJson = False) -> None:
    """Drop what was not taken up and withdraw what was not sent; what is under way comes to its end."""
    async with runtime(load_settings()) as rt:
        done = known(await flow.cancel(rt, await caller_of(rt, tenant), batch_id), as_json=as_json)
    show_batch(done, as_json=as_json)


@app.command(epilog=EXIT_CODES)
@verb
async def results(
    tenant: TenantName,
    batch_id: BatchId,
    *,
    out: Annotated[Path | None, typer.Option("--out", metavar="OUT.csv", help="A file.", show_default="stdout")] = None,
) -> None:
    """Write what became of every item as CSV."""
    async with runtime(load_settings()) as rt:
        caller = await caller_of(rt, tenant)
        if out is not None and await write_results(rt, caller, batch_id, out):
            return
        parts = await results_of(rt, caller, batch_id)
        if isinstance(parts, BatchNotFound):
            say_no_of_batch(parts, as_json=False)
        async for part in parts:
            typer.echo(part, nl=False)


def _limits(texts: list[str]) -> dict[str, str]:
    limits: dict[str, str] = {}
    for text in texts:
        currency, colon, amount = text.partition(":")
        if not colon:
            raise Ended(Exit.USAGE, f"--max-total {text!r} must look like EUR:1000.00.")
        if currency in limits:
            raise Ended(Exit.USAGE, f"--max-total is there more than once for {currency}.")
        limits[currency] = amount
    return limits
