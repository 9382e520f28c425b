"""A server of the official SDK, as a program: `mcp_fixture.py stdio|http [legacy] [stubborn] [many]`.

What its handlers see cancelled it writes, with the time, into the file that CANCEL_LOG names.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncGenerator
from functools import partial
from pathlib import Path
from typing import IO, Any

import anyio
import uvicorn
from mcp.server.lowlevel import NotificationOptions
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.stdio import stdio_server
from mcp_types import Completion, PromptReference, SamplingMessage, TextContent
from pydantic import BaseModel

server = MCPServer("fixture", instructions="For tests.")
lowlevel = server._lowlevel_server
# It tells legacy clients of changes, and says so only if it is told to.
lowlevel.create_initialization_options = partial(  # type: ignore[method-assign]
    lowlevel.create_initialization_options, NotificationOptions(True, True, True)
)


class Name(BaseModel):
    name: str


@server.tool()
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@server.tool(structured_output=False)
def greet(name: str) -> str:
    return f"Hello, {name}!"


@server.tool()
def fails() -> str:
    raise ValueError("out of paper")


def note() -> None:
    with Path(os.environ["CANCEL_LOG"]).open("a") as log:
        log.write(f"{time.time()}\n")


@server.tool()
async def slow(ctx: Context) -> str:
    await ctx.report_progress(1, 3, "began")
    try:
        await anyio.sleep(30)
    except BaseException:
        note()
        raise
    return "done"


@server.tool()
async def who(ctx: Context) -> str:
    answer = await ctx.elicit("Who are you?", Name)
    return answer.data.name if answer.action == "accept" else answer.action


@server.tool()
async def sample(ctx: Context) -> str:
    said = TextContent(type="text", text="Hello")
    answer = await ctx.session.create_message(
        messages=[SamplingMessage(role="user", content=said)],
        max_tokens=10,
        related_request_id=ctx.request_id,
    )
    assert isinstance(answer.content, TextContent)
    return answer.content.text


@server.tool()
async def grow(ctx: Context) -> str:
    """Have a tool more."""
    server.add_tool(add, name="grown")
    await ctx.notify_tools_changed()
    await ctx.session.send_tool_list_changed()
    return "grown"


@server.tool()
def flood(lines: int) -> str:
    for number in range(lines):
        sys.stderr.write(f"{number} {'x' * 200}\n")
    return "said"


@server.tool()
def die() -> str:
    os._exit(3)


@server.tool()
def pid() -> int:
    return os.getpid()


@server.completion()
async def completed(ref: Any, argument: Any, context: Any) -> Completion:
    about = ref.name if isinstance(ref, PromptReference) else ref.uri
    known = ",".join(sorted((context and context.arguments) or {}))
    return Completion(values=[f"{about} {argument.name}={argument.value} {known}".strip()], total=1)


@server.prompt()
def summarise(text: str) -> str:
    return f"Summarise: {text}"


@server.resource("docs://handbook")
def handbook() -> str:
    return "Be kind."


@server.resource("docs://pages/{number}")
def page(number: str) -> str:
    return f"Page {number}"


async def old_lines(answers: IO[str]) -> AsyncGenerator[str]:
    """What comes on standard input, without what a legacy server has never heard of."""
    async for line in anyio.wrap_file(sys.stdin):
        message = json.loads(line)
        if message.get("method") != "server/discover":
            yield line
            continue
        error = {"code": -32601, "message": "Method not found"}
        answers.write(json.dumps({"jsonrpc": "2.0", "id": message["id"], "error": error}) + "\n")
        answers.flush()


async def over_stdio(*, legacy: bool) -> None:
    answers = os.fdopen(os.dup(1), "w")  # the SDK keeps standard output to itself
    async with stdio_server(stdin=old_lines(answers) if legacy else None) as streams:  # type: ignore[arg-type]
        await lowlevel.run(*streams, lowlevel.create_initialization_options())


def over_http(*, legacy: bool) -> None:
    """The port is the first line of standard output."""
    app = server.streamable_http_app()

    async def old(scope: Any, receive: Any, send: Any) -> None:
        if dict(scope.get("headers", ())).get(b"mcp-protocol-version") == b"2026-07-28":
            await send({"type": "http.response.start", "status": 400, "headers": []})
            await send({"type": "http.response.body", "body": b"Bad Request: no session"})
            return
        await app(scope, receive, send)

    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.listen()
    print(sock.getsockname()[1], flush=True)
    config = uvicorn.Config(old if legacy else app, log_level="warning", lifespan="on")
    uvicorn.Server(config).run(sockets=[sock])


if __name__ == "__main__":
    for number in range(100 if "many" in sys.argv else 0):
        server.add_tool(add, name=f"tool_{number}")
    if "stubborn" in sys.argv:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if "http" in sys.argv:
        over_http(legacy="legacy" in sys.argv)
    else:
        anyio.run(lambda: over_stdio(legacy="legacy" in sys.argv))
    if "stubborn" in sys.argv:
        time.sleep(3600)
