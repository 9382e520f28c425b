"""How many calls a service can have under way: found from how long they take."""

from __future__ import annotations

import math
from typing import NamedTuple

__all__ = ["Capacity"]

_START = 4.0
_MOST = 1000.0
_WINDOW_S = 0.2
_LONGEST_S = 5.0
_SAMPLES = 20
_LONG = 5.0
"""Calls that take so many times the median are left out: of one in a hundred that hangs for a second
nothing is learnt about the others."""
_LEAST_S = 1e-9
_ERROR = 0.03
_WAITING, _CLEAR = 0.03, 0.2
"""Shares of their time that calls wait in the service: from which it counts, and while it doubles."""
_STEP, _OVER = 0.1, 0.03
_CHANGED = 0.15
_FEWER = 0.7
_MEASURE_EVERY_S = 30.0
_DROPS = 0.1


class _Typical(NamedTuple):
    """What calls take: seconds, and how far that may be off, as a share."""

    mean_s: float
    error: float

    def with_another(self, other: _Typical) -> _Typical:
        """Both, each as much as it is certain; what was found before no more than that."""
        mine, its = (1 / max(_ERROR, one.error) ** 2 for one in (self, other))
        mean_s = (mine * self.mean_s + its * other.mean_s) / (mine + its)
        return _Typical(mean_s, 1 / math.sqrt(mine + its))


class Capacity:
    """Grows while more calls at once take no longer each, and shrinks to what the service can do.

    Of calls that take 50 ms by themselves and 75 ms as they are made, a third is waiting in the service
    (Little's law), and two thirds are what it has places for: so many are allowed from then on, and a
    few per cent more, to see whether it has come to have more. From four the limit doubles until calls
    are seen waiting.

    What they take by themselves is measured now and then, with fewer calls than the limit: twice a
    minute, and when the limit has fallen. A service that has become slower by itself is told from
    one that is overloaded by that: fewer calls are no faster there.

    Source: Little's law; Brakmo and Peterson, TCP Vegas (1995), for the estimate; Netflix's
    concurrency-limits and Envoy's adaptive concurrency filter for its use, the latter for measuring
    with fewer calls.

    Attributes:
        limit: How many calls may be under way, 1 or more.
    """

    def __init__(self) -> None:
        self.limit = int(_START)
        self._found = _START
        self._doubles = True
        self._alone: _Typical | None = None
        self._measures = False
        self._measured = 0.0
        self._measure_at = math.inf
        self._tries_one_more = False
        self._since = -math.inf
        self._samples: list[tuple[float, float]] = []
        self._drops = 0
        self._peak = 0
        self._judge_at = 0

    def add(self, start: float, now: float, under_way: int, *, dropped: bool) -> bool:
        """Take note of a call that ended; whether `limit` is another now.

        Args:
            start: When it began, on Trio's clock.
            now: The same clock.
            under_way: How many were when it began, this one too.
            dropped: Whether the service did not do it: it ran out of time, or was too busy.
        """
        if self._since == -math.inf:
            self._begin(math.nextafter(start, -math.inf))
        if start <= self._since:
            return False  # it shared the service with as many as the limit was before
        self._peak = max(self._peak, under_way)
        if dropped:
            self._drops += 1
        else:
            self._samples.append((start, now - start))
        count = len(self._samples) + self._drops
        if count < self._judge_at or now < self._since + _WINDOW_S:
            return False
        if self._drops > _DROPS * count:
            self._doubles = False
            self._found = max(1.0, self._found * 0.8)
        else:
            typical = self._typical(now)
            if typical is None:
                self._judge_at = math.ceil(count * 1.25)
                return False
            self._judge(typical, now)
        before, self.limit = self.limit, self._next()
        self._begin(now)
        return self.limit != before

    def _begin(self, now: float) -> None:
        """Begin a window."""
        self._since = now
        self._samples, self._drops, self._peak = [], 0, 0
        self._judge_at = math.ceil(max(_SAMPLES, self._found))

    def _next(self) -> int:
        """The limit of the next window: what was found, and a little more or less."""
        if self._measures:
            return max(1, math.floor(self._found * _FEWER))
        over = round(self._found * (1 + _OVER))
        if over <= self._found:  # a few per cent of few are none: one more, every other time
            self._tries_one_more = not self._tries_one_more
            over = math.floor(self._found) + self._tries_one_more
        return max(1, min(int(_MOST), over))

    def _typical(self, now: float) -> _Typical | None:
        """What the window's calls take; `None` if it is not certain enough yet."""
        ranked = sorted(took_s for _, took_s in self._samples)
        if not ranked:
            return None
        longest_s = _LONG * ranked[len(ranked) // 2]
        # Of those that began later, only the quick ones have ended.
        ended = [
            took_s
            for start, took_s in self._samples
            if took_s <= longest_s and start <= now - longest_s
        ]
        is_late = now >= self._since + _LONGEST_S + longest_s
        if len(ended) < _SAMPLES and not is_late:
            return None
        found = _mean(ended or ranked)
        certain = found.error <= _ERROR * (4 if self._doubles else 1)
        return found if certain or is_late else None

    def _judge(self, typical: _Typical, now: float) -> None:
        """Set `_found` by the window that ends now."""
        if self._alone is None or self._measures or self._peak <= _FEWER * self.limit:
            self._measure(self._alone, typical, now)
            return
        if typical.mean_s < (1 - _CHANGED) * self._alone.mean_s:
            self._alone = typical
        error = math.hypot(typical.error, self._alone.error)
        waiting = 1 - self._alone.mean_s / typical.mean_s - error
        if waiting >= (_CLEAR if self._doubles else _WAITING):
            ends, self._doubles = self._doubles, False
            fits = self.limit * (1 - waiting)
            # Far off, it is what was found; near it, half of the difference may be chance.
            near = fits >= 0.75 * self._found
            self._found = max(1.0, (self._found + fits) / 2 if near else fits)
            # What it doubled by was measured in haste.
            self._measures = ends or self._found < 0.8 * self._measured
        elif self._peak >= self.limit:  # what is not used shows nothing
            more = self.limit * 2 if self._doubles else self._found * (1 + _STEP)
            self._found = min(_MOST, more)
        if now >= self._measure_at and not self._doubles:
            self._measures = True

    def _measure(self, before: _Typical | None, typical: _Typical, now: float) -> None:
        """Take what a window of fewer calls showed as what a call takes by itself."""
        faster = before is not None and typical.mean_s < (1 - _CHANGED) * before.mean_s
        slower = before is not None and typical.mean_s > (1 + _CHANGED) * before.mean_s
        if before is None or faster or slower:
            self._alone = typical
        else:
            self._alone = before.with_another(typical)
        if self._measures and faster:  # with fewer still it may be faster still
            self._found = max(1.0, self._found * _FEWER)
        else:
            self._measures = False
            self._measure_at = now + _MEASURE_EVERY_S
            # The time is the service's own: what was found by it is not worth much.
            self._doubles = self._doubles or slower
        self._measured = self._found


def _mean(seconds: list[float]) -> _Typical:
    count = len(seconds)
    mean_s = max(_LEAST_S, sum(seconds) / count)
    variance = sum((one - mean_s) ** 2 for one in seconds) / count
    return _Typical(mean_s, math.sqrt(variance / count) / mean_s)
