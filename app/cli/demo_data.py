"""What the demo keeps: its tenant, store and keys in the ledger, and `demo.json` for programs."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

from app.cli.keys import SCOPES
from app.crypto import CryptoError, Sealer, api_key_id, is_api_key, new_api_key, new_consumer_key
from app.database import Connection
from app.ledger import tenants
from app.ledger.tenants import FrontOptions, FrontRead, Tenant
from app.wiring import seal_credentials

TENANT = STORE = "demo"
_CONSUMER_KEY, _CONSUMER_SECRET = "ck_sandbox_rw", "cs_sandbox_rw"  # the sandbox's, known to everybody


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOrder:
    """An order of the sandbox store."""

    id: str
    number: str
    total: str
    currency: str
    payment_method: str
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoKeys:
    """What opens the demo: a key of the gateway's own API, and one for WooCommerce's clients."""

    api_key: str
    consumer_key: str
    consumer_secret: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoFile:
    """`demo.json`: where everything is, and the keys that open it."""

    base_url: str
    api_key: str
    consumer_key: str
    consumer_secret: str
    store: str
    sandbox_url: str
    orders: Sequence[DemoOrder]

    def write(self, path: Path) -> None:
        """Write it for its owner's eyes only, whole or not at all."""
        fresh = path.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(asdict(self), file, ensure_ascii=False, indent=2)
            file.write("\n")
        fresh.replace(path)


async def plant(conn: Connection, seal: Sealer, *, sandbox_url: str, file: Path) -> DemoKeys:
    """See to it that tenant, store and keys are there, and give the keys: the kept ones while they are good."""
    tenant = await tenants.tenant_by_name(conn, TENANT)
    if tenant is None:
        tenant = await tenants.add_tenant(conn, id=tenants.new_tenant_id(), name=TENANT)
    await _plant_store(conn, seal, tenant, sandbox_url)
    kept = _kept(file)
    api_key = kept.get("api_key", "")
    if not await _is_good(conn, tenant, api_key):
        api_key = await _new_key(conn, tenant)
    pair = kept.get("consumer_key", ""), kept.get("consumer_secret", "")
    if not await _is_good_pair(conn, seal, tenant, *pair):
        pair = await _new_pair(conn, seal, tenant)
    return DemoKeys(api_key=api_key, consumer_key=pair[0], consumer_secret=pair[1])


async def _new_key(conn: Connection, tenant: Tenant) -> str:
    key = new_api_key()
    scopes = list(SCOPES)
    await tenants.add_key(conn, id=key.id, tenant_id=tenant.id, name="demo", secret_hash=key.hash, scopes=scopes)
    return key.text


async def _new_pair(conn: Connection, seal: Sealer, tenant: Tenant) -> tuple[str, str]:
    key = new_consumer_key()
    await tenants.add_key(
        conn,
        id=key.id,
        tenant_id=tenant.id,
        name="demo, for WooCommerce's clients",
        secret_hash=key.hash,
        scopes=[scope for scope in SCOPES if scope != "admin"],
        consumer_key=key.consumer_key,
        consumer_secret=seal.seal(key.consumer_secret.encode(), aad=key.id),
        front=FrontOptions(reads=frozenset(get_args(FrontRead))),
    )
    return key.consumer_key, key.consumer_secret


async def _plant_store(conn: Connection, seal: Sealer, tenant: Tenant, url: str) -> None:
    row = await tenants.store_by_name(conn, tenant.id, STORE)
    store_id = tenants.new_store_id() if row is None else row.id
    credentials = seal_credentials(seal, store_id, consumer_key=_CONSUMER_KEY, consumer_secret=_CONSUMER_SECRET)
    if row is None:
        await tenants.add_store(
            conn,
            id=store_id,
            tenant_id=tenant.id,
            name=STORE,
            url=url,
            api="v3",
            auth="oauth1",
            credentials=credentials,
        )
    elif row.url != url or not _opens(seal, row.credentials, row.id):
        # Another port, or a sealing key that was thrown away.
        await tenants.rotate_store(conn, tenant.id, STORE, credentials, url=url)


def _opens(seal: Sealer, sealed: bytes, row_id: str) -> bool:
    try:
        seal.open(sealed, aad=row_id)
    except CryptoError:
        return False
    return True


def _kept(file: Path) -> dict[str, str]:
    try:
        kept: Any = json.loads(file.read_text())
        return {name: text for name, text in kept.items() if isinstance(text, str)}
    except (OSError, ValueError, AttributeError):
        return {}


async def _is_good(conn: Connection, tenant: Tenant, text: str) -> bool:
    key_id = api_key_id(text)
    row = None if key_id is None else await tenants.key_by_id(conn, key_id)
    return (
        row is not None and row.tenant_id == tenant.id and row.revoked_at is None and is_api_key(text, row.secret_hash)
    )


async def _is_good_pair(conn: Connection, seal: Sealer, tenant: Tenant, consumer_key: str, secret: str) -> bool:
    row = await tenants.key_by_consumer_key(conn, consumer_key)
    return (
        row is not None
        and row.tenant_id == tenant.id
        and row.revoked_at is None
        and row.consumer_secret is not None
        and is_api_key(secret, row.secret_hash)
        and _opens(seal, row.consumer_secret, row.id)
    )
