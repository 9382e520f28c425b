"""Which inbound protocol answers an ASGI connection; whom none does is told so."""

from __future__ import annotations

from gateway.access.browsers import BrowserGuard
from gateway.config.addresses import METHODS
from gateway.config.decoded import Config
from gateway.core.errors import GatewayError, NotFound
from gateway.inbound.front import Front, check_head, tell
from gateway.inbound.http import Http
from gateway.inbound.mcp import Mcp
from gateway.inbound.proxy import Proxies
from gateway.lifespan import Lifespan
from gateway.net.asgi import Incoming, Receive, Scope, Send, respond, with_headers

__all__ = ["Dispatch"]

_ALLOW = ("allow", ", ".join((*METHODS, "HEAD", "OPTIONS")))
"""What is answered somewhere, to a client that asks `OPTIONS *` of the gateway as a whole."""


class Dispatch:
    """Gives each request and each WebSocket to who answers on its path.

    Args:
        front: What they stand before.
        config: What the file says.
        life: When it is open.
        mcp: Answers on the path of MCP.
        proxies: Find who answers below theirs.
    """

    def __init__(
        self, front: Front, config: Config, life: Lifespan, mcp: Mcp, proxies: Proxies
    ) -> None:
        self._front = front
        self._life = life
        self._http = Http(front)
        self._mcp = mcp
        self._mcp_path = config.mcp.path
        self._proxies = proxies
        server = config.server
        self._max_headers = server.max_headers
        self._served = BrowserGuard(server.allowed_hosts, server.allowed_origins)
        # Mounted, the host's own rules come first, and only a list that was written counts.
        self._mounted = self._served
        if "server.allowed_hosts" not in config.explicit:
            self._mounted = BrowserGuard(None, server.allowed_origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or one WebSocket."""
        incoming = Incoming.of(scope)
        headers = incoming.headers
        browsers = self._mounted if scope.get("root_path") else self._served
        try:
            check_head(scope, max_bytes=self._max_headers)
            browsers.check(headers, scope.get("scheme", "http"))
            if not self._life.is_open:
                await self._life.welcome()
        except GatewayError as error:
            await self.turn_away(scope, send, error)
            return
        proxy = self._proxies.find(incoming.path)
        if scope["type"] == "websocket":
            if proxy is None:
                await self.turn_away(scope, send, NotFound("there is no WebSocket here"))
            else:
                await proxy.converse(incoming, receive, send)
            return
        if "origin" in headers:
            if scope["method"] == "OPTIONS":
                await respond(send, 204, browsers.cors_headers(headers, preflight=True))
                return
            send = with_headers(send, browsers.cors_headers(headers))
        if proxy is not None:
            await proxy(incoming, receive, send)
        elif incoming.path == self._mcp_path:
            await self._mcp(incoming, receive, send)
        elif incoming.path == "*" and scope["method"] == "OPTIONS":
            await respond(send, 204, [_ALLOW])  # RFC 9110, section 9.3.7: a ping
        else:
            await self._http(incoming, receive, send)

    async def turn_away(self, scope: Scope, send: Send, error: GatewayError) -> None:
        """Answer with `error`, and tell telemetry of it."""
        context = self._front.context(Incoming.of(scope), "http")
        self._front.refuse(context, error, duration_s=0)
        await tell(scope, send, error, context)
