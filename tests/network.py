"""A network in memory: names, addresses and connections without sockets, in virtual time.

Trio's own hooks stand behind it (`set_custom_socket_factory`, `set_custom_hostname_resolver`):
every connection of a client goes through the code that real ones go through.
"""

from __future__ import annotations

import errno
import socket as std
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import trio
import trio.testing

__all__ = ["Handler", "Network", "network"]

Handler = Callable[[trio.abc.Stream], Awaitable[None]]
"""Serves one connection."""


class Network:
    """What names mean, and who answers where.

    Attributes:
        connected: Every address connected to, in order, failures included.
        open: Client connections that are not closed.
        most: The most of them that were open at once.
    """

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._names: dict[str, list[str]] = {}
        self._handlers: dict[tuple[str, int], Handler | OSError | None] = {}
        self.connected: list[tuple[str, int]] = []
        self.open: set[_Socket] = set()
        self.most = 0

    def name(self, name: str, *addresses: str) -> None:
        """Let `name` resolve to `addresses`."""
        self._names[name] = list(addresses)

    def serve(self, address: str, port: int, handler: Handler | OSError | None) -> None:
        """Let `handler` serve `address`; an error refuses connections, `None` swallows them."""
        self._handlers[address, port] = handler

    def stall(self) -> None:
        """Have nobody take what clients send from here on: their sending waits for ever."""
        for sock in self.open:
            sock.stall()

    async def getaddrinfo(  # noqa: PLR0917 - the signature of sockets
        self, host: bytes, port: int, family: int = 0, kind: int = 0, proto: int = 0, flags: int = 0
    ) -> list[Any]:
        await trio.lowlevel.checkpoint()
        addresses = self._names.get(host.decode())
        if addresses is None:
            raise std.gaierror(std.EAI_NONAME, "Name or service not known")
        return [
            (
                std.AF_INET6 if ":" in address else std.AF_INET,
                std.SOCK_STREAM,
                std.IPPROTO_TCP,
                "",
                (address, port, 0, 0) if ":" in address else (address, port),
            )
            for address in addresses
        ]

    async def getnameinfo(self, *_args: Any) -> tuple[str, str]:
        raise NotImplementedError

    def socket(self, family: int, kind: int, proto: int) -> _Socket:
        return _Socket(self, family)

    async def connect(self, address: str, port: int) -> trio.StapledStream[Any, Any]:
        self.connected.append((address, port))
        await trio.lowlevel.checkpoint()
        refused = OSError(errno.ECONNREFUSED, "Connection refused")
        handler = self._handlers.get((address, port), refused)
        if handler is None:
            await trio.sleep_forever()
        if isinstance(handler, OSError):
            raise handler
        assert handler is not None
        ours, theirs = trio.testing.memory_stream_pair()
        self._nursery.start_soon(_serve, handler, theirs)
        return ours


async def _serve(handler: Handler, stream: trio.abc.Stream) -> None:
    try:
        await handler(stream)
    except trio.BrokenResourceError:
        pass  # the client is gone
    finally:
        with trio.CancelScope(shield=True):
            await stream.aclose()


class _Socket(trio.socket.SocketType):
    """A TCP socket whose bytes go through memory."""

    def __init__(self, network: Network, family: int) -> None:
        super().__init__()
        self._network = network
        self._family = family
        self._stream: trio.StapledStream[Any, Any] | None = None
        self._ahead = b""
        network.open.add(self)
        network.most = max(network.most, len(network.open))

    def __repr__(self) -> str:
        return f"<socket of {self._network.__class__.__name__}>"

    @property
    def type(self) -> Any:
        return std.SOCK_STREAM

    @property
    def family(self) -> Any:
        return self._family

    @property
    def did_shutdown_SHUT_WR(self) -> bool:  # noqa: N802 - Trio's name
        return False

    def fileno(self) -> int:
        return 3 if self in self._network.open else -1

    def setsockopt(self, *_args: Any) -> None: ...

    async def connect(self, address: Any) -> None:
        self._stream = await self._network.connect(address[0], address[1])

    async def send(self, data: Any, flags: int = 0) -> int:
        assert self._stream is not None
        try:
            await self._stream.send_all(data)
        except trio.BrokenResourceError as error:
            raise OSError(errno.EPIPE, "Broken pipe") from error
        return len(data)

    async def recv(self, size: int, flags: int = 0) -> bytes:
        assert self._stream is not None
        if self._ahead:
            await trio.lowlevel.checkpoint()
            piece, self._ahead = self._ahead[:size], self._ahead[size:]
            return piece
        try:
            data: bytes = bytes(await self._stream.receive_some(size))
        except trio.BrokenResourceError as error:
            raise OSError(errno.ECONNRESET, "Connection reset by peer") from error
        return data

    def stall(self) -> None:
        """As `Network.stall`."""
        assert self._stream is not None
        self._stream.send_stream.send_all_hook = trio.sleep_forever

    def is_readable(self) -> bool:
        """Whether `recv` would not wait: what a pool asks of an idle connection."""
        assert self._stream is not None
        incoming = self._stream.receive_stream._incoming
        return bool(self._ahead or incoming._data or incoming._closed)

    def close(self) -> None:
        self._network.open.discard(self)
        if self._stream is not None:
            self._stream.send_stream.close()
            self._stream.receive_stream.close()


@asynccontextmanager
async def network() -> AsyncGenerator[Network]:
    """The network of this `trio.run`; leaving it ends every connection."""
    async with trio.open_nursery() as nursery:
        net = Network(nursery)
        trio.socket.set_custom_socket_factory(net)  # type: ignore[arg-type]
        trio.socket.set_custom_hostname_resolver(net)  # type: ignore[arg-type]
        try:
            yield net
        finally:
            trio.socket.set_custom_socket_factory(None)
            trio.socket.set_custom_hostname_resolver(None)
            nursery.cancel_scope.cancel()
