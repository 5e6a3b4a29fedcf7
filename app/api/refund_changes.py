"""What people do to refunds: amend, delete, cancel, resolve, look again."""

from typing import Annotated

from fastapi import APIRouter, Query, Request

from app.api import documentation as docs
from app.api.auth import caller_of
from app.api.deps import RefundIdInPath, runtime_of
from app.api.errors import problem_of
from app.api.keyed import KeyedRoute
from app.api.queries import DeletionQuery
from app.api.schemas import AmendBody, ResolveBody, to_changes
from app.api.store_refund_views import AmendedRefundView, DeletionView, amended_view, deletion_view
from app.api.views import RefundView, refund_view
from app.flows import change, remove
from app.flows.amend import amend
from app.flows.results import Accepted, Amended, Deleted

router = APIRouter(prefix="/v1/refunds", tags=["Refunds"], route_class=KeyedRoute)


@router.patch(
    "/{refund_id}",
    operation_id="amend_refund",
    **docs.documented(
        "refunds:write",
        [*docs.OF_BODIES, "refund_not_found", "wrong_state"],
        answers={200: {"description": "The refund with its new words; `in_store` says what became of them there."}},
        also_taken="application/merge-patch+json",
        body=AmendBody.__name__,
    ),
)
async def amend_refund(request: Request, refund_id: RefundIdInPath, body: AmendBody) -> AmendedRefundView:
    """Change a refund's reason, reason code or metadata; never its money.

    A new reason is pushed to the store where its API can take it. Not while the refund is being sent.
    """
    outcome = await amend(runtime_of(request), caller_of(request), refund_id, to_changes(body))
    if not isinstance(outcome, Amended):
        raise problem_of(outcome)
    return amended_view(outcome)


@router.delete(
    "/{refund_id}",
    operation_id="delete_refund",
    **docs.documented(
        "refunds:delete",
        [*docs.OF_DELETIONS, "refund_not_found"],
        answers={200: {"description": "The row in the store is gone; the refund stays on record here."}},
    ),
)
async def delete_refund(
    request: Request, refund_id: RefundIdInPath, query: Annotated[DeletionQuery, Query()]
) -> DeletionView:
    """Delete a refund's row in its store, for good. No money comes back; the gateway keeps the refund on record.

    One that the payment gateway has paid needs `force=true`. Deleting it again says that it was gone.
    """
    outcome = await remove.delete(runtime_of(request), caller_of(request), refund_id, force=query.force)
    if not isinstance(outcome, Deleted):
        raise problem_of(outcome)
    return deletion_view(outcome)


@router.post(
    "/{refund_id}/cancel",
    operation_id="cancel_refund",
    **docs.documented(
        "refunds:write",
        ["refund_not_found", "wrong_state"],
        answers={200: {"description": "The refund is canceled; it will not be sent."}},
    ),
)
async def cancel_refund(request: Request, refund_id: RefundIdInPath) -> RefundView:
    """Cancel a refund that is still `pending`."""
    outcome = await change.cancel(runtime_of(request), caller_of(request), refund_id)
    if not isinstance(outcome, Accepted):
        raise problem_of(outcome)
    return refund_view(outcome.record)


@router.post(
    "/{refund_id}/resolve",
    operation_id="resolve_refund",
    **docs.documented(
        "refunds:approve",
        [*docs.OF_BODIES, *docs.OF_STORES, "refund_not_found", "wrong_state", "store_refund_not_found"],
        answers={200: {"description": "The refund in the state that the person found."}},
    ),
)
async def resolve_refund(
    request: Request,
    refund_id: RefundIdInPath,
    body: ResolveBody,
) -> RefundView:
    """Settle a refund that `needs_review`, after a look at the payment provider. The note stays in the timeline."""
    caller = caller_of(request)
    outcome = await change.resolve(
        runtime_of(request),
        caller,
        refund_id,
        outcome=body.outcome,
        note=body.note,
        person=body.by or caller.name,
        store_refund_id=body.store_refund_id,
    )
    if not isinstance(outcome, Accepted):
        raise problem_of(outcome)
    return refund_view(outcome.record)


@router.post(
    "/{refund_id}/recheck",
    operation_id="recheck_refund",
    **docs.documented(
        "refunds:write",
        ["refund_not_found", "wrong_state", "order_not_found", "store_unavailable", "store_misconfigured"],
        answers={200: {"description": "The refund after the look."}},
    ),
)
async def recheck_refund(request: Request, refund_id: RefundIdInPath) -> RefundView:
    """Look at the store now, for a refund that is `uncertain` or `needs_review`."""
    outcome = await change.recheck(runtime_of(request), caller_of(request), refund_id)
    if not isinstance(outcome, Accepted):
        raise problem_of(outcome)
    return refund_view(outcome.record)
