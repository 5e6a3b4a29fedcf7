"""What can be asked for, as WordPress and the legacy API tell it; nothing in it is about a store or a key."""

from typing import Any

from app.front.asking import Asked
from app.front.documents import names_of, selected

_ROUTES = {
    "/wc/v3/refunds": ["GET"],
    "/wc/v3/orders/(?P<order_id>[\\d]+)/refunds": ["GET", "POST"],
    "/wc/v3/orders/(?P<order_id>[\\d]+)/refunds/(?P<id>[\\d]+)": ["GET", "DELETE"],
}
_LEGACY_ROUTES: dict[str, list[str]] = {
    "/": ["HEAD", "GET"],
    "/orders/<order_id>/refunds": ["HEAD", "GET", "POST"],
    "/orders/<order_id>/refunds/<id>": ["HEAD", "GET", "POST", "PUT", "PATCH", "DELETE"],
}
#: Clients look here whether compute_totals is understood.
_CREATE_ARGS = {
    "amount": {"type": "string", "required": False},
    "reason": {"type": "string", "required": False},
    "api_refund": {"type": "boolean", "default": True, "required": False},
    "api_restock": {"type": "boolean", "default": True, "required": False},
    "compute_totals": {"type": "boolean", "default": False, "required": False},
    "line_items": {"type": "array", "required": False},
    "meta_data": {"type": "array", "required": False},
}


def of(asked: Asked, *, inside: bool) -> dict[str, Any]:
    """Give the index of an API, or of all of WordPress's."""
    if asked.face == "legacy":
        return _legacy(asked)
    routes = {
        route: {"namespace": "wc/v3", "methods": methods, "endpoints": [_endpoint(method) for method in methods]}
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


def options(allow: str) -> dict[str, Any]:
    """Say what an address takes."""
    methods = allow.split(", ")
    return {"namespace": "wc/v3", "methods": methods, "endpoints": [_endpoint(method) for method in methods]}


def _endpoint(method: str) -> dict[str, Any]:
    return {"methods": [method], "args": _CREATE_ARGS if method == "POST" else {}}


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
