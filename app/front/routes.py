"""Where requests of WooCommerce clients go."""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.api.auth import RateLimit
from app.api.problems import Problem
from app.api.trace import trace_of
from app.api.values import STORE_PATTERN
from app.database import OUTAGES
from app.flows.runtime import Runtime
from app.front import index, passing, previewing, refunds_legacy, refunds_v3
from app.front.answers import Admitted, answer, error_answer, nowhere
from app.front.asking import ROOTS, Asked, Method, read
from app.front.delivery import Deliveries
from app.front.errors import WooError
from app.front.keys import FrontKeys
from app.front.words import Face, Situation
from app.telemetry import log

_STORE = re.compile(STORE_PATTERN)
_LISTED = re.compile(r"orders/([0-9]{1,30})/refunds", re.ASCII)
_PREVIEW = re.compile(r"orders/([0-9]{1,30})/refunds/preview", re.ASCII)
_ONE = re.compile(r"orders/([0-9]{1,30})/refunds/([0-9]{1,30})", re.ASCII)
_LONGEST_ID = 18
_RETRY_SERVICE_S = 5
_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
#: Said before WordPress has found the route, so that there is no Allow yet.
_BEFORE_ROUTING: frozenset[Situation] = frozenset(
    {"no_route", "authentication", "missing_oauth_parameter", "rate_limited", "read_only", "service_unavailable"}
)

Handler = Callable[[Admitted], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class _Template:
    """Stands for a route in the log and the metrics, without ids, names and queries."""

    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Resource:
    """What can be done at an address."""

    template: str  #: below the API's root
    handlers: Mapping[Method, Handler]
    args: Mapping[str, Any] = field(default_factory=lambda: index.CREATE_ARGS)  #: of a POST, for OPTIONS

    @property
    def allow(self) -> str:
        return ", ".join(self.handlers)


class Front:
    """The drop-in front: answers as WooCommerce does, refunds first."""

    def __init__(self) -> None:
        """Start with no key known."""
        self._keys = FrontKeys()
        self._deliveries = Deliveries()

    def routes(self) -> list[Route]:
        """Give the routes of both APIs."""
        return [
            Route("/stores/{store}/wp-json", self._wordpress, methods=_METHODS, include_in_schema=False),
            Route("/stores/{store}/wp-json/{path:path}", self._wordpress, methods=_METHODS, include_in_schema=False),
            Route("/stores/{store}/wc-api/{path:path}", self._legacy, methods=_METHODS, include_in_schema=False),
        ]

    async def _wordpress(self, request: Request) -> Response:
        return await self._respond(request, "v3", "wc/v3")

    async def _legacy(self, request: Request) -> Response:
        return await self._respond(request, "legacy", "v3")

    async def _respond(self, request: Request, face: Face, namespace: str) -> Response:
        """Answer a request, whatever comes of it, in the shape of its API."""
        if _STORE.fullmatch(request.path_params["store"]) is None:
            request.scope["route"] = _Template(f"/stores/{{store}}/{ROOTS[face]}/{{path}}")
            return nowhere(face)
        whole: str = request.path_params.get("path", "").strip("/")
        inside = whole == namespace or whole.startswith(f"{namespace}/")
        request.path_params["path"] = whole[len(namespace) :] if inside else whole
        rt: Runtime = request.app.state.runtime
        asked = await read(request, face, public_url=rt.settings.public_url)
        resource = _resource(asked) if inside else None
        below = f"{ROOTS[face]}/{resource.template}" if resource is not None else f"{ROOTS[face]}/{{path}}"
        request.scope["route"] = _Template(f"/stores/{{store}}/{below}")
        try:
            if asked.override_fault is not None:
                raise WooError(asked.override_fault)
            if resource is not None and asked.method == "OPTIONS":
                return answer(
                    asked, index.options(resource.allow, args=resource.args), headers={"Allow": resource.allow}
                )
            if asked.method == "GET" and not asked.path:
                return answer(asked, index.of(asked, inside=inside), headers={"Allow": "GET"})
            turn = await self._admit(request, rt, asked)
            if not inside:
                raise WooError("no_route")
            response = await _handler(asked, resource)(turn)
        except WooError as error:
            response = error_answer(asked, error)
            if error.situation in _BEFORE_ROUTING or error.situation.startswith("cannot_"):
                return response
        except OUTAGES as error:
            log.error("ledger.lost", error=str(error))
            gone = WooError("service_unavailable", headers={"Retry-After": str(_RETRY_SERVICE_S)})
            return error_answer(asked, gone)
        if resource is not None and face == "v3":
            response.headers.setdefault("Allow", resource.allow)
        return response

    async def _admit(self, request: Request, rt: Runtime, asked: Asked) -> Admitted:
        """Find out who asks, and count the request."""
        who = await self._keys.identify(rt, asked)
        trace = trace_of(request.scope)
        trace.caller = who.caller
        try:
            cast("RateLimit", request.app.state.rate_limit).take(who.caller.key_id, trace)
        except Problem as problem:
            raise WooError("rate_limited", headers=problem.headers) from None
        return Admitted(rt=rt, asked=asked, who=who, trace=trace, request=request, deliveries=self._deliveries)


def _handler(asked: Asked, resource: _Resource | None) -> Handler:
    if resource is None:
        return passing.respond
    handler = resource.handlers.get(asked.method)
    if handler is None:
        raise WooError("no_route")
    return handler


def _resource(asked: Asked) -> _Resource | None:
    """Find what a path names; None for what is no refund."""
    v3 = asked.face == "v3"
    if asked.path == "refunds" and v3:
        return _Resource(template="refunds", handlers={"GET": refunds_v3.list_of_store})
    if (found := _LISTED.fullmatch(asked.path)) is not None:
        return _of_order(v3=v3, order_id=found[1])
    if v3 and (found := _PREVIEW.fullmatch(asked.path)) is not None:
        return _Resource(
            template="orders/{order_id}/refunds/preview",
            handlers={"POST": _of(previewing.preview, _id(found[1]))},
            args=index.PREVIEW_ARGS,
        )
    if (found := _ONE.fullmatch(asked.path)) is not None:
        return _single(v3=v3, order_id=found[1], refund_id=found[2])
    return None


def _of_order(*, v3: bool, order_id: str) -> _Resource:
    order = _id(order_id)
    show = refunds_v3.list_of_order if v3 else refunds_legacy.list_of_order
    create = refunds_v3.create if v3 else refunds_legacy.create
    return _Resource(
        template="orders/{order_id}/refunds",
        handlers={"GET": partial(show, order_id=order), "POST": _of(create, order)},
    )


def _of(handler: Callable[[Admitted, str], Awaitable[Response]], order: str) -> Handler:
    """Bind what a key that may refund does with an order; there is no order 0."""

    async def handle(turn: Admitted) -> Response:
        if order != "0":
            return await handler(turn, order)
        turn.needs("refunds:write")
        raise WooError("order_not_found")

    return handle


def _single(*, v3: bool, order_id: str, refund_id: str) -> _Resource:
    order, refund = _id(order_id), _id(refund_id)

    def of_it(handler: Callable[[Admitted, str, str], Awaitable[Response]]) -> Handler:
        async def handle(turn: Admitted) -> Response:
            return await handler(turn, order, refund)

        return handle

    template = "orders/{order_id}/refunds/{refund_id}"
    if v3:
        handlers: Mapping[Method, Handler] = {
            "GET": of_it(refunds_v3.retrieve),
            "DELETE": of_it(refunds_v3.delete),
        }
        return _Resource(template=template, handlers=handlers)
    change = of_it(refunds_legacy.update)
    return _Resource(
        template=template,
        handlers={
            "GET": of_it(refunds_legacy.retrieve),
            "PUT": change,
            "PATCH": change,
            "POST": change,
            "DELETE": of_it(refunds_legacy.delete),
        },
    )


def _id(text: str) -> str:
    """Write an id as WooCommerce reads it ("007" is 7, absint); one that is too long for any is nobody's: "0"."""
    plain = text.lstrip("0") or "0"
    return plain if len(plain) <= _LONGEST_ID else "0"


def attach(app: Any) -> None:
    """Add the front's routes to an application made by app.api.build; it uses its runtime and its rate limit."""
    app.router.routes.extend(Front().routes())
