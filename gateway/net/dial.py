"""Connecting: every address checked, both families tried, TLS to the name.

Source: RFC 8305 (happy eyeballs); RFC 9110, section 4.3.4.
"""

from __future__ import annotations

import os
import socket
import ssl

import attrs
import trio

from gateway.core.errors import Unreachable
from gateway.net.guard import AddressGuard
from gateway.net.messages import Origin
from gateway.net.wire import SocketWire, StreamWire, Wire

__all__ = ["Dialer"]

_STAGGER_S = 0.25
"""How long an address is waited for before the next is tried beside it: RFC 8305, section 5."""


@attrs.frozen(slots=True)
class Dialer:
    """Opens connections.

    Args:
        guard: Which addresses may be connected to.
        tls: Whom https trusts; `None` if https is not spoken.
    """

    guard: AddressGuard
    tls: ssl.SSLContext | None

    async def connect(self, origin: Origin, /) -> Wire:
        """A connection to `origin`, over TLS if its scheme says so.

        Raises:
            Unreachable: No address is allowed or answers, or the certificate is not the host's.
            DeadlineExceeded: Less than 1 ms was left when its name could be looked up.

        Cancellation: nothing stays open; a lookup is abandoned.
        """
        secure = origin.scheme == "https"
        if secure and self.tls is None:
            raise Unreachable("https is not spoken to this service", where=origin.host)
        addresses = await self.guard.resolve(origin.host, origin.port)
        sock = await _connected(_interleaved(addresses), origin)
        if self.tls is not None and secure:
            return await _secured(sock, self.tls, origin)
        if _has_custom_sockets():
            return StreamWire(trio.SocketStream(sock), sock)
        plain = socket.socket(fileno=sock.detach())
        try:
            return SocketWire(plain)
        except OSError as error:  # the system watches too many sockets
            plain.close()
            raise _refused(origin, error) from error


async def _secured(sock: trio.socket.SocketType, tls: ssl.SSLContext, origin: Origin) -> Wire:
    # The name is what is checked, whichever address it has.
    stream = trio.SSLStream(
        trio.SocketStream(sock), tls, server_hostname=origin.host, https_compatible=True
    )
    try:
        await stream.do_handshake()
    except BaseException as error:
        sock.close()
        if isinstance(error, trio.BrokenResourceError):
            reason = error.__cause__ or "the connection broke"
            raise Unreachable("no TLS", where=f"{origin.authority}: {reason}") from error
        raise
    return StreamWire(stream, sock)


def _interleaved(addresses: list[str]) -> list[str]:
    """The families in turns, beginning with the resolver's first: RFC 8305, section 4."""
    first = [one for one in addresses if (":" in one) == (":" in addresses[0])]
    other = [one for one in addresses if one not in first]
    mixed: list[str] = []
    for index in range(max(len(first), len(other))):
        mixed += first[index : index + 1] + other[index : index + 1]
    return mixed


async def _connected(addresses: list[str], origin: Origin) -> trio.socket.SocketType:
    """A socket to the first of `addresses` that answers."""
    if not addresses:
        raise Unreachable("its name has no address", where=origin.host)
    if len(addresses) == 1:
        try:
            return await _attempt(addresses[0], origin.port)
        except OSError as error:
            raise _refused(origin, error) from error
    return await _Race(addresses, origin).run()


def _refused(origin: Origin, error: OSError) -> Unreachable:
    # Trio's own text repeats the address.
    reason = os.strerror(error.errno) if error.errno else str(error)
    return Unreachable(f"cannot connect: {reason}", where=origin.authority)


async def _attempt(address: str, port: int) -> trio.socket.SocketType:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = trio.socket.socket(family, socket.SOCK_STREAM)
    try:
        # A head and a body in two writes must not wait for an acknowledgement between them.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await sock.connect((address, port))
    except BaseException:
        sock.close()
        raise
    return sock


class _Race:
    """One address after the other, the next when one failed or took too long; the first wins."""

    def __init__(self, addresses: list[str], origin: Origin) -> None:
        self._addresses = addresses
        self._origin = origin
        self._winner: trio.socket.SocketType | None = None
        self._failure = OSError("no address answers")

    async def run(self) -> trio.socket.SocketType:
        try:
            async with trio.open_nursery() as nursery:
                for address in self._addresses:
                    failed = trio.Event()
                    nursery.start_soon(self._try, address, failed, nursery.cancel_scope)
                    with trio.move_on_after(_STAGGER_S):
                        await failed.wait()
        except BaseException:
            if self._winner is not None:
                self._winner.close()
            raise
        if self._winner is not None:
            return self._winner
        raise _refused(self._origin, self._failure) from self._failure

    async def _try(self, address: str, failed: trio.Event, race: trio.CancelScope) -> None:
        try:
            sock = await _attempt(address, self._origin.port)
        except OSError as error:
            self._failure = error
            failed.set()
            return
        if self._winner is not None:
            sock.close()
            return
        self._winner = sock
        race.cancel()


def _has_custom_sockets() -> bool:
    """Whether Trio was given sockets for this run; it has no other way to ask."""
    factory = trio.socket.set_custom_socket_factory(None)
    trio.socket.set_custom_socket_factory(factory)
    return factory is not None
