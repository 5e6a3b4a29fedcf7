"""Messages on their way in, and read once more: understood here, kept and carried out by the flow."""

import asyncio
from collections.abc import Mapping

from app.api.inbound_mapping import understand
from app.flows import take_in
from app.flows.runtime import Runtime
from app.flows.take_in import Arrival
from app.ledger import inbound as ledger
from app.ledger.inbound import Message, Source

#: What is kept of a message's headers; none of them proves anything.
_KEPT_HEADERS = frozenset({"content-type", "user-agent", "webhook-id", "webhook-timestamp", "x-request-id"})
_LONGEST_HEADER = 500


class BodyForgotten(Exception):
    """The message's body is no longer kept, so that it cannot be read again."""


async def arrival_of(source: Source, headers: Mapping[str, str], body: bytes) -> Arrival:
    """Read a message, and say what is to be kept of it; `headers` have their names in lower case."""
    understood = await asyncio.to_thread(understand, source, headers, body)
    kept = _KEPT_HEADERS
    if source.dedupe is not None and "header" in source.dedupe:
        kept |= {str(source.dedupe["header"]).lower()}
    kept -= {str(source.verification.get("header", "")).lower()}
    return Arrival(
        dedupe_key=understood.dedupe_key,
        headers={name: value[:_LONGEST_HEADER] for name, value in headers.items() if name in kept},
        body=body,
        outcome=understood.outcome,
    )


async def read_anew(rt: Runtime, source: Source, before: Message) -> Message:
    """Read a failed or ignored message as its source is read today; any other is given as it is.

    Raises BodyForgotten.
    """
    if before.status in ("received", "accepted"):
        return before
    if before.body is None:
        raise BodyForgotten
    understood = await asyncio.to_thread(understand, source, before.headers, before.body)
    after = await take_in.replay(rt, before, understood.outcome)
    if after is not None:
        return after
    async with rt.database.reading() as conn:
        now = await ledger.message(conn, source.tenant_id, source.id, before.id)
    assert now is not None
    return now
