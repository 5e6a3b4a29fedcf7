"""Schedules as people handle them: make, change, pause, run now, look ahead, delete. `schedule_runs` does the work."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal

from ulid import ULID

from app.domain.schedule import MissedRuns, Plan, ReconciliationPlan, RefundsPlan, ScheduleKind, Window
from app.flows import cron
from app.flows.results import Caller, KeyReused, StoreFailed, StoreNotFound
from app.flows.runtime import Runtime
from app.flows.schedule_runs import open_shop, opened
from app.flows.schedule_selection import Search, Selection, select
from app.ledger import keys, schedule_runs, schedules, tenants
from app.ledger.schedule_runs import Run
from app.ledger.schedules import Schedule
from app.ledger.tenants import StoreRow
from app.stores.port import StoreError, StoreUnavailable

#: Runs that a look ahead shows.
_AHEAD = 5
#: Orders that a look ahead goes through at most.
_LOOK_AT_MOST = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSchedule:
    """A schedule that is to be made, or what one is to become."""

    name: str
    store: str
    cron: str
    time_zone: str
    plan: Plan  #: with the customer's e-mail
    missed: MissedRuns = "last"
    paused: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleFault:
    """One thing that is wrong with a schedule."""

    pointer: str  #: JSON pointer into the request
    code: Literal["malformed_value", "out_of_range"]
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleFaulty:
    """Nothing was made or changed: every fault."""

    faults: tuple[ScheduleFault, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleNotFound:
    """The tenant has no such schedule, or the key is limited to other stores."""

    schedule_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A schedule with its plan whole: the customer's e-mail in its selector."""

    schedule: Schedule
    plan: Plan

    @property
    def id(self) -> str:
        """Name the schedule."""
        return self.schedule.id


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleMade:
    """The schedule is there."""

    opened: Opened
    replayed: bool  #: it was there before this request, by its Idempotency-Key


@dataclass(frozen=True, slots=True, kw_only=True)
class RunAsked:
    """The schedule is to be run now."""

    run: Run
    replayed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LookAhead:
    """When a schedule fires next, and what it would select if it did so now."""

    next_runs: tuple[datetime, ...]
    time_zone: str
    plan: Plan
    selection: Selection | None  #: None for a reconciliation
    ranges: tuple[tuple[datetime, datetime], ...] = field(default=())  #: of reconciliations, one for each of the runs


async def create(
    rt: Runtime, caller: Caller, new: NewSchedule, *, idempotency_key: str | None, fingerprint: bytes
) -> ScheduleMade | ScheduleFaulty | StoreNotFound | KeyReused:
    """Make a schedule. `fingerprint` is of the request's whole content."""
    if idempotency_key is not None:
        async with rt.database.reading() as conn:
            known = await keys.known(conn, caller.tenant_id, idempotency_key, fingerprint)
        if known is not None:
            return await _replayed(rt, caller, known)
    now = rt.clock()
    store = await _store(rt, caller, new.store)
    if store is None:
        return StoreNotFound(store=new.store)
    faults = _faults(new, store, now)
    if faults:
        return ScheduleFaulty(faults=faults)
    schedule_id = schedules.new_schedule_id()
    schedule = Schedule(
        id=schedule_id,
        tenant_id=caller.tenant_id,
        store_id=store.id,
        store=store.name,
        name=new.name,
        cron=new.cron,
        time_zone=new.time_zone,
        plan=new.plan,
        customer_email=_sealed(rt, schedule_id, new.plan),
        missed=new.missed,
        paused=new.paused,
        next_at=_next_at(new, now),
        is_default=False,
        created_by=caller.actor,
        created_at=now,
        updated_at=now,
    )
    async with rt.database.transaction() as conn:
        claimed = keys.Claimed(resource_id=schedule_id, first=True, same=True)
        if idempotency_key is not None:
            claimed = await keys.claim(conn, caller.tenant_id, idempotency_key, fingerprint, schedule_id)
        if claimed.first:
            await schedules.insert(conn, schedule)
    if not claimed.first:
        return await _replayed(rt, caller, claimed)
    made = await look(rt, caller, schedule_id)
    assert isinstance(made, Opened)
    return ScheduleMade(opened=made, replayed=False)


async def _replayed(rt: Runtime, caller: Caller, claimed: keys.Claimed) -> ScheduleMade | KeyReused:
    found = await look(rt, caller, claimed.resource_id) if claimed.same else None
    if not isinstance(found, Opened):
        return KeyReused(resource_id=claimed.resource_id)
    return ScheduleMade(opened=found, replayed=True)


async def _store(rt: Runtime, caller: Caller, name: str) -> StoreRow | None:
    async with rt.database.reading() as conn:
        row = await tenants.store_by_name(conn, caller.tenant_id, name)
    if row is None or row.disabled_at is not None or (caller.store_ids is not None and row.id not in caller.store_ids):
        return None
    return row


def _sealed(rt: Runtime, schedule_id: str, plan: Plan) -> bytes | None:
    email = plan.selector.customer_email if isinstance(plan, RefundsPlan) else None
    return None if email is None else rt.sealer.seal(email.encode(), aad=schedule_id)


def _next_at(new: NewSchedule, now: datetime) -> datetime | None:
    return None if new.paused else cron.after(new.cron, cron.zone_of(new.time_zone), now)


def _faults(new: NewSchedule, store: StoreRow, now: datetime) -> tuple[ScheduleFault, ...]:
    """Find what a form alone does not show to be wrong."""
    found = _faults_of_times(new.cron, new.time_zone, now)
    if isinstance(new.plan, RefundsPlan):
        found += _selector_faults(new.plan, store)
    return tuple(found)


def _faults_of_times(expression: str, time_zone: str, now: datetime) -> list[ScheduleFault]:
    found: list[ScheduleFault] = []
    try:
        zone = cron.zone_of(time_zone)
    except cron.CronRefused as error:
        found.append(ScheduleFault(pointer="/time_zone", code="malformed_value", message=str(error)))
        zone = cron.zone_of("UTC")
    try:
        cron.check(expression, zone, at=now)
    except cron.CronRefused as error:
        found.append(ScheduleFault(pointer="/cron", code="malformed_value", message=str(error)))
    return found


def _selector_faults(plan: RefundsPlan, store: StoreRow) -> list[ScheduleFault]:
    found: list[ScheduleFault] = []
    selector = plan.selector
    for name in ("created", "paid", "completed", "modified"):
        window: Window | None = getattr(selector, name)
        if window is not None and window.is_empty:
            found.append(
                ScheduleFault(
                    pointer=f"/selector/{name}",
                    code="out_of_range",
                    message="No time is both older and newer than that: older_than has to be the shorter one.",
                )
            )
    if selector.min_total is not None and selector.max_total is not None and selector.min_total > selector.max_total:
        found.append(
            ScheduleFault(
                pointer="/selector/total", code="out_of_range", message="The least total is above the greatest one."
            )
        )
    if selector.paid is not None and store.api == "legacy":
        found.append(
            ScheduleFault(
                pointer="/selector/paid",
                code="malformed_value",
                message="This store's Legacy REST API does not show when an order was paid: select by created or "
                "completed.",
            )
        )
    return found


async def look(rt: Runtime, caller: Caller, schedule_id: str) -> Opened | ScheduleNotFound:
    """Give a schedule."""
    async with rt.database.reading() as conn:
        found = await schedules.find(conn, caller.tenant_id, schedule_id, store_ids=caller.store_ids)
    return ScheduleNotFound(schedule_id=schedule_id) if found is None else _opened(rt, found)


def _opened(rt: Runtime, schedule: Schedule) -> Opened:
    plan = schedule.plan
    if isinstance(plan, RefundsPlan):
        plan = opened(rt, schedule.id, plan, schedule.customer_email)
    return Opened(schedule=schedule, plan=plan)


async def listed(
    rt: Runtime, caller: Caller, *, store: str | None, kind: ScheduleKind | None, limit: int, after: str | None
) -> list[Opened]:
    """Give schedules, newest first, from behind the schedule `after`."""
    async with rt.database.reading() as conn:
        found = await schedules.page(
            conn, caller.tenant_id, store_ids=caller.store_ids, store=store, kind=kind, limit=limit, after=after
        )
    return [_opened(rt, schedule) for schedule in found]


async def runs(
    rt: Runtime, caller: Caller, schedule_id: str, *, limit: int, after: str | None
) -> list[Run] | ScheduleNotFound:
    """Give a schedule's runs, newest first, from behind the run `after`."""
    async with rt.database.reading() as conn:
        if await schedules.find(conn, caller.tenant_id, schedule_id, store_ids=caller.store_ids) is None:
            return ScheduleNotFound(schedule_id=schedule_id)
        return await schedule_runs.page(conn, schedule_id, limit=limit, after=after)


async def change(
    rt: Runtime, caller: Caller, schedule_id: str, rewrite: Callable[[Opened], NewSchedule]
) -> Opened | ScheduleNotFound | ScheduleFaulty:
    """Change a schedule under its lock to what `rewrite` makes of it; of its store and kind nothing changes.

    What `rewrite` raises leaves it as it is. Its next time is counted from now on when its times change.
    """
    now = rt.clock()
    async with rt.database.transaction() as conn:
        found = await schedules.find(conn, caller.tenant_id, schedule_id, store_ids=caller.store_ids, lock=True)
        if found is None:
            return ScheduleNotFound(schedule_id=schedule_id)
        store = await tenants.store_by_id(conn, found.store_id)
        assert store is not None
        new = rewrite(_opened(rt, found))
        faults = _faults(new, store, now)
        if faults:
            return ScheduleFaulty(faults=faults)
        same_times = (new.cron, new.time_zone, new.paused) == (found.cron, found.time_zone, found.paused)
        changed = replace(
            found,
            name=new.name,
            cron=new.cron,
            time_zone=new.time_zone,
            plan=new.plan,
            customer_email=_sealed(rt, schedule_id, new.plan),
            missed=new.missed,
            paused=new.paused,
            next_at=found.next_at if same_times else _next_at(new, now),
        )
        await schedules.change(conn, changed)
    return await look(rt, caller, schedule_id)


async def pause(rt: Runtime, caller: Caller, schedule_id: str) -> Opened | ScheduleNotFound:
    """Have a schedule fire no more; runs that have begun come to their end."""
    async with rt.database.transaction() as conn:
        found = await schedules.find(conn, caller.tenant_id, schedule_id, store_ids=caller.store_ids, lock=True)
        if found is None:
            return ScheduleNotFound(schedule_id=schedule_id)
        if not found.paused:
            await schedules.change(conn, replace(found, paused=True, next_at=None))
    return await look(rt, caller, schedule_id)


async def resume(rt: Runtime, caller: Caller, schedule_id: str) -> Opened | ScheduleNotFound | ScheduleFaulty:
    """Have a schedule fire again, from its next time on: what passed while it was paused is not made up for."""
    async with rt.database.transaction() as conn:
        found = await schedules.find(conn, caller.tenant_id, schedule_id, store_ids=caller.store_ids, lock=True)
        if found is None:
            return ScheduleNotFound(schedule_id=schedule_id)
        if found.paused:
            now = rt.clock()
            faults = _faults_of_times(found.cron, found.time_zone, now)
            if faults:
                # What this machine's list of time zones had when it was made.
                return ScheduleFaulty(faults=tuple(faults))
            next_at = cron.after(found.cron, cron.zone_of(found.time_zone), now)
            await schedules.change(conn, replace(found, paused=False, next_at=next_at))
    return await look(rt, caller, schedule_id)


async def delete(rt: Runtime, caller: Caller, schedule_id: str) -> Opened | ScheduleNotFound:
    """Take a schedule away for good and give it as it was; its batches stay, and go on."""
    async with rt.database.transaction() as conn:
        found = await schedules.find(conn, caller.tenant_id, schedule_id, store_ids=caller.store_ids, lock=True)
        if found is None:
            return ScheduleNotFound(schedule_id=schedule_id)
        await schedules.delete(conn, schedule_id)
    return _opened(rt, found)


async def run_now(
    rt: Runtime, caller: Caller, schedule_id: str, *, idempotency_key: str | None, fingerprint: bytes
) -> RunAsked | ScheduleNotFound | KeyReused:
    """Have a schedule run now beside its times, paused or not."""
    async with rt.database.transaction() as conn:
        found = await schedules.find(conn, caller.tenant_id, schedule_id, store_ids=caller.store_ids, lock=True)
        if found is None:
            return ScheduleNotFound(schedule_id=schedule_id)
        run_id = f"sr_{ULID()}"
        claimed = keys.Claimed(resource_id=run_id, first=True, same=True)
        if idempotency_key is not None:
            claimed = await keys.claim(conn, caller.tenant_id, idempotency_key, fingerprint, run_id)
        if not claimed.same:
            return KeyReused(resource_id=claimed.resource_id)
        if claimed.first:
            await schedule_runs.insert(conn, schedule_id, rt.clock(), asked_by=caller.actor, run_id=run_id)
            await rt.jobs.later(conn, "run_schedule", {"run_id": run_id}, lock=run_id)
        run = await schedule_runs.find(conn, claimed.resource_id)
    assert run is not None
    return RunAsked(run=run, replayed=not claimed.first)


async def look_ahead(
    rt: Runtime, caller: Caller, new: NewSchedule, *, limit: int, schedule_id: str = "preview"
) -> LookAhead | ScheduleFaulty | StoreNotFound | StoreFailed:
    """Say when a schedule fires next and what a run would select now, creating nothing.

    At most `limit` orders are selected, and as many shown of those that are left out.
    """
    now = rt.clock()
    store = await _store(rt, caller, new.store)
    if store is None:
        return StoreNotFound(store=new.store)
    faults = _faults(new, store, now)
    if faults:
        return ScheduleFaulty(faults=faults)
    zone = cron.zone_of(new.time_zone)
    next_runs = tuple(cron.upcoming(new.cron, zone, now, count=_AHEAD))
    plan = new.plan
    if isinstance(plan, ReconciliationPlan):
        ranges = tuple(plan.range(at, zone) for at in next_runs)
        return LookAhead(next_runs=next_runs, time_zone=new.time_zone, plan=plan, selection=None, ranges=ranges)
    search = Search(schedule_id=schedule_id, store_id=store.id, store=store.name, plan=plan, at=now)
    try:
        shop = await open_shop(rt, store.id)
        selection = await select(
            rt,
            shop,
            search,
            max_orders=min(limit, plan.max_orders),
            look_at_most=_LOOK_AT_MOST,
            examples=limit,
        )
    except LookupError:
        return StoreNotFound(store=new.store)
    except StoreUnavailable as error:
        return StoreFailed(code=error.code, message=str(error), retry_after_s=error.retry_after_s)
    except StoreError as error:
        return StoreFailed(code=error.code, message=str(error))
    return LookAhead(next_runs=next_runs, time_zone=new.time_zone, plan=plan, selection=selection)


def as_new(found: Opened) -> NewSchedule:
    """Give a schedule as a request for it would be."""
    schedule = found.schedule
    return NewSchedule(
        name=schedule.name,
        store=schedule.store,
        cron=schedule.cron,
        time_zone=schedule.time_zone,
        plan=found.plan,
        missed=schedule.missed,
        paused=schedule.paused,
    )
