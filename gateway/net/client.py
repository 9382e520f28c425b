"""The one factory of HTTP clients for services: what it gives can be replaced behind it.

HTTP/1.1 is our own (`http1.py`, on `pool.py` and `connection.py`); HTTP/2, where a service is told
to offer it, is httpx's (`http2.py`), imported only then.
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncIterator, Sequence
from typing import NotRequired, TypedDict, Unpack

import attrs

from gateway.core.adapter import Environment
from gateway.net.authorized import Authorized, Bearer
from gateway.net.background import in_the_background
from gateway.net.dial import Dialer
from gateway.net.guard import AddressGuard
from gateway.net.http1 import Http1Client
from gateway.net.messages import HttpClient, HttpReply, HttpRequest, HttpStream, Origin
from gateway.net.pool import Pool
from gateway.net.redirects import Redirecting

__all__ = [
    "ClientSettings",
    "HttpClient",
    "HttpReply",
    "HttpRequest",
    "HttpStream",
    "Origin",
    "open_client",
    "open_http1",
]


class _Kept(TypedDict):
    """What of `ClientSettings` an adapter says itself."""

    max_connections: int
    max_reply_bytes: int
    budget_header: str
    http2: NotRequired[bool]
    follow_redirects: NotRequired[bool]
    bearer: NotRequired[Bearer | None]


@attrs.frozen(slots=True, kw_only=True)
class ClientSettings:
    """What a client of one service keeps to.

    Args:
        guard: Which addresses it may connect to.
        max_connections: Connections, and so requests under way, at once.
        max_reply_bytes: Largest reply body, decompressed.
        tls: Whether https may be spoken; without it no certificate is trusted, and loading the
            system's takes 40 ms a service.
        http2: Whether HTTP/2 is offered over TLS.
        budget_header: Carries what remains of the budget in whole milliseconds; in lower case.
        follow_redirects: Whether 3xx are followed, up to 10; the guard holds for each, and to
            another origin go harmless headers alone.
        bearer: Where the tokens come from that requests carry; `None` for none. It is open.
    """

    guard: AddressGuard
    max_connections: int
    max_reply_bytes: int
    budget_header: str
    tls: bool = True
    http2: bool = False
    follow_redirects: bool = False
    bearer: Bearer | None = None

    @classmethod
    def of(
        cls,
        origins: Sequence[Origin],
        environment: Environment,
        *,
        allow_private: bool,
        **kept: Unpack[_Kept],
    ) -> ClientSettings:
        """What a client keeps to of the service that `environment` tells of.

        TLS is there if one of its URLs, or a redirect, may want it.

        Args:
            origins: Whom its URLs name.
            environment: What the gateway gives it.
            allow_private: Whether private addresses may be connected to.
            kept: The rest.
        """
        guard = AddressGuard.of(origins, environment, allow_private=allow_private)
        tls = any(origin.scheme == "https" for origin in origins)
        return cls(guard=guard, tls=tls or kept.get("follow_redirects", False), **kept)


@contextlib.asynccontextmanager
async def open_client(settings: ClientSettings) -> AsyncIterator[HttpClient]:
    """A client for one service; leaving the context closes its connections."""
    async with contextlib.AsyncExitStack() as stack:
        client: HttpClient
        if settings.http2 and settings.tls:
            from gateway.net.http2 import open_http2  # noqa: PLC0415 - httpx takes 0.1 s

            client = await stack.enter_async_context(open_http2(settings))
        else:
            client = await stack.enter_async_context(open_http1(settings))
        if settings.follow_redirects:
            client = Redirecting(client)
        # Around redirects: a token goes to the service alone.
        yield client if settings.bearer is None else Authorized(client, settings.bearer)


@contextlib.asynccontextmanager
async def open_http1(
    settings: ClientSettings, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Http1Client]:
    """A client that speaks HTTP/1.1 and follows no redirects.

    Args:
        settings: What it keeps to.
        tls: Whom https trusts; by default the system's authorities, if `settings` has `tls`.
    """
    if tls is None and settings.tls:
        tls = ssl.create_default_context()
    pool = Pool(Dialer(settings.guard, tls).connect, settings.max_connections)
    async with in_the_background(pool.expire, "what closes idle connections"):
        try:
            yield Http1Client(pool, settings.budget_header, settings.max_reply_bytes)
        finally:
            pool.close()
