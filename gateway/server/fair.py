"""Accepting where several processes accept on one socket, so that each gets its share.

The system wakes all of them for every connection, and the fastest takes it: the one that has just
taken another. So the one that has more than its least busy sibling lets that one go first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

__all__ = ["FairListener"]

_PAUSE_S = 0.001
"""Enough for a sibling whose loop is free."""

_BATCH = 4
"""So many are accepted after a pause before the next one: a sibling whose loop is busy for long does
not hold up everyone's."""


class FairListener(trio.abc.Listener[trio.SocketStream]):
    """A listener that steps back for a moment when somebody else has fewer connections.

    Args:
        sock: Listening, non-blocking.
        ahead: Whether this process has more connections than another.
    """

    def __init__(self, sock: socket.socket, ahead: Callable[[], bool]) -> None:
        self._sock = sock
        self._ahead = ahead
        self._free = 0

    async def accept(self) -> trio.SocketStream:
        """The next connection.

        Raises:
            OSError: The system does not let us have it.

        Cancellation: no connection is lost.
        """
        while True:
            await trio.lowlevel.wait_readable(self._sock)
            if self._free:
                self._free -= 1
            elif self._ahead():
                await trio.sleep(_PAUSE_S)
                self._free = _BATCH
            try:
                accepted, _ = self._sock.accept()
            except BlockingIOError:  # a sibling was faster
                self._free = 0
                continue
            return trio.SocketStream(trio.socket.from_stdlib_socket(accepted))

    async def aclose(self) -> None:
        """Close the socket."""
        self._sock.close()
        await trio.lowlevel.checkpoint()
