"""Which outcomes were handed over, so that a repetition of an answered request is another refund."""

import asyncio

from app.flows.rejoin import told
from app.flows.runtime import Runtime
from app.ledger.records import RefundRecord

#: A note that takes longer than this has lost its database; the next request finds out by itself.
_PATIENCE_S = 5.0


class Deliveries:
    """Notes that outcomes were given; keeps the next request for an order from overtaking the note.

    A client that has its answer may send the same request again within a millisecond, and means another refund by it.
    """

    def __init__(self) -> None:
        """Start with nothing under way."""
        self._noting: dict[tuple[str, str], set[asyncio.Future[None]]] = {}

    async def note(self, rt: Runtime, record: RefundRecord) -> None:
        """Note that a refund's client was given its outcome."""
        order = (record.store_id, record.order_id or "")
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._noting.setdefault(order, set()).add(done)
        try:
            await told(rt, record)
        finally:
            done.set_result(None)
            under_way = self._noting[order]
            under_way.discard(done)
            if not under_way:
                del self._noting[order]

    async def quiet(self, order_id: str) -> None:
        """Wait until the answers given so far for orders of this id are noted."""
        under_way = [done for (_, order), all_of in self._noting.items() if order == order_id for done in all_of]
        if under_way:
            await asyncio.wait(under_way, timeout=_PATIENCE_S)
