"""What programs of ours start, and what then leaves their groups: found wherever it is, and ended.

A program's environment carries a mark that is its run's alone. What it starts inherits that, in
whatever session it is by now and whoever its parent has become. What has none is found as long as
its parent is. On Linux alone: elsewhere nothing is seen.

What looks may block, and is called in threads: a process that hangs may hold up whoever reads its
environment.

Source: proc(5), /proc/pid/environ and /proc/pid/stat; pidfd_open(2), pidfd_send_signal(2).
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import select
import signal
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping

import attrs

__all__ = ["VISIBLE", "Marks", "Run", "Sought", "Stray", "kill", "tell"]

VISIBLE = sys.platform == "linux" and hasattr(os, "pidfd_open")
"""Whether the system lets anything be seen."""

_VARIABLE = "GATEWAY_CALL"
_KILLED_S = 1.0
_DYING_S = 0.05
_ROUND_S = 0.002
_AGAIN_S = 0.005
_AGAIN_TIMES = 3
_MAX_ENVIRONMENT = 262_144
_OF_KERNEL = 0x0020_0000
"""`PF_KTHREAD`: a thread of the kernel's, which has no environment."""


@attrs.frozen(slots=True)
class Stray:
    """A process: its number alone may be another's by now.

    Args:
        pid: Its number.
        start: When it began, clock ticks since boot.
        group: The group that it was in.
    """

    pid: int
    start: int
    group: int = attrs.field(eq=False)


@attrs.frozen(slots=True)
class Run:
    """One run of a program.

    Args:
        number: Which.
        since: Clock ticks since boot; its process begins no sooner.
        variables: What its environment has to have.
    """

    number: int
    since: int
    variables: Mapping[str, str]


class Marks:
    """The runs of one service's programs, in one process: made after a fork. For the loop's thread alone."""

    def __init__(self) -> None:
        self._word = secrets.token_hex(8)
        self._pattern = re.compile(rb"%b-(\d+)" % self._word.encode())
        self._last = 0
        self._running: set[int] = set()
        self._ended: list[tuple[int, int]] = []

    def begin(self) -> Run:
        """A run that begins."""
        self._last += 1
        self._running.add(self._last)
        # Whoever has started us may look for us by a mark of its own.
        words = (os.environ.get(_VARIABLE), f"{self._word}-{self._last}")
        since = _now() - 1 if VISIBLE else 0
        return Run(self._last, since, {_VARIABLE: " ".join(filter(None, words))})

    def end(self, run: Run, pid: int | None) -> None:
        """A run has ended.

        Args:
            run: Which.
            pid: Its program's process, which is buried; `None` if nothing can be left of it.
        """
        self._running.discard(run.number)
        if pid is not None and VISIBLE:
            self._ended.append((run.since, pid))

    def of(self, run: Run, pid: int, *, ended: bool) -> Sought:
        """What `run` has started, but for its program's own process, `pid`, which may have `ended`."""
        own = None if ended else run.number
        return Sought(self._pattern, run.since, lambda number: number == run.number, {pid: own})

    def left(self) -> Sought | None:
        """What is left of all runs that have ended; `None` if none has since this was asked last.

        Who cannot look for it then says so: `look_again`.
        """
        if not self._ended:
            return None
        ended, self._ended = self._ended, []
        running, last = frozenset(self._running), self._last
        return Sought(
            self._pattern,
            min(since for since, _ in ended),
            lambda number: number <= last and number not in running,
            dict.fromkeys(pid for _, pid in ended),
        )

    def look_again(self, left: Sought) -> None:
        """Have what is sought be part of what is `left`, once more."""
        self._ended += [(left.since, pid) for pid in left.programs]


@attrs.frozen(slots=True)
class Sought:
    """Which processes are looked for.

    Args:
        pattern: What is in the environment of each; its group is the run's number.
        since: When the first of them can have begun, clock ticks since boot.
        wanted: Of which runs.
        programs: Their programs' own processes, which are none of them, and their runs; `None` for
            one that has ended, whose number may be another's by now.
    """

    pattern: re.Pattern[bytes]
    since: int
    wanted: Callable[[int], bool]
    programs: Mapping[int, int | None]

    def find(self) -> tuple[set[Stray], bool]:
        """Those that are there now, and whether there may be more that could not be told yet. Blocks.

        Those that are dead are among them if they are ours to bury, or may come to be.
        """
        seen = _seen(self.since)
        runs: dict[int, int | None] = dict(self.programs)
        sessions = set(self.programs)
        unsure = False
        found: set[Stray] = set()
        # A parent began before its children; within one tick it has the lower number, mostly.
        for stray, process in sorted(seen.items(), key=lambda item: (item[0].start, item[0].pid)):
            if stray.pid in self.programs:
                continue
            run = runs.get(process.parent)
            if not process.dead:
                environment = _read(f"/proc/{stray.pid}/environ", _MAX_ENVIRONMENT)
                # It is being exchanged for another program, whose environment is not there yet. Our
                # own children are those that begin just now.
                unsure = unsure or (environment == b"" and process.parent != os.getpid())
                mark = self.pattern.search(environment or b"")
                run = int(mark[1]) if mark else run
            runs[stray.pid] = run
            if run is not None and self.wanted(run):
                found.add(stray)
                sessions.add(process.session)
        for stray, process in seen.items():
            orphaned = process.dead and process.parent == os.getpid()
            if orphaned and process.session in sessions and stray.pid not in self.programs:
                found.add(stray)
        return found, unsure


def tell(strays: Collection[Stray], number: int) -> set[Stray]:
    """Send a signal to each that is still there; those that we may send none to."""
    deaf: set[Stray] = set()
    for stray in strays:
        try:
            with _held(stray) as descriptor:
                signal.pidfd_send_signal(descriptor, number)
        except ProcessLookupError:
            pass
        except OSError:
            deaf.add(stray)
    return deaf


def kill(sought: Sought, known: Collection[Stray] = ()) -> bool:
    """Kill what is sought, and bury what is ours to bury, until nothing of it is seen. Blocks.

    Within a second: what the system cannot end by then is left to it, and what we may not end too.

    Args:
        sought: What.
        known: What was found of it before, and cannot be any more.

    Returns:
        True: it was looked for.
    """
    until = time.monotonic() + _KILLED_S
    rest = set(known)
    deaf: set[Stray] = set()
    told: set[Stray] = set()
    again = _AGAIN_TIMES
    while time.monotonic() < until:
        found, unsure = sought.find()
        found = (found | rest) - deaf
        rest = set()
        if found:
            deaf |= tell(found, signal.SIGKILL)
            # Not for long: what one of them has started meanwhile is to be found too.
            patience = min(until, time.monotonic() + _DYING_S)
            for stray in found - deaf:
                _bury(stray, patience)
            told |= found - deaf
            for stray in told:  # whose parent is dead by now is ours
                _bury(stray, patience=0)
            time.sleep(_ROUND_S)
        elif unsure and again:
            again -= 1
            time.sleep(_AGAIN_S)
        else:
            break
    return True


def _bury(stray: Stray, patience: float) -> None:
    """Wait until then for the end of one that was killed, and bury it if it is a child of ours."""
    with contextlib.suppress(OSError), _held(stray) as descriptor:
        watched = select.poll()
        watched.register(descriptor, select.POLLIN)
        watched.poll(max(0.0, patience - time.monotonic()) * 1000)
        os.waitid(os.P_PIDFD, descriptor, os.WEXITED | os.WNOHANG)


@contextlib.contextmanager
def _held(stray: Stray) -> Iterator[int]:
    """A descriptor of the process that was seen, and of no other.

    Raises:
        ProcessLookupError: It is gone.
    """
    descriptor = os.pidfd_open(stray.pid)
    try:
        now = _process(stray.pid)
        if now is None or now[0] != stray:
            raise ProcessLookupError
        yield descriptor
    finally:
        os.close(descriptor)


@attrs.frozen(slots=True)
class _Process:
    dead: bool
    parent: int
    session: int


def _seen(since: int) -> dict[Stray, _Process]:
    """All processes that began no sooner, but for the system's own."""
    try:
        names = os.listdir("/proc")  # noqa: PTH208 - names alone are a third of the work
    except OSError:  # there is no room for one more open file
        return {}
    found = (_process(int(name)) for name in names if name.isdecimal())
    return dict(one for one in found if one is not None and one[0].start >= since)


def _process(pid: int) -> tuple[Stray, _Process] | None:
    """A process as it is now; `None` if there is none, or it is the system's own."""
    text = _read(f"/proc/{pid}/stat", 4096)
    if not text:
        return None
    state, parent, group, session, _, _, flags, *rest = text.rpartition(b")")[2].split()
    if int(flags) & _OF_KERNEL:
        return None
    process = _Process(state in b"ZX", int(parent), int(session))
    return Stray(pid, int(rest[12]), int(group)), process


def _read(path: str, most: int) -> bytes | None:
    """The beginning of a file; `None` if it cannot be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        return os.read(descriptor, most)
    except OSError:
        return None
    finally:
        os.close(descriptor)


def _now() -> int:
    """Clock ticks since boot, as `/proc` counts them."""
    return int(time.clock_gettime(time.CLOCK_BOOTTIME) * os.sysconf("SC_CLK_TCK"))
