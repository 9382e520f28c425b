"""A WebSocket to a service, over a connection of its pool.

Source: RFC 6455.
"""

from __future__ import annotations

import base64
import os
from collections import deque
from collections.abc import Iterable, Sequence

import trio
from wsproto.connection import Connection as Frames
from wsproto.connection import ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, Message, Ping, TextMessage
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import LocalProtocolError, generate_accept_token

from gateway.core.errors import BadReply, Unreachable
from gateway.net.connection import Connection

__all__ = ["Closed", "Handshake", "WebSocket"]


class Closed(Exception):
    """The service closed the WebSocket.

    Args:
        code: Why; 1005 if it did not say.
        reason: The same in words; perhaps empty.
    """

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


class Handshake:
    """What asks for a WebSocket, and whether the reply grants it.

    Args:
        subprotocols: Those offered, the best first.

    Attributes:
        lines: What the request's head says of it. No extension is offered: nothing is compressed.
    """

    def __init__(self, subprotocols: Sequence[str]) -> None:
        key = base64.b64encode(os.urandom(16))
        self._accepted = generate_accept_token(key)
        self._subprotocols = subprotocols
        self.lines = (
            b"connection: upgrade\r\nupgrade: websocket\r\n"
            b"sec-websocket-version: 13\r\nsec-websocket-key: %b\r\n" % key
        )
        if subprotocols:
            self.lines += f"sec-websocket-protocol: {', '.join(subprotocols)}\r\n".encode("latin-1")

    def check(self, headers: Iterable[tuple[bytes, bytes]]) -> str | None:
        """The subprotocol that a reply with status 101 chose, if any.

        Raises:
            BadReply: It is no reply to this handshake.
        """
        said = dict(headers)
        subprotocol = said.get(b"sec-websocket-protocol")
        if (
            said.get(b"upgrade", b"").lower() != b"websocket"
            or said.get(b"sec-websocket-accept") != self._accepted
            or b"sec-websocket-extensions" in said
        ):
            raise BadReply("what came back is no WebSocket")
        if subprotocol is None:
            return None
        chosen = subprotocol.decode("latin-1")
        if chosen not in self._subprotocols:
            raise BadReply("the service chose a subprotocol that nobody offered")
        return chosen


class WebSocket:
    """A WebSocket whose handshake is done.

    Args:
        connection: It is given back by whoever took it.
        max_message: Bytes or characters of a message, at most.
        idle_s: Seconds of silence after which the service is asked whether it is there; after as
            many again it is not. So many it has to take what it is sent, too.
    """

    def __init__(self, connection: Connection, *, max_message: float, idle_s: float) -> None:
        self._connection = connection
        self._frames = Frames(ConnectionType.CLIENT)
        self._max_message = max_message
        self._idle_s = idle_s
        self._events: deque[Event] = deque()
        self._parts: list[str | bytes] = []
        self._size = 0
        # Messages, and answers to pings, come from different tasks.
        self._sending = trio.Lock()
        self._lost = False

    async def send(self, message: str | bytes) -> None:
        """Send a message.

        Raises:
            Unreachable: The connection broke, or the service did not take it in time.

        Cancellation: the message may be cut short; nothing can be sent after it.
        """
        event = TextMessage(message) if isinstance(message, str) else BytesMessage(message)
        await self._send(event)

    async def close(self, code: int, reason: str = "") -> None:
        """Say that nothing more will be sent, and why; what comes still can be received.

        Raises:
            Unreachable: As for `send`.

        Cancellation: nothing can be sent any more.
        """
        await self._send(CloseConnection(code, reason or None))

    async def receive(self) -> str | bytes:
        """The next message, whole.

        Raises:
            Closed: There is none: the service closed.
            Unreachable: The connection broke, or the service is not there any more.
            BadReply: What came is no message, or over its bound.
        """
        while True:
            while self._events:
                message = await self._take(self._events.popleft())
                if message is not None:
                    return message
            self._frames.receive_data(await self._data())
            self._events.extend(self._frames.events())

    async def _take(self, event: Event) -> str | bytes | None:
        if isinstance(event, Ping):
            await self._send(event.response())
        elif isinstance(event, CloseConnection):
            await self._send(event.response())
            if event.code == CloseReason.PROTOCOL_ERROR:
                raise BadReply(f"what came is no message of a WebSocket: {event.reason}")
            raise Closed(int(event.code), event.reason or "")
        elif isinstance(event, Message):
            self._size += len(event.data)
            if self._size > self._max_message:
                await self.close(CloseReason.MESSAGE_TOO_BIG)
                raise BadReply(f"the message is over {self._max_message} bytes")
            self._parts.append(event.data)
            if event.message_finished:
                parts, self._parts, self._size = self._parts, [], 0
                empty: str | bytes = type(event.data)()
                return empty.join(parts)  # type: ignore[arg-type] # all of one message's type
        return None

    async def _data(self) -> bytes:
        for _ in range(2):
            with trio.move_on_after(self._idle_s):
                data = await self._connection.receive()
                if not data:
                    raise Unreachable("the connection broke: the service closed it without a word")
                return data
            await self._send(Ping())
        raise Unreachable("the service does not answer a ping")

    async def _send(self, event: Event) -> None:
        try:
            data = self._frames.send(event)
        except LocalProtocolError:
            return  # one side has closed: nothing may follow
        with trio.move_on_after(self._idle_s):
            async with self._sending:
                if self._lost:
                    raise Unreachable("the connection broke: a message was cut short")
                # Cut short, what was sent has lost its framing: nothing may follow it.
                self._lost = True
                await self._connection.send(data)
                self._lost = False
            return
        raise Unreachable("the service does not read")
