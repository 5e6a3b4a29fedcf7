"""Reads of other resources, passed through to the store where the key allows it; nothing else is ever written."""

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app.api.auth import Scope as KeyScope
from app.flows import shop
from app.flows.results import StoreNotFound
from app.front import index
from app.front.answers import Admitted, answer, error_answer, fit
from app.front.asking import ROOTS, Asked, is_credential
from app.front.documents import names_of, selected
from app.front.errors import GatewaySays, WooError
from app.front.form import Pair, flattened
from app.front.outcomes import refused
from app.front.secrets import without_gateway_secrets, without_setting_secrets
from app.ledger.tenants import FrontRead
from app.stores.port import Store, StoreError
from app.telemetry import log

#: What can be passed through, by the first part of its path, and the scope that a key needs for it.
_READS: Mapping[FrontRead, KeyScope] = {
    "orders": "orders:read",
    "products": "orders:read",
    "customers": "orders:read",
    "payment_gateways": "stores:read",
    "settings": "stores:read",
}
#: What WooCommerce has beside those; that it exists is no secret, so a write is told why it is refused.
_OTHERS = frozenset(
    {"coupons", "data", "reports", "shipping", "system_status", "taxes", "webhooks", "batch", "media", "variations"}
)
_SEGMENT = re.compile(r"[A-Za-z0-9_@+~-][A-Za-z0-9_.@+~-]*", re.ASCII)
#: They change how an answer is written, so that secrets in it would not be found.
_NOT_PASSED = frozenset({"_envelope", "_jsonp", "_embed", "_method"})
_HEADERS = (
    "Allow",
    "Content-Type",
    "Last-Modified",
    "Link",
    "Retry-After",
    "X-WC-Total",
    "X-WC-TotalPages",
    "X-WP-Total",
    "X-WP-TotalPages",
)
_LINK = re.compile(r"<(?P<url>[^<>]*)>(?P<rest>[^<]*)")
_BEHIND_ROOT = re.compile(r"/(?:wp-json/wc/v3|wc-api/v3)(?P<path>/[^?]*)?(?:\?(?P<query>.*))?$", re.DOTALL)


async def respond(turn: Admitted) -> Response:
    """Answer a request for anything but refunds."""
    asked = turn.asked
    segments = asked.path.split("/")
    known = segments[0] in _READS or segments[0] in _OTHERS
    # WordPress finds its routes whatever the case: orders/1/Refunds are refunds, which have rules of their own.
    of_refunds = any(segment.lower() == "refunds" for segment in segments)
    if not known or of_refunds or not all(_SEGMENT.fullmatch(segment) for segment in segments):
        raise WooError("no_route")
    if asked.method == "OPTIONS":
        return answer(asked, index.options("GET"), headers={"Allow": "GET"})
    if asked.method != "GET":
        raise WooError("read_only")
    resource = next((name for name in _READS if name == segments[0]), None)
    if resource is None:
        raise WooError("no_route")
    turn.needs(_READS[resource])
    if resource not in turn.who.front.reads:
        raise WooError(
            "not_passed_on",
            f"This key may not read {resource} through the refund gateway: its front.reads does not name it.",
            says=GatewaySays(code="not_passed_on", more={"setting": "front.reads", "value": resource}),
        )
    opened = await shop.open_store(turn.rt, turn.who.caller, asked.store)
    if isinstance(opened, StoreNotFound):
        raise refused(opened)
    if opened.store.api != asked.face:
        raise WooError("other_api")
    if resource in ("payment_gateways", "settings"):
        return await _cleaned(asked, opened.store, resource)
    return _Passed(turn, opened.store, _query(asked))


def _query(asked: Asked, *, but: frozenset[str] = frozenset()) -> list[Pair]:
    kept = {name: value for name, value in asked.own_query.items() if name not in _NOT_PASSED | but}
    return flattened(kept)


async def _cleaned(asked: Asked, store: Store, resource: FrontRead) -> Response:
    """Read an answer whole and take the secrets out; `_fields` is applied afterwards, so that it can hide no type."""
    try:
        read = await store.read_raw(asked.path, _query(asked, but=frozenset({"_fields"})))
    except StoreError as error:
        raise refused(shop.failed(error)) from error
    headers = _headers(asked, read.headers) | {"Refund-Gateway-Removed": "secrets"}
    headers.pop("Content-Type", None)
    clean = without_gateway_secrets if resource == "payment_gateways" else without_setting_secrets
    fields = names_of(asked.query.get("_fields"))
    # What is no JSON, or is nested beyond all measure, cannot be searched for secrets.
    with suppress(ValueError, RecursionError):
        document = json.loads(read.body)
        if isinstance(document, dict | list):
            content = _chosen(clean(document), fields, is_error=read.status >= 400)
            return answer(asked, _relinked(content, asked.base), status=read.status, headers=headers)
    raise WooError("store_unavailable", "The store's answer is not JSON, and is kept back for what may be in it.")


def _chosen(content: Any, fields: Sequence[str], *, is_error: bool) -> Any:
    if isinstance(content, list):
        return [selected(row, fields, keeps_links=False) if isinstance(row, dict) else row for row in content]
    return content if is_error else selected(content, fields, keeps_links=True)


def _relinked(part: Any, base: str) -> Any:
    """Let links within a document lead here."""
    if isinstance(part, list):
        return [_relinked(inner, base) for inner in part]
    if not isinstance(part, dict):
        return part
    return {
        key: base + inner[inner.index("/wp-json/") :]
        if key == "href" and isinstance(inner, str) and "/wp-json/" in inner
        else _relinked(inner, base)
        for key, inner in part.items()
    }


def _headers(asked: Asked, given: Mapping[str, str]) -> dict[str, str]:
    """Keep what tells of the resource; no cookies, nothing about the connection, and links lead here."""
    kept = {ours: given[ours.lower()] for ours in _HEADERS if ours.lower() in given}
    if "Link" in kept:
        kept["Link"] = _LINK.sub(lambda found: f"<{_own_url(asked, found['url'])}>{found['rest']}", kept["Link"])
    return fit(kept)


def _own_url(asked: Asked, url: str) -> str:
    """Let a store's link lead here; the store repeats the credentials of the request in its links."""
    found = _BEHIND_ROOT.search(url)
    if found is None:
        return f"{asked.base}/wp-json/" if asked.face == "v3" else asked.root
    parts = [part for part in (found["query"] or "").split("&") if part and not is_credential(part.partition("=")[0])]
    query = f"?{'&'.join(parts)}" if parts else ""
    return f"{asked.base}/{ROOTS[asked.face]}{found['path'] or ''}{query}"


class _Passed(Response):
    """Hands a store's answer on as it comes."""

    def __init__(self, turn: Admitted, store: Store, query: list[Pair]) -> None:
        self._turn = turn
        self._store = store
        self._query = query
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Open the store's answer and send it piece by piece; a broken one breaks off here, too."""
        asked = self._turn.asked
        begun = False
        try:
            async with self._store.stream(asked.path, self._query) as streamed:
                headers = MutableHeaders(headers=_headers(asked, streamed.headers))
                headers.setdefault("Content-Type", "application/json; charset=UTF-8")
                headers["X-Content-Type-Options"] = "nosniff"
                begun = True
                await send({"type": "http.response.start", "status": streamed.status, "headers": headers.raw})
                async for piece in streamed.chunks():
                    if await self._turn.request.is_disconnected():
                        return
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        except StoreError as error:
            if begun:
                # Without its last piece: the client's HTTP library notices that the answer is not whole.
                log.warning("front.pass_through_broke", store=asked.store, error=str(error))
                return
            await error_answer(asked, refused(shop.failed(error)))(scope, receive, send)
