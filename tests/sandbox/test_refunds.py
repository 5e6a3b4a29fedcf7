"""What WooCommerce does with refunds that the recordings do not show."""

import asyncio
from decimal import Decimal
from typing import Any

import httpx
import pytest

from tests.sandbox.conftest import make_order, notes, payouts, refund, refunds


async def post(shop: httpx.AsyncClient, order_id: int, body: dict[str, Any]) -> httpx.Response:
    return await shop.post(f"/wp-json/wc/v3/orders/{order_id}/refunds", json=body)


async def order_of(shop: httpx.AsyncClient, order_id: int) -> dict[str, Any]:
    return dict((await shop.get(f"/wp-json/wc/v3/orders/{order_id}", params={"dp": 8})).json())


async def test_two_refunds_at_once_can_both_pass_the_check(shop: httpx.AsyncClient) -> None:
    for _ in range(30):  # the window is as small as the real one; a busy machine may miss it
        order = await make_order(shop)
        answers = await asyncio.gather(*(refund(shop, order["id"], order["total"]) for _ in range(2)))
        if [answer.status_code for answer in answers] == [201, 201]:
            assert await payouts(shop, order["id"]) == [order["total"]] * 2
            return
    pytest.fail("no two refunds at once passed the check")


async def test_every_payment_leaves_a_payout_that_outlives_the_refund(shop: httpx.AsyncClient) -> None:
    order = await make_order(shop)
    row = (await refund(shop, order["id"], "3.00", reason="Broken [RG-1]")).json()

    await shop.delete(f"/wp-json/wc/v3/orders/{order['id']}/refunds/{row['id']}")

    (payout,) = (await shop.get("/sandbox/payouts")).json()
    assert payout == {
        "id": payout["id"],
        "order_id": order["id"],
        "refund_id": row["id"],
        "amount": "3.00",
        "currency": "EUR",
        "reason": "Broken [RG-1]",
        "at": payout["at"],
    }
    assert await refunds(shop, order["id"]) == []


@pytest.mark.parametrize(("method", "noted"), [("sandboxpay", 1), ("testpay", 0)])
async def test_only_sandboxpay_writes_a_note(shop: httpx.AsyncClient, method: str, noted: int) -> None:
    order = await make_order(shop, payment_method=method)

    await refund(shop, order["id"], "20.00")

    written = await notes(shop, order["id"])
    assert len(written) == noted
    assert all(note.startswith("Refunded 20.00 EUR – Refund ID: sp_") for note in written)


async def test_a_manual_refund_moves_no_money(shop: httpx.AsyncClient) -> None:
    order = await make_order(shop)

    answer = await refund(shop, order["id"], api_refund=False)

    assert (answer.json()["refunded_payment"], await payouts(shop, order["id"])) == (False, [])


@pytest.mark.parametrize(
    "line",
    [
        {"quantity": 1, "refund_total": 1, "refund_tax": [{"id": 1, "amount": "0.19"}]},
        {"quantity": 1, "refund_total": "one"},
    ],
)
async def test_arithmetic_on_the_wrong_thing_kills_php_before_the_row(
    shop: httpx.AsyncClient, line: dict[str, Any]
) -> None:
    order = await make_order(shop)
    body = {"amount": "1.00", "line_items": [{"id": order["line_items"][0]["id"], **line}]}

    answer = await post(shop, order["id"], body)

    assert (answer.status_code, answer.json()["code"]) == (500, "internal_server_error")
    assert (await refunds(shop, order["id"]), await payouts(shop, order["id"])) == ([], [])


async def test_lines_in_the_internal_form_are_taken_and_tax_without_a_rate_goes_to_rate_0(
    shop: httpx.AsyncClient,
) -> None:
    order = await make_order(shop)
    line_id = order["line_items"][0]["id"]

    answer = await post(
        shop, order["id"], {"line_items": {str(line_id): {"qty": 1, "refund_total": "9.00", "refund_tax": 1.71}}}
    )

    (line,) = answer.json()["line_items"]
    assert (answer.json()["amount"], line["quantity"], line["taxes"][0]["id"]) == ("9.00", -1, 0)


async def test_one_line_without_id_loses_all_lines_but_not_the_sum(shop: httpx.AsyncClient) -> None:
    order = await make_order(shop)
    lines = [{"id": order["line_items"][0]["id"], "refund_total": 1}, {"refund_total": 2}]

    answer = await post(shop, order["id"], {"line_items": lines})

    assert (answer.json()["amount"], answer.json()["line_items"]) == ("3.00", [])


@pytest.mark.parametrize(
    ("amount", "stored"), [("1e1", "11.00"), ("1,000", "1000.00"), ("10,50", "1050.00"), (" 5.00", "5.00")]
)
async def test_text_that_is_no_plain_number_is_read_as_php_reads_it(
    shop: httpx.AsyncClient, amount: str, stored: str
) -> None:
    order = await make_order(shop, lines=[{"quantity": 50}])

    assert (await refund(shop, order["id"], amount)).json()["amount"] == stored


async def test_a_store_without_decimals_rounds_the_payment(shop: httpx.AsyncClient) -> None:
    await shop.post("/sandbox/settings", json={"decimals": 0})
    order = await make_order(shop, currency="JPY", lines=[{"price": "2700"}])

    answer = await refund(shop, order["id"], "100.50")

    assert (order["total"], answer.json()["amount"]) == ("3213", "101")
    assert await payouts(shop, order["id"]) == ["101"]


@pytest.mark.parametrize("target", ["refund of another order", "order"])
async def test_delete_under_a_wrong_order_says_no_and_deletes_anyway(shop: httpx.AsyncClient, target: str) -> None:
    order, other = await make_order(shop), await make_order(shop)
    row = (await refund(shop, other["id"])).json()
    doomed = row["id"] if target.startswith("refund") else other["id"]

    answer = await shop.delete(f"/wp-json/wc/v3/orders/{order['id']}/refunds/{doomed}")

    assert (answer.status_code, answer.json()["code"]) == (500, "woocommerce_rest_invalid_order_refund_id")
    gone = await shop.get(
        f"/wp-json/wc/v3/orders/{other['id']}" + (f"/refunds/{doomed}" if doomed == row["id"] else "")
    )
    assert gone.status_code == 404


async def test_delete_without_force_is_not_supported(shop: httpx.AsyncClient) -> None:
    order = await make_order(shop)
    row = (await refund(shop, order["id"])).json()

    answer = await shop.delete(f"/wp-json/wc/v3/orders/{order['id']}/refunds/{row['id']}", params={"force": "false"})

    assert (answer.status_code, len(await refunds(shop, order["id"]))) == (501, 1)


async def test_the_order_is_refunded_when_nothing_remains_and_stays_so(shop: httpx.AsyncClient) -> None:
    order = await make_order(shop)
    row = (await refund(shop, order["id"], order["total"])).json()
    assert (await order_of(shop, order["id"]))["status"] == "refunded"

    await shop.delete(f"/wp-json/wc/v3/orders/{order['id']}/refunds/{row['id']}")

    assert (await order_of(shop, order["id"]))["status"] == "refunded"


async def test_setting_the_status_refunded_makes_a_manual_refund_of_the_rest(shop: httpx.AsyncClient) -> None:
    order = await make_order(shop)
    await refund(shop, order["id"], "1.00")

    await shop.put(f"/wp-json/wc/v3/orders/{order['id']}", json={"status": "refunded"})

    rest = Decimal(order["total"]) - 1
    found = (await order_of(shop, order["id"]))["refunds"]
    assert sorted((one["reason"], Decimal(one["total"])) for one in found) == [
        ("", -1),
        ("Order fully refunded.", -rest),
    ]
    assert await payouts(shop, order["id"]) == ["1.00"]


async def test_a_fatal_error_is_html_for_those_who_do_not_speak_json(shop: httpx.AsyncClient) -> None:
    order = await make_order(shop)
    form = {"amount": "1.00", "reason": "x"}
    await shop.post("/sandbox/faults", json={"fault": "fatal"})

    answer = await shop.post(f"/wp-json/wc/v3/orders/{order['id']}/refunds", data=form)

    assert (answer.status_code, answer.headers["content-type"]) == (500, "text/html; charset=UTF-8")


async def test_a_form_is_as_good_as_json(shop: httpx.AsyncClient) -> None:
    order = await make_order(shop)

    answer = await shop.post(
        f"/wp-json/wc/v3/orders/{order['id']}/refunds", data={"amount": "1.00", "api_refund": "false"}
    )

    assert (answer.json()["amount"], answer.json()["refunded_payment"]) == ("1.00", False)


async def test_a_reason_comes_back_as_sent_but_for_backslashes(shop: httpx.AsyncClient) -> None:
    order = await make_order(shop)
    reason = 'a "b" <i>&amp; [RG-1]\n\U0001f600 c:\\d ' + "x" * 3000

    assert (await refund(shop, order["id"], reason=reason)).json()["reason"] == reason.replace("\\", "")


async def test_hpos_shows_in_the_system_status_only(shop: httpx.AsyncClient) -> None:
    await shop.post("/sandbox/settings", json={"hpos": True})
    order = await make_order(shop)

    status = await shop.get("/wp-json/wc/v3/system_status", params={"_fields": "settings"})

    assert status.json()["settings"]["HPOS_enabled"] is True
    assert (await refund(shop, order["id"])).status_code == 201
