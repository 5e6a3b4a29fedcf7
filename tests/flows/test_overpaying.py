"""Ways to be talked into paying more than an order has: rows that vanish, shrink, copy a mark, or are another's."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from app.domain.errors import Refusal
from app.domain.refund import RefundCommand
from app.domain.refund_query import Candidate, Moment, RefundQuery, chosen, paged
from app.domain.sight import without_markers
from app.flows import amend, change, recover, remove, view
from app.flows import shop as shops
from app.flows.amend import Changes
from app.flows.mirror import Where, mirror_order
from app.flows.results import Accepted, Amended, Deleted, PaidByGateway, StoreFailed, StoreRefundNotFound
from app.flows.runtime import Runtime
from app.flows.submit import submit
from app.ledger import amendments, events, refunds, search
from app.ledger import seen as ledger_seen
from app.ledger.events import NewEvent
from app.ledger.records import RefundRecord
from app.ledger.search import RefundFilters
from app.stores.port import Deletion, ListTooLong, Unknown
from tests.conftest import Shop, add_shop, eventually
from tests.flows.scripted import EXCHANGE, ScriptedStore, order, row, with_store

LOST = Unknown(message="No answer.", turned_away=None, retry_after_s=None, exchange=EXCHANGE)
TWENTY = Decimal("20.00")


@pytest.fixture
async def shop(rt: Runtime) -> Shop:
    return await add_shop(rt, "https://shop.example")


@pytest.fixture
def store() -> ScriptedStore:
    return ScriptedStore()


@pytest.fixture
def fixed(rt: Runtime, store: ScriptedStore) -> Runtime:
    return with_store(rt, store)


async def post(rt: Runtime, shop: Shop, amount: Decimal = Decimal("5.00"), **fields: Any) -> Any:
    command = RefundCommand(**({"store": "demo", "order_id": "12", "amount": amount} | fields))
    return await submit(rt, shop.caller, command, idempotency_key=None, request_id="r", wait_s=8, at_once=False)


async def known(rt: Runtime, shop: Shop) -> list[RefundRecord]:
    async with rt.database.reading() as conn:
        return await search.page(conn, shop.tenant_id, RefundFilters(), limit=50, after=None)


async def seen(rt: Runtime, shop: Shop, store: ScriptedStore) -> None:
    later = replace(store.order, read_at=datetime.now(UTC) + timedelta(seconds=1))
    await mirror_order(rt, Where(tenant_id=shop.tenant_id, store_id=shop.store_id, store="demo", api=store.api), later)


async def in_review(rt: Runtime, shop: Shop, refund_id: str) -> RefundRecord:
    """Do a worker's work until a refund is in review."""

    async def looked_at() -> RefundRecord | None:
        await recover.settle(rt, refund_id)
        (record,) = [record for record in await known(rt, shop) if record.id == refund_id]
        return record if record.status == "needs_review" else None

    found: RefundRecord = await eventually(looked_at)
    return found


def refused(answer: Any) -> None:
    assert isinstance(answer, Refusal), answer
    assert answer.faults[0].code == "exceeds_refundable"


@pytest.mark.parametrize(
    "reason", ["RG-AAAARG-BBBBBBBBAAAA", "RG-AAAA\\AAAA", "[RG-AAAARG-\\BBBBBBBBAAAA]", "RG-AAAA [RG-BBBBBBBB]AAAA"]
)
def test_no_reason_can_hold_or_become_a_marker(reason: str) -> None:
    """Taking one out must not put another together, and neither must a store that drops backslashes."""
    cleaned = without_markers(reason)
    assert "RG-AAAAAAAA" not in cleaned.replace("\\", "")
    assert "RG-BBBBBBBB" not in cleaned


async def test_a_copied_mark_does_not_stand_in_for_a_paid_refund(
    fixed: Runtime, shop: Shop, store: ScriptedStore
) -> None:
    """A paid refund's row is deleted and an admin enters a smaller one with its reason copied."""
    paid = await post(fixed, shop, TWENTY)
    store.order = order(refunds=(row("999", "1.00", reason=f"again [{paid.record.marker}]"),))
    refused(await post(fixed, shop, TWENTY))
    assert len(store.sent) == 1


async def test_a_copied_mark_settles_no_other_refund(fixed: Runtime, shop: Shop, store: ScriptedStore) -> None:
    store.answers = [LOST]
    lost = await post(fixed, shop)
    record = await in_review(fixed, shop, lost.record.id)
    assert record.failure is not None
    assert record.failure.code == "nothing_found"
    store.answers = []
    other = await post(fixed, shop)
    copied = f"[{record.marker}] [{other.record.marker}]"
    store.order = order(refunds=(row(other.record.store_refund_id, reason=copied, refunded_payment=True),))
    again = await change.recheck(fixed, shop.caller, record.id)
    assert isinstance(again, Accepted)
    assert again.record.status == "needs_review"


async def test_a_row_whose_amount_was_lowered_takes_nothing_back(
    fixed: Runtime, shop: Shop, store: ScriptedStore
) -> None:
    """The legacy API lets anybody set the amount of a row anew."""
    paid = await post(fixed, shop, TWENTY)
    store.order = order(refunds=(row(paid.record.store_refund_id, "0.01", reason=f"[{paid.record.marker}]"),))
    refused(await post(fixed, shop, TWENTY))
    assert isinstance(await post(fixed, shop, Decimal("12.13")), Accepted)


async def test_a_row_of_others_whose_amount_was_lowered_neither(
    fixed: Runtime, shop: Shop, store: ScriptedStore
) -> None:
    store.order = order(refunds=(row("901", "20.00", refunded_payment=True),))
    await seen(fixed, shop, store)
    store.order = order(refunds=(row("901", "0.01", refunded_payment=True),))
    await seen(fixed, shop, store)
    refused(await post(fixed, shop, TWENTY))


async def test_what_a_legacy_store_may_have_paid_counts_when_its_row_is_gone(
    fixed: Runtime, shop: Shop, store: ScriptedStore
) -> None:
    store.api = "legacy"
    store.order = order(refunds=(row("901", "20.00", refunded_payment=None),))
    await view.order(fixed, shop.caller, "demo", "12")
    unsure = await remove.delete_in_store(fixed, shop.caller, "demo", "12", "901", force=False)
    assert isinstance(unsure, PaidByGateway)
    assert not unsure.certain
    gone = await remove.delete_in_store(fixed, shop.caller, "demo", "12", "901", force=True)
    assert isinstance(gone, Deleted)
    assert gone.money_stays_paid is None
    refused(await post(fixed, shop, Decimal("32.13")))


async def test_a_row_that_others_are_about_to_pay_is_unknown_and_stays(
    fixed: Runtime, shop: Shop, store: ScriptedStore
) -> None:
    """A store writes its row before the payment: young and unpaid, it says nothing yet."""
    young = row("901", "20.00", created_at=datetime.now(UTC))
    store.order = order(refunds=(young,))
    await seen(fixed, shop, store)
    (record,) = await known(fixed, shop)
    assert (record.payment, record.money) == ("unknown", "unknown")
    kept = await remove.delete_in_store(fixed, shop.caller, "demo", "12", "901", force=True)
    assert isinstance(kept, StoreFailed)
    assert kept.retry_after_s is not None
    assert store.order.refunds
    # Older than any payment takes, it is what it says.
    store.order = order(refunds=(replace(young, created_at=datetime.now(UTC) - timedelta(minutes=5)),))
    await seen(fixed, shop, store)
    (record,) = await known(fixed, shop)
    assert (record.payment, record.money) == ("manual", "outside")


async def test_paid_never_becomes_unpaid(fixed: Runtime, shop: Shop, store: ScriptedStore) -> None:
    """A cache may show an older state of a row."""
    for paid in (True, False):
        store.order = order(refunds=(row("901", "20.00", refunded_payment=paid),))
        await seen(fixed, shop, store)
    store.order = order()
    await seen(fixed, shop, store)
    (record,) = await known(fixed, shop)
    assert record.money == "moved"
    refused(await post(fixed, shop, Decimal("32.13")))


async def test_a_lookalike_is_not_taken_for_ours(fixed: Runtime, shop: Shop, store: ScriptedStore) -> None:
    store.answers = [LOST]
    lost = await post(fixed, shop, TWENTY)
    store.order = order(refunds=(row("901", "20.00", refunded_payment=True, created_at=datetime.now(UTC)),))
    record = await in_review(fixed, shop, lost.record.id)
    assert record.failure is not None
    assert (record.failure.code, record.store_refund_id) == ("lookalike", None)
    assert "901" in record.failure.message
    # Until a person knows, both count: ours may have been paid, theirs was.
    refused(await post(fixed, shop, Decimal("12.13")))
    resolved = await change.resolve(fixed, shop.caller, record.id, outcome="failed", note="not ours", person="Ada")
    assert isinstance(resolved, Accepted)
    await seen(fixed, shop, store)
    assert [r.store_refund_id for r in await known(fixed, shop) if r.origin == "store"] == ["901"]


async def test_a_person_can_say_which_row_was_ours(fixed: Runtime, shop: Shop, store: ScriptedStore) -> None:
    store.answers = [LOST]
    lost = await post(fixed, shop, TWENTY)
    store.order = order(refunds=(row("901", "20.00", refunded_payment=True, created_at=datetime.now(UTC)),))
    record = await in_review(fixed, shop, lost.record.id)
    store.answers = []
    other = await post(fixed, shop, Decimal("0.01"), payment="manual")
    assert isinstance(other, Refusal)

    async def said(store_refund_id: str) -> Any:
        return await change.resolve(
            fixed,
            shop.caller,
            record.id,
            outcome="succeeded",
            note="seen at the provider",
            person="Ada",
            store_refund_id=store_refund_id,
        )

    assert await said("902") == StoreRefundNotFound(store_refund_id="902")
    resolved = await said("901")
    assert isinstance(resolved, Accepted)
    assert (resolved.record.status, resolved.record.store_refund_id) == ("succeeded", "901")
    # It counts once from then on.
    assert isinstance(await post(fixed, shop, Decimal("12.13")), Accepted)


async def test_a_refund_in_review_puts_its_mark_on_no_row(fixed: Runtime, shop: Shop, store: ScriptedStore) -> None:
    store.api = "legacy"
    store.update = "shown"
    store.answers = [LOST]
    lost = await post(fixed, shop, TWENTY, payment="manual", reason="old")
    store.order = order(refunds=(row("901", "20.00", refunded_payment=None, created_at=datetime.now(UTC)),))
    record = await in_review(fixed, shop, lost.record.id)
    amended = await amend.amend(fixed, shop.caller, record.id, Changes(reason="new"))
    assert isinstance(amended, Amended)
    assert (amended.in_store, store.reasons) == ("not_asked", [])
    resent = await change.resolve(fixed, shop.caller, record.id, outcome="resend", note="never paid", person="Ada")
    assert isinstance(resent, Accepted)
    assert resent.record.plan is not None
    assert (resent.record.reason, resent.record.plan.reason) == ("new", "new")


async def test_two_changes_at_a_time_do_not_undo_each_other(fixed: Runtime, shop: Shop) -> None:
    made = await post(fixed, shop)
    event = NewEvent(type="refund.amended", actor="test")
    for changed in ({"reason": "new"}, {"metadata": {"a": "b"}}, {"reason_code": "damaged"}):
        async with fixed.database.transaction() as conn:
            assert await amendments.amend(conn, made.record, changed, event) is not None
    async with fixed.database.reading() as conn:
        after = await refunds.get(conn, made.record.id)
    assert after is not None
    assert (after.reason, after.metadata, after.reason_code) == ("new", {"a": "b"}, "damaged")


class Dying(ScriptedStore):
    """Takes the process down with it once it has deleted a row."""

    async def delete_refund(self, order_id: str, store_refund_id: str) -> Deletion:
        await super().delete_refund(order_id, store_refund_id)
        raise asyncio.CancelledError


async def test_a_deletion_cut_off_by_a_kill_is_found_out(fixed: Runtime, shop: Shop, store: ScriptedStore) -> None:
    dying = Dying(order=order(refunds=(row("901"), row("902"))))
    await seen(fixed, shop, dying)
    with pytest.raises(asyncio.CancelledError):
        await remove.delete_in_store(with_store(fixed, dying), shop.caller, "demo", "12", "901", force=True)
    store.order = dying.order
    # Of the other one it was only said that it would be deleted.
    kept = next(record for record in await known(fixed, shop) if record.store_refund_id == "902")
    asked = NewEvent(type="refund.deleting", actor="key:test")
    async with fixed.database.transaction() as conn:
        await ledger_seen.set_out_to_delete(conn, shop.tenant_id, kept.id, asked, by="key:test")
    assert await remove.finish_deletions(fixed) == 0
    async with fixed.database.transaction() as conn:
        await conn.execute("UPDATE refund SET deleting_at = deleting_at - interval '1 hour'")
    assert await remove.finish_deletions(fixed) == 2
    after = {record.store_refund_id: record for record in await known(fixed, shop)}
    assert (after["901"].deleted_by, after["902"].deleted_at) == ("key:test", None)
    async with fixed.database.reading() as conn:
        timeline = await events.timeline(conn, shop.tenant_id, after["902"].id, limit=10)
    assert timeline[-1].type == "refund.not_deleted"
    assert await remove.finish_deletions(fixed) == 0


async def test_what_the_ledger_serves_is_what_the_query_means(fixed: Runtime, shop: Shop, store: ScriptedStore) -> None:
    """The ledger's own list and the one put together in memory have to agree."""
    made = datetime(2026, 11, 20, 12, tzinfo=UTC)
    rows = tuple(
        row(str(900 + i), f"{i + 1}.00", reason=f"lot {i % 3} [RG-1]", created_at=made + timedelta(minutes=i % 4))
        for i in range(9)
    )
    store.order = order(total="100.00", refunds=rows)
    await seen(fixed, shop, store)
    store.reading_fails = ListTooLong("too many orders")
    at = Moment(at=made + timedelta(minutes=1))
    queries = (
        RefundQuery(),
        RefundQuery(order="asc"),
        RefundQuery(orderby="id", order="asc", per_page=4, page=2),
        RefundQuery(orderby="id", offset=7),
        RefundQuery(orderby="include", include=("903", "901", "999")),
        RefundQuery(exclude=("900", "901"), orderby="id"),
        RefundQuery(search="LOT 2", orderby="id"),
        RefundQuery(search="905"),
        RefundQuery(parent=("12",), orderby="id"),
        RefundQuery(parent_exclude=("12",)),
        RefundQuery(after=at, before=Moment(at=made + timedelta(minutes=3)), orderby="id"),
        RefundQuery(modified_after=at, orderby="id"),
    )
    for query in queries:
        listed = await shops.list_refunds(fixed, shop.caller, "demo", query)
        assert not isinstance(listed, StoreFailed)
        found = chosen([Candidate(order_id="12", refund=refund) for refund in rows], query)
        ids = [each.refund.id for each in listed.page.refunds]  # type: ignore[union-attr]
        expected = [each.refund.id for each in paged(found, query)]
        assert (sorted(ids), listed.page.total) == (sorted(expected), len(found)), query  # type: ignore[union-attr]
        if query.orderby != "date":
            assert ids == expected, query
