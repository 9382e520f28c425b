"""Commands as processes of their own, ended with the test."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx

__all__ = ["command", "free_port", "ready", "running"]

ROOT = Path(__file__).parents[2]


_NOT_GIVEN_OUT = range(20_000, 32_768)
"""Ports that no system gives to who asks for any: those begin at 32768, or higher."""


_given_out: set[int] = set()


def free_port() -> int:
    """A loopback port that nobody listens on, and that was not given out before.

    The system gives it to nobody else until it is used: other suites beside this one open thousands
    of connections meanwhile, each from a port that the system gives them.
    """
    while True:
        port = secrets.choice(_NOT_GIVEN_OUT)
        if port in _given_out:
            continue
        with suppress(OSError), socket.socket() as sock:
            sock.bind(("127.0.0.1", port))
            _given_out.add(port)
            return port


def command(*arguments: str) -> list[str]:
    """The command line of `gateway ARGUMENTS`."""
    return [sys.executable, "-m", "gateway", *arguments]


@contextmanager
def running(
    arguments: list[str], *, cwd: Path = ROOT, env: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    """The process of `arguments`, in a session of its own; killed at the end if it is still there."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen(
        arguments,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": path, **(env or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def ready(process: subprocess.Popen[str], url: str, *, within_s: float = 15) -> float:
    """Wait until `url` answers; the seconds it took.

    Raises:
        AssertionError: The process ended, or it took longer than `within_s`.
    """
    start = time.monotonic()
    while time.monotonic() - start < within_s:
        if process.poll() is not None:
            assert process.stdout is not None
            raise AssertionError(f"it ended: {process.stdout.read()}")
        try:
            # Without loading certificates, which takes longer than all else while it starts.
            httpx.get(url, timeout=1, trust_env=False, verify=False)
        except httpx.TransportError:
            time.sleep(0.02)
        else:
            return time.monotonic() - start
    raise AssertionError(f"{url} did not answer within {within_s} s")
