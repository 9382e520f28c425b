"""A WebSocket: the application runs in the connection's task, another one reads.

What a client may cost is bounded: a message, decompressed, by `max_message`; what the application
has yet to receive, by as much again, and then nothing more is read; control frames by an allowance;
the closing handshake by a second; a client that does not read by `send_timeout`.

Source: RFC 6455; https://asgi.readthedocs.io/en/latest/specs/www.html
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from io import StringIO
from typing import TYPE_CHECKING, Any

import trio
from wsproto.frame_protocol import CloseReason, Frame, FrameProtocol, Opcode, ParseFailed

from gateway.net.asgi import PEER
from gateway.server.allowance import Allowance
from gateway.server.answers import AnswerHead, failure
from gateway.server.containment import contained
from gateway.server.handshake import Handshake, turned_away
from gateway.server.inbox import Inbox
from gateway.server.wire import Gone

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, MutableMapping

    from gateway.net.asgi import ASGIApp, Scope
    from gateway.server.bounds import ConnectionConfig
    from gateway.server.draining import Reason
    from gateway.server.heads import Head
    from gateway.server.wire import Wire

__all__ = ["CLOSE_CODES", "WebSocket"]

CLOSE_CODES: dict[Reason, int] = {"ending": 1001, "restarting": 1012}
"""What a client is told when the server ends, and when another one takes its place: come again."""

_ASGI = {"version": "3.0", "spec_version": "2.4"}
_SLICE_BYTES = 4 * 1024
"""So much is read before others have their turn: some 600 frames of the smallest."""
_SMALL = 32
"""A fragment of fewer bytes costs more than it brings."""
_CLOSE_S = 1.0
"""For the client's part of the closing handshake."""
_ABNORMAL = 1006
"""The code of a close that nobody announced."""


class _Inbound:
    """A message, as it comes together."""

    __slots__ = ("_bytes", "_size", "_text")

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._text: StringIO | None = None
        self._size = 0

    def add(self, data: str | bytes | bytearray) -> int:
        """Take a piece; the bytes there are now."""
        if isinstance(data, str):
            if self._text is None:
                self._text = StringIO()
            self._text.write(data)
            self._size += len(data) if data.isascii() else len(data.encode())
        else:
            self._bytes += data
            self._size += len(data)
        return self._size

    def whole(self) -> tuple[MutableMapping[str, Any], int]:
        """The message, for the application, and its bytes."""
        message: MutableMapping[str, Any] = {"type": "websocket.receive"}
        if self._text is not None:
            message["text"] = self._text.getvalue()
        else:
            message["bytes"] = bytes(self._bytes)
        return message, self._size


class WebSocket:
    """One WebSocket.

    Args:
        app: What talks to the client.
        wire: The connection's bytes.
        config: Its bounds.
        head: Its handshake.
        about: What the scope says of the connection.
        watched: Whether `left` will be called when the client leaves.
        report: Takes what the application raised.

    Attributes:
        gone: Whether the client has left, or is dropped.
    """

    def __init__(
        self,
        app: ASGIApp,
        wire: Wire,
        config: ConnectionConfig,
        *,
        head: Head,
        about: Mapping[str, Any],
        watched: bool,
        report: Callable[[BaseException], None],
    ) -> None:
        self._app = app
        self._wire = wire
        self._max_message = config.max_message
        self._head = head
        self._about = about
        self._watched = watched
        self._report = report
        self._handshake = Handshake(
            head, max_message=config.max_message, compression=config.websocket_compression
        )
        self._inbox = Inbox(config.max_message)
        self._cheap = Allowance(1000, 100)
        self._frames: FrameProtocol | None = None
        self._closing = False
        self._answer: int | None = None
        self._inbound = _Inbound()
        self._data = b""
        self._sending = trio.Lock()
        self._closed = trio.Event()
        self._dismissed: int | None = None
        self._refused = False
        self._denial: AnswerHead | None = None
        self._failed = False
        self._lost = False
        self.gone = False

    def left(self) -> None:
        """Take note that the client has left: what is done for it ends."""
        self.gone = True
        self._inbox.leave()
        self._closed.set()

    def dismiss(self, reason: Reason) -> None:
        """Have it end: its client is told why, and has a second to answer."""
        self._dismissed = CLOSE_CODES[reason]
        if self._frames is not None and not self._closed.is_set():
            self._tasks.start_soon(self._part, self._dismissed)

    async def run(self, data: bytes) -> None:
        """Serve the WebSocket until it is over.

        Args:
            data: What was read already, behind the handshake.

        Raises:
            Gone: The client left before it was answered.

        Cancellation: the application ends; the connection cannot be used any more.
        """
        self._data = data
        refusal = self._handshake.refusal()
        if refusal is not None:
            await self._wire.send(refusal)
            return
        self._inbox.put({"type": "websocket.connect"}, 0)
        async with trio.open_nursery() as self._tasks:
            with contained(self._fail):
                await self._app(self._scope(), self._inbox.receive, self.send)
            self._inbox.close()
            await self._conclude()
            self._tasks.cancel_scope.cancel()

    def _scope(self) -> Scope:
        head = self._head
        scheme = "wss" if self._about["scheme"] == "https" else "ws"
        return {
            "type": "websocket",
            "asgi": _ASGI,
            "http_version": "1.1",
            "path": head.path,
            "raw_path": head.raw_path,
            "query_string": head.query,
            "root_path": "",
            "headers": head.headers.copy(),
            "subprotocols": self._handshake.subprotocols,
            "extensions": {
                "websocket.http.response": {},
                **({PEER: self._inbox} if self._watched else {}),
            },
            **self._about,
            "scheme": scheme,
        }

    def _fail(self, error: BaseException) -> None:
        self._failed = True
        self._report(error)

    # ------------------------------------------------------------------ from the client

    async def _read(self) -> None:
        try:
            data = self._data
            while not self.gone:
                for start in range(0, len(data), _SLICE_BYTES):
                    if not await self._take(data[start : start + _SLICE_BYTES]):
                        await self._wire.send_eof()
                        return
                    await trio.lowlevel.checkpoint()
                data = await self._wire.receive()
                if not data:
                    self.left()
        finally:
            self._closed.set()

    async def _take(self, data: bytes) -> bool:
        """Do what the client wants; whether there is more to come."""
        frames = self._frames
        assert frames is not None  # noqa: S101 - nothing is read before the handshake is over
        self._cheap.earn(len(data) // 256)
        frames.receive_bytes(data)
        try:
            for frame in frames.received_frames():
                if frame.opcode is Opcode.CLOSE:
                    await self._end(*frame.payload)
                    return False
                code = await self._on(frames, frame)
                if code is not None:
                    await self._end(code)
                    return False
        except ParseFailed as error:
            await self._end(error.code)
            return False
        return not self.gone

    async def _on(self, frames: FrameProtocol, frame: Frame) -> int | None:
        """Take one frame, or what has come of it; the code to close with if it is one too many."""
        payload: Any = frame.payload
        if frame.opcode.iscontrol():
            if not self._cheap.spend():
                return CloseReason.POLICY_VIOLATION
            if frame.opcode is Opcode.PING:
                with suppress(Gone):  # it crossed our own close
                    await self._send(partial(frames.pong, bytes(payload)))
            return None
        if self._closing:
            return None  # it crossed our own close
        if self._inbound.add(payload) > self._max_message:
            return CloseReason.MESSAGE_TOO_BIG
        if frame.message_finished:
            inbound, self._inbound = self._inbound, _Inbound()
            self._inbox.put(*inbound.whole())
            await self._inbox.until_room()
        elif frame.frame_finished and len(payload) < _SMALL and not self._cheap.spend():
            return CloseReason.POLICY_VIOLATION
        return None

    async def _end(self, code: int, reason: str | None = None) -> None:
        """Do our part of the closing handshake, or close for what the client does wrong.

        First the application has a moment to answer the messages that came before.
        """
        self._answer = code
        self._inbox.end(code, reason or "")
        with trio.move_on_after(_CLOSE_S):
            await self._inbox.told.wait()
        await self._close(code)

    # ------------------------------------------------------------------ to the client

    async def send(self, message: MutableMapping[str, Any]) -> None:
        """Take the application's next message: the ASGI `send`.

        Raises:
            Gone: The client left, is leaving, or did not read.
            RuntimeError: The message does not follow what was sent before.

        Cancellation: the connection cannot be used any more.
        """
        kind = message["type"]
        if self.gone:
            raise Gone("the client has left")
        if kind == "websocket.send" and self._frames is not None:
            text = message.get("text")
            data = message["bytes"] if text is None else text
            await self._send(partial(self._frames.send_data, data, fin=True))
        elif kind == "websocket.close" and self._frames is not None:
            await self._close(message.get("code", 1000), message.get("reason") or None)
        elif kind == "websocket.accept" and not self._refused and self._frames is None:
            await self._accept(message)
        elif kind == "websocket.close" and not self._refused and self._frames is None:
            await self._turn_away(403)
        elif kind == "websocket.http.response.start" and not self._refused and self._frames is None:
            self._denial = AnswerHead(message["status"], message.get("headers", ()))
        elif kind == "websocket.http.response.body" and self._denial is not None:
            await self._deny(
                self._denial, message.get("body", b""), message.get("more_body", False)
            )
        else:
            raise RuntimeError(f"{kind} is out of turn")

    async def _accept(self, message: MutableMapping[str, Any]) -> None:
        if self._dismissed is not None:
            await self._turn_away(503)
            return
        opening = self._handshake.acceptance(message.get("subprotocol"), message.get("headers", ()))
        async with self._sending:
            self._frames = FrameProtocol(client=False, extensions=self._handshake.extensions)
            await self._transmit(opening)
        self._tasks.start_soon(self._read)

    async def _turn_away(self, status: int) -> None:
        self._refused = True
        self._inbox.end(_ABNORMAL, "")
        await self._transmit(turned_away(status))

    async def _deny(self, denial: AnswerHead, body: bytes, more: bool) -> None:
        """Send an answer in the place of the WebSocket; it ends with the connection.

        Source: https://asgi.readthedocs.io/en/latest/extensions.html#websocket-denial-response
        """
        data = body
        if not self._refused:
            self._refused = True
            length = denial.length if more else len(body)
            framing = b"" if length is None else b"content-length: %d\r\n" % length
            data = denial.encoded(framing + b"connection: close\r\n") + body
        await self._transmit(data)
        if not more:
            self._denial = None
            self._inbox.end(_ABNORMAL, "")

    async def _send(self, make: Callable[[], bytearray | bytes]) -> None:
        """Send one frame, made when it is its turn: compression has a memory."""
        async with self._sending:
            if self.gone or self._lost or self._closing:
                raise Gone("the WebSocket is closing, or its client has left")
            await self._transmit(bytes(make()))

    async def _transmit(self, data: bytes) -> None:
        # Cut short, what was sent has lost its framing: nothing may follow it.
        self._lost = True
        try:
            await self._wire.send(data)
        except Gone:
            self.left()
            raise
        self._lost = False

    async def _close(self, code: int, reason: str | None = None) -> None:
        """Send a close frame, unless one was sent."""
        frames = self._frames
        assert frames is not None  # noqa: S101 - as in _take
        async with self._sending:
            if self.gone or self._lost or self._closing:
                return
            self._closing = True
            if self._answer is not None:
                code, reason = self._answer, None
            with suppress(Gone):
                await self._transmit(bytes(frames.close(code, reason)))

    async def _part(self, code: int) -> None:
        with trio.move_on_after(_CLOSE_S):
            await self._close(code)
            await self._closed.wait()
        if not self._closed.is_set():
            self.left()

    async def _conclude(self) -> None:
        """End what the application has left open."""
        if self._frames is not None:
            await self._part(CloseReason.INTERNAL_ERROR if self._failed else 1000)
        elif not self._refused and not self.gone:
            await self._wire.send(failure())
