"""A request as a WooCommerce client makes it: where to, in which API, with what parameters and body."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from starlette.requests import Request

from app.api.problems import InputFault
from app.api.reading import UNSTORABLE, Unreadable, read_json
from app.front.errors import WooError
from app.front.form import Pair, PhpTree, flattened, listed, pairs_of, tree_of
from app.front.words import Face, Situation
from app.stores.reading import exact

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_CREDENTIALS = frozenset({"consumer_key", "consumer_secret", "_method"})
#: No request of WooCommerce's nests deeper than five levels.
_DEEPEST = 20
_UNSTORABLE_TEXT = "A text has a NUL or half of a surrogate pair in it."

ROOTS: Mapping[Face, str] = {"v3": "wp-json/wc/v3", "legacy": "wc-api/v3"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a client asks for, before anything is known of who it is."""

    face: Face
    store: str
    path: str  #: below the API's root, without slashes around it
    method: Method  #: the overridden one, where there is one
    override_fault: Situation | None  #: why another method may not stand for this one
    sent_method: str  #: as it came over the wire
    is_https: bool
    base: str  #: the address that stands for the store's own, such as https://gateway.example/stores/acme
    signed_url: str  #: what a client signs, without its query
    authorization: str
    query: PhpTree
    query_pairs: tuple[Pair, ...]
    form_pairs: tuple[Pair, ...]
    body: Any  #: of JSON or a form; {} where there is none; Unreadable
    idempotency_key: str | None

    @property
    def root(self) -> str:
        """Give the address of the API's root."""
        return f"{self.base}/{ROOTS[self.face]}"

    @property
    def own_query(self) -> PhpTree:
        """Give the query without credentials, and without what only says how to read the request.

        Raises WooError for one that could not be kept.
        """
        if any(UNSTORABLE.search(text) for pair in self.query_pairs for text in pair):
            raise WooError("invalid_json", f"Invalid query. {_UNSTORABLE_TEXT}")
        return {name: value for name, value in self.query.items() if not is_credential(name)}

    def params(self) -> dict[str, Any]:
        """Give query and body together, the body first, as WordPress does; credentials aside.

        Raises WooError for a query or a body that cannot be read.
        """
        query = cast("dict[str, Any]", listed(dict(self.own_query)))
        body = self.readable_body()
        inner = body if isinstance(body, dict) else {}
        return query | {name: value for name, value in inner.items() if not is_credential(name)}

    def readable_body(self) -> Any:
        """Give the body; raises WooError when it cannot be read."""
        if isinstance(self.body, Unreadable):
            fault = self.body.faults[0]
            data = {"json_error_code": 4, "json_error_message": "Syntax error"}
            message = None if fault.facts.get("position") is not None else f"Invalid JSON body passed. {fault.message}"
            raise WooError("invalid_json", message, data=data)
        return self.body


def is_credential(name: str) -> bool:
    """Say whether a parameter is about who asks, and not about what is asked for."""
    return name in _CREDENTIALS or name.startswith("oauth_")


async def read(request: Request, face: Face, *, public_url: str | None) -> Asked:
    """Read a request; what is wrong with its body is said only once it is known who asks.

    The store's name has to be one that a store can have: it goes into addresses.
    """
    scope = request.scope
    raw_path = (scope.get("raw_path") or scope["path"].encode()).decode("latin-1").partition("?")[0]
    host = f"{scope['scheme']}://{request.headers.get('host', '')}"
    public = host if public_url is None else public_url.rstrip("/")
    store: str = request.path_params["store"]
    path: str = request.path_params.get("path", "")
    query_pairs = pairs_of(scope["query_string"].decode("latin-1"))
    query = tree_of(query_pairs)
    sent = "GET" if request.method == "HEAD" else request.method
    method, override_fault = _method(request, sent, query)
    form_pairs, body = _body(request, await request.body())
    return Asked(
        face=face,
        store=store,
        path=path.strip("/"),
        method=method,
        override_fault=override_fault,
        sent_method=request.method,
        is_https=scope["scheme"] == "https",
        base=f"{public}/stores/{store}",
        signed_url=public + raw_path,
        authorization=request.headers.get("authorization", ""),
        query=query,
        query_pairs=tuple(query_pairs),
        form_pairs=tuple(form_pairs),
        body=body,
        idempotency_key=request.headers.get("idempotency-key"),
    )


def _method(request: Request, sent: str, query: PhpTree) -> tuple[Method, Situation | None]:
    """Give the method that a request stands for (LS:133, WP class-wp-rest-server:389), or why it may not.

    WordPress lets any request stand for any other. A read that deletes could be repeated by every cache and browser on
    the way, so here only a POST may.
    """
    wanted = query.get("_method") or request.headers.get("x-http-method-override", "")
    own = cast("Method", sent)
    if not isinstance(wanted, str) or not wanted or wanted.upper() == sent:
        return own, None
    if sent != "POST":
        return own, "override_without_post"
    method = "GET" if wanted.upper() == "HEAD" else wanted.upper()
    return (cast("Method", method), None) if method in _METHODS else (own, "no_route")


def _body(request: Request, raw: bytes) -> tuple[list[Pair], Any]:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not raw.strip():
        return [], {}
    if kind == "application/x-www-form-urlencoded":
        pairs = pairs_of(raw.decode("latin-1"))
        body: Any = listed(dict(tree_of(pairs)))
        return pairs, _checked(body)
    # WordPress would take a body of another kind for none at all, and so for a refund of 0.00.
    return [], _checked(read_json(raw, parse_float=exact))


def _checked(body: Any) -> Any:
    """Give a body that can be walked through and kept; Unreadable for any other."""
    waiting: list[tuple[int, Any]] = [(0, body)]
    while waiting:
        depth, part = waiting.pop()
        if depth > _DEEPEST:
            return _unreadable("It is nested too deeply.")
        if isinstance(part, dict):
            waiting.extend((depth + 1, inner) for inner in part.values())
            waiting.extend((depth + 1, name) for name in part)
        elif isinstance(part, list):
            waiting.extend((depth + 1, inner) for inner in part)
        elif isinstance(part, str) and UNSTORABLE.search(part):
            return _unreadable(_UNSTORABLE_TEXT)
    return body


def _unreadable(message: str) -> Unreadable:
    return Unreadable((InputFault(code="invalid_json", pointer="", message=message),))


def pairs_for_signature(asked: Asked, header: Mapping[str, str]) -> tuple[list[Pair], list[Pair]]:
    """Give the signed parameters, as PHP reads them and as they were sent.

    A JSON body takes no part; the header's parameters come last and win (AUTH:286-297).
    """
    sent = [*asked.query_pairs, *asked.form_pairs, *header.items()]
    # $_GET and $_POST are merged at their top: a form's list takes the place of the query's.
    merged: PhpTree = {**asked.query, **tree_of(asked.form_pairs), **header}
    return flattened(merged), sent
