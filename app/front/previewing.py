"""Saying what a refund would come to, as WooCommerce does from 11.1 on, before stores of any version and either API.

The gateway works it out itself, by the rules by which it creates, so that create makes what was shown. WooCommerce's
own answer can be a cent off that where an order keeps taxes finer than cents, which it rounds line by line first.
Nothing is made by a preview, here or in the store.
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from starlette.responses import Response

from app.domain.errors import Fault, Refusal
from app.domain.money import ZERO, format_amount
from app.domain.order import LineKind
from app.domain.refund import PlanLine, RefundPlan
from app.domain.remaining import Remaining
from app.flows import shop
from app.flows.preview import Weighed, weigh
from app.flows.results import StoreNotFound
from app.front.answers import Admitted, answer
from app.front.documents import names_of, selected
from app.front.errors import WooError
from app.front.outcomes import refused, says_of
from app.front.preview_body import parse_preview
from app.front.v3_body import Parsed
from app.front.words import Situation
from app.stores.port import StoreError
from app.stores.reading import Unreadable, rows

_SECTIONS: Mapping[str, LineKind] = {"products": "item", "shipping": "shipping", "fees": "fee"}

#: The codes of WooCommerce's own preview for what a decision finds; of lines with nothing left see `_situation`.
_SITUATIONS: Mapping[str, Situation] = {
    "exceeds_refundable": "preview_exceeds",
    "quantity_exceeds_refundable": "quantity_exceeds",
    "line_amount_exceeds_refundable": "total_exceeds_line",
    "line_not_found": "line_not_found",
    "duplicate_line": "duplicate_line",
    "nothing_to_refund": "preview_of_nothing",
}


async def preview(turn: Admitted, order_id: str) -> Response:
    """Show what a refund of some lines would come to.

    Who pays is not asked for here, so an order whose payment method cannot pay back is no reason to refuse.
    """
    turn.needs("refunds:write")
    asked = turn.asked
    parsed = parse_preview(asked.params(), store=asked.store, order_id=order_id)
    weighed = await weigh(turn.rt, turn.who.caller, parsed.command, whoever_pays=True)
    if isinstance(weighed, Refusal):
        raise _refused(weighed, parsed, None)
    if not isinstance(weighed, Weighed):
        raise refused(weighed, parsed)
    plan = weighed.verdict
    if isinstance(plan, Refusal):
        raise _refused(plan, parsed, weighed.left)
    content = _document(plan, weighed.left, parsed, await _product_ids(turn, plan))
    return answer(asked, selected(content, names_of(asked.query.get("_fields")), keeps_links=False))


def _document(plan: RefundPlan, left: Remaining, parsed: Parsed, product_ids: Mapping[str, int]) -> dict[str, Any]:
    quantities = {item.line_item_id: item.quantity for item in parsed.command.items}

    def shown(line: PlanLine) -> dict[str, Any]:
        product = {"product_id": product_ids.get(line.line_id, 0)} if line.kind == "item" else {}
        return {
            "id": int(line.line_id),
            "name": line.name,
            **product,
            "quantity": quantities[line.line_id],
            **_sums([line], plan.decimals),
            "total": format_amount(line.total, plan.decimals),
        }

    def section(kind: LineKind) -> dict[str, Any]:
        lines = [line for line in plan.lines if line.kind == kind]
        return {**_sums(lines, plan.decimals), "items": [shown(line) for line in lines]}

    return {
        "breakdown": {name: section(kind) for name, kind in _SECTIONS.items()},
        **_sums(plan.lines, plan.decimals),
        "total": format_amount(plan.amount, plan.decimals),
        "max_refundable": format_amount(left.total, plan.decimals),
    }


def _sums(lines: Sequence[PlanLine], decimals: int) -> dict[str, str]:
    net, tax = sum((line.net for line in lines), ZERO), sum((line.tax for line in lines), ZERO)
    return {"subtotal": format_amount(net, decimals), "tax": format_amount(tax, decimals)}


async def _product_ids(turn: Admitted, plan: RefundPlan) -> Mapping[str, int]:
    """Give the products of an order's lines; of a variation the legacy API tells its own id."""
    if all(line.kind != "item" for line in plan.lines):
        return {}
    opened = await shop.open_store(turn.rt, turn.who.caller, turn.asked.store)
    if isinstance(opened, StoreNotFound):
        raise refused(opened)
    only = [("_fields", "line_items")] if opened.store.api == "v3" else []
    try:
        read = await opened.store.read_raw(f"orders/{plan.order_id}", only)
    except StoreError as error:
        raise refused(shop.failed(error)) from error
    document: Any = None
    with suppress(ValueError, RecursionError):
        document = json.loads(read.body)
    order = document.get("order", document) if isinstance(document, dict) else {}
    try:
        lines = rows(order.get("line_items") if isinstance(order, dict) else None, "line_items")
    except Unreadable as error:
        raise WooError("store_unavailable", "The store did not show the order's products.") from error
    return {str(line.get("id")): found for line in lines if isinstance(found := line.get("product_id"), int)}


def _refused(refusal: Refusal, parsed: Parsed, left: Remaining | None) -> WooError:
    lead = refusal.faults[0]
    return WooError(_situation(lead, left), lead.message, says=says_of(refusal, parsed))


def _situation(fault: Fault, left: Remaining | None) -> Situation:
    """Name a fault as WooCommerce would, which looks first at the order and then at each line (11.1)."""
    if left is not None:
        if left.total == 0:
            return "order_not_refundable"
        line = left.line(str(fault.facts.get("line_id")))
        if line is not None and line.total == 0:
            return "line_refunded"
    # What is not about the lines is about the order: it was never paid, or its status forbids any refund.
    return _SITUATIONS.get(fault.code, "order_not_refundable")
