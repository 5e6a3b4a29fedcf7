"""What a store says about itself over its Legacy REST API, and what only wc/v3 beside it can say."""

from app.domain.refund import GatewayCapability, StorePolicy
from app.stores.apis import V3
from app.stores.calls import StoreCalls
from app.stores.failures import unreadable
from app.stores.port import Priority, StoreError, StoreMisconfigured
from app.stores.reading import JsonObject, Unreadable, flag_of, mapping
from app.stores.remembered import Remembered
from app.stores.woo_legacy_answers import DECIMALS
from app.stores.woo_legacy_order import store_decimals
from app.stores.woo_v3_facts import V3Facts

HIDDEN_ORDERS = (
    "The store keeps its orders in high-performance order storage, where its Legacy REST API does not see them: it "
    "would pay a refund and answer that there is no such order. Turn on WooCommerce's compatibility mode (WooCommerce "
    "> Settings > Advanced > Features), which synchronises the orders, or connect the store over the REST API v3."
)


class LegacyFacts:
    """A store's index, its order storage and what its payment methods can do."""

    def __init__(self, calls: StoreCalls, policy: StorePolicy) -> None:
        """Know nothing yet. `calls` go to the legacy API; the same key is tried on wc/v3."""
        self._calls = calls
        self._v3 = calls.beside(V3)
        self._of_v3 = V3Facts(self._v3, policy)
        self._index: Remembered[None, JsonObject] = Remembered(calls.limits.facts_ttl_s)
        self._hidden: Remembered[None, bool] = Remembered(calls.limits.facts_ttl_s)

    async def index(self, priority: Priority) -> JsonObject:
        """Give the `store` of the API's index; raises StoreMisconfigured when its amounts have too many decimals."""
        store = await self._index.get(None, lambda: self._fetch_index(priority))
        try:
            decimals = store_decimals(store)
        except Unreadable as error:
            raise unreadable(error) from error
        if decimals > DECIMALS:
            raise too_fine(decimals)
        return store

    async def _fetch_index(self, priority: Priority) -> JsonObject:
        try:
            index = mapping(await self._calls.get("", {}, call="read_index", priority=priority), "index")
            return mapping(index.get("store"), "index.store")
        except Unreadable as error:
            raise unreadable(error) from error

    async def check_orders_are_seen(self, priority: Priority) -> None:
        """Raise StoreMisconfigured when the store's orders are known to be where the API does not look (LR:104-121)."""
        if await self._hidden.get(None, lambda: self._fetch_hidden(priority)):
            raise StoreMisconfigured(HIDDEN_ORDERS)

    async def _fetch_hidden(self, priority: Priority) -> bool:
        try:
            status = await self._v3.get(
                "system_status",
                {"_fields": "settings.HPOS_enabled,settings.HPOS_sync_enabled"},
                call="read_setting",
                priority=priority,
            )
            settings = mapping(mapping(status, "system_status").get("settings") or {}, "settings")
        except (StoreError, Unreadable):
            return False  # the key may not ask, or cannot now; an order that is hidden cannot be read either
        return flag_of(settings.get("HPOS_enabled")) is True and flag_of(settings.get("HPOS_sync_enabled")) is not True

    async def learn_capability(self, payment_method: str, priority: Priority) -> GatewayCapability:
        """Say whether a payment method can refund; `unprovable` where the store will not say.

        Raises StoreUnavailable where that may be found out later.
        """
        capability = await self._of_v3.learn_capability(payment_method, priority)
        return "unprovable" if capability == "unknown" else capability

    async def capability(self, payment_method: str, priority: Priority) -> GatewayCapability:
        """Say whether a payment method can refund. Never raises: `unprovable` instead, because no answer will tell."""
        try:
            return await self.learn_capability(payment_method, priority)
        except StoreError:
            return "unprovable"


def too_fine(decimals: int) -> StoreMisconfigured:
    """Say that amounts of so many decimals are not to be trusted to the API."""
    return StoreMisconfigured(
        f"The store's amounts have {decimals} decimals, but its Legacy REST API shows refunds with {DECIMALS}: what "
        "was refunded could not be told exactly. Connect the store over the REST API v3."
    )
