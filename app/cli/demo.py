"""`refund-gateway demo`: everything on this machine, a practice store included, and a refund to copy and paste."""

import asyncio
import http.client
import json
import os
import shlex
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any
from uuid import uuid4

import typer
from psycopg import AsyncConnection
from psycopg.rows import dict_row

from app.cli.access import caller_of, load_settings, quiet_logging
from app.cli.children import Child
from app.cli.demo_data import STORE, TENANT, DemoFile, DemoKeys, DemoOrder, plant
from app.cli.ends import Ended, Exit, verb
from app.cli.screen import note, show_facts, show_table
from app.database import database_url, migrate
from app.flows.webhooks import Repaired, repair
from app.settings import Settings
from app.wiring import open_runtime, sealer

_HOST = "127.0.0.1"
_START_WITHIN_S = 60.0
_PORTS_FREE_WITHIN_S = 3.0
_STOP_MARGIN_S = 4.0

#: What a person who kills the gateway in the middle of a refund would otherwise have to wait for.
_DEFAULTS = {
    "lease_s": "5",
    "quiet_period_s": "2",
    "store_limit_s": "15",
    "sweep_interval_s": "1",
    "shutdown_grace_s": "3",
    "log_format": "console",
}
#: The demo never works on somebody's real ledger, and never seals with real keys.
_NOT_THE_DEMOS = ("REFUND_GATEWAY_DATABASE_URL", "REFUND_GATEWAY_SEALING_KEYS")


@verb
async def demo(
    *,
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="The gateway's port.")] = 8080,
    sandbox_port: Annotated[int, typer.Option("--sandbox-port", min=1, max=65535, help="The sandbox's port.")] = 8090,
    var: Annotated[Path, typer.Option("--var", help="Folder to keep everything in.")] = Path("var"),
) -> None:
    """Run gateway, worker, PostgreSQL and a sandbox store here, and print a refund to copy and paste.

    Everything is kept in one folder: a second run finds it again. Ctrl-C stops everything.
    """
    plan = _Demo.of(port, sandbox_port, var)
    with _stopping_quietly() as children:
        try:
            await _run(plan, children)
        except asyncio.CancelledError:
            typer.echo("\nStopping ...", err=True)
        finally:
            # The gateway first: what it has in hand needs the store.
            for child in reversed(children):
                await child.stop(within_s=plan.settings.shutdown_grace_s + _STOP_MARGIN_S)


@contextmanager
def _stopping_quietly() -> Iterator[list[Child]]:
    """Lend a list for the children; the first signal cancels the demo, a further one kills what takes too long."""
    children: list[Child] = []
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    assert task is not None
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def stop() -> None:
        if not task.cancelling():
            task.cancel()
        else:
            for child in children:
                child.kill()

    for number in signals:
        loop.add_signal_handler(number, stop)
    try:
        yield children
    finally:
        for number in signals:
            loop.remove_signal_handler(number)
            # From here on only PostgreSQL is left to stop, which another Ctrl-C must not prevent.
            signal.signal(number, signal.SIG_IGN)


def _variable(setting: str) -> str:
    return f"REFUND_GATEWAY_{setting.upper()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Demo:
    settings: Settings
    port: int
    sandbox_port: int
    var: Path

    @classmethod
    def of(cls, port: int, sandbox_port: int, var: Path) -> "_Demo":
        if port == sandbox_port:
            raise Ended(Exit.USAGE, "The gateway and the sandbox need a port each.")
        unset = {name: value for name, value in _DEFAULTS.items() if not os.environ.get(_variable(name))}
        settings = load_settings(
            **unset,
            environment="demo",
            allow_private_stores=True,
            host=_HOST,
            port=port,
            var=var,
            database_url=None,
            sealing_keys=None,
        )
        return cls(settings=settings, port=port, sandbox_port=sandbox_port, var=settings.var)

    @property
    def base_url(self) -> str:
        return f"http://{_HOST}:{self.port}"

    @property
    def sandbox_url(self) -> str:
        return f"http://{_HOST}:{self.sandbox_port}"

    @property
    def file(self) -> Path:
        return self.var / "demo.json"

    def environment(self, database: str) -> dict[str, str]:
        """Give the gateway's environment: the caller's, the demo's own settings, and short times by default."""
        return {
            **{_variable(name): value for name, value in _DEFAULTS.items()},
            **_environment(),
            "REFUND_GATEWAY_ENVIRONMENT": "demo",
            "REFUND_GATEWAY_ALLOW_PRIVATE_STORES": "true",
            "REFUND_GATEWAY_VAR": str(self.var),
            "REFUND_GATEWAY_DATABASE_URL": database,
        }


def _environment() -> dict[str, str]:
    """Give the caller's environment without what is not the demo's, and without empty values."""
    return {name: value for name, value in os.environ.items() if value and name not in _NOT_THE_DEMOS}


async def _run(demo: _Demo, children: list[Child]) -> None:
    quiet_logging(demo.settings)
    await _await_free_ports(demo)
    _make_folder(demo.var)
    with _only_one(demo.var):
        if any(os.environ.get(name) for name in _NOT_THE_DEMOS):
            note(f"The demo does not use {' or '.join(_NOT_THE_DEMOS)}; it has a database and keys of its own.")
        note(f"Starting PostgreSQL in {demo.var / 'postgres'} ...")
        url = await asyncio.to_thread(database_url, demo.settings)
        await asyncio.to_thread(migrate, url)
        async with await AsyncConnection.connect(url, autocommit=True, row_factory=dict_row) as conn:
            keys = await plant(conn, sealer(demo.settings), sandbox_url=demo.sandbox_url, file=demo.file)
        sandbox = Child(
            name="sandbox store",
            arguments=[
                *("sandbox", "--port", str(demo.sandbox_port)),
                *("--database", str(demo.var / "sandbox.db"), "--webhooks"),
            ],
            environment=_environment(),
            log=demo.var / "sandbox.log",
        )
        gateway = Child(
            name="gateway",
            arguments=["serve", "--host", _HOST, "--port", str(demo.port)],
            environment=demo.environment(url),
            log=demo.var / "gateway.log",
        )
        note("Starting the sandbox store and the gateway ...")
        for child in (sandbox, gateway):
            children.append(child)
            await child.start()
        await _ready(sandbox, demo.sandbox_port, "/sandbox/orders")
        await _ready(gateway, demo.port, "/readyz")
        await _register_webhooks(demo, url)
        await _present(demo, keys, gateway)
        await _watch(demo, sandbox, gateway)


def _make_folder(var: Path) -> None:
    try:
        var.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Ended(Exit.GATEWAY, f"The folder {var} cannot be made: {error.strerror}.") from None


@contextmanager
def _only_one(var: Path) -> Iterator[None]:
    """Hold the folder, so that two demos do not share a sandbox; the system lets go of it when we die."""
    import fcntl

    with (var / "demo.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Ended(Exit.GATEWAY, f"Another demo is running in {var}; stop it, or take another --var.") from None
        yield


async def _await_free_ports(demo: _Demo) -> None:
    """Wait a moment for a demo that was just killed to leave; ends the verb when a port stays taken."""
    for name, number, variable in (("gateway", demo.port, "PORT"), ("sandbox", demo.sandbox_port, "SANDBOX_PORT")):
        deadline = asyncio.get_running_loop().time() + _PORTS_FREE_WITHIN_S
        while not _is_free(number):
            if asyncio.get_running_loop().time() > deadline:
                option = f"--{variable.lower().replace('_', '-')}"
                raise Ended(
                    Exit.GATEWAY,
                    f"Port {number}, meant for the {name}, is in use: stop what listens there, or take another with "
                    f"`make run {variable}=…` or {option}.",
                )
            await asyncio.sleep(0.1)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError:
            return False
    return True


async def _ready(child: Child, port: int, path: str) -> None:
    """Wait until a child answers; ends the verb when it stops instead, or takes too long."""
    deadline = asyncio.get_running_loop().time() + _START_WITHIN_S
    while asyncio.get_running_loop().time() < deadline:
        if not child.runs:
            raise Ended(Exit.GATEWAY, f"The {child.name} did not start: {child.last_words()} (see {child.log})")
        with suppress(OSError, http.client.HTTPException):
            status, _ = await _ask(port, path)
            if status == 200:
                return
        await asyncio.sleep(0.05)
    raise Ended(Exit.GATEWAY, f"The {child.name} was not ready within {_START_WITHIN_S:.0f} s; see {child.log}.")


async def _register_webhooks(demo: _Demo, url: str) -> None:
    """Have the sandbox tell the gateway what happens in it; the demo does without when it cannot."""
    async with open_runtime(demo.settings, works=False, url=url) as rt:
        outcome = await repair(rt, await caller_of(rt, TENANT), STORE, base_url=demo.base_url)
    if not isinstance(outcome, Repaired):
        note("The sandbox's webhooks could not be registered; refunds made in it are noticed when they are looked at.")


async def _ask(port: int, path: str, *, key: str | None = None, body: Any = None) -> tuple[int, Any]:
    """Ask one of the children something; a body makes it a POST."""
    return await asyncio.to_thread(_ask_plainly, port, path, key, body)


def _ask_plainly(port: int, path: str, key: str | None, body: Any) -> tuple[int, Any]:
    connection = http.client.HTTPConnection(_HOST, port, timeout=30)
    headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {key}"} if key else {})}
    try:
        if body is None:
            connection.request("GET", path, headers=headers)
        else:
            connection.request("POST", path, json.dumps(body), headers)
        answer = connection.getresponse()
        text = answer.read()
        return answer.status, json.loads(text) if text else None
    except ValueError:
        return 0, None
    finally:
        connection.close()


async def _present(demo: _Demo, keys: DemoKeys, gateway: Child) -> None:
    """Write `demo.json`, and show what there is and how to refund some of it."""
    key = keys.api_key
    request = await _a_refund(demo, key)
    _, listed = await _ask(demo.sandbox_port, "/sandbox/orders")
    orders = [
        DemoOrder(
            id=str(order["id"]),
            number=str(order["number"]),
            total=order["total"],
            currency=order["currency"],
            payment_method=order["payment_method"],
            description=order["description"],
        )
        for order in listed
    ]
    DemoFile(
        base_url=demo.base_url,
        **asdict(keys),
        store=STORE,
        sandbox_url=demo.sandbox_url,
        orders=orders,
    ).write(demo.file)
    shown = orders[:12]
    show_table(
        ["order", "amount", "payment", "description"],
        [(order.id, f"{order.total} {order.currency}", order.payment_method, order.description) for order in shown],
        empty="",
    )
    show_facts(
        [
            ("Gateway", f"{demo.base_url}  (docs at /docs; process {gateway.pid}, log in {gateway.log})"),
            ("Sandbox store", f"{demo.sandbox_url}/sandbox/  (what was really paid back: /sandbox/payouts)"),
            ("For programs", f"{demo.file}  (addresses, keys, orders)"),
            (
                "Try to break it",
                "put slow9000 into the reason, so that the provider takes 9 s, and kill -9 the gateway meanwhile",
            ),
        ]
    )
    typer.echo("\nEverything runs; Ctrl-C stops it. From another terminal, the command line:\n")
    typer.echo(_command_line(demo.var, "refund", "list", "--tenant", TENANT))
    typer.echo("\na preview over the API:\n")
    typer.echo(_curl(f"{demo.base_url}/v1/refunds/preview", key, request))
    typer.echo("\nand the refund, which is carried out once however often it is sent:\n")
    reference = f"DEMO-{uuid4().hex[:12]}"
    document = {**request, "external_reference": reference}
    typer.echo(_curl(f"{demo.base_url}/v1/refunds", key, document, idempotency_key=reference))


def _command_line(var: Path, *verb_: str) -> str:
    """Write a verb as a shell has to be told it for the demo's ledger."""
    script = Path(sys.executable).with_name("refund-gateway")
    command = [str(script)] if script.exists() else [sys.executable, "-m", "app.cli"]
    environment = {"ENVIRONMENT": "demo", "ALLOW_PRIVATE_STORES": "true", "VAR": str(var)}
    return shlex.join(
        ["env", *(f"REFUND_GATEWAY_{name}={value}" for name, value in environment.items()), *command, *verb_]
    )


async def _a_refund(demo: _Demo, key: str) -> dict[str, Any]:
    """Find a refund that can be made: one unit of an order that has some left, of a new order if none has."""
    _, listed = await _ask(demo.sandbox_port, "/sandbox/orders")
    for order_id in [order["id"] for order in listed]:
        request = await _one_unit(demo, key, str(order_id))
        if request is not None:
            return request
    _, made = await _ask(demo.sandbox_port, "/sandbox/orders", body={"description": "Made for another demo"})
    request = await _one_unit(demo, key, str(made[0]["id"]))
    if request is None:
        raise Ended(Exit.STORE, "The gateway refuses a refund of a new order of the sandbox; see the gateway's log.")
    return request


async def _one_unit(demo: _Demo, key: str, order_id: str) -> dict[str, Any] | None:
    """Give a refund of one unit of an order, if the gateway says that it would carry it out."""
    status, order = await _ask(demo.port, f"/v1/stores/{STORE}/orders/{order_id}", key=key)
    if status != 200 or order["payment_method"]["capability"] != "refunds":
        return None
    line = next((item for item in order["items"] if item["refundable"]["quantity"] >= 1), None)
    if line is None:
        return None
    request = {
        "store": STORE,
        "order_id": order_id,
        "items": [{"line_item_id": line["line_item_id"], "quantity": 1}],
        "reason": "Damaged in transit",
    }
    status, _ = await _ask(demo.port, "/v1/refunds/preview", key=key, body=request)
    return request if status == 200 else None


def _curl(url: str, key: str, body: Any, *, idempotency_key: str | None = None) -> str:
    headers = [f"Authorization: Bearer {key}", "Content-Type: application/json"]
    if idempotency_key is not None:
        headers.append(f"Idempotency-Key: {idempotency_key}")
    words = ["curl", "-sS", "-i", "-w", "\\n", url, *(word for header in headers for word in ("-H", header))]
    return shlex.join([*words, "-d", json.dumps(body)])


async def _watch(demo: _Demo, sandbox: Child, gateway: Child) -> None:
    """Wait for a child to end: a killed gateway is started again, anything else ends the demo."""
    while True:
        ends = {asyncio.create_task(child.ended()): child for child in (sandbox, gateway)}
        try:
            done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in ends:
                task.cancel()
        ended = {ends[task].name: task.result() for task in done}
        if ended != {gateway.name: -signal.SIGKILL}:
            name, code = next(iter(ended.items()))
            child = sandbox if name == sandbox.name else gateway
            raise Ended(
                Exit.GATEWAY, f"The {name} ended by itself with code {code}: {child.last_words()} (see {child.log})"
            )
        note("The gateway was killed; starting it again ...")
        await gateway.start()
        await _ready(gateway, demo.port, "/readyz")
        note(f"The gateway is back (process {gateway.pid}); what was under way is being found out.")
