"""What routes need from a request beside its body and query: the runtime, ids in paths, preferences."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Header, Path, Request

from app.api.problems import Problem
from app.api.values import (
    BATCH_ID_PATTERN,
    ID_PATTERN,
    REFUND_ID_PATTERN,
    SCHEDULE_ID_PATTERN,
    STORE_PATTERN,
    VISIBLE_PATTERN,
)
from app.flows.runtime import Runtime
from app.settings import Settings

_REFUND_ID = re.compile(REFUND_ID_PATTERN)
_BATCH_ID = re.compile(BATCH_ID_PATTERN)
_SCHEDULE_ID = re.compile(SCHEDULE_ID_PATTERN)
_STORE = re.compile(STORE_PATTERN)
_ID = re.compile(ID_PATTERN)
_WAIT = re.compile(r"[0-9]{1,6}", re.ASCII)


def runtime_of(request: Request) -> Runtime:
    """Give the process's runtime; a plain call, because every dependency costs a request some 50 µs."""
    runtime: Runtime = request.app.state.runtime
    return runtime


# An id that cannot exist is a resource that does not exist, not a malformed request.
async def _refund_id(
    refund_id: Annotated[
        str, Path(description="The refund's id.", json_schema_extra={"pattern": REFUND_ID_PATTERN}, examples=["rf_1"])
    ],
) -> str:
    if _REFUND_ID.fullmatch(refund_id) is None:
        raise Problem("refund_not_found", "There is no refund of this id.", refund_id=refund_id[:64])
    return refund_id


async def _batch_id(
    batch_id: Annotated[
        str, Path(description="The batch's id.", json_schema_extra={"pattern": BATCH_ID_PATTERN}, examples=["bt_1"])
    ],
) -> str:
    if _BATCH_ID.fullmatch(batch_id) is None:
        raise Problem("batch_not_found", "There is no batch of this id.", batch_id=batch_id[:64])
    return batch_id


async def _schedule_id(
    schedule_id: Annotated[
        str,
        Path(description="The schedule's id.", json_schema_extra={"pattern": SCHEDULE_ID_PATTERN}, examples=["sd_1"]),
    ],
) -> str:
    if _SCHEDULE_ID.fullmatch(schedule_id) is None:
        raise Problem("schedule_not_found", "There is no schedule of this id.", schedule_id=schedule_id[:64])
    return schedule_id


async def _store_name(
    store: Annotated[
        str, Path(description="The store's name.", json_schema_extra={"pattern": STORE_PATTERN}, examples=["acme-de"])
    ],
) -> str:
    if _STORE.fullmatch(store) is None:
        raise Problem("store_not_found", store=store[:64])
    return store


async def _order_id(
    order_id: Annotated[
        str, Path(description="The store's id of the order.", json_schema_extra={"pattern": ID_PATTERN}, examples=["1"])
    ],
) -> str:
    if _ID.fullmatch(order_id) is None:
        raise Problem("order_not_found", "The store has no order of this id.", order_id=order_id[:64])
    return order_id


async def _store_refund_id(
    store_refund_id: Annotated[
        str,
        Path(description="The store's id of the refund.", json_schema_extra={"pattern": ID_PATTERN}, examples=["2"]),
    ],
) -> str:
    if _ID.fullmatch(store_refund_id) is None:
        raise Problem("store_refund_not_found", store_refund_id=store_refund_id[:64])
    return store_refund_id


BatchIdInPath = Annotated[str, Depends(_batch_id)]
ScheduleIdInPath = Annotated[str, Depends(_schedule_id)]
RefundIdInPath = Annotated[str, Depends(_refund_id)]
StoreInPath = Annotated[str, Depends(_store_name)]
OrderIdInPath = Annotated[str, Depends(_order_id)]
StoreRefundIdInPath = Annotated[str, Depends(_store_refund_id)]

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        pattern=VISIBLE_PATTERN,
        description="Names the request, for ever: the same key and content give the same refund in its present "
        "state, with `Idempotent-Replayed: true`. Up to 255 visible ASCII characters.",
        examples=["cm-2026-00017"],
    ),
]


#: The header as OpenAPI names it; `preference` reads it, because there may be several.
PREFER: Mapping[str, Any] = {
    "name": "Prefer",
    "in": "header",
    "required": False,
    "description": "`wait=N` bounds how many seconds to wait for the outcome; `respond-async` answers 202 at once, "
    "and accepts the refund even while the store cannot be reached.",
    "schema": {"type": "string", "examples": ["wait=10", "respond-async"]},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Preference:
    """How long the caller wants to wait (RFC 7240)."""

    wait_s: float
    at_once: bool  #: answer 202 without looking at the store
    applied: str | None  #: for Preference-Applied


def preference(request: Request, settings: Settings) -> Preference:
    """Read the Prefer headers; what cannot be understood or honoured is ignored (RFC 7240, section 2)."""
    wait_s, at_once, applied = settings.default_wait_s, False, []
    seen: set[str] = set()
    for item in ",".join(request.headers.getlist("prefer")).split(","):
        name, _, value = item.partition(";")[0].partition("=")
        name, value = name.strip().lower(), value.strip().strip('"')
        if name in seen:
            continue
        seen.add(name)
        if name == "respond-async" and not value:
            at_once = True
            applied.append("respond-async")
        elif name == "wait" and _WAIT.fullmatch(value):
            wait_s = min(float(value), settings.max_wait_s)
            applied.append(f"wait={wait_s:.0f}")
    return Preference(wait_s=wait_s, at_once=at_once, applied=", ".join(applied) or None)
