"""What every flow works with. `app/wiring.py` is the only place that builds one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from app.crypto import Sealer
from app.database import Connection, Database
from app.domain.refund import StorePolicy
from app.outbound import Outbound
from app.settings import Settings
from app.stores.port import Store

if TYPE_CHECKING:
    from app.flows.execute import Executions


class StoreBook(Protocol):
    """Gives the adapter of a store, built from its row and kept until the row changes."""

    async def open(self, store_id: str) -> tuple[Store, StorePolicy]:
        """Give a store's adapter and policy; raises LookupError when there is no such store."""
        ...


class Jobs(Protocol):
    """The durable job engine, as far as flows need it."""

    async def settle_later(self, conn: Connection, refund_id: str, *, at: datetime) -> None:
        """Defer a look at an uncertain refund in the caller's transaction, not before `at`."""
        ...

    async def send_later(self, conn: Connection, refund_id: str, *, at: datetime | None) -> None:
        """Defer the sending of a pending refund in the caller's transaction."""
        ...

    async def later(
        self, conn: Connection, task: str, arguments: Mapping[str, str], *, lock: str, at: datetime | None = None
    ) -> None:
        """Defer a task in the caller's transaction, not before `at`; nothing when one of the same lock waits."""
        ...


class Meters(Protocol):
    """What flows count; telemetry implements it."""

    def refund_settled(self, *, store: str, status: str, payment: str) -> None:
        """Count a refund that reached a state in which it can stay."""
        ...

    def delivery_tried(self, *, outcome: str) -> None:
        """Count an attempt to deliver an event; `outcome` is "delivered" or the code of what was wrong."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """One process's view of the world."""

    settings: Settings
    database: Database
    stores: StoreBook
    outbound: Outbound  #: for what is sent to others than stores
    jobs: Jobs
    meters: Meters
    executions: "Executions"
    sealer: Sealer
    executor_id: str  #: names this process in leases
    clock: Callable[[], datetime]  #: aware UTC
