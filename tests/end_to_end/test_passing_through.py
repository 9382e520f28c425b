"""Proxies over real sockets: streams, back-pressure, leaving, WebSockets, framing attacks."""

from __future__ import annotations

import contextlib
import gc
import socket
import struct
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import attrs
import pytest
import trio
import wsproto
from wsproto.events import AcceptConnection, CloseConnection, Request, TextMessage

from gateway import Gateway
from tests.end_to_end.support import open_sockets, send_get, serving, until
from tests.http_service import Scripted, http, raw

pytestmark = pytest.mark.end_to_end

CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
MIB = 1 << 20
PIECE = 1 << 16


@attrs.frozen
class Proxied:
    app: Gateway
    port: int

    async def connect(self) -> trio.SocketStream:
        return await trio.open_tcp_stream("127.0.0.1", self.port)

    @property
    def pool(self) -> Any:
        return self.app._built.adapters["s"].http1.pool  # type: ignore[attr-defined]


@asynccontextmanager
async def proxied(
    service: Callable[[trio.SocketStream], Awaitable[None]], **proxy: Any
) -> AsyncGenerator[Proxied]:
    """The proxy `/files/` before `service`; nothing may be left under way."""
    async with trio.open_nursery() as nursery:

        async def handle(stream: trio.SocketStream) -> None:
            with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await service(stream)

        (listener,) = await nursery.start(partial(trio.serve_tcp, handle, 0, host="127.0.0.1"))
        port = listener.socket.getsockname()[1]
        config = {
            "server": {"admin": {"bind": "127.0.0.1:0"}},
            "access": {"anonymous": True},
            "services": {"s": {"kind": "http", "url": f"http://127.0.0.1:{port}"}},
            "proxies": {"p": {"path": "/files/", "service": "s", **proxy}},
        }
        with trio.fail_after(30):
            async with serving(config) as (app, public):
                made = Proxied(app, public)
                yield made
                await until(lambda: not app.in_flight)
                assert made.pool.taken == 0
        nursery.cancel_scope.cancel()


async def hear(stream: trio.SocketStream, until_: bytes) -> bytes:
    heard = b""
    while until_ not in heard:
        piece = await stream.receive_some()
        assert piece, f"the connection ended after {heard!r}"
        heard += piece
    return heard


async def test_events_leave_at_once_and_leaving_ends_the_service() -> None:
    more, gone = trio.Event(), trio.Event()

    async def events(_request: Any, stream: Any) -> None:
        await stream.send_all(CHUNKED)
        for number in range(3):
            await more.wait()
            data = b"data: %d\n\n" % number
            await stream.send_all(b"%x\r\n%b\r\n" % (len(data), data))
        try:
            await trio.sleep_forever()
        finally:
            gone.set()

    async with proxied(Scripted(events)) as gateway:
        stream = await send_get(gateway.port, "/files/events")
        await hear(stream, b"\r\n\r\n")
        more.set()
        await hear(stream, b"data: 2\n\n")
        start = trio.current_time()
        await stream.aclose()
        await gone.wait()
        print(f"the service's connection ended after {(trio.current_time() - start) * 1e3:.1f} ms")
        assert trio.current_time() - start < 5


@pytest.mark.parametrize("begun", [False, True])
async def test_leaving_ends_an_upload_too(begun: bool) -> None:
    service = Scripted(http(200, b"ok"))
    async with proxied(service, max_body="1GiB") as gateway:
        stream = await gateway.connect()
        head = b"PUT /files/x HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000000\r\n\r\n"
        await stream.send_all(head + (b"x" * 100_000 if begun else b""))
        await until(lambda: service.connections)
        await stream.aclose()
        await until(lambda: not service.connections)
        assert not service.requests


async def test_large_bodies_stream_both_ways() -> None:
    async def echo(stream: trio.SocketStream) -> None:
        data = await hear(stream, b"\r\n\r\n")
        _, _, rest = data.partition(b"\r\n\r\n")
        await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (50 * MIB))
        await stream.send_all(rest)
        left = 50 * MIB - len(rest)
        while left:
            piece = await stream.receive_some()
            left -= len(piece)
            await stream.send_all(piece)

    async with proxied(echo, max_body="50MiB") as gateway, trio.open_nursery() as nursery:
        stream = await gateway.connect()

        async def upload() -> None:
            head = b"PUT /files/x HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n"
            await stream.send_all(head % (50 * MIB))
            for number in range(50):
                await stream.send_all(bytes([number]) * MIB)

        nursery.start_soon(upload)
        heard = bytearray(await hear(stream, b"\r\n\r\n"))
        del heard[: heard.index(b"\r\n\r\n") + 4]
        while len(heard) < 50 * MIB:
            heard += await stream.receive_some(MIB)
        await stream.aclose()
        assert all(heard[n * MIB : (n + 1) * MIB] == bytes([n]) * MIB for n in range(50))


async def test_a_client_that_does_not_read_slows_the_service() -> None:
    sent = 0

    async def endless(_request: Any, stream: Any) -> None:
        nonlocal sent
        await stream.send_all(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            await stream.send_all(bytes(PIECE))
            sent += 1

    async with proxied(Scripted(endless)) as gateway:
        stream = await send_get(gateway.port, "/files/x")
        await until(lambda: sent)
        before = -1
        while before != sent:
            before = sent
            await trio.sleep(0.3)
        print(f"{sent * PIECE / MIB:.1f} MiB are on their way")
        assert sent * PIECE < 32 * MIB
        for _ in range(200):
            await stream.receive_some(MIB)
        await until(lambda: sent > before)
        await stream.aclose()


async def test_a_service_that_does_not_read_slows_the_client() -> None:
    async def deaf(stream: trio.SocketStream) -> None:
        await trio.sleep_forever()

    async with proxied(deaf, max_body="1GiB", deadline="20s") as gateway:
        stream = await gateway.connect()
        head = b"PUT /files/x HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000000000\r\n\r\n"
        await stream.send_all(head)
        sent = 0
        with trio.move_on_after(1.5):
            while True:
                await stream.send_all(bytes(PIECE))
                sent += 1
        print(f"{sent * PIECE / MIB:.1f} MiB are on their way")
        assert sent * PIECE < 32 * MIB
        # Its end would queue behind what is not read; a reset does not.
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await trio.aclose_forcefully(stream)


@pytest.mark.parametrize("framing", [b"content-length: 2097152", b"transfer-encoding: chunked"])
async def test_an_upload_over_its_bound_is_refused(framing: bytes) -> None:
    service = Scripted(http(200, b"ok"))
    async with proxied(service) as gateway:
        stream = await gateway.connect()
        head = b"PUT /files/x HTTP/1.1\r\nhost: localhost\r\n%b\r\n\r\n" % framing
        with contextlib.suppress(trio.BrokenResourceError):
            await stream.send_all(head)
            for _ in range(20):
                await stream.send_all(b"20000\r\n" + bytes(0x20000) + b"\r\n")
        heard = await hear(stream, b"too_large")
        assert heard.startswith(b"HTTP/1.1 413 ")
        await trio.aclose_forcefully(stream)
    assert not service.requests


ATTACKS = (
    b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    b"content-length: 5\r\ncontent-length: 6\r\n\r\nhello!",
    b"transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    b"transfer-encoding : chunked\r\n\r\n0\r\n\r\n",
    b"transfer-encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
    b"x: y\r\n content-length: 5\r\n\r\nhello",
    b"x: y\ncontent-length: 5\r\n\r\nhello",
    b"x: y\rcontent-length: 5\r\n\r\nhello",
    b"transfer-encoding: chunked\r\n\r\n5;\nx\r\nhello\r\n0\r\n\r\n",
    b"transfer-encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n",
)


@pytest.mark.parametrize("attack", ATTACKS)
async def test_no_request_is_smuggled_to_the_service(attack: bytes) -> None:
    service = Scripted(http(200, b"ok"))
    async with proxied(service) as gateway:
        stream = await gateway.connect()
        await stream.send_all(b"POST /files/x HTTP/1.1\r\nhost: localhost\r\n" + attack)
        await stream.send_all(b"GET /files/smuggled HTTP/1.1\r\nhost: localhost\r\n\r\n")
        heard = await hear(stream, b"\r\n\r\n")
        assert heard[9:12] in {b"400", b"501"}
        await trio.aclose_forcefully(stream)
    assert not service.requests


@pytest.mark.parametrize(
    "hidden", [b"content-length", b"transfer-encoding", b"host", b"content-length, host"]
)
async def test_what_frames_a_request_cannot_be_taken_out_of_it(hidden: bytes) -> None:
    """A body whose length were taken out would be read as the next request."""
    service = Scripted(http(200, b"ok"))
    body = b"GET /smuggled HTTP/1.1\r\nhost: x\r\n\r\n"
    async with proxied(service) as gateway:
        for framing in (b"content-length: %d" % len(body), b"transfer-encoding: chunked"):
            sent = body if b"length" in framing else b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
            stream = await gateway.connect()
            await stream.send_all(
                b"POST /files/x HTTP/1.1\r\nhost: localhost\r\nconnection: %b\r\n%b\r\n\r\n%b"
                % (hidden, framing, sent)
            )
            await hear(stream, b"ok")
            await stream.aclose()
    assert [(request.target, request.body) for request in service.requests] == [
        ("/files/x", body),
        ("/files/x", body),
    ]


async def test_a_second_answer_is_nobodys() -> None:
    """A service that says more than it was asked for: the next client does not get it."""
    twice = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
    poison = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison"
    async with proxied(Scripted(raw(twice + poison))) as gateway:
        for _ in range(3):
            stream = await send_get(gateway.port, "/files/x")
            heard = await hear(stream, b"ok")
            assert b"poison" not in heard
            await stream.aclose()


async def test_a_websocket_talks_through() -> None:  # noqa: C901 - two sides of one talk
    closes: list[Any] = []

    async def echo(stream: trio.SocketStream) -> None:
        ws = wsproto.WSConnection(wsproto.ConnectionType.SERVER)
        while True:
            ws.receive_data(bytes(await stream.receive_some()) or None)
            for event in ws.events():
                if isinstance(event, Request):
                    await stream.send_all(ws.send(AcceptConnection(subprotocol="chat")))
                elif isinstance(event, TextMessage):
                    await stream.send_all(ws.send(event))
                    if event.data == "bye":
                        await stream.send_all(ws.send(CloseConnection(4000, "bye")))
                elif isinstance(event, CloseConnection):
                    closes.append(event.code)
                    return

    async with proxied(echo) as gateway:
        stream = await gateway.connect()
        ws = wsproto.WSConnection(wsproto.ConnectionType.CLIENT)
        request = Request(host="localhost", target="/files/ws", subprotocols=["chat"])
        await stream.send_all(ws.send(request))
        heard: list[str] = []
        closed: Any = None
        while closed is None:
            ws.receive_data(await stream.receive_some())
            for event in ws.events():
                match event:
                    case AcceptConnection():
                        assert event.subprotocol == "chat"
                        for text in ("a", "b", "bye"):
                            await stream.send_all(ws.send(TextMessage(text)))
                    case TextMessage():
                        heard.append(event.data)
                    case CloseConnection():
                        closed = event
        assert heard == ["a", "b", "bye"]
        assert (closed.code, closed.reason) == (4000, "bye")
        await stream.aclose()
    assert closes == [4000]


async def test_leaving_a_websocket_ends_the_services() -> None:
    ended = trio.Event()

    async def listen(stream: trio.SocketStream) -> None:
        ws = wsproto.WSConnection(wsproto.ConnectionType.SERVER)
        ws.receive_data(bytes(await stream.receive_some()))
        list(ws.events())
        await stream.send_all(ws.send(AcceptConnection()))
        while await stream.receive_some():
            pass
        ended.set()

    async with proxied(listen) as gateway:
        stream = await gateway.connect()
        ws = wsproto.WSConnection(wsproto.ConnectionType.CLIENT)
        await stream.send_all(ws.send(Request(host="localhost", target="/files/ws")))
        await hear(stream, b"\r\n\r\n")
        await stream.aclose()
        await ended.wait()


async def test_clients_that_leave_leave_nothing() -> None:
    service = Scripted(raw(b"", after_s=60))
    async with proxied(service) as gateway:
        before = open_sockets()
        for _ in range(200):
            stream = await send_get(gateway.port, "/files/x")
            await trio.aclose_forcefully(stream)
        await until(lambda: not gateway.app.in_flight and not service.connections)
        gc.collect()
        await until(lambda: open_sockets() <= before)
        assert gateway.pool.taken == 0
