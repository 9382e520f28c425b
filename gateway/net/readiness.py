"""Which sockets can be read: registered once each, where Trio registers for every wait.

Trio tells epoll of every wait, and epoll forgets it once told: a system call and some objects each
time. A socket that is waited for again and again is registered here once, edge-triggered, in one
epoll for all sockets of a loop, and that epoll is what Trio waits for. With 64 connections it saves
an eighth of a request's time, with three calls a fifth.

Source: epoll(7), EPOLLET; docs/adr/0010.
"""

from __future__ import annotations

import contextlib
import select
import socket
import sys
from collections.abc import Callable
from typing import Protocol

import trio

__all__ = ["Readiness", "Watch", "readiness"]

_BATCH = 1024


class Readiness(Protocol):
    """Whether one socket can be read."""

    @property
    def ready(self) -> bool:
        """Whether reading is worth trying: something came, or the other side closed."""
        ...

    def drained(self) -> None:
        """Take note that reading gave less than it might have: there is no more at the moment."""
        ...

    async def wait(self) -> None:
        """Wait until it is `ready`; one task at a time.

        Cancellation: nothing is lost.
        """
        ...

    def close(self) -> None:
        """Forget the socket, which is about to be closed; whoever waits for it goes on."""
        ...


def readiness(sock: socket.socket) -> Readiness:
    """What tells when `sock`, connected and non-blocking, can be read.

    Raises:
        OSError: The system watches too many already.
    """
    if sys.platform != "linux":
        return Asked(sock)
    try:
        watch = _here.get()
    except LookupError:
        watch = Watch()
        _here.set(watch)
        trio.lowlevel.spawn_system_task(_PromptWatch(watch).run)
    return Told(sock.fileno(), watch)


class Asked:
    """Asks Trio each time: for systems without epoll."""

    __slots__ = ("_sock", "ready")

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.ready = False

    def drained(self) -> None:
        """As `Readiness`."""
        self.ready = False

    async def wait(self) -> None:
        """As `Readiness`."""
        await trio.lowlevel.wait_readable(self._sock)
        self.ready = True

    def close(self) -> None:
        """As `Readiness`."""
        trio.lowlevel.notify_closing(self._sock)


class Told:
    """Is told by a `Watch`."""

    __slots__ = ("_ended", "_fd", "_task", "_tell", "_watch", "ready")

    def __init__(self, fd: int, watch: Watch) -> None:
        self._fd = fd
        self._watch = watch
        self._task: trio.lowlevel.Task | None = None
        self._tell: Callable[[], None] | None = None
        self._ended = False
        self.ready = False
        watch.add(fd, select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET, self._told)

    def drained(self) -> None:
        """As `Readiness`. The other side's end is told once only, so it stays."""
        self.ready = self._ended

    async def wait(self) -> None:
        """As `Readiness`."""
        if self.ready:
            await trio.lowlevel.checkpoint()
            return
        if self._task is not None:
            raise trio.BusyResourceError("another task waits for this socket")
        self._tell = None
        self._task = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(self._abort)

    def listen(self, tell: Callable[[], None]) -> None:
        """Have `tell` called, once, when it is `ready`, unless somebody waits before.

        Args:
            tell: Called in the loop's thread, perhaps at once; it neither raises nor waits.
        """
        if self.ready:
            tell()
        else:
            self._tell = tell

    def _abort(self, _raise_cancel: object) -> trio.lowlevel.Abort:
        self._task = None
        return trio.lowlevel.Abort.SUCCEEDED

    def _told(self, events: int) -> None:
        """Something came, or the other side ended."""
        self.ready = True
        if events & ~select.EPOLLIN:
            self._ended = True
        task, self._task = self._task, None
        if task is not None:
            trio.lowlevel.reschedule(task)
        elif self._tell is not None:
            tell, self._tell = self._tell, None
            tell()

    def close(self) -> None:
        """As `Readiness`."""
        self._watch.remove(self._fd)
        self._tell = None
        self._told(select.EPOLLHUP)


class Watch:
    """One epoll for many sockets, each registered once."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._tell: dict[int, Callable[[int], None]] = {}

    def add(self, fd: int, events: int, tell: Callable[[int], None]) -> None:
        """Tell of `events` of the socket `fd`; it is removed before it is closed.

        Args:
            fd: A file descriptor.
            events: epoll's, `EPOLLET` among them.
            tell: Called with what happened, in the loop's thread; it neither raises nor waits.

        Raises:
            OSError: The system watches too many already.
        """
        self._epoll.register(fd, events)
        self._tell[fd] = tell

    def remove(self, fd: int) -> None:
        """Tell nobody of `fd` any more. May be called again, but not once it is closed."""
        if self._tell.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def hear(self) -> None:
        """Tell of what has come."""
        for fd, events in self._epoll.poll(0, _BATCH):
            tell = self._tell.get(fd)
            if tell is not None:
                tell(events)

    async def wait(self) -> None:
        """Wait until something has come."""
        await trio.lowlevel.wait_readable(self._epoll.fileno())

    async def run(self) -> None:
        """Tell, until cancelled."""
        try:
            while True:
                await self.wait()
                self.hear()
        finally:
            self.close()

    def close(self) -> None:
        """Tell nobody any more."""
        self._tell.clear()
        self._epoll.close()


class _PromptWatch(trio.abc.Instrument):
    """Tells at the moment when Trio has waited: who is told goes on in the same turn of the loop.

    A task, which is all that Trio wakes, could tell for the next turn only.

    Args:
        watch: What tells.
    """

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._heard = False

    def after_io_wait(self, _timeout: float) -> None:
        """Trio has waited."""
        self._watch.hear()
        self._heard = True

    async def run(self) -> None:
        """Tell, until cancelled."""
        trio.lowlevel.add_instrument(self)
        try:
            while True:
                await self._watch.wait()
                if not self._heard:  # Trio takes off an instrument that failed once
                    self._watch.hear()
                self._heard = False
        finally:
            with contextlib.suppress(KeyError):
                trio.lowlevel.remove_instrument(self)
            self._watch.close()


_here: trio.lowlevel.RunVar[Watch] = trio.lowlevel.RunVar("readiness")
