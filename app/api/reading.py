"""Reading a JSON body so that nothing about it is guessed.

Python's parser lets duplicate keys, NaN and lone surrogates through; with money at stake they are faults.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from app.api.problems import InputFault

#: No request of ours nests deeper than five levels.
_DEEPEST = 20
#: Text that neither UTF-8 nor PostgreSQL can hold: NUL and halves of surrogate pairs.
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Stands for a body that could not be read; no model accepts it, and its faults tell why."""

    faults: tuple[InputFault, ...]


class _Repeated(dict[str, Any]):
    """An object in which keys occur more than once."""

    __slots__ = ("repeated",)

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        counts = Counter(name for name, _ in pairs)
        self.repeated = [name for name, count in counts.items() if count > 1]


class _NotJson(ValueError):
    """A constant that Python reads and JSON does not have."""


def read_json(raw: bytes, *, parse_float: Callable[[str], Any] | None = None) -> Any:
    """Parse a body; gives Unreadable instead of raising. `parse_float` reads fractions in place of `float`."""
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return _not_json("The body is not UTF-8.", position=error.start)
    odd = False

    def paired(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal odd
        plain = dict(pairs)
        if len(plain) == len(pairs):
            return plain
        odd = True
        return _Repeated(pairs)

    try:
        value = json.loads(text, object_pairs_hook=paired, parse_constant=_refuse_constant, parse_float=parse_float)
    except json.JSONDecodeError as error:
        return _not_json(f"The body is not JSON: {error.msg} at character {error.pos}.", position=error.pos)
    except _NotJson as error:
        return _not_json(str(error))
    except RecursionError:
        return _not_json("The body is nested too deeply.")
    except ValueError:
        return _not_json("A number in the body is too long.")
    # Escapes are the only way for a lone surrogate or a NUL to get here.
    if odd or "\\u" in text:
        faults = tuple(_oddities(value))
        if faults:
            return Unreadable(faults)
    return value


def _refuse_constant(name: str) -> None:
    raise _NotJson(f"{name} is not JSON.")


def _not_json(message: str, *, position: int | None = None) -> Unreadable:
    facts = {} if position is None else {"position": position}
    return Unreadable((InputFault(code="invalid_json", pointer="", message=message, facts=facts),))


def _oddities(value: Any) -> Iterator[InputFault]:
    waiting: list[tuple[str, int, Any]] = [("", 0, value)]
    while waiting:
        pointer, depth, inner = waiting.pop()
        if depth > _DEEPEST:
            yield InputFault(code="invalid_json", pointer="", message="The body is nested too deeply.")
            return
        if isinstance(inner, str) and UNSTORABLE.search(inner):
            yield _unstorable(pointer)
        elif isinstance(inner, list):
            waiting.extend((f"{pointer}/{i}", depth + 1, entry) for i, entry in reversed(list(enumerate(inner))))
        elif isinstance(inner, dict):
            if isinstance(inner, _Repeated):
                yield from (
                    InputFault(
                        code="duplicate_key",
                        pointer=f"{pointer}/{pointer_token(name)}",
                        message=f"The key {name!r} occurs more than once.",
                    )
                    for name in inner.repeated
                    if not UNSTORABLE.search(name)
                )
            for name, entry in reversed(list(inner.items())):
                if UNSTORABLE.search(name):
                    yield _unstorable(pointer)
                else:
                    waiting.append((f"{pointer}/{pointer_token(name)}", depth + 1, entry))


def _unstorable(pointer: str) -> InputFault:
    return InputFault(
        code="malformed_value", pointer=pointer, message="The text has a NUL or half of a surrogate pair in it."
    )


def pointer_token(name: str) -> str:
    """Escape a name for a JSON pointer."""
    return name.replace("~", "~0").replace("/", "~1")
