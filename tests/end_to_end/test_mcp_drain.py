"""How a gateway ends that MCP clients listen to, and that has programs behind it."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.end_to_end.processes import command, free_port, ready, running
from tests.end_to_end.workers import until

pytestmark = pytest.mark.end_to_end

FIXTURE = Path(__file__).with_name("mcp_fixture.py")
META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "t", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}


def config(drain: str, *options: str) -> tuple[str, str, str]:
    """A file, the address of MCP and the one of readiness."""
    port, admin = free_port(), free_port()
    program = json.dumps([sys.executable, str(FIXTURE), "stdio", *options])
    text = f"""
        [server]
        bind = ["127.0.0.1:{port}"]
        deadline = "60s"
        drain = "{drain}"
        admin = {{ bind = "127.0.0.1:{admin}" }}
        [telemetry]
        level = "error"  # nobody reads it, and a full pipe would hold the worker
        [services.s]
        kind = "mcp"
        program = {program}
    """
    return text, f"http://127.0.0.1:{port}/mcp", f"http://127.0.0.1:{admin}/health/ready"


def ask(client: httpx.Client, url: str, method: str, **params: Any) -> httpx.Request:
    headers = {
        "mcp-protocol-version": "2026-07-28",
        "mcp-method": method,
        "accept": "application/json, text/event-stream",
    }
    if "name" in params:
        headers["mcp-name"] = params["name"]
    body = {"jsonrpc": "2.0", "id": 7, "method": method, "params": {"_meta": META, **params}}
    return client.build_request("POST", url, headers=headers, json=body)


def alive(pid: int) -> bool:
    with suppress(OSError):
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    return False


def pid_of_program(client: httpx.Client, url: str) -> int:
    """The program's, once it serves."""
    pids: list[int] = []

    def found() -> bool:
        result = client.send(ask(client, url, "tools/call", name="pid")).json()["result"]
        if not result["isError"]:
            pids.append(result["structuredContent"]["result"])
        return bool(pids)

    until(found)
    return pids[0]


def test_who_only_listens_does_not_hold_up_the_end(tmp_path: Path) -> None:
    text, url, health = config("30s")
    file = tmp_path / "gateway.toml"
    file.write_text(text)
    with running(command("serve", str(file))) as process, httpx.Client(timeout=30) as client:
        ready(process, health)
        pid = pid_of_program(client, url)
        wanted = {"notifications": {"toolsListChanged": True}}
        listen = ask(client, url, "subscriptions/listen", **wanted)
        streams = [client.send(listen, stream=True) for _ in range(5)]
        heard = [stream.iter_lines() for stream in streams]
        for lines in heard:
            while not next(lines).startswith("data: "):
                pass
        start = time.monotonic()
        process.send_signal(signal.SIGTERM)
        for lines in heard:  # the stream ends in order, with its answer
            *_, last = [line for line in lines if line.startswith("data: ")]
            answer = json.loads(last.removeprefix("data: "))
            assert (answer["id"], answer["result"]["resultType"]) == (7, "complete")
        assert process.wait(30) == 0
        took = time.monotonic() - start
        print(f"ended within {took:.2f} s of its signal")
        assert took < 10
        assert not alive(pid)


def test_no_program_outlives_a_drain_that_is_used_up(tmp_path: Path) -> None:
    """One that heeds neither the end of its input nor SIGTERM."""
    text, url, health = config("1s", "stubborn")
    file = tmp_path / "gateway.toml"
    file.write_text(text)
    with running(command("serve", str(file))) as process, httpx.Client(timeout=30) as client:
        ready(process, health)
        pid = pid_of_program(client, url)
        reporting = {**META, "progressToken": "p"}
        try:
            with under_way(ask(client, url, "tools/call", name="slow", _meta=reporting)):
                process.send_signal(signal.SIGTERM)
                start = time.monotonic()
                process.wait(30)
            assert 1 <= time.monotonic() - start < 8
            until(lambda: not alive(pid))
        finally:
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)


@contextmanager
def under_way(request: httpx.Request) -> Iterator[None]:
    """From its first word of progress, a request under way whose answer nobody reads further."""
    with socket.create_connection((request.url.host, request.url.port or 80)) as sock:
        lines = [f"POST {request.url.path} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in request.headers.items()]
        sock.sendall("\r\n".join([*lines, "", ""]).encode() + request.content)
        sock.settimeout(30)
        heard = b""
        while b"began" not in heard:
            piece = sock.recv(4096)
            assert piece, heard
            heard += piece
        yield
