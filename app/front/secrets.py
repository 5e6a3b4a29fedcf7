"""Taking secrets out of what a store tells of its payment gateways and settings."""

import re
from collections.abc import Mapping
from typing import Any

#: Kinds of settings whose values are choices, not texts that somebody typed in.
_CHOICES = frozenset({"checkbox", "select", "multiselect", "radio", "number", "title", "image_width", "color"})
#: Texts that are shown to customers anyway.
_SHOWN = frozenset({"title", "description", "instructions", "order_button_text"})
_SECRET = re.compile(
    r"secret|passw|private|token|api_?key|signature|credential|webhook|access_?key|licen[cs]e|nonce|certificate",
    re.IGNORECASE,
)


def without_gateway_secrets(document: Any) -> Any:
    """Give payment gateways with the values of their settings blanked, but for choices and texts shown to customers."""
    return _cleaned(document, "", typed_is_secret=True)


def without_setting_secrets(document: Any) -> Any:
    """Give settings with passwords blanked, and every value whose name sounds like a secret."""
    return _cleaned(document, "", typed_is_secret=False)


def _cleaned(part: Any, name: str, *, typed_is_secret: bool) -> Any:
    if isinstance(part, list):
        return [_cleaned(inner, name, typed_is_secret=typed_is_secret) for inner in part]
    if not isinstance(part, dict):
        return "" if isinstance(part, str) and _SECRET.search(name) else part
    hidden = "value" in part and _hides(part, name, typed_is_secret=typed_is_secret)
    return {
        key: ""
        if hidden and key in ("value", "default")
        # What describes a setting may speak of secrets without being one.
        else inner
        if "value" in part and key in ("id", "label", "description", "tip", "type", "placeholder")
        else _cleaned(inner, key, typed_is_secret=typed_is_secret)
        for key, inner in part.items()
    }


def _hides(setting: Mapping[str, Any], name: str, *, typed_is_secret: bool) -> bool:
    known_as = str(setting.get("id", name))
    kind = setting.get("type")
    if kind == "password" or _SECRET.search(known_as) or _SECRET.search(name):
        return True
    return typed_is_secret and kind not in _CHOICES and known_as not in _SHOWN
