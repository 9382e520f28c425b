"""Where connections come in: a listening socket, of which each of several workers gets its share.

The system wakes all workers that wait on a socket for every connection, and the fastest takes it:
the one that has just taken another. So the one that has more than its least busy sibling lets that
one go first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Callable

__all__ = ["Door"]

_PAUSE_S = 0.001
"""Enough for a sibling whose loop is free."""

_BATCH = 4
"""So many are accepted after a pause before the next one: a sibling whose loop is busy for long does
not hold up everyone's."""

_BURST = 64
"""So many are accepted in one turn where nobody else accepts."""


class Door:
    """A listening socket.

    Args:
        sock: Listening, non-blocking.
        tls: What TLS connections are made with; `None` for plain ones.
        ahead: Whether this process has more connections than another that accepts on the socket;
            `None` where there is no other.
    """

    def __init__(
        self,
        sock: socket.socket,
        tls: ssl.SSLContext | None = None,
        *,
        ahead: Callable[[], bool] | None = None,
    ) -> None:
        self._sock = sock
        self._tls = tls
        self._ahead = ahead
        self._free = 0

    async def accept(self) -> socket.socket | trio.abc.Stream:
        """The next connection: a socket, or a stream of which the TLS handshake is not done yet.

        Of a burst several come without a turn of the loop between them: who waits in the queue
        would else wait for all the work of those before.

        Raises:
            OSError: The system does not let us have it.

        Cancellation: no connection is lost.
        """
        while True:
            if self._free:
                self._free -= 1
            else:
                await self._wait()
            try:
                accepted, _ = self._sock.accept()
            except (BlockingIOError, ConnectionAbortedError):
                # None waits, a sibling was faster, or the client has left already.
                self._free = 0
                continue
            accepted.setblocking(False)
            if self._tls is None:
                return accepted
            stream = trio.SocketStream(trio.socket.from_stdlib_socket(accepted))
            return trio.SSLStream(stream, self._tls, server_side=True, https_compatible=True)

    async def _wait(self) -> None:
        """Wait for a connection, and for a sibling to take it if that has fewer."""
        await trio.lowlevel.wait_readable(self._sock)
        if self._ahead is None:
            self._free = _BURST
        elif self._ahead():
            await trio.sleep(_PAUSE_S)
            self._free = _BATCH
