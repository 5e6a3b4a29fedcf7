"""`refund-gateway schedule`: refunds and reconciliations at set times."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from app.api.schedule_intake import to_new_schedule
from app.api.schedule_schemas import ScheduleBody
from app.api.schedule_views import run_view, schedule_view
from app.cli.access import TenantName, caller_of, load_settings, no_store, runtime
from app.cli.ends import EXIT_CODES, Ended, Exit, verb
from app.cli.screen import AsJson, note, show_facts, show_json, show_table
from app.flows import schedules
from app.flows.results import StoreNotFound
from app.flows.schedules import Opened, ScheduleFaulty, ScheduleMade, ScheduleNotFound

app = typer.Typer(
    no_args_is_help=True, help="Schedules: refunds of selected orders, and reconciliations, at set times."
)

ScheduleId = Annotated[str, typer.Argument(metavar="ID", help="The schedule's id, as `schedule list` shows it.")]
#: As many as anybody reads.
_SHOWN = 200


@app.command(epilog=EXIT_CODES)
@verb
async def add(
    tenant: TenantName,
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="The schedule as JSON, as POST /v1/schedules takes it; - for stdin.")
    ],
    *,
    as_json: AsJson = False,
) -> None:
    """Add a schedule."""
    new = to_new_schedule(_read(file))
    async with runtime(load_settings()) as rt:
        caller = await caller_of(rt, tenant)
        made = await schedules.create(rt, caller, new, idempotency_key=None, fingerprint=b"")
    match made:
        case ScheduleMade():
            _show(made.opened, as_json=as_json)
        case ScheduleFaulty():
            faults = " ".join(f"{fault.pointer.removeprefix('/')}: {fault.message}" for fault in made.faults)
            raise Ended(Exit.USAGE, faults)
        case StoreNotFound():
            raise no_store(tenant, made.store)
        case _:
            raise AssertionError("no key was given")


def _read(file: str) -> ScheduleBody:
    text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    try:
        return ScheduleBody.model_validate(json.loads(text))
    except ValidationError as error:
        faults = [
            f"{'/'.join(str(part) for part in fault['loc']) or 'the schedule'}: {fault['msg']}"
            for fault in error.errors(include_input=False)
        ]
        raise Ended(Exit.USAGE, f"The schedule is not right: {'; '.join(faults)}") from None
    except ValueError:
        raise Ended(Exit.USAGE, f"{file} is not JSON.") from None


@app.command("list", epilog=EXIT_CODES)
@verb
async def list_(tenant: TenantName, *, as_json: AsJson = False) -> None:
    """List a tenant's schedules, newest first."""
    async with runtime(load_settings()) as rt:
        caller = await caller_of(rt, tenant)
        found = await schedules.listed(rt, caller, store=None, kind=None, limit=_SHOWN, after=None)
    if as_json:
        show_json({"data": [schedule_view(one).model_dump(mode="json") for one in found]})
        return
    show_table(
        ["id", "name", "kind", "store", "cron", "time zone", "next run"],
        [
            (
                one.id,
                one.schedule.name,
                one.schedule.kind,
                one.schedule.store,
                one.schedule.cron,
                one.schedule.time_zone,
                "paused" if one.schedule.paused else one.schedule.next_at,
            )
            for one in found
        ],
        empty=f"The tenant {tenant} has no schedule yet.",
    )


@app.command(epilog=EXIT_CODES)
@verb
async def show(tenant: TenantName, schedule_id: ScheduleId, *, as_json: AsJson = False) -> None:
    """Show a schedule."""
    async with runtime(load_settings()) as rt:
        found = await schedules.look(rt, await caller_of(rt, tenant), schedule_id)
    _show(_there(tenant, found), as_json=as_json)


@app.command(epilog=EXIT_CODES)
@verb
async def runs(tenant: TenantName, schedule_id: ScheduleId, *, as_json: AsJson = False) -> None:
    """List what a schedule's runs came to, newest first."""
    async with runtime(load_settings()) as rt:
        found = await schedules.runs(rt, await caller_of(rt, tenant), schedule_id, limit=_SHOWN, after=None)
    if isinstance(found, ScheduleNotFound):
        raise _missing(tenant, schedule_id)
    if as_json:
        show_json({"data": [run_view(run).model_dump(mode="json") for run in found]})
        return
    show_table(
        ["id", "due", "status", "selected", "left out", "made"],
        [
            (
                run.id,
                run.due_at,
                run.status if run.failure is None else f"{run.status}: {run.failure.code}",
                run.selected,
                sum(run.left_out.values()),
                run.batch_id or run.reconciliation_id,
            )
            for run in found
        ],
        empty="The schedule has not run yet.",
    )


@app.command(epilog=EXIT_CODES)
@verb
async def pause(tenant: TenantName, schedule_id: ScheduleId, *, as_json: AsJson = False) -> None:
    """Have a schedule fire no more, until it is resumed."""
    async with runtime(load_settings()) as rt:
        found = await schedules.pause(rt, await caller_of(rt, tenant), schedule_id)
    _show(_there(tenant, found), as_json=as_json)


@app.command(epilog=EXIT_CODES)
@verb
async def resume(tenant: TenantName, schedule_id: ScheduleId, *, as_json: AsJson = False) -> None:
    """Have a paused schedule fire again, from its next time on."""
    async with runtime(load_settings()) as rt:
        found = await schedules.resume(rt, await caller_of(rt, tenant), schedule_id)
    if isinstance(found, ScheduleFaulty):
        raise Ended(Exit.REFUSED, " ".join(fault.message for fault in found.faults))
    _show(_there(tenant, found), as_json=as_json)


@app.command(epilog=EXIT_CODES)
@verb
async def remove(tenant: TenantName, schedule_id: ScheduleId, *, as_json: AsJson = False) -> None:
    """Delete a schedule for good; the batches of its runs stay, and go on."""
    async with runtime(load_settings()) as rt:
        found = _there(tenant, await schedules.delete(rt, await caller_of(rt, tenant), schedule_id))
    if as_json:
        show_json(_json(found))
    else:
        note(f"The schedule {schedule_id} is deleted.")


def _there(tenant: str, found: Opened | ScheduleNotFound) -> Opened:
    if isinstance(found, ScheduleNotFound):
        raise _missing(tenant, found.schedule_id)
    return found


def _missing(tenant: str, schedule_id: str) -> Ended:
    return Ended(
        Exit.NOT_FOUND,
        f"The tenant {tenant!r} has no schedule {schedule_id!r}; see `refund-gateway schedule list --tenant {tenant}`.",
    )


def _json(found: Opened) -> dict[str, Any]:
    return schedule_view(found).model_dump(mode="json")


def _show(found: Opened, *, as_json: bool) -> None:
    shown = _json(found)
    if as_json:
        show_json(shown)
        return
    show_facts(
        (name.replace("_", " "), json.dumps(value) if isinstance(value, dict) else value)
        for name, value in shown.items()
        if name != "object" and value not in ({}, False)
    )
