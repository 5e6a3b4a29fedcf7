"""The API, put together."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from fastapi import FastAPI
from starlette.middleware import Middleware

from app import __version__
from app.api import operations, pages, refund_changes, refunds, specification, store_refunds, stores
from app.api.auth import KeyRing, RateLimit
from app.api.errors import install_handlers
from app.api.middleware import Frame
from app.settings import Settings

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]

#: Seconds that the bytes of a body may take; a refund's fit into one packet.
_BODY_WITHIN_S = 15.0


def build(settings: Settings, lifespan: Lifespan | None = None, *, body_within_s: float = _BODY_WITHIN_S) -> FastAPI:
    """Make the application. `lifespan` puts the Runtime at `app.state.runtime` and Metrics at `app.state.metrics`."""
    app = FastAPI(
        title="Refund Gateway",
        version=__version__,
        description=specification.DESCRIPTION,
        lifespan=lifespan,
        middleware=[Middleware(Frame, body_limit_bytes=settings.body_limit_bytes, body_within_s=body_within_s)],
        redirect_slashes=False,
        strict_content_type=False,
        redoc_url=None,
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.state.keys = KeyRing()
    app.state.rate_limit = RateLimit(settings.rate_limit)
    install_handlers(app)
    for part in (refunds, refund_changes, stores, store_refunds, operations, pages):
        app.include_router(part.router)
    described: dict[str, Any] = {}

    def describe() -> dict[str, Any]:
        if not described:
            described.update(specification.complete(FastAPI.openapi(app)))
        return described

    app.openapi = describe  # type: ignore[method-assign]
    return app
