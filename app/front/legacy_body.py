"""POST /wc-api/v3/orders/{id}/refunds: from its envelope and query to a command, or every reason why not.

What WooCommerce does against the words of a request is refused: `api_refund` counts in the query alone, where the text
"false" is true (LS:341), and `refund_payment` beside it would pay twice (OF:633, LO:1668).
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from app.domain.refund import RefundCommand
from app.front.errors import Faults, WooError
from app.front.lines import read_lines
from app.front.v3_body import Parsed
from app.front.values import amount_text, misspelled, number, positive, reason_of

_ABOVE = "/order_refund"
_KNOWN = ("amount", "reason", "line_items", "restock_items", "api_refund", "refund_payment")


def envelope(body: Any, *, verb: str = "create") -> Mapping[str, Any]:
    """Give the order_refund of a body; raises WooError when there is none."""
    inner = body.get("order_refund") if isinstance(body, dict) else None
    if isinstance(inner, list) and not inner:
        inner = {}
    if not isinstance(inner, dict):
        raise WooError("missing_envelope", f"No order_refund data specified to {verb} order_refund")
    return inner


def parse(body: Any, query: Mapping[str, Any], *, store: str, order_id: str) -> Parsed:
    """Read a body and its query. Raises WooError that names every fault."""
    given = envelope(body)
    faults = Faults()
    misspelled(faults, given, _KNOWN, pointer=_ABOVE)
    misspelled(faults, query, ("api_refund",), pointer="")
    for name in ("api_refund", "refund_payment"):
        if name in given:
            message = (
                f"{name} does not count here, and WooCommerce would pay whatever it says; send ?api_refund=0 in the "
                "query to record a refund without paying it."
            )
            faults.add(name, message, pointer=f"{_ABOVE}/{name}")
    amount = _amount(faults, given.get("amount"))
    lines = read_lines(faults, given.get("line_items"), above=_ABOVE, as_list=False)
    reason = reason_of(faults, given.get("reason"), pointer=f"{_ABOVE}/reason")
    restock = _restock(faults, given.get("restock_items"))
    pays = _pays(faults, query)
    if not faults and amount is None:
        raise WooError("no_amount")
    faults.raise_any()
    command = RefundCommand(
        store=store,
        order_id=order_id,
        amount=amount,
        items=lines.items,
        reason=reason,
        payment="gateway" if pays else "manual",
        restock=restock,
        dialect="woocommerce",
    )
    return Parsed(command=command, places=lines.places, above=_ABOVE)


def _amount(faults: Faults, given: Any) -> Decimal | None:
    """Read the amount, text or number; a number has its exact value."""
    pointer = f"{_ABOVE}/amount"
    if given is None:
        return None
    if isinstance(given, str):
        return amount_text(faults, given, pointer=pointer)
    exact = number(given)
    if exact is None:
        faults.add("amount", "The amount is no amount.", pointer=pointer, situation="invalid_amount")
        return None
    if exact <= 0:
        return positive(faults, exact, pointer=pointer)
    return amount_text(faults, format(exact, "f"), pointer=pointer)


def _restock(faults: Faults, given: Any) -> bool:
    if given is None or given in (False, 0, "", "0"):
        return False
    if given is True or given in (1, "1", "true"):
        return True
    faults.add("restock_items", "restock_items is true or false, without quotes.", pointer=f"{_ABOVE}/restock_items")
    return False


def _pays(faults: Faults, query: Mapping[str, Any]) -> bool:
    if "api_refund" not in query:
        return True
    given = query["api_refund"]
    if given in ("1", "true"):
        return True
    if given != "0":
        message = "api_refund is 0 or 1 in this API; WooCommerce would pay for any other text, false included."
        faults.add("api_refund", message)
    return False
