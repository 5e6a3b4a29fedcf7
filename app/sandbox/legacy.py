"""The legacy API under /wc-api/v3, as the Legacy REST API plugin 1.0.1 answers (class-wc-api-server.php).

Without the plugin the same paths answer 404 `woocommerce_api_disabled`. The sandbox serves the index, orders (to read),
order notes (to read), refunds and webhooks; the plugin's other routes and versions are `woocommerce_api_no_route` here.
"""

import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from urllib.parse import unquote

from pydantic import JsonValue

from app.sandbox import legacy_orders, legacy_refunds, legacy_webhooks
from app.sandbox.auth import Keyring
from app.sandbox.exchange import HTML, JSON, HttpAnswer, HttpRequest, bad_gateway, critical_error, json_answer
from app.sandbox.legacy_auth import authenticate
from app.sandbox.legacy_call import LegacyAnswer, LegacyCall, LegacyError
from app.sandbox.legacy_index import index
from app.sandbox.model import Json
from app.sandbox.php import PhpValue, parse_query
from app.sandbox.process import FatalError, PhpKilledError, PhpProcess

Endpoint = Callable[[LegacyCall], Awaitable[LegacyAnswer]]

_VERSIONED = re.compile(r"/wc-api/v([1-3])((?:/.*)?)")
_DISABLED: Json = {
    "errors": {"code": "woocommerce_api_disabled", "message": "The WooCommerce API is disabled on this site"}
}
_READ, _CREATE, _EDIT, _DELETE = {"HEAD", "GET"}, {"POST"}, {"POST", "PUT", "PATCH"}, {"DELETE"}
_METHODS = {*_READ, *_EDIT, *_DELETE}


@dataclass(frozen=True, slots=True)
class _Handler:
    pattern: re.Pattern[str]
    methods: set[str]
    endpoint: Endpoint
    takes_data: bool


def _handler(pattern: str, methods: set[str], endpoint: Endpoint, *, takes_data: bool = False) -> _Handler:
    return _Handler(re.compile(pattern, re.ASCII | re.IGNORECASE), methods, endpoint, takes_data)


_REFUNDS, _REFUND = r"/orders/(?P<order_id>\d+)/refunds", r"/orders/(?P<order_id>\d+)/refunds/(?P<id>\d+)"
_HANDLERS: Sequence[_Handler] = (
    _handler(r"/orders", _READ, legacy_orders.list_orders),
    _handler(r"/orders/(?P<id>\d+)", _READ, legacy_orders.retrieve),
    _handler(r"/orders/(?P<order_id>\d+)/notes", _READ, legacy_orders.list_notes),
    _handler(_REFUNDS, _READ, legacy_refunds.list_of_order),
    _handler(_REFUNDS, _CREATE, legacy_refunds.create, takes_data=True),
    _handler(_REFUND, _READ, legacy_refunds.retrieve),
    _handler(_REFUND, _EDIT, legacy_refunds.update, takes_data=True),
    _handler(_REFUND, _DELETE, legacy_refunds.delete),
    _handler(r"/webhooks", _READ, legacy_webhooks.list_webhooks),
    _handler(r"/webhooks", _CREATE, legacy_webhooks.create, takes_data=True),
    _handler(r"/webhooks/(?P<id>\d+)", _EDIT, legacy_webhooks.update, takes_data=True),
)


def concerns(path: str) -> bool:
    """Say whether a path belongs to the legacy API."""
    return f"{path}/".startswith("/wc-api/")


def method_of(request: HttpRequest, query: Mapping[str, PhpValue]) -> str:
    """Return the method a request means: `_method` before the header, on whatever it was sent with (LS:133-137)."""
    by_query = query.get("_method")
    if isinstance(by_query, str):
        return by_query.upper()
    return request.headers.get("x-http-method-override", request.method)


async def answer(
    request: HttpRequest, method: str, query: Mapping[str, PhpValue], process: PhpProcess, keyring: Keyring
) -> HttpAnswer:
    """Return the answer to a request; what it changed is committed by then."""
    path = unquote(request.path)
    versioned = _VERSIONED.fullmatch(path)
    if versioned is None:
        # A payment gateway's callback that no gateway has asked for.
        return HttpAnswer(status=400, headers=HTML, body=b"-1")
    if not process.store.settings().legacy:
        return json_answer(404, _DISABLED, JSON)
    route = versioned[2].rstrip("/") or "/"
    try:
        if versioned[1] != "3":
            raise _no_route()
        if route != "/":
            authenticate(keyring, request, method, query)
        given = await _dispatch(request, route, method, query, process)
        answered = json_answer(given.status, given.body, {**JSON, **given.headers})
    except LegacyError as error:
        answered = json_answer(error.status, error.body, {**JSON, **error.headers})
    except FatalError:
        answered = critical_error(request, JSON)
    except PhpKilledError:
        return bad_gateway()
    return replace(answered, body=b"") if method == "HEAD" else answered


async def _dispatch(
    request: HttpRequest, route: str, method: str, query: Mapping[str, PhpValue], process: PhpProcess
) -> LegacyAnswer:
    if method not in _METHODS:
        raise LegacyError("woocommerce_api_unsupported_method", "Unsupported request method", 400)
    if route == "/" and method in _READ:
        return LegacyAnswer(index(request.site_url, process.store.settings()))
    for handler in _HANDLERS:
        found = handler.pattern.fullmatch(route) if method in handler.methods else None
        if found is None:
            continue
        is_form = "application/x-www-form-urlencoded" in request.content_type
        form = parse_query(request.body.decode("utf-8", "replace")) if is_form and method == "POST" else {}
        data = _parsed(request.body) if handler.takes_data else None
        if handler.takes_data and data is None:
            raise LegacyError("woocommerce_api_missing_callback_param", "Missing parameter data", 400)
        call = LegacyCall(
            store=process.store,
            faults=process.faults,
            provider_delay_s=process.provider_delay_s,
            method=method,
            site_url=request.site_url,
            path=unquote(request.path),
            query=query,
            args={**found.groupdict(), **query, **form},
            data=data,
        )
        return await handler.endpoint(call)
    raise _no_route()


def _no_route() -> LegacyError:
    return LegacyError("woocommerce_api_no_route", "No route was found matching the URL and request method", 404)


def _parsed(body: bytes) -> JsonValue:
    """Return the body's JSON whatever its content type says; None if it is none."""
    try:
        parsed: JsonValue = json.loads(body)
    except ValueError:
        return None
    return parsed
