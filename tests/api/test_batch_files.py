"""Files of refunds: what is read out of them, and where their faults are."""

import csv
import io
import json
import time
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.api.batch_csv import COLUMNS
from app.api.batch_files import of_file, of_list
from app.api.batch_intake import Faulty, read_document, understand_document
from app.api.batch_rows import LISTED_FAULTS, Upload, UploadFault
from app.api.schemas import RefundBody, to_command
from app.domain.batch import MAX_ITEMS, RowFault
from app.domain.refund import ItemRequest, RefundCommand

HEADER = "order_id,external_reference,amount"
ROW = "12,CM-1,5.00"


def read(text: str, *, store: str | None = "demo") -> Upload:
    return of_file("csv", text.encode(), store=store)


def commands(upload: Upload) -> list[RefundCommand]:
    assert upload.faults == ()
    assert [item.number for item in upload.items] == list(range(1, len(upload.items) + 1))
    return [item.command for item in upload.items]


def faults(upload: Upload) -> list[tuple[int | None, int | None, str | None, str, str]]:
    assert upload.faults
    return [(fault.row, fault.line, fault.column, fault.pointer, fault.code) for fault in upload.faults]


PLAIN = RefundCommand(store="demo", order_id="12", external_reference="CM-1", amount=Decimal("5.00"))


@pytest.mark.parametrize(
    "text",
    [
        f"{HEADER}\n{ROW}\n",
        f"{HEADER}\n{ROW}",
        f"{HEADER}\r\n{ROW}\r\n",
        f"{HEADER}\r{ROW}\r",
        f"\ufeff{HEADER}\n{ROW}\n",
        f"\n\n{HEADER}\n\n{ROW}\n\n",
        "order_id;external_reference;amount\n12;CM-1;5.00\n",
        "Amount, ORDER_ID ,External_Reference\n5.00,12,CM-1\n",
        '"order_id","external_reference","amount"\n"12","CM-1","5.00"\n',
        f"{HEADER},,\n{ROW},,\n,,,,\n",
        f"{HEADER},currency,remaining,payment,restock,metadata.a\n{ROW},,,,,\n",
        "store,order_id,external_reference,amount\ndemo,12,CM-1,5.00\n",
    ],
)
def test_a_csv_is_read_however_it_is_written(text: str) -> None:
    assert commands(read(text)) == [PLAIN]


def test_every_column_says_what_it_is_documented_to_say() -> None:
    [command] = commands(
        read(
            "store;order_number;external_reference;amount;currency;shipping;fees;goodwill;sku;quantity;line_amount;"
            "reason;reason_code;payment;restock;metadata.RMA;metadata.Note\n"
            'acme-de;DE-10027;CM-1;40.10;EUR;all;1.00;3;SKU1;2;30.0;"Broken; ""cup""";damaged;manual;TRUE;R-9;a,b\n'
        )
    )
    assert command == RefundCommand(
        store="acme-de",
        order_number="DE-10027",
        external_reference="CM-1",
        amount=Decimal("40.10"),
        currency="EUR",
        shipping="all",
        fees=Decimal("1.00"),
        goodwill=Decimal(3),
        items=(ItemRequest(sku="SKU1", quantity=2, amount=Decimal("30.0")),),
        reason='Broken; "cup"',
        reason_code="damaged",
        payment="manual",
        restock=True,
        metadata={"RMA": "R-9", "Note": "a,b"},
    )
    assert str(command.amount) == "40.10"
    [whole] = commands(read("order_id,remaining,line_item_id\n12,true,\n"))
    assert whole == RefundCommand(store="demo", order_id="12", remaining=True)


def test_a_store_in_a_row_is_meant_before_the_one_for_all() -> None:
    read_ones = commands(read("store,order_id,amount\nother,1,1.00\n,2,1.00\n"))
    assert [command.store for command in read_ones] == ["other", "demo"]


def test_a_decimal_comma_is_refused_with_row_and_column() -> None:
    upload = read("order_id;Amount;goodwill\n12;5.00;\n13;1,50;\n14;20.00;2,00\n")
    assert faults(upload) == [
        (2, 3, "Amount", "/amount", "malformed_amount"),
        (3, 4, "goodwill", "/goodwill", "malformed_amount"),
    ]
    assert upload.faults[0].place == "row 2, column Amount"
    assert "comma" in upload.faults[0].message
    assert [item.number for item in upload.items] == [1]
    # Among commas it is one cell more; the reason is the same.
    [fault] = read(f"{HEADER}\n12,CM-1,5,00\n").faults
    assert (fault.row, fault.line, fault.code) == (1, 2, "invalid_csv")
    assert "4 cells" in fault.message
    assert "dot" in fault.message


def test_every_fault_of_every_row_is_found_with_its_place() -> None:
    upload = read(
        "order_id,amount,quantity,sku,payment,restock,metadata.a\n"
        "12,5.00,,,,,\n"
        "#12,5 EUR,one,SKU,card,yes,\n"
        "13,5.00\n"
        f"14,5.00,,,,,{'x' * 501}\n"
    )
    assert faults(upload) == [
        (2, 3, "quantity", "/items/0/quantity", "malformed_value"),
        (2, 3, "restock", "/restock", "malformed_value"),
        (2, 3, "order_id", "/order_id", "malformed_value"),
        (2, 3, "amount", "/amount", "malformed_amount"),
        (2, 3, "payment", "/payment", "invalid_choice"),
        (3, 4, None, "", "invalid_csv"),
        (4, 5, "metadata.a", "/metadata/a", "too_long"),
    ]
    assert upload.faults_in_all == 7
    assert upload.faults[0].as_member() == {
        "row": 2,
        "line": 3,
        "column": "quantity",
        "pointer": "/items/0/quantity",
        "in": "body",
        "code": "malformed_value",
        "message": "This is a whole number.",
    }


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("order_id,amout", [("amout", "unknown_field")]),
        ("order id,amount", [("order id", "unknown_field")]),
        ("order_id,amount,colour", [("colour", "unknown_field")]),
        ("order_id,amount,AMOUNT", [("amount", "duplicate_key")]),
        ("order_id,metadata.a,metadata.a", [("metadata.a", "duplicate_key")]),
        ("order_id,metadata.", [("metadata.", "malformed_value")]),
        ("order_id,metadata.a b", [("metadata.a b", "malformed_value")]),
        ("order_id,amout,metadata.", [("amout", "unknown_field"), ("metadata.", "malformed_value")]),
        ("order_id\tamount", [(None, "invalid_csv")]),
        ('order_id,"amount', [(None, "invalid_csv")]),
    ],
)
def test_a_header_that_is_not_understood_is_told_once(header: str, expected: list[tuple[str | None, str]]) -> None:
    upload = read(f"{header}\n12,5.00\n13,6.00\n")
    assert [(fault.column, fault.code) for fault in upload.faults] == expected
    assert all(fault.row is None for fault in upload.faults)
    assert upload.items == ()
    assert not upload.has_sound_frame


def test_names_that_are_nearly_right_are_suggested() -> None:
    [fault] = read("order_id,Amout\n").faults
    assert fault.facts == {"suggestion": "amount"}
    assert "amount is probably meant" in fault.message
    [unlike] = read("order_id,colour\n").faults
    assert "metadata.<name>" in unlike.facts["choices"]


def test_a_store_has_to_be_named_somewhere() -> None:
    [fault] = read(f"{HEADER}\n{ROW}\n", store=None).faults
    assert (fault.row, fault.column, fault.code) == (None, "store", "missing_field")
    [of_row] = read("store,order_id,amount\nacme,1,1.00\n,2,1.00\n", store=None).faults
    assert (of_row.row, of_row.column, of_row.code) == (2, "store", "missing_field")


def test_text_in_a_column_without_a_name_is_a_fault() -> None:
    upload = read(f"{HEADER},\n{ROW},\n13,CM-2,6.00,oops\n")
    assert faults(upload) == [(2, 3, None, "", "unknown_field")]


@pytest.mark.parametrize("text", ["", "\n\n", "\ufeff", ",,\n"])
def test_an_empty_file_is_a_fault(text: str) -> None:
    assert [fault.code for fault in read(text).faults] == ["missing_field"]


@pytest.mark.parametrize("text", [f"{HEADER}\n", f"{HEADER}\n,,\n\n"])
def test_a_file_without_rows_is_a_fault(text: str) -> None:
    [fault] = read(text).faults
    assert (fault.code, fault.message) == ("missing_field", "There are no items.")


def test_quoted_line_ends_count_as_lines_but_not_as_rows() -> None:
    upload = read('order_id,sku,quantity,amount\n12,"a\nb",1,\n13,,,"1\n2"\n')
    assert faults(upload) == [
        (1, 2, "sku", "/items/0/sku", "malformed_value"),
        (2, 4, "amount", "/amount", "malformed_amount"),
    ]


def test_a_quote_that_is_never_closed_is_told_where_it_begins() -> None:
    for broken in ('13,"never closed', '13,"closed" too early', f'13,"{"x" * 200_000}'):
        upload = read(f"order_id,reason\n12,fine\n{broken},\n14,never read\n15,nor this\n")
        assert [(fault.row, fault.line, fault.code) for fault in upload.faults] == [(2, 3, "invalid_csv")]


@pytest.mark.parametrize(
    ("raw", "position", "line"),
    [
        ("order_id,reason\n12,Müll\n".encode("windows-1252"), 20, 2),
        (b"\xef\xbb\xbf" + "order_id,reason\n12,Müll\n".encode("windows-1252"), 23, 2),
        (f"{HEADER}\n{ROW}\n".encode("utf-16"), 0, 1),
    ],
)
@pytest.mark.parametrize("form", ["csv", "ndjson"])
def test_another_encoding_is_told_by_the_position_of_its_byte(form: Any, raw: bytes, position: int, line: int) -> None:
    [fault] = of_file(form, raw, store="demo").faults
    assert (fault.code, fault.facts["position"], fault.line) == ("invalid_encoding", position, line)
    assert f"0x{raw[position]:02X}" in fault.message
    assert f"position {position}" in fault.message


def test_text_of_any_script_comes_through_as_it_is() -> None:
    reason = "Größe „falsch“ – 交換 🎉 \u2028"
    [of_csv] = commands(read(f"order_id,amount,reason\n12,5.00,{reason}\n"))
    line = json.dumps({"order_id": "12", "amount": "5.00", "reason": reason}, ensure_ascii=False)
    [of_json] = commands(of_file("ndjson", line.encode(), store="demo"))
    assert of_csv.reason == of_json.reason == reason


def test_a_file_has_ten_thousand_rows_at_most() -> None:
    row = json.dumps({"order_id": "12", "amount": "5.00"})
    for form, head, line in (("csv", f"{HEADER}\n", ROW), ("ndjson", "", row)):
        full = (head + f"{line}\n" * MAX_ITEMS).encode()
        assert len(commands(of_file(form, full, store="demo"))) == MAX_ITEMS  # type: ignore[arg-type]
        [fault] = of_file(form, full + f"{line}\n".encode(), store="demo").faults  # type: ignore[arg-type]
        assert (fault.row, fault.code, fault.facts) == (None, "too_long", {"limit": MAX_ITEMS})
    [of_json] = understand_document({"store": "demo", "items": [{}] * (MAX_ITEMS + 1)})[1].faults
    assert (of_json.pointer, of_json.code) == ("/items", "too_long")


def test_ten_thousand_rows_are_read_in_good_time_and_a_thousand_faults_are_listed() -> None:
    text = f"{HEADER}\n" + "".join(f"{i},CM-{i},{'5.00' if i % 5 else '5,00!'}\n" for i in range(1, MAX_ITEMS + 1))
    began = time.perf_counter()
    upload = of_file("csv", text.replace(",", ";").replace("5;00", "5,00").encode(), store="demo")
    # A tenth of that on an idle machine.
    assert time.perf_counter() - began < 5
    assert (len(upload.items), upload.faults_in_all, len(upload.faults)) == (8_000, 2_000, LISTED_FAULTS)
    problem = Faulty(faults=upload.faults, in_all=upload.faults_in_all).problem()
    assert problem.facts["errors_in_all"] == 2_000
    assert "2000 things are wrong, of which the first 1000 are listed" in problem.detail
    assert "Row 5, column amount" in problem.detail


def test_lines_of_json_are_told_by_their_row_and_line() -> None:
    raw = b"\n".join(
        [
            b"\xef\xbb\xbf" + json.dumps({"order_id": "12", "external_reference": "CM-1", "amount": "5.00"}).encode(),
            b"",
            b'{"order_id": "13", "amount": 5}\r',
            b"[]",
            b"{",
            b'{"order_id": "14", "amount": "1.00", "amount": "2.00"}',
            b'{"order_id": "15", "items": [{"sku": "A", "quantity": 1, "amout": "1.00"}]}',
        ]
    )
    upload = of_file("ndjson", raw, store="demo")
    assert [item.command for item in upload.items] == [PLAIN]
    assert faults(upload) == [
        (2, 3, None, "/amount", "amount_not_text"),
        (3, 4, None, "", "wrong_type"),
        (4, 5, None, "", "invalid_json"),
        (5, 6, None, "/amount", "duplicate_key"),
        (6, 7, None, "/items/0/amout", "unknown_field"),
    ]
    assert upload.faults[2].message.startswith("The line is not JSON")


def test_json_is_told_by_pointers_into_the_whole_document() -> None:
    options, upload = understand_document(
        {
            "store": "demo",
            "max_total": {"EUR": 5},
            "mod": "hold",
            "items": [{"order_id": "12", "amount": "5.00"}, {"order_id": "12", "amount": "5,00"}, 3],
        }
    )
    assert options is None
    assert [(fault.row, fault.pointer, fault.code) for fault in upload.faults] == [
        (None, "/max_total/EUR", "amount_not_text"),
        (None, "/mod", "unknown_field"),
        (2, "/items/1/amount", "malformed_amount"),
        (3, "/items/2", "wrong_type"),
    ]
    assert upload.faults_in_all == 4
    assert upload.faults[1].facts == {"suggestion": "mode"}


@pytest.mark.parametrize(
    ("raw", "code", "pointer"),
    [
        (b"", "missing_field", ""),
        (b"{", "invalid_json", ""),
        (b"[]", "body_not_an_object", ""),
        (b"{}", "missing_field", "/items"),
        (b'{"items": {}}', "wrong_type", "/items"),
        (b'{"items": []}', "missing_field", "/items"),
        (b'{"items": [{}], "items": []}', "duplicate_key", "/items"),
        (b'{"store": "A B", "items": [{"order_id": "1", "amount": "1.00"}]}', "malformed_value", "/store"),
    ],
)
def test_json_that_is_no_batch_is_refused(raw: bytes, code: str, pointer: str) -> None:
    _, upload = read_document(raw)
    assert [(fault.code, fault.pointer) for fault in upload.faults] == [(code, pointer)]


def test_faults_of_the_business_are_told_by_column_line_and_pointer() -> None:
    fault = RowFault(number=2, pointer="/items/0/amount", code="exceeds_refundable", message="No.", facts={"left": "1"})
    of_csv = read("order_id,sku,line_amount\n12,A,1.00\n\n13,A,9.00\n").located(fault)
    assert of_csv == UploadFault(
        row=2,
        line=4,
        column="line_amount",
        pointer="/items/0/amount",
        code="exceeds_refundable",
        message="No.",
        facts={"left": "1"},
    )
    of_json = of_list([{"order_id": "12", "amount": "1.00"}] * 2, store="demo").located(fault)
    assert (of_json.row, of_json.line, of_json.column, of_json.pointer) == (2, None, None, "/items/1/items/0/amount")


def test_the_example_in_the_repository_is_read() -> None:
    raw = (Path(__file__).parents[2] / "deploy" / "examples" / "refunds.csv").read_bytes()
    assert len(commands(of_file("csv", raw, store="demo"))) == 8


_words = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=20)
_labels = _words.filter(lambda text: text.strip() == text)
_amounts = st.decimals("0.01", "9999.99", places=2).map(str)
_ids = st.integers(1, 10**9).map(str)
_documents = st.fixed_dictionaries(
    {"store": st.sampled_from(["demo", "acme-de"])},
    optional={
        "order_id": _ids,
        "order_number": _labels,
        "external_reference": _labels,
        "amount": _amounts,
        "currency": st.sampled_from(["EUR", "JPY"]),
        "remaining": st.booleans(),
        "shipping": st.just("all") | _amounts,
        "fees": st.just("all") | _amounts,
        "goodwill": _amounts,
        "items": st.fixed_dictionaries(
            {}, optional={"line_item_id": _ids, "sku": _labels, "quantity": st.integers(1, 99), "amount": _amounts}
        )
        .filter(bool)
        .map(lambda item: [item]),
        "reason": _words,
        "reason_code": st.sampled_from(["damaged", "late"]),
        "payment": st.sampled_from(["gateway", "manual"]),
        "restock": st.booleans(),
        "metadata": st.dictionaries(st.sampled_from(["rma", "RMA", "a;b", "a,b", 'a"b', "ns/x~y"]), _words, min_size=1),
    },
)


def as_csv(documents: Sequence[dict[str, Any]], *, delimiter: str, order: Sequence[str], line_end: str) -> bytes:
    """Write refunds as an ERP would: a column for each thing, empty cells for what is not said."""
    keys = sorted({key for document in documents for key in document.get("metadata", {})})
    header = [*order, *(f"metadata.{key}" for key in keys)]
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter, lineterminator=line_end)
    writer.writerow(header)
    for document in documents:
        [item] = document.get("items", [{}])
        cells = {**document, **item, "amount": document.get("amount", ""), "line_amount": item.get("amount", "")}
        cells |= {f"metadata.{key}": value for key, value in document.get("metadata", {}).items()}
        writer.writerow(
            [str(value).lower() if isinstance(value := cells.get(name, ""), bool) else value for name in header]
        )
    return text.getvalue().encode()


@settings(max_examples=150)
@given(
    documents=st.lists(_documents, min_size=1, max_size=5),
    delimiter=st.sampled_from([",", ";"]),
    order=st.permutations(list(COLUMNS)),
    line_end=st.sampled_from(["\n", "\r\n"]),
)
def test_the_same_refunds_are_the_same_commands_in_every_form(
    documents: list[dict[str, Any]], delimiter: str, order: list[str], line_end: str
) -> None:
    expected = [to_command(RefundBody.model_validate(document)) for document in documents]
    of_csv = of_file("csv", as_csv(documents, delimiter=delimiter, order=order, line_end=line_end), store=None)
    lines = line_end.join(json.dumps(document, ensure_ascii=False) for document in documents)
    of_json_lines = of_file("ndjson", lines.encode(), store=None)
    assert commands(of_csv) == commands(of_json_lines) == commands(of_list(documents, store=None)) == expected
