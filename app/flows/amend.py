"""Changing the words of a refund: its reason, its reason code, its metadata. Never its money."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from app.domain.sight import without_markers
from app.flows.results import Amended, Caller, RefundNotFound, WrongState
from app.flows.runtime import Runtime
from app.flows.settle import as_it_is
from app.ledger import amendments, refunds
from app.ledger.events import NewEvent
from app.ledger.records import RefundRecord
from app.stores.port import StoreError, Update


class Unset:
    """Stands for a field that a request leaves as it is."""


UNSET = Unset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What a request changes; the rest stays."""

    reason: str | Unset = UNSET
    reason_code: str | Unset | None = UNSET
    metadata: Mapping[str, str] | Unset = UNSET  #: takes the place of all there was

    def fields(self) -> dict[str, Any]:
        """Give what is to be changed by name."""
        given = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {name: value for name, value in given.items() if not isinstance(value, Unset)}


async def amend(rt: Runtime, caller: Caller, refund_id: str, changes: Changes) -> Amended | RefundNotFound | WrongState:
    """Change a refund's words here, and push a new reason to the store where its API can take one.

    Not while the refund is being sent: what has left cannot be changed. The store is told after the ledger, so that a
    store that cannot be reached changes nothing of what is kept here.
    """
    async with rt.database.reading() as conn:
        record = await refunds.find(conn, caller.tenant_id, refund_id)
    if record is None or (caller.store_ids is not None and record.store_id not in caller.store_ids):
        return RefundNotFound(refund_id=refund_id)
    fields = changes.fields()
    if "reason" in fields:
        fields["reason"] = without_markers(fields["reason"])
    changed = {name: value for name, value in fields.items() if getattr(record, name) != value}
    if not changed:
        # A store that could not be told the first time is told now.
        return Amended(record=record, in_store=await _push(rt, record) if "reason" in fields else "not_asked")
    # Which fields, and not their texts: those may name people.
    event = NewEvent(type="refund.amended", actor=caller.actor, data={"fields": sorted(changed)})
    async with rt.database.transaction() as conn:
        after = await amendments.amend(conn, record, changed, event)
    if after is None:
        now = await as_it_is(rt, record)
        return WrongState(record=now, allowed=("pending", "succeeded", "failed", "needs_review", "canceled"))
    return Amended(record=after, in_store=await _push(rt, after) if "reason" in changed else "not_asked")


async def _push(rt: Runtime, record: RefundRecord) -> Update | Literal["not_asked", "unreachable"]:
    if record.status == "needs_review":
        # Which row is whose is in question there; no mark of ours goes onto one.
        return "not_asked"
    if record.store_refund_id is None or record.order_id is None or record.deleted_at is not None:
        return "not_asked"
    try:
        store, policy = await rt.stores.open(record.store_id)
        reason = record.reason
        if record.origin == "api" and policy.marker_in_reason:
            # The marker stays with the row: recovery and reconciliation know it by that.
            reason = f"{reason} [{record.marker}]" if reason else f"[{record.marker}]"
        return await store.update_refund(record.order_id, record.store_refund_id, reason=reason)
    except (StoreError, LookupError):
        return "unreachable"
