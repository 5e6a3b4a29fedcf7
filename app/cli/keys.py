"""`refund-gateway key`: API keys of a tenant's programs."""

from collections.abc import Mapping
from typing import Annotated, Any, get_args

import typer

from app.api.auth import Scope
from app.cli.access import TenantName, find_store, find_tenant, ledger, load_settings
from app.cli.ends import EXIT_CODES, Ended, Exit, verb
from app.cli.screen import AsJson, iso, note, show_json, show_table
from app.crypto import new_api_key
from app.ledger import tenants
from app.ledger.tenants import KeyRow

app = typer.Typer(no_args_is_help=True, help="API keys: who may ask the gateway for what.")

SCOPES: tuple[str, ...] = get_args(Scope)
DEFAULT_SCOPES = "refunds:read,refunds:write,orders:read,stores:read,events:read"


def _json(row: KeyRow, stores: Mapping[str, str]) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": row.name,
        "scopes": sorted(row.scopes),
        "stores": None if row.store_ids is None else sorted(stores.get(id_, id_) for id_ in row.store_ids),
        "created_at": iso(row.created_at),
        "revoked_at": iso(row.revoked_at),
    }


@app.command(epilog=EXIT_CODES)
@verb
async def create(
    tenant: TenantName,
    name: Annotated[str, typer.Option("--name", help="What the key is for, e.g. the ERP.", show_default=False)],
    *,
    scopes: Annotated[
        str, typer.Option("--scopes", help=f"What it may do, separated by commas: {', '.join(SCOPES)}.")
    ] = DEFAULT_SCOPES,
    stores: Annotated[
        str | None, typer.Option("--stores", help="Names of the stores it is limited to, separated by commas.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make an API key and show it, this once; only its hash is kept."""
    wanted = _words(scopes)
    unknown = [scope for scope in wanted if scope not in SCOPES]
    if unknown or not wanted:
        wrong = f"There is no scope {', '.join(unknown)}" if unknown else "A key needs a scope"
        raise Ended(Exit.USAGE, f"{wrong}; there are: {', '.join(SCOPES)}.")
    label = name.strip()
    if not label or not label.isprintable() or len(label) > 100:
        raise Ended(Exit.USAGE, "A key needs a name of 1 to 100 printable characters.")
    async with ledger(load_settings()) as conn:
        owner = await find_tenant(conn, tenant)
        names: dict[str, str] | None = None
        if stores is not None:
            names = {(await find_store(conn, owner, store)).id: store for store in _words(stores)}
            if not names:
                raise Ended(Exit.USAGE, "--stores names no store; leave it out for all of the tenant's stores.")
        key = new_api_key()
        row = await tenants.add_key(
            conn, id=key.id, tenant_id=owner.id, name=label, secret_hash=key.hash, scopes=wanted, store_ids=names
        )
    if as_json:
        show_json({**_json(row, names or {}), "key": key.text})
        return
    note("Keep this key with your other secrets; it cannot be shown again.")
    typer.echo(key.text)


@app.command("list", epilog=EXIT_CODES)
@verb
async def list_(tenant: TenantName, *, as_json: AsJson = False) -> None:
    """List a tenant's keys, revoked ones too."""
    async with ledger(load_settings()) as conn:
        owner = await find_tenant(conn, tenant)
        names = {store.id: store.name for store in await tenants.stores(conn, owner.id)}
        rows = await tenants.keys(conn, owner.id)
    shown = [_json(row, names) for row in rows]
    if as_json:
        show_json({"data": shown})
        return
    show_table(
        ["id", "name", "scopes", "stores", "created", "state"],
        [
            (
                row.id,
                row.name,
                " ".join(sorted(row.scopes)),
                "all" if row.store_ids is None else " ".join(key["stores"]),
                row.created_at,
                "revoked" if row.revoked_at else "in use",
            )
            for row, key in zip(rows, shown, strict=True)
        ],
        empty=f"The tenant {tenant} has no key yet.",
    )


@app.command(epilog=EXIT_CODES)
@verb
async def revoke(
    tenant: TenantName,
    key_id: Annotated[str, typer.Argument(metavar="ID", help="The key's id, as `key list` shows it.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Take a key out of use, for good; gateways notice within seconds."""
    async with ledger(load_settings()) as conn:
        owner = await find_tenant(conn, tenant)
        row = await tenants.key_by_id(conn, key_id)
        if row is None or row.tenant_id != owner.id:
            raise Ended(Exit.NOT_FOUND, f"The tenant {tenant!r} has no key {key_id!r}.")
        revoked = await tenants.revoke_key(conn, owner.id, key_id)
        after = await tenants.key_by_id(conn, key_id)
        names = {store.id: store.name for store in await tenants.stores(conn, owner.id)}
    assert after is not None
    if as_json:
        show_json(_json(after, names))
    else:
        note(f"The key {key_id} {'is revoked' if revoked else 'was revoked already'}.")


def _words(text: str) -> list[str]:
    return text.replace(",", " ").split()
