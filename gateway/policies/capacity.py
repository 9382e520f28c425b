"""How many calls a service can have under way: found from how long they take."""

from __future__ import annotations

import math
from collections import deque

__all__ = ["Capacity"]

_START = 10.0
_MOST = 1000.0
_WINDOW_S = 0.2
_LONGEST_S = 5.0
_SAMPLES = 20
_ERROR = 0.05
_SHARE_QUEUED = 0.1
_REMEMBERED_S = 30.0
_PROBE_EVERY_S = 30.0
_PROBE_SHARE = 0.8
_DROPS = 0.1
_IN_VAIN = 2


class Capacity:
    """Grows while more calls at once take no longer each, and shrinks when they do.

    What a call takes at the median of a window is held against the least such median of the last
    while: if it is twice that, half of the calls are waiting in the service. Some tenth of them
    may: so many keep it busy, and more only wait. From ten it doubles until then; later it adds
    a tenth at a time, and takes away what waits.

    Two things are guarded against. That tenth would be taken for the service's own time after a
    while, so now and then a window has fewer. And a service that has become slower by itself
    would be given less and less: where less made it no faster, what it takes now is the measure.

    Source: Brakmo and Peterson, TCP Vegas (1995), for the estimate; Netflix's concurrency-limits
    and Envoy's adaptive concurrency filter for its use, the latter for fewer calls now and then.

    Attributes:
        limit: How many calls may be under way, 1 or more.
    """

    def __init__(self) -> None:
        self.limit = int(_START)
        self._found = _START
        self._doubles = True
        self._medians: deque[tuple[float, float]] = deque()
        self._samples: list[float] = []
        self._drops = 0
        self._peak = 0
        self._since = -math.inf
        self._probe_at = -math.inf
        self._probing = False
        self._before: tuple[float, float] | None = None
        self._in_vain = 0

    def add(self, start: float, now: float, under_way: int, *, dropped: bool) -> bool:
        """Take note of a call that ended; whether `limit` is another now.

        Args:
            start: When it began, on Trio's clock.
            now: The same clock.
            under_way: How many were when it began, this one too.
            dropped: Whether the service did not do it: it ran out of time, or was too busy.
        """
        if self._since == -math.inf:
            self._since, self._probe_at = start, now + _PROBE_EVERY_S
        if start < self._since:
            return False  # it shared the service with as many as the limit was before
        self._peak = max(self._peak, under_way)
        if dropped:
            self._drops += 1
        else:
            self._samples.append(now - start)
        count = len(self._samples) + self._drops
        if now < self._since + _WINDOW_S or count < max(_SAMPLES, self._found):
            return False
        if count % _SAMPLES or not self._is_certain(now, count):
            return False
        before = self.limit
        self._judge(now, count)
        self.limit = max(1, round(self._found * (_PROBE_SHARE if self._probing else 1)))
        self._since = now
        self._samples, self._drops, self._peak = [], 0, 0
        return self.limit != before

    def _is_certain(self, now: float, count: int) -> bool:
        """Whether the median is known well enough, or will not be any better in good time."""
        if self._drops > _DROPS * count or now >= self._since + _LONGEST_S:
            return True
        ranked = sorted(self._samples)
        number = len(ranked)
        middle_half = ranked[number * 3 // 4] - ranked[number // 4]
        # The standard error of a median, as of a normal distribution with this middle half.
        error = 0.93 * middle_half / math.sqrt(number)
        return error <= _ERROR * ranked[number // 2]

    def _judge(self, now: float, count: int) -> None:
        """Set `_found` by the window that ends now."""
        if self._drops > _DROPS * count or not self._samples:
            self._doubles, self._before = False, None
            self._found = max(1.0, self._found * 0.8)
            return
        median_s = sorted(self._samples)[len(self._samples) // 2]
        self._remember(median_s, now)
        if self._probing:  # this window was to be remembered, and tells nothing else
            self._probing = False
            return
        least_s = min(least for _, least in self._medians)
        waiting = self._found * (1 - least_s / median_s)
        allowed = max(1.0, _SHARE_QUEUED * self._found)
        if waiting > 2 * allowed:
            self._before = (self._found, median_s)
            self._doubles = False
            self._found = max(1.0, self._found * 0.5, self._found - waiting + allowed)
        elif waiting > allowed:
            self._doubles = False
        elif self._peak >= self.limit:  # what is not used shows nothing
            self._found = min(_MOST, self._found * 2 if self._doubles else self._found + allowed)
        if now >= self._probe_at and not self._doubles:
            self._probing, self._probe_at = True, now + _PROBE_EVERY_S

    def _remember(self, median_s: float, now: float) -> None:
        medians = self._medians
        if self._before is not None:
            found, took_s = self._before
            self._before = None
            helped = 1 - median_s / took_s >= (1 - self._found / found) / 2
            self._in_vain = 0 if helped else self._in_vain + 1
            if self._in_vain == _IN_VAIN:
                # Fewer calls are no faster: the time is the service's own.
                medians.clear()
                self._in_vain, self._doubles = 0, True
        medians.append((now, median_s))
        while medians[0][0] < now - _REMEMBERED_S:
            medians.popleft()
