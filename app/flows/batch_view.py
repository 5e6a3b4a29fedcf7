"""A batch with how far it has come, read in one go."""

from datetime import timedelta

from app.database import Connection
from app.domain.batch import Stops
from app.flows.batch_results import BatchView, Limit, Tally
from app.flows.runtime import Runtime
from app.ledger import batches
from app.ledger.batches import BatchRecord

#: What the rate is taken over.
_LATELY_S = 30


async def view_of(rt: Runtime, conn: Connection, record: BatchRecord) -> BatchView:
    """Give a batch with its items counted, and an estimate of its end while it runs."""
    limits = await batches.limits_of(conn, record.id)
    tallies = await batches.tallies(conn, record.id)
    rate: float | None = None
    if record.status == "running":
        done, seconds = await batches.lately(conn, record.id, seconds=_LATELY_S)
        rate = done / seconds if done and seconds > 0 else None
    left = record.items - record.processed
    ends_at = rt.clock() + timedelta(seconds=left / rate) if rate and left else None
    return BatchView(
        id=record.id,
        name=record.name,
        mode=record.mode,
        status=record.status,
        stopped_by=record.stopped_by,
        start_at=record.start_at,
        release_until=record.release_until,
        stops=Stops(
            max_total={currency: limit[0] for currency, limit in limits.items()},
            stop_after_failures=record.stop_after_failures,
            stop_if_over=record.stop_if_over,
        ),
        limits={currency: Limit(max_total=most, taken=taken) for currency, (most, taken) in limits.items()},
        schedule_id=record.schedule_id,
        created_by=record.created_by,
        released_by=record.released_by,
        created_at=record.created_at,
        updated_at=record.updated_at,
        started_at=record.started_at,
        finished_at=record.finished_at,
        items=record.items,
        processed=record.processed,
        tallies=tuple(
            Tally(
                status=tally.status,
                store=tally.store,
                currency=tally.currency,
                items=tally.items,
                amount=tally.amount,
                decimals=tally.decimals,
            )
            for tally in tallies
        ),
        rate_per_s=rate,
        ends_at=ends_at,
    )
