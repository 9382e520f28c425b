"""How much a client may send of what is cheap to send, and is not to take."""

from __future__ import annotations

import trio

__all__ = ["Allowance"]


class Allowance:
    """So many at once; more as time passes, and as the client does what it came for.

    Args:
        burst: How many at once.
        per_second: How many more each second, up to `burst`.
    """

    __slots__ = ("_burst", "_left", "_per_second", "_since")

    def __init__(self, burst: int, per_second: float) -> None:
        self._burst = burst
        self._per_second = per_second
        self._left = float(burst)
        self._since = trio.current_time()

    def spend(self) -> bool:
        """Take one; whether there was one left."""
        if self._left < 1:
            now = trio.current_time()
            earned = (now - self._since) * self._per_second
            self._left = min(self._left + earned, self._burst)
            self._since = now
        self._left -= 1
        return self._left >= 0

    def earn(self, more: int) -> None:
        """Give `more`, up to ten times the burst."""
        self._left = min(self._left + more, 10 * self._burst)
