"""The ways in: the normalized API, and the front in the words of either of WooCommerce's APIs."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal
from uuid import uuid4

import httpx

from app.oauth1 import signed

DoorName = Literal["/v1", "wp-json/wc/v3", "wc-api/v3"]
StoreKind = Literal["v3", "legacy"]


class NoSuchThing(Exception):
    """The door has no words for what was asked."""


class Refused(Exception):
    """The gateway said no, before anything was changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A refund that was made through a door."""

    store_refund_id: str
    answer: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What a list shows."""

    ids: list[str]
    rows: list[Mapping[str, Any]]
    here: frozenset[str]  #: parameters that the gateway applied because the store ignores them
    served_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A part of an order line to refund."""

    id: str
    kind: Literal["item", "shipping", "fee"] = "item"
    quantity: int | None = None
    net: str | None = None
    tax: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """A refund to be made, in no API's words."""

    order_id: str
    amount: str | None = None
    lines: tuple[Line, ...] = ()
    reason: str | None = None
    manual: bool = False
    restock: bool | None = None
    meta: Mapping[str, Any] | None = None


class Door:
    """A way in to one store."""

    name: DoorName

    def __init__(self, client: httpx.AsyncClient, base: str, store: str, credentials: tuple[str, str]) -> None:
        self.client = client
        self.base = base
        self.store = store
        self.credentials = credentials

    async def make(self, wish: Wish) -> Made:
        """Make a refund."""
        raise NoSuchThing

    async def preview(self, wish: Wish) -> str:
        """Say what a refund would come to."""
        raise NoSuchThing

    async def retrieve(self, order_id: str, refund_id: str, **params: str) -> Mapping[str, Any]:
        """Read a refund; raises Refused when it is not there."""
        raise NoSuchThing

    async def list(self, order_id: str | None, **params: str) -> Shown:
        """List the refunds of an order, or of the store."""
        raise NoSuchThing

    async def delete(self, order_id: str, refund_id: str, *, force: bool) -> None:
        """Delete a refund's row."""
        raise NoSuchThing

    async def update(self, order_id: str, refund_id: str, **fields: str) -> str:
        """Change a refund's words; says what became of them in the store."""
        raise NoSuchThing


def _said(answer: httpx.Response) -> Any:
    if 400 <= answer.status_code < 500 or answer.status_code == 501:
        raise Refused(answer.text)
    assert answer.status_code < 300, answer.text
    return answer.json()


class V1(Door):
    """The normalized API."""

    name: DoorName = "/v1"

    async def _call(self, method: str, path: str, **options: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.credentials[1]}"}
        return _said(await self.client.request(method, f"{self.base}/v1{path}", headers=headers, **options))

    def _body(self, wish: Wish) -> dict[str, Any]:
        body: dict[str, Any] = {"store": self.store, "order_id": wish.order_id}
        if wish.amount is not None:
            body["amount"] = wish.amount
        for line in wish.lines:
            entry: dict[str, Any] = {}
            if line.net is not None:
                tax = line.tax or "0"
                entry["amount"] = f"{float(line.net) + float(tax):.2f}"
                entry["taxes"] = [{"rate_id": "1", "amount": tax}]
            if line.kind == "item":
                entry |= {"line_item_id": line.id} | ({"quantity": line.quantity} if line.quantity else {})
                body.setdefault("items", []).append(entry)
            else:
                key = "shipping" if line.kind == "shipping" else "fees"
                body.setdefault(key, []).append({f"{line.kind}_line_id": line.id} | entry)
        optional = {"reason": wish.reason, "restock": wish.restock}
        body |= {name: value for name, value in optional.items() if value is not None}
        if wish.manual:
            body["payment"] = "manual"
        if wish.meta is not None:
            body["store_meta_data"] = [{"key": key, "value": value} for key, value in wish.meta.items()]
        return body

    async def make(self, wish: Wish) -> Made:
        made = await self._call("POST", "/refunds", json=self._body(wish))
        return Made(store_refund_id=made["store_refund_id"], answer=made)

    async def preview(self, wish: Wish) -> str:
        said = await self._call("POST", "/refunds/preview", json=self._body(wish))
        return str(said["amount"])

    async def retrieve(self, order_id: str, refund_id: str, **params: str) -> Mapping[str, Any]:
        if params:
            raise NoSuchThing
        found: Mapping[str, Any] = await self._call(
            "GET", f"/stores/{self.store}/orders/{order_id}/refunds/{refund_id}"
        )
        return found

    async def list(self, order_id: str | None, **params: str) -> Shown:
        if "_fields" in params:
            raise NoSuchThing
        where = "" if order_id is None else f"/orders/{order_id}"
        said = await self._call("GET", f"/stores/{self.store}{where}/refunds", params=params)
        return Shown(
            ids=[row["id"] for row in said["data"]],
            rows=said["data"],
            here=frozenset(said["filtered_here"]),
            served_by=said["served_by"],
        )

    async def delete(self, order_id: str, refund_id: str, *, force: bool) -> None:
        path = f"/stores/{self.store}/orders/{order_id}/refunds/{refund_id}"
        await self._call("DELETE", path, params={"force": "true"} if force else {})

    async def update(self, order_id: str, refund_id: str, **fields: str) -> str:
        shown = await self.retrieve(order_id, refund_id)
        said = await self._call("PATCH", f"/refunds/{shown['refund_id']}", json=fields)
        return str(said["in_store"])


class Front(Door):
    """The front, asked over plain HTTP as WooCommerce's clients do."""

    root = "wp-json/wc/v3"

    async def _ask(self, method: str, path: str, params: Mapping[str, str], body: Any = None) -> httpx.Response:
        url = f"{self.base}/stores/{self.store}/{self.root}/{path}"
        key, secret = self.credentials
        nonce, now = uuid4().hex, int(time.time())
        query = signed(method, url, params, consumer_key=key, consumer_secret=secret, nonce=nonce, timestamp=now)
        return await self.client.request(method, url, params=query, json=body)


class FrontV3(Front):
    """In the words of wc/v3."""

    name: DoorName = "wp-json/wc/v3"

    async def make(self, wish: Wish) -> Made:
        body: dict[str, Any] = {}
        if wish.amount is not None:
            body["amount"] = wish.amount
        for line in wish.lines:
            entry: dict[str, Any] = {"id": int(line.id)}
            if line.quantity is not None:
                entry["quantity"] = line.quantity
            if line.net is not None:
                entry["refund_total"] = line.net
                entry["refund_tax"] = [{"id": 1, "refund_total": line.tax or "0"}]
            else:
                body["compute_totals"] = True
            body.setdefault("line_items", []).append(entry)
        if wish.reason is not None:
            body["reason"] = wish.reason
        if wish.manual:
            body["api_refund"] = False
        if wish.restock is not None:
            body["api_restock"] = wish.restock
        if wish.meta is not None:
            body["meta_data"] = [{"key": key, "value": value} for key, value in wish.meta.items()]
        made = _said(await self._ask("POST", f"orders/{wish.order_id}/refunds", {}, body))
        return Made(store_refund_id=str(made["id"]), answer=made)

    async def preview(self, wish: Wish) -> str:
        lines = [{"line_item_id": int(line.id), "quantity": line.quantity} for line in wish.lines]
        answer = await self._ask("POST", f"orders/{wish.order_id}/refunds/preview", {}, {"line_items": lines})
        return str(_said(answer)["total"])

    async def retrieve(self, order_id: str, refund_id: str, **params: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = _said(await self._ask("GET", f"orders/{order_id}/refunds/{refund_id}", params))
        return found

    async def list(self, order_id: str | None, **params: str) -> Shown:
        answer = await self._ask("GET", "refunds" if order_id is None else f"orders/{order_id}/refunds", params)
        rows = _said(answer)
        here = answer.headers.get("refund-gateway-filtered", "")
        assert answer.headers["x-wp-total"].isdigit()
        return Shown(
            ids=[str(row["id"]) for row in rows if "id" in row],
            rows=rows,
            here=frozenset(name.strip() for name in here.split(",") if name),
            served_by=answer.headers.get("refund-gateway-served-by", "store"),
        )

    async def delete(self, order_id: str, refund_id: str, *, force: bool) -> None:
        params = {"force": "true"} if force else {}
        _said(await self._ask("DELETE", f"orders/{order_id}/refunds/{refund_id}", params))

    async def update(self, order_id: str, refund_id: str, **fields: str) -> str:
        answer = await self._ask("PUT", f"orders/{order_id}/refunds/{refund_id}", {}, fields)
        if answer.status_code == 404 and answer.json()["code"] == "rest_no_route":
            raise NoSuchThing
        return str(_said(answer))


class FrontLegacy(Front):
    """In the words of the legacy API."""

    name: DoorName = "wc-api/v3"
    root = "wc-api/v3"

    async def make(self, wish: Wish) -> Made:
        if wish.meta is not None or any(line.net is None for line in wish.lines):
            raise NoSuchThing
        refund: dict[str, Any] = {}
        # The legacy API adds nothing up.
        total = sum(float(line.net or 0) + float(line.tax or 0) for line in wish.lines)
        refund["amount"] = wish.amount or f"{total:.2f}"
        if wish.lines:
            refund["line_items"] = {
                line.id: {"qty": line.quantity or 0, "refund_total": line.net, "refund_tax": {"1": line.tax or "0"}}
                for line in wish.lines
            }
        if wish.reason is not None:
            refund["reason"] = wish.reason
        if wish.restock is not None:
            refund["restock_items"] = wish.restock
        params = {"api_refund": "0"} if wish.manual else {}
        said = _said(await self._ask("POST", f"orders/{wish.order_id}/refunds", params, {"order_refund": refund}))
        return Made(store_refund_id=str(said["order_refund"]["id"]), answer=said["order_refund"])

    async def retrieve(self, order_id: str, refund_id: str, **params: str) -> Mapping[str, Any]:
        said = _said(await self._ask("GET", f"orders/{order_id}/refunds/{refund_id}", _legacy(params)))
        found: Mapping[str, Any] = said["order_refund"]
        return found

    async def list(self, order_id: str | None, **params: str) -> Shown:
        if order_id is None:
            raise NoSuchThing
        rows = _said(await self._ask("GET", f"orders/{order_id}/refunds", _legacy(params)))["order_refunds"]
        ids = [str(row["id"]) for row in rows if "id" in row]
        return Shown(ids=ids, rows=rows, here=frozenset(), served_by="store")

    async def delete(self, order_id: str, refund_id: str, *, force: bool) -> None:
        params = {"force": "true"} if force else {}
        said = _said(await self._ask("DELETE", f"orders/{order_id}/refunds/{refund_id}", params))
        assert said == {"message": "Permanently deleted refund"}

    async def update(self, order_id: str, refund_id: str, **fields: str) -> str:
        path = f"orders/{order_id}/refunds/{refund_id}"
        answer = await self._ask("PUT", path, {}, {"order_refund": fields})
        _said(answer)
        return answer.headers["refund-gateway-reason"]


def _legacy(params: Mapping[str, str]) -> dict[str, str]:
    if set(params) - {"_fields"}:
        raise NoSuchThing
    return {"fields": params["_fields"]} if params else {}
