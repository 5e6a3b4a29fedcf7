"""The PHP process that answers one request: what it works with, and how it can come to its end."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.sandbox.faults import Fault
from app.sandbox.store import Store


class FatalError(Exception):
    """PHP has died of an uncaught error: 500, and nothing after it is done."""


class PhpKilledError(Exception):
    """The PHP process was killed: nginx answers 502, and nothing after it is done."""


@dataclass(slots=True, kw_only=True)
class PhpProcess:
    store: Store
    faults: Sequence[Fault] = ()
    provider_delay_s: float = 0.0

    def fault(self, *names: str) -> Fault | None:
        """Return the first fault of these names that this request suffers from."""
        return next((fault for fault in self.faults if fault.name in names), None)
