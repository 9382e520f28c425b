"""Questions asked in the middle of a call: the answer comes as a POST of its own, to any worker."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from mcp import Client, MCPError
from mcp_types import CreateMessageResult, ElicitResult, TextContent

from tests.end_to_end.processes import command, free_port, ready, running

pytestmark = pytest.mark.end_to_end

FIXTURE = Path(__file__).with_name("mcp_fixture.py")
QUESTIONS = 100


@asynccontextmanager
async def gateway(folder: Path, workers: int, **more: Any) -> AsyncGenerator[str]:
    """`gateway serve` before a legacy server; where it speaks MCP."""
    port, admin = free_port(), free_port()
    with running([sys.executable, str(FIXTURE), "http", "legacy"]) as server:
        assert server.stdout is not None
        behind = int(await trio.to_thread.run_sync(server.stdout.readline))
        file = folder / "gateway.toml"
        file.write_text(
            f"""
            [server]
            bind = ["127.0.0.1:{port}"]
            workers = {workers}
            admin = {{ bind = "127.0.0.1:{admin}" }}
            [telemetry]
            level = "error"
            [services.s]
            kind = "mcp"
            url = "http://127.0.0.1:{behind}/mcp"
            """
            + "".join(f"[{name}]\n{text}\n" for name, text in more.items())
        )
        with running(command("serve", str(file)), env={"GATEWAY_KEY": "k" * 32}) as process:
            await trio.to_thread.run_sync(ready, process, f"http://127.0.0.1:{admin}/health/ready")
            yield f"http://127.0.0.1:{port}/mcp"


async def elicited(_context: Any, params: Any) -> ElicitResult:
    assert params.message == "Who are you?"
    return ElicitResult(action="accept", content={"name": "Ada"})


async def sampled(_context: Any, params: Any) -> CreateMessageResult:
    said = params.messages[0].content.text
    content = TextContent(type="text", text=f"{said}, indeed")
    return CreateMessageResult(role="assistant", content=content, model="m")


def asked(url: str) -> Client:
    return Client(
        url,
        mode="legacy",
        elicitation_callback=elicited,
        sampling_callback=sampled,
    )


ANSWERS = {"who": "Ada", "sample": "Hello, indeed"}


# The SDK's client leaves the generators of an answer that is an event stream to the collector.
@pytest.mark.filterwarnings("ignore:Async generator '(httpx2|httpcore2|mcp):ResourceWarning")
@pytest.mark.parametrize("workers", [1, 2, 4])
async def test_every_question_is_answered(workers: int, tmp_path: Path) -> None:
    async with gateway(tmp_path, workers) as url, asked(url) as client:
        given: list[Any] = []

        async def call_often(name: str, times: int) -> None:
            for _ in range(times):
                result = await client.call_tool(name)
                assert not result.is_error, result
                given.append((name, result.structured_content))

        async with trio.open_nursery() as nursery:
            for name in ANSWERS:
                for _ in range(2):
                    nursery.start_soon(call_often, name, QUESTIONS // 2)
        for name, answer in ANSWERS.items():
            assert given.count((name, {"result": answer})) == QUESTIONS


async def test_with_a_key_nobody_is_asked_and_the_server_is_told_why(tmp_path: Path) -> None:
    shared = {"state": 'key = "env:GATEWAY_KEY"'}
    async with gateway(tmp_path, 2, **shared) as url, asked(url) as client:
        start = trio.current_time()
        with pytest.raises(MCPError, match=r"\[state\] key"):
            await client.call_tool("who")
        assert trio.current_time() - start < 8
