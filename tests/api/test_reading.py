"""JSON bodies, read so that nothing about them is guessed."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.reading import Unreadable, read_json

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**18), 10**18)
    | st.text(st.characters(codec="utf-8", exclude_characters="\x00")),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(codec="utf-8", exclude_characters="\x00")), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(value=JSON, ascii_only=st.booleans())
def test_json_reads_as_it_was_written(value: object, ascii_only: bool) -> None:
    assert read_json(json.dumps(value, ensure_ascii=ascii_only).encode()) == value


def test_a_byte_order_mark_is_skipped() -> None:
    assert read_json(b'\xef\xbb\xbf{"a": "b"}') == {"a": "b"}


@pytest.mark.parametrize(
    ("raw", "position"),
    [(b"", 0), (b'{"a": }', 6), (b'{"a" 1}', 5), (b"{'a': 1}", 1), (b'{"a": "\xff"}', 7), (b'{"a": 1} x', 9)],
)
def test_what_is_no_json_says_where(raw: bytes, position: int) -> None:
    unreadable = read_json(raw)
    assert isinstance(unreadable, Unreadable)
    [fault] = unreadable.faults
    assert (fault.code, fault.facts["position"]) == ("invalid_json", position)


@pytest.mark.parametrize(
    "raw",
    [
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b'{"a": ' + b"9" * 5000 + b"}",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"[" * 30 + b'"\\u0041"' + b"]" * 30,
        b'{"a": "\x00"}',
        b'"\xed\xa0\x80"',
    ],
)
def test_what_only_some_parsers_read_is_refused(raw: bytes) -> None:
    unreadable = read_json(raw)
    assert isinstance(unreadable, Unreadable)
    assert [fault.code for fault in unreadable.faults] == ["invalid_json"]


def test_every_duplicate_key_is_named_by_its_place() -> None:
    unreadable = read_json(
        b'{"amount": "1.00", "items": [{"sku": "a", "sku": "b"}], "amount": "9.00", "x/y": 1, "x/y": 1}'
    )
    assert isinstance(unreadable, Unreadable)
    assert [(fault.code, fault.pointer) for fault in unreadable.faults] == [
        ("duplicate_key", "/amount"),
        ("duplicate_key", "/x~1y"),
        ("duplicate_key", "/items/0/sku"),
    ]


def test_text_that_no_ledger_can_keep_is_named_by_its_place() -> None:
    raw = b'{"reason": "\\ud800", "metadata": {"a": "x\\u0000y", "\\udfff": "z"}, "sku": "\\ud83d\\ude00"}'
    unreadable = read_json(raw)
    assert isinstance(unreadable, Unreadable)
    assert {(fault.code, fault.pointer) for fault in unreadable.faults} == {
        ("malformed_value", "/reason"),
        ("malformed_value", "/metadata/a"),
        ("malformed_value", "/metadata"),
    }
