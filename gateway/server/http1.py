"""HTTP/1.1 and 1.0 on llhttp: requests of one connection, each answered in the connection's task.

No task, channel or event is made for a request: the application is awaited where its request was
read, its `receive` reads the connection itself, and an answer's head leaves with the first of its
body. While it runs nobody reads, so a client that sends on is held back by its own full buffers;
its leaving is seen by `leaving.py`.

Source: RFC 9112; https://asgi.readthedocs.io/en/latest/specs/www.html
"""

from __future__ import annotations

import contextvars
import types
from collections.abc import Awaitable, Callable, Generator, Mapping
from typing import TYPE_CHECKING, Any, Literal

import attrs
import trio

from gateway.server.answers import refusal
from gateway.server.containment import contained
from gateway.server.exchange import Exchange
from gateway.server.heads import HTTP2_PREFACE, Head, Refused, check_partial_head, parse_head

if TYPE_CHECKING:
    from gateway.net.asgi import ASGIApp
    from gateway.server.bounds import ConnectionConfig
    from gateway.server.wire import Wire

__all__ = ["Http1", "Takeover"]

_AHEAD_BYTES = 64 * 1024
_MAX_EMPTY = 16


@attrs.frozen(slots=True)
class Takeover:
    """The client speaks something else from here on.

    Args:
        protocol: What.
        data: What of it was read already.
        handshake: A WebSocket's.
    """

    protocol: Literal["h2", "websocket"]
    data: bytes
    handshake: Head | None = None


class Http1:
    """The requests of one connection, one after the other.

    Args:
        app: What answers them.
        wire: The connection's bytes.
        config: Its bounds.
        about: What every request's scope says of it.
        watched: Whether `left` will be called when the client leaves.
        waiting: Called with whether the next request is waited for; says whether the
            connection goes on.
        draining: Whether the connection ends after the answer under way.
        report: Takes what an application raised.

    Attributes:
        first: Whether no request has come yet.
        gone: Whether the client has left.
    """

    __slots__ = (
        "_about",
        "_app",
        "_at",
        "_data",
        "_exchange",
        "_report",
        "_waiting",
        "config",
        "draining",
        "first",
        "gone",
        "watched",
        "wire",
    )

    def __init__(
        self,
        app: ASGIApp,
        wire: Wire,
        config: ConnectionConfig,
        *,
        about: Mapping[str, Any],
        watched: bool,
        waiting: Callable[[bool], bool],
        draining: Callable[[], bool],
        report: Callable[[BaseException], None],
    ) -> None:
        self._app = app
        self.wire = wire
        self.config = config
        self._about = about
        self.watched = watched
        self._waiting = waiting
        self._report = report
        self._data = b""
        self._at = 0
        self._exchange: Exchange | None = None
        self.first = True
        self.draining = draining
        self.gone = False

    def left(self) -> None:
        """Take note that the client has left: what is done for it ends."""
        self.gone = True
        if self._exchange is not None:
            self._exchange.leave()

    async def run(self) -> Takeover | None:
        """Answer requests until the connection is to be closed, or speaks something else.

        Raises:
            Gone: The client left, or did not read.

        Cancellation: the request under way ends; the connection cannot be used any more.
        """
        try:
            while True:
                raw = await self._next_head()
                if raw is None:
                    return None
                if isinstance(raw, Takeover):
                    return raw
                self.first = False
                head = parse_head(raw, self._about["scheme"])
                if head.upgrade is not None:
                    return Takeover(head.upgrade, self._data[self._at :], head)
                if not await self._answer(head):
                    return None
        except Refused as refused:
            await self.wire.send(refusal(refused))
            return None

    # ------------------------------------------------------------------ a request's head

    async def _next_head(self) -> bytes | Takeover | None:
        """The bytes of the next head, taken from what was read; `None` at the connection's end."""
        data = self._data
        at = _past_empty_lines(data, self._at)
        while at >= len(data):
            if not self.first and self.draining():
                return None
            data = await self._awaited()
            if not data:
                return None
            at = _past_empty_lines(data, 0)
        end = data.find(b"\r\n\r\n", at)
        if end < 0:
            data, at = await self._whole_head(data[at:]), 0
            if not data:
                return None
            end = data.find(b"\r\n\r\n")
        raw = data[at : end + 4]
        if len(raw) > self.config.max_headers:
            raise self._too_large()
        if raw == HTTP2_PREFACE[: len(raw)] and self.config.http2_prior_knowledge:
            return Takeover("h2", data[at:])
        self._data, self._at = data, end + 4
        return raw

    async def _awaited(self) -> bytes:
        """What comes next on a connection that waits; empty if it is to be closed."""
        self._data, self._at = b"", 0
        self._waiting(True)
        data = await self.wire.receive()
        # What has come while it was being closed is not begun: its client sees no answer at all,
        # and may ask again.
        return data if self._waiting(False) else b""

    async def _whole_head(self, data: bytes) -> bytes:
        """Read on until a head is whole; empty if the client left before."""
        buffer = bytearray(data)
        with trio.move_on_after(self.config.header_timeout):
            while True:
                del buffer[: _past_empty_lines(buffer, 0)]
                if b"\r\n\r\n" in buffer:
                    return bytes(buffer)
                check_partial_head(buffer)
                if len(buffer) > self.config.max_headers:
                    raise self._too_large()
                more = await self.wire.receive()
                if not more:
                    return b""
                buffer += more
        raise Refused(408, "the request's head did not come in time")

    def _too_large(self) -> Refused:
        return Refused(431, f"the request's head is over {self.config.max_headers} bytes")

    # ------------------------------------------------------------------ a request

    async def _answer(self, head: Head) -> bool:
        """Have the application answer one request; whether the connection goes on after it."""
        self._exchange = exchange = Exchange(self, head)
        try:
            try:
                await in_new_context(
                    self._app(exchange.scope(self._about), exchange.receive, exchange.send)
                )
            except BaseException:
                with contained(self._report):
                    raise
            return await exchange.conclude()
        finally:
            self._exchange = None

    def at_hand(self) -> bytes:
        """What was read already, and not taken; it is now."""
        data, at = self._data, self._at
        if at >= len(data):
            return b""
        self._data, self._at = b"", 0
        return data[at:]

    def give_back(self, data: bytes) -> None:
        """Have `data` read again: it belongs to the next request."""
        self._data, self._at = data, 0

    async def until_left(self) -> None:
        """Wait for the client to leave where nobody tells: read ahead, as far as is cheap."""
        while len(self._data) - self._at < _AHEAD_BYTES:
            data = await self.wire.receive()
            if not data:
                self.left()
                return
            self._data, self._at = self._data[self._at :] + data, 0
        await trio.sleep_forever()


def _past_empty_lines(data: bytes | bytearray, at: int) -> int:
    """Where a head begins: old clients leave a line's end behind a body (RFC 9112, section 2.2)."""
    begin = at
    while data.startswith(b"\r\n", at):
        at += 2
    if at - begin > _MAX_EMPTY:
        raise Refused(400, "expected a request, got empty lines")
    return at


@types.coroutine
def in_new_context(work: Awaitable[None]) -> Generator[Any, Any, None]:
    """Await `work` in a copy of the context, so that no request sees what another has set."""
    run = contextvars.copy_context().run
    send = work.__await__().send
    value = None
    while True:
        try:
            trap = run(send, value)
        except StopIteration:
            return
        # Trio only ever sends: what it has to raise is raised by the function that has yielded.
        value = yield trap
