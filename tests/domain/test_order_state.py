import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from app.domain.order import OrderLine, OrderSnapshot, RefundedLine, StoreRefund, TaxPart
from app.domain.order_state import differences, fingerprint, order_changed, summary

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
VAT = (TaxPart(rate_id="2", amount=Decimal("1.665")),)
SHIRT = OrderLine(id="303", kind="item", name="Shirt", sku="SKU1", quantity=Decimal(1), net=Decimal("8.325"), taxes=VAT)
POST = OrderLine(id="304", kind="shipping", name="Post", sku="", quantity=Decimal(0), net=Decimal(5), taxes=())
ROW = StoreRefund(
    id="900",
    amount=Decimal("2.00"),
    reason="",
    refunded_payment=True,
    created_at=NOON,
    reference=None,
    lines=(RefundedLine(item_id="303", quantity=Decimal(0), net=Decimal("1.67"), taxes=VAT),),
)
SECOND = replace(ROW, id="901", amount=Decimal("10.00"), lines=())
ORDER = OrderSnapshot(
    id="1",
    number="1",
    status="processing",
    currency="EUR",
    decimals=2,
    total=Decimal("14.99"),
    prices_include_tax=True,
    created_at=NOON,
    modified_at=NOON,
    paid_at=NOON,
    payment_method="testpay",
    payment_method_title="Test",
    lines=(SHIRT, POST),
    tax_rates=(),
    refunds=(ROW, SECOND),
    read_at=NOON,
)

OTHERWISE = [
    replace(ORDER, status="completed"),
    replace(ORDER, currency="USD"),
    replace(ORDER, total=Decimal("15.99")),
    replace(ORDER, paid_at=None),
    replace(ORDER, payment_method="cod"),
    replace(ORDER, refunds=(ROW,)),
    replace(ORDER, refunds=(replace(ROW, id="902"), SECOND)),
    replace(ORDER, refunds=(replace(ROW, amount=Decimal("3.00")), SECOND)),
    replace(ORDER, lines=(SHIRT,)),
    replace(ORDER, lines=(replace(SHIRT, net=Decimal("8.3")), POST)),
    replace(ORDER, lines=(replace(SHIRT, taxes=()), POST)),
    replace(ORDER, lines=(replace(SHIRT, quantity=Decimal(2)), POST)),
]


@pytest.mark.parametrize(
    "same",
    [
        replace(ORDER, modified_at=NOON + timedelta(days=1), read_at=NOON + timedelta(hours=1), number="DE-1"),
        replace(ORDER, lines=(POST, SHIRT), refunds=(SECOND, ROW)),
        replace(ORDER, total=Decimal("14.99000000"), lines=(replace(SHIRT, net=Decimal("8.32500000")), POST)),
        replace(ORDER, refunds=(replace(ROW, reason="edited", refunded_payment=False, reference="RG-1"), SECOND)),
    ],
)
def test_what_no_refund_depends_on_leaves_the_fingerprint(same: OrderSnapshot) -> None:
    assert fingerprint(same) == fingerprint(ORDER)
    assert differences(summary(ORDER), same) == ()


def test_a_fingerprint_is_short_and_the_same_for_ever() -> None:
    assert fingerprint(ORDER) == "b7123e3ab9a7315799a4721579b6f191"


@pytest.mark.parametrize("other", OTHERWISE)
def test_everything_a_refund_depends_on_changes_the_fingerprint_and_is_told(other: OrderSnapshot) -> None:
    assert fingerprint(other) != fingerprint(ORDER)
    assert differences(summary(ORDER), other) != ()


@pytest.mark.parametrize(
    "other",
    [
        replace(ORDER, decimals=3),
        replace(ORDER, refunds=(replace(ROW, lines=()), SECOND)),
        replace(ORDER, refunds=(replace(ROW, amount=Decimal(3)), replace(SECOND, amount=Decimal(9)))),
    ],
)
def test_a_change_too_fine_for_the_summary_still_changes_the_fingerprint(other: OrderSnapshot) -> None:
    assert fingerprint(other) != fingerprint(ORDER)


def test_a_summary_survives_json() -> None:
    kept = json.loads(json.dumps(summary(ORDER)))
    assert kept == summary(ORDER)
    assert {name: kept[name] for name in ("status", "total", "refunded_total", "refund_ids", "payment_method")} == {
        "status": "processing",
        "total": "14.99",
        "refunded_total": "12.00",
        "refund_ids": ["900", "901"],
        "payment_method": "testpay",
    }


def test_the_differences_name_both_sides() -> None:
    now = replace(ORDER, status="refunded", paid_at=None, refunds=(ROW,), lines=(POST,))
    assert differences(summary(ORDER), now) == (
        {"field": "status", "before": "processing", "now": "refunded"},
        {"field": "paid", "before": "yes", "now": "no"},
        {"field": "refunded_total", "before": "12.00", "now": "2.00"},
        {"field": "refund_ids", "before": "900, 901", "now": "900"},
        {"field": "lines", "before": "as quoted", "now": "edited"},
    )


def test_a_changed_order_is_refused_with_the_differences() -> None:
    fault = order_changed(summary(replace(ORDER, refunds=())), replace(ORDER, refunds=(ROW,)))
    assert (fault.code, fault.pointer) == ("order_changed", "/quote_id")
    assert fault.message == (
        "The order has changed since it was quoted (refunded_total was 0.00, is 2.00; refund_ids was none, is 900)."
    )
    assert fault.facts == {
        "differences": [
            {"field": "refunded_total", "before": "0.00", "now": "2.00"},
            {"field": "refund_ids", "before": "", "now": "900"},
        ]
    }


def test_a_change_the_summary_cannot_show_is_refused_all_the_same() -> None:
    fault = order_changed(summary(ORDER), ORDER, pointer="")
    assert (fault.pointer, fault.facts) == ("", {"differences": []})
    assert fault.message == "The order has changed since it was quoted (one of its refunds was edited)."
