"""Calls that were begun, and are waited for in one task: a task for each would cost more than it does.

So would a cancel scope for their request, where all there is to be woken for is a reply, the end of
the budget, or the client's leaving.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, Self

import trio

from gateway.core.alarms import Alarms
from gateway.core.begun import Begun
from gateway.net.asgi import ends_with_client
from gateway.plan.plan import Node

__all__ = ["Ends", "Flight"]


class Ends(Protocol):
    """What ends by itself at a time, or when it is told to: a cancel scope, a flight.

    Attributes:
        deadline: When, on Trio's clock.
    """

    deadline: float

    def cancel(self) -> None:
        """Have it end now."""
        ...


class Flight:
    """The calls under way of one request: a context that leaves none of them.

    It stands where the request's cancel scope would, and ends as one does, but for what is done in
    it: that has to ask.

    Args:
        roots: Where it stands.
        alarms: Where it waits for its time.
        deadline: When it ends, on Trio's clock; may be moved.

    Attributes:
        over: Whether it has ended: by its deadline, or since it was cancelled.
    """

    __slots__ = ("_alarms", "_at", "_begun", "_deadline", "_roots", "_task", "_told", "over")

    def __init__(self, roots: set[Ends], alarms: Alarms, deadline: float) -> None:
        self._roots = roots
        self._alarms = alarms
        self._deadline = self._at = deadline
        self._begun: dict[str, _UnderWay] = {}
        self._told: list[_UnderWay] = []
        self._task: trio.lowlevel.Task | None = None
        self.over = False

    def __enter__(self) -> Self:
        self._roots.add(self)
        ends_with_client(self)
        return self

    def __exit__(self, *_exc_info: object) -> None:
        self.land()
        for one in self._begun.values():
            one.begun.close()
        self._begun.clear()
        self._told.clear()

    def land(self) -> None:
        """Stand there no more: a scope has to, for there is more to wait for than replies."""
        self._roots.discard(self)
        self._alarms.drop(self)

    @property
    def deadline(self) -> float:
        """When it ends."""
        return self._deadline

    @deadline.setter
    def deadline(self, deadline: float) -> None:
        self._deadline = deadline
        self._ring()  # the alarm may have been for later

    def cancel(self) -> None:
        """End it."""
        self.over = True
        self._wake()

    def __bool__(self) -> bool:
        return bool(self._begun)

    def add(self, node: Node, begun: Begun) -> None:
        """Have `node`'s call among them."""
        self._begun[node.name] = one = _UnderWay(self, node, begun)
        self._at = min(self._at, begun.deadline)
        begun.listen(one)

    def tell(self, one: _UnderWay) -> None:
        """Something came of one of them."""
        self._told.append(one)
        self._wake()

    def _wake(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            trio.lowlevel.reschedule(task)

    async def told(self) -> tuple[Node, Begun] | None:
        """The next call of which something came, or whose own time has come, in that order.

        Returns:
            `None` if the flight is over.

        Cancellation: nothing is lost.
        """
        while not self.over:
            while self._told:
                one = self._told.pop(0)
                if self._begun.get(one.node.name) is one:
                    return one.node, one.begun
            self._alarms.add(self, Flight._ring, self._at)
            self._task = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._abort)
        return None

    def _ring(self) -> None:
        """Look at whose time has come, and when the next one's will."""
        now = trio.current_time()
        self.over = self.over or self._deadline <= now
        self._at = self._deadline
        for one in self._begun.values():
            if one.begun.deadline <= now:
                self._told.append(one)
            else:
                self._at = min(self._at, one.begun.deadline)
        if self.over or self._told:
            self._wake()
        elif self._task is not None:
            self._alarms.add(self, Flight._ring, self._at)

    def _abort(self, _raise_cancel: Callable[[], None]) -> trio.lowlevel.Abort:
        self._task = None
        return trio.lowlevel.Abort.SUCCEEDED

    def end(self, node: Node, *, failed: bool) -> None:
        """Have `node`'s call no more: its reply was taken, or will not come, for it has failed."""
        one = self._begun.pop(node.name)
        if failed:
            one.begun.close()

    def remove(self, node: Node) -> Begun | None:
        """Have `node`'s call no more: who takes it closes it. `None` if it is not among them."""
        one = self._begun.pop(node.name, None)
        return None if one is None else one.begun

    @property
    def nodes(self) -> list[Node]:
        """Whose calls are among them still."""
        return [one.node for one in self._begun.values()]


class _UnderWay:
    """One call of a flight; called when something of its reply came.

    A bound method with its arguments would be three objects more for each call.
    """

    __slots__ = ("_flight", "begun", "node")

    def __init__(self, flight: Flight, node: Node, begun: Begun) -> None:
        self._flight = flight
        self.node = node
        self.begun = begun

    def __call__(self) -> None:
        self._flight.tell(self)
