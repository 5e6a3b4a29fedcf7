"""What a WooCommerce store says about itself over wc/v3, asked for once and remembered for some minutes."""

from app.domain.refund import GatewayCapability, StorePolicy
from app.stores.calls import NotThere, StoreCalls
from app.stores.failures import order_not_found, unreadable
from app.stores.port import Priority, StoreError, StoreMisconfigured
from app.stores.reading import Unreadable, mapping, rows
from app.stores.remembered import Remembered
from app.stores.woo_v3_wire import capability, decimals_setting, decimals_shown

NO_ORDER = frozenset(
    {"woocommerce_rest_shop_order_invalid_id", "woocommerce_rest_order_invalid_id", "woocommerce_rest_invalid_order_id"}
)
_NO_GATEWAY = frozenset({"woocommerce_rest_payment_gateway_invalid"})
_NO_SETTING = frozenset({"rest_setting_setting_invalid", "rest_setting_setting_group_invalid", "rest_no_route"})


class V3Facts:
    """A store's decimals and what its payment methods can do."""

    def __init__(self, calls: StoreCalls, policy: StorePolicy) -> None:
        """Know nothing yet. `calls` go to wc/v3."""
        self._calls = calls
        self._policy = policy
        self._decimals: Remembered[None, int] = Remembered(calls.limits.facts_ttl_s)
        self._capabilities: Remembered[str, GatewayCapability] = Remembered(calls.limits.facts_ttl_s)

    async def decimals(self, priority: Priority, *, order_id: str | None = None) -> int:
        """Give the decimals that the store shows amounts with; an order to learn them from may be named."""
        return await self._decimals.get(None, lambda: self._fetch_decimals(order_id, priority))

    async def _fetch_decimals(self, order_id: str | None, priority: Priority) -> int:
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
            if order_id is None:
                params = {"per_page": "1", "_fields": "id,total"}
                orders = rows(await self._calls.get("orders", params, call="read_order", priority=priority), "orders")
                return decimals_shown(orders[0]) if orders else 2
            return decimals_shown(
                await self._calls.get(
                    f"orders/{order_id}",
                    {"_fields": "id,total"},
                    call="read_order",
                    priority=priority,
                    absent=NO_ORDER,
                )
            )
        except NotThere as error:
            raise order_not_found(error) from error
        except Unreadable as error:
            raise unreadable(error) from error

    async def capability(self, payment_method: str, priority: Priority) -> GatewayCapability:
        """Say whether a payment method can refund. Never raises: `unknown` instead."""
        try:
            return await self.learn_capability(payment_method, priority)
        except StoreError:
            return "unknown"

    async def learn_capability(self, payment_method: str, priority: Priority) -> GatewayCapability:
        """Say whether a payment method can refund; raises StoreUnavailable where that may be found out later."""
        if payment_method in self._policy.refunding_methods:
            return "refunds"
        if not payment_method:
            return "no_refunds"
        if not payment_method.isascii() or not payment_method.replace("-", "").replace("_", "").isalnum():
            return "unknown"  # the route takes [\w-]+ only
        return await self._capabilities.get(payment_method, lambda: self._fetch_capability(payment_method, priority))

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
