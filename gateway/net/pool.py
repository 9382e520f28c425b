"""The connections of one service: few, warm, and none lost to a cancellation.

A place is had before a connection is: who has one holds at most one connection. Who waits for a
place stands in a queue, a task or a request that is sent when its turn comes; a connection that comes
back is handed to the first. Every step between two checkpoints leaves the books right, so a
cancellation at any checkpoint does.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import outcome
import trio

from gateway.net.connection import Connection
from gateway.net.messages import Origin
from gateway.net.wire import Wire

__all__ = ["Pool", "Turn"]

Turn: TypeAlias = Callable[[Connection | None], None]
"""Takes the place that was waited for, and perhaps the connection in it; neither raises nor waits."""

IDLE_S = 15.0
"""How long a connection is kept that nobody uses: less than most servers wait."""


class Pool:
    """At most so many connections, the warmest used first.

    Args:
        connect: Opens one.
        max_connections: Open at once, idle ones included.
    """

    def __init__(self, connect: Callable[[Origin], Awaitable[Wire]], max_connections: int) -> None:
        self._connect = connect
        self._places = max_connections
        self._taken = 0
        self._waiting: OrderedDict[Turn, Origin] = OrderedDict()
        # By origin, each the longest idle first, none of them empty.
        self._idle: dict[Origin, deque[Connection]] = {}
        self._idle_count = 0
        self._some_idle = trio.Event()
        self._closed = False

    @property
    def taken(self) -> int:
        """Places taken: requests under way."""
        return self._taken

    @property
    def idle(self) -> int:
        """Connections that are open and not in use."""
        return self._idle_count

    @property
    def waiting(self) -> int:
        """Requests that wait for a place."""
        return len(self._waiting)

    async def take(self, origin: Origin) -> Connection:
        """A connection to `origin`: the one last used, else a new one. First come, first served.

        It is to be given back, whatever happens.

        Raises:
            Unreachable: It could not be opened.
            DeadlineExceeded: Less than 1 ms was left when its name could be looked up.

        Cancellation: the place is given back, or the turn passed on.
        """
        if self._taken < self._places:
            self._taken += 1
            connection = self._warmest(origin)
        else:
            connection = await self._turn(origin)
        return connection or await self.open(origin)

    def take_warm(self, origin: Origin) -> Connection | None:
        """As `take`, if there is one that need not be waited for; else nothing is taken."""
        if self._taken < self._places:
            connection = self._warmest(origin)
            if connection is not None:
                self._taken += 1
                return connection
        return None

    def queue(self, origin: Origin, turn: Turn) -> bool:
        """Call `turn` once it is its turn, if all places are taken; whether they are.

        With it comes a place, to be given back with its connection, or to be `leave`d.
        """
        if self._taken < self._places:
            return False
        self._waiting[turn] = origin
        return True

    def unqueue(self, turn: Turn) -> None:
        """Do not call `turn`, which has not been called yet."""
        del self._waiting[turn]

    async def open(self, origin: Origin) -> Connection:
        """A new connection in a place that is had.

        Raises:
            Unreachable, DeadlineExceeded: As `take`; the place is left.

        Cancellation: the place is left.
        """
        if self._idle_count > self._places - self._taken:
            self._evict()
        try:
            return Connection(origin, await self._connect(origin))
        except BaseException:
            self.leave()
            raise

    async def renew(self, connection: Connection) -> None:
        """Let `connection`, which broke, go on over a new one in its place.

        Raises:
            Unreachable: It could not be opened; `connection` is still to be given back.
        """
        connection.close()
        connection.restart(await self._connect(connection.origin))

    def give_back(self, connection: Connection) -> None:
        """Take back a connection, in whatever state: it is closed unless it may serve another."""
        if self._closed or not connection.reusable:
            connection.close()
            self.leave()
            return
        connection.reused = True
        if self._waiting:
            self._hand_over(connection)
            return
        self._taken -= 1
        connection.idle_since = trio.current_time()
        found = self._idle.get(connection.origin)
        if found is None:
            found = self._idle[connection.origin] = deque()
        found.append(connection)
        if not self._idle_count:
            self._some_idle.set()
        self._idle_count += 1

    def leave(self) -> None:
        """Leave a place without a connection to who has waited longest."""
        if self._waiting:
            self._hand_over(None)
        else:
            self._taken -= 1

    def _hand_over(self, connection: Connection | None) -> None:
        """Give a place, and the connection in it if it leads there, to who has waited longest."""
        turn, origin = self._waiting.popitem(last=False)
        if connection is not None and connection.origin != origin:
            connection.close()
            connection = None
        turn(connection)

    async def _turn(self, origin: Origin) -> Connection | None:
        """Wait for a place; with it may come a connection."""
        task = trio.lowlevel.current_task()

        def turn(connection: Connection | None) -> None:
            trio.lowlevel.reschedule(task, outcome.Value(connection))

        def abort(_raise_cancel: trio.lowlevel.RaiseCancelT) -> trio.lowlevel.Abort:
            # Once it was its turn Trio does not come here any more: the place is not lost.
            self.unqueue(turn)
            return trio.lowlevel.Abort.SUCCEEDED

        self._waiting[turn] = origin

        connection: Connection | None = await trio.lowlevel.wait_task_rescheduled(abort)
        return connection

    def _warmest(self, origin: Origin) -> Connection | None:
        """The connection to `origin` that was used last and is still good."""
        idle = self._idle.get(origin)
        if idle is None:
            return None
        oldest_s = trio.current_time() - IDLE_S
        connection: Connection | None = None
        while idle and connection is None:
            connection = idle.pop()
            self._idle_count -= 1
            if connection.idle_since < oldest_s or connection.is_stale():
                connection.close()
                connection = None
        if not idle:
            del self._idle[origin]
        return connection

    def _evict(self) -> None:
        """Make room: close an idle connection to some other origin, for none leads to this one."""
        origin, idle = next(iter(self._idle.items()))
        self._close_oldest(origin, idle)

    def _close_oldest(self, origin: Origin, idle: deque[Connection]) -> None:
        idle.popleft().close()
        self._idle_count -= 1
        if not idle:
            del self._idle[origin]

    async def expire(self) -> None:
        """Close what is idle for too long, until cancelled: one task for all of them."""
        while True:
            await self._some_idle.wait()
            await trio.sleep(IDLE_S)
            oldest_s = trio.current_time() - IDLE_S
            for origin, idle in list(self._idle.items()):
                while idle and idle[0].idle_since <= oldest_s:
                    self._close_oldest(origin, idle)
            if not self._idle:
                self._some_idle = trio.Event()

    def close(self) -> None:
        """Close what is idle; what is in use is closed when it comes back."""
        self._closed = True
        for idle in self._idle.values():
            for connection in idle:
                connection.close()
        self._idle.clear()
        self._idle_count = 0
