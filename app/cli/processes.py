"""The verbs that run: `serve`, `worker`, `sandbox`; and `migrate`, which has to run before them."""

import asyncio
import math
import os
import signal
import socket
import ssl
import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import structlog
import typer
import uvicorn
from fastapi import FastAPI

from app.cli.access import connected, load_settings, quiet_logging, require_version, usable_database
from app.cli.ends import Ended, Exit, one_line, plain_verb
from app.cli.screen import AsJson, note, show_json
from app.database import database_url
from app.database import migrate as apply_migrations
from app.main import create_app
from app.sandbox.main import run as run_sandbox
from app.sandbox.model import Installation
from app.settings import Settings
from app.telemetry import configure_logging
from app.wiring import open_runtime, sealer

log = structlog.get_logger(__name__)

#: What answers under way get beyond the refunds' own grace.
_ANSWERS_GRACE_S = 3

UntilInputEnds = Annotated[
    bool,
    typer.Option(
        "--until-input-ends",
        hidden=True,
        help="Stop when standard input ends: whoever holds its other end need not stay alive to stop this.",
    ),
]


class Server(uvicorn.Server):
    """Tells the application before it waits for its answers, so that those without an end come to one."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop."""
        app: FastAPI = self.config.app  # type: ignore[assignment]
        app.state.stopping = True
        await super().shutdown(sockets)


@plain_verb
def serve(
    *,
    worker: Annotated[
        bool, typer.Option("--worker/--no-worker", help="Run jobs (recovery, retries) in this process too.")
    ] = True,
    host: Annotated[
        str | None, typer.Option("--host", help="Address to listen on.", show_default="REFUND_GATEWAY_HOST")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option("--port", min=1, max=65535, help="Port to listen on.", show_default="REFUND_GATEWAY_PORT"),
    ] = None,
    trust_proxy: Annotated[
        str | None,
        typer.Option(
            "--trust-proxy", metavar="ADDRESSES", help="Believe X-Forwarded-For and -Proto from these proxies."
        ),
    ] = None,
    tls_cert: Annotated[
        Path | None,
        typer.Option(
            "--tls-cert",
            help="PEM file with the certificate chain, to serve HTTPS; with --tls-key.",
            show_default="REFUND_GATEWAY_TLS_CERTIFICATE",
        ),
    ] = None,
    tls_key: Annotated[
        Path | None,
        typer.Option("--tls-key", help="PEM file with the certificate's key.", show_default="REFUND_GATEWAY_TLS_KEY"),
    ] = None,
    until_input_ends: UntilInputEnds = False,
) -> None:
    """Serve the API, with a worker unless told otherwise; SIGTERM or SIGINT stops it once its refunds are safe."""
    given = {"tls_certificate": tls_cert, "tls_key": tls_key}
    settings, url = _ready(**{name: path for name, path in given.items() if path is not None})
    certificate = _certificate(settings)
    listener = _listen(host or settings.host, port or settings.port)
    config = uvicorn.Config(
        create_app(settings, works=worker, url=url),
        loop="uvloop",
        http="httptools",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=trust_proxy is not None,
        forwarded_allow_ips=trust_proxy,
        ssl_certfile=None if certificate is None else certificate[0],
        ssl_keyfile=None if certificate is None else certificate[1],
        timeout_graceful_shutdown=math.ceil(settings.shutdown_grace_s) + _ANSWERS_GRACE_S,
    )
    server = Server(config)

    def stop(_signal: int, _frame: object) -> None:
        server.should_exit = True

    # uvicorn raises a signal again when it has stopped. Dying of it would skip the embedded PostgreSQL's farewell.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    if until_input_ends:
        _stop_when_input_ends()
    server.run(sockets=[listener])
    if not server.started:
        raise Ended(Exit.GATEWAY, "The gateway could not be started; the log says why.")


@plain_verb
def worker(*, until_input_ends: UntilInputEnds = False) -> None:
    """Run jobs without serving the API: recovery, retries, upkeep; stops on SIGTERM or SIGINT."""
    settings, url = _ready()
    if until_input_ends:
        _stop_when_input_ends()
    asyncio.run(_work(settings, url))


async def _work(settings: Settings, url: str) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for stop in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(stop, stopped.set)
    async with open_runtime(settings, works=True, url=url) as rt:
        log.info("worker.started", executor=rt.executor_id)
        await stopped.wait()
        log.info("worker.stopping", executor=rt.executor_id)


@plain_verb
def migrate(*, as_json: AsJson = False) -> None:
    """Create the database's schema or bring it up to date; several processes may try at once."""
    settings = load_settings()
    quiet_logging(settings)
    url = database_url(settings)
    with connected(url) as conn:
        require_version(conn)
    applied = apply_migrations(url)
    if as_json:
        show_json({"applied": applied})
    else:
        note(f"Applied: {', '.join(applied)}." if applied else "The database's schema is up to date.")


@plain_verb
def sandbox(
    *,
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="Port to listen on.")] = 8090,
    database: Annotated[
        Path | None, typer.Option("--database", help="SQLite file to keep the shop in; in memory without it.")
    ] = None,
    seed: Annotated[bool, typer.Option("--seed/--no-seed", help="Begin with example orders.")] = True,
    legacy: Annotated[
        bool | None,
        typer.Option("--legacy/--no-legacy", help="Whether the Legacy REST API plugin (wc-api/v3) is installed."),
    ] = None,
    rest_v3: Annotated[bool | None, typer.Option("--rest-v3/--no-rest-v3", help="Whether wc/v3 is there.")] = None,
    version: Annotated[
        str | None, typer.Option("--woocommerce-version", metavar="VERSION", help="Which WooCommerce it plays.")
    ] = None,
    webhooks: Annotated[
        bool, typer.Option("--webhooks/--no-webhooks", help="Send webhooks to whoever is registered for them.")
    ] = False,
    until_input_ends: UntilInputEnds = False,
) -> None:
    """Serve a WooCommerce store to practise on; its API keys are ck_sandbox_rw with cs_sandbox_rw, by OAuth 1.0a."""
    # Only to say it in one sentence; the sandbox opens the port itself.
    _listen(host, port).close()
    if until_input_ends:
        _stop_when_input_ends()
    installation: Installation = {}
    if legacy is not None:
        installation["legacy"] = legacy
    if rest_v3 is not None:
        installation["rest_v3"] = rest_v3
    if version is not None:
        installation["woocommerce_version"] = version
    run_sandbox(host, port, database, seed=seed, webhooks="on" if webhooks else "off", **installation)


def _certificate(settings: Settings) -> tuple[Path, Path] | None:
    """Give the files to serve HTTPS with; ends the verb when they do not fit together, and None when there are none."""
    chain, key = settings.tls_certificate, settings.tls_key
    if chain is None and key is None:
        return None
    if chain is None or key is None:
        raise Ended(
            Exit.GATEWAY,
            "HTTPS needs both a certificate and its key: --tls-cert and --tls-key, or REFUND_GATEWAY_TLS_CERTIFICATE "
            "and REFUND_GATEWAY_TLS_KEY.",
        )
    try:
        # Without a password at hand OpenSSL would ask for one at the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(chain, key, password="")
    except (OSError, ssl.SSLError) as error:
        why = error.strerror if isinstance(error, FileNotFoundError) else one_line(error)
        raise Ended(Exit.GATEWAY, f"HTTPS cannot be served with {chain} and {key}: {why}.") from None
    return chain, key


def _ready(**given: Path) -> tuple[Settings, str]:
    """Give the settings and the database's URL once both are fit to start with; nothing is listened on before that."""
    settings = load_settings(**given)
    configure_logging(settings)
    sealer(settings)
    return settings, usable_database(settings)


def _listen(host: str, port: int) -> socket.socket:
    """Bind the address; ends the verb when that cannot be done."""
    with ExitStack() as stack:
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(
                host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            listener = stack.enter_context(socket.socket(family, kind, protocol))
            if os.name == "posix":
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
        except OSError as error:
            why = error.strerror or one_line(error)
            raise Ended(Exit.GATEWAY, f"Port {port} on {host} cannot be listened on: {why}.") from None
        stack.pop_all()
    return listener


def _stop_when_input_ends() -> None:
    """Have this process stop as by SIGTERM when its standard input ends."""

    def watch() -> None:
        while os.read(sys.stdin.fileno(), 4096):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="input-watch", daemon=True).start()
