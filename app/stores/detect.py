"""Which API a store has, and the adapter that speaks it."""

from typing import assert_never

from app import outbound
from app.domain.refund import StoreApi, StorePolicy
from app.outbound import Outbound
from app.stores.apis import V3
from app.stores.calls import StoreCalls
from app.stores.connection import StoreConnection, StoreLimits
from app.stores.features import legacy_index
from app.stores.health import namespaces_of
from app.stores.port import StoreMisconfigured, StoreUnavailable
from app.stores.traffic import Observe
from app.stores.woo_legacy import WooLegacyStore
from app.stores.woo_v3 import WooV3Store

Adapter = WooV3Store | WooLegacyStore


def build(
    api: StoreApi,
    connection: StoreConnection,
    lines: Outbound,
    *,
    limits: StoreLimits | None = None,
    policy: StorePolicy | None = None,
    observe: Observe | None = None,
) -> Adapter:
    """Give the adapter of a store; it connects to nothing yet."""
    match api:
        case "v3":
            return WooV3Store(connection, lines, limits=limits, policy=policy, observe=observe)
        case "legacy":
            return WooLegacyStore(connection, lines, limits=limits, policy=policy, observe=observe)
        case _:
            assert_never(api)


async def detect_api(
    connection: StoreConnection, lines: Outbound, limits: StoreLimits | None = None
) -> StoreApi | None:
    """Find out which API a store has, wc/v3 before the legacy one; None when neither shows.

    Raises StoreUnavailable when nothing answers at all, StoreMisconfigured when the address cannot be used.
    """
    calls = StoreCalls.to(connection, lines, V3, limits or StoreLimits())
    lost: outbound.OutboundError | None = None
    try:
        if "wc/v3" in namespaces_of(await calls.open_get("wp-json/", {"_fields": "namespaces"})):
            return "v3"
        # Some shops close the index to the public, and the API's answer to its key tells as much.
        reply = await calls.exchange(
            "GET", "orders", {"per_page": "1", "_fields": "id"}, call="detect", priority="interactive"
        )
        value = None if reply.document is None else reply.document.value
        if reply.away is None and (reply.error is None and reply.answer.status == 200 and isinstance(value, list)):
            return "v3"
        if reply.away is None and reply.error is not None and reply.error.code.startswith(V3.codes.prefix):
            return "v3"
    except outbound.OutboundError as error:
        lost = error
    if await legacy_index(calls) is not None:
        return "legacy"
    if lost is None:
        return None
    if isinstance(lost, outbound.NotSent) and lost.reason in ("url", "ca_file", "address", "certificate"):
        raise StoreMisconfigured(str(lost)) from lost
    raise StoreUnavailable(str(lost)) from lost
