"""A refund's timeline: append-only, held so by a trigger."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from app.database import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEvent:
    """Something that is about to be true of a refund. `data` is shown to callers: no secrets, no personal data."""

    type: str  #: noun.past_verb, e.g. "refund.succeeded"
    actor: str
    data: Mapping[str, Any] = field(default_factory=dict)

    def params(self) -> dict[str, Any]:
        """Give the event as parameters of a statement that writes it."""
        return {"event_type": self.type, "event_actor": self.actor, "event_data": Jsonb(dict(self.data))}


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundEvent:
    """Something that was true of a refund."""

    id: int
    type: str
    actor: str
    data: Mapping[str, Any]
    at: datetime


async def append(conn: Connection, tenant_id: str, refund_id: str, event: NewEvent) -> None:
    """Write an event that goes with no change of the refund itself, such as a look that showed nothing new."""
    await conn.execute(
        "INSERT INTO refund_event (tenant_id, refund_id, type, actor, data)"
        " VALUES (%(tenant_id)s, %(refund_id)s, %(event_type)s, %(event_actor)s, %(event_data)s)",
        {"tenant_id": tenant_id, "refund_id": refund_id, **event.params()},
    )


async def timeline(
    conn: Connection, tenant_id: str, refund_id: str, *, limit: int, after: int | None = None
) -> list[RefundEvent]:
    """Read a refund's events, oldest first, from behind `after` (an event's id)."""
    cursor = await conn.execute(
        "SELECT id, type, actor, data, at FROM refund_event"
        " WHERE tenant_id = %s AND refund_id = %s AND id > %s ORDER BY id LIMIT %s",
        (tenant_id, refund_id, after or 0, limit),
    )
    return [RefundEvent(**row) for row in await cursor.fetchall()]
