"""The server on real sockets: who has left, who does not read, who takes more than a share."""

from __future__ import annotations

import array
import fcntl
import os
import socket
import struct
import sys
import termios
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio
from hyperframe.frame import DataFrame

from tests.end_to_end.support import until
from tests.end_to_end.test_server import served
from tests.server.attacks import HANDSHAKE, MASKED_HELLO, PREFACE, headers

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

pytestmark = pytest.mark.end_to_end
linux = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a client's end is not told")

HANG = b"GET /hang HTTP/1.1\r\nhost: x\r\n\r\n"
UPLOAD = b"POST /hang HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n"


async def close(stream: trio.SocketStream) -> None:
    await stream.aclose()


async def half_close(stream: trio.SocketStream) -> None:
    await stream.send_eof()


async def reset(stream: trio.SocketStream) -> None:
    stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.socket.close()


@linux
@pytest.mark.parametrize("leave", [close, half_close, reset])
@pytest.mark.parametrize(
    "sent",
    [
        HANG,
        HANG + b"G",
        HANG + HANG * 50,
        UPLOAD,
        UPLOAD + b"a" * 50_000,
        PREFACE + headers(1, path=b"/hang"),
        PREFACE
        + headers(1, end=False, path=b"/hang")
        + DataFrame(1, b"a" * 16_000).serialize() * 4,
        HANDSHAKE + b"\r\n",
        HANDSHAKE + b"\r\n" + MASKED_HELLO * 1000,
    ],
    ids=[
        "nothing more",
        "a byte more",
        "requests more",
        "a body to come",
        "a body unread",
        "HTTP/2",
        "HTTP/2, a body unread",
        "WebSocket",
        "WebSocket, messages unread",
    ],
)
async def test_every_leaving_is_seen(
    sent: bytes, leave: Callable[[trio.SocketStream], Awaitable[None]]
) -> None:
    slowest_s = 0.0
    async with served() as server:
        for _ in range(5):
            stream = await server.connect()
            await stream.send_all(sent)
            while not server.app.under_way:
                await trio.sleep(0.001)
            await trio.sleep(0.01)
            began = time.perf_counter()
            await leave(stream)
            while server.app.under_way:
                await trio.sleep(0.0005)
                assert time.perf_counter() - began < 5, "unseen"
            slowest_s = max(slowest_s, time.perf_counter() - began)
            await trio.aclose_forcefully(stream)
    print(f"seen within {slowest_s * 1000:.1f} ms")


@linux
async def test_a_client_that_will_send_no_more_may_be_waited_for() -> None:
    async with served(allow_half_close=True) as server:
        stream = await server.ask("/pause")
        await stream.send_eof()
        heard = b""
        with trio.fail_after(30):
            while piece := await stream.receive_some():
                heard += piece
        assert heard.endswith(b"paused")
        stream = await server.ask("/hang")
        while not server.app.under_way:
            await trio.sleep(0.001)
        await reset(stream)
        with trio.fail_after(30):
            while server.app.under_way:
                await trio.sleep(0.001)


def kept_for(port: int) -> int:
    """Bytes that this system keeps to send to the client at `port`."""
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(OSError), socket.socket(fileno=os.dup(int(entry.name))) as sock:
            if sock.family == socket.AF_INET and sock.getpeername()[1] == port:
                kept = array.array("i", [0])
                fcntl.ioctl(sock, termios.TIOCOUTQ, kept)
                return kept[0]
    raise AssertionError("no such connection")


@linux
async def test_a_client_that_does_not_read_costs_little_and_is_dropped() -> None:
    async with served(send_timeout=3) as server:
        client = trio.socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await client.connect(("127.0.0.1", server.port))
        await client.send(b"GET /big HTTP/1.1\r\nhost: x\r\n\r\n")
        await trio.sleep(0.5)
        kept = kept_for(client.getsockname()[1])
        print(f"kept {kept / 1024:.0f} KiB")
        assert 0 < kept <= 256 * 1024
        with trio.fail_after(30):
            while server.app.under_way:
                await trio.sleep(0.01)
        client.close()


async def test_a_connection_that_always_has_data_starves_no_other() -> None:
    async with served() as server, trio.open_nursery() as nursery:
        greedy = await server.connect()

        async def ask_for_ever() -> None:
            while True:
                await greedy.send_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n" * 1000)

        async def read_for_ever() -> None:
            while await greedy.receive_some(1 << 20):
                pass

        nursery.start_soon(ask_for_ever)
        nursery.start_soon(read_for_ever)
        await until(lambda: "/" in server.app.asked)
        waited_s = []
        for _ in range(50):
            began = time.perf_counter()
            stream = await server.ask("/")
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 200 ")
            waited_s.append(time.perf_counter() - began)
        print(f"a neighbour waited for {max(waited_s) * 1000:.1f} ms at most")
        assert sorted(waited_s)[-5] < 1  # the machine may stand still now and then
        nursery.cancel_scope.cancel()


async def test_an_answer_is_not_held_up_by_one_that_is_not_read() -> None:
    async with served(send_timeout=30) as server:
        for _ in range(20):
            await server.ask("/big")
        await until(lambda: len(server.app.asked) == 20)
        began = time.perf_counter()
        stream = await server.ask("/")
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 200 ")
        assert time.perf_counter() - began < 10


async def test_a_socket_file_serves_too(tmp_path: Any) -> None:
    path = tmp_path / "gateway.sock"
    async with served(bind=(f"unix:{path}",)) as server:
        stream = await trio.open_unix_socket(str(path))
        await stream.send_all(HANG)
        while not server.app.under_way:
            await trio.sleep(0.001)
        await stream.aclose()
        with trio.fail_after(30):
            while server.app.under_way:
                await trio.sleep(0.001)
