"""What is wrong with a request's form: every fault, by our own codes, with its place. Nothing is looked up for it."""

import asyncio
import json
from collections.abc import AsyncIterator
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app import api
from app.api.schemas import RefundBody, to_command
from app.domain.refund import ItemRequest, LineRequest, RefundCommand, TaxRequest
from app.flows.results import Caller
from app.settings import Settings
from tests.api.problems import problem

CALLER = Caller(tenant_id="tn_1", key_id="k", name="k", scopes=frozenset({"admin"}), store_ids=None)
GOOD: dict[str, Any] = {"store": "demo", "order_id": "12", "amount": "5.00"}


class OneCaller:
    """Stands for the key ring: everyone is the same caller, who has to show something."""

    async def identify(self, _database: object, authorization: str | None) -> Caller:
        assert authorization is not None
        return CALLER


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    """Ask an API that has no database: a request that gets past its form fails with 500."""
    app = api.build(Settings(rate_limit="100000/second"))
    app.state.keys = OneCaller()
    app.state.runtime = SimpleNamespace(database=None, settings=Settings())
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    headers = {"Authorization": "Bearer x", "Content-Type": "application/json"}
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway", headers=headers) as asking:
        yield asking


async def faults(client: httpx.AsyncClient, body: Any) -> list[dict[str, Any]]:
    content = body if isinstance(body, bytes) else json.dumps(body)
    answer = await client.post("/v1/refunds", content=content)
    errors: list[dict[str, Any]] = problem(answer, 422, "invalid_request")["errors"]
    return errors


CASES: list[tuple[Any, list[tuple[str, str]]]] = [
    (b"", [("missing_field", "")]),
    (b"[]", [("body_not_an_object", "")]),
    (b"null", [("body_not_an_object", "")]),
    (b'"text"', [("body_not_an_object", "")]),
    (b'{"store": "demo"', [("invalid_json", "")]),
    (b'{"store": "demo", "amount": NaN}', [("invalid_json", "")]),
    (b'{"store": "demo", "amount": 1e999}', [("amount_not_text", "/amount")]),
    (b'{"store": "demo", "amount": "1", "amount": "2"}', [("duplicate_key", "/amount")]),
    (b'{"store": "demo", "reason": "\\u0000"}', [("malformed_value", "/reason")]),
    (b'{"store": "demo", "\\ud800": 1}', [("malformed_value", "")]),
    ({}, [("missing_field", "/store")]),
    ({**GOOD, "amount": 5}, [("amount_not_text", "/amount")]),
    ({**GOOD, "amount": 5.0}, [("amount_not_text", "/amount")]),
    ({**GOOD, "amount": True}, [("wrong_type", "/amount")]),
    ({**GOOD, "amount": {"amount": "5.00"}}, [("wrong_type", "/amount")]),
    ({**GOOD, "order_id": 12}, [("wrong_type", "/order_id")]),
    ({**GOOD, "order_id": "012"}, [("malformed_value", "/order_id")]),
    ({**GOOD, "order_id": "12\n"}, [("malformed_value", "/order_id")]),
    ({**GOOD, "order_id": "../1"}, [("malformed_value", "/order_id")]),
    ({**GOOD, "order_id": "9" * 40}, [("malformed_value", "/order_id")]),
    ({**GOOD, "store": "Acme DE"}, [("malformed_value", "/store")]),
    ({**GOOD, "order_number": ""}, [("malformed_value", "/order_number")]),
    ({**GOOD, "external_reference": " CM-1"}, [("malformed_value", "/external_reference")]),
    ({**GOOD, "external_reference": "x" * 256}, [("too_long", "/external_reference")]),
    ({**GOOD, "currency": "EURO"}, [("malformed_value", "/currency")]),
    ({**GOOD, "reason": "x" * 501}, [("too_long", "/reason")]),
    ({**GOOD, "reason": "a\tb"}, [("malformed_value", "/reason")]),
    ({**GOOD, "reason": None}, [("wrong_type", "/reason")]),
    ({**GOOD, "payment": "cash"}, [("invalid_choice", "/payment")]),
    ({**GOOD, "restock": "true"}, [("wrong_type", "/restock")]),
    ({**GOOD, "remaining": 1}, [("wrong_type", "/remaining")]),
    ({**GOOD, "items": {"sku": "a"}}, [("wrong_type", "/items")]),
    ({**GOOD, "items": ["a"]}, [("wrong_type", "/items/0")]),
    ({**GOOD, "items": [{"sku": "a"}] * 501}, [("too_long", "/items")]),
    ({**GOOD, "items": [{"sku": "a", "quantity": 0}]}, [("out_of_range", "/items/0/quantity")]),
    ({**GOOD, "items": [{"sku": "a", "quantity": -1}]}, [("out_of_range", "/items/0/quantity")]),
    ({**GOOD, "items": [{"sku": "a", "quantity": 10**30}]}, [("out_of_range", "/items/0/quantity")]),
    ({**GOOD, "items": [{"sku": "a", "quantity": 1.0}]}, [("wrong_type", "/items/0/quantity")]),
    ({**GOOD, "items": [{"sku": "a", "quantity": "1"}]}, [("wrong_type", "/items/0/quantity")]),
    ({**GOOD, "items": [{"sku": "a", "quantity": True}]}, [("wrong_type", "/items/0/quantity")]),
    (
        {**GOOD, "items": [{"sku": "a", "amount": "1", "taxes": [{"rate_id": 1}]}]},
        [("wrong_type", "/items/0/taxes/0/rate_id"), ("missing_field", "/items/0/taxes/0/amount")],
    ),
    ({**GOOD, "shipping": {"amount": "1"}}, [("wrong_type", "/shipping")]),
    ({**GOOD, "shipping": True}, [("wrong_type", "/shipping")]),
    ({**GOOD, "shipping": "All"}, [("malformed_amount", "/shipping")]),
    ({**GOOD, "shipping": 5}, [("amount_not_text", "/shipping")]),
    (
        {**GOOD, "shipping": [{"id": "1"}]},
        [("missing_field", "/shipping/0/shipping_line_id"), ("unknown_field", "/shipping/0/id")],
    ),
    ({**GOOD, "fees": [{"fee_line_id": "4", "amount": "1,00"}]}, [("malformed_amount", "/fees/0/amount")]),
    ({**GOOD, "metadata": {"a": 1}}, [("wrong_type", "/metadata/a")]),
    ({**GOOD, "metadata": {"a b": "x"}}, [("malformed_value", "/metadata/a b")]),
    ({**GOOD, "metadata": {"a~/b" * 20: "x"}}, [("malformed_value", "/metadata/" + "a~0~1b" * 20)]),
    ({**GOOD, "metadata": {str(n): "x" for n in range(51)}}, [("too_long", "/metadata")]),
    ({**GOOD, "quote_id": "1"}, [("malformed_value", "/quote_id")]),
    ({**GOOD, "a" * 200: 1}, [("unknown_field", "/" + "a" * 200)]),
    (
        {"Store": "demo", "order_id": 12, "amount": "1,50", "extra": 1},
        [
            ("missing_field", "/store"),
            ("wrong_type", "/order_id"),
            ("malformed_amount", "/amount"),
            ("unknown_field", "/Store"),
            ("unknown_field", "/extra"),
        ],
    ),
]


async def test_every_fault_has_its_code_and_its_place(client: httpx.AsyncClient) -> None:
    for body, expected in CASES:
        errors = await faults(client, body)
        assert [(error["code"], error["pointer"]) for error in errors] == expected, body
        assert {error["in"] for error in errors} == {"body"}
        assert all(error["message"] for error in errors)


async def test_a_misspelt_field_suggests_the_right_one(client: httpx.AsyncClient) -> None:
    for wrong, right in (
        ("Amount", "amount"),
        ("orderId", "order_id"),
        ("externalReference", "external_reference"),
        ("curency", "currency"),
        ("restock_items", None),
    ):
        [error] = await faults(client, {**GOOD, wrong: "x"})
        assert error.get("suggestion") == right, wrong
    [error] = await faults(client, {**GOOD, "items": [{"sku": "a", "Quantity": 1}]})
    assert (error["pointer"], error["suggestion"]) == ("/items/0/Quantity", "quantity")
    [error] = await faults(client, {**GOOD, "fees": [{"fee_line_id": "1", "Amount": "1.00"}]})
    assert (error["pointer"], error["suggestion"]) == ("/fees/0/Amount", "amount")


async def test_facts_stand_beside_the_fault(client: httpx.AsyncClient) -> None:
    [choice] = await faults(client, {**GOOD, "payment": "cash"})
    assert choice["choices"] == ["gateway", "manual"]
    [long] = await faults(client, {**GOOD, "reason": "x" * 501})
    assert long["limit"] == 500
    [low] = await faults(client, {**GOOD, "items": [{"sku": "a", "quantity": 0}]})
    assert low["minimum"] == 1
    [syntax] = await faults(client, b'{"store": }')
    assert syntax["position"] == 10


@pytest.mark.parametrize(
    ("amount", "said"),
    [
        ("1,50", "a comma"),
        ("1.000,00", "a comma"),
        ("-5.00", "a sign"),
        ("\N{MINUS SIGN}5.00", "a sign"),
        ("+5", "a sign"),
        ("1E+1", "an exponent"),
        ("1e3", "an exponent"),
        ("5 EUR", "text or a currency"),
        ("€5", "text or a currency"),
        ("NaN", "text or a currency"),
        ("1 000.00", "a space"),
        ("", None),
        (".5", None),
        ("5.", None),
        ("05.00", None),
        ("٥", None),
        ("1.123456789", None),
        ("9" * 13, None),
    ],
)
async def test_a_malformed_amount_says_what_is_wrong_with_it(
    client: httpx.AsyncClient, amount: str, said: str | None
) -> None:
    [error] = await faults(client, {**GOOD, "amount": amount})
    assert error["code"] == "malformed_amount"
    assert (f"There is {said} in the amount" in error["message"]) == (said is not None)
    assert '"20.00"' in error["message"]


async def test_faults_of_headers_and_body_come_together(client: httpx.AsyncClient) -> None:
    for key in (b"k" * 256, b"with space", b"\xe9"):
        answer = await client.post("/v1/refunds", content=b'{"store": 1}', headers={"Idempotency-Key": key})
        document = problem(answer, 422, "invalid_request")
        assert [(error["in"], error["pointer"], error["code"]) for error in document["errors"]] == [
            ("header", "/Idempotency-Key", "malformed_value"),
            ("body", "/store", "wrong_type"),
        ]


async def test_other_media_types_are_refused_and_a_missing_one_is_json(client: httpx.AsyncClient) -> None:
    for media_type in (
        "text/plain",
        "application/xml",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        ";",
    ):
        answer = await client.post("/v1/refunds", content=json.dumps(GOOD), headers={"Content-Type": media_type})
        problem(answer, 415, "unsupported_media_type")
    for media_type in ("application/json; charset=utf-8", "APPLICATION/JSON", "application/vnd.acme+json"):
        answer = await client.post("/v1/refunds", content=b"{}", headers={"Content-Type": media_type})
        problem(answer, 422, "invalid_request")
    request = client.build_request("POST", "/v1/refunds", content=b"{}")
    del request.headers["content-type"]
    problem(await client.send(request), 422, "invalid_request")


async def test_the_preview_refuses_the_same_faults(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/refunds/preview", content=json.dumps({**GOOD, "amount": "1,50"}))
    assert problem(answer, 422, "invalid_request")["errors"][0]["code"] == "malformed_amount"


@given(
    body=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from([*RefundBody.model_fields, "sku", "quantity", "taxes", "rate_id"]) | st.text(),
                inner,
                max_size=5,
            )
        ),
        max_leaves=15,
    )
)
def test_no_json_whatever_gets_an_answer_that_cannot_be_written(body: Any) -> None:
    app = api.build(Settings(rate_limit="1000000/second"))
    app.state.keys = OneCaller()
    app.state.runtime = SimpleNamespace(database=None, settings=Settings())

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as asking:
            return await asking.post(
                "/v1/refunds",
                content=json.dumps(body),
                headers={"Authorization": "Bearer x", "Content-Type": "application/json"},
            )

    answer = asyncio.run(ask())
    assert answer.status_code == 422
    assert answer.json()["errors"]


def test_a_body_becomes_a_command_with_the_digits_it_was_written_with() -> None:
    body = RefundBody.model_validate(
        {
            "store": "acme-de",
            "order_number": "DE-10027",
            "external_reference": "CM-1",
            "amount": "40.10",
            "currency": "EUR",
            "items": [
                {"line_item_id": "311", "quantity": 1},
                {"sku": "SKU1", "amount": "30.00", "taxes": [{"rate_id": "1", "amount": "4.79"}]},
            ],
            "shipping": "5.0",
            "fees": [{"fee_line_id": "4"}],
            "goodwill": "3",
            "reason": "Broken \\ cup",
            "reason_code": "damaged",
            "payment": "manual",
            "restock": True,
            "metadata": {"rma": "R-9"},
            "expected_refunded_total": "0.00",
            "quote_id": "qt_1",
        }
    )
    command = to_command(body)
    assert command == RefundCommand(
        store="acme-de",
        order_number="DE-10027",
        external_reference="CM-1",
        amount=Decimal("40.10"),
        currency="EUR",
        items=(
            ItemRequest(line_item_id="311", quantity=1),
            ItemRequest(sku="SKU1", amount=Decimal("30.00"), taxes=(TaxRequest(rate_id="1", amount=Decimal("4.79")),)),
        ),
        shipping=Decimal("5.0"),
        fees=(LineRequest(line_id="4"),),
        goodwill=Decimal(3),
        reason="Broken \\ cup",
        reason_code="damaged",
        payment="manual",
        restock=True,
        metadata={"rma": "R-9"},
        expected_refunded_total=Decimal("0.00"),
        quote_id="qt_1",
    )
    assert str(command.amount) == "40.10"


def test_lines_can_be_named_or_taken_whole() -> None:
    whole = to_command(RefundBody.model_validate({**GOOD, "shipping": "all", "fees": "all"}))
    assert (whole.shipping, whole.fees) == ("all", "all")
    named = to_command(
        RefundBody.model_validate({**GOOD, "shipping": [{"shipping_line_id": "7", "amount": "1.00"}], "fees": []})
    )
    assert named.shipping == (LineRequest(line_id="7", amount=Decimal("1.00")),)
    assert named.fees == ()
