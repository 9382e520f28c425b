"""One legacy session at several workers: every one of them knows it."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.end_to_end.processes import command, free_port, ready, running

pytestmark = pytest.mark.end_to_end

CALLS = 1000
FILE = """
[server]
bind = ["127.0.0.1:{port}"]
workers = 2
admin = {{ bind = "127.0.0.1:{admin}" }}

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


def test_a_session_is_known_to_every_worker(tmp_path: Path) -> None:
    port, admin = free_port(), free_port()
    file = tmp_path / "gateway.toml"
    file.write_text(FILE.format(port=port, admin=admin))
    url = f"http://127.0.0.1:{port}/mcp"
    limits = httpx.Limits(max_keepalive_connections=0)
    with (
        running(command("serve", str(file))) as process,
        httpx.Client(limits=limits, headers={"connection": "close"}) as client,
    ):
        ready(process, f"http://127.0.0.1:{admin}/health/ready")
        opened = post(client, url, "initialize", protocolVersion="2025-11-25", capabilities={})
        client.headers["mcp-session-id"] = opened.headers["mcp-session-id"]
        client.headers["mcp-protocol-version"] = "2025-11-25"
        answered: dict[int, int] = {}
        for number in range(CALLS):
            if number == CALLS // 2:  # the one that follows knows it too
                os.kill(min(answered), signal.SIGTERM)
            try:
                response = post(client, url, "tools/call", name="pid")
            except httpx.TransportError:  # it ended with its worker
                assert number >= CALLS // 2
                continue
            assert response.status_code == 200, response.text
            pid = int(response.json()["result"]["content"][0]["text"])
            answered[pid] = answered.get(pid, 0) + 1
    assert len(answered) == 3
    assert sum(answered.values()) > CALLS - 10
