"""The routes of wc/v3 that the sandbox serves, as WordPress matches them: by pattern, then by method."""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from pydantic import JsonValue

from app.sandbox import computed_refunds, orders, queries, refunds, resources, shop_reads, webhooks
from app.sandbox.computed_refunds import COMPUTED_SINCE
from app.sandbox.model import Json
from app.sandbox.rest import Answer, Call, Param, RestError, described_param, no_route

Endpoint = Callable[[Call], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Action:
    """One method of a route: its endpoint and parameters."""

    endpoint: Endpoint
    params: Mapping[str, Param]

    def known(self, version: tuple[int, ...]) -> Mapping[str, Param]:
        """Return the parameters that a WooCommerce of this version knows."""
        return {name: param for name, param in self.params.items() if version >= param.since}


@dataclass(frozen=True, slots=True)
class Route:
    pattern: re.Pattern[str]
    actions: Mapping[str, Action]
    #: What the real route also allows, in the order of its `Allow` header.
    allow: str
    #: The first version of WooCommerce that has it.
    since: tuple[int, ...] = ()


def _route(pattern: str, allow: Sequence[str], actions: Mapping[str, Action], *, since: tuple[int, ...] = ()) -> Route:
    return Route(re.compile(pattern, re.ASCII | re.IGNORECASE), actions, ", ".join(allow), since)


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
        r"orders/(?P<id>[\d]+)",
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
        r"orders/(?P<order_id>[\d]+)/refunds",
        ("GET", "POST"),
        {
            "GET": Action(refunds.list_of_order, queries.LIST_PARAMS),
            "POST": Action(refunds.create, refunds.CREATE_PARAMS),
        },
    ),
    _route(
        r"orders/(?P<order_id>[\d]+)/refunds/(?P<id>[\d]+)",
        ("GET", "DELETE"),
        {
            "GET": Action(refunds.retrieve, refunds.SINGLE_PARAMS),
            "DELETE": Action(refunds.delete, refunds.SINGLE_PARAMS),
        },
    ),
    _route(
        r"orders/(?P<order_id>[\d]+)/refunds/preview",
        ("POST",),
        {"POST": Action(computed_refunds.preview, computed_refunds.PREVIEW_PARAMS)},
        since=COMPUTED_SINCE,
    ),
    _route(r"refunds", ("GET",), {"GET": Action(refunds.list_of_store, queries.LIST_PARAMS)}, since=(9, 0)),
    _route(
        r"orders/(?P<order_id>[\d]+)/notes",
        ("GET", "POST"),
        {
            "GET": Action(resources.list_notes, resources.NOTE_LIST_PARAMS),
            "POST": Action(resources.create_note, resources.NOTE_PARAMS),
        },
    ),
    _route(
        r"orders/(?P<order_id>[\d]+)/notes/(?P<id>[\d]+)",
        ("GET", "DELETE"),
        {"GET": Action(resources.retrieve_note, resources.CONTEXT)},
    ),
    _route(r"payment_gateways", ("GET",), {"GET": Action(resources.list_gateways, resources.CONTEXT)}),
    _route(
        r"payment_gateways/(?P<id>[\w-]+)",
        _EDIT,
        {"GET": Action(resources.retrieve_gateway, resources.CONTEXT)},
    ),
    _route(r"settings/(?P<group_id>[\w-]+)", ("GET",), {"GET": Action(resources.list_settings, {})}),
    _route(r"settings/(?P<group_id>[\w-]+)/(?P<id>[\w-]+)", _EDIT, {"GET": Action(resources.retrieve_setting, {})}),
    _route(r"system_status", ("GET",), {"GET": Action(resources.system_status, resources.CONTEXT)}),
    _route(r"data/currencies/current", ("GET",), {"GET": Action(resources.current_currency, {})}),
    _route(r"coupons", ("GET", "POST"), {"POST": Action(resources.create_coupon, resources.COUPON_PARAMS)}),
    _route(r"products", ("GET", "POST"), {"GET": Action(shop_reads.list_products, shop_reads.PRODUCT_LIST_PARAMS)}),
    _route(r"products/(?P<id>[\d]+)", _ANY, {"GET": Action(shop_reads.retrieve_product, resources.CONTEXT)}),
    _route(r"customers", ("GET", "POST"), {"GET": Action(shop_reads.list_customers, shop_reads.CUSTOMER_LIST_PARAMS)}),
    _route(r"customers/(?P<id>[\d]+)", _ANY, {"GET": Action(shop_reads.retrieve_customer, resources.CONTEXT)}),
    _route(
        r"webhooks",
        ("GET", "POST"),
        {
            "GET": Action(webhooks.list_webhooks, webhooks.LIST_PARAMS),
            "POST": Action(webhooks.create, webhooks.PARAMS),
        },
    ),
    _route(
        r"webhooks/(?P<id>[\d]+)",
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


def find(path: str, version: tuple[int, ...]) -> tuple[Route, tuple[str, ...]] | None:
    """Return the route of a path in a WooCommerce of this version, and what the path says; None if there is none."""
    for route in ROUTES:
        found = route.pattern.fullmatch(path) if version >= route.since else None
        if found is not None:
            return route, found.groups()
    return None


def match(path: str, method: str, version: tuple[int, ...]) -> tuple[Route, Action, tuple[str, ...]]:
    """Return the route of a path, the action of a method and what the path says; raise RestError `rest_no_route`."""
    found = find(path, version)
    action = found[0].actions.get(method) if found else None
    if found is None or action is None:
        raise no_route()
    return found[0], action, found[1]


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


def options(path: str, root: str, version: tuple[int, ...]) -> tuple[JsonValue, str]:
    """Return what OPTIONS answers for a path, and the methods it allows.

    A path without a route is answered 200 with `[]`: WordPress never gets as far as `rest_no_route`.
    """
    if not path:
        return _described_index(root), "GET"
    found = find(path, version)
    if found is None:
        return [], ""
    title = found[0].pattern.pattern.rpartition("/")[2]
    schema: Json = {"$schema": "http://json-schema.org/draft-04/schema#", "title": title, "type": "object"}
    body: Json = {**_described(found[0], version), "schema": schema}
    if not found[1]:
        body["_links"] = _self(f"{root}/wc/v3/{path}")
    return body, found[0].allow


def namespace_index(root: str, version: tuple[int, ...]) -> Json:
    """Return the index of wc/v3, which anybody may read."""
    shown: Json = {"/wc/v3": _described_index(root)}
    for route in ROUTES:
        if version >= route.since:
            pattern = route.pattern.pattern
            own: Json = {} if "(" in pattern else {"_links": _self(f"{root}/wc/v3/{pattern}")}
            shown[f"/wc/v3/{pattern}"] = {**_described(route, version), **own}
    return {"namespace": "wc/v3", "routes": shown, "_links": {"up": [{"href": f"{root}/"}]}}


def _described(route: Route, version: tuple[int, ...]) -> Json:
    """Return a route's methods, and its endpoints with their parameters; methods of one endpoint go together."""
    endpoints: list[JsonValue] = []
    for action, methods in groupby(route.actions, route.actions.__getitem__):
        args: Json = {name: described_param(param) for name, param in action.known(version).items()}
        endpoints.append({"methods": list(methods), "args": args})
    return {"namespace": "wc/v3", "methods": list(route.allow.split(", ")), "endpoints": endpoints}


def _described_index(root: str) -> Json:
    endpoint: Json = {"methods": ["GET"], "args": {}}
    return {"namespace": "wc/v3", "methods": ["GET"], "endpoints": [endpoint], "_links": _self(f"{root}/wc/v3")}


def _self(href: str) -> JsonValue:
    return {"self": [{"href": href}]}
