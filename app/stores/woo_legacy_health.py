"""`store check` for a store that is spoken to over its Legacy REST API."""

from app import outbound
from app.domain.refund import StorePolicy
from app.stores.answers import read_failure
from app.stores.apis import V3
from app.stores.calls import StoreCalls
from app.stores.features import legacy_index
from app.stores.gate import BreakerOpen
from app.stores.health import (
    KEY_REMEDY,
    Findings,
    check_clock,
    check_connection,
    check_payment_methods,
    get,
    read_system,
)
from app.stores.port import HealthReport, StoreMisconfigured
from app.stores.reading import Unreadable
from app.stores.woo_legacy_answers import DECIMALS
from app.stores.woo_legacy_facts import HIDDEN_ORDERS, too_fine
from app.stores.woo_legacy_order import store_decimals

#: This API never tells whether a payment method can refund, not even in its answer to a refund.
_VOUCH = (
    "Name those that can refund with `store policy --refunding-methods`, or let the key's user, a Shop manager, read "
    "/wp-json/wc/v3/payment_gateways; until then refunds can only be recorded as manual."
)


async def examine(calls: StoreCalls, policy: StorePolicy) -> HealthReport:
    """Look a store over, from its name to its payment gateways; what cannot be found out is None, nothing is raised."""
    findings = Findings()
    if await check_connection(calls, findings):
        await _api(calls, findings)
        if await _credentials(calls, findings):
            await _write_permission(calls, findings)
            beside = calls.beside(V3)
            await read_system(beside, findings)
            _order_storage(findings)
            _decimals(findings)
            await check_payment_methods(beside, findings, vouched=policy.refunding_methods, remedy=_VOUCH)
    return findings.report()


async def _api(calls: StoreCalls, findings: Findings) -> None:
    await check_clock(calls, findings)
    index = await legacy_index(calls)
    if index is None:
        findings.add(
            "rest_api",
            False,
            "The index of the Legacy REST API, /wc-api/v3/, does not answer.",
            "Install and activate the plugin Legacy REST API (on WooCommerce before 9.0: switch the Legacy API on "
            "under Settings > Advanced), or connect the store over the REST API v3.",
        )
        return
    findings.apis.append("wc-api/v3")
    findings.woocommerce_version = index.version
    findings.add("rest_api", True, f"Offers {', '.join(findings.apis)}.")
    try:
        findings.decimals = store_decimals(index.store)
    except Unreadable:
        findings.decimals = None


async def _credentials(calls: StoreCalls, findings: Findings) -> bool:
    got = await get(calls, "orders", {"fields": "id", "filter[limit]": "1"})
    if got.problem is None:
        findings.add("credentials", True, "The API key may read orders.")
        return True
    findings.add("credentials", False, got.problem, KEY_REMEDY)
    return False


async def _write_permission(calls: StoreCalls, findings: Findings) -> None:
    """Ask for a refund that cannot be: order 0 does not exist, the amount is negative, and no gateway is to pay.

    Permission is checked first, for the key (LA:389) and for its user (LO:1630); any other gets that order 0 is none.
    """
    try:
        reply = await calls.write_once(
            "POST",
            "orders/0/refunds",
            {"api_refund": "0"},
            {"order_refund": {"amount": "-1", "restock_items": False}},
            call="check",
            priority="interactive",
        )
    except (outbound.OutboundError, BreakerOpen, StoreMisconfigured) as error:
        findings.add("write_permission", None, str(error), "Try again.")
        return
    code = None if reply.error is None else reply.error.code
    if code in ("woocommerce_api_invalid_order_id", "woocommerce_api_invalid_order_refund"):
        findings.add("write_permission", True, "The API key may create refunds.")
        return
    failure = read_failure(reply, secrets=calls.connection.secrets)
    refused = isinstance(failure, StoreMisconfigured)
    findings.add(
        "write_permission", False if refused else None, str(failure or "The store answered oddly."), KEY_REMEDY
    )


def _order_storage(findings: Findings) -> None:
    if findings.hpos == "on":
        findings.add("order_storage", False, "The API does not see the store's orders.", HIDDEN_ORDERS)
    elif findings.hpos is None:
        findings.add(
            "order_storage",
            None,
            "Whether the API sees all of the store's orders could not be found out.",
            "Let the key's user, a Shop manager, read the system status over /wp-json/wc/v3/.",
        )


def _decimals(findings: Findings) -> None:
    if findings.decimals is not None and findings.decimals > DECIMALS:
        findings.add("decimals", False, str(too_fine(findings.decimals)), "Use the REST API v3 for this store.")
