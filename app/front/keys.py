"""Who asks: keys of the gateway that serve as WooCommerce's consumer key and secret."""

import base64
import hmac
import re
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal
from urllib.parse import unquote

from app.api.auth import Scope
from app.crypto import Unsealable
from app.flows.results import Caller
from app.flows.runtime import Runtime
from app.front.asking import Asked, pairs_for_signature
from app.front.errors import WooError
from app.front.words import Situation
from app.ledger import nonces, tenants
from app.ledger.tenants import FrontOptions
from app.oauth1 import SIGNATURE_METHODS, is_signed
from app.telemetry import log

_REMEMBERED_KEYS = 10_000
_VISIBLE = re.compile(r"[!-~]{1,128}")
_TIMESTAMP = re.compile(r"[0-9]{1,12}", re.ASCII)
#: Seconds that a signed request may be old or early (AUTH:504).
_WINDOW_S = 15 * 60
_OAUTH = (
    "oauth_consumer_key",
    "oauth_timestamp",
    "oauth_nonce",
    "oauth_signature",
    "oauth_signature_method",
)
_CHALLENGE = {
    "WWW-Authenticate": 'Basic realm="WooCommerce API. Use a consumer key in the username field '
    'and a consumer secret in the password field."'
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontCaller:
    """A key that was shown to be its owner's, and how the front is to treat it."""

    caller: Caller
    front: FrontOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    secret: str = field(repr=False)
    who: FrontCaller


class FrontKeys:
    """Tells who a consumer key belongs to; remembers good keys for some seconds, bad ones never."""

    def __init__(self, *, remembered_s: float = 3.0) -> None:
        """Start with no key known; a revoked key works for `remembered_s` seconds at most."""
        self._remembered_s = remembered_s
        self._known: OrderedDict[str, tuple[float, _Known]] = OrderedDict()

    async def identify(self, rt: Runtime, asked: Asked) -> FrontCaller:
        """Give the caller that a request's credentials belong to; raises WooError for any other.

        Over https a secret in the query comes first, then HTTP Basic, then a signature; over plain http only a
        signature (AUTH:97-107, LA:75-101).
        """
        if asked.is_https or rt.settings.front_basic_over_http:
            given = _in_query(asked) or _in_header(asked)
            if given is not None:
                found = await self._by_secret(rt, asked, given)
                if found is not None:
                    return found
        return await self._by_signature(rt, asked)

    async def _by_secret(self, rt: Runtime, asked: Asked, given: "_Secret") -> FrontCaller | None:
        known = await self._find(rt, given.consumer_key)
        if known is None:
            if asked.face == "legacy":
                raise WooError("authentication")
            # To wc/v3 a stranger's key is no key at all (AUTH:200).
            return None
        if not hmac.compare_digest(known.secret.encode(), given.consumer_secret.encode()):
            if asked.face == "v3" or given.place == "query":
                raise WooError("authentication", "Consumer secret is invalid.")
            raise WooError("authentication", "Consumer Secret is invalid.", headers=_CHALLENGE)
        return known.who

    async def _by_signature(self, rt: Runtime, asked: Asked) -> FrontCaller:
        as_php, as_sent = pairs_for_signature(asked, _oauth_header(asked.authorization))
        params = dict(as_php)
        missing = [name for name in _OAUTH if not params.get(name)]
        if len(missing) == len(_OAUTH):
            raise _anonymous(asked)
        if missing:
            raise WooError("missing_oauth_parameter", _missing(asked, missing))
        known = await self._find(rt, params["oauth_consumer_key"])
        if known is None:
            raise WooError("authentication")
        signature_method = params["oauth_signature_method"]
        if signature_method not in SIGNATURE_METHODS:
            raise WooError("authentication", "Invalid signature - signature method is invalid.")
        if not is_signed(
            # wc/v3 signs the method of the wire (AUTH:400), the legacy API the one it stands for (LA:226).
            asked.sent_method if asked.face == "v3" else asked.method,
            asked.signed_url,
            as_php=as_php,
            as_sent=as_sent,
            signature=params["oauth_signature"],
            signature_method=signature_method,
            consumer_secret=known.secret,
        ):
            raise WooError("authentication", "Invalid signature - provided signature does not match.")
        await self._take_nonce(rt, known, params)
        return known.who

    async def _take_nonce(self, rt: Runtime, known: _Known, params: dict[str, str]) -> None:
        """Let a signature pass once. Only a right one gets here, so that strangers fill no table."""
        timestamp, nonce = params["oauth_timestamp"], params["oauth_nonce"]
        sent_at_s = int(timestamp) if _TIMESTAMP.fullmatch(timestamp) else 0
        if abs(sent_at_s - rt.clock().timestamp()) > _WINDOW_S:
            raise WooError("authentication", "Invalid timestamp.")
        if _VISIBLE.fullmatch(nonce) is None:
            raise WooError("authentication", "Invalid nonce - a nonce has 1 to 128 visible ASCII characters.")
        async with rt.database.committing() as conn:
            fresh = await nonces.use(conn, known.who.caller.key_id, nonce, datetime.fromtimestamp(sent_at_s, UTC))
        if not fresh:
            raise WooError("authentication", "Invalid nonce - nonce has already been used.")

    async def _find(self, rt: Runtime, consumer_key: str) -> _Known | None:
        if _VISIBLE.fullmatch(consumer_key) is None:
            return None
        now = time.monotonic()
        remembered = self._known.get(consumer_key)
        if remembered is not None and remembered[0] >= now:
            return remembered[1]
        async with rt.database.reading() as conn:
            row = await tenants.key_by_consumer_key(conn, consumer_key)
        if row is None or row.revoked_at is not None or row.consumer_secret is None:
            self._known.pop(consumer_key, None)
            return None
        try:
            secret = rt.sealer.open(row.consumer_secret, aad=row.id).decode()
        except Unsealable:
            log.error("front.key_unsealable", key_id=row.id)
            return None
        caller = Caller(
            tenant_id=row.tenant_id, key_id=row.id, name=row.name, scopes=row.scopes, store_ids=row.store_ids
        )
        known = _Known(secret=secret, who=FrontCaller(caller=caller, front=row.front))
        self._known[consumer_key] = (now + self._remembered_s, known)
        if len(self._known) > _REMEMBERED_KEYS:
            self._known.popitem(last=False)
        return known


def permit(asked: Asked, who: FrontCaller, scope: Scope) -> None:
    """Raise WooError unless the key has the scope; one that only reads is told so as WooCommerce does (AUTH:587)."""
    scopes = who.caller.scopes
    if scope in scopes or "admin" in scopes:
        return
    if asked.method == "GET":
        raise WooError("cannot_view")
    if asked.method == "DELETE" and "refunds:write" in scopes:
        raise WooError("cannot_delete")
    raise WooError("authentication", "The API key provided does not have write permissions.")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Secret:
    consumer_key: str
    consumer_secret: str = field(repr=False)
    place: Literal["query", "header"]


def _in_query(asked: Asked) -> _Secret | None:
    key, secret = asked.query.get("consumer_key"), asked.query.get("consumer_secret")
    if not (isinstance(key, str) and isinstance(secret, str) and key and secret):
        return None
    return _Secret(consumer_key=key, consumer_secret=secret, place="query")


def _in_header(asked: Asked) -> _Secret | None:
    scheme, _, encoded = asked.authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        key, _, secret = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except ValueError:  # not base64, not ASCII, or not UTF-8 within
        return None
    return _Secret(consumer_key=key, consumer_secret=secret, place="header") if key and secret else None


def _oauth_header(authorization: str) -> dict[str, str]:
    """Read `OAuth oauth_nonce="…", …`."""
    scheme, _, rest = authorization.strip().partition(" ")
    if scheme.lower() != "oauth":
        return {}
    parts = (part.strip().partition("=") for part in rest.split(","))
    return {name: unquote(value.strip('"')) for name, equals, value in parts if equals and name.startswith("oauth_")}


def _missing(asked: Asked, names: list[str]) -> str:
    if asked.face == "legacy":
        return f"{names[0]} parameter is missing"
    return f"Missing OAuth parameter{'s' if len(names) > 1 else ''} {', '.join(names)}"


_VERBS: dict[str, Situation] = {
    "POST": "cannot_create",
    "PUT": "cannot_edit",
    "PATCH": "cannot_edit",
    "DELETE": "cannot_delete",
}


def _anonymous(asked: Asked) -> WooError:
    """Answer a request without any credentials that count where it came from."""
    if asked.face == "legacy":
        if asked.is_https:
            return WooError("authentication", "Consumer Secret is invalid.", headers=_CHALLENGE)
        return WooError("missing_oauth_parameter", _missing(asked, [_OAUTH[0]]))
    one = asked.path.rpartition("/")[2].isdigit()
    return WooError(_VERBS.get(asked.method, "cannot_view" if one else "cannot_list"), status=401)
