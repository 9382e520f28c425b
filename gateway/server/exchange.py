"""One request and its answer: the ASGI `receive` and `send` of a connection on HTTP/1.

Source: RFC 9112, sections 6, 7 and 9; RFC 9110, section 10.1.1 for `Expect`;
https://asgi.readthedocs.io/en/latest/specs/www.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

from gateway.net.asgi import FIELDS, PEER
from gateway.server.answering import Answering
from gateway.server.answers import AnswerHead, failure
from gateway.server.bodies import Chunked, Sized
from gateway.server.heads import Refused
from gateway.server.wire import Gone

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

    from gateway.net.asgi import Cancels, Scope
    from gateway.server.heads import Head
    from gateway.server.http1 import Http1

__all__ = ["Exchange"]

_ASGI = {"version": "3.0", "spec_version": "2.4"}
_JOINED_BYTES = 64 * 1024
"""A body up to this size is copied behind its head, so that both leave in one write."""
_NO_BODY = Sized(0)
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Exchange(Answering[AnswerHead]):
    """One request, and its answer. To the application it is also its `Peer`.

    Args:
        connection: Where it came from.
        head: The request's.

    Attributes:
        left: Whether the client has left.
        cancels: Cancelled when the client leaves; whoever works for it sets it.
    """

    __slots__ = (
        "_body",
        "_bodyless",
        "_chunked",
        "_connection",
        "_expected",
        "_head",
        "_keep_alive",
        "_leaving",
        "_lost",
        "_owed",
        "_pending",
        "_refused",
        "_sent",
        "_told",
        "cancels",
        "left",
    )

    _head_of = AnswerHead

    def __init__(self, connection: Http1, head: Head) -> None:
        super().__init__()
        self._connection = connection
        self._head = head
        self._body: Sized | Chunked
        if head.length is None:
            self._body = Chunked(connection.config.max_headers)
        else:
            self._body = Sized(head.length) if head.length else _NO_BODY
        self._pending = b""
        self._told = False
        self._sent = False
        self._bodyless = False
        self._chunked = False
        self._owed: int | None = None
        self._keep_alive = head.keep_alive
        self._expected = head.expects_continue
        self._lost = False
        self._refused: Refused | None = None
        self._leaving: trio.Event | None = None
        self.left = connection.gone
        self.cancels: Cancels | None = None

    def scope(self, about: Mapping[str, Any]) -> Scope:
        """The request's ASGI scope.

        Args:
            about: What is the same for all of the connection's.
        """
        head = self._head
        extensions: dict[str, object] = {FIELDS: head.fields}
        if self._connection.watched:
            extensions[PEER] = self
        return {
            "type": "http",
            "asgi": _ASGI,
            "http_version": "1.1" if head.is_1_1 else "1.0",
            "method": head.method,
            "path": head.path,
            "raw_path": head.raw_path,
            "query_string": head.query,
            "root_path": "",
            "headers": head.headers.copy(),
            "extensions": extensions,
            **about,
        }

    # ------------------------------------------------------------------ from the client

    def leave(self) -> None:
        """Take note that the client has left."""
        self.left = True
        if self.cancels is not None:
            self.cancels.cancel()
        if self._leaving is not None:
            self._leaving.set()

    def body_at_hand(self) -> bytes | None:
        """The whole body if it was read already; then `receive` does not give it any more."""
        if self._told:
            return None
        data = self._connection.at_hand()
        if data and not self._body.done:
            self._pending += self._taken(data)
        elif data:
            self._connection.give_back(data)
        if not self._body.done or self.left:
            return None
        self._told = True
        return self._pending

    async def receive(self) -> MutableMapping[str, Any]:
        """The client's next message: the ASGI `receive`.

        Cancellation: nothing is lost; it may be called again.
        """
        if not self._told and not self.left:
            piece = await self._piece()
            if not self.left:
                self._told = self._body.done
                return {"type": "http.request", "body": piece, "more_body": not self._told}
        elif not self.left and not self._finished:
            await self._until_left()
        return {"type": "http.disconnect"}

    async def _piece(self) -> bytes:
        """What comes next of the body; empty at its end, or if the client leaves before."""
        piece, self._pending = self._pending, b""
        connection = self._connection
        while not piece and not self._body.done and not self.left:
            data = connection.at_hand()
            if not data:
                if self._expected and not self._sent:
                    self._expected = False
                    await connection.wire.send(_CONTINUE)
                data = await self._more()
            piece = self._taken(data)
        return piece

    async def _more(self) -> bytes:
        timeout_s = self._connection.config.body_timeout
        with trio.move_on_after(timeout_s):
            return await self._connection.wire.receive()
        self._refused = Refused(408, f"the body stopped: nothing came for {timeout_s:g} s")
        return b""

    def _taken(self, data: bytes) -> bytes:
        """What of `data` is the body's; without any the client has left half-way."""
        try:
            piece = self._body.feed(data)
        except Refused as refused:
            self._refused = refused
            data = b""
        if not data:
            self.leave()
            return b""
        if self._body.done:
            self._connection.give_back(self._body.rest)
        return piece

    async def _until_left(self) -> None:
        if not self._connection.watched:
            await self._connection.until_left()
            return
        if self._leaving is None:
            self._leaving = trio.Event()
        await self._leaving.wait()

    # ------------------------------------------------------------------ to the client

    async def _send(self, answer: AnswerHead, body: bytes, *, more: bool) -> None:
        if self.left or self._lost:
            raise Gone("the client has left")
        head = b"" if self._sent else self._begin(answer, body, more=more)
        piece = self._framed(body, more=more)
        self._finished = not more
        self._sent = True
        wire = self._connection.wire
        # Cut short, what was sent has lost its framing: nothing may follow it.
        self._lost = True
        if len(piece) > _JOINED_BYTES and head:
            await wire.send(head)  # the copy would cost more than the write
            head = b""
        if head or piece:
            await wire.send(head + piece)
        self._lost = False

    def _begin(self, answer: AnswerHead, body: bytes, *, more: bool) -> bytes:
        """The answer's head, and with it how the body is framed."""
        length = answer.length
        heads_only = self._head.method == "HEAD"
        if length is None and not more and answer.has_body and (body or not heads_only):
            length = len(body)
        framing = b""
        if length is not None and answer.status != 204:
            framing = b"content-length: %d\r\n" % length
        elif answer.has_body and self._head.is_1_1:
            framing = b"transfer-encoding: chunked\r\n"
            self._chunked = True
        elif answer.has_body:
            self._keep_alive = False  # HTTP/1.0: the body ends with the connection
        self._bodyless = self._head.method == "HEAD" or not answer.has_body
        self._owed = None if self._bodyless else length
        if answer.closes or self._connection.draining() or not (more or self._body_is_over()):
            self._keep_alive = False
        if not self._keep_alive:
            framing += b"connection: close\r\n"
        elif not self._head.is_1_1:
            framing += b"connection: keep-alive\r\n"
        return answer.encoded(framing)

    def _framed(self, body: bytes, *, more: bool) -> bytes:
        """A piece of the body as it goes out."""
        if self._bodyless:
            return b""
        if self._chunked:
            chunk = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            return chunk if more else chunk + b"0\r\n\r\n"
        if self._owed is not None:
            self._owed -= len(body)
            if self._owed < 0:
                raise RuntimeError("the application's body is longer than its content-length")
        return body

    def _body_is_over(self) -> bool:
        """Whether the request's body needs no more reading; what is there of it is dropped."""
        if not self._body.done:
            data = self._connection.at_hand()
            if data:
                self._taken(data)
        return self._body.done

    async def conclude(self) -> bool:
        """End the exchange once the application has returned; whether the connection goes on.

        Raises:
            Refused: The request turned out malformed before an answer had begun.
            Gone: The answer was cut.
        """
        if not self._sent:
            if self._refused is not None:
                raise self._refused
            if not self.left:
                await self._connection.wire.send(failure())
            return False
        if self._lost or not self._finished or self._owed:
            # The client must not take for whole what is not.
            raise Gone("the answer was cut")
        return self._keep_alive and not self.left and self._body_is_over()
