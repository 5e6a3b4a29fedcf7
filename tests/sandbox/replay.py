"""Replays recorded exchanges with a real WooCommerce against the sandbox, and tells the differences."""

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import re
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import httpx

from app.sandbox.main import Sandbox, SandboxKey, create_app

RECORDINGS = Path(__file__).parent.parent / "recordings"

#: In the order in which they were recorded on one store.
FILES = (
    "v3_create_refund",
    "v3_create_refund_errors",
    "v3_read_and_delete",
    "authentication",
    "orders_gateways_settings",
    "v3_in_flight",
    "legacy_v3_refunds",
    "v3_rounding",
)
KEYS = (
    SandboxKey("ck_READ_WRITE", "cs_READ_WRITE", "read_write"),
    SandboxKey("ck_READ_ONLY", "cs_READ_ONLY", "read"),
)

HTTPS, HTTP = "https://127.0.0.1:8443", "http://127.0.0.1:8088"
HEADERS = (
    "Content-Type",
    "Allow",
    "X-WP-Total",
    "X-WP-TotalPages",
    "Link",
    "Location",
    "Retry-After",
    "WWW-Authenticate",
)

#: What the recorded store held before the recording, so that its totals can be compared.
OLDER_REFUNDS, OLDER_PROCESSING, OLDER_REFUNDED = 60, 15, 6
OLDER_STOCK = {10: 1027, 11: 954}

#: What is older than this in the recording was made by hand, and is compared by shape only.
RECORDING_BEGAN = "2026-11-21T02:23:12"

#: One second of the recording takes this long here.
PACE = 0.1

#: The time of the recording, as its OAuth timestamps tell it.
RECORDED_AT = 1795227801

Exchange = dict[str, Any]


def exchanges() -> list[tuple[str, int, Exchange]]:
    """Return every recorded exchange with its file and position."""
    return [
        (name, position, exchange)
        for name in FILES
        for position, exchange in enumerate(json.loads((RECORDINGS / f"{name}.json").read_text()))
    ]


@dataclass(frozen=True)
class Difference:
    """Where an answer is not as recorded: `[].total` in the JSON, a header's name, or `status`."""

    at: str
    ours: Any
    recorded: Any

    def __str__(self) -> str:
        return f"{self.at or 'body'}: {self.ours!r}, recorded {self.recorded!r}"


@dataclass
class Ids:
    """Which of the sandbox's ids stands for which recorded one, by kind; learned where one is first seen."""

    known: dict[str, dict[int, int]] = field(default_factory=dict)

    def own(self, kind: str, recorded: int) -> int:
        return self.known.get(kind, {}).get(recorded, recorded)

    def matches(self, kind: str, recorded: int, ours: int) -> bool:
        return self.known.setdefault(kind, {}).setdefault(recorded, ours) == ours


@dataclass
class Replay:
    app: Sandbox
    ids: Ids = field(default_factory=Ids)
    #: By file and position: what differs from the recording.
    differences: dict[tuple[str, int], list[Difference]] = field(default_factory=dict)
    _signed: dict[str, dict[str, str]] = field(default_factory=dict)
    _background: dict[str, asyncio.Task[httpx.Response]] = field(default_factory=dict)

    async def run(self) -> None:
        async with (
            httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url=HTTPS) as https,
            httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url=HTTP) as http,
        ):
            await self._prepare(https)
            recorded = exchanges()
            for name, position, exchange in recorded:
                await self._set_up(https, name, exchange)
                client = http if _over_http(exchange) else https
                if name == "v3_in_flight":
                    same_file = [other for file, _, other in recorded if file == name]
                    answer = await self._answer_in_flight(client, exchange, same_file)
                else:
                    answer = await self._send(client, exchange)
                self.differences[name, position] = self._compare(exchange, answer)

    async def _prepare(self, client: httpx.AsyncClient) -> None:
        self._set_clock("2026-11-21T01:42:39")
        store = self.app.site.store
        for product in store.products():
            store.save_product(product.model_copy(update={"stock": OLDER_STOCK[product.id]}))
        made = await client.post("/sandbox/orders", json={"count": OLDER_PROCESSING})
        await client.post("/sandbox/orders", json={"count": OLDER_REFUNDED, "status": "refunded", "set_paid": False})
        for _ in range(OLDER_REFUNDS - OLDER_REFUNDED):
            order_id = made.json()[0]["id"]
            await client.post(f"/sandbox/orders/{order_id}/refunds", json={"amount": "0.01"})

    async def _set_up(self, client: httpx.AsyncClient, name: str, exchange: Exchange) -> None:
        """Set the shop's clock and settings to what the recorded answer shows."""
        body = exchange["response"].get("json")
        if not isinstance(body, dict) or exchange["request"]["method"] == "GET":
            return
        created = body.get("date_created") or body.get("order_refund", {}).get("created_at", "").rstrip("Z")
        if created and exchange["request"]["method"] == "POST":
            self._set_clock(created)
        if "prices_include_tax" in body:
            settings: dict[str, Any] = {"prices_include_tax": body["prices_include_tax"]}
            if name == "v3_rounding":
                settings["tax_rates"] = [{"name": "T20.0", "percent": "20"}]
            await client.post("/sandbox/settings", json=settings)

    def _set_clock(self, moment: str) -> None:
        at = datetime.fromisoformat(moment).replace(tzinfo=UTC)
        self.app.site.store.clock = lambda: at

    async def _answer_in_flight(
        self, client: httpx.AsyncClient, exchange: Exchange, same_file: list[Exchange]
    ) -> httpx.Response:
        """Send the POST of a scene when its first look is due, and let each look wait as long as it did, scaled."""
        scene, _, what = exchange["name"].partition(":")
        if what.startswith(" list at once") and scene.startswith("client gave up"):
            await self._give_up(client, exchange)
        if what.startswith(" list 3 s later"):
            await asyncio.sleep(3 * PACE)
        if " after the POST was sent" in what:
            await self._start(client, scene, same_file)
            delay_s = float(exchange["request"]["query"]["nocache"]) * PACE
            await asyncio.sleep(max(0.0, self._started_at + delay_s - time.monotonic()))
        if what == " answer to the POST":
            return await self._background[scene]
        return await self._send(client, exchange)

    async def _start(self, client: httpx.AsyncClient, scene: str, same_file: list[Exchange]) -> None:
        if scene not in self._background:
            post = next(one for one in same_file if one["name"] == f"{scene}: answer to the POST")
            self._started_at = time.monotonic()
            self._background[scene] = asyncio.create_task(self._send(client, post))

    async def _give_up(self, client: httpx.AsyncClient, exchange: Exchange) -> None:
        body = {
            "amount": "7.00",
            "reason": "slow2000 client gone",
            "meta_data": [{"key": "_refund_key", "value": "K2"}],
        }
        request = {**exchange["request"], "method": "POST", "body": body}
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._send(client, {**exchange, "request": request}), 0.7 * PACE)

    async def _send(self, client: httpx.AsyncClient, exchange: Exchange) -> httpx.Response:
        request = exchange["request"]
        path, query = self._own_path(request["path"]), self._own_query(request["query"])
        auth: tuple[str, str] | None = None
        match request["auth"]:
            case "basic:rw":
                auth = ("ck_READ_WRITE", "cs_READ_WRITE")
            case "basic:ro":
                auth = ("ck_READ_ONLY", "cs_READ_ONLY")
            case "bad":
                auth = ("ck_unknown", "cs_unknown")
            case "badsecret":
                auth = ("ck_READ_WRITE", "cs_wrong")
            case "oauth1":
                query = self._sign(exchange, f"{HTTP}{path}", query)
            case "query:rw" | "basic:None":
                pass
            case other:
                raise AssertionError(other)
        body = self._own_body(request["body"])
        content = body.encode() if isinstance(body, str) else None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"} if content is not None else {}
        return await client.request(
            request["method"],
            path,
            params=query,
            headers=headers,
            content=content,
            auth=httpx.BasicAuth(*auth) if auth else None,
        )

    def _own_path(self, path: str) -> str:
        for part in ("orders", "view-order", "refunds", "notes", "coupons"):
            kind = "note" if part == "notes" else "post"
            path = re.sub(rf"(?<=/{part}/)\d+", lambda found, kind=kind: str(self.ids.own(kind, int(found[0]))), path)
        return path

    def _own_query(self, query: dict[str, str]) -> dict[str, str]:
        listed = {"include", "exclude", "parent", "parent_exclude"}
        return {
            name: ",".join(str(self.ids.own("post", int(one))) for one in value.split(","))
            if name.partition("[")[0] in listed
            else value
            for name, value in query.items()
        }

    def _own_body(self, body: Any) -> Any:
        if not isinstance(body, dict):
            return body
        own = dict(body)
        if isinstance(own.get("order_refund"), dict):
            own["order_refund"] = self._own_body(own["order_refund"])
        if isinstance(own.get("line_items"), dict):
            own["line_items"] = {
                str(self.ids.own("item", int(key))) if key.isdecimal() else key: line
                for key, line in own["line_items"].items()
            }
        if isinstance(own.get("line_items"), list):
            own["line_items"] = [
                {**line, "id": type(line["id"])(self.ids.own("item", int(line["id"])))} if "id" in line else line
                for line in own["line_items"]
            ]
        if isinstance(own.get("reason"), str):
            own["reason"] = _paced(own["reason"])
        return own

    def _sign(self, exchange: Exchange, url: str, query: dict[str, str]) -> dict[str, str]:
        """Sign afresh as the recording was signed: same nonce, same distance from the present, same mistakes."""
        nonce = query["oauth_nonce"]
        if nonce in self._signed:
            return self._signed[nonce]
        params = {name: value for name, value in query.items() if name != "oauth_signature"}
        params["oauth_timestamp"] = str(int(time.time()) + int(query["oauth_timestamp"]) - RECORDED_AT)
        secret = {key.consumer_key: key.consumer_secret for key in KEYS}[query["oauth_consumer_key"]]
        signature = sign(exchange["request"]["method"], url, params, secret)
        if exchange["name"] == "oauth1 bad signature":
            signature = "AAAA" + signature[4:]
        self._signed[nonce] = {**params, "oauth_signature": signature}
        return self._signed[nonce]

    def _compare(self, exchange: Exchange, answer: httpx.Response) -> list[Difference]:
        expected = exchange["response"]
        found = []
        if answer.status_code != expected["status"]:
            found.append(Difference("status", answer.status_code, expected["status"]))
        if "json" in expected:
            about_notes = "/notes" in exchange["request"]["path"]
            ours = answer.json()
            if exchange["request"]["path"].endswith("/payment_gateways"):
                # The sandbox has one gateway more, which writes order notes.
                ours = [gateway for gateway in ours if gateway["id"] != "sandboxpay"]
            found += self.differ(expected["json"], ours, "notes" if about_notes else "")
        elif answer.text != expected["text"]:
            found.append(Difference("text", answer.text, expected["text"]))
        if expected["headers"]:
            for name in HEADERS:
                recorded, ours = self._own_header(name, expected["headers"].get(name)), answer.headers.get(name)
                if recorded != _without_oauth(name, ours):
                    found.append(Difference(name, ours, recorded))
        return found

    def _own_header(self, name: str, value: str | None) -> str | None:
        if value is None or name not in {"Link", "Location"}:
            return value

        def own(found: re.Match[str]) -> str:
            url = urlsplit(found[0])
            query = "&".join(
                f"{key}={self.ids.own('post', int(one)) if re.match('(parent|include|exclude)', key) else one}"
                for key, _, one in (pair.partition("=") for pair in url.query.split("&") if pair)
            )
            return f"{url.scheme}://{url.netloc}{self._own_path(url.path)}" + (f"?{query}" if query else "")

        if "(?P<" in value:
            return self._own_path(value)
        return _without_oauth(name, re.sub(r"https?://[^>]+", own, value))

    def differ(self, recorded: Any, ours: Any, at: str = "") -> list[Difference]:
        """Return every difference in shape or value; ids must stand for each other throughout."""
        if isinstance(recorded, dict) and isinstance(ours, dict):
            if list(recorded) != list(ours):
                return [Difference(f"{at}.keys", list(ours), list(recorded))]
            if str(recorded.get("date_created", RECORDING_BEGAN)) < RECORDING_BEGAN:
                return []
            return [one for key in recorded for one in self.differ(recorded[key], ours[key], f"{at}.{key}")]
        if isinstance(recorded, list) and isinstance(ours, list):
            if len(recorded) != len(ours):
                return [Difference(f"{at}.length", len(ours), len(recorded))]
            pairs = zip(recorded, ours, strict=True)
            return [one for pair in pairs for one in self.differ(*pair, f"{at}[]")]
        return [] if self._same_value(recorded, ours, at) else [Difference(at, ours, recorded)]

    def _own_text(self, text: str) -> str:
        """Translate the id in a line's meta: of the refunded line, or of the coupon in `[216,"SUMMER",…]`."""
        if text.startswith("["):
            return re.sub(r"\d+", lambda found: str(self.ids.own("post", int(found[0]))), text, count=1)
        return str(self.ids.own("item", int(text))) if text.isdecimal() else text

    def _same_value(self, recorded: Any, ours: Any, at: str) -> bool:
        key = at.rpartition(".")[2]
        if key in {"id", "parent_id"} and isinstance(recorded, int) and isinstance(ours, int):
            return self.ids.matches(_kind(at), recorded, ours)
        if key in {"number", "order_number"}:
            return self.ids.matches("post", int(recorded), int(ours))
        if key in {"href", "view_order_url"}:
            return self._own_path(recorded) == ours
        if "lines[].meta_data[]" in at or "line_items[].meta_data[]" in at:
            return ours in (recorded, self._own_text(recorded))
        if key == "reason" and isinstance(recorded, str):
            return _paced(recorded) == ours
        if type(recorded) is not type(ours) and not (_is_number(recorded) and _is_number(ours)):
            return False
        return bool(recorded == ours)


def sign(method: str, url: str, params: dict[str, str], secret: str) -> str:
    """Return an OAuth 1.0a signature of WooCommerce's kind."""
    pairs = [f"{quote(name, safe='-._~')}={quote(params[name], safe='-._~')}" for name in sorted(params)]
    text = "&".join((method, quote(url, safe="-._~"), quote("&".join(pairs), safe="-._~")))
    digest = {"HMAC-SHA1": hashlib.sha1, "HMAC-SHA256": hashlib.sha256}[params["oauth_signature_method"]]
    return base64.b64encode(hmac.digest(f"{secret}&".encode(), text.encode(), digest)).decode()


def replayed() -> Replay:
    """Return a replay of everything."""
    replay = Replay(create_app(keys=KEYS, seed=False))
    asyncio.run(replay.run())
    return replay


def _over_http(exchange: Exchange) -> bool:
    return exchange["request"]["auth"] == "oauth1" or exchange["name"] == "basic over plain http"


def _paced(reason: str) -> str:
    return re.sub(r"slow(\d+)", lambda found: f"slow{int(int(found[1]) * PACE)}", reason)


def _kind(at: str) -> str:
    """Return what an id at this place numbers."""
    parent = at.replace("[]", "").split(".")[-2]
    kinds = {
        "": "post",
        "order": "post",
        "order_refund": "post",
        "order_refunds": "post",
        "refunds": "post",
        "meta_data": "meta",
        "taxes": "rate",
        "notes": "note",
        "customer": "customer",
    }
    return kinds.get(parent, "item")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _without_oauth(name: str, value: str | None) -> str | None:
    if name != "Link" or value is None or "oauth_" not in value:
        return value
    url, _, rest = value.lstrip("<").partition(">")
    query = [pair for pair in parse_qsl(urlsplit(url).query) if not pair[0].startswith("oauth_")]
    return f"<{url.partition('?')[0]}?{urlencode(query)}>{rest}"
