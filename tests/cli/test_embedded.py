"""The embedded PostgreSQL outlives nobody who uses it, and nothing that a killed process left misleads it."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

_USE = """
import sys
from pathlib import Path
import psycopg
from app.database import start_embedded
with psycopg.connect(start_embedded(Path(sys.argv[1]))) as conn:
    print(conn.execute("SELECT 1").fetchone()[0])
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """Give a folder that PostgreSQL's own user can reach when root runs the tests."""
    with tempfile.TemporaryDirectory(prefix="embedded-", ignore_cleanup_errors=True) as base:
        yield Path(base) / "postgres"


def _use(folder: Path) -> None:
    """Start the server in a process that uses it and leaves."""
    command = [sys.executable, "-c", _USE, str(folder)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ran.returncode, ran.stdout) == (0, "1\n"), ran.stderr


def _servers(folder: Path) -> list[psutil.Process]:
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if str(folder) in (process.info["cmdline"] or ()) and process.name() == "postgres"
    ]


def test_what_killed_processes_leave_keeps_it_neither_running_nor_down(folder: Path) -> None:
    _use(folder)
    assert _servers(folder) == []
    users = folder / ".handle_pids.json"
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        dead.wait()
    users.write_text(json.dumps([dead.pid]))
    # After a restart of the machine the server's old process id belongs to another program: to us, say.
    lines = [str(os.getpid()), str(folder), "1", "5432", str(folder), "", "0 0", "ready"]
    (folder / "postmaster.pid").write_text("\n".join(lines) + "\n")
    _use(folder)
    assert _servers(folder) == []
    assert json.loads(users.read_text()) == []
