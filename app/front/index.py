"""What can be asked for, as WordPress and the legacy API tell it; nothing in it is about a store or a key."""

from collections.abc import Mapping, Sequence
from typing import Any

from app.front.asking import Asked
from app.front.documents import names_of, selected

_PREVIEW = "/wc/v3/orders/(?P<order_id>[\\d]+)/refunds/preview"
_ROUTES = {
    "/wc/v3/refunds": ["GET"],
    "/wc/v3/orders/(?P<order_id>[\\d]+)/refunds": ["GET", "POST"],
    "/wc/v3/orders/(?P<order_id>[\\d]+)/refunds/(?P<id>[\\d]+)": ["GET", "DELETE"],
    _PREVIEW: ["POST"],
}
_LEGACY_ROUTES: dict[str, list[str]] = {
    "/": ["HEAD", "GET"],
    "/orders/<order_id>/refunds": ["HEAD", "GET", "POST"],
    "/orders/<order_id>/refunds/<id>": ["HEAD", "GET", "POST", "PUT", "PATCH", "DELETE"],
}
#: Clients look here whether compute_totals is understood.
CREATE_ARGS: Mapping[str, Any] = {
    "amount": {"type": "string", "required": False},
    "reason": {"type": "string", "required": False},
    "api_refund": {"type": "boolean", "default": True, "required": False},
    "api_restock": {"type": "boolean", "default": True, "required": False},
    "compute_totals": {"type": "boolean", "default": False, "required": False},
    "line_items": {"type": "array", "required": False},
    "meta_data": {"type": "array", "required": False},
}
PREVIEW_ARGS: Mapping[str, Any] = {
    "line_items": {
        "type": "array",
        "items": {
            "type": "object",
            "properties": {
                "line_item_id": {"type": "integer", "required": True},
                "quantity": {"type": "integer", "minimum": 1},
                "refund_total": {"type": "number"},
            },
            "additionalProperties": False,
        },
        "required": True,
    },
}


def of(asked: Asked, *, inside: bool) -> dict[str, Any]:
    """Give the index of an API, or of all of WordPress's."""
    if asked.face == "legacy":
        return _legacy(asked)
    routes = {
        route: _described(methods, PREVIEW_ARGS if route == _PREVIEW else CREATE_ARGS)
        for route, methods in _ROUTES.items()
    }
    up = f"{asked.base}/wp-json/"
    if inside:
        content = {"namespace": "wc/v3", "routes": routes, "_links": {"up": [{"href": up}]}}
        return selected(content, names_of(asked.query.get("_fields")), keeps_links=True)
    content = {
        "name": "Refund Gateway",
        "description": "",
        "url": asked.base,
        "home": asked.base,
        "namespaces": ["wc/v3"],
        "authentication": [],
        "routes": routes,
    }
    return selected(content, names_of(asked.query.get("_fields")), keeps_links=True)


def options(allow: str, *, args: Mapping[str, Any] = CREATE_ARGS) -> dict[str, Any]:
    """Say what an address takes; `args` of a POST."""
    return _described(allow.split(", "), args)


def _described(methods: Sequence[str], args: Mapping[str, Any]) -> dict[str, Any]:
    endpoints = [{"methods": [method], "args": args if method == "POST" else {}} for method in methods]
    return {"namespace": "wc/v3", "methods": methods, "endpoints": endpoints}


def _legacy(asked: Asked) -> dict[str, Any]:
    return {
        "store": {
            "name": "Refund Gateway",
            "description": "",
            "URL": asked.base,
            "version": "3.1.0",
            "routes": {
                route: {"supports": methods}
                | ({"accepts_data": True} if "POST" in methods else {})
                | ({} if "<" in route else {"meta": {"self": f"{asked.root}{route}"}})
                for route, methods in _LEGACY_ROUTES.items()
            },
            "meta": {
                "ssl_enabled": asked.is_https,
                "links": {"help": "https://woocommerce.github.io/woocommerce-rest-api-docs/"},
            },
        }
    }
