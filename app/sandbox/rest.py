"""WordPress' REST server as far as the sandbox needs it: parameters, errors, `_fields`, pagination.

Order of checks as in WP_REST_Server: credentials, route, JSON, parameters, permission, then the endpoint itself.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from math import ceil
from typing import Literal, NoReturn

from pydantic import JsonValue

from app.sandbox.model import Json
from app.sandbox.php import PhpValue, build_query, is_numeric
from app.sandbox.process import PhpProcess
from app.sandbox.serialize import View

Kind = Literal["string", "integer", "boolean", "date", "integers", "words", "objects"]


class RestError(Exception):
    """An answer that is an error: `{"code", "message", "data"}`.

    `data` is `{"status": N}` as WordPress expects it, or a bare integer where WooCommerce passed one by mistake; the
    HTTP status is then 500 whatever the integer says.
    """

    def __init__(self, code: str, message: str, status: int, *, data: JsonValue = None) -> None:
        super().__init__(code)
        self.code = code
        self.status = status
        self.body: Json = {"code": code, "message": message, "data": {"status": status} if data is None else data}


def wrongly_500(code: str, message: str, number: int) -> RestError:
    """Return an error whose status WooCommerce passed as an integer: it arrives as HTTP 500 (V2R:200, V3R:44)."""
    return RestError(code, message, 500, data=number)


def not_found(code: str, message: str = "Invalid ID.") -> RestError:
    return RestError(code, message, 404)


def no_route() -> RestError:
    return RestError("rest_no_route", "No route was found matching the URL and request method.", 404)


@dataclass(frozen=True, slots=True, kw_only=True)
class Param:
    """One declared parameter of a route."""

    kind: Kind
    default: JsonValue = None
    least: int | None = None
    most: int | None = None
    among: Sequence[str] = ()
    required: bool = False
    #: The first version of WooCommerce that knows it; older ones drop it without a word.
    since: tuple[int, ...] = ()


Params = Mapping[str, Param]


@dataclass(slots=True, kw_only=True)
class Call(PhpProcess):
    """One request that has passed authentication."""

    method: str
    #: Path under /wp-json/wc/v3, without slashes at its ends.
    path: str
    #: Ids and names matched by the route.
    matched: tuple[str, ...]
    query: dict[str, PhpValue]
    body: Json
    #: `https://shop.example/wp-json`
    root: str
    values: dict[str, JsonValue] = field(default_factory=dict)

    def id(self, position: int = 0) -> int:
        return int(self.matched[position])

    def view(self) -> View:
        """Return how to show things; without `dp` in the store's decimals."""
        places = self.values.get("dp")
        settings = self.store.settings()
        return View(
            places=places if isinstance(places, int) else settings.decimals,
            root=self.root,
            version=settings.woocommerce_version,
        )

    def text(self, name: str) -> str | None:
        value = self.values.get(name)
        return value if isinstance(value, str) else None

    def flag(self, name: str) -> bool:
        return self.values.get(name) is True

    def integer(self, name: str) -> int | None:
        value = self.values.get(name)
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    def integers(self, name: str) -> list[int]:
        value = self.values.get(name)
        return [one for one in value if isinstance(one, int)] if isinstance(value, list) else []

    def words(self, name: str) -> list[str]:
        value = self.values.get(name)
        return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []


@dataclass(frozen=True, slots=True)
class Answer:
    body: JsonValue
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


def parse_body(raw: bytes, content_type: str, parse_form: Callable[[str], dict[str, PhpValue]]) -> Json:
    """Return the parameters in a body; a list's or scalar's are none. Raises RestError for broken JSON."""
    if not raw:
        return {}
    if "json" not in content_type:
        return {key: _json(value) for key, value in parse_form(raw.decode("utf-8", "replace")).items()}
    try:
        parsed: JsonValue = json.loads(raw)
    except ValueError:
        data: Json = {"status": 400, "json_error_code": 4, "json_error_message": "Syntax error"}
        raise RestError("rest_invalid_json", "Invalid JSON body passed.", 400, data=data) from None
    return parsed if isinstance(parsed, dict) else {}


def validate(call: Call, params: Params) -> None:
    """Set `call.values` from body and query; raise RestError `rest_invalid_param` that names every wrong one."""
    given: dict[str, JsonValue] = {key: _json(value) for key, value in call.query.items()} | call.body
    missing = [name for name, param in params.items() if param.required and given.get(name) is None]
    if missing:
        raise missing_params(missing)
    wrong: dict[str, tuple[str, str, JsonValue]] = {}
    for name, param in params.items():
        if name not in given or (given[name] is None and param.kind != "string"):
            call.values[name] = param.default
            continue
        try:
            call.values[name] = _parse(name, param, given[name])
        except _InvalidError as invalid:
            wrong[name] = invalid.args[0]
    if wrong:
        raise invalid_params(wrong)


def missing_params(names: Sequence[str]) -> RestError:
    data: Json = {"status": 400, "params": list(names)}
    return RestError("rest_missing_callback_param", "Missing parameter(s): " + ", ".join(names), 400, data=data)


def invalid_params(wrong: Mapping[str, tuple[str, str, JsonValue]]) -> RestError:
    """Return the refusal of parameters by name, each with the code, message and data of its fault."""
    data: Json = {
        "status": 400,
        "params": {name: message for name, (_, message, _) in wrong.items()},
        "details": {
            name: {"code": code, "message": message, "data": data} for name, (code, message, data) in wrong.items()
        },
    }
    return RestError("rest_invalid_param", "Invalid parameter(s): " + ", ".join(wrong), 400, data=data)


def described_param(param: Param) -> Json:
    """Return what OPTIONS tells of a parameter, in JSON schema's words."""
    words: Json = {"type": "string", "enum": list(param.among)} if param.among else {"type": "string"}
    kinds: Mapping[Kind, Json] = {
        "string": words,
        "integer": {"type": "integer"},
        "boolean": {"type": "boolean"},
        "date": {"type": "string", "format": "date-time"},
        "integers": {"type": "array", "items": {"type": "integer"}},
        "words": {"type": "array", "items": words},
        "objects": {"type": "array", "items": {"type": "object"}},
    }
    default: Json = {} if param.default is None else {"default": param.default}
    least: Json = {} if param.least is None else {"minimum": param.least}
    most: Json = {} if param.most is None else {"maximum": param.most}
    return {**kinds[param.kind], **default, **least, **most, "required": param.required}


def paged(call: Call, total: int, *, shown: int, path: str, defaults: Mapping[str, str]) -> dict[str, str]:
    """Return the headers of a list: totals, and links to the pages before and after (CRUD:413-444).

    `defaults` are parameters that showing an item has set on the request and that therefore appear in the links.
    """
    per_page, page = call.integer("per_page") or 10, call.integer("page") or 1
    pages = ceil(total / per_page)
    headers = {"X-WP-Total": str(total), "X-WP-TotalPages": str(pages)}
    query = _link_query(call, defaults if shown else {})
    found = []
    for relation, number in (("prev", min(page - 1, pages)), ("next", page + 1)):
        if (relation == "prev" and page > 1) or (relation == "next" and page < pages):
            query_string = build_query({**query, "page": str(number)})
            found.append(f'<{call.root}/wc/v3/{path}?{query_string}>; rel="{relation}"')
    if found:
        headers["Link"] = ", ".join(found)
    return headers


def select_fields(body: JsonValue, fields: str | None) -> JsonValue:
    """Keep only the fields that `_fields` names, nested ones with dots; in a list, of every element.

    A single object keeps its `_links`: WordPress adds them after the selection.
    """
    if not fields:
        return body
    paths = [name.strip().split(".") for name in fields.split(",") if name.strip()]
    if isinstance(body, list):
        return [_pick(one, paths) for one in body]
    if isinstance(body, dict) and "_links" in body:
        paths.append(["_links"])
    return _pick(body, paths)


class _InvalidError(Exception):
    """args[0]: code, message and data of the detail."""


def _invalid(code: str, message: str, data: JsonValue = None) -> NoReturn:
    raise _InvalidError((code, message, data))


def _json(value: PhpValue) -> JsonValue:
    if isinstance(value, str):
        return value
    if all(key.isdecimal() for key in value):
        return [_json(one) for one in value.values()]
    return {key: _json(one) for key, one in value.items()}


def _parse(name: str, param: Param, value: JsonValue) -> JsonValue:
    match param.kind:
        case "string":
            return _parse_text(name, param, value)
        case "integer":
            return _parse_integer(name, param, value)
        case "boolean":
            if str(value).lower() in {"true", "1"} or value is True:
                return True
            if str(value).lower() in {"false", "0"} or value is False:
                return False
            _invalid("rest_invalid_type", f"{name} is not of type boolean.", {"param": name})
        case "date":
            try:
                datetime.fromisoformat(str(value))
            except ValueError:
                _invalid("rest_invalid_date", "Invalid date.")
            return str(value)
        case "integers":
            items = value if isinstance(value, list) else [one for one in str(value).split(",") if one.strip()]
            return [_parse_integer(f"{name}[{at}]", param, one) for at, one in enumerate(items)]
        case "words":
            words = value if isinstance(value, list) else [one.strip() for one in str(value).split(",")]
            return [_parse_text(f"{name}[{at}]", param, one) for at, one in enumerate(words)]
        case "objects":
            if not isinstance(value, list):
                _invalid("rest_invalid_type", f"{name} is not of type array.", {"param": name})
            return value


def _parse_text(name: str, param: Param, value: JsonValue) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        _invalid("rest_invalid_type", f"{name} is not of type string.", {"param": name})
    if param.among and value not in param.among:
        _invalid("rest_not_in_enum", f"{name} is not one of {_enumerated(param.among)}.")
    return value


def _parse_integer(name: str, param: Param, value: JsonValue) -> int:
    if not is_numeric(value) or float(str(value)) != int(float(str(value))):
        _invalid("rest_invalid_type", f"{name} is not of type integer.", {"param": name})
    number = int(float(str(value)))
    if param.least is not None and param.most is not None and not param.least <= number <= param.most:
        _invalid("rest_out_of_bounds", f"{name} must be between {param.least} (inclusive) and {param.most} (inclusive)")
    if param.least is not None and number < param.least:
        _invalid("rest_out_of_bounds", f"{name} must be greater than or equal to {param.least}")
    return number


def _enumerated(words: Sequence[str]) -> str:
    if len(words) == 2:
        return f"{words[0]} and {words[1]}"
    return ", ".join(words[:-1]) + f", and {words[-1]}"


def _link_query(call: Call, defaults: Mapping[str, str]) -> dict[str, PhpValue]:
    """WordPress writes the parameters as it has parsed them: lists indexed, booleans as 1; `status` moves back."""
    query: dict[str, PhpValue] = {}
    for name, given in call.query.items():
        value = call.values.get(name)
        if isinstance(value, list):
            query[name] = {str(at): str(one) for at, one in enumerate(value)}
        elif isinstance(value, bool):
            query[name] = "1" if value else ""
        else:
            query[name] = given
    if "status" in query and isinstance(call.values.get("status"), list):
        query["status"] = query.pop("status")
    return {**query, **{name: value for name, value in defaults.items() if name not in query}}


def _pick(body: JsonValue, paths: Sequence[Sequence[str]]) -> JsonValue:
    if not isinstance(body, dict):
        return body
    picked: Json = {}
    for name, value in body.items():
        deeper = [path[1:] for path in paths if path[0] == name]
        if not deeper:
            continue
        picked[name] = value if any(not path for path in deeper) else _pick(value, deeper)
    return picked
