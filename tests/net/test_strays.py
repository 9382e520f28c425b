"""What programs of ours have started: whose it is, and whose it is not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from gateway.net import strays
from gateway.net.strays import Marks, Run, Stray

pytestmark = pytest.mark.skipif(not strays.VISIBLE, reason="nothing is seen here")

# Where tests run in the background of a shell, SIGINT is ignored.
HEEDS = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
CHILD = HEEDS + "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
PARENT = (
    HEEDS
    + """\
import subprocess, sys, time
code = "import time; time.sleep(60)"
child = subprocess.Popen([sys.executable, "-S", "-c", code], env={}, start_new_session=True)
print(child.pid, flush=True)
try:
    time.sleep(60)
finally:
    child.kill()
"""
)


@contextmanager
def started(code: str, run: Run | None = None) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A process, in an environment that has a run's mark if there is one; and the number it says."""
    environment = {"PATH": os.environ["PATH"], **({} if run is None else run.variables)}
    with subprocess.Popen(
        [sys.executable, "-S", "-c", code],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            yield process, int(process.stdout.readline())
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(10)


def numbers(found: set[Stray]) -> set[int]:
    return {one.pid for one in found}


def test_what_has_a_runs_mark_is_its() -> None:
    marks = Marks()
    run, other = marks.begin(), marks.begin()
    with started(CHILD, run) as (_, pid):
        assert numbers(marks.of(run, 1, ended=True).find()[0]) == {pid}
        assert numbers(marks.of(other, 1, ended=True).find()[0]) == set()
        assert marks.left() is None
        marks.end(other, 1)
        left = marks.left()
        assert left is not None
        assert numbers(left.find()[0]) == set()  # its run goes on
        marks.end(run, 1)
        left = marks.left()
        assert left is not None
        assert numbers(left.find()[0]) == {pid}


def test_others_marks_are_not_ours() -> None:
    ours, theirs = Marks(), Marks()
    run = ours.begin()
    with started(CHILD, theirs.begin()):
        assert numbers(ours.of(run, 1, ended=True).find()[0]) == set()


def test_a_child_without_a_mark_is_found_by_its_parent_but_not_once_that_has_ended() -> None:
    marks = Marks()
    run = marks.begin()
    with started(PARENT) as (parent, child):  # whose number a program of ours has had, or has
        assert numbers(marks.of(run, parent.pid, ended=False).find()[0]) == {child}
        assert numbers(marks.of(run, parent.pid, ended=True).find()[0]) == set()


def test_what_could_not_be_looked_for_is_looked_for_again() -> None:
    marks = Marks()
    run = marks.begin()
    with started(CHILD, run) as (_, pid):
        marks.end(run, 1)
        left = marks.left()
        assert left is not None
        assert marks.left() is None
        marks.look_again(left)
        again = marks.left()
        assert again is not None
        assert numbers(again.find()[0]) == {pid}


def test_what_is_killed_is_gone_and_who_else_has_its_number_is_not() -> None:
    marks = Marks()
    run = marks.begin()
    with started(CHILD, run) as (process, pid), started(CHILD) as (other, _):
        mistaken = Stray(other.pid, 1, other.pid)
        assert strays.tell([mistaken], signal.SIGKILL) == set()
        assert strays.kill(marks.of(run, 1, ended=True), [mistaken])
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
        assert process.wait() is not None
        assert other.poll() is None
