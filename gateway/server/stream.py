"""One request on HTTP/2 and its answer: the ASGI `receive` and `send` of a stream.

Source: RFC 9113, section 8; https://asgi.readthedocs.io/en/latest/specs/www.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import trio
from h2.errors import ErrorCodes

from gateway.net.asgi import PEER
from gateway.server.answering import Answering
from gateway.server.fields import Answer
from gateway.server.heads import Refused
from gateway.server.wire import Gone

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

    from gateway.net.asgi import Scope
    from gateway.server.fields import Request
    from gateway.server.http2 import Http2

__all__ = ["Stream"]

_ASGI = {"version": "3.0", "spec_version": "2.4"}


class Stream(Answering[Answer]):
    """One request, and its answer. To the application it is also its `Peer`.

    What the client sends of a body waits here until the application takes it; only then is the
    client told to send on, so that a stream keeps no more than its window.

    Args:
        connection: Where it came from.
        number: The stream's.
        request: What is asked.

    Attributes:
        left: Whether the client has left: the connection, or this stream alone.
        cancels: Cancelled when the client leaves; whoever works for it sets it.
    """

    __slots__ = (
        "_bodyless",
        "_connection",
        "_ended",
        "_lost",
        "_news",
        "_owed",
        "_pending",
        "_refused",
        "_request",
        "_sent",
        "_told",
        "_unacknowledged",
        "cancels",
        "left",
        "number",
    )

    _head_of = Answer

    def __init__(self, connection: Http2, number: int, request: Request) -> None:
        super().__init__()
        self._connection = connection
        self.number = number
        self._request = request
        self._pending = bytearray()
        self._unacknowledged = 0
        self._ended = False
        self._told = False
        self._news = trio.Event()
        self._sent = False
        self._bodyless = False
        self._owed: int | None = None
        self._lost = False
        self._refused: Refused | None = None
        self.left = False
        self.cancels: trio.CancelScope | None = None

    def scope(self, about: Mapping[str, Any]) -> Scope:
        """The request's ASGI scope.

        Args:
            about: What is the same for all of the connection's.
        """
        request = self._request
        raw_path, _, query = request.target.partition(b"?")
        return {
            "type": "http",
            "asgi": _ASGI,
            "http_version": "2",
            "method": request.method,
            "path": unquote(raw_path.decode("ascii")),
            "raw_path": raw_path,
            "query_string": query,
            "root_path": "",
            "headers": request.headers,
            "extensions": {PEER: self},
            **about,
        }

    # ------------------------------------------------------------------ what the client does

    def feed(self, data: bytes, size: int) -> None:
        """Keep a piece of the body.

        Args:
            data: The piece.
            size: What it takes of the stream's window: padding counts.
        """
        self._pending += data
        self._unacknowledged += size
        self._news.set()

    def end(self) -> None:
        """Take note that the request is whole."""
        self._ended = True
        self._news.set()

    def leave(self) -> None:
        """Take note that the client has left."""
        self.left = True
        if self.cancels is not None:
            self.cancels.cancel()
        self._news.set()

    # ------------------------------------------------------------------ from the client

    def body_at_hand(self) -> bytes | None:
        """The whole body if it was read already; then `receive` does not give it any more."""
        if self._told or self.left or not self._ended:
            return None
        self._told = True
        return self._taken()

    async def receive(self) -> MutableMapping[str, Any]:
        """The client's next message: the ASGI `receive`.

        Cancellation: nothing is lost; it may be called again.
        """
        if not self._told and not self.left:
            await self._until_piece()
            if not self.left:
                self._told = self._ended
                return {
                    "type": "http.request",
                    "body": self._taken(),
                    "more_body": not self._told,
                }
        while not self.left and not self._finished:
            await self._until_news()
        return {"type": "http.disconnect"}

    async def _until_piece(self) -> None:
        timeout_s = self._connection.config.body_timeout
        while not self._pending and not self._ended and not self.left:
            if self._request.expects_continue and not self._sent:
                self._request.expects_continue = False
                self._connection.invite(self)
            with trio.move_on_after(timeout_s) as waiting:
                await self._until_news()
            if waiting.cancelled_caught:
                self._refused = Refused(408, f"the body stopped: nothing came for {timeout_s:g} s")
                self.leave()

    async def _until_news(self) -> None:
        self._news = trio.Event()
        await self._news.wait()

    def _taken(self) -> bytes:
        piece = bytes(self._pending)
        self._pending.clear()
        self._acknowledge()
        return piece

    def _acknowledge(self) -> None:
        if self._unacknowledged:
            self._connection.acknowledge(self.number, self._unacknowledged)
            self._unacknowledged = 0

    # ------------------------------------------------------------------ to the client

    async def _send(self, answer: Answer, body: bytes, *, more: bool) -> None:
        if self.left or self._lost:
            raise Gone("the client has left")
        if not self._sent:
            self._bodyless = self._request.method == "HEAD" or not answer.has_body
            self._owed = None if self._bodyless else answer.length
        if self._bodyless:
            body = b""
        if self._owed is not None:
            self._owed -= len(body)
            if self._owed < 0 or (self._owed and not more):
                raise RuntimeError("the application's body is not as long as its content-length")
        await self._write(answer, body, more=more)

    async def _write(self, answer: Answer, body: bytes, *, more: bool) -> None:
        ends_here = not more and not body
        begins = not self._sent
        # Cut short, the answer cannot be gone on with: nothing may follow it.
        self._lost = True
        if begins:
            self._sent = True
            self._connection.send_head(self, answer.fields, end=ends_here)
        if body or not (more or begins):
            await self._connection.send_body(self, body, end=not more)
        else:
            await trio.lowlevel.checkpoint()
        self._lost = False
        if not more:
            self._finished = True
            self._news.set()

    def conclude(self) -> None:
        """End the stream once the application has returned."""
        self._acknowledge()
        connection = self._connection
        if not self._sent and self._refused is not None:
            connection.refuse(self.number, self._refused)
        elif self.left:
            connection.reset(self.number, ErrorCodes.CANCEL)
        elif not self._sent:
            connection.refuse(self.number, None)
        elif not self._finished:
            # The client must not take for whole what is not.
            connection.reset(self.number, ErrorCodes.INTERNAL_ERROR)
