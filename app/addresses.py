"""Which addresses a store may have, checked where the connection is made.

A store's address is given by its tenant, so it must not become a way into the gateway's own network. Checking a name
first and connecting to it afterwards would let a second DNS answer slip past; here both are one step.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Any, Literal

import httpcore

#: Turns a host name and a port into addresses, in the order of preference.
Resolver = Callable[[str, int], Awaitable[Sequence[str]]]

_METADATA = frozenset(ip_address(a) for a in ("169.254.169.254", "100.100.100.200", "fd00:ec2::254"))
_NAT64 = IPv6Network("64:ff9b::/96")
_NAT64_LOCAL = IPv6Network("64:ff9b:1::/48")
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_V6_DOCUMENTATION = (IPv6Network("2001:db8::/32"), IPv6Network("3fff::/20"))


def forbidden_range(address: str, *, allow_private: bool) -> str | None:
    """Name the range that forbids connecting to an address; None when it may be connected to.

    An IPv4 address embedded in IPv6 (mapped, 6to4, NAT64) is judged as itself. With `allow_private` only addresses at
    which no store can ever be are refused.
    """
    try:
        ip: IPv4Address | IPv6Address = ip_address(address)
    except ValueError:
        return "malformed"
    if isinstance(ip, IPv6Address):
        embedded = ip.ipv4_mapped or ip.sixtofour or (IPv4Address(int(ip) & 0xFFFFFFFF) if ip in _NAT64 else None)
        ip = embedded or ip
    if ip in _METADATA:
        return "cloud metadata"
    if ip.is_multicast:
        return "multicast"
    if ip.is_unspecified or ip == IPv4Address("255.255.255.255"):
        return "unspecified"
    if allow_private:
        return None
    if ip.is_loopback:
        return "loopback"
    if ip.is_link_local:
        return "link-local"
    if not ip.is_global or ip.is_reserved:  # is_global is false for CGNAT (100.64/10) too
        return "private or reserved"
    if isinstance(ip, IPv6Address) and (
        ip not in _GLOBAL_UNICAST or ip in _NAT64_LOCAL or any(ip in network for network in _V6_DOCUMENTATION)
    ):
        return "private or reserved"
    return None


async def resolve(host: str, port: int) -> Sequence[str]:
    """Ask the system's resolver for a host's addresses, in its order of preference. Raises OSError."""
    loop = asyncio.get_running_loop()
    rows = await loop.getaddrinfo(host, port, type=1)  # 1 is SOCK_STREAM
    return list(dict.fromkeys(str(row[4][0]) for row in rows))


class UnfitAddress(httpcore.ConnectError):
    """A connection that could not or must not be opened, with its reason."""

    def __init__(self, reason: Literal["dns", "address"], message: str) -> None:
        super().__init__(message)
        self.reason = reason


class GuardedBackend(httpcore.AsyncNetworkBackend):
    """Opens TCP connections to addresses it has checked itself.

    httpcore hands over the host name and keeps it for SNI and certificate checks; the name is resolved here and the
    very address that was checked is connected to, so a second DNS answer has nothing to say.
    """

    def __init__(self, *, allow_private: bool, resolver: Resolver) -> None:
        self._allow_private = allow_private
        self._resolve = resolver
        self._tcp = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        deadline = None if timeout is None else time.monotonic() + timeout
        addresses = await self._checked_addresses(host, port, timeout)
        failure: httpcore.ConnectError | httpcore.ConnectTimeout | None = None
        for position, address in enumerate(addresses):
            left = None if deadline is None else max(deadline - time.monotonic(), 0.001)
            # A dead first address must not eat the time of the others.
            share = None if left is None else left / (len(addresses) - position)
            try:
                return await self._tcp.connect_tcp(address, port, share, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        assert failure is not None
        raise failure

    async def _checked_addresses(self, host: str, port: int, within_s: float | None) -> Sequence[str]:
        try:
            addresses: Sequence[str] = [str(ip_address(host))]
        except ValueError:
            try:
                async with asyncio.timeout(within_s):
                    addresses = await self._resolve(host, port)
            except TimeoutError:
                raise UnfitAddress("dns", f"Looking up the host name {host} took too long.") from None
            except (OSError, UnicodeError) as error:
                raise UnfitAddress("dns", f"The host name {host} could not be found.") from error
        forbidden = [forbidden_range(address, allow_private=self._allow_private) for address in addresses]
        allowed = [address for address, range_ in zip(addresses, forbidden, strict=True) if range_ is None]
        if not allowed:
            named = next((range_ for range_ in forbidden if range_ is not None), None)
            if named is None:
                raise UnfitAddress("dns", f"The host name {host} has no address.")
            raise UnfitAddress("address", f"The host {host} has a {named} address; stores there are not permitted.")
        return allowed
