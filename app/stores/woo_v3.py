"""A WooCommerce store over its REST API v3."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import datetime

from app import outbound
from app.domain.order import OrderNote, OrderSnapshot, StoreRefund
from app.domain.order_query import OrderPage, OrderQuery
from app.domain.refund import GatewayCapability, RefundPlan, StoreApi, StorePolicy
from app.domain.refund_query import RefundQuery
from app.outbound import Outbound
from app.stores.apis import V3
from app.stores.calls import NotThere, StoreCalls
from app.stores.connection import StoreConnection, StoreLimits
from app.stores.failures import check_order_id, leading, order_not_found, unreadable
from app.stores.features import FeatureBook
from app.stores.gate import BreakerOpen, BreakerState
from app.stores.health import examine
from app.stores.listing import dated
from app.stores.port import (
    Deletion,
    Exchange,
    Features,
    HealthReport,
    ListedRefund,
    NotSent,
    Priority,
    RawAnswer,
    RefundPage,
    StoreAnswer,
    StoreError,
    StoreUnavailable,
    StoreWebhook,
    Streamed,
    Unknown,
    Update,
)
from app.stores.reading import DP, Unreadable, id_of, is_id, mapping, rows, text_of
from app.stores.traffic import Observe
from app.stores.webhooks import WebhookRows
from app.stores.woo_v3_answers import classify
from app.stores.woo_v3_facts import NO_ORDER, V3Facts
from app.stores.woo_v3_lists import RefundLists
from app.stores.woo_v3_orders import OrderLists
from app.stores.woo_v3_rows import RefundRows
from app.stores.woo_v3_wire import (
    NOTE_FIELDS,
    ORDER_FIELDS,
    REFUND_FIELDS,
    order_notes,
    order_snapshot,
    refund_body,
    refund_sums,
    store_refund,
)

_PER_PAGE = 100  #: WooCommerce's most
_PAGES_MAX = 20
_READS_MAX = 4
_SETTLE_S = 0.15


class WooV3Store:
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
        self._connection = connection
        self._policy = policy or StorePolicy()
        self._calls = StoreCalls.to(connection, lines, V3, limits or StoreLimits(), observe)
        self._facts = V3Facts(self._calls, self._policy)
        self._lists = RefundLists(self._calls, self._facts)
        self._orders = OrderLists(self._calls)
        self._rows = RefundRows(self._calls, self._facts)
        self._webhooks = WebhookRows(self._calls)
        self._features = FeatureBook(self._calls, used="v3", policy=self._policy)

    @property
    def api(self) -> StoreApi:
        """Say which API the store is spoken to in."""
        return "v3"

    @property
    def breaker_state(self) -> BreakerState:
        """Say whether requests reach the store at present."""
        return self._calls.breaker_state

    async def read_order(
        self, order_id: str, *, read_at: datetime, priority: Priority = "interactive", verify: bool = False
    ) -> OrderSnapshot:
        """Read an order and all its refunds, side by side; again when their sums disagree.

        They disagree for a moment while a refund is being created or deleted, and for longer behind a cache, so every
        further reading gets past caches. In the background the order is read first, past caches, and its refunds only
        if it has any: a batch leaves the store with a third of its requests less. Raises OrderNotFound,
        StoreUnavailable or StoreMisconfigured.
        """
        check_order_id(order_id)
        if priority == "background" and not verify:
            order = await self._order(order_id, priority, fresh=True)
            try:
                if not refund_sums(order):
                    decimals = await self._facts.decimals(priority, order_id=order_id)
                    return order_snapshot(order, [], store_decimals=decimals, read_at=read_at)
            except Unreadable as error:
                raise unreadable(error) from error
        for reading in range(_READS_MAX):
            if reading:
                await asyncio.sleep(_SETTLE_S * 2**reading)
            fresh = verify or reading > 0
            try:
                async with asyncio.TaskGroup() as together:
                    order_read = together.create_task(self._order(order_id, priority, fresh))
                    refunds_read = together.create_task(self._refunds(order_id, priority, fresh))
                    decimals_read = together.create_task(self._facts.decimals(priority, order_id=order_id))
            except ExceptionGroup as group:
                raise leading(group) from group
            order, refunds = order_read.result(), refunds_read.result()
            try:
                if refund_sums(order) == {refund.id: refund.amount for refund in refunds}:
                    refunds = [dated(refund, self._calls.clock_ahead) for refund in refunds]
                    return order_snapshot(order, refunds, store_decimals=decimals_read.result(), read_at=read_at)
            except Unreadable as error:
                raise unreadable(error) from error
        raise StoreUnavailable(
            "The store keeps showing the order and its refunds in different states.", retry_after_s=2.0
        )

    async def _order(self, order_id: str, priority: Priority, fresh: bool) -> object:
        try:
            order = await self._calls.get(
                f"orders/{order_id}",
                {"dp": str(DP), "_fields": ORDER_FIELDS},
                call="read_order",
                priority=priority,
                verify=fresh,
                absent=NO_ORDER,
            )
            if id_of(mapping(order, "order").get("id"), "order.id") != order_id:
                raise StoreUnavailable("The store answered with another order than the one asked for.")
        except NotThere as error:
            raise order_not_found(error) from error
        except Unreadable as error:
            raise unreadable(error) from error
        return order

    async def _refunds(self, order_id: str, priority: Priority, fresh: bool) -> list[StoreRefund]:
        """Read every page of an order's refunds, in the order of their ids so that a new one shifts no page."""
        found: dict[str, StoreRefund] = {}
        try:
            for page in range(1, _PAGES_MAX + 1):
                listed = await self._calls.get(
                    f"orders/{order_id}/refunds",
                    {
                        "dp": str(DP),
                        "per_page": str(_PER_PAGE),
                        "page": str(page),
                        "orderby": "id",
                        "order": "asc",
                        "_fields": REFUND_FIELDS,
                    },
                    call="list_refunds",
                    priority=priority,
                    verify=fresh,
                    absent=NO_ORDER,
                )
                on_page = [store_refund(row) for row in rows(listed, "refunds")]
                found |= {refund.id: refund for refund in on_page}
                if len(on_page) < _PER_PAGE:
                    return list(found.values())
        except NotThere as error:
            raise order_not_found(error) from error
        except Unreadable as error:
            raise unreadable(error) from error
        raise StoreUnavailable(f"The order has more than {_PER_PAGE * _PAGES_MAX} refunds.")

    async def find_order(self, order_number: str, *, priority: Priority = "interactive") -> tuple[str, ...]:
        """Give the ids of the orders whose number is exactly this one; usually one, () when there is none.

        Plugins give orders numbers of their own, so the order with that id counts only if it shows that number.
        Raises StoreUnavailable or StoreMisconfigured.
        """
        if not order_number.strip():
            return ()
        try:
            async with asyncio.TaskGroup() as together:
                by_search = together.create_task(self._search(order_number, priority))
                by_id = together.create_task(self._numbered(order_number, priority))
        except ExceptionGroup as group:
            raise leading(group) from group
        return tuple(sorted(by_search.result() | by_id.result(), key=int))

    async def _search(self, number: str, priority: Priority) -> set[str]:
        found: set[str] = set()
        try:
            for page in range(1, _PAGES_MAX + 1):
                params = {"search": number, "per_page": str(_PER_PAGE), "page": str(page), "_fields": "id,number"}
                listed = rows(await self._calls.get("orders", params, call="find_order", priority=priority), "orders")
                found |= {
                    id_of(row.get("id"), "orders[].id")
                    for row in listed
                    if text_of(row.get("number"), "orders[].number") == number
                }
                if len(listed) < _PER_PAGE:
                    return found
        except Unreadable as error:
            raise unreadable(error) from error
        raise StoreUnavailable("Too many orders match that number; name the order by its id.")

    async def _numbered(self, number: str, priority: Priority) -> set[str]:
        if not is_id(number):
            return set()
        try:
            order = mapping(
                await self._calls.get(
                    f"orders/{number}",
                    {"_fields": "id,number"},
                    call="find_order",
                    priority=priority,
                    absent=NO_ORDER,
                ),
                "order",
            )
            same = text_of(order.get("number"), "order.number") == number
            return {id_of(order.get("id"), "order.id")} if same else set()
        except NotThere:
            return set()
        except Unreadable as error:
            raise unreadable(error) from error

    async def payment_capability(self, payment_method: str, *, priority: Priority = "interactive") -> GatewayCapability:
        """Say whether a payment method can refund; remembered for some minutes. Never raises: `unknown` instead."""
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
        """Send the refund exactly once, no retries, and classify the answer. Never raises for a store or a network."""
        body = refund_body(plan, marker=marker, marker_in_reason=self._policy.marker_in_reason)
        started = time.monotonic()

        def exchange(text: str) -> Exchange:
            return Exchange(duration_ms=(time.monotonic() - started) * 1000, text=text)

        try:
            check_order_id(plan.order_id)
            reply = await self._calls.write_once(
                "POST",
                f"orders/{plan.order_id}/refunds",
                {"dp": str(DP)},  # formats the answer only, so that its amount can be compared to the last digit
                body,
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
        return classify(reply, plan, duration_ms=(time.monotonic() - started) * 1000, secrets=self._connection.secrets)

    async def read_refund(
        self, order_id: str, store_refund_id: str, *, dp: int | None = None, priority: Priority = "interactive"
    ) -> ListedRefund | None:
        """Read one refund under its order, past caches; None when it is not there or belongs to another order.

        Raises StoreUnavailable or StoreMisconfigured.
        """
        return await self._rows.read(order_id, store_refund_id, dp=dp, priority=priority)

    async def list_refunds(
        self, query: RefundQuery, *, order_id: str | None = None, priority: Priority = "interactive"
    ) -> RefundPage:
        """List the refunds of an order, or of the whole store, newest first unless the query says otherwise.

        Raises OrderNotFound, ListTooLong, StoreUnavailable or StoreMisconfigured.
        """
        if order_id is None:
            return await self._lists.of_store(query, priority=priority)
        return await self._lists.of_order(order_id, query, priority=priority)

    async def delete_refund(self, order_id: str, store_refund_id: str) -> Deletion:
        """Delete a refund's row for good, once it was read under that order; no money comes back.

        Raises StoreUnavailable or StoreMisconfigured when that could not be done, and nothing is known.
        """
        return await self._rows.delete(order_id, store_refund_id)

    async def update_refund(self, order_id: str, store_refund_id: str, *, reason: str) -> Update:  # noqa: ARG002
        """Say that the API cannot: it has no PUT for refunds (V2R:61-125)."""
        return "unsupported"

    async def list_orders(self, query: OrderQuery, *, page: int, priority: Priority = "background") -> OrderPage:
        """Read a page of the store's orders, oldest first; see `port.Store`."""
        return await self._orders.page(query, page=page, priority=priority)

    async def features(self) -> Features:
        """Find out what the store's APIs and payment methods can do, writing nothing; never raises."""
        return await self._features.read()

    async def read_raw(self, path: str, query: Sequence[tuple[str, str]]) -> RawAnswer:
        """Read a resource below /wp-json/wc/v3/ as the store answers. Raises StoreUnavailable or StoreMisconfigured."""
        return await self._calls.read_raw(path, query)

    def stream(self, path: str, query: Sequence[tuple[str, str]]) -> AbstractAsyncContextManager[Streamed]:
        """Read like `read_raw`, with a body that is handed on as it comes."""
        return self._calls.stream(path, query)

    async def read_notes(self, order_id: str, *, priority: Priority = "background") -> tuple[OrderNote, ...]:
        """Read the order's notes, past every cache, oldest first. Raises as `read_order`."""
        check_order_id(order_id)
        try:
            notes = order_notes(
                await self._calls.get(
                    f"orders/{order_id}/notes",
                    {"_fields": NOTE_FIELDS},
                    call="read_notes",
                    priority=priority,
                    verify=True,
                    absent=NO_ORDER,
                )
            )
            ahead = self._calls.clock_ahead
            return tuple(replace(note, created_at=note.created_at - ahead) for note in notes)
        except NotThere as error:
            raise order_not_found(error) from error
        except Unreadable as error:
            raise unreadable(error) from error

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
        return await examine(self._calls)
