"""The API, put together."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from fastapi import FastAPI
from starlette.middleware import Middleware

from app import __version__
from app.api import (
    batches,
    events,
    exports,
    inbound,
    operations,
    pages,
    reconciliations,
    refund_changes,
    refunds,
    schedules,
    specification,
    store_refunds,
    store_webhooks,
    stores,
    webhook_endpoints,
)
from app.api.auth import KeyRing, RateLimit
from app.api.errors import install_handlers
from app.api.middleware import Frame
from app.settings import Settings

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]

#: Seconds that the bytes of a body may take; a refund's fit into one packet.
_BODY_WITHIN_S = 15.0
#: Where files are taken, and bodies may be as large as files.
_UPLOADS = frozenset({"/v1/batches", "/v1/reconciliations"})


def build(settings: Settings, lifespan: Lifespan | None = None, *, body_within_s: float = _BODY_WITHIN_S) -> FastAPI:
    """Make the application. `lifespan` puts the Runtime at `app.state.runtime` and Metrics at `app.state.metrics`."""
    app = FastAPI(
        title="Refund Gateway",
        version=__version__,
        description=specification.DESCRIPTION,
        lifespan=lifespan,
        middleware=[
            Middleware(
                Frame,
                body_limit_bytes=settings.body_limit_bytes,
                upload_limit_bytes=max(settings.upload_limit_bytes, settings.body_limit_bytes),
                uploads=_UPLOADS,
                body_within_s=body_within_s,
            )
        ],
        redirect_slashes=False,
        strict_content_type=False,
        redoc_url=None,
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.state.keys = KeyRing()
    app.state.rate_limit = RateLimit(settings.rate_limit)
    install_handlers(app)
    for part in (
        refunds,
        refund_changes,
        batches,
        schedules,
        stores,
        store_refunds,
        inbound,
        store_webhooks,
        events,
        webhook_endpoints,
        reconciliations,
        exports,
        operations,
        pages,
    ):
        app.include_router(part.router)
    described: dict[str, Any] = {}

    def describe() -> dict[str, Any]:
        if not described:
            described.update(specification.complete(FastAPI.openapi(app)))
        return described

    app.openapi = describe  # type: ignore[method-assign]
    return app
