"""Bytes to a service and from it, over a plain socket or over any of Trio's streams."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Protocol

import trio

from gateway.core.errors import Unreachable
from gateway.net.readiness import Told, readiness

__all__ = ["Prompt", "SocketWire", "StreamWire", "Unsent", "Wire"]

_READ_BYTES = 65_536
_UNWAITED = 16
"""Reads in a row that did not have to wait, after which others get their turn."""


class Unsent(Unreachable):
    """The connection broke before any byte of what was to be sent had left."""


class Prompt(Protocol):
    """A connection's bytes without waiting for them."""

    def send_at_once(self, data: bytes) -> bool:
        """Send all of `data` without waiting; `False` if that cannot be, or not for all of it."""
        ...

    def receive_at_once(self) -> bytes | None:
        """As `receive`, without waiting; `None` if nothing came.

        Raises:
            Unreachable: The connection broke.
        """
        ...

    def listen(self, tell: Callable[[], None]) -> None:
        """Have `tell` called, once, when something came; perhaps at once.

        Args:
            tell: Neither raises nor waits.
        """
        ...


class Wire(Protocol):
    """One connection's bytes.

    Attributes:
        prompt: The same without waiting, where that can be had.
    """

    prompt: Prompt | None

    async def send(self, data: bytes) -> None:
        """Send all of `data`.

        Raises:
            Unsent: The connection broke, and nothing of it had left.
            Unreachable: The connection broke.

        Cancellation: some of it may have been sent.
        """
        ...

    async def receive(self) -> bytes:
        """What came, at least a byte; `b""` if the service closed.

        Raises:
            Unreachable: The connection broke.
        """
        ...

    def is_stale(self) -> bool:
        """Whether it is no use while nothing is under way: closed, or bytes nobody asked for."""
        ...

    def close(self) -> None:
        """Close it at once, in whatever state it is; a second time does nothing."""
        ...


def _broken(error: BaseException) -> str:
    cause = error.__cause__ or error
    reason = cause.strerror if isinstance(cause, OSError) else None
    return f"the connection broke: {reason or str(cause) or type(cause).__name__}"


class SocketWire:
    """A plain TCP socket, read and written directly: it waits only where the kernel would block.

    Args:
        sock: Connected; from here on this wire's.
    """

    __slots__ = ("_readable", "_socket", "_unwaited", "prompt")

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._unwaited = 0
        self._readable = readable = readiness(sock)
        self.prompt: Prompt | None = (
            _SocketPrompt(sock, readable) if isinstance(readable, Told) else None
        )

    async def send(self, data: bytes) -> None:
        """As `Wire`."""
        sent = 0
        try:
            try:  # noqa: SIM105 - a context manager would be entered for every request
                sent = self._socket.send(data)
            except BlockingIOError:
                pass
            if sent == len(data):
                return
            rest = memoryview(data)
            while sent < len(data):
                await trio.lowlevel.wait_writable(self._socket)
                sent += self._sent(rest[sent:])
        except OSError as error:
            raise (Unreachable if sent else Unsent)(_broken(error)) from error

    def _sent(self, data: bytes | memoryview) -> int:
        try:
            return self._socket.send(data)
        except BlockingIOError:
            return 0

    async def receive(self) -> bytes:
        """As `Wire`."""
        readable = self._readable
        try:
            while True:
                if not readable.ready:
                    await readable.wait()
                    self._unwaited = 0
                elif self._unwaited >= _UNWAITED:
                    await trio.lowlevel.checkpoint()
                    self._unwaited = 0
                self._unwaited += 1
                try:
                    data = self._socket.recv(_READ_BYTES)
                except BlockingIOError:
                    readable.drained()
                    continue
                if len(data) < _READ_BYTES:
                    readable.drained()
                return data
        except OSError as error:
            raise Unreachable(_broken(error)) from error

    def is_stale(self) -> bool:
        """As `Wire`: the system is asked only if it told, or does not tell, that something came."""
        if self.prompt is not None and not self._readable.ready:
            return False
        try:
            self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True
        return True

    def close(self) -> None:
        """As `Wire`."""
        if self._socket.fileno() >= 0:
            self._readable.close()
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()


class _SocketPrompt:
    """A plain TCP socket of which it is told when it can be read."""

    __slots__ = ("_socket", "_told")

    def __init__(self, sock: socket.socket, told: Told) -> None:
        self._socket = sock
        self._told = told

    def send_at_once(self, data: bytes) -> bool:
        """As `Prompt`."""
        try:
            return self._socket.send(data) == len(data)
        except OSError:
            return False

    def receive_at_once(self) -> bytes | None:
        """As `Prompt`."""
        try:
            data = self._socket.recv(_READ_BYTES)
        except BlockingIOError:
            self._told.drained()
            return None
        except OSError as error:
            raise Unreachable(_broken(error)) from error
        if len(data) < _READ_BYTES:
            self._told.drained()
        return data

    def listen(self, tell: Callable[[], None]) -> None:
        """As `Prompt`."""
        self._told.listen(tell)


class StreamWire:
    """Any of Trio's streams: TLS, or a network in memory.

    Args:
        stream: Connected; from here on this wire's.
        sock: The socket below it.
    """

    __slots__ = ("_socket", "_stream", "prompt")

    def __init__(self, stream: trio.abc.Stream, sock: trio.socket.SocketType) -> None:
        self._stream = stream
        self._socket = sock
        self.prompt: Prompt | None = None

    async def send(self, data: bytes) -> None:
        """As `Wire`; how much had left is not to be known."""
        try:
            await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise Unreachable(_broken(error)) from error

    async def receive(self) -> bytes:
        """As `Wire`."""
        try:
            return bytes(await self._stream.receive_some(_READ_BYTES))
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise Unreachable(_broken(error)) from error

    def is_stale(self) -> bool:
        """As `Wire`."""
        return self._socket.is_readable()

    def close(self) -> None:
        """As `Wire`; without TLS's farewell, which would have to be waited for."""
        self._socket.close()
