"""Reconciliations as people handle them: start, look, read what was found, sign off. `reconciling` does the work."""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from ulid import ULID

from app.database import Connection
from app.domain.reconciliation import LONGEST, DriftClass, NewReconciliation, ReconciliationStatus
from app.flows.content import request_fingerprint
from app.flows.results import Caller, KeyReused, StoreNotFound
from app.flows.runtime import Runtime
from app.ledger import keys, reconciliations, search
from app.ledger.reconciliations import Drift, Reconciliation, Total


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconciliationMade:
    """The reconciliation is there."""

    record: Reconciliation
    replayed: bool  #: it was there before this request, by its Idempotency-Key


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconciliationNotFound:
    """The tenant has no such reconciliation, or the key is limited to other stores."""

    reconciliation_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowRefused:
    """The time that is to be compared is none that can be."""

    bound: Literal["from", "to"]
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NotFinished:
    """The reconciliation has found nothing yet, or has failed."""

    record: Reconciliation


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedOffAlready:
    """Somebody has signed the report off before; it never changes again."""

    record: Reconciliation


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A reconciliation with its totals; those of one that is not finished are empty."""

    record: Reconciliation
    totals: tuple[Total, ...]


async def create(
    rt: Runtime, caller: Caller, new: NewReconciliation, *, idempotency_key: str | None
) -> ReconciliationMade | StoreNotFound | WindowRefused | KeyReused:
    """Take a reconciliation on; any worker carries it out."""
    async with rt.database.reading() as conn:
        opening = await search.opening(
            conn, caller.tenant_id, new.store, idempotency_key=idempotency_key, external_reference=None
        )
    store_id = opening.store_id
    if store_id is None or (caller.store_ids is not None and store_id not in caller.store_ids):
        return StoreNotFound(store=new.store)
    fingerprint = _fingerprint(new)
    if opening.key_fingerprint is None and (refused := _refused(new, opening.now)) is not None:
        return refused
    async with rt.database.transaction() as conn:
        reconciliation_id = _new_id()
        replayed = False
        if idempotency_key is not None:
            claimed = await keys.claim(conn, caller.tenant_id, idempotency_key, fingerprint, reconciliation_id)
            if not claimed.same:
                return KeyReused(resource_id=claimed.resource_id)
            reconciliation_id, replayed = claimed.resource_id, not claimed.first
        if not replayed:
            await _write(
                rt,
                conn,
                reconciliation_id,
                tenant_id=caller.tenant_id,
                store_id=store_id,
                new=new,
                created_by=caller.actor,
                schedule_id=None,
            )
        record = await reconciliations.find(conn, caller.tenant_id, reconciliation_id)
    assert record is not None
    return ReconciliationMade(record=record, replayed=replayed)


async def start(
    rt: Runtime,
    conn: Connection,
    *,
    tenant_id: str,
    store_id: str,
    from_: datetime,
    to: datetime,
    created_by: str,
    schedule_id: str | None = None,
) -> str:
    """Take a reconciliation on in the caller's transaction, with the job that carries it out; gives its id.

    `from_` (inclusive) and `to` (exclusive, not in the future) are aware UTC.
    """
    reconciliation_id = _new_id()
    new = NewReconciliation(store="", from_=from_, to=to)
    await _write(
        rt,
        conn,
        reconciliation_id,
        tenant_id=tenant_id,
        store_id=store_id,
        new=new,
        created_by=created_by,
        schedule_id=schedule_id,
    )
    return reconciliation_id


async def look(rt: Runtime, caller: Caller, reconciliation_id: str) -> Report | ReconciliationNotFound:
    """Give a reconciliation, how far it has come, and its totals once it is finished."""
    async with rt.database.reading() as conn:
        record = await reconciliations.find(conn, caller.tenant_id, reconciliation_id, store_ids=caller.store_ids)
        if record is None:
            return ReconciliationNotFound(reconciliation_id=reconciliation_id)
        found = await reconciliations.totals(conn, record.id) if record.status == "finished" else []
    return Report(record=record, totals=tuple(found))


async def report(rt: Runtime, caller: Caller, reconciliation_id: str) -> Report | ReconciliationNotFound | NotFinished:
    """Give a finished reconciliation with its totals."""
    found = await look(rt, caller, reconciliation_id)
    if isinstance(found, Report) and found.record.status != "finished":
        return NotFinished(record=found.record)
    return found


async def listed(
    rt: Runtime,
    caller: Caller,
    *,
    limit: int,
    after: str | None,
    store: str | None = None,
    status: ReconciliationStatus | None = None,
    schedule_id: str | None = None,
) -> list[Reconciliation]:
    """Give reconciliations, newest first, from behind the one named `after`."""
    async with rt.database.reading() as conn:
        return await reconciliations.page(
            conn,
            caller.tenant_id,
            limit=limit,
            after=after,
            store_ids=caller.store_ids,
            store=store,
            status=status,
            schedule_id=schedule_id,
        )


async def drifts(
    rt: Runtime, record: Reconciliation, *, limit: int, after: int | None, drift_class: DriftClass | None = None
) -> list[Drift]:
    """Give what a reconciliation has found, by class and then by time, from behind the drift `after`."""
    async with rt.database.reading() as conn:
        return await reconciliations.drifts(conn, record.id, limit=limit, after=after, drift_class=drift_class)


async def sign_off(
    rt: Runtime, caller: Caller, reconciliation_id: str, *, name: str, note: str
) -> Report | ReconciliationNotFound | NotFinished | SignedOffAlready:
    """Write down who has seen to what was found; once, and after that nothing of it ever changes.

    Asked again with the same name and note, it gives what was written down.
    """
    found = await report(rt, caller, reconciliation_id)
    if not isinstance(found, Report):
        return found
    async with rt.database.transaction() as conn:
        await reconciliations.sign_off(
            conn, caller.tenant_id, reconciliation_id, name=name, note=note, key=caller.actor
        )
        record = await reconciliations.find(conn, caller.tenant_id, reconciliation_id)
    assert record is not None
    if (record.signed_off_by, record.signed_off_note) != (name, note):
        return SignedOffAlready(record=record)
    return Report(record=record, totals=found.totals)


def _new_id() -> str:
    return f"rc_{ULID()}"


def _refused(new: NewReconciliation, now: datetime) -> WindowRefused | None:
    if new.from_ >= new.to:
        return WindowRefused(bound="to", message="It has to be after `from`.")
    if new.to - new.from_ > LONGEST:
        return WindowRefused(bound="from", message=f"At most {LONGEST.days} days are compared at a time.")
    if new.to > now:
        return WindowRefused(bound="to", message="It must not be in the future: what has not happened cannot differ.")
    return None


async def _write(
    rt: Runtime,
    conn: Connection,
    reconciliation_id: str,
    *,
    tenant_id: str,
    store_id: str,
    new: NewReconciliation,
    created_by: str,
    schedule_id: str | None,
) -> None:
    await reconciliations.insert(
        conn,
        id=reconciliation_id,
        tenant_id=tenant_id,
        store_id=store_id,
        from_at=new.from_,
        to_at=new.to,
        erp_entries=None if new.erp is None else len(new.erp),
        schedule_id=schedule_id,
        created_by=created_by,
    )
    if new.erp:
        await reconciliations.keep_entries(conn, reconciliation_id, new.erp)
    await nudge(rt, conn, reconciliation_id)


async def nudge(rt: Runtime, conn: Connection, reconciliation_id: str, *, at: datetime | None = None) -> None:
    """Have a worker carry a reconciliation on, not before `at`."""
    await rt.jobs.later(conn, "reconcile", {"reconciliation_id": reconciliation_id}, lock=reconciliation_id, at=at)


def _fingerprint(new: NewReconciliation) -> bytes:
    """Hash what is asked for; amounts count by value."""
    content = hashlib.sha256(f"{new.store}\0{new.from_.isoformat()}\0{new.to.isoformat()}\0".encode())
    content.update(b"no list" if new.erp is None else b"list")
    for entry in new.erp or ():
        parts = (entry.reference, entry.order, format(entry.amount.normalize(), "f"), entry.currency, entry.day)
        content.update(repr(tuple(str(part) for part in parts)).encode())
    return request_fingerprint("create_reconciliation", content.digest())
