"""What can be said of a batch's items before any of them is begun: every fault of every item."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace

from app.domain.batch import NewBatch, NewItem, RowFault
from app.domain.command import faults_of
from app.domain.sight import without_markers
from app.flows.content import content_fingerprint, differing
from app.flows.results import Caller
from app.flows.runtime import Runtime
from app.ledger import search, tenants

#: References looked up in one go: reading thousands of rows would keep everybody else waiting.
_AT_A_TIME = 500


async def check_items(rt: Runtime, caller: Caller, new: NewBatch) -> tuple[RowFault, ...]:
    """Find everything that is wrong with items by themselves, among each other and against the ledger."""
    async with rt.database.reading() as conn:
        rows = await tenants.stores(conn, caller.tenant_id, store_ids=caller.store_ids)
        stores = {row.name: row.id for row in rows if row.disabled_at is None}
        asked = {item.command.external_reference for item in new.items if item.command.external_reference}
        references = sorted(asked)
        known: dict[tuple[str, str], search.ByReference] = {}
        for start in range(0, len(references), _AT_A_TIME):
            known |= await search.by_references(conn, caller.tenant_id, references[start : start + _AT_A_TIME])
    # Thousands of them: the event loop has other requests to serve.
    return await asyncio.to_thread(_faults, new.items, stores, known)


def cleaned(items: Sequence[NewItem]) -> tuple[NewItem, ...]:
    """Take out of reasons what looks like a mark of ours, as for any refund."""
    return tuple(
        replace(item, command=replace(item.command, reason=without_markers(item.command.reason))) for item in items
    )


def _faults(
    items: Sequence[NewItem], stores: Mapping[str, str], known: Mapping[tuple[str, str], search.ByReference]
) -> tuple[RowFault, ...]:
    faults: list[RowFault] = []
    first: dict[tuple[str, str], int] = {}
    for item in cleaned(items):
        number, command = item.number, item.command
        faults.extend(
            RowFault(number=number, pointer=fault.pointer, code=fault.code, message=fault.message, facts=fault.facts)
            for fault in faults_of(command)
        )
        store_id = stores.get(command.store)
        if store_id is None:
            faults.append(
                RowFault(
                    number=number,
                    pointer="/store",
                    code="store_not_found",
                    message=f"There is no store {command.store!r} that this key may use.",
                )
            )
            continue
        reference = command.external_reference
        if reference is None:
            continue
        before = first.setdefault((store_id, reference), number)
        if before != number:
            faults.append(
                RowFault(
                    number=number,
                    pointer="/external_reference",
                    code="duplicate_reference",
                    message=f"Item {before} has the same external_reference for the same store.",
                    facts={"first": before},
                )
            )
        there = known.get((store_id, reference))
        if there is not None and there.fingerprint != content_fingerprint(command):
            faults.append(
                RowFault(
                    number=number,
                    pointer="/external_reference",
                    code="external_reference_conflict",
                    message=f"The reference belongs to {there.refund_id}, which was asked for with other content.",
                    facts={"refund_id": there.refund_id, "differing": list(differing(there.command, command))},
                )
            )
    return tuple(faults)
