"""`serve`, `worker` and `sandbox` as processes: they start, say what is wrong, and stop in good order."""

import json
import signal
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
import trustme

from tests.cli.conftest import Cli
from tests.conftest import free_port


def _get(url: str, context: ssl.SSLContext | None = None) -> tuple[int, Any]:
    try:
        with urllib.request.urlopen(url, timeout=5, context=context) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)
    except OSError:
        return 0, None


def _wait(process: subprocess.Popen[str], true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _end(process: subprocess.Popen[str], number: int) -> tuple[int, str, str]:
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    return process.returncode, out, err


def test_serve_answers_until_it_is_told_to_stop(cli: Cli) -> None:
    port = free_port()
    process = cli.start("serve", "--port", str(port))
    _wait(process, lambda: _get(f"http://127.0.0.1:{port}/readyz")[0] == 200)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/livez", timeout=5) as answer:
        assert "Server" not in answer.headers
    code, out, err = _end(process, signal.SIGTERM)
    assert (code, out) == (0, "")
    assert "Traceback" not in err
    assert all(json.loads(line) for line in err.splitlines())


def test_serve_speaks_https_with_a_certificate(cli: Cli, tmp_path: Path) -> None:
    ca = trustme.CA()
    issued = ca.issue_cert("127.0.0.1")
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    issued.private_key_pem.write_to_path(str(key))
    for part in issued.cert_chain_pems:
        part.write_to_path(str(chain), append=True)
    port = free_port()
    process = cli.start("serve", "--port", str(port), "--tls-cert", str(chain), "--tls-key", str(key))
    trusting = ssl.create_default_context()
    ca.configure_trust(trusting)
    _wait(process, lambda: _get(f"https://127.0.0.1:{port}/livez", trusting)[0] == 200)
    assert _end(process, signal.SIGTERM)[0] == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--tls-cert", "chain.pem"), "--tls-key"),
        (("--tls-key", "key.pem"), "--tls-cert"),
        (("--tls-cert", "/nonexistent.pem", "--tls-key", "/nonexistent.pem"), "No such file"),
        (("--tls-cert", __file__, "--tls-key", __file__), "HTTPS cannot be served"),
    ],
)
def test_a_certificate_that_does_not_fit_is_said_in_one_sentence(cli: Cli, options: tuple[str, ...], said: str) -> None:
    ran = cli("serve", "--port", str(free_port()), *options, ok=False)
    assert (ran.code, ran.out) == (6, "")
    assert said in ran.err
    assert ran.err.count("\n") == 1


def test_a_gateway_without_a_worker_is_alive_and_not_ready(cli: Cli) -> None:
    port = free_port()
    process = cli.start("serve", "--no-worker", "--port", str(port))
    _wait(process, lambda: _get(f"http://127.0.0.1:{port}/livez")[0] == 200)
    status, problem = _get(f"http://127.0.0.1:{port}/readyz")
    assert (status, problem["checks"]["worker"]) == (503, False)
    assert _end(process, signal.SIGINT)[0] == 0


def test_a_port_in_use_is_said_in_one_sentence(cli: Cli) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for verb in ("serve", "sandbox"):
            ran = cli(verb, "--port", str(port), ok=False)
            assert (ran.code, ran.out) == (6, "")
            assert f"Port {port}" in ran.err
            assert ran.err.count("\n") == 1


def test_a_worker_is_seen_while_it_runs_and_gone_when_it_stopped(cli: Cli) -> None:
    def workers() -> int:
        with psycopg.connect(cli.environment["REFUND_GATEWAY_DATABASE_URL"]) as conn:
            row = conn.execute("SELECT count(*) FROM executor WHERE works").fetchone()
        assert row is not None
        return int(row[0])

    process = cli.start("worker")
    _wait(process, lambda: workers() == 1)
    code, out, err = _end(process, signal.SIGTERM)
    assert (code, out) == (0, "")
    assert "worker.started" in err
    assert workers() == 0


def test_a_sandbox_plays_the_store_that_it_is_told_to(cli: Cli) -> None:
    port = free_port()
    process = cli.start("sandbox", "--port", str(port), "--legacy", "--no-rest-v3", "--woocommerce-version", "8.9.0")
    _wait(process, lambda: _get(f"http://127.0.0.1:{port}/sandbox/settings")[0] == 200)
    settings = _get(f"http://127.0.0.1:{port}/sandbox/settings")[1]
    assert [settings[name] for name in ("legacy", "rest_v3", "woocommerce_version")] == [True, False, "8.9.0"]
    _end(process, signal.SIGTERM)


def test_a_process_stops_when_whoever_holds_its_input_is_gone(cli: Cli) -> None:
    port = free_port()
    process = cli.start("sandbox", "--port", str(port), "--until-input-ends", stdin=subprocess.PIPE)
    _wait(process, lambda: _get(f"http://127.0.0.1:{port}/sandbox/orders")[0] == 200)
    assert process.stdin is not None
    process.communicate(timeout=20)  # closes its input
    assert process.returncode == -signal.SIGTERM
