"""A Trio run inside an asyncio event loop, and calls from there into it.

Both loops run in one thread and take turns: Trio's tasks step in a callback of the host's loop, and
while Trio has nothing to do, a thread of its cache waits for its I/O. So either side may call the
other's synchronous functions at any time: `Event.set`, `CancelScope.cancel`, `Future.set_result`.

Source: https://trio.readthedocs.io/en/stable/reference-lowlevel.html#using-guest-mode-to-run-trio-on-top-of-other-event-loops
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVarTuple

import outcome
import trio

__all__ = ["Guest", "outlast"]

Ts = TypeVarTuple("Ts")

logger = logging.getLogger(__name__)

_here: trio.lowlevel.RunVar[Guest | None] = trio.lowlevel.RunVar("guest", None)


class Guest:
    """A Trio run inside the running asyncio loop, shared by all who join it.

    A thread has one Trio run at most: gateways that are mounted in one host share theirs. It ends
    when the last of them leaves, and at the latest with the event loop.

    Attributes:
        loop: The host's event loop.
        members: How many have joined and not left.
    """

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.members = 0
        self._calls: set[_Call] = set()
        self._closing = trio.Event()
        self._ended: asyncio.Future[None] = self.loop.create_future()
        self._lifetime = self._live()

    @property
    def closing(self) -> bool:
        """Whether the last one has left, or the event loop ends."""
        return self._closing.is_set()

    @property
    def ended(self) -> bool:
        """Whether the Trio run is over: it was closed, or has crashed."""
        return self._ended.done()

    # ------------------------------------------------------------------ its life

    @classmethod
    async def join(cls) -> Guest:
        """The guest of the running loop; the first one to join starts it.

        Raises:
            RuntimeError: This thread has another Trio run already.
        """
        while (guest := _present()) is not None and guest.closing:
            await guest.over()
        if guest is None:
            guest = cls()
            await guest.start()
        guest.members += 1
        return guest

    async def leave(self) -> None:
        """Take a `join` back; the last one ends the Trio run and waits until it is over.

        Cancellation: it is over all the same.
        """
        self.members -= 1
        if self.members == 0:
            await self._lifetime.aclose()

    async def start(self) -> None:
        """Start the Trio run; it takes calls at once."""
        await anext(self._lifetime)

    async def over(self) -> None:
        """Wait until the Trio run is over."""
        await asyncio.shield(self._ended)

    async def _live(self) -> AsyncGenerator[None]:
        """From the run's start to its end.

        It is a generator because an event loop closes what generators are left as it ends
        (`shutdown_asyncgens`): so the Trio run never outlives its host.
        """
        # Not in the context of whichever request came first: Trio's own tasks would keep it.
        contextvars.Context().run(self._start)
        try:
            yield
        finally:
            self._closing.set()
            await outlast(self._ended)  # noqa: ASYNC102 - it is asyncio that waits

    def _start(self) -> None:
        trio.lowlevel.start_guest_run(
            self._closing.wait,
            run_sync_soon_threadsafe=self.loop.call_soon_threadsafe,
            run_sync_soon_not_threadsafe=self.loop.call_soon,
            done_callback=self._end,
            host_uses_signal_set_wakeup_fd=True,
        )
        _here.set(self)

    def _end(self, result: outcome.Outcome[None]) -> None:
        if isinstance(result, outcome.Error):
            logger.error("the gateway's Trio loop has crashed", exc_info=result.error)
        for call in [*self._calls]:  # of a run that did not end in order
            call.end()
        self._ended.set_result(None)

    # ------------------------------------------------------------------ calls into it

    async def call(self, function: Callable[[*Ts], Awaitable[object]], *args: *Ts) -> None:
        """Run `function(*args)` as a Trio task, in a copy of the caller's context.

        Raises:
            Exception: What it raised.
            RuntimeError: The Trio run ended under it.

        Cancellation: cancels the task, and goes on once that has ended.
        """
        call = _Call(self.loop, function, args)
        self._calls.add(call)
        try:
            trio.lowlevel.spawn_system_task(
                call.run, name=function, context=contextvars.copy_context()
            )
            await outlast(call.ended, call.scope.cancel)
        finally:
            self._calls.discard(call)
        if call.error is not None:
            raise call.error
        if not call.returned:
            raise RuntimeError("the gateway's Trio loop ended before the call had returned")

    @contextlib.asynccontextmanager
    async def entered(
        self, manager: Callable[[], AbstractAsyncContextManager[None]]
    ) -> AsyncIterator[None]:
        """Enter a context manager over in Trio; leaving this leaves that.

        What is raised within is not shown to `manager`.

        Raises:
            Exception: What `manager` raised as it was entered or left.
            RuntimeError: The Trio run ended under it.

        Cancellation: while it enters or leaves, cancels it there.
        """
        settled = self.loop.create_future()
        leaving = trio.Event()

        async def hold() -> None:
            async with manager():
                settle()
                await leaving.wait()

        def settle(_: object = None) -> None:
            if not settled.done():
                settled.set_result(None)

        holding = self.loop.create_task(self.call(hold))
        holding.add_done_callback(settle)
        try:
            await outlast(settled, holding.cancel)
            if not holding.done():
                yield
        finally:
            leaving.set()
            await holding  # noqa: ASYNC102 - it is asyncio that waits


def _present() -> Guest | None:
    """The guest of this thread's Trio run, if there is one."""
    if not trio.lowlevel.in_trio_run():
        return None
    guest = _here.get()
    if guest is None or guest.loop is not asyncio.get_running_loop():
        raise RuntimeError("this thread has another Trio run, which is not over")
    return guest


class _Call:
    """One call into Trio: the task over there, and what came of it."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        function: Callable[..., Awaitable[object]],
        args: tuple[Any, ...],
    ) -> None:
        self._function = function
        self._args = args
        self.scope = trio.CancelScope()
        self.ended: asyncio.Future[None] = loop.create_future()
        self.error: Exception | None = None
        self.returned = False

    async def run(self) -> None:
        """The Trio task."""
        try:
            with self.scope:
                await self._function(*self._args)
                self.returned = True
        except Exception as error:  # noqa: BLE001 - the caller's, on the other side
            self.error = error
        finally:
            self.end()

    def end(self) -> None:
        """Let the caller know."""
        if not self.ended.done():
            self.ended.set_result(None)


async def outlast(
    future: asyncio.Future[Any], on_cancel: Callable[[], object] = lambda: None
) -> None:
    """Wait, on asyncio, until `future` is done, whoever cancels the waiting.

    Args:
        future: Its result is nothing to this.
        on_cancel: Called at each cancellation, to bring the end about.

    Cancellation: goes on once `future` is done.
    """
    if future.done():
        return
    waiter: asyncio.Future[None]

    def wake(_: object) -> None:
        if not waiter.done():
            waiter.set_result(None)

    cancelled: asyncio.CancelledError | None = None
    future.add_done_callback(wake)
    while not future.done():
        waiter = future.get_loop().create_future()
        try:
            await waiter
        except asyncio.CancelledError as error:
            cancelled = error
            on_cancel()
    if cancelled is not None:
        raise cancelled
