"""What people do to refunds from the command line: amend their words, delete their rows in stores."""

from typing import Annotated, Any

import typer
from pydantic import ValidationError

from app.api.schemas import AmendBody, to_changes
from app.api.store_refund_views import amended_view, deletion_view
from app.cli.access import TenantName, caller_of, load_settings, runtime
from app.cli.ends import Ended, Exit, verb
from app.cli.refund_request import said_of
from app.cli.refund_screen import REFUND_ID, say_no, show_refund
from app.cli.screen import AsJson, note, show_json
from app.flows import remove
from app.flows.amend import amend as amend_flow
from app.flows.results import Amended, Deleted, RefundNotFound

RefundId = Annotated[str, typer.Argument(metavar="ID", help="The refund's id, rf_….")]

_IN_STORE = {
    "shown": "The store shows the new reason.",
    "accepted": "The store took the new reason, but goes on showing the old one.",
    "unsupported": "The store's API cannot change refunds; the new reason is kept here alone.",
    "absent": "The store has no row of this refund any more; the new reason is kept here alone.",
    "unreachable": "The store could not be told; the new reason is kept here alone.",
}


@verb
async def delete(
    tenant: TenantName,
    refund_id: RefundId,
    *,
    force: Annotated[
        bool,
        typer.Option("--force", help="Also when its payment gateway has paid; no money comes back by that."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Delete a refund's row in its store, for good. No money comes back; the ledger keeps the refund."""
    async with runtime(load_settings()) as rt:
        caller = await caller_of(rt, tenant)
        if REFUND_ID.fullmatch(refund_id) is None:
            say_no(RefundNotFound(refund_id=refund_id), as_json=as_json)
        outcome = await remove.delete(rt, caller, refund_id, force=force)
    if not isinstance(outcome, Deleted):
        say_no(outcome, as_json=as_json)
    shown = deletion_view(outcome)
    if as_json:
        show_json(shown)
    else:
        note(shown.detail)


@verb
async def amend(
    tenant: TenantName,
    refund_id: RefundId,
    *,
    reason: Annotated[
        str | None, typer.Option("--reason", help="A new reason; the store is told where its API can take it.")
    ] = None,
    reason_code: Annotated[
        str | None, typer.Option("--reason-code", help='A new reason code; "" takes it away.')
    ] = None,
    metadata: Annotated[
        list[str] | None,
        typer.Option("--metadata", metavar="NAME=TEXT", help="A pair to keep; once for each, replaces all."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Change a refund's reason, reason code or metadata; never its money."""
    document: dict[str, Any] = {}
    if reason is not None:
        document["reason"] = reason
    if reason_code is not None:
        document["reason_code"] = reason_code or None
    if metadata:
        document["metadata"] = dict(_pair(text) for text in metadata)
    try:
        changes = to_changes(AmendBody.model_validate(document))
    except ValidationError as error:
        raise Ended(Exit.USAGE, said_of(error)) from None
    async with runtime(load_settings()) as rt:
        caller = await caller_of(rt, tenant)
        if REFUND_ID.fullmatch(refund_id) is None:
            say_no(RefundNotFound(refund_id=refund_id), as_json=as_json)
        outcome = await amend_flow(rt, caller, refund_id, changes)
    if not isinstance(outcome, Amended):
        say_no(outcome, as_json=as_json)
    if as_json:
        show_json(amended_view(outcome))
        return
    show_refund(outcome.record)
    if outcome.in_store in _IN_STORE:
        note(_IN_STORE[outcome.in_store])


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise Ended(Exit.USAGE, f"--metadata {text!r} must look like rma=R-9.")
    return name, value
