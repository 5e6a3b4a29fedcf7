"""The rarer ways through the flows: who may see what, stores that are gone, and hands that change in between."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from app.domain.errors import Refusal
from app.domain.order import StoreRefund
from app.domain.refund import ItemRequest, LineRequest, RefundCommand, TaxRequest
from app.flows import change, preview, recover, send, view
from app.flows.execute import carry_out
from app.flows.results import (
    Accepted,
    AmbiguousOrderNumber,
    Caller,
    OrderView,
    Quote,
    QuoteRefused,
    RefundNotFound,
    StoreFailed,
    StoreNotFound,
    WrongState,
)
from app.flows.runtime import Runtime
from app.flows.settle import Shop as Open
from app.flows.submit import submit
from app.ledger import executors, quotes, refunds, search, tenants
from app.ledger.records import command_from, command_json
from app.stores.port import HealthReport, OrderNotFound, StoreMisconfigured, StoreUnavailable, Unknown
from tests.conftest import Shop, add_shop
from tests.flows.scripted import EXCHANGE, UNREACHABLE, ScriptedStore, order, with_store
from tests.ledger.factories import add_refund

LOST = Unknown(message="No answer.", turned_away=None, retry_after_s=None, exchange=EXCHANGE)


@pytest.fixture
async def shop(rt: Runtime) -> Shop:
    return await add_shop(rt, "https://shop.example")


@pytest.fixture
def store() -> ScriptedStore:
    return ScriptedStore()


@pytest.fixture
def fixed(rt: Runtime, store: ScriptedStore) -> Runtime:
    return with_store(rt, store)


def wanted(**fields: Any) -> RefundCommand:
    values: dict[str, Any] = {"store": "demo", "order_id": "12", "amount": Decimal("5.00")}
    return RefundCommand(**(values | fields))


async def post(rt: Runtime, caller: Caller, *, at_once: bool = False, key: str | None = None, **fields: Any) -> Any:
    return await submit(rt, caller, wanted(**fields), idempotency_key=key, request_id="r", wait_s=8, at_once=at_once)


def elsewhere(shop: Shop) -> Caller:
    """Give a caller of the tenant whose key is limited to another store."""
    return replace(shop.caller, store_ids=frozenset({"st_other"}))


async def test_a_key_limited_to_other_stores_sees_nothing_of_this_one(fixed: Runtime, shop: Shop) -> None:
    made = await post(fixed, shop.caller)
    stranger = elsewhere(shop)
    missing = StoreNotFound(store="demo")
    assert await post(fixed, stranger) == missing
    assert await preview.preview(fixed, stranger, wanted()) == missing
    assert await view.order(fixed, stranger, "demo", "12") == missing
    assert await view.health(fixed, stranger, "demo") == missing
    gone = RefundNotFound(refund_id=made.record.id)
    assert await change.cancel(fixed, stranger, made.record.id) == gone
    assert await change.recheck(fixed, stranger, made.record.id) == gone
    assert await change.resolve(fixed, stranger, made.record.id, outcome="failed", note="n", person="p") == gone


async def test_a_store_disabled_in_between_is_not_found(rt: Runtime, shop: Shop) -> None:
    closed = with_store(rt, None)
    missing = StoreNotFound(store="demo")
    assert await post(closed, shop.caller) == missing
    assert await preview.preview(closed, shop.caller, wanted()) == missing
    assert await view.order(closed, shop.caller, "demo", "12") == missing


async def test_a_refund_of_a_store_that_was_disabled_before_it_was_sent_fails(
    rt: Runtime, fixed: Runtime, shop: Shop
) -> None:
    made = await post(fixed, shop.caller, at_once=True)
    record = await send.send(with_store(rt, None), made.record.id)
    assert record is not None
    assert record.failure is not None
    assert (record.status, record.failure.code) == ("failed", "store_misconfigured")


async def test_orders_are_found_by_their_exact_number(fixed: Runtime, shop: Shop, store: ScriptedStore) -> None:
    by_number = {"order_id": None, "order_number": "DE-12"}
    made = await post(fixed, shop.caller, **by_number)
    assert (made.record.order_id, made.record.order_number) == ("12", "DE-12")
    store.numbers = ("12", "13")
    assert await post(fixed, shop.caller, **by_number) == AmbiguousOrderNumber(order_ids=("12", "13"))
    unseen = await post(fixed, shop.caller, at_once=True, **by_number)
    failed = await send.send(fixed, unseen.record.id)
    assert failed is not None
    assert failed.failure is not None
    assert failed.failure.code == "ambiguous_order_number"
    store.numbers = ()
    nowhere = await post(fixed, shop.caller, **by_number)
    assert isinstance(nowhere, StoreFailed)
    assert nowhere.code == "order_not_found"
    unseen = await post(fixed, shop.caller, at_once=True, **by_number)
    failed = await send.send(fixed, unseen.record.id)
    assert failed is not None
    assert failed.failure is not None
    assert failed.failure.code == "order_not_found"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OrderNotFound("No such order."), "order_not_found"),
        (StoreUnavailable("Down.", retry_after_s=7), "store_unavailable"),
        (StoreMisconfigured("The key has no write permission."), "store_misconfigured"),
    ],
)
async def test_a_store_that_cannot_be_read_says_why(
    fixed: Runtime, shop: Shop, store: ScriptedStore, error: Exception, code: str
) -> None:
    store.reading_fails = error  # type: ignore[assignment]
    for answer in (
        await post(fixed, shop.caller),
        await preview.preview(fixed, shop.caller, wanted()),
        await view.order(fixed, shop.caller, "demo", "12"),
    ):
        assert isinstance(answer, StoreFailed)
        assert answer.code == code
        assert answer.retry_after_s == (7 if code == "store_unavailable" else None)


async def test_requests_without_sense_never_reach_the_store(fixed: Runtime, shop: Shop, store: ScriptedStore) -> None:
    store.reading_fails = StoreUnavailable("must not be asked")
    assert isinstance(await post(fixed, shop.caller, amount=None), Refusal)
    assert isinstance(await preview.preview(fixed, shop.caller, wanted(amount=None)), Refusal)
    assert store.sent == []


async def test_accepting_unseen_is_idempotent_too(fixed: Runtime, shop: Shop) -> None:
    first = await post(fixed, shop.caller, at_once=True, key="k", external_reference="CM-1")
    again = await post(fixed, shop.caller, at_once=True, key="k", external_reference="CM-1")
    assert again == Accepted(record=first.record, replayed=True)


async def test_a_preview_warns_of_what_may_surprise(fixed: Runtime, shop: Shop, store: ScriptedStore) -> None:
    store.capability = "unknown"
    store.answers = [UNREACHABLE]
    await post(fixed, shop.caller)  # stays pending and holds 5.00
    quote = await preview.preview(fixed, shop.caller, wanted(amount=None, remaining=True))
    assert isinstance(quote, Quote)
    assert (quote.refundable_before, quote.plan.amount) == (Decimal("27.13"), Decimal("27.13"))
    assert len(quote.warnings) == 3
    refused = await preview.preview(fixed, shop.caller, wanted(amount=Decimal("27.14")))
    assert isinstance(refused, Refusal)


async def test_an_expired_quote_is_refused_and_in_time_forgotten(fixed: Runtime, shop: Shop) -> None:
    quote = await preview.preview(fixed, shop.caller, wanted())
    assert isinstance(quote, Quote)
    async with fixed.database.reading() as conn:
        await conn.execute("UPDATE quote SET expires_at = now() - interval '2 days'")
    expired = await post(fixed, shop.caller, quote_id=quote.id)
    assert isinstance(expired, QuoteRefused)
    assert expired.code == "quote_expired"
    await recover.tidy(fixed)
    async with fixed.database.reading() as conn:
        assert await quotes.find(conn, shop.tenant_id, quote.id) is None


async def test_an_order_is_shown_with_what_is_left_and_what_is_ours(
    fixed: Runtime, shop: Shop, store: ScriptedStore
) -> None:
    made = await post(fixed, shop.caller)
    shown = StoreRefund(
        id=made.record.store_refund_id,
        amount=Decimal("5.00"),
        reason=f"[{made.record.marker}]",
        refunded_payment=True,
        created_at=datetime.now(UTC),
        reference=None,
        lines=(),
    )
    store.order = order(refunds=(shown,))
    found = await view.order(fixed, shop.caller, "demo", "12")
    assert isinstance(found, OrderView)
    assert found.remaining.total == Decimal("27.13")
    assert dict(found.ours) == {shown.id: made.record.id}
    assert found.blocked_by is None
    assert isinstance(await view.health(fixed, shop.caller, "demo"), HealthReport)


async def doubtful(fixed: Runtime, shop: Shop, store: ScriptedStore, **fields: Any) -> Any:
    store.answers = [LOST]
    made = await post(fixed, shop.caller, **fields)
    assert made.record.status == "uncertain"
    return made.record


async def test_looking_is_put_off_while_the_store_is_down_and_goes_on_later(
    fixed: Runtime, shop: Shop, store: ScriptedStore
) -> None:
    record = await doubtful(fixed, shop, store)
    assert await recover.settle(fixed, record.id) is None  # not due yet
    assert await recover.settle(fixed, "rf_none") is None
    store.reading_fails = StoreUnavailable("down")
    found = await change.recheck(fixed, shop.caller, record.id)
    assert isinstance(found, Accepted)
    assert found.record.status == "uncertain"
    assert found.record.due_at is not None
    assert found.record.due_at > fixed.clock()


async def test_an_order_that_is_gone_is_for_a_person(fixed: Runtime, shop: Shop, store: ScriptedStore) -> None:
    record = await doubtful(fixed, shop, store)
    store.reading_fails = OrderNotFound("gone")
    found = await change.recheck(fixed, shop.caller, record.id)
    assert isinstance(found, Accepted)
    assert found.record.failure is not None
    assert (found.record.status, found.record.failure.code) == ("needs_review", "order_gone")
    # A further look that fails as well leaves it as it is.
    store.reading_fails = StoreUnavailable("down")
    again = await change.recheck(fixed, shop.caller, record.id)
    assert isinstance(again, Accepted)
    assert again.record.status == "needs_review"
    # And one that finds the payment settles it.
    store.reading_fails = None
    paid = StoreRefund(
        id="726",
        amount=Decimal("5.00"),
        reason=f"[{record.marker}]",
        refunded_payment=True,
        created_at=None,
        reference=None,
        lines=(),
    )
    store.order = order(refunds=(paid,))
    found = await change.recheck(fixed, shop.caller, record.id)
    assert isinstance(found, Accepted)
    assert (found.record.status, found.record.store_refund_id) == ("succeeded", "726")
    final = await change.recheck(fixed, shop.caller, record.id)
    assert isinstance(final, Accepted)
    assert final.replayed


async def test_two_who_act_at_once_do_not_both_win(fixed: Runtime, shop: Shop, store: ScriptedStore) -> None:
    record = await doubtful(fixed, shop, store)
    stale = replace(record, fence=record.fence - 1)
    assert (
        await recover.look(fixed, stale, send.Shop(store=store, policy=(await fixed.stores.open("x"))[1]))
    ) == record
    pending = await post(fixed, shop.caller, at_once=True, order_id="13")

    class Racing:
        """Lets somebody else change the refund between reading and writing it."""

        def __init__(self, rt: Runtime) -> None:
            self._database = rt.database

        def reading(self) -> Any:
            return self._database.reading()

        def transaction(self) -> Any:
            from contextlib import asynccontextmanager

            @asynccontextmanager
            async def racing() -> Any:
                async with self._database.reading() as conn:
                    await conn.execute("UPDATE refund SET fence = fence + 1")
                async with self._database.transaction() as conn:
                    yield conn

            return racing()

        committing = transaction

    racing = replace(fixed, database=Racing(fixed))  # type: ignore[arg-type]
    assert isinstance(await change.cancel(racing, shop.caller, pending.record.id), WrongState)
    assert await send.send(racing, pending.record.id) is None
    async with fixed.database.reading() as conn:
        now = await refunds.get(conn, record.id)
        await conn.execute(
            "UPDATE refund SET status = 'needs_review', money = 'unknown', due_at = NULL WHERE id = %s", (record.id,)
        )
    assert now is not None
    lost = await change.resolve(racing, shop.caller, record.id, outcome="failed", note="n", person="p")
    assert isinstance(lost, WrongState)


async def test_only_pending_refunds_are_canceled_and_only_reviews_resolved(fixed: Runtime, shop: Shop) -> None:
    made = await post(fixed, shop.caller)
    for answer in (
        await change.cancel(fixed, shop.caller, made.record.id),
        await change.resolve(fixed, shop.caller, made.record.id, outcome="failed", note="n", person="p"),
    ):
        assert isinstance(answer, WrongState)
    assert isinstance(await change.cancel(fixed, shop.caller, "rf_none"), RefundNotFound)


async def test_a_disabled_store_cannot_be_looked_at(
    rt: Runtime, fixed: Runtime, shop: Shop, store: ScriptedStore
) -> None:
    record = await doubtful(fixed, shop, store)
    assert isinstance(await change.recheck(with_store(rt, None), shop.caller, record.id), StoreFailed)
    async with rt.database.reading() as conn:
        await conn.execute("UPDATE refund SET due_at = clock_timestamp() - interval '1 s'")
    put_off = await recover.settle(with_store(rt, None), record.id)
    assert put_off is not None
    assert put_off.status == "uncertain"
    assert put_off.due_at is not None
    assert put_off.due_at > rt.clock()


async def test_sending_leaves_alone_what_is_not_its_to_send(fixed: Runtime, shop: Shop, store: ScriptedStore) -> None:
    done = await post(fixed, shop.caller)
    assert await send.send(fixed, done.record.id) is None
    assert await send.send(fixed, "rf_none") is None
    store.answers = [UNREACHABLE]
    later = await post(fixed, shop.caller)
    assert later.record.due_at > fixed.clock()
    assert await send.send(fixed, later.record.id) is None
    async with fixed.database.reading() as conn:
        await conn.execute(
            "UPDATE refund SET lease_until = now() + interval '1 hour', due_at = NULL WHERE id = %s", (later.record.id,)
        )
    assert await send.send(fixed, later.record.id) is None


async def test_an_unseen_refund_waits_for_an_order_in_doubt(fixed: Runtime, shop: Shop, store: ScriptedStore) -> None:
    await doubtful(fixed, shop, store)
    unseen = await post(fixed, shop.caller, at_once=True)
    waiting = await send.send(fixed, unseen.record.id)
    assert waiting is not None
    assert waiting.status == "pending"
    assert waiting.due_at is not None
    assert waiting.due_at > fixed.clock()


async def test_a_process_that_stops_lets_go_of_what_it_has_not_sent(fixed: Runtime, shop: Shop) -> None:
    made = await post(fixed, shop.caller, at_once=True)
    async with fixed.database.reading() as conn:
        await conn.execute("UPDATE refund SET lease_until = now() + interval '1 hour', due_at = NULL")
        await executors.beat(conn, "ex_worker", works=True, lease=timedelta(hours=1))
        assert await executors.worker_seen_at(conn) is not None
        await executors.let_go(conn, fixed.executor_id)
        await executors.leave(conn, "ex_worker")
        assert await executors.worker_seen_at(conn) is None
        record = await refunds.get(conn, made.record.id)
    assert record is not None
    assert record.lease_until is None
    assert record.due_at is not None


async def test_the_store_book_notices_changes_and_closed_stores(rt: Runtime, shop: Shop) -> None:
    first, _ = await rt.stores.open(shop.store_id)
    assert (await rt.stores.open(shop.store_id))[0] is first
    with pytest.raises(LookupError):
        await rt.stores.open("st_none")
    async with rt.database.transaction() as conn:
        await tenants.disable_store(conn, shop.tenant_id, "demo")
    again = await post(rt, shop.caller)
    assert again == StoreNotFound(store="demo")


def test_commands_survive_being_kept() -> None:
    taxes = (TaxRequest(rate_id="1", amount=Decimal("1.90")),)
    full = RefundCommand(
        store="demo",
        order_number="DE-12",
        items=(ItemRequest(sku="SKU0", quantity=1, amount=Decimal("10.00"), taxes=taxes),),
        shipping="all",
        fees=(LineRequest(line_id="4", amount=Decimal("1.00"), taxes=taxes), LineRequest(line_id="5")),
        goodwill=Decimal("3.00"),
        metadata={"rma": "R-9"},
        expected_refunded_total=Decimal("10.00"),
    )
    for command in (full, replace(full, shipping=Decimal("5.00"), fees=None)):
        assert command_from(command_json(command)) == command


async def test_a_key_of_another_store_is_not_led_to_this_ones_refund(fixed: Runtime, shop: Shop) -> None:
    await post(fixed, shop.caller, key="k")
    assert await post(fixed, elsewhere(shop), key="k") == StoreNotFound(store="demo")


async def test_two_that_accept_unseen_at_once_make_one_refund(fixed: Runtime, shop: Shop) -> None:
    answers = await asyncio.gather(*(post(fixed, shop.caller, at_once=True, key="k") for _ in range(8)))
    assert len({answer.record.id for answer in answers}) == 1
    assert sum(not answer.replayed for answer in answers) == 1


async def test_one_that_believes_itself_alone_waits_all_the_same(
    fixed: Runtime, shop: Shop, store: ScriptedStore
) -> None:
    """The index decides, not what was seen when the refund was reserved."""
    first = await doubtful(fixed, shop, store)
    async with fixed.database.reading() as conn:
        behind = await add_refund(conn, shop.tenant_id, shop.store_id)
        opened = Open(store=store, policy=(await fixed.stores.open("x"))[1])
        after = await carry_out(fixed, behind, opened, alone=True)
    assert (after.status, len(store.sent)) == ("pending", 1)
    assert after.due_at is not None
    assert first.status == "uncertain"


async def test_a_marker_is_never_given_twice_in_a_store(fixed: Runtime, shop: Shop) -> None:
    async with fixed.database.transaction() as conn:
        made = await add_refund(conn, shop.tenant_id, shop.store_id)
    with pytest.raises(psycopg.errors.UniqueViolation):
        async with fixed.database.transaction() as conn:
            await add_refund(conn, shop.tenant_id, shop.store_id, marker=made.marker)


async def test_the_ledger_counts_what_is_not_finished(fixed: Runtime, shop: Shop, store: ScriptedStore) -> None:
    await doubtful(fixed, shop, store)
    async with fixed.database.reading() as conn:
        assert await search.counts_by_status(conn) == {"pending": 0, "sending": 0, "uncertain": 1, "needs_review": 0}
        await conn.execute("UPDATE refund SET due_at = clock_timestamp() - interval '5 s'")
        assert 4 < await search.oldest_due_s(conn) < 30
        await conn.execute("UPDATE refund SET due_at = NULL")
        assert await search.oldest_due_s(conn) == 0
