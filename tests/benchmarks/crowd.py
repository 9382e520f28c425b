"""Many connections that are asked at times set beforehand: an open-loop load.

wrk asks again as soon as it is answered, so a slow subject is asked less. Here a request has a time
at which it is due, and its latency counts from then on, whether or not it could be sent.

Run by itself it takes orders as lines of JSON and answers each with one. It is a process of its
own, so that it can have a core of its own, and its sockets do not count as the subject's.
"""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import attrs

from tests.benchmarks.processes import pinned
from tests.benchmarks.scenarios import Ask

__all__ = ["Crowd", "Outcome", "crowd"]

_ROOT = Path(__file__).parents[2]
_AT_ONCE = 100
"""Connections that are being opened: fewer than any subject's backlog."""

_PER_ADDRESS = 8000
"""Connections from one of 127.0.0.1, 127.0.0.2 …: a client's ports are 28,000 at most."""

_PATIENCE_S = 60.0
_READ_BYTES = 64 * 1024


@attrs.frozen(slots=True)
class Outcome:
    """What came of an order.

    Args:
        asked: Requests.
        failed: Those without a proper answer: another status than 200, a broken connection, none.
        p50_ms: Median latency, from when a request was due.
        p99_ms: Its 99th percentile.
        max_ms: The longest.
    """

    asked: int
    failed: int
    p50_ms: float
    p99_ms: float
    max_ms: float

    @classmethod
    def of(cls, latencies_s: list[float], failed: int) -> Outcome:
        """From what was measured, in any order."""
        found = sorted(latencies_s) or [0.0]
        p50, p99, most = (found[int(share * (len(found) - 1))] * 1e3 for share in (0.5, 0.99, 1))
        return cls(len(latencies_s) + failed, failed, p50, p99, most)


class Crowd:
    """Orders to the process that has the connections, and what came of them."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def open(self, count: int, ask: Ask) -> Outcome:
        """Open `count` connections more, and send a request on each."""
        return self._order(order="open", count=count, request=_wire(ask))

    def steady(self, ask: Ask, rate: float, seconds: float) -> Outcome:
        """Send `rate` requests per second, each when it is due, if a connection is free."""
        return self._order(order="steady", request=_wire(ask), rate=rate, seconds=seconds)

    def begin_burst(self, ask: Ask) -> None:
        """Send a request on every connection at once; `end_burst` waits for the answers."""
        self._tell(order="burst", request=_wire(ask))

    def end_burst(self) -> Outcome:
        """Wait for the answers of a burst."""
        return self._answer()

    def _order(self, **order: object) -> Outcome:
        self._tell(**order)
        return self._answer()

    def _tell(self, **order: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()

    def _answer(self) -> Outcome:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the process that has the connections ended")
        return Outcome(**json.loads(line))


@contextmanager
def crowd(port: int, core: int) -> Iterator[Crowd]:
    """A process that will have connections to a port of loopback; with the context they end."""
    process = subprocess.Popen(
        pinned(core, [sys.executable, "-m", "tests.benchmarks.crowd", str(port)]),
        cwd=_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
    )
    try:
        yield Crowd(process)
    finally:
        process.kill()
        process.communicate()


def _wire(ask: Ask) -> str:
    headers = "".join(f"{name}: {value}\r\n" for name, value in ask.headers.items())
    body = ask.body or b""
    if body:
        headers += f"content-length: {len(body)}\r\n"
    return f"{ask.method} {ask.path} HTTP/1.1\r\nhost: 127.0.0.1\r\n{headers}\r\n{body.decode()}"


# ---------------------------------------------------------------- in the process itself


class _Connection:
    """A socket, what has come of its answer, and when its request was due."""

    __slots__ = ("data", "due", "sock")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.data = b""
        self.due = 0.0


class _Connections:
    """All of them, and the answers they wait for."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._epoll = select.epoll()
        self._all: dict[int, _Connection] = {}
        self._idle: deque[_Connection] = deque()
        self._waiting = 0
        self._latencies: list[float] = []
        self._failed = 0

    def obey(self, order: Mapping[str, Any]) -> Outcome:
        self._latencies, self._failed = [], 0
        request = order["request"].encode()
        match order["order"]:
            case "open":
                self._open(order["count"], request)
            case "burst":
                while self._idle:
                    self._send(request, time.perf_counter())
            case "steady":
                self._steady(request, order["rate"], order["seconds"])
        self._await_answers()
        return Outcome.of(self._latencies, self._failed)

    def _open(self, count: int, request: bytes) -> None:
        for number in range(count):
            sock = socket.socket()
            # The port is then chosen with the connection: it must be free for this peer alone.
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_BIND_ADDRESS_NO_PORT, 1)
            sock.bind((f"127.0.0.{1 + number // _PER_ADDRESS}", 0))
            try:
                sock.connect(("127.0.0.1", self._port))
            except OSError:
                self._failed += 1
                sock.close()
                continue
            sock.setblocking(False)
            connection = self._all[sock.fileno()] = _Connection(sock)
            self._epoll.register(sock, select.EPOLLIN)
            self._idle.append(connection)
            self._send(request, time.perf_counter())
            while self._waiting >= _AT_ONCE:
                self._take_answers(1.0)

    def _steady(self, request: bytes, rate: float, seconds: float) -> None:
        count = int(rate * seconds)
        start = time.perf_counter()
        number = 0
        while number < count:
            due = start + number / rate
            now = time.perf_counter()
            if due <= now and self._idle:
                self._send(request, due)
                number += 1
            elif now > start + seconds + _PATIENCE_S or not self._all:
                self._failed += count - number
                return
            else:
                self._take_answers(max(0.0, due - now) if self._idle else 1.0)

    def _send(self, request: bytes, due: float) -> None:
        connection = self._idle.popleft()
        connection.due = due
        connection.data = b""
        self._waiting += 1
        try:
            connection.sock.send(request)  # small, on a connection that has nothing under way
        except OSError:
            self._fail(connection)

    def _await_answers(self) -> None:
        end = time.perf_counter() + _PATIENCE_S
        while self._waiting and time.perf_counter() < end:
            self._take_answers(1.0)
        for connection in [c for c in self._all.values() if c.due]:
            self._fail(connection)

    def _take_answers(self, within_s: float) -> None:
        # epoll counts in milliseconds; select on it, in microseconds.
        if not select.select([self._epoll], [], [], within_s)[0]:
            return
        for number, _ in self._epoll.poll(0, 1024):
            connection = self._all[number]
            try:
                data = connection.sock.recv(_READ_BYTES)
            except OSError:
                data = b""
            if not data or not connection.due:
                self._fail(connection)
                continue
            connection.data += data
            status = _whole(connection.data)
            if status:
                self._end(connection, status)

    def _end(self, connection: _Connection, status: int) -> None:
        if status == 200:
            self._latencies.append(time.perf_counter() - connection.due)
        else:
            self._failed += 1
        connection.due = 0.0
        self._waiting -= 1
        self._idle.append(connection)

    def _fail(self, connection: _Connection) -> None:
        """Drop a connection that broke; one that broke while idle is a failure too."""
        self._failed += 1
        if connection.due:
            self._waiting -= 1
        with suppress(ValueError):
            self._idle.remove(connection)
        del self._all[connection.sock.fileno()]
        self._epoll.unregister(connection.sock)
        connection.sock.close()


def _whole(data: bytes) -> int:
    """The status of an answer that has come whole; 0 before. Bodies have a length or chunks."""
    end = data.find(b"\r\n\r\n") + 4
    if end < 4:
        return 0
    head = data[:end].lower()
    _, found, rest = head.partition(b"\r\ncontent-length:")
    if found:
        over = len(data) >= end + int(rest[: rest.index(b"\r")])
    else:
        over = data.endswith(b"\r\n0\r\n\r\n")
    return int(head[9:12]) if over else 0


def _main(port: int) -> None:
    connections = _Connections(port)
    for line in sys.stdin:
        print(json.dumps(attrs.asdict(connections.obey(json.loads(line)))), flush=True)


if __name__ == "__main__":
    _main(int(sys.argv[1]))
