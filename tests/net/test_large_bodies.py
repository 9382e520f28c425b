"""Bodies that do not leave in one write, and services that answer before they have read them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
import trio.testing

from gateway.core.errors import Unreachable
from gateway.net.http1 import Http1Client
from gateway.net.messages import HttpRequest, Origin
from gateway.net.pool import Pool
from gateway.net.wire import Unsent

ORIGIN = Origin.of("http://api.test")
LARGE = bytes(range(256)) * 2000


class Scripted:
    """A wire: what is sent to it is noted; `fail` says what breaks."""

    def __init__(self, *, fail: Callable[[bytes], bool] = lambda _data: False) -> None:
        self.sent: list[bytes] = []
        self.fail = fail

    async def send(self, data: bytes) -> None:
        await trio.lowlevel.checkpoint()
        if self.fail(data):
            raise Unsent("the connection broke")
        self.sent.append(data)

    async def receive(self) -> bytes:
        await trio.lowlevel.checkpoint()
        return b"" if self.fail(b"x") else b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"

    def is_stale(self) -> bool:
        return False

    def close(self) -> None: ...


class Echo(Scripted):
    """A service that keeps nothing: it reads on once its answer is read."""

    def __init__(self) -> None:
        super().__init__()
        self.to_us, self.from_service = trio.open_memory_channel[bytes](1)
        self.begun = False

    async def send(self, data: bytes) -> None:
        if not self.begun:
            self.begun = True
            head = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(LARGE)
            data = head + data.partition(b"\r\n\r\n")[2]
        await self.to_us.send(data)

    async def receive(self) -> bytes:
        return await self.from_service.receive()


async def test_a_service_may_answer_while_it_reads(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def connect(_origin: Origin) -> Echo:
        return Echo()

    client = Http1Client(Pool(connect, 1), "x-budget", 1 << 20)
    with trio.fail_after(5):

        async def ask() -> None:
            reply = await client.send(HttpRequest("POST", ORIGIN, "/", content=LARGE))
            assert reply.body == LARGE

        await ask()
    assert client.pool.taken == 0


async def test_a_request_of_which_the_head_has_left_is_not_sent_twice(
    autojump_clock: trio.testing.MockClock,
) -> None:
    wires: list[Scripted] = []

    async def connect(_origin: Origin) -> Scripted:
        wires.append(Scripted())
        return wires[-1]

    client = Http1Client(Pool(connect, 1), "x-budget", 1 << 20)
    await client.send(HttpRequest("POST", ORIGIN, "/", content=b"small"))
    wires[0].fail = lambda data: not data.startswith(b"POST")
    with pytest.raises(Unreachable):
        await client.send(HttpRequest("POST", ORIGIN, "/pay", content=LARGE))
    assert len(wires) == 1
    assert client.pool.taken == 0
