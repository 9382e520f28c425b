"""One legacy session at several workers, and at several gateways: every one of them knows it."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from mcp import Client

from tests.end_to_end.processes import command, free_port, ready, running
from tests.end_to_end.workers import until

pytestmark = pytest.mark.end_to_end

CALLS = 1000
ONCE = {"connection": "close"}
SHARED = '[state]\nkey = "env:GATEWAY_KEY"\n'
KEY = "0123456789abcdef0123456789abcdef"
FILE = """
[server]
bind = ["127.0.0.1:{port}"]
workers = {workers}
drain = "1s"
admin = {{ bind = "127.0.0.1:{admin}" }}

{more}
[telemetry]
level = "error"  # nobody reads it, and a full pipe would hold the workers

[services.f]
kind = "python"
module = "os"

[tools.pid]
output = "r"
calls = {{ r = {{ service = "f", function = "getpid", arguments = {{}} }} }}
"""


def post(client: httpx.Client, url: str, method: str, **params: Any) -> httpx.Response:
    """One request, on a connection of its own."""
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    return client.post(url, json=body)


@contextmanager
def gateway(
    folder: Path, *, workers: int = 1, more: str = "", **env: str
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`gateway serve`, and where it speaks MCP."""
    port, admin = free_port(), free_port()
    file = folder / f"{port}.toml"
    file.write_text(FILE.format(port=port, admin=admin, workers=workers, more=more))
    with running(command("serve", str(file)), env=env) as process:
        ready(process, f"http://127.0.0.1:{admin}/health/ready")
        yield process, f"http://127.0.0.1:{port}/mcp"


def initialize(client: httpx.Client, url: str) -> None:
    opened = post(client, url, "initialize", protocolVersion="2025-11-25", capabilities={})
    client.headers["mcp-session-id"] = opened.headers["mcp-session-id"]
    client.headers["mcp-protocol-version"] = "2025-11-25"


def pid_in(response: httpx.Response) -> int:
    assert response.status_code == 200, response.text
    return int(response.json()["result"]["content"][0]["text"])


def test_a_session_is_known_to_every_worker(tmp_path: Path) -> None:
    with gateway(tmp_path, workers=2) as (_, url), httpx.Client(headers=ONCE) as client:
        initialize(client, url)
        answered: dict[int, int] = {}
        calls = 0

        def call() -> None:
            nonlocal calls
            calls += 1
            try:
                response = post(client, url, "tools/call", name="pid")
            except httpx.TransportError:  # it ended with its worker
                assert calls > CALLS // 2
                return
            pid = pid_in(response)
            answered[pid] = answered.get(pid, 0) + 1

        for _ in range(CALLS // 2):
            call()
        os.kill(min(answered), signal.SIGTERM)
        for _ in range(CALLS // 2):
            call()
        while len(answered) < 3:  # the one that follows knows it too, once it is there
            call()
            assert calls < 100 * CALLS
    assert sum(answered.values()) > calls - 10


@contextmanager
def two_gateways(folder: Path, *, workers: int = 1, more: str = SHARED) -> Iterator[list[str]]:
    """Two gateways that share nothing but a key; where each speaks MCP."""
    with (
        gateway(folder, workers=workers, more=more, GATEWAY_KEY=KEY) as (_, one),
        gateway(folder, workers=workers, more=more, GATEWAY_KEY=KEY) as (_, other),
    ):
        yield [one, other]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_session_is_known_to_gateways_of_one_key(workers: int, tmp_path: Path) -> None:
    with two_gateways(tmp_path, workers=workers) as urls, httpx.Client(headers=ONCE) as client:
        initialize(client, urls[0])
        answered: dict[int, int] = {}
        for url, _ in zip(cycle(urls), range(CALLS), strict=False):
            pid = pid_in(post(client, url, "tools/call", name="pid"))
            answered[pid] = answered.get(pid, 0) + 1
        assert len(answered) == 2 * workers
        assert sum(answered.values()) == CALLS  # none was lost
        for url in urls:
            assert post(client, url, "logging/setLevel", level="info").json()["result"] == {}
        assert client.delete(urls[0]).status_code == 204
        for _ in range(4):  # every worker of it knows
            assert post(client, urls[0], "ping").status_code == 404
        assert post(client, urls[1], "ping").status_code == 200  # nobody can tell it
        assert client.delete(urls[1]).status_code == 204
        assert post(client, urls[1], "ping").status_code == 404


def test_without_a_key_a_session_is_its_gateways_alone(tmp_path: Path) -> None:
    with two_gateways(tmp_path, more="") as urls, httpx.Client(headers=ONCE) as client:
        initialize(client, urls[0])
        assert post(client, urls[0], "ping").status_code == 200
        assert post(client, urls[1], "ping").status_code == 404


def test_a_session_outlasts_a_reload(tmp_path: Path) -> None:
    with gateway(tmp_path) as (process, url), httpx.Client(headers=ONCE) as client:
        initialize(client, url)
        first = pid_in(post(client, url, "tools/call", name="pid"))
        process.send_signal(signal.SIGHUP)
        until(lambda: pid_in(post(client, url, "tools/call", name="pid")) != first)


async def test_the_sdks_client_through_a_balancer(tmp_path: Path) -> None:
    """Connections go to one gateway and the other in turn."""
    with two_gateways(tmp_path) as urls:
        async with balanced(urls) as url, Client(url, mode="legacy") as client:
            pids: list[str] = []

            async def call_often() -> None:
                for _ in range(CALLS // 10):
                    result = await client.call_tool("pid")
                    assert not result.is_error
                    pids.append(result.content[0].text)  # type: ignore[union-attr]

            async with trio.open_nursery() as nursery:
                for _ in range(10):
                    nursery.start_soon(call_often)
        assert len(pids) == CALLS
        assert len(set(pids)) == 2


@asynccontextmanager
async def balanced(urls: list[str]) -> AsyncGenerator[str]:
    """An address whose connections lead to each of `urls` in turn."""
    turn = cycle(urls)

    async def lead(client: trio.SocketStream) -> None:
        port = int(next(turn).rpartition(":")[2].partition("/")[0])
        async with (
            client,
            await trio.open_tcp_stream("127.0.0.1", port) as gateway,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(pass_on, client, gateway, nursery.cancel_scope)
            nursery.start_soon(pass_on, gateway, client, nursery.cancel_scope)

    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_tcp, lead, 0, host="127.0.0.1")
        (listener,) = await nursery.start(serve)
        yield f"http://127.0.0.1:{listener.socket.getsockname()[1]}/mcp"
        nursery.cancel_scope.cancel()


async def pass_on(
    source: trio.SocketStream, target: trio.SocketStream, both: trio.CancelScope
) -> None:
    try:
        async for piece in source:
            await target.send_all(piece)
    except trio.BrokenResourceError:
        pass
    both.cancel()
