"""How to reach one store and what it may cost us."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import SplitResult, urlsplit

from app.settings import Settings
from app.stores.port import StoreMisconfigured

#: basic: the usual; query: for hosts that strip the Authorization header; oauth1: the only one over plain HTTP.
AuthMethod = Literal["basic", "query", "oauth1"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreConnection:
    """A store's address and credentials; its repr shows no secret."""

    store_id: str
    url: str  #: the shop's canonical address, perhaps with a path, e.g. "https://shop.example/de"
    auth: AuthMethod
    consumer_key: str = field(repr=False)
    consumer_secret: str = field(repr=False)
    ca_file: Path | None = None

    @property
    def secrets(self) -> tuple[str, ...]:
        """Give what must never be shown."""
        return tuple(secret for secret in (self.consumer_secret, self.consumer_key) if secret)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreLimits:
    """What one store may take of our time; the meanings are those of the settings."""

    concurrency: int = 4
    read_timeout_s: float = 20.0
    refund_timeout_s: float = 120.0
    response_limit_bytes: int = 8_000_000
    facts_ttl_s: float = 300.0
    breaker_threshold: int = 5
    breaker_ttl_s: float = 15.0

    @classmethod
    def of(cls, settings: Settings) -> "StoreLimits":
        """Take the limits from the settings."""
        return cls(
            concurrency=settings.store_concurrency,
            read_timeout_s=settings.store_read_timeout_s,
            refund_timeout_s=settings.store_refund_timeout_s,
            response_limit_bytes=settings.store_response_limit_bytes,
            facts_ttl_s=settings.store_facts_ttl_s,
            breaker_threshold=settings.breaker_threshold,
            breaker_ttl_s=settings.breaker_ttl_s,
        )


def site_of(connection: StoreConnection, *, allow_private: bool) -> str:
    """Give the shop's address in canonical form, without a slash at its end.

    Scheme and host are in lower case and a default port is dropped, because WordPress rebuilds an OAuth signature from
    its own home URL (AUTH:400). Raises StoreMisconfigured when the address cannot be used with these credentials.
    """
    parts = urlsplit(connection.url.strip())
    try:
        port = parts.port
    except ValueError:
        port = -1
    if parts.scheme not in ("http", "https") or not parts.hostname or port == -1:
        raise StoreMisconfigured("The store's address must look like https://shop.example.")
    if parts.username is not None or parts.password is not None:
        raise StoreMisconfigured("The store's address must not hold credentials.")
    if parts.query or parts.fragment:
        raise StoreMisconfigured("The store's address must not have a query or a fragment.")
    if parts.scheme == "http":
        if not allow_private:
            raise StoreMisconfigured("The store's address must begin with https://.")
        if connection.auth != "oauth1":
            # WooCommerce ignores Basic and query credentials over HTTP (AUTH:98); they would only leak.
            raise StoreMisconfigured(f"Over plain http only oauth1 can be used, not {connection.auth}.")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    default = 80 if parts.scheme == "http" else 443
    netloc = host if port is None or port == default else f"{host}:{port}"
    return SplitResult(parts.scheme, netloc, parts.path.rstrip("/"), "", "").geturl()
