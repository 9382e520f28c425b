"""Requests that are sent without waiting: several of them are waited for in one task.

A task for each would cost more than what it does. Where all connections are busy they stand in line
as tasks do, and each is sent the moment its turn comes, by whoever gives a connection back.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, TypeVar

import msgspec
import trio

from gateway.core.deadline import whole_ms
from gateway.core.errors import Unreachable
from gateway.net.connection import Connection
from gateway.net.messages import HttpReply, Origin
from gateway.net.request import IDEMPOTENT

if TYPE_CHECKING:
    from gateway.net.http1 import Http1Client

__all__ = ["Queued", "Sent", "Wanted"]

T = TypeVar("T")


class Wanted(msgspec.Struct, Generic[T], frozen=True):
    """What is asked, ready to be sent.

    Args:
        client: Who sends it.
        origin: Who is asked.
        method: As in `head`.
        head: As for `Http1Client.begin`.
        content: The whole body, perhaps empty.
        convert: From the reply to what is given.
    """

    client: Http1Client
    origin: Origin
    method: str
    head: bytes
    content: bytes
    convert: Callable[[HttpReply], T]


class Sent(Generic[T]):
    """A request that was sent without waiting: a `Begun` of whatever its reply is made into.

    Args:
        wanted: What is asked.
        connection: Over which; its until it is closed.
    """

    deadline = math.inf

    __slots__ = ("_broken", "_connection", "_wanted")

    def __init__(self, wanted: Wanted[T], connection: Connection) -> None:
        self._wanted = wanted
        self._connection: Connection | None = connection
        self._broken = False

    def send(self, left_ms: int | None) -> bool:
        """Send it with so much of the budget left; whether all of it went."""
        wanted = self._wanted
        head = wanted.client.ended(wanted.head, left_ms)
        return self._used().ask_at_once(head + wanted.content, bodiless=wanted.method == "HEAD")

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
        reply = self._wanted.client.whole_at_hand(connection)
        if reply is None:
            return None
        self.close()
        return self._wanted.convert(reply)

    async def finish(self) -> T:
        """As `Begun`."""
        connection = self._used()
        if not self._broken and not connection.headed:
            try:
                await connection.read_head()
            except Unreachable as error:
                self._judge(error)
        wanted = self._wanted
        if self._broken:
            await wanted.client.ask_anew(connection, wanted.method, wanted.head, wanted.content)
        reply = await wanted.client.whole(connection)
        self.close()
        return self._wanted.convert(reply)

    def _judge(self, error: Unreachable) -> None:
        """Take note that the connection broke, if the request may be sent again."""
        if not self._used().may_repeat(error, repeatable=self._wanted.method in IDEMPOTENT):
            raise error
        self._broken = True

    async def send_now(self) -> None:
        """Send it, which was not begun, with what is left of the budget of who waits for it now.

        Raises:
            GatewayError: As `Http1Client.begin`.
        """
        wanted = self._wanted
        await wanted.client.ask_over(self._used(), wanted.method, wanted.head, wanted.content)

    def break_off(self) -> None:
        """Have it sent again by `finish`: it was not sent, or not all of it."""
        self._broken = True

    def _used(self) -> Connection:
        if self._connection is None:
            raise trio.ClosedResourceError("the request was closed")
        return self._connection

    def close(self) -> None:
        """As `Begun`."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._wanted.client.pool.give_back(connection)


class Queued(Generic[T]):
    """A request that waits for a connection, and is sent when its turn comes: a `Begun` likewise.

    Args:
        wanted: What is asked.
        until: The end of its budget, on Trio's clock; may be inf.
    """

    deadline = math.inf

    __slots__ = ("_late", "_placed", "_sent", "_tell", "_until", "_waits", "_wanted")

    def __init__(self, wanted: Wanted[T], until: float) -> None:
        self._wanted = wanted
        self._until = until
        self._waits = wanted.client.pool.queue(wanted.origin, self._turn)
        self._placed = False
        self._late = False
        self._sent: Sent[T] | None = None
        self._tell: Callable[[], None] | None = None

    @property
    def waits(self) -> bool:
        """Whether it does: at first, whether there was need to."""
        return self._waits

    def _turn(self, connection: Connection | None) -> None:
        """Take the place, and send it if a connection comes with that; else it is to be finished."""
        self._waits = False
        if connection is None:
            self._placed = True
            self._told()
            return
        self._sent = sent = Sent(self._wanted, connection)
        left_s = self._until - trio.current_time()
        self._late = left_s < 0.001
        if self._late:
            self._told()
        elif sent.send(whole_ms(left_s)):
            sent.listen(self._told)
        else:
            sent.break_off()
            self._told()

    def _told(self) -> None:
        if self._tell is not None:
            self._tell()

    def listen(self, tell: Callable[[], None]) -> None:
        """As `Begun`."""
        self._tell = tell

    def take(self) -> T | None:
        """As `Begun`."""
        return None if self._sent is None or self._late else self._sent.take()

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
            connection = await self._wanted.client.pool.open(self._wanted.origin)
            self._sent = Sent(self._wanted, connection)
            self._sent.break_off()
        if self._sent is None:
            raise trio.ClosedResourceError("the request was closed")
        if self._late:
            self._late = False
            await self._sent.send_now()
        return await self._sent.finish()

    def close(self) -> None:
        """As `Begun`."""
        self._tell = None
        pool = self._wanted.client.pool
        if self._waits:
            self._waits = False
            pool.unqueue(self._turn)
        if self._placed:
            self._placed = False
            pool.leave()
        sent, self._sent = self._sent, None
        if sent is not None:
            sent.close()
