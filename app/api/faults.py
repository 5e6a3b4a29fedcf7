"""Saying what is wrong with a request's form: every fault, by our own codes, with a pointer to its place."""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, get_args, get_origin

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel

from app.api.problem_codes import InputCode
from app.api.problems import InputFault
from app.api.reading import Unreadable, pointer_token

Place = Literal["body", "query", "header", "path"]

_WRONG_TYPES: Mapping[str, str] = {
    "string_type": "This is text: write it with quotes.",
    "int_type": "This is a whole number, without quotes or digits behind a dot.",
    "int_from_float": "This is a whole number, without digits behind a dot.",
    "bool_type": "This is true or false, without quotes.",
    "list_type": "This is a list.",
    "dict_type": "This is an object.",
    "model_type": "This is an object.",
    "model_attributes_type": "This is an object.",
}
_CUSTOM: frozenset[InputCode] = frozenset(
    {
        "malformed_amount",
        "amount_not_text",
        "malformed_value",
        "wrong_type",
        "missing_field",
        "duplicate_key",
        "out_of_range",
    }
)


def faults_of(error: RequestValidationError, model: type[BaseModel] | None = None) -> list[InputFault]:
    """Translate everything that FastAPI and pydantic found; `model` is the body's or the query's, to suggest names."""
    faults: list[InputFault] = []
    unread = False
    for entry in error.errors():
        place: Place = entry["loc"][0]
        if place == "body" and isinstance(error.body, Unreadable):
            if not unread:
                faults.extend(error.body.faults)
            unread = True
        else:
            faults.append(_fault(entry, place, error.body if place == "body" else None, model))
    return faults


def _fault(entry: Mapping[str, Any], place: Place, body: Any, model: type[BaseModel] | None) -> InputFault:
    kind: str = entry["type"]
    path = list(_path(entry["loc"][1:], body)) if place == "body" else list(entry["loc"][1:])
    if kind == "missing" and place == "body":
        if not entry["loc"][1:]:
            return InputFault(code="missing_field", pointer="", message="The request needs a JSON body.")
        path.append(entry["loc"][-1])
    code, message, facts = _explain(kind, entry, path, model)
    if not path and code == "wrong_type":
        code, message = "body_not_an_object", "The body is a JSON object."
    pointer = "".join(f"/{pointer_token(str(part))}" for part in path)
    return InputFault(code=code, pointer=pointer, message=message, place=place, facts=facts)


def _path(loc: Sequence[str | int], body: Any) -> Iterator[str | int]:
    """Follow a location through the body itself, leaving out what pydantic adds (branches of unions, "[key]")."""
    here = body
    for part in loc:
        in_object = isinstance(here, dict) and part in here
        in_list = isinstance(here, list) and isinstance(part, int) and part < len(here)
        if not in_object and not in_list:
            continue
        here = here[part]
        yield part


def _explain(
    kind: str, entry: Mapping[str, Any], path: Sequence[str | int], model: type[BaseModel] | None
) -> tuple[InputCode, str, dict[str, Any]]:
    context: Mapping[str, Any] = entry.get("ctx") or {}
    if kind in _CUSTOM:
        return kind, entry["msg"], {}
    if kind in _WRONG_TYPES:
        return "wrong_type", _WRONG_TYPES[kind], {}
    match kind:
        case "missing":
            return "missing_field", f"{path[-1]} has to be there.", {}
        case "extra_forbidden":
            return _unknown(str(path[-1]), _names_beside(path[:-1], model))
        case "string_too_long":
            limit = context["max_length"]
            return "too_long", f"At most {limit} characters are allowed here.", {"limit": limit}
        case "too_long":
            limit = context["max_length"]
            unit = context.get("unit", "entries")
            return "too_long", f"At most {limit} {unit} are allowed here.", {"limit": limit}
        case "greater_than_equal" | "less_than_equal":
            bound = context.get("ge", context.get("le"))
            word, name = ("least", "minimum") if "ge" in context else ("most", "maximum")
            return "out_of_range", f"This has to be at {word} {bound}.", {name: bound}
        case "literal_error" | "enum":
            choices = _choices(path, model)
            return "invalid_choice", f"This has to be one of: {', '.join(choices)}.", {"choices": choices}
        case "int_parsing" | "int_parsing_size":
            return "malformed_value", "This is a whole number.", {}
        case "string_pattern_mismatch":
            pattern = context["pattern"]
            return "malformed_value", "This is not written as it has to be; see pattern.", {"pattern": pattern}
        case "string_too_short":
            return "malformed_value", "This must not be empty.", {}
        case _:
            # Dates, time zones and whatever else pydantic has; its own words are fit to be read.
            return "malformed_value", f"{entry['msg']}.", {}


def _unknown(name: str, known: Sequence[str]) -> tuple[InputCode, str, dict[str, Any]]:
    by_letters = {_letters(candidate): candidate for candidate in known}
    near = difflib.get_close_matches(_letters(name), by_letters, n=1, cutoff=0.75)
    shown = name if len(name) <= 40 else f"{name[:40]}…"
    if not near:
        return "unknown_field", f"There is no field {shown!r} here.", {}
    suggestion = by_letters[near[0]]
    return (
        "unknown_field",
        f"There is no field {shown!r} here; {suggestion} is probably meant.",
        {"suggestion": suggestion},
    )


def _letters(name: str) -> str:
    return "".join(character for character in name.lower() if character.isalnum())


def _names_beside(path: Sequence[str | int], model: type[BaseModel] | None) -> list[str]:
    annotation = _annotation(path, model)
    return [name for part in _models(annotation) for name in part.model_fields]


def _choices(path: Sequence[str | int], model: type[BaseModel] | None) -> list[str]:
    annotation = _annotation(path, model)
    return [str(choice) for part in _parts(annotation) if get_origin(part) is Literal for choice in get_args(part)]


def _annotation(path: Sequence[str | int], model: type[BaseModel] | None) -> Any:
    """Give the type at the end of a path through a model's fields."""
    annotation: Any = model
    for part in path:
        if isinstance(part, str):
            annotation = next(
                (m.model_fields[part].annotation for m in _models(annotation) if part in m.model_fields), None
            )
    return annotation


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    for part in _parts(annotation):
        if isinstance(part, type) and issubclass(part, BaseModel):
            yield part


def _parts(annotation: Any) -> Iterator[Any]:
    """Take unions, lists and Annotated apart."""
    yield annotation
    if get_origin(annotation) is not Literal:
        for part in get_args(annotation):
            yield from _parts(part)
