"""Clients that others wrote, over real sockets: the official SDK's, and the Inspector."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from mcp import Client, MCPError

from gateway.config.settings import ServerSettings
from gateway.core.errors import DeadlineExceeded, InvalidArguments, Unreachable
from gateway.core.messages import Reply, Request
from gateway.net.asgi import Incoming
from gateway.server.worker import Addresses, serve
from tests.end_to_end.support import until
from tests.inbound.mcp.driver import ScriptedFront, fails, hangs, mcp, returns, tool
from tests.node import install, node

pytestmark = pytest.mark.end_to_end

MODES = pytest.mark.parametrize(
    ("mode", "version"),
    [("auto", "2026-07-28"), ("legacy", "2025-11-25"), ("2026-07-28", "2026-07-28")],
)
ERAS = pytest.mark.parametrize(
    ("era", "version"),
    [("legacy", "2025-11-25"), ("auto", "2026-07-28"), ("modern", "2026-07-28")],
)
INSPECTOR = ("@modelcontextprotocol/inspector", "2.12.0")


async def echoes(request: Request) -> Reply:
    return Reply({"got": dict(request.arguments)})


def scripted() -> ScriptedFront:
    """250 tools, the first of which do something."""
    breaches = ({"pointer": "/id", "detail": '"x" is not of type "integer"'},)
    missing = (
        DeadlineExceeded("no answer within 2 s", call="orders"),
        Unreachable("connection refused", call="crm"),
    )
    front = ScriptedFront(
        {
            "echo": echoes,
            "list": returns([1, 2]),
            "partly": returns({"user": 1, "orders": None, "crm": None}, *missing),
            "picky": fails(InvalidArguments("1 argument is wrong", errors=breaches)),
            "hang": hangs,
        }
    )
    front.tools |= {f"tool_{number}": tool(f"tool_{number}") for number in range(245)}
    return front


@asynccontextmanager
async def serving(
    front: ScriptedFront, answers: list[tuple[str, str]] | None = None
) -> AsyncGenerator[str]:
    """The front's MCP endpoint on a loopback port; status and type of its answers, if wanted."""
    served = Endpoint(mcp(front), [] if answers is None else answers)
    settings = ServerSettings(bind=("127.0.0.1:0",), drain=1.0)
    shutdown = trio.Event()
    async with trio.open_nursery() as nursery:
        addresses: Addresses = await nursery.start(
            lambda task_status: serve(served, settings, shutdown=shutdown, task_status=task_status)
        )
        yield f"{addresses.public[0]}/mcp"
        shutdown.set()


class Endpoint:
    """The endpoint as our server wants it; it notes the status and type of every answer."""

    ready = True

    def __init__(self, endpoint: Any, answers: list[tuple[str, str]]) -> None:
        self.endpoint = endpoint
        self.answers = answers

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.endpoint(Incoming.of(scope), receive, partial(self.note, send))

    async def note(self, send: Any, message: Any) -> None:
        if message["type"] == "http.response.start":
            content_type = dict(message["headers"]).get(b"content-type", b"").decode()
            self.answers.append((str(message["status"]), content_type))
        await send(message)

    def running(self) -> Any:
        return nullcontext()

    def begin_drain(self, seconds: float) -> None: ...


@asynccontextmanager
async def connected(front: ScriptedFront, mode: str) -> AsyncGenerator[Client]:
    async with serving(front) as url, Client(url, mode=mode) as client:
        yield client


@MODES
async def test_the_sdks_client_lists_every_page(mode: str, version: str) -> None:
    front = scripted()
    async with connected(front, mode) as client:
        assert client.protocol_version == version
        assert client.server_info is None or client.server_info.name == "gateway"
        names: list[str] = []
        sizes: list[int] = []
        cursor = None
        while True:
            page = await client.list_tools(cursor=cursor)
            names += [entry.name for entry in page.tools]
            sizes.append(len(page.tools))
            cursor = page.next_cursor
            if cursor is None:
                break
    assert names == list(front.tools)
    assert sizes == [100, 100, 50]


@MODES
async def test_the_sdks_client_calls(mode: str, version: str) -> None:
    front = scripted()
    async with connected(front, mode) as client:
        whole = await client.call_tool("echo", {"id": 7})
        assert whole.structured_content == {"got": {"id": 7}}
        assert not whole.is_error

        partly = await client.call_tool("partly", {})
        assert not partly.is_error
        assert partly.structured_content is not None
        codes = [problem["code"] for problem in partly.structured_content["_errors"]]
        assert codes == ["deadline_exceeded", "unreachable"]
        note: Any = partly.content[1]
        assert note.text.startswith("Partial answer: orders is missing (deadline_exceeded: ")

        picky = await client.call_tool("picky", {"id": "x"})
        assert picky.is_error
        line: Any = picky.content[0]
        assert line.text == 'invalid_arguments: /id: "x" is not of type "integer"'
        assert picky.structured_content is not None
        assert picky.structured_content["status"] == 422

        with pytest.raises(MCPError) as caught:
            await client.call_tool("absent", {})
        assert caught.value.code == -32602
        assert caught.value.message == "Unknown tool: absent"

        listed = await client.call_tool("list", {})
        assert listed.structured_content == (None if version < "2026" else [1, 2])
        budget = await client.call_tool("echo", {}, meta={"gateway/timeoutMs": 9500})
        assert not budget.is_error
        assert 5 < front.budgets[-1] <= 9.5  # less what its body took


@MODES
async def test_the_sdks_client_cancels(mode: str, version: str) -> None:
    front = scripted()
    async with connected(front, mode) as client:
        for _ in range(10):
            front.started, front.ended, front.cancelled = trio.Event(), trio.Event(), []
            async with trio.open_nursery() as nursery:
                nursery.start_soon(client.call_tool, "hang", {})
                await front.started.wait()
                await trio.sleep(0.01)
                assert front.running == 1
                left = trio.current_time()
                nursery.cancel_scope.cancel()
            with trio.fail_after(10):
                await front.ended.wait()
            (cancelled,) = front.cancelled
            assert cancelled - left < 5
            assert front.running == 0
        # The client goes on as if nothing had been.
        assert not (await client.call_tool("echo", {})).is_error


@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
async def test_how_the_sdks_client_cancels(mode: str) -> None:
    """Legacy by a notification, its own connection staying open; modern by closing it."""
    front = scripted()
    seen: list[tuple[str, str]] = []
    async with serving(front, seen) as url, Client(url, mode=mode) as client:
        seen.clear()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.call_tool, "hang", {})
            await front.started.wait()
            nursery.cancel_scope.cancel()
        with trio.fail_after(10):
            await front.ended.wait()
        if mode == "legacy":
            # The notification was accepted, and the call ended with a stream that says nothing.
            await until(lambda: {("202", ""), ("200", "text/event-stream")} <= set(seen))
        else:
            await trio.sleep(0.05)
            assert seen == []


@pytest.fixture(scope="module")
def inspector(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """Runs the Inspector's command line and decodes what it prints."""
    program = install(*INSPECTOR) / "clients" / "launcher" / "build" / "index.js"
    home = tmp_path_factory.mktemp("inspector")
    executable = node()

    async def run(url: str, era: str, *arguments: str) -> Any:
        command = [str(executable), str(program), "--cli", "--server-url", url]
        command += ["--transport", "http", "--protocol-era", era, "--format", "json", "-q"]
        done = await trio.run_process(
            [*command, *arguments],
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            env={**os.environ, "HOME": str(home), "NO_COLOR": "1"},
            cwd=Path(home),
        )
        assert done.stdout, done.stderr.decode()
        return json.loads(done.stdout)

    return run


@ERAS
async def test_the_inspector_lists_and_calls(
    inspector: Callable[..., Any], era: str, version: str
) -> None:
    front = scripted()
    call = ("--method", "tools/call", "--tool-name")
    async with serving(front) as url:
        listed = await inspector(url, era, "--method", "tools/list")
        echoed = await inspector(url, era, *call, "echo", "--tool-arg", "id=7")
        partly = await inspector(url, era, *call, "partly")
        picky = await inspector(url, era, *call, "picky")
    assert [entry["name"] for entry in listed["result"]["tools"]] == list(front.tools)
    assert echoed["result"]["structuredContent"] == {"got": {"id": 7}}
    assert [error["call"] for error in partly["result"]["structuredContent"]["_errors"]] == [
        "orders",
        "crm",
    ]
    assert picky["result"]["isError"] is True
    assert {r.context.headers["mcp-protocol-version"] for r in front.requests} == {version}
