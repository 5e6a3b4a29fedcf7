"""What is learned about a request on its way, for its headers and its log line."""

from dataclasses import dataclass, field
from typing import Any

from app.flows.results import Caller

_SCOPE_KEY = "refund_gateway.trace"


@dataclass(slots=True, kw_only=True)
class Trace:
    """One request's own notes."""

    request_id: str
    caller: Caller | None = None  #: once the key is known
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)  #: added to the answer, whatever it is


def begin_trace(scope: Any, trace: Trace) -> None:
    """Attach the notes to an ASGI scope."""
    scope[_SCOPE_KEY] = trace


def trace_of(scope: Any) -> Trace:
    """Give the notes of a request."""
    trace: Trace = scope[_SCOPE_KEY]
    return trace
