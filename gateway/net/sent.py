"""A request that was sent without waiting: several of them are waited for in one task.

A task for each would cost more than what it does.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, TypeVar

import trio

from gateway.core.errors import Unreachable
from gateway.net.connection import Connection
from gateway.net.messages import HttpReply
from gateway.net.request import IDEMPOTENT

if TYPE_CHECKING:
    from gateway.net.http1 import Http1Client

__all__ = ["Sent"]

T = TypeVar("T")


class Sent(Generic[T]):
    """A request that was sent without waiting: a `Begun` of whatever its reply is made into.

    Args:
        client: Whose it is.
        connection: Over which; its until it is closed.
        convert: From its reply to what is given.
        method: As in `head`.
        head: As for `Http1Client.begin`.
        content: The whole body, perhaps empty.
    """

    deadline = math.inf

    __slots__ = ("_broken", "_client", "_connection", "_content", "_convert", "_head", "_method")

    def __init__(
        self,
        client: Http1Client,
        connection: Connection,
        convert: Callable[[HttpReply], T],
        *,
        method: str,
        head: bytes,
        content: bytes,
    ) -> None:
        self._client = client
        self._connection: Connection | None = connection
        self._method = method
        self._head = head
        self._content = content
        self._convert = convert
        self._broken = False

    def send(self, head: bytes) -> bool:
        """Send it with this head; whether all of it went, and its reply will be told of."""
        connection = self._used()
        return connection.ask_at_once(head + self._content, bodiless=self._method == "HEAD")

    def listen(self, tell: Callable[[], None]) -> None:
        """As `Begun`."""
        self._used().listen(tell)

    def take(self) -> T | None:
        """As `Begun`."""
        connection = self._used()
        try:
            if not connection.read_at_once():
                return None
        except Unreachable as error:
            self._judge(error)
            return None
        reply = self._client.whole_at_hand(connection)
        if reply is None:
            return None
        self.close()
        return self._convert(reply)

    async def finish(self) -> T:
        """As `Begun`."""
        connection = self._used()
        if not self._broken and not connection.headed:
            try:
                await connection.read_head()
            except Unreachable as error:
                self._judge(error)
        if self._broken:
            await self._client.ask_anew(connection, self._method, self._head, self._content)
        reply = await self._client.whole(connection)
        self.close()
        return self._convert(reply)

    def _judge(self, error: Unreachable) -> None:
        """Take note that the connection broke, if the request may be sent again."""
        if not self._used().may_repeat(error, repeatable=self._method in IDEMPOTENT):
            raise error
        self._broken = True

    def _used(self) -> Connection:
        if self._connection is None:
            raise trio.ClosedResourceError("the request was closed")
        return self._connection

    def close(self) -> None:
        """As `Begun`."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._client.pool.give_back(connection)
