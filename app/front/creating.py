"""Carrying a refund out for a WooCommerce client, whichever API it speaks."""

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from starlette.background import BackgroundTask
from starlette.responses import Response

from app.database import OUTAGES
from app.domain.refund import FINAL
from app.flows import shop
from app.flows.rejoin import outcome_of
from app.flows.results import Accepted, OneListed, RequestInProgress
from app.flows.submit import submit
from app.front.answers import REFUND_HEADER, Admitted, answer, error_answer
from app.front.errors import WooError
from app.front.outcomes import lost, refused, unsuccessful
from app.front.v3_body import Parsed
from app.ledger.records import RefundRecord
from app.telemetry import log

_VISIBLE = re.compile(r"[!-~]{1,255}")


async def carry_out(turn: Admitted, parsed: Parsed) -> RefundRecord:
    """Take a refund on and give it as it is when it is settled, or when the key's wait is over.

    An identical request that nobody was given the outcome of is joined. Raises WooError when nothing was taken on, or
    when the database was lost and nobody can say whether anything was.
    """
    rt, asked = turn.rt, turn.asked
    key = asked.idempotency_key
    if key is not None and _VISIBLE.fullmatch(key) is None:
        raise WooError("invalid_key")
    wait_s = turn.who.front.wait_s
    if wait_s is None:
        wait_s = rt.settings.default_wait_s
    assert parsed.command.order_id is not None
    await turn.deliveries.quiet(parsed.command.order_id)
    try:
        return await _submitted(turn, parsed, wait_s=wait_s)
    except OUTAGES as error:
        # From the first commit on the refund is carried out, whatever becomes of this request.
        log.error("front.outcome_lost", request_id=turn.trace.request_id, error=str(error))
        raise lost(unknown_status=turn.who.front.unknown_status) from error


async def _submitted(turn: Admitted, parsed: Parsed, *, wait_s: float) -> RefundRecord:
    until = turn.rt.clock() + timedelta(seconds=wait_s)
    submission = await submit(
        turn.rt,
        turn.who.caller,
        parsed.command,
        idempotency_key=turn.asked.idempotency_key,
        request_id=turn.trace.request_id,
        wait_s=wait_s,
        at_once=False,
        via="front",
    )
    match submission:
        case Accepted():
            return submission.record
        case RequestInProgress():
            return await outcome_of(turn.rt, submission.refund_id, until=until)
        case _:
            raise refused(submission, parsed)


async def document_of(turn: Admitted, record: RefundRecord, *, dp: int | None) -> Mapping[str, Any]:
    """Give a refund that succeeded as its store shows it, or as the record has it when the store cannot be asked.

    Never raises for an outage: the refund is made, and its client has to be told.
    """
    if record.order_id is not None and record.store_refund_id is not None:
        try:
            found = await shop.read_refund(
                turn.rt, turn.who.caller, record.store, record.order_id, record.store_refund_id, dp=dp
            )
        except OUTAGES as error:
            log.warning("front.document_not_read", refund_id=record.id, error=str(error))
        else:
            if isinstance(found, OneListed):
                return found.listed.document
    return shop.document(record, dp)


async def created(
    turn: Admitted, record: RefundRecord, content: Any, headers: Mapping[str, str] | None = None
) -> Response:
    """Answer 201, and note once it has left that the client knows."""
    own = {**(headers or {}), REFUND_HEADER: record.id}
    return answer(turn.asked, content, status=201, headers=own, background=await _noting(turn, record))


async def not_created(turn: Admitted, record: RefundRecord) -> Response:
    """Answer that a refund failed or is not settled; only an outcome is noted as given."""
    error = unsuccessful(record, unknown_status=turn.who.front.unknown_status)
    response = error_answer(turn.asked, error)
    response.background = await _noting(turn, record)
    return response


async def _noting(turn: Admitted, record: RefundRecord) -> BackgroundTask | None:
    """Give what notes a settled outcome as told; nothing for a client that has gone and will ask again."""
    if record.status not in FINAL or record.told_at is not None or await turn.request.is_disconnected():
        return None
    return BackgroundTask(_note, turn, record)


async def _note(turn: Admitted, record: RefundRecord) -> None:
    try:
        await turn.deliveries.note(turn.rt, record)
    except OUTAGES as error:
        # Not noted: the same request again joins this refund, which errs on the side of paying once.
        log.error("front.outcome_not_noted", refund_id=record.id, error=str(error))
