"""How verbs get at the settings, the ledger and a runtime, and what they say when one of them is not right."""

import getpass
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Annotated, Any

import psycopg
import typer
from psycopg import AsyncConnection
from psycopg.rows import dict_row
from pydantic import ValidationError

from app.cli.ends import Ended, Exit, one_line
from app.database import HEAD, Connection, database_url
from app.flows.results import Caller
from app.flows.runtime import Runtime
from app.ledger import tenants
from app.ledger.tenants import StoreRow, Tenant
from app.settings import Settings
from app.telemetry import configure_logging
from app.wiring import open_runtime

_OLDEST_POSTGRESQL = 15
_CONNECT_TIMEOUT_S = 5

TenantName = Annotated[str, typer.Option("--tenant", metavar="NAME", help="The tenant's name.", show_default=False)]
StoreNameOption = Annotated[str, typer.Option("--name", metavar="NAME", help="The store's name.", show_default=False)]


def load_settings(**given: Any) -> Settings:
    """Read the settings from the environment, `given` ones first; ends the verb when one of them is malformed."""
    try:
        return Settings(**given)
    except ValidationError as error:
        faults = [f"{_variable(fault['loc'])}: {fault['msg']}" for fault in error.errors(include_input=False)]
        raise Ended(Exit.GATEWAY, f"The settings are not right: {'; '.join(faults)}.") from None


def _variable(loc: tuple[int | str, ...]) -> str:
    name = str(loc[0]).upper() if loc else ""
    return name if name.startswith("REFUND_GATEWAY_") else f"REFUND_GATEWAY_{name}"


def quiet_logging(settings: Settings) -> None:
    """Let a verb for people log to stderr, warnings only unless the environment names a level."""
    defaults = {"log_level": "warning", "log_format": "console"}
    unset = {name: value for name, value in defaults.items() if name not in settings.model_fields_set}
    configure_logging(settings.model_copy(update=unset))


def usable_database(settings: Settings) -> str:
    """Give the URL of a database that is reachable, new enough and migrated; ends the verb when it is not.

    Starts the embedded PostgreSQL when no other database is set. The driver's own waiting would take 15 seconds.
    """
    url = database_url(settings)
    with connected(url) as conn:
        require_version(conn)
        revision = _revision(conn)
    if revision is None:
        raise Ended(Exit.GATEWAY, "The database is empty: run `refund-gateway migrate`.")
    if revision != HEAD:
        raise Ended(
            Exit.GATEWAY,
            f"The database's schema has revision {revision}, this program needs {HEAD}: run `refund-gateway migrate` "
            "with the newest version of the program.",
        )
    return url


def connected(url: str) -> psycopg.Connection[Any]:
    """Connect, for a look; ends the verb with the reason when that fails."""
    try:
        return psycopg.connect(url, autocommit=True, connect_timeout=_CONNECT_TIMEOUT_S)
    except psycopg.OperationalError as error:
        raise Ended(
            Exit.GATEWAY,
            f"The database cannot be reached: {one_line(error)}. Check REFUND_GATEWAY_DATABASE_URL and that "
            "PostgreSQL runs.",
        ) from None
    except psycopg.ProgrammingError:
        # Its message would quote the URL, which holds a password.
        raise Ended(
            Exit.GATEWAY,
            "REFUND_GATEWAY_DATABASE_URL cannot be read: it must look like postgresql://user:password@host/database.",
        ) from None


def require_version(conn: psycopg.Connection[Any]) -> str:
    """Give PostgreSQL's version; ends the verb when it is too old."""
    version = conn.info.server_version
    shown = f"{version // 10_000}.{version % 10_000}"
    if version < _OLDEST_POSTGRESQL * 10_000:
        raise Ended(Exit.GATEWAY, f"PostgreSQL {shown} is too old: {_OLDEST_POSTGRESQL} or later is needed.")
    return shown


def _revision(conn: psycopg.Connection[Any]) -> str | None:
    with suppress(psycopg.errors.UndefinedTable):
        row = conn.execute("SELECT version_num FROM alembic_version").fetchone()
        return None if row is None else str(row[0])
    return None


@asynccontextmanager
async def ledger(settings: Settings) -> AsyncIterator[Connection]:
    """Lend a connection in autocommit mode to a migrated ledger."""
    quiet_logging(settings)
    url = usable_database(settings)
    async with await AsyncConnection.connect(
        url, autocommit=True, row_factory=dict_row, application_name="refund-gateway-cli"
    ) as conn:
        yield conn


@asynccontextmanager
async def runtime(settings: Settings) -> AsyncIterator[Runtime]:
    """Open a runtime that runs no jobs, for verbs that speak to stores."""
    quiet_logging(settings)
    async with open_runtime(settings, works=False, url=usable_database(settings)) as rt:
        yield rt


async def find_tenant(conn: Connection, name: str) -> Tenant:
    """Find a tenant; ends the verb when there is none of this name."""
    tenant = await tenants.tenant_by_name(conn, name)
    if tenant is None:
        raise Ended(Exit.NOT_FOUND, f"There is no tenant {name!r}; see `refund-gateway tenant list`.")
    return tenant


async def find_store(conn: Connection, tenant: Tenant, name: str) -> StoreRow:
    """Find a store of a tenant, disabled or not; ends the verb when there is none of this name."""
    store = await tenants.store_by_name(conn, tenant.id, name)
    if store is None:
        raise no_store(tenant.name, name)
    return store


def no_store(tenant: str, name: str) -> Ended:
    """Make the end for a store that is not there."""
    return Ended(
        Exit.NOT_FOUND,
        f"The tenant {tenant!r} has no store {name!r} in use; see `refund-gateway store list --tenant {tenant}`.",
    )


async def caller_of(rt: Runtime, tenant: str) -> Caller:
    """Give the caller that a person at this command line is for a tenant; ends the verb when there is no such one."""
    async with rt.database.reading() as conn:
        return operator(await find_tenant(conn, tenant))


def operator(tenant: Tenant) -> Caller:
    """Give the caller that a person at this command line is: may do everything, and is named in the timeline."""
    try:
        person = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        person = f"uid{os.getuid()}"
    return Caller(tenant_id=tenant.id, key_id=f"cli:{person}", name=person, scopes=frozenset({"admin"}), store_ids=None)
