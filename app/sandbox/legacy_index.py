"""The index of wc-api/v3, which anybody may read: the store's version and money settings, and every route's methods."""

from typing import TypeAlias

from app.sandbox.catalogue import CURRENCIES, SHOP_NAME
from app.sandbox.model import Json, StoreSettings

#: Methods of a handler, and whether it takes a body.
_Handler: TypeAlias = tuple[frozenset[str], bool]

_METHODS = ("HEAD", "GET", "POST", "PUT", "PATCH", "DELETE")
_READ: _Handler = (frozenset({"HEAD", "GET"}), False)
_CREATE: _Handler = (frozenset({"POST"}), True)
_EDIT: _Handler = (frozenset({"POST", "PUT", "PATCH"}), True)
_DELETE: _Handler = (frozenset({"DELETE"}), False)

_LIST, _LIST_CREATE, _ONE, _BULK = (_READ,), (_READ, _CREATE), (_READ, _EDIT, _DELETE), (_EDIT,)

#: All the plugin's routes, also those that the sandbox does not serve.
_ROUTES: dict[str, tuple[_Handler, ...]] = {
    "/": _LIST,
    "/coupons": _LIST_CREATE,
    "/coupons/count": _LIST,
    "/coupons/<id>": _ONE,
    "/coupons/code/<code>": _LIST,
    "/coupons/bulk": _BULK,
    "/customers": _LIST_CREATE,
    "/customers/count": _LIST,
    "/customers/<id>": _ONE,
    "/customers/email/<email>": _LIST,
    "/customers/<id>/orders": _LIST,
    "/customers/<id>/downloads": _LIST,
    "/customers/bulk": _BULK,
    "/orders": _LIST_CREATE,
    "/orders/count": _LIST,
    "/orders/statuses": _LIST,
    "/orders/<id>": _ONE,
    "/orders/<order_id>/notes": _LIST_CREATE,
    "/orders/<order_id>/notes/<id>": _ONE,
    "/orders/<order_id>/refunds": _LIST_CREATE,
    "/orders/<order_id>/refunds/<id>": _ONE,
    "/orders/bulk": _BULK,
    "/products": _LIST_CREATE,
    "/products/count": _LIST,
    "/products/<id>": _ONE,
    "/products/<id>/reviews": _LIST,
    "/products/<id>/orders": _LIST,
    "/products/categories": _LIST_CREATE,
    "/products/categories/<id>": _ONE,
    "/products/tags": _LIST_CREATE,
    "/products/tags/<id>": _ONE,
    "/products/shipping_classes": _LIST_CREATE,
    "/products/shipping_classes/<id>": _ONE,
    "/products/attributes": _LIST_CREATE,
    "/products/attributes/<id>": _ONE,
    "/products/attributes/<attribute_id>/terms": _LIST_CREATE,
    "/products/attributes/<attribute_id>/terms/<id>": _ONE,
    "/products/bulk": _BULK,
    "/reports": _LIST,
    "/reports/sales": _LIST,
    "/reports/sales/top_sellers": _LIST,
    "/taxes": _LIST_CREATE,
    "/taxes/count": _LIST,
    "/taxes/<id>": _ONE,
    "/taxes/classes": _LIST_CREATE,
    "/taxes/classes/count": _LIST,
    "/taxes/classes/<slug>": (_DELETE,),
    "/taxes/bulk": _BULK,
    "/webhooks": _LIST_CREATE,
    "/webhooks/count": _LIST,
    "/webhooks/<id>": _ONE,
    "/webhooks/<webhook_id>/deliveries": _LIST,
    "/webhooks/<webhook_id>/deliveries/<id>": _LIST,
}


def index(site_url: str, settings: StoreSettings) -> Json:
    """Return the index."""
    known = settings.currency in CURRENCIES
    return {
        "store": {
            "name": SHOP_NAME,
            "description": "",
            "URL": site_url,
            "wc_version": settings.woocommerce_version,
            "version": "3.1.0",
            "routes": {route: _described(route, handlers, site_url) for route, handlers in _ROUTES.items()},
            "meta": {
                "timezone": "+00:00",
                "currency": settings.currency,
                "currency_format": CURRENCIES[settings.currency][1] if known else settings.currency,
                "currency_position": "left",
                "thousand_separator": ",",
                "decimal_separator": ".",
                "price_num_decimals": settings.decimals,
                "tax_included": settings.prices_include_tax,
                "weight_unit": "kg",
                "dimension_unit": "cm",
                "ssl_enabled": site_url.startswith("https:"),
                "permalinks_enabled": True,
                "generate_password": True,
                "links": {"help": "https://woocommerce.github.io/woocommerce-rest-api-docs/"},
            },
        }
    }


def _described(route: str, handlers: tuple[_Handler, ...], site_url: str) -> Json:
    """Describe a route with its keys in the order in which the plugin comes upon them (LS:446-466)."""
    described: Json = {}
    for method in _METHODS:
        for methods, accepts_data in handlers:
            if method in methods:
                described.setdefault("supports", [one for one in _METHODS if any(one in each for each, _ in handlers)])
            if accepts_data:
                described["accepts_data"] = True
            if "<" not in route:
                described["meta"] = {"self": f"{site_url}/wc-api/v3{route}"}
    return described
