"""One WebSocket: a client's, and ours to the service, message by message.

Source: RFC 6455; https://asgi.readthedocs.io/en/latest/specs/www.html, WebSocket.
"""

from __future__ import annotations

import math
from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any

import trio

from gateway.core.deadline import budget_of
from gateway.core.errors import BadReply, DeadlineExceeded, GatewayError, Overloaded
from gateway.core.messages import Context
from gateway.inbound.front import denying
from gateway.inbound.proxy.asking import ask, why_none
from gateway.inbound.proxy.heads import answer_headers
from gateway.net.asgi import ClientLeft, Incoming, Receive, Send, peer_of
from gateway.net.connection import Connection
from gateway.net.websocket import Closed, Handshake, WebSocket

if TYPE_CHECKING:
    from gateway.inbound.proxy.proxy import Proxy

__all__ = ["Conversation"]

_NORMAL = 1000
_GOING_AWAY = 1001
_ABNORMAL = 1006
_FAILED = 1011
_RESTARTING = 1012
_GOODBYE_S = 1.0
"""For the service to take a close when there is no client any more."""
_UNSAID = frozenset({1005, 1006, 1015})
"""Codes that say how a connection ended without one: they are never sent (RFC 6455, 7.4.1)."""


class Conversation:
    """One WebSocket's way through.

    Args:
        proxy: Which way.
        incoming: The handshake.
        receive: Its ASGI `receive`.
        send: Its `telling_of_leaving`.
        context: Who sends it.

    Attributes:
        begun: Whether the handshake was answered.
        for_token: As `Asker`.
    """

    def __init__(
        self, proxy: Proxy, incoming: Incoming, receive: Receive, send: Send, context: Context
    ) -> None:
        self._proxy = proxy
        self._incoming = incoming
        self._receive = receive
        self._send = send
        self._context = context
        self._service: WebSocket | None = None
        self._left: int | None = None
        self._failure: GatewayError | None = None
        self.begun = False
        self.for_token = False

    async def run(self) -> None:
        """Carry messages until either side closes.

        Raises:
            GatewayError: The service could not be reached, or broke the conversation off.
            ClientLeft: The client was gone.

        Cancellation: closes the service's connection.
        """
        await self._receive()  # websocket.connect
        proxy = self._proxy
        timeout_s = min(budget_of(self._context.headers), proxy.deadline_s)
        with proxy.front.within(timeout_s) as limit:
            await self._both_ways(limit)
        if self._left is not None:
            if self._left in _UNSAID:
                raise ClientLeft
            return
        if limit.cancelled_caught:
            self._failure = self._why_cut()
        if self._failure is not None:
            if self._service is not None:
                code = _RESTARTING if limit.cancelled_caught else _FAILED
                await self._send({"type": "websocket.close", "code": code})
            raise self._failure

    def _why_cut(self) -> GatewayError:
        if self._service is None:
            return DeadlineExceeded(why_none(self))
        return Overloaded("the gateway is closing")

    async def _both_ways(self, limit: trio.CancelScope) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._listen, nursery.cancel_scope)
            try:
                await self._talk(limit)
            except GatewayError as error:
                self._failure = self._failure or error
            nursery.cancel_scope.cancel()

    async def _listen(self, both: trio.CancelScope) -> None:
        """Carry what the client says to the service; its leaving ends the conversation."""
        try:
            goodbye = await self._hear_out()
            self._left = goodbye.get("code") or 1005
            await self._take_leave(self._left, goodbye.get("reason") or "")
        except GatewayError as error:
            self._failure = self._failure or error
        both.cancel()

    async def _hear_out(self) -> MutableMapping[str, Any]:
        """Carry the client's messages to the service; the one that says that it has left."""
        peer = peer_of(self._incoming.scope)
        try:
            # A service that does not read must not keep from us that the client has left.
            with trio.CancelScope() as staying:
                if peer is not None:
                    peer.cancels = staying
                while (message := await self._receive())["type"] != "websocket.disconnect":
                    if self._service is not None:
                        text = message.get("text")
                        await self._service.send(message["bytes"] if text is None else text)
                return message
        finally:
            if peer is not None:
                peer.cancels = None
        return await self._receive()

    async def _take_leave(self, code: int, reason: str) -> None:
        """Tell the service, if it takes that at once, that the client has left."""
        if self._service is not None:
            with trio.move_on_after(_GOODBYE_S):
                await self._service.close(_GOING_AWAY if code in _UNSAID else code, reason)

    async def _talk(self, limit: trio.CancelScope) -> None:
        """Shake hands with the service, and carry what it says to the client."""
        adapter = self._proxy.adapter
        scope = self._incoming.scope
        target = self._proxy.heads.target(self._incoming.path, scope["query_string"])
        head, _ = self._proxy.heads.head(scope, "GET", target, self._context)
        handshake = Handshake(scope.get("subprotocols", []))
        pool = adapter.http1.pool
        connection = await ask(self, adapter, "GET", head + handshake.lines, None, upgrades=True)
        try:
            if connection.reply.status != 101:
                await self._refuse(connection)
                return
            subprotocol = handshake.check(connection.reply.headers)
            self._service = WebSocket(
                connection, max_message=adapter.max_reply, idle_s=self._proxy.idle_s
            )
            self._proxy.front.prolong(limit, math.inf)
            await self._accept(connection, subprotocol)
            await self._carry(self._service)
        except ClientLeft:
            self._left = self._left or _ABNORMAL
            await self._take_leave(self._left, "")
        finally:
            pool.give_back(connection)

    async def _refuse(self, connection: Connection) -> None:
        """Give the answer of a service that does not want the WebSocket."""
        if "websocket.http.response" not in self._incoming.scope.get("extensions", {}):
            raise BadReply(f"the service answered {connection.reply.status} to the handshake")
        reply, send = connection.reply, denying(self._send)
        headers = answer_headers(reply.headers, self._context.request_id)
        self.begun = True
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        more = True
        while more:
            piece = await connection.receive()
            more = not reply.ended
            await send({"type": "http.response.body", "body": piece, "more_body": more})

    async def _accept(self, connection: Connection, subprotocol: str | None) -> None:
        kept = answer_headers(connection.reply.headers, self._context.request_id)
        headers = [header for header in kept if not header[0].startswith(b"sec-websocket-")]
        self.begun = True
        await self._send(
            {"type": "websocket.accept", "subprotocol": subprotocol, "headers": headers}
        )

    async def _carry(self, service: WebSocket) -> None:
        """Carry what the service says to the client, until it closes."""
        try:
            while True:
                message = await service.receive()
                kind = "text" if isinstance(message, str) else "bytes"
                await self._send({"type": "websocket.send", kind: message})
        except Closed as closed:
            code = _NORMAL if closed.code in _UNSAID else closed.code
            await self._send({"type": "websocket.close", "code": code, "reason": closed.reason})
