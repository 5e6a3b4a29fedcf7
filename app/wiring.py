"""Where everything is built: one `Runtime` per process, opened and closed in order."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import procrastinate
import structlog
from ulid import ULID

from app import jobs
from app.crypto import Sealer, new_sealing_key
from app.database import OUTAGES, Database, database_url
from app.domain.refund import StoreApi, StorePolicy
from app.flows.execute import Executions
from app.flows.relay import relay
from app.flows.runtime import Runtime
from app.ledger import executors, store_health, tenants
from app.outbound import Outbound
from app.settings import Settings
from app.stores.connection import StoreConnection, StoreLimits
from app.stores.detect import Adapter, build, detect_api
from app.stores.port import Store, StoreError
from app.telemetry import BreakerState, Metrics

log = structlog.get_logger(__name__)

#: How long a change of a store's address, keys or policy may take to reach every process.
_STORE_ROW_TTL_S = 5.0
_IDLE_POOL_AGE = timedelta(minutes=5)
#: How often a process that works looks for events that have no place in the feed yet.
_RELAY_EVERY_S = 0.5
#: Procrastinate's own connections per process: two per worker, and some for jobs that are deferred by themselves.
_JOB_CONNECTIONS = 10


class SealingKeysMissing(Exception):
    """No keys are set to open stores' credentials with; the message says how to make one."""


def sealer(settings: Settings) -> Sealer:
    """Give the sealer of the settings; the demo makes its own key and keeps it under `var`.

    Raises SealingKeysMissing in production when no key is set.
    """
    if settings.sealing_keys is not None:
        return Sealer.from_text(settings.sealing_keys.get_secret_value())
    if settings.environment != "demo":
        raise SealingKeysMissing(
            "REFUND_GATEWAY_SEALING_KEYS is not set: stores' credentials could not be sealed. Make a key with "
            "`refund-gateway doctor --new-sealing-key`, keep it with your other secrets, and set the variable to it."
        )
    path = settings.var / "sealing.key"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f"sealing.{ULID()}.tmp")
        draft.touch(mode=0o600)
        draft.write_text(new_sealing_key())
        # Linked into place whole, so that no other process reads half a key, and the first one stays.
        with suppress(FileExistsError):
            path.hardlink_to(draft)
        draft.unlink()
    return Sealer.from_text(path.read_text())


class Stores:
    """Implements `flows.runtime.StoreBook`: an adapter per store, rebuilt when its row changes."""

    def __init__(
        self, settings: Settings, database: Database, outbound: Outbound, seal: Sealer, meters: Metrics
    ) -> None:
        """Start with no store open."""
        self._settings = settings
        self._database = database
        self._outbound = outbound
        self._sealer = seal
        self._meters = meters
        self._open: dict[str, tuple[float, int, Adapter, StorePolicy]] = {}
        #: Stores that the ledger has as out of reach, as far as this process knows.
        self._unreachable: set[str] = set()
        self._telling: set[asyncio.Task[None]] = set()
        #: One at a time and in their order: an outage's end must not be on record before its beginning.
        self._turn_to_tell = asyncio.Lock()

    async def aclose(self) -> None:
        """Wait until everything that was noticed about stores is on record."""
        await asyncio.gather(*self._telling, return_exceptions=True)

    async def open(self, store_id: str) -> tuple[Store, StorePolicy]:
        """Give a store's adapter and policy; raises LookupError when it is unknown or disabled."""
        known = self._open.get(store_id)
        if known is not None and time.monotonic() - known[0] < _STORE_ROW_TTL_S:
            return known[2], known[3]
        async with self._database.reading() as conn:
            row = await tenants.store_by_id(conn, store_id)
            # Read here, so that no exchange costs a look, and an outage that a dead process noticed comes to its end.
            unreachable = await store_health.is_unreachable(conn, store_id)
        if unreachable:
            self._unreachable.add(store_id)
        else:
            self._unreachable.discard(store_id)
        if row is None or row.disabled_at is not None:
            self._open.pop(store_id, None)
            raise LookupError(store_id)
        if known is not None and known[1] == row.version:
            adapter, version = known[2], row.version
        else:
            api = row.api if row.api != "auto" else await self._find_out(row)
            adapter = self._build(row, api or "v3")
            # A store that could not be asked yet is taken for a v3 store, and asked again next time.
            version = row.version if api is not None else -1
        self._open[store_id] = (time.monotonic(), version, adapter, row.policy)
        return adapter, row.policy

    async def _find_out(self, row: tenants.StoreRow) -> StoreApi | None:
        """Ask a store that was added with `auto` which API it has, and keep the answer."""
        limits = StoreLimits.of(self._settings)
        try:
            found = await detect_api(self._connection(row), self._outbound, limits)
        except StoreError:
            return None
        if found is not None:
            async with self._database.committing() as conn:
                await tenants.settle_api(conn, row.id, found)
        return found

    def _connection(self, row: tenants.StoreRow) -> StoreConnection:
        credentials = json.loads(self._sealer.open(row.credentials, aad=row.id))
        return StoreConnection(
            store_id=row.id,
            url=row.url,
            auth=row.auth,
            consumer_key=credentials["consumer_key"],
            consumer_secret=credentials["consumer_secret"],
            ca_file=None if row.ca_file is None else Path(row.ca_file),
        )

    def _build(self, row: tenants.StoreRow, api: StoreApi) -> Adapter:
        adapter: Adapter

        def observe(_store_id: str, call: str, outcome: str, seconds: float) -> None:
            self._meters.store_called(call=call, outcome=outcome, duration_s=seconds)
            self._meters.breaker_changed(store=row.name, state=adapter.breaker_state)
            self._notice(row, outcome, adapter.breaker_state)

        adapter = build(
            api,
            self._connection(row),
            self._outbound,
            limits=StoreLimits.of(self._settings),
            policy=row.policy,
            observe=observe,
        )
        return adapter

    def _notice(self, row: tenants.StoreRow, outcome: str, breaker: BreakerState) -> None:
        """Have the beginning or the end of an outage put on record; most exchanges are neither."""
        known = row.id in self._unreachable
        if breaker == "open" and not known:
            self._unreachable.add(row.id)
        elif outcome == "answered" and known:
            self._unreachable.discard(row.id)
        else:
            return
        task = asyncio.create_task(self._tell(row, recovered=known))
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def _tell(self, row: tenants.StoreRow, *, recovered: bool) -> None:
        mark = store_health.mark_recovered if recovered else store_health.mark_unreachable
        try:
            async with self._turn_to_tell, self._database.transaction() as conn:
                await mark(conn, row.tenant_id, row.id, row.name)
        except OUTAGES:
            # What the row says is read again with the store's own row; the next exchange then tells of it.
            log.warning("store.health_unrecorded", store=row.name, recovered=recovered)


def seal_credentials(seal: Sealer, store_id: str, *, consumer_key: str, consumer_secret: str) -> bytes:
    """Seal a store's keys for its row; they open for no other row."""
    plain = json.dumps({"consumer_key": consumer_key, "consumer_secret": consumer_secret})
    return seal.seal(plain.encode(), aad=store_id)


def utc_now() -> datetime:
    """Give the time, aware UTC."""
    return datetime.now(UTC)


@asynccontextmanager
async def open_runtime(
    settings: Settings,
    *,
    works: bool,
    url: str | None = None,
    meters: Metrics | None = None,
    adapt: Callable[[Runtime], Runtime] = lambda runtime: runtime,
) -> AsyncIterator[Runtime]:
    """Open everything a process needs; with `works` it runs jobs as well.

    `adapt` lets a test put something between the flows and what they use.

    On the way out refunds in hand get the grace of the settings to finish; what is left is handed over: not yet sent
    ones to any worker, sent ones as uncertain.
    """
    seal = sealer(settings)
    meters = meters or Metrics()
    where = url if url is not None else await asyncio.to_thread(database_url, settings)
    async with AsyncExitStack() as stack:
        database = Database(where, size=settings.database_pool_size)
        await database.open()
        stack.push_async_callback(database.close)
        outbound = Outbound(
            allow_private=settings.allow_private_stores, connect_timeout_s=settings.store_connect_timeout_s
        )
        stack.push_async_callback(outbound.aclose)
        stores = Stores(settings, database, outbound, seal, meters)
        stack.push_async_callback(stores.aclose)
        slot = jobs.RuntimeSlot()
        connector = procrastinate.PsycopgConnector(conninfo=where, min_size=1, max_size=_JOB_CONNECTIONS)
        job_app = jobs.build(connector, slot, sweep_interval_s=settings.sweep_interval_s)
        await stack.enter_async_context(job_app.open_async())
        plain = Runtime(
            settings=settings,
            database=database,
            stores=stores,
            outbound=outbound,
            jobs=jobs.ProcrastinateJobs(job_app),
            meters=meters,
            executions=Executions(),
            sealer=seal,
            executor_id=f"ex_{ULID()}",
            clock=utc_now,
        )
        runtime = adapt(plain)
        slot.put(runtime)
        lease = timedelta(seconds=settings.lease_s)

        async def beat() -> None:
            async with database.reading() as conn:
                await executors.beat(conn, runtime.executor_id, works=works, lease=lease)

        async def close_idle() -> None:
            await outbound.close_idle(_IDLE_POOL_AGE)

        async def place_events() -> None:
            # Without a database there is nothing to place; the beat says that it is gone.
            with suppress(*OUTAGES):
                await relay(runtime)

        await beat()
        upkeep = [
            asyncio.create_task(_every(settings.lease_s / 4, beat)),
            asyncio.create_task(_every(60, close_idle)),
        ]
        if works:
            upkeep.append(asyncio.create_task(_every(_RELAY_EVERY_S, place_events)))
        working = jobs.run_workers(job_app, grace_s=settings.shutdown_grace_s) if works else None
        worker = asyncio.create_task(working) if working is not None else None
        try:
            yield runtime
        finally:
            if worker is not None:
                # It takes no more jobs from here on; those under way are executions like any other.
                worker.cancel()
                await asyncio.gather(worker, return_exceptions=True)
            await runtime.executions.drain(timedelta(seconds=settings.shutdown_grace_s))
            for task in upkeep:
                task.cancel()
            await asyncio.gather(*upkeep, return_exceptions=True)
            with suppress(*OUTAGES):
                # Without a database the leases end by themselves.
                async with database.reading() as conn:
                    await executors.let_go(conn, runtime.executor_id)
                    await executors.leave(conn, runtime.executor_id)


async def _every(seconds: float, do: Callable[[], Awaitable[None]]) -> None:
    while True:
        await asyncio.sleep(seconds)
        try:
            await do()
        except Exception:
            log.exception("upkeep.failed", task=getattr(do, "__name__", "task"))
