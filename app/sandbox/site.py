"""The sandbox site: takes one HTTP request through faults, credentials, route and endpoint to its answer."""

import asyncio
import json
from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Literal
from urllib.parse import urlencode

from pydantic import JsonValue

from app.sandbox import routes
from app.sandbox.auth import Keyring, SandboxKey, Signed
from app.sandbox.faults import Fault, FaultPlan, Operation, faults_in
from app.sandbox.model import Json
from app.sandbox.php import PhpValue, flatten, parse_query
from app.sandbox.queries import LIST_PARAMS
from app.sandbox.rest import (
    Answer,
    Call,
    FatalError,
    PhpKilledError,
    RestError,
    no_route,
    parse_body,
    select_fields,
    validate,
)
from app.sandbox.store import Store

BAD_GATEWAY = (
    b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center><h1>502 Bad Gateway</h1></center>\r\n"
    b"<hr><center>nginx/1.22.1</center>\r\n</body>\r\n</html>\r\n"
)
_MAINTENANCE = b"<!DOCTYPE html><html><head><title>Maintenance</title></head><body><h1>Briefly unavailable for scheduled maintenance. Check back in a minute.</h1></body></html>"  # noqa: E501
_FRONT_PAGE = b"<!DOCTYPE html><html><head><title>Sandbox shop</title></head><body><h1>Sandbox shop</h1></body></html>"
_CAPTCHA = b'<html><head><meta http-equiv="refresh" content="0;/.well-known/sgcaptcha/"></head></html>'
_NOTICE = b"<br />\n<b>Notice</b>:  Undefined index: total in <b>/srv/shop/plugin.php</b> on line <b>42</b><br />\n"
_CRITICAL = (
    "<p>There has been a critical error on this website.</p><p>"
    '<a href="https://wordpress.org/documentation/article/faq-troubleshooting/">'
    "Learn more about troubleshooting WordPress.</a></p>"
)
_HTML = {"Content-Type": "text/html; charset=UTF-8"}
_JSON = {"Content-Type": "application/json; charset=UTF-8"}

#: Query parameters that do not make a page cache look afresh.
_NO_CACHE_BUSTER = {*LIST_PARAMS, "status", "_fields", "consumer_key", "consumer_secret"}
_CACHED_ANSWERS = 500
_LOGGED_REQUESTS = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    method: str
    #: As sent, percent-encoded.
    path: str
    query_string: str
    #: Names in lower case.
    headers: Mapping[str, str]
    body: bytes
    #: `https://shop.example`
    site_url: str
    is_https: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpAnswer:
    status: int
    headers: Mapping[str, str]
    body: bytes
    #: What happens to the connection: `lost` closes it without a byte, `truncated` in the middle of the body.
    connection: Literal["kept", "lost", "truncated"] = "kept"


@dataclass(slots=True, kw_only=True)
class LoggedRequest:
    """One request, for tests to look at; without credentials."""

    at: str
    method: str
    path: str
    query: str
    user_agent: str
    request_id: str
    status: int | None = None
    faults: list[str] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Site:
    """The store's site as the web sees it."""

    store: Store
    keyring: Keyring
    plan: FaultPlan = field(default_factory=FaultPlan)
    provider_delay_s: float = 0.0
    read_delay_s: float = 0.0
    log: deque[LoggedRequest] = field(default_factory=lambda: deque(maxlen=_LOGGED_REQUESTS))
    _cache: OrderedDict[str, HttpAnswer] = field(default_factory=OrderedDict)

    def forget(self) -> None:
        """Drop fault rules, the request log and the page cache."""
        self.plan.clear()
        self.log.clear()
        self._cache.clear()

    async def answer(self, request: HttpRequest) -> HttpAnswer:
        """Return the answer to a request; what it changed is committed by then."""
        query = parse_query(request.query_string)
        method = _method(request, query)
        faults = self._faults(request, method)
        logged = _logged(request, query, faults)
        self.log.append(logged)
        answer = _before(request, faults)
        if delay := next((fault.delay_s for fault in faults if fault.name == "latency"), 0.0):
            await asyncio.sleep(delay)
        if answer is None:
            if method == "GET" and self.read_delay_s:
                await asyncio.sleep(self.read_delay_s)
            answer = await self._cached(request, method, query, faults)
        logged.status = answer.status
        return answer

    async def _cached(
        self, request: HttpRequest, method: str, query: Mapping[str, PhpValue], faults: Sequence[Fault]
    ) -> HttpAnswer:
        """A page cache in front of reads: it answers with what it saw last while the fault `stale` strikes."""
        busted = any(name not in _NO_CACHE_BUSTER and not name.startswith("oauth_") for name in query)
        key = f"{request.path}?{urlencode(_without_credentials(query))}"
        if method == "GET" and not busted and any(fault.name == "stale" for fault in faults) and key in self._cache:
            return self._cache[key]
        answer = await self._rest(request, method, dict(query), faults)
        if method == "GET" and not busted and answer.status == 200:
            self._cache[key] = answer
            self._cache.move_to_end(key)
            if len(self._cache) > _CACHED_ANSWERS:
                self._cache.popitem(last=False)
        return _after(answer, faults)

    def _faults(self, request: HttpRequest, method: str) -> list[Fault]:
        order_id, refunding = _subject(request, method)
        operation: Operation = "refund" if refunding else "read" if method == "GET" else "any"
        faults = self.plan.strike(operation, order_id)
        if refunding:
            faults += faults_in(_reason(request.body))
        return faults

    async def _rest(
        self, request: HttpRequest, method: str, query: dict[str, PhpValue], faults: Sequence[Fault]
    ) -> HttpAnswer:
        root = f"{request.site_url}/wp-json"
        headers = {**_JSON, "Link": f'<{root}/>; rel="https://api.w.org/"'}
        allow: dict[str, str] = {}
        try:
            key = self.keyring.authenticate(_signed(request, query))
            if method in {"GET", "OPTIONS"} and (index := _index(request.path, root)) is not None:
                body = select_fields(index, _text(query.get("_fields")))
                return _json_answer(200, body, {**headers, "Allow": "GET"})
            path = request.path.rstrip("/").partition("/wp-json/wc/v3/")[2]
            route, action, matched = routes.match(path, method)
            allow = {"Allow": route.allow}
            if action is None:
                return _json_answer(200, routes.described(route), {**headers, **allow})
            call = Call(
                store=self.store,
                method=method,
                path=path,
                matched=matched,
                query=query,
                body=parse_body(request.body, request.headers.get("content-type", ""), parse_query),
                root=root,
                faults=faults,
                provider_delay_s=self.provider_delay_s,
            )
            validate(call, action.params)
            _permit(key, method, path)
            answer: Answer = await action.endpoint(call)
        except RestError as error:
            unauthorised = error.status in {401, 403}
            return _json_answer(error.status, error.body, {**headers, **({} if unauthorised else allow)})
        except FatalError:
            return _critical_error(request, headers)
        except PhpKilledError:
            return HttpAnswer(status=502, headers=_HTML, body=BAD_GATEWAY)
        body = select_fields(answer.body, _text(query.get("_fields")))
        return _json_answer(answer.status, body, {**headers, **allow, **answer.headers})


def _method(request: HttpRequest, query: Mapping[str, PhpValue]) -> str:
    """WordPress lets a POST say that it means another method."""
    override = _text(query.get("_method")) or request.headers.get("x-http-method-override")
    if request.method == "POST" and override:
        return override.upper()
    return "GET" if request.method == "HEAD" else request.method


def _subject(request: HttpRequest, method: str) -> tuple[int | None, bool]:
    """Return the order a request is about, and whether it makes a refund."""
    parts = request.path.strip("/").split("/")
    if parts[:4] == ["wp-json", "wc", "v3", "orders"] and len(parts) > 4 and parts[4].isdecimal():
        return int(parts[4]), method == "POST" and parts[5:] == ["refunds"]
    return None, False


def _reason(body: bytes) -> str:
    try:
        parsed: JsonValue = json.loads(body)
    except ValueError:
        return ""
    return str(parsed.get("reason") or "") if isinstance(parsed, dict) else ""


def _logged(request: HttpRequest, query: Mapping[str, PhpValue], faults: Sequence[Fault]) -> LoggedRequest:
    return LoggedRequest(
        at=datetime.now(UTC).isoformat(),
        method=request.method,
        path=request.path,
        query=urlencode(_without_credentials(query)),
        user_agent=request.headers.get("user-agent", ""),
        request_id=request.headers.get("x-request-id", ""),
        faults=[fault.name for fault in faults],
    )


def _without_credentials(query: Mapping[str, PhpValue]) -> list[tuple[str, str]]:
    return [
        pair
        for pair in flatten(dict(query))
        if not pair[0].startswith("oauth_") and not pair[0].startswith("consumer_")
    ]


def _signed(request: HttpRequest, query: Mapping[str, PhpValue]) -> Signed:
    is_form = "application/x-www-form-urlencoded" in request.headers.get("content-type", "")
    return Signed(
        method=request.method,
        url=request.site_url + request.path,
        is_https=request.is_https,
        query=query,
        form=parse_query(request.body.decode("utf-8", "replace")) if is_form else {},
        authorization=request.headers.get("authorization", ""),
    )


def _permit(key: SandboxKey | None, method: str, path: str) -> None:
    if key is None:
        raise routes.denied(method, path)


def _index(path: str, root: str) -> Json | None:
    """Return the index of the REST API or of wc/v3, if the path asks for it."""
    match path.strip("/"):
        case "wp-json":
            return {
                "name": "Sandbox shop",
                "description": "",
                "url": root.removesuffix("/wp-json"),
                "home": root.removesuffix("/wp-json"),
                "gmt_offset": 0,
                "timezone_string": "UTC",
                "namespaces": ["oembed/1.0", "wc/v1", "wc/v2", "wc/v3", "wp/v2"],
                "authentication": [],
                "routes": {},
            }
        case "wp-json/wc/v3":
            return routes.namespace_index(root)
        case other if not other.startswith("wp-json/wc/v3/"):
            raise no_route()
        case _:
            return None


def _text(value: PhpValue | None) -> str | None:
    return value if isinstance(value, str) else None


def _json_answer(status: int, body: JsonValue, headers: Mapping[str, str]) -> HttpAnswer:
    return HttpAnswer(status=status, headers=headers, body=json.dumps(body, separators=(",", ":")).encode())


def _critical_error(request: HttpRequest, headers: Mapping[str, str]) -> HttpAnswer:
    """WordPress' error handler answers in JSON only to those who speak of JSON."""
    if "json" not in request.headers.get("accept", "") + request.headers.get("content-type", ""):
        return HttpAnswer(
            status=500, headers=_HTML, body=f"<!DOCTYPE html><html><body>{_CRITICAL}</body></html>".encode()
        )
    body: Json = {
        "code": "internal_server_error",
        "message": _CRITICAL,
        "data": {"status": 500},
        "additional_errors": [],
    }
    return _json_answer(500, body, headers)


def _before(request: HttpRequest, faults: Sequence[Fault]) -> HttpAnswer | None:
    """Return the answer of a fault that keeps the request from the shop altogether."""
    for fault in faults:
        retry = {"Retry-After": str(fault.retry_after_s)}
        plain = {"Content-Type": "text/plain"}
        match fault.name:
            case "rate_limited":
                return HttpAnswer(status=429, headers={**plain, **retry}, body=b"Too Many Requests")
            case "bad_gateway":
                return HttpAnswer(status=502, headers=_HTML, body=BAD_GATEWAY)
            case "maintenance":
                return HttpAnswer(status=503, headers={**_HTML, "Retry-After": "600"}, body=_MAINTENANCE)
            case "unavailable":
                return HttpAnswer(status=503, headers={**plain, **retry}, body=b"Service Unavailable")
            case "html":
                return HttpAnswer(status=200, headers=_HTML, body=_FRONT_PAGE)
            case "captcha":
                return HttpAnswer(status=202, headers={**_HTML, "SG-Captcha": "challenge"}, body=_CAPTCHA)
            case "redirect":
                location = request.site_url.replace("://", "://www.") + request.path
                return HttpAnswer(status=301, headers={**_HTML, "Location": location}, body=b"")
            case _:
                pass
    return None


def _after(answer: HttpAnswer, faults: Sequence[Fault]) -> HttpAnswer:
    """Return what is left of an answer after the faults on its way back."""
    for fault in faults:
        match fault.name:
            case "lost_answer":
                return replace(answer, connection="lost")
            case "truncated_json":
                return replace(answer, connection="truncated")
            case "bad_gateway_after":
                return HttpAnswer(status=502, headers=_HTML, body=BAD_GATEWAY)
            case "bom":
                answer = replace(answer, body=b"\xef\xbb\xbf" + answer.body)
            case "notice":
                answer = replace(answer, body=_NOTICE + answer.body)
            case _:
                pass
    return answer
