"""The demo, as somebody meets it who has just cloned the project."""

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.cli.conftest import Cli
from tests.conftest import free_port


class Demo:
    """One demo at a time, in a folder that outlives it."""

    def __init__(self, cli: Cli, var: Path) -> None:
        """Take two ports."""
        self.var = var
        self.ports = (free_port(), free_port())
        self._cli = cli
        self._console = var / "console.txt"
        self.process: subprocess.Popen[str] | None = None

    def start(self, *, port: int | None = None) -> subprocess.Popen[str]:
        """Start it, its output in a file."""
        options = ("--port", str(port or self.ports[0]), "--sandbox-port", str(self.ports[1]), "--var", str(self.var))
        with self._console.open("w") as console:
            self.process = self._cli.start("demo", *options, stdout=console, stderr=console)
        return self.process

    def curls(self) -> list[str]:
        """Wait for the two curls and give them; they are the last that it prints."""
        return [line for line in self.says("Idempotency-Key").splitlines() if line.startswith("curl ")]

    def says(self, text: str) -> str:
        """Wait until it has said something, and give everything it has said."""
        assert self.process is not None
        deadline = time.monotonic() + 30
        while text not in (said := self._console.read_text()) or not said.endswith("\n"):
            assert self.process.poll() is None, said
            assert time.monotonic() < deadline, said
            time.sleep(0.05)
        return said

    def stop(self, number: int) -> int:
        """Send a signal and give the exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(15)

    def file(self) -> dict[str, Any]:
        """Read `demo.json`."""
        return json.loads((self.var / "demo.json").read_text())

    def payouts(self) -> list[dict[str, Any]]:
        """List what was really paid."""
        with urllib.request.urlopen(f"{self.file()['sandbox_url']}/sandbox/payouts", timeout=5) as answer:
            return json.load(answer)

    def processes(self) -> list[psutil.Process]:
        """Give every process that works in the folder or was given one of the ports."""
        marks = {str(port) for port in self.ports}
        return [
            process
            for process in psutil.process_iter(["cmdline", "status"])
            if process.info["status"] != psutil.STATUS_ZOMBIE
            and any(word in marks or str(self.var) in word for word in process.info["cmdline"] or ())
        ]


@pytest.fixture
def demo(cli: Cli) -> Iterator[Demo]:
    """Give a demo in a folder that PostgreSQL's own user can reach when root runs the tests."""
    with tempfile.TemporaryDirectory(prefix="demo-", ignore_cleanup_errors=True) as folder:
        running = Demo(cli, Path(folder))
        yield running
        if running.process is not None and running.process.poll() is None:
            running.process.kill()
            running.process.wait()
        for process in running.processes():
            process.kill()


def _bash(curl: str) -> tuple[int, Any]:
    ran = subprocess.run(["bash", "-c", curl], capture_output=True, text=True, check=True, timeout=30)
    head, _, body = ran.stdout.replace("\r\n", "\n").partition("\n\n")
    return int(head.split()[1]), json.loads(body)


def _gone(demo: Demo, *, within_s: float) -> list[psutil.Process]:
    deadline = time.monotonic() + within_s
    while (left := demo.processes()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return left


def test_a_refund_by_copy_and_paste_survives_what_a_curious_person_does(demo: Demo) -> None:
    demo.start()
    preview, refund = demo.curls()
    assert demo.says("curl").rstrip().endswith(refund)
    status, previewed = _bash(preview)
    assert (status, previewed["refundable"]["before"]) == (200, "79.71")
    status, made = _bash(refund)
    assert (status, made["status"], made["money"]) == (201, "succeeded", "moved")
    assert _bash(refund)[1]["id"] == made["id"]
    assert [payout["amount"] for payout in demo.payouts()] == [made["amount"]]

    [listing] = [line for line in demo.says("curl").splitlines() if line.startswith("env ")]
    plain = {name: value for name, value in os.environ.items() if not name.startswith("REFUND_GATEWAY_")}
    listed = subprocess.run(
        ["bash", "-c", f"{listing} --json"], capture_output=True, check=True, timeout=30, env=plain
    ).stdout
    assert [refund["id"] for refund in json.loads(listed)["data"]] == [made["id"]]

    file = demo.file()
    keys = {"api_key", "consumer_key", "consumer_secret"}
    assert file.keys() == {"base_url", *keys, "store", "sandbox_url", "orders"}
    assert file["orders"][0].keys() == {"id", "number", "total", "currency", "payment_method", "description"}
    assert (demo.var / "demo.json").stat().st_mode & 0o777 == 0o600

    # Killed in the middle of a refund, the gateway comes back and finds out what became of it.
    words = shlex.split(refund.replace("DEMO-", "SLOW-").replace("Damaged in transit", "slow1500"))
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as client:
        time.sleep(0.7)
        gateway = re.search(r"process (\d+)", demo.says("curl"))
        assert gateway is not None
        os.kill(int(gateway[1]), signal.SIGKILL)
        client.wait(10)
    demo.says("is back")
    found = _settled(file, "SLOW-" + made["external_reference"].removeprefix("DEMO-"))
    assert (found["status"], found["money"]) == ("succeeded", "moved")
    assert len(demo.payouts()) == 2

    assert demo.stop(signal.SIGINT) == 0
    assert _gone(demo, within_s=0) == []

    # A second run finds everything again; its refund is a new one.
    demo.start()
    again = demo.curls()[1]
    assert demo.file() == file
    assert again != refund
    status, second = _bash(again)
    assert (status, second["id"] != made["id"]) == (201, True)
    assert len(demo.payouts()) == 3

    # Nothing stays behind a demo that was killed but PostgreSQL, which the next run takes over and stops.
    demo.stop(signal.SIGKILL)
    deadline = time.monotonic() + 10
    while any(process.name() != "postgres" for process in demo.processes()) and time.monotonic() < deadline:
        time.sleep(0.1)
    demo.start()
    assert _bash(demo.curls()[0])[0] == 200
    assert demo.stop(signal.SIGTERM) == 0
    assert _gone(demo, within_s=0) == []


def _settled(file: dict[str, Any], reference: str) -> dict[str, Any]:
    """Wait for the outcome of a refund."""
    request = urllib.request.Request(
        f"{file['base_url']}/v1/refunds?external_reference={reference}",
        headers={"Authorization": f"Bearer {file['api_key']}"},
    )
    deadline = time.monotonic() + 25
    while True:
        with urllib.request.urlopen(request, timeout=10) as answer:
            found = json.load(answer)["data"][0]
        if found["settled_at"] is not None:
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.2)


def test_a_port_in_use_ends_the_demo_at_once(demo: Demo) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = demo.start(port=port)
        assert process.wait(15) == 6
    said = (demo.var / "console.txt").read_text()
    assert f"Port {port}" in said
    assert "Traceback" not in said
    assert not (demo.var / "postgres").exists()
