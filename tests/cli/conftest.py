"""The command line in this process, on a database of the test's own; and in processes of its own."""

import asyncio
import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import structlog
from typer.testing import CliRunner

from app.cli import app
from app.crypto import new_sealing_key

SEALING_KEYS = new_sealing_key()


@dataclass(frozen=True, slots=True)
class Ran:
    """What a verb left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Parse everything on stdout; fails when there is anything but JSON."""
        return json.loads(self.out)


@dataclass(frozen=True, slots=True)
class Cli:
    """Runs verbs with the environment of one gateway."""

    environment: dict[str, str]

    def __call__(self, *arguments: str, ok: bool = True, **environment: str) -> Ran:
        """Run a verb in this process; fails unless it ends with 0, or with `ok=False` unless it does not."""
        result = CliRunner().invoke(app, list(arguments), env={**self.environment, **environment})
        assert (result.exit_code == 0) is ok, (result.exit_code, result.stdout, result.stderr)
        assert "Traceback" not in result.stderr
        return Ran(result.exit_code, result.stdout, result.stderr)

    async def aside(self, *arguments: str, ok: bool = True, **environment: str) -> Ran:
        """Run a verb while this test's event loop goes on, serving the sandbox store for example."""
        return await asyncio.to_thread(self, *arguments, ok=ok, **environment)

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        """Start a verb in a process of its own."""
        environment = {**os.environ, **self.environment, **options.pop("environment", {})}
        return subprocess.Popen(
            [sys.executable, "-m", "app.cli", *arguments],
            env=environment,
            text=True,
            **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL, **options},
        )


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """Verbs configure the logging of their process, which here is everybody's."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture
def cli(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Give the command line of a gateway whose ledger is empty."""
    for name in [name for name in os.environ if name.startswith("REFUND_GATEWAY_")]:
        monkeypatch.delenv(name)
    return Cli(
        {
            "REFUND_GATEWAY_DATABASE_URL": database_url,
            "REFUND_GATEWAY_SEALING_KEYS": SEALING_KEYS,
            "REFUND_GATEWAY_ALLOW_PRIVATE_STORES": "true",
            "REFUND_GATEWAY_VAR": str(tmp_path / "var"),
            "REFUND_GATEWAY_SHUTDOWN_GRACE_S": "5",
        }
    )


@pytest.fixture
def add_store(cli: Cli) -> Callable[[str], None]:
    """Add the tenant `acme` with the store `shop` at an address."""

    def add(url: str) -> None:
        cli("tenant", "add", "acme")
        cli(
            *("store", "add", "--tenant", "acme", "--name", "shop", "--url", url, "--auth", "oauth1", "--no-check"),
            REFUND_GATEWAY_CONSUMER_KEY="ck_sandbox_rw",
            REFUND_GATEWAY_CONSUMER_SECRET="cs_sandbox_rw",
        )

    return add
