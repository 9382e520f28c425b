"""What is left of programs that `kind = "command"` has run, in figures.

`python -m tests.end_to_end.program_figures stubborn 50`, `… crowd 1000`. What they said stands in
docs/reference/adapters/command.md.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

import attrs
import trio

from gateway import Gateway, create_app
from gateway.core.errors import DeadlineExceeded
from tests.apps import request
from tests.end_to_end.support import leaving

__all__ = ["Crowd", "Stubborn", "crowd", "stubborn"]

_SEED = 7
_GRACE_S = 0.5

_STUBBORN = """
import os, signal, sys, time

signal.signal(signal.SIGTERM, signal.SIG_IGN)
if not os.fork():
    ...
elif not os.fork():
    os.setsid()
elif not os.fork():
    os.setsid()
    if os.fork():
        os._exit(0)
with open(sys.argv[1], "a") as file:
    print(os.getpid(), file=file)
time.sleep(60)
"""
"""Ignores SIGTERM, as do its child, another in a session of its own, and a daemon that it made."""


def _app_of(program: list[str], **service: object) -> Gateway:
    return create_app(
        {
            "services": {"s": {"kind": "command", "program": program, **service}},
            "tools": {"t": {"calls": {"a": {"service": "s"}}}},
        }
    )


# ---------------------------------------------------------------- programs that do not end


@attrs.frozen
class Stubborn:
    """Programs that ignore SIGTERM, as do a child, one in a session of its own, and a daemon.

    Args:
        times: How many.
        processes: How many processes there were of them.
        told_ms: After the deadline the caller was told, the median and the latest.
        gone_ms: After deadline and `terminate_after` the last process was dead, the median and the
            latest.
        left: How many processes never were.
    """

    times: int
    processes: int
    told_ms: tuple[float, float]
    gone_ms: tuple[float, float]
    left: int


async def stubborn(times: int, deadline_s: float = 0.3) -> Stubborn:
    """Call such a program under a deadline; it has half a second after SIGTERM."""
    told: list[float] = []
    gone: list[float] = []
    processes = left = 0
    with tempfile.TemporaryDirectory() as folder:
        pids = Path(folder) / "pids"
        program = [sys.executable, "-S", "-c", _STUBBORN, str(pids)]
        app = _app_of(program, terminate_after=f"{_GRACE_S:g}s")
        async with app.running():
            for _ in range(times):
                pids.write_text("")
                start = time.monotonic()
                try:
                    await app.call(request(), timeout_s=deadline_s)
                except DeadlineExceeded:
                    told.append(time.monotonic() - start - deadline_s)
                started = [int(line) for line in pids.read_text().split()]
                processes += len(started)
                with trio.move_on_after(_GRACE_S + 10):
                    while any(map(_is_alive, started)):
                        await trio.sleep(0.001)
                gone.append(time.monotonic() - start - deadline_s - _GRACE_S)
                left += sum(map(_is_alive, started))
    return Stubborn(times, processes, _median_and_most(told), _median_and_most(gone), left)


def _median_and_most(seconds: list[float]) -> tuple[float, float]:
    return round(statistics.median(seconds) * 1000, 1), round(max(seconds) * 1000, 1)


def _is_alive(pid: int) -> bool:
    """Whether it still runs; a zombie of somebody else's does not."""
    state = _stat(pid)
    return state is not None and state[0] != "Z"


def _stat(pid: int | str) -> tuple[str, int] | None:
    """The state of a process and its parent; `None` if there is none."""
    try:
        state, parent, *_ = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return state, int(parent)


# ---------------------------------------------------------------- many programs


@attrs.frozen
class Crowd:
    """Many calls of a program that does nothing, ten at once.

    Args:
        calls: How many.
        answered: How many were; the clients of the others left.
        seconds: How long it took.
        zombies: Children of ours that nobody has buried.
        children: Children of ours of any state.
        files: Descriptors open that were not before.
    """

    calls: int
    answered: int
    seconds: float
    zombies: int
    children: int
    files: int


async def crowd(calls: int) -> Crowd:
    """Call `true` so often; of every five clients one leaves at any time."""
    chance = random.Random(_SEED)
    app = _app_of(["true"], max_processes=10)
    dice = [chance.random() for _ in range(calls)]
    answered = 0

    async def ask() -> None:
        nonlocal answered
        while dice:
            drawn = dice.pop()
            after_s = drawn * 0.05 if drawn < 0.2 else math.inf
            if await leaving(lambda: app.call(request()), after_s):
                answered += 1

    async with app.running():
        await app.call(request())  # what stays for good is there now
        files = _open_files()
        before = _children()
        start = time.monotonic()
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(ask)
        seconds = time.monotonic() - start
        programs = app._built.adapters["s"]._programs  # type: ignore[attr-defined]
        with trio.fail_after(30):
            while programs.running:
                await trio.sleep(0.001)
        states = [state for pid, state in _children().items() if pid not in before]
        return Crowd(
            calls=calls,
            answered=answered,
            seconds=round(seconds, 1),
            zombies=states.count("Z"),
            children=len(states),
            files=_open_files() - files,
        )


def _open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def _children() -> dict[str, str]:
    """The state of each child of ours, by its id."""
    entries = (path.name for path in Path("/proc").iterdir())
    found = {entry: _stat(entry) for entry in entries if entry.isdecimal()}
    return {pid: stat[0] for pid, stat in found.items() if stat and stat[1] == os.getpid()}


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.end_to_end.program_figures", description=__doc__
    )
    measures = {"stubborn": stubborn, "crowd": crowd}
    parser.add_argument("what", choices=measures)
    parser.add_argument("count", type=int)
    options = parser.parse_args()
    print(trio.run(measures[options.what], options.count))


if __name__ == "__main__":
    main()
