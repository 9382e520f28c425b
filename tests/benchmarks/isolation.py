"""Calls to a healthy MCP server: alone, and beside one that hangs and one that is dead.

`python -m tests.benchmarks.isolation [CALLS]`: two gateways before the same server, asked in turn;
the second one has the other two servers behind it as well, and 20 calls that hang in it all the time.
"""

from __future__ import annotations

import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.end_to_end.processes import command, free_port, ready, running

ROUNDS = 10
HANGING = 20
HEADERS = {"mcp-protocol-version": "2025-11-25"}
QUIET = '[telemetry]\nlevel = "error"\n'
BEHIND = """
[services.x]
kind = "python"
module = "os"
[tools.{name}]
output = "r"
calls = {{ r = {{ service = "x", function = "getpid", arguments = {{}} }} }}
"""


def gateway(folder: Path, stack: ExitStack, text: str, deadline: str = "10s") -> str:
    """`gateway serve`; where it speaks MCP."""
    port, admin = free_port(), free_port()
    file = folder / f"{port}.toml"
    server = f'[server]\nbind = ["127.0.0.1:{port}"]\ndeadline = "{deadline}"\ndrain = "1s"\n'
    file.write_text(f'{server}admin = {{ bind = "127.0.0.1:{admin}" }}\n{QUIET}{text}')
    process = stack.enter_context(running(command("serve", str(file))))
    ready(process, f"http://127.0.0.1:{admin}/health/ready")
    return f"http://127.0.0.1:{port}/mcp"


def called(client: httpx.Client, url: str, name: str) -> Any:
    params = {"name": name, "arguments": {}}
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    return client.post(url, json=body, headers=HEADERS).json()["result"]


@contextmanager
def hung() -> Iterator[int]:
    """A port that accepts, and answers nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=1000) as sock:
        yield sock.getsockname()[1]


def service(name: str, url: str) -> str:
    return f'[services.{name}]\nkind = "mcp"\nurl = "{url}"\n'


def p99_ms(client: httpx.Client, url: str, calls: int) -> float:
    took = []
    for _ in range(calls):
        start = time.perf_counter()
        result = called(client, url, "x")
        took.append(time.perf_counter() - start)
        assert not result.get("isError"), result
    return statistics.quantiles(took, n=100)[98] * 1000


def main(calls: int) -> None:
    with ExitStack() as stack, httpx.Client(timeout=60) as client:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        port = stack.enter_context(hung())
        healthy = service("healthy", gateway(folder, stack, BEHIND.format(name="x")))
        more = service("hung", f"http://127.0.0.1:{port}/mcp")
        more += service("dead", "http://127.0.0.1:1/mcp")
        # What hangs is called by the file: the server has never said what it has.
        more += '[tools.hangs]\ncalls = { c = { service = "hung", tool = "x" } }\n'
        urls = [gateway(folder, stack, healthy), gateway(folder, stack, healthy + more, "600s")]
        for url in urls:
            while called(client, url, "x").get("isError"):
                time.sleep(0.05)
            p99_ms(client, url, calls)
        hang(stack, urls[1])
        found: list[list[float]] = [[], []]
        for number in range(ROUNDS):
            for which in (0, 1) if number % 2 else (1, 0):
                found[which].append(p99_ms(client, urls[which], calls))
        alone, beside = map(statistics.median, found)
        print(
            f"p99 of {calls} calls, median of {ROUNDS} rounds: alone {alone:.2f} ms, "
            f"beside a hung and a dead server {beside:.2f} ms: {beside / alone:.2f} times"
        )


def hang(stack: ExitStack, url: str) -> None:
    """Calls that hang until the end: connections on which a request was sent."""
    address = httpx.URL(url)
    body = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"hangs"}}'
    head = f"POST /mcp HTTP/1.1\r\nhost: {address.host}:{address.port}\r\n"
    head += f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    for _ in range(HANGING):
        sock = socket.create_connection((address.host, address.port or 80))
        stack.callback(sock.close)
        sock.sendall(head.encode() + body)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
