"""The feed tells of a store's outage once, whichever process notices its beginning and its end."""

import asyncio
from contextlib import suppress
from typing import Any

from structlog.testing import capture_logs

from app.flows import relay
from app.flows.runtime import Runtime
from app.settings import Settings
from app.stores.port import StoreError
from app.wiring import open_runtime
from tests.conftest import Shop, add_shop, free_port
from tests.flows.receiver import listening
from tests.flows.test_relay import read


async def _shop(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": b"{}"})


async def _ask(rt: Runtime, shop: Shop) -> None:
    store, _ = await rt.stores.open(shop.store_id)
    with suppress(StoreError):
        await store.read_raw("products", ())
    # What was noticed is put on record beside the exchange.
    await asyncio.sleep(0.05)


async def _told(rt: Runtime, shop: Shop) -> list[str]:
    await relay.catch_up(rt)
    events = await read(rt, shop)
    assert all(event.store == event.subject == "demo" for event in events)
    return [event.type for event in events]


async def test_an_outage_is_told_once_by_all_processes_and_its_end_by_whoever_sees_it(
    settings: Settings, database_url: str
) -> None:
    settings = settings.model_copy(update={"breaker_threshold": 1, "breaker_ttl_s": 0.05})
    port = free_port()
    async with open_runtime(settings, works=False, url=database_url) as first:
        shop = await add_shop(first, f"http://127.0.0.1:{port}")
        await _ask(first, shop)
        assert await _told(first, shop) == ["store.unreachable"]
        async with open_runtime(settings, works=False, url=database_url) as second:
            for process in (first, second):
                await _ask(process, shop)
            assert await _told(first, shop) == ["store.unreachable"]
    # Those who noticed are gone.
    async with open_runtime(settings, works=False, url=database_url) as third:
        async with listening(_shop, port):
            for _ in range(3):
                await _ask(third, shop)
            assert await _told(third, shop) == ["store.unreachable", "store.recovered"]
            [outage] = {event.data["unreachable_since"] for event in await read(third, shop)}
            assert outage.endswith("+00:00")
        await asyncio.sleep(0.1)
        await _ask(third, shop)
        assert (await _told(third, shop))[2:] == ["store.unreachable"]


async def test_a_store_that_answers_costs_the_ledger_nothing(settings: Settings, database_url: str) -> None:
    port = free_port()
    async with open_runtime(settings, works=False, url=database_url) as rt, listening(_shop, port):
        shop = await add_shop(rt, f"http://127.0.0.1:{port}")
        store, _ = await rt.stores.open(shop.store_id)
        # From here on the ledger cannot be asked at all, and trying would be told of.
        await rt.database.close()
        with capture_logs() as told:
            for _ in range(3):
                await store.read_raw("products", ())
            await asyncio.sleep(0.05)
        assert told == []
