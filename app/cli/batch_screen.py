"""How verbs show batches, how they say no about them, and with what they end."""

from datetime import timedelta
from typing import Annotated, NoReturn

import typer
from ulid import ULID

from app.api.batch_views import BatchView, batch_problem, batch_view
from app.cli.ends import Ended, Exit
from app.cli.screen import heading, note, show_facts, show_json, show_table
from app.flows import batch_results as flow_results
from app.flows.batch_results import BatchNotFound, BatchWrongState
from app.flows.runtime import Runtime
from app.ledger import executors

BatchId = Annotated[str, typer.Argument(metavar="ID", help="The batch's id, bt_….")]

_WORKER_SEEN_WITHIN = timedelta(seconds=30)
_STOPPED_BY = {
    "failures": "too many items failed",
    "failure_share": "too large a share of the items failed",
    "max_total": "more would be paid than it may pay at most",
}


def say_no_of_batch(no: BatchNotFound | BatchWrongState, *, as_json: bool) -> NoReturn:
    """End the verb with a flow's "no"."""
    problem = batch_problem(no)
    if as_json:
        show_json(problem.document(request_id=f"cli_{ULID()}"))
    raise Ended(Exit.NOT_FOUND if isinstance(no, BatchNotFound) else Exit.REFUSED, problem.detail)


def known(found: flow_results.BatchView | BatchNotFound | BatchWrongState, *, as_json: bool) -> flow_results.BatchView:
    """Give a batch; ends the verb when there is none, or its status does not allow what was asked."""
    if not isinstance(found, flow_results.BatchView):
        say_no_of_batch(found, as_json=as_json)
    return found


def show_batch(batch: flow_results.BatchView, *, as_json: bool) -> None:
    """Show a batch with what its items come to."""
    shown = batch_view(batch)
    if as_json:
        show_json(shown)
        return
    limits = [f"{limit.taken} of {limit.max_total} {limit.currency}" for limit in shown.limits]
    show_facts(
        [
            ("batch", shown.id),
            ("name", shown.name),
            ("mode", "check: nothing is refunded" if shown.mode == "check" else shown.mode),
            ("status", shown.status if batch.stopped_by is None else f"stopped: {_STOPPED_BY[batch.stopped_by]}"),
            ("items", f"{shown.processed} of {shown.items} processed"),
            ("taken", ", ".join(limits)),
            ("stops after", shown.stop_after_failures and f"{shown.stop_after_failures} failures"),
            ("stops if over", shown.stop_if_over and f"{shown.stop_if_over} of the processed items failed"),
            ("rate", shown.rate_per_s and f"{shown.rate_per_s:g} per second"),
            ("ends about", shown.ends_at),
            ("not before", shown.start_at),
            ("release until", shown.release_until if shown.status == "held" else None),
            ("schedule", shown.schedule_id),
            ("by", shown.created_by),
            ("released by", shown.released_by),
            ("created", shown.created_at),
            ("started", shown.started_at),
            ("finished", shown.finished_at),
        ]
    )
    if shown.stores:
        heading("Items")
        show_table(
            ["store", "status", "items", "amount", "currency"],
            [(part.store, part.status, part.items, part.amount, part.currency) for part in shown.stores],
            empty="",
        )


def end_by_outcome(shown: BatchView) -> None:
    """End the verb well only if every item has succeeded."""
    counts = shown.counts
    unknown = counts.uncertain + counts.needs_review + counts.pending + counts.sending
    bad = counts.failed + counts.refused + counts.canceled + counts.dropped
    see = f"see `refund-gateway batch items {shown.id}`"
    if shown.status in ("canceled", "expired"):
        raise Ended(Exit.REFUSED, f"The batch {shown.id} is {shown.status}; {see}.")
    if shown.status != "finished":
        how = f"`refund-gateway batch resume {shown.id}` lets it go on"
        raise Ended(Exit.NOT_KNOWN, f"The batch {shown.id} is {shown.status}; {how}.")
    if unknown:
        raise Ended(Exit.NOT_KNOWN, f"The outcome of {unknown} of {shown.items} items is not known; {see}.")
    if bad:
        raise Ended(Exit.REFUSED, f"{bad} of {shown.items} items did not succeed; {see}.")


async def warn_without_worker(rt: Runtime) -> bool:
    """Tell a person when no process carries batches out; gives whether one does."""
    async with rt.database.reading() as conn:
        seen_at = await executors.worker_seen_at(conn)
    if seen_at is not None and rt.clock() - seen_at < _WORKER_SEEN_WITHIN:
        return True
    note("No worker is running, and the batch waits for one: start `refund-gateway worker` or `refund-gateway serve`.")
    return False
