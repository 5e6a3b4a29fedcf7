"""Time: a store's clock that is wrong, and a refund that is late."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from app.outbound import Outbound
from app.stores.connection import StoreConnection, StoreLimits
from app.stores.port import NotSent
from app.stores.woo_v3 import WooV3Store
from tests.conftest import serving
from tests.ledger.factories import plan


@pytest.mark.parametrize("ahead", [timedelta(hours=1), timedelta(minutes=-7), timedelta(0)])
async def test_notes_are_dated_by_our_clock(ahead: timedelta) -> None:
    async def shop(scope: Any, _receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        theirs = datetime.now(UTC) + ahead
        written = theirs.strftime("%Y-%m-%dT%H:%M:%S")
        body = f'[{{"id": 1, "author": "WooCommerce", "date_created_gmt": "{written}", "note": "Refunded 5.00"}}]'
        headers = [
            (b"content-type", b"application/json"),
            (b"date", format_datetime(theirs, usegmt=True).encode()),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body.encode()})

    async with serving(shop, date_header=False, lifespan="off") as url:
        outbound = Outbound(allow_private=True)
        connection = StoreConnection(store_id="s", url=url, auth="oauth1", consumer_key="ck_x", consumer_secret="cs_x")
        (note,) = await WooV3Store(connection, outbound).read_notes("12")
        await outbound.aclose()
    assert abs((note.created_at - datetime.now(UTC)).total_seconds()) < 3


async def test_a_refund_that_waits_too_long_for_a_slot_never_leaves() -> None:
    """Marked as sending under a lease, it must not reach the store after the lease, when others may look for it."""
    asked: list[str] = []

    async def shop(scope: Any, _receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        asked.append(scope["method"])
        if scope["method"] == "GET":
            await asyncio.sleep(0.6)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": b"[]"})

    async with serving(shop, lifespan="off") as url:
        outbound = Outbound(allow_private=True)
        connection = StoreConnection(store_id="s", url=url, auth="oauth1", consumer_key="ck_x", consumer_secret="cs_x")
        store = WooV3Store(connection, outbound, limits=StoreLimits(concurrency=1))
        reading = asyncio.create_task(store.read_notes("12"))
        while not asked:
            await asyncio.sleep(0.01)
        answer = await store.refund(plan(), marker="RG-00000000", request_id="r", send_by=time.monotonic() + 0.2)
        await reading
        await outbound.aclose()
    assert isinstance(answer, NotSent)
    assert asked == ["GET"]
