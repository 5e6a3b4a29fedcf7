"""Taking secrets out of what a store tells of its payment gateways and settings.

What somebody has typed in may be anything, whatever it is called, so it is kept back unless it is known to be harmless.
"""

import re
from collections.abc import Mapping
from typing import Any

#: Kinds of settings whose values are choices, not texts that somebody typed in.
_CHOICES = frozenset({"checkbox", "select", "multiselect", "radio", "number", "title", "image_width", "color"})
#: Texts of a payment gateway that are shown to customers anyway.
_SHOWN = frozenset({"title", "description", "instructions", "order_button_text"})
#: WooCommerce's own settings that every visitor of the shop sees at work, whatever their kind is called.
_PUBLIC = frozenset(
    {
        "woocommerce_currency",
        "woocommerce_currency_pos",
        "woocommerce_default_country",
        "woocommerce_dimension_unit",
        "woocommerce_price_decimal_sep",
        "woocommerce_price_display_suffix",
        "woocommerce_price_num_decimals",
        "woocommerce_price_thousand_sep",
        "woocommerce_tax_classes",
        "woocommerce_weight_unit",
    }
)
#: What describes a setting may speak of secrets without being one.
_DESCRIBING = frozenset(
    {"id", "label", "description", "tip", "type", "placeholder", "options", "group_id", "option_key", "_links"}
)
_SECRET = re.compile(
    r"secret|passw|private|token|api_?key|signature|credential|webhook|access_?key|licen[cs]e|nonce|certificate",
    re.IGNORECASE,
)


def without_gateway_secrets(document: Any) -> Any:
    """Give payment gateways with the values of their settings blanked, but for choices and texts shown to customers."""
    return _cleaned(document, "", _SHOWN)


def without_setting_secrets(document: Any) -> Any:
    """Give settings with their values blanked, but for choices and what every visitor of the shop sees at work."""
    return _cleaned(document, "", _PUBLIC)


def _cleaned(part: Any, name: str, shown: frozenset[str]) -> Any:
    if isinstance(part, list):
        return [_cleaned(inner, name, shown) for inner in part]
    if not isinstance(part, dict):
        return "" if isinstance(part, str) and _SECRET.search(name) else part
    if "value" in part:
        return _setting(part, name, shown)
    return {
        key: _settings(inner, shown) if key == "settings" else _cleaned(inner, key, shown)
        for key, inner in part.items()
    }


def _settings(part: Any, shown: frozenset[str]) -> Any:
    """Clean a payment gateway's settings; what does not look like one is blanked."""
    if not isinstance(part, dict):
        return []
    return {
        key: _setting(inner, key, shown) if isinstance(inner, dict) and "value" in inner else ""
        for key, inner in part.items()
    }


def _setting(setting: Mapping[str, Any], name: str, shown: frozenset[str]) -> dict[str, Any]:
    hidden = _hides(setting, name, shown)
    return {
        key: inner if key in _DESCRIBING else "" if hidden else _cleaned(inner, key, shown)
        for key, inner in setting.items()
    }


def _hides(setting: Mapping[str, Any], name: str, shown: frozenset[str]) -> bool:
    known_as = str(setting.get("id", name))
    kind = setting.get("type")
    if kind == "password" or _SECRET.search(known_as) or _SECRET.search(name):
        return True
    return not (isinstance(kind, str) and kind in _CHOICES) and known_as not in shown
