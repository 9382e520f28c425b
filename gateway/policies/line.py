"""Calls that wait for a time of their own, those of a service together."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import trio

__all__ = ["Line"]

T = TypeVar("T")


class Line:
    """Calls that wait for the time at which they are made once more, those of a service together.

    One task sees to all of them, and wakes for the next. Most calls end before: to join and to
    leave costs little, and to find the next one, when that task wakes, as much as there are.
    """

    def __init__(self) -> None:
        self._waiting: dict[Any, tuple[float, Callable[[Any], None]]] = {}
        self._alarm = trio.CancelScope()

    def add(self, call: T, more: Callable[[T], None], at: float) -> None:
        """Call `more`, which neither waits nor fails, with `call` at a time on Trio's clock."""
        self._waiting[call] = (at, more)
        if at < self._alarm.deadline:  # noqa: PLR1730 - to move a deadline costs more than to look at it
            self._alarm.deadline = at

    def drop(self, call: object) -> None:
        """Let `call` wait no longer, if it does."""
        self._waiting.pop(call, None)

    async def attend(self) -> None:
        """See to them, until cancelled."""
        while True:
            first = min([at for at, _ in self._waiting.values()], default=math.inf)
            with trio.CancelScope(deadline=first) as self._alarm:
                await trio.sleep_forever()
            now = trio.current_time()
            due = [(call, more) for call, (at, more) in self._waiting.items() if at <= now]
            for call, more in due:
                if self._waiting.pop(call, None) is not None:
                    more(call)
