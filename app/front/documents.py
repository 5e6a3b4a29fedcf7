"""Refunds as WooCommerce shows them: wc/v3's document, with the gateway's own marks taken out, and the legacy one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from app.domain.money import plain, round_half_up
from app.domain.sight import without_markers
from app.front.form import PhpTree, listed
from app.stores.woo_v3_wire import MARKER_KEY

_LINES = ("line_items", "shipping_lines", "fee_lines", "tax_lines")
_LEGACY_LINE = ("id", "subtotal", "subtotal_tax", "total", "total_tax")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How a client wants its documents."""

    fields: tuple[str, ...] = ()  #: () for all of them
    include_meta: frozenset[str] = frozenset()
    exclude_meta: frozenset[str] = frozenset()
    only_display_meta: bool = False


def shape_of(query: PhpTree) -> Shape:
    """Read the parameters that only shape documents."""
    return Shape(
        fields=names_of(query.get("_fields")),
        include_meta=frozenset(names_of(query.get("include_meta"))),
        exclude_meta=frozenset(names_of(query.get("exclude_meta"))),
        only_display_meta=str(query.get("order_item_display_meta", "")).lower() in ("1", "true"),
    )


def names_of(value: Any) -> tuple[str, ...]:
    """Read names, with commas between them or as a list."""
    parts = listed(value) if isinstance(value, dict) else str(value or "").split(",")
    return tuple(part.strip() for part in parts if isinstance(part, str) and part.strip())


def v3_document(document: Mapping[str, Any], *, root: str, shape: Shape, whole_store: bool = False) -> dict[str, Any]:
    """Give a refund's document as the front shows it: its links lead here, and nothing of the gateway's is in it.

    Only the list of the whole store has `parent_id`.
    """
    shown = {
        name: _cleaned(name, value, shape)
        for name, value in document.items()
        if name != "_links" and (whole_store or name != "parent_id")
    }
    return shown | {"_links": _links(root, document["parent_id"], document["id"])}


def _cleaned(name: str, value: Any, shape: Shape) -> Any:
    if name == "reason" and isinstance(value, str):
        return without_markers(value)
    if name == "meta_data":
        return [entry for entry in _entries(value) if _is_shown(_key(entry), shape)]
    if shape.only_display_meta and name in _LINES:
        return [_displayed(line) for line in _entries(value)]
    return value


def _entries(value: Any) -> list[Any]:
    """Give the entries of a list, which PHP writes as an object where it has gaps; whatever they are."""
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _key(entry: Any) -> str:
    """Give the key of an entry of meta data; "" for none."""
    key = entry.get("key") if isinstance(entry, dict) else None
    return str(key) if isinstance(key, str | int) else ""


def _is_shown(key: str, shape: Shape) -> bool:
    if key == MARKER_KEY:
        return False
    return key in shape.include_meta if shape.include_meta else key not in shape.exclude_meta


def _displayed(line: Any) -> Any:
    """Leave out the meta data that WooCommerce keeps for itself (V2O, get_formatted_meta_data)."""
    if not isinstance(line, dict) or "meta_data" not in line:
        return line
    return line | {"meta_data": [entry for entry in _entries(line["meta_data"]) if not _key(entry).startswith("_")]}


def _links(root: str, order_id: Any, refund_id: Any) -> dict[str, Any]:
    order = f"{root}/orders/{order_id}"
    return {
        "self": [{"href": f"{order}/refunds/{refund_id}", "targetHints": {"allow": ["GET", "DELETE"]}}],
        "collection": [{"href": f"{order}/refunds"}],
        "up": [{"href": order}],
    }


def selected(document: Mapping[str, Any], fields: Sequence[str], *, keeps_links: bool) -> dict[str, Any]:
    """Keep only the named fields, such as `id` or `line_items.id`; a single document keeps its links either way."""
    if not fields:
        return dict(document)
    wanted: dict[str, Any] = {}
    for field in fields:
        branch = wanted
        *above, last = field.split(".")[:10]
        for name in above:
            inner = branch.get(name)
            if inner is True:
                break
            branch = branch.setdefault(name, {}) if inner is None else inner
        else:
            branch[last] = True
    if keeps_links:
        wanted["_links"] = True
    kept: dict[str, Any] = _kept(document, wanted)
    return kept


def _kept(value: Any, wanted: Any) -> Any:
    if wanted is True:
        return value
    if isinstance(value, Mapping):
        return {name: _kept(inner, wanted[name]) for name, inner in value.items() if name in wanted}
    return [_kept(inner, wanted) for inner in value] if isinstance(value, list) else value


def legacy_document(document: Mapping[str, Any]) -> dict[str, Any]:
    """Write a wc/v3 document as the legacy API shows a refund: amounts with two decimals (LO:1601), times with a Z.

    `refunded_item_id` is the line's of the order where wc/v3 tells it; the plugin itself always says 0 (LO:1594).
    """
    made = document.get("date_created_gmt") or document.get("date_created")
    return {
        "id": document["id"],
        "created_at": f"{made}Z" if made else "1970-01-01T00:00:00Z",
        "amount": _two(document.get("amount")),
        "reason": without_markers(str(document.get("reason") or "")),
        "line_items": [_legacy_line(line) for line in _entries(document.get("line_items")) if isinstance(line, dict)],
    }


def _legacy_line(line: Mapping[str, Any]) -> dict[str, Any]:
    shown = {name: line.get(name, 0) if name == "id" else _two(line.get(name)) for name in _LEGACY_LINE}
    return shown | {
        "price": _two(line.get("price")),
        "quantity": line.get("quantity", 0),
        "tax_class": line.get("tax_class") or "",
        "name": line.get("name"),
        "product_id": line.get("variation_id") or line.get("product_id") or 0,
        "sku": line.get("sku") or "",
        "meta": [],
        "refunded_item_id": _origin(line.get("meta_data")),
    }


def _origin(meta_data: Any) -> int:
    for entry in _entries(meta_data):
        if _key(entry) == "_refunded_item_id":
            text = str(entry.get("value"))
            return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0
    return 0


def _two(value: Any) -> str:
    try:
        amount = Decimal(str(value or 0))
        return plain(round_half_up(amount, 2), 2) if amount.is_finite() else "0.00"
    except ArithmeticError:
        return "0.00"
