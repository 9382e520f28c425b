"""Tasks below the loop itself, for as long as a context lasts.

To know the nearest deadline Trio asks every scope above a task, and requests ask several times. So
what lasts as long as the process does lies beside the requests, not around them.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable

import trio

__all__ = ["detached_nursery", "in_the_background"]

logger = logging.getLogger(__name__)


@contextlib.asynccontextmanager
async def in_the_background(
    work: Callable[[], Awaitable[None]], name: str, hurry: Callable[[], None] = lambda: None
) -> AsyncIterator[None]:
    """Do `work` for as long as this context lasts; whether it fails is no matter of the context's.

    Args:
        work: Cancelled when the context is left, which then waits for its end: that is to be soon.
        name: Who is gone if it fails, for the log.
        hurry: Called if the context is cancelled while it waits for that end: who cuts us may kill
            us next.

    Cancellation: `work` has ended.
    """
    scope = trio.CancelScope()
    ended = trio.Event()

    async def run() -> None:
        try:
            with scope:
                await work()
        except Exception:
            logger.exception("%s failed, and is not there any more", name)
        finally:
            ended.set()

    trio.lowlevel.spawn_system_task(run)
    try:
        yield
    finally:
        scope.cancel()
        try:
            await ended.wait()  # noqa: ASYNC102 - being cancelled meanwhile is heeded below
        finally:
            if not ended.is_set():
                hurry()
                with trio.CancelScope(shield=True):
                    await ended.wait()


@contextlib.asynccontextmanager
async def detached_nursery() -> AsyncIterator[trio.Nursery]:
    """A nursery above whose tasks no scope lies but its own: the caller's hold for the context alone.

    It ends as every nursery does: its context is left once all tasks have ended, and with an
    exception, or cancelled, once they were cancelled too. A task that fails cancels the others and
    the context, which raises what it raised, in a group.

    Cancellation: no task is left.
    """
    holder = _Holder()
    trio.lowlevel.spawn_system_task(holder.hold)
    await holder.opened.wait()
    with holder.context:
        try:
            yield holder.nursery
            holder.leaving.set()
            await holder.ended.wait()
        except BaseException:
            holder.nursery.cancel_scope.cancel()
            holder.leaving.set()
            with trio.CancelScope(shield=True):
                await holder.ended.wait()
            raise
    if holder.failure is not None:
        raise holder.failure


class _Holder:
    """The task that the nursery is opened in."""

    def __init__(self) -> None:
        self.nursery: trio.Nursery
        self.opened = trio.Event()
        self.leaving = trio.Event()
        self.ended = trio.Event()
        self.context = trio.CancelScope()
        self.failure: BaseExceptionGroup[BaseException] | None = None

    async def hold(self) -> None:
        try:
            async with trio.open_nursery() as self.nursery:
                self.opened.set()
                await self.leaving.wait()
        except BaseExceptionGroup as group:
            self.failure = group
            self.context.cancel()
        finally:
            self.ended.set()
