"""Webhook endpoints as people handle them: add, look, change, rotate, try out, replay."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from ulid import ULID

from app.addresses import forbidden_range
from app.database import Connection
from app.domain.delivery import DeliveryStatus, UnfitUrl, fit_url
from app.flows import relay
from app.flows.deliver import post, target_of
from app.flows.results import Caller, KeyReused, StoreNotFound
from app.flows.runtime import Runtime
from app.flows.signing import Message, new_secret
from app.ledger import deliveries, endpoints, keys, tenants
from app.ledger.deliveries import Attempt, Delivery
from app.ledger.endpoints import Endpoint, Settled

#: Endpoints of one tenant (about: two that are added at the same time do not see each other). Each of them makes a
#: delivery of every event, and one that hangs keeps a job.
ENDPOINTS_MAX = 50
#: Deliveries that one replay may ask for.
REPLAY_LIMIT = 50_000


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointView:
    """An endpoint with what its row alone does not say."""

    endpoint: Endpoint
    stores: tuple[str, ...] | None  #: names; None: all
    old_secrets_until: datetime | None  #: deliveries are signed with older secrets too until then
    secret: str | None = field(default=None, repr=False)  #: only when it was just made
    replayed: bool = False  #: it was there, or had that secret, before this request, by its Idempotency-Key

    @property
    def id(self) -> str:
        """Give the endpoint's id, by which lists go."""
        return self.endpoint.id


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointDraft:
    """What callers decide about an endpoint, with stores by their names."""

    url: str = field(repr=False)
    description: str
    types: tuple[str, ...] | None  #: whole types or families ("refund.*"); None: all
    stores: tuple[str, ...] | None  #: None: every store that the caller may use


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointNotFound:
    """The tenant has no such endpoint, or the key is limited to other stores than its."""

    endpoint_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryNotFound:
    """The endpoint has no such delivery, or it was so long ago that it was forgotten."""

    delivery_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UrlRefused:
    """No event can be sent to this address."""

    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointDisabled:
    """The endpoint is out of use, so that nothing can be sent to it."""

    endpoint_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayTooLarge:
    """More events than can be replayed at a time."""

    limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TooManyEndpoints:
    """The tenant has as many endpoints as it can have."""

    limit: int


class _Full(Exception):
    """Rolls a creation back, the claimed key with it."""


Changed = EndpointView | EndpointNotFound | StoreNotFound | UrlRefused


async def create(
    rt: Runtime, caller: Caller, draft: EndpointDraft, *, idempotency_key: str | None, fingerprint: bytes
) -> EndpointView | KeyReused | EndpointNotFound | StoreNotFound | UrlRefused | TooManyEndpoints:
    """Add an endpoint, with the secret that is shown this once. EndpointNotFound: the key's endpoint was deleted."""
    refused = unfit(rt, draft.url)
    if refused is not None:
        return refused
    try:
        return await _create(rt, caller, draft, idempotency_key, fingerprint)
    except _Full:
        return TooManyEndpoints(limit=ENDPOINTS_MAX)


async def _create(
    rt: Runtime, caller: Caller, draft: EndpointDraft, idempotency_key: str | None, fingerprint: bytes
) -> EndpointView | KeyReused | EndpointNotFound | StoreNotFound:
    endpoint_id, secret = endpoints.new_endpoint_id(), new_secret()
    async with rt.database.transaction() as conn:
        settled = await _settled(conn, caller, draft)
        if isinstance(settled, StoreNotFound):
            return settled
        if idempotency_key is not None:
            claimed = await keys.claim(conn, caller.tenant_id, idempotency_key, fingerprint, endpoint_id)
            if not claimed.same:
                return KeyReused(resource_id=claimed.resource_id)
            if not claimed.first:
                return await _again(conn, caller, claimed.resource_id)
        if await endpoints.count(conn, caller.tenant_id) >= ENDPOINTS_MAX:
            raise _Full
        sealed = rt.sealer.seal(secret.encode(), aad=endpoint_id)
        endpoint = await endpoints.add(
            conn, caller.tenant_id, endpoint_id, settled, sealed=sealed, created_by=caller.actor
        )
        return replace(await _view(conn, endpoint), secret=secret)


def unfit(rt: Runtime, url: str) -> UrlRefused | None:
    """Say why no event can be sent to an address. Names are resolved, and judged, only when something is sent."""
    allow_private = rt.settings.allow_private_stores
    try:
        host = fit_url(url, allow_http=allow_private)
    except UnfitUrl as error:
        return UrlRefused(why=str(error))
    forbidden = forbidden_range(host, allow_private=allow_private)
    if forbidden is None or forbidden == "malformed":  # what is no address is a name
        return None
    return UrlRefused(why=f"The host is a {forbidden} address; events are not sent there.")


async def _settled(conn: Connection, caller: Caller, draft: EndpointDraft) -> Settled | StoreNotFound:
    """Look the stores up; an endpoint made by a key that is limited to stores is limited to them as well."""
    store_ids = caller.store_ids
    if draft.stores is not None:
        rows = await tenants.stores(conn, caller.tenant_id, store_ids=caller.store_ids)
        ids = {row.name: row.id for row in rows}
        missing = next((name for name in draft.stores if name not in ids), None)
        if missing is not None:
            return StoreNotFound(store=missing)
        store_ids = frozenset(ids[name] for name in draft.stores)
    return Settled(url=draft.url, description=draft.description, types=draft.types, store_ids=store_ids)


async def _view(conn: Connection, endpoint: Endpoint, names: Mapping[str, str] | None = None) -> EndpointView:
    stores: tuple[str, ...] | None = None
    if endpoint.store_ids is not None:
        if names is None:
            names = await _names(conn, endpoint.tenant_id)
        stores = tuple(sorted(names[id_] for id_ in endpoint.store_ids if id_ in names))
    old = [secret.expires_at for secret in await endpoints.secrets(conn, endpoint.id) if secret.expires_at is not None]
    return EndpointView(endpoint=endpoint, stores=stores, old_secrets_until=max(old, default=None))


async def _names(conn: Connection, tenant_id: str) -> Mapping[str, str]:
    return {row.id: row.name for row in await tenants.stores(conn, tenant_id)}


async def _again(conn: Connection, caller: Caller, endpoint_id: str) -> EndpointView | EndpointNotFound:
    endpoint = await endpoints.find(conn, caller.tenant_id, endpoint_id, within=caller.store_ids)
    if endpoint is None:
        return EndpointNotFound(endpoint_id=endpoint_id)
    return replace(await _view(conn, endpoint), replayed=True)


async def listed(rt: Runtime, caller: Caller, *, limit: int, after: str | None) -> list[EndpointView]:
    """Give the endpoints that the caller may handle, oldest first, from behind the id `after`."""
    async with rt.database.reading() as conn:
        found = await endpoints.page(conn, caller.tenant_id, within=caller.store_ids, limit=limit, after=after)
        names = await _names(conn, caller.tenant_id)
        return [await _view(conn, endpoint, names) for endpoint in found]


async def look(rt: Runtime, caller: Caller, endpoint_id: str) -> EndpointView | EndpointNotFound:
    """Give an endpoint and how it fares."""
    async with rt.database.reading() as conn:
        endpoint = await endpoints.find(conn, caller.tenant_id, endpoint_id, within=caller.store_ids)
        return EndpointNotFound(endpoint_id=endpoint_id) if endpoint is None else await _view(conn, endpoint)


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointChange:
    """What is to be another way from now on; whatever is not named stays."""

    named: frozenset[str]  #: names of the fields below that count
    url: str = field(default="", repr=False)
    description: str = ""
    types: tuple[str, ...] | None = None
    stores: tuple[str, ...] | None = None
    enabled: bool = True


async def change(rt: Runtime, caller: Caller, endpoint_id: str, wanted: EndpointChange) -> Changed:
    """Change an endpoint, and put it in or out of use. Back in use, what waits for it is due at once."""
    if "url" in wanted.named:
        refused = unfit(rt, wanted.url)
        if refused is not None:
            return refused
    async with rt.database.transaction() as conn:
        before = await endpoints.find(conn, caller.tenant_id, endpoint_id, within=caller.store_ids, lock=True)
        if before is None:
            return EndpointNotFound(endpoint_id=endpoint_id)
        settled = await _changed(conn, caller, before, wanted)
        if isinstance(settled, StoreNotFound):
            return settled
        await endpoints.change(conn, endpoint_id, settled)
        if "enabled" in wanted.named:
            if wanted.enabled and before.disabled_at is not None:
                await endpoints.enable(conn, endpoint_id)
            elif not wanted.enabled and before.disabled_at is None:
                await endpoints.disable(conn, before, "by_request")
        if "enabled" in wanted.named or settled.url != before.url:
            # Whatever it was that failed, it may be right now.
            await deliveries.bring_forward(conn, endpoint_id, every=True)
        await relay.nudge(rt, conn)
        after = await endpoints.find(conn, caller.tenant_id, endpoint_id, within=None)
        assert after is not None
        return await _view(conn, after)


async def _changed(
    conn: Connection, caller: Caller, before: Endpoint, wanted: EndpointChange
) -> Settled | StoreNotFound:
    draft = EndpointDraft(
        url=wanted.url if "url" in wanted.named else before.url,
        description=wanted.description if "description" in wanted.named else before.description,
        types=wanted.types if "types" in wanted.named else before.types,
        stores=wanted.stores,
    )
    settled = await _settled(conn, caller, draft)
    if isinstance(settled, StoreNotFound) or "stores" in wanted.named:
        return settled
    return replace(settled, store_ids=before.store_ids)


async def remove(rt: Runtime, caller: Caller, endpoint_id: str) -> EndpointNotFound | None:
    """Delete an endpoint with its secrets and deliveries; the events stay in the feed."""
    async with rt.database.transaction() as conn:
        if await endpoints.find(conn, caller.tenant_id, endpoint_id, within=caller.store_ids, lock=True) is None:
            return EndpointNotFound(endpoint_id=endpoint_id)
        await endpoints.remove(conn, endpoint_id)
    return None


async def rotate(
    rt: Runtime,
    caller: Caller,
    endpoint_id: str,
    *,
    overlap: timedelta,
    idempotency_key: str | None,
    fingerprint: bytes,
) -> EndpointView | EndpointNotFound | KeyReused:
    """Sign with a new secret, shown this once, and with the ones before for as long as they overlap."""
    secret = new_secret()
    async with rt.database.transaction() as conn:
        endpoint = await endpoints.find(conn, caller.tenant_id, endpoint_id, within=caller.store_ids, lock=True)
        if endpoint is None:
            return EndpointNotFound(endpoint_id=endpoint_id)
        if idempotency_key is not None:
            claimed = await keys.claim(conn, caller.tenant_id, idempotency_key, fingerprint, endpoint_id)
            if not claimed.same:
                return KeyReused(resource_id=claimed.resource_id)
            if not claimed.first:
                return replace(await _view(conn, endpoint), replayed=True)
        sealed = rt.sealer.seal(secret.encode(), aad=endpoint_id)
        await endpoints.rotate(conn, endpoint_id, sealed, overlap=overlap)
        return replace(await _view(conn, endpoint), secret=secret)


async def try_out(rt: Runtime, caller: Caller, endpoint_id: str) -> Attempt | EndpointNotFound:
    """Send a signed `webhook_endpoint.test` now, in use or not, and say what became of it; it is kept nowhere."""
    async with rt.database.reading() as conn:
        endpoint = await endpoints.find(conn, caller.tenant_id, endpoint_id, within=caller.store_ids)
        if endpoint is None:
            return EndpointNotFound(endpoint_id=endpoint_id)
        target = await target_of(rt, conn, endpoint)
    message = Message(
        id=f"evt_test_{ULID()}",
        type="webhook_endpoint.test",
        at=rt.clock(),
        data={"id": endpoint.id, "object": "webhook_endpoint", "description": endpoint.description},
    )
    return (await post(rt, target, message)).attempt


async def delivered(
    rt: Runtime,
    caller: Caller,
    endpoint_id: str,
    *,
    status: DeliveryStatus | None,
    types: Collection[str] | None,
    limit: int,
    after: int | None,
) -> list[Delivery] | EndpointNotFound:
    """Give an endpoint's deliveries, newest first, from behind the number `after`."""
    async with rt.database.reading() as conn:
        if await endpoints.find(conn, caller.tenant_id, endpoint_id, within=caller.store_ids) is None:
            return EndpointNotFound(endpoint_id=endpoint_id)
        return await deliveries.page(conn, endpoint_id, status=status, types=types, limit=limit, after=after)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryView:
    """A delivery with everything that was tried."""

    delivery: Delivery
    attempts: tuple[Attempt, ...]


async def delivery(
    rt: Runtime, caller: Caller, endpoint_id: str, delivery_id: int
) -> DeliveryView | EndpointNotFound | DeliveryNotFound:
    """Give one delivery with its attempts."""
    async with rt.database.reading() as conn:
        if await endpoints.find(conn, caller.tenant_id, endpoint_id, within=caller.store_ids) is None:
            return EndpointNotFound(endpoint_id=endpoint_id)
        found = await deliveries.find(conn, endpoint_id, delivery_id)
        if found is None:
            return DeliveryNotFound(delivery_id=f"wd_{delivery_id}")
        return DeliveryView(delivery=found, attempts=tuple(await deliveries.attempts(conn, delivery_id)))


async def replay(
    rt: Runtime, caller: Caller, endpoint_id: str, delivery_id: int
) -> Delivery | EndpointNotFound | DeliveryNotFound | EndpointDisabled:
    """Have one delivery sent again, with the same event id."""
    async with rt.database.transaction() as conn:
        no = await _lock_usable(conn, caller, endpoint_id)
        if no is not None:
            return no
        found = await deliveries.replay(conn, endpoint_id, delivery_id, give_up_after=_give_up_after(rt))
        if found is None:
            return DeliveryNotFound(delivery_id=f"wd_{delivery_id}")
        await _go(rt, conn, endpoint_id)
        return found


async def replay_many(
    rt: Runtime,
    caller: Caller,
    endpoint_id: str,
    *,
    since: datetime,
    until: datetime | None,
    types: Collection[str] | None,
    only_failed: bool,
) -> int | EndpointNotFound | EndpointDisabled | ReplayTooLarge:
    """Have the events of a time sent, again or for the first time, if the endpoint wants them; gives how many."""
    await relay.catch_up(rt)
    async with rt.database.transaction() as conn:
        no = await _lock_usable(conn, caller, endpoint_id)
        if no is not None:
            return no
        count = await deliveries.replay_many(
            conn,
            endpoint_id,
            since=since,
            until=until,
            types=types,
            only_failed=only_failed,
            give_up_after=_give_up_after(rt),
            limit=REPLAY_LIMIT,
        )
        if count is None:
            return ReplayTooLarge(limit=REPLAY_LIMIT)
        await _go(rt, conn, endpoint_id)
        return count


async def _lock_usable(
    conn: Connection, caller: Caller, endpoint_id: str
) -> EndpointNotFound | EndpointDisabled | None:
    endpoint = await endpoints.find(conn, caller.tenant_id, endpoint_id, within=caller.store_ids, lock=True)
    if endpoint is None:
        return EndpointNotFound(endpoint_id=endpoint_id)
    return None if endpoint.disabled_at is None else EndpointDisabled(endpoint_id=endpoint_id)


async def _go(rt: Runtime, conn: Connection, endpoint_id: str) -> None:
    await endpoints.wake(conn, [endpoint_id])
    await relay.nudge(rt, conn)


def _give_up_after(rt: Runtime) -> timedelta:
    return timedelta(seconds=rt.settings.webhook_give_up_s)
