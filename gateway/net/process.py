"""A program as a process: started in a group of its own, and ended as one."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeAlias

import attrs
import trio

__all__ = ["Process", "Spawn", "inherited", "spawn"]

_INHERITED = frozenset(
    {
        *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "TERM", "LANG", "LANGUAGE", "TZ"),
        *("TMPDIR", "TEMP", "TMP", "SYSTEMROOT", "XDG_RUNTIME_DIR", "XDG_CACHE_HOME"),
        *("SSL_CERT_FILE", "SSL_CERT_DIR"),
    }
)
"""What a program is given of our own environment: the rest may hold secrets."""


class Process(Protocol):
    """A program that runs."""

    @property
    def pid(self) -> int:
        """Its number, its group's and its session's."""
        ...

    @property
    def stdin(self) -> trio.abc.SendStream:
        """What it reads."""
        ...

    @property
    def stdout(self) -> trio.abc.ReceiveStream:
        """What it writes."""
        ...

    @property
    def stderr(self) -> trio.abc.ReceiveStream:
        """What it says to people."""
        ...

    @property
    def status(self) -> int | None:
        """Its exit status, negative for a signal's number; `None` while it runs."""
        ...

    async def wait(self) -> int:
        """Wait until it ended; its `status`."""
        ...

    def signal(self, number: int, /) -> None:
        """Send a signal to all of its group."""
        ...

    def close(self) -> None:
        """Close the streams at once."""
        ...

    async def aclose(self) -> None:
        """Close the streams."""
        ...


Spawn: TypeAlias = Callable[[], Awaitable[Process]]
"""Starts the program.

Raises:
    OSError: It cannot be started.
"""


def inherited(environ: Mapping[str, str]) -> dict[str, str]:
    """What a program is given of `environ`."""
    return {
        name: value
        for name, value in environ.items()
        if name in _INHERITED or name.startswith("LC_")
    }


async def spawn(
    program: Sequence[str], directory: Path, environment: Mapping[str, str]
) -> _Process:
    """Start `program`, its three streams ours, in a session and so in a group of its own.

    Args:
        program: Its name and its arguments; no shell sees them.
        directory: Where it runs.
        environment: All of its environment.

    Raises:
        OSError: It cannot be started.
    """
    process = await trio.lowlevel.open_process(
        list(program),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=directory,
        env=dict(environment),
        start_new_session=True,
    )
    assert process.stdin is not None  # noqa: S101 - they are pipes
    assert process.stdout is not None  # noqa: S101
    assert process.stderr is not None  # noqa: S101
    return _Process(process, process.stdin, process.stdout, process.stderr)


@attrs.frozen(slots=True, eq=False)
class _Process:
    _process: trio.Process
    stdin: trio.abc.SendStream
    stdout: trio.abc.ReceiveStream
    stderr: trio.abc.ReceiveStream

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def status(self) -> int | None:
        return self._process.poll()

    async def wait(self) -> int:
        return await self._process.wait()

    def signal(self, number: int, /) -> None:
        # Its number names its group for as long as any of that is left, whether it itself is or not.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    def close(self) -> None:
        for stream in (self.stdin, self.stdout, self.stderr):
            stream.close()  # type: ignore[union-attr] # pipes' streams have it

    async def aclose(self) -> None:
        for stream in (self.stdin, self.stdout, self.stderr):
            await stream.aclose()
