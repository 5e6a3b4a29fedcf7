"""The sandbox as an ASGI app: `create_app()` for tests and embedding, `run()` to serve it.

It runs as one process: faults, nonces and the request log live in its memory, everything else in its SQLite file.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Unpack

import uvicorn
from starlette.applications import Starlette
from starlette.types import Message, Receive, Scope, Send

from app.sandbox import admin, seeds
from app.sandbox.auth import DEFAULT_KEYS, Keyring, SandboxKey
from app.sandbox.deliveries import Deliveries, Mode
from app.sandbox.exchange import HttpAnswer, HttpRequest
from app.sandbox.model import HPOS, Installation
from app.sandbox.site import Site
from app.sandbox.store import Store

__all__ = ["DEFAULT_KEYS", "Sandbox", "SandboxKey", "create_app", "run"]


class Sandbox(Starlette):
    """The store: `/wp-json` is WordPress, `/wc-api` the legacy API, `/sandbox` its admin API."""

    def __init__(self, site: Site, *, public_url: str | None, assume_https: bool) -> None:
        super().__init__(routes=admin.routes(site), lifespan=self._lifespan)
        self.site = site
        self._public_url = public_url.rstrip("/") if public_url else None
        self._assume_https = assume_https
        self._running: set[asyncio.Task[HttpAnswer]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        if scope["type"] == "http":
            self.site.deliveries.site_url = self._site_url(scope)
        if scope["type"] == "http" and path.startswith(("/wp-json", "/wc-api/")):
            await self._serve_site(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)

    async def _serve_site(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; its work goes on when the client leaves, as PHP's does."""
        body = await _body(receive)
        if body is None:
            return
        task = asyncio.create_task(self.site.answer(self._request(scope, body)))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        await _send(await asyncio.shield(task), receive, send)

    def _request(self, scope: Scope, body: bytes) -> HttpRequest:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        scheme = scope.get("scheme", "http")
        raw_path: bytes = scope.get("raw_path") or scope["path"].encode()
        return HttpRequest(
            method=scope["method"],
            path=raw_path.decode("latin-1").partition("?")[0],
            query_string=scope["query_string"].decode("latin-1"),
            headers=headers,
            body=body,
            site_url=self._site_url(scope),
            is_https=scheme == "https" or self._assume_https,
        )

    def _site_url(self, scope: Scope) -> str:
        host = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), "localhost")
        return self._public_url or f"{scope.get('scheme', 'http')}://{host}"

    @asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        yield
        await asyncio.gather(*self._running, return_exceptions=True)
        await self.site.deliveries.close()
        self.site.store.close()


def create_app(
    database: Path | None = None,
    *,
    keys: Sequence[SandboxKey] = DEFAULT_KEYS,
    public_url: str | None = None,
    assume_https: bool = False,
    seed: bool = True,
    provider_delay_s: float = 0.0,
    read_delay_s: float = 0.0,
    webhooks: Mode = "off",
    **installation: Unpack[Installation],
) -> Sandbox:
    """Return a sandbox store over a SQLite file, or over memory without one.

    `public_url` is the address signatures are computed for and links begin with; without it the request's own.
    `assume_https` takes Basic and query-string credentials over plain HTTP too, as behind a proxy that ends TLS.
    `legacy`, `rest_v3`, `hpos` and `woocommerce_version` say what is installed; without them it is as the database has
    it, or both APIs on WooCommerce 9.4.0 with orders in posts. A reset returns to what is given here. `webhooks` says
    whether they are sent; the admin API can change that.
    """
    hpos = installation.pop("hpos", None)
    store = Store(database, {**installation, **(HPOS[hpos] if hpos else {})})
    if seed and not store.orders():
        seeds.plant(store)
    site = Site(
        store=store,
        keyring=Keyring(keys),
        provider_delay_s=provider_delay_s,
        read_delay_s=read_delay_s,
        deliveries=Deliveries(store, mode=webhooks, public_url=public_url),
    )
    return Sandbox(site, public_url=public_url, assume_https=assume_https)


def run(
    host: str,
    port: int,
    database: Path | None,
    *,
    keys: Sequence[SandboxKey] = DEFAULT_KEYS,
    public_url: str | None = None,
    assume_https: bool = False,
    seed: bool = True,
    provider_delay_s: float = 0.0,
    read_delay_s: float = 0.0,
    tls_cert: Path | None = None,
    tls_key: Path | None = None,
    log_level: str = "info",
    webhooks: Mode = "off",
    **installation: Unpack[Installation],
) -> None:
    """Serve a sandbox store until the process is told to stop."""
    if database is not None:
        database.parent.mkdir(parents=True, exist_ok=True)
    app = create_app(
        database,
        keys=keys,
        public_url=public_url,
        assume_https=assume_https,
        seed=seed,
        provider_delay_s=provider_delay_s,
        read_delay_s=read_delay_s,
        webhooks=webhooks,
        **installation,
    )
    uvicorn.run(
        app,
        host=host,
        port=port,
        log_level=log_level,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        # A client that never closes its side of a TLS connection would hold the process for 30 s.
        timeout_graceful_shutdown=5,
        ssl_certfile=tls_cert,
        ssl_keyfile=tls_key,
    )


async def _body(receive: Receive) -> bytes | None:
    """Return the request's body, or None if the client left before its end."""
    chunks = []
    more = True
    while more:
        message: Message = await receive()
        if message["type"] == "http.disconnect":
            return None
        chunks.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(chunks)


async def _send(answer: HttpAnswer, receive: Receive, send: Send) -> None:
    """Send an answer, or break the connection as the answer says.

    ASGI knows no way to close a connection; uvicorn's `send` is a method of an object that holds the transport. Without
    one (an in-process transport) the break is a ConnectionResetError.
    """
    transport = getattr(getattr(send, "__self__", None), "transport", None)
    if answer.connection == "lost":
        if transport is None:
            raise ConnectionResetError
        transport.abort()
        await _disconnected(receive)
        return
    length = str(len(answer.body)).encode()
    headers = [(name.lower().encode(), value.encode()) for name, value in answer.headers.items()]
    await send(
        {"type": "http.response.start", "status": answer.status, "headers": [*headers, (b"content-length", length)]}
    )
    if answer.connection == "truncated":
        half = answer.body[: len(answer.body) // 2]
        await send({"type": "http.response.body", "body": half, "more_body": True})
        if transport is None:
            raise ConnectionResetError
        transport.close()
        await _disconnected(receive)
        return
    await send({"type": "http.response.body", "body": answer.body})


async def _disconnected(receive: Receive) -> None:
    """Return once the server has noticed, so that it does not try to answer on its own."""
    while (await receive())["type"] != "http.disconnect":
        pass
