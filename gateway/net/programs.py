"""Programs that run for one call each: they end with it, and whatever they started ends with them.

A call that is over does not wait for its program's end: that is seen to beside it, and takes as long
as the program is given, no longer. Nor does it wait for the end of what its program has left behind
outside of its group: one look in a while finds that of all that have ended since the last.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import trio

from gateway.net import strays
from gateway.net.background import in_the_background
from gateway.net.process import Process, spawn
from gateway.net.strays import Marks, Run

__all__ = ["Programs"]

_KILLED_S = 5.0
"""Seconds that the system has to bury what was killed."""

_LOOK_S = 0.2
"""Seconds that finding what a program has started may keep it from being told to end."""

_PAUSE_S = 1.0
"""Seconds between two looks for what was left behind: each takes some ten microseconds for each
process of the machine."""

T = TypeVar("T")


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
        self._leaving = trio.Event()
        self._marks = Marks()
        self._looks = trio.CapacityLimiter(most)
        self._sweeping = False

    @property
    def running(self) -> int:
        """How many there are, those that are about to end included."""
        return self._places.borrowed_tokens

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Be ready to start some; leaving waits for the end of all: their grace, and to be killed."""
        self._hurried, self._leaving = trio.Event(), trio.Event()
        self._marks = Marks()  # none that a fork of ours has too
        self._sweeping = False
        opened, leaving = trio.Event(), self._leaving

        async def hold() -> None:
            with trio.CancelScope(shield=True):
                async with trio.open_nursery() as self._ending:
                    opened.set()
                    await leaving.wait()
                self._ending = None

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
        """A program that runs as long as this context; then it and all that it started are ended.

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
        run = self._marks.begin()
        process: Process | None = None
        try:
            # Cancelled in the middle of it, nobody would know of the process.
            with trio.CancelScope(shield=True):
                # First: where one is long, what looks reads its beginning alone.
                marked = {**run.variables, **environment, **run.variables}
                process = started = await spawn(program, directory, marked)
            yield started
        finally:
            if process is None:
                self._marks.end(run, None)
                self._places.release_on_behalf_of(place)
            elif process.status is not None or self._ending is None:
                process.signal(signal.SIGKILL)  # what it started and left behind
                process.close()
                self._marks.end(run, process.pid)
                self._places.release_on_behalf_of(place)
                self._sweep_soon()
            else:
                self._ending.start_soon(partial(self._end, process, run, place))

    def _sweep_soon(self) -> None:
        """Have it seen to that nothing is left of programs that have ended by themselves."""
        if strays.VISIBLE and self._ending is not None and not self._sweeping:
            self._sweeping = True
            self._ending.start_soon(self._sweep)

    async def _sweep(self) -> None:
        """Kill what was left behind, until no more programs have ended."""
        try:
            while (left := self._marks.left()) is not None:
                looked = await self._look(partial(strays.kill, left), _KILLED_S)
                if not looked and not self._leaving.is_set():
                    self._marks.look_again(left)
                with trio.move_on_after(_PAUSE_S):
                    await self._leaving.wait()
        finally:
            self._sweeping = False

    async def _end(self, process: Process, run: Run, place: object) -> None:
        """End a program and whatever it has started: within its grace, but for what takes to die."""
        known: set[strays.Stray] = set()
        looked = False
        try:
            await self._await_end(process, 0)
            if process.status is None:
                if not self._hurried.is_set():
                    # Now: whose they are may not be seen any more once it has ended.
                    sought = self._marks.of(run, process.pid, ended=False)
                    known, _ = await self._look(sought.find, _LOOK_S) or (known, False)
                process.signal(signal.SIGTERM)
                strays.tell([one for one in known if one.group != process.pid], signal.SIGTERM)
                await self._await_end(process, self._grace_s)
            process.signal(signal.SIGKILL)  # itself, or what it started and left behind
            await self._await_end(process, _LOOK_S)  # its orphans are ours to bury from then on
            # Its number may be another's once it has ended.
            sought = self._marks.of(run, process.pid, ended=process.status is not None)
            looked = await self._look(partial(strays.kill, sought, known), _KILLED_S) or False
            await self._await_end(process, _KILLED_S)
            await process.aclose()
        finally:
            self._marks.end(run, None if looked else process.pid)
            self._places.release_on_behalf_of(place)
        self._sweep_soon()

    async def _look(self, look: Callable[[], T], seconds: float) -> T | None:
        """What `look` gives, in a thread; `None` if that takes too long, or cannot be had."""
        if not strays.VISIBLE:
            return None
        with trio.move_on_after(seconds), contextlib.suppress(RuntimeError):  # no more threads
            return await trio.to_thread.run_sync(look, abandon_on_cancel=True, limiter=self._looks)
        return None

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
