"""What waits to be sent on an HTTP/2 connection, and the task that sends it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from gateway.server.wire import Wire

__all__ = ["Outgoing"]

_MOST_BYTES = 64 * 1024
"""So much waits before those who send wait too."""


class Outgoing:
    """Whole frames, handed over by requests and sent by a task that is none of theirs.

    Args:
        wire: Where they go.
    """

    __slots__ = ("_data", "_news", "_over", "_waiting", "_wire")

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._data = bytearray()
        self._news = trio.Event()
        self._over = False
        self._waiting = trio.lowlevel.ParkingLot()

    @property
    def full(self) -> bool:
        """Whether so much waits that nothing should be added."""
        return len(self._data) >= _MOST_BYTES

    def put(self, data: bytes) -> None:
        """Have `data` sent."""
        if data:
            self._data += data
            self._news.set()

    def end(self) -> None:
        """Nothing more comes: what is there is sent, and then the connection's end."""
        self._over = True
        self._news.set()

    async def until_changed(self) -> None:
        """Wait until something was sent, or `wake` is called."""
        await self._waiting.park()

    def wake(self) -> None:
        """Let who waits look again: a window was opened, or the client has left."""
        self._waiting.unpark_all()

    async def run(self) -> None:
        """Send what there is until `end`.

        Raises:
            Gone: The client left, or did not read.
        """
        while True:
            while self._data:
                data, self._data = bytes(self._data), bytearray()
                await self._wire.send(data)
                self.wake()
            if self._over:
                break
            self._news = trio.Event()
            await self._news.wait()
        await self._wire.send_eof()
