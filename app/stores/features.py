"""What a store's APIs and payment methods can do, found out without writing anything."""

from dataclasses import dataclass

from app import outbound
from app.domain.refund import GatewayCapability, StoreApi, StorePolicy
from app.stores.answers import Reply
from app.stores.apis import LEGACY, V3
from app.stores.calls import Got, NotThere, StoreCalls
from app.stores.port import (
    ApiFeatures,
    Features,
    PaymentMethod,
    StoreError,
    StoreMisconfigured,
    StoreUnavailable,
    Supported,
)
from app.stores.reading import JsonObject, Unreadable, mapping, rows, text_of
from app.stores.remembered import Remembered
from app.stores.woo_v3_wire import payment_methods

_NO_ROUTE = frozenset({"rest_no_route"})


class _Incomplete(Exception):
    """The store did not answer everything; what was found out is not to be remembered."""

    def __init__(self, features: Features) -> None:
        super().__init__()
        self.features = features


@dataclass(frozen=True, slots=True, kw_only=True)
class _Route:
    """What OPTIONS tells of a route of wc/v3."""

    methods: frozenset[str]
    post_arguments: frozenset[str]


class FeatureBook:
    """What one store can do, remembered for some minutes."""

    def __init__(self, calls: StoreCalls, *, used: StoreApi, policy: StorePolicy) -> None:
        """Know nothing yet. `used` is the API that the gateway speaks to the store in."""
        self._calls = calls.beside(V3)
        self._used: StoreApi = used
        self._policy = policy
        self._known: Remembered[None, Features] = Remembered(calls.limits.facts_ttl_s)

    async def read(self) -> Features:
        """Give what the store can do; never raises, and says None for what could not be found out."""
        try:
            return await self._known.get(None, self._find_out)
        except _Incomplete as error:
            return error.features

    async def _find_out(self) -> Features:
        lost = False

        async def ask(path: str) -> _Route | None:
            """Give a route; None when the store would not say."""
            nonlocal lost
            try:
                return await self._route(path)
            except StoreUnavailable:
                lost = True
            except (StoreError, Unreadable):
                pass
            return None

        index = await legacy_index(self._calls)
        refunds = await ask("orders/0/refunds")
        # Spares a store that is down two more rounds of retries.
        whole = None if lost else await ask("refunds")
        preview = None if lost else await ask("orders/0/refunds/preview")
        methods = () if lost else await self._payment_methods()
        version = None if lost else await self._version()
        features = Features(
            woocommerce_version=version or (None if index is None else index.version),
            apis=(self._v3(refunds, whole, preview), self._legacy(index, lost=lost)),
            payment_methods=methods,
        )
        if lost:
            raise _Incomplete(features)
        return features

    def _v3(self, refunds: _Route | None, whole: _Route | None, preview: _Route | None) -> ApiFeatures:
        available = None if refunds is None else "POST" in refunds.methods
        native: Supported = None
        if preview is not None and refunds is not None:
            native = "POST" in preview.methods or "compute_totals" in refunds.post_arguments
        detail = "The store does not describe its API." if available is None else ""
        if available is False:
            detail = "WooCommerce's REST API v3 is not there, or has no refunds."
        return ApiFeatures(
            api="v3",
            used=self._used == "v3",
            available=available,
            store_wide_list=None if whole is None else "GET" in whole.methods,
            update=False,
            delete=available,
            meta_data=available,
            native_preview=native,
            detail=detail,
        )

    def _legacy(self, index: "LegacyIndex | None", *, lost: bool) -> ApiFeatures:
        available: Supported = index is not None or (None if lost else False)
        return ApiFeatures(
            api="legacy",
            used=self._used == "legacy",
            available=available,
            store_wide_list=False,
            update=available,
            delete=available,
            meta_data=False,
            native_preview=False,
            detail="A changed reason is taken, but not shown by stores that keep their own copy." if available else "",
        )

    async def _route(self, path: str) -> _Route:
        """Ask for a route's description. WordPress describes one that does not exist as []."""
        try:
            got = await self._calls.get_with_headers(
                path, {}, call="features", priority="background", absent=_NO_ROUTE, method="OPTIONS"
            )
        except NotThere:
            return _Route(methods=frozenset(), post_arguments=frozenset())
        return _described(got)

    async def _version(self) -> str | None:
        try:
            status = await self._calls.get(
                "system_status", {"_fields": "environment.version"}, call="features", priority="background"
            )
            environment = mapping(mapping(status, "system_status").get("environment") or {}, "environment")
            return text_of(environment.get("version"), "version")[:20] or None
        except (StoreError, Unreadable):
            return None

    async def _payment_methods(self) -> tuple[PaymentMethod, ...]:
        shown: tuple[PaymentMethod, ...] = ()
        try:
            fields = {"_fields": "id,title,enabled,method_supports"}
            listed = await self._calls.get("payment_gateways", fields, call="features", priority="background")
            shown = payment_methods(listed)
        except (StoreError, Unreadable):
            pass
        vouched = self._policy.refunding_methods
        known = {method.id for method in shown}
        return tuple(
            PaymentMethod(
                id=method.id,
                title=method.title,
                enabled=method.enabled,
                capability="refunds" if method.id in vouched else self._capability(method.capability),
            )
            for method in shown
        ) + tuple(
            PaymentMethod(id=id_, title=id_, enabled=True, capability="refunds") for id_ in sorted(vouched - known)
        )

    def _capability(self, capability: GatewayCapability) -> GatewayCapability:
        return "unprovable" if capability == "unknown" and self._used == "legacy" else capability


def _described(got: Got) -> _Route:
    if got.value == []:
        return _Route(methods=frozenset(), post_arguments=frozenset())
    route = mapping(got.value, "route")
    arguments: set[str] = set()
    for endpoint in rows(route.get("endpoints"), "endpoints"):
        if "POST" in _methods(endpoint):
            arguments |= set(mapping(endpoint.get("args") or {}, "endpoints[].args"))
    return _Route(methods=_methods(route), post_arguments=frozenset(arguments))


def _methods(described: JsonObject) -> frozenset[str]:
    listed = described.get("methods")
    if isinstance(listed, dict):
        # A PHP array with gaps.
        listed = list(listed.values())
    return frozenset(name for name in listed if isinstance(name, str)) if isinstance(listed, list) else frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class LegacyIndex:
    """The public index of /wc-api/v3/ (LS:446-466)."""

    version: str | None
    store: JsonObject


async def legacy_index(calls: StoreCalls) -> LegacyIndex | None:
    """Read the legacy API's index; None when it does not answer with one. Never raises."""
    try:
        answer = await calls.open_get(f"{LEGACY.root}/", {})
    except (outbound.OutboundError, StoreMisconfigured):
        return None
    document = Reply.of(answer, LEGACY.codes).document
    store = document.value.get("store") if document is not None and isinstance(document.value, dict) else None
    if answer.status != 200 or not isinstance(store, dict) or "wc_version" not in store:
        return None
    version = store.get("wc_version")
    return LegacyIndex(version=version[:20] if isinstance(version, str) else None, store=store)
