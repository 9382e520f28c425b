"""Who has left: told of every client that closes its connection, whatever else it still sends.

A read sees the end of a connection only behind everything that was sent before it, so a client's
leaving would stay unseen while a pipelined request or a body that nobody reads waits. Linux's
epoll tells of the end itself: each connection is registered once, and no request costs anything.
"""

from __future__ import annotations

import select
import sys
from typing import TYPE_CHECKING

from gateway.net.readiness import Watch

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.server.wire import Socket

__all__ = ["Departures"]


class Departures:
    """Tells of clients that leave; one for all of a worker's connections.

    Args:
        half_close: Whether a client that will send no more, but may still read, counts as having
            left. A client that closes its connection looks the same until it is sent something.

    Source: epoll(7), EPOLLRDHUP and EPOLLET.
    """

    def __init__(self, *, half_close: bool) -> None:
        self._watch = Watch()
        self._events = select.EPOLLET | (select.EPOLLRDHUP if half_close else 0)

    @staticmethod
    def supported() -> bool:
        """Whether this system has what it takes."""
        return sys.platform == "linux"

    def watch(self, sock: Socket, tell: Callable[[], None]) -> None:
        """Call `tell` when the client at the other end of `sock` has left.

        Args:
            sock: Connected. `forget` it before it is closed.
            tell: Called once or twice, in the loop's thread; it neither raises nor waits.

        Raises:
            OSError: The system watches too many already.
        """
        self._watch.add(sock.fileno(), self._events, lambda _events: tell())

    def forget(self, sock: Socket) -> None:
        """Tell of `sock` no more. May be called again, but not once it is closed."""
        self._watch.remove(sock.fileno())

    async def run(self) -> None:
        """Watch until cancelled."""
        await self._watch.run()
