"""Refunds that others made, rows that are gone, and what counts against an order all the same."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from app.domain.errors import Refusal
from app.domain.order import OrderSnapshot
from app.domain.refund import Failure, ItemRequest, RefundCommand
from app.domain.refund_query import RefundQuery
from app.flows import amend, remove, view
from app.flows import shop as shops
from app.flows.amend import Changes
from app.flows.mirror import Where, mirror_order
from app.flows.results import (
    Accepted,
    Amended,
    Capabilities,
    Deleted,
    NoStoreRefund,
    OneListed,
    OrderView,
    PaidByGateway,
    ReferenceConflict,
    RefundListing,
    RefundNotFound,
    StoreFailed,
    StoreNotFound,
    StoreRefundNotFound,
    WrongState,
)
from app.flows.runtime import Runtime
from app.flows.submit import submit
from app.ledger import events, refunds, search
from app.ledger import seen as ledger_seen
from app.ledger.records import RefundRecord
from app.ledger.search import RefundFilters
from app.stores.port import ListTooLong, StoreUnavailable, Unknown
from tests.conftest import Shop, add_shop, eventually
from tests.flows.scripted import EXCHANGE, ScriptedStore, order, row, with_store
from tests.ledger.factories import add_refund

FAILED = Failure(code="expired", message="gone")
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


async def post(rt: Runtime, shop: Shop, **fields: Any) -> Any:
    values: dict[str, Any] = {"store": "demo", "order_id": "12", "amount": Decimal("5.00")}
    command = RefundCommand(**(values | fields))
    return await submit(rt, shop.caller, command, idempotency_key=None, request_id="r", wait_s=8, at_once=False)


async def known(rt: Runtime, shop: Shop) -> list[RefundRecord]:
    async with rt.database.reading() as conn:
        return await search.page(conn, shop.tenant_id, RefundFilters(), limit=50, after=None)


async def timeline(rt: Runtime, shop: Shop, refund_id: str) -> list[str]:
    async with rt.database.reading() as conn:
        return [event.type for event in await events.timeline(conn, shop.tenant_id, refund_id, limit=50)]


def where(shop: Shop) -> Where:
    return Where(tenant_id=shop.tenant_id, store_id=shop.store_id, store="demo", api="v3")


async def seen(rt: Runtime, shop: Shop, snapshot: OrderSnapshot) -> Mapping[str, str]:
    later = replace(snapshot, read_at=datetime.now(UTC) + timedelta(seconds=1))
    return await mirror_order(rt, where(shop), later)


async def test_a_row_made_in_the_admin_is_a_refund_of_its_own_as_soon_as_it_is_seen(
    fixed: Runtime, shop: Shop, store: ScriptedStore
) -> None:
    store.order = order(refunds=(row("901"), row("902", "7.00", refunded_payment=True)))
    shown = await view.order(fixed, shop.caller, "demo", "12")
    assert isinstance(shown, OrderView)
    assert shown.remaining.total == Decimal("20.13")
    paid, by_hand = await known(fixed, shop)
    assert shown.ours == {"901": by_hand.id, "902": paid.id}
    assert (by_hand.origin, by_hand.payment, by_hand.money, by_hand.amount) == (
        "store",
        "manual",
        "outside",
        Decimal("5.00"),
    )
    assert (paid.origin, paid.payment, paid.money, paid.currency) == ("store", "gateway", "moved", "EUR")
    assert by_hand.settled_at == row("901").created_at
    assert await timeline(fixed, shop, paid.id) == ["refund.observed"]
    again = await view.order(fixed, shop.caller, "demo", "12")
    assert isinstance(again, OrderView)
    assert again.ours == shown.ours
    assert await timeline(fixed, shop, paid.id) == ["refund.observed"]


async def test_what_is_seen_by_two_at_once_is_one_refund(fixed: Runtime, shop: Shop) -> None:
    snapshot = order(refunds=(row("901"),))
    found = await asyncio.gather(*(seen(fixed, shop, snapshot) for _ in range(5)))
    assert len({tuple(ours.items()) for ours in found}) == 1
    assert len(await known(fixed, shop)) == 1


async def test_submitting_a_refund_mirrors_the_rows_that_it_read(
    fixed: Runtime, shop: Shop, store: ScriptedStore
) -> None:
    store.order = order(refunds=(row("901"),))
    assert isinstance(await post(fixed, shop), Accepted)

    async def mirrored() -> bool:
        return {record.origin for record in await known(fixed, shop)} == {"api", "store"}

    await eventually(mirrored)


async def test_a_row_of_ours_is_not_taken_for_anothers(fixed: Runtime, shop: Shop, store: ScriptedStore) -> None:
    store.answers = [LOST]
    made = await post(fixed, shop)
    assert made.record.status == "uncertain"
    marked = row("901", reason=f"x [{made.record.marker}]")
    assert await seen(fixed, shop, order(refunds=(marked,))) == {"901": made.record.id}
    # Where a policy keeps the marker out of the reason, a row of the amount may be ours until ours is settled.
    now = datetime.now(UTC)
    assert await seen(fixed, shop, order(refunds=(row("902", created_at=now),))) == {}
    assert await seen(fixed, shop, order(refunds=(row("903", "6.00"),))) != {}
    assert [record.store_refund_id for record in await known(fixed, shop)] == ["903", None]


async def test_a_row_seen_before_it_was_known_as_ours_is_ours_in_the_end(fixed: Runtime, shop: Shop) -> None:
    snapshot = order(refunds=(row("701"),))
    before = await seen(fixed, shop, snapshot)
    made = await post(fixed, shop)
    assert made.record.store_refund_id == "701"
    assert await seen(fixed, shop, snapshot) == {"701": made.record.id}
    async with fixed.database.reading() as conn:
        stranger = await refunds.get(conn, before["701"])
    assert stranger is not None
    assert stranger.duplicate_of == made.record.id
    assert await timeline(fixed, shop, stranger.id) == ["refund.observed", "refund.adopted"]


async def test_a_row_that_turns_out_paid_or_changed_is_brought_up_to_date(fixed: Runtime, shop: Shop) -> None:
    await seen(fixed, shop, order(refunds=(row("901"),)))
    await seen(fixed, shop, order(refunds=(row("901", "6.00", refunded_payment=True),)))
    (record,) = await known(fixed, shop)
    assert (record.payment, record.money, record.amount) == ("gateway", "moved", Decimal("6.00"))
    await seen(fixed, shop, order(refunds=(row("901", "6.00", refunded_payment=None),)))
    (record,) = await known(fixed, shop)
    assert record.payment == "gateway"


async def test_a_row_of_an_api_that_does_not_tell_is_of_unknown_payment(fixed: Runtime, shop: Shop) -> None:
    await seen(fixed, shop, order(refunds=(row("901", refunded_payment=None),)))
    (record,) = await known(fixed, shop)
    assert (record.payment, record.money) == ("unknown", "unknown")


async def test_a_row_deleted_in_the_admin_is_noted_and_its_return_too(fixed: Runtime, shop: Shop) -> None:
    await seen(fixed, shop, order(refunds=(row("901"),)))
    await seen(fixed, shop, order())
    (record,) = await known(fixed, shop)
    assert record.deleted_at is not None
    assert record.deleted_by == "store"
    await seen(fixed, shop, order(refunds=(row("901"),)))
    (record,) = await known(fixed, shop)
    assert record.deleted_at is None
    assert await timeline(fixed, shop, record.id) == ["refund.observed", "refund.deleted", "refund.reappeared"]


async def test_what_was_paid_counts_for_ever_whatever_becomes_of_its_row(
    fixed: Runtime, shop: Shop, store: ScriptedStore
) -> None:
    """The row of a paid refund is deleted in the admin; the same refund again would pay a second time."""
    made = await post(fixed, shop, amount=Decimal("30.00"))
    assert made.record.money == "moved"
    again = await post(fixed, shop, amount=Decimal("30.00"))
    assert isinstance(again, Refusal)
    assert again.faults[0].code == "exceeds_refundable"
    assert len(store.sent) == 1
    # Recording once more what was paid moves no money.
    recorded = await post(fixed, shop, amount=Decimal("30.00"), payment="manual")
    assert isinstance(recorded, Accepted)
    assert recorded.record.money == "outside"


async def test_what_others_paid_counts_when_its_row_is_gone(fixed: Runtime, shop: Shop, store: ScriptedStore) -> None:
    await seen(fixed, shop, order(refunds=(row("901", "30.00", refunded_payment=True),)))
    refused = await post(fixed, shop)
    assert isinstance(refused, Refusal)
    assert refused.faults[0].code == "exceeds_refundable"
    assert store.sent == []


async def test_a_deleted_row_that_only_recorded_frees_its_part(fixed: Runtime, shop: Shop) -> None:
    made = await post(fixed, shop, amount=Decimal("30.00"), payment="manual")
    assert made.record.money == "outside"
    assert isinstance(await post(fixed, shop, amount=Decimal("30.00")), Accepted)


async def test_lines_that_a_store_does_not_show_are_known_from_our_own_record(
    fixed: Runtime, shop: Shop, store: ScriptedStore
) -> None:
    """The legacy API names no order lines: a line refunded through us must not be refunded twice all the same."""
    items = (ItemRequest(line_item_id="311", quantity=2),)
    made = await post(fixed, shop, amount=None, items=items, payment="manual")
    shown = row(made.record.store_refund_id, "21.42", lines_known=False, refunded_payment=None)
    store.order = order(total="100.00", refunds=(shown,))
    refused = await post(fixed, shop, amount=None, items=items)
    assert isinstance(refused, Refusal)
    assert refused.faults[0].code == "quantity_exceeds_refundable"


async def test_a_row_is_deleted_under_its_own_order_only(fixed: Runtime, shop: Shop, store: ScriptedStore) -> None:
    store.order = order(refunds=(row("901"),))
    wrong = await remove.delete_in_store(fixed, shop.caller, "demo", "13", "901", force=True)
    assert wrong == StoreRefundNotFound(store_refund_id="901")
    assert len(store.order.refunds) == 1
    done = await remove.delete_in_store(fixed, shop.caller, "demo", "12", "901", force=False)
    assert isinstance(done, Deleted)
    assert (done.by_this, done.money_stays_paid, done.record.deleted_by) == (True, False, "key:test")
    assert store.order.refunds == ()
    again = await remove.delete_in_store(fixed, shop.caller, "demo", "12", "901", force=False)
    assert isinstance(again, Deleted)
    assert again.by_this is False
    assert again.record.deleted_by == "key:test"
    assert await timeline(fixed, shop, done.record.id) == ["refund.observed", "refund.deleting", "refund.deleted"]


async def test_a_paid_refund_is_deleted_only_when_that_is_said_expressly(
    fixed: Runtime, shop: Shop, store: ScriptedStore
) -> None:
    made = await post(fixed, shop)
    store.order = order(refunds=(row("701", refunded_payment=True, reason=f"[{made.record.marker}]"),))
    asked = await remove.delete(fixed, shop.caller, made.record.id, force=False)
    assert asked == PaidByGateway(store_refund_id="701", refund_id=made.record.id)
    assert len(store.order.refunds) == 1
    done = await remove.delete(fixed, shop.caller, made.record.id, force=True)
    assert isinstance(done, Deleted)
    assert done.money_stays_paid
    assert (done.record.status, done.record.money) == ("succeeded", "moved")
    assert done.listed is not None
    again = await remove.delete(fixed, shop.caller, made.record.id, force=False)
    assert isinstance(again, Deleted)
    assert again.by_this is False
    # The money left, and counts: 32.13 less 5.00.
    assert isinstance(await post(fixed, shop, amount=Decimal("27.14")), Refusal)


async def test_a_row_that_may_be_one_under_way_is_not_deleted(fixed: Runtime, shop: Shop, store: ScriptedStore) -> None:
    store.answers = [LOST]
    made = await post(fixed, shop)
    store.order = order(
        refunds=(row("901", reason=f"[{made.record.marker}]"), row("902", created_at=datetime.now(UTC)))
    )
    for refund_id in ("901", "902"):
        kept = await remove.delete_in_store(fixed, shop.caller, "demo", "12", refund_id, force=True)
        assert isinstance(kept, WrongState), kept
        assert kept.record.id == made.record.id
    assert isinstance(await remove.delete(fixed, shop.caller, made.record.id, force=True), WrongState)
    assert len(store.order.refunds) == 2


async def test_a_deletion_cut_off_by_a_crash_is_still_its_askers(
    fixed: Runtime, shop: Shop, store: ScriptedStore
) -> None:
    store.order = order(refunds=(row("901"),))
    await view.order(fixed, shop.caller, "demo", "12")
    (record,) = await known(fixed, shop)
    asked = events.NewEvent(type="refund.deleting", actor="key:test", data={})
    async with fixed.database.transaction() as conn:
        await ledger_seen.set_out_to_delete(conn, shop.tenant_id, record.id, asked, by="key:test")
    await seen(fixed, shop, order())
    (record,) = await known(fixed, shop)
    assert record.deleted_by == "key:test"


async def test_deleting_says_what_it_could_not_do(fixed: Runtime, shop: Shop, store: ScriptedStore) -> None:
    store.order = order(refunds=(row("901"),))
    store.deletion = "kept"
    kept = await remove.delete_in_store(fixed, shop.caller, "demo", "12", "901", force=True)
    assert isinstance(kept, StoreFailed)
    (record,) = await known(fixed, shop)
    assert (await timeline(fixed, shop, record.id))[-1] == "refund.not_deleted"
    await seen(fixed, shop, order())
    (record,) = await known(fixed, shop)
    assert record.deleted_by == "store"
    store.reading_fails = StoreUnavailable("away")
    assert isinstance(await remove.delete_in_store(fixed, shop.caller, "demo", "12", "901", force=True), StoreFailed)
    assert await remove.delete(fixed, shop.caller, "rf_none", force=True) == RefundNotFound(refund_id="rf_none")
    nowhere = await remove.delete_in_store(fixed, shop.caller, "other", "12", "901", force=True)
    assert nowhere == StoreNotFound(store="other")
    store.reading_fails = None
    async with fixed.database.reading() as conn:
        bare = await add_refund(conn, shop.tenant_id, shop.store_id)
        failure = await refunds.mark_failed(
            conn, bare, events.NewEvent(type="refund.failed", actor="t"), failure=FAILED
        )
    assert failure is not None
    assert isinstance(await remove.delete(fixed, shop.caller, failure.id, force=True), NoStoreRefund)


async def test_a_row_that_somebody_else_deleted_meanwhile_is_given_as_deleted(
    fixed: Runtime, shop: Shop, store: ScriptedStore
) -> None:
    store.order = order(refunds=(row("901"),))
    await view.order(fixed, shop.caller, "demo", "12")
    store.order = order()
    (record,) = await known(fixed, shop)
    gone = await remove.delete(fixed, shop.caller, record.id, force=False)
    assert isinstance(gone, Deleted)
    assert (gone.by_this, gone.record.deleted_by) == (False, "store")


async def test_words_are_changed_here_and_pushed_where_the_api_can(
    fixed: Runtime, shop: Shop, store: ScriptedStore
) -> None:
    made = await post(fixed, shop, reason="old")
    changes = Changes(reason="new [RG-00000000]", reason_code="damaged", metadata={"rma": "9"})
    kept = await amend.amend(fixed, shop.caller, made.record.id, changes)
    assert isinstance(kept, Amended)
    assert kept.in_store == "unsupported"
    assert (kept.record.reason, kept.record.reason_code, kept.record.metadata) == ("new", "damaged", {"rma": "9"})
    assert store.reasons == [f"new [{made.record.marker}]"]
    store.update = "accepted"
    cleared = await amend.amend(fixed, shop.caller, made.record.id, Changes(reason_code=None))
    assert isinstance(cleared, Amended)
    assert (cleared.record.reason_code, cleared.in_store) == (None, "not_asked")
    pushed = await amend.amend(fixed, shop.caller, made.record.id, Changes(reason=""))
    assert isinstance(pushed, Amended)
    assert pushed.in_store == "accepted"
    assert store.reasons[-1] == f"[{made.record.marker}]"
    store.update = "shown"
    again = await amend.amend(fixed, shop.caller, made.record.id, Changes(reason=""))
    assert isinstance(again, Amended)
    assert again.in_store == "shown"
    assert (await timeline(fixed, shop, made.record.id)).count("refund.amended") == 3


async def test_what_is_being_sent_keeps_its_words(fixed: Runtime, shop: Shop, store: ScriptedStore) -> None:
    store.answers = [LOST]
    made = await post(fixed, shop)
    refused = await amend.amend(fixed, shop.caller, made.record.id, Changes(reason="new"))
    assert isinstance(refused, WrongState)
    nobody = await amend.amend(fixed, replace(shop.caller, store_ids=frozenset()), made.record.id, Changes(reason="n"))
    assert nobody == RefundNotFound(refund_id=made.record.id)


async def test_a_pending_refund_leaves_with_its_new_reason(fixed: Runtime, shop: Shop) -> None:
    async with fixed.database.reading() as conn:
        record = await add_refund(conn, shop.tenant_id, shop.store_id)
        event = events.NewEvent(type="refund.postponed", actor="t")
        waiting = await refunds.postpone(conn, record, event, due_at=datetime.now(UTC))
    assert waiting is not None
    changed = await amend.amend(fixed, shop.caller, waiting.id, Changes(reason="later"))
    assert isinstance(changed, Amended)
    assert changed.record.plan is not None
    assert changed.record.plan.reason == changed.record.command.reason == "later"
    assert changed.record.fence == waiting.fence + 1


async def test_lists_are_linked_to_the_ledger(fixed: Runtime, shop: Shop, store: ScriptedStore) -> None:
    store.order = order(refunds=(row("901"),))
    listed = await shops.list_refunds(fixed, shop.caller, "demo", RefundQuery())
    assert isinstance(listed, RefundListing)
    (record,) = await known(fixed, shop)
    assert listed.ours == {"901": record.id}
    # Seen without its order: what the order alone tells is filled in when that is read.
    assert record.currency is None
    await view.order(fixed, shop.caller, "demo", "12")
    (record,) = await known(fixed, shop)
    assert record.currency == "EUR"
    one = await shops.read_refund(fixed, shop.caller, "demo", "12", "901")
    assert isinstance(one, OneListed)
    assert one.refund_id == record.id
    missing = await shops.read_refund(fixed, shop.caller, "demo", "12", "902")
    assert missing == StoreRefundNotFound(store_refund_id="902")


async def test_a_list_that_is_too_long_to_walk_is_served_by_the_ledger(
    fixed: Runtime, shop: Shop, store: ScriptedStore
) -> None:
    made = await post(fixed, shop)
    await seen(fixed, shop, order(refunds=(row("901", "7.00"), row("701"))))
    store.reading_fails = ListTooLong("too many orders")
    listed = await shops.list_refunds(fixed, shop.caller, "demo", RefundQuery(per_page=1, orderby="id"))
    assert isinstance(listed, RefundListing)
    assert (listed.served_by, listed.complete, listed.page.total) == ("ledger", False, 2)
    (only,) = listed.page.refunds
    assert (only.refund.id, only.document["amount"], only.document["parent_id"]) == ("901", "7.00", 12)
    second = await shops.list_refunds(fixed, shop.caller, "demo", RefundQuery(per_page=1, page=2, orderby="id"))
    assert isinstance(second, RefundListing)
    assert second.ours == {"701": made.record.id}
    assert isinstance(await shops.list_refunds(fixed, shop.caller, "demo", RefundQuery(), order_id="12"), StoreFailed)


async def test_capabilities_tell_what_refunds_have_shown(fixed: Runtime, shop: Shop, store: ScriptedStore) -> None:
    await post(fixed, shop)
    found = await shops.capabilities(fixed, shop.caller, "demo")
    assert isinstance(found, Capabilities)
    learned = found.learned["pay"]
    assert (learned.succeeded, learned.failed, learned.last_failure_code) == (1, 0, None)
    assert learned.last_partial_success_at is not None
    stranger = replace(shop.caller, store_ids=frozenset({"st_other"}))
    assert await shops.capabilities(fixed, stranger, "demo") == StoreNotFound(store="demo")


async def test_meta_data_is_refused_where_the_store_keeps_none(
    fixed: Runtime, shop: Shop, store: ScriptedStore
) -> None:
    store.api = "legacy"
    refused = await post(fixed, shop, store_meta={"k": 1})
    assert isinstance(refused, Refusal)
    assert refused.faults[0].code == "not_supported_by_store"


async def test_the_same_reference_with_other_meta_data_is_a_conflict(fixed: Runtime, shop: Shop) -> None:
    first = await post(fixed, shop, external_reference="CM-1", store_meta={"k": 1})
    for other in ({}, {"k": 2}):
        conflict = await post(fixed, shop, external_reference="CM-1", store_meta=other)
        assert conflict == ReferenceConflict(refund_id=first.record.id, differing=("store_meta_data",))
    bare = await post(fixed, shop, external_reference="CM-2")
    conflict = await post(fixed, shop, external_reference="CM-2", store_meta={"k": 1})
    assert conflict == ReferenceConflict(refund_id=bare.record.id, differing=("store_meta_data",))


async def test_what_woocommerce_keeps_of_its_own_is_no_meta_data(
    fixed: Runtime, shop: Shop, store: ScriptedStore
) -> None:
    """`_refunded_payment` as meta data would make the store say that a payment gateway had paid."""
    refused = await post(fixed, shop, store_meta={"_refunded_payment": True})
    assert isinstance(refused, Refusal)
    assert refused.faults[0].pointer == "/store_meta_data"
    assert store.sent == []


async def test_an_unprovable_payment_method_needs_its_owners_word(
    fixed: Runtime, shop: Shop, store: ScriptedStore
) -> None:
    store.capability = "unprovable"
    refused = await post(fixed, shop)
    assert isinstance(refused, Refusal)
    assert refused.faults[0].code == "gateway_support_unknown"
    assert isinstance(await post(fixed, shop, payment="manual"), Accepted)
