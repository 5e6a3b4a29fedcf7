"""A store's orders are gone through whole and once, whatever comes and goes meanwhile, and never for ever."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from app.domain.order_query import OrderPage, OrderQuery, OrderSummary
from app.flows.order_reading import stretches
from app.stores.port import StoreMisconfigured


def summary(order_id: int, status: str = "processing") -> OrderSummary:
    return OrderSummary(
        id=str(order_id),
        number=str(order_id),
        status=status,
        currency="EUR",
        total=Decimal(10),
        created_at=datetime(2026, 11, 1, tzinfo=UTC),
        modified_at=None,
        paid_at=None,
        completed_at=None,
        payment_method="pay",
        skus=frozenset(),
        customer_id=None,
        customer_email="",
        meta={},
        refunded=None,
        has_refunds=None,
    )


@dataclass
class PagedStore:
    """A store with ten orders on a page; `between` happens after every read."""

    ids: list[int]
    between: Callable[["PagedStore"], None] = lambda store: None
    turns: bool = True
    reads: list[int] = field(default_factory=list)

    async def list_orders(self, query: OrderQuery, *, page: int, priority: str = "background") -> OrderPage:
        self.reads.append(page)
        at = (page - 1) * 10 if self.turns else 0
        shown = self.ids[at : at + 10]
        self.between(self)
        return OrderPage(
            orders=tuple(summary(order_id) for order_id in shown),
            ids=tuple(str(order_id) for order_id in shown),
            next_page=page + 1 if len(shown) == 10 else None,
        )


async def ids_of(store: Any) -> list[int]:
    return [int(order.id) async for part in stretches(store, OrderQuery()) for order in part.orders]


@pytest.mark.parametrize("gone", [1, 9, 25])
async def test_orders_that_go_meanwhile_let_none_be_skipped(gone: int) -> None:
    def leave(store: PagedStore) -> None:
        if len(store.reads) == 3:
            store.ids = store.ids[gone:]

    store = PagedStore(list(range(1, 76)), between=leave)
    met = await ids_of(store)
    assert len(met) == len(set(met))
    assert set(store.ids) <= set(met)


async def test_orders_that_come_meanwhile_let_none_be_met_twice() -> None:
    def come(store: PagedStore) -> None:
        # Their status has changed to one that is searched for.
        store.ids = sorted({*store.ids, 1 + len(store.reads), 2 + len(store.reads)})

    store = PagedStore(list(range(20, 60)), between=come)
    met = await ids_of(store)
    assert len(met) == len(set(met))
    assert set(range(20, 60)) <= set(met)


@pytest.mark.parametrize("ids", [range(1, 11), range(10, 0, -1)])
async def test_a_store_that_does_not_turn_or_sort_its_pages_is_found_out(ids: Sequence[int]) -> None:
    store = PagedStore(list(ids), turns=False)
    with pytest.raises(StoreMisconfigured):
        await ids_of(store)
    assert len(store.reads) < 10
