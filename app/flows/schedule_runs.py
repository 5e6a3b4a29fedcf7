"""The clock of schedules, and their runs.

Crash by crash: a time that has come is written as a run in the transaction that moves the schedule on, so that it fires
once however many processes look. A run selects its orders without writing anything; what it came to is one transaction:
the batch, the orders that the schedule has taken, and the run's end. Killed before that it starts over.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import assert_never

import structlog

from app.database import OUTAGES, Connection
from app.domain.batch import NewBatch, NewItem, Stops
from app.domain.refund import Failure
from app.domain.schedule import ReconciliationPlan, RefundsPlan
from app.flows import batches, cron, reconcile
from app.flows.results import Caller
from app.flows.runtime import Runtime
from app.flows.schedule_selection import Search, Selection, select
from app.flows.settle import Shop
from app.ledger import feed, schedule_runs, schedules
from app.ledger.schedule_runs import Result, Run
from app.ledger.schedules import Schedule
from app.stores.port import StoreError, StoreUnavailable

log = structlog.get_logger(__name__)

#: A time that passed longer ago was missed.
GRACE = timedelta(minutes=5)
#: Missed times that are made up for at most.
MADE_UP_FOR = 100
_FIRES_PER_TICK = 200
_RUNS_PER_TICK = 200
_DEFAULTS_PER_TICK = 500
_TRIES = 10
_FIRST_WAIT_S = 15.0
_LONGEST_WAIT_S = 1_800.0


class _StoreGone(Exception):
    """The schedule's store is not in use any more."""


class _TakenOver(Exception):
    """Another process works on the run, or has finished it."""


async def tick(rt: Runtime) -> int:
    """Fire every schedule whose time has come, and take up runs whose process died; gives how many have fired."""
    await _offer_defaults(rt)
    fired = 0
    passed_over: set[str] = set()
    while fired + len(passed_over) < _FIRES_PER_TICK and (found := await _fire_next(rt, passed_over)) is not None:
        fired += found not in passed_over
    async with rt.database.transaction() as conn:
        for run_id in await schedule_runs.open_runs(conn, limit=_RUNS_PER_TICK):
            await _nudge(rt, conn, run_id)
    return fired


async def _nudge(rt: Runtime, conn: Connection, run_id: str, *, at: datetime | None = None) -> None:
    await rt.jobs.later(conn, "run_schedule", {"run_id": run_id}, lock=run_id, at=at)


async def _fire_next(rt: Runtime, passed_over: set[str]) -> str | None:
    """Fire a schedule and name it; one that cannot be fired is noted as passed over. None when none is due."""
    async with rt.database.transaction() as conn:
        now = rt.clock()
        schedule = await schedules.take_due(conn, now=now, without=passed_over)
        if schedule is None:
            return None
        assert schedule.next_at is not None
        try:
            zone = cron.zone_of(schedule.time_zone)
        except cron.CronRefused:
            # Another machine's list of time zones had it. The time stays due until a machine that knows it comes by.
            log.error("schedule.zone_unknown", schedule_id=schedule.id, time_zone=schedule.time_zone)
            passed_over.add(schedule.id)
            return schedule.id
        due: deque[datetime] = deque(maxlen=MADE_UP_FOR)
        passed = 0
        for moment in cron.between(schedule.cron, zone, schedule.next_at, now):
            due.append(moment)
            passed += 1
        runs = _made_up_for(schedule, list(due), now)
        for moment in runs:
            run_id = await schedule_runs.insert(conn, schedule.id, moment)
            if run_id is not None:
                await _nudge(rt, conn, run_id)
        skipped = passed - len(runs)
        if skipped:
            last = max(moment for moment in due if moment not in runs) if len(due) > len(runs) else schedule.next_at
            await schedule_runs.skip(conn, schedule.id, last, stands_for=skipped)
        await schedules.advance(conn, schedule.id, cron.after(schedule.cron, zone, now))
    log.info("schedule.fired", schedule_id=schedule.id, store=schedule.store, runs=len(runs), skipped=skipped)
    return schedule.id


def _made_up_for(schedule: Schedule, due: list[datetime], now: datetime) -> list[datetime]:
    """Choose the times that the schedule is run for, of all that have passed since it last was."""
    match schedule.missed:
        case "all":
            return due
        case "last":
            return due[-1:]
        case "skip":
            return [moment for moment in due[-1:] if now - moment <= GRACE]
        case _:
            assert_never(schedule.missed)


async def _offer_defaults(rt: Runtime) -> None:
    """Give every store its nightly reconciliation, once: deleted, it does not come back."""
    expression, utc = rt.settings.reconciliation_cron.strip(), cron.zone_of("UTC")
    if expression in ("", "off"):
        return
    now = rt.clock()
    async with rt.database.reading() as conn:
        without = await schedules.stores_without_default(conn, limit=_DEFAULTS_PER_TICK)
    if not without:
        return
    try:
        cron.check(expression, utc, at=now)
    except cron.CronRefused as error:
        log.error("settings.reconciliation_cron_refused", why=str(error))
        return
    for store_id, tenant_id in without:
        default = Schedule(
            id=schedules.new_schedule_id(),
            tenant_id=tenant_id,
            store_id=store_id,
            store="",
            name="Nightly reconciliation",
            cron=expression,
            time_zone="UTC",
            plan=ReconciliationPlan(),
            customer_email=None,
            missed="last",
            paused=False,
            next_at=cron.after(expression, utc, now),
            is_default=True,
            created_by="gateway",
            created_at=now,
            updated_at=now,
        )
        async with rt.database.committing() as conn:
            await schedules.insert(conn, default)


async def run(rt: Runtime, run_id: str) -> None:
    """Carry a run out, unless another process does or its time has not come."""
    lease = timedelta(seconds=rt.settings.lease_s)
    async with rt.database.committing() as conn:
        begun = await schedule_runs.begin(conn, run_id, rt.executor_id, lease=lease)
    if begun is None:
        return
    this, schedule = begun
    try:
        if this.tries > _TRIES:
            raise StoreError("The run was begun again and again and never came to its end.")
        async with _leased(rt, run_id, lease):
            match schedule.plan:
                case RefundsPlan() as plan:
                    await _refund(rt, this, schedule, plan)
                case ReconciliationPlan() as plan:
                    await _reconcile(rt, this, schedule, plan)
                case _:
                    assert_never(schedule.plan)
    except _TakenOver:
        log.info("schedule.run_taken_over", run_id=run_id)
    except StoreUnavailable as error:
        if this.tries >= _TRIES:
            await _fail(rt, this, schedule, Failure(code=error.code, message=str(error)))
        else:
            await _put_off(rt, this, error)
    except StoreError as error:
        await _fail(rt, this, schedule, Failure(code=error.code, message=str(error)))
    except _StoreGone:
        await _fail(rt, this, schedule, Failure(code="store_not_found", message="The store is not in use any more."))


@asynccontextmanager
async def _leased(rt: Runtime, run_id: str, lease: timedelta) -> AsyncIterator[None]:
    """Keep the run's lease while it is worked on; losing it costs the work, and the end finds out."""

    async def stay() -> None:
        while True:
            await asyncio.sleep(lease.total_seconds() / 3)
            with suppress(*OUTAGES):
                async with rt.database.committing() as conn:
                    if not await schedule_runs.stay(conn, run_id, rt.executor_id, lease=lease):
                        return

    staying = asyncio.create_task(stay())
    try:
        yield
    finally:
        staying.cancel()
        await asyncio.gather(staying, return_exceptions=True)


async def open_shop(rt: Runtime, store_id: str) -> Shop:
    """Open a schedule's store; raises LookupError when it is not in use."""
    store, policy = await rt.stores.open(store_id)
    return Shop(store=store, policy=policy)


def opened(rt: Runtime, schedule_id: str, plan: RefundsPlan, customer_email: bytes | None) -> RefundsPlan:
    """Give a plan with its customer's e-mail."""
    if customer_email is None:
        return plan
    email = rt.sealer.open(customer_email, aad=schedule_id).decode()
    return replace(plan, selector=replace(plan.selector, customer_email=email))


async def _refund(rt: Runtime, this: Run, schedule: Schedule, plan: RefundsPlan) -> None:
    search = Search(
        schedule_id=schedule.id,
        store_id=schedule.store_id,
        store=schedule.store,
        plan=opened(rt, schedule.id, plan, schedule.customer_email),
        at=this.due_at,
    )
    try:
        shop = await open_shop(rt, schedule.store_id)
    except LookupError as error:
        raise _StoreGone from error
    found = await select(rt, shop, search, max_orders=plan.max_orders)
    async with rt.database.transaction() as conn:
        if await schedule_runs.is_deleted(conn, schedule.id):
            gone = Failure(code="schedule_deleted", message="The schedule was deleted while it was being run.")
            await _end(conn, schedule, this, gone, rt.executor_id)
            return
        # Under the schedule's lock: another run of it may have taken some of the orders meanwhile.
        taken = await schedule_runs.taken(conn, schedule.id, schedule.store_id, [pick.order_id for pick in found.picks])
        picks = [
            pick
            for pick in found.picks
            if pick.order_id not in taken
            or (taken[pick.order_id].is_free and taken[pick.order_id].used_up == pick.used_up)
        ]
        for pick in found.picks:
            if pick not in picks:
                found.left_out["taken"] += 1
                found.totals[pick.refund.currency.upper()] -= pick.refund.amount
        batch_id = None
        if picks:
            new = NewBatch(
                mode=plan.mode,
                items=tuple(NewItem(number=number, command=pick.command) for number, pick in enumerate(picks, start=1)),
                name=schedule.name,
                stops=Stops(max_total=plan.max_total),
                schedule_id=schedule.id,
            )
            batch_id = await batches.write(
                rt, conn, caller_of(schedule), new, request_id=this.id, created_by=f"schedule:{schedule.id}"
            )
            await schedule_runs.take(
                conn,
                schedule_id=schedule.id,
                store_id=schedule.store_id,
                run_id=this.id,
                batch_id=batch_id,
                orders=[(pick.order_id, pick.used_up) for pick in picks],
            )
        await _end(conn, schedule, this, _result(found, selected=len(picks), batch_id=batch_id), rt.executor_id)


def _result(found: Selection, *, selected: int, batch_id: str | None) -> Result:
    return Result(
        batch_id=batch_id,
        looked_at=found.looked_at,
        selected=selected,
        totals={currency: total for currency, total in found.totals.items() if total},
        left_out=found.left_out,
        cut_short=found.cut_short,
    )


def caller_of(schedule: Schedule) -> Caller:
    """Give who a schedule's refunds are made by: the schedule itself, in its own store and no other."""
    return Caller(
        tenant_id=schedule.tenant_id,
        key_id=schedule.id,
        name=schedule.name,
        scopes=frozenset({"refunds:read", "refunds:write"}),
        store_ids=frozenset({schedule.store_id}),
    )


async def _reconcile(rt: Runtime, this: Run, schedule: Schedule, plan: ReconciliationPlan) -> None:
    begin, end = plan.range(this.due_at, cron.zone_of(schedule.time_zone))
    async with rt.database.transaction() as conn:
        if await schedule_runs.is_deleted(conn, schedule.id):
            gone = Failure(code="schedule_deleted", message="The schedule was deleted while it was being run.")
            await _end(conn, schedule, this, gone, rt.executor_id)
            return
        reconciliation_id = await reconcile.start(
            rt,
            conn,
            tenant_id=schedule.tenant_id,
            store_id=schedule.store_id,
            from_=begin.astimezone(UTC),
            to=end.astimezone(UTC),
            created_by=f"schedule:{schedule.id}",
            schedule_id=schedule.id,
        )
        result = Result(reconciliation_id=reconciliation_id, totals={}, left_out={})
        await _end(conn, schedule, this, result, rt.executor_id)


async def _end(conn: Connection, schedule: Schedule, this: Run, how: Result | Failure, executor: str) -> None:
    """End the run in the caller's transaction, with its event. Raises _TakenOver, which undoes all of it."""
    facts = {"id": this.id, "object": "schedule_run", "schedule_id": schedule.id, "store": schedule.store}
    if isinstance(how, Failure):
        done = await schedule_runs.fail(conn, this.id, executor, how)
        event_type = "schedule.run_failed"
        more: dict[str, str | int | None] = {"failure_code": how.code}
    else:
        done = await schedule_runs.finish(conn, this.id, executor, how)
        event_type = "schedule.run_finished"
        more = {
            "batch_id": how.batch_id,
            "reconciliation_id": how.reconciliation_id,
            "looked_at": how.looked_at,
            "selected": how.selected,
        }
    if not done:
        raise _TakenOver
    await feed.append(
        conn,
        schedule.tenant_id,
        event_type=event_type,
        subject=schedule.id,
        data={**facts, "due_at": this.due_at.isoformat(), **more},
        store_id=schedule.store_id,
    )
    log.info(event_type, **facts, **more)


async def _fail(rt: Runtime, this: Run, schedule: Schedule, failure: Failure) -> None:
    with suppress(_TakenOver):
        async with rt.database.transaction() as conn:
            await _end(conn, schedule, this, failure, rt.executor_id)


async def _put_off(rt: Runtime, this: Run, error: StoreUnavailable) -> None:
    """Have the run taken up again when the store may be back."""
    wait_s = min(max(_FIRST_WAIT_S * 2 ** (this.tries - 1), error.retry_after_s or 0), _LONGEST_WAIT_S)
    async with rt.database.transaction() as conn:
        at = await schedule_runs.put_off(conn, this.id, rt.executor_id, by=timedelta(seconds=wait_s))
        if at is not None:
            await _nudge(rt, conn, this.id, at=at)
    log.info("schedule.run_put_off", run_id=this.id, tries=this.tries, wait_s=wait_s)
