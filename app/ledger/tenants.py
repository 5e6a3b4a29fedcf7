"""Tenants, their stores and their API keys."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from psycopg.types.json import Jsonb
from ulid import ULID

from app.database import Connection
from app.domain.refund import StorePolicy

#: As it was configured; `auto` until it was found out which API the store has.
StoreApi = Literal["v3", "legacy", "auto"]
StoreAuth = Literal["basic", "query", "oauth1"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """A customer of the gateway, with stores and keys of their own."""

    id: str
    name: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreRow:
    """A store as the ledger keeps it."""

    id: str
    tenant_id: str
    name: str
    url: str
    api: StoreApi
    auth: StoreAuth
    ca_file: str | None
    credentials: bytes = field(repr=False)  #: sealed; the row's id is the associated data
    policy: StorePolicy
    version: int  #: grows with every change that an open adapter has to notice
    created_at: datetime
    disabled_at: datetime | None


#: What a WooCommerce client may read through the gateway beside refunds.
FrontRead = Literal["orders", "products", "customers", "payment_gateways", "settings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontOptions:
    """How the front for WooCommerce's own clients treats a key."""

    unknown_status: Literal[202, 504] = 504  #: the answer's status while a refund's outcome is not known
    wait_s: float | None = None  #: how long a refund may keep its client waiting; None: as the settings say
    reads: frozenset[FrontRead] = frozenset()  #: what is passed through to the store


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRow:
    """An API key as the ledger keeps it; its text is not known to anyone but its owner."""

    id: str
    tenant_id: str
    name: str
    secret_hash: bytes = field(repr=False)
    scopes: frozenset[str]
    store_ids: frozenset[str] | None  #: None: every store of the tenant
    created_at: datetime
    revoked_at: datetime | None
    consumer_key: str | None = None  #: of a key for WooCommerce's own clients; other keys have none
    consumer_secret: bytes | None = field(default=None, repr=False)  #: sealed; the row's id is the associated data
    front: FrontOptions = field(default_factory=FrontOptions)


def new_tenant_id() -> str:
    """Make an id for a tenant."""
    return f"tn_{ULID()}"


def new_store_id() -> str:
    """Make an id for a store, before `add_store`: the credentials are sealed for it."""
    return f"st_{ULID()}"


async def add_tenant(conn: Connection, *, id: str, name: str) -> Tenant:  # noqa: A002 - the column's name
    """Add a tenant; raises psycopg's UniqueViolation for a name in use and CheckViolation for one that is no slug."""
    cursor = await conn.execute(
        "INSERT INTO tenant (id, name) VALUES (%s, %s) RETURNING id, name, created_at", (id, name)
    )
    row = await cursor.fetchone()
    assert row is not None
    return Tenant(**row)


async def tenants(conn: Connection) -> list[Tenant]:
    """List the tenants by name."""
    cursor = await conn.execute("SELECT id, name, created_at FROM tenant ORDER BY name")
    return [Tenant(**row) for row in await cursor.fetchall()]


async def tenant_by_name(conn: Connection, name: str) -> Tenant | None:
    """Find a tenant by its name."""
    cursor = await conn.execute("SELECT id, name, created_at FROM tenant WHERE name = %s", (name,))
    row = await cursor.fetchone()
    return Tenant(**row) if row else None


async def add_store(
    conn: Connection,
    *,
    id: str,  # noqa: A002 - the column's name
    tenant_id: str,
    name: str,
    url: str,
    api: StoreApi,
    auth: StoreAuth,
    credentials: bytes,
    ca_file: str | None = None,
    policy: StorePolicy | None = None,
) -> StoreRow:
    """Add a store with sealed credentials; raises psycopg's UniqueViolation when the tenant has one of this name."""
    cursor = await conn.execute(
        "INSERT INTO store (id, tenant_id, name, url, api, auth, ca_file, credentials, policy)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s) RETURNING *",
        (id, tenant_id, name, url, api, auth, ca_file, credentials, Jsonb(policy_json(policy or StorePolicy()))),
    )
    row = await cursor.fetchone()
    assert row is not None
    return _store(row)


async def stores(conn: Connection, tenant_id: str, *, store_ids: Iterable[str] | None = None) -> list[StoreRow]:
    """List a tenant's stores by name, disabled ones too; only those of `store_ids` when given."""
    cursor = await conn.execute(
        "SELECT * FROM store WHERE tenant_id = %(tenant)s AND (%(ids)s::text[] IS NULL OR id = ANY(%(ids)s::text[]))"
        " ORDER BY name",
        {"tenant": tenant_id, "ids": None if store_ids is None else list(store_ids)},
    )
    return [_store(row) for row in await cursor.fetchall()]


async def store_by_name(conn: Connection, tenant_id: str, name: str) -> StoreRow | None:
    """Find a tenant's store by its name, disabled or not."""
    cursor = await conn.execute("SELECT * FROM store WHERE tenant_id = %s AND name = %s", (tenant_id, name))
    row = await cursor.fetchone()
    return _store(row) if row else None


async def store_by_id(conn: Connection, store_id: str) -> StoreRow | None:
    """Find a store of any tenant by its id: for workers, which act for all of them."""
    cursor = await conn.execute("SELECT * FROM store WHERE id = %s", (store_id,))
    row = await cursor.fetchone()
    return _store(row) if row else None


async def store_version(conn: Connection, store_id: str) -> int | None:
    """Give the version of a store's row, to see whether an adapter built from it is still right."""
    cursor = await conn.execute("SELECT version FROM store WHERE id = %s", (store_id,))
    row = await cursor.fetchone()
    return int(row["version"]) if row else None


async def rotate_store(
    conn: Connection,
    tenant_id: str,
    name: str,
    credentials: bytes,
    *,
    url: str | None = None,
    api: StoreApi | None = None,
    auth: StoreAuth | None = None,
    ca_file: str | None = None,
) -> bool:
    """Replace a store's sealed credentials, and what else is given; False when there is no such store."""
    cursor = await conn.execute(
        "UPDATE store SET credentials = %s, url = coalesce(%s, url), api = coalesce(%s, api),"
        " auth = coalesce(%s, auth), ca_file = coalesce(%s, ca_file), version = version + 1"
        " WHERE tenant_id = %s AND name = %s",
        (credentials, url, api, auth, ca_file, tenant_id, name),
    )
    return cursor.rowcount == 1


async def set_store_policy(conn: Connection, tenant_id: str, name: str, policy: StorePolicy) -> bool:
    """Replace what a store's owner allows; False when there is no such store."""
    cursor = await conn.execute(
        "UPDATE store SET policy = %s, version = version + 1 WHERE tenant_id = %s AND name = %s",
        (Jsonb(policy_json(policy)), tenant_id, name),
    )
    return cursor.rowcount == 1


async def disable_store(conn: Connection, tenant_id: str, name: str) -> bool:
    """Take a store out of use; its refunds stay readable. False when there is none, or it is disabled already."""
    cursor = await conn.execute(
        "UPDATE store SET disabled_at = now(), version = version + 1"
        " WHERE tenant_id = %s AND name = %s AND disabled_at IS NULL",
        (tenant_id, name),
    )
    return cursor.rowcount == 1


async def add_key(
    conn: Connection,
    *,
    id: str,  # noqa: A002 - the column's name
    tenant_id: str,
    name: str,
    secret_hash: bytes,
    scopes: Iterable[str],
    store_ids: Iterable[str] | None = None,
    consumer_key: str | None = None,
    consumer_secret: bytes | None = None,
    front: FrontOptions | None = None,
) -> KeyRow:
    """Add an API key by the hash of its text; one for WooCommerce's clients with its sealed secret besides.

    OAuth 1.0a can only be verified with the secret itself.
    """
    cursor = await conn.execute(
        "INSERT INTO api_key"
        " (id, tenant_id, name, secret_hash, scopes, store_ids, consumer_key, consumer_secret, front)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s) RETURNING *",
        (
            id,
            tenant_id,
            name,
            secret_hash,
            sorted(set(scopes)),
            None if store_ids is None else sorted(set(store_ids)),
            consumer_key,
            consumer_secret,
            Jsonb({} if front is None else front_json(front)),
        ),
    )
    row = await cursor.fetchone()
    assert row is not None
    return _key(row)


async def keys(conn: Connection, tenant_id: str) -> list[KeyRow]:
    """List a tenant's keys, oldest first, revoked ones too."""
    cursor = await conn.execute("SELECT * FROM api_key WHERE tenant_id = %s ORDER BY created_at, id", (tenant_id,))
    return [_key(row) for row in await cursor.fetchall()]


async def key_by_id(conn: Connection, key_id: str) -> KeyRow | None:
    """Find a key of any tenant by its id, revoked or not: who the caller is, is what it tells."""
    cursor = await conn.execute("SELECT * FROM api_key WHERE id = %s", (key_id,))
    row = await cursor.fetchone()
    return _key(row) if row else None


async def key_by_consumer_key(conn: Connection, consumer_key: str) -> KeyRow | None:
    """Find the key of any tenant that a WooCommerce client names, revoked or not."""
    cursor = await conn.execute("SELECT * FROM api_key WHERE consumer_key = %s", (consumer_key,))
    row = await cursor.fetchone()
    return _key(row) if row else None


async def settle_api(conn: Connection, store_id: str, api: StoreApi) -> None:
    """Keep which API was found out for a store that was added with `auto`."""
    await conn.execute(
        "UPDATE store SET api = %s, version = version + 1 WHERE id = %s AND api = 'auto'", (api, store_id)
    )


async def revoke_key(conn: Connection, tenant_id: str, key_id: str) -> bool:
    """Take a key out of use for ever; False when the tenant has no such key, or it is revoked already."""
    cursor = await conn.execute(
        "UPDATE api_key SET revoked_at = now() WHERE tenant_id = %s AND id = %s AND revoked_at IS NULL",
        (tenant_id, key_id),
    )
    return cursor.rowcount == 1


def policy_json(policy: StorePolicy) -> dict[str, Any]:
    """Write a policy as the `policy` column keeps it."""
    return {
        "refundable_statuses": sorted(policy.refundable_statuses),
        "manual_refunds_of_unpaid_orders": policy.manual_refunds_of_unpaid_orders,
        "marker_in_reason": policy.marker_in_reason,
        "on_absence": policy.on_absence,
        "refunding_methods": sorted(policy.refunding_methods),
    }


def policy_from(value: dict[str, Any]) -> StorePolicy:
    """Read a policy; what an older row does not say has its default."""
    known = {name: value[name] for name in StorePolicy.__dataclass_fields__ if name in value}
    for name in ("refundable_statuses", "refunding_methods"):
        if name in known:
            known[name] = frozenset(known[name])
    return StorePolicy(**known)


def front_json(options: FrontOptions) -> dict[str, Any]:
    """Write the options of a key for WooCommerce's clients as the `front` column keeps them."""
    return {"unknown_status": options.unknown_status, "wait_s": options.wait_s, "reads": sorted(options.reads)}


def front_from(value: dict[str, Any]) -> FrontOptions:
    """Read the options; what an older row does not say has its default."""
    known = {name: value[name] for name in FrontOptions.__dataclass_fields__ if name in value}
    return FrontOptions(**{**known, "reads": frozenset(known.get("reads", ()))})


def _store(row: dict[str, Any]) -> StoreRow:
    return StoreRow(**{**row, "policy": policy_from(row["policy"])})


def _key(row: dict[str, Any]) -> KeyRow:
    store_ids = row["store_ids"]
    return KeyRow(
        **{
            **row,
            "scopes": frozenset(row["scopes"]),
            "store_ids": None if store_ids is None else frozenset(store_ids),
            "front": front_from(row["front"]),
        }
    )
