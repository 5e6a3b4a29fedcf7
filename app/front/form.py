"""Parameters as PHP reads them from a query or a form: `line_items[0][id]=5` is a tree, and of `a=1&a=2` 2 counts."""

import re
from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias
from urllib.parse import unquote_plus

Pair = tuple[str, str]
PhpValue: TypeAlias = "str | dict[str, PhpValue]"
PhpTree = dict[str, PhpValue]

_NAME = re.compile(r"(?P<head>[^\[]+)(?P<keys>(?:\[[^\]]*\])*)(?P<rest>.*)", re.DOTALL)
_KEY = re.compile(r"\[([^\]]*)\]")
_PLACE = re.compile(r"0|[1-9][0-9]{0,8}", re.ASCII)
#: PHP drops what is nested deeper than 64; no parameter of WooCommerce's has more than five.
_DEEPEST = 20


class _Branch(dict[str, PhpValue]):
    """An array of PHP's, which knows the place of the next `[]`."""

    __slots__ = ("next_place",)

    def __init__(self) -> None:
        super().__init__()
        self.next_place = 0

    def put(self, key: str, value: PhpValue) -> None:
        self[key] = value
        if _PLACE.fullmatch(key):
            self.next_place = max(self.next_place, int(key) + 1)


def pairs_of(text: str) -> list[Pair]:
    """Decode `a=1&b=2`; what is not UTF-8 becomes a replacement character."""
    pairs = (part.partition("=") for part in text.split("&") if part)
    return [(unquote_plus(name, errors="replace"), unquote_plus(value, errors="replace")) for name, _, value in pairs]


def tree_of(pairs: Iterable[Pair]) -> PhpTree:
    """Put parameters together as PHP does."""
    root = _Branch()
    for name, value in pairs:
        keys = _keys(name)
        if not keys or len(keys) > _DEEPEST:
            continue
        branch = root
        for key in keys[:-1]:
            place = key or str(branch.next_place)
            inner = branch.get(place)
            if not isinstance(inner, _Branch):
                inner = _Branch()
                branch.put(place, inner)
            branch = inner
        branch.put(keys[-1] or str(branch.next_place), value)
    return root


def _keys(name: str) -> list[str]:
    found = _NAME.fullmatch(name.lstrip(" "))
    if found is None:
        return []
    head, keys = found["head"], _KEY.findall(found["keys"])
    if not keys and found["rest"]:
        # A bracket that is never closed is part of the name.
        head += "_" + found["rest"][1:]
    return [head.replace(" ", "_").replace(".", "_"), *keys]


def flattened(tree: PhpTree) -> list[Pair]:
    """Give every parameter with its whole name, as WooCommerce signs it."""
    return list(_flat(tree, ""))


def _flat(branch: PhpTree, above: str) -> Iterator[Pair]:
    for key, value in branch.items():
        name = f"{above}[{key}]" if above else key
        if isinstance(value, dict):
            yield from _flat(value, name)
        else:
            yield name, value


def listed(value: Any) -> Any:
    """Make lists of the arrays whose keys count up from 0, all the way down; for PHP the two are the same."""
    if isinstance(value, dict):
        inner = {key: listed(part) for key, part in value.items()}
        return list(inner.values()) if inner and list(inner) == [str(i) for i in range(len(inner))] else inner
    return [listed(part) for part in value] if isinstance(value, list) else value
