"""One connection on Hypercorn's protocols: nothing of it escapes, everything in it ends.

Stock Hypercorn lets a connection's exceptions end the server, waits for ever for clients that do
not read, and keeps what a client sends slowly. Here:

* only cancellation and interrupts leave a connection;
* a request head comes within `header_timeout`, an idle connection ends after `keep_alive`;
* a client takes what is sent within `send_timeout`, else its connection is reset;
* after a send that was cut short nothing more is sent: the stream's framing is lost.

What remains of Hypercorn's HTTP/1.1 path: while a client's pipelined bytes wait, or a body that
the application does not read, the client's leaving is not seen.
"""

from __future__ import annotations

import logging
import math
import socket
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import h11
import trio
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.typing import ConnectionState

from gateway.server.containment import contained, leaves
from gateway.server.protocols import Http11, Protocols
from gateway.server.tasks import Tasks
from gateway.telemetry.logs import logger

if TYPE_CHECKING:
    from hypercorn.trio.worker_context import WorkerContext

    from gateway.net.asgi import ASGIApp

__all__ = ["Connection", "ConnectionConfig"]

_READ_BYTES = 64 * 1024
_SEND_BYTES = 64 * 1024
"""A client that takes less than this within `send_timeout` reads nothing, for our purposes."""

_LINGER_S = 1.0
"""How long an ended connection is still read, so that its last answer is not lost to a reset."""

_GOODBYE_S = 1.0
"""For TLS' closing alert."""


class ConnectionConfig(Config):
    """Hypercorn's configuration with the bounds it lacks.

    Args:
        header_timeout: Seconds for a whole request head, from its first byte on, and for a TLS
            handshake.
        send_timeout: Seconds in which a client takes a piece of what is sent.
        keep_alive: Seconds that an idle connection stays.
        max_headers: Bytes of a request head that are kept while it is incomplete.
        max_message: Bytes of a WebSocket message.
    """

    include_server_header = False
    accesslog = None
    # A pooled client would meet a closing connection for no reason: there is nothing to recycle.
    keep_alive_max_requests = 2**62

    def __init__(
        self,
        *,
        header_timeout: float,
        send_timeout: float,
        keep_alive: float,
        max_headers: int,
        max_message: int,
    ) -> None:
        self.header_timeout = header_timeout
        self.send_timeout = send_timeout
        self.keep_alive_timeout = keep_alive
        self.h11_max_incomplete_size = max_headers
        self.h2_max_header_list_size = max_headers
        self.websocket_max_message_size = max_message
        # A logger, not a name: Hypercorn would give a named one a handler of its own.
        self.errorlog = logging.getLogger("hypercorn.error")


class Connection(TCPServer):
    """One client's connection, from its first byte to its end.

    Args:
        app: What answers its requests.
        config: Its bounds.
        context: The server's: says when idle connections are to end.
        stream: Open, TLS handshake not done yet.

    Cancellation: the connection is closed, what it sends is cut short, its requests end.
    """

    config: ConnectionConfig
    stream: Any
    protocol: Protocols  # type: ignore[assignment] # ours, in the place of Hypercorn's

    def __init__(
        self, app: ASGIApp, config: ConnectionConfig, context: WorkerContext, stream: Any
    ) -> None:
        super().__init__(app, config, context, {}, stream)  # type: ignore[arg-type] # see Tasks
        self._log = logger("gateway.server")
        self._reading = trio.CancelScope()
        self._lingering = False
        self._over = False
        self._client, self._server = _addresses(stream)
        self._peer = "local" if self._client is None else "{}:{}".format(*self._client)

    async def run(self) -> None:
        """Serve the connection until it ends; only cancellation and interrupts are raised."""
        with contained(self._report):
            try:
                await self._converse()
            finally:
                await self._close()  # noqa: ASYNC102 - bounded, and at once when cancelled

    async def _converse(self) -> None:
        alpn = await self._handshake()
        async with trio.open_nursery() as nursery:
            self._task_group = Tasks(nursery, self._peer)
            about = (
                self.app,
                self.config,
                self.context,
                self._task_group,
                ConnectionState({}),
                isinstance(self.stream, trio.SSLStream),
                self._client,
                self._server,
                self.protocol_send,
            )
            self.protocol = Protocols(about, alpn)
            await self.protocol.initiate()
            await self.idle_task.restart(self._task_group, self._idle_timeout)
            await self._read_data()
            self._over = True
            await self.idle_task.stop()

    async def _handshake(self) -> str:
        if not isinstance(self.stream, trio.SSLStream):
            return "http/1.1"
        with trio.fail_after(self.config.header_timeout):
            await self.stream.do_handshake()
        return self.stream.selected_alpn_protocol() or "http/1.1"

    async def _read_data(self) -> None:
        with self._reading, suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await self._read_until_end()
        await self.protocol.handle(Closed())

    async def _read_until_end(self) -> None:
        deadline = math.inf
        while True:
            data = None
            with trio.CancelScope(deadline=deadline):
                data = bytes(await self.stream.receive_some(_READ_BYTES))
            if data is None:
                self._log.debug("head too slow", peer=self._peer)
                return
            if not self._lingering:
                await self.protocol.handle(RawData(data))
            if not data:
                return
            deadline = self._head_deadline(deadline)

    def _head_deadline(self, deadline: float) -> float:
        """Until when the rest of a head must be there: inf if none has begun."""
        protocol = self.protocol.current
        parser = protocol.connection if isinstance(protocol, Http11) else None
        if (
            isinstance(parser, h11.Connection)
            and parser.their_state is h11.IDLE
            and parser.trailing_data[0]
        ):
            return min(deadline, trio.current_time() + self.config.header_timeout)
        return math.inf

    async def protocol_send(self, event: Event) -> None:
        """Do what a protocol wants: send bytes, end the connection, note that it is idle.

        Args:
            event: `RawData`, `Closed` or `Updated`.

        Cancellation: a send that was cut short closes the connection.
        """
        if isinstance(event, RawData):
            if event.data and not await self._send(event.data):
                await self.protocol.handle(Closed())
        elif isinstance(event, Closed):
            await self._end()
            await self.protocol.handle(Closed())
        elif isinstance(event, Updated):
            if event.idle and not self._over:
                await self.idle_task.restart(self._task_group, self._idle_timeout)
            else:
                await self.idle_task.stop()

    async def _send(self, data: bytes) -> bool:
        """Whether the client's system has taken all of `data`; if not, the connection is closed."""
        whole = False
        try:
            async with self.send_lock:
                with trio.CancelScope() as scope:
                    for start in range(0, len(data), _SEND_BYTES):
                        scope.deadline = trio.current_time() + self.config.send_timeout
                        await self.stream.send_all(data[start : start + _SEND_BYTES])
                    whole = True
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return False
        finally:
            if not whole:
                await self._reset()  # noqa: ASYNC102 - waits for nothing
        if not whole:
            self._log.info("client does not read", peer=self._peer)
        return whole

    async def _end(self) -> None:
        """Say that nothing more is sent; read on for a while, and close then.

        Closing with bytes unread would reset the connection, and the client could lose an answer
        that it has not read yet, such as a 413 sent while its body is still on its way.
        """
        if not isinstance(self.stream, trio.abc.HalfCloseableStream):
            await self._close()
            return
        self._lingering = True
        self._reading.deadline = min(self._reading.deadline, trio.current_time() + _LINGER_S)
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            async with self.send_lock:
                await self.stream.send_eof()

    async def _close(self) -> None:
        self._reading.cancel()
        with (
            trio.move_on_after(_GOODBYE_S),
            suppress(trio.BrokenResourceError, trio.BusyResourceError),
        ):
            await self.stream.aclose()
        await trio.aclose_forcefully(self.stream)

    async def _reset(self) -> None:
        """Close at once and free what the system keeps for a client that does not take it."""
        self._reading.cancel()
        with suppress(OSError):  # the socket is closed already
            sock = _socket(self.stream)
            if sock is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await trio.aclose_forcefully(self.stream)

    async def _idle_timeout(self) -> None:
        with trio.move_on_after(self.config.keep_alive_timeout):
            await self.context.terminated.wait()
        await self._close()

    def _report(self, error: BaseException) -> None:
        errors = leaves(error)
        if all(
            isinstance(e, (OSError, trio.BrokenResourceError, trio.TooSlowError)) for e in errors
        ):
            self._log.debug("connection lost", peer=self._peer, errors=_texts(errors))
        else:
            # Nearly always what the client sent, so no traceback, which anyone could have us write.
            self._log.warning("connection failed", peer=self._peer, errors=_texts(errors))
            self._log.debug("connection failed here", peer=self._peer, exc_info=error)


def _texts(errors: list[BaseException]) -> list[str]:
    return [ascii(f"{type(e).__name__}: {e}"[:200]) for e in errors[:5]]


def _socket(stream: Any) -> trio.socket.SocketType | None:
    """The socket below `stream`; `None` where there is none, as in memory."""
    transport = stream.transport_stream if isinstance(stream, trio.SSLStream) else stream
    return transport.socket if isinstance(transport, trio.SocketStream) else None


def _addresses(stream: Any) -> tuple[tuple[str, int] | None, tuple[str, int] | None]:
    """The client's address and ours, as ASGI wants them; `None` for what has none."""
    sock = _socket(stream)
    if sock is None or sock.family not in {socket.AF_INET, socket.AF_INET6}:
        return None, None
    try:
        return sock.getpeername()[:2], sock.getsockname()[:2]
    except OSError:  # the client has left already
        return None, None
