"""Sources of inbound messages: who may send, with which secret, and how what they send is read."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from ulid import ULID

from app.flows.results import Caller, KeyReused, StoreNotFound
from app.flows.runtime import Runtime
from app.ledger import inbound, keys, tenants
from app.ledger.inbound import Source
from app.signatures import is_usable, new_secret, proves_header, verification_from


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How a source's messages are verified, read and told apart."""

    name: str
    verification: Mapping[str, Any]
    mapping: Mapping[str, Any]
    dedupe: Mapping[str, Any] | None
    store: str | None

    @classmethod
    def of(cls, source: Source) -> "Reading":
        """Give how a source is read as it is."""
        return cls(
            name=source.name,
            verification=source.verification,
            mapping=source.mapping,
            dedupe=source.dedupe,
            store=source.store,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceMade:
    """A source, with its secret if that was made by this request: it is shown once."""

    source: Source
    secret: str | None
    replayed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceNotFound:
    """The tenant has no such source, or the key is limited to other stores."""

    source_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NameTaken:
    """The tenant has a source of this name already."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretUnusable:
    """The secret is not one that the source's kind of verification can be done with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderUnproved:
    """The header that messages are to be told apart by is not signed.

    Whoever has recorded a message could send it again under another one, and have it taken for a second refund.
    """

    header: str


def _unproved(new: Reading) -> HeaderUnproved | None:
    header = (new.dedupe or {}).get("header")
    if header is None or proves_header(verification_from(new.verification), header):
        return None
    return HeaderUnproved(header=header)


async def create(
    rt: Runtime, caller: Caller, new: Reading, *, secret: str | None, idempotency_key: str | None, fingerprint: bytes
) -> SourceMade | KeyReused | NameTaken | StoreNotFound | SecretUnusable | HeaderUnproved:
    """Add a source; its refunds may be of the stores that the caller may use now, and of no others."""
    verification = verification_from(new.verification)
    unproved = _unproved(new)
    if unproved is not None:
        return unproved
    if secret is not None and not is_usable(secret, verification):
        return SecretUnusable()
    source_id = f"src_{ULID()}"
    text = secret or new_secret(verification)
    try:
        async with rt.database.transaction() as conn:
            if idempotency_key is not None:
                claimed = await keys.claim(conn, caller.tenant_id, idempotency_key, fingerprint, source_id)
                if not claimed.first:
                    known = await inbound.source_of(conn, caller.tenant_id, claimed.resource_id)
                    if not claimed.same or known is None:
                        return KeyReused(resource_id=claimed.resource_id)
                    return SourceMade(source=known, secret=None, replayed=True)
            if new.store is not None:
                store = await tenants.store_by_name(conn, caller.tenant_id, new.store)
                if store is None or (caller.store_ids is not None and store.id not in caller.store_ids):
                    raise _NoStore
            source = await inbound.add_source(
                conn,
                id=source_id,
                tenant_id=caller.tenant_id,
                name=new.name,
                verification=new.verification,
                secret=rt.sealer.seal(text.encode(), aad=source_id),
                mapping=new.mapping,
                dedupe=new.dedupe,
                store=new.store,
                store_ids=caller.store_ids,
                created_by=caller.actor,
            )
    except inbound.NameTaken:
        return NameTaken(name=new.name)
    except _NoStore:
        return StoreNotFound(store=new.store or "")
    return SourceMade(source=source, secret=None if secret else text, replayed=False)


class _NoStore(Exception):
    """Rolls a creation back, the claimed key with it."""


async def find(rt: Runtime, caller: Caller, source_id: str) -> Source | SourceNotFound:
    """Find a source that is in use and that the caller may see."""
    async with rt.database.reading() as conn:
        source = await inbound.source_of(conn, caller.tenant_id, source_id)
    if source is None or source.deleted_at is not None or not _may_see(caller, source):
        return SourceNotFound(source_id=source_id)
    return source


def _may_see(caller: Caller, source: Source) -> bool:
    if caller.store_ids is None:
        return True
    return source.store_ids is not None and source.store_ids <= caller.store_ids


async def change(
    rt: Runtime, source: Source, new: Reading
) -> Source | SourceNotFound | NameTaken | StoreNotFound | SecretUnusable | HeaderUnproved:
    """Replace how a source's messages are read."""
    unproved = _unproved(new)
    if unproved is not None:
        return unproved
    async with rt.database.reading() as conn:
        store = None if new.store is None else await tenants.store_by_name(conn, source.tenant_id, new.store)
    if new.store is not None and (store is None or (source.store_ids is not None and store.id not in source.store_ids)):
        return StoreNotFound(store=new.store)
    if not is_usable(secrets_of(rt, source)[0], verification_from(new.verification)):
        return SecretUnusable()
    try:
        async with rt.database.transaction() as conn:
            after = await inbound.change_source(
                conn,
                source,
                name=new.name,
                verification=new.verification,
                mapping=new.mapping,
                dedupe=new.dedupe,
                store=new.store,
            )
    except inbound.NameTaken:
        return NameTaken(name=new.name)
    return SourceNotFound(source_id=source.id) if after is None else after


async def rotate(
    rt: Runtime, source: Source, *, secret: str | None, overlap: timedelta
) -> SourceMade | SourceNotFound | SecretUnusable:
    """Give a source a new secret; the old one counts as well for so long."""
    verification = verification_from(source.verification)
    if secret is not None and not is_usable(secret, verification):
        return SecretUnusable()
    text = secret or new_secret(verification)
    async with rt.database.committing() as conn:
        after = await inbound.rotate_secret(conn, source, rt.sealer.seal(text.encode(), aad=source.id), overlap=overlap)
    if after is None:
        return SourceNotFound(source_id=source.id)
    return SourceMade(source=after, secret=None if secret else text, replayed=False)


async def delete(rt: Runtime, source: Source) -> bool:
    """Take a source out of use for good; its messages are kept."""
    async with rt.database.committing() as conn:
        return await inbound.delete_source(conn, source)


def secrets_of(rt: Runtime, source: Source) -> tuple[str, ...]:
    """Open the secrets that count at present, the newest first."""
    sealed = [source.secret]
    if source.previous_secret is not None and source.previous_until is not None and source.previous_until > rt.clock():
        sealed.append(source.previous_secret)
    return tuple(rt.sealer.open(one, aad=source.id).decode() for one in sealed)
