"""`refund-gateway schedule`, from adding to removing."""

import json
from pathlib import Path

from tests.cli.conftest import Cli

BODY = {
    "name": "Uncollected parcels",
    "store": "acme-de",
    "cron": "0 6 * * 1-5",
    "time_zone": "Europe/Berlin",
    "selector": {"status": ["completed"], "customer": {"email": "ada@example.com"}},
    "action": {"type": "remaining"},
}


def written(tmp_path: Path, **changes: object) -> str:
    file = tmp_path / "schedule.json"
    file.write_text(json.dumps({**BODY, **changes}))
    return str(file)


def test_a_schedule_is_added_shown_paused_resumed_and_removed(cli: Cli, tmp_path: Path) -> None:
    acme = ("--tenant", "acme")
    cli("tenant", "add", "acme")
    cli(
        *("store", "add", *acme, "--name", "acme-de", "--url", "https://shop.example", "--api", "v3"),
        REFUND_GATEWAY_CONSUMER_KEY="ck_x",
        REFUND_GATEWAY_CONSUMER_SECRET="cs_x",
    )
    added = cli("schedule", "add", *acme, written(tmp_path), "--json").json
    assert (added["store"], added["selector"]) == ("acme-de", BODY["selector"])
    (listed,) = cli("schedule", "list", *acme, "--json").json["data"]
    assert listed == added
    assert added["id"] in cli("schedule", "list", *acme).out
    assert "Uncollected parcels" in cli("schedule", "show", *acme, added["id"]).out
    assert cli("schedule", "runs", *acme, added["id"], "--json").json == {"data": []}
    assert cli("schedule", "pause", *acme, added["id"], "--json").json["next_run_at"] is None
    assert cli("schedule", "resume", *acme, added["id"], "--json").json["next_run_at"] is not None
    assert "is deleted" in cli("schedule", "remove", *acme, added["id"]).err
    gone = cli("schedule", "show", *acme, added["id"], ok=False)
    assert (gone.code, "no schedule" in gone.err) == (3, True)


def test_a_schedule_that_is_not_right_is_not_added(cli: Cli, tmp_path: Path) -> None:
    cli("tenant", "add", "acme")
    for changes, what in (
        ({"cron": 6}, "cron"),
        ({"selector": {}}, "selector"),
        ({"action": {"type": "percentage"}}, "percentage"),
    ):
        refused = cli("schedule", "add", "--tenant", "acme", written(tmp_path, **changes), ok=False)
        assert (refused.code, what in refused.err) == (2, True), refused.err
        assert "ada@" not in refused.err
    missing = cli("schedule", "add", "--tenant", "acme", written(tmp_path), ok=False)
    assert missing.code == 3
    (tmp_path / "schedule.json").write_text("no JSON")
    assert cli("schedule", "add", "--tenant", "acme", str(tmp_path / "schedule.json"), ok=False).code == 2
