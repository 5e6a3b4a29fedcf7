"""Where tasks find the runtime, which can only be built after the job app."""

from app.flows.runtime import Runtime


class RuntimeSlot:
    """Holds the runtime of one process."""

    def __init__(self) -> None:
        """Start empty."""
        self._runtime: Runtime | None = None

    def put(self, runtime: Runtime) -> None:
        """Fill the slot."""
        self._runtime = runtime

    def get(self) -> Runtime:
        """Give the runtime; tasks never run before it is there."""
        assert self._runtime is not None
        return self._runtime
