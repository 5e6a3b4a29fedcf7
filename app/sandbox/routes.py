"""The routes of wc/v3 that the sandbox serves, as WordPress matches them: by pattern, then by method."""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from app.sandbox import orders, queries, refunds, resources, webhooks
from app.sandbox.model import Json
from app.sandbox.rest import Answer, Call, Param, RestError, no_route

Endpoint = Callable[[Call], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Action:
    """One method of a route: its endpoint and parameters."""

    endpoint: Endpoint
    params: Mapping[str, Param]


@dataclass(frozen=True, slots=True)
class Route:
    pattern: re.Pattern[str]
    actions: Mapping[str, Action]
    #: What the real route also allows, in the order of its `Allow` header.
    allow: str


def _route(pattern: str, allow: Sequence[str], actions: Mapping[str, Action]) -> Route:
    return Route(re.compile(pattern, re.ASCII), actions, ", ".join(allow))


_ANY = ("GET", "POST", "PUT", "PATCH", "DELETE")
_EDIT = ("GET", "POST", "PUT", "PATCH")
_ORDER_UPDATE = Action(orders.update, {**orders.CREATE_PARAMS})
_WEBHOOK_UPDATE = Action(webhooks.update, webhooks.PARAMS)

ROUTES: Sequence[Route] = (
    _route(
        r"orders",
        ("GET", "POST"),
        {
            "GET": Action(orders.list_orders, orders.ORDER_LIST_PARAMS),
            "POST": Action(orders.create, orders.CREATE_PARAMS),
        },
    ),
    _route(
        r"orders/(\d+)",
        _ANY,
        {
            "GET": Action(orders.retrieve, orders.SINGLE_PARAMS),
            "POST": _ORDER_UPDATE,
            "PUT": _ORDER_UPDATE,
            "PATCH": _ORDER_UPDATE,
            "DELETE": Action(orders.delete, orders.SINGLE_PARAMS),
        },
    ),
    _route(
        r"orders/(\d+)/refunds",
        ("GET", "POST"),
        {
            "GET": Action(refunds.list_of_order, queries.LIST_PARAMS),
            "POST": Action(refunds.create, refunds.CREATE_PARAMS),
        },
    ),
    _route(
        r"orders/(\d+)/refunds/(\d+)",
        ("GET", "DELETE"),
        {
            "GET": Action(refunds.retrieve, refunds.SINGLE_PARAMS),
            "DELETE": Action(refunds.delete, refunds.SINGLE_PARAMS),
        },
    ),
    _route(r"refunds", ("GET",), {"GET": Action(refunds.list_of_store, queries.LIST_PARAMS)}),
    _route(
        r"orders/(\d+)/notes",
        ("GET", "POST"),
        {
            "GET": Action(resources.list_notes, resources.NOTE_LIST_PARAMS),
            "POST": Action(resources.create_note, resources.NOTE_PARAMS),
        },
    ),
    _route(r"orders/(\d+)/notes/(\d+)", ("GET", "DELETE"), {"GET": Action(resources.retrieve_note, resources.CONTEXT)}),
    _route(r"payment_gateways", ("GET",), {"GET": Action(resources.list_gateways, resources.CONTEXT)}),
    _route(
        r"payment_gateways/([\w-]+)",
        _EDIT,
        {"GET": Action(resources.retrieve_gateway, resources.CONTEXT)},
    ),
    _route(r"settings/([\w-]+)", ("GET",), {"GET": Action(resources.list_settings, {})}),
    _route(r"settings/([\w-]+)/([\w-]+)", _EDIT, {"GET": Action(resources.retrieve_setting, {})}),
    _route(r"system_status", ("GET",), {"GET": Action(resources.system_status, resources.CONTEXT)}),
    _route(r"data/currencies/current", ("GET",), {"GET": Action(resources.current_currency, {})}),
    _route(r"coupons", ("GET", "POST"), {"POST": Action(resources.create_coupon, resources.COUPON_PARAMS)}),
    _route(r"products", ("GET", "POST"), {"GET": Action(resources.list_products, {})}),
    _route(r"products/(\d+)", _ANY, {"GET": Action(resources.retrieve_product, resources.CONTEXT)}),
    _route(
        r"webhooks",
        ("GET", "POST"),
        {
            "GET": Action(webhooks.list_webhooks, webhooks.LIST_PARAMS),
            "POST": Action(webhooks.create, webhooks.PARAMS),
        },
    ),
    _route(
        r"webhooks/(\d+)",
        _ANY,
        {
            "GET": Action(webhooks.retrieve, {}),
            "POST": _WEBHOOK_UPDATE,
            "PUT": _WEBHOOK_UPDATE,
            "PATCH": _WEBHOOK_UPDATE,
            "DELETE": Action(webhooks.delete, webhooks.SINGLE_PARAMS),
        },
    ),
)

_DENIED = {
    "POST": ("woocommerce_rest_cannot_create", "Sorry, you are not allowed to create resources."),
    "PUT": ("woocommerce_rest_cannot_edit", "Sorry, you are not allowed to edit this resource."),
    "PATCH": ("woocommerce_rest_cannot_edit", "Sorry, you are not allowed to edit this resource."),
    "DELETE": ("woocommerce_rest_cannot_delete", "Sorry, you are not allowed to delete this resource."),
}


def match(path: str, method: str) -> tuple[Route, Action | None, tuple[str, ...]]:
    """Return the route of a path, the action of a method and the ids in the path.

    Without an action the method is OPTIONS. Raises RestError `rest_no_route`.
    """
    for route in ROUTES:
        found = route.pattern.fullmatch(path)
        if found is None:
            continue
        action = route.actions.get(method)
        if action is None and method != "OPTIONS":
            break
        return route, action, found.groups()
    raise no_route()


def denied(method: str, path: str) -> RestError:
    """Return the refusal of a request without a usable key."""
    if method == "GET":
        single = path.rpartition("/")[2].isdecimal()
        return RestError(
            "woocommerce_rest_cannot_view",
            "Sorry, you cannot view this resource." if single else "Sorry, you cannot list resources.",
            401,
        )
    code, message = _DENIED.get(method, _DENIED["POST"])
    return RestError(code, message, 401)


def described(route: Route) -> Json:
    """Return what OPTIONS tells of a route: its methods and the names of their parameters."""
    return {
        "namespace": "wc/v3",
        "methods": list(route.allow.split(", ")),
        "endpoints": [
            {"methods": [method], "args": {name: {"required": False} for name in action.params}}
            for method, action in route.actions.items()
        ],
    }


def namespace_index(root: str) -> Json:
    """Return the index of wc/v3, which anybody may read."""
    return {
        "namespace": "wc/v3",
        "routes": {f"/wc/v3/{route.pattern.pattern}": described(route) for route in ROUTES},
        "_links": {"up": [{"href": f"{root}/"}]},
    }
