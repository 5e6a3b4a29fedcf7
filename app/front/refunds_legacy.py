"""The refunds of wc-api/v3, in its envelopes: create, view, list, update, delete (LO:75-86)."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, assert_never

from starlette.responses import Response

from app.domain.refund_query import RefundQuery
from app.flows import shop
from app.flows.amend import Changes, amend
from app.flows.remove import delete_in_store
from app.flows.results import (
    Amended,
    Deleted,
    OneListed,
    RefundListing,
    RefundNotFound,
    StoreFailed,
    StoreNotFound,
    StoreRefundNotFound,
    WrongState,
)
from app.front.answers import REFUND_HEADER, Admitted, answer
from app.front.creating import carry_out, created, document_of, not_created
from app.front.documents import legacy_document, names_of, selected
from app.front.errors import Faults, GatewaySays, WooError
from app.front.legacy_body import envelope, parse
from app.front.outcomes import refused
from app.front.refunds_v3 import not_deleted
from app.front.values import flag, misspelled, reason_of
from app.stores.port import ListedRefund

_PER_PAGE = 100
#: Lists have no pages there; beyond this many refunds an order is no order.
_PAGES_MAX = 20


async def create(turn: Admitted, order_id: str) -> Response:
    """Refund an order."""
    turn.needs("refunds:write")
    asked = turn.asked
    parsed = parse(asked.readable_body(), asked.own_query, store=asked.store, order_id=order_id)
    record = await carry_out(turn, parsed)
    if record.status != "succeeded":
        return await not_created(turn, record)
    return await created(turn, record, _enveloped(turn, await document_of(turn, record, dp=None)))


async def retrieve(turn: Admitted, order_id: str, refund_id: str) -> Response:
    """Give one refund of an order; of this order, which WooCommerce does not look at."""
    turn.needs("refunds:read")
    found = await _read(turn, order_id, refund_id)
    return answer(turn.asked, _enveloped(turn, found.listed.document), headers=_naming(found.refund_id))


async def list_of_order(turn: Admitted, order_id: str) -> Response:
    """List all of an order's refunds: by time, the latest first, and those of one second by their ids."""
    turn.needs("refunds:read")
    listed = await _all(turn, order_id)
    documents = [legacy_document(row.document) for row in sorted(listed, key=lambda row: int(row.refund.id))]
    documents.sort(key=lambda document: str(document["created_at"]), reverse=True)
    fields = names_of(turn.asked.query.get("fields"))
    content = {"order_refunds": [selected(document, fields, keeps_links=False) for document in documents]}
    return answer(turn.asked, content)


async def update(turn: Admitted, order_id: str, refund_id: str) -> Response:
    """Change a refund's reason; its amount is what was paid.

    The answer shows the new one, which the ledger keeps; the store may go on showing the old one (LO:1736), and the
    header Refund-Gateway-Reason says whether it does.
    """
    turn.needs("refunds:write")
    given = envelope(turn.asked.readable_body(), verb="edit")
    faults = Faults()
    misspelled(faults, given, ("reason", "amount"), pointer="/order_refund")
    reason = reason_of(faults, given.get("reason"), pointer="/order_refund/reason")
    if "amount" in given:
        raise WooError("amount_is_fixed")
    faults.raise_any()
    found = await _read(turn, order_id, refund_id)
    if "reason" not in given:
        return answer(turn.asked, _enveloped(turn, found.listed.document), headers=_naming(found.refund_id))
    if found.refund_id is None:
        # It may be one of ours that is under way.
        raise WooError("being_sent")
    outcome = await amend(turn.rt, turn.who.caller, found.refund_id, Changes(reason=reason))
    match outcome:
        case Amended():
            document = {**found.listed.document, "reason": outcome.record.reason}
            headers = _naming(outcome.record.id) | {"Refund-Gateway-Reason": outcome.in_store.replace("_", " ")}
            return answer(turn.asked, _enveloped(turn, document), headers=headers)
        case RefundNotFound():
            raise WooError("refund_not_found")
        case WrongState():
            says = GatewaySays(code="wrong_state", refund_id=outcome.record.id, status=outcome.record.status)
            raise WooError("being_sent", says=says)
        case _:
            assert_never(outcome)


async def delete(turn: Admitted, order_id: str, refund_id: str) -> Response:
    """Delete a refund's row for good; of one that a payment gateway has paid only where force is said expressly."""
    turn.needs("refunds:delete")
    faults = Faults()
    force = flag(faults, turn.asked.params(), "force", default=False)
    faults.raise_any()
    outcome = await delete_in_store(turn.rt, turn.who.caller, turn.asked.store, order_id, refund_id, force=force)
    match outcome:
        case Deleted(listed=None):
            raise WooError("refund_not_found", headers=_naming(outcome.record.id))
        case Deleted():
            own = _naming(outcome.record.id)
            if outcome.money_stays_paid:
                own["Refund-Gateway-Money"] = "stays paid"
            return answer(turn.asked, {"message": "Permanently deleted refund"}, headers=own)
        case StoreRefundNotFound():
            raise WooError("refund_not_found")
        case _:
            raise not_deleted(outcome)


async def _read(turn: Admitted, order_id: str, refund_id: str) -> OneListed:
    found = await shop.read_refund(turn.rt, turn.who.caller, turn.asked.store, order_id, refund_id)
    match found:
        case OneListed():
            return found
        case StoreRefundNotFound():
            raise WooError("refund_not_found")
        case StoreNotFound() | StoreFailed():
            raise refused(found)
        case _:
            assert_never(found)


async def _all(turn: Admitted, order_id: str) -> list[ListedRefund]:
    query = RefundQuery(per_page=_PER_PAGE, orderby="id", order="asc")
    rows: list[ListedRefund] = []
    for page in range(1, _PAGES_MAX + 1):
        found = await shop.list_refunds(
            turn.rt, turn.who.caller, turn.asked.store, replace(query, page=page), order_id=order_id
        )
        match found:
            case RefundListing():
                rows += found.page.refunds
                if len(found.page.refunds) < _PER_PAGE:
                    return rows
            case StoreFailed(code="order_not_found"):
                raise _no_order(order_id)
            case StoreNotFound() | StoreFailed():
                raise refused(found)
            case _:
                assert_never(found)
    raise WooError("list_too_long", f"The order has more than {_PER_PAGE * _PAGES_MAX} refunds.")


def _no_order(order_id: str) -> WooError:
    return WooError("order_not_found", f"No order found with the ID equal to {order_id}")


def _enveloped(turn: Admitted, document: Mapping[str, Any]) -> dict[str, Any]:
    fields = names_of(turn.asked.query.get("fields"))
    return {"order_refund": selected(legacy_document(document), fields, keeps_links=False)}


def _naming(refund_id: str | None) -> dict[str, str]:
    return {} if refund_id is None else {REFUND_HEADER: refund_id}
