"""A connection on Hypercorn's protocols, HTTP/2 and WebSocket: everything in it ends.

Stock Hypercorn waits for ever for clients that do not read. Here:

* an idle connection ends after `keep_alive`;
* a client takes what is sent within `send_timeout`, else its connection is reset;
* after a send that was cut short nothing more is sent: the stream's framing is lost.
"""

from __future__ import annotations

import socket
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import trio
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.typing import ConnectionState

from gateway.server.protocols import Http2, Http11
from gateway.server.tasks import Tasks
from gateway.telemetry.logs import logger

if TYPE_CHECKING:
    from hypercorn.trio.worker_context import WorkerContext

    from gateway.net.asgi import ASGIApp
    from gateway.server.bounds import ConnectionConfig
    from gateway.server.http1 import Takeover

__all__ = ["HypercornConnection"]

_READ_BYTES = 64 * 1024
_SEND_BYTES = 64 * 1024
"""A client that takes less than this within `send_timeout` reads nothing, for our purposes."""

_LINGER_S = 1.0
"""How long an ended connection is still read, so that its last answer is not lost to a reset."""

_GOODBYE_S = 1.0
"""For TLS' closing alert."""


class HypercornConnection(TCPServer):
    """One client's connection, from where Hypercorn speaks its protocol to its end.

    Args:
        app: What answers its requests.
        config: Its bounds.
        context: The server's: says when idle connections are to end.
        stream: Open; a TLS handshake is done.
        peer: Who is connected, for the log.

    Cancellation: the connection is closed, what it sends is cut short, its requests end.
    """

    config: ConnectionConfig
    stream: Any
    protocol: Http2 | Http11  # type: ignore[assignment] # ours, in the place of Hypercorn's

    def __init__(
        self,
        app: ASGIApp,
        config: ConnectionConfig,
        context: WorkerContext,
        stream: Any,
        *,
        peer: str,
        client: tuple[str, int] | None,
        server: tuple[str, int] | None,
    ) -> None:
        super().__init__(app, config, context, {}, stream)  # type: ignore[arg-type] # see Tasks
        self._log = logger("gateway.server")
        self._reading = trio.CancelScope()
        self._lingering = False
        self._over = False
        self._peer = peer
        self._client = client
        self._server = server

    async def run(self, takeover: Takeover) -> None:  # type: ignore[override] # told what was read
        """Serve the connection until it ends."""
        try:
            await self._converse(takeover)
        finally:
            await self._close()  # noqa: ASYNC102 - bounded, and at once when cancelled

    def left(self) -> None:
        """Take note that the client has left: everything done for it ends."""
        self._reading.cancel()

    async def _converse(self, takeover: Takeover) -> None:
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
            self.protocol = (Http2 if takeover.protocol == "h2" else Http11)(*about)
            await self.protocol.initiate()
            await self.idle_task.restart(self._task_group, self._idle_timeout)
            await self._read_data(takeover.data)
            self._over = True
            await self.idle_task.stop()

    async def _read_data(self, data: bytes = b"") -> None:  # told what was read before
        with self._reading, suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            if data:
                await self.protocol.handle(RawData(data))
            while data := bytes(await self.stream.receive_some(_READ_BYTES)):
                if not self._lingering:
                    await self.protocol.handle(RawData(data))
        await self.protocol.handle(Closed())

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
            transport = self.stream
            if isinstance(transport, trio.SSLStream):
                transport = transport.transport_stream
            if isinstance(transport, trio.SocketStream):
                transport.socket.setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                )
        await trio.aclose_forcefully(self.stream)

    async def _idle_timeout(self) -> None:
        with trio.move_on_after(self.config.keep_alive_timeout):
            await self.context.terminated.wait()
        await self._close()
