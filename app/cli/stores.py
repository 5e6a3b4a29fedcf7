"""`refund-gateway store`: the shops that a tenant's refunds are made in."""

import os
import ssl
from pathlib import Path
from typing import Annotated, Any, Literal

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
from app.cli.ends import EXIT_CODES, Ended, Exit, is_interactive, verb
from app.cli.screen import AsJson, note, show_checks, show_facts, show_json, show_table
from app.cli.tenants import SLUG
from app.domain.refund import StorePolicy
from app.flows import view
from app.flows.results import StoreNotFound
from app.ledger import tenants
from app.ledger.tenants import StoreAuth, StoreRow, Tenant
from app.settings import Settings
from app.stores.connection import StoreConnection, site_of
from app.stores.port import HealthReport, StoreMisconfigured
from app.wiring import seal_credentials, sealer

app = typer.Typer(no_args_is_help=True, help="WooCommerce stores of a tenant.")

_KEY_VARIABLE = "REFUND_GATEWAY_CONSUMER_KEY"
_SECRET_VARIABLE = "REFUND_GATEWAY_CONSUMER_SECRET"  # noqa: S105 - the name of a variable

ConsumerKey = Annotated[
    str | None,
    typer.Option(
        "--consumer-key",
        help=f"The REST API key (ck_…). Better left to {_KEY_VARIABLE} or the prompt: other users see command lines.",
        show_default=False,
    ),
]
ConsumerSecret = Annotated[
    str | None,
    typer.Option("--consumer-secret", help=f"Its secret (cs_…); see there, {_SECRET_VARIABLE}.", show_default=False),
]
CaFile = Annotated[
    Path | None, typer.Option("--ca-file", help="PEM file of the CA that signed the store's certificate.")
]
Auth = Annotated[
    StoreAuth,
    typer.Option(
        "--auth",
        help="basic: the usual; query: for hosts that strip the Authorization header; oauth1: the only one over "
        "plain http, for development stores.",
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
    api: Annotated[
        Literal["v3", "legacy", "auto"], typer.Option("--api", help="Which of WooCommerce's APIs; auto means v3.")
    ] = "auto",
    auth: Auth = "basic",
    consumer_key: ConsumerKey = None,
    consumer_secret: ConsumerSecret = None,
    ca_file: CaFile = None,
    check: DoCheck = True,
    as_json: AsJson = False,
) -> None:
    """Add a store and look it over; a store that fails the check is kept.

    The REST API key is made in WooCommerce > Settings > Advanced > REST API, with the permission Read/Write.
    """
    if api == "legacy":
        raise Ended(
            Exit.USAGE, "The legacy API is not supported yet; use --api v3, which every WooCommerce since 3.5 has."
        )
    settings = load_settings()
    seal = sealer(settings)
    key, secret = _credentials(consumer_key, consumer_secret)
    site, ca_path = _site(settings, url, auth), _ca_path(ca_file)
    async with ledger(settings) as conn:
        owner = await find_tenant(conn, tenant)
        store_id = tenants.new_store_id()
        try:
            row = await tenants.add_store(
                conn,
                id=store_id,
                tenant_id=owner.id,
                name=name,
                url=site,
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
async def check(tenant: TenantName, name: StoreNameOption, *, as_json: AsJson = False) -> None:
    """Look a store over without writing to it: address, TLS, API, credentials, clock, payment methods."""
    settings = load_settings()
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
    auth: Annotated[StoreAuth | None, typer.Option("--auth", help="Another kind of authentication.")] = None,
    ca_file: CaFile = None,
    check: DoCheck = True,
    as_json: AsJson = False,
) -> None:
    """Replace a store's API key, and its address or authentication if given; every process notices within seconds."""
    settings = load_settings()
    seal = sealer(settings)
    key, secret = _credentials(consumer_key, consumer_secret)
    ca_path = _ca_path(ca_file)
    async with ledger(settings) as conn:
        owner = await find_tenant(conn, tenant)
        before = await find_store(conn, owner, name)
        site = _site(settings, url or before.url, auth or before.auth)
        credentials = seal_credentials(seal, before.id, consumer_key=key, consumer_secret=secret)
        await tenants.rotate_store(conn, owner.id, name, credentials, url=site, auth=auth, ca_file=ca_path)
        row = await find_store(conn, owner, name)
    note(f"Replaced the keys of the store {name}.")
    await _afterwards(settings, owner, row, check=check and row.disabled_at is None, as_json=as_json)


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


@app.command(epilog=EXIT_CODES)
@verb
async def policy(
    tenant: TenantName,
    name: StoreNameOption,
    *,
    marker_in_reason: Annotated[
        bool | None,
        typer.Option(
            "--marker-in-reason/--no-marker-in-reason",
            help="End the reason, which customers see, with a mark like [RG-7F3K9Q2X]. Without it more refunds end up "
            "with a person, because less can be told from the store when an answer is lost.",
        ),
    ] = None,
    on_absence: Annotated[
        Literal["review", "resend"] | None,
        typer.Option(
            "--on-absence", help="What to do when nothing of a refund is to be found after its answer was lost."
        ),
    ] = None,
    unpaid: Annotated[
        bool | None,
        typer.Option(
            "--manual-refunds-of-unpaid-orders/--no-manual-refunds-of-unpaid-orders",
            help="Permit manual refunds of orders that the store holds for unpaid, cancelled or failed.",
        ),
    ] = None,
    statuses: Annotated[
        list[str] | None,
        typer.Option(
            "--refundable-status", help="A status whose orders may be refunded; once per status, replaces all."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what a store's owner allows, after changing what is given."""
    async with ledger(load_settings()) as conn:
        owner = await find_tenant(conn, tenant)
        now = (await find_store(conn, owner, name)).policy
        wanted = StorePolicy(
            refundable_statuses=frozenset(statuses) if statuses else now.refundable_statuses,
            manual_refunds_of_unpaid_orders=now.manual_refunds_of_unpaid_orders if unpaid is None else unpaid,
            marker_in_reason=now.marker_in_reason if marker_in_reason is None else marker_in_reason,
            on_absence=on_absence or now.on_absence,
        )
        if wanted != now:
            await tenants.set_store_policy(conn, owner.id, name, wanted)
            note(f"Changed the policy of the store {name}.")
    shown = tenants.policy_json(wanted)
    if as_json:
        show_json(shown)
    else:
        show_facts((fact, _plainly(value)) for fact, value in shown.items())


def _plainly(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(value) if isinstance(value, list) else str(value)


async def _report(settings: Settings, tenant: str, name: str) -> HealthReport:
    async with runtime(settings) as rt:
        async with rt.database.reading() as conn:
            owner = await find_tenant(conn, tenant)
        report = await view.health(rt, operator(owner), name)
    if isinstance(report, StoreNotFound):
        raise no_store(tenant, name)
    return report


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


def _credentials(key: str | None, secret: str | None) -> tuple[str, str]:
    """Take the API key from the options, else the environment, else from a prompt that shows nothing."""
    return (
        _secret(key, _KEY_VARIABLE, "Consumer key", "--consumer-key"),
        _secret(secret, _SECRET_VARIABLE, "Consumer secret", "--consumer-secret"),
    )


def _secret(given: str | None, variable: str, prompt: str, option: str) -> str:
    value = given or os.environ.get(variable) or ""
    if not value.strip() and is_interactive():
        value = typer.prompt(prompt, hide_input=True, err=True)
    value = value.strip()
    if not value:
        raise Ended(Exit.USAGE, f"{prompt} is missing: set {variable}, or give {option}.")
    if not value.isascii() or not value.isprintable() or " " in value:
        raise Ended(Exit.USAGE, f"{prompt} has characters in it that no WooCommerce key has.")
    return value


def _site(settings: Settings, url: str, auth: StoreAuth) -> str:
    """Give the canonical address; ends the verb when it cannot be used."""
    connection = StoreConnection(store_id="", url=url, auth=auth, consumer_key="", consumer_secret="")
    try:
        return site_of(connection, allow_private=settings.allow_private_stores)
    except StoreMisconfigured as error:
        raise Ended(Exit.USAGE, str(error)) from None


def _ca_path(ca_file: Path | None) -> str | None:
    if ca_file is None:
        return None
    try:
        ssl.create_default_context(cafile=str(ca_file))
    except (OSError, ssl.SSLError):
        raise Ended(Exit.USAGE, f"{ca_file} is no readable PEM file of certificates.") from None
    return str(ca_file.resolve())
