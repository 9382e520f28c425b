"""A process forked from this one, and the line between the two.

The line is a pair of sockets. An order is one byte down, news is one byte up, and the end of the
one process is the end of the line for the other, however it came.
"""

from __future__ import annotations

import atexit
import math
import os
import signal
import socket
import sys
from contextlib import suppress
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, NoReturn

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.server.offer import Generation, Post

__all__ = ["HEEDED", "SERVING", "Child", "Order", "fork", "how_ended"]

HEEDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""The signals that a supervisor and its workers heed; blocked while a worker starts."""

SERVING = b"s"
"""A worker's news: it serves."""


class Order(Enum):
    """What a supervisor tells a worker."""

    END = b"e"
    """Drain: the server ends."""
    LEAVE = b"l"
    """Drain: another worker serves in its place."""
    CUT = b"c"
    """End at once."""


@attrs.define(slots=True, eq=False, kw_only=True)
class Child:
    """A worker's process, as its supervisor sees it.

    Attributes:
        pid: Its id, ours to wait for.
        line: Our end of the line; non-blocking.
        post: Its place.
        generation: What it serves.
        serving_since: When it said that it serves, monotonic seconds; `None` before.
        leaving: Whether it was told to go.
        kill_at: When it is killed, monotonic seconds.
        silent: Whether nothing more comes up the line.
    """

    pid: int
    line: socket.socket
    post: Post
    generation: Generation
    serving_since: float | None = None
    leaving: bool = False
    kill_at: float = math.inf
    silent: bool = False

    @property
    def about(self) -> dict[str, int]:
        """What a line of the log says of it."""
        return {"worker": self.post.number, "pid": self.pid}

    def tell(self, order: Order, kill_at: float) -> None:
        """Give it an order, and until `kill_at` to end."""
        self.leaving = True
        self.kill_at = min(self.kill_at, kill_at)
        with suppress(OSError):  # it has ended already
            self.line.send(order.value)

    def says_serving(self) -> bool:
        """Read its news: whether it says that it serves."""
        try:
            news = self.line.recv(1)
        except BlockingIOError:
            return False
        except OSError:
            news = b""
        self.silent = not news
        return news == SERVING

    def ended(self) -> int | None:
        """How it has ended, reaped now: its exit status, or minus the signal; `None` if it lives."""
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        return None if pid == 0 else os.waitstatus_to_exitcode(status)

    def kill(self) -> None:
        """End it whatever it does; `ended` tells when it has."""
        self.kill_at = math.inf
        os.kill(self.pid, signal.SIGKILL)


def how_ended(status: int) -> dict[str, int | str]:
    """What a line of the log says of how one ended, as `Child.ended` told it."""
    if status >= 0:
        return {"status": status}
    try:
        return {"signal": signal.Signals(-status).name}
    except ValueError:  # a real-time signal
        return {"signal": str(-status)}


def fork(live: Callable[[socket.socket], int]) -> tuple[int, socket.socket]:
    """Start a process that lives `live` and ends with the status that it returns.

    Nothing of the caller's frames goes on in it: no `finally`, no `with`. Its signals of `HEEDED`
    are blocked, with the system's own handling set, until `live` unblocks them, so that none is
    lost and none is taken for the parent's.

    Args:
        live: Called in the new process with its end of the line.

    Returns:
        The process's id, and our end of the line.

    Raises:
        OSError: The system has no room for it.
    """
    ours, theirs = socket.socketpair()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):  # nobody reads it any more
            stream.flush()  # what is buffered would be written by both
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HEEDED)
    pid = -1
    try:
        pid = os.fork()
    finally:
        if pid == 0:
            _become(partial(live, theirs), ours)
        theirs.close()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if pid == -1:
            ours.close()
    ours.setblocking(False)
    return pid, ours


def _become(live: Callable[[], int], parents: socket.socket) -> NoReturn:
    status = 1
    try:
        parents.close()
        signal.set_wakeup_fd(-1)
        for number in (*HEEDED, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        status = live()
    finally:
        _leave(status)


def _leave(status: int) -> NoReturn:
    """End as a process of Python's does, the threads aside that still run: they are abandoned."""
    try:
        if sys.exc_info()[1] is not None:
            sys.excepthook(*sys.exc_info())
        atexit._run_exitfuncs()  # noqa: SLF001 - what modules of the user's left for the end
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(status)
