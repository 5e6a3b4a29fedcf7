"""Tenants, stores and keys on a real PostgreSQL."""

from collections.abc import AsyncIterator

import psycopg
import pytest

from app.crypto import new_api_key
from app.database import Connection, Database
from app.domain.refund import StorePolicy
from app.ledger import tenants


@pytest.fixture
async def conn(database_url: str) -> AsyncIterator[Connection]:
    """Lend a connection to an empty ledger."""
    database = Database(database_url, size=2)
    await database.open()
    try:
        async with database.reading() as connection:
            yield connection
    finally:
        await database.close()


async def acme(conn: Connection, name: str = "acme") -> tenants.Tenant:
    return await tenants.add_tenant(conn, id=tenants.new_tenant_id(), name=name)


async def shop(conn: Connection, tenant_id: str, name: str = "acme-de") -> tenants.StoreRow:
    return await tenants.add_store(
        conn,
        id=tenants.new_store_id(),
        tenant_id=tenant_id,
        name=name,
        url="https://shop.example",
        api="v3",
        auth="basic",
        credentials=b"sealed",
    )


async def test_a_tenant_is_found_by_name(conn: Connection) -> None:
    zeta, acme_tenant = await acme(conn, "zeta"), await acme(conn)
    assert await tenants.tenants(conn) == [acme_tenant, zeta]
    assert await tenants.tenant_by_name(conn, "acme") == acme_tenant
    assert await tenants.tenant_by_name(conn, "nobody") is None


async def test_a_tenants_name_is_unique(conn: Connection) -> None:
    await acme(conn)
    with pytest.raises(psycopg.errors.UniqueViolation):
        await acme(conn)


async def test_a_tenants_name_is_a_slug(conn: Connection) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        await acme(conn, "Acme Inc.")


async def test_a_store_belongs_to_its_tenant_alone(conn: Connection) -> None:
    mine, other = await acme(conn), await acme(conn, "other")
    store = await shop(conn, mine.id)
    same_name = await shop(conn, other.id)
    assert await tenants.stores(conn, mine.id) == [store]
    assert await tenants.store_by_name(conn, mine.id, "acme-de") == store
    assert await tenants.store_by_name(conn, other.id, "acme-de") == same_name
    assert await tenants.store_by_id(conn, store.id) == store
    assert await tenants.store_by_id(conn, "st_none") is None
    assert not await tenants.rotate_store(conn, other.id, "acme-at", b"stolen")
    assert store.policy == StorePolicy()
    assert b"sealed" not in repr(store).encode()


async def test_stores_can_be_listed_for_a_limited_key(conn: Connection) -> None:
    tenant = await acme(conn)
    at, de = await shop(conn, tenant.id, "acme-at"), await shop(conn, tenant.id)
    assert await tenants.stores(conn, tenant.id) == [at, de]
    assert await tenants.stores(conn, tenant.id, store_ids={de.id}) == [de]
    assert await tenants.stores(conn, tenant.id, store_ids=()) == []


async def test_rotating_a_store_keeps_what_is_not_given_and_is_noticed(conn: Connection) -> None:
    tenant = await acme(conn)
    store = await shop(conn, tenant.id)
    assert await tenants.rotate_store(conn, tenant.id, "acme-de", b"new", auth="query")
    rotated = await tenants.store_by_id(conn, store.id)
    assert rotated is not None
    assert (rotated.credentials, rotated.url, rotated.auth) == (b"new", store.url, "query")
    assert rotated.version == store.version + 1 == await tenants.store_version(conn, store.id)
    assert await tenants.store_version(conn, "st_none") is None


async def test_a_policy_survives_the_ledger(conn: Connection) -> None:
    tenant = await acme(conn)
    store = await shop(conn, tenant.id)
    policy = StorePolicy(
        refundable_statuses=frozenset({"processing", "shipped"}),
        manual_refunds_of_unpaid_orders=True,
        marker_in_reason=False,
        on_absence="resend",
    )
    assert await tenants.set_store_policy(conn, tenant.id, "acme-de", policy)
    changed = await tenants.store_by_id(conn, store.id)
    assert changed is not None
    assert changed.policy == policy
    assert changed.version == store.version + 1
    assert not await tenants.set_store_policy(conn, tenant.id, "acme-at", policy)


def test_a_policy_of_an_older_row_has_defaults() -> None:
    assert tenants.policy_from({"on_absence": "resend", "long_gone": 1}) == StorePolicy(on_absence="resend")


async def test_a_store_is_disabled_once(conn: Connection) -> None:
    tenant = await acme(conn)
    store = await shop(conn, tenant.id)
    assert await tenants.disable_store(conn, tenant.id, "acme-de")
    assert not await tenants.disable_store(conn, tenant.id, "acme-de")
    disabled = await tenants.store_by_id(conn, store.id)
    assert disabled is not None
    assert disabled.disabled_at is not None
    assert disabled.version == store.version + 1


async def test_a_key_is_found_by_its_id_and_revoked_by_its_tenant(conn: Connection) -> None:
    mine, other = await acme(conn), await acme(conn, "other")
    new = new_api_key()
    key = await tenants.add_key(
        conn,
        id=new.id,
        tenant_id=mine.id,
        name="erp",
        secret_hash=new.hash,
        scopes=["refunds:write", "refunds:read", "refunds:read"],
        store_ids=["st_1"],
    )
    assert key.scopes == {"refunds:read", "refunds:write"}
    assert key.store_ids == {"st_1"}
    assert await tenants.key_by_id(conn, new.id) == key
    assert await tenants.keys(conn, mine.id) == [key]
    assert await tenants.keys(conn, other.id) == []
    assert not await tenants.revoke_key(conn, other.id, new.id)
    assert await tenants.revoke_key(conn, mine.id, new.id)
    assert not await tenants.revoke_key(conn, mine.id, new.id)
    revoked = await tenants.key_by_id(conn, new.id)
    assert revoked is not None
    assert revoked.revoked_at is not None


async def test_a_key_without_a_limit_sees_every_store(conn: Connection) -> None:
    tenant, new = await acme(conn), new_api_key()
    key = await tenants.add_key(
        conn, id=new.id, tenant_id=tenant.id, name="erp", secret_hash=new.hash, scopes=["admin"]
    )
    assert key.store_ids is None
    assert await tenants.key_by_id(conn, "nobody") is None
