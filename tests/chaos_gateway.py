"""A gateway process that kills itself at a named step, for the crash tests.

`python -m tests.chaos_gateway PORT [STEP [NTH]]` serves the real application; the NTH time that it comes to STEP it
sends itself SIGKILL, as a power cut would. The steps lie between what flows do and what they use, so that nothing of
the application itself is changed.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any

import uvicorn

from app import api, front
from app.database import Connection
from app.domain.order import OrderNote, OrderSnapshot
from app.domain.order_query import OrderPage, OrderQuery
from app.domain.refund import GatewayCapability, RefundPlan, StoreApi, StorePolicy
from app.domain.refund_query import RefundQuery
from app.flows.execute import Executions
from app.flows.runtime import Jobs, Meters, Runtime, StoreBook
from app.settings import Settings
from app.stores.port import (
    Deletion,
    Features,
    HealthReport,
    ListedRefund,
    Priority,
    RawAnswer,
    RefundPage,
    Store,
    StoreAnswer,
    Streamed,
    Update,
)
from app.telemetry import Metrics, configure_logging
from app.wiring import open_runtime

#: In the order in which a refund comes to them.
STEPS = (
    "order_read",  # nothing is on record yet
    "reserved",  # the row is committed, nothing was sent
    "sending_committed",  # on record as sending, no byte has left
    "mid_post",  # the request is with the store
    "answered",  # the store has answered, nothing of it is on record
    "uncertain_uncommitted",  # an unclear answer is being put on record
    "settled",  # the outcome is committed, the caller has not heard of it
    "looking",  # recovery has read the notes, but not yet the order
    "weighed",  # recovery has read everything and put nothing on record
    "resend_uncommitted",  # a refund is being put back in line
)


class Trap:
    """Kills the process at its step."""

    def __init__(self, step: str | None, nth: int) -> None:
        self._step = step
        self._left = nth

    def pass_by(self, step: str) -> None:
        """Die here, if this is the step and the time has come."""
        if step == self._step:
            self._left -= 1
            if self._left <= 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def is_near(self, step: str) -> bool:
        return step == self._step and self._left == 1


class TrappedStore:
    """A store with traps before and after every call that matters."""

    def __init__(self, store: Store, trap: Trap) -> None:
        self._store = store
        self._trap = trap

    async def read_order(
        self, order_id: str, *, read_at: datetime, priority: Priority = "interactive", verify: bool = False
    ) -> OrderSnapshot:
        order = await self._store.read_order(order_id, read_at=read_at, priority=priority, verify=verify)
        self._trap.pass_by("weighed" if verify else "order_read")
        return order

    async def find_order(self, order_number: str, *, priority: Priority = "interactive") -> tuple[str, ...]:
        return await self._store.find_order(order_number, priority=priority)

    async def list_orders(self, query: OrderQuery, *, page: int, priority: Priority = "background") -> OrderPage:
        return await self._store.list_orders(query, page=page, priority=priority)

    async def payment_capability(self, payment_method: str, *, priority: Priority = "interactive") -> GatewayCapability:
        return await self._store.payment_capability(payment_method, priority=priority)

    async def refund(
        self,
        plan: RefundPlan,
        *,
        marker: str,
        request_id: str,
        priority: Priority = "interactive",
        send_by: float | None = None,
    ) -> StoreAnswer:
        self._trap.pass_by("sending_committed")
        sending = self._store.refund(plan, marker=marker, request_id=request_id, priority=priority, send_by=send_by)
        post = asyncio.ensure_future(sending)
        if self._trap.is_near("mid_post"):
            await asyncio.sleep(0.02)
        self._trap.pass_by("mid_post")
        answer = await post
        self._trap.pass_by("answered")
        return answer

    @property
    def api(self) -> StoreApi:
        return self._store.api

    async def read_refund(
        self, order_id: str, store_refund_id: str, *, dp: int | None = None, priority: Priority = "interactive"
    ) -> ListedRefund | None:
        return await self._store.read_refund(order_id, store_refund_id, dp=dp)

    async def list_refunds(
        self, query: RefundQuery, *, order_id: str | None = None, priority: Priority = "interactive"
    ) -> RefundPage:
        return await self._store.list_refunds(query, order_id=order_id)

    async def delete_refund(self, order_id: str, store_refund_id: str) -> Deletion:
        return await self._store.delete_refund(order_id, store_refund_id)

    async def update_refund(self, order_id: str, store_refund_id: str, *, reason: str) -> Update:
        return await self._store.update_refund(order_id, store_refund_id, reason=reason)

    async def features(self) -> Features:
        return await self._store.features()

    async def read_raw(self, path: str, query: Sequence[tuple[str, str]]) -> RawAnswer:
        return await self._store.read_raw(path, query)

    def stream(self, path: str, query: Sequence[tuple[str, str]]) -> AbstractAsyncContextManager[Streamed]:
        return self._store.stream(path, query)

    async def read_notes(self, order_id: str, *, priority: Priority = "background") -> tuple[OrderNote, ...]:
        notes = await self._store.read_notes(order_id, priority=priority)
        self._trap.pass_by("looking")
        return notes

    async def check(self) -> HealthReport:
        return await self._store.check()


class TrappedStores:
    """Opens stores with traps."""

    def __init__(self, stores: StoreBook, trap: Trap) -> None:
        self._stores = stores
        self._trap = trap

    async def open(self, store_id: str) -> tuple[Store, StorePolicy]:
        store, policy = await self._stores.open(store_id)
        return TrappedStore(store, self._trap), policy


class TrappedExecutions(Executions):
    """Dies when a reserved refund is about to be carried out."""

    def __init__(self, trap: Trap) -> None:
        super().__init__()
        self._trap = trap

    def start(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        self._trap.pass_by("reserved")
        return super().start(work)


class TrappedJobs:
    """Dies inside a transaction that defers a job."""

    def __init__(self, jobs: Jobs, trap: Trap) -> None:
        self._jobs = jobs
        self._trap = trap

    async def settle_later(self, conn: Connection, refund_id: str, *, at: datetime) -> None:
        self._trap.pass_by("uncertain_uncommitted")
        await self._jobs.settle_later(conn, refund_id, at=at)

    async def send_later(self, conn: Connection, refund_id: str, *, at: datetime | None) -> None:
        self._trap.pass_by("resend_uncommitted")
        await self._jobs.send_later(conn, refund_id, at=at)

    async def later(
        self, conn: Connection, task: str, arguments: Mapping[str, str], *, lock: str, at: datetime | None = None
    ) -> None:
        await self._jobs.later(conn, task, arguments, lock=lock, at=at)


class TrappedMeters:
    """Dies when a refund has been settled."""

    def __init__(self, meters: Meters, trap: Trap) -> None:
        self._meters = meters
        self._trap = trap

    def refund_settled(self, *, store: str, status: str, payment: str) -> None:
        self._trap.pass_by("settled")
        self._meters.refund_settled(store=store, status=status, payment=payment)

    def delivery_tried(self, *, outcome: str) -> None:
        self._meters.delivery_tried(outcome=outcome)


def trapped(runtime: Runtime, trap: Trap) -> Runtime:
    """Put the traps between the flows and what they use."""
    return replace(
        runtime,
        stores=TrappedStores(runtime.stores, trap),
        jobs=TrappedJobs(runtime.jobs, trap),
        meters=TrappedMeters(runtime.meters, trap),
        executions=TrappedExecutions(trap),
    )


def main(port: int, step: str | None, nth: int) -> None:
    """Serve until killed."""
    settings = Settings()
    trap = Trap(step, nth)

    @asynccontextmanager
    async def lifespan(app: Any) -> Any:
        configure_logging(settings)
        meters = Metrics()
        async with open_runtime(
            settings, works=True, meters=meters, adapt=lambda runtime: trapped(runtime, trap)
        ) as runtime:
            app.state.metrics = meters
            app.state.runtime = runtime
            yield

    app = api.build(settings, lifespan)
    front.attach(app)
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=port,
        loop="uvloop",
        http="httptools",
        log_config=None,
        access_log=False,
    )


if __name__ == "__main__":
    main(
        int(sys.argv[1]),
        sys.argv[2] if len(sys.argv) > 2 else None,
        int(sys.argv[3]) if len(sys.argv) > 3 else 1,
    )
