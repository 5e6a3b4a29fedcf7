"""The lines of a refund in WooCommerce's two forms: the list of wc/v3, and the array that WooCommerce keeps itself.

The list: [{"id", "quantity", "refund_total", "refund_tax": [{"id", "refund_total"}]}] (PU:139-166). The array:
{"<line id>": {"qty", "refund_total", "refund_tax": {"<rate id>": amount}}}, the only one in the legacy API (LO:1627).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from app.domain.refund import ItemRequest, TaxRequest
from app.front.errors import Faults
from app.front.values import count, id_of, misspelled, part_amount

_KNOWN = ("id", "quantity", "qty", "refund_total", "refund_tax")
_PARAM = "line_items"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a line stands in the request as it was sent."""

    pointer: str  #: of the line
    id: str  #: of its id
    quantity: str
    taxes: Sequence[str]  #: of the amount of each of its taxes


@dataclass(frozen=True, slots=True, kw_only=True)
class Lines:
    """Lines with something to refund, and where each stands."""

    items: tuple[ItemRequest, ...] = ()
    places: tuple[Place, ...] = ()

    @property
    def total(self) -> Decimal | None:
        """Sum the lines; None when the store's own prices have to be asked."""
        amounts = [item.amount for item in self.items]
        return None if None in amounts else sum((amount for amount in amounts if amount is not None), Decimal(0))


def read_lines(faults: Faults, given: Any, *, above: str = "", computed: bool = False, as_list: bool = True) -> Lines:
    """Read line_items. `computed` leaves what a quantity comes to to the gateway; `as_list` allows the list.

    `above` points at what line_items is a member of. Lines with neither units nor money are left out: clients send them
    for what is not refunded.
    """
    pointer = f"{above}/{_PARAM}"
    if given is None or given in ([], {}, ""):
        return Lines()
    found: list[tuple[ItemRequest, Place]] = []
    first_by_id: dict[str, str] = {}
    for key, line in _entries(faults, given, pointer, as_list=as_list):
        where = f"{pointer}/{key}"
        read = _line(faults, line, where, None if isinstance(given, list) else key, computed=computed)
        if read is None:
            continue
        item, place = read
        assert item.line_item_id is not None
        first = first_by_id.setdefault(item.line_item_id, where)
        if first != where:
            message = f"The line {item.line_item_id} stands here and at {first}; of two, WooCommerce takes the last."
            faults.add(_PARAM, message, pointer=place.id)
        if item.quantity is not None or item.amount is None or item.amount > 0:
            found.append(read)
    return Lines(items=tuple(item for item, _ in found), places=tuple(place for _, place in found))


def _entries(faults: Faults, given: Any, pointer: str, *, as_list: bool) -> list[tuple[str, Mapping[str, Any]]]:
    if isinstance(given, list):
        entries = [(str(i), entry) for i, entry in enumerate(given)]
        if not as_list:
            message = (
                "This API takes an object of lines by their ids; WooCommerce ignores a list and refunds no line of it."
            )
            faults.add(_PARAM, message, pointer=pointer)
            return []
    elif isinstance(given, dict):
        entries = list(given.items())
    else:
        faults.add(_PARAM, "line_items is neither a list nor an object.", pointer=pointer)
        return []
    sound: list[tuple[str, Mapping[str, Any]]] = []
    for key, entry in entries:
        if isinstance(given, dict) and id_of(key) is None:
            message = f"{key[:40]!r} is no line's id; send a list of objects with an id each, or an object by line id."
            faults.add(_PARAM, message, pointer=f"{pointer}/{key[:40]}")
        elif not isinstance(entry, dict):
            faults.add(_PARAM, "A line is an object.", pointer=f"{pointer}/{key}")
        else:
            sound.append((key, entry))
    return sound


def _line(
    faults: Faults, line: Mapping[str, Any], where: str, key: str | None, *, computed: bool
) -> tuple[ItemRequest, Place] | None:
    """Read a line, which `key` is the id of in the object form."""
    misspelled(faults, line, _KNOWN, param=_PARAM, pointer=where)
    line_id = key if key is not None else id_of(line.get("id"))
    if line_id is None:
        told = "The line has no id" if line.get("id") is None else "The line's id is not a line's id"
        faults.add(_PARAM, f"{told}; WooCommerce would refund none of the lines.", pointer=f"{where}/id")
        return None
    if key is not None and "id" in line and id_of(line["id"]) != key:
        faults.add(_PARAM, f"The line {key} has another id in it.", pointer=f"{where}/id")
    quantity, named = _quantity(faults, line, where)
    taxes, tax_places = _taxes(faults, line.get("refund_tax"), f"{where}/refund_tax")
    place = Place(
        pointer=where, id=where if key is not None else f"{where}/id", quantity=f"{where}/{named}", taxes=tax_places
    )
    given = line.get("refund_total")
    if given is None or given == "":
        if not computed:
            message = "The line has no refund_total; WooCommerce would refund nothing of it."
            faults.add(_PARAM, message, pointer=f"{where}/refund_total")
            return None
        if taxes:
            message = "refund_tax stands beside a refund_total, or neither of the two."
            faults.add(_PARAM, message, pointer=f"{where}/refund_tax")
        if not quantity:
            message = "Without a refund_total a line needs its quantity, from 1."
            faults.add(_PARAM, message, pointer=f"{where}/{named}")
            return None
        return ItemRequest(line_item_id=line_id, quantity=quantity), place
    net = part_amount(given)
    if net is None:
        message = 'refund_total is no amount: write it with plain digits and a dot, such as "12.50".'
        faults.add(_PARAM, message, pointer=f"{where}/refund_total")
        return None
    # WooCommerce's refund_total is without tax beside refund_tax, the gateway's amounts are with it.
    gross = net + sum((tax.amount for tax in taxes), Decimal(0))
    # With compute_totals one that stands alone has its tax in it, and is split as the line is (11.1).
    split = computed and line.get("refund_tax") is None
    return (
        ItemRequest(line_item_id=line_id, quantity=quantity or None, amount=gross, taxes=None if split else taxes),
        place,
    )


def _quantity(faults: Faults, line: Mapping[str, Any], where: str) -> tuple[int, str]:
    named = "qty" if "qty" in line and "quantity" not in line else "quantity"
    if "qty" in line and "quantity" in line and count(line["qty"]) != count(line["quantity"]):
        faults.add(_PARAM, "qty and quantity say different things.", pointer=f"{where}/quantity")
    given = line.get(named)
    if given is None or given == "":
        return 0, named
    quantity = count(given)
    if quantity is None:
        faults.add(_PARAM, "A quantity is a whole number that is not negative.", pointer=f"{where}/{named}")
        return 0, named
    return quantity, named


def _taxes(faults: Faults, given: Any, pointer: str) -> tuple[tuple[TaxRequest, ...], tuple[str, ...]]:
    """Read a line's taxes and where each stands; those of nothing are left out, as WooCommerce does (OF:574)."""
    found: list[TaxRequest] = []
    places: list[str] = []
    if given is None or given in ([], {}, ""):
        return (), ()
    entries: list[tuple[Any, Any, str, str]] = []
    if isinstance(given, list):
        for i, entry in enumerate(given):
            if not isinstance(entry, dict):
                faults.add(_PARAM, "A tax is an object with id and refund_total.", pointer=f"{pointer}/{i}")
                continue
            misspelled(faults, entry, ("id", "refund_total"), param=_PARAM, pointer=f"{pointer}/{i}")
            entries.append(
                (entry.get("id"), entry.get("refund_total"), f"{pointer}/{i}/id", f"{pointer}/{i}/refund_total")
            )
    elif isinstance(given, dict):
        entries = [(key, amount, f"{pointer}/{key[:40]}", f"{pointer}/{key[:40]}") for key, amount in given.items()]
    else:
        faults.add(_PARAM, "refund_tax is neither a list nor an object.", pointer=pointer)
    for rate, value, at_id, at_amount in entries:
        rate_id, amount = id_of(rate, rate=True), part_amount(value)
        if rate_id is None:
            faults.add(_PARAM, "That is no tax rate's id.", pointer=at_id)
        elif value is None:
            faults.add(_PARAM, "The tax has no refund_total.", pointer=at_amount)
        elif amount is None:
            faults.add(_PARAM, "The tax is no amount of plain digits and a dot.", pointer=at_amount)
        elif any(tax.rate_id == rate_id for tax in found):
            faults.add(_PARAM, f"The tax rate {rate_id} is given twice for this line.", pointer=at_id)
        elif amount > 0:
            found.append(TaxRequest(rate_id=rate_id, amount=amount))
            places.append(at_amount)
    return tuple(found), tuple(places)
