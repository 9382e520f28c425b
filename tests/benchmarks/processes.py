"""Processes that are pinned to a core, counted, and ended by their id."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import attrs

from tests.benchmarks.scenarios import Ask

__all__ = [
    "Cores",
    "ask",
    "await_answer",
    "await_quiet",
    "children_cpu_s",
    "cpu_s",
    "memory_bytes",
    "pinned",
    "running",
    "youngest",
]

_ROOT = Path(__file__).parents[2]
_START_S = 20.0
_END_S = 3.0
_TICKS = os.sysconf("SC_CLK_TCK")


@attrs.frozen(slots=True)
class Cores:
    """Which core is whose.

    Args:
        subject: The measured process's.
        load: Of wrk and of the service behind the subjects.
    """

    subject: int
    load: int

    @classmethod
    def of_this_machine(cls) -> Cores:
        """The first and the last core this process may use; the same one if there is one."""
        allowed = sorted(os.sched_getaffinity(0))
        return cls(allowed[0], allowed[-1])


def pinned(core: int, command: list[str]) -> list[str]:
    """`command`, with every thread of it on `core`."""
    return ["taskset", "--cpu-list", str(core), *command]


@contextmanager
def running(
    command: list[str], log: Path, env: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """The process of `command`; with the context it ends, and every child it left.

    It gets a session of its own, so Ctrl-C is for whoever started it alone.

    Args:
        command: What to run, in the repository's root.
        log: Where its output goes.
        env: Further environment variables.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=_ROOT,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask it to end, wait, and kill what is left of its session."""
    try:
        if process.poll() is None:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(_END_S)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def ask(port: int, request: Ask) -> tuple[int, bytes]:
    """Status and body of the answer to one request.

    Raises:
        OSError: No connection, or it broke.
        HTTPException: What came is not HTTP.
    """
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request(request.method, request.path, request.body, dict(request.headers))
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def await_answer(
    process: subprocess.Popen[bytes], port: int, request: Ask, log: Path
) -> tuple[int, bytes]:
    """The first answer of a process that is starting.

    Raises:
        RuntimeError: It ended, or did not answer in time; the message ends with its last output.
    """
    end = time.monotonic() + _START_S
    while time.monotonic() < end and process.poll() is None:
        try:
            return ask(port, request)
        except (OSError, HTTPException):
            time.sleep(0.05)
    said = log.read_text(errors="replace")[-2000:]
    state = "did not answer" if process.poll() is None else f"ended with {process.returncode}"
    raise RuntimeError(f"{' '.join(process.args)} {state}:\n{said}")  # type: ignore[arg-type] # a list


def cpu_s(process: subprocess.Popen[bytes]) -> float:
    """Seconds of CPU time that the process and its children have used so far."""
    return sum(stat.cpu_s for stat in _of_session(process.pid))


def youngest(process: subprocess.Popen[bytes]) -> int:
    """The id of that process in its session which was started last: the one worker."""
    return max(_of_session(process.pid), key=lambda stat: stat.started).pid


def memory_bytes(process: subprocess.Popen[bytes]) -> int:
    """The memory that the process and its children hold, pages they share counted once."""
    kib = 0
    for stat in _of_session(process.pid):
        with suppress(OSError):
            rollup = Path(f"/proc/{stat.pid}/smaps_rollup").read_text()
            kib += sum(int(line.split()[1]) for line in rollup.splitlines() if line[:4] == "Pss:")
    return kib * 1024


def await_quiet(process: subprocess.Popen[bytes], *, within_s: float, for_s: float = 0.06) -> None:
    """Wait until the process has used no CPU time for a while, or the time is over."""
    end = time.monotonic() + within_s
    before = cpu_s(process)
    while time.monotonic() < end:
        time.sleep(for_s)
        now = cpu_s(process)
        if now == before:
            return
        before = now


def children_cpu_s(parent: int) -> float:
    """Seconds of CPU time that the running children of a process have used so far."""
    return sum(stat.cpu_s for stat in _stats() if stat.parent == parent)


def _of_session(session: int) -> list[_Stat]:
    return [stat for stat in _stats() if stat.session == session]


@attrs.frozen(slots=True)
class _Stat:
    """What the system says of a process; CPU time is that of its ended children too."""

    pid: int
    parent: int
    session: int
    cpu_s: float
    started: int


def _stats() -> Iterator[_Stat]:
    for file in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended
            fields = file.read_text().rpartition(")")[2].split()
            cpu_s = sum(map(int, fields[11:15])) / _TICKS
            yield _Stat(
                int(file.parent.name), int(fields[1]), int(fields[3]), cpu_s, int(fields[19])
            )
