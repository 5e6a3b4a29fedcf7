"""The gateway as an ASGI application."""

import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from app import api, front
from app.settings import Settings
from app.telemetry import Metrics, configure_logging
from app.wiring import open_runtime


def create_app(settings: Settings, *, works: bool = True, url: str | None = None) -> FastAPI:
    """Make the gateway; with `works` it also runs jobs. Everything is opened when the server starts it."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        configure_logging(settings)
        meters = Metrics()
        async with open_runtime(settings, works=works, url=url, meters=meters) as runtime:
            app.state.metrics = meters
            app.state.runtime = runtime
            # What is there now stays; the collector need not look at it again and again (5 % of a replay).
            gc.freeze()
            yield

    app = api.build(settings, lifespan)
    front.attach(app)
    return app
