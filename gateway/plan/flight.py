"""Calls that were begun, and are waited for in one task: a task for each would cost more than it does."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from functools import partial

import trio

from gateway.core.begun import Begun
from gateway.plan.plan import Node

__all__ = ["Flight"]


class Flight:
    """The calls under way of one request. To be closed, whatever happens."""

    __slots__ = ("_begun", "_limited", "_task", "_told")

    def __init__(self) -> None:
        self._begun: dict[str, tuple[Node, Begun]] = {}
        self._told: deque[str] = deque()
        self._task: trio.lowlevel.Task | None = None
        self._limited = False

    def __bool__(self) -> bool:
        return bool(self._begun)

    def add(self, node: Node, begun: Begun) -> None:
        """Have `node`'s call among them."""
        self._begun[node.name] = (node, begun)
        self._limited = self._limited or begun.deadline < math.inf
        begun.listen(partial(self._tell, node.name))

    def _tell(self, name: str) -> None:
        self._told.append(name)
        task, self._task = self._task, None
        if task is not None:
            trio.lowlevel.reschedule(task)

    async def told(self) -> tuple[Node, Begun]:
        """The next call of which something came, in the order in which it did, or whose time is over.

        Cancellation: nothing is lost.
        """
        if not self._limited and not self._told:
            await self._wait()
        while not self._told:
            calls = [(begun.deadline, name) for name, (_, begun) in self._begun.items()]
            with trio.CancelScope(deadline=min(calls)[0]):
                await self._wait()
            now = trio.current_time()
            if not self._told:
                self._told += [name for deadline, name in calls if deadline <= now]
        return self._begun[self._told.popleft()]

    async def _wait(self) -> None:
        self._task = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(self._abort)

    def _abort(self, _raise_cancel: Callable[[], None]) -> trio.lowlevel.Abort:
        self._task = None
        return trio.lowlevel.Abort.SUCCEEDED

    def end(self, node: Node) -> None:
        """Close `node`'s call: its reply was taken, or will not come."""
        self._begun.pop(node.name)[1].close()

    def remove(self, node: Node) -> Begun | None:
        """Have `node`'s call no more: who takes it closes it. `None` if it is not among them."""
        found = self._begun.pop(node.name, None)
        return None if found is None else found[1]

    @property
    def nodes(self) -> list[Node]:
        """Whose calls are among them still."""
        return [node for node, _ in self._begun.values()]

    def close(self) -> None:
        """End those that are still among them."""
        for _, begun in self._begun.values():
            begun.close()
        self._begun.clear()
