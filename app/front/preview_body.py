"""POST wc/v3/orders/{id}/refunds/preview: from its parameters to a command, or every reason why not.

A line is {"line_item_id", "quantity" or "refund_total"} and nothing else; unlike on create, refund_total has its tax
in it. Where both stand, the money counts and the quantity is only repeated in the answer.
"""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from app.domain.refund import ItemRequest, RefundCommand
from app.front.errors import Faults, WooError
from app.front.form import listed
from app.front.lines import Place
from app.front.v3_body import Parsed
from app.front.values import count, id_of, misspelled, part_amount

_PARAM = "line_items"
_KNOWN = ("line_item_id", "quantity", "refund_total")


def parse_preview(params: Mapping[str, Any], *, store: str, order_id: str) -> Parsed:
    """Read the parameters of a query and a body together. Raises WooError that names every fault."""
    faults = Faults()
    misspelled(faults, params, (_PARAM,), pointer="")
    given = listed(params.get(_PARAM))
    if not faults and given is None:
        raise WooError("missing_lines", data={"params": [_PARAM]})
    lines = list(_lines(faults, given))
    faults.raise_any()
    command = RefundCommand(
        store=store, order_id=order_id, items=tuple(item for item, _ in lines), dialect="woocommerce"
    )
    return Parsed(command=command, places=tuple(place for _, place in lines), above="")


def _lines(faults: Faults, given: Any) -> Iterator[tuple[ItemRequest, Place]]:
    if given is None:
        return
    if not isinstance(given, list) or not given:
        faults.add(_PARAM, f"{_PARAM} is a list of one line or more.")
        return
    for i, line in enumerate(given):
        where = f"/{_PARAM}/{i}"
        if not isinstance(line, dict):
            faults.add(_PARAM, "A line is an object.", pointer=where)
            continue
        read = _line(faults, line, where)
        if read is not None:
            yield read, Place(pointer=where, id=f"{where}/line_item_id", quantity=f"{where}/quantity", taxes=())


def _line(faults: Faults, line: Mapping[str, Any], where: str) -> ItemRequest | None:
    for name in sorted(set(line) - set(_KNOWN)):
        message = f"A line is {', '.join(_KNOWN[:-1])} or {_KNOWN[-1]}; here it has no {name[:60]}."
        faults.add(_PARAM, message, pointer=f"{where}/{name[:60]}")
    line_id = id_of(line.get("line_item_id"))
    if line_id is None:
        told = "has no line_item_id" if line.get("line_item_id") is None else "has no line's id for its line_item_id"
        faults.add(_PARAM, f"The line {told}.", pointer=f"{where}/line_item_id")
    if line.get("quantity") is None and line.get("refund_total") is None:
        message = "The line has neither a quantity nor a refund_total."
        faults.add(_PARAM, message, pointer=where, situation="no_quantity_or_total")
    quantity = _quantity(faults, line.get("quantity"), f"{where}/quantity")
    total = _total(faults, line.get("refund_total"), f"{where}/refund_total")
    return None if line_id is None else ItemRequest(line_item_id=line_id, quantity=quantity, amount=total)


def _quantity(faults: Faults, given: Any, pointer: str) -> int | None:
    if given is None:
        return None
    quantity = count(given)
    if not quantity:
        faults.add(_PARAM, "A quantity is a whole number from 1.", pointer=pointer, situation="invalid_quantity")
    return quantity


def _total(faults: Faults, given: Any, pointer: str) -> Decimal | None:
    if given is None:
        return None
    total = part_amount(given)
    if not total:
        message = 'A refund_total is more than nothing, in plain digits and a dot, such as "12.50".'
        faults.add(_PARAM, message, pointer=pointer, situation="invalid_refund_total")
    return total
