"""Notices of stores: a verified webhook says that something has to be looked at, and nothing else of it is believed.

Webhooks come late, twice, in any order or not at all, and show the store as it was when they were delivered. So all
that is taken from one is the id of an order or a refund; the order is then read from the store itself.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

import structlog

from app.database import Connection
from app.domain.refund_query import RefundQuery
from app.flows.mirror import Where, mirror_order
from app.flows.recover import look as weigh_anew
from app.flows.runtime import Runtime
from app.flows.settle import Shop
from app.ledger import notices, refunds, tenants
from app.ledger.notices import Look, LookKind
from app.signatures import is_from_woocommerce
from app.stores.port import OrderNotFound, StoreError, StoreUnavailable

log = structlog.get_logger(__name__)

TASK = "reread_order"
#: Keeps two workers from the same look at the same time; a worker that dies frees it after this.
_LEASE = timedelta(seconds=45)
#: Looks at one store at a time, by all processes together: a slow one must not keep all workers.
_AT_A_TIME = 4
_FIRST_WAIT_S = 5.0
_LONGEST_WAIT_S = 900.0
_GIVEN_UP_AFTER = timedelta(days=1)

_ID = re.compile(r"[1-9][0-9]{0,17}", re.ASCII)
#: Hooks whose first argument, the only one that is sent (WH:389-394), is a refund's id. All others that stores are
#: told to send have an order's.
_OF_REFUNDS = frozenset({"woocommerce_refund_created", "woocommerce_refund_deleted", "woocommerce_delete_order_refund"})
_OF_ORDERS = frozenset(
    {"woocommerce_order_refunded", "woocommerce_order_fully_refunded", "woocommerce_order_partially_refunded"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """A webhook of WooCommerce as it came."""

    webhook_id: str
    topic: str
    signature: str
    body: bytes


#: looked: a look is waiting; repeated: the very same was here before; ignored: it names nothing that could be looked at
Noticed = Literal["looked", "repeated", "ignored"]


async def receive(rt: Runtime, store: str, notice: Notice) -> Noticed | None:
    """Take a store's notice, and have what it names looked at; None when it is not the store's own.

    `store` is the store's id, or its name: of several tenants' stores of a name it is the one whose secret fits, so
    that nobody can cut off a store by giving one of his own its name. The same snapshot of an order twice is one notice
    for ever; the notices of actions say the same for every refund of an order, so each of them brings a look, unless
    one is waiting.
    """
    async with rt.database.reading() as conn:
        known = await _secrets(conn, store)
    secret = next((secret for secret in known if _is_signed(rt, secret, notice)), None)
    if secret is None:
        return None
    subject = subject_of(notice)
    async with rt.database.transaction() as conn:
        times = await notices.note(
            conn,
            secret.store_id,
            webhook_id=_short(notice.webhook_id),
            topic=_short(notice.topic),
            body_hash=hashlib.sha256(notice.body).digest(),
        )
        if subject is None:
            outcome: Noticed = "ignored"
        elif times > 1 and not notice.topic.startswith("action."):
            outcome = "repeated"
        else:
            await notices.ask(conn, secret.store_id, *subject)
            await _nudge(rt, conn, secret.store_id, *subject)
            outcome = "looked"
    log.info("notice.received", store_id=secret.store_id, topic=_short(notice.topic), outcome=outcome, times=times)
    return outcome


async def _secrets(conn: Connection, store: str) -> Sequence[notices.WebhookSecret]:
    """Give the webhook secrets of the stores in use that an address may mean."""
    if not store.startswith("st_"):
        return await notices.secrets_by_name(conn, store)
    row = await tenants.store_by_id(conn, store)
    if row is None or row.disabled_at is not None:
        return ()
    kept = await notices.secret_of(conn, store)
    return () if kept is None else (kept,)


def _is_signed(rt: Runtime, secret: notices.WebhookSecret, notice: Notice) -> bool:
    plain = rt.sealer.open(secret.secret, aad=secret.store_id).decode()
    return is_from_woocommerce(notice.signature, plain, notice.body)


def subject_of(notice: Notice) -> tuple[LookKind, str] | None:
    """Say what a notice is about; None when that is nothing of ours, or not to be told.

    A body may be an error of the REST API (#68698), and has an envelope when its webhook is of the legacy API.
    """
    try:
        document = json.loads(notice.body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict):
        return None
    resource, _, event = notice.topic.partition(".")
    if resource == "order":
        inner = document.get("order")
        return _named("order", (inner if isinstance(inner, dict) else document).get("id"))
    if resource != "action":
        return None
    if event in _OF_ORDERS:
        return _named("order", document.get("arg"))
    return _named("refund", document.get("arg")) if event in _OF_REFUNDS else None


def _named(kind: LookKind, value: Any) -> tuple[LookKind, str] | None:
    text = str(value) if isinstance(value, (int, str)) and not isinstance(value, bool) else ""
    return (kind, text) if _ID.fullmatch(text) else None


def _short(text: str) -> str:
    """Keep a header's text within bounds; it is the store's, and verified, but not ours."""
    return "".join(character for character in text[:100] if "!" <= character <= "~") or "-"


async def _nudge(rt: Runtime, conn: Connection, store_id: str, kind: LookKind, subject: str) -> None:
    arguments = {"store_id": store_id, "kind": kind, "subject": subject}
    await rt.jobs.later(conn, TASK, arguments, lock=f"{store_id} {kind} {subject}")


async def reread(rt: Runtime, store_id: str, kind: LookKind, subject: str) -> None:
    """Look at an order, or at a refund's, and bring the ledger up to it; nothing if that is not due.

    A store that cannot be read is asked again, less and less often, for a day.
    """
    async with rt.database.committing() as conn:
        look = await notices.take(conn, store_id, kind, subject, lease=_LEASE, at_a_time=_AT_A_TIME)
    if look is None:
        return
    try:
        await _carry_out(rt, look)
    finally:
        # The next one may have been turned away while this one was under way.
        async with rt.database.transaction() as conn:
            for following in await notices.due(conn, limit=1, of_a_store=1, store_id=store_id):
                await _nudge(rt, conn, *following)


async def _carry_out(rt: Runtime, look: Look) -> None:
    try:
        await _look(rt, look)
    except OrderNotFound:
        facts = {"store_id": look.store_id, "kind": look.kind, "subject": look.subject}
        log.info("notice.dropped", **facts, why="The store has no such order.")
    except StoreError as error:
        await _try_again(rt, look, error)
        return
    async with rt.database.transaction() as conn:
        if not await notices.done(conn, look):
            await _nudge(rt, conn, look.store_id, look.kind, look.subject)


async def _look(rt: Runtime, look: Look) -> None:
    try:
        store, policy = await rt.stores.open(look.store_id)
    except LookupError:
        log.info("notice.dropped", store_id=look.store_id, why="The store is disabled.")
        return
    async with rt.database.reading() as conn:
        row = await tenants.store_by_id(conn, look.store_id)
    assert row is not None
    where = Where(tenant_id=row.tenant_id, store_id=row.id, store=row.name, api=store.api)
    order_id = look.subject if look.kind == "order" else await _order_of(rt, look, Shop(store=store, policy=policy))
    if order_id is None:
        # Deleted before anybody had seen it, or nobody can say: there is nothing in the ledger to be put right.
        log.info("notice.dropped", store_id=look.store_id, refund=look.subject, why="Nobody knows the refund's order.")
        return
    order = await store.read_order(order_id, read_at=look.now, priority="background", verify=True)
    await mirror_order(rt, where, order)
    async with rt.database.reading() as conn:
        in_doubt = await notices.in_doubt(conn, look.store_id, order_id)
    for refund_id in in_doubt:
        async with rt.database.reading() as conn:
            record = await refunds.get(conn, refund_id)
        if record is not None and record.status in ("uncertain", "needs_review"):
            await weigh_anew(rt, record, Shop(store=store, policy=policy))
    log.info("order.reread", store_id=look.store_id, order_id=order_id, attempt=look.attempts)


async def _order_of(rt: Runtime, look: Look, shop: Shop) -> str | None:
    """Find a refund's order: in the ledger, else in the store where that takes one question."""
    async with rt.database.reading() as conn:
        known = await notices.order_of_refund(conn, look.store_id, look.subject)
    if known is not None or shop.store.api != "v3":
        return known
    try:
        page = await shop.store.list_refunds(RefundQuery(include=(look.subject,), per_page=1))
    except StoreUnavailable:
        raise
    except StoreError:
        # Before WooCommerce 9.0 there is no such list.
        return None
    return next((listed.order_id for listed in page.refunds if listed.refund.id == look.subject), None)


async def _try_again(rt: Runtime, look: Look, error: StoreError) -> None:
    waited = look.now - look.first_at
    facts = {"store_id": look.store_id, "kind": look.kind, "subject": look.subject, "attempt": look.attempts}
    if waited > _GIVEN_UP_AFTER:
        async with rt.database.transaction() as conn:
            if not await notices.done(conn, look):
                await _nudge(rt, conn, look.store_id, look.kind, look.subject)
        log.warning("notice.given_up", **facts, why=str(error))
        return
    asked_s = error.retry_after_s if isinstance(error, StoreUnavailable) else None
    wait_s = max(asked_s or 0.0, min(_FIRST_WAIT_S * 2 ** min(look.attempts - 1, 10), _LONGEST_WAIT_S))
    async with rt.database.transaction() as conn:
        due_at = await notices.postpone(conn, look, wait=timedelta(seconds=wait_s))
        if due_at is not None:
            arguments = {"store_id": look.store_id, "kind": look.kind, "subject": look.subject}
            lock = f"{look.store_id} {look.kind} {look.subject}"
            await rt.jobs.later(conn, TASK, arguments, lock=lock, at=due_at)
    log.info("notice.postponed", **facts, wait_s=wait_s, why=str(error))


async def sweep(rt: Runtime) -> int:
    """Have looked at what is due and whose job died; gives how much that is."""
    async with rt.database.transaction() as conn:
        due = await notices.due(conn, limit=500, of_a_store=_AT_A_TIME)
        for store_id, kind, subject in due:
            await _nudge(rt, conn, store_id, kind, subject)
    return len(due)


async def tidy(rt: Runtime) -> None:
    """Forget notices that are older than the settings keep them."""
    async with rt.database.committing() as conn:
        await notices.forget(conn, older_than=timedelta(days=rt.settings.inbound_retention_days))
