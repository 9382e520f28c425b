"""One request on its way through a proxy, and its answer on the way back.

Nothing is read ahead in either direction: a piece is asked for when the one before it was taken.
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, AsyncIterable, MutableMapping
from typing import TYPE_CHECKING, Any, TypeAlias

import trio

from gateway.config.units import format_duration
from gateway.core.deadline import budget_of
from gateway.core.errors import DeadlineExceeded, TooLarge
from gateway.core.messages import Context
from gateway.inbound.proxy.asking import ask, asking, why_none
from gateway.inbound.proxy.heads import Framing, answer_headers
from gateway.net.asgi import (
    ClientLeft,
    Incoming,
    Receive,
    Send,
    client_has_left,
    next_piece,
    peer_of,
    while_connected,
)
from gateway.net.connection import Connection

if TYPE_CHECKING:
    from gateway.inbound.proxy.proxy import Proxy

__all__ = ["Passage"]

Messages: TypeAlias = tuple[MutableMapping[str, Any], ...]

_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
"""Of these, a server that wants a length is told of none: RFC 9110, section 8.6."""


class Passage:
    """One request's way through.

    Args:
        proxy: Which way.
        incoming: The request.
        receive: Its ASGI `receive`.
        send: Its ASGI `send`.
        context: Who sends it.

    Attributes:
        begun: Whether its answer has: from then on no other can be given.
        for_token: As `Asker`.
    """

    __slots__ = (
        "_context",
        "_giving",
        "_incoming",
        "_latest",
        "_limit",
        "_over",
        "_proxy",
        "_receive",
        "_send",
        "begun",
        "for_token",
    )

    def __init__(
        self, proxy: Proxy, incoming: Incoming, receive: Receive, send: Send, context: Context
    ) -> None:
        self._proxy = proxy
        self._incoming = incoming
        self._receive = receive
        self._send = send
        self._context = context
        self._latest = math.inf
        self._limit: trio.CancelScope
        self._over = trio.Event()
        self._giving = False
        self.begun = False
        self.for_token = False

    async def run(self) -> None:
        """Pass the request on, and the answer back.

        Raises:
            GatewayError: It could not be; `begun` says whether the client knows of an answer.
            ClientLeft: The client left first; the service's connection is closed.

        Cancellation: closes the service's connection, and cuts the answer.
        """
        proxy, scope = self._proxy, self._incoming.scope
        proxy.check_method(scope["method"])
        budget_s = budget_of(self._context.headers)
        self._latest = trio.current_time() + budget_s
        await while_connected(scope, self._receive_after_body, self._in_time)

    async def _in_time(self) -> None:
        """Pass it on within the time there is; the client's leaving cancels the same scope."""
        proxy = self._proxy
        timeout_s = min(self._latest - trio.current_time(), proxy.deadline_s)
        with proxy.front.within(timeout_s) as self._limit:
            whole = await self._pass()
        if not self._limit.cancelled_caught:
            # Its service is done: how long a client may take for it is its server's to say.
            if whole:
                self.begun = True
                await self._give(*whole)
            return
        if client_has_left():
            raise ClientLeft
        raise DeadlineExceeded(self._why_late())

    def _why_late(self) -> str:
        if self.begun:
            idle = format_duration(self._proxy.idle_s)
            return f"nothing more came of the answer for {idle}, or the gateway is closing"
        return why_none(self)

    async def _pass(self) -> Messages:
        """Pass the request on; the answer, if it is whole and still to be given."""
        proxy, incoming = self._proxy, self._incoming
        scope = incoming.scope
        method: str = scope["method"]
        target = proxy.heads.target(incoming.path, scope["query_string"])
        head, framing = proxy.heads.head(scope, method, target, self._context)
        content = await self._content(framing)
        if isinstance(content, bytes):
            head = b"%bcontent-length: %d\r\n" % (head, len(content))
        elif content is None:
            if method in _WITH_BODY or framing.length == 0:
                head += b"content-length: 0\r\n"
        elif framing.length is None:
            head += b"transfer-encoding: chunked\r\n"
        else:
            head = b"%bcontent-length: %d\r\n" % (head, framing.length)
        adapter = proxy.adapter
        if not (content is None or isinstance(content, bytes)):
            async with asking(
                self, adapter, method, head, content, length=framing.length
            ) as connection:
                return await self._answer(connection)
        pool = adapter.http1.pool
        connection = await ask(self, adapter, method, head, content)
        try:
            return await self._answer(connection)
        finally:
            pool.give_back(connection)

    # ------------------------------------------------------------------ to the client

    async def _answer(self, connection: Connection) -> Messages:
        """Give the answer whose head came: each piece as it comes, the first with the head.

        Returns:
            The answer, if it came whole: then it is still to be given.
        """
        reply = connection.reply
        piece = b""
        # A body of a known size begins soon. Of a stream the head may be all there is for long.
        if connection.ready or reply.announced is not None:
            piece = await connection.receive()
        headers = answer_headers(reply.headers, self._context.request_id)
        messages: Messages = (
            {"type": "http.response.start", "status": reply.status, "headers": headers},
            {"type": "http.response.body", "body": piece, "more_body": not reply.ended},
        )
        if reply.ended:
            return messages
        self.begun = True
        self._wait_for_client()
        await self._give(*messages)
        more = True
        while more:
            self._giving = False
            self._wait_for_service()
            piece = await connection.receive()
            self._wait_for_client()
            more = not reply.ended
            await self._give({"type": "http.response.body", "body": piece, "more_body": more})
        return ()

    async def _give(self, *messages: MutableMapping[str, Any]) -> None:
        """Send these to the client.

        Raises:
            ClientLeft: It has left.
        """
        try:
            for message in messages:
                await self._send(message)
        except OSError as error:
            raise ClientLeft from error

    # ------------------------------------------------------------------ from the client

    async def _content(self, framing: Framing) -> bytes | AsyncIterable[bytes] | None:
        """The body: whole if it is at hand, none, or its pieces as they come."""
        scope = self._incoming.scope
        if framing.length is not None and framing.length > self._proxy.max_body:
            raise self._too_large()
        peer = peer_of(scope)
        announced = bool(framing.length) or framing.chunked
        if peer is not None and not announced and scope["http_version"].startswith("1"):
            return None
        body = None if peer is None else peer.body_at_hand()
        if body is None and announced:
            return self._pieces(b"")
        if body is None:
            # Of HTTP/2 the head does not say whether there is a body.
            body, more = await self._next_piece()
            if more:
                return self._pieces(body)
        self._over.set()
        if len(body) > self._proxy.max_body:
            raise self._too_large()
        return body or None

    async def _pieces(self, piece: bytes) -> AsyncGenerator[bytes]:
        """The body from `piece` on, as it comes."""
        size, more = 0, True
        try:
            while True:
                size += len(piece)
                if size > self._proxy.max_body:
                    raise self._too_large()
                if piece:
                    yield piece
                if not more:
                    break
                piece, more = await self._next_piece()
        finally:
            # A service that wants no more of it may go on answering for long.
            self._over.set()

    async def _next_piece(self) -> tuple[bytes, bool]:
        """What comes next of the body; the time it takes is the client's, not the service's."""
        timeout_s = math.inf if self.begun else self._latest - trio.current_time()
        self._proxy.front.prolong(self._limit, timeout_s)
        try:
            piece = await next_piece(self._receive, self._proxy.front.server.body_timeout)
        except OSError as error:  # the 100 that the client waits for could not be sent
            raise ClientLeft from error
        self._wait_for_service()
        return piece

    def _wait_for_service(self) -> None:
        """Start the time anew in which the service is to answer, or to go on answering."""
        proxy = self._proxy
        if self._giving:
            return  # some of the request came, but it is for the client to take its answer
        if self.begun:
            timeout_s = proxy.idle_s
        else:
            timeout_s = min(proxy.deadline_s, self._latest - trio.current_time())
        proxy.front.prolong(self._limit, timeout_s)

    def _wait_for_client(self) -> None:
        """Stop that time: how long a client may take for a piece is its server's to say."""
        self._giving = True
        self._proxy.front.prolong(self._limit, math.inf)

    def _too_large(self) -> TooLarge:
        return TooLarge(f"the body is over {self._proxy.max_body} bytes")

    async def _receive_after_body(self) -> MutableMapping[str, Any]:
        """What the client says once its body was read: that it leaves."""
        await self._over.wait()
        return await self._receive()
