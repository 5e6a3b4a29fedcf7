"""What the files for running the gateway claim is held against the program."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from app.cli import app
from app.settings import Settings
from app.telemetry import Metrics

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
#: Variables of the command line alone.
_OF_THE_COMMAND_LINE = {"REFUND_GATEWAY_CONSUMER_KEY", "REFUND_GATEWAY_CONSUMER_SECRET"}


def _yaml(name: str) -> Any:
    return yaml.safe_load((DEPLOY / name).read_text())


def _rules() -> list[dict[str, Any]]:
    return [rule for group in _yaml("alerts.yml")["groups"] for rule in group["rules"]]


def _exposed() -> dict[str, set[str]]:
    """Give the labels of every series that a gateway exposes once everything has happened at least once."""
    metrics = Metrics()
    metrics.request_finished(route="/readyz", status=503, duration_s=0.1)
    metrics.refund_settled(store="shop", status="needs_review", payment="gateway")
    metrics.store_called(call="refund", outcome="unknown", duration_s=1.0)
    metrics.breaker_changed(store="shop", state="open")
    metrics.ledger_read(unfinished={"needs_review": 1, "uncertain": 1}, job_lag_s=1.0)
    series: dict[str, set[str]] = {"up": {"job"}}
    for family in metrics.registry.collect():
        for sample in family.samples:
            series.setdefault(sample.name, set()).update(sample.labels)
    return series


def test_every_alert_asks_for_a_metric_and_labels_that_exist() -> None:
    series = _exposed()
    asked: set[str] = set()
    for rule in _rules():
        names = re.findall(r"\b(up|refund_gateway_\w+)(?:\{([^}]*)\})?", rule["expr"])
        assert names, rule["alert"]
        for name, matchers in names:
            assert name in series, name
            assert set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers)) <= series[name], rule["alert"]
            asked.add(name)
        for grouping in re.findall(r"by \(([^)]*)\)", rule["expr"]):
            labels = set(grouping.replace(" ", "").split(","))
            assert labels <= {"instance"}.union(*(series[name] for name, _ in names)), rule["alert"]
    assert {
        "refund_gateway_unfinished_refunds",
        "refund_gateway_job_lag_seconds",
        "refund_gateway_store_breaker",
    } <= asked


def test_alerts_on_a_refunds_state_name_a_state_that_is_counted() -> None:
    states = {state for rule in _rules() for state in re.findall(r'unfinished_refunds\{status="(\w+)"\}', rule["expr"])}
    assert states == {"needs_review", "uncertain"}


def test_every_alert_tells_a_person_what_to_do() -> None:
    for rule in _rules():
        assert rule["annotations"].keys() == {"summary", "action"}, rule["alert"]
        assert rule["labels"]["severity"] in ("page", "ticket")


def test_prometheus_reads_the_alerts_and_every_gateway_of_the_composition() -> None:
    config = _yaml("prometheus.yml")
    assert config["rule_files"] == ["alerts.yml"]
    [scrape] = config["scrape_configs"]
    [targets] = scrape["static_configs"]
    gateways = [name for name in _yaml("compose.yaml")["services"] if name.startswith("gateway")]
    assert targets["targets"] == [f"{name}:8080" for name in gateways]
    assert scrape["job_name"] in next(rule["expr"] for rule in _rules() if rule["alert"] == "RefundGatewayDown")


_FILES = sorted(path for path in DEPLOY.iterdir() if path.is_file())


@pytest.mark.parametrize("path", [ROOT / "Dockerfile", *_FILES], ids=lambda path: path.name)
def test_every_variable_is_a_real_setting(path: Path) -> None:
    settings = {f"REFUND_GATEWAY_{name.upper()}" for name in Settings.model_fields}
    named = set(re.findall(r"REFUND_GATEWAY_[A-Z][A-Z_]*[A-Z]", path.read_text()))
    assert named <= settings | _OF_THE_COMMAND_LINE


def _commands() -> list[tuple[str, ...]]:
    services = _yaml("compose.yaml")["services"]
    commands = [tuple(service["command"]) for service in services.values() if "command" in service]
    unit = (DEPLOY / "refund-gateway.service").read_text()
    started = re.findall(r"^ExecStart(?:Pre)?=(.*)$", unit, re.MULTILINE)
    commands += [tuple(shlex.split(line)[1:]) for line in started]
    commands.append(tuple(re.findall(r'"([^"]+)"', re.findall(r"^CMD (.*)$", _dockerfile(), re.MULTILINE)[0])))
    return sorted(set(commands))


def _dockerfile() -> str:
    return (ROOT / "Dockerfile").read_text()


@pytest.mark.parametrize("command", _commands(), ids=" ".join)
def test_every_command_is_a_verb_with_options_that_it_has(command: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(app, [command[0], "--help"], env={"COLUMNS": "200"})
    assert shown.exit_code == 0
    for option in command[1:]:
        assert option in shown.stdout


def test_the_composition_runs_two_gateways_and_two_workers_after_one_migration() -> None:
    services = _yaml("compose.yaml")["services"]
    ours = {name: service for name, service in services.items() if name != "postgres"}
    verbs = sorted(service["command"][0] for service in ours.values())
    assert verbs == ["migrate", "serve", "serve", "worker", "worker"]
    assert services["migrate"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    assert services["migrate"]["restart"] == "no"
    assert services["postgres"]["healthcheck"]["test"]
    for name, service in ours.items():
        if name != "migrate":
            assert service["depends_on"] == {"migrate": {"condition": "service_completed_successfully"}}
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["deploy"]["resources"]["limits"].keys() == {"cpus", "memory"}
        # A service that waits for its refunds must be given the time to.
        assert (
            int(service["stop_grace_period"].removesuffix("s")) > 2 * Settings.model_fields["shutdown_grace_s"].default
        )


def test_secrets_come_from_outside_and_their_absence_is_said() -> None:
    text = (DEPLOY / "compose.yaml").read_text()
    for variable in ("POSTGRES_PASSWORD", "REFUND_GATEWAY_SEALING_KEYS"):
        used = re.findall(rf"\$\{{{variable}([^}}]*)\}}", text)
        assert used
        assert all(rest.startswith(":?") for rest in used)
    assert "EnvironmentFile=" in (DEPLOY / "refund-gateway.service").read_text()
    assert not re.search(r"^(ENV|ARG).*(KEY|SECRET|PASSWORD)", _dockerfile(), re.MULTILINE)


def test_the_image_is_slim_pinned_by_hash_and_runs_as_nobody_special() -> None:
    text = _dockerfile()
    stages = re.findall(r"^FROM (\S+)", text, re.MULTILINE)
    assert len(stages) == 2
    assert all(re.fullmatch(r"python:3\.\d+-slim", stage) for stage in stages)
    installs = [line for line in text.splitlines() if "pip install" in line]
    assert all("--require-hashes" in line or "--no-deps" in line for line in installs)
    last_stage = text.rpartition("FROM ")[2]
    assert re.search(r"^USER \d+:\d+$", last_stage, re.MULTILINE)
    assert "/livez" in last_stage
    assert re.search(r"^HEALTHCHECK", last_stage, re.MULTILINE)


def test_the_image_is_built_from_what_it_needs_and_nothing_else() -> None:
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert rules[0] == "*"
    let_in = {rule.removeprefix("!") for rule in rules if rule.startswith("!")}
    copied = {
        source
        for line in re.findall(r"^COPY (?!--from)(.*)$", _dockerfile(), re.MULTILINE)
        for source in line.split()[:-1]
    }
    assert copied == let_in
    assert all((ROOT / source).exists() for source in copied)


def test_the_unit_gives_refunds_the_time_to_finish() -> None:
    unit = (DEPLOY / "refund-gateway.service").read_text()
    stop = re.search(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)
    assert stop is not None
    assert int(stop[1]) > 2 * Settings.model_fields["shutdown_grace_s"].default
    for line in ("DynamicUser=yes", "NoNewPrivileges=yes", "ProtectSystem=strict", "CapabilityBoundingSet="):
        assert line in unit.splitlines()
