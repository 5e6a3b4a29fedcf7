"""`refund-gateway doctor`: is everything here that a refund needs, and what to do about what is not."""

import platform
import sys
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer
from psycopg import AsyncConnection
from psycopg.rows import dict_row

from app.cli.access import connected, load_settings, operator, quiet_logging, require_version
from app.cli.ends import Ended, Exit, expected, verb
from app.cli.screen import AsJson, check_json, show_checks, show_json
from app.crypto import CryptoError, Sealer, new_sealing_key
from app.database import HEAD, Connection, current_revision, database_url
from app.flows import view
from app.flows.results import StoreNotFound
from app.ledger import executors, tenants
from app.settings import Settings
from app.stores.port import Check
from app.wiring import open_runtime, sealer

_WORKER_SEEN_WITHIN = timedelta(seconds=30)
_OLDEST_PYTHON = (3, 11)


@verb
async def doctor(
    *,
    new_sealing_key: Annotated[
        bool, typer.Option("--new-sealing-key", help="Only print a new key for REFUND_GATEWAY_SEALING_KEYS.")
    ] = False,
    stores: Annotated[
        bool, typer.Option("--stores/--no-stores", help="Look every store of every tenant over as well.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check Python, settings, sealing keys, database, schema, worker, and stores on demand; ✓ or ✗ with a remedy."""
    if new_sealing_key:
        typer.echo(_fresh_key())
        return
    checks = [check async for check in _examine(stores=stores)]
    if as_json:
        show_json({"ok": all(check.ok is not False for check in checks), "checks": [check_json(one) for one in checks]})
    else:
        show_checks(checks)
    failed = [check.name for check in checks if check.ok is False]
    if failed:
        only_stores = all(name.startswith("store ") for name in failed)
        raise Ended(
            Exit.STORE if only_stores else Exit.GATEWAY, "" if as_json else f"Not right yet: {', '.join(failed)}."
        )


def _fresh_key() -> str:
    return new_sealing_key()


async def _examine(*, stores: bool) -> AsyncIterator[Check]:
    yield _python()
    try:
        settings = load_settings()
    except Ended as ended:
        yield Check(name="settings", ok=False, detail=str(ended), remedy="Correct the variables named.")
        return
    quiet_logging(settings)
    yield Check(name="settings", ok=True, detail=f"Readable; environment {settings.environment}.")
    keys = _sealing_keys(settings)
    yield keys[0]
    url: str | None = None
    for check, found in _database(settings):
        url = found
        yield check
    if url is None:
        return
    async with await AsyncConnection.connect(
        url, autocommit=True, row_factory=dict_row, application_name="refund-gateway-cli"
    ) as conn:
        revision = await current_revision(conn)
        yield _schema(revision)
        if revision != HEAD:
            return
        yield await _worker(conn)
        if keys[1] is not None:
            async for check in _credentials(conn, keys[1]):
                yield check
    if stores and keys[1] is not None:
        async for check in _stores(settings, url):
            yield check


def _python() -> Check:
    ok = sys.version_info >= _OLDEST_PYTHON
    wanted = ".".join(map(str, _OLDEST_PYTHON))
    return Check(
        name="python",
        ok=ok,
        detail=f"Python {platform.python_version()}.",
        remedy=None if ok else f"Install Python {wanted} or later.",
    )


def _sealing_keys(settings: Settings) -> tuple[Check, Sealer | None]:
    try:
        seal = sealer(settings)
    except Exception as error:
        ended = expected(error)
        if ended is None:
            raise
        remedy = "Make one with `refund-gateway doctor --new-sealing-key` and set REFUND_GATEWAY_SEALING_KEYS to it."
        return Check(name="sealing_keys", ok=False, detail=str(ended), remedy=remedy), None
    return Check(name="sealing_keys", ok=True, detail="Readable."), seal


def _database(settings: Settings) -> Iterator[tuple[Check, str | None]]:
    """Check that the database can be used; gives its URL with the last check when it can."""
    embedded = settings.database_url is None
    try:
        url = database_url(settings)
        with connected(url) as conn:
            version = require_version(conn)
    except Exception as error:
        ended = expected(error)
        if ended is None:
            raise
        remedy = (
            f"Look into {settings.var / 'postgres' / 'log'}, or set REFUND_GATEWAY_DATABASE_URL."
            if embedded
            else "Correct REFUND_GATEWAY_DATABASE_URL, or start PostgreSQL there."
        )
        yield Check(name="database", ok=False, detail=str(ended), remedy=remedy), None
        return
    kind = f"embedded, under {settings.var / 'postgres'}" if embedded else "as set"
    yield Check(name="database", ok=True, detail=f"PostgreSQL {version}, {kind}."), url


def _schema(revision: str | None) -> Check:
    if revision == HEAD:
        return Check(name="schema", ok=True, detail=f"Revision {HEAD}.")
    return Check(
        name="schema",
        ok=False,
        detail=f"Revision {revision or 'none'}; this program needs {HEAD}.",
        remedy="Run `refund-gateway migrate`.",
    )


async def _worker(conn: Connection) -> Check:
    seen_at = await executors.worker_seen_at(conn)
    if seen_at is not None and datetime.now(UTC) - seen_at < _WORKER_SEEN_WITHIN:
        return Check(name="worker", ok=True, detail="A worker is running.")
    detail = "No worker is running." if seen_at is None else f"No worker was seen since {seen_at:%Y-%m-%d %H:%M:%SZ}."
    return Check(
        name="worker",
        ok=False,
        detail=f"{detail} Nobody would find out about refunds whose answer was lost.",
        remedy="Start `refund-gateway worker`, or `refund-gateway serve`, which has one.",
    )


async def _credentials(conn: Connection, seal: Sealer) -> AsyncIterator[Check]:
    """Check that the sealing keys open what every store in use was sealed with."""
    closed, older = [], []
    for tenant in await tenants.tenants(conn):
        for row in await tenants.stores(conn, tenant.id):
            if row.disabled_at is not None:
                continue
            try:
                seal.open(row.credentials, aad=row.id)
            except CryptoError:
                closed.append(f"{tenant.name}/{row.name}")
            else:
                older += [] if seal.is_current(row.credentials) else [f"{tenant.name}/{row.name}"]
    if closed:
        yield Check(
            name="credentials",
            ok=False,
            detail=f"The sealing keys do not open the credentials of: {', '.join(closed)}.",
            remedy="Put the key that they were sealed with back into REFUND_GATEWAY_SEALING_KEYS, behind the first, or "
            "enter the stores' keys anew with `refund-gateway store rotate`.",
        )
    elif older:
        yield Check(
            name="credentials",
            ok=None,
            detail=f"Sealed with an older key: {', '.join(older)}.",
            remedy="Enter their keys anew with `refund-gateway store rotate` before that key is retired.",
        )
    else:
        yield Check(name="credentials", ok=True, detail="Every store's credentials can be opened.")


async def _stores(settings: Settings, url: str) -> AsyncIterator[Check]:
    async with open_runtime(settings, works=False, url=url) as rt:
        async with rt.database.reading() as conn:
            owners = await tenants.tenants(conn)
            rows = [(owner, row) for owner in owners for row in await tenants.stores(conn, owner.id)]
        for owner, row in rows:
            if row.disabled_at is not None:
                continue
            name = f"store {owner.name}/{row.name}"
            try:
                report = await view.health(rt, operator(owner), row.name)
            except CryptoError:
                continue  # the check of the credentials has said so
            if isinstance(report, StoreNotFound):
                continue  # disabled since it was listed
            failed = ", ".join(check.name for check in report.checks if check.ok is False)
            remedy = f"Run `refund-gateway store check --tenant {owner.name} --name {row.name}`."
            yield Check(
                name=name,
                ok=report.ok,
                detail="Ready for refunds." if report.ok else f"Failed: {failed}.",
                remedy=None if report.ok else remedy,
            )
