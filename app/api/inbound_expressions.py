"""JMESPath over messages of others, within bounds.

Who may write a mapping is no stranger, but the gateway is everybody's: a few dozen characters can double a value with
each step, and would take all memory there is. So what an expression makes is weighed, and its steps are counted.
"""

import math
from typing import Any, Self

import jmespath  # type: ignore[import-untyped]
from jmespath import functions, visitor

from app.api.reading import UNSTORABLE

#: Steps for all expressions of one message: a second's work, where a usual mapping takes a millisecond's.
_STEPS = 500_000
#: Characters and values that anything an expression makes may have; those that occur several times count each time.
_HEAVIEST = 1_000_000
_DEEPEST = 50
#: Compared, joined or written as text, this much of a value takes about as long as a step.
_WEIGHT_OF_A_STEP = 64
#: Python refuses to write longer integers as text than those of 4,300 digits.
_WIDEST_BITS = 14_000
_LONGEST_MESSAGE = 500


class WrittenNumber(float):
    """A fraction of a message's JSON: a float to JMESPath, and its own text to us."""

    __slots__ = ("text",)
    text: str

    def __new__(cls, text: str) -> Self:
        """Keep the text."""
        number = super().__new__(cls, text)
        number.text = text
        return number


class _Functions(functions.Functions):  # type: ignore[misc]
    """JMESPath's functions, for which a WrittenNumber is a number; `to_string` gives its text."""

    def _get_allowed_pytypes(self, types: Any) -> tuple[list[str], list[tuple[str, ...]]]:
        plain, inner = super()._get_allowed_pytypes(types)
        if "float" in plain:
            plain.append(WrittenNumber.__name__)
        return plain, [(*names, WrittenNumber.__name__) if "float" in names else names for names in inner]

    def _convert_to_jmespath_type(self, pyobject: str) -> str:
        return "number" if pyobject == WrittenNumber.__name__ else str(super()._convert_to_jmespath_type(pyobject))

    @functions.signature({"types": []})  # type: ignore[untyped-decorator]
    def _func_to_string(self, value: Any) -> str:
        return value.text if isinstance(value, WrittenNumber) else str(super()._func_to_string(value))


_OPTIONS = jmespath.Options(custom_functions=_Functions())


class NoExpression(Exception):
    """A text is no JMESPath expression; the message says where it goes wrong."""


class Unfit(Exception):
    """An expression makes of a message what no refund can be; the message says what."""


def check_expression(text: str) -> None:
    """Raise NoExpression for what JMESPath cannot read."""
    try:
        jmespath.compile(text)
    except (jmespath.exceptions.JMESPathError, ValueError, RecursionError) as error:
        raise NoExpression(why(error)) from None


def why(error: BaseException) -> str:
    """Say in a line why an expression failed, without the value that it failed on: that may be personal data."""
    if isinstance(error, jmespath.exceptions.JMESPathTypeError):
        expected = ", ".join(map(str, error.expected_types))
        return f"{error.function_name}() was given {error.actual_type}, and takes {expected}."
    if isinstance(error, (RecursionError, MemoryError)):
        return "It goes too deep."
    lines = str(error).strip().splitlines()
    return UNSTORABLE.sub("\ufffd", lines[0] if lines else type(error).__name__)[:_LONGEST_MESSAGE]


class Evaluation(visitor.TreeInterpreter):  # type: ignore[misc]
    """Evaluates the expressions of one message, which share one allowance of steps."""

    def __init__(self) -> None:
        """Start with nothing spent."""
        super().__init__(_OPTIONS)
        self._steps_left = _STEPS
        #: By id, with the value itself, so that the id stays its own: weight and depth.
        self._weighed: dict[int, tuple[Any, int, int]] = {}

    def search(self, expression: str, document: Any) -> Any:
        """Give what an expression finds in a document: JSON that can be stored.

        Raises Unfit for anything else or too much of it, and whatever JMESPath raises.
        """
        found = self.visit(jmespath.compile(expression).parsed, document)
        self._check(found)
        return found

    def visit(self, node: Any, *args: Any, **kwargs: Any) -> Any:
        """Evaluate a node of an expression; every evaluation passes here."""
        self._spend(1)
        result = super().visit(node, *args, **kwargs)
        self._weigh(result, 0)
        return result

    def visit_comparator(self, node: Any, value: Any) -> Any:
        """Compare two values at the cost of their weight."""
        sides = [self.visit(child, value) for child in node["children"]]
        self._charge(sides)
        return super().visit_comparator({**node, "children": [_literal(side) for side in sides]}, value)

    def visit_function_expression(self, node: Any, value: Any) -> Any:
        """Call a function at the cost of its arguments' weight."""
        arguments = [self.visit(child, value) for child in node["children"]]
        self._charge(arguments)
        match node["value"], arguments:
            case "join", [str() as between, list() as parts] if len(between) * len(parts) > _HEAVIEST:
                raise Unfit("It makes too much of the message.")
        return self._functions.call_function(node["value"], arguments)

    def _spend(self, steps: int) -> None:
        self._steps_left -= steps
        if self._steps_left < 0:
            raise Unfit("It takes too long on this message.")

    def _charge(self, values: list[Any]) -> None:
        self._spend(sum(self._weigh(value, 0)[0] for value in values) // _WEIGHT_OF_A_STEP)

    def _weigh(self, value: Any, level: int) -> tuple[int, int]:
        """Give a value's weight and depth; each list and object is looked through once."""
        if isinstance(value, str):
            weight, depth = 1 + len(value), 0
        elif not isinstance(value, (list, dict)):
            return 1, 0
        else:
            known = self._weighed.get(id(value))
            if known is not None:
                return known[1], known[2]
            if level > _DEEPEST:
                raise Unfit("The message, or what is made of it, is nested too deeply.")
            self._spend(len(value))
            weight, depth = 1, 0
            for inner in value.values() if isinstance(value, dict) else value:
                inner_weight, inner_depth = self._weigh(inner, level + 1)
                weight, depth = weight + inner_weight, max(depth, inner_depth)
            weight, depth = weight + (sum(map(len, value)) if isinstance(value, dict) else 0), depth + 1
            self._weighed[id(value)] = (value, weight, depth)
        if weight > _HEAVIEST:
            raise Unfit("It makes too much of the message.")
        if depth > _DEEPEST:
            raise Unfit("The message, or what is made of it, is nested too deeply.")
        return weight, depth

    def _check(self, found: Any) -> None:
        """Raise Unfit unless a value is JSON that can be stored and shown."""
        waiting, seen = [found], set[int]()
        while waiting:
            value = waiting.pop()
            if isinstance(value, (list, dict)):
                if id(value) not in seen:
                    seen.add(id(value))
                    waiting.extend(value)
                    waiting.extend(value.values() if isinstance(value, dict) else ())
            elif isinstance(value, str):
                if UNSTORABLE.search(value):
                    raise Unfit("It makes text with a NUL or half of a surrogate pair in it.")
            elif isinstance(value, float):
                if not math.isfinite(value):
                    raise Unfit("It makes a number that JSON does not have.")
            elif isinstance(value, int):
                if value.bit_length() > _WIDEST_BITS:
                    raise Unfit("It makes a number that is too long.")
            elif value is not None:
                raise Unfit("It makes something that is no JSON.")


def _literal(value: Any) -> dict[str, Any]:
    return {"type": "literal", "value": value, "children": []}
