"""What else of wc/v3 a refund gateway reads: notes, payment gateways, settings, system status, coupons."""

import secrets
from collections.abc import Mapping
from typing import Literal

from pydantic import JsonValue

from app.sandbox import serialize
from app.sandbox.catalogue import (
    CURRENCIES,
    GATEWAYS,
    WORDPRESS_VERSION,
    PaymentGateway,
    Setting,
    shop_settings,
)
from app.sandbox.model import Coupon, Json
from app.sandbox.php import clean_decimal
from app.sandbox.rest import Answer, Call, Param, RestError, missing_params, not_found
from app.sandbox.serialize import View, links

CONTEXT: Mapping[str, Param] = {"context": Param(kind="string", default="view", among=("view", "edit"))}
NOTE_LIST_PARAMS: Mapping[str, Param] = {
    **CONTEXT,
    "type": Param(kind="string", default="any", among=("any", "customer", "internal")),
}
NOTE_PARAMS: Mapping[str, Param] = {
    "note": Param(kind="string"),
    "customer_note": Param(kind="boolean", default=False),
    "added_by_user": Param(kind="boolean", default=False),
}
COUPON_PARAMS: Mapping[str, Param] = {
    "code": Param(kind="string"),
    "amount": Param(kind="string", default="0"),
    "discount_type": Param(kind="string", default="fixed_cart", among=("percent", "fixed_cart", "fixed_product")),
}

_SETTING_METHODS = ("GET", "POST", "PUT", "PATCH")


async def list_notes(call: Call) -> Answer:
    """Answer GET orders/{id}/notes, oldest first and not paged."""
    order_id = _order_of_notes(call)
    wanted = {"customer": (True,), "internal": (False,)}.get(call.text("type") or "any", (True, False))
    view = call.view()
    return Answer([serialize.note(note, view) for note in call.store.notes(order_id) if note.customer_note in wanted])


async def create_note(call: Call) -> Answer:
    """Answer POST orders/{id}/notes."""
    order_id = _order_of_notes(call)
    if not call.text("note"):
        raise missing_params(["note"])
    author = "sandbox" if call.flag("added_by_user") else "WooCommerce"
    with call.store.transaction():
        note = call.store.add_note(
            order_id, call.text("note") or "", author=author, customer_note=call.flag("customer_note")
        )
    location = {"Location": call.view().url(f"orders/{order_id}/notes/{note.id}")}
    return Answer(serialize.note(note, call.view()), status=201, headers=location)


async def retrieve_note(call: Call) -> Answer:
    """Answer GET orders/{id}/notes/{note id}."""
    order_id = _order_of_notes(call)
    for note in call.store.notes(order_id):
        if note.id == call.id(1):
            return Answer(serialize.note(note, call.view()))
    raise not_found("woocommerce_rest_invalid_id", "Invalid resource ID.")


async def list_gateways(call: Call) -> Answer:
    """Answer GET payment_gateways: all installed ones, enabled or not."""
    return Answer([_gateway(gateway, call.view()) for gateway in GATEWAYS.values()])


async def retrieve_gateway(call: Call) -> Answer:
    """Answer GET payment_gateways/{id}."""
    gateway = GATEWAYS.get(call.matched[0])
    if gateway is None:
        raise not_found("woocommerce_rest_payment_gateway_invalid", "Resource does not exist.")
    return Answer(_gateway(gateway, call.view()))


async def list_settings(call: Call) -> Answer:
    """Answer GET settings/{group}."""
    found = [one for one in shop_settings(call.store.settings()) if one.group == call.matched[0]]
    if not found:
        raise not_found("rest_setting_setting_group_invalid", "Invalid setting group.")
    return Answer([_setting(one, call.view()) for one in found])


async def retrieve_setting(call: Call) -> Answer:
    """Answer GET settings/{group}/{id}."""
    for setting in shop_settings(call.store.settings()):
        if (setting.group, setting.id) == call.matched:
            return Answer(_setting(setting, call.view()))
    raise not_found("rest_setting_setting_invalid", "Invalid setting.")


async def current_currency(call: Call) -> Answer:
    """Answer GET data/currencies/current: no decimals in it."""
    code = call.store.settings().currency
    name, symbol, _ = CURRENCIES.get(code, (code, code, code))
    own = links(call.view(), f"data/currencies/{code}", allow=("GET",))
    return Answer({"code": code, "name": name, "symbol": symbol, "_links": own})


async def system_status(call: Call) -> Answer:
    """Answer GET system_status, the parts that a client reads."""
    settings = call.store.settings()
    site = call.root.removesuffix("/wp-json")
    symbol = CURRENCIES[settings.currency][1] if settings.currency in CURRENCIES else settings.currency
    environment: Json = {
        "home_url": site,
        "site_url": site,
        "version": settings.woocommerce_version,
        "wp_version": WORDPRESS_VERSION,
        "wp_multisite": False,
        "php_version": "8.2.0",
        "language": "en_US",
        "default_timezone": "UTC",
    }
    shop: Json = {
        "api_enabled": False,
        "force_ssl": False,
        "currency": settings.currency,
        "currency_symbol": symbol,
        "currency_position": "left",
        "thousand_separator": ",",
        "decimal_separator": ".",
        "number_of_decimals": settings.decimals,
        "HPOS_enabled": settings.hpos,
        "HPOS_sync_enabled": settings.hpos_sync,
    }
    return Answer({"environment": environment, "active_plugins": [], "settings": shop})


async def create_coupon(call: Call) -> Answer:
    """Answer POST coupons; of the discount types the sandbox computes `percent`."""
    code = call.text("code")
    if not code:
        raise RestError("woocommerce_rest_empty_coupon_code", "The coupon code cannot be empty.", 400)
    if call.store.coupon(code) is not None:
        raise RestError("woocommerce_rest_coupon_code_already_exists", "The coupon code already exists", 400)
    kind: Literal["percent", "fixed_cart"] = "percent" if call.text("discount_type") == "percent" else "fixed_cart"
    with call.store.transaction():
        coupon = Coupon(
            id=call.store.next_id("post"),
            code=code,
            discount_type=kind,
            amount=clean_decimal(call.text("amount") or "0"),
            created=call.store.now(),
        )
        call.store.save_coupon(coupon)
    location = {"Location": call.view().url(f"coupons/{coupon.id}")}
    return Answer(serialize.coupon(coupon, call.view()), status=201, headers=location)


def _order_of_notes(call: Call) -> int:
    if not call.store.order_exists(call.id()):
        raise not_found("woocommerce_rest_order_invalid_id", "Invalid order ID.")
    return call.id()


def _gateway(gateway: PaymentGateway, view: View) -> Json:
    """Real gateways show their secrets among `settings`; so does this one, with made-up ones."""
    settings: JsonValue = {
        "title": {"id": "title", "label": "Title", "type": "text", "value": gateway.title},
        **(
            {"api_secret": {"id": "api_secret", "label": "Secret", "type": "password", "value": secrets.token_hex(8)}}
            if gateway.can_refund
            else {}
        ),
    }
    return {
        "id": gateway.id,
        "title": gateway.title,
        "description": "",
        "order": 0,
        "enabled": gateway.enabled,
        "method_title": gateway.title,
        "method_description": "",
        "method_supports": list(gateway.supports),
        "settings": settings,
        "_links": links(view, f"payment_gateways/{gateway.id}", allow=_SETTING_METHODS),
    }


def _setting(setting: Setting, view: View) -> Json:
    options: Json = {"options": {**setting.options}} if setting.options is not None else {}
    tip: Json = {"tip": setting.tip} if setting.tip else {}
    return {
        "id": setting.id,
        "label": setting.label,
        "description": setting.description,
        "type": setting.kind,
        "default": setting.default,
        **options,
        **tip,
        "value": setting.value,
        "group_id": setting.group,
        "_links": links(view, f"settings/{setting.group}/{setting.id}", allow=_SETTING_METHODS),
    }
