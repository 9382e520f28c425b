"""What one HTTP/2 client may cost, and that its streams do not hold each other up."""

from __future__ import annotations

import struct
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import attrs
import h2.events
import hpack
import pytest
import trio
import trio.testing
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    ExtensionFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from gateway.net.asgi import peer_of, read_body, respond, while_connected
from gateway.server.bounds import ConnectionConfig
from gateway.server.connection import Connection, Shared
from tests.server.serving import hang

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

CONFIG: Any = {
    "header_timeout": 5.0,
    "body_timeout": 10.0,
    "send_timeout": 10.0,
    "keep_alive": 75.0,
    "max_headers": 16 << 10,
    "max_message": 1 << 20,
    "http2_prior_knowledge": True,
}
OPENING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SettingsFrame(0).serialize()
ACK = SettingsFrame(0, flags=["ACK"]).serialize()
FIELDS = {b":method": b"GET", b":scheme": b"http", b":authority": b"x", b":path": b"/"}


def headers(stream: int, *, end: bool = True, **pseudo: bytes) -> bytes:
    fields = FIELDS | {b":" + name.encode(): value for name, value in pseudo.items()}
    return raw_headers(stream, list(fields.items()), end=end)


def raw_headers(stream: int, fields: list[tuple[bytes, bytes]], *, end: bool = True) -> bytes:
    block = hpack.Encoder().encode([hpack.NeverIndexedHeaderTuple(*field) for field in fields])
    flags = ["END_HEADERS", "END_STREAM"] if end else ["END_HEADERS"]
    return HeadersFrame(stream, data=block, flags=flags).serialize()


class App:
    """Answers by path, and counts."""

    def __init__(self) -> None:
        self.under_way = 0
        self.most = 0
        self.story: list[Any] = []
        self.go = trio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            await self.answer(scope, receive, send)
        finally:
            self.under_way -= 1

    async def answer(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: C901 - a table
        match scope["path"]:
            case "/stubborn":  # goes on for a while after its client has left
                await self.go.wait()
            case "/hang":
                await while_connected(scope, receive, hang)
            case "/unread":
                await self.go.wait()
                self.story.append((await receive())["type"])
            case "/receive":
                while (await receive())["type"] == "http.request":
                    pass
                self.story.append(trio.current_time())
            case "/echo":
                await respond(
                    send, 200, [], await read_body(receive, max_bytes=1 << 20, timeout_s=60)
                )
            case "/big":
                await respond(send, 200, [], bytes(1 << 20))
            case "/scope":
                peer = peer_of(scope)
                assert peer is not None
                self.story.append((scope, peer.body_at_hand()))
                await respond(send, 200, [])
            case "/late":
                headers = [(b"content-length", b"9")]
                await send({"type": "http.response.start", "status": 200, "headers": headers})
                await send({"type": "http.response.body", "body": b""})
            case "/short":
                start = {"type": "http.response.start", "status": 200, "headers": []}
                await send(start)
                await send({"type": "http.response.body", "body": b"half", "more_body": True})
            case _:
                await respond(send, 200, [("connection", "close"), ("x-upper", "Y")], b"ok")


@attrs.define
class Client:
    """Frames in, events out."""

    app: App
    stream: Any
    connection: Connection
    ended: trio.Event = attrs.field(factory=trio.Event)
    h2: H2Connection = attrs.field(factory=H2Connection)
    statuses: dict[int, bytes] = attrs.field(factory=dict)
    bodies: dict[int, bytes] = attrs.field(factory=dict)
    whole: set[int] = attrs.field(factory=set)
    resets: dict[int, int] = attrs.field(factory=dict)
    goodbye: ErrorCodes | int | None = None

    async def say(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def open(self) -> None:
        """Begin, as our `h2` does, which then reads everything."""
        self.h2.initiate_connection()
        self.h2.data_to_send()
        await self.say(OPENING + ACK)

    async def hear(self, until: Callable[[Client], Any]) -> None:
        """Read on until a condition holds, or the connection ends."""
        while not until(self):
            data = await self.stream.receive_some()
            if not data:
                break
            for event in self.h2.receive_data(data):
                self.take(event)

    async def hear_all(self) -> None:
        await self.hear(lambda _: False)

    def take(self, event: Any) -> None:
        match event:
            case h2.events.ResponseReceived():
                self.statuses[event.stream_id] = dict(event.headers)[b":status"]
            case h2.events.DataReceived():
                self.bodies[event.stream_id] = self.bodies.get(event.stream_id, b"") + event.data
            case h2.events.StreamEnded():
                self.whole.add(event.stream_id)
            case h2.events.StreamReset():
                self.resets[event.stream_id] = event.error_code
            case h2.events.ConnectionTerminated():
                self.goodbye = event.error_code

    async def ask(self, stream: int, **pseudo: bytes) -> bytes:
        """The status of a request."""
        self.register(stream)
        await self.say(headers(stream, **pseudo))
        await self.hear(lambda client: stream in client.whole)
        return self.statuses[stream]

    async def widen(self, more: int, stream: int | None = None) -> None:
        """Let the server send `more` bytes, on the connection and on `stream`."""
        self.h2.increment_flow_control_window(more)
        if stream is not None:
            self.h2.increment_flow_control_window(more, stream)
        await self.say(self.h2.data_to_send())

    def register(self, stream: int, *, end: bool = True) -> None:
        """Have our `h2` expect an answer on `stream`."""
        self.h2.send_headers(stream, [(k.decode(), v.decode()) for k, v in FIELDS.items()], end)
        self.h2.data_to_send()


@asynccontextmanager
async def connected(**bounds: Any) -> AsyncIterator[Client]:
    """A client of a connection; what leaves the connection's `run` fails the test."""
    ours, theirs = trio.testing.memory_stream_pair()
    app, shared = App(), Shared.of(ConnectionConfig(**CONFIG | bounds))
    client = Client(app, theirs, Connection(app, shared, ours))

    async def run() -> None:
        await client.connection.run()
        client.ended.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(shared.run)
        nursery.start_soon(run)
        await client.open()
        yield client
        nursery.cancel_scope.cancel()
    assert app.under_way == 0


# ---------------------------------------------------------------------- floods


def opened_and_reset(count: int, path: bytes) -> bytes:
    return b"".join(
        headers(number, path=path) + RstStreamFrame(number, error_code=8).serialize()
        for number in range(1, 2 * count, 2)
    )


async def test_handlers_are_as_many_as_streams_whatever_is_reset() -> None:
    """CVE-2023-44487: the handlers of reset streams that run on count."""
    async with connected() as client:
        for number in range(1, 200, 2):
            client.register(number)
            await client.say(headers(number, path=b"/stubborn"))
        for number in range(1, 120, 2):
            client.h2.reset_stream(number)
        await client.say(client.h2.data_to_send())
        await trio.testing.wait_all_tasks_blocked()
        assert client.app.under_way == 100
        client.register(201)
        await client.say(headers(201))
        await client.hear(lambda heard: heard.resets)
        assert client.resets == {201: ErrorCodes.REFUSED_STREAM}
        assert client.app.most == 100
        client.app.go.set()
        await trio.testing.wait_all_tasks_blocked()
        assert await client.ask(203) == b"200"


async def test_too_many_resets_end_the_connection(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with connected() as client:
        await client.say(opened_and_reset(1000, b"/hang"))
        await client.hear_all()
        assert client.goodbye == ErrorCodes.ENHANCE_YOUR_CALM
        assert client.app.most <= 100


async def test_resets_that_are_provoked_count_too(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """CVE-2025-8671: the client has the server reset its streams."""
    async with connected() as client:
        overflow = {n: WindowUpdateFrame(n, window_increment=2**31 - 1) for n in range(1, 999, 2)}
        await client.say(
            b"".join(headers(n, path=b"/receive") + overflow[n].serialize() for n in overflow)
        )
        heard = b""
        while piece := await client.stream.receive_some():
            heard += piece
        assert heard.endswith(struct.pack("!I", ErrorCodes.ENHANCE_YOUR_CALM))
        assert client.app.most <= 100


@pytest.mark.parametrize("agreed", [True, False])
async def test_a_dismissed_connection_that_is_idle_ends_in_order(agreed: bool) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    connection = Connection(App(), Shared.of(ConnectionConfig(**CONFIG)), ours)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.run)
        await theirs.send_all(OPENING + ACK if agreed else OPENING)
        await trio.testing.wait_all_tasks_blocked()
        connection.dismiss("ending")
        heard = b""
        while piece := await theirs.receive_some():
            heard += piece
        assert heard.endswith(struct.pack("!I", ErrorCodes.NO_ERROR))
        await theirs.aclose()


async def test_who_is_answered_may_reset_more() -> None:
    async with connected() as client:
        for number in range(1, 400, 4):
            assert await client.ask(number) == b"200"
            await client.say(headers(number + 2) + RstStreamFrame(number + 2).serialize())
            await client.say(RstStreamFrame(number + 2).serialize())
        assert client.goodbye is None


FLOODS = {
    "SETTINGS": SettingsFrame(0).serialize(),
    "acknowledged SETTINGS": ACK,
    "PING": PingFrame(0, opaque_data=b"12345678").serialize(),
    "PRIORITY": PriorityFrame(3, stream_weight=9).serialize(),
    "WINDOW_UPDATE": WindowUpdateFrame(1, window_increment=1).serialize(),
    "WINDOW_UPDATE of the connection": WindowUpdateFrame(0, window_increment=1).serialize(),
    "empty DATA": DataFrame(1).serialize(),
    "DATA of one byte": DataFrame(1, data=b"x").serialize(),
    "unknown frames": ExtensionFrame(type=0xBA, stream_id=0, body=b"").serialize(),
    "RST_STREAM of one stream": RstStreamFrame(1).serialize(),
}


@pytest.mark.parametrize("kind", FLOODS)
async def test_a_flood_ends_its_connection(
    kind: str, autojump_clock: trio.testing.MockClock
) -> None:
    async with connected() as client:
        client.register(1, end=False)
        await client.say(headers(1, end=False, path=b"/hang") + FLOODS[kind] * 5000)
        await client.hear_all()
        assert client.goodbye == ErrorCodes.ENHANCE_YOUR_CALM
        await client.stream.aclose()
        await client.ended.wait()
        assert client.app.under_way == 0


# Nobody resets one stream again and again.
@pytest.mark.parametrize("kind", sorted(FLOODS.keys() - {"RST_STREAM of one stream"}))
async def test_what_is_a_flood_at_once_is_none_in_time(
    kind: str, autojump_clock: trio.testing.MockClock
) -> None:
    async with connected() as client:
        client.register(1, end=False)
        await client.say(headers(1, end=False, path=b"/hang"))
        for _ in range(40):
            await client.say(FLOODS[kind] * 50)
            await trio.sleep(1)
        client.h2.clear_outbound_data_buffer()
        assert await client.ask(3) == b"200"


async def test_a_header_block_in_very_many_pieces_ends_the_connection(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """CVE-2024-27316."""
    async with connected() as client:
        empty = ContinuationFrame(1).serialize()
        await client.say(HeadersFrame(1, flags=["END_STREAM"]).serialize() + empty * 5000)
        await client.hear_all()
        assert client.goodbye is not None
        assert client.app.most == 0


async def test_a_header_block_that_is_too_large_ends_the_connection(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with connected() as client:
        piece = ContinuationFrame(1, data=b"\x00\x01a\x7f\x80\x7f" + bytes(10_000)).serialize()
        await client.say(HeadersFrame(1, data=b"\x82").serialize() + piece * 3)
        await client.hear_all()
        assert client.goodbye == ErrorCodes.ENHANCE_YOUR_CALM


async def test_a_header_bomb_ends_the_connection(autojump_clock: trio.testing.MockClock) -> None:
    """A field of 4,000 bytes, indexed, then told a thousand times in a byte each."""
    async with connected() as client:
        encoder = hpack.Encoder()
        block = encoder.encode([*FIELDS.items(), (b"a", b"x" * 4000)])
        bomb = encoder.encode([(b"a", b"x" * 4000)]) * 1000
        flags = ["END_HEADERS", "END_STREAM"]
        await client.say(HeadersFrame(1, data=block + bomb, flags=flags).serialize())
        await client.hear_all()
        assert client.goodbye == ErrorCodes.ENHANCE_YOUR_CALM
        assert client.app.most == 0


# ---------------------------------------------------------------------- time


async def test_a_header_block_must_end_in_its_time(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with connected() as client:
        await client.ask(1)
        await trio.sleep(20)
        await client.say(HeadersFrame(3, data=b"\x82").serialize())
        for _ in range(4):
            await trio.sleep(1)
            await client.say(ContinuationFrame(3, data=b"\x84").serialize())
        await client.hear_all()
        assert trio.current_time() == 25
        assert client.goodbye == ErrorCodes.ENHANCE_YOUR_CALM


@pytest.mark.parametrize("said", [OPENING[:20], OPENING[:24], OPENING, OPENING + headers(1)])
async def test_settings_must_be_agreed_on_in_time(
    said: bytes, autojump_clock: trio.testing.MockClock
) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    connection = Connection(App(), Shared.of(ConnectionConfig(**CONFIG)), ours)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.run)
        await theirs.send_all(said)
        heard = b""
        while piece := await theirs.receive_some():
            heard += piece
        assert heard.endswith(struct.pack("!I", ErrorCodes.SETTINGS_TIMEOUT))
        assert trio.current_time() == 5
        await theirs.aclose()


async def test_pings_do_not_keep_an_idle_connection(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with connected() as client:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.hear_all)
            while client.goodbye is None:
                await client.say(FLOODS["PING"])
                await trio.sleep(10)
        assert client.goodbye == ErrorCodes.NO_ERROR
        assert 75 <= trio.current_time() <= 90


async def test_a_body_that_stops_is_answered_with_408(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with connected() as client:
        client.register(1, end=False)
        await client.say(headers(1, end=False, path=b"/receive"))
        await client.hear(lambda heard: heard.whole)
        assert client.statuses == {1: b"408"}
        assert trio.current_time() == 10


# ---------------------------------------------------------------------- streams beside each other


async def test_an_unread_upload_holds_nobody_up() -> None:
    async with connected() as client:
        piece = bytes(16_384)
        for number in (1, 3, 5):
            client.register(number, end=False)
            sent = DataFrame(number, data=piece).serialize() * 3
            await client.say(headers(number, end=False, path=b"/unread") + sent)
        client.register(7, end=False)
        await client.say(headers(7, end=False, path=b"/echo"))
        for _ in range(10):  # more than a connection's window would be by default
            await client.say(DataFrame(7, data=piece).serialize())
            await trio.testing.wait_all_tasks_blocked()
        await client.say(DataFrame(7, data=b"end", flags=["END_STREAM"]).serialize())
        await client.widen(1 << 20, 7)
        await client.hear(lambda heard: 7 in heard.whole)
        assert len(client.bodies[7]) == 10 * len(piece) + 3


async def test_more_than_a_streams_window_is_not_kept(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with connected() as client:
        sent = DataFrame(1, data=bytes(16_384)).serialize() * 5
        await client.say(headers(1, end=False, path=b"/unread") + sent)
        await client.hear_all()
        assert client.goodbye == ErrorCodes.FLOW_CONTROL_ERROR


async def test_who_reads_no_answer_loses_it_alone(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with connected() as client:
        client.register(1)
        await client.say(headers(1, path=b"/big"))
        # Its window is as large as the connection's: that one is given more.
        await client.widen(1 << 20)
        assert await client.ask(3) == b"200"
        await client.hear(lambda heard: heard.resets)
        assert client.resets == {1: ErrorCodes.CANCEL}
        assert trio.current_time() == 10
        assert await client.ask(5) == b"200"


async def test_who_reads_a_byte_now_and_then_reads_nothing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with connected() as client:
        client.register(1)
        await client.say(headers(1, path=b"/big"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.hear, lambda heard: heard.resets)
            for _ in range(3):
                await trio.sleep(3)
                await client.widen(1, 1)
        assert client.resets == {1: ErrorCodes.CANCEL}
        assert trio.current_time() == 10


async def test_a_cancelled_answer_is_reset_and_others_go_on() -> None:
    async with connected() as client:
        client.register(1)
        await client.say(headers(1, path=b"/short"))
        assert await client.ask(3) == b"200"
        await client.hear(lambda heard: heard.resets)
        assert client.resets == {1: ErrorCodes.INTERNAL_ERROR}
        assert client.bodies == {1: b"half", 3: b"ok"}


@pytest.mark.parametrize("body", [b"", bytes(30_000)])
@pytest.mark.parametrize("leaves", ["reset", "close"])
async def test_a_clients_leaving_is_told_at_once(
    body: bytes, leaves: str, autojump_clock: trio.testing.MockClock
) -> None:
    async with connected() as client:
        data = b"".join(
            DataFrame(number, data=body[at : at + 15_000]).serialize()
            for number in (1, 3, 5)
            for at in range(0, len(body), 15_000)
        )
        for number, path in ((1, b"/hang"), (3, b"/unread"), (5, b"/receive")):
            await client.say(headers(number, end=False, path=path))
        await client.say(data)
        await trio.sleep(1)
        if leaves == "reset":
            for number in (1, 3, 5):
                await client.say(RstStreamFrame(number).serialize())
        else:
            await client.stream.aclose()
        await trio.testing.wait_all_tasks_blocked()
        client.app.go.set()
        await trio.testing.wait_all_tasks_blocked()
        assert client.app.under_way == 0
        assert client.app.story == [1.0, "http.disconnect"]


async def test_a_body_that_is_there_is_at_hand() -> None:
    async with connected() as client:
        client.register(1, end=False)
        data = DataFrame(1, data=b"body", flags=["END_STREAM"]).serialize()
        await client.say(headers(1, end=False, path=b"/scope", authority=b"Example:80") + data)
        await client.hear(lambda heard: heard.whole)
        scope, body = client.app.story[0]
        assert body == b"body"
        assert scope["http_version"] == "2"
        assert scope["headers"] == [(b"host", b"Example:80")]


# ---------------------------------------------------------------------- requests that are none

GOOD = list(FIELDS.items())
MALFORMED = {
    "no path": [field for field in GOOD if field[0] != b":path"],
    "an empty path": [*GOOD[:3], (b":path", b"")],
    "a relative path": [*GOOD[:3], (b":path", b"a")],
    "a star for a path": [*GOOD[:3], (b":path", b"*")],
    "a path with a space": [*GOOD[:3], (b":path", b"/a b")],
    "a path with a fragment": [*GOOD[:3], (b":path", b"/a#b")],
    "a path that is not ASCII": [*GOOD[:3], (b":path", b"/caf\xc3\xa9")],
    "a path with a line break": [*GOOD[:3], (b":path", b"/\r\nx: y")],
    "a method that is none": [(b":method", b"G T"), *GOOD[1:]],
    "a method that is not ASCII": [(b":method", b"G\xc3\x89T"), *GOOD[1:]],
    "two methods": [(b":method", b"GET"), *GOOD],
    "another scheme": [GOOD[0], (b":scheme", b"ftp"), *GOOD[2:]],
    "no host": [GOOD[0], GOOD[1], GOOD[3]],
    "an empty host": [GOOD[0], GOOD[1], (b":authority", b""), GOOD[3]],
    "a host with a user": [GOOD[0], GOOD[1], (b":authority", b"a@b"), GOOD[3]],
    "a host with a port over 65535": [GOOD[0], GOOD[1], (b":authority", b"x:99999"), GOOD[3]],
    "two hosts": [*GOOD, (b"host", b"y")],
    "a pseudo-header field too late": [*GOOD[:3], (b"a", b"b"), GOOD[3]],
    "an unknown pseudo-header field": [*GOOD, (b":protocol", b"websocket")],
    "a name in upper case": [*GOOD, (b"Accept", b"*/*")],
    "an empty name": [*GOOD, (b"", b"a")],
    "a name with a space": [*GOOD, (b"a b", b"c")],
    "a value with a line break": [*GOOD, (b"a", b"b\r\nc: d")],
    "a value with a NUL": [*GOOD, (b"a", b"b\0")],
    "a value with a control character": [*GOOD, (b"a", b"b\x01")],
    "white space around a value": [*GOOD, (b"a", b" b")],
    "connection": [*GOOD, (b"connection", b"close")],
    "keep-alive": [*GOOD, (b"keep-alive", b"1")],
    "proxy-connection": [*GOOD, (b"proxy-connection", b"close")],
    "transfer-encoding": [*GOOD, (b"transfer-encoding", b"chunked")],
    "upgrade": [*GOOD, (b"upgrade", b"h2c")],
    "te that is not trailers": [*GOOD, (b"te", b"gzip")],
}


@pytest.mark.parametrize("what", MALFORMED)
async def test_a_malformed_request_is_reset_and_others_go_on(what: str) -> None:
    async with connected() as client:
        client.register(1)
        await client.say(raw_headers(1, MALFORMED[what]))
        assert await client.ask(3) == b"200"
        assert client.resets == {1: ErrorCodes.PROTOCOL_ERROR}
        assert client.app.most == 1


@pytest.mark.parametrize(
    "method", [b"CONNECT", b"TRACE", b"FOO", b"get", b"Trace", b"PLAY", b"PRI", b"A" * 5000]
)
async def test_a_method_that_is_not_served_over_http_1_is_not_either(method: bytes) -> None:
    async with connected() as client:
        assert await client.ask(1, method=method) == b"501"
        assert client.app.most == 0


@pytest.mark.parametrize("method", [b"OPTIONS", b"PROPFIND", b"PURGE", b"M-SEARCH"])
async def test_one_that_is_served_there_is_here_too(method: bytes) -> None:
    async with connected() as client:
        assert await client.ask(1, method=method) == b"200"


async def test_a_star_asks_of_the_server_as_a_whole() -> None:
    async with connected() as client:
        assert await client.ask(1, method=b"OPTIONS", path=b"*") == b"200"


async def test_a_port_may_be_empty() -> None:
    async with connected() as client:
        assert await client.ask(1, authority=b"x:") == b"200"


async def test_trailers_are_checked_and_dropped() -> None:
    async with connected() as client:
        for number, trailer in ((1, (b"a", b"b")), (3, (b":path", b"/")), (5, (b"A", b"b"))):
            client.register(number, end=False)
            await client.say(headers(number, end=False, path=b"/echo"))
            await client.say(raw_headers(number, [trailer]))
        await client.hear(lambda heard: heard.whole and len(heard.resets) == 2)
        assert client.whole == {1}
        assert client.resets == dict.fromkeys((3, 5), ErrorCodes.PROTOCOL_ERROR)


# ---------------------------------------------------------------------- the end


async def test_a_dismissed_connection_ends_what_it_has_and_refuses_more(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with connected() as client:
        client.register(1, end=False)
        await client.say(headers(1, end=False, path=b"/echo"))
        await trio.testing.wait_all_tasks_blocked()
        client.connection.dismiss("restarting")
        client.register(3)
        await client.say(headers(3))
        await client.hear(lambda heard: heard.resets)
        assert client.resets == {3: ErrorCodes.REFUSED_STREAM}
        await client.say(DataFrame(1, data=b"body", flags=["END_STREAM"]).serialize())
        await client.hear_all()
        assert client.bodies == {1: b"body"}
        assert client.goodbye == ErrorCodes.NO_ERROR


async def test_a_client_may_hold_its_body_back_until_it_is_asked_for() -> None:
    async with connected() as client:
        client.register(1, end=False)
        fields = [*FIELDS.items(), (b"expect", b"100-continue")]
        fields[3] = (b":path", b"/echo")
        await client.say(raw_headers(1, fields, end=False))
        informed: list[Any] = []
        while not informed:
            events = client.h2.receive_data(await client.stream.receive_some())
            informed = [e for e in events if isinstance(e, h2.events.InformationalResponseReceived)]
        await client.say(DataFrame(1, data=b"body", flags=["END_STREAM"]).serialize())
        await client.hear(lambda heard: heard.whole)
        assert client.bodies == {1: b"body"}


@pytest.mark.parametrize("path", [b"/late", b"/big"])
async def test_heads_have_no_body(path: bytes) -> None:
    async with connected() as client:
        client.h2.send_headers(1, [(k.decode(), v.decode()) for k, v in FIELDS.items()], True)
        await client.say(headers(1, method=b"HEAD", path=path))
        await client.hear(lambda heard: heard.whole)
        assert client.statuses == {1: b"200"}
        assert client.bodies == {}


async def test_an_answer_that_is_not_as_long_as_it_says_is_none() -> None:
    async with connected() as client:
        client.register(1)
        await client.say(headers(1, path=b"/late"))
        await client.hear(lambda heard: heard.whole or heard.resets)
        assert client.statuses == {1: b"500"}
