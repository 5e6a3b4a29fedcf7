"""Answers as WordPress writes them, and what a handler has of the request it answers."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from urllib.parse import quote

from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response

from app.api.auth import Scope
from app.api.trace import Trace
from app.flows.runtime import Runtime
from app.front.asking import Asked
from app.front.delivery import Deliveries
from app.front.errors import WooError
from app.front.keys import FrontCaller, permit
from app.front.words import Face

#: Names our refund on every answer that is about one.
REFUND_HEADER = "Refund-Gateway-Refund"
_UNFIT = re.compile(r"[^\t -~\xa0-\xff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """A request whose client is known, and what it takes to answer it."""

    rt: Runtime
    asked: Asked
    who: FrontCaller
    trace: Trace
    request: Request
    deliveries: Deliveries

    def needs(self, scope: Scope) -> None:
        """Raise WooError unless the key has a scope."""
        permit(self.asked, self.who, scope)


def answer(
    asked: Asked,
    content: Any,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    background: BackgroundTask | None = None,
) -> Response:
    """Write an answer with the headers that all of an API's answers carry."""
    own = {"Link": f'<{asked.base}/wp-json/>; rel="https://api.w.org/"'} if asked.face == "v3" else {}
    return _written(content, status, own | dict(headers or {}), background)


def error_answer(asked: Asked, error: WooError) -> Response:
    """Write an error."""
    own = dict(error.headers)
    if error.says is not None and error.says.refund_id is not None:
        own[REFUND_HEADER] = error.says.refund_id
    return answer(asked, error.body_for(asked.face), status=error.status_for(asked.face), headers=own)


def nowhere(face: Face) -> Response:
    """Answer under a name that no store can have: there is no route, and the answer does not repeat the name."""
    error = WooError("no_route")
    return _written(error.body_for(face), error.status_for(face), {}, None)


def _written(content: Any, status: int, headers: Mapping[str, str], background: BackgroundTask | None) -> Response:
    own = {"Content-Type": "application/json; charset=UTF-8", "X-Content-Type-Options": "nosniff"}
    # A text of a store's may have half a surrogate pair in it, which no encoding has.
    body = json.dumps(content, ensure_ascii=False, separators=(",", ":"), default=_number).encode("utf-8", "replace")
    return Response(body, status_code=status, headers=fit({**own, **headers}), background=background)


def fit(headers: Mapping[str, str]) -> dict[str, str]:
    """Percent-encode whatever in headers would end one, or is not in the alphabet that HTTP has for them."""
    return {name: _UNFIT.sub(lambda found: quote(found[0], errors="replace"), value) for name, value in headers.items()}


def _number(value: object) -> object:
    """Write a decimal as a number of JSON: a line's price or quantity, as WooCommerce writes them."""
    if not isinstance(value, Decimal):
        raise TypeError(f"{type(value).__name__} is not JSON")
    if value == value.to_integral_value():
        return int(value)
    # 1.5e400 would be Infinity, which JSON has not.
    return float(value) if value.adjusted() < 300 else str(value)
