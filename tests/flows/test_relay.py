"""Events get their places in the feed, and endpoints their deliveries."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from app.flows import relay
from app.flows.endpoints import EndpointDraft, EndpointView, create
from app.flows.runtime import Runtime
from app.ledger import endpoints, feed
from app.ledger.feed import FeedEvent
from tests.conftest import Shop, add_shop


@pytest.fixture
async def shop(rt: Runtime) -> Shop:
    """Give a tenant whose store nobody asks."""
    return await add_shop(rt, "http://127.0.0.1:9")


async def happen(rt: Runtime, shop: Shop, event_type: str, subject: str, **data: Any) -> None:
    async with rt.database.transaction() as conn:
        await feed.append(
            conn, shop.tenant_id, event_type=event_type, subject=subject, data=data, store_id=shop.store_id
        )


async def read(rt: Runtime, shop: Shop, *, after: int | None = None) -> list[FeedEvent]:
    async with rt.database.reading() as conn:
        return await feed.page(conn, shop.tenant_id, limit=1_000, after=after)


async def endpoint(
    rt: Runtime,
    shop: Shop,
    url: str = "http://127.0.0.1:9/hooks",
    *,
    types: tuple[str, ...] | None = None,
    stores: tuple[str, ...] | None = None,
) -> EndpointView:
    draft = EndpointDraft(url=url, description="", types=types, stores=stores)
    made = await create(rt, shop.caller, draft, idempotency_key=None, fingerprint=b"")
    assert isinstance(made, EndpointView), made
    return made


async def rows(rt: Runtime, query: str) -> list[dict[str, Any]]:
    async with rt.database.reading() as conn:
        return await (await conn.execute(query)).fetchall()  # type: ignore[arg-type]


async def test_a_reader_misses_nothing_when_transactions_commit_out_of_the_order_of_their_ids(
    rt: Runtime, shop: Shop, database_url: str
) -> None:
    write = (
        "INSERT INTO event (tenant_id, type, subject, data) VALUES (%s, 'batch.started', %s, '{}') RETURNING id",
        "SELECT id FROM event WHERE subject = %s",
    )
    async with (
        await psycopg.AsyncConnection.connect(database_url) as slow,
        await psycopg.AsyncConnection.connect(database_url) as quick,
    ):
        first = await (await slow.execute(write[0], (shop.tenant_id, "slow"))).fetchone()
        second = await (await quick.execute(write[0], (shop.tenant_id, "quick"))).fetchone()
        assert first is not None
        assert second is not None
        assert first[0] < second[0]
        await quick.commit()
        assert await relay.relay(rt) == 1
        [seen] = await read(rt, shop)
        assert seen.subject == "quick"
        await slow.commit()
        await relay.relay(rt)
        # Its id is the smaller one; its place is behind what was read already.
        assert [event.subject for event in await read(rt, shop, after=seen.position)] == ["slow"]
    assert [event.subject for event in await read(rt, shop)] == ["quick", "slow"]


async def test_events_of_a_subject_keep_their_order_and_places_are_given_once(rt: Runtime, shop: Shop) -> None:
    for number in range(5):
        await happen(rt, shop, "batch.moved", "bt_1", number=number)
    assert await relay.relay(rt) == 5
    assert await relay.relay(rt) == 0
    events = await read(rt, shop)
    assert [event.data["number"] for event in events] == [0, 1, 2, 3, 4]
    assert [event.position for event in events] == sorted({event.position for event in events})


async def test_whoever_asks_finds_what_was_committed_even_while_another_process_places_events(
    rt: Runtime, shop: Shop
) -> None:
    await happen(rt, shop, "batch.moved", "bt_1")
    async with rt.database.transaction() as other:
        assert len(await feed.sequence(other)) == 1
        # A worker leaves it to the other one.
        await happen(rt, shop, "batch.moved", "bt_2")
        assert await relay.relay(rt) == 0
    await relay.catch_up(rt)
    assert [event.subject for event in await read(rt, shop)] == ["bt_1", "bt_2"]


async def test_an_endpoint_is_given_what_its_types_and_stores_match_and_nothing_from_before(
    rt: Runtime, shop: Shop
) -> None:
    await happen(rt, shop, "refund.created", "rf_0")
    await relay.relay(rt)
    wants = {
        "all": await endpoint(rt, shop),
        "family": await endpoint(rt, shop, types=("refund.*", "store.recovered")),
        "one": await endpoint(rt, shop, types=("refund.failed",)),
        "store": await endpoint(rt, shop, stores=("demo",)),
        "disabled": await endpoint(rt, shop),
        "stranger": await endpoint(rt, await add_shop(rt, "http://127.0.0.1:9", name="other")),
    }
    async with rt.database.transaction() as conn:
        await endpoints.disable(conn, wants["disabled"].endpoint, "by_request")
        await feed.append(conn, shop.tenant_id, event_type="batch.finished", subject="bt_1", data={})
    for event_type in ("refund.created", "refund.failed", "store.recovered", "store.unreachable"):
        await happen(rt, shop, event_type, "x")
    await relay.relay(rt)
    planned = await rows(rt, "SELECT endpoint_id, type FROM webhook_delivery ORDER BY position")
    given = {name: [row["type"] for row in planned if row["endpoint_id"] == view.id] for name, view in wants.items()}
    ours = ["refund.created", "refund.failed", "store.recovered", "store.unreachable"]
    assert given == {
        "all": ["batch.finished", *ours],
        "family": ours[:3],
        "one": ["refund.failed"],
        "store": ours,
        "disabled": [],
        "stranger": [],
    }


async def test_one_job_is_deferred_for_an_endpoint_however_much_happens(rt: Runtime, shop: Shop) -> None:
    made = await endpoint(rt, shop)
    jobs = "SELECT args FROM procrastinate_jobs WHERE task_name = 'deliver'"
    for _ in range(3):
        await happen(rt, shop, "refund.created", "rf_1")
        await relay.relay(rt)
    assert [row["args"] for row in await rows(rt, jobs)] == [{"endpoint_id": made.id}]
    # Should that job be lost, another one follows.
    async with rt.database.transaction() as conn:
        await conn.execute("DELETE FROM procrastinate_jobs")
        await conn.execute("UPDATE webhook_endpoint SET nudged_until = now() - %s", (timedelta(seconds=1),))
    await relay.relay(rt)
    assert len(await rows(rt, jobs)) == 1


class _Unwritable:
    """A database that can only be read."""

    def __init__(self, database: Any) -> None:
        self.reading = database.reading


async def test_nothing_is_written_while_nothing_happens(rt: Runtime, shop: Shop) -> None:
    await endpoint(rt, shop)
    idle: Any = replace(rt, database=_Unwritable(rt.database))  # type: ignore[arg-type]
    assert await relay.relay(idle) == 0
    await relay.catch_up(idle)
    await happen(rt, shop, "refund.created", "rf_1")
    with pytest.raises(AttributeError, match="transaction"):
        await relay.relay(idle)
