"""Documents of stores that plugins have changed: shown as far as they make sense, and never a reason to break off."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.front.documents import Shape, legacy_document, v3_document
from app.stores.woo_v3_wire import MARKER_KEY


def document(**fields: Any) -> dict[str, Any]:
    return {"id": 5, "parent_id": 1, "amount": "1.00", "reason": "x", "meta_data": [], "line_items": [], **fields}


def shown(shape: Shape | None = None, **fields: Any) -> dict[str, Any]:
    return v3_document(document(**fields), root="https://gateway.example", shape=shape or Shape())


def test_meta_data_with_odd_keys_is_shown() -> None:
    entries = [{"key": ["a"], "value": 1}, {"key": 7, "value": 2}, "x", {"value": 3}]

    assert shown(meta_data=entries)["meta_data"] == entries
    assert shown(Shape(include_meta=frozenset({"7"})), meta_data=entries)["meta_data"] == [entries[1]]


def test_the_gateways_mark_is_hidden_in_an_array_with_gaps_as_well() -> None:
    """PHP writes a list that lost an entry as an object by position."""
    gaps = {"0": {"key": MARKER_KEY, "value": "RG-7F3K9Q2X"}, "2": {"key": "kept", "value": 1}}

    assert shown(meta_data=gaps)["meta_data"] == [{"key": "kept", "value": 1}]


@pytest.mark.parametrize("lines", [[{"id": 1, "meta_data": ["x"]}], {"3": {"id": 1, "meta_data": {"4": "x"}}}])
def test_lines_with_odd_meta_data_are_shown(lines: Any) -> None:
    shape = Shape(only_display_meta=True)

    assert shown(shape, tax_lines=lines)["tax_lines"] == [{"id": 1, "meta_data": ["x"]}]


def test_the_legacy_api_shows_lines_by_position_too() -> None:
    meta_data = {"1": {"key": "_refunded_item_id", "value": "311"}}
    lines = {"5": {"id": 9, "quantity": -1, "total": "-9.00", "meta_data": meta_data}, "6": []}

    (line,) = legacy_document(document(line_items=lines))["line_items"]

    assert (line["id"], line["total"], line["refunded_item_id"]) == (9, "-9.00", 311)


@pytest.mark.parametrize("amount", ["NaN", "sNaN", "Infinity", "1e999", [], {"a": 1}, True, None])
def test_what_is_no_amount_is_none_in_the_legacy_api(amount: Any) -> None:
    assert legacy_document(document(amount=amount))["amount"] == "0.00"


ANY = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 10**20) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["key", "value", "meta_data", "id", "total", "0"]), inner, max_size=4)
    ),
    max_leaves=8,
)
NAMES = ["line_items", "tax_lines", "shipping_lines", "meta_data", "reason", "amount", "date_created_gmt"]


@given(st.dictionaries(st.sampled_from(NAMES), ANY), st.booleans())
def test_no_shape_of_a_document_breaks_either_api(fields: dict[str, Any], only_display_meta: bool) -> None:
    shape = Shape(only_display_meta=only_display_meta, exclude_meta=frozenset({"a"}))

    assert shown(shape, **fields)["id"] == 5
    assert legacy_document(document(**fields))["id"] == 5
