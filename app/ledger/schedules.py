"""Schedules as people made them. Their runs are in `schedule_runs`."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, LiteralString, assert_never

from psycopg.types.json import Jsonb
from ulid import ULID

from app.database import Connection
from app.domain.schedule import (
    Action,
    MetaTest,
    MissedRuns,
    Plan,
    ReconciliationPlan,
    RefundAmount,
    RefundLines,
    RefundPercentage,
    RefundRemaining,
    RefundShipping,
    RefundsPlan,
    ScheduleKind,
    Selector,
    Terms,
    Window,
)

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A schedule as the ledger keeps it."""

    id: str
    tenant_id: str
    store_id: str
    store: str  #: the store's name
    name: str
    cron: str
    time_zone: str
    plan: Plan  #: without the customer's e-mail, which is sealed beside it
    customer_email: bytes | None = field(repr=False)  #: sealed; the schedule's id is the associated data
    missed: MissedRuns
    paused: bool
    next_at: datetime | None  #: None while it is paused
    is_default: bool
    created_by: str
    created_at: datetime
    updated_at: datetime

    @property
    def kind(self) -> ScheduleKind:
        """Say what it does."""
        return "refunds" if isinstance(self.plan, RefundsPlan) else "reconciliation"


def new_schedule_id() -> str:
    """Make an id for a schedule; its customer's e-mail is sealed for it."""
    return f"sd_{ULID()}"


_SELECT: LiteralString = (
    "SELECT schedule.*, store.name AS store FROM schedule JOIN store ON store.id = schedule.store_id"
)


async def insert(conn: Connection, schedule: Schedule) -> bool:
    """Put a schedule on record; False when it is a default one and its store has had one."""
    made = await conn.execute(
        "INSERT INTO schedule (id, tenant_id, store_id, name, kind, cron, time_zone, selector, customer_email, action,"
        " terms, mode, max_orders, max_total, window_days, missed, paused, next_at, is_default, created_by)"
        " VALUES (%(id)s, %(tenant_id)s, %(store_id)s, %(name)s, %(kind)s, %(cron)s, %(time_zone)s, %(selector)s,"
        " %(customer_email)s, %(action)s, %(terms)s, %(mode)s, %(max_orders)s, %(max_total)s, %(window_days)s,"
        " %(missed)s, %(paused)s, %(next_at)s, %(is_default)s, %(created_by)s)"
        " ON CONFLICT (store_id) WHERE is_default DO NOTHING",
        _values(schedule),
    )
    return made.rowcount == 1


async def change(conn: Connection, schedule: Schedule) -> None:
    """Write a schedule that was locked anew; neither its kind nor its store changes."""
    await conn.execute(
        "UPDATE schedule SET name = %(name)s, cron = %(cron)s, time_zone = %(time_zone)s, selector = %(selector)s,"
        " customer_email = %(customer_email)s, action = %(action)s, terms = %(terms)s, mode = %(mode)s,"
        " max_orders = %(max_orders)s, max_total = %(max_total)s, window_days = %(window_days)s, missed = %(missed)s,"
        " paused = %(paused)s, next_at = %(next_at)s, updated_at = now() WHERE id = %(id)s",
        _values(schedule),
    )


async def delete(conn: Connection, schedule_id: str) -> None:
    """Take a schedule away for good; its runs and batches stay on record."""
    await conn.execute(
        "UPDATE schedule SET deleted_at = now(), updated_at = now(), next_at = NULL, customer_email = NULL"
        " WHERE id = %s",
        (schedule_id,),
    )


async def find(
    conn: Connection,
    tenant_id: str,
    schedule_id: str,
    *,
    store_ids: Collection[str] | None = None,
    lock: bool = False,
) -> Schedule | None:
    """Find a tenant's schedule; with `lock`, hold it until the transaction ends."""
    row = await (
        await conn.execute(
            _SELECT
            + " WHERE schedule.tenant_id = %(tenant_id)s AND schedule.id = %(id)s AND schedule.deleted_at IS NULL"
            + " AND (%(store_ids)s::text[] IS NULL OR schedule.store_id = ANY(%(store_ids)s::text[]))"
            + (" FOR UPDATE OF schedule" if lock else ""),
            {"tenant_id": tenant_id, "id": schedule_id, "store_ids": None if store_ids is None else list(store_ids)},
        )
    ).fetchone()
    return None if row is None else schedule_of(row)


async def page(
    conn: Connection,
    tenant_id: str,
    *,
    store_ids: Collection[str] | None,
    store: str | None,
    kind: ScheduleKind | None,
    limit: int,
    after: str | None,
) -> list[Schedule]:
    """List a tenant's schedules, newest first, from behind the schedule `after`."""
    cursor = await conn.execute(
        _SELECT + " WHERE schedule.tenant_id = %(tenant_id)s AND schedule.deleted_at IS NULL"
        " AND (%(store_ids)s::text[] IS NULL OR schedule.store_id = ANY(%(store_ids)s::text[]))"
        " AND (%(store)s::text IS NULL OR store.name = %(store)s) AND (%(kind)s::text IS NULL OR kind = %(kind)s)"
        " AND (%(after)s::text IS NULL OR schedule.id < %(after)s) ORDER BY schedule.id DESC LIMIT %(limit)s",
        {
            "tenant_id": tenant_id,
            "store_ids": None if store_ids is None else list(store_ids),
            "store": store,
            "kind": kind,
            "after": after,
            "limit": limit,
        },
    )
    return [schedule_of(row) for row in await cursor.fetchall()]


async def take_due(conn: Connection, *, now: datetime, without: Collection[str] = ()) -> Schedule | None:
    """Lock a schedule whose time has come, unless another process is at it or it is one of those `without`."""
    row = await (
        await conn.execute(
            _SELECT + " WHERE schedule.next_at <= %s AND store.disabled_at IS NULL AND NOT schedule.id = ANY(%s)"
            " ORDER BY schedule.next_at LIMIT 1 FOR UPDATE OF schedule SKIP LOCKED",
            (now, list(without)),
        )
    ).fetchone()
    return None if row is None else schedule_of(row)


async def advance(conn: Connection, schedule_id: str, next_at: datetime) -> None:
    """Say when a schedule that was locked fires next."""
    await conn.execute("UPDATE schedule SET next_at = %s WHERE id = %s", (next_at, schedule_id))


async def stores_without_default(conn: Connection, *, limit: int) -> list[tuple[str, str]]:
    """Name stores that never had a default schedule, with their tenants."""
    cursor = await conn.execute(
        "SELECT id, tenant_id FROM store WHERE disabled_at IS NULL AND NOT EXISTS"
        " (SELECT FROM schedule WHERE schedule.store_id = store.id AND is_default) LIMIT %s",
        (limit,),
    )
    return [(row["id"], row["tenant_id"]) for row in await cursor.fetchall()]


def _values(schedule: Schedule) -> Json:
    nothing: Json = dict.fromkeys(
        ("selector", "action", "terms", "mode", "max_orders", "max_total", "window_days", "customer_email")
    )
    plain = {
        name: getattr(schedule, name)
        for name in (
            "id",
            "tenant_id",
            "store_id",
            "name",
            "kind",
            "cron",
            "time_zone",
            "missed",
            "paused",
            "next_at",
            "is_default",
            "created_by",
        )
    }
    match schedule.plan:
        case RefundsPlan() as plan:
            of_kind: Json = {
                "selector": Jsonb(selector_json(plan.selector)),
                "customer_email": schedule.customer_email,
                "action": Jsonb(action_json(plan.action)),
                "terms": Jsonb(_terms_json(plan.terms)),
                "mode": plan.mode,
                "max_orders": plan.max_orders,
                "max_total": Jsonb({currency: format(most, "f") for currency, most in plan.max_total.items()}),
            }
        case ReconciliationPlan() as plan:
            of_kind = {"window_days": plan.window_days}
        case _:
            assert_never(schedule.plan)
    return {**nothing, **plain, **of_kind}


def schedule_of(row: Mapping[str, Any]) -> Schedule:
    """Read a row of `schedule` joined with its store's name."""
    plan: Plan
    if row["kind"] == "refunds":
        plan = RefundsPlan(
            selector=_selector_from(row["selector"]),
            action=_action_from(row["action"]),
            terms=Terms(**row["terms"]),
            mode=row["mode"],
            max_orders=row["max_orders"],
            max_total={currency: Decimal(most) for currency, most in row["max_total"].items()},
        )
    else:
        plan = ReconciliationPlan(window_days=row["window_days"])
    plain = {name: row[name] for name in Schedule.__dataclass_fields__ if name not in ("plan", "customer_email")}
    email = row["customer_email"]
    return Schedule(**plain, plan=plan, customer_email=None if email is None else bytes(email))


def _terms_json(terms: Terms) -> Json:
    return {
        "reason": terms.reason,
        "reason_code": terms.reason_code,
        "payment": terms.payment,
        "restock": terms.restock,
        "metadata": dict(terms.metadata),
    }


_WINDOWS = ("created", "paid", "completed", "modified")


def selector_json(selector: Selector) -> Json:
    """Write a selector, all but the customer's e-mail."""
    return {
        "statuses": list(selector.statuses),
        **{name: _window_json(getattr(selector, name)) for name in _WINDOWS},
        "payment_methods": list(selector.payment_methods),
        "currency": selector.currency,
        "min_total": _text(selector.min_total),
        "max_total": _text(selector.max_total),
        "skus": list(selector.skus),
        "meta": [{"key": test.key, "value": test.value} for test in selector.meta],
        "customer_id": selector.customer_id,
        "refunded": selector.refunded,
    }


def _selector_from(value: Json) -> Selector:
    return Selector(
        **{
            **value,
            **{name: _window_from(value[name]) for name in _WINDOWS},
            "statuses": tuple(value["statuses"]),
            "payment_methods": tuple(value["payment_methods"]),
            "skus": tuple(value["skus"]),
            "min_total": _amount(value["min_total"]),
            "max_total": _amount(value["max_total"]),
            "meta": tuple(MetaTest(**test) for test in value["meta"]),
        }
    )


def _window_json(window: Window | None) -> Json | None:
    """Write a window in whole hours."""
    if window is None:
        return None
    lengths = {"older_than": window.older_than, "newer_than": window.newer_than}
    return {name: None if length is None else length // timedelta(hours=1) for name, length in lengths.items()}


def _window_from(value: Json | None) -> Window | None:
    if value is None:
        return None
    return Window(**{name: None if hours is None else timedelta(hours=hours) for name, hours in value.items()})


def action_json(action: Action) -> Json:
    """Write what is refunded of an order."""
    match action:
        case RefundRemaining():
            return {"type": "remaining"}
        case RefundShipping():
            return {"type": "shipping"}
        case RefundPercentage():
            return {"type": "percentage", "percentage": _text(action.percentage)}
        case RefundAmount():
            return {"type": "amount", "amount": _text(action.amount), "currency": action.currency}
        case RefundLines():
            return {"type": "lines", "lines": [{"sku": sku, "quantity": quantity} for sku, quantity in action.lines]}
        case _:
            assert_never(action)


def _action_from(value: Json) -> Action:
    match value["type"]:
        case "remaining":
            return RefundRemaining()
        case "shipping":
            return RefundShipping()
        case "percentage":
            return RefundPercentage(percentage=Decimal(value["percentage"]))
        case "amount":
            return RefundAmount(amount=Decimal(value["amount"]), currency=value["currency"])
        case "lines":
            return RefundLines(lines=tuple((line["sku"], line["quantity"]) for line in value["lines"]))
        case other:
            raise ValueError(f"no action of a schedule: {other}")


def _text(amount: Decimal | None) -> str | None:
    return None if amount is None else format(amount, "f")


def _amount(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)
