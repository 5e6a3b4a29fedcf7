"""`refund-gateway endpoint` and `refund-gateway events`."""

import asyncio
import json
import signal
from typing import Any

import psycopg

from tests.cli.conftest import Cli
from tests.flows.receiver import receiving

_OF = ("--tenant", "acme")


def _happen(cli: Cli, subject: str) -> None:
    with psycopg.connect(cli.environment["REFUND_GATEWAY_DATABASE_URL"], autocommit=True) as conn:
        conn.execute(
            "INSERT INTO event (tenant_id, type, subject, data)"
            """ SELECT id, 'refund.failed', %s, '{"status": "failed", "amount": "5.00"}' FROM tenant""",
            (subject,),
        )


async def test_an_endpoint_is_added_tried_out_rotated_listed_and_removed(cli: Cli) -> None:
    await cli.aside("tenant", "add", "acme")
    async with receiving() as receiver:
        made: Any = (
            await cli.aside("endpoint", "add", *_OF, "--url", receiver.url, "--types", "refund.*", "--json")
        ).json
        assert made["secret"].startswith("whsec_")
        tried = await cli.aside("endpoint", "test", *_OF, made["id"])
        assert "204" in tried.err
        receiver.got[0].verify(made["secret"])
        turned = (await cli.aside("endpoint", "rotate", *_OF, made["id"], "--overlap", "1", "--json")).json
        assert (await cli.aside("endpoint", "test", *_OF, made["id"], "--json")).json["status"] == 204
        receiver.got[1].verify(made["secret"])
        receiver.got[1].verify(turned["secret"])
        receiver.decide = lambda message: 500
        failed = await cli.aside("endpoint", "test", *_OF, made["id"], ok=False)
        assert (failed.code, "HTTP 500" in failed.err) == (1, True)
    [listed] = (await cli.aside("endpoint", "list", *_OF, "--json")).json["data"]
    assert (listed["id"], listed["types"], listed["secret"]) == (made["id"], ["refund.*"], None)
    assert made["id"] in (await cli.aside("endpoint", "list", *_OF)).out
    await cli.aside("endpoint", "remove", *_OF, made["id"])
    gone = await cli.aside("endpoint", "remove", *_OF, made["id"], ok=False)
    assert gone.code == 3


def test_an_endpoint_that_cannot_be_meant_is_not_added(cli: Cli) -> None:
    cli("tenant", "add", "acme")
    assert cli("endpoint", "add", *_OF, "--url", "nowhere", ok=False).code == 2
    assert cli("endpoint", "add", *_OF, "--url", "https://erp.example/", "--types", "refunds", ok=False).code == 2
    assert cli("endpoint", "add", *_OF, "--url", "https://erp.example/", "--stores", "x", ok=False).code == 3
    assert cli("endpoint", "rotate", *_OF, "we_1", ok=False).code == 3
    assert cli("endpoint", "list", *_OF, "--json").json == {"data": []}


def test_events_are_shown_and_filtered(cli: Cli) -> None:
    cli("tenant", "add", "acme")
    assert cli("events", *_OF).out == ""
    for subject in ("rf_1", "rf_2"):
        _happen(cli, subject)
    shown = cli("events", *_OF).out.splitlines()
    assert [("rf_1" in shown[0], "status=failed" in shown[0]), "rf_2" in shown[1]] == [(True, True), True]
    as_json = [json.loads(line) for line in cli("events", *_OF, "--json", "--subject", "rf_2").out.splitlines()]
    assert [(event["type"], event["data"]["amount"]) for event in as_json] == [("refund.failed", "5.00")]
    assert cli("events", *_OF, "--types", "batch.*").out == ""
    assert cli("events", *_OF, "--since", "2100-01-01T00:00:00Z").out == ""
    assert cli("events", *_OF, "--store", "none", ok=False).code == 3


async def test_events_are_followed_until_interrupted(cli: Cli) -> None:
    await cli.aside("tenant", "add", "acme")
    _happen(cli, "rf_1")
    following = await asyncio.to_thread(cli.start, "events", *_OF, "--follow", "--json")
    assert following.stdout is not None
    try:
        async with asyncio.timeout(20):
            assert "rf_1" in await asyncio.to_thread(following.stdout.readline)
            _happen(cli, "rf_2")
            assert "rf_2" in await asyncio.to_thread(following.stdout.readline)
    finally:
        following.send_signal(signal.SIGINT)
        _, said = await asyncio.to_thread(following.communicate)
    assert (following.returncode, said) == (0, "")
