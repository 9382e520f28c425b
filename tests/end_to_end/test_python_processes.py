"""`processes = N` in real time: killed, crashed, replaced, and gone with the gateway."""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import trio

from gateway.app import Gateway, create_app
from gateway.config.problems import ConfigError
from gateway.core.errors import DeadlineExceeded, NotCalled, NotFound, Unreachable
from gateway.core.messages import Context, Request
from tests.adapters import functions
from tests.end_to_end.support import until
from tests.support import require

pytestmark = pytest.mark.end_to_end
ROOT = Path(__file__).parent.parent.parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
NAMES = ("compute", "process_id", "leave_python", "fail", "logs", "typed", "count_up", "left")


@pytest.fixture(autouse=True)
def _needs() -> None:
    try:
        import trio_parallel  # noqa: F401, PLC0415
    except ImportError:
        require("trio-parallel is not installed")


def written(processes: int, names: tuple[str, ...] = NAMES, **keys: Any) -> dict[str, Any]:
    service = {"kind": "python", "module": functions.__name__, "processes": processes, **keys}
    inputs = {name: {} for name in ("seconds", "status", "name", "line", "a")}
    return {
        "services": {"s": service},
        "tools": {
            name: {
                "input": {"properties": inputs},
                "output": "r",
                "calls": {"r": {"service": "s", "function": name}},
            }
            for name in names
        },
    }


@asynccontextmanager
async def opened(processes: int, **keys: Any) -> AsyncGenerator[Gateway]:
    app = create_app(written(processes, **keys))
    async with app.running():
        yield app


async def call(app: Gateway, tool: str, timeout_s: float = 30, /, **arguments: Any) -> Any:
    request = Request(tool, arguments, Context(request_id="r-7", principal="ann"))
    return (await app.call(request, timeout_s=timeout_s)).value


def is_there(pid: int) -> bool:
    """Whether a process is, a zombie counting as none of ours left behind only once it is gone."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_functions_run_in_processes_that_stay() -> None:
    async with opened(2) as app:
        pids = set()

        async def ask() -> None:
            pids.add(await call(app, "compute", seconds=0.2))

        for _ in range(2):
            async with trio.open_nursery() as nursery:
                for _ in range(2):
                    nursery.start_soon(ask)
        assert len(pids) == 2
        assert os.getpid() not in pids
        assert await call(app, "count_up", a=3) == [1, 2, 3]
        line = {"start": {"x": 3, "at": "2024-05-01T12:00:00Z"}, "colours": ["red"]}
        assert await call(app, "typed", line=line) == {"x": 3, "day": 1, "rest": {}}
        assert 4 < await call(app, "left", 9) < 9
        with pytest.raises(NotFound, match="no such person"):
            await call(app, "fail", name="not_found")
    await until(lambda: not any(map(is_there, pids)))


async def test_a_call_that_is_over_ends_its_process_and_another_takes_its_place() -> None:
    async with opened(1) as app:
        before = await call(app, "process_id")
        start = time.perf_counter()
        with pytest.raises(DeadlineExceeded):
            await call(app, "compute", 2, seconds=60)
        assert time.perf_counter() - start < 10
        assert not is_there(before)  # killed before its caller was told
        assert await call(app, "process_id") != before


async def test_a_process_that_ends_is_one_failed_call() -> None:
    async with opened(1) as app:
        with pytest.raises(Unreachable, match="its worker process ended: with status 3"):
            await call(app, "leave_python", status=3)
        pid = await call(app, "process_id")
        os.kill(pid, signal.SIGKILL)
        await until(lambda: not is_there(pid))
        assert await call(app, "process_id") != pid


async def test_a_hundred_calls_that_are_given_up_leave_nothing() -> None:
    async with opened(2) as app:
        for number in range(100):
            with trio.move_on_after(0.001 * (number % 20)), suppress(NotCalled):
                await call(app, "compute", seconds=30)
        processes = app._built.adapters["s"]._processes  # type: ignore[attr-defined]
        await until(lambda: processes.limiter.borrowed_tokens == 0)
        pids = {await call(app, "process_id") for _ in range(4)}
        assert len(children_of_forkserver()) <= 2
    await until(lambda: not any(map(is_there, pids)))
    await until(lambda: not children_of_forkserver())


def children_of_forkserver() -> list[int]:
    """All processes below ours that run functions, zombies too."""
    from multiprocessing import forkserver  # noqa: PLC0415

    server = forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]
    listed = Path(f"/proc/{server}/task/{server}/children")
    if not listed.exists():
        require("the system has no /proc with children")
    return [int(pid) for pid in listed.read_text().split()]


LOGGING = """
import json, sys, trio
from gateway import Context, Request, create_app
from gateway.telemetry.logs import configure

async def main():
    configure(log="json", level="warning", worker=3)
    app = create_app(json.loads(sys.argv[1]))
    async with app.running():
        context = Context(request_id="r-7", principal="ann")
        print(json.dumps((await app.call(Request("logs", {}, context))).value))

trio.run(main)
"""


def test_log_lines_of_a_process_look_like_the_gateways() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOGGING, json.dumps(written(1, ("logs",)))],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        check=True,
    )
    bound = {"request_id": "r-7", "tool": "logs", "principal": "ann"}
    assert json.loads(done.stdout) == bound
    (line,) = map(json.loads, done.stderr.splitlines())
    assert (
        line.items() >= {**bound, "event": "from a process", "worker": 3, "logger": "mine"}.items()
    )


@pytest.mark.parametrize(
    ("function", "said"), [("add_async", "is async"), ("with_an_input", "takes caller")]
)
def test_what_cannot_run_in_a_process_is_told_at_load(function: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        create_app(written(1, (function,)))


async def test_what_waits_and_runs_is_on_the_metrics() -> None:
    async with opened(1) as app, trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(lambda: call(app, "compute", seconds=60))
        values = {"": 1, "_busy": 1, "_waiting": 2}
        lines = [
            f'gateway_places{name}{{of="processes",service="s"}} {float(value)}'
            for name, value in values.items()
        ]
        await until(lambda: all(line in app.metrics.render()[0].decode() for line in lines))
        nursery.cancel_scope.cancel()


async def test_who_does_not_compute_waits_no_longer_than_its_share() -> None:
    """Loosely, for a machine that others use too; `tests.benchmarks.computing` has the figures."""
    waited = []
    async with opened(2) as app, trio.open_nursery() as nursery:

        async def compute() -> None:
            while True:
                await call(app, "compute", seconds=0.1)

        for _ in range(2):
            nursery.start_soon(compute)
        for _ in range(100):
            start = time.perf_counter()
            await trio.sleep(0.005)
            waited.append(time.perf_counter() - start - 0.005)
        nursery.cancel_scope.cancel()
    assert statistics.median(waited) < 0.05


GATEWAY = """
import sys, trio
from gateway import Context, Request, create_app

async def main():
    app = create_app(sys.argv[1])
    async with app.running():
        ask = lambda name, **values: app.call(Request(name, values, Context(request_id="r")))
        print((await ask("process_id")).value, flush=True)
        await ask("compute", seconds=60)

trio.run(main)
"""


def test_processes_end_with_a_gateway_that_is_killed(tmp_path: Path) -> None:
    """In the middle of computing, with nobody left to end them."""
    file = tmp_path / "gateway.toml"
    file.write_text(
        f'[services.s]\nkind = "python"\nmodule = "{functions.__name__}"\nprocesses = 1\n'
        "[server]\ndeadline = '60s'\n"
        "[tools.compute]\ninput.properties.seconds = 'number'\n"
        "calls.a = { service = 's', function = 'compute' }\n"
        "[tools.process_id]\noutput = 'a'\ncalls.a = { service = 's', function = 'process_id' }\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", GATEWAY, str(file)],
        stdout=subprocess.PIPE,
        env=ENVIRONMENT,
        cwd=tmp_path,
    ) as gateway:
        assert gateway.stdout is not None
        pid = int(gateway.stdout.readline())
        time.sleep(0.3)  # it computes by now
        gateway.kill()
    deadline = time.monotonic() + 30
    while is_there(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not is_there(pid)


def test_without_its_library_the_file_is_wrong(tmp_path: Path) -> None:
    """Not imported where it is not asked for, told with its line where it is."""
    file = tmp_path / "gateway.toml"
    file.write_text('[services.s]\nkind = "python"\nmodule = "m"\nprocesses = 1\n')
    hidden = "import sys; sys.modules['trio_parallel'] = None; "
    program = hidden + f"from gateway import load_config; load_config({str(file)!r})"
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        check=False,
    )
    assert ConfigError.__name__ in done.stderr
    assert ':4: services.s.processes: needs trio-parallel: pip install "trio-gateway[processes]"' in done.stderr  # fmt: skip
