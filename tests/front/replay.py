"""Replays every recorded exchange of refunds, and every recorded read, against the front before a sandbox store."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.sandbox import replay as recorded
from tests.sandbox.replay import HTTP, Exchange, Replay, exchanges

#: Their values tell what may be done, or with which credentials; of the others it counts that they are there.
_SAME_VALUE = ("Content-Type", "Allow", "WWW-Authenticate")


def is_set_up(exchange: Exchange) -> bool:
    """Say whether an exchange only prepares the store: orders and coupons that are made or changed."""
    request = exchange["request"]
    return request["method"] != "GET" and "/refunds" not in request["path"]


def played() -> list[tuple[str, int, Exchange]]:
    """Return the exchanges that the front answers."""
    return [each for each in exchanges() if not is_set_up(each[2])]


@dataclass(frozen=True)
class Answered:
    """What the front said."""

    status: int
    headers: httpx.Headers
    body: Any

    @property
    def code(self) -> str | None:
        """Give the error's code, in whichever envelope."""
        return code_of(self.body)


def code_of(body: Any) -> str | None:
    """Give the code of an error; None for anything else."""
    if not isinstance(body, dict):
        return None
    errors = body.get("errors")
    first = errors[0] if isinstance(errors, list) and errors else body
    return first.get("code") if isinstance(first, dict) and "message" in first else None


@dataclass
class FrontReplay(Replay):
    """Sends refunds and reads to the front, and what prepares the store to the store."""

    site: str = ""  #: of the front, over plain HTTP
    answers: dict[tuple[str, int], Answered] = field(default_factory=dict)

    async def run(self) -> None:
        """Play everything in the order in which it was recorded."""
        direct = httpx.ASGITransport(self.app)
        async with (
            httpx.AsyncClient(transport=direct, base_url=recorded.HTTPS) as store,
            httpx.AsyncClient(base_url=self.site, headers={"X-Forwarded-Proto": "https"}, timeout=20) as https,
            httpx.AsyncClient(base_url=self.site, timeout=20) as http,
        ):
            for name, position, exchange in exchanges():
                if is_set_up(exchange):
                    await self._set_up(store, name, exchange)
                    self._learn(exchange, await self._send(store, exchange))
                    continue
                client = http if recorded._over_http(exchange) else https
                if name == "v3_in_flight":
                    same_file = [other for file, _, other in exchanges() if file == name]
                    answer = await self._answer_in_flight(client, exchange, same_file)
                else:
                    answer = await self._send(client, exchange)
                body = answer.json() if answer.content else None
                self.answers[name, position] = Answered(answer.status_code, answer.headers, body)
                if (name, exchange["name"]) == ("legacy_v3_refunds", "create manual"):
                    answer = await self._send(client, _as_it_has_to_be_said(exchange))
                self._learn(exchange, answer)

    def _set_clock(self, moment: str) -> None:
        """Leave the store's clock alone: the gateway holds it against its own."""

    def _learn(self, exchange: Exchange, answer: httpx.Response) -> None:
        """Learn which of the store's ids stands for which recorded one."""
        if answer.status_code in (200, 201) and exchange["response"]["status"] in (200, 201):
            before, after = exchange["response"].get("json"), answer.json()
            if exchange["request"]["path"].startswith("/wc-api/"):
                before, after = ((each or {}).get("order_refund") for each in (before, after))
            if isinstance(before, dict) and isinstance(after, dict) and "id" in before:
                self.differ(before, {**before, **{key: after[key] for key in before if key in after}})

    def _sign(self, exchange: Exchange, url: str, query: dict[str, str]) -> dict[str, str]:
        return super()._sign(exchange, url.replace(HTTP, self.site), query)


def _as_it_has_to_be_said(exchange: Exchange) -> Exchange:
    """Give a refused request as the front takes it, so that what follows in the recording has its refund."""
    request = exchange["request"]
    inner = {key: value for key, value in request["body"]["order_refund"].items() if key != "api_refund"}
    return {**exchange, "request": {**request, "query": {"api_refund": "0"}, "body": {"order_refund": inner}}}


def differences(exchange: Exchange, ours: Answered) -> Iterable[str]:
    """Name what of status, code, shape and headers is not as recorded."""
    expected = exchange["response"]
    if ours.status != expected["status"]:
        yield f"status {ours.status}, recorded {expected['status']}"
    if "json" in expected:
        if ours.code != code_of(expected["json"]):
            yield f"code {ours.code}, recorded {code_of(expected['json'])}"
        yield from _shapes(expected["json"], ours.body, "")
    for name in recorded.HEADERS if expected["headers"] else ():
        before, after = expected["headers"].get(name), ours.headers.get(name)
        if (before is None) != (after is None) or (name in _SAME_VALUE and before != after):
            yield f"{name}: {after}, recorded {before}"
        if name == "Link" and _rels(before) != _rels(after):
            yield f"{name}: {after}, recorded {before}"


def _rels(link: str | None) -> list[str]:
    return re.findall(r'rel="([^"]+)"', link or "")


def _shapes(before: Any, after: Any, at: str) -> Iterable[str]:
    if at == ".options":
        # The sandbox knows fewer currencies.
        return
    if isinstance(before, dict) and isinstance(after, dict):
        if set(before) != set(after):
            yield f"{at or 'body'} has {sorted(set(after) - set(before))}, and not {sorted(set(before) - set(after))}"
        for key in before.keys() & after.keys():
            yield from _shapes(before[key], after[key], f"{at}.{key}")
    elif isinstance(before, list) and isinstance(after, list):
        if before and after:
            yield from _shapes(_first(before), _first(after), f"{at}[]")
    elif _kind(before) != _kind(after):
        yield f"{at} is {_kind(after)}, recorded {_kind(before)}"


def _first(values: list[Any]) -> Any:
    """Give the entry to look at; of meta data, which has no order, the first by its key."""
    return min(values, key=lambda value: str(value.get("key", "")) if isinstance(value, dict) else "")


def _kind(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return str(type(value).__name__)
    return "number" if isinstance(value, int | float) else type(value).__name__
