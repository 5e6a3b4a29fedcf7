"""Changing single refunds over the Legacy REST API, once they were seen in their order's list."""

import asyncio
import re

from app import outbound
from app.domain.sight import MARKER_PATTERN
from app.stores.answers import Reply, read_failure
from app.stores.calls import StoreCalls
from app.stores.gate import BreakerOpen
from app.stores.port import Deletion, StoreMisconfigured, StoreUnavailable, Update
from app.stores.woo_legacy_lists import LegacyLists
from app.stores.woo_v3_rows import LOOKS, PAUSE_S
from app.stores.woo_v3_wire import marked_reason


class LegacyRows:
    """A store's refunds, one by one."""

    def __init__(self, calls: StoreCalls, lists: LegacyLists) -> None:
        """Change nothing yet."""
        self._calls = calls
        self._lists = lists

    async def delete(self, order_id: str, refund_id: str) -> Deletion:
        """Delete a refund that its order's list shows, and look whether it has gone."""
        if await self._lists.one(order_id, refund_id, dp=None) is None:
            return "absent"
        reply = await self._write("DELETE", order_id, refund_id)
        for look in range(LOOKS if reply is None else 1):
            await asyncio.sleep(PAUSE_S * look)
            if await self._lists.one(order_id, refund_id, dp=None) is None:
                return "deleted"
        self._raise_if_refused(reply)
        return "kept"

    async def update(self, order_id: str, refund_id: str, *, reason: str) -> Update:
        """Give a refund another reason and say what the list shows of it.

        Nothing but the reason is sent: an amount would be stored as it is, without any cap (LO:1743). A marker in the
        old reason stays, because recovery looks for it there.
        """
        before = await self._lists.one(order_id, refund_id, dp=None)
        if before is None:
            return "absent"
        marker = re.search(MARKER_PATTERN, before.refund.reason)
        if marker is not None and marker.group() not in reason:
            reason = marked_reason(reason, marker.group())
        reply = await self._write("PUT", order_id, refund_id, {"order_refund": {"reason": reason}})
        after = await self._lists.one(order_id, refund_id, dp=None)
        if after is None:
            return "absent"
        # WordPress drops backslashes.
        if after.refund.reason == reason.replace("\\", ""):
            return "shown"
        self._raise_if_refused(reply)
        value = None if reply is None or reply.document is None else reply.document.value
        if reply is not None and reply.answer.status == 200 and isinstance(value, dict) and "order_refund" in value:
            # The text it took is not the one it shows (LO:1736, refund-data-store-cpt.php:78).
            return "accepted"
        raise StoreUnavailable("Whether the store took the new reason is not known.")

    async def _write(self, method: str, order_id: str, refund_id: str, body: object = None) -> Reply | None:
        """Send a change once; None when its answer was lost. Raises when nothing was sent."""
        try:
            return await self._calls.write_once(
                "PUT" if method == "PUT" else "DELETE",
                f"orders/{order_id}/refunds/{refund_id}",
                {},
                body,
                call="update_refund" if method == "PUT" else "delete_refund",
                priority="interactive",
            )
        except BreakerOpen as error:
            raise StoreUnavailable(str(error), retry_after_s=error.retry_after_s) from error
        except outbound.NotSent as error:
            raise StoreUnavailable(str(error)) from error
        except outbound.MaybeSent:
            return None

    def _raise_if_refused(self, reply: Reply | None) -> None:
        failure = None if reply is None else read_failure(reply, secrets=self._calls.connection.secrets)
        if isinstance(failure, StoreMisconfigured):
            raise failure
