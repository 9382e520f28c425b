"""What waits for a time of its own, in great numbers, and mostly ends before."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import trio

__all__ = ["Alarms", "alarms"]

T = TypeVar("T")


class Alarms:
    """Rings at the time of whoever waits for one.

    One task sees to all of them, and wakes for the next. Most have gone before: to join and to leave
    costs a tenth of a cancel scope, and to find the next one, when that task wakes, as much as
    there are.
    """

    def __init__(self) -> None:
        self._waiting: dict[Any, tuple[float, Callable[[Any], None]]] = {}
        self._alarm = trio.CancelScope()

    def add(self, who: T, ring: Callable[[T], None], at: float) -> None:
        """Call `ring`, which neither waits nor fails, with `who` at a time on Trio's clock.

        Args:
            who: One that waits already has this time instead.
            ring: As above.
            at: As above; one that has passed is rung for at once.
        """
        self._waiting[who] = (at, ring)
        if at < self._alarm.deadline:  # noqa: PLR1730 - to move a deadline costs more than to look at it
            self._alarm.deadline = at

    def drop(self, who: object) -> None:
        """Let it wait no longer, if it does."""
        self._waiting.pop(who, None)

    async def attend(self) -> None:
        """See to them, until cancelled."""
        while True:
            first = min([at for at, _ in self._waiting.values()], default=math.inf)
            with trio.CancelScope(deadline=first) as self._alarm:
                await trio.sleep_forever()
            now = trio.current_time()
            due = [(who, ring) for who, (at, ring) in self._waiting.items() if at <= now]
            for who, ring in due:
                if self._waiting.pop(who, None) is not None:
                    ring(who)


def alarms() -> Alarms:
    """Those of this loop, which are seen to for as long as it runs."""
    try:
        return _here.get()
    except LookupError:
        made = Alarms()
        _here.set(made)
        trio.lowlevel.spawn_system_task(made.attend)
        return made


_here: trio.lowlevel.RunVar[Alarms] = trio.lowlevel.RunVar("alarms")
