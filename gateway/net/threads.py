"""Blocking functions in threads: under a limiter of the service's own, counted when abandoned.

A thread cannot be stopped. Whoever leaves it abandons it: it keeps its place in the limiter, its
result is dropped, and it is told of once when it is left and once when it ends.
"""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Callable
from typing import Generic, TypeVar, cast

import attrs
import trio

from gateway.core.adapter import Record
from gateway.core.errors import NotCalled
from gateway.telemetry.events import AbandonedThreadEnded, ThreadAbandoned

__all__ = ["Threads"]

T = TypeVar("T")

_LEAST_S = 0.001


@attrs.frozen(slots=True)
class Threads:
    """The threads of one service that run one sort of work.

    Args:
        service: Whose they are, for the events.
        record: Where events go.
        limiter: How many of them run at once, the abandoned ones included.
    """

    service: str
    record: Record
    limiter: trio.CapacityLimiter

    async def run(self, function: Callable[[float], T], /) -> T:
        """What `function` returns, called in a thread as soon as one is free.

        Args:
            function: Takes the seconds left of the budget as it starts, not as it was queued; inf
                if there is no limit. It is not called once everybody has left.

        Raises:
            NotCalled: Less than 1 ms was left when its turn came; it was not called.
            Exception: What `function` raised.

        Cancellation: `function` is abandoned: it runs to its end, holding its place.
        """
        work = _Work(self, function)
        try:
            return await trio.to_thread.run_sync(work, abandon_on_cancel=True, limiter=self.limiter)
        finally:
            work.leave()


class _Work(Generic[T]):
    """One call in a thread, and whether anyone still waits for it."""

    def __init__(self, threads: Threads, function: Callable[[float], T]) -> None:
        self._threads = threads
        self._function = function
        self._token = trio.lowlevel.current_trio_token()
        self._clock = trio.lowlevel.current_clock()
        self._deadline = trio.current_effective_deadline()
        # Held for two assignments at a time: it never blocks the loop.
        self._lock = threading.Lock()
        self._running = False
        self._left = threading.Event()

    def __call__(self) -> T:
        """Run in the worker thread; nothing if everybody left before it began."""
        with self._lock:
            if self._left.is_set():
                return cast("T", None)  # for nobody
            self._running = True
        try:
            return self._function(self._left_s())
        finally:
            with self._lock:
                self._running = False
                abandoned = self._left.is_set()
            if abandoned:
                event = AbandonedThreadEnded(self._threads.service)
                with contextlib.suppress(trio.RunFinishedError):
                    self._token.run_sync_soon(self._threads.record, event)

    def _left_s(self) -> float:
        """Seconds left now: the clocks of Trio may be read from any thread."""
        if self._deadline == math.inf:
            return math.inf
        left_s = self._deadline - self._clock.current_time()
        # A nanosecond's grace, as in `remaining_ms`.
        if left_s + 1e-9 < _LEAST_S:
            raise NotCalled("not called: less than 1 ms of the budget is left")
        return left_s

    def leave(self) -> None:
        """Nobody waits any more: a thread that still runs is abandoned from now on."""
        with self._lock:
            self._left.set()
            abandoned = self._running
        if abandoned:
            self._threads.record(ThreadAbandoned(self._threads.service))
