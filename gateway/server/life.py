"""What ends a worker, in whatever process it lives; its exit status, its collector of garbage."""

from __future__ import annotations

import gc
import signal
import sys
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Protocol

import attrs
import trio

from gateway.server.containment import leaves
from gateway.server.listeners import ListenError
from gateway.server.worker import Addresses, StartError
from gateway.telemetry.logs import logger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from gateway.server.draining import Reason

__all__ = ["Heed", "Life", "explain"]

_THRESHOLDS = (100_000, 100, 1_000)
"""A request leaves nothing to collect, so collections come with growth alone: thousands of requests
more under way than before. With fewer objects between two of them they came in between as well, 80 ms
each with 1,000 requests under way, for the end of old requests hides the beginning of new ones from the
collector's count. What has survived one is hardly ever looked at again."""


class Heed(Protocol):
    """Listens to whoever may end a worker, from `task_status.started` on, until cancelled."""

    async def __call__(self, life: Life, /, *, task_status: trio.TaskStatus[None]) -> None:
        """Call `life.drain` and `life.cut` when told to."""
        ...


@attrs.define(slots=True)
class Life:
    """One worker from its start to its end.

    Attributes:
        shutdown: Set when its end begins.
        reason: Why it drains.
        started: Whether requests are served, or were.
        status: Its exit status, if nothing is raised.
    """

    shutdown: trio.Event = attrs.field(factory=trio.Event)
    reason: Reason = "ending"
    started: bool = False
    status: int = 0
    _everything: trio.CancelScope = attrs.field(factory=trio.CancelScope)

    def drain(self, reason: Reason = "ending") -> None:
        """Begin the end; a start-up under way ends at once. Only the first time counts."""
        if self.shutdown.is_set():
            return
        self.reason = reason
        self.shutdown.set()
        if not self.started:
            self._everything.cancel()

    def cut(self, status: int) -> None:
        """End now, with this exit status."""
        self.shutdown.set()
        self.status = status
        self._everything.cancel()

    def run(
        self,
        heed: Heed,
        serve: Callable[[trio.TaskStatus[Addresses]], Awaitable[None]],
        on_started: Callable[[Addresses], None],
    ) -> int:
        """Live it, in a loop of its own.

        Args:
            heed: Tells it when to end.
            serve: The worker; it returns once `shutdown` is set.
            on_started: Called with the real addresses once requests are served. It must not wait.

        Returns:
            The exit status: `status`, or 1 if it could not start, or broke down: one line on
            standard error says why.
        """
        try:
            trio.run(self._live, heed, serve, on_started)
        except BaseException as error:  # noqa: BLE001 - the process ends here, with a status
            return explain(error)
        return self.status

    async def _live(
        self,
        heed: Heed,
        serve: Callable[[trio.TaskStatus[Addresses]], Awaitable[None]],
        on_started: Callable[[Addresses], None],
    ) -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(heed, self)
            with self._everything, _few_collections() as freeze:
                await serve(_Started(partial(self._start, freeze, on_started)))
                if not self.shutdown.is_set():
                    raise RuntimeError("the worker ended by itself")
            nursery.cancel_scope.cancel()
        logger("gateway.server").info("stopped", status=self.status)

    def _start(
        self,
        freeze: Callable[[], None],
        on_started: Callable[[Addresses], None],
        addresses: Addresses,
    ) -> None:
        self.started = True
        freeze()
        on_started(addresses)


@attrs.frozen(slots=True)
class _Started(trio.TaskStatus[Addresses]):
    tell: Callable[[Addresses], None]

    def started(self, value: Addresses | None = None) -> None:
        if value is not None:
            self.tell(value)


@contextmanager
def _few_collections() -> Iterator[Callable[[], None]]:
    """Collect garbage rarely, and never what was there when the yielded function was called."""
    before = gc.get_threshold()

    def freeze() -> None:
        gc.collect()
        gc.freeze()
        gc.set_threshold(*_THRESHOLDS)

    try:
        yield freeze
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)


def explain(error: BaseException) -> int:
    """Say on standard error why it ended; the exit status for it."""
    causes = leaves(error)
    if all(isinstance(cause, KeyboardInterrupt) for cause in causes):
        return 128 + signal.SIGINT
    first = next(cause for cause in causes if not isinstance(cause, KeyboardInterrupt))
    log = logger("gateway.server")
    if isinstance(first, (ListenError, StartError)):
        line = str(first)
        log.debug("not started", exc_info=error)
    else:
        line = f"broke down: {type(first).__name__}: {first}"
        log.error("broke down", exc_info=error)
    sys.stderr.write(f"gateway: {line}\n")
    return 1
