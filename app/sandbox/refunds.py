"""Refunds of wc/v3, created, listed and deleted as WooCommerce 9.4 does, mistakes included."""

from collections.abc import Mapping, Sequence
from decimal import Decimal

from pydantic import JsonValue

from app.sandbox import computed_refunds, refund_rows, serialize
from app.sandbox.computed_refunds import COMPUTED_SINCE
from app.sandbox.model import Json, Order, Refund
from app.sandbox.php import greater, is_numeric, number, strval
from app.sandbox.process import FatalError, PhpKilledError
from app.sandbox.queries import date_conditions, id_conditions, marks, page_of
from app.sandbox.refund_rows import GivenLine, NotCreatedError, create_refund, internal_lines
from app.sandbox.rest import Answer, Call, Param, RestError, not_found, paged, wrongly_500

CREATE_PARAMS: Mapping[str, Param] = {
    "amount": Param(kind="string"),
    "reason": Param(kind="string"),
    "api_refund": Param(kind="boolean", default=True),
    "api_restock": Param(kind="boolean", default=True),
    "compute_totals": Param(kind="boolean", default=False, since=COMPUTED_SINCE),
    "dp": Param(kind="integer"),
}
SINGLE_PARAMS: Mapping[str, Param] = {
    "context": Param(kind="string", default="view", among=("view", "edit")),
    "dp": Param(kind="integer"),
    "force": Param(kind="boolean", default=True),
}


async def create(call: Call) -> Answer:
    """Answer POST orders/{id}/refunds."""
    store, order_id = call.store, call.id()
    if call.flag("compute_totals"):
        return await _create_computed(call)
    given = _given_lines(call.body.get("line_items"))
    amount = call.text("amount") if "amount" in call.body or "amount" in call.query else _sum_of(given)
    if store.refund_exists(order_id):
        raise FatalError
    order = store.order(order_id)
    if order is None:
        raise wrongly_500("woocommerce_rest_invalid_order_id", "Invalid order ID.", 404)
    if amount is not None and greater("0", amount):
        raise wrongly_500("woocommerce_rest_invalid_order_refund", "Refund amount must be greater than zero.", 400)
    try:
        refund = await _made(call, order, amount, given)
    except NotCreatedError as error:
        raise wrongly_500("woocommerce_rest_cannot_create_order_refund", str(error), 500) from None
    return _created(call, refund)


async def _create_computed(call: Call) -> Answer:
    """Answer a POST with `compute_totals`, which has its own order of checks and proper status codes."""
    order, amount, lines = computed_refunds.to_make(call)
    try:
        refund = await _made(call, order, amount, lines)
    except NotCreatedError as error:
        raise RestError("cannot_create_refund", str(error), 400) from None
    return _created(call, refund)


async def _made(call: Call, order: Order, amount: str | None, lines: Mapping[int, GivenLine]) -> Refund:
    refund = await create_refund(
        call,
        order,
        amount=amount,
        reason=call.text("reason") or "",
        lines=lines,
        pays=call.flag("api_refund"),
        restocks=call.flag("api_restock"),
    )
    if not call.flag("api_refund") and call.fault("die_before_paying", "die_after_paying"):
        raise PhpKilledError
    return refund


def _created(call: Call, refund: Refund) -> Answer:
    return Answer(serialize.refund(_add_meta(call, refund), call.view()), status=201, headers=_location(call, refund))


async def retrieve(call: Call) -> Answer:
    """Answer GET orders/{id}/refunds/{refund id}."""
    return Answer(serialize.refund(_of_order(call), call.view()))


async def delete(call: Call) -> Answer:
    """Answer DELETE orders/{id}/refunds/{refund id}.

    Whatever has that id is gone, also a refund of another order, also an order (CRUD:482-487).
    """
    if not call.flag("force"):
        raise RestError("woocommerce_rest_trash_not_supported", "The shop_order_refund does not support trashing.", 501)
    refund_id = call.id(1)
    try:
        answer = Answer(serialize.refund(_of_order(call), call.view()))
    except RestError as error:
        if error.status != 404:
            with call.store.transaction():
                call.store.delete_refund(refund_id)
                call.store.delete_order(refund_id)
        raise
    refund_rows.delete(call.store, refund_id)
    return answer


async def list_of_order(call: Call) -> Answer:
    """Answer GET orders/{id}/refunds: also for an order that does not exist; `parent` has no effect (V2R:265)."""
    return _list(call, ["order_id = ?"], [call.id()], path=f"orders/{call.id()}/refunds", with_parent=False)


async def list_of_store(call: Call) -> Answer:
    """Answer GET refunds: `parent` has no effect here either, `parent_exclude` has (V3L:70)."""
    excluded = call.integers("parent_exclude")
    conditions = [f"order_id NOT IN ({marks(excluded)})"] if excluded else []
    return _list(call, conditions, excluded, path="refunds", with_parent=True)


def _list(
    call: Call, conditions: Sequence[str], values: Sequence[str | int], *, path: str, with_parent: bool
) -> Answer:
    dated, dates = date_conditions(call)
    named, ids = id_conditions(call)
    every = [*conditions, *dated, *named]
    if call.text("search"):
        every.append("0")  # a search looks at titles, and a refund's reason is not in its title
    page, total = page_of(call, "refunds", every, [*values, *dates, *ids])
    view = call.view()
    refunds = [refund for refund in map(call.store.refund, page) if refund is not None]
    shown: list[JsonValue] = [serialize.refund(refund, view, with_parent=with_parent) for refund in refunds]
    return Answer(shown, headers=paged(call, total, shown=len(shown), path=path, defaults={"dp": str(view.places)}))


def _of_order(call: Call) -> Refund:
    """Return the refund named by the path; errors in the order of V2R:190-210 and CRUD:139."""
    store, order_id, refund_id = call.store, call.id(), call.id(1)
    refund = store.refund(refund_id)
    if refund is None and not store.order_exists(refund_id):
        raise not_found("woocommerce_rest_shop_order_refund_invalid_id")
    if not store.order_exists(order_id):
        raise wrongly_500("woocommerce_rest_invalid_order_id", "Invalid order ID.", 404)
    if refund is None or refund.order_id != order_id:
        raise wrongly_500("woocommerce_rest_invalid_order_refund_id", "Invalid order refund ID.", 404)
    return refund


def _location(call: Call, refund: Refund) -> dict[str, str]:
    """WooCommerce sends the route's own regular expression (CRUD:234)."""
    return {"Location": f"{call.root}/wc/v3/orders/(?P<order_id>[\\d]+)/refunds/{refund.id}"}


def _given_lines(items: JsonValue) -> dict[int, GivenLine]:
    """Return the request's lines by item id (PU:139-166).

    A list counts only if every element has an `id`; otherwise its lines keep their positions and meet no item. An
    object is taken as the internal form, keyed by item id.
    """
    if isinstance(items, dict):
        return internal_lines(items)
    if not isinstance(items, list):
        return {}
    lines = [line for line in items if isinstance(line, dict)]
    if len(lines) != len(items) or not all(line.get("id") is not None for line in lines):
        return {at: dict(line) for at, line in enumerate(lines)}
    converted: dict[int, GivenLine] = {}
    for line in lines:
        item_id = str(line["id"])
        if item_id.isdecimal():
            converted[int(item_id)] = _internal(line)
    return converted


def _internal(line: Json) -> GivenLine:
    result: dict[str, JsonValue] = {key: value for key, value in line.items() if key not in {"id", "quantity"}}
    if "quantity" in line:
        result["qty"] = line["quantity"]
    taxes = line.get("refund_tax")
    if isinstance(taxes, list):
        entries = [tax for tax in taxes if isinstance(tax, dict)]
        if len(entries) == len(taxes) and all("id" in tax and "refund_total" in tax for tax in entries):
            result["refund_tax"] = {str(tax["id"]): tax["refund_total"] for tax in entries}
        else:
            result["refund_tax"] = {str(at): tax for at, tax in enumerate(taxes)}
    return result


def _sum_of(given: Mapping[int, GivenLine]) -> str | None:
    """Return the lines' sum as PHP prints it, or None if a part is not numeric or nothing is given (PU:102-131)."""
    if not given:
        return None
    total = Decimal(0)
    for line in given.values():
        taxes = line.get("refund_tax")
        parts = [line.get("refund_total"), *(taxes.values() if isinstance(taxes, dict) else ())]
        if not all(is_numeric(part) for part in parts):
            return None
        total += sum((number(part) for part in parts), Decimal(0))
    return strval(total)


def _add_meta(call: Call, refund: Refund) -> Refund:
    """Save the request's meta, after everything else (V3R:71-76)."""
    wanted = call.body.get("meta_data")
    if not isinstance(wanted, list) or not wanted:
        return refund
    with call.store.transaction():
        for entry in wanted:
            if isinstance(entry, dict) and isinstance(entry.get("key"), str):
                refund.meta.append(call.store.new_meta(str(entry["key"]), entry.get("value")))
        refund.modified = call.store.now()
        call.store.save_refund(refund)
    return refund
