"""From the legacy API's envelope to a command, or every reason why not."""

from decimal import Decimal
from typing import Any

import pytest

from app.api.reading import read_json
from app.domain.refund import ItemRequest, TaxRequest
from app.front.errors import WooError
from app.front.legacy_body import parse
from app.front.v3_body import Parsed


def parsed(inner: str, **query: Any) -> Parsed:
    body = read_json(f'{{"order_refund": {inner}}}'.encode(), parse_float=Decimal)
    return parse(body, query, store="acme", order_id="7")


def refused(inner: str, **query: Any) -> list[dict[str, str]]:
    with pytest.raises(WooError) as caught:
        parsed(inner, **query)
    assert caught.value.status_for("legacy") == 400
    errors: list[dict[str, str]] = caught.value.body_for("legacy")["errors"]
    return errors


@pytest.mark.parametrize(("amount", "exact"), [("10", "10"), ("10.71", "10.71"), ('"10.70"', "10.70"), ("1e1", "10")])
def test_an_amount_is_a_text_or_a_number_by_its_exact_value(amount: str, exact: str) -> None:
    command = parsed(f'{{"amount": {amount}}}').command

    assert command.amount is not None
    assert format(command.amount, "f") == exact
    assert (command.payment, command.restock, command.dialect) == ("gateway", False, "woocommerce")


def test_lines_are_an_object_by_their_ids() -> None:
    command = parsed(
        '{"amount": 10.71, "line_items": {"291": {"qty": 1, "refund_total": 9.0, "refund_tax": {"1": 1.71}}}}'
    )

    tax = TaxRequest(rate_id="1", amount=Decimal("1.71"))
    assert command.command.items == (
        ItemRequest(line_item_id="291", quantity=1, amount=Decimal("10.71"), taxes=(tax,)),
    )
    assert command.places[0].quantity == "/order_refund/line_items/291/qty"


@pytest.mark.parametrize(
    ("inner", "message"),
    [
        ("{}", "Refund amount is required."),
        ('{"amount": -1}', "Refund amount must be positive. An amount of -1 refunds nothing."),
        ('{"amount": 0}', "Refund amount must be positive. An amount of 0 refunds nothing."),
        ('{"amount": true}', "Invalid refund amount. The amount is no amount."),
        ('{"amount": 1e99}', "Invalid refund amount. The amount is no amount."),
    ],
)
def test_a_bad_amount_is_told_in_woocommerces_words(inner: str, message: str) -> None:
    assert refused(inner) == [{"code": "woocommerce_api_invalid_order_refund", "message": message}]


@pytest.mark.parametrize(
    "fields",
    [
        '"api_refund": false',
        '"api_refund": true',
        '"refund_payment": true',
        '"Restock_Items": true',
        '"restock_items": "false"',
        '"line_items": [{"id": 1, "qty": 1, "refund_total": 1}]',
        '"reason": 5',
        '"amount": "1,50"',
    ],
)
def test_what_woocommerce_would_do_against_its_words_is_refused(fields: str) -> None:
    (error,) = refused(f'{{"amount": "1.50", {fields}}}'.replace('"amount": "1.50", "amount"', '"amount"'))

    assert error["code"] == "woocommerce_api_invalid_order_refund"


@pytest.mark.parametrize(("text", "mode"), [("0", "manual"), ("1", "gateway"), ("true", "gateway")])
def test_the_query_says_who_pays(text: str, mode: str) -> None:
    assert parsed('{"amount": 1}', api_refund=text).command.payment == mode


@pytest.mark.parametrize(
    "query", [{"api_refund": "false"}, {"api_refund": ""}, {"api_refund": {}}, {"Api_Refund": "0"}]
)
def test_a_query_that_woocommerce_would_pay_for_is_refused(query: dict[str, Any]) -> None:
    assert refused('{"amount": 1}', **query)


def test_each_fault_has_an_entry_of_its_own() -> None:
    assert len(refused('{"amount": "x", "reason": 5, "api_refund": 0}')) == 3
