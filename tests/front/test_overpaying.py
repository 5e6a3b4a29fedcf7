"""What a client of the front, or somebody in the store, can do to have more paid than the order has: nothing."""

import asyncio
from decimal import Decimal
from typing import Any

import httpx
import pytest
from woocommerce import API

from app.ledger import search
from app.ledger.records import RefundRecord
from app.ledger.search import RefundFilters
from tests.conftest import Sandbox, eventually
from tests.front.conftest import Front


def _in_the_store(sandbox: Sandbox, *, legacy: bool = False) -> API:
    return API(
        url=sandbox.url,
        consumer_key="ck_sandbox_rw",
        consumer_secret="cs_sandbox_rw",
        wp_api=not legacy,
        version="v3" if legacy else "wc/v3",
        timeout=20,
    )


async def _known(front: Front) -> list[RefundRecord]:
    async with front.rt.database.reading() as conn:
        return await search.page(conn, front.shop.tenant_id, RefundFilters(), limit=50, after=None)


async def _never_too_much(front: Front, order: dict[str, Any]) -> None:
    assert sum(Decimal(amount) for amount in await front.paid(order)) <= Decimal(order["total"])


@pytest.mark.parametrize("trick", ["{0}RG-BBBBBBBB{1}", "{0}\\{1}", "{0}[RG-BBBBBBBB]{1}"])
async def test_a_forged_mark_in_a_reason_frees_nothing(front_of_v3: Front, order: dict[str, Any], trick: str) -> None:
    paid = await front_of_v3.refund(order, amount="20.00")
    (record,) = await _known(front_of_v3)
    gone = await front_of_v3.client.delete(f"orders/{order['id']}/refunds/{paid.json()['id']}?force=true")
    assert gone.status_code == 200
    forged = trick.format(record.marker[:7], record.marker[7:])
    assert (await front_of_v3.refund(order, amount="0.01", reason=forged)).status_code == 201
    assert (await front_of_v3.refund(order, amount="20.00", reason="more")).status_code == 400
    await _never_too_much(front_of_v3, order)


async def test_lowering_the_amount_of_a_row_frees_nothing(front_of_v3: Front, order: dict[str, Any]) -> None:
    paid = await front_of_v3.refund(order, amount="20.00")
    path = f"orders/{order['id']}/refunds/{paid.json()['id']}"
    store = _in_the_store(front_of_v3.sandbox, legacy=True)
    lowered = await asyncio.to_thread(store.put, path, {"order_refund": {"amount": "0.01"}})
    assert lowered.json()["order_refund"]["amount"] == "0.01"
    assert (await front_of_v3.refund(order, amount="20.00", reason="again")).status_code == 400
    await _never_too_much(front_of_v3, order)


async def test_deleting_what_was_paid_past_us_on_a_legacy_store_frees_nothing(
    front_of_legacy: Front, order: dict[str, Any]
) -> None:
    store = _in_the_store(front_of_legacy.sandbox)
    path = f"orders/{order['id']}/refunds"
    made = await asyncio.to_thread(store.post, path, {"amount": "20.00", "reason": "in the admin"})
    # Just made, its payment might still be under way.
    early = await front_of_legacy.legacy.delete(f"{path}/{made.json()['id']}?force=true")
    assert early.status_code == 503
    await asyncio.sleep(front_of_legacy.rt.settings.store_limit_s + 1.1)
    asked = await front_of_legacy.legacy.delete(f"{path}/{made.json()['id']}")
    assert asked.status_code == 400
    gone = await front_of_legacy.legacy.delete(f"{path}/{made.json()['id']}?force=true")
    assert gone.status_code == 200, gone.text
    assert (await front_of_legacy.refund(order, amount=order["total"])).status_code == 400
    await _never_too_much(front_of_legacy, order)


async def test_a_row_that_the_store_is_still_paying_is_not_deleted(front_of_v3: Front, order: dict[str, Any]) -> None:
    store = _in_the_store(front_of_v3.sandbox)
    path = f"orders/{order['id']}/refunds"
    other = asyncio.create_task(
        asyncio.to_thread(store.post, path, {"amount": "20.00", "reason": "slow900 in the admin"})
    )

    async def listed() -> Any:
        return (await front_of_v3.client.get(path)).json()

    (row,) = await eventually(listed)
    assert row["refunded_payment"] is False
    assert (await front_of_v3.client.delete(f"{path}/{row['id']}?force=true")).status_code == 503
    assert (await other).status_code == 201
    assert (await front_of_v3.refund(order, amount=order["total"])).status_code == 400
    await _never_too_much(front_of_v3, order)


async def test_a_client_that_comes_back_days_later_still_joins_what_it_was_not_told(
    front_of_v3: Front, order: dict[str, Any]
) -> None:
    body = {"amount": "5.00", "reason": "slow400"}
    with pytest.raises(httpx.ReadTimeout):
        await front_of_v3.client.post(f"orders/{order['id']}/refunds", json=body, timeout=0.15)
    await eventually(lambda: front_of_v3.paid(order))
    async with front_of_v3.rt.database.transaction() as conn:
        await conn.execute("UPDATE refund SET created_at = created_at - interval '3 days'")
    assert (await front_of_v3.refund(order, **body)).status_code == 201
    assert await front_of_v3.paid(order) == ["5.00"]


async def test_a_request_without_a_key_joins_none_that_had_one(front_of_v3: Front, order: dict[str, Any]) -> None:
    """Whoever sends keys repeats them; this is somebody else's refund."""
    body = {"amount": "5.00", "reason": "slow400"}
    path = f"orders/{order['id']}/refunds"
    with pytest.raises(httpx.ReadTimeout):
        await front_of_v3.client.post(path, json=body, timeout=0.15, headers={"Idempotency-Key": "k1"})
    keyless = await front_of_v3.client.post(path, json=body)
    again = await front_of_v3.client.post(path, json=body, headers={"Idempotency-Key": "k1"})
    assert keyless.json()["id"] != again.json()["id"]
    assert await front_of_v3.paid(order) == ["5.00", "5.00"]
