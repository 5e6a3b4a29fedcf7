"""`store check` names what is wrong and what to do about it."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
import trustme

from app.outbound import Outbound
from app.stores.connection import StoreConnection, StoreLimits
from app.stores.port import Check, HealthReport
from app.stores.woo_v3 import WooV3Store
from tests.stores.raw_server import Asked, http, raw_server

NO_ORDER = {"code": "woocommerce_rest_invalid_order_id", "message": "Invalid order ID.", "data": 404}
STATUS = {
    "environment": {"version": "9.4.0"},
    "settings": {"currency": "EUR", "number_of_decimals": 2, "HPOS_enabled": True, "HPOS_sync_enabled": False},
}
GATEWAYS = [
    {"id": "testpay", "title": "Test &amp; Pay", "enabled": True, "method_supports": ["products", "refunds"]},
    {"id": "cod", "title": "Cash", "enabled": True, "method_supports": ["products"]},
]


def refusal(code: str, status: int) -> bytes:
    return http(status, {"code": code, "message": "Sorry.", "data": {"status": status}})


def shop() -> dict[str, bytes]:
    now = format_datetime(datetime.now(UTC), usegmt=True)
    return {
        "/wp-json/": http(200, {"namespaces": ["oembed/1.0", "wc/v2", "wc/v3"]}, {"date": now}),
        "/wc-api/v3/": http(200, {"store": {"wc_version": "9.4.0"}}),
        "/wp-json/wc/v3/orders": http(200, [{"id": 1}]),
        "/wp-json/wc/v3/orders/0/refunds": http(500, NO_ORDER),
        "/wp-json/wc/v3/system_status": http(200, STATUS),
        "/wp-json/wc/v3/payment_gateways": http(200, GATEWAYS),
    }


@asynccontextmanager
async def served(
    answers: dict[str, bytes], context: ssl.SSLContext | None = None, **connection: Any
) -> AsyncIterator[tuple[WooV3Store, list[Asked]]]:
    async def respond(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(answers.get(asked.path, http(404, b"<html>not found</html>")))

    async def to_loopback(host: str, port: int) -> Sequence[str]:
        if host == "nowhere.example":
            raise OSError("not found")
        return ["127.0.0.1"]

    lines = Outbound(allow_private=True, connect_timeout_s=1, resolver=to_loopback)
    async with raw_server(respond, context) as server:
        scheme = "http" if context is None else "https"
        settings = {
            "store_id": "s",
            "url": f"{scheme}://{connection.pop('host', '127.0.0.1')}:{server.port}",
            "auth": "oauth1",
            "consumer_key": "ck_key123",
            "consumer_secret": "cs_secret123",
        }
        try:
            yield WooV3Store(StoreConnection(**{**settings, **connection}), lines, limits=StoreLimits()), server.asked
        finally:
            await lines.aclose()


def by_name(report: HealthReport) -> dict[str, Check]:
    for check in report.checks:
        assert (check.remedy is None) or not check.ok
        assert check.ok is not False or check.remedy
    return {check.name: check for check in report.checks}


async def test_a_sound_store_passes_and_nothing_was_written() -> None:
    async with served(shop()) as (store, asked):
        report = await store.check()
        checks = by_name(report)
        assert report.ok
        assert {name: check.ok for name, check in checks.items()} == {
            "dns": True,
            "reachable": True,
            "tls": None,
            "clock": True,
            "rest_api": True,
            "credentials": True,
            "write_permission": True,
            "woocommerce": True,
            "currency": True,
            "hpos": True,
            "payment_methods": True,
        }
        assert (report.woocommerce_version, report.currency, report.decimals, report.hpos) == ("9.4.0", "EUR", 2, "on")
        assert report.apis == ("wc/v2", "wc/v3", "wc-api/v3")
        assert [(m.id, m.title, m.capability) for m in report.payment_methods] == [
            ("testpay", "Test & Pay", "refunds"),
            ("cod", "Cash", "no_refunds"),
        ]
        (write,) = [request for request in asked if request.method != "GET"]
        assert write.path == "/wp-json/wc/v3/orders/0/refunds"
        assert write.json == {"amount": "-1", "api_refund": False, "api_restock": False}
        assert "settings" not in next(r for r in asked if r.path.endswith("payment_gateways")).query["_fields"]
        public = [request for request in asked if "/wc/v3/" not in request.path]
        assert all("oauth_consumer_key" not in r.query and "authorization" not in r.headers for r in public)


@pytest.mark.parametrize(
    ("path", "answer", "name", "ok"),
    [
        ("/wp-json/", http(200, {"namespaces": ["oembed/1.0"]}), "rest_api", False),
        ("/wp-json/", http(403, b"<html>"), "rest_api", None),
        ("/wp-json/", http(200, [1, {"namespaces": 3}]), "rest_api", None),
        ("/wp-json/wc/v3/orders", refusal("woocommerce_rest_cannot_view", 401), "credentials", False),
        ("/wp-json/wc/v3/orders", http(301, b"", {"location": "https://www.x.example/"}), "credentials", False),
        (
            "/wp-json/wc/v3/orders/0/refunds",
            refusal("woocommerce_rest_authentication_error", 401),
            "write_permission",
            False,
        ),
        ("/wp-json/wc/v3/orders/0/refunds", refusal("woocommerce_rest_cannot_create", 403), "write_permission", False),
        ("/wp-json/wc/v3/orders/0/refunds", http(502), "write_permission", None),
        ("/wp-json/wc/v3/orders/0/refunds", http(200, []), "write_permission", None),
        ("/wp-json/wc/v3/system_status", refusal("woocommerce_rest_cannot_view", 403), "currency", None),
        ("/wp-json/wc/v3/system_status", http(200, {"settings": 3, "environment": []}), "hpos", None),
        ("/wp-json/wc/v3/payment_gateways", refusal("woocommerce_rest_cannot_view", 403), "payment_methods", None),
        ("/wp-json/wc/v3/payment_gateways", http(200, [GATEWAYS[1]]), "payment_methods", None),
        ("/wp-json/wc/v3/payment_gateways", http(200, {"x": 1}), "payment_methods", None),
    ],
)
async def test_what_is_wrong_is_named(path: str, answer: bytes, name: str, ok: bool | None) -> None:
    async with served({**shop(), path: answer}) as (store, _):
        report = await store.check()
        check = by_name(report)[name]
        assert check.ok is ok
        assert check.remedy
        assert report.ok is (ok is not False)


@pytest.mark.parametrize(("ahead_s", "ok"), [(0, True), (1200, False), (-1200, False)])
async def test_a_wrong_clock_is_told(ahead_s: int, ok: bool) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=ahead_s), usegmt=True)
    async with served({**shop(), "/wp-json/": http(200, {"namespaces": ["wc/v3"]}, {"date": date})}) as (store, _):
        report = await store.check()
        assert by_name(report)["clock"].ok is ok
        assert report.clock_skew_s is not None
        assert abs(report.clock_skew_s - ahead_s) < 5


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"url": "http://nowhere.example"}, "dns"),
        ({"url": "http://127.0.0.1:9"}, "reachable"),
        ({"url": "http://127.0.0.1:9", "auth": "basic"}, "address"),
        ({"url": "http://169.254.169.254"}, "reachable"),
        ({"url": "https://127.0.0.1", "ca_file": Path("/nonexistent.pem")}, "tls"),
    ],
)
async def test_a_store_that_cannot_be_reached_is_told_why(changes: dict[str, Any], name: str) -> None:
    async with served({}, **changes) as (store, asked):
        report = await store.check()
        assert by_name(report)[name].ok is False
        assert not report.ok
        assert asked == []


@pytest.mark.parametrize(
    ("host", "valid_days", "trusted", "ok"),
    [
        ("shop.example", 90, True, True),
        ("shop.example", 5, True, True),
        ("shop.example", -1, True, False),
        ("other.example", 90, True, False),
        ("shop.example", 90, False, False),
    ],
)
async def test_the_certificate_is_checked(tmp_path: Path, host: str, valid_days: int, trusted: bool, ok: bool) -> None:
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("shop.example", not_after=datetime.now(UTC) + timedelta(days=valid_days, hours=1)).configure_cert(
        context
    )
    ca_file = tmp_path / "ca.pem" if trusted else None
    async with served(shop(), context, host=host, ca_file=ca_file, auth="basic") as (store, _):
        checks = by_name(await store.check())
        assert checks["tls"].ok is ok
        assert ("certificate_expiry" in checks) is (ok and valid_days < 14)
