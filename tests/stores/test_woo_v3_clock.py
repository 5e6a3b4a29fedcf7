"""A store whose clock is wrong still shows when its notes were written."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from app.outbound import Outbound
from app.stores.connection import StoreConnection
from app.stores.woo_v3 import WooV3Store
from tests.conftest import serving


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
