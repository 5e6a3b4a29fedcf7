"""Looking at stores, their refunds and what they can do.

The ledger is kept true to what is seen; no store is written to.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from app.domain.order import StoreRefund
from app.domain.refund_query import RefundQuery
from app.flows.mirror import Where, mirror_rows
from app.flows.results import (
    Caller,
    Capabilities,
    OneListed,
    RefundListing,
    StoreFailed,
    StoreNotFound,
    StoreRefundNotFound,
)
from app.flows.runtime import Runtime
from app.ledger import learned, search
from app.ledger.records import RefundRecord
from app.stores.port import ListedRefund, ListTooLong, RefundPage, Store, StoreError, StoreUnavailable


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenStore:
    """A store that a caller may use."""

    where: Where
    store: Store
    now: datetime  #: the ledger's clock, from before anything of the store was read


async def open_store(rt: Runtime, caller: Caller, store: str) -> OpenStore | StoreNotFound:
    """Find a store of the caller's by its name."""
    async with rt.database.reading() as conn:
        opening = await search.opening(conn, caller.tenant_id, store, idempotency_key=None, external_reference=None)
    if opening.store_id is None or (caller.store_ids is not None and opening.store_id not in caller.store_ids):
        return StoreNotFound(store=store)
    try:
        adapter, _ = await rt.stores.open(opening.store_id)
    except LookupError:
        return StoreNotFound(store=store)
    where = Where(tenant_id=caller.tenant_id, store_id=opening.store_id, store=store, api=adapter.api)
    return OpenStore(where=where, store=adapter, now=opening.now)


def failed(error: StoreError) -> StoreFailed:
    """Say what a store could not do."""
    retry_after_s = error.retry_after_s if isinstance(error, StoreUnavailable) else None
    return StoreFailed(code=error.code, message=str(error), retry_after_s=retry_after_s)


async def list_refunds(
    rt: Runtime, caller: Caller, store: str, query: RefundQuery, *, order_id: str | None = None, linked: bool = True
) -> RefundListing | StoreNotFound | StoreFailed:
    """List refunds of an order or of a whole store as the store shows them, each with the ledger's record of it.

    Without `linked` the answer need not wait for the ledger, which is brought up to date on the side.

    A store without a list of its own, and with too many orders to walk through, is served by what the ledger has seen.
    """
    opened = await open_store(rt, caller, store)
    if isinstance(opened, StoreNotFound):
        return opened
    try:
        page = await opened.store.list_refunds(query, order_id=order_id)
    except ListTooLong as error:
        if order_id is not None or query.local_bounds:
            return failed(error)
        return await _from_ledger(rt, opened, query)
    except StoreError as error:
        return failed(error)
    rows = [(listed.order_id, listed.refund) for listed in page.refunds]
    if not linked and opened.store.api == "v3":
        rt.executions.aside(mirror_rows(rt, opened.where, rows))
        return RefundListing(page=page, ours={}, served_by=page.served_by, complete=True)
    ours = await mirror_rows(rt, opened.where, rows)
    refunds = await _with_our_knowledge(rt, opened, page.refunds, ours)
    return RefundListing(page=replace(page, refunds=refunds), ours=ours, served_by=page.served_by, complete=True)


async def _with_our_knowledge(
    rt: Runtime, opened: OpenStore, refunds: tuple[ListedRefund, ...], ours: Mapping[str, str]
) -> tuple[ListedRefund, ...]:
    """Let documents of a legacy store say of our own refunds that they were paid, which its API never does."""
    if opened.store.api != "legacy" or not ours:
        return refunds
    async with rt.database.reading() as conn:
        moved = await search.moved(conn, opened.where.tenant_id, list(ours.values()))
    return tuple(
        replace(listed, document={**listed.document, "refunded_payment": True})
        if ours.get(listed.refund.id) in moved
        else listed
        for listed in refunds
    )


async def _from_ledger(rt: Runtime, opened: OpenStore, query: RefundQuery) -> RefundListing:
    async with rt.database.reading() as conn:
        records, total = await search.with_store_row(conn, opened.where.tenant_id, opened.where.store_id, query)
    listed = tuple(
        ListedRefund(order_id=record.order_id or "", refund=_row(record), document=document(record, query.dp))
        for record in records
    )
    return RefundListing(
        page=RefundPage(refunds=listed, total=total, decimals=2, served_by="orders"),
        ours={refund.refund.id: record.id for refund, record in zip(listed, records, strict=True)},
        served_by="ledger",
        complete=False,
    )


def _row(record: RefundRecord) -> StoreRefund:
    assert record.store_refund_id is not None
    assert record.amount is not None
    return StoreRefund(
        id=record.store_refund_id,
        amount=record.amount,
        reason=record.reason,
        refunded_payment=None if record.payment == "unknown" else record.money == "moved",
        created_at=record.settled_at or record.created_at,
        reference=record.marker if record.origin == "api" else None,
        lines=(),
        lines_known=False,
    )


def document(record: RefundRecord, dp: int | None = None) -> dict[str, object]:
    """Write a refund as wc/v3 would show it, from the ledger's record: for when its store cannot be asked."""
    decimals = dp if dp is not None else record.decimals if record.decimals is not None else 2
    made = (record.settled_at or record.created_at).strftime("%Y-%m-%dT%H:%M:%S")
    lines: dict[str, list[dict[str, object]]] = {"item": [], "shipping": [], "fee": []}
    for line in record.plan.lines if record.plan is not None else ():
        lines[line.kind].append(
            {
                "name" if line.kind != "shipping" else "method_title": line.name,
                **({"sku": line.sku, "quantity": -int(line.quantity)} if line.kind == "item" else {}),
                "total": f"{-line.net:.{decimals}f}",
                "total_tax": f"{-line.tax:.{decimals}f}",
                "taxes": [{"id": int(part.rate_id), "total": f"{-part.amount:.{decimals}f}"} for part in line.taxes],
                "meta_data": [{"key": "_refunded_item_id", "value": line.line_id}],
            }
        )
    return {
        "id": int(record.store_refund_id) if record.store_refund_id is not None else 0,
        "parent_id": int(record.order_id) if record.order_id is not None else 0,
        "date_created": made,
        "date_created_gmt": made,
        "amount": f"{record.amount or 0:.{decimals}f}",
        "reason": record.reason,
        "refunded_by": 0,
        "refunded_payment": record.money == "moved",
        "meta_data": [],
        "line_items": lines["item"],
        "shipping_lines": lines["shipping"],
        "tax_lines": [],
        "fee_lines": lines["fee"],
    }


async def read_refund(
    rt: Runtime, caller: Caller, store: str, order_id: str, store_refund_id: str, *, dp: int | None = None
) -> OneListed | StoreNotFound | StoreRefundNotFound | StoreFailed:
    """Read one refund of a store under its order."""
    opened = await open_store(rt, caller, store)
    if isinstance(opened, StoreNotFound):
        return opened
    try:
        listed = await opened.store.read_refund(order_id, store_refund_id, dp=dp)
    except StoreError as error:
        return failed(error)
    if listed is None:
        return StoreRefundNotFound(store_refund_id=store_refund_id)
    ours = await mirror_rows(rt, opened.where, [(order_id, listed.refund)])
    (listed,) = await _with_our_knowledge(rt, opened, (listed,), ours)
    return OneListed(listed=listed, refund_id=ours.get(store_refund_id))


async def capabilities(rt: Runtime, caller: Caller, store: str) -> Capabilities | StoreNotFound:
    """Say what a store can do by API and payment method: from its answers, and from what its refunds have shown."""
    opened = await open_store(rt, caller, store)
    if isinstance(opened, StoreNotFound):
        return opened
    features = await opened.store.features()
    async with rt.database.reading() as conn:
        known = await learned.by_payment_method(conn, opened.where.tenant_id, opened.where.store_id)
    return Capabilities(features=features, learned=known)
