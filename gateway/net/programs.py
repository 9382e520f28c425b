"""Programs that run for one call each: they end with it, and whatever they started ends with them.

A call that is over does not wait for its program's end: that is seen to beside it, and takes as long
as the program is given, no longer.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import trio

from gateway.net.background import in_the_background
from gateway.net.process import Process, spawn

__all__ = ["Programs"]

_KILLED_S = 5.0
"""Seconds that the system has to bury what was killed."""


class Programs:
    """Starts programs, so many at once, and ends them.

    Args:
        name: Whose they are.
        most: How many run at once, those that are about to end included.
        grace_s: Seconds between SIGTERM and SIGKILL.

    Attributes:
        running: How many there are.
    """

    def __init__(self, name: str, most: int, grace_s: float) -> None:
        self._name = name
        self._grace_s = grace_s
        self._places = trio.CapacityLimiter(most)
        self._ending: trio.Nursery | None = None
        self._hurried = trio.Event()

    @property
    def running(self) -> int:
        """How many there are, those that are about to end included."""
        return self._places.borrowed_tokens

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Be ready to start some; leaving waits for the end of all, at most their grace."""
        self._hurried = trio.Event()
        opened, leaving = trio.Event(), trio.Event()

        async def hold() -> None:
            with trio.CancelScope(shield=True):
                async with trio.open_nursery() as self._ending:
                    opened.set()
                    await leaving.wait()

        async with in_the_background(hold, self._name, self._hurried.set):
            await opened.wait()
            try:
                yield
            finally:
                leaving.set()

    @contextlib.asynccontextmanager
    async def run(
        self, program: Sequence[str], directory: Path, environment: Mapping[str, str]
    ) -> AsyncIterator[Process]:
        """A program that runs as long as this context; then it and all of its group are ended.

        Args:
            program: Its name and its arguments; no shell sees them.
            directory: Where it runs.
            environment: All of its environment.

        Raises:
            OSError: It cannot be started.

        Cancellation: as leaving: the program is ended beside it.
        """
        place = object()
        await self._places.acquire_on_behalf_of(place)
        process: Process | None = None
        try:
            # Cancelled in the middle of it, nobody would know of the process.
            with trio.CancelScope(shield=True):
                process = started = await spawn(program, directory, environment)
            yield started
        finally:
            if process is None:
                self._places.release_on_behalf_of(place)
            elif process.status is not None or self._ending is None:
                process.signal(signal.SIGKILL)  # what it started and left behind
                process.close()
                self._places.release_on_behalf_of(place)
            else:
                self._ending.start_soon(partial(self._end, process, place))

    async def _end(self, process: Process, place: object) -> None:
        """End a program and whatever is left of its group; within its grace, whatever it does."""
        try:
            await self._await_end(process, 0)
            if process.status is None:
                process.signal(signal.SIGTERM)
                await self._await_end(process, self._grace_s)
            process.signal(signal.SIGKILL)  # itself, or what it started and left behind
            await self._await_end(process, _KILLED_S)
            await process.aclose()
        finally:
            self._places.release_on_behalf_of(place)

    async def _await_end(self, process: Process, seconds: float) -> None:
        """Wait for a program's end, so long at most, and no longer once we are to hurry."""
        async with trio.open_nursery() as nursery:

            async def hurry() -> None:
                await self._hurried.wait()
                nursery.cancel_scope.cancel()

            nursery.start_soon(hurry)
            with trio.move_on_after(seconds):
                await process.wait()
            nursery.cancel_scope.cancel()
