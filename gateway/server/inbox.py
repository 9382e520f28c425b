"""What a WebSocket's application has yet to receive."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import trio

if TYPE_CHECKING:
    from collections.abc import MutableMapping

__all__ = ["Inbox"]

_ABNORMAL = 1006
"""The code of a close that nobody announced (RFC 6455, section 7.1.5)."""
_MESSAGE_BYTES = 256
"""What a message costs, empty as it may be."""


class Inbox:
    """Messages for one application. To the application it is also its `Peer`.

    After the disconnect every further `receive` gets it again at once.

    Args:
        max_bytes: How much waits before `until_room` does.

    Attributes:
        left: Whether the client has left.
        cancels: Cancelled when the client leaves; whoever works for it sets it.
        told: Set once the application knows of the disconnect, or has ended.
    """

    __slots__ = (
        "_closed",
        "_disconnect",
        "_max_bytes",
        "_messages",
        "_size",
        "_waiting",
        "cancels",
        "left",
        "told",
    )

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._messages: deque[tuple[MutableMapping[str, Any], int]] = deque()
        self._size = 0
        self._disconnect: MutableMapping[str, Any] | None = None
        self._closed = False
        self._waiting = trio.lowlevel.ParkingLot()
        self.told = trio.Event()
        self.left = False
        self.cancels: trio.CancelScope | None = None

    def put(self, message: MutableMapping[str, Any], size: int) -> None:
        """Deliver `message`, of `size` bytes; dropped if nobody will receive it."""
        if not self._closed and self._disconnect is None:
            self._messages.append((message, size))
            self._size += size + _MESSAGE_BYTES
            self._waiting.unpark_all()

    async def until_room(self) -> None:
        """Wait until there is room for more, or nobody will receive it."""
        while self._size >= self._max_bytes:
            await self._waiting.park()

    def end(self, code: int, reason: str) -> None:
        """Deliver the disconnect, behind what is there."""
        if self._disconnect is None:
            message = {"type": "websocket.disconnect", "code": code, "reason": reason}
            self._disconnect = message
            self._waiting.unpark_all()

    def leave(self) -> None:
        """Take note that the client has left: what is there is dropped."""
        self.left = True
        self.end(_ABNORMAL, "")
        self._drop()
        if self.cancels is not None:
            self.cancels.cancel()

    def close(self) -> None:
        """Nobody will receive any more: what is there is dropped."""
        self._closed = True
        self.told.set()
        self._drop()

    def _drop(self) -> None:
        self._messages.clear()
        self._size = 0
        self._waiting.unpark_all()

    def body_at_hand(self) -> None:
        """A WebSocket's handshake has no body."""

    async def receive(self) -> MutableMapping[str, Any]:
        """The client's next message: the ASGI `receive`.

        Cancellation: nothing is lost; it may be called again.
        """
        while not self._messages:
            if self._disconnect is not None:
                self.told.set()
                return self._disconnect
            await self._waiting.park()
        message, size = self._messages.popleft()
        self._size -= size + _MESSAGE_BYTES
        self._waiting.unpark_all()
        return message
