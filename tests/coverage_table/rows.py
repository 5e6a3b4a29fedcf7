"""The rows of the table: what is asked for, and how it is seen to have happened."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx

from app.oauth1 import signed
from tests.conftest import Sandbox
from tests.coverage_table.doors import Door, Line, Made, NoSuchThing, Refused, StoreKind, Wish

FAR_PAST, FAR_FUTURE = "2001-01-01T00:00:00Z", "2101-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A door to a store, and the store itself to look behind the door."""

    door: Door
    kind: StoreKind
    sandbox: Sandbox

    async def order(self) -> dict[str, Any]:
        """Make an order with two kinds of products, shipping and a fee."""
        return await self.sandbox.new_order(
            lines=[{"name": "Album", "sku": "SKU0", "quantity": 3, "price": "9.00", "product_id": 10}],
            shipping="5.00",
            fees=[{"name": "Gift", "total": "2.50"}],
        )

    async def behind(self, path: str) -> Any:
        """Read from the store itself, in wc/v3."""
        url = f"{self.sandbox.url}/wp-json/wc/v3/{path}"
        query = signed(
            "GET",
            url,
            {},
            consumer_key="ck_sandbox_rw",
            consumer_secret="cs_sandbox_rw",
            nonce=uuid4().hex,
            timestamp=int(time.time()),
        )
        async with httpx.AsyncClient() as client:
            return (await client.get(url, params=query)).json()

    async def row(self, order: dict[str, Any], made: Made) -> Any:
        """Read a refund's row in the store itself."""
        return await self.behind(f"orders/{order['id']}/refunds/{made.store_refund_id}")

    async def paid(self, order: dict[str, Any]) -> list[str]:
        """Give what the payment provider paid back for an order."""
        return [f"{float(payout['amount']):.2f}" for payout in await self.sandbox.payouts(order["id"])]

    def by_store(self, *parameters: str, here: frozenset[str] = frozenset()) -> str:
        """Say who applied a list's parameters."""
        return "here" if self.kind == "legacy" or here.intersection(parameters) else "yes"


Probe = Callable[[World], Awaitable[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A line of the table."""

    operation: str
    parameter: str
    probe: Probe
    cells: tuple[str, str, str, str, str, str]  #: /v1, wp-json, wc-api; each on a v3 and on a legacy store


def wish(order: dict[str, Any], **fields: Any) -> Wish:
    return Wish(order_id=str(order["id"]), **fields)


def _album(order: dict[str, Any], **fields: Any) -> Line:
    return Line(id=str(order["line_items"][0]["id"]), **fields)


async def amount(world: World) -> str:
    order = await world.order()
    made = await world.door.make(wish(order, amount="5.00"))
    assert await world.paid(order) == ["5.00"]
    if world.door.name == "wp-json/wc/v3":
        # A legacy store never says so of its own refunds, but the gateway knows.
        assert made.answer["refunded_payment"] is True
    return "yes"


async def line_items(world: World) -> str:
    order = await world.order()
    made = await world.door.make(wish(order, lines=(_album(order, quantity=1, net="9.00", tax="1.71"),)))
    assert await world.paid(order) == ["10.71"]
    (line,) = (await world.row(order, made))["line_items"]
    assert (line["quantity"], line["total"], line["total_tax"]) == (-1, "-9.00", "-1.71")
    return "yes"


async def computed(world: World) -> str:
    order = await world.order()
    made = await world.door.make(wish(order, lines=(_album(order, quantity=2),)))
    assert await world.paid(order) == ["21.42"]
    assert (await world.row(order, made))["line_items"][0]["quantity"] == -2
    return "here"


async def shipping_and_fees(world: World) -> str:
    order = await world.order()
    shipping = Line(id=str(order["shipping_lines"][0]["id"]), kind="shipping", net="5.00", tax="0.95")
    fee = Line(id=str(order["fee_lines"][0]["id"]), kind="fee", net="2.50", tax="0.48")
    made = await world.door.make(wish(order, lines=(shipping, fee)))
    assert await world.paid(order) == ["8.93"]
    row = await world.row(order, made)
    assert (row["shipping_lines"][0]["total"], row["fee_lines"][0]["total"]) == ("-5.00", "-2.50")
    return "yes"


async def reason(world: World) -> str:
    order = await world.order()
    made = await world.door.make(wish(order, amount="5.00", reason="Broken, “really”"))
    assert made.answer["reason"] == "Broken, “really”"
    assert (await world.row(order, made))["reason"].startswith("Broken, “really”")
    return "yes"


async def manual(world: World) -> str:
    order = await world.order()
    made = await world.door.make(wish(order, amount="5.00", manual=True))
    assert await world.paid(order) == []
    assert (await world.row(order, made))["amount"] == "5.00"
    return "yes"


async def restock(world: World) -> str:
    for wanted in (True, False):
        order = await world.order()
        before = (await world.behind("products/10"))["stock_quantity"]
        await world.door.make(wish(order, lines=(_album(order, quantity=1, net="9.00", tax="1.71"),), restock=wanted))
        assert (await world.behind("products/10"))["stock_quantity"] == before + wanted
    return "yes"


async def meta_data(world: World) -> str:
    order = await world.order()
    made = await world.door.make(wish(order, amount="5.00", meta={"rma": {"id": 9}}))
    kept = {entry["key"]: entry["value"] for entry in (await world.row(order, made))["meta_data"]}
    assert kept["rma"] == {"id": 9}
    return "yes"


async def overage(world: World) -> str:
    order = await world.order()
    try:
        await world.door.make(wish(order, amount="1000.00"))
    finally:
        assert await world.paid(order) == []
    return "yes"


async def preview(world: World) -> str:
    order = await world.order()
    assert await world.door.preview(wish(order, lines=(_album(order, quantity=2),))) == "21.42"
    assert await world.behind(f"orders/{order['id']}/refunds") == []
    assert await world.paid(order) == []
    return "here"


async def retrieve(world: World) -> str:
    order = await world.order()
    made = await world.door.make(wish(order, amount="5.00"))
    shown = await world.door.retrieve(str(order["id"]), made.store_refund_id)
    assert (str(shown["id"]), shown["amount"]) == (made.store_refund_id, "5.00")
    return "yes"


async def retrieve_elsewhere(world: World) -> str:
    order, other = await world.order(), await world.order()
    made = await world.door.make(wish(order, amount="5.00"))
    await world.door.retrieve(str(other["id"]), made.store_refund_id)
    return "yes"


async def retrieve_dp(world: World) -> str:
    order = await world.order()
    made = await world.door.make(wish(order, amount="5.00"))
    shown = await world.door.retrieve(str(order["id"]), made.store_refund_id, dp="4")
    assert shown["amount"] == "5.0000"
    return world.by_store()


async def retrieve_context(world: World) -> str:
    order = await world.order()
    made = await world.door.make(wish(order, amount="5.00"))
    shown = await world.door.retrieve(str(order["id"]), made.store_refund_id, context="edit")
    assert shown["amount"] == "5.00"
    return world.by_store()


async def retrieve_fields(world: World) -> str:
    order = await world.order()
    made = await world.door.make(wish(order, amount="5.00"))
    shown = await world.door.retrieve(str(order["id"]), made.store_refund_id, _fields="id,amount")
    # WordPress always adds its links.
    assert set(shown) - {"_links"} == {"id", "amount"}
    return "here" if world.door.name == "wc-api/v3" else world.by_store()


async def _three(world: World) -> tuple[dict[str, Any], list[str]]:
    """Make an order with three refunds, the oldest first."""
    order = await world.order()
    made = []
    for i in range(3):
        refund = await world.door.make(wish(order, amount=f"{i + 1}.00", reason=f"lot {i}", manual=True))
        made.append(refund.store_refund_id)
    return order, made


def listing(scope: str, expected: Callable[[list[str]], list[str]], **params: str) -> Probe:
    """Give the probe of one parameter of a list: `{a}`, `{b}`, `{c}` stand for the refunds, `{o}` for their order."""

    async def probe(world: World) -> str:
        order, made = await _three(world)
        order_id = str(order["id"])
        names = {"a": made[0], "b": made[1], "c": made[2], "o": order_id, "all": ",".join(made)}
        filled = {name: value.format(**names) for name, value in params.items()}
        if scope == "store":
            # The store has other refunds as well.
            filled.setdefault("include", names["all"])
        shown = await world.door.list(order_id if scope == "order" else None, **filled)
        wanted = expected(made)
        assert set(shown.ids) == set(wanted), (shown.ids, wanted)
        # Titles and slugs are made of the minute, changes of the second: the order among these is anybody's.
        anyhow = params.get("orderby") in ("title", "slug", "modified")
        if params.keys() & {"orderby", "order", "page", "offset"} and not anyhow:
            assert shown.ids == wanted, (shown.ids, wanted)
        if "dp" in params:
            assert shown.rows[0]["amount"].endswith(".0000"), shown.rows
        if "_fields" in params:
            assert set(shown.rows[0]) - {"_links"} == {"id", "amount"}
            if world.door.name == "wc-api/v3":
                return "here"
        if world.kind == "legacy" and scope == "store":
            assert shown.served_by == "orders"
        return world.by_store(*params, here=shown.here) if params or scope == "store" else "yes"

    return probe


def everything(made: list[str]) -> list[str]:
    return made[::-1]


def nothing(_made: list[str]) -> list[str]:
    return []


async def delete(world: World) -> str:
    order = await world.order()
    made = await world.door.make(wish(order, amount="5.00", manual=True))
    await world.door.delete(str(order["id"]), made.store_refund_id, force=False)
    assert (await world.row(order, made))["code"] == "woocommerce_rest_shop_order_refund_invalid_id"
    return "yes"


async def delete_paid(world: World) -> str:
    order = await world.order()
    made = await world.door.make(wish(order, amount="5.00"))
    await world.door.delete(str(order["id"]), made.store_refund_id, force=True)
    assert (await world.row(order, made))["code"] == "woocommerce_rest_shop_order_refund_invalid_id"
    assert await world.paid(order) == ["5.00"]
    return "yes"


async def delete_paid_unasked(world: World) -> str:
    order = await world.order()
    made = await world.door.make(wish(order, amount="5.00"))
    try:
        await world.door.delete(str(order["id"]), made.store_refund_id, force=False)
    finally:
        assert str((await world.row(order, made))["id"]) == made.store_refund_id
    return "yes"


async def delete_elsewhere(world: World) -> str:
    order, other = await world.order(), await world.order()
    made = await world.door.make(wish(order, amount="5.00", manual=True))
    try:
        await world.door.delete(str(other["id"]), made.store_refund_id, force=True)
    finally:
        assert str((await world.row(order, made))["id"]) == made.store_refund_id
    return "yes"


async def update_reason(world: World) -> str:
    order = await world.order()
    made = await world.door.make(wish(order, amount="5.00", reason="old"))
    came_to = await world.door.update(str(order["id"]), made.store_refund_id, reason="new")
    return {"unsupported": "kept here", "accepted": "yes", "shown": "yes"}[came_to]


async def update_amount(world: World) -> str:
    order = await world.order()
    made = await world.door.make(wish(order, amount="5.00"))
    try:
        await world.door.update(str(order["id"]), made.store_refund_id, amount="3.00")
    finally:
        assert (await world.row(order, made))["amount"] == "5.00"
    return "yes"


async def observed(probe: Probe, world: World) -> str:
    """Try a row and give the cell that it earns."""
    try:
        return await probe(world)
    except NoSuchThing:
        return "–"
    except Refused:
        return "refused"
