"""What callers get back about the refunds that a store shows, and about deleting them there."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from app.api.values import AmountText, Time, whole
from app.api.views import REFUND_EXAMPLE, RefundView, TaxView, View, decimals_of, refund_view, taxes_view
from app.domain.money import plain
from app.domain.order import StoreRefund
from app.domain.refund_query import RefundQuery
from app.flows.results import Amended, Deleted, RefundListing
from app.stores.port import Update


class StoreRefundLine(View):
    """What a refund of the store took from an order line."""

    line_id: str
    quantity: float | int
    net: AmountText
    taxes: list[TaxView]


class StoreRefundView(View):
    """A refund as the store shows it. A row is no proof of money: see `refunded_payment`."""

    id: str
    object: Literal["store_refund"] = "store_refund"
    order_id: str
    amount: AmountText
    reason: str
    refunded_payment: Annotated[
        bool | None, Field(description="True only after the payment gateway paid; null when the store does not say.")
    ]
    lines: Annotated[
        list[StoreRefundLine] | None,
        Field(description="Empty for a refund of an amount alone; null where the store does not show them."),
    ]
    lines_known: Annotated[bool, Field(description="Whether the store shows which order lines it took from.")]
    refund_id: Annotated[
        str | None,
        Field(
            description="The gateway's record of it, made by others or through us: see `origin` there. Null only while "
            "a refund of the order is under way that this may be."
        ),
    ]
    created_at: Time | None


class StoreRefundList(View):
    """A page of a store's refunds, as the store shows them."""

    data: list[StoreRefundView]
    page: Annotated[int | None, Field(description="The number of this page; null when `offset` was asked for.")]
    per_page: int
    total: Annotated[int | None, Field(description="Of all pages; null when the store has not counted.")]
    pages: Annotated[int | None, Field(description="How many pages there are; null when the store has not counted.")]
    served_by: Annotated[
        Literal["store", "orders", "ledger"],
        Field(
            description="`store`: the store's own list. `orders`: it has none for this, so its orders were read one by "
            "one. `ledger`: what the gateway has seen of the store so far, because there are too many orders."
        ),
    ]
    complete: Annotated[
        bool, Field(description="False when refunds may be missing that the gateway has never seen (`ledger`).")
    ]
    filtered_here: Annotated[
        list[str],
        Field(description="Parameters that the store ignores and that the gateway applied.", examples=[["parent"]]),
    ]
    next_cursor: Annotated[None, Field(description="Always null: this list has pages; see the Link header.")] = None


class DeletionView(View):
    """A refund whose row in its store is gone. No money comes back by that."""

    object: Literal["deletion"] = "deletion"
    refund: RefundView
    store_refund: Annotated[
        StoreRefundView | None, Field(description="The row as it was last; null when it was gone already.")
    ]
    deleted_now: Annotated[bool, Field(description="False when it was gone already.")]
    money_stays_paid: Annotated[
        bool | None,
        Field(
            description="True when the payment gateway has paid: the customer keeps the money. Null when the store's "
            "API does not tell, as for refunds made by others in a legacy store."
        ),
    ]
    detail: Annotated[str, Field(description="The same for people.")]


class AmendedRefundView(RefundView):
    """A refund after its words were changed."""

    model_config = ConfigDict(json_schema_extra={"examples": [{**REFUND_EXAMPLE, "in_store": "unsupported"}]})

    in_store: Annotated[
        Update | Literal["not_asked", "unreachable"],
        Field(
            description="What became of a new reason in the store. `shown`: the store shows it. `accepted`: the store "
            "took it, but goes on showing the old one. `unsupported`: its API cannot change refunds (wc/v3); the new "
            "reason is kept here alone. `absent`: the store has no such row any more. `unreachable`: the store could "
            "not be told. `not_asked`: there was nothing to tell it, because the reason stays as it was or the store "
            "has no row of this refund."
        ),
    ]


def store_refund_view(order_id: str, refund: StoreRefund, ours: str | None, decimals: int) -> StoreRefundView:
    """Show a refund of the store; amounts finer than `decimals` are shown as they are."""
    lines = [
        StoreRefundLine(
            line_id=line.item_id,
            quantity=whole(line.quantity),
            net=plain(line.net, decimals),
            taxes=taxes_view(line.taxes, decimals),
        )
        for line in refund.lines
    ]
    return StoreRefundView(
        id=refund.id,
        order_id=order_id,
        amount=plain(refund.amount, decimals),
        reason=refund.reason,
        refunded_payment=refund.refunded_payment,
        lines=lines if refund.lines_known else None,
        lines_known=refund.lines_known,
        refund_id=ours,
        created_at=refund.created_at,
    )


def listing_view(listing: RefundListing, query: RefundQuery) -> StoreRefundList:
    """Show a page of a store's refunds."""
    page = listing.page
    decimals = page.decimals if query.dp is None else query.dp
    return StoreRefundList(
        data=[
            store_refund_view(listed.order_id, listed.refund, listing.ours.get(listed.refund.id), decimals)
            for listed in page.refunds
        ],
        page=None if query.offset is not None else query.page,
        per_page=query.per_page,
        total=page.total,
        pages=None if page.total is None else -(-page.total // query.per_page),
        served_by=listing.served_by,
        complete=listing.complete,
        filtered_here=list(page.filtered_here),
    )


def deletion_view(deleted: Deleted) -> DeletionView:
    """Show what deleting a refund's row came to."""
    record, listed = deleted.record, deleted.listed
    gone = "The store's row of the refund is deleted" if deleted.by_this else "The store's row was gone already"
    if deleted.money_stays_paid:
        money = "its payment gateway had paid, and no money comes back: it goes on counting as paid"
    elif deleted.money_stays_paid is None:
        money = "the store does not say whether its payment gateway had paid, and no money comes back in any case"
    else:
        money = "no payment is made or taken back by that"
    return DeletionView(
        refund=refund_view(record),
        store_refund=None
        if listed is None
        else store_refund_view(listed.order_id, listed.refund, record.id, decimals_of(record)),
        deleted_now=deleted.by_this,
        money_stays_paid=deleted.money_stays_paid,
        detail=f"{gone}; {money}. The ledger keeps the refund and its history.",
    )


def amended_view(amended: Amended) -> AmendedRefundView:
    """Show a refund after its words were changed."""
    return AmendedRefundView(**dict(refund_view(amended.record)), in_store=amended.in_store)
