"""Bytes in and out of one connection: a socket read and written directly, or a Trio stream.

On a plain socket the kernel is asked first and waited for only when it would block: between two
requests of a busy client no task is switched but for the wait itself. TLS and streams in memory go
through Trio's own.
"""

from __future__ import annotations

import socket
import struct
from contextlib import suppress
from typing import Protocol, TypeAlias

import trio

from gateway.net.readiness import readiness

__all__ = ["Gone", "Socket", "SocketWire", "StreamWire", "Wire"]

Socket: TypeAlias = socket.socket | trio.socket.SocketType
"""A socket, Python's own or Trio's."""

_READ_BYTES = 64 * 1024
_SEND_BYTES = 64 * 1024
"""A client that takes less than this within `send_timeout` reads nothing, for our purposes."""
_UNSENT_BYTES = 128 * 1024
"""What the system keeps of an answer beyond what is on its way: a client that does not read
costs this much."""
_FAIR_BYTES = 256 * 1024
_STEP_BYTES = 32 * 1024
"""So many bytes, each read or write counted as this many more, before others have their turn: of
pipelined requests some eight, a millisecond's work."""
_GOODBYE_S = 1.0
"""For TLS' closing alert."""


class Gone(OSError):
    """The client cannot be sent anything any more: it left, or did not read.

    The ASGI specification has `send` raise an `OSError` then.
    """


class Wire(Protocol):
    """Bytes in and out of one connection."""

    @property
    def sock(self) -> Socket | None:
        """The socket at its end; `None` where there is none, as in memory."""
        ...

    async def receive(self) -> bytes:
        """The next bytes; empty once the client sends no more."""
        ...

    async def send(self, data: bytes) -> None:
        """Have the client's system take all of `data`.

        Raises:
            Gone: It does not, or not in `send_timeout` for every 64 KiB.

        Cancellation: the connection cannot be used any more.
        """
        ...

    async def send_eof(self) -> None:
        """Say that nothing more will be sent."""
        ...

    async def close(self) -> None:
        """Close in order; as `reset` if that takes too long."""
        ...

    async def reset(self) -> None:
        """Close at once and free what the system keeps for a client that does not take it."""
        ...


class SocketWire:
    """A connected TCP or Unix socket.

    Args:
        sock: Non-blocking.
        send_timeout: Seconds in which the client takes 64 KiB.
    """

    __slots__ = ("_readable", "_send_timeout", "_spent", "sock")

    def __init__(self, sock: socket.socket, send_timeout: float) -> None:
        self.sock = sock
        self._send_timeout = send_timeout
        self._spent = 0
        self._readable = readiness(sock)
        _prepare(sock)

    async def receive(self) -> bytes:
        """The next bytes."""
        readable = self._readable
        while True:
            if not readable.ready:
                await readable.wait()
                self._spent = 0
            elif self._spent > _FAIR_BYTES:
                # Before the read: what was read would be lost to a cancellation.
                self._spent = 0
                await trio.lowlevel.checkpoint()
            try:
                data = self.sock.recv(_READ_BYTES)
            except BlockingIOError:
                self._spent += _STEP_BYTES
                readable.drained()
                continue
            except OSError:
                return b""
            if len(data) < _READ_BYTES:
                # Asking again would cost a system call and an exception.
                readable.drained()
            self._spent += len(data) + _STEP_BYTES
            return data

    async def send(self, data: bytes) -> None:
        """Have the client's system take all of `data`."""
        try:
            sent = self.sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            raise Gone(str(error)) from error
        if sent < len(data):
            await self._send_rest(memoryview(data)[sent:])
            return
        # Others run once this connection has had its share without waiting.
        self._spent += sent + _STEP_BYTES
        if self._spent > _FAIR_BYTES:
            self._spent = 0
            await trio.lowlevel.checkpoint()

    async def _send_rest(self, rest: memoryview) -> None:
        while rest:
            target = max(0, len(rest) - _SEND_BYTES)
            with trio.move_on_after(self._send_timeout) as scope:
                while len(rest) > target:
                    try:
                        await trio.lowlevel.wait_writable(self.sock)
                        rest = rest[self.sock.send(rest) :]
                    except BlockingIOError:
                        continue
                    except (OSError, ValueError, trio.ClosedResourceError) as error:
                        raise Gone(str(error)) from error
            if scope.cancelled_caught:
                raise Gone("the client does not read")
        self._spent = 0

    async def send_eof(self) -> None:
        """Say that nothing more will be sent."""
        with suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)

    async def close(self) -> None:
        """Close in order."""
        self._close()

    async def reset(self) -> None:
        """Close at once."""
        _forget_unsent(self.sock)
        self._close()

    def _close(self) -> None:
        if self.sock.fileno() >= 0:
            self._readable.close()
            trio.lowlevel.notify_closing(self.sock)
            self.sock.close()


class StreamWire:
    """A Trio stream: TLS, or in memory.

    Args:
        stream: Open; a TLS handshake is done.
        send_timeout: Seconds in which the client takes 64 KiB.
    """

    __slots__ = ("_send_timeout", "sock", "stream")

    def __init__(self, stream: trio.abc.Stream, send_timeout: float) -> None:
        self.stream = stream
        self._send_timeout = send_timeout
        transport = stream.transport_stream if isinstance(stream, trio.SSLStream) else stream
        self.sock = transport.socket if isinstance(transport, trio.SocketStream) else None
        if self.sock is not None:
            _prepare(self.sock)

    async def receive(self) -> bytes:
        """The next bytes."""
        try:
            return bytes(await self.stream.receive_some(_READ_BYTES))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return b""

    async def send(self, data: bytes) -> None:
        """Have the client's system take all of `data`."""
        try:
            for start in range(0, len(data), _SEND_BYTES):
                with trio.fail_after(self._send_timeout):
                    await self.stream.send_all(data[start : start + _SEND_BYTES])
        except trio.TooSlowError:
            raise Gone("the client does not read") from None
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise Gone(str(error)) from error

    async def send_eof(self) -> None:
        """Say that nothing more will be sent."""
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            if isinstance(self.stream, trio.abc.HalfCloseableStream):
                await self.stream.send_eof()

    async def close(self) -> None:
        """Close in order."""
        with (
            trio.move_on_after(_GOODBYE_S),
            suppress(trio.BrokenResourceError, trio.BusyResourceError),
        ):
            await self.stream.aclose()
        await trio.aclose_forcefully(self.stream)

    async def reset(self) -> None:
        """Close at once."""
        if self.sock is not None:
            _forget_unsent(self.sock)
        await trio.aclose_forcefully(self.stream)


def _prepare(sock: Socket) -> None:
    """Send what is small at once, and keep little of what is large."""
    if sock.family == socket.AF_UNIX:
        return
    with suppress(OSError):  # the client has left already
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT_BYTES)


def _forget_unsent(sock: Socket) -> None:
    with suppress(OSError):  # it is closed already
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
