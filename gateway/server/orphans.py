"""What a worker that was killed leaves behind: programs that nobody reads, waits for or ends.

A worker ends with itself what it has started. One that is killed cannot, so its supervisor takes its
orphans in, and ends them. Where the system has no such thing, they are left to themselves: their
standard input is at its end then, which is when most programs end.

Source: prctl(2), PR_SET_CHILD_SUBREAPER; proc(5), /proc/pid/task/tid/children.
"""

from __future__ import annotations

import ctypes
import math
import os
import signal
import sys
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

__all__ = ["Orphans"]

GRACE_S = 2.0
"""Between SIGTERM and SIGKILL."""

_KILLED_S = 0.5
"""The system takes a few milliseconds."""

_PR_SET_CHILD_SUBREAPER = 36


class Orphans:
    """Those of this process's children; without `taken_in` there are none.

    Attributes:
        kill_at: When those that were told to end are killed, monotonic seconds; inf if none were.
    """

    def __init__(self) -> None:
        self.kill_at = math.inf
        self._told: set[int] = set()
        self._others: set[int] | None = None

    @classmethod
    def taken_in(cls) -> Orphans:
        """From here on, those that any process below this one leaves, where the system can."""
        orphans = cls()
        if _take_in():
            orphans._others = _children()  # what is there already is somebody else's
        return orphans

    def end(self, workers: Collection[int], *, now: bool) -> int:
        """Tell all that are there to end: a worker was killed.

        Args:
            workers: The processes of those that live.
            now: Whether they are killed, and buried here.

        Returns:
            How many there are.
        """
        orphans = self._orphans(workers)
        if now:
            self._kill_all(workers)
        elif orphans:
            _signal(orphans, signal.SIGTERM)
            self._told = orphans
            self.kill_at = time.monotonic() + GRACE_S
        return len(orphans)

    def _kill_all(self, workers: Collection[int]) -> None:
        """Kill them, and what is ours once they are dead; as long as the system takes, within bounds."""
        until = time.monotonic() + _KILLED_S
        while (orphans := self._orphans(workers)) and time.monotonic() < until:
            _signal(orphans, signal.SIGKILL)
            time.sleep(0.002)
            _bury(orphans)

    def tend(self, workers: Collection[int]) -> None:
        """Bury those that have ended, and kill those whose time is over."""
        if self._others is None:
            return
        _bury(self._orphans(workers))
        if self._told:
            # What they had started themselves is ours once they have ended.
            self._told = self._orphans(workers)
            if time.monotonic() >= self.kill_at:
                _signal(self._told, signal.SIGKILL)
                self.kill_at += GRACE_S
        if not self._told:
            self.kill_at = math.inf

    def _orphans(self, workers: Collection[int]) -> set[int]:
        return set() if self._others is None else _children() - self._others - set(workers)


def _take_in() -> bool:
    """Become the parent of what loses its own below this process; whether the system can."""
    if sys.platform != "linux" or not _file().exists():
        return False
    prctl = ctypes.CDLL(None).prctl
    return bool(prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)


def _file() -> Path:
    pid = os.getpid()
    return Path(f"/proc/{pid}/task/{pid}/children")


def _children() -> set[int]:
    try:
        return {int(pid) for pid in _file().read_text().split()}
    except OSError:  # there is no room for one more open file
        return set()


def _bury(pids: Collection[int]) -> None:
    for pid in pids:
        with suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


def _signal(pids: Collection[int], number: int) -> None:
    """Send a signal to processes, to each with the group that it leads."""
    for pid in pids:
        with suppress(ProcessLookupError, PermissionError):
            if os.getpgid(pid) == pid:
                os.killpg(pid, number)
            else:
                os.kill(pid, number)
