import json
import time
from datetime import UTC, datetime
from typing import Any

import pytest

from app.api.inbound_expressions import NoExpression, check_expression
from app.api.inbound_mapping import understand
from app.ledger.inbound import Source

NOW = datetime.now(UTC)


def source(mapping: dict[str, Any], **changes: Any) -> Source:
    fields: dict[str, Any] = {
        "id": "src_1",
        "tenant_id": "tn_1",
        "name": "oms",
        "verification": {"kind": "bearer"},
        "secret": b"",
        "previous_secret": None,
        "previous_until": None,
        "mapping": mapping,
        "dedupe": None,
        "store": "demo",
        "store_ids": None,
        "created_by": "test",
        "created_at": NOW,
        "updated_at": NOW,
        "deleted_at": None,
        **changes,
    }
    return Source(**fields)


def amount(expression: str, body: bytes, **options: Any) -> Any:
    """Give the amount that an expression comes to, or the code of what is wrong with it."""
    found = understand(source({"fields": {"order_id": "'1'", "amount": expression}, **options}), {}, body)
    if found.outcome.failure is not None:
        return found.outcome.failure["errors"][0]["code"]
    assert found.outcome.command is not None
    return str(found.outcome.command.amount)


@pytest.mark.parametrize("written", ["20.10", "20.1", "5", "123456789012.12345678", "0.30"])
def test_numbers_are_taken_exactly_as_they_are_written(written: str) -> None:
    assert amount("total", b'{"total": %s}' % written.encode(), amounts_as_numbers=True) == written


def test_numbers_are_faults_unless_they_were_asked_for() -> None:
    assert amount("total", b'{"total": 20.10}') == "amount_not_text"
    assert amount("total", b'{"total": 20}') == "amount_not_text"
    assert amount("to_string(total)", b'{"total": 20.10}') == "20.10"


@pytest.mark.parametrize("written", ["1e2", "-5.00", "true", "[1.5]"])
def test_what_is_no_plain_amount_stays_a_fault(written: str) -> None:
    code = amount("total", b'{"total": %s}' % written.encode(), amounts_as_numbers=True)

    assert code in ("malformed_amount", "wrong_type")


def test_what_an_expression_has_computed_is_refused() -> None:
    body = b'{"parts": [0.1, 0.2]}'

    assert amount("sum(parts)", body, amounts_as_numbers=True) == "amount_not_text"
    found = understand(
        source({"fields": {"order_id": "'1'", "amount": "sum(parts)"}, "amounts_as_numbers": True}), {}, body
    )
    assert found.outcome.failure is not None
    assert "computed" in found.outcome.failure["message"]


def test_fractions_are_numbers_to_every_function() -> None:
    body = b'{"lines": [{"net": 1.5, "sku": "B"}, {"net": 0.5, "sku": "A"}]}'

    assert amount("to_string(sort_by(lines, &net)[0].net)", body) == "0.5"
    assert amount("to_string(max(lines[].net))", body) == "1.5"
    assert amount("to_string(lines[?net > `1`] | [0].net)", body) == "1.5"
    assert amount("type(lines[0].net) == 'number' && '1.00' || '2.00'", body) == "1.00"


def test_quantities_and_texts_stay_what_they_are() -> None:
    mapping = {
        "expression": "{order_id: '1', items: lines[].{sku: sku, quantity: qty, amount: total},"
        " metadata: {amount: note}}",
        "amounts_as_numbers": True,
    }
    found = understand(
        source(mapping), {}, b'{"note": "7", "lines": [{"sku": "S", "qty": 2, "total": 3.50, "extra": 1}]}'
    )

    command = found.outcome.command
    assert command is not None
    assert (command.items[0].quantity, str(command.items[0].amount)) == (2, "3.50")
    assert command.metadata == {"amount": "7"}


@pytest.mark.parametrize(
    ("mapping", "body"),
    [
        ({"expression": "refund"}, b"{}"),
        ({"expression": "refund"}, b"[]"),
        ({"expression": "refund"}, b"null"),
        ({"fields": {"order_id": "order"}}, b"{}"),
        ({"expression": "@", "only_if": "kind == 'refund'"}, b'{"kind": "order"}'),
    ],
)
def test_null_means_that_it_is_about_no_refund(mapping: dict[str, Any], body: bytes) -> None:
    assert understand(source(mapping), {}, body).outcome.status == "ignored"


def test_a_mapping_to_something_else_than_a_refund_is_a_fault() -> None:
    found = understand(source({"expression": "'refund'"}), {}, b"{}")

    assert found.outcome.failure is not None
    assert found.outcome.failure["errors"][0]["code"] == "body_not_an_object"


def test_the_message_may_name_another_store_than_the_default() -> None:
    mapping = {"fields": {"order_id": "'1'", "amount": "'1.00'", "store": "shop"}}

    for body, store in ((b'{"shop": "acme-de"}', "acme-de"), (b"{}", "demo")):
        command = understand(source(mapping), {}, body).outcome.command
        assert command is not None
        assert command.store == store


def test_what_the_business_refuses_at_once_is_told_at_once() -> None:
    mapping = {"fields": {"order_id": "'1'", "order_number": "'DE-1'", "amount": "'1.00'"}}

    found = understand(source(mapping), {}, b"{}")

    assert found.outcome.failure is not None
    assert found.outcome.failure["code"] == "conflicting_fields"


def test_a_long_or_odd_id_is_hashed() -> None:
    by_id = source({"expression": "@"}, dedupe={"expression": "id"})

    assert understand(by_id, {}, b'{"id": 7}').dedupe_key == "id:7"
    assert understand(by_id, {}, '{"id": "ü"}'.encode()).dedupe_key.startswith("id-sha256:")
    assert understand(by_id, {}, b'{"id": "%s"}' % (b"x" * 300)).dedupe_key.startswith("id-sha256:")
    for body in (b'{"id": null}', b'{"id": {}}', b"no JSON", b'{"id": true}'):
        assert understand(by_id, {}, body).dedupe_key.startswith("sha256:")


def test_what_jmespath_cannot_read_is_no_expression() -> None:
    for text in ("a[", "nope(", "'", "(" * 5_000):
        with pytest.raises(NoExpression):
            check_expression(text)


@pytest.mark.parametrize(
    "bomb",
    [
        "|".join(["[@,@][]"] * 40),
        "|".join(["[@,@]"] * 60) + "|to_string(@)",
        "|".join(["[@,@]"] * 60) + "|@==@",
        "|".join(["{amount:@,fees:@}"] * 60),
        "|".join(["join(@,['','',''])"] * 100),
        "|".join(["[@]"] * 1_500),
        "[" * 200 + "@" + "]" * 200,
    ],
)
def test_no_expression_takes_all_there_is(bomb: str) -> None:
    began = time.process_time()
    found = understand(source({"expression": bomb}), {}, b'"text of a message"')

    assert found.outcome.failure is not None
    assert found.outcome.failure["code"] == "mapping_failed"
    assert time.process_time() - began < 2


def test_a_large_message_is_well_within_the_bounds() -> None:
    lines = [{"id": number, "total": "1.00", "kind": "refund" if number % 2 else "sale"} for number in range(4_000)]
    mapping = {
        "order_id": "to_string(order)",
        "amount": "to_string(length(lines[?kind == 'refund']))",
        "reason": "to_string(length(join(', ', lines[?kind == 'refund'].to_string(id))))",
        "metadata": "{first: to_string(max_by(lines, &id).id), all: to_string(contains(lines[].id, `7`))}",
    }
    found = understand(source({"fields": mapping}), {}, json.dumps({"order": 7, "lines": lines}).encode())

    assert found.outcome.command is not None, found.outcome.failure


def test_a_failure_does_not_quote_what_it_failed_on() -> None:
    found = understand(source({"expression": "{amount: sum(email)}"}), {}, b'{"email": "jane@example.org"}')

    assert found.outcome.failure is not None
    assert "jane" not in str(found.outcome.failure)
    assert "sum() was given string" in found.outcome.failure["message"]
