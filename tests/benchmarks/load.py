"""wrk: run for fractions of a second too, its figures read."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import attrs

from tests.benchmarks.processes import pinned
from tests.benchmarks.scenarios import Ask

__all__ = ["Load", "parse", "run_wrk"]

_SCRIPT = Path(__file__).with_name("load.lua")
_UNTIL_INTERRUPTED = "600s"  # wrk takes whole seconds only; an interrupt ends it at any moment
_ANSWER_S = 10.0


@attrs.frozen(slots=True, kw_only=True)
class Load:
    """What wrk measured in one run.

    Args:
        requests: Answers that came, whatever they were.
        seconds: How long it ran.
        p50_ms: Median latency, milliseconds.
        p99_ms: Its 99th percentile.
        errors: How many requests failed, by kind: connect, read, write, timeout, status (4xx and
            5xx), unlike (another body than wanted; looked for in checking runs).
    """

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    errors: Mapping[str, int]

    @property
    def rate(self) -> float:
        """Answers per second."""
        return self.requests / self.seconds if self.seconds else 0.0

    @property
    def failed(self) -> int:
        """Requests without a proper answer."""
        return sum(self.errors.values())


def parse(output: str) -> Load:
    """The figures in what wrk wrote: the line of JSON that load.lua adds.

    Where nobody listened any more there is none: that is one error, and no answer.

    Raises:
        RuntimeError: There is none; the message holds the output.
    """
    for line in reversed(output.splitlines()):
        if line.startswith('{"requests"'):
            told = json.loads(line)
            return Load(
                requests=told["requests"],
                seconds=told["duration_us"] / 1e6,
                p50_ms=told["p50_us"] / 1e3,
                p99_ms=told["p99_us"] / 1e3,
                errors=told["errors"],
            )
    if "unable to connect" in output:
        return Load(requests=0, seconds=0.0, p50_ms=0.0, p99_ms=0.0, errors={"connect": 1})
    raise RuntimeError(f"wrk said nothing that can be read:\n{output[-2000:]}")


def run_wrk(
    port: int,
    request: Ask,
    *,
    core: int,
    connections: int,
    seconds: float,
    wanted_body: bytes | None = None,
) -> Load:
    """Send `request` over and over, on every connection as soon as its answer has come.

    Args:
        port: On loopback.
        request: What to send.
        core: Where wrk runs.
        connections: How many, kept alive.
        seconds: How long.
        wanted_body: Given, every body is compared with it: for checking, not for measuring.

    Raises:
        RuntimeError: wrk failed.
    """
    env = {
        **os.environ,
        "METHOD": request.method,
        "HEADERS": "\n".join(f"{name}: {value}" for name, value in request.headers.items()),
    }
    env.pop("BODY", None)
    if request.body is not None:
        env["BODY"] = request.body.decode()
    env.pop("VARIED", None)
    if request.varied is not None:
        env["VARIED"] = request.varied
    env["CHECK"] = "0" if wanted_body is None else "1"
    env["BODY_WANTED"] = (wanted_body or b"").decode()
    url = f"http://127.0.0.1:{port}{request.path}"
    options = ["-t1", f"-c{connections}", f"-d{_UNTIL_INTERRUPTED}", "-s", str(_SCRIPT)]
    process = subprocess.Popen(
        pinned(core, ["wrk", *options, url]),
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        text=True,
    )
    try:
        with suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=_ANSWER_S)
    finally:
        process.kill()
        process.wait()
    return parse(output)
