"""The least time in which a call has succeeded lately: with less left it is not made."""

from __future__ import annotations

import math

from gateway.config.units import format_duration

__all__ = ["FIXED", "Fastest"]

_WINDOW_S = 15.0
_LEAST = 10

FIXED = {
    "fail fast: by replies of the last": format_duration(_WINDOW_S),
    "fail fast: by at least so many": _LEAST,
}
"""The numbers that no key sets."""


class Fastest:
    """The least of what a call took, over the last 15 to 30 seconds.

    It forgets: a call that is never made, for lack of time, would show nobody that it has become
    faster. After that time without a success it is made again.

    Attributes:
        least_s: Seconds; 0 while fewer than ten successes are known.
    """

    __slots__ = ("_before", "_count", "_count_before", "_end", "_least", "least_s")

    def __init__(self) -> None:
        self.least_s = 0.0
        self._least = self._before = math.inf
        self._count = self._count_before = 0
        self._end = -math.inf

    def add(self, seconds: float, now: float) -> None:
        """Take note of a success at a time on Trio's clock."""
        if now >= self._end:
            self._turn(now)
        self._count += 1
        if seconds < self._least:  # noqa: PLR1730 - on every call's way
            self._least = seconds
        if self._count + self._count_before >= _LEAST:
            self.least_s = min(self._before, self._least)

    def exceeds(self, left_s: float, now: float) -> bool:
        """Whether nothing has succeeded in so little time."""
        if self.least_s <= left_s:
            return False
        if now >= self._end:
            self._turn(now)
        return self.least_s > left_s

    def _turn(self, now: float) -> None:
        """Begin another window; the one before counts on if it has only just ended."""
        if now < self._end + _WINDOW_S:
            self._before, self._count_before = self._least, self._count
        else:
            self._before, self._count_before = math.inf, 0
        self.least_s = self._before if self._count_before >= _LEAST else 0.0
        self._least, self._count = math.inf, 0
        self._end = now + _WINDOW_S
