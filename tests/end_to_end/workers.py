"""Workers as processes, and the clients that ask them."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import attrs
import httpx
import trio

__all__ = [
    "Clients",
    "Seen",
    "Server",
    "gone",
    "hear_begun",
    "processes",
    "refuses",
    "supervised",
    "until",
]

ROOT = Path(__file__).parents[2]


@attrs.define
class Server:
    """A supervisor and its workers, seen from outside."""

    process: subprocess.Popen[str]
    file: Path
    log: Path
    public: list[str]
    admin: str

    @property
    def port(self) -> int:
        return int(self.public[0].rpartition(":")[2])

    @property
    def workers(self) -> set[int]:
        """Its children that live."""
        return {pid for pid, (parent, state) in processes().items() if self.is_child(parent, state)}

    def is_child(self, parent: int, state: str) -> bool:
        return parent == self.process.pid and state != "Z"

    def write(self, **keys: Any) -> None:
        self.file.write_text(json.dumps({**json.loads(self.file.read_text()), **keys}))

    def reload(self, **keys: Any) -> list[str]:
        """Change the file, tell the server, wait until it serves; where it is then."""
        self.write(**keys)
        self.process.send_signal(signal.SIGHUP)
        assert self.process.stdout is not None
        line = next(line for line in self.process.stdout if line.startswith("["))
        self.public = json.loads(line)[:-1]
        return self.public

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)

    def ask(self, path: str) -> socket.socket:
        client = self.connect()
        client.sendall(f"GET {path} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
        return client

    def begin(self, path: str) -> socket.socket:
        """A connection whose request is under way: `/begun` hangs then, `/block` holds its worker."""
        client = self.ask(path)
        hear_begun(client)
        return client

    def answer(self) -> tuple[str, int]:
        """What a new connection is told, and by whom."""
        text, pid = self.get(f"http://127.0.0.1:{self.port}/").text.split()
        return text, int(pid)

    def get(self, url: str) -> httpx.Response:
        """An answer on a new connection; no certificates are loaded for it, which takes 30 ms."""
        return httpx.get(url, verify=False, timeout=30)

    def lines(self) -> list[dict[str, Any]]:
        """Its log."""
        return [json.loads(one) for one in self.log.read_text().splitlines() if one[:1] == "{"]

    def end(self, *signals: int, within_s: float = 30) -> int:
        *before, last = signals or (signal.SIGTERM,)
        for number in before:
            self.process.send_signal(number)
            until(lambda: refuses(self.port))
        self.process.send_signal(last)
        return self.process.wait(within_s)


def processes() -> dict[int, tuple[int, str]]:
    """Every process: its parent and its state."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, parent = path.read_text().rpartition(")")[2].split()[:2]
            found[int(path.parent.name)] = (int(parent), state)
    return found


def hear_begun(client: socket.socket) -> None:
    """Read until the application says that the request is under way."""
    heard = b""
    while b"begun" not in heard:
        piece = client.recv(4096)
        assert piece, f"it ended after {heard!r}"
        heard += piece


def refuses(port: int) -> bool:
    """Whether connections to a loopback port are refused."""
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) != 0


def gone(pid: int) -> bool:
    return processes().get(pid, (0, "Z"))[1] == "Z"


def until(condition: Callable[[], object], *, within_s: float = 30) -> float:
    """Wait until `condition` holds; the seconds it took."""
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < within_s, "it did not happen"
        time.sleep(0.005)
    return time.monotonic() - start


@contextmanager
def supervised(folder: Path, **keys: Any) -> Iterator[Server]:
    """A server of `keys`, ended with the test, and no process of it left."""
    file, log = folder / "settings.json", folder / "log"
    file.write_text(json.dumps(keys))
    with log.open("w") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "tests.server.supervised", str(file)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            start_new_session=True,
        )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        serves = line.startswith("[")
        *public, admin = json.loads(line) if serves else (None,)
        server = Server(process, file, log, public, admin)
        if serves:
            until(lambda: len(server.workers) == keys.get("workers", 2))
        yield server
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()


# ---------------------------------------------------------------------- clients


@attrs.define
class Seen:
    """What clients saw.

    Args:
        answers: How many answers.
        failures: Of each request that failed: when, and who had answered on its connection.
        refused: Connections that were refused.
        first: By worker, when its first answer came.
        texts: What was answered.
    """

    answers: int = 0
    failures: list[tuple[float, int | None]] = attrs.field(factory=list)
    refused: int = 0
    first: dict[int, float] = attrs.field(factory=dict)
    texts: set[str] = attrs.field(factory=set)


@attrs.frozen
class Clients:
    """Clients that keep asking: some on one connection for long, some on a new one each time."""

    port: int
    seen: Seen = attrs.field(factory=Seen)

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            for number in range(12):
                nursery.start_soon(self.ask, 1 if number % 3 == 0 else 30)

    async def ask(self, requests: int) -> None:
        while True:
            try:
                stream = await trio.open_tcp_stream("127.0.0.1", self.port)
            except OSError:
                self.seen.refused += 1
                await trio.sleep(0.01)
                continue
            async with stream:
                await self.converse(stream, requests)

    async def converse(self, stream: trio.SocketStream, requests: int) -> None:
        pid = None
        for _ in range(requests):
            try:
                await stream.send_all(b"GET /pause HTTP/1.1\r\nhost: x\r\n\r\n")
                head, text, pid = await self.receive(stream)
            except (trio.BrokenResourceError, EOFError):
                self.seen.failures.append((time.monotonic(), pid))
                return
            self.seen.answers += 1
            self.seen.first.setdefault(pid, time.monotonic())
            self.seen.texts.add(text)
            if b"connection: close" in head:
                return

    async def receive(self, stream: trio.SocketStream) -> tuple[bytes, str, int]:
        got = b""
        while True:
            piece = await stream.receive_some(4096)
            if not piece:
                raise EOFError
            got += piece
            head, end, body = got.partition(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", head.lower())
            if end and length and len(body) >= int(length[1]):
                text, pid = body.decode().split()
                return head.lower(), text, int(pid)
