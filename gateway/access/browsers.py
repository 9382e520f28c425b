"""Which hosts and origins are answered.

A page that a browser loaded from elsewhere must not reach a gateway on the user's machine: its
`Origin` is not allowed, and a name that was rebound to our address is not an allowed `Host`. A page
that came from the gateway itself, through a proxy of it, is from nowhere else.

Source: Fetch (CORS protocol); RFC 6454, section 7; MCP 2025-11-25, Transports, Security Warning.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping

from gateway.core.errors import Forbidden

__all__ = ["BrowserGuard", "hostname", "is_address"]

_HOST = re.compile(r"(?:\[([^\[\]]+)\]|([^:\[\]]+))(?::[0-9]{0,5})?")
_ALLOWED_HEADERS = (
    "authorization, content-type, x-request-id, x-request-timeout-ms, grpc-timeout, "
    "x-envoy-expected-rq-timeout-ms, traceparent, "
    "mcp-protocol-version, mcp-session-id, mcp-method, mcp-name, last-event-id"
)
_EXPOSED_HEADERS = "x-request-id, x-gateway-partial, retry-after, mcp-session-id"

_MAX_PASSED = 1000
"""`Host` values that are remembered as allowed: a port apart, they are few."""


class BrowserGuard:
    """Refuses hosts and origins that are not allowed.

    Args:
        hosts: `Host` values answered, ports aside; `*` answers all; `None` does not look.
        origins: `Origin` values answered; `*` answers all. Beside them, if `hosts` is a list, the
            one that a request's own scheme and `Host` make.
    """

    def __init__(self, hosts: tuple[str, ...] | None, origins: tuple[str, ...]) -> None:
        self._hosts: frozenset[str] | None = None
        if hosts is not None and "*" not in hosts:
            # An IPv6 address may be written with its brackets or without.
            self._hosts = frozenset(hostname(host) or host.lower() for host in hosts)
        self._passed: set[str] = set()
        self._origins = frozenset(origin.lower().rstrip("/") for origin in origins)

    def check(self, headers: Mapping[str, str], scheme: str) -> None:
        """Let the request with these headers pass.

        Args:
            headers: The request's, names in lower case.
            scheme: Its ASGI scope's: `http`, `https`, `ws` or `wss`.

        Raises:
            Forbidden: Its host or its origin is not allowed.
        """
        host = headers.get("host", "")
        if self._hosts is not None and host not in self._passed:
            name = hostname(host)
            if not name or name not in self._hosts:
                raise Forbidden(f"the host {host[:100]!r} is not in server.allowed_hosts")
            if len(self._passed) < _MAX_PASSED:
                self._passed.add(host)
        origin = headers.get("origin")
        if origin is not None and not (self._answers(origin) or self._is_own(origin, scheme, host)):
            raise Forbidden(f"the origin {origin[:100]!r} is not in server.allowed_origins")

    def cors_headers(
        self, headers: Mapping[str, str], *, preflight: bool = False
    ) -> list[tuple[str, str]]:
        """What lets a page of an allowed origin read the answer; nothing for anyone else."""
        origin = headers.get("origin")
        if origin is None or not self._answers(origin):
            return []
        answer = [("access-control-allow-origin", origin), ("vary", "origin")]
        if preflight:
            return [
                *answer,
                ("access-control-allow-methods", "GET, POST, PUT, PATCH, DELETE"),
                ("access-control-allow-headers", _ALLOWED_HEADERS),
                ("access-control-max-age", "600"),
            ]
        return [*answer, ("access-control-expose-headers", _EXPOSED_HEADERS)]

    def _is_own(self, origin: str, scheme: str, host: str) -> bool:
        """Whether `origin` is where the request goes to, under a name that nobody can rebind."""
        if self._hosts is None:
            return False  # where any name is answered, a rebound one is its pages' own origin
        secure = "s" if scheme in {"https", "wss"} else ""
        return origin.lower() == f"http{secure}://{host.lower()}"

    def _answers(self, origin: str) -> bool:
        return "*" in self._origins or origin.lower() in self._origins


def hostname(host: str) -> str:
    """`host` without its port and an IPv6 address's brackets, in lower case; empty if it is none.

    Args:
        host: A `Host` header's value.

    Source: RFC 9110, section 7.2; RFC 3986, section 3.2.
    """
    match = _HOST.fullmatch(host)
    return (match[1] or match[2]).lower() if match else ""


def is_address(name: str) -> bool:
    """Whether `name`, as `hostname` gives it, is an IP address: nobody can rebind one."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
