"""`refund-gateway inbound`: systems that send messages of their own making, and what became of those."""

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from app.api.inbound_bodies import InboundSourceBody, to_reading
from app.api.inbound_intake import BodyForgotten, read_anew
from app.api.inbound_mapping import understand
from app.api.inbound_views import inbound_test_view, message_view, source_view, source_with_secret_view
from app.cli.access import TenantName, caller_of, load_settings, runtime
from app.cli.ends import EXIT_CODES, Ended, Exit, verb
from app.cli.screen import AsJson, note, show_facts, show_json, show_table
from app.flows import sources
from app.flows.results import Caller
from app.flows.runtime import Runtime
from app.flows.sources import SourceMade
from app.ledger import inbound as ledger
from app.ledger.inbound import Message, MessageStatus, Source

app = typer.Typer(no_args_is_help=True, help="Messages of other systems: their sources, and what became of them.")

_PAGE = 200

SourceName = Annotated[str, typer.Argument(metavar="SOURCE", help="The source's name or id.", show_default=False)]
File = Annotated[Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False, readable=True, show_default=False)]


@app.command(epilog=EXIT_CODES)
@verb
async def add(tenant: TenantName, file: File, *, as_json: AsJson = False) -> None:
    """Add a source as a JSON file describes it: the body of POST /v1/inbound. Its secret is shown this once."""
    try:
        body = InboundSourceBody.model_validate_json(file.read_bytes())
    except ValidationError as error:
        faults = [f"{'/'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors(include_input=False)]
        raise Ended(Exit.USAGE, f"{file} is not right: {'; '.join(faults)}.") from None
    async with runtime(load_settings()) as rt:
        caller = await caller_of(rt, tenant)
        made = await sources.create(
            rt, caller, to_reading(body), secret=body.secret, idempotency_key=None, fingerprint=b""
        )
    match made:
        case SourceMade():
            pass
        case sources.NameTaken():
            raise Ended(Exit.REFUSED, f"The tenant {tenant!r} has a source {made.name!r} already.")
        case sources.SecretUnusable():
            raise Ended(Exit.USAGE, "The secret is not base64, as Standard Webhooks' secrets are.")
        case sources.HeaderUnproved():
            raise Ended(Exit.USAGE, f"dedupe/header: {made.header} is not signed; take an id of the body, or none.")
        case _:
            raise Ended(Exit.NOT_FOUND, f"The tenant {tenant!r} has no store {body.store!r}.")
    view = source_with_secret_view(made)
    if as_json:
        show_json(view)
        return
    facts: list[tuple[str, object]] = [("Source", view.id), ("Messages go to", f"POST {view.url}")]
    show_facts([*facts, ("Secret", view.secret)] if view.secret is not None else facts)
    if view.secret is not None:
        note("The secret is shown this once.")


@app.command("list", epilog=EXIT_CODES)
@verb
async def list_(tenant: TenantName, *, as_json: AsJson = False) -> None:
    """List a tenant's sources."""
    async with runtime(load_settings()) as rt:
        found = await _sources(rt, await caller_of(rt, tenant))
    if as_json:
        show_json({"data": [source_view(source) for source in found]})
        return
    show_table(
        ["name", "id", "verification", "store", "created"],
        [
            (source.name, source.id, source.verification["kind"], source.store or "", source.created_at)
            for source in found
        ],
        empty=f"The tenant {tenant} has no source of messages yet.",
    )


@app.command("test", epilog=EXIT_CODES)
@verb
async def try_out(tenant: TenantName, source: SourceName, file: File) -> None:
    """Show what a message in a file would become, without keeping it."""
    async with runtime(load_settings()) as rt:
        found = await _source(rt, tenant, source)
        understood = understand(found, {}, file.read_bytes())
        async with rt.database.reading() as conn:
            repeats = await ledger.message_by_key(conn, found, understood.dedupe_key)
    show_json(inbound_test_view(understood, repeats))
    if understood.outcome.failure is not None:
        raise Ended(Exit.REFUSED, "")


@app.command(epilog=EXIT_CODES)
@verb
async def messages(
    tenant: TenantName,
    source: SourceName,
    *,
    status: Annotated[MessageStatus | None, typer.Option("--status", help="Only those of this status.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1_000, help="So many at most.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List what a source has sent, newest first, and what became of it."""
    async with runtime(load_settings()) as rt:
        found = await _source(rt, tenant, source)
        async with rt.database.reading() as conn:
            listed = await ledger.messages(conn, found, status=status, limit=limit, after=None)
    if as_json:
        show_json({"data": [message_view(message) for message in listed]})
        return
    show_table(
        ["id", "received", "status", "refund", "why"],
        [(one.id, one.received_at, one.status, one.refund_id or "", _why(one)) for one in listed],
        empty="There is no such message.",
    )


@app.command(epilog=EXIT_CODES)
@verb
async def replay(
    tenant: TenantName,
    source: SourceName,
    message: Annotated[str | None, typer.Argument(help="The message's id; without it, all that failed.")] = None,
) -> None:
    """Read failed messages anew, as the source is read today; what was accepted stays as it is."""
    async with runtime(load_settings()) as rt:
        found = await _source(rt, tenant, source)
        if message is not None:
            after = await _replay(rt, found, message)
            note(f"{after.id} is {after.status}{f': {_why(after)}' if after.failure else ''}.")
            if after.status == "failed":
                raise Ended(Exit.REFUSED, "")
            return
        counts: Counter[str] = Counter()
        last: str | None = None
        while True:
            async with rt.database.reading() as conn:
                ids = await ledger.failed_ids(conn, found, limit=_PAGE, after=last)
            for last in ids:
                counts[(await _replay(rt, found, last)).status] += 1
            if len(ids) < _PAGE:
                break
    note(", ".join(f"{count} {status}" for status, count in counts.items()) + "." if counts else "Nothing has failed.")


async def _sources(rt: Runtime, caller: Caller) -> list[Source]:
    found: list[Source] = []
    while True:
        async with rt.database.reading() as conn:
            page = await ledger.sources(
                conn, caller.tenant_id, store_ids=None, limit=_PAGE, after=found[-1].id if found else None
            )
        found += page
        if len(page) < _PAGE:
            return found


async def _source(rt: Runtime, tenant: str, name: str) -> Source:
    """Find a source by its name or id; ends the verb when there is none."""
    for source in await _sources(rt, await caller_of(rt, tenant)):
        if name in (source.name, source.id):
            return source
    raise Ended(Exit.NOT_FOUND, f"The tenant {tenant!r} has no source {name!r}; see `refund-gateway inbound list`.")


async def _replay(rt: Runtime, source: Source, message_id: str) -> Message:
    async with rt.database.reading() as conn:
        before = await ledger.message(conn, source.tenant_id, source.id, message_id)
    if before is None:
        raise Ended(Exit.NOT_FOUND, f"The source {source.name!r} has sent no message {message_id!r}.")
    try:
        return await read_anew(rt, source, before)
    except BodyForgotten:
        raise Ended(Exit.REFUSED, f"The body of {message_id} is no longer kept.") from None


def _why(message: Message) -> str:
    return "" if message.failure is None else f"{message.failure['code']}: {message.failure['message']}"
