"""Our HTTP client over real sockets: what a network in memory cannot show."""

from __future__ import annotations

import socket
import struct
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from gateway.core.errors import Unreachable
from gateway.net.client import ClientSettings, HttpRequest, Origin, open_client, open_http1
from gateway.net.guard import AddressGuard
from gateway.net.http1 import Http1Client
from gateway.net.wire import SocketWire, Unsent
from tests.end_to_end.support import open_sockets, serving, until
from tests.http_service import Received, Scripted, http, raw

pytestmark = pytest.mark.end_to_end


class Bench:
    """A client, and the service it asks."""

    def __init__(self, client: Http1Client, origin: Origin) -> None:
        self.client = client
        self.origin = origin

    def request(self, method: str = "GET", content: Any = None) -> HttpRequest:
        return HttpRequest(method, self.origin, "/x", (), content)

    async def send(self, method: str = "GET", content: Any = None) -> bytes:
        return (await self.client.send(self.request(method, content))).body


@asynccontextmanager
async def bench(service: Any, **changed: Any) -> AsyncGenerator[Bench]:
    settings = ClientSettings(
        guard=AddressGuard(allow_private=True),
        **{
            "max_connections": 10,
            "max_reply_bytes": 50_000_000,
            "budget_header": "x-budget",
            "tls": False,
            **changed,
        },
    )
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            (listener,) = await nursery.start(partial(trio.serve_tcp, service, 0, host="127.0.0.1"))
            origin = Origin.of(f"http://127.0.0.1:{listener.socket.getsockname()[1]}")
            async with open_http1(settings) as client:
                yield Bench(client, origin)
                assert client.pool.taken == 0
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("framing", ["length", "chunks", "until close"])
async def test_large_bodies_go_there_and_back(framing: str) -> None:
    async def echo(request: Received, stream: trio.abc.Stream) -> None:
        body = request.body
        if framing == "length":
            await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body))
            await stream.send_all(body)
        elif framing == "chunks":
            await stream.send_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
            for at in range(0, len(body), 70_000):
                piece = body[at : at + 70_000]
                await stream.send_all(b"%x\r\n%b\r\n" % (len(piece), piece))
            await stream.send_all(b"0\r\n\r\n")
        else:
            await stream.send_all(b"HTTP/1.1 200 OK\r\n\r\n" + body)
            await stream.aclose()

    body = bytes(range(256)) * 20_000
    async with bench(Scripted(echo)) as made:
        for content in (body, b"x", body):
            assert await made.send("POST", content) == content
        assert made.client.pool.idle == (framing != "until close")


async def test_a_service_that_reads_nothing_is_left_in_time() -> None:
    async def deaf(stream: Any) -> None:
        await trio.sleep_forever()

    async with bench(deaf) as made:
        for content in (b"x" * 20_000_000, b"x"):
            with trio.move_on_after(0.1) as scope:
                await made.send("POST", content)
            assert scope.cancelled_caught
            assert made.client.pool.idle == 0


async def reset(_request: Received, stream: Any) -> None:
    linger = struct.pack("ii", 1, 0)
    stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    await stream.aclose()


async def test_a_connection_closed_while_idle_is_seen_before_it_is_used() -> None:
    accepted = 0

    async def once(stream: Any) -> None:
        nonlocal accepted
        accepted += 1
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        if accepted % 2:
            await reset(None, stream)  # type: ignore[arg-type]

    async with bench(once) as made:
        for number in range(1, 7):
            assert await made.send("POST", b"never twice") == b"ok"
            assert accepted == number
            await trio.sleep(0.02)


async def test_bytes_that_nobody_asked_for_are_seen_before_it_is_used() -> None:
    poison = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nPOISON"

    async def late(request: Received, stream: trio.abc.Stream) -> None:
        await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        await trio.sleep(0.005)
        await stream.send_all(poison)
        sent.set()

    async with bench(Scripted(late)) as made:
        for _ in range(5):
            sent = trio.Event()
            assert await made.send() == b"ok"
            await sent.wait()


async def test_a_reset_under_way_is_sent_again_if_it_may_be() -> None:
    service = Scripted(http(200, "a"), reset, http(200, "b"), reset)
    async with bench(service) as made:
        assert await made.send() == b"a"
        assert await made.send() == b"b"
        with pytest.raises(Unreachable):
            await made.send("POST", b"x")
    assert [one.method for one in service.requests] == ["GET", "GET", "GET", "POST"]


async def test_whether_anything_was_sent_is_known() -> None:
    ours, theirs = socket.socketpair()
    wire = SocketWire(ours)
    theirs.close()
    with pytest.raises(Unsent, match="Broken pipe"):
        await wire.send(b"x")
    wire.close()

    ours, theirs = socket.socketpair()
    wire = SocketWire(ours)

    async def leave() -> None:
        await trio.sleep(0.05)
        theirs.close()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(leave)
        with pytest.raises(Unreachable) as caught:
            await wire.send(b"x" * 10_000_000)
    assert type(caught.value) is Unreachable
    wire.close()
    wire.close()


@pytest.mark.parametrize("how", ["send", "stream"])
async def test_a_refusal_is_read_though_the_body_was_not(how: str) -> None:
    async def refuse(stream: Any) -> None:
        await stream.receive_some(1000)
        await stream.send_all(b"HTTP/1.1 413 X\r\ncontent-length: 2\r\n\r\nno")
        await trio.sleep(0.05)
        await stream.send_eof()
        await trio.sleep_forever()

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 100_000
            await trio.lowlevel.checkpoint()

    async with bench(refuse) as made:
        if how == "send":
            reply = await made.client.send(made.request("POST", b"x" * 30_000_000))
            assert (reply.status, reply.body) == (413, b"no")
        else:
            async with made.client.stream(made.request("POST", endless())) as stream:
                assert (stream.status, await stream.receive()) == (413, b"no")


async def test_streams_flow_both_ways_at_once() -> None:
    async def echo(stream: Any) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        await stream.send_all(head.partition(b"\r\n\r\n")[2])
        while data := await stream.receive_some():
            await stream.send_all(data)

    async def content() -> AsyncIterator[bytes]:
        for number in range(200):
            yield bytes([number]) * 100_000

    async with bench(echo) as made:
        async with made.client.stream(made.request("POST", content())) as stream:
            size = 0
            while piece := await stream.receive():
                size += len(piece)
        assert size == 20_000_000
        assert made.client.pool.idle == 1


async def test_a_reply_that_is_not_read_is_not_taken() -> None:
    """Back-pressure reaches the service through the system's buffers."""
    sent = 0

    async def endless(_request: Received, stream: trio.abc.Stream) -> None:
        nonlocal sent
        await stream.send_all(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            await stream.send_all(b"x" * 100_000)
            sent += 100_000

    async with bench(Scripted(endless)) as made:
        async with made.client.stream(made.request()) as stream:
            await stream.receive()
            before = -1
            while sent != before:
                before = sent
                await trio.sleep(0.1)
            assert sent < 30_000_000
            for _ in range(200):
                await stream.receive()
            await until(lambda: sent > before)
        assert made.client.pool.idle == 0


async def test_sockets_close_with_the_client() -> None:
    before = open_sockets()
    service = Scripted(raw(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"))
    async with bench(service) as made:
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(made.send)
        assert open_sockets() > before
    await until(lambda: open_sockets() <= before)


async def test_http2_is_spoken_where_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    await trio.run_process(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        capture_stderr=True,
    )
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    tls = {"certificate": str(certificate), "key": str(key)}
    settings = ClientSettings(
        guard=AddressGuard(allow_private=True),
        max_connections=2,
        max_reply_bytes=10_000,
        budget_header="x-budget",
        http2=True,
    )
    with trio.fail_after(30):
        async with serving({"server": {"tls": tls}}) as (_, port), open_client(settings) as client:
            origin = Origin.of(f"https://localhost:{port}")
            for content in (b"{}", one_piece()):
                request = HttpRequest("POST", origin, "/tools/none", (), content)
                async with client.stream(request) as stream:
                    assert stream._response.http_version == "HTTP/2"  # type: ignore[attr-defined]
                    assert stream.status == 404
                reply = await client.send(HttpRequest("POST", origin, "/tools/none", (), b"{}"))
                assert (reply.status, b"not_found" in reply.body) == (404, True)


async def one_piece() -> AsyncIterator[bytes]:
    yield b"{}"
