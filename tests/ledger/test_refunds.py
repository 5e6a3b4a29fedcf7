"""What the refunds' rows promise, on a real PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import psycopg
import pytest

from app.database import Database
from app.domain.refund import Failure, Observation
from app.ledger import events, executors, refunds, search, standing
from app.ledger.records import LastAnswer, RefundRecord
from tests.ledger.factories import CREATED, EVENT, LEASE, add_refund, add_store, draft, plan

NOW = datetime.now(UTC)


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url, size=4)
    await database.open()
    yield database
    await database.close()


@pytest.fixture
async def ids(db: Database) -> tuple[str, str]:
    async with db.transaction() as conn:
        return await add_store(conn)


async def sending(db: Database, ids: tuple[str, str], **fields: object) -> RefundRecord:
    async with db.transaction() as conn:
        record = await add_refund(conn, *ids, **fields)
        marked = await refunds.mark_sending(conn, record, EVENT, lease=LEASE, sent_via="v3")
    assert marked is not None
    return marked


async def test_a_record_comes_back_as_it_was_written(db: Database, ids: tuple[str, str]) -> None:
    async with db.transaction() as conn:
        written = draft(*ids, metadata={"rma": "R-9"}, external_reference="CM-1")
        await refunds.insert(conn, written, CREATED, idempotency_key="k", lease=LEASE, waits=timedelta(0))
        read = await refunds.find(conn, ids[0], written.id)
        other_tenant = await refunds.find(conn, "tn_other", written.id)
    assert read is not None
    assert other_tenant is None
    for name in ("command", "plan", "amount", "metadata", "external_reference", "marker", "fingerprint", "store"):
        assert getattr(read, name) == getattr(written, name)


async def test_two_refunds_of_an_order_are_never_sent_at_a_time(db: Database, ids: tuple[str, str]) -> None:
    first = await sending(db, ids)
    async with db.transaction() as conn:
        second = await add_refund(conn, *ids)
    with pytest.raises(refunds.OrderBusy):
        async with db.transaction() as conn:
            await refunds.mark_sending(conn, second, EVENT, lease=LEASE, sent_via="v3")
    async with db.transaction() as conn:
        assert await refunds.mark_succeeded(conn, first, EVENT, store_refund_id="1") is not None
        assert await refunds.mark_sending(conn, second, EVENT, lease=LEASE, sent_via="v3") is not None


async def test_only_one_of_many_processes_gets_to_send(db: Database, ids: tuple[str, str]) -> None:
    async with db.transaction() as conn:
        records = [await add_refund(conn, *ids) for _ in range(12)]

    async def attempt(record: RefundRecord) -> bool:
        try:
            async with db.transaction() as conn:
                return await refunds.mark_sending(conn, record, EVENT, lease=LEASE, sent_via="v3") is not None
        except refunds.OrderBusy:
            return False

    assert sum(await asyncio.gather(*map(attempt, records))) == 1


async def test_an_update_that_does_not_know_the_fence_changes_nothing(db: Database, ids: tuple[str, str]) -> None:
    record = await sending(db, ids)
    async with db.transaction() as conn:
        after = await refunds.mark_succeeded(conn, record, EVENT, store_refund_id="1")
        stale = await refunds.mark_failed(conn, record, EVENT, failure=Failure(code="x", message="late"))
        timeline = await events.timeline(conn, ids[0], record.id, limit=10)
    assert after is not None
    assert stale is None
    assert len(timeline) == 3  # created, sending, succeeded: the stale one left no event


async def test_keys_and_references_are_taken_once(db: Database, ids: tuple[str, str]) -> None:
    async with db.transaction() as conn:
        await add_refund(conn, *ids, key="k", external_reference="CM-1")
    for clash in ({"key": "k"}, {"external_reference": "CM-1"}):
        with pytest.raises(refunds.AlreadyThere):
            async with db.transaction() as conn:
                await add_refund(conn, *ids, **clash)
    async with db.transaction() as conn:
        other = await add_store(conn)
        await add_refund(conn, *other, key="k", external_reference="CM-1")


async def test_events_cannot_be_changed_or_deleted(db: Database, ids: tuple[str, str]) -> None:
    await sending(db, ids)
    for statement in ("UPDATE refund_event SET type = 'x'", "DELETE FROM refund_event", "TRUNCATE refund_event"):
        with pytest.raises(psycopg.errors.RaiseException, match="append-only"):
            async with db.transaction() as conn:
                await conn.execute(statement)


@pytest.mark.parametrize(
    "lie",
    [
        "status = 'succeeded', money = 'unknown', settled_at = now()",
        "status = 'succeeded', money = 'moved', settled_at = NULL",
        "status = 'failed', money = 'moved', settled_at = now()",
        "status = 'uncertain', money = 'not_moved'",
        "status = 'sending', plan = NULL",
        "amount = 0",
    ],
)
async def test_the_database_refuses_untrue_states(db: Database, ids: tuple[str, str], lie: str) -> None:
    record = await sending(db, ids)
    with pytest.raises(psycopg.errors.CheckViolation):
        async with db.transaction() as conn:
            await conn.execute(f"UPDATE refund SET {lie} WHERE id = %s", (record.id,))


async def test_holds_count_what_a_snapshot_cannot_show_yet(db: Database, ids: tuple[str, str]) -> None:
    before = datetime.now(UTC)
    async with db.transaction() as conn:
        pending = await add_refund(conn, *ids, planned=plan("1.00"))
        failed = await add_refund(conn, *ids, planned=plan("2.00"))
        await refunds.mark_failed(conn, failed, EVENT, failure=Failure(code="x", message="no"))
        await add_refund(conn, *ids, planned=plan("3.00", order_id="13"))
    done = await sending(db, ids, planned=plan("4.00"))
    async with db.transaction() as conn:
        await refunds.mark_succeeded(conn, done, EVENT, store_refund_id="726")
    review = await sending(db, ids, planned=plan("5.00"))
    async with db.transaction() as conn:
        await refunds.mark_needs_review(conn, review, EVENT, failure=Failure(code="x", message="?"), evidence=())
        held = await standing.holds(conn, ids[1], "12", snapshot_read_at=before)
        later = await standing.holds(conn, ids[1], "12", snapshot_read_at=datetime.now(UTC) + timedelta(minutes=1))
        ahead = await standing.holds(conn, ids[1], "12", snapshot_read_at=before, before=done.id)
    assert {hold.refund_id: hold.amount for hold in held} == {
        pending.id: Decimal("1.00"),
        done.id: Decimal("4.00"),
        review.id: Decimal("5.00"),
    }
    assert {hold.store_refund_id for hold in held} == {None, "726"}
    assert {hold.refund_id: (hold.counts_unseen, hold.is_past) for hold in later} == {
        pending.id: (True, False),
        review.id: (True, False),
        done.id: (True, True),
    }
    assert {hold.refund_id for hold in ahead} == {pending.id, done.id}


async def test_what_was_only_recorded_stops_counting_when_its_row_is_gone(db: Database, ids: tuple[str, str]) -> None:
    recorded = await sending(db, ids, planned=plan("4.00", payment="manual"), payment="manual")
    async with db.transaction() as conn:
        await refunds.mark_succeeded(conn, recorded, EVENT, store_refund_id="726")
        after = datetime.now(UTC) + timedelta(minutes=1)
        (hold,) = await standing.holds(conn, ids[1], "12", snapshot_read_at=after)
    assert (hold.counts_unseen, hold.is_past) == (False, True)


async def test_a_refund_in_doubt_blocks_its_order_and_no_other(db: Database, ids: tuple[str, str]) -> None:
    record = await sending(db, ids)
    async with db.transaction() as conn:
        assert await standing.doubtful(conn, ids[1], "12") is None
        await refunds.mark_uncertain(
            conn,
            record,
            EVENT,
            answer=LastAnswer(kind="unknown", turned_away=None, http_status=502, store_code=None, text="Bad gateway"),
            touch_lost_at=NOW,
            due_at=NOW,
            evidence=(Observation(kind="k", text="t", at=NOW),),
        )
        assert await standing.doubtful(conn, ids[1], "12") == record.id
        assert await standing.doubtful(conn, ids[1], "13") is None
        read = await refunds.get(conn, record.id)
    assert read is not None
    assert (read.status, read.money) == ("uncertain", "unknown")
    assert read.answer is not None
    assert read.answer.http_status == 502
    assert read.evidence == (Observation(kind="k", text="t", at=NOW),)


async def test_a_refund_whose_lease_ended_is_found_and_one_that_is_kept_alive_is_not(
    db: Database, ids: tuple[str, str]
) -> None:
    alive = await sending(db, ids, executor="ex_alive")
    dead = await sending(db, ids, executor="ex_dead", planned=plan(order_id="13"))
    async with db.transaction() as conn:
        await conn.execute("UPDATE refund SET lease_until = clock_timestamp() + interval '50 ms'")
        await executors.beat(conn, "ex_alive", works=True, lease=LEASE)
    await asyncio.sleep(0.1)
    async with db.transaction() as conn:
        assert [record.id for record in await search.abandoned(conn, limit=10)] == [dead.id]
        # A heartbeat after the end must not bring a lease back: others may have acted on its end.
        await executors.beat(conn, "ex_dead", works=True, lease=LEASE)
        assert [record.id for record in await search.abandoned(conn, limit=10)] == [dead.id]
        assert await standing.doubtful(conn, ids[1], "13") == dead.id
        assert await standing.doubtful(conn, ids[1], "12") is None
    assert alive.id != dead.id


async def test_earlier_refunds_of_an_order_go_first(db: Database, ids: tuple[str, str]) -> None:
    async with db.transaction() as conn:
        first = await add_refund(conn, *ids, id="rf_1")
        second = await add_refund(conn, *ids, id="rf_2")
        assert await standing.ahead_of(conn, first) is None
        assert await standing.ahead_of(conn, second) == ("rf_1", "pending")
        await refunds.mark_canceled(conn, first, EVENT)
        assert await standing.ahead_of(conn, second) is None


async def test_pages_follow_each_other_without_gaps(db: Database, ids: tuple[str, str]) -> None:
    async with db.transaction() as conn:
        written = [(await add_refund(conn, *ids, planned=plan(order_id=str(i % 3)))).id for i in range(7)]
        every = search.RefundFilters()
        first = await search.page(conn, ids[0], every, limit=4, after=None)
        rest = await search.page(conn, ids[0], every, limit=4, after=first[-1].id)
        of_order = await search.page(conn, ids[0], search.RefundFilters(order_id="1"), limit=10, after=None)
        none = await search.page(conn, ids[0], search.RefundFilters(store_ids=frozenset()), limit=10, after=None)
        of_store = await search.page(
            conn,
            ids[0],
            search.RefundFilters(store="demo", status="pending", amount_to=Decimal(99)),
            limit=10,
            after=None,
        )
    assert [record.id for record in first + rest] == sorted(written, reverse=True)
    assert len(of_order) == 2
    assert none == []
    assert len(of_store) == 7
