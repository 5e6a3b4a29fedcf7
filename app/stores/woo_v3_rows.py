"""Single refunds over wc/v3: read and deleted under their order, and nowhere else."""

import asyncio

from app import outbound
from app.stores.answers import read_failure
from app.stores.calls import NotThere, StoreCalls
from app.stores.failures import leading, unreadable
from app.stores.gate import BreakerOpen
from app.stores.listing import by_our_clock
from app.stores.port import Deletion, ListedRefund, Priority, StoreMisconfigured, StoreUnavailable
from app.stores.reading import DP, JsonObject, Unreadable, is_id, mapping
from app.stores.woo_v3_facts import NO_ORDER, V3Facts
from app.stores.woo_v3_wire import REFUND_FIELDS, listed_refund

#: Not there, or there but under another order (HTTP 500 with data 404).
_NO_REFUND = NO_ORDER | {"woocommerce_rest_shop_order_refund_invalid_id", "woocommerce_rest_invalid_order_refund_id"}

#: Looks after a deletion whose answer was lost, with growing pauses: the store may still be at it.
LOOKS = 3
PAUSE_S = 0.15


class RefundRows:
    """A store's refunds, one by one."""

    def __init__(self, calls: StoreCalls, facts: V3Facts) -> None:
        """Read nothing yet."""
        self._calls = calls
        self._facts = facts

    async def read(
        self, order_id: str, refund_id: str, *, dp: int | None, priority: Priority = "interactive"
    ) -> ListedRefund | None:
        """Read a refund under its order, past caches; None when it is not there. Raises as the port says."""
        if not is_id(order_id) or not is_id(refund_id):
            return None
        fewer = dp is not None and dp < await self._facts.decimals(priority, order_id=order_id)
        try:
            async with asyncio.TaskGroup() as together:
                shown = together.create_task(
                    self._read(order_id, refund_id, {} if dp is None else {"dp": str(dp)}, priority)
                )
                beside = {"dp": str(DP), "_fields": REFUND_FIELDS}
                exact = together.create_task(self._read(order_id, refund_id, beside, priority)) if fewer else None
        except ExceptionGroup as group:
            raise leading(group) from group
        document = shown.result()
        if document is None:
            return None
        try:
            row = listed_refund(document, order_id=order_id, exact=None if exact is None else exact.result())
        except Unreadable as error:
            raise unreadable(error) from error
        if row.refund.id != refund_id:
            raise StoreUnavailable("The store answered with another refund than the one asked for.")
        return next(iter(by_our_clock([row], self._calls.clock_ahead)))

    async def _read(
        self, order_id: str, refund_id: str, params: dict[str, str], priority: Priority
    ) -> JsonObject | None:
        try:
            return mapping(
                await self._calls.get(
                    f"orders/{order_id}/refunds/{refund_id}",
                    params,
                    call="read_refund",
                    priority=priority,
                    verify=True,
                    absent=_NO_REFUND,
                ),
                "refund",
            )
        except NotThere:
            return None
        except Unreadable as error:
            raise unreadable(error) from error

    async def delete(self, order_id: str, refund_id: str) -> Deletion:
        """Delete a refund that is seen under its order; whatever comes back short of a clear yes is looked into."""
        if not is_id(order_id) or not is_id(refund_id) or not await self._is_there(order_id, refund_id):
            return "absent"
        looks, refusal = 1, None
        try:
            reply = await self._calls.write_once(
                "DELETE",
                f"orders/{order_id}/refunds/{refund_id}",
                {"force": "true"},
                call="delete_refund",
                priority="interactive",
            )
            value = None if reply.document is None else reply.document.value
            if reply.answer.status == 200 and isinstance(value, dict) and str(value.get("id")) == refund_id:
                return "deleted"
            refusal = read_failure(reply, secrets=self._calls.connection.secrets)
        except BreakerOpen as error:
            raise StoreUnavailable(str(error), retry_after_s=error.retry_after_s) from error
        except outbound.NotSent as error:
            raise StoreUnavailable(str(error)) from error
        except outbound.MaybeSent:
            looks = LOOKS
        for look in range(looks):
            await asyncio.sleep(PAUSE_S * look)
            if not await self._is_there(order_id, refund_id):
                return "deleted"
        if isinstance(refusal, StoreMisconfigured):
            raise refusal
        return "kept"

    async def _is_there(self, order_id: str, refund_id: str) -> bool:
        return await self._read(order_id, refund_id, {"_fields": "id"}, "interactive") is not None
