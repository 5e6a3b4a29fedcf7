"""`refund-gateway store`: the shops that a tenant's refunds are made in."""

from typing import Annotated

import psycopg
import typer

from app.api.shop_views import health_view, store_view
from app.cli.access import (
    StoreNameOption,
    TenantName,
    find_store,
    find_tenant,
    ledger,
    load_settings,
    no_store,
    operator,
    runtime,
)
from app.cli.ends import EXIT_CODES, Ended, Exit, verb
from app.cli.screen import AsJson, note, show_checks, show_json, show_table
from app.cli.store_abilities import capabilities, policy
from app.cli.store_connection import (
    Api,
    Auth,
    CaFile,
    ConsumerKey,
    ConsumerSecret,
    ca_path_of,
    credentials_of,
    find_api,
    site,
)
from app.cli.store_webhooks import register_webhooks, webhook_base
from app.cli.tenants import SLUG
from app.flows import view
from app.flows.results import StoreNotFound
from app.ledger import tenants
from app.ledger.tenants import StoreApi, StoreAuth, StoreRow, Tenant
from app.settings import Settings
from app.stores.port import HealthReport
from app.wiring import seal_credentials, sealer

app = typer.Typer(no_args_is_help=True, help="WooCommerce stores of a tenant.")
for run in (policy, capabilities):
    app.command(epilog=EXIT_CODES)(run)

WithWebhooks = Annotated[
    bool,
    typer.Option(
        "--with-webhooks",
        help="Have the store tell the gateway when orders and refunds change; the API key's user has to be a Shop "
        "manager.",
    ),
]
WebhookUrl = Annotated[
    str | None,
    typer.Option(
        "--webhook-url",
        metavar="BASE",
        help="The gateway's address as the store reaches it. WordPress delivers to public addresses only, and to the "
        "ports 80, 443 and 8080.",
        show_default="REFUND_GATEWAY_PUBLIC_URL",
    ),
]
DoCheck = Annotated[bool, typer.Option("--check/--no-check", help="Look the store over afterwards.")]


@app.command(epilog=EXIT_CODES)
@verb
async def add(
    tenant: TenantName,
    name: Annotated[str, typer.Option("--name", help=f"The store's name in the gateway: {SLUG}.", show_default=False)],
    url: Annotated[
        str, typer.Option("--url", help="The shop's address, e.g. https://shop.example/de.", show_default=False)
    ],
    *,
    api: Api = "auto",
    auth: Auth = "basic",
    consumer_key: ConsumerKey = None,
    consumer_secret: ConsumerSecret = None,
    ca_file: CaFile = None,
    with_webhooks: WithWebhooks = False,
    webhook_url: WebhookUrl = None,
    check: DoCheck = True,
    as_json: AsJson = False,
) -> None:
    """Add a store and look it over; a store that fails the check is kept.

    The REST API key is made in WooCommerce > Settings > Advanced > REST API, with the permission Read/Write.
    """
    settings = load_settings()
    seal = sealer(settings)
    base_url = webhook_base(settings, webhook_url) if with_webhooks else None
    key, secret = credentials_of(consumer_key, consumer_secret)
    address, ca_path = site(settings, url, auth), ca_path_of(ca_file)
    async with ledger(settings) as conn:
        owner = await find_tenant(conn, tenant)
        store_id = tenants.new_store_id()
        try:
            row = await tenants.add_store(
                conn,
                id=store_id,
                tenant_id=owner.id,
                name=name,
                url=address,
                api=api,
                auth=auth,
                credentials=seal_credentials(seal, store_id, consumer_key=key, consumer_secret=secret),
                ca_file=ca_path,
            )
        except psycopg.errors.UniqueViolation:
            raise Ended(
                Exit.REFUSED,
                f"The tenant {tenant!r} has a store {name!r} already; `store rotate` changes its address and keys.",
            ) from None
        except psycopg.errors.CheckViolation:
            raise Ended(Exit.USAGE, f"{name!r} is no name for a store; it takes {SLUG}.") from None
    note(f"Added the store {row.name} at {row.url}.")
    row = await _with_api(settings, row, key, secret, look=check)
    if base_url is not None:
        await register_webhooks(settings, owner, row.name, base_url, keep_going=True)
    await _afterwards(settings, owner, row, check=check, as_json=as_json)


@app.command("list", epilog=EXIT_CODES)
@verb
async def list_(tenant: TenantName, *, as_json: AsJson = False) -> None:
    """List a tenant's stores."""
    async with ledger(load_settings()) as conn:
        owner = await find_tenant(conn, tenant)
        rows = await tenants.stores(conn, owner.id)
    if as_json:
        show_json({"data": [store_view(row) for row in rows]})
        return
    show_table(
        ["name", "url", "api", "auth", "CA file", "created", "state"],
        [
            (
                row.name,
                row.url,
                row.api,
                row.auth,
                row.ca_file or "",
                row.created_at,
                "disabled" if row.disabled_at else "in use",
            )
            for row in rows
        ],
        empty=f"The tenant {tenant} has no store yet.",
    )


@app.command(epilog=EXIT_CODES)
@verb
async def check(
    tenant: TenantName,
    name: StoreNameOption,
    *,
    repair: Annotated[
        bool,
        typer.Option("--repair", help="First register the webhooks that are missing, and put the others right."),
    ] = False,
    webhook_url: WebhookUrl = None,
    as_json: AsJson = False,
) -> None:
    """Look a store over: address, TLS, API, credentials, clock, payment methods, webhooks.

    Nothing is written to it, except for its webhooks with --repair.
    """
    settings = load_settings()
    if repair:
        base_url = webhook_base(settings, webhook_url)
        async with ledger(settings) as conn:
            owner = await find_tenant(conn, tenant)
        await register_webhooks(settings, owner, name, base_url, keep_going=False)
    report = await _report(settings, tenant, name)
    if as_json:
        show_json(health_view(name, report))
    else:
        show_checks(report.checks)
    if not report.ok:
        raise Ended(Exit.STORE, "" if as_json else f"The store {name} is not ready for refunds; see each ✗.")


@app.command(epilog=EXIT_CODES)
@verb
async def rotate(
    tenant: TenantName,
    name: StoreNameOption,
    *,
    consumer_key: ConsumerKey = None,
    consumer_secret: ConsumerSecret = None,
    url: Annotated[str | None, typer.Option("--url", help="A new address.")] = None,
    api: Annotated[StoreApi | None, typer.Option("--api", help="Another of WooCommerce's APIs; auto looks.")] = None,
    auth: Annotated[StoreAuth | None, typer.Option("--auth", help="Another kind of authentication.")] = None,
    ca_file: CaFile = None,
    check: DoCheck = True,
    as_json: AsJson = False,
) -> None:
    """Replace a store's API key, and what else is given; every process notices within seconds."""
    settings = load_settings()
    seal = sealer(settings)
    key, secret = credentials_of(consumer_key, consumer_secret)
    ca_path = ca_path_of(ca_file)
    async with ledger(settings) as conn:
        owner = await find_tenant(conn, tenant)
        before = await find_store(conn, owner, name)
        address = site(settings, url or before.url, auth or before.auth)
        credentials = seal_credentials(seal, before.id, consumer_key=key, consumer_secret=secret)
        await tenants.rotate_store(conn, owner.id, name, credentials, url=address, api=api, auth=auth, ca_file=ca_path)
        row = await find_store(conn, owner, name)
    note(f"Replaced the keys of the store {name}.")
    check = check and row.disabled_at is None
    row = await _with_api(settings, row, key, secret, look=check)
    await _afterwards(settings, owner, row, check=check, as_json=as_json)


@app.command(epilog=EXIT_CODES)
@verb
async def disable(tenant: TenantName, name: StoreNameOption, *, as_json: AsJson = False) -> None:
    """Take a store out of use, for good; its refunds stay readable."""
    async with ledger(load_settings()) as conn:
        owner = await find_tenant(conn, tenant)
        before = await find_store(conn, owner, name)
        await tenants.disable_store(conn, owner.id, name)
        row = await find_store(conn, owner, name)
    if as_json:
        show_json(store_view(row))
    else:
        note(f"The store {name} {'was disabled already' if before.disabled_at else 'is disabled'}.")


async def _report(settings: Settings, tenant: str, name: str) -> HealthReport:
    async with runtime(settings) as rt:
        async with rt.database.reading() as conn:
            owner = await find_tenant(conn, tenant)
        report = await view.health(rt, operator(owner), name)
    if isinstance(report, StoreNotFound):
        raise no_store(tenant, name)
    return report


async def _with_api(settings: Settings, row: StoreRow, key: str, secret: str, *, look: bool) -> StoreRow:
    """Find out which API a store with `auto` has, and keep that; it stays `auto` while that cannot be told."""
    if row.api != "auto":
        return row
    later = "the gateway finds out at the first use."
    if not look:
        note(f"Which API the store has was not looked at; {later}")
        return row
    found = await find_api(settings, row, key, secret)
    if isinstance(found, str):
        note(f"{found} Its API stays auto; {later}")
        return row
    async with ledger(settings) as conn:
        await tenants.settle_api(conn, row.id, found.api)
        kept = await tenants.store_by_id(conn, row.id)
    assert kept is not None
    note(f"The store has {found.name}; --api {kept.api} is kept for it.")
    return kept


async def _afterwards(settings: Settings, owner: Tenant, row: StoreRow, *, check: bool, as_json: bool) -> None:
    """Show a store that was just written, and look it over; what that finds does not undo anything."""
    report = await _report(settings, owner.name, row.name) if check else None
    if as_json:
        health = None if report is None else health_view(row.name, report)
        show_json({"store": store_view(row), "health": health})
        return
    if report is not None:
        show_checks(report.checks)
        if not report.ok:
            note(
                "Warning: the store is kept, but not ready for refunds; see each ✗, then run "
                f"`refund-gateway store check --tenant {owner.name} --name {row.name}`."
            )
