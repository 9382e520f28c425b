"""Virtual time that jumps to whatever happens next, and a schedule that a seed decides."""

from __future__ import annotations

import math
import random
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import trio
from trio._core import _run

__all__ = ["JumpingClock", "run"]

T = TypeVar("T")


class JumpingClock(trio.abc.Clock):
    """Time that passes only while nothing can run, and then at once.

    Trio asks how long to sleep exactly when no task is runnable. The answer is: not at all, it is
    later already. That takes two thirds of the time of `trio.testing.MockClock`, which first
    makes sure by waiting.

    Attributes:
        when_stuck: Called, once, when every task waits and none until a time: nothing can ever
            happen any more by itself. Without it something from outside is waited for.
    """

    def __init__(self) -> None:
        self._now = 0.0
        self.when_stuck: Callable[[], Any] | None = None

    def start_clock(self) -> None:
        """As `trio.abc.Clock`: it is zero until something happens."""

    def current_time(self) -> float:
        """Seconds since the start."""
        return self._now

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Let it be `deadline` now.

        Returns:
            0: nothing is waited for; inf if that is all that is left to do.
        """
        if deadline < math.inf:
            self._now = max(self._now, deadline)
            return 0.0
        tell, self.when_stuck = self.when_stuck, None
        if tell is None:
            return math.inf
        tell()
        return 0.0


def run(work: Callable[[JumpingClock], Awaitable[T]], *, seed: int) -> T:
    """Run `work` in virtual time; with the same seed its tasks take turns in the same order.

    Args:
        work: It is given the clock.
        seed: What the schedule follows from.

    Returns:
        What `work` returns.

    Source: pytest-trio has Trio's schedule follow from a seed in the same way.
    """
    clock = JumpingClock()
    # They are Trio's own, for Hypothesis: nothing public says it.
    internals: Any = _run
    before = internals._r, internals._ALLOW_DETERMINISTIC_SCHEDULING  # noqa: SLF001 - see above
    internals._r = random.Random(f"{seed} schedule")  # noqa: S311, SLF001 - no secret; see above
    internals._ALLOW_DETERMINISTIC_SCHEDULING = True  # noqa: SLF001 - see above
    try:
        return trio.run(work, clock, clock=clock)
    finally:
        internals._r, internals._ALLOW_DETERMINISTIC_SCHEDULING = before  # noqa: SLF001 - see above
