"""Requests that are sent without waiting: several of them are waited for in one task.

A task for each would cost more than what it does. Where all connections are busy they stand in line
as tasks do, and each is sent the moment its turn comes, by whoever gives a connection back.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, TypeVar

import trio

from gateway.core.deadline import whole_ms
from gateway.core.errors import Unreachable
from gateway.net.connection import Connection
from gateway.net.messages import HttpReply, Origin
from gateway.net.request import IDEMPOTENT

if TYPE_CHECKING:
    from gateway.net.http1 import Http1Client

__all__ = ["Queued", "Sent"]

T = TypeVar("T")


class Sent(Generic[T]):
    """A request that was sent without waiting: a `Begun` of whatever its reply is made into.

    Args:
        client: Who sends it.
        method: As in `head`.
        head: As for `Http1Client.begin`.
        content: The whole body, perhaps empty.
        convert: From the reply to what is given.
        connection: Over which; its until it is closed. `None`: it has none yet.
    """

    deadline = math.inf

    __slots__ = ("_broken", "_client", "_connection", "_content", "_convert", "_head", "_method")

    def __init__(  # noqa: PLR0917 - made in one place
        self,
        client: Http1Client,
        method: str,
        head: bytes,
        content: bytes,
        convert: Callable[[HttpReply], T],
        connection: Connection | None,
    ) -> None:
        self._client = client
        self._method = method
        self._head = head
        self._content = content
        self._convert = convert
        self._connection = connection
        self._broken = False

    def send(self, left_ms: int | None) -> bool:
        """Send it with so much of the budget left; whether all of it went."""
        data = self._client.ended(self._head, left_ms) + self._content
        return self._used().ask_at_once(data, bodiless=self._method == "HEAD")

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
        self._give_back()
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
        self._give_back()
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

    def _give_back(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            self._client.pool.give_back(connection)

    def close(self) -> None:
        """As `Begun`."""
        self._give_back()


class Queued(Sent[T]):
    """A request that waits for a connection, and is sent when its turn comes.

    Args:
        client: As `Sent`.
        method: As `Sent`.
        head: As `Sent`.
        content: As `Sent`.
        convert: As `Sent`.
        origin: Who is asked.
        until: The end of its budget, on Trio's clock; may be inf.
    """

    __slots__ = ("_late", "_origin", "_placed", "_tell", "_until", "_waits")

    def __init__(  # noqa: PLR0917 - made in one place
        self,
        client: Http1Client,
        method: str,
        head: bytes,
        content: bytes,
        convert: Callable[[HttpReply], T],
        origin: Origin,
        until: float,
    ) -> None:
        super().__init__(client, method, head, content, convert, None)
        self._origin = origin
        self._until = until
        self._placed = False
        self._late = False
        self._tell: Callable[[], None] | None = None
        self._waits = client.pool.queue(origin, self._turn)

    @property
    def waits(self) -> bool:
        """Whether it does: at first, whether there was need to."""
        return self._waits

    def _turn(self, connection: Connection | None) -> None:
        """Take the place, and send it if a connection comes with that; else it is to be finished."""
        self._waits = False
        self._connection = connection
        tell, self._tell = self._tell, None  # it may hold us: no cycle is to be left
        if connection is None:
            self._placed = True
        else:
            left_s = self._until - trio.current_time()
            self._late = left_s < 0.001
            if not self._late:
                if self.send(whole_ms(left_s)):
                    if tell is not None:
                        connection.listen(tell)
                    return
                self._broken = True  # `finish` sends it again
        if tell is not None:
            tell()

    def listen(self, tell: Callable[[], None]) -> None:
        """As `Begun`."""
        self._tell = tell

    def take(self) -> T | None:
        """As `Begun`."""
        return None if self._connection is None or self._late else super().take()

    async def finish(self) -> T:
        """As `Begun`."""
        if self._waits:
            # Not always who began it: a call that several wait for lasts as long as any of them.
            self._until = trio.current_effective_deadline()
            turn = trio.Event()
            self._tell = turn.set
            await turn.wait()
        self._tell = None
        if self._placed:
            self._placed = False
            self._connection = await self._client.pool.open(self._origin)
            self._broken = True  # it was not sent
        if self._late:
            self._late = False
            await self._client.ask_over(self._used(), self._method, self._head, self._content)
        return await super().finish()

    def close(self) -> None:
        """As `Begun`."""
        self._tell = None
        pool = self._client.pool
        if self._waits:
            self._waits = False
            pool.unqueue(self._turn)
        if self._placed:
            self._placed = False
            pool.leave()
        super().close()
