"""A gateway whose database goes away in the middle of a refund says no more than it knows."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, cast

import httpx
import psycopg
import pytest

from app.database import Database
from app.flows.runtime import Runtime
from app.ledger.tenants import FrontOptions
from tests.conftest import Sandbox, Shop, eventually
from tests.front.conftest import Front, opened

SLOW = "slow500 customer request"


class Flickering:
    """A database that can be gone, and the meters of a runtime that loses it the moment a refund is settled."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.gone = False
        self.goes_once_settled = False

    def __getattr__(self, name: str) -> Any:
        if self.gone and name in ("reading", "transaction", "committing"):
            raise psycopg.OperationalError("server closed the connection unexpectedly")
        return getattr(self._database, name)

    def refund_settled(self, *, store: str, status: str, payment: str) -> None:
        self.gone = self.goes_once_settled


@pytest.fixture
def database(rt: Runtime) -> Flickering:
    """Give the database of the front."""
    return Flickering(rt.database)


@pytest.fixture
async def front(rt: Runtime, shop: Shop, sandbox: Sandbox, database: Flickering) -> AsyncIterator[Front]:
    """Give a front over that database."""
    flickering = replace(rt, database=cast("Database", database), meters=database)
    async with opened(flickering, shop, sandbox) as running:
        yield running


async def sent(front: Front) -> bool:
    """Say whether a refund has reached the store."""
    seen = (await front.sandbox.client.get("/sandbox/requests")).json()
    return any(one["method"] == "POST" for one in seen)


@pytest.mark.parametrize("status", [202, 504])
@pytest.mark.parametrize("face", ["client", "legacy"])
async def test_a_database_lost_after_the_beginning_leaves_the_outcome_open(
    front: Front, database: Flickering, order: dict[str, Any], status: Any, face: str
) -> None:
    key = await front.other_key(options=FrontOptions(unknown_status=status, wait_s=0.8))
    client: httpx.AsyncClient = getattr(front, face)
    path, refund = f"orders/{order['id']}/refunds", {"amount": "5.00", "reason": SLOW}
    body = refund if face == "client" else {"order_refund": refund}
    waiting = asyncio.create_task(client.post(path, json=body, auth=key.auth))
    await eventually(lambda: sent(front))
    database.gone = True

    answers = [await waiting, await client.post(path, json=body, auth=key.auth)]
    database.gone = False
    known = await client.post(path, json=body)

    for answer in answers:
        assert answer.status_code == status
        assert "refund_gateway_outcome_unknown" in answer.text
        assert "repeat this very request" in answer.text
        assert "nothing was done" not in answer.text
        assert "Refund-Gateway-Refund" not in answer.headers
        assert int(answer.headers["Retry-After"]) > 0
    assert known.status_code == 201, known.text
    assert await front.paid(order) == ["5.00"]


async def test_a_refund_that_is_made_is_told_from_its_record_when_it_cannot_be_read(
    front: Front, database: Flickering, order: dict[str, Any]
) -> None:
    line = {"id": order["line_items"][0]["id"], "quantity": 1, "refund_total": "9.00"}
    database.goes_once_settled = True

    answer = await front.refund(order, amount="9.00", reason="too small", line_items=[line])
    lost = database.gone
    database.gone = database.goes_once_settled = False

    assert lost
    assert answer.status_code == 201, answer.text
    told = answer.json()
    kept = (await front.client.get(f"orders/{order['id']}/refunds/{told['id']}")).json()
    for name in ("id", "amount", "reason", "refunded_payment"):
        assert told[name] == kept[name]
    assert told["line_items"][0]["total"] == kept["line_items"][0]["total"] == "-9.00"
    assert answer.headers["Location"].endswith(f"/orders/{order['id']}/refunds/{told['id']}")


async def test_a_refund_of_the_legacy_api_is_told_so_as_well(
    front: Front, database: Flickering, order: dict[str, Any]
) -> None:
    database.goes_once_settled = True

    body = {"order_refund": {"amount": "9.00", "reason": "too small"}}
    answer = await front.legacy.post(f"orders/{order['id']}/refunds", json=body)
    database.gone = database.goes_once_settled = False

    assert answer.status_code == 201, answer.text
    told = answer.json()["order_refund"]
    assert (told["amount"], told["reason"]) == ("9.00", "too small")
    assert await front.paid(order) == ["9.00"]


async def test_before_anything_has_begun_an_outage_claims_nothing_about_what_was_done(
    front: Front, database: Flickering, order: dict[str, Any]
) -> None:
    refund = (await front.refund(order, amount="1.00", api_refund=False)).json()
    path = f"orders/{order['id']}/refunds/{refund['id']}"
    database.gone = True

    gone = await front.client.delete(path)
    database.gone = False

    assert (gone.status_code, gone.json()["code"]) == (503, "refund_gateway_unavailable")
    assert "nothing was done" not in gone.json()["message"]
    assert (await front.client.get(path)).status_code == 200
