"""Programs that do not end, and many of them; more: `python -m tests.end_to_end.program_figures`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import httpx
import pytest
import trio

from gateway.net import strays
from tests.end_to_end.processes import command, free_port, ready, running
from tests.end_to_end.program_figures import crowd, stubborn

pytestmark = pytest.mark.end_to_end


async def test_a_program_that_ignores_its_end_is_gone_in_time_with_its_children() -> None:
    figures = await stubborn(3, deadline_s=1)
    assert figures.left == 0, figures
    assert figures.processes >= 4, figures  # of a machine that is busy, not all were begun in time
    for median_ms, most_ms in (figures.told_ms, figures.gone_ms):
        assert median_ms < 1200, figures
        assert most_ms < 5000, figures  # the machine may stand still for a while


async def test_many_calls_leave_no_zombies() -> None:
    figures = await crowd(100)
    assert 0 < figures.answered <= 100, figures
    assert (figures.zombies, figures.children, figures.files) == (0, 0, 0), figures


HOST = """
import ctypes, os, subprocess, sys, time

import trio

from tests.adapters.test_command import STRAY, app_of
from tests.apps import request
from tests.end_to_end.program_figures import stubborn

async def leave(file):
    app = app_of([sys.executable, "-S", "-c", STRAY, file, "daemon"])
    async with app.running():
        await app.call(request())

ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # a subreaper: what is orphaned below is its own
own = subprocess.Popen(["sh", "-c", "exit 7"], start_new_session=True)
figures = trio.run(stubborn, 2)
trio.run(leave, sys.argv[1])
assert figures.left == 0, figures
assert own.wait() == 7
try:
    print(os.waitpid(-1, os.WNOHANG))
except ChildProcessError:
    print("none is left")
"""
"""An application that is the parent of what loses its own, and has a child besides."""


@pytest.mark.skipif(not strays.VISIBLE, reason="nothing is seen here")
def test_what_is_orphaned_to_us_is_buried_and_nobody_elses_child(tmp_path: Path) -> None:
    host = [sys.executable, "-c", HOST, str(tmp_path / "pids")]
    ran = subprocess.run(host, capture_output=True, text=True, timeout=60, check=False)
    assert (ran.stdout, ran.stderr) == ("none is left\n", "")


WORKERS = """
[server]
bind = ["127.0.0.1:{port}"]
workers = 2
admin = {{ bind = "127.0.0.1:{admin}" }}

[telemetry]
level = "error"

[services.nap]
kind = "command"
program = ["sleep"]
max_processes = 20

[tools.nap]
http = "GET /naps/{{s}}"
deadline = "30s"
input.properties.s = "string"
input.required = ["s"]
calls.nap = {{ service = "nap", arguments = ["{{s}}"], output = "text" }}
"""


async def test_workers_end_nothing_of_each_others(tmp_path: Path) -> None:
    """They are forks of one process: what each starts is to be told apart all the same."""
    port, admin = free_port(), free_port()
    file = tmp_path / "gateway.toml"
    file.write_text(WORKERS.format(port=port, admin=admin))
    statuses: list[int] = []

    async def nap(seconds: str) -> None:
        async with httpx.AsyncClient(trust_env=False, verify=False, timeout=60) as client:
            statuses.append(
                (await client.get(f"http://127.0.0.1:{port}/naps/{seconds}")).status_code
            )

    with running(command("serve", str(file))) as server:
        ready(server, f"http://127.0.0.1:{admin}/healthz")
        async with trio.open_nursery() as nursery:
            for number in range(16):
                nursery.start_soon(nap, "1.5" if number % 2 else "0.3")
    assert statuses == [200] * 16
