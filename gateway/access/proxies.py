"""Whose word on the client's address counts."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import TypeAlias

__all__ = ["TrustedProxies"]

_Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


class TrustedProxies:
    """Finds the client's address behind proxies that are trusted.

    Each proxy appends the address it was called from to `x-forwarded-for`. So the list is read
    from its end, and the first address that is no trusted proxy's is the client's; what stands
    before it is the client's own word, and not believed.

    Args:
        networks: The proxies' addresses.
    """

    def __init__(self, networks: Sequence[_Network]) -> None:
        self._networks = tuple(networks)

    def client(self, peer: str, headers: Mapping[str, str]) -> str:
        """The client's address.

        Args:
            peer: The address that the connection came from; empty for a unix socket's.
            headers: The request's, names in lower case.
        """
        if not self.trusts(peer):
            return peer
        client = peer
        for hop in reversed(headers.get("x-forwarded-for", "").split(",")):
            address = hop.strip()
            if not _is_address(address):
                return client
            client = address
            if not self.trusts(address):
                return client
        return client

    def trusts(self, text: str) -> bool:
        """Whether `text` is the address of a proxy whose word counts."""
        if not self._networks or not _is_address(text):
            return False
        address = ipaddress.ip_address(text)
        return any(address in network for network in self._networks)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
