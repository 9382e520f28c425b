"""A program spoken to over stdio: started, started again when it ends, ended with the gateway.

Source: MCP 2026-07-28, stdio, "Shutdown", "Unexpected Termination".
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial

import trio

from gateway.adapters.mcp import messages
from gateway.adapters.mcp.channel import Channel, LineReader, TooLong
from gateway.adapters.mcp.link import Call, Decline, Era, Exchange, Hear, Outdated
from gateway.adapters.mcp.process import Process, Spawn
from gateway.core.errors import Unreachable

__all__ = ["ProgramLink"]

_UNASKED_S = 0.5
"""Seconds that a program has to end after its input did; then it gets SIGTERM."""

_GRACE_S = 1.0
"""Seconds that it has after that; then it is killed."""

_KILLED_S = 5.0
"""Seconds that the system has to bury what was killed."""

_STOP_S = _UNASKED_S + _GRACE_S + _KILLED_S + 1
"""Seconds that all of it may take."""

_FIRST_PAUSE_S = 0.5
_MOST_PAUSE_S = 30.0
_STEADY_S = 60.0
"""Having run for this long, a program's end says nothing about its next life."""

_MAX_LINE = 2_000

Note = Callable[[str], None]


class ProgramLink:
    """A server as a program.

    Args:
        name: The service's.
        spawn: Starts the program.
        max_reply: Bytes of one message of the server's.
        say: Takes each line that the program says to people, and what is worth one of ours.
        came: Called when a new life began.

    Attributes:
        life: As `Link`: how often it was started.
    """

    def __init__(
        self, name: str, spawn: Spawn, max_reply: int, say: Note, came: Callable[[], None]
    ) -> None:
        self.life = 0
        self._name = name
        self._spawn = spawn
        self._max_reply = max_reply
        self._say = say
        self._came = came
        self._hear: Hear | None = None
        self._decline: Decline | None = None
        self._channel: Channel | None = None
        self._why = f"{name} is not open"
        self._settled = trio.Event()
        self._settled.set()
        self._process: Process | None = None
        self._patient = True

    @contextlib.asynccontextmanager
    async def open(self, hear: Hear, decline: Decline) -> AsyncIterator[None]:
        """As `Link`: one task holds the program for as long as this lasts."""
        self._hear, self._decline = hear, decline
        self._patient = True
        self._settled = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep)
            try:
                yield
            finally:
                nursery.cancel_scope.cancel()
        self._down(f"{self._name} is not open")

    async def ready(self) -> None:
        """As `Link`."""
        await self._settled.wait()
        if self._channel is None:
            raise Unreachable(self._why)

    @contextlib.asynccontextmanager
    async def exchange(self, call: Call, /) -> AsyncIterator[Exchange]:
        """As `Link`."""
        channel = self._channel
        if channel is None:
            raise Unreachable(self._why)
        if call.era is not None and call.era.life != self.life:
            raise Outdated("it began a new life")
        waiting = channel.begin(call)
        number: int | None = None
        try:
            number = await channel.send(messages.request(call.id, call.method, call.params))
            yield waiting
        finally:
            channel.finish(waiting, number)

    def listen(self, _era: Era, /) -> None:
        """As `Link`: whatever comes is heard."""
        return

    async def tell(self, method: str, _era: Era, /) -> None:
        """As `Link`."""
        if self._channel is None:
            raise Unreachable(self._why)
        await self._channel.send(messages.notification(method))

    async def end(self, _era: Era, /) -> None:
        """As `Link`: there is no session but the process."""
        await trio.lowlevel.checkpoint()

    def hurry(self) -> None:
        """As `Link`: all of the program's group is killed."""
        self._patient = False
        if self._process is not None:
            self._process.signal(signal.SIGKILL)

    async def _keep(self) -> None:
        """Start the program, and again whenever it ended, after a pause that grows."""
        pause_s = _FIRST_PAUSE_S
        while True:
            start = trio.current_time()
            why = await self._live()
            if trio.current_time() - start >= _STEADY_S:
                pause_s = _FIRST_PAUSE_S
            self._down(f"the program of {self._name} is gone: {why}; it starts again")
            self._say(f"{why}; it starts again in {pause_s:g} s")
            await trio.sleep(pause_s)
            pause_s = min(_MOST_PAUSE_S, pause_s * 2)
            self._settled = trio.Event()

    def _down(self, why: str) -> None:
        self._channel, self._why = None, why
        self._settled.set()

    async def _live(self) -> str:
        """One life of the program; why it ended."""
        assert self._hear is not None  # noqa: S101 - it is open
        assert self._decline is not None  # noqa: S101
        try:
            process = await self._spawn()
        except OSError as error:
            return f"it cannot be started: {error.strerror or type(error).__name__}"
        channel = Channel(self._name, self._max_reply, self._hear, self._decline, self._say)
        status: int | None = None
        try:
            self.life += 1
            self._channel = channel
            self._settled.set()
            self._process = process
            self._came()
            await self._serve(process, channel)
        finally:
            channel.end("it ended")
            if not self._patient:  # told so while it was being started
                process.signal(signal.SIGKILL)
            with trio.move_on_after(_STOP_S, shield=True):
                status = await _stop(process)
            self._process = None
        if status is None:
            return "it does not end"
        return f"it ended by signal {-status}" if status < 0 else f"it ended with status {status}"

    async def _serve(self, process: Process, channel: Channel) -> None:
        """All that goes to and fro, until its output or the process ends."""
        async with trio.open_nursery() as nursery:

            async def end_with(work: Callable[[], Awaitable[object]]) -> None:
                await work()
                # What it said last is in the pipes; what it started may hold them open for ever.
                await trio.sleep(_GRACE_S)
                nursery.cancel_scope.cancel()

            nursery.start_soon(end_with, process.wait)
            nursery.start_soon(end_with, partial(channel.write, process.stdin))
            nursery.start_soon(self._listen, process.stderr)
            await channel.read(process.stdout)
            nursery.cancel_scope.cancel()

    async def _listen(self, stderr: trio.abc.ReceiveStream) -> None:
        """What it says to people, line by line; it may say as much as it likes."""
        lines = LineReader(_MAX_LINE)
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            while data := await stderr.receive_some(65_536):
                for line in lines.feed(bytes(data)):
                    beginning = line.start if isinstance(line, TooLong) else line
                    self._say(beginning.decode("utf-8", "replace"))


async def _stop(process: Process) -> int | None:
    """End a process and whatever is left of its group; within seconds, whatever it does.

    Returns:
        Its exit status; `None` if even the system cannot end it.
    """
    status: int | None = None
    with trio.move_on_after(_UNASKED_S):
        await process.stdin.aclose()
        status = await process.wait()
    if status is None:
        process.signal(signal.SIGTERM)
        with trio.move_on_after(_GRACE_S):
            status = await process.wait()
    process.signal(signal.SIGKILL)  # itself, or what it started and left behind
    if status is None:
        with trio.move_on_after(_KILLED_S):
            status = await process.wait()
    await process.aclose()
    return status
