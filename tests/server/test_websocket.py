"""What one WebSocket may cost, and how it ends."""

from __future__ import annotations

import random
import struct
import zlib
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio
import trio.testing

from gateway.net.asgi import peer_of, while_connected
from gateway.server.bounds import ConnectionConfig
from gateway.server.connection import Connection, Shared
from tests.server.serving import hang

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

CONFIG: Any = {
    "header_timeout": 5.0,
    "body_timeout": 10.0,
    "send_timeout": 10.0,
    "keep_alive": 75.0,
    "max_headers": 16 << 10,
    "max_message": 10_000,
}
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA


class App:
    """Does by path; says what happens to it in `story`."""

    def __init__(self) -> None:
        self.under_way = 0
        self.story: list[Any] = []
        self.go = trio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.under_way += 1
        try:
            await self.talk(scope, receive, send)
        finally:
            self.under_way -= 1

    async def talk(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: C901, PLR0912 - a table
        assert (await receive())["type"] == "websocket.connect"
        match scope["path"]:
            case "/refuse":
                await send({"type": "websocket.close"})
                self.story.append(await receive())
                return
            case "/slow":
                await self.go.wait()
            case "/fail":
                raise RuntimeError("a bug")
            case "/choose":
                choice = {"subprotocol": scope["subprotocols"][-1], "headers": [(b"x-a", b"b")]}
                await send({"type": "websocket.accept", **choice})
                return
        await send({"type": "websocket.accept"})
        match scope["path"]:
            case "/deaf":
                await self.go.wait()
            case "/wait":
                await self.go.wait()
                await send({"type": "websocket.send", "text": "late"})
            case "/close":
                await send({"type": "websocket.close", "code": 4000, "reason": "enough"})
                await send({"type": "websocket.close"})
                self.story.append(await receive())
                return
            case "/talk":
                while True:
                    await send({"type": "websocket.send", "bytes": bytes(1 << 20)})
            case "/break":
                raise RuntimeError("a bug")
            case "/peer":
                peer = peer_of(scope)
                self.story.append(peer)
                await while_connected(scope, receive, hang)
            case "/return":
                return
        while (message := await receive())["type"] == "websocket.receive":
            await send({**message, "type": "websocket.send"})
        self.story.append(message)
        assert await receive() == message


@attrs.define
class Client:
    """Frames in and out."""

    app: App
    stream: Any
    connection: Connection
    ended: trio.Event = attrs.field(factory=trio.Event)
    heard: bytes = b""

    async def begin(self, path: str = "/", **headers: str) -> bytes:
        """Send the handshake; the head of its answer."""
        fields = {
            "host": "x",
            "upgrade": "websocket",
            "connection": "upgrade",
            "sec-websocket-version": "13",
            "sec-websocket-key": KEY,
        }
        fields |= {name.replace("_", "-"): value for name, value in headers.items()}
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items() if value)
        await self.stream.send_all(f"GET {path} HTTP/1.1\r\n{lines}\r\n".encode())
        while b"\r\n\r\n" not in self.heard:
            piece = await self.stream.receive_some()
            if not piece:
                break
            self.heard += piece
        head, _, self.heard = self.heard.partition(b"\r\n\r\n")
        return head

    async def say(self, kind: int, data: bytes = b"", *, fin: int = 0x80, rsv: int = 0) -> None:
        await self.stream.send_all(frame(kind, data, fin=fin, rsv=rsv))

    async def hear(self) -> tuple[int, bytes]:
        """The next frame's kind and data; (0, b"") at the end."""
        while True:
            size, at = self._size()
            if size is not None and len(self.heard) >= at + size:
                kind, data = self.heard[0] & 0x0F, self.heard[at : at + size]
                self.heard = self.heard[at + size :]
                return kind, data
            try:
                piece = await self.stream.receive_some()
            except trio.BrokenResourceError:
                return 0, b""
            if not piece:
                return 0, b""
            self.heard += piece

    def _size(self) -> tuple[int | None, int]:
        if len(self.heard) < 10:
            short = len(self.heard) >= 2 and self.heard[1] < 126
            return (self.heard[1], 2) if short else (None, 0)
        if self.heard[1] < 126:
            return self.heard[1], 2
        form, at = ("!H", 4) if self.heard[1] == 126 else ("!Q", 10)
        return struct.unpack(form, self.heard[2:at])[0], at

    async def is_closed_with(self, code: int) -> bool:
        kind, data = await self.hear()
        assert (kind, data[:2]) == (CLOSE, struct.pack("!H", code)), (kind, data)
        return True


def frame(kind: int, data: bytes = b"", *, fin: int = 0x80, rsv: int = 0) -> bytes:
    """A client's frame; masked with zeros, so that it can be read."""
    if len(data) < 126:
        size = bytes([0x80 | len(data)])
    else:
        size = bytes([0xFE]) + struct.pack("!H", len(data))
    return bytes([fin | rsv | kind]) + size + bytes(4) + data


@asynccontextmanager
async def connected(*, lockstep: bool = False, **bounds: Any) -> AsyncIterator[Client]:
    """A client of a connection; what leaves the connection's `run` fails the test."""
    pair = trio.testing.lockstep_stream_pair if lockstep else trio.testing.memory_stream_pair
    ours, theirs = pair()
    app, shared = App(), Shared.of(ConnectionConfig(**CONFIG | bounds))
    client = Client(app, theirs, Connection(app, shared, ours))

    async def run() -> None:
        await client.connection.run()
        client.ended.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(shared.run)
        nursery.start_soon(run)
        yield client
        nursery.cancel_scope.cancel()
    assert app.under_way == 0


# ---------------------------------------------------------------------- the handshake


async def test_a_handshake_is_answered() -> None:
    async with connected() as client:
        head = await client.begin()
        assert head.startswith(b"HTTP/1.1 101 ")
        assert b"sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head  # RFC 6455's own


@pytest.mark.parametrize(
    ("field", "value", "status"),
    [
        ("sec_websocket_version", "8", b"426"),
        ("sec_websocket_version", "", b"426"),
        ("sec_websocket_key", "", b"400"),
        ("sec_websocket_key", "c2hvcnQ=", b"400"),
        ("sec_websocket_key", "not base64 at all!", b"400"),
        ("host", "", b"400"),
    ],
)
async def test_what_is_no_handshake_is_refused(field: str, value: str, status: bytes) -> None:
    async with connected() as client:
        head = await client.begin(**{field: value})
        assert head.startswith(b"HTTP/1.1 " + status)
        assert (b"sec-websocket-version: 13" in head) == (status == b"426")
        assert not client.app.story


async def test_a_subprotocol_and_headers_may_be_chosen() -> None:
    async with connected() as client:
        head = await client.begin("/choose", sec_websocket_protocol="one, two")
        assert b"\r\nsec-websocket-protocol: two\r\n" in head
        assert b"\r\nx-a: b\r\n" in head
        assert await client.is_closed_with(1000)


async def test_an_application_may_refuse() -> None:
    async with connected() as client:
        assert (await client.begin("/refuse")).startswith(b"HTTP/1.1 403 ")
        assert await client.hear() == (0, b"")
        assert client.app.story == [{"type": "websocket.disconnect", "code": 1006, "reason": ""}]


async def test_an_application_that_fails_answers_with_500() -> None:
    async with connected() as client:
        assert (await client.begin("/fail")).startswith(b"HTTP/1.1 500 ")


async def test_what_is_sent_before_it_is_accepted_is_not_lost() -> None:
    async with connected() as client:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.begin, "/slow")
            await trio.testing.wait_all_tasks_blocked()
            await client.say(TEXT, b"early")
            client.app.go.set()
        assert await client.hear() == (TEXT, b"early")


# ---------------------------------------------------------------------- messages


async def test_messages_are_told_back() -> None:
    async with connected() as client:
        await client.begin()
        for kind, data in ((TEXT, "wörld".encode()), (BINARY, bytes(range(256))), (TEXT, b"")):
            await client.say(kind, data)
            assert await client.hear() == (kind, data)
        await client.say(TEXT, b"in ", fin=0)
        await client.say(PING, b"between")
        await client.say(0, b"pieces")
        assert await client.hear() == (PONG, b"between")
        assert await client.hear() == (TEXT, b"in pieces")


@pytest.mark.parametrize("pieces", [1, 3, 300])
@pytest.mark.parametrize(("kind", "text"), [(TEXT, "ä"), (BINARY, "x")])
async def test_a_message_that_is_too_large_closes_with_1009(
    pieces: int, kind: int, text: str, autojump_clock: trio.testing.MockClock
) -> None:
    async with connected() as client:
        await client.begin()
        data = (text * 10_002).encode()[:10_002]
        size = len(data) // pieces // 2 * 2
        for at in range(pieces):
            piece = data[at * size : (at + 1) * size] if at < pieces - 1 else data[at * size :]
            fin = 0x80 if at == pieces - 1 else 0
            await client.say(kind if not at else 0, piece, fin=fin)
        assert await client.is_closed_with(1009)
        assert await client.hear() == (0, b"")
        await client.stream.aclose()
        await client.ended.wait()
        assert client.app.story[0]["code"] == 1009


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "byte by byte"])
@pytest.mark.parametrize("size", [10_001, 1 << 16, 1 << 40, (1 << 63) - 1])
@pytest.mark.parametrize("kind", [TEXT, BINARY])
async def test_a_frame_that_announces_too_much_closes_at_its_head(
    kind: int, size: int, *, whole: bool, autojump_clock: trio.testing.MockClock
) -> None:
    form = (
        b"\xfe" + struct.pack("!H", size) if size < 1 << 16 else b"\xff" + struct.pack("!Q", size)
    )
    head = bytes([0x80 | kind]) + form
    async with connected() as client:
        await client.begin()
        await client.say(TEXT, b"before")
        for piece in [head] if whole else [bytes([byte]) for byte in head]:
            await client.stream.send_all(piece)
        assert await client.hear() == (TEXT, b"before")
        assert await client.is_closed_with(1009)


async def test_a_piece_that_announces_too_much_does_too(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with connected() as client:
        await client.begin()
        await client.say(TEXT, b"some", fin=0)
        await client.stream.send_all(b"\x80\xff" + struct.pack("!Q", 1 << 40))
        assert await client.is_closed_with(1009)


async def test_a_message_as_large_as_allowed_passes() -> None:
    async with connected() as client:
        await client.begin()
        await client.say(BINARY, bytes(10_000))
        assert await client.hear() == (BINARY, bytes(10_000))


async def test_unread_messages_hold_the_client_back() -> None:
    async with connected(lockstep=True) as client:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.begin, "/deaf")
        sent = 0
        with trio.move_on_after(0.1):
            while sent < 1000:
                await client.say(BINARY, bytes(1000))
                sent += 1
        assert sent < 50
        client.app.go.set()


async def test_leaving_is_told_with_messages_unread_and_drops_them() -> None:
    async with connected() as client:
        await client.begin("/deaf")
        await client.say(TEXT, b"unread")
        await trio.testing.wait_all_tasks_blocked()
        await client.stream.aclose()
        await trio.testing.wait_all_tasks_blocked()
        client.app.go.set()
        await client.ended.wait()
        assert client.app.story[0]["code"] == 1006


# ---------------------------------------------------------------------- compression

OFFER = "permessage-deflate; client_max_window_bits"


def deflated(data: bytes) -> bytes:
    compressor = zlib.compressobj(9, wbits=-15)
    return (compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


async def test_compression_is_off_unless_wanted() -> None:
    async with connected() as client:
        head = await client.begin(sec_websocket_extensions=OFFER)
        assert b"sec-websocket-extensions" not in head
        await client.say(TEXT, deflated(b"hello"), rsv=0x40)
        assert await client.is_closed_with(1002)


async def test_compressed_messages_are_told_back() -> None:
    async with connected(websocket_compression=True) as client:
        head = await client.begin(sec_websocket_extensions=OFFER)
        assert b"sec-websocket-extensions: permessage-deflate" in head
        inflate = zlib.decompressobj(wbits=-15)
        for _ in range(3):
            await client.say(TEXT, deflated(b"hello" * 1999), rsv=0x40)
            kind, data = await client.hear()
            assert kind == TEXT
            assert inflate.decompress(data + b"\0\0\xff\xff") == b"hello" * 1999


@pytest.mark.parametrize("max_message", [1, 100, 10_000, 60_000])
@pytest.mark.parametrize("level", [0, 1, 9])
async def test_what_cannot_be_compressed_may_be_as_large_as_allowed(
    level: int, max_message: int
) -> None:
    data = random.Random(max_message).randbytes(max_message)
    compressor = zlib.compressobj(level, wbits=-15, memLevel=1)
    sent = (compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]
    assert len(sent) > len(data)
    async with connected(websocket_compression=True, max_message=max_message) as client:
        await client.begin(sec_websocket_extensions=OFFER)
        await client.say(BINARY, sent, rsv=0x40)
        kind, answer = await client.hear()
        inflated = zlib.decompressobj(wbits=-15).decompress(answer + b"\0\0\xff\xff")
        assert (kind, inflated) == (BINARY, data)


async def test_a_compressed_frame_that_announces_too_much_closes_at_its_head(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with connected(websocket_compression=True) as client:
        await client.begin(sec_websocket_extensions=OFFER)
        await client.stream.send_all(b"\xc1\xff" + struct.pack("!Q", 1 << 40))
        assert await client.is_closed_with(1009)


@pytest.mark.parametrize("size", [10_001, 10_000_000])
async def test_a_bomb_closes_with_1009(size: int, autojump_clock: trio.testing.MockClock) -> None:
    async with connected(websocket_compression=True) as client:
        await client.begin(sec_websocket_extensions=OFFER)
        await client.say(TEXT, deflated(b"0" * size), rsv=0x40)
        assert await client.is_closed_with(1009)


@pytest.mark.parametrize("bits", ["abc", "99", "", "8"])
async def test_window_bits_that_are_none_are_not_agreed_on(bits: str) -> None:
    async with connected(websocket_compression=True) as client:
        offer = f"permessage-deflate; client_max_window_bits={bits}"
        head = await client.begin(sec_websocket_extensions=offer)
        assert head.startswith(b"HTTP/1.1 101 ")
        assert b"sec-websocket-extensions" not in head


# ---------------------------------------------------------------------- floods


FLOODS = {
    "pings": frame(PING, b"x"),
    "pongs": frame(PONG),
    "empty fragments": frame(0, fin=0),
    "small fragments": frame(0, b"x", fin=0),
}


@pytest.mark.parametrize("kind", FLOODS)
async def test_a_flood_closes_with_1008(kind: str, autojump_clock: trio.testing.MockClock) -> None:
    async with connected() as client:
        await client.begin()
        await client.say(TEXT, b"first", fin=0)
        await client.stream.send_all(FLOODS[kind] * 5000)
        heard = await client.hear()
        while heard[0] == PONG:
            heard = await client.hear()
        assert heard == (CLOSE, struct.pack("!H", 1008))
        await client.stream.aclose()
        await client.ended.wait()


async def test_pings_now_and_then_are_answered(autojump_clock: trio.testing.MockClock) -> None:
    async with connected() as client:
        await client.begin()
        for _ in range(40):
            await client.stream.send_all(FLOODS["pings"] * 50)
            for _ in range(50):
                assert await client.hear() == (PONG, b"x")
            await trio.sleep(1)


async def test_an_application_may_send_while_a_ping_is_answered() -> None:
    async with connected(lockstep=True) as client:
        await client.begin("/wait")
        await client.say(PING, b"x")
        await trio.testing.wait_all_tasks_blocked()  # its answer waits for us to read
        client.app.go.set()
        await trio.testing.wait_all_tasks_blocked()
        assert [await client.hear(), await client.hear()] == [(PONG, b"x"), (TEXT, b"late")]


async def test_a_client_that_does_not_read_is_dropped(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with connected(lockstep=True) as client:
        await client.begin("/talk")
        await client.ended.wait()
        assert trio.current_time() == 10
        assert client.app.under_way == 0


# ---------------------------------------------------------------------- the end


async def test_a_close_is_answered_and_told() -> None:
    async with connected() as client:
        await client.begin()
        await client.say(TEXT, b"last")
        await client.say(CLOSE, struct.pack("!H", 3000) + b"bye")
        assert await client.hear() == (TEXT, b"last")
        assert await client.is_closed_with(3000)
        assert await client.hear() == (0, b"")
        assert client.app.story[0] == {
            "type": "websocket.disconnect",
            "code": 3000,
            "reason": "bye",
        }


async def test_an_application_closes_and_its_client_answers() -> None:
    async with connected() as client:
        await client.begin("/close")
        assert await client.hear() == (CLOSE, struct.pack("!H", 4000) + b"enough")
        await client.say(CLOSE, struct.pack("!H", 4000))
        assert await client.hear() == (0, b"")
        assert client.app.story[0]["code"] == 4000


async def test_a_client_that_never_answers_a_close_is_dropped(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with connected() as client:
        await client.begin("/return")
        assert await client.is_closed_with(1000)
        await client.ended.wait()
        assert trio.current_time() <= 2


async def test_an_application_that_fails_closes_with_1011() -> None:
    async with connected() as client:
        await client.begin("/break")
        assert await client.is_closed_with(1011)


@pytest.mark.parametrize(("reason", "code"), [("ending", 1001), ("restarting", 1012)])
@pytest.mark.parametrize("answers", [True, False])
async def test_a_dismissed_client_is_told_why(
    reason: Any, code: int, answers: bool, autojump_clock: trio.testing.MockClock
) -> None:
    async with connected() as client:
        await client.begin()
        client.connection.dismiss(reason)
        assert await client.is_closed_with(code)
        if answers:
            await client.say(CLOSE, struct.pack("!H", code))
            assert await client.hear() == (0, b"")
            await client.stream.aclose()
        await client.ended.wait()
        assert trio.current_time() == (0 if answers else 1)
        assert client.app.story[0]["code"] == (code if answers else 1006)


async def test_a_handshake_is_not_accepted_once_dismissed() -> None:
    async with connected() as client:
        async with trio.open_nursery() as nursery:
            heads: list[bytes] = []

            async def begin() -> None:
                heads.append(await client.begin("/slow"))

            nursery.start_soon(begin)
            await trio.testing.wait_all_tasks_blocked()
            client.connection.dismiss("ending")
            client.app.go.set()
        assert heads[0].startswith(b"HTTP/1.1 503 ")


@pytest.mark.parametrize("pieces", [[b"who are you?"], [b"who ", b"are ", b"you?"]])
async def test_an_application_may_answer_in_the_place_of_a_websocket(
    pieces: list[bytes], autojump_clock: trio.testing.MockClock
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert "websocket.http.response" in scope["extensions"]
        headers = [(b"www-authenticate", b"Basic")]
        await send({"type": "websocket.http.response.start", "status": 401, "headers": headers})
        for at, piece in enumerate(pieces):
            more = at + 1 < len(pieces)
            await send({"type": "websocket.http.response.body", "body": piece, "more_body": more})
        assert (await receive())["type"] == "websocket.connect"
        assert (await receive())["type"] == "websocket.disconnect"

    ours, theirs = trio.testing.memory_stream_pair()
    heard = b""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Connection(app, Shared.of(ConnectionConfig(**CONFIG)), ours).run)
        await theirs.send_all(
            b"GET / HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
            b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n"
        )
        while piece := await theirs.receive_some():
            heard += piece
    assert heard.startswith(b"HTTP/1.1 401 Unauthorized\r\nwww-authenticate: Basic\r\n")
    assert heard.endswith(b"\r\n\r\nwho are you?")
