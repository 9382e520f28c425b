"""Which addresses may be connected to: the address that is checked is the one connected to.

A name may resolve to anything, and to something else a moment later (DNS rebinding); so the
resolved address is checked, and that very address is connected to.

Source: OWASP, Server-Side Request Forgery Prevention; RFC 6890 for the special-purpose ranges.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
from collections.abc import Callable
from typing import Any, TypeAlias

import attrs
import trio

from gateway.core.adapter import Environment
from gateway.core.errors import Unreachable
from gateway.net.threads import Threads

__all__ = ["AddressGuard"]

_Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

_LOOKUPS = 4
"""Names that one service looks up at once, those abandoned included: connections are kept, so
lookups are few, and a resolver that hangs is to hold no more threads than these."""

_METADATA = frozenset(
    ipaddress.ip_address(text)
    for text in (
        *("169.254.169.254", "169.254.170.2", "169.254.170.23", "168.63.129.16"),
        *("100.100.100.200", "192.0.0.192"),
        *("fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254"),
    )
)
"""Where clouds answer with credentials: AWS, Azure, Google; ECS, EKS; Azure's host; Alibaba;
Oracle; AWS, EKS and Google over IPv6."""

_WRAPPING = (
    ipaddress.ip_network("64:ff9b::/96"),  # NAT64, RFC 6052
    ipaddress.ip_network("::/96"),  # IPv4-compatible, RFC 4291
    ipaddress.ip_network("::ffff:0:0:0/96"),  # IPv4-translated, RFC 2765
)


def _plain(address: _Address) -> _Address:
    """An IPv4 address that is wrapped in an IPv6 one, unwrapped."""
    if not isinstance(address, ipaddress.IPv6Address):
        return address
    unwrapped = address.ipv4_mapped or address.sixtofour
    if unwrapped is not None:
        return unwrapped
    if int(address) > 1 and any(address in network for network in _WRAPPING):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def _lookup(host: str, port: int) -> list[Any]:
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)


def _some_threads() -> Threads:
    return Threads("", lambda _event: None, trio.CapacityLimiter(_LOOKUPS))


@attrs.frozen(slots=True)
class AddressGuard:
    """Says which addresses a service's connections may go to.

    Args:
        allow_private: Whether private, loopback and link-local ranges may be.
        loopback_host: The host of the service's own URL if it is written as a loopback address
            or `localhost`: who writes that out means it. `None` otherwise.
        threads: Where names are looked up: the system's resolver blocks, and may hang.
        lookup: The system's resolver; a custom hostname resolver of Trio's goes before it.
    """

    allow_private: bool = False
    loopback_host: str | None = None
    threads: Threads = attrs.field(factory=_some_threads, kw_only=True, eq=False, repr=False)
    lookup: Callable[[str, int], list[Any]] = attrs.field(default=_lookup, kw_only=True)

    @classmethod
    def of(cls, host: str, environment: Environment, *, allow_private: bool) -> AddressGuard:
        """The guard of the service `environment` tells of, whose URL names `host`."""
        limiter = trio.CapacityLimiter(_LOOKUPS)
        threads = Threads(environment.service, environment.record, limiter)
        return cls(allow_private, host if _is_loopback(host) else None, threads=threads)

    async def resolve(self, host: str, port: int) -> list[str]:
        """The addresses of `host`, every one of them allowed.

        Args:
            host: A name or an address.
            port: The port that will be connected to.

        Raises:
            Unreachable: The name does not resolve, or resolves to an address that is not allowed.
            DeadlineExceeded: Less than 1 ms was left when the lookup could begin.

        Cancellation: a lookup under way is abandoned; it holds its thread until it ends.
        """
        try:
            found = await self._found(host, port)
        except OSError as error:
            raise Unreachable(f"{host} does not resolve: {error.strerror or error}") from error
        except UnicodeError as error:
            raise Unreachable(f"{host} is not the name of a host: {error}") from error
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        for text in addresses:
            self.check(host, text)
        return addresses

    async def _found(self, host: str, port: int) -> list[Any]:
        with contextlib.suppress(OSError):  # an address in any spelling: it blocks nothing
            return socket.getaddrinfo(
                host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
            )
        if _has_custom_resolver():
            return await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return await self.threads.run(lambda _left_s: self.lookup(host, port))

    def check(self, host: str, text: str) -> None:
        """Refuse the address `text` of `host` unless it is allowed.

        Raises:
            Unreachable: It is not.
        """
        address = _plain(ipaddress.ip_address(text.partition("%")[0]))
        if address in _METADATA:
            raise Unreachable(f"{host} is a cloud's metadata address: never connected to")
        if self.allow_private or address.is_global:
            return
        if self.loopback_host == host and address.is_loopback:
            return
        raise Unreachable(f"{host} is {address}, a private address: needs allow_private = true")


def _has_custom_resolver() -> bool:
    """Whether Trio was given one for this run; it has no other way to ask."""
    resolver = trio.socket.set_custom_hostname_resolver(None)
    trio.socket.set_custom_hostname_resolver(resolver)
    return resolver is not None


def _is_loopback(host: str) -> bool:
    try:
        return _plain(ipaddress.ip_address(host)).is_loopback
    except ValueError:
        return host == "localhost"
