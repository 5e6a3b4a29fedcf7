"""`refund-gateway key`: API keys of a tenant's programs."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, cast, get_args

import typer

from app.api.auth import Scope
from app.cli.access import TenantName, find_store, find_tenant, ledger, load_settings
from app.cli.ends import EXIT_CODES, Ended, Exit, verb
from app.cli.screen import AsJson, iso, note, show_facts, show_json, show_table, words
from app.crypto import NewApiKey, NewConsumerKey, new_api_key, new_consumer_key
from app.ledger import tenants
from app.ledger.tenants import FrontOptions, FrontRead, KeyRow, front_json
from app.settings import Settings
from app.wiring import sealer

app = typer.Typer(no_args_is_help=True, help="API keys: who may ask the gateway for what.")

SCOPES: tuple[str, ...] = get_args(Scope)
DEFAULT_SCOPES = "refunds:read,refunds:write,orders:read,stores:read,events:read"
#: What WooCommerce's own Read/Write keys may do with refunds.
COMPAT_SCOPES = "refunds:read,refunds:write,refunds:delete,orders:read"
READS: tuple[str, ...] = get_args(FrontRead)


def _json(row: KeyRow, stores: Mapping[str, str]) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": row.name,
        "kind": _kind(row),
        "consumer_key": row.consumer_key,
        "scopes": sorted(row.scopes),
        "stores": None if row.store_ids is None else sorted(stores.get(id_, id_) for id_ in row.store_ids),
        "created_at": iso(row.created_at),
        "revoked_at": iso(row.revoked_at),
        "front": None if row.consumer_key is None else front_json(row.front),
    }


def _kind(row: KeyRow) -> str:
    return "api" if row.consumer_key is None else "compat"


@app.command(epilog=EXIT_CODES)
@verb
async def create(
    tenant: TenantName,
    name: Annotated[str, typer.Option("--name", help="What the key is for, e.g. the ERP.", show_default=False)],
    *,
    scopes: Annotated[
        str | None,
        typer.Option(
            "--scopes",
            help=f"What it may do, separated by commas: {', '.join(SCOPES)}.",
            show_default=f"{DEFAULT_SCOPES}; with --compat {COMPAT_SCOPES}",
        ),
    ] = None,
    stores: Annotated[
        str | None, typer.Option("--stores", help="Names of the stores it is limited to, separated by commas.")
    ] = None,
    compat: Annotated[
        bool,
        typer.Option(
            "--compat", help="Make a consumer key and secret, for WooCommerce's own clients and the front for them."
        ),
    ] = False,
    reads: Annotated[
        str | None,
        typer.Option(
            "--reads",
            help=f"With --compat: what is passed through from the store, separated by commas: {', '.join(READS)}.",
        ),
    ] = None,
    unknown_status: Annotated[
        Literal["202", "504"] | None,
        typer.Option(
            "--unknown-status",
            help="With --compat: the HTTP status of the answer while a refund's outcome is not known.",
            show_default="504",
        ),
    ] = None,
    wait: Annotated[
        float | None,
        typer.Option(
            "--wait",
            metavar="SECONDS",
            min=0,
            help="With --compat: how long a refund may keep its client waiting.",
            show_default="the gateway's setting",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make an API key and show it, this once: only its hash is kept, of a consumer secret a sealed copy."""
    settings = load_settings()
    front = _front(settings, reads=reads, unknown_status=unknown_status, wait=wait)
    if front is not None and not compat:
        raise Ended(Exit.USAGE, "--reads, --unknown-status and --wait go with --compat.")
    allowed = _among(SCOPES, "scope", scopes or (COMPAT_SCOPES if compat else DEFAULT_SCOPES))
    if not allowed:
        raise Ended(Exit.USAGE, f"A key needs a scope; there are: {', '.join(SCOPES)}.")
    label = name.strip()
    if not label or not label.isprintable() or len(label) > 100:
        raise Ended(Exit.USAGE, "A key needs a name of 1 to 100 printable characters.")
    key = new_consumer_key() if compat else new_api_key()
    secret = (
        sealer(settings).seal(key.consumer_secret.encode(), aad=key.id) if isinstance(key, NewConsumerKey) else None
    )
    async with ledger(settings) as conn:
        owner = await find_tenant(conn, tenant)
        names: dict[str, str] | None = None
        if stores is not None:
            names = {(await find_store(conn, owner, store)).id: store for store in words(stores)}
            if not names:
                raise Ended(Exit.USAGE, "--stores names no store; leave it out for all of the tenant's stores.")
        row = await tenants.add_key(
            conn,
            id=key.id,
            tenant_id=owner.id,
            name=label,
            secret_hash=key.hash,
            scopes=allowed,
            store_ids=names,
            consumer_key=key.consumer_key if isinstance(key, NewConsumerKey) else None,
            consumer_secret=secret,
            front=front,
        )
    _show_once(key, _json(row, names or {}), as_json=as_json)


def _show_once(key: NewApiKey | NewConsumerKey, shown: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        secrets = {"key": key.text} if isinstance(key, NewApiKey) else {"consumer_secret": key.consumer_secret}
        show_json({**shown, **secrets})
        return
    note("Keep this key with your other secrets; it cannot be shown again.")
    if isinstance(key, NewApiKey):
        typer.echo(key.text)
    else:
        show_facts([("consumer key", key.consumer_key), ("consumer secret", key.consumer_secret)])


def _front(
    settings: Settings, *, reads: str | None, unknown_status: Literal["202", "504"] | None, wait: float | None
) -> FrontOptions | None:
    """Read the options of a key for WooCommerce's clients; None when there are none."""
    if reads is None and unknown_status is None and wait is None:
        return None
    if wait is not None and not wait <= settings.max_wait_s:
        raise Ended(Exit.USAGE, f"--wait takes 0 to {settings.max_wait_s:g} seconds (REFUND_GATEWAY_MAX_WAIT_S).")
    plain = FrontOptions()
    return FrontOptions(
        unknown_status=plain.unknown_status if unknown_status is None else 202 if unknown_status == "202" else 504,
        wait_s=wait,
        reads=frozenset(cast("list[FrontRead]", _among(READS, "read", reads or ""))),
    )


def _among(known: tuple[str, ...], kind: str, text: str) -> list[str]:
    given = words(text)
    unknown = [word for word in given if word not in known]
    if unknown:
        raise Ended(Exit.USAGE, f"There is no {kind} {', '.join(unknown)}; there are: {', '.join(known)}.")
    return given


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
        ["id", "name", "kind", "consumer key", "scopes", "stores", "created", "state"],
        [
            (
                row.id,
                row.name,
                _kind(row),
                row.consumer_key,
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
