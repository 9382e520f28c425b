"""Commands as processes of their own, ended with the test."""

from __future__ import annotations

import atexit
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import httpx

__all__ = ["command", "free_port", "ready", "running"]

ROOT = Path(__file__).parents[2]


_NOT_GIVEN_OUT = range(20_000, 32_768)
"""Ports that no system gives to who asks for any: those begin at 32768, or higher."""


_claims = ExitStack()
"""What tells other suites which ports this one has given out, until it ends."""
atexit.register(_claims.close)


def free_port() -> int:
    """A loopback port that nobody listens on, and that no suite beside this one gives out.

    The system gives it to nobody else until it is used: other suites open thousands of connections
    meanwhile, each from a port that the system gives them. And as long as this process lives, it
    holds the port of the same number for UDP, which nobody needs: who cannot have that takes another.
    """
    while True:
        port = secrets.choice(_NOT_GIVEN_OUT)
        with ExitStack() as claims, suppress(OSError), socket.socket() as sock:
            claim = claims.enter_context(socket.socket(type=socket.SOCK_DGRAM))
            claim.bind(("127.0.0.1", port))
            sock.bind(("127.0.0.1", port))
            _claims.push(claims.pop_all())
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
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # A shell has what it runs in its background ignore SIGINT, which would be handed on.
        signal.signal(signal.SIGINT, signal.default_int_handler)
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


def ready(process: subprocess.Popen[str], url: str, *, within_s: float = 60) -> float:
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
