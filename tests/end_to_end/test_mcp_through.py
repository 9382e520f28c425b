"""The SDK's client → the gateway → the SDK's server: its tools, prompts and resources as ours."""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from mcp import Client, MCPError
from mcp_types import PromptReference, ResourceTemplateReference

from gateway.app import Gateway, create_app
from tests.end_to_end.processes import running
from tests.end_to_end.support import serving, until

pytestmark = pytest.mark.end_to_end

FIXTURE = Path(__file__).with_name("mcp_fixture.py")
WAYS = pytest.mark.parametrize("way", ["stdio", "stdio legacy", "http", "http legacy"])
MODES = pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
CANCELS = int(os.environ.get("MCP_CANCELS", "3"))
"""How often a call is cancelled; 100 by hand."""


@attrs.frozen
class Federation:
    app: Gateway
    url: str
    log: Path

    def cancelled(self) -> list[float]:
        return [float(line) for line in self.log.read_text().split()] if self.log.exists() else []


@asynccontextmanager
async def federation(
    way: str, tmp_path: Path, more: Mapping[str, Any] | None = None, **settings: Any
) -> AsyncGenerator[Federation]:
    """A gateway before the fixture `s`, reached in one of the `WAYS`, and further services."""
    log = tmp_path / "cancelled"
    command = [sys.executable, str(FIXTURE), *way.split()]
    environment = {"CANCEL_LOG": str(log)}
    if way.startswith("stdio"):
        service = {"program": command, "environment": environment, **settings}
        async with _served(service, log, more or {}) as served:
            yield served
        return
    with running(command, env=environment) as process:
        assert process.stdout is not None
        port = int(await trio.to_thread.run_sync(process.stdout.readline))
        service = {"url": f"http://127.0.0.1:{port}/mcp", **settings}
        async with _served(service, log, more or {}) as served:
            yield served


@asynccontextmanager
async def _served(
    service: Mapping[str, Any], log: Path, more: Mapping[str, Any]
) -> AsyncGenerator[Federation]:
    services = {"s": {"kind": "mcp", **service}, **more}
    async with serving({"services": services}) as (app, port):
        await until(lambda: app.federated["s"].listed("resourceTemplates").items)
        yield Federation(app, f"http://127.0.0.1:{port}/mcp", log)


@WAYS
@MODES
async def test_everything_is_there_as_if_it_were_ours(way: str, mode: str, tmp_path: Path) -> None:
    async with (
        federation(way, tmp_path, prefix="f_", deny=["die"], rename={"add": "plus"}) as it,
        Client(it.url, mode=mode) as client,
    ):
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert {"f_plus", "f_greet", "f_slow"} <= set(tools)
        assert not {"add", "f_add", "f_die"} & set(tools)
        assert tools["f_plus"].description == "Add two numbers."
        assert tools["f_plus"].output_schema is not None
        result = await client.call_tool("f_plus", {"a": 2, "b": 3})
        assert result.structured_content == {"result": 5}
        failed = await client.call_tool("f_fails")
        assert failed.is_error
        assert failed.structured_content is None  # its own failure, not one of ours
        (prompt,) = (await client.list_prompts()).prompts
        assert prompt.name == "f_summarise"
        got = await client.get_prompt("f_summarise", {"text": "x"})
        assert got.messages[0].content.text == "Summarise: x"  # type: ignore[union-attr]
        (resource,) = (await client.list_resources()).resources
        read = await client.read_resource(str(resource.uri))
        assert read.contents[0].text == "Be kind."  # type: ignore[union-attr]
        (template,) = (await client.list_resource_templates()).resource_templates
        assert template.uri_template == "docs://pages/{number}"
        read = await client.read_resource("docs://pages/7")
        assert read.contents[0].text == "Page 7"  # type: ignore[union-attr]
        with pytest.raises(MCPError):
            await client.get_prompt("summarise", {"text": "x"})


@WAYS
@MODES
async def test_arguments_are_completed_there(way: str, mode: str, tmp_path: Path) -> None:
    async with federation(way, tmp_path, prefix="f_") as it, Client(it.url, mode=mode) as client:
        if mode == "legacy":  # the other one begins without asking
            assert client.server_capabilities.completions is not None
        prompt = PromptReference(name="f_summarise")
        found = await client.complete(prompt, {"name": "text", "value": "x"})
        assert found.completion.values == ["summarise text=x"]
        assert found.completion.total == 1
        page = ResourceTemplateReference(uri="docs://pages/{number}")
        found = await client.complete(page, {"name": "number", "value": "7"}, {"other": "1"})
        assert found.completion.values == ["docs://pages/{number} number=7 other"]
        with pytest.raises(MCPError):
            await client.complete(PromptReference(name="summarise"), {"name": "text", "value": "x"})


@asynccontextmanager
async def growing(client: Client) -> AsyncGenerator[None]:
    """Have a tool more, again and again: who does not listen yet hears of a later one."""

    async def grow() -> None:
        while True:
            await client.call_tool("grow")
            await trio.sleep(0.3)

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(grow)
            yield
            nursery.cancel_scope.cancel()


@WAYS
async def test_a_change_of_its_list_is_told_the_client(way: str, tmp_path: Path) -> None:
    async with (
        federation(way, tmp_path) as it,
        Client(it.url, mode="2026-07-28") as client,
        client.listen(tools_list_changed=True) as changes,
    ):
        assert "grown" not in {tool.name for tool in (await client.list_tools()).tools}
        async with growing(client):
            assert type(await anext(aiter(changes))).__name__ == "ToolsListChanged"
        assert "grown" in {tool.name for tool in (await client.list_tools()).tools}


@WAYS
async def test_a_change_of_its_list_is_told_a_legacy_client(way: str, tmp_path: Path) -> None:
    heard: list[str] = []

    async def hear(message: Any) -> None:
        heard.append(getattr(message, "method", ""))

    async with (
        federation(way, tmp_path) as it,
        Client(it.url, mode="legacy", message_handler=hear) as client,
    ):
        async with growing(client):
            await until(lambda: "notifications/tools/list_changed" in heard)
        assert "grown" in {tool.name for tool in (await client.list_tools()).tools}


@WAYS
@MODES
async def test_what_the_client_cancels_is_cancelled_there(
    way: str, mode: str, tmp_path: Path
) -> None:
    async with federation(way, tmp_path) as it, Client(it.url, mode=mode) as client:
        lags = []
        for number in range(CANCELS):
            began = trio.Event()

            async def note(*_told: Any, began: trio.Event = began) -> None:
                began.set()

            async with trio.open_nursery() as nursery:
                call = partial(client.call_tool, "slow", progress_callback=note)
                nursery.start_soon(call)
                with trio.fail_after(30):
                    await began.wait()
                at = time.time()
                nursery.cancel_scope.cancel()
            await until(lambda number=number: len(it.cancelled()) > number, within_s=10)
            lags.append(it.cancelled()[-1] - at)
        print(f"{way}, {mode}: cancelled there after {max(lags) * 1000:.1f} ms at most")
        assert max(lags) < 5  # 0.1 on a quiet machine; it would take 30
        assert it.app.in_flight == 0
        assert not (await client.call_tool("greet", {"name": "Ada"})).is_error


@MODES
async def test_a_hung_and_a_dead_server_cost_their_own_tools_alone(
    mode: str, tmp_path: Path
) -> None:
    listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]  # accepts, never answers
    port = listener.socket.getsockname()[1]
    more = {
        "hung": {"kind": "mcp", "url": f"http://127.0.0.1:{port}/mcp"},
        "dead": {"kind": "mcp", "url": "http://127.0.0.1:1/mcp"},
    }
    async with federation("http", tmp_path, more) as it, Client(it.url, mode=mode) as client:
        took_s = []
        for _ in range(20):
            start = time.perf_counter()
            names = {tool.name for tool in (await client.list_tools()).tools}
            assert "add" in names
            result = await client.call_tool("add", {"a": 1, "b": 1})
            assert result.structured_content == {"result": 2}
            took_s.append(time.perf_counter() - start)
        assert statistics.median(took_s) < 2
        unknown = await client.call_tool("theirs")
        assert unknown.is_error
        assert unknown.structured_content is not None
        assert unknown.structured_content["code"] == "unreachable"
    await listener.aclose()


@MODES
async def test_300_tools_of_three_servers_that_clash(mode: str) -> None:
    with ExitStack() as stack:
        ports = []
        for _ in range(3):
            command = [sys.executable, str(FIXTURE), "http", "many"]
            process = stack.enter_context(running(command))
            assert process.stdout is not None
            ports.append(int(await trio.to_thread.run_sync(process.stdout.readline)))

        def services(*, prefixed: bool) -> dict[str, Any]:
            return {
                name: {
                    "kind": "mcp",
                    "url": f"http://127.0.0.1:{port}/mcp",
                    "allow": ["tool_*"],
                    "prefix": f"{name}_" if prefixed else "",
                }
                for name, port in zip("abc", ports, strict=True)
            }

        clashing = create_app({"services": services(prefixed=False)})
        refused = r"tool_0 of services.b is offered by services.a too; .* and 180 more"
        with pytest.raises(ValueError, match=refused):
            async with clashing.running():
                raise AssertionError
        async with serving({"services": services(prefixed=True)}) as (app, port):
            await until(lambda: all(one.listed("tools").items for one in app.federated.values()))
            async with Client(f"http://127.0.0.1:{port}/mcp", mode=mode) as client:
                names: list[str] = []
                cursor: str | None = None
                while cursor is not None or not names:
                    page = await client.list_tools(cursor=cursor)
                    names += [tool.name for tool in page.tools]
                    cursor = page.next_cursor
                assert names == [f"{one}_tool_{n}" for one in "abc" for n in range(100)]
                for name in ("a_tool_0", "b_tool_0", "c_tool_99"):
                    result = await client.call_tool(name, {"a": 1, "b": 2})
                    assert result.structured_content == {"result": 3}
