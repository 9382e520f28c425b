"""Servers of the official SDK behind the gateway: over HTTP and as programs, in both eras."""

from __future__ import annotations

import contextlib
import os
import statistics
import sys
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from gateway.app import Gateway, create_app
from gateway.core.errors import GatewayError, Rejected, Unreachable
from gateway.core.messages import Context, Partial, Progress, Reply, Request
from gateway.core.service import discard
from tests.apps import request
from tests.end_to_end.processes import running
from tests.end_to_end.support import serving, until

pytestmark = pytest.mark.end_to_end

FIXTURE = Path(__file__).with_name("mcp_fixture.py")
WAYS = ("stdio", "stdio legacy", "http", "http legacy")
EVERY_WAY = pytest.mark.parametrize("way", WAYS)
CANCELS = int(os.environ.get("MCP_CANCELS", "5"))
"""How often a call is cancelled; 100 by hand."""

TOOLS: Mapping[str, Mapping[str, Any]] = {
    "add": {"arguments": {"a": 1, "b": 2}},
    "greet": {"arguments": {"name": "Ada"}},
    "fails": {},
    "slow": {},
    "who": {},
    "grow": {},
    "flood": {"arguments": {"lines": 20_000}},
    "die": {},
    "pid": {},
    "nothing": {},
}


@attrs.frozen
class Behind:
    """A gateway before one server."""

    app: Gateway
    log: Path

    @property
    def server(self) -> Any:
        return self.app._built.adapters["s"]

    async def call(self, name: str, emit: Any = discard, **context: Any) -> Any:
        asked = Request(name, {}, Context(request_id="r", **context))
        return (await self.app.call(asked, emit)).value

    def cancelled(self) -> list[float]:
        return [float(line) for line in self.log.read_text().split()] if self.log.exists() else []

    async def listed(self) -> None:
        await until(lambda: self.server.listed("tools").items)


@asynccontextmanager
async def behind(way: str, tmp_path: Path, *more: str, **settings: Any) -> AsyncGenerator[Behind]:
    log = tmp_path / "cancelled"
    command = [sys.executable, str(FIXTURE), *way.split(), *more]
    if way.startswith("stdio"):
        service = {"program": command, "environment": {"CANCEL_LOG": str(log)}}
        async with opened({**service, **settings}) as app:
            yield Behind(app, log)
        return
    with running(command, env={"CANCEL_LOG": str(log)}) as process:
        assert process.stdout is not None
        port = int(await trio.to_thread.run_sync(process.stdout.readline))
        service = {"url": f"http://127.0.0.1:{port}/mcp"}
        async with opened({**service, **settings}) as app:
            yield Behind(app, log)


@asynccontextmanager
async def opened(service: Mapping[str, Any]) -> AsyncGenerator[Gateway]:
    tools = {
        name: {"output": "a", "calls": {"a": {"service": "s", "tool": name, **keys}}}
        for name, keys in TOOLS.items()
    }
    app = create_app(
        {
            "server": {"deadline": "60s", "drain": "1s"},
            # The tools of the file have the names of the server's own.
            "services": {"s": {"kind": "mcp", "prefix": "s_", **service}},
            "tools": tools,
        }
    )
    async with app.running():
        yield app


def children() -> set[int]:
    """Processes of ours, the dead ones that nobody buried included."""
    tasks = Path(f"/proc/{os.getpid()}/task").glob("*/children")
    return {int(pid) for task in tasks for pid in task.read_text().split()}


@EVERY_WAY
async def test_a_tool_is_called(way: str, tmp_path: Path) -> None:
    async with behind(way, tmp_path) as it:
        assert await it.call("add") == {"result": 3}
        assert await it.call("greet") == "Hello, Ada!"
        with pytest.raises(Rejected, match="Error executing tool fails"):
            await it.call("fails")
        with pytest.raises(GatewayError, match="nothing"):
            await it.call("nothing")
        version = "2025-11-25" if "legacy" in way else "2026-07-28"
        assert it.server._client._era.version == version


@EVERY_WAY
async def test_everything_is_offered(way: str, tmp_path: Path) -> None:
    async with behind(way, tmp_path, prefix="f_", deny=["die"], rename={"add": "plus"}) as it:
        await it.listed()
        await until(lambda: it.server.listed("resourceTemplates").items)
        names = {item["name"] for item in it.server.listed("tools").items}
        assert {"f_plus", "f_greet"} <= names
        assert not names & {"f_die", "die", "add", "f_add"}
        assert [item["name"] for item in it.server.listed("prompts").items] == ["f_summarise"]
        assert [item["uri"] for item in it.server.listed("resources").items] == ["docs://handbook"]
        templates = it.server.listed("resourceTemplates").items
        assert [item["uriTemplate"] for item in templates] == ["docs://pages/{number}"]
        context = request().context
        called = {"name": "f_plus", "arguments": {"a": 2, "b": 2}}
        result = await it.server.ask("tools/call", called, context, discard)
        assert result["structuredContent"] == {"result": 4}
        asked = {"name": "f_summarise", "arguments": {"text": "x"}}
        prompt = await it.server.ask("prompts/get", asked, context, discard)
        assert prompt["messages"][0]["content"]["text"] == "Summarise: x"
        read = {"uri": "docs://pages/7"}
        page = await it.server.ask("resources/read", read, context, discard)
        assert page["contents"][0]["text"] == "Page 7"


@EVERY_WAY
async def test_a_change_of_the_list_is_heard(way: str, tmp_path: Path) -> None:
    async with behind(way, tmp_path) as it:
        await it.listed()
        heard: list[str] = []
        with it.server.listening(heard.append):
            with trio.fail_after(30):
                # Once more if the server did not know yet that somebody listens.
                while "s_grown" not in {item["name"] for item in it.server.listed("tools").items}:
                    await it.call("grow")
                    await trio.sleep(0.3)
        assert "tools" in heard


@EVERY_WAY
async def test_a_cancelled_call_is_cancelled_there(way: str, tmp_path: Path) -> None:
    async with behind(way, tmp_path) as it:
        assert await it.call("add") == {"result": 3}
        lags, took = [], []
        for number in range(CANCELS):
            began = trio.Event()

            async def emit(partial: Partial, began: trio.Event = began) -> None:
                if isinstance(partial, Progress):
                    began.set()

            async with trio.open_nursery() as nursery:
                nursery.start_soon(it.call, "slow", emit)
                with trio.fail_after(30):
                    await began.wait()
                at = time.time()
                nursery.cancel_scope.cancel()
            took.append(time.time() - at)
            await until(lambda number=number: len(it.cancelled()) > number)
            lags.append(it.cancelled()[-1] - at)
        print(f"{way}: cancelled there after {max(lags) * 1000:.1f} ms at most, {lags}")
        assert len(it.cancelled()) == CANCELS
        assert statistics.median(took) < 0.25
        assert max(lags) < 5  # 0.1 on a quiet machine; it would take 30
        assert await it.call("add") == {"result": 3}


async def asked(method: str, params: Mapping[str, Any]) -> Mapping[str, Any]:
    assert method == "elicitation/create"
    assert params["message"] == "Who are you?"
    return {"action": "accept", "content": {"name": "Ada"}}


class Peer:
    capabilities: Mapping[str, Any] = {"elicitation": {"form": {}}}

    async def __call__(self, method: str, params: Mapping[str, Any], /) -> Mapping[str, Any]:
        return await asked(method, params)


@pytest.mark.parametrize("way", [way for way in WAYS if "legacy" in way])
async def test_what_it_asks_back_is_asked_of_the_client(way: str, tmp_path: Path) -> None:
    async with behind(way, tmp_path) as it:
        assert await it.call("who", peer=Peer()) == {"result": "Ada"}
        assert await it.call("who") == {"result": "decline"}


async def test_a_program_that_ends_is_started_again(tmp_path: Path) -> None:
    async with behind("stdio", tmp_path) as it:
        first = await it.call("pid")
        with pytest.raises(Unreachable, match="gone"):
            await it.call("die")
        await until(lambda: it.server._link._channel is None)
        with pytest.raises(Unreachable, match="status 3; it starts again"):
            await it.call("pid")
        await until(lambda: it.server._link._channel is not None)
        assert await it.call("pid") != first


async def test_a_program_that_says_very_much_serves_on(tmp_path: Path) -> None:
    async with behind("stdio", tmp_path) as it:
        assert await it.call("flood") == {"result": "said"}
        assert await it.call("add") == {"result": 3}


@pytest.mark.parametrize("more", [(), ("stubborn",)])
async def test_no_program_is_left_behind(more: tuple[str, ...], tmp_path: Path) -> None:
    before = children()
    async with behind("stdio", tmp_path, *more) as it:
        await it.call("add")
        assert len(children() - before) == 1
        start = time.monotonic()
    assert time.monotonic() - start < 10
    assert children() <= before


async def test_what_a_program_left_behind_is_killed(tmp_path: Path) -> None:
    script = f"sleep 1000 & exec {sys.executable} {FIXTURE} stdio"
    async with opened({"program": ["sh", "-c", script]}) as app:
        group = (await app.call(request("pid"))).value["result"]
        assert len(members(group)) == 2
    await until(lambda: not members(group))  # the system buries those who are not ours


def members(group: int) -> list[str]:
    """The living processes of a group."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, pgrp = stat.read_text().rpartition(")")[2].split()[:3]
            if int(pgrp) == group and state != "Z":
                found.append(stat.parent.name)
    return found


async def test_a_program_that_is_not_there_costs_its_own_tools_alone() -> None:
    async with opened({"program": ["/no/such/program"]}) as app:
        server: Any = app._built.adapters["s"]
        with pytest.raises(Unreachable, match="cannot be started: No such file"):
            await app.call(request("add"))
        await until(lambda: "cannot be started" in server.listed("tools").error)


async def test_a_gateway_behind_a_gateway() -> None:
    """The budget goes all the way down, and so does cancelling."""
    left: list[float] = []
    began, ended = trio.Event(), trio.Event()

    async def works(asked: Request, _emit: Any, /) -> Reply:
        left.append(trio.current_effective_deadline() - trio.current_time())
        if asked.name != "hang":
            return Reply({"n": 1})
        began.set()
        try:
            await trio.sleep_forever()
        finally:
            ended.set()

    http = {"kind": "http", "url": "http://127.0.0.1:1"}
    calls = {
        name: {call: {"service": "x", "get": "/"}}
        for name, call in (("add", "reply"), ("slow", "hang"))
    }
    inner = {
        "services": {"x": http},
        "tools": {
            "add": {"output": "reply", "calls": calls["add"]},
            "slow": {"calls": calls["slow"]},
        },
    }
    async with (
        serving(inner, services={"x": works}) as (_, port),
        opened({"url": f"http://127.0.0.1:{port}/mcp"}) as app,
    ):
        reply = await app.call(request("add"), timeout_s=9)
        assert reply.value == {"n": 1}
        assert 5 < left[0] <= 9
        async with trio.open_nursery() as nursery:
            nursery.start_soon(app.call, request("slow"))
            await began.wait()
            nursery.cancel_scope.cancel()
        with trio.fail_after(5):
            await ended.wait()
        server: Any = app._built.adapters["s"]
        assert [item["name"] for item in server.listed("tools").items] == ["s_add", "s_slow"]
