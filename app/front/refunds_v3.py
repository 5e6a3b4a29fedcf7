"""The refunds of wc/v3: create, retrieve, list of an order and of the whole store, delete."""

from collections.abc import Mapping
from typing import Any, assert_never

from starlette.responses import Response

from app.flows import shop
from app.flows.remove import delete_in_store
from app.flows.results import (
    Deleted,
    NoStoreRefund,
    OneListed,
    PaidByGateway,
    RefundListing,
    RefundNotFound,
    StoreFailed,
    StoreNotFound,
    StoreRefundNotFound,
    WrongState,
)
from app.front.answers import REFUND_HEADER, Admitted, answer
from app.front.creating import carry_out, created, document_of, not_created
from app.front.documents import Shape, selected, shape_of, v3_document
from app.front.errors import Faults, GatewaySays, WooError
from app.front.listing import document_query, list_headers, list_query
from app.front.outcomes import refused
from app.front.v3_body import parse
from app.front.values import flag
from app.stores.port import StoreError

#: Both name a refund that the store has, but not under that order.
_OF_OTHER_ORDER = b"woocommerce_rest_invalid_order_refund_id"
_NO_ORDER = b"woocommerce_rest_invalid_order_id"


async def create(turn: Admitted, order_id: str) -> Response:
    """Refund an order."""
    turn.needs("refunds:write")
    asked = turn.asked
    params = asked.params()
    if not isinstance(asked.body, dict):
        raise WooError("no_amount", "The body is no JSON object; WooCommerce would refund 0.00.")
    shown = document_query(asked.own_query)
    parsed = parse(params, store=asked.store, order_id=order_id)
    record = await carry_out(turn, parsed)
    if record.status != "succeeded":
        return await not_created(turn, record)
    document = await document_of(turn, record, dp=shown.dp)
    content = _one(turn, document)
    location = f"{asked.root}/orders/{document['parent_id']}/refunds/{document['id']}"
    return await created(turn, record, content, {"Location": location})


async def retrieve(turn: Admitted, order_id: str, refund_id: str) -> Response:
    """Give one refund of an order."""
    turn.needs("refunds:read")
    shown = document_query(turn.asked.own_query)
    found = await shop.read_refund(turn.rt, turn.who.caller, turn.asked.store, order_id, refund_id, dp=shown.dp)
    match found:
        case OneListed():
            return answer(turn.asked, _one(turn, found.listed.document), headers=_naming(found.refund_id))
        case StoreRefundNotFound():
            raise await _absent(turn, order_id, refund_id)
        case StoreNotFound() | StoreFailed():
            raise refused(found)
        case _:
            assert_never(found)


async def list_of_order(turn: Admitted, order_id: str) -> Response:
    """List an order's refunds."""
    turn.needs("refunds:read")
    return await _list(turn, order_id)


async def list_of_store(turn: Admitted) -> Response:
    """List the refunds of the whole store."""
    turn.needs("refunds:read")
    return await _list(turn, None)


async def _list(turn: Admitted, order_id: str | None) -> Response:
    asked = turn.asked
    query = list_query(asked.own_query)
    found = await shop.list_refunds(turn.rt, turn.who.caller, asked.store, query, order_id=order_id, linked=False)
    match found:
        case RefundListing():
            shape = shape_of(asked.own_query)
            content = [
                selected(
                    v3_document(listed.document, root=asked.root, shape=shape, whole_store=order_id is None),
                    shape.fields,
                    keeps_links=False,
                )
                for listed in found.page.refunds
            ]
            page = list_headers(asked, query, total=found.page.total, shown=len(content), decimals=found.page.decimals)
            return answer(asked, content, headers={**page, **_provenance(found)})
        case StoreFailed(code="order_not_found"):
            # WooCommerce does not look whether there is such an order.
            page = list_headers(asked, query, total=0, shown=0, decimals=2)
            return answer(asked, [], headers=page)
        case StoreNotFound() | StoreFailed():
            raise refused(found)
        case _:
            assert_never(found)


def _provenance(found: RefundListing) -> dict[str, str]:
    """Say what of a list WooCommerce would not have given."""
    own: dict[str, str] = {}
    if found.served_by != "store":
        own["Refund-Gateway-Served-By"] = found.served_by
    if found.page.filtered_here:
        own["Refund-Gateway-Filtered"] = ", ".join(found.page.filtered_here)
    if not found.complete:
        own["Refund-Gateway-Complete"] = "false"
    return own


async def delete(turn: Admitted, order_id: str, refund_id: str) -> Response:
    """Delete a refund's row for good; of one that a payment gateway has paid only where force is said expressly."""
    turn.needs("refunds:delete")
    params = turn.asked.params()
    faults = Faults()
    force = flag(faults, params, "force", default=True)
    faults.raise_any()
    if not force:
        raise WooError("no_trash")
    expressly = params.get("force") is not None
    outcome = await delete_in_store(turn.rt, turn.who.caller, turn.asked.store, order_id, refund_id, force=expressly)
    match outcome:
        case Deleted(listed=None):
            raise WooError("refund_not_found", headers=_naming(outcome.record.id))
        case Deleted():
            assert outcome.listed is not None
            own = _naming(outcome.record.id)
            if outcome.money_stays_paid:
                own["Refund-Gateway-Money"] = "stays paid"
            return answer(turn.asked, _one(turn, outcome.listed.document), headers=own)
        case StoreRefundNotFound():
            raise await _absent(turn, order_id, refund_id)
        case _:
            raise not_deleted(outcome)


def not_deleted(
    outcome: StoreNotFound | RefundNotFound | PaidByGateway | NoStoreRefund | WrongState | StoreFailed,
) -> WooError:
    """Say why a refund was not deleted."""
    match outcome:
        case PaidByGateway():
            return WooError("paid_refund", says=GatewaySays(code="paid_by_gateway", refund_id=outcome.refund_id))
        case WrongState():
            says = GatewaySays(code="wrong_state", refund_id=outcome.record.id, status=outcome.record.status)
            return WooError("being_sent", says=says)
        case RefundNotFound() | NoStoreRefund():
            return WooError("refund_not_found")
        case StoreNotFound() | StoreFailed():
            return refused(outcome)
        case _:
            assert_never(outcome)


async def _absent(turn: Admitted, order_id: str, refund_id: str) -> WooError:
    """Say in the store's own code what is not there: the refund, the order, or the one under the other."""
    opened = await shop.open_store(turn.rt, turn.who.caller, turn.asked.store)
    if isinstance(opened, StoreNotFound) or opened.store.api != "v3":
        return WooError("refund_not_found")
    try:
        said = await opened.store.read_raw(f"orders/{order_id}/refunds/{refund_id}", [("_fields", "id")])
    except StoreError as error:
        return refused(shop.failed(error))
    if _OF_OTHER_ORDER in said.body:
        return WooError("refund_of_other_order")
    return WooError("order_not_found" if _NO_ORDER in said.body else "refund_not_found")


def _one(turn: Admitted, document: Mapping[str, Any]) -> dict[str, Any]:
    shape: Shape = shape_of(turn.asked.own_query)
    return selected(v3_document(document, root=turn.asked.root, shape=shape), shape.fields, keeps_links=True)


def _naming(refund_id: str | None) -> dict[str, str]:
    return {} if refund_id is None else {REFUND_HEADER: refund_id}
