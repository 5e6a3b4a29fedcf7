"""`refund-gateway tenant`: the gateway's customers."""

from typing import Annotated

import psycopg
import typer

from app.cli.access import ledger, load_settings
from app.cli.ends import EXIT_CODES, Ended, Exit, verb
from app.cli.screen import AsJson, iso, note, show_json, show_table
from app.ledger import tenants
from app.ledger.tenants import Tenant

app = typer.Typer(no_args_is_help=True, help="Customers of the gateway, with stores and API keys of their own.")

SLUG = "1 to 63 of a-z, 0-9 and -, beginning with a letter or digit"


def _json(tenant: Tenant) -> dict[str, str | None]:
    return {"id": tenant.id, "name": tenant.name, "created_at": iso(tenant.created_at)}


@app.command(epilog=EXIT_CODES)
@verb
async def add(name: Annotated[str, typer.Argument(help=f"A name: {SLUG}.")], *, as_json: AsJson = False) -> None:
    """Add a tenant."""
    async with ledger(load_settings()) as conn:
        try:
            tenant = await tenants.add_tenant(conn, id=tenants.new_tenant_id(), name=name)
        except psycopg.errors.UniqueViolation:
            raise Ended(Exit.REFUSED, f"There is a tenant {name!r} already.") from None
        except psycopg.errors.CheckViolation:
            raise Ended(Exit.USAGE, f"{name!r} is no name for a tenant; it takes {SLUG}.") from None
    if as_json:
        show_json(_json(tenant))
    else:
        note(f"Added the tenant {tenant.name} ({tenant.id}).")


@app.command("list", epilog=EXIT_CODES)
@verb
async def list_(*, as_json: AsJson = False) -> None:
    """List the tenants."""
    async with ledger(load_settings()) as conn:
        found = await tenants.tenants(conn)
    if as_json:
        show_json({"data": [_json(tenant) for tenant in found]})
    else:
        rows = [(tenant.name, tenant.id, tenant.created_at) for tenant in found]
        show_table(["name", "id", "created"], rows, empty="There is no tenant yet.")
