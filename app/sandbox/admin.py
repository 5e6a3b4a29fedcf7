"""The sandbox's own API under /sandbox, for tests and demonstrations; it asks for no credentials.

| call | does |
|---|---|
| `GET /sandbox/` | names these calls |
| `GET /sandbox/payouts?order_id=` | what the payment provider really paid, oldest first; never deleted with a refund |
| `GET /sandbox/orders` | id, number, total, currency, payment_method, status, description |
| `POST /sandbox/orders` | makes `count` orders alike (`seeds.WantedOrder`); answers with their wc/v3 JSON |
| `POST /sandbox/orders/{id}/refunds` | a refund as if made in wp-admin: `{"amount", "reason", "lines": {item id: …}}` |
| `DELETE /sandbox/orders/{id}/refunds/{refund id}` | deletes a refund as if in wp-admin |
| `GET /sandbox/webhooks` | whether webhooks are sent, those queued, and the last ones sent |
| `POST /sandbox/webhooks` | `{"mode": "on"}`, "off" or "held": queued until the next call |
| `POST /sandbox/webhooks/deliver` | sends what is queued: `{"how": "once"}`, "twice", "reversed" or "drop" |
| `POST /sandbox/faults` | a fault rule (`faults.FaultRule`) |
| `GET /sandbox/faults`, `DELETE /sandbox/faults[?id=]` | the rules in force; drops them |
| `GET /sandbox/requests` | the last requests to the store, oldest first; `DELETE` forgets them |
| `GET /sandbox/settings` | the settings in force |
| `POST /sandbox/settings` | changes some of them (`WantedSettings`) |
| `POST /sandbox/reset` | empties the store; `{"seed": true}` plants the example orders again |
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from decimal import Decimal

from pydantic import BaseModel, Field, JsonValue, StrictBool, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app.sandbox import refund_rows, seeds, serialize
from app.sandbox.catalogue import GATEWAYS
from app.sandbox.deliveries import How, Mode
from app.sandbox.faults import FAULT_NAMES, FaultRule
from app.sandbox.model import HPOS, Hpos
from app.sandbox.php import fixed
from app.sandbox.serialize import View
from app.sandbox.site import Site

Handler = Callable[[Request], Awaitable[Response]]


class WantedRefund(BaseModel):
    amount: Decimal = Field(ge=0)
    reason: str = ""
    #: By item id, in WooCommerce's internal form: `{"qty", "refund_total", "refund_tax": {rate id: amount}}`.
    lines: dict[int, dict[str, JsonValue]] = {}


class WantedSettings(BaseModel):
    """Settings to change; what is left out stays."""

    decimals: int | None = Field(None, ge=0, le=8)
    currency: str | None = None
    prices_include_tax: bool | None = None
    #: Whether the plugin of /wc-api/v3 is installed, and whether /wp-json/wc/v3 is there.
    legacy: bool | None = None
    rest_v3: bool | None = None
    #: "off", "on" or "synced"; a boolean leaves `hpos_sync` as it is.
    hpos: Hpos | StrictBool | None = None
    hpos_sync: bool | None = None
    #: Below 9.0 without the store-wide list of refunds, from 11.1 on with `refunds/preview` and `compute_totals`.
    woocommerce_version: str | None = Field(None, pattern=r"^\d+\.\d+(\.\d+)?(-[\w.]+)?$")
    #: The rates that orders made over REST get from now on.
    tax_rates: Sequence[seeds.WantedRate] | None = None


class WantedMode(BaseModel):
    mode: Mode


class WantedDelivery(BaseModel):
    how: How = "once"


class WantedReset(BaseModel):
    seed: bool = False


def routes(site: Site) -> list[Route]:
    """Return the admin API's routes over a site."""
    admin = _Admin(site)
    return [
        Route("/sandbox/", _guarded(admin.index)),
        Route("/sandbox", _guarded(admin.index)),
        Route("/", _guarded(admin.index)),
        Route("/sandbox/payouts", _guarded(admin.payouts)),
        Route("/sandbox/orders", _guarded(admin.orders)),
        Route("/sandbox/orders", _guarded(admin.make_orders), methods=["POST"]),
        Route("/sandbox/orders/{order_id:int}/refunds", _guarded(admin.make_refund), methods=["POST"]),
        Route(
            "/sandbox/orders/{order_id:int}/refunds/{refund_id:int}", _guarded(admin.delete_refund), methods=["DELETE"]
        ),
        Route("/sandbox/webhooks", _guarded(admin.webhooks)),
        Route("/sandbox/webhooks", _guarded(admin.switch_webhooks), methods=["POST"]),
        Route("/sandbox/webhooks/deliver", _guarded(admin.deliver_webhooks), methods=["POST"]),
        Route("/sandbox/faults", _guarded(admin.faults)),
        Route("/sandbox/faults", _guarded(admin.add_fault), methods=["POST"]),
        Route("/sandbox/faults", _guarded(admin.drop_faults), methods=["DELETE"]),
        Route("/sandbox/requests", _guarded(admin.requests)),
        Route("/sandbox/requests", _guarded(admin.forget_requests), methods=["DELETE"]),
        Route("/sandbox/settings", _guarded(admin.settings)),
        Route("/sandbox/settings", _guarded(admin.change_settings), methods=["POST"]),
        Route("/sandbox/reset", _guarded(admin.reset), methods=["POST"]),
    ]


def _guarded(handler: Handler) -> Handler:
    """Answer 422 with the reasons where a body is not what the call takes."""

    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except ValidationError as error:
            return Response(error.json(include_url=False), status_code=422, media_type="application/json")

    return answer


class _Admin:
    def __init__(self, site: Site) -> None:
        self._site = site
        self._store = site.store

    async def index(self, _request: Request) -> Response:
        calls = [line.split("|")[1].strip() for line in (__doc__ or "").splitlines() if line.startswith("| `")]
        return JSONResponse(
            {
                "name": "Refund Gateway sandbox store",
                "wc_v3": "/wp-json/wc/v3/",
                "legacy_v3": "/wc-api/v3/",
                "calls": calls,
                "payment_gateways": list(GATEWAYS),
                "faults": list(FAULT_NAMES),
                "reason_words": ["decline", "false", "slow<milliseconds>", "crash", "[[fault:NAME]]"],
            }
        )

    async def payouts(self, request: Request) -> Response:
        order_id = request.query_params.get("order_id")
        payouts = self._store.payouts(int(order_id) if order_id else None)
        return JSONResponse([payout.model_dump() for payout in payouts])

    async def orders(self, _request: Request) -> Response:
        places = self._store.settings().decimals
        return JSONResponse(
            [
                {
                    "id": order.id,
                    "number": str(order.id),
                    "total": fixed(order.total, places),
                    "currency": order.currency,
                    "payment_method": order.payment_method,
                    "status": order.status,
                    "description": order.description,
                }
                for order in self._store.orders()
            ]
        )

    async def make_orders(self, request: Request) -> Response:
        wanted = seeds.WantedOrder.model_validate_json(await request.body() or b"{}")
        view = self._view(request)
        made = seeds.make(self._store, wanted)
        return JSONResponse(
            [serialize.order(order, self._store.refund_summaries(order.id), view) for order in made], status_code=201
        )

    async def make_refund(self, request: Request) -> Response:
        wanted = WantedRefund.model_validate_json(await request.body())
        order_id: int = request.path_params["order_id"]
        if not self._store.order_exists(order_id):
            return JSONResponse({"error": "no such order"}, status_code=404)
        refund = refund_rows.make_manual(
            self._store, order_id, amount=wanted.amount, reason=wanted.reason, lines=wanted.lines
        )
        return JSONResponse(serialize.refund(refund, self._view(request)), status_code=201)

    async def delete_refund(self, request: Request) -> Response:
        refund = self._store.refund(request.path_params["refund_id"])
        if refund is None or refund.order_id != request.path_params["order_id"]:
            return JSONResponse({"error": "no such refund"}, status_code=404)
        refund_rows.delete_manually(self._store, refund.id)
        return JSONResponse({"deleted": refund.id})

    async def webhooks(self, _request: Request) -> Response:
        deliveries = self._site.deliveries
        return JSONResponse(
            {
                "mode": deliveries.mode,
                "queued": [asdict(one) for one in deliveries.queued],
                "delivered": [asdict(one) for one in deliveries.log],
            }
        )

    async def switch_webhooks(self, request: Request) -> Response:
        self._site.deliveries.switch(WantedMode.model_validate_json(await request.body()).mode)
        return await self.webhooks(request)

    async def deliver_webhooks(self, request: Request) -> Response:
        wanted = WantedDelivery.model_validate_json(await request.body() or b"{}")
        return JSONResponse([asdict(one) for one in await self._site.deliveries.deliver(wanted.how)])

    async def faults(self, _request: Request) -> Response:
        return JSONResponse([rule.model_dump() for rule in self._site.plan.rules])

    async def add_fault(self, request: Request) -> Response:
        rule = self._site.plan.add(FaultRule.model_validate_json(await request.body()))
        return JSONResponse(rule.model_dump(), status_code=201)

    async def drop_faults(self, request: Request) -> Response:
        rule_id = request.query_params.get("id")
        return JSONResponse({"dropped": self._site.plan.clear(int(rule_id) if rule_id else None)})

    async def requests(self, _request: Request) -> Response:
        return JSONResponse([asdict(one) for one in self._site.log])

    async def forget_requests(self, _request: Request) -> Response:
        self._site.log.clear()
        return Response(status_code=204)

    async def settings(self, _request: Request) -> Response:
        return JSONResponse(self._store.settings().model_dump())

    async def change_settings(self, request: Request) -> Response:
        wanted = WantedSettings.model_validate_json(await request.body())
        changes = wanted.model_dump(exclude={"tax_rates"}, exclude_none=True)
        if isinstance(wanted.hpos, str):
            changes |= HPOS[wanted.hpos]
        with self._store.transaction():
            if wanted.tax_rates is not None:
                changes["tax_rate_ids"] = [rate.id for rate in seeds.known_rates(self._store, wanted.tax_rates)]
            settings = self._store.settings().model_copy(update=changes)
            self._store.save_settings(settings)
        return JSONResponse(settings.model_dump())

    async def reset(self, request: Request) -> Response:
        wanted = WantedReset.model_validate_json(await request.body() or b"{}")
        self._store.reset()
        self._site.forget()
        if wanted.seed:
            seeds.plant(self._store)
        return JSONResponse({"orders": len(self._store.orders())})

    def _view(self, request: Request) -> View:
        settings = self._store.settings()
        return View(
            places=settings.decimals,
            root=str(request.base_url).rstrip("/") + "/wp-json",
            version=settings.woocommerce_version,
        )
