"""Finding refunds: by what a request brings, by what callers filter for, and by what is left to do."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, LiteralString

from app.database import Connection
from app.domain.refund import RefundCommand
from app.domain.refund_query import RefundQuery
from app.ledger.records import RefundRecord, command_from, record_of

_SELECT: LiteralString = "SELECT refund.*, store.name AS store FROM refund JOIN store ON store.id = refund.store_id "


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """What the ledger knows when a request comes in."""

    store_id: str | None  #: None: the tenant has no such store, or it is disabled
    key_fingerprint: bytes | None  #: what the idempotency key stands for; None when it is new
    key_resource: str | None  #: what it stands for, when that is no refund
    known: RefundRecord | None  #: the refund that the key, or else the reference, belongs to
    now: datetime  #: the ledger's clock


async def opening(
    conn: Connection, tenant_id: str, store: str, *, idempotency_key: str | None, external_reference: str | None
) -> Opening:
    """Look up everything that decides whether a request is new, in one question."""
    row = await (
        await conn.execute(
            "SELECT refund.*, known_store.name AS store, asked.id AS asked_id,"
            " key.fingerprint AS key_fingerprint, key.resource_id AS key_resource, clock_timestamp() AS now"
            " FROM (VALUES (1)) AS one"
            " LEFT JOIN store AS asked ON asked.tenant_id = %(tenant)s AND asked.name = %(store)s"
            "  AND asked.disabled_at IS NULL"
            " LEFT JOIN idempotency_key AS key ON key.tenant_id = %(tenant)s AND key.key = %(key)s"
            " LEFT JOIN refund AS reference ON reference.tenant_id = %(tenant)s AND reference.store_id = asked.id"
            "  AND reference.external_reference = %(reference)s"
            " LEFT JOIN refund ON refund.id = coalesce(key.refund_id, reference.id)"
            " LEFT JOIN store AS known_store ON known_store.id = refund.store_id",
            {"tenant": tenant_id, "store": store, "key": idempotency_key, "reference": external_reference},
        )
    ).fetchone()
    assert row is not None
    return Opening(
        store_id=row["asked_id"],
        key_fingerprint=row["key_fingerprint"],
        key_resource=row["key_resource"],
        known=record_of(row) if row["id"] is not None else None,
        now=row["now"],
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ByReference:
    """The refund that an external reference belongs to."""

    refund_id: str
    fingerprint: bytes
    stored: str  #: its request, as it is kept

    @property
    def command(self) -> RefundCommand:
        """Read the request; only on demand, because an upload may ask after thousands."""
        return command_from(json.loads(self.stored))


async def by_references(
    conn: Connection, tenant_id: str, references: Sequence[str]
) -> Mapping[tuple[str, str], ByReference]:
    """Give the refunds that references belong to, by store id and reference."""
    cursor = await conn.execute(
        "SELECT store_id, external_reference, id, fingerprint, command::text AS stored FROM refund"
        " WHERE tenant_id = %s AND external_reference = ANY(%s)",
        (tenant_id, list(references)),
    )
    return {
        (row["store_id"], row["external_reference"]): ByReference(
            refund_id=row["id"], fingerprint=bytes(row["fingerprint"]), stored=row["stored"]
        )
        for row in await cursor.fetchall()
    }


async def bind_key(conn: Connection, tenant_id: str, key: str, fingerprint: bytes, refund_id: str) -> None:
    """Let a new idempotency key lead to a refund that was found by its reference."""
    await conn.execute(
        "INSERT INTO idempotency_key (tenant_id, key, fingerprint, refund_id) VALUES (%s, %s, %s, %s)"
        " ON CONFLICT DO NOTHING",
        (tenant_id, key, fingerprint, refund_id),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundFilters:
    """What a list of refunds is narrowed to; None leaves a field open."""

    store_ids: frozenset[str] | None = None  #: the stores that the caller's key is limited to
    store: str | None = None
    order_id: str | None = None
    status: str | None = None
    money: str | None = None
    external_reference: str | None = None
    origin: str | None = None
    via: str | None = None
    payment: str | None = None
    payment_method: str | None = None
    batch_id: str | None = None
    deleted: bool | None = None  #: whether its row in the store is gone
    reason_code: str | None = None
    currency: str | None = None
    created_from: datetime | None = None
    created_to: datetime | None = None
    settled_from: datetime | None = None
    settled_to: datetime | None = None
    amount_from: Decimal | None = None
    amount_to: Decimal | None = None


#: The condition of each filter; every one is a constant, values go in as parameters.
_CONDITIONS: Mapping[str, LiteralString] = {
    "store_ids": "refund.store_id = ANY(%(store_ids)s)",
    "store": "refund.store_id = (SELECT id FROM store WHERE tenant_id = %(tenant_id)s AND name = %(store)s)",
    "order_id": "refund.order_id = %(order_id)s",
    "status": "refund.status = %(status)s",
    "money": "refund.money = %(money)s",
    "external_reference": "refund.external_reference = %(external_reference)s",
    "origin": "refund.origin = %(origin)s",
    "via": "refund.via = %(via)s",
    "payment": "refund.payment = %(payment)s",
    "payment_method": "refund.payment_method = %(payment_method)s",
    "batch_id": "refund.batch_id = %(batch_id)s",
    "deleted": "(refund.deleted_at IS NOT NULL) = %(deleted)s",
    "reason_code": "refund.reason_code = %(reason_code)s",
    "currency": "refund.currency = %(currency)s",
    "created_from": "refund.created_at >= %(created_from)s",
    "created_to": "refund.created_at < %(created_to)s",
    "settled_from": "refund.settled_at >= %(settled_from)s",
    "settled_to": "refund.settled_at < %(settled_to)s",
    "amount_from": "refund.amount >= %(amount_from)s",
    "amount_to": "refund.amount <= %(amount_to)s",
}


async def page(
    conn: Connection, tenant_id: str, filters: RefundFilters, *, limit: int, after: str | None
) -> list[RefundRecord]:
    """Read a page of refunds, newest first, from behind `after` (a refund's id).

    Keyset on the id, which grows with time, so that page 10,000 costs what the first does. Refunds that turned out to
    be another one are left out.
    """
    params: dict[str, Any] = {"tenant_id": tenant_id, "limit": limit, "after": after}
    query: LiteralString = _SELECT + "WHERE refund.tenant_id = %(tenant_id)s AND refund.duplicate_of IS NULL"
    if after is not None:
        query += " AND refund.id < %(after)s"
    for name, condition in _CONDITIONS.items():
        value = getattr(filters, name)
        if value is not None:
            params[name] = list(value) if isinstance(value, frozenset) else value
            query += " AND " + condition
    cursor = await conn.execute(query + " ORDER BY refund.id DESC LIMIT %(limit)s", params)
    return [record_of(row) for row in await cursor.fetchall()]


async def of_order(conn: Connection, tenant_id: str, store_id: str, order_id: str) -> Mapping[str, str]:
    """Map the store's refund ids of an order to ours."""
    cursor = await conn.execute(
        "SELECT store_refund_id, id FROM refund WHERE tenant_id = %s AND store_id = %s AND order_id = %s"
        " AND store_refund_id IS NOT NULL AND duplicate_of IS NULL",
        (tenant_id, store_id, order_id),
    )
    return {row["store_refund_id"]: row["id"] for row in await cursor.fetchall()}


async def claimed(conn: Connection, store_id: str, order_id: str, *, but: str) -> frozenset[str]:
    """Give the store's ids of an order's rows that belong to refunds of ours, one of them aside."""
    cursor = await conn.execute(
        "SELECT store_refund_id FROM refund WHERE store_id = %s AND order_id = %s AND id <> %s AND origin = 'api'"
        " AND store_refund_id IS NOT NULL",
        (store_id, order_id, but),
    )
    return frozenset(row["store_refund_id"] for row in await cursor.fetchall())


#: When a refund was made, as far as is known.
_MADE: LiteralString = "coalesce(refund.settled_at, refund.created_at)"
#: The ways to sort rows; WooCommerce's titles and slugs are made of the date.
_SORTS: Mapping[str, LiteralString] = {
    "date": _MADE,
    "title": _MADE,
    "slug": _MADE,
    "modified": _MADE,
    "id": "refund.store_refund_id::numeric",
    "include": "array_position(%(include)s::text[], refund.store_refund_id)",
}


async def with_store_row(
    conn: Connection, tenant_id: str, store_id: str, query: RefundQuery
) -> tuple[list[RefundRecord], int]:
    """Read a page of the refunds of a store that have a row there as far as is known, and count all that match.

    Means what `chosen` and `paged` of the domain mean; `query.local_bounds` have to be empty.
    """
    assert not query.local_bounds
    after = [bound.at for bound in (query.after, query.modified_after) if bound is not None]
    before = [bound.at for bound in (query.before, query.modified_before) if bound is not None]
    asked: Mapping[LiteralString, bool] = {
        "refund.store_refund_id = ANY(%(include)s)": bool(query.include),
        "refund.store_refund_id <> ALL(%(exclude)s)": bool(query.exclude),
        "refund.order_id = ANY(%(parent)s)": bool(query.parent),
        "refund.order_id <> ALL(%(parent_exclude)s)": bool(query.parent_exclude),
        "(refund.store_refund_id = %(search)s OR NOT EXISTS (SELECT FROM unnest(%(words)s::text[]) AS word"
        " WHERE position(word IN lower(refund.reason)) = 0))": bool(query.search.strip()),
        _MADE + " > %(after)s": bool(after),
        _MADE + " < %(before)s": bool(before),
    }
    where: LiteralString = (
        " WHERE refund.tenant_id = %(tenant)s AND refund.store_id = %(store)s AND refund.store_refund_id IS NOT NULL"
        " AND refund.deleted_at IS NULL AND refund.duplicate_of IS NULL AND refund.amount IS NOT NULL"
    )
    for condition, applies in asked.items():
        if applies:
            where += " AND " + condition
    params = {
        "tenant": tenant_id,
        "store": store_id,
        "include": list(query.include),
        "exclude": list(query.exclude),
        "parent": list(query.parent),
        "parent_exclude": list(query.parent_exclude),
        "search": query.search.strip(),
        "words": query.search.lower().split(),
        "after": max(after, default=None),
        "before": min(before, default=None),
        "limit": query.per_page,
        "offset": query.start,
    }
    by_include = query.orderby == "include" and bool(query.include)
    sort = _SORTS[query.orderby] if by_include or query.orderby != "include" else _MADE
    direction: LiteralString = " DESC" if query.order == "desc" and not by_include else " ASC"
    counted = await (await conn.execute("SELECT count(*) AS n FROM refund" + where, params)).fetchone()
    cursor = await conn.execute(
        _SELECT + where + " ORDER BY " + sort + direction + ", refund.id" + direction + " LIMIT %(limit)s"
        " OFFSET %(offset)s",
        params,
    )
    return [record_of(row) for row in await cursor.fetchall()], 0 if counted is None else int(counted["n"])


async def of_store_refund(
    conn: Connection, tenant_id: str, store_id: str, order_id: str, store_refund_id: str
) -> RefundRecord | None:
    """Read the refund that a store's row belongs to, ours before one that was only seen."""
    row = await (
        await conn.execute(
            _SELECT + "WHERE refund.tenant_id = %s AND refund.store_id = %s AND refund.order_id = %s"
            " AND refund.store_refund_id = %s AND refund.duplicate_of IS NULL ORDER BY refund.origin LIMIT 1",
            (tenant_id, store_id, order_id, store_refund_id),
        )
    ).fetchone()
    return None if row is None else record_of(row)


async def moved(conn: Connection, tenant_id: str, refund_ids: list[str]) -> frozenset[str]:
    """Give those of some refunds whose money is known to have moved."""
    cursor = await conn.execute(
        "SELECT id FROM refund WHERE tenant_id = %s AND id = ANY(%s) AND money = 'moved'", (tenant_id, refund_ids)
    )
    return frozenset(row["id"] for row in await cursor.fetchall())


async def under_way(conn: Connection, store_id: str, order_id: str) -> RefundRecord | None:
    """Read a refund of an order whose outcome is not known yet."""
    row = await (
        await conn.execute(
            _SELECT + "WHERE refund.store_id = %s AND refund.order_id = %s"
            " AND refund.status IN ('sending', 'uncertain', 'needs_review') ORDER BY refund.id LIMIT 1",
            (store_id, order_id),
        )
    ).fetchone()
    return None if row is None else record_of(row)


async def counts_by_status(conn: Connection) -> Mapping[str, int]:
    """Count the refunds that are not finished, by status."""
    cursor = await conn.execute(
        "SELECT status, count(*) AS n FROM refund"
        " WHERE status IN ('pending', 'sending', 'uncertain', 'needs_review') GROUP BY status"
    )
    counts = dict.fromkeys(("pending", "sending", "uncertain", "needs_review"), 0)
    return counts | {row["status"]: row["n"] for row in await cursor.fetchall()}


async def oldest_due_s(conn: Connection) -> float:
    """Say how long the refund that is most overdue has been waiting for a worker, in seconds; 0 when none is."""
    row = await (
        await conn.execute(
            "SELECT extract(epoch FROM clock_timestamp() - min(due_at))::float8 AS lag FROM refund"
            " WHERE due_at <= clock_timestamp()"
        )
    ).fetchone()
    return 0.0 if row is None or row["lag"] is None else float(row["lag"])


async def abandoned(conn: Connection, *, limit: int) -> list[RefundRecord]:
    """Lock refunds whose process has given no sign of life until its lease ended; skips those that others hold."""
    cursor = await conn.execute(
        _SELECT + "WHERE refund.lease_until < clock_timestamp() AND refund.status IN ('pending', 'sending')"
        " ORDER BY refund.lease_until LIMIT %s FOR UPDATE OF refund SKIP LOCKED",
        (limit,),
    )
    return [record_of(row) for row in await cursor.fetchall()]


async def due(conn: Connection, *, limit: int) -> list[tuple[str, str]]:
    """Give the ids and statuses of refunds that a worker has to look at now, the longest waiting first."""
    cursor = await conn.execute(
        "SELECT id, status FROM refund WHERE due_at <= clock_timestamp() AND status IN ('pending', 'uncertain')"
        " ORDER BY due_at LIMIT %s",
        (limit,),
    )
    return [(row["id"], row["status"]) for row in await cursor.fetchall()]
