"""Redirects: each is a request of its own, and secrets stay at home.

Source: RFC 9110, section 15.4; WHATWG Fetch, HTTP-redirect fetch.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

import msgspec

from gateway.core.errors import BadReply
from gateway.net.links import resolved
from gateway.net.messages import HttpClient, HttpReply, HttpRequest, HttpStream, Origin

__all__ = ["Redirecting"]

_MAX_REDIRECTS = 10
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_HARMLESS = frozenset(
    {"accept", "accept-encoding", "accept-language", "content-type", "traceparent", "user-agent"}
)
"""What goes along to another origin; everything else may be a secret."""
_OF_A_BODY = frozenset({"content-encoding", "content-language", "content-location", "content-type"})


class Redirecting:
    """A client that follows redirects, up to 10.

    Args:
        client: Sends each request: whether an address may be connected to it asks anew.

    Attributes:
        client: As above.
    """

    def __init__(self, client: HttpClient) -> None:
        self.client = client

    async def send(self, request: HttpRequest, /) -> HttpReply:
        """As `HttpClient`: the reply that is no redirect."""
        reply = await self.client.send(request)
        redirects = 0
        while reply.status in _REDIRECTS and (location := reply.header("location")):
            redirects += 1
            if redirects > _MAX_REDIRECTS:
                raise BadReply(f"over {_MAX_REDIRECTS} redirects")
            request = _following(request, reply.status, location)
            reply = await self.client.send(request)
        return reply

    def stream(self, request: HttpRequest, /) -> AbstractAsyncContextManager[HttpStream]:
        """As `HttpClient`: redirects come as they are."""
        return self.client.stream(request)


def _following(request: HttpRequest, status: int, location: str) -> HttpRequest:
    """The request that a redirect leads to.

    Raises:
        BadReply: It leads to no HTTP.
    """
    origin, target = _resolved(request, location)
    dropped: set[str] = set()
    if origin != request.origin:
        # `host` was written for the origin; the new one has its own.
        dropped = {name.lower() for name, _ in request.headers}
        dropped = {"host"} if _is_safer(request.origin, origin) else dropped - _HARMLESS
    changed = msgspec.structs.replace(request, origin=origin, target=target)
    if _becomes_get(request.method, status):
        dropped |= _OF_A_BODY
        changed = msgspec.structs.replace(changed, method="GET", content=None, content_length=None)
    headers = tuple(header for header in request.headers if header[0].lower() not in dropped)
    return msgspec.structs.replace(changed, headers=headers)


def _resolved(request: HttpRequest, location: str) -> tuple[Origin, str]:
    try:
        return resolved(request.origin, request.target, location)
    except ValueError as error:
        raise BadReply(f"the redirect is not to HTTP: {error}") from error


def _becomes_get(method: str, status: int) -> bool:
    """As browsers have it: 303 always, 302 too, 301 for a POST."""
    return (status in {302, 303} and method != "HEAD") or (status == 301 and method == "POST")


def _is_safer(origin: Origin, target: Origin) -> bool:
    """Whether it is the same host, by https instead of http: everything goes along."""
    safer = (origin.scheme, origin.port, target.scheme, target.port) == ("http", 80, "https", 443)
    return safer and origin.host == target.host
