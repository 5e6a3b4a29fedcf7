"""Taking in messages of other systems: kept at once, answered at once, and their refunds asked for by a worker."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, assert_never

import structlog
from ulid import ULID

from app.domain.errors import Fault, Refusal
from app.flows.results import (
    Accepted,
    AmbiguousOrderNumber,
    Caller,
    KeyReused,
    OrderBlocked,
    OrderChanged,
    QuoteRefused,
    ReferenceConflict,
    RequestInProgress,
    StoreFailed,
    StoreNotFound,
    Submission,
)
from app.flows.runtime import Runtime
from app.flows.submit import submit
from app.ledger import inbound
from app.ledger.inbound import Message, Outcome, Source

log = structlog.get_logger(__name__)

TASK = "take_in_message"
#: Keeps two workers from a message at the same time; a worker that dies frees it after this.
_LEASE = timedelta(seconds=15)
_LONGEST_WAIT = timedelta(minutes=10)
#: With the waits between them, about a day.
_ATTEMPTS_MAX = 150


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A message that was found to be its source's own."""

    dedupe_key: str
    headers: Mapping[str, str]  #: those that are kept; no signature and no secret among them
    body: bytes
    outcome: Outcome


async def receive(rt: Runtime, source: Source, arrival: Arrival) -> tuple[Message, bool]:
    """Keep a message, with the job that asks for its refund; says whether it is new or came before."""
    async with rt.database.transaction() as conn:
        kept, is_new = await inbound.add_message(
            conn,
            id=f"im_{ULID()}",
            source=source,
            dedupe_key=arrival.dedupe_key,
            headers=arrival.headers,
            body=arrival.body,
            outcome=arrival.outcome,
        )
        if is_new and kept.status == "received":
            await _nudge(rt, conn, kept.id)
    log.info("message.received", message_id=kept.id, source_id=source.id, status=kept.status, repeated=not is_new)
    return kept, is_new


async def replay(rt: Runtime, before: Message, outcome: Outcome) -> Message | None:
    """Let a failed or ignored message count as it is read today; None when its state has changed meanwhile."""
    async with rt.database.transaction() as conn:
        after = await inbound.read_anew(conn, before, outcome)
        if after is not None and after.status == "received":
            await _nudge(rt, conn, after.id)
    return after


async def _nudge(rt: Runtime, conn: Any, message_id: str) -> None:
    await rt.jobs.later(conn, TASK, {"message_id": message_id}, lock=message_id)


async def take_in(rt: Runtime, message_id: str) -> None:
    """Ask for the refund of a received message, and note what came of it; nothing if that is not due.

    The idempotency key is made of the message's id: however often this is cut off, there is one refund.
    """
    async with rt.database.committing() as conn:
        taken = await inbound.take(conn, message_id, lease=_LEASE)
        source = None if taken is None else await inbound.source_of(conn, taken.tenant_id, taken.source_id)
    if taken is None:
        return
    assert source is not None
    assert taken.command is not None
    if taken.attempts > _ATTEMPTS_MAX:
        failure = {"code": "given_up", "message": f"The message could not be taken in, {_ATTEMPTS_MAX} times over."}
        async with rt.database.committing() as conn:
            await inbound.fail(conn, taken, failure)
        log.error("message.given_up", message_id=taken.id, source_id=source.id)
        return
    submission = await submit(
        rt,
        caller_of(source),
        taken.command,
        idempotency_key=f"inbound:{taken.id}",
        request_id=taken.id,
        wait_s=0,
        at_once=True,
    )
    async with rt.database.committing() as conn:
        if isinstance(submission, Accepted):
            await inbound.accept(conn, taken, submission.record.id)
            outcome = "accepted"
        elif isinstance(submission, (RequestInProgress, OrderBlocked)):
            await inbound.postpone(conn, taken, wait=_pause(taken.attempts))
            outcome = "postponed"
        else:
            await inbound.fail(conn, taken, failure_of(submission))
            outcome = "failed"
    log.info("message.taken_in", message_id=taken.id, source_id=source.id, outcome=outcome, attempt=taken.attempts)


def _pause(attempts: int) -> timedelta:
    return min(timedelta(seconds=2 * 2 ** min(attempts, 10)), _LONGEST_WAIT)


def caller_of(source: Source) -> Caller:
    """Give the caller that a source's messages are."""
    return Caller(
        tenant_id=source.tenant_id,
        key_id=source.id,
        name=source.name,
        scopes=frozenset({"refunds:write"}),
        store_ids=source.store_ids,
    )


async def sweep(rt: Runtime) -> int:
    """Have messages taken in whose job died, or whose wait is over; gives how many those are."""
    async with rt.database.transaction() as conn:
        due = await inbound.due_messages(conn, limit=500)
        for message_id in due:
            await _nudge(rt, conn, message_id)
    return len(due)


async def tidy(rt: Runtime) -> None:
    """Forget the bodies of messages that are older than the settings keep them."""
    older_than = timedelta(days=rt.settings.inbound_retention_days)
    while True:
        async with rt.database.committing() as conn:
            if await inbound.forget_bodies(conn, older_than=older_than, limit=1_000) < 1_000:
                return


def fault_member(fault: Fault) -> Mapping[str, Any]:
    """Give a fault of the business as an entry of `errors`."""
    return {**fault.facts, "pointer": fault.pointer, "in": "refund", "code": fault.code, "message": fault.message}


def failure_of(no: Submission) -> Mapping[str, Any]:
    """Say a "no" as a message keeps it: a code, a sentence, and what a program may want to know."""
    match no:
        case Refusal():
            return {
                "code": no.code,
                "message": no.faults[0].message,
                "errors": [fault_member(fault) for fault in no.faults],
            }
        case StoreNotFound():
            return {"code": "store_not_found", "message": f"There is no store {no.store!r} that this source may use."}
        case KeyReused():
            return {
                "code": "idempotency_key_reused",
                "message": f"The message led to {no.resource_id} before, when it was read otherwise.",
                "refund_id": no.resource_id,
            }
        case ReferenceConflict():
            return {
                "code": "external_reference_conflict",
                "message": f"The external reference belongs to the refund {no.refund_id}, which differs in: "
                f"{', '.join(no.differing)}.",
                "refund_id": no.refund_id,
                "differing": list(no.differing),
            }
        case AmbiguousOrderNumber():
            return {
                "code": "ambiguous_order_number",
                "message": "Several orders carry this number.",
                "order_ids": list(no.order_ids),
            }
        case QuoteRefused() | StoreFailed():
            return {"code": no.code, "message": no.message}
        case OrderChanged():
            return {"code": "order_changed", "message": "The order has changed since the preview."}
        case RequestInProgress() | OrderBlocked():
            return {
                "code": "request_in_progress",
                "message": f"The refund {no.refund_id} is still under way.",
                "refund_id": no.refund_id,
            }
        case Accepted():
            raise AssertionError("an accepted refund is no failure")
        case _:
            assert_never(no)
