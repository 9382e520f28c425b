"""Calls that are begun without waiting: several of them are waited for in one task (docs/adr/0011)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

import trio

from gateway.core.messages import Reply, Request

__all__ = ["Begin", "Begun", "begin_of", "finished", "told"]


class Begun(Protocol):
    """A call that was begun without waiting, for whoever waits for several of them in one task.

    It is closed, whatever happens.

    Attributes:
        deadline: When it has something to tell by itself, on Trio's clock: `take` says that it has
            failed, or that there is more to wait for than what comes; inf where there is no such time.
    """

    @property
    def deadline(self) -> float:
        """When it has something to tell by itself."""
        ...

    def listen(self, tell: Callable[[], None], /) -> None:
        """Have `tell` called, once, when something of the reply came; perhaps at once.

        Args:
            tell: Neither raises nor waits.
        """
        ...

    def take(self) -> Reply | None:
        """The reply, if what came is all of it: then nothing is left to close.

        `None` if it has to be waited for: nothing but `finish` and `close` follows then.

        Raises:
            GatewayError: As a `Service`.
        """
        ...

    async def finish(self) -> Reply:
        """The reply, waited for.

        Raises:
            GatewayError: As a `Service`.

        Cancellation: as a `Service`.
        """
        ...

    def close(self) -> None:
        """Leave nothing behind: what has not been replied to yet ends. May be called again."""
        ...


Begin: TypeAlias = Callable[[Request, float, float], Begun | None]
"""How a `Service` that can begins a call without waiting, as its attribute `begin`.

The second argument is the end of its budget, `trio.current_effective_deadline()`, the third is now,
both on Trio's clock and asked once for all that begin together. `None`: not this time; it is to be
called. Raises `GatewayError` as the service does.
"""


def begin_of(service: Any) -> Begin | None:
    """How calls of a `Service` are begun without waiting; `None` if they cannot be."""
    begin: Begin | None = getattr(service, "begin", None)
    return begin


async def finished(begun: Begun) -> Reply:
    """The reply to what was begun, which is closed then.

    Raises:
        GatewayError: As a `Service`.

    Cancellation: as a `Service`.
    """
    try:
        return await begun.finish()
    finally:
        begun.close()


async def told(begun: Begun) -> None:
    """Wait until something of the reply came, or the call's own time has; nobody listens yet.

    Cancellation: nothing is lost.
    """
    news = _News()
    begun.listen(news.tell)
    if not news.came:
        if begun.deadline == math.inf:
            await news.wait()
        else:
            with trio.CancelScope(deadline=begun.deadline):
                await news.wait()


class _News:
    """Wakes one task, once: an event for each call would cost more."""

    __slots__ = ("_task", "came")

    def __init__(self) -> None:
        self.came = False
        self._task: trio.lowlevel.Task | None = None

    def tell(self) -> None:
        self.came = True
        task, self._task = self._task, None
        if task is not None:
            trio.lowlevel.reschedule(task)

    async def wait(self) -> None:
        self._task = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(self._abort)

    def _abort(self, _raise_cancel: object) -> trio.lowlevel.Abort:
        self._task = None
        return trio.lowlevel.Abort.SUCCEEDED
