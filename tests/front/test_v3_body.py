"""From the parameters of wc/v3 to a command, or every reason why not."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from app.api.reading import Unreadable, read_json
from app.domain.refund import ItemRequest, RefundCommand, TaxRequest
from app.front.errors import WooError
from app.front.form import listed, pairs_of, tree_of
from app.front.v3_body import Parsed, parse


def parsed(text: str | dict[str, Any]) -> Parsed:
    """Read a body as the front does: fractions by their exact value."""
    raw = text if isinstance(text, str) else json.dumps(text)
    return parse(read_json(raw.encode(), parse_float=Decimal), store="acme", order_id="7")


def refused(text: str | dict[str, Any]) -> dict[str, Any]:
    with pytest.raises(WooError) as caught:
        parsed(text)
    return caught.value.body_for("v3")


def taxed(*taxes: dict[str, Any]) -> dict[str, Any]:
    """Give a line with these taxes."""
    return {"line_items": [{"id": 1, "refund_total": 1, "refund_tax": list(taxes)}]}


def test_the_defaults_are_woocommerces() -> None:
    command = parsed({"amount": "5.00"}).command

    assert (command.store, command.order_id, command.amount) == ("acme", "7", Decimal("5.00"))
    assert (command.payment, command.restock, command.reason, command.dialect) == ("gateway", True, "", "woocommerce")


@pytest.mark.parametrize(
    "lines",
    [
        '[{"id": 12, "quantity": 1, "refund_total": 8.325, "refund_tax": [{"id": 2, "refund_total": 1.665}]}]',
        '[{"id": "12", "qty": "1", "refund_total": "8.325", "refund_tax": {"2": "1.665", "3": 0}}]',
        '{"12": {"qty": 1.0, "refund_total": 8.325, "refund_tax": {"2": 1.665}}}',
        '{"0": {"id": 12, "quantity": 1, "refund_total": 8.325, "refund_tax": [{"id": 2, "refund_total": 1.665}]}}',
        '[{"id": 12, "qty": 1, "refund_total": "8.325", "refund_tax": {"2": 1.665}}, {"id": 9, "refund_total": 0}]',
    ],
)
def test_both_forms_of_lines_say_the_same_to_the_last_digit(lines: str) -> None:
    body = read_json(f'{{"line_items": {lines}}}'.encode(), parse_float=Decimal)

    (item,) = parse(body, store="acme", order_id="7").command.items

    tax = TaxRequest(rate_id="2", amount=Decimal("1.665"))
    assert item == ItemRequest(line_item_id="12", quantity=1, amount=Decimal("9.990"), taxes=(tax,))


def test_a_form_is_read_like_json() -> None:
    form = (
        "amount=9.99&api_refund=FALSE&api_restock=0&reason=a+b%26c&meta_data[0][key]=k&meta_data[0][value]=v"
        "&line_items[0][id]=12&line_items[0][refund_total]=8.33&line_items[0][refund_tax][0][id]=2"
        "&line_items[0][refund_tax][0][refund_total]=1.66"
    )

    command = parse(listed(tree_of(pairs_of(form))), store="acme", order_id="7").command

    assert (command.amount, command.payment, command.restock) == (Decimal("9.99"), "manual", False)
    assert (command.reason, command.store_meta) == ("a b&c", {"k": "v"})
    assert command.items[0].amount == Decimal("9.99")


def test_a_tax_that_is_not_named_is_none_of_the_refund() -> None:
    """WooCommerce's refund_total is net: left to itself the gateway would take part of it for tax."""
    (item,) = parsed({"line_items": [{"id": 1, "refund_total": "9.00"}]}).command.items

    assert (item.amount, item.taxes, item.quantity) == (Decimal("9.00"), (), None)


def test_totals_are_left_to_the_gateway_only_where_that_is_asked_for() -> None:
    command = parsed({"compute_totals": "1", "line_items": [{"id": 1, "quantity": 2}]}).command

    assert command.items == (ItemRequest(line_item_id="1", quantity=2),)
    assert "no refund_total" in refused({"line_items": [{"id": 1, "quantity": 2}]})["data"]["params"]["line_items"]


def test_money_that_the_gateway_is_to_split_has_its_tax_in_it() -> None:
    line = {"id": 1, "refund_total": "2.38"}

    (alone,) = parsed({"compute_totals": True, "line_items": [line]}).command.items
    (beside,) = parsed({"compute_totals": True, "line_items": [{**line, "refund_tax": []}]}).command.items

    assert alone == ItemRequest(line_item_id="1", amount=Decimal("2.38"), taxes=None)
    assert beside == ItemRequest(line_item_id="1", amount=Decimal("2.38"), taxes=())


@pytest.mark.parametrize(
    "amount", ["1,50", "1E+1", "1e3", "5 EUR", "€5", " 5.00", "05.00", "1.000,00", ".5", "+5", "5."]
)
def test_what_woocommerce_would_read_as_another_amount_is_refused(amount: str) -> None:
    body = refused({"amount": amount})

    assert body["code"] == "woocommerce_rest_cannot_create_order_refund"
    assert body["message"] == "Invalid refund amount."
    assert amount in body["data"]["params"]["amount"]


@pytest.mark.parametrize("amount", ["0", "0.00", "-5", "-0.01", ""])
def test_nothing_and_less_is_refused_in_woocommerces_words(amount: str) -> None:
    body = refused({"amount": amount})

    assert (body["code"], body["message"], body["data"]["status"]) == (
        "woocommerce_rest_invalid_order_refund",
        "Refund amount must be greater than zero.",
        400,
    )


@pytest.mark.parametrize("amount", [3, 3.5, True, [], {}])
def test_an_amount_that_is_no_text_is_refused_as_wordpress_does(amount: object) -> None:
    body = refused({"amount": amount})

    assert body == {
        "code": "rest_invalid_param",
        "message": "Invalid parameter(s): amount",
        "data": {
            "status": 400,
            "params": {"amount": "amount is not of type string."},
            "details": {
                "amount": {
                    "code": "rest_invalid_type",
                    "message": "amount is not of type string.",
                    "data": {"param": "amount"},
                }
            },
        },
    }


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"Amount": "1.00"}, "/Amount"),
        ({"apiRefund": False}, "/apiRefund"),
        ({"api-refund": "false"}, "/api-refund"),
        ({"lineItems": []}, "/lineItems"),
        ({"line_items": [{"id": 1, "refundTotal": 1, "refund_total": 1}]}, "/line_items/0/refundTotal"),
        ({"line_items": [{"id": 1, "refund_total": 1}, {"id": "1", "refund_total": 1}]}, "/line_items/1/id"),
        ({"line_items": [{"refund_total": 1}]}, "/line_items/0/id"),
        ({"line_items": [{"id": 0, "refund_total": 1}]}, "/line_items/0/id"),
        ({"line_items": [{"id": 1, "refund_total": "1,5"}]}, "/line_items/0/refund_total"),
        ({"line_items": [{"id": 1, "refund_total": -1}]}, "/line_items/0/refund_total"),
        ({"line_items": [{"id": 1, "refund_total": 1, "quantity": 1.5}]}, "/line_items/0/quantity"),
        ({"line_items": [{"id": 1, "refund_total": 1, "quantity": -1}]}, "/line_items/0/quantity"),
        ({"line_items": [{"id": 1, "refund_total": 1, "qty": 2, "quantity": 1}]}, "/line_items/0/quantity"),
        ({"line_items": [{"id": 1, "refund_total": 1, "refund_tax": 5}]}, "/line_items/0/refund_tax"),
        (taxed({"id": 1, "amount": 1}), "/line_items/0/refund_tax/0/refund_total"),
        (taxed({"refund_total": 1}), "/line_items/0/refund_tax/0/id"),
        (taxed({"id": 1, "refund_total": "1 %"}), "/line_items/0/refund_tax/0/refund_total"),
        (taxed({"id": 1, "refund_total": 1}, {"id": 1, "refund_total": 1}), "/line_items/0/refund_tax/1/id"),
        ({"line_items": {"12": {"id": 13, "refund_total": 1}}}, "/line_items/12/id"),
        ({"line_items": {"shirt": {"refund_total": 1}}}, "/line_items/shirt"),
        ({"line_items": ["x"]}, "/line_items/0"),
        ({"line_items": "x"}, "/line_items"),
        ({"meta_data": {"k": "v"}}, "/meta_data"),
        ({"meta_data": [{"key": "k"}]}, "/meta_data/0"),
        ({"meta_data": [{"key": "_refunded_payment", "value": 1}]}, "/meta_data/0"),
        ({"meta_data": [{"key": "k", "value": 1}, {"key": "k", "value": 2}]}, "/meta_data/1/key"),
        ({"reason": "x" * 3001}, "/reason"),
    ],
)
def test_each_of_these_is_refused_with_its_place(fields: dict[str, Any], pointer: str) -> None:
    body = refused({"amount": "1.00", **fields})

    assert body["code"] == "rest_invalid_param"
    assert [error["pointer"] for error in body["data"]["refund_gateway"]["errors"]] == [pointer]


def test_every_fault_is_named_at_once() -> None:
    body = refused({"amount": 5, "reason": 7, "api_refund": "maybe", "line_items": [{"quantity": -1}]})

    assert body["message"] == "Invalid parameter(s): amount, line_items, reason, api_refund"
    assert body["data"]["params"].keys() == {"amount", "line_items", "reason", "api_refund"}


@pytest.mark.parametrize(
    "fields",
    [{}, {"reason": "x"}, {"amount": None}, {"line_items": []}, {"line_items": [{"id": 1, "refund_total": 0}]}],
)
def test_a_request_that_names_no_money_is_refused(fields: dict[str, Any]) -> None:
    assert refused(fields)["code"] == "woocommerce_rest_invalid_order_refund"


def test_units_without_money_stand_beside_an_amount_only() -> None:
    lines = [{"id": 1, "quantity": 2, "refund_total": 0}]

    command = parsed({"amount": "1.00", "line_items": lines}).command

    assert command.items == (ItemRequest(line_item_id="1", quantity=2, amount=Decimal(0), taxes=()),)
    assert refused({"line_items": lines})["message"] == "Refund amount must be greater than zero."


def test_a_refund_that_has_an_id_is_not_made_again() -> None:
    assert refused({"id": 5, "amount": "1.00"})["code"] == "woocommerce_rest_shop_order_refund_exists"


def test_what_woocommerce_ignores_is_ignored() -> None:
    fields = {"refunded_by": 3, "surprise": 1, "date_created": "2020-01-01", "reason": None, "api_refund": None}

    assert parsed({"amount": "1.00", **fields}).command == parsed({"amount": "1.00"}).command


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["id", "quantity", "qty", "refund_total", "refund_tax", "key", "value", "1", "0", "x"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(
    st.dictionaries(
        st.sampled_from(["amount", "reason", "api_refund", "api_restock", "line_items", "meta_data", "compute_totals"]),
        JSON,
        max_size=5,
    )
)
def test_any_json_is_read_or_refused_and_never_breaks_anything(body: dict[str, Any]) -> None:
    assume(not isinstance(read_json(json.dumps(body).encode()), Unreadable))
    error, command = outcome_of(body)
    if error is not None:
        assert error.status_for("v3") == 400
        assert json.dumps(error.body_for("v3"))
        assert json.dumps(error.body_for("legacy"))
    else:
        assert command is not None
        assert command.amount is None or command.amount > 0
        assert command.amount is not None or command.items


def outcome_of(body: dict[str, Any]) -> tuple[WooError | None, RefundCommand | None]:
    try:
        return None, parsed(body).command
    except WooError as error:
        return error, None
