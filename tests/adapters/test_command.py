"""Programs behind a tool: arguments, input, output, ends; nothing is left of them."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from gateway.app import Gateway, create_app
from gateway.config.problems import ConfigError
from gateway.core.errors import (
    BadReply,
    DeadlineExceeded,
    GatewayError,
    InvalidArguments,
    Rejected,
    Unreachable,
)
from gateway.core.messages import Chunk, Partial
from gateway.net import strays
from tests.apps import request


def app_of(program: list[str], service: Any = None, /, **call: Any) -> Gateway:
    return create_app(
        {
            "services": {"s": {"kind": "command", "program": program, **(service or {})}},
            "tools": {
                "t": {
                    "input": {"properties": {"x": {}, "y": {}}},
                    "output": "a",
                    "calls": {"a": {"service": "s", **call}},
                }
            },
        }
    )


async def ran(app: Gateway, timeout_s: float = 10, /, **arguments: Any) -> Any:
    async with app.running():
        return (await app.call(request(**arguments), timeout_s=timeout_s)).value


ARGUMENTS = ["sh", "-c", 'for each in "$@"; do printf "<%s>" "$each"; done', "sh"]


@pytest.mark.parametrize(
    ("arguments", "x", "given"),
    [
        (["{x}"], "a b; rm -rf / $HOME `id` *", "<a b; rm -rf / $HOME `id` *>"),
        (["{x}"], "", "<>"),
        (["{x}"], 5, "<5>"),
        (["{x}"], 1.5, "<1.5>"),
        (["{x}"], True, "<true>"),
        (["--name={x}", "y"], "-v", "<--name=-v><y>"),
        (["--", "{x}"], "-v", "<--><-v>"),
        (["é{x}"], "ü\n", "<éü\n>"),
    ],
)
async def test_a_placeholder_is_one_argument_whatever_it_holds(
    arguments: list[str], x: Any, given: str
) -> None:
    assert await ran(app_of(ARGUMENTS, arguments=arguments), x=x) == given


@pytest.mark.parametrize(
    ("x", "says"),
    [
        ("-rf", "begins with a dash"),
        (None, "expected text or a number, got null"),
        ([1], "expected text or a number, got list"),
        ("a\0b", "null character"),
    ],
)
async def test_what_is_no_argument_is_refused(x: Any, says: str) -> None:
    with pytest.raises(InvalidArguments, match=says):
        await ran(app_of(ARGUMENTS, arguments=["{x}"]), x=x)


async def test_a_call_may_let_options_through() -> None:
    assert await ran(app_of(ARGUMENTS, arguments=["{x}"], dashes=True), x="-v") == "<-v>"


@pytest.mark.parametrize(
    ("stdin", "x", "output", "value"),
    [
        ("{x}", "text", "text", "text"),
        ("{x}", [1, {"a": None}], "json", [1, {"a": None}]),
        ({"q": "{x}"}, 7, "json", {"q": 7}),
        ("a\nb\r\nc", 0, "lines", ["a", "b", "c"]),
        (None, 0, "text", ""),
    ],
)
async def test_it_reads_and_writes(stdin: Any, x: Any, output: str, value: Any) -> None:
    call = {"output": output} if stdin is None else {"stdin": stdin, "output": output}
    assert await ran(app_of(["cat"], **call), x=x) == value


async def test_lines_go_out_as_they_come() -> None:
    seen: list[Partial] = []

    async def emit(item: Partial) -> None:
        seen.append(item)

    app = app_of(["printf", "a\\nb\\nc"], output="lines")
    async with app.running():
        await app._built.tools["t"].plan.nodes[0].invoke(request(arguments=[], stdin=None), emit)
    assert seen == [Chunk("a"), Chunk("b"), Chunk("c")]


async def test_a_long_line_is_read_once() -> None:
    size = 48 * 2**20  # in pieces of 64 KiB: copied anew with each, it takes longer than may be
    app = app_of(
        ["sh", "-c", f"head -c {size} /dev/zero | tr '\\0' a; printf '\\nb'"],
        {"max_output": "64MiB"},
        output="lines",
    )
    lines = await ran(app, 10)
    assert [len(line) for line in lines] == [size, 1]


@pytest.mark.parametrize(
    ("script", "kind", "says"),
    [
        ("echo oops >&2; exit 3", BadReply, "ended with status 3: oops"),
        ("exit 1", Rejected, "status 1"),
        ("exit 75", Unreachable, "status 75"),
        ("kill -9 $$", BadReply, "by signal 9"),
        ("echo {", BadReply, "not JSON"),
        ("yes", BadReply, "over 1024 bytes"),
        ("echo $TOKEN >&2; exit 3", BadReply, r"status 3: \*\*\*"),
    ],
)
async def test_how_it_ends_is_told(script: str, kind: type[GatewayError], says: str) -> None:
    service = {
        "statuses": {"1": "rejected", "75": "unreachable"},
        "max_output": "1KiB",
        "environment": {"TOKEN": "s3cr3t-and-long"},
    }
    with pytest.raises(kind, match=says):
        await ran(app_of(["sh", "-c", script], service, output="json"))


async def test_a_status_may_be_well() -> None:
    service = {"statuses": {"1": "ok"}}
    assert await ran(app_of(["sh", "-c", "echo none; exit 1"], service)) == "none\n"


async def test_a_program_that_is_not_there_is_unreachable() -> None:
    with pytest.raises(Unreachable, match="cannot be started: No such file"):
        await ran(app_of(["no-such-program-anywhere"]))


async def test_its_environment_is_its_own(tmp_path: Path) -> None:
    os.environ["GATEWAY_TEST_SECRET"] = "hidden"
    try:
        said = await ran(app_of(["env"], {"environment": {"MINE": "1"}}))
    finally:
        del os.environ["GATEWAY_TEST_SECRET"]
    assert "MINE=1" in said
    assert "GATEWAY_TEST_SECRET" not in said
    assert await ran(app_of(["pwd"], {"directory": str(tmp_path)})) == f"{tmp_path}\n"


def test_a_folder_that_is_not_there_is_told_at_load(tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text('[services.s]\nkind = "command"\nprogram = ["pwd"]\ndirectory = "nowhere"\n')
    with pytest.raises(ConfigError) as caught:
        create_app(str(file))
    assert str(caught.value).endswith(
        ":4: services.s.directory: expected a folder that is there, got nowhere"
    )


def alive(pids: list[int]) -> list[int]:
    found = []
    for pid in pids:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            continue
        state = Path(f"/proc/{pid}/stat")
        word, parent, *_ = state.read_text().rpartition(")")[2].split()
        if word == "Z":  # ours to bury, or that of whoever inherited it
            assert int(parent) != os.getpid(), f"{pid} is a zombie"
            continue
        found.append(pid)
    return found


async def test_at_the_deadline_all_that_it_started_ends(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    script = (
        f"trap '' TERM; (trap '' TERM; sleep 60) & echo $! >> {pids}; echo $$ >> {pids}; "
        "sleep 60; sleep 60"
    )
    app = app_of(["sh", "-c", script], {"terminate_after": "200ms"})
    async with app.running():
        start = time.monotonic()
        with pytest.raises(DeadlineExceeded):
            await app.call(request(), timeout_s=2)
        assert time.monotonic() - start < 2 + 5
        started = [int(pid) for pid in pids.read_text().split()]
        assert len(started) == 2
        with trio.fail_after(30):
            while alive(started):
                await trio.sleep(0.01)


async def test_closing_waits_for_the_end_of_those_that_are_left(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    app = app_of(
        ["sh", "-c", f"trap '' TERM; echo $$ >> {pid}; while :; do sleep 0.05; done"],
        {"terminate_after": "100ms"},
    )
    pid.touch()
    async with app.running(), trio.open_nursery() as nursery:
        nursery.start_soon(app.call, request())
        with trio.fail_after(30):
            while not pid.read_text().endswith("\n"):
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    assert not alive([int(pid.read_text())])


async def test_what_it_leaves_behind_when_it_ends_by_itself_is_ended_too(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    app = app_of(["sh", "-c", f"sleep 60 > /dev/null 2>&1 & echo $! > {pid}"])
    async with app.running():
        await app.call(request())
        with trio.fail_after(30):
            while alive([int(pid.read_text())]):
                await trio.sleep(0.01)


STRAY = """
import os, signal, sys, time

file, how = sys.argv[1:]
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork():
    while how == "child" or not os.path.exists(file) or not os.path.getsize(file):
        time.sleep(0.01)
    os._exit(0)
os.setsid()
if how == "daemon" and os.fork():
    os._exit(0)
os.closerange(0, 3)
script = f"sleep 60 & echo $$ $! > {file}; wait"
os.execve("/bin/sh", ["sh", "-c", script], {} if how == "child" else os.environ)
"""
"""Leaves its group: a child with nothing in its environment, or a daemon without a parent."""


async def started(file: Path) -> list[int]:
    with trio.fail_after(10):
        while not (text := written(file)).endswith("\n"):
            await trio.sleep(0.01)
    return [int(pid) for pid in text.split()]


def written(file: Path) -> str:
    return file.read_text() if file.exists() else ""


@pytest.mark.skipif(not strays.VISIBLE, reason="nothing is seen here")
@pytest.mark.parametrize("how", ["child", "daemon"])
async def test_what_makes_a_session_for_itself_ends_at_the_deadline(
    tmp_path: Path, how: str
) -> None:
    stray = [sys.executable, "-S", "-c", STRAY, str(tmp_path / "pids"), how]
    app = app_of(["sh", "-c", '"$@"; sleep 60', "sh", *stray], {"terminate_after": "200ms"})
    async with app.running():
        with pytest.raises(DeadlineExceeded):
            await app.call(request(), timeout_s=1)
        pids = await started(tmp_path / "pids")
        with trio.fail_after(5):
            while alive(pids):
                await trio.sleep(0.01)


@pytest.mark.skipif(not strays.VISIBLE, reason="nothing is seen here")
async def test_a_daemon_that_a_program_leaves_behind_is_ended_too(tmp_path: Path) -> None:
    app = app_of([sys.executable, "-S", "-c", STRAY, str(tmp_path / "pids"), "daemon"])
    async with app.running():
        for _ in range(3):
            await app.call(request())
            pids = await started(tmp_path / "pids")
            (tmp_path / "pids").unlink()
            with trio.fail_after(5):
                while alive(pids):
                    await trio.sleep(0.01)


async def test_no_more_run_at_once_than_may(tmp_path: Path) -> None:
    go = tmp_path / "go"
    script = f"while [ ! -e {go} ]; do sleep 0.02; done"
    app = app_of(["sh", "-c", script], {"max_processes": 2})
    async with app.running():
        adapter: Any = app._built.adapters["s"]
        async with trio.open_nursery() as nursery:
            for _ in range(6):
                nursery.start_soon(app.call, request())
            with trio.fail_after(30):
                while adapter._programs.running < 2:
                    await trio.sleep(0.001)
            await wait_all_tasks_blocked()
            assert adapter._programs.running == 2
            go.touch()
    assert adapter._programs.running == 0


@pytest.mark.parametrize(
    ("service", "call", "says"),
    [
        ({"program": []}, {}, "program: expected a list"),
        ({"statuses": {"0": "ok"}}, {}, "exit status from 1 to 255"),
        ({"statuses": {"1": "fine"}}, {}, "statuses"),
        ({}, {"output": "xml"}, "output"),
    ],
)
def test_mistakes_of_the_file_are_told(
    service: dict[str, Any], call: dict[str, Any], says: str
) -> None:
    program = service.pop("program", ["true"])
    with pytest.raises(ConfigError, match=says):
        app_of(program, service, **call)


def test_signals_are_what_they_were() -> None:
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
