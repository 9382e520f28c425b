"""How long something took lately: what waits, and what gives up waiting, is reckoned from."""

from __future__ import annotations

from collections import deque

__all__ = ["FIXED", "Latencies"]

_KEPT = 500
_LEAST = 20
_STALE = 50

FIXED = {"a percentile needs": _LEAST, "it is of the last": _KEPT}
"""The numbers that no key sets."""


class Latencies:
    """The last 500 durations. Percentiles are those of at most 50 additions ago."""

    __slots__ = ("_added", "_found", "_kept", "_ranked")

    def __init__(self) -> None:
        self._kept: deque[float] = deque(maxlen=_KEPT)
        self._ranked: list[float] = []
        self._found: dict[float, float] = {}
        self._added = 0

    def add(self, seconds: float) -> None:
        """Take note of one."""
        self._kept.append(seconds)
        self._added += 1

    def percentile(self, share: float) -> float | None:
        """The least duration in seconds that `share` of them do not exceed, by nearest rank.

        Args:
            share: Above 0, at most 1.

        Returns:
            `None` while there are fewer than 20: nothing can be told from those.
        """
        if self._added >= _STALE or not self._ranked:
            if len(self._kept) < _LEAST:
                return None
            self._ranked = sorted(self._kept)
            self._found.clear()
            self._added = 0
        found = self._found.get(share)
        if found is None:
            ranked = self._ranked
            found = self._found[share] = ranked[max(0, -int(-share * len(ranked) // 1) - 1)]
        return found

    @property
    def median(self) -> float | None:
        """As `percentile(0.5)`."""
        return self.percentile(0.5)
