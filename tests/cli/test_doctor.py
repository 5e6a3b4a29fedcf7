"""`doctor`: ✓ and ✗, each ✗ with what to do."""

import asyncio
from collections.abc import Callable

from app.crypto import Sealer, new_sealing_key
from app.settings import Settings
from app.wiring import open_runtime
from tests.cli.conftest import SEALING_KEYS, Cli
from tests.conftest import Sandbox, free_port

AddStore = Callable[[str], None]


def test_a_new_sealing_key_is_one_line_that_works(cli: Cli) -> None:
    ran = cli("doctor", "--new-sealing-key", REFUND_GATEWAY_SEALING_KEYS="")
    sealer = Sealer.from_text(ran.out.strip())
    assert sealer.open(sealer.seal(b"x", aad="row"), aad="row") == b"x"
    assert ran.out.count("\n") == 1


async def test_a_gateway_with_a_worker_and_a_good_store_is_well(
    cli: Cli, add_store: AddStore, sandbox: Sandbox, settings: Settings, database_url: str
) -> None:
    await asyncio.to_thread(add_store, sandbox.url)
    async with open_runtime(settings, works=True, url=database_url):
        ran = await cli.aside("doctor", "--stores", "--json")
    assert ran.json["ok"] is True
    assert {check["name"] for check in ran.json["checks"]} == {
        *("python", "settings", "sealing_keys", "database", "schema", "worker", "credentials", "store acme/shop")
    }


def test_without_a_worker_it_is_not(cli: Cli) -> None:
    ran = cli("doctor", ok=False)
    assert ran.code == 6
    assert "✗ worker" in ran.out
    assert "refund-gateway worker" in ran.out


async def test_a_store_that_is_down_alone_exits_with_4(
    cli: Cli, add_store: AddStore, settings: Settings, database_url: str
) -> None:
    await asyncio.to_thread(add_store, f"http://127.0.0.1:{free_port()}")
    async with open_runtime(settings, works=True, url=database_url):
        ran = await cli.aside("doctor", "--stores", ok=False)
    assert ran.code == 4
    assert "✗ store acme/shop" in ran.out


def test_a_sealing_key_that_was_exchanged_is_noticed(cli: Cli, add_store: AddStore) -> None:
    add_store("https://shop.example")
    ran = cli("doctor", "--json", ok=False, REFUND_GATEWAY_SEALING_KEYS=new_sealing_key())
    checks = {check["name"]: check for check in ran.json["checks"]}
    assert checks["credentials"]["ok"] is False
    assert "acme/shop" in checks["credentials"]["detail"]
    both = f"{new_sealing_key()},{SEALING_KEYS}"
    older = {
        check["name"]: check
        for check in cli("doctor", "--json", ok=False, REFUND_GATEWAY_SEALING_KEYS=both).json["checks"]
    }
    assert older["credentials"]["ok"] is None


def test_a_missing_sealing_key_does_not_hide_the_rest(cli: Cli) -> None:
    ran = cli("doctor", "--json", ok=False, REFUND_GATEWAY_SEALING_KEYS="")
    checks = {check["name"]: check["ok"] for check in ran.json["checks"]}
    assert checks["sealing_keys"] is False
    assert checks["database"] is True
    assert ran.code == 6
