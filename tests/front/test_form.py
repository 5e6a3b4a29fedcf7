"""Parameters as PHP reads them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.front.form import flattened, listed, pairs_of, tree_of


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("a=1&a=2", {"a": "2"}),
        ("a=1&a[b]=2", {"a": {"b": "2"}}),
        ("a[b]=2&a=1", {"a": "1"}),
        ("a[]=x&a[]=y&a[7]=z&a[]=w", {"a": {"0": "x", "1": "y", "7": "z", "8": "w"}}),
        ("a[b][c]=1&a[b][d]=2", {"a": {"b": {"c": "1", "d": "2"}}}),
        ("a.b=1&c d=2&e[f.g]=3", {"a_b": "1", "c_d": "2", "e": {"f.g": "3"}}),
        ("a[b=1", {"a_b": "1"}),
        ("a[b]c=1", {"a": {"b": "1"}}),
        ("a&b=&=x&&", {"a": "", "b": ""}),
        ("%C3%BC=%26+%2B", {"ü": "& +"}),
        ("a=%ff", {"a": "\ufffd"}),
        ("a" + "[b]" * 30 + "=1", {}),
    ],
)
def test_names_and_brackets_are_read_as_php_does(text: str, tree: object) -> None:
    assert tree_of(pairs_of(text)) == tree


def test_an_array_that_counts_up_from_nothing_is_a_list() -> None:
    assert listed({"0": {"a": {"0": "x"}}, "1": "y"}) == [{"a": ["x"]}, "y"]
    assert listed({"1": "x", "0": "y"}) == {"1": "x", "0": "y"}
    assert listed({}) == {}


@given(st.lists(st.tuples(st.text(max_size=12), st.text(max_size=5)), max_size=12))
def test_flattening_a_tree_and_reading_it_again_changes_nothing(pairs: list[tuple[str, str]]) -> None:
    tree = tree_of(pairs)
    # A key with a bracket in it cannot be written back, and nothing is signed by it.
    if all("[" not in name.partition("[")[2].replace("][", "") for name, _ in flattened(tree)):
        assert tree_of(flattened(tree)) == tree
