"""The sandbox site: takes one HTTP request through faults, credentials, route and endpoint to its answer."""

import asyncio
import json
import re
from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import urlencode

from pydantic import JsonValue

from app.sandbox import legacy, routes
from app.sandbox.auth import Keyring, SandboxKey, Signed
from app.sandbox.catalogue import SHOP_NAME
from app.sandbox.deliveries import Deliveries
from app.sandbox.exchange import JSON, HttpAnswer, HttpRequest, bad_gateway, critical_error, json_answer
from app.sandbox.faults import Fault, FaultPlan, Operation, faults_in
from app.sandbox.hosting import kept_away, on_the_way_back
from app.sandbox.model import Json, StoreSettings
from app.sandbox.php import PhpValue, flatten, parse_query
from app.sandbox.process import FatalError, PhpKilledError, PhpProcess
from app.sandbox.queries import LIST_PARAMS
from app.sandbox.rest import Answer, Call, RestError, no_route, parse_body, select_fields, validate
from app.sandbox.store import Store

#: Query parameters that do not make a page cache look afresh.
_NO_CACHE_BUSTER = {*LIST_PARAMS, "status", "_fields", "fields", "filter", "consumer_key", "consumer_secret"}
_READING = {"GET", "HEAD"}
_OF_AN_ORDER = re.compile(r"/(?:wp-json/wc|wc-api)/v3/orders/(\d+)((?:/.*)?)", re.ASCII)
_CACHED_ANSWERS = 500
_LOGGED_REQUESTS = 2000


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
    deliveries: Deliveries
    log: deque[LoggedRequest] = field(default_factory=lambda: deque(maxlen=_LOGGED_REQUESTS))
    _cache: OrderedDict[str, HttpAnswer] = field(default_factory=OrderedDict)

    def forget(self) -> None:
        """Drop fault rules, the request log, the page cache and webhooks to be sent."""
        self.plan.clear()
        self.deliveries.forget()
        self.log.clear()
        self._cache.clear()

    async def answer(self, request: HttpRequest) -> HttpAnswer:
        """Return the answer to a request; what it changed is committed by then."""
        query = parse_query(request.query_string)
        method = legacy.method_of(request, query) if legacy.concerns(request.path) else _method(request, query)
        faults = self._faults(request, method)
        logged = _logged(request, query, faults)
        self.log.append(logged)
        answer = kept_away(request, faults)
        if delay := next((fault.delay_s for fault in faults if fault.name == "latency"), 0.0):
            await asyncio.sleep(delay)
        if answer is None:
            if method in _READING and self.read_delay_s:
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
        if legacy.concerns(request.path):
            process = self._process(faults)
            answer = await legacy.answer(request, method, query, process, self.keyring)
        else:
            answer = await self._rest(request, method, dict(query), faults)
        if method == "GET" and not busted and answer.status == 200:
            self._cache[key] = answer
            self._cache.move_to_end(key)
            if len(self._cache) > _CACHED_ANSWERS:
                self._cache.popitem(last=False)
        return on_the_way_back(answer, faults)

    def _faults(self, request: HttpRequest, method: str) -> list[Fault]:
        order_id, refunding = _subject(request, method)
        operation: Operation = "refund" if refunding else "read" if method in _READING else "any"
        faults = self.plan.strike(operation, order_id)
        if refunding:
            faults += faults_in(_reason(request.body))
        return faults

    async def _rest(
        self, request: HttpRequest, method: str, query: dict[str, PhpValue], faults: Sequence[Fault]
    ) -> HttpAnswer:
        root = f"{request.site_url}/wp-json"
        headers = {**JSON, "Link": f'<{root}/>; rel="https://api.w.org/"'}
        allow: dict[str, str] = {}
        settings = self.store.settings()
        try:
            key = self.keyring.authenticate(_signed(request, query))
            if method == "OPTIONS":
                return _options(request, root, settings, headers, known=key is not None)
            if method == "GET" and (index := _index(request.path, root, settings)) is not None:
                body = select_fields(index, _text(query.get("_fields")))
                return json_answer(200, body, {**headers, "Allow": "GET"})
            path = _v3_path(request.path, settings)
            route, action, matched = routes.match(path, method, settings.version)
            allow = {"Allow": route.allow}
            call = Call(
                store=self.store,
                faults=faults,
                provider_delay_s=self.provider_delay_s,
                method=method,
                path=path,
                matched=matched,
                query=query,
                body=parse_body(request.body, request.content_type, parse_query),
                root=root,
            )
            validate(call, action.known(settings.version))
            _permit(key, method, path)
            answer: Answer = await action.endpoint(call)
        except RestError as error:
            unauthorised = error.status in {401, 403}
            return json_answer(error.status, error.body, {**headers, **({} if unauthorised else allow)})
        except FatalError:
            return critical_error(request, headers)
        except PhpKilledError:
            return bad_gateway()
        body = select_fields(answer.body, _text(query.get("_fields")))
        return json_answer(answer.status, body, {**headers, **allow, **answer.headers})

    def _process(self, faults: Sequence[Fault]) -> PhpProcess:
        return PhpProcess(store=self.store, faults=faults, provider_delay_s=self.provider_delay_s)


def _method(request: HttpRequest, query: Mapping[str, PhpValue]) -> str:
    """WordPress lets a POST say that it means another method."""
    override = _text(query.get("_method")) or request.headers.get("x-http-method-override")
    if request.method == "POST" and override:
        return override.upper()
    return "GET" if request.method == "HEAD" else request.method


def _subject(request: HttpRequest, method: str) -> tuple[int | None, bool]:
    """Return the order a request is about, and whether it makes a refund."""
    found = _OF_AN_ORDER.fullmatch(request.path.rstrip("/"))
    if found is None:
        return None, False
    return int(found[1]), method == "POST" and found[2] == "/refunds"


def _reason(body: bytes) -> str:
    """Return the reason in a refund's body, of either API."""
    try:
        parsed: JsonValue = json.loads(body)
    except ValueError:
        return ""
    inner = parsed.get("order_refund", parsed) if isinstance(parsed, dict) else None
    return str(inner.get("reason") or "") if isinstance(inner, dict) else ""


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
    is_form = "application/x-www-form-urlencoded" in request.content_type
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


def _v3_path(path: str, settings: StoreSettings) -> str:
    """Return a path below wc/v3, without slashes at its ends; raise RestError `rest_no_route` for others."""
    path = path.rstrip("/") + "/"
    if not path.startswith("/wp-json/wc/v3/") or not settings.rest_v3:
        raise no_route()
    return path.removeprefix("/wp-json/wc/v3/").rstrip("/")


def _index(path: str, root: str, settings: StoreSettings) -> Json | None:
    """Return the index of the REST API or of wc/v3, if the path asks for it."""
    match path.strip("/"):
        case "wp-json":
            return {
                "name": SHOP_NAME,
                "description": "",
                "url": root.removesuffix("/wp-json"),
                "home": root.removesuffix("/wp-json"),
                "gmt_offset": 0,
                "timezone_string": "UTC",
                "namespaces": ["oembed/1.0", *(("wc/v1", "wc/v2", "wc/v3") if settings.rest_v3 else ()), "wp/v2"],
                "authentication": [],
                "routes": {},
            }
        case "wp-json/wc/v3" if settings.rest_v3:
            return routes.namespace_index(root, settings.version)
        case _:
            return None


def _options(
    request: HttpRequest, root: str, settings: StoreSettings, headers: Mapping[str, str], *, known: bool
) -> HttpAnswer:
    """Describe a route; the methods in `Allow` are those that this key's owner may use."""
    try:
        path = _v3_path(request.path, settings)
    except RestError:
        return json_answer(200, [], headers)
    body, methods = routes.options(path, root, settings.version)
    return json_answer(200, body, {**headers, **({"Allow": methods} if methods and known else {})})


def _text(value: PhpValue | None) -> str | None:
    return value if isinstance(value, str) else None
