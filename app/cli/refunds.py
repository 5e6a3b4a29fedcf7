"""`refund-gateway refund`: preview, carry out and look at refunds, in this process and by the API's own rules."""

import asyncio
import re
import traceback
from typing import Annotated, assert_never

import typer
from ulid import ULID

from app.api.event_views import event_view
from app.api.views import preview_view, refund_view
from app.cli.access import TenantName, caller_of, find_tenant, ledger, load_settings, runtime
from app.cli.ends import EXIT_CODES, Ended, Exit, expected, one_line, verb
from app.cli.refund_changes import amend, delete
from app.cli.refund_request import (
    Amount,
    Currency,
    Fees,
    Goodwill,
    Items,
    OrderId,
    OrderNumber,
    Payment,
    Reason,
    Reference,
    Remaining,
    Restock,
    Shipping,
    StoreOption,
    read_command,
)
from app.cli.refund_screen import (
    CAPABILITIES,
    REFUND_ID,
    amount_of,
    say_no,
    show_breakdown,
    show_refund,
    with_facts,
)
from app.cli.screen import AsJson, heading, note, show_facts, show_json, show_table
from app.domain.refund import Money, RefundCommand, Status
from app.flows.preview import preview as preview_flow
from app.flows.results import Accepted, Quote, RefundNotFound
from app.flows.submit import submit
from app.ledger import events, search
from app.ledger import refunds as ledger_refunds
from app.ledger.records import Origin, RefundRecord

app = typer.Typer(no_args_is_help=True, help="Refunds, by the API's own rules.")
for run in (amend, delete):
    app.command(epilog=EXIT_CODES)(run)

_TIMELINE_LIMIT = 1_000
_VISIBLE = re.compile(r"[!-~]{1,255}")


@app.command(epilog=EXIT_CODES)
@verb
async def preview(
    tenant: TenantName,
    store: StoreOption,
    *,
    order: OrderId = None,
    order_number: OrderNumber = None,
    amount: Amount = None,
    currency: Currency = None,
    item: Items = None,
    shipping: Shipping = None,
    fees: Fees = None,
    remaining: Remaining = False,
    goodwill: Goodwill = None,
    payment: Payment = "gateway",
    restock: Restock = False,
    reason: Reason = "",
    reference: Reference = None,
    as_json: AsJson = False,
) -> None:
    """Say what a refund would be, without doing it."""
    command = read_command(
        item,
        store=store,
        order_id=order,
        order_number=order_number,
        amount=amount,
        currency=currency,
        shipping=shipping,
        fees=fees,
        remaining=remaining,
        goodwill=goodwill,
        payment=payment,
        restock=restock,
        reason=reason,
        external_reference=reference,
    )
    async with runtime(load_settings()) as rt:
        outcome = await preview_flow(rt, await caller_of(rt, tenant), command)
    if not isinstance(outcome, Quote):
        say_no(outcome, as_json=as_json)
    shown = preview_view(store, outcome)
    if as_json:
        show_json(shown)
        return
    show_facts(
        [
            ("order", f"{shown.order.id} (number {shown.order.number})"),
            ("refund", f"{shown.amount} {shown.currency}"),
            ("refundable", f"{shown.refundable.before} before, {shown.refundable.after} after"),
            ("payment", f"{shown.payment} ({CAPABILITIES[shown.capability]})"),
        ]
    )
    show_breakdown(shown.breakdown)
    for warning in shown.warnings:
        note(f"Note: {warning}")


@app.command(epilog=EXIT_CODES)
@verb
async def create(
    tenant: TenantName,
    store: StoreOption,
    *,
    order: OrderId = None,
    order_number: OrderNumber = None,
    amount: Amount = None,
    currency: Currency = None,
    item: Items = None,
    shipping: Shipping = None,
    fees: Fees = None,
    remaining: Remaining = False,
    goodwill: Goodwill = None,
    payment: Payment = "gateway",
    restock: Restock = False,
    reason: Reason = "",
    reference: Reference = None,
    idempotency_key: Annotated[
        str | None,
        typer.Option("--idempotency-key", help="Names this request: the same key never makes a second refund."),
    ] = None,
    wait: Annotated[
        float | None,
        typer.Option("--wait", min=0, help="Seconds to wait for the outcome.", show_default="the gateway's setting"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Carry a refund out, exactly once, and say what became of it.

    Exit code 5 means that the outcome is not known yet: repeat the same command with the same --reference or
    --idempotency-key, or look with `refund show`. It never pays twice.
    """
    command = read_command(
        item,
        store=store,
        order_id=order,
        order_number=order_number,
        amount=amount,
        currency=currency,
        shipping=shipping,
        fees=fees,
        remaining=remaining,
        goodwill=goodwill,
        payment=payment,
        restock=restock,
        reason=reason,
        external_reference=reference,
    )
    if idempotency_key is not None and _VISIBLE.fullmatch(idempotency_key) is None:
        raise Ended(Exit.USAGE, "--idempotency-key takes 1 to 255 visible ASCII characters.")
    settings = load_settings()
    # Always one, so that a command that breaks off can be repeated without fear.
    key = idempotency_key or f"cli-{ULID()}"
    wait_s = min(settings.default_wait_s if wait is None else wait, settings.max_wait_s)
    async with runtime(settings) as rt:
        caller = await caller_of(rt, tenant)
        try:
            outcome = await submit(
                rt,
                caller,
                command,
                idempotency_key=key,
                request_id=f"cli_{ULID()}",
                wait_s=wait_s,
                at_once=False,
            )
        except asyncio.CancelledError:
            raise Ended(Exit.NOT_KNOWN, f"Interrupted. {_repeat(command, key)}") from None
        except Exception as error:
            if expected(error) is None:
                traceback.print_exception(error)
            raise Ended(Exit.NOT_KNOWN, f"{one_line(error)}. {_repeat(command, key)}") from error
    if not isinstance(outcome, Accepted):
        say_no(outcome, as_json=as_json)
    record = outcome.record
    if as_json:
        show_json(refund_view(record))
    else:
        if outcome.replayed:
            note("This refund was there already; nothing new was done.")
        show_refund(record)
    _end_by_status(record, _repeat(command, key))


@app.command(epilog=EXIT_CODES)
@verb
async def show(
    tenant: TenantName,
    refund_id: Annotated[str, typer.Argument(metavar="ID", help="The refund's id, rf_….")],
    *,
    as_json: AsJson = False,
) -> None:
    """Show a refund with its timeline and the evidence behind its state."""
    async with ledger(load_settings()) as conn:
        owner = await find_tenant(conn, tenant)
        record = await ledger_refunds.find(conn, owner.id, refund_id) if REFUND_ID.fullmatch(refund_id) else None
        if record is None:
            say_no(RefundNotFound(refund_id=refund_id), as_json=as_json)
        timeline = await events.timeline(conn, owner.id, record.id, limit=_TIMELINE_LIMIT)
    if as_json:
        document = refund_view(record).model_dump(mode="json")
        show_json({**document, "events": [event_view(event) for event in timeline]})
        return
    show_refund(record)
    if record.evidence:
        heading("Evidence")
        show_table(
            ["at", "kind", "what was seen"],
            [(seen.at, seen.kind, with_facts(seen.text, seen.facts.items())) for seen in record.evidence],
            empty="",
        )
    heading("Timeline")
    show_table(
        ["at", "event", "by", "details"],
        [(event.at, event.type, event.actor, with_facts("", event.data.items())) for event in timeline],
        empty="Nothing has happened yet.",
    )


@app.command("list", epilog=EXIT_CODES)
@verb
async def list_(
    tenant: TenantName,
    *,
    store: Annotated[str | None, typer.Option("--store", help="Only this store's.")] = None,
    order: Annotated[str | None, typer.Option("--order", help="Only those of this order id.")] = None,
    status: Annotated[Status | None, typer.Option("--status", help="Only those in this state.")] = None,
    money: Annotated[Money | None, typer.Option("--money", help="Only those whose money is in this state.")] = None,
    reference: Annotated[str | None, typer.Option("--reference", help="Only the one with this reference.")] = None,
    origin: Annotated[
        Origin | None,
        typer.Option("--origin", help="api: only those asked of the gateway; store: only those that others made."),
    ] = None,
    deleted: Annotated[
        bool | None,
        typer.Option("--deleted/--not-deleted", help="Only those whose row in the store is gone, or is not."),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="Refunds at most.")] = 50,
    after: Annotated[str | None, typer.Option("--after", metavar="ID", help="Those older than this refund.")] = None,
    as_json: AsJson = False,
) -> None:
    """List refunds, newest first."""
    filters = search.RefundFilters(
        store=store,
        order_id=order,
        status=status,
        money=money,
        external_reference=reference,
        origin=origin,
        deleted=deleted,
    )
    async with ledger(load_settings()) as conn:
        owner = await find_tenant(conn, tenant)
        found = await search.page(conn, owner.id, filters, limit=limit + 1, after=after)
    records, more = found[:limit], len(found) > limit
    if as_json:
        cursor = records[-1].id if more else None
        show_json({"data": [refund_view(record) for record in records], "next_cursor": cursor})
        return
    show_table(
        ["id", "created", "store", "order", "amount", "status", "money", "origin", "reference"],
        [
            (
                record.id,
                record.created_at,
                record.store,
                record.order_number or record.order_id,
                amount_of(record),
                record.status,
                record.money,
                f"{record.origin}, deleted" if record.deleted_at else record.origin,
                record.external_reference,
            )
            for record in records
        ],
        empty="There is no such refund.",
    )
    if more:
        note(f"There are more: --after {records[-1].id}")


def _repeat(command: RefundCommand, key: str) -> str:
    name = f"--reference {command.external_reference}" if command.external_reference else f"--idempotency-key {key}"
    return f"The refund goes on if it was begun; repeat the command with {name} to learn the outcome."


def _end_by_status(record: RefundRecord, repeat: str) -> None:
    match record.status:
        case "succeeded":
            return
        case "failed" | "canceled":
            why = f": {record.failure.message}" if record.failure else "."
            raise Ended(Exit.REFUSED, f"The refund {record.id} is {record.status}{why}")
        case "needs_review":
            raise Ended(
                Exit.NOT_KNOWN,
                f"The refund {record.id} needs a person to look at the payment provider; see `refund show`.",
            )
        case "pending" | "sending" | "uncertain":
            raise Ended(Exit.NOT_KNOWN, f"The refund {record.id} is {record.status}. {repeat}")
        case _:
            assert_never(record.status)
