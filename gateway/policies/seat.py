"""One of several who wait for the same call, each at his own pace."""

from __future__ import annotations

from collections import deque

import trio

from gateway.core.messages import Partial
from gateway.core.service import Emit

__all__ = ["Seat"]

_AHEAD = 64
"""Partials that may wait for one who is slow to take them."""


class Seat:
    """One who waits for a flight, and what has been emitted for him and is not passed on yet.

    Args:
        emit: Takes it.
    """

    __slots__ = ("_emit", "_items", "_left", "_news", "_room", "_task")

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._items: deque[Partial] = deque()
        self._news = False
        self._task: trio.lowlevel.Task | None = None
        self._room: trio.Event | None = None
        self._left = False

    def wake(self) -> None:
        """Let `pass_on` go on."""
        self._news = True
        task, self._task = self._task, None
        if task is not None:
            trio.lowlevel.reschedule(task)

    async def take(self, item: Partial) -> None:
        """Take `item`; wait while there are too many."""
        while len(self._items) >= _AHEAD and not self._left:
            self._room = trio.Event()
            await self._room.wait()
        self._items.append(item)
        self.wake()

    async def pass_on(self, *, wait: bool = True) -> None:
        """Pass on what there is; with `wait`, once there is something or the flight is over."""
        if wait and not self._news:
            self._task = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._abort)
        self._news = False
        while self._items:
            await self._emit(self._items.popleft())
            self._make_room()

    def _abort(self, _raise_cancel: object) -> trio.lowlevel.Abort:
        self._task = None
        return trio.lowlevel.Abort.SUCCEEDED

    def _make_room(self) -> None:
        if self._room is not None:
            self._room.set()

    def leave(self) -> None:
        """Hold nobody back any more."""
        self._left = True
        self._make_room()
