"""Which addresses may be connected to: the address that is checked is the one connected to.

A name may resolve to anything, and to something else a moment later (DNS rebinding); so the
resolved address is checked, and that very address is connected to.

Source: OWASP, Server-Side Request Forgery Prevention; RFC 6890 for the special-purpose ranges.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import attrs
import trio

from gateway.core.adapter import Environment
from gateway.core.errors import Unreachable
from gateway.net.messages import Origin
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
_LOCAL_NAT64 = ipaddress.ip_network("64:ff9b:1::/48")
"""RFC 8215: an operator's own, so an IPv4 address may stand in it in any of RFC 6052's ways."""

_GLOBAL_V6 = ipaddress.ip_network("2000::/3")
"""The only part of IPv6 that global unicast addresses are given out from."""

_SPECIAL = tuple(
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8",  # this network, RFC 791
        "10.0.0.0/8",  # private, RFC 1918
        "100.64.0.0/10",  # carriers' own, RFC 6598
        "127.0.0.0/8",  # loopback, RFC 1122
        "169.254.0.0/16",  # link-local, RFC 3927
        "172.16.0.0/12",  # private, RFC 1918
        "192.0.0.0/24",  # IETF protocols, RFC 6890
        "192.0.2.0/24",  # documentation, RFC 5737
        "192.88.99.0/24",  # 6to4 relays, RFC 7526
        "192.168.0.0/16",  # private, RFC 1918
        "198.18.0.0/15",  # benchmarks, RFC 2544
        "198.51.100.0/24",  # documentation, RFC 5737
        "203.0.113.0/24",  # documentation, RFC 5737
        "224.0.0.0/4",  # multicast, RFC 1112
        "240.0.0.0/4",  # reserved, RFC 1112; broadcast, RFC 919
        "2001::/23",  # IETF protocols, RFC 2928: Teredo, ORCHID, benchmarks
        "2001:db8::/32",  # documentation, RFC 3849
        "3fff::/20",  # documentation, RFC 9637
    )
)
"""Of the rest, what is not for everyone: our own table, for Python's changes with its patches.

Source: RFC 6890; IANA, IPv4 and IPv6 Special-Purpose Address Registries.
"""


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


def _is_metadata(address: _Address) -> bool:
    if address in _METADATA:
        return True
    if address not in _LOCAL_NAT64:
        return False
    # RFC 6052, section 2.2: where the IPv4 address stands depends on the prefix's length, and
    # bits 64 to 71 are skipped.
    bits = int(address)
    skipping = (bits >> 64) << 56 | (bits & ((1 << 56) - 1))
    found = (bits, *(skipping >> (88 - prefix) for prefix in (48, 56, 64)))
    return any(ipaddress.IPv4Address(number & 0xFFFFFFFF) in _METADATA for number in found)


def _is_global(address: _Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address) and address not in _GLOBAL_V6:
        return False
    return not any(address in network for network in _SPECIAL)


def _lookup(host: str, port: int) -> list[Any]:
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)


def _some_threads() -> Threads:
    return Threads("", lambda _event: None, trio.CapacityLimiter(_LOOKUPS))


@attrs.frozen(slots=True)
class AddressGuard:
    """Says which addresses a service's connections may go to.

    Args:
        allow_private: Whether private, loopback and link-local ranges may be.
        loopback: Hosts and ports of the service's own URLs whose host is written as a loopback
            address or `localhost`: who writes that out means it.
        threads: Where names are looked up: the system's resolver blocks, and may hang.
        lookup: The system's resolver; a custom hostname resolver of Trio's goes before it.
    """

    allow_private: bool = False
    loopback: frozenset[tuple[str, int]] = frozenset()
    threads: Threads = attrs.field(factory=_some_threads, kw_only=True, eq=False, repr=False)
    lookup: Callable[[str, int], list[Any]] = attrs.field(default=_lookup, kw_only=True)

    @classmethod
    def of(
        cls, origins: Iterable[Origin], environment: Environment, *, allow_private: bool
    ) -> AddressGuard:
        """The guard of the service `environment` tells of, whose URLs name `origins`."""
        limiter = trio.CapacityLimiter(_LOOKUPS)
        threads = Threads(environment.service, environment.record, limiter)
        written = frozenset((each.host, each.port) for each in origins if _is_loopback(each.host))
        return cls(allow_private, written, threads=threads)

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
            reason = error.strerror or str(error)
            raise Unreachable(f"its name does not resolve: {reason}", where=host) from error
        except UnicodeError as error:
            raise Unreachable("its name is not that of a host", where=host) from error
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        for text in addresses:
            self.check(host, port, text)
        return addresses

    async def _found(self, host: str, port: int) -> list[Any]:
        with contextlib.suppress(OSError):  # an address in any spelling: it blocks nothing
            return socket.getaddrinfo(
                host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
            )
        if _has_custom_resolver():
            return await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return await self.threads.run(lambda _left_s: self.lookup(host, port))

    def check(self, host: str, port: int, text: str) -> None:
        """Refuse the address `text` of `host` unless `port` there may be connected to.

        Raises:
            Unreachable: It is not.
        """
        address = _plain(ipaddress.ip_address(text.partition("%")[0]))
        if _is_metadata(address):
            raise Unreachable(
                "its address is a cloud's metadata address: never connected to",
                where=f"{host} is {address}",
            )
        if self.allow_private or _is_global(address):
            return
        if (host, port) in self.loopback and address.is_loopback:
            return
        raise Unreachable(
            "its address is private: needs allow_private = true", where=f"{host} is {address}"
        )


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
