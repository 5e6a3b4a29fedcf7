"""A WooCommerce store over its REST API v3."""

import asyncio
import time
from dataclasses import replace
from datetime import datetime, timedelta

from app import outbound
from app.domain.order import OrderNote, OrderSnapshot, StoreRefund
from app.domain.refund import GatewayCapability, RefundPlan, StorePolicy
from app.outbound import Outbound
from app.stores.connection import StoreConnection, StoreLimits
from app.stores.gate import BreakerOpen, BreakerState
from app.stores.health import examine
from app.stores.port import (
    Exchange,
    HealthReport,
    NotSent,
    OrderNotFound,
    Priority,
    StoreAnswer,
    StoreError,
    StoreMisconfigured,
    StoreUnavailable,
    Unknown,
)
from app.stores.reading import DP, Unreadable, id_of, is_id, mapping, rows, text_of
from app.stores.remembered import Remembered
from app.stores.woo_v3_answers import classify
from app.stores.woo_v3_calls import NotThere, Observe, WooV3Calls
from app.stores.woo_v3_wire import (
    NOTE_FIELDS,
    ORDER_FIELDS,
    REFUND_FIELDS,
    capability,
    decimals_setting,
    decimals_shown,
    order_notes,
    order_snapshot,
    refund_body,
    refund_sums,
    store_refund,
)

_NO_ORDER = frozenset(
    {"woocommerce_rest_shop_order_invalid_id", "woocommerce_rest_order_invalid_id", "woocommerce_rest_invalid_order_id"}
)
#: Not there, or there but under another order (HTTP 500 with data 404).
_NO_REFUND = _NO_ORDER | {"woocommerce_rest_shop_order_refund_invalid_id", "woocommerce_rest_invalid_order_refund_id"}
_NO_GATEWAY = frozenset({"woocommerce_rest_payment_gateway_invalid"})
_NO_SETTING = frozenset({"rest_setting_setting_invalid", "rest_setting_setting_group_invalid", "rest_no_route"})

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
        self._calls = WooV3Calls(connection, lines, limits or StoreLimits(), observe)
        self._policy = policy or StorePolicy()
        facts_ttl_s = self._calls.limits.facts_ttl_s
        self._decimals: Remembered[None, int] = Remembered(facts_ttl_s)
        self._capabilities: Remembered[str, GatewayCapability] = Remembered(facts_ttl_s)

    @property
    def breaker_state(self) -> BreakerState:
        """Say whether requests reach the store at present."""
        return self._calls.breaker_state

    async def read_order(
        self, order_id: str, *, read_at: datetime, priority: Priority = "interactive", verify: bool = False
    ) -> OrderSnapshot:
        """Read an order and all its refunds, side by side; again when their sums disagree.

        They disagree for a moment while a refund is being created or deleted, and for longer behind a cache, so every
        further reading gets past caches. Raises OrderNotFound, StoreUnavailable or StoreMisconfigured.
        """
        _check_order_id(order_id)
        for reading in range(_READS_MAX):
            if reading:
                await asyncio.sleep(_SETTLE_S * 2**reading)
            fresh = verify or reading > 0
            try:
                async with asyncio.TaskGroup() as together:
                    order_read = together.create_task(self._order(order_id, priority, fresh))
                    refunds_read = together.create_task(self._refunds(order_id, priority, fresh))
                    decimals_read = together.create_task(self._store_decimals(order_id, priority))
            except ExceptionGroup as group:
                raise _leading(group) from group
            order, refunds = order_read.result(), refunds_read.result()
            try:
                if refund_sums(order) == {refund.id: refund.amount for refund in refunds}:
                    refunds = [_by_our_clock(refund, self._calls.clock_ahead) for refund in refunds]
                    return order_snapshot(order, refunds, store_decimals=decimals_read.result(), read_at=read_at)
            except Unreadable as error:
                raise _unreadable(error) from error
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
                absent=_NO_ORDER,
            )
            if id_of(mapping(order, "order").get("id"), "order.id") != order_id:
                raise StoreUnavailable("The store answered with another order than the one asked for.")
        except NotThere as error:
            raise _order_not_found(error) from error
        except Unreadable as error:
            raise _unreadable(error) from error
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
                    absent=_NO_ORDER,
                )
                on_page = [store_refund(row) for row in rows(listed, "refunds")]
                found |= {refund.id: refund for refund in on_page}
                if len(on_page) < _PER_PAGE:
                    return list(found.values())
        except NotThere as error:
            raise _order_not_found(error) from error
        except Unreadable as error:
            raise _unreadable(error) from error
        raise StoreUnavailable(f"The order has more than {_PER_PAGE * _PAGES_MAX} refunds.")

    async def _store_decimals(self, order_id: str, priority: Priority) -> int:
        return await self._decimals.get(None, lambda: self._fetch_decimals(order_id, priority))

    async def _fetch_decimals(self, order_id: str, priority: Priority) -> int:
        """Ask the settings; where the key may not, take the digits of an order's total as the store itself shows it."""
        try:
            setting = await self._calls.get(
                "settings/general/woocommerce_price_num_decimals",
                {"_fields": "id,value"},
                call="read_setting",
                priority=priority,
                absent=_NO_SETTING,
            )
            return decimals_setting(mapping(setting, "setting").get("value"))
        except (StoreMisconfigured, NotThere, Unreadable):
            pass
        try:
            return decimals_shown(
                await self._calls.get(
                    f"orders/{order_id}",
                    {"_fields": "id,total"},
                    call="read_order",
                    priority=priority,
                    absent=_NO_ORDER,
                )
            )
        except NotThere as error:
            raise _order_not_found(error) from error
        except Unreadable as error:
            raise _unreadable(error) from error

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
            raise _leading(group) from group
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
            raise _unreadable(error) from error
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
                    absent=_NO_ORDER,
                ),
                "order",
            )
            same = text_of(order.get("number"), "order.number") == number
            return {id_of(order.get("id"), "order.id")} if same else set()
        except NotThere:
            return set()
        except Unreadable as error:
            raise _unreadable(error) from error

    async def payment_capability(self, payment_method: str, *, priority: Priority = "interactive") -> GatewayCapability:
        """Say whether a payment method can refund; remembered for some minutes. Never raises: `unknown` instead."""
        if not payment_method:
            return "no_refunds"
        if not payment_method.isascii() or not payment_method.replace("-", "").replace("_", "").isalnum():
            return "unknown"  # the route takes [\w-]+ only
        try:
            return await self._capabilities.get(
                payment_method, lambda: self._fetch_capability(payment_method, priority)
            )
        except StoreError:
            return "unknown"

    async def _fetch_capability(self, payment_method: str, priority: Priority) -> GatewayCapability:
        try:
            gateway = await self._calls.get(
                f"payment_gateways/{payment_method}",
                # Never more than these: the settings beside them hold the payment provider's secrets.
                {"_fields": "id,enabled,method_supports"},
                call="payment_gateway",
                priority=priority,
                absent=_NO_GATEWAY,
            )
            return capability(gateway)
        except NotThere:
            return "missing"
        except (StoreMisconfigured, Unreadable):
            return "unknown"  # the key may not ask, and will not be allowed to in the next minutes either

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
            _check_order_id(plan.order_id)
            reply = await self._calls.post_once(
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

    async def read_refund(self, order_id: str, store_refund_id: str) -> StoreRefund | None:
        """Read one refund under its order, past caches; None when it is not there or belongs to another order.

        Raises StoreUnavailable or StoreMisconfigured.
        """
        if not is_id(order_id) or not is_id(store_refund_id):
            return None
        try:
            refund = store_refund(
                await self._calls.get(
                    f"orders/{order_id}/refunds/{store_refund_id}",
                    {"dp": str(DP), "_fields": REFUND_FIELDS},
                    call="read_refund",
                    priority="interactive",
                    verify=True,
                    absent=_NO_REFUND,
                )
            )
        except NotThere:
            return None
        except Unreadable as error:
            raise _unreadable(error) from error
        if refund.id != store_refund_id:
            raise StoreUnavailable("The store answered with another refund than the one asked for.")
        return refund

    async def read_notes(self, order_id: str, *, priority: Priority = "background") -> tuple[OrderNote, ...]:
        """Read the order's notes, past every cache, oldest first. Raises as `read_order`."""
        _check_order_id(order_id)
        try:
            notes = order_notes(
                await self._calls.get(
                    f"orders/{order_id}/notes",
                    {"_fields": NOTE_FIELDS},
                    call="read_notes",
                    priority=priority,
                    verify=True,
                    absent=_NO_ORDER,
                )
            )
            ahead = self._calls.clock_ahead
            return tuple(replace(note, created_at=note.created_at - ahead) for note in notes)
        except NotThere as error:
            raise _order_not_found(error) from error
        except Unreadable as error:
            raise _unreadable(error) from error

    async def check(self) -> HealthReport:
        """Look the store over without writing to it; never raises."""
        return await examine(self._calls)


def _check_order_id(order_id: str) -> None:
    # Also keeps slashes and dots out of the path.
    if not is_id(order_id):
        raise OrderNotFound("The store knows no such order: its ids are whole numbers.")


def _order_not_found(error: StoreError) -> OrderNotFound:
    return OrderNotFound("The store knows no such order.", store_code=error.store_code, http_status=error.http_status)


def _unreadable(error: Unreadable) -> StoreUnavailable:
    return StoreUnavailable(f"The store's answer is not what WooCommerce sends: {error}.")


def _leading(group: ExceptionGroup[Exception]) -> Exception:
    """Pick the failure that says most: an order that is not there, then what a person must mend."""
    for kind in (OrderNotFound, StoreMisconfigured):
        for error in group.exceptions:
            if isinstance(error, kind):
                return error
    return group.exceptions[0]


def _by_our_clock(refund: StoreRefund, ahead: timedelta) -> StoreRefund:
    return refund if refund.created_at is None else replace(refund, created_at=refund.created_at - ahead)
