"""Which API a store has, found out without credentials where that is possible."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from app.domain.refund import StoreApi, StorePolicy
from app.outbound import Outbound
from app.stores.connection import StoreConnection, StoreLimits
from app.stores.detect import build, detect_api
from app.stores.port import StoreMisconfigured, StoreUnavailable
from tests.stores.raw_server import Asked, http, raw_server, reset
from tests.stores.sandbox import Sandbox, running


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with running() as started:
        yield started


@pytest.mark.parametrize(
    ("rest_v3", "legacy", "found"),
    [(True, True, "v3"), (True, False, "v3"), (False, True, "legacy"), (False, False, None)],
)
async def test_v3_comes_first(sandbox: Sandbox, rest_v3: bool, legacy: bool, found: StoreApi | None) -> None:
    await sandbox.settings(rest_v3=rest_v3, legacy=legacy)
    assert await detect_api(sandbox.connection(), sandbox.lines) == found


@asynccontextmanager
async def answering(answers: dict[str, bytes]) -> AsyncIterator[tuple[StoreConnection, Outbound]]:
    async def respond(asked: Asked, writer: asyncio.StreamWriter) -> None:
        if not answers:
            reset(writer)
        else:
            writer.write(answers.get(asked.path, http(404, b"<html>not found</html>")))

    lines = Outbound(allow_private=True, connect_timeout_s=1)
    async with raw_server(respond) as server:
        try:
            yield (
                StoreConnection(
                    store_id="s", url=server.url, auth="oauth1", consumer_key="ck_key123", consumer_secret="cs_secret"
                ),
                lines,
            )
        finally:
            await lines.aclose()


ORDERS = "/wp-json/wc/v3/orders"
REFUSED = http(401, {"code": "woocommerce_rest_cannot_view", "message": "Sorry.", "data": {"status": 401}})
INDEX = http(200, {"store": {"wc_version": "9.4.0"}})


@pytest.mark.parametrize(
    ("answers", "found"),
    [
        ({"/wp-json/": http(403, b"<html>"), ORDERS: http(200, [{"id": 1}])}, "v3"),
        ({"/wp-json/": http(403, b"<html>"), ORDERS: REFUSED}, "v3"),
        ({"/wp-json/": http(200, {"namespaces": ["wp/v2"]}), "/wc-api/v3/": INDEX}, "legacy"),
        ({"/wp-json/": http(403, b"<html>"), ORDERS: http(403, b"<html>"), "/wc-api/v3/": INDEX}, "legacy"),
        ({"/wc-api/v3/": http(200, b"<html>Welcome</html>")}, None),
        ({"/wc-api/v3/": http(200, {"store": {}})}, None),
        ({ORDERS: http(200, {"id": 1})}, None),
    ],
)
async def test_a_closed_index_is_no_answer(answers: dict[str, bytes], found: StoreApi | None) -> None:
    async with answering(answers) as (connection, lines):
        assert await detect_api(connection, lines, StoreLimits()) == found


async def test_a_store_that_does_not_answer_is_unavailable() -> None:
    async with answering({}) as (connection, lines):
        with pytest.raises(StoreUnavailable):
            await detect_api(connection, lines)


async def test_an_address_that_cannot_be_used_is_said_to_be() -> None:
    async with answering({"/x": b""}) as (connection, _):
        strict = Outbound(allow_private=False)
        with pytest.raises(StoreMisconfigured):
            await detect_api(connection, strict)
        await strict.aclose()


def test_each_api_has_its_adapter() -> None:
    connection = StoreConnection(
        store_id="s", url="https://x.example", auth="basic", consumer_key="ck", consumer_secret="cs"
    )
    for api in ("v3", "legacy"):
        store = build(api, connection, Outbound(), policy=StorePolicy())
        assert (store.api, store.breaker_state) == (api, "closed")
