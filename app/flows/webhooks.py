"""The webhooks by which a store says that something has happened: registered, looked at, and put right."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address
from urllib.parse import urlsplit

from app.crypto import CryptoError
from app.flows.results import Caller, StoreFailed, StoreNotFound
from app.flows.runtime import Runtime
from app.flows.shop import OpenStore, failed, open_store
from app.ledger import notices
from app.stores.port import Check, HealthReport, StoreError, StoreWebhook

#: What a store is told to send. A deleted refund does not update its order: the first of the two hooks comes from the
#: admin, the second wherever WooCommerce itself deletes, over REST too; their argument is the refund's id.
TOPICS = (
    "order.updated",
    "action.woocommerce_order_refunded",
    "action.woocommerce_refund_deleted",
    "action.woocommerce_delete_order_refund",
)
#: The only ports that WordPress delivers to (WP http.php:609-660).
_PORTS = frozenset({80, 443, 8080})
_REMEDY = "Run `refund-gateway store check --repair`."
_LATE = "refunds that others make in the store are noticed only when the gateway looks at the order or reconciles."


class WebhookAddressUnusable(Exception):
    """No store could deliver to the address; the message says what is wrong with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Repaired:
    """What was done so that a store sends its webhooks."""

    made: tuple[str, ...]  #: topics
    changed: tuple[str, ...]  #: topics of webhooks that were there, and are active with the right address and secret
    delivery_url: str
    doubts: tuple[str, ...]  #: what may keep WordPress from delivering there


def delivery_url(base_url: str, store_id: str) -> str:
    """Give the address that a store sends its webhooks to. Raises WebhookAddressUnusable."""
    base = base_url.strip().rstrip("/")
    try:
        parts = urlsplit(base)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        usable = usable and not parts.query and not parts.fragment and parts.username is None
    except ValueError:
        usable = False
    if not usable:
        raise WebhookAddressUnusable(
            "The address for webhooks must look like https://gateway.example, as the store can reach it."
        )
    return f"{base}{_path(store_id)}"


def _path(store_id: str) -> str:
    return f"/v1/stores/{store_id}/webhooks"


def doubts_about(url: str) -> tuple[str, ...]:
    """Say what may keep WordPress from delivering to an address, as far as the address itself shows."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    doubts = []
    if port not in _PORTS:
        doubts.append(f"WordPress delivers to the ports 80, 443 and 8080 only, not to {port}.")
    if _is_private(parts.hostname or ""):
        doubts.append(f"WordPress does not deliver to private addresses such as {parts.hostname}.")
    if parts.scheme == "http":
        doubts.append("Over plain http everybody on the way can read what the store sends.")
    return tuple(doubts)


def _is_private(host: str) -> bool:
    if host == "localhost" or host.endswith((".localhost", ".local", ".internal")):
        return True
    try:
        return not ip_address(host).is_global
    except ValueError:
        return False


async def repair(rt: Runtime, caller: Caller, store: str, *, base_url: str) -> Repaired | StoreNotFound | StoreFailed:
    """See to it that a store sends its webhooks here: missing ones are made, the others made active and right.

    Raises WebhookAddressUnusable before anything is done.
    """
    opened = await open_store(rt, caller, store)
    if isinstance(opened, StoreNotFound):
        return opened
    store_id = opened.where.store_id
    url = delivery_url(base_url, store_id)
    # Kept before the store is told: it delivers at once.
    secret = await _secret(rt, store_id, base_url.strip().rstrip("/"))
    made: list[str] = []
    changed: list[str] = []
    try:
        known = _by_topic(store_id, await opened.store.list_webhooks())
        for topic in TOPICS:
            there = known.get(topic)
            await opened.store.put_webhook(topic, url, secret, webhook_id=None if there is None else there.id)
            (made if there is None else changed).append(topic)
    except StoreError as error:
        return failed(error)
    return Repaired(made=tuple(made), changed=tuple(changed), delivery_url=url, doubts=doubts_about(url))


async def _secret(rt: Runtime, store_id: str, base_url: str) -> str:
    """Give the secret of a store's webhooks; a new one where there is none, or where it cannot be opened any more."""
    fresh = secrets.token_hex(25)
    sealed = rt.sealer.seal(fresh.encode(), aad=store_id)
    async with rt.database.committing() as conn:
        kept = await notices.claim_secret(conn, store_id, sealed, base_url=base_url)
        try:
            return rt.sealer.open(kept.secret, aad=store_id).decode()
        except CryptoError:
            await notices.keep_secret(conn, store_id, sealed, base_url=base_url)
            return fresh


def _by_topic(store_id: str, webhooks: Sequence[StoreWebhook]) -> dict[str, StoreWebhook]:
    """Give the store's webhooks that lead here, one for each topic: an active one before others, then the oldest."""
    ours = [webhook for webhook in webhooks if _leads_to(webhook.delivery_url, _path(store_id))]
    ours.sort(key=lambda webhook: (webhook.status != "active", int(webhook.id)))
    found: dict[str, StoreWebhook] = {}
    for webhook in ours:
        found.setdefault(webhook.topic, webhook)
    return found


def _leads_to(url: str, path: str) -> bool:
    try:
        return urlsplit(url).path.endswith(path)
    except ValueError:  # WordPress takes addresses that are none
        return False


async def with_webhooks(rt: Runtime, opened: OpenStore, report: HealthReport) -> HealthReport:
    """Add to a report on a store how its webhooks are; a store that could not be spoken to is not asked."""
    if not report.ok:
        return report
    checks = (*report.checks, *await _examined(rt, opened))
    return replace(report, checks=checks, ok=all(check.ok is not False for check in checks))


async def _examined(rt: Runtime, opened: OpenStore) -> tuple[Check, ...]:
    store_id = opened.where.store_id
    async with rt.database.reading() as conn:
        kept = await notices.secret_of(conn, store_id)
    if kept is None:
        return (Check(name="webhooks", ok=None, detail=f"None are registered: {_LATE}", remedy=_REMEDY),)
    url = f"{kept.base_url}{_path(store_id)}"
    try:
        known = _by_topic(store_id, await opened.store.list_webhooks())
    except StoreError as error:
        return (Check(name="webhooks", ok=None, detail=f"They could not be looked at: {error}", remedy=_REMEDY),)
    wrong = [fault for topic in TOPICS if (fault := _fault(topic, known.get(topic), url)) is not None]
    if wrong:
        state = Check(name="webhooks", ok=False, detail=f"{'; '.join(wrong)}: {_LATE}", remedy=_REMEDY)
    else:
        kept_by = " by its Legacy REST API, whose plugin they need" if opened.store.api == "legacy" else ""
        state = Check(name="webhooks", ok=True, detail=f"{len(TOPICS)} are sent to {kept.base_url}{kept_by}.")
    doubts = doubts_about(url)
    if not doubts:
        return (state,)
    remedy = "Use a public https address on one of those ports: `store check --repair --webhook-url`."
    return (state, Check(name="webhook_address", ok=None, detail=" ".join(doubts), remedy=remedy))


def _fault(topic: str, webhook: StoreWebhook | None, url: str) -> str | None:
    if webhook is None:
        return f"{topic} is missing"
    if webhook.status != "active":
        return f"{topic} is {webhook.status}"
    return None if webhook.delivery_url == url else f"{topic} is sent to another address"
