"""Deletions and updates whose answers are lost, late or odd, on both APIs, against a server that does as it is told."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import stamina

from app.domain.refund import StoreApi
from app.outbound import Outbound
from app.stores.connection import StoreConnection, StoreLimits
from app.stores.detect import Adapter, build
from app.stores.port import StoreMisconfigured, StoreUnavailable
from tests.stores.raw_server import Asked, http, raw_server, reset

APIS: tuple[StoreApi, ...] = ("v3", "legacy")


@pytest.fixture(autouse=True)
def quick_retries() -> Any:
    with stamina.set_testing(True, attempts=3):
        yield


class Row:
    """A store with the refund 9 of order 7, shown as either API shows it."""

    def __init__(self, api: StoreApi, change: Callable[["Row"], bytes | None]) -> None:
        self.api = api
        self.change = change
        self.there = True
        self.reason = "before"
        self.changes: list[Asked] = []

    async def __call__(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        if asked.method in ("DELETE", "PUT"):
            self.changes.append(asked)
            answer = self.change(self)
            if answer is None:
                reset(writer)
            else:
                writer.write(answer)
        elif self.api == "legacy":
            shown = [self.shown()] if self.there else []
            writer.write(http(200, {"order_refunds": shown}))
        elif self.there:
            writer.write(http(200, {"id": 9, "amount": "1.00", "reason": "", "parent_id": 7}))
        else:
            missing = {"code": "woocommerce_rest_shop_order_refund_invalid_id", "message": "Invalid ID.", "data": {}}
            writer.write(http(404, missing))

    def shown(self) -> dict[str, object]:
        return {"id": 9, "created_at": "2026-11-21T02:23:32Z", "amount": "1.00", "reason": self.reason}


@asynccontextmanager
async def served(row: Row) -> AsyncIterator[Adapter]:
    lines = Outbound(allow_private=True, connect_timeout_s=1)
    async with raw_server(row) as server:
        connection = StoreConnection(
            store_id="s", url=server.url, auth="oauth1", consumer_key="ck_key123", consumer_secret="cs_secret"
        )
        try:
            yield build(row.api, connection, lines, limits=StoreLimits(read_timeout_s=1, breaker_threshold=50))
        finally:
            await lines.aclose()


def done(row: Row) -> bytes:
    row.there = False
    gone = {"id": 9} if row.api == "v3" else {"message": "Permanently deleted refund"}
    return http(200, gone)


def done_and_lost(row: Row) -> None:
    row.there = False


def lost(row: Row) -> None:
    return None


def done_and_failed(row: Row) -> bytes:
    row.there = False
    return http(500, b"<html>critical error</html>")


def failed(row: Row) -> bytes:
    return http(502, b"<html>bad gateway</html>")


def denied(row: Row) -> bytes:
    if row.api == "v3":
        return http(403, {"code": "woocommerce_rest_cannot_delete", "message": "Sorry.", "data": {"status": 403}})
    return http(401, {"errors": [{"code": "woocommerce_api_user_cannot_delete_order", "message": "Sorry."}]})


def redirected(row: Row) -> bytes:
    return http(301, b"", {"location": "https://elsewhere.example/"})


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize(
    ("change", "expected"),
    [(done, "deleted"), (done_and_lost, "deleted"), (lost, "kept"), (done_and_failed, "deleted"), (failed, "kept")],
)
async def test_a_deletion_is_what_shows_afterwards(
    api: StoreApi, change: Callable[[Row], bytes | None], expected: str
) -> None:
    row = Row(api, change)
    async with served(row) as store:
        assert await store.delete_refund("7", "9") == expected
    (asked,) = row.changes
    assert (asked.method, asked.body) == ("DELETE", b"")
    assert asked.path.endswith("orders/7/refunds/9")
    assert (asked.query.get("force") == "true") == (api == "v3")


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("change", [denied, redirected])
async def test_a_deletion_that_a_person_has_to_permit_says_so(api: StoreApi, change: Callable[[Row], bytes]) -> None:
    row = Row(api, change)
    async with served(row) as store:
        with pytest.raises(StoreMisconfigured):
            await store.delete_refund("7", "9")
    assert row.there
    assert len(row.changes) == 1


@pytest.mark.parametrize("api", APIS)
async def test_what_is_not_there_is_not_deleted(api: StoreApi) -> None:
    row = Row(api, done)
    row.there = False
    async with served(row) as store:
        assert await store.delete_refund("7", "9") == "absent"
        assert await store.delete_refund("../8", "9") == "absent"
    assert row.changes == []


def renamed(row: Row) -> bytes:
    row.reason = "after"
    return http(200, {"order_refund": row.shown()})


def renamed_and_lost(row: Row) -> None:
    row.reason = "after"


def taken(row: Row) -> bytes:
    return http(200, {"order_refund": row.shown()})


@pytest.mark.parametrize(
    ("change", "expected"),
    [(renamed, "shown"), (renamed_and_lost, "shown"), (taken, "accepted"), (done, "absent")],
)
async def test_an_update_is_what_shows_afterwards(change: Callable[[Row], bytes | None], expected: str) -> None:
    row = Row("legacy", change)
    async with served(row) as store:
        assert await store.update_refund("7", "9", reason="after") == expected
    (asked,) = row.changes
    assert (asked.method, asked.json) == ("PUT", {"order_refund": {"reason": "after"}})


@pytest.mark.parametrize(
    ("change", "error"), [(lost, StoreUnavailable), (failed, StoreUnavailable), (denied, StoreMisconfigured)]
)
async def test_an_update_of_which_nothing_shows_is_not_called_done(
    change: Callable[[Row], bytes | None], error: type[Exception]
) -> None:
    async with served(Row("legacy", change)) as store:
        with pytest.raises(error):
            await store.update_refund("7", "9", reason="after")


async def test_a_marker_stays_in_a_changed_reason() -> None:
    row = Row("legacy", taken)
    row.reason = "before [RG-7F3K9Q2X]"
    async with served(row) as store:
        await store.update_refund("7", "9", reason="after")
        await store.update_refund("7", "9", reason="RG-7F3K9Q2X after")
    assert [asked.json for asked in row.changes] == [
        {"order_refund": {"reason": "after [RG-7F3K9Q2X]"}},
        {"order_refund": {"reason": "RG-7F3K9Q2X after"}},
    ]


@pytest.mark.parametrize("api", APIS)
async def test_a_body_that_breaks_off_is_an_unavailable_store(api: StoreApi) -> None:
    async def respond(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(http(200, b"x" * 100_000)[:50_000])
        await writer.drain()
        await asyncio.sleep(0.05)
        reset(writer)

    lines = Outbound(allow_private=True)
    async with raw_server(respond) as server:
        connection = StoreConnection(
            store_id="s", url=server.url, auth="oauth1", consumer_key="ck_key123", consumer_secret="cs_secret"
        )
        store = build(api, connection, lines)
        pieces: list[bytes] = []

        async def take() -> None:
            async with store.stream("products", []) as answer:
                assert (answer.status, answer.headers["content-type"]) == (200, "text/html")
                async for piece in answer.chunks():
                    pieces.append(piece)  # noqa: PERF401  what came before the break counts

        with pytest.raises(StoreUnavailable):
            await take()
        assert pieces
        await lines.aclose()
