"""A WooCommerce store over the Legacy REST API, /wc-api/v3, of the plugin by that name."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import datetime

from app import outbound
from app.domain.errors import RefusalCode
from app.domain.order import OrderNote, OrderSnapshot
from app.domain.order_query import OrderPage, OrderQuery
from app.domain.refund import GatewayCapability, RefundPlan, StoreApi, StorePolicy
from app.domain.refund_query import RefundQuery
from app.outbound import Outbound
from app.stores.apis import LEGACY
from app.stores.calls import NotThere, StoreCalls
from app.stores.connection import StoreConnection, StoreLimits
from app.stores.failures import check_order_id, leading, order_not_found, unreadable
from app.stores.features import FeatureBook
from app.stores.gate import BreakerOpen, BreakerState
from app.stores.listing import dated
from app.stores.port import (
    Deletion,
    Exchange,
    Features,
    HealthReport,
    ListedRefund,
    NotSent,
    OrderNotFound,
    Priority,
    RawAnswer,
    RefundPage,
    Refused,
    StoreAnswer,
    StoreError,
    StoreMisconfigured,
    StoreUnavailable,
    StoreWebhook,
    Streamed,
    Unknown,
    Update,
)
from app.stores.reading import DP, JsonObject, Unreadable, id_of, is_id, mapping, rows, text_of
from app.stores.traffic import Observe
from app.stores.webhooks import WebhookRows
from app.stores.woo_legacy_answers import DECIMALS, classify
from app.stores.woo_legacy_facts import LegacyFacts, too_fine
from app.stores.woo_legacy_health import examine
from app.stores.woo_legacy_lists import NO_ORDER, LegacyLists
from app.stores.woo_legacy_order import ORDER_FIELDS, order_snapshot
from app.stores.woo_legacy_orders import LegacyOrderLists
from app.stores.woo_legacy_rows import LegacyRows
from app.stores.woo_legacy_wire import order_notes, refund_body

_PER_PAGE = 100
#: Orders are looked through by hundreds, newest first, for a number that is not an id.
_NUMBER_PAGES_MAX = 5


class WooLegacyStore:
    """Implements `port.Store`. One instance per store and process."""

    def __init__(
        self,
        connection: StoreConnection,
        lines: Outbound,
        *,
        limits: StoreLimits | None = None,
        policy: StorePolicy | None = None,
        observe: Observe | None = None,
    ) -> None:
        """Connect to nothing yet. `observe` hears of every exchange."""
        self._policy = policy or StorePolicy()
        self._calls = StoreCalls.to(connection, lines, LEGACY, limits or StoreLimits(), observe)
        self._facts = LegacyFacts(self._calls, self._policy)
        self._lists = LegacyLists(self._calls)
        self._orders = LegacyOrderLists(self._calls, self._facts)
        self._rows = LegacyRows(self._calls, self._lists)
        self._webhooks = WebhookRows(self._calls)
        self._features = FeatureBook(self._calls, used="legacy", policy=self._policy)

    @property
    def api(self) -> StoreApi:
        """Say which API the store is spoken to in."""
        return "legacy"

    @property
    def breaker_state(self) -> BreakerState:
        """Say whether requests reach the store at present."""
        return self._calls.breaker_state

    async def read_order(
        self, order_id: str, *, read_at: datetime, priority: Priority = "interactive", verify: bool = False
    ) -> OrderSnapshot:
        """Read an order and all its refunds, side by side.

        The order does not show its refunds' sum, so that nothing tells when the two were read in different states: what
        has been refunded goes by the refunds alone. Raises OrderNotFound, StoreUnavailable or StoreMisconfigured.
        """
        check_order_id(order_id)
        try:
            async with asyncio.TaskGroup() as together:
                together.create_task(self._facts.check_orders_are_seen(priority))
                index = together.create_task(self._facts.index(priority))
                order = together.create_task(self._order(order_id, priority, verify))
                refunds = together.create_task(self._lists.rows_of(order_id, priority=priority, verify=verify))
        except ExceptionGroup as group:
            failure = leading(group)
            if isinstance(failure, OrderNotFound):
                # Hidden orders answer like missing ones; a person has to be told why.
                await self._facts.check_orders_are_seen(priority)
            raise failure from group
        try:
            snapshot = order_snapshot(order.result(), refunds.result(), store=index.result(), read_at=read_at)
        except Unreadable as error:
            raise unreadable(error) from error
        if snapshot.decimals > DECIMALS:
            raise too_fine(snapshot.decimals)
        ahead = self._calls.clock_ahead
        return replace(snapshot, refunds=tuple(dated(refund, ahead) for refund in snapshot.refunds))

    async def _order(self, order_id: str, priority: Priority, fresh: bool) -> JsonObject:
        try:
            answer = await self._calls.get(
                f"orders/{order_id}",
                {"filter[dp]": str(DP), "fields": ORDER_FIELDS},
                call="read_order",
                priority=priority,
                verify=fresh,
                absent=NO_ORDER,
            )
            order = mapping(mapping(answer, "answer").get("order"), "order")
            if id_of(order.get("id"), "order.id") != order_id:
                raise StoreUnavailable("The store answered with another order than the one asked for.")
        except NotThere as error:
            raise order_not_found(error) from error
        except Unreadable as error:
            raise unreadable(error) from error
        return order

    async def find_order(self, order_number: str, *, priority: Priority = "interactive") -> tuple[str, ...]:
        """Give the ids of the orders whose number is exactly this one; usually one, () when there is none.

        The API cannot search for numbers: unless the order with that id bears it, the newest orders are looked through.
        Raises StoreUnavailable, also when there are more orders than that, or StoreMisconfigured.
        """
        number = order_number.strip()
        if not number:
            return ()
        try:
            if is_id(number) and await self._has_number(number, priority):
                return (number,)
            return await self._walk(number, priority)
        except Unreadable as error:
            raise unreadable(error) from error

    async def _has_number(self, number: str, priority: Priority) -> bool:
        try:
            answer = await self._calls.get(
                f"orders/{number}",
                {"fields": "id,order_number"},
                call="find_order",
                priority=priority,
                absent=NO_ORDER,
            )
        except NotThere:
            return False
        order = mapping(mapping(answer, "answer").get("order"), "order")
        return text_of(order.get("order_number"), "order.order_number") == number

    async def _walk(self, number: str, priority: Priority) -> tuple[str, ...]:
        found: set[str] = set()
        for page in range(1, _NUMBER_PAGES_MAX + 1):
            params = {"fields": "id,order_number", "filter[limit]": str(_PER_PAGE), "page": str(page)}
            answer = await self._calls.get("orders", params, call="find_order", priority=priority)
            orders = rows(mapping(answer, "answer").get("orders"), "orders")
            found |= {
                id_of(row.get("id"), "orders[].id")
                for row in orders
                if text_of(row.get("order_number"), "orders[].order_number") == number
            }
            if len(orders) < _PER_PAGE:
                return tuple(sorted(found, key=int))
        if found:
            return tuple(sorted(found, key=int))
        raise StoreUnavailable(
            f"None of the store's {_NUMBER_PAGES_MAX * _PER_PAGE} newest orders has that number, and its Legacy REST "
            "API cannot be searched for older ones; name the order by its id."
        )

    async def payment_capability(self, payment_method: str, *, priority: Priority = "interactive") -> GatewayCapability:
        """Say whether a payment method can refund. Never raises: `unprovable` instead, because no answer will tell."""
        return await self._facts.capability(payment_method, priority)

    async def refund(
        self,
        plan: RefundPlan,
        *,
        marker: str,
        request_id: str,
        priority: Priority = "interactive",
        send_by: float | None = None,
    ) -> StoreAnswer:
        """Send the refund exactly once, no retries, and classify the answer. Never raises for a store or a network.

        Nothing is sent where the answer could not be believed: hidden orders, and a payment method that is not known
        to refund.
        """
        started = time.monotonic()

        def exchange(text: str) -> Exchange:
            return Exchange(duration_ms=(time.monotonic() - started) * 1000, text=text)

        try:
            check_order_id(plan.order_id)
            obstacle = await self._obstacle(plan, priority)
            if obstacle is not None:
                code, message = obstacle
                return Refused(code=code, message=message, needs_look=False, exchange=exchange(message))
            reply = await self._calls.write_once(
                "POST",
                f"orders/{plan.order_id}/refunds",
                # Read from the query only, and "false" would be true (LS:341): 0 is the one word for no.
                {} if plan.payment == "gateway" else {"api_refund": "0"},
                refund_body(plan, marker=marker, marker_in_reason=self._policy.marker_in_reason),
                call="create_refund",
                priority=priority,
                request_id=request_id,
                send_by=send_by,
            )
        except BreakerOpen as error:
            return NotSent(message=str(error), retry_after_s=error.retry_after_s, exchange=exchange(str(error)))
        except (outbound.NotSent, StoreError) as error:
            return NotSent(message=str(error), retry_after_s=None, exchange=exchange(str(error)))
        except outbound.MaybeSent as error:
            return Unknown(message=str(error), turned_away=None, retry_after_s=None, exchange=exchange(str(error)))
        duration_ms = (time.monotonic() - started) * 1000
        return classify(reply, plan, duration_ms=duration_ms, secrets=self._calls.connection.secrets)

    async def _obstacle(self, plan: RefundPlan, priority: Priority) -> tuple[RefusalCode, str] | None:
        """Say why a refund must not be sent. Raises StoreUnavailable where the store could not be asked."""
        if plan.decimals > DECIMALS:
            return "store_misconfigured", str(too_fine(plan.decimals))
        try:
            await self._facts.check_orders_are_seen(priority)
        except StoreMisconfigured as error:
            return "store_misconfigured", str(error)
        if plan.payment != "gateway":
            return None
        capability = await self._facts.learn_capability(plan.payment_method, priority)
        if capability == "refunds":
            return None
        if capability in ("no_refunds", "missing"):
            why = "is no longer installed in the store" if capability == "missing" else "does not support refunds"
            return "gateway_cannot_refund", f"The order's payment gateway {why}; this store's answer would not say so."
        return (
            "gateway_support_unknown",
            "Nothing says whether the order's payment gateway can refund, and this store's answer would not either.",
        )

    async def read_refund(
        self, order_id: str, store_refund_id: str, *, dp: int | None = None, priority: Priority = "interactive"
    ) -> ListedRefund | None:
        """Read one refund under its order, past caches; None when it is not there or belongs to another order.

        Raises StoreUnavailable or StoreMisconfigured.
        """
        return await self._lists.one(order_id, store_refund_id, dp=dp, priority=priority)

    async def list_refunds(
        self, query: RefundQuery, *, order_id: str | None = None, priority: Priority = "interactive"
    ) -> RefundPage:
        """List the refunds of an order, or of all orders, newest first unless the query says otherwise.

        Raises OrderNotFound, ListTooLong, ListUnsupported, StoreUnavailable or StoreMisconfigured.
        """
        if order_id is None:
            return await self._lists.of_store(query)
        return await self._lists.of_order(order_id, query, priority=priority)

    async def delete_refund(self, order_id: str, store_refund_id: str) -> Deletion:
        """Delete a refund's row for good, once it was read under that order; no money comes back.

        Raises StoreUnavailable or StoreMisconfigured when that could not be done, and nothing is known.
        """
        return await self._rows.delete(order_id, store_refund_id)

    async def update_refund(self, order_id: str, store_refund_id: str, *, reason: str) -> Update:
        """Give a refund another reason; a marker in the old one stays.

        Raises StoreUnavailable or StoreMisconfigured.
        """
        return await self._rows.update(order_id, store_refund_id, reason=reason)

    async def list_orders(self, query: OrderQuery, *, page: int, priority: Priority = "background") -> OrderPage:
        """Read a page of the store's orders, oldest first; see `port.Store`."""
        return await self._orders.page(query, page=page, priority=priority)

    async def features(self) -> Features:
        """Find out what the store's APIs and payment methods can do, writing nothing; never raises."""
        return await self._features.read()

    async def read_raw(self, path: str, query: Sequence[tuple[str, str]]) -> RawAnswer:
        """Read a resource below /wc-api/v3/ as the store answers. Raises StoreUnavailable or StoreMisconfigured."""
        return await self._calls.read_raw(path, query)

    def stream(self, path: str, query: Sequence[tuple[str, str]]) -> AbstractAsyncContextManager[Streamed]:
        """Read like `read_raw`, with a body that is handed on as it comes."""
        return self._calls.stream(path, query)

    async def read_notes(self, order_id: str, *, priority: Priority = "background") -> tuple[OrderNote, ...]:
        """Read the order's notes, past every cache, oldest first. Raises as `read_order`."""
        check_order_id(order_id)
        try:
            answer = await self._calls.get(
                f"orders/{order_id}/notes",
                {},
                call="read_notes",
                priority=priority,
                verify=True,
                absent=NO_ORDER,
            )
            notes = order_notes(mapping(answer, "answer").get("order_notes"))
        except NotThere as error:
            raise order_not_found(error) from error
        except Unreadable as error:
            raise unreadable(error) from error
        ahead = self._calls.clock_ahead
        return tuple(replace(note, created_at=note.created_at - ahead) for note in notes)

    async def list_webhooks(self) -> tuple[StoreWebhook, ...]:
        """Read all webhooks of the store, whoever made them. Raises StoreUnavailable or StoreMisconfigured."""
        return await self._webhooks.read()

    async def put_webhook(
        self, topic: str, delivery_url: str, secret: str, *, webhook_id: str | None = None
    ) -> StoreWebhook:
        """Have the store send a topic somewhere, active and signed with the secret; `webhook_id` changes that one.

        Raises StoreUnavailable or StoreMisconfigured.
        """
        return await self._webhooks.put(topic, delivery_url, secret, webhook_id=webhook_id)

    async def check(self) -> HealthReport:
        """Look the store over without writing to it; never raises."""
        return await examine(self._calls, self._policy)
