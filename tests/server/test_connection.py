from __future__ import annotations

import contextlib
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import attrs
import h2.events
import pytest
import trio
import trio.testing
from h2.connection import H2Connection
from hyperframe.frame import GoAwayFrame

from gateway.server.bounds import ConnectionConfig
from gateway.server.connection import Connection, Shared
from tests.server.serving import App

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

CONFIG: Any = {
    "header_timeout": 5.0,
    "body_timeout": 10.0,
    "send_timeout": 10.0,
    "keep_alive": 75.0,
    "max_headers": 32 << 10,
    "max_message": 1 << 20,
    "http2_prior_knowledge": True,
}


@attrs.define
class Peer:
    """A client of one connection in memory."""

    app: App
    stream: Any
    connection: Connection
    shared: Shared
    ended: trio.Event = attrs.field(factory=trio.Event)

    def dismiss(self) -> None:
        self.connection.dismiss("ending")

    async def say(self, text: str) -> None:
        await self.stream.send_all(text.replace("\n", "\r\n").encode())

    async def get(self, path: str) -> None:
        await self.say(f"GET {path} HTTP/1.1\nhost: x\n\n")

    async def hear(self, until: bytes) -> bytes:
        heard = b""
        while not heard.endswith(until):
            piece = await self.stream.receive_some()
            assert piece, f"the connection ended after {heard!r}"
            heard += piece
        return heard

    async def hear_all(self) -> bytes:
        heard = b""
        with contextlib.suppress(trio.BrokenResourceError):
            while piece := await self.stream.receive_some():
                heard += piece
        return heard


@asynccontextmanager
async def connected(*, lockstep: bool = False, **bounds: Any) -> AsyncIterator[Peer]:
    """A client of a connection; what leaves the connection's `run` fails the test."""
    pair = trio.testing.lockstep_stream_pair if lockstep else trio.testing.memory_stream_pair
    ours, theirs = pair()
    config = ConnectionConfig(**{**CONFIG, **bounds})
    app, shared = App(), Shared.of(config)
    peer = Peer(app, theirs, Connection(app, shared, ours), shared)

    async def run() -> None:
        await peer.connection.run()
        peer.ended.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(shared.run)
        nursery.start_soon(run)
        yield peer
        nursery.cancel_scope.cancel()
    assert peer.app.under_way == 0


async def test_requests_are_answered_one_after_the_other() -> None:
    async with connected() as peer:
        for _ in range(3):
            await peer.get("/")
            assert (await peer.hear(b"ok")).startswith(b"HTTP/1.1 200 ")


async def test_the_server_does_not_say_what_it_is() -> None:
    async with connected() as peer:
        await peer.get("/")
        assert b"hypercorn" not in (await peer.hear(b"ok")).lower()


async def test_a_body_is_read() -> None:
    async with connected() as peer:
        await peer.say("POST /echo HTTP/1.1\nhost: x\ncontent-length: 5\n\nhello")
        await peer.hear(b"hello")


@pytest.mark.parametrize(
    ("head", "status"),
    [
        ("POST / HTTP/1.1\nhost: x\ncontent-length: 3\ntransfer-encoding: chunked\n", 400),
        ("POST / HTTP/1.1\nhost: x\nTransfer-Encoding: chunked\nContent-Length: 5\n", 400),
        ("POST / HTTP/1.1\nhost: x\ncontent-length: 5\ncontent-length: 6\n", 400),
        ("POST / HTTP/1.1\nhost: x\ncontent-length: 5, 6\n", 400),
        ("POST / HTTP/1.0\nhost: x\ntransfer-encoding: chunked\n", 400),
        ("POST / HTTP/1.1\nhost: x\ntransfer-encoding: gzip, chunked\n", 501),
        ("CONNECT y:443 HTTP/1.1\nhost: x\n", 501),
        ("TRACE / HTTP/1.1\nhost: x\n", 501),
    ],
)
@pytest.mark.parametrize("body", ["", "0\n\nGET /smuggled HTTP/1.1\nhost: x\n\n"])
async def test_what_may_be_read_in_two_ways_is_refused_and_the_connection_closed(
    head: str, status: int, body: str, autojump_clock: trio.testing.MockClock
) -> None:
    async with connected() as peer:
        await peer.say(f"{head}\n{body}")
        heard = await peer.hear_all()
        assert heard.startswith(b"HTTP/1.1 %d " % status)
        assert b"connection: close" in heard.lower()
        assert heard.count(b"HTTP/1.1 ") == 1
        await peer.ended.wait()
    assert trio.current_time() < 2


@pytest.mark.parametrize("path", ["/exit", "/raise", "/group"])
async def test_a_handler_that_fails_fails_its_request_alone(
    path: str, autojump_clock: trio.testing.MockClock
) -> None:
    async with connected() as peer:
        await peer.get(path)
        assert (await peer.hear_all()).startswith(b"HTTP/1.1 500 ")
        await peer.ended.wait()


async def test_a_half_answer_is_cut_not_completed() -> None:
    async with connected() as peer:
        await peer.get("/half")
        assert (await peer.hear_all()).endswith(b"\r\n\r\nhalf")


async def test_an_interrupt_passes() -> None:
    class Interrupted(App):
        async def http(self, scope: Any, receive: Any, send: Any) -> None:
            raise KeyboardInterrupt

    ours, theirs = trio.testing.memory_stream_pair()
    await theirs.send_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    config = ConnectionConfig(**CONFIG)
    with pytest.raises(KeyboardInterrupt):
        await Connection(Interrupted(), Shared.of(config), ours).run()


async def test_the_clients_leaving_ends_its_request(autojump_clock: trio.testing.MockClock) -> None:
    async with connected() as peer:
        await peer.get("/hang")
        await trio.testing.wait_all_tasks_blocked()
        began = trio.current_time()
        await peer.stream.aclose()
        await peer.ended.wait()
        assert trio.current_time() == began
        assert peer.app.story == ["left", "hang over"]


async def test_an_idle_connection_that_its_client_closes_ends_at_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with connected() as peer:
        await peer.get("/")
        await peer.hear(b"ok")
        await peer.stream.aclose()
        await peer.ended.wait()
        assert trio.current_time() == 0


async def test_an_idle_connection_ends_after_keep_alive(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with connected() as peer:
        await peer.get("/")
        await peer.hear(b"ok")
        await peer.ended.wait()
        assert trio.current_time() == 75


async def test_a_connection_that_says_nothing_ends_after_keep_alive(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with connected() as peer:
        await peer.ended.wait()
        assert trio.current_time() == 75


async def test_a_head_must_come_whole_in_its_time(autojump_clock: trio.testing.MockClock) -> None:
    async with connected() as peer:
        await trio.sleep(20)
        for text in ("GET /", " HTTP/1.1\n", "host: x\n", "a: b\n"):
            await peer.say(text)
            await trio.sleep(1)
        assert not peer.ended.is_set()
        assert (await peer.hear_all()).startswith(b"HTTP/1.1 408 ")
        assert trio.current_time() == 25


async def test_the_next_head_has_its_time_too(autojump_clock: trio.testing.MockClock) -> None:
    async with connected() as peer:
        await peer.get("/")
        await peer.hear(b"ok")
        await trio.sleep(20)
        await peer.say("GET / HT")
        assert (await peer.hear_all()).startswith(b"HTTP/1.1 408 ")
        assert trio.current_time() == 25


async def test_a_body_may_take_longer_than_a_head(autojump_clock: trio.testing.MockClock) -> None:
    async with connected() as peer:
        await peer.say("POST /echo HTTP/1.1\nhost: x\ncontent-length: 4\n\n")
        for letter in "slow":
            await trio.sleep(4)
            await peer.say(letter)
        await peer.hear(b"slow")


async def test_a_head_that_never_ends_is_too_large() -> None:
    async with connected(max_headers=1000) as peer:
        await peer.say("GET / HTTP/1.1\nhost: x\na: " + "b" * 2000)
        assert (await peer.hear_all()).startswith(b"HTTP/1.1 431 ")


async def test_a_client_that_does_not_read_is_dropped_and_its_request_ends(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with connected(lockstep=True) as peer:
        await peer.get("/big")
        await peer.ended.wait()
        assert trio.current_time() == 10
        assert peer.app.under_way == 0


async def test_a_client_that_reads_slowly_is_served(autojump_clock: trio.testing.MockClock) -> None:
    async with connected(lockstep=True) as peer:
        await peer.get("/big")
        heard = 0
        while heard < 3 << 20:
            await trio.sleep(5)
            heard += len(await peer.stream.receive_some(1 << 20))
        assert not peer.ended.is_set()


async def test_pipelined_requests_do_not_keep_a_dropped_connection(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with connected(lockstep=True) as peer:
        await peer.say("GET /big HTTP/1.1\nhost: x\n\nGET / HTTP/1.1\nhost: x\n\n")
        await peer.ended.wait()
        assert trio.current_time() == 10


async def test_an_unread_body_holds_nothing_up(autojump_clock: trio.testing.MockClock) -> None:
    async with connected() as peer:
        await peer.say("POST / HTTP/1.1\nhost: x\ntransfer-encoding: chunked\n\n")
        for _ in range(100):
            await peer.say("1\na\n")
        heard = await peer.hear(b"ok")
        assert heard.startswith(b"HTTP/1.1 200 ")
        await peer.ended.wait()
        # Read on for a moment, so that the answer is not lost to a reset.
        assert trio.current_time() == 1


async def test_a_connection_may_be_cancelled_while_its_client_does_not_read(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with connected(lockstep=True) as peer:
        await peer.get("/big")
        await trio.testing.wait_all_tasks_blocked()
    assert trio.current_time() == 0


async def test_a_send_that_was_cut_short_closes_the_connection(
    autojump_clock: trio.testing.MockClock,
) -> None:
    class Cut(App):
        async def http(self, scope: Any, receive: Any, send: Any) -> None:
            start = {"type": "http.response.start", "status": 200, "headers": []}
            with trio.move_on_after(1):
                await send(start)
                await send({"type": "http.response.body", "body": b"x" * 1000, "more_body": True})
            await send({"type": "http.response.body", "body": b"more"})

    ours, theirs = trio.testing.lockstep_stream_pair()
    config = ConnectionConfig(**CONFIG)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Connection(Cut(), Shared.of(config), ours).run)
        await theirs.send_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        await theirs.receive_some(100)
    assert trio.current_time() == 1
    rest = b""
    with contextlib.suppress(trio.BrokenResourceError):
        while piece := await theirs.receive_some():
            rest += piece
    assert b"more" not in rest


async def test_dismissal_closes_what_is_idle_and_lets_answers_end(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with connected() as idle, connected() as busy:
        await idle.get("/")
        await idle.hear(b"ok")
        await busy.get("/pause")
        await trio.testing.wait_all_tasks_blocked()
        idle.dismiss()
        busy.dismiss()
        await idle.ended.wait()
        assert trio.current_time() == 0
        assert (await busy.hear_all()).endswith(b"paused")
        await busy.stream.aclose()
        await busy.ended.wait()
        assert trio.current_time() == 0.3


async def test_a_client_that_has_just_connected_may_still_ask_when_dismissed(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with connected() as asks, connected() as silent:
        await trio.testing.wait_all_tasks_blocked()
        for peer in (asks, silent):
            peer.dismiss()
        await trio.sleep(0.5)
        await asks.get("/pause")
        heard = await asks.hear(b"paused")
        assert b"connection: close" in heard.lower()
        await silent.ended.wait()
        assert trio.current_time() == 1


async def test_after_the_disconnect_receive_says_so_again() -> None:
    seen: list[str] = []

    class Asks(App):
        async def http(self, scope: Any, receive: Any, send: Any) -> None:
            seen.extend([(await receive())["type"] for _ in range(4)])

    ours, theirs = trio.testing.memory_stream_pair()
    config = ConnectionConfig(**CONFIG)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Connection(Asks(), Shared.of(config), ours).run)
        await theirs.send_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        await trio.testing.wait_all_tasks_blocked()
        await theirs.aclose()
    assert seen == ["http.request"] + ["http.disconnect"] * 3


async def test_no_upgrade_to_http2_in_clear() -> None:
    async with connected() as peer:
        await peer.say(
            "GET / HTTP/1.1\nhost: x\nconnection: upgrade, http2-settings\n"
            "upgrade: h2c\nhttp2-settings: AAMAAABkAAQAAP__\n\n"
        )
        assert (await peer.hear(b"ok")).startswith(b"HTTP/1.1 200 ")


class Http2:
    """A client's side of HTTP/2."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.connection = H2Connection()
        self.connection.initiate_connection()
        self.ended: dict[int, bytes] = {}
        self.statuses: dict[int, bytes] = {}
        self.bodies: dict[int, bytes] = {}

    async def get(self, path: str, *, end: bool = True) -> int:
        stream: int = self.connection.get_next_available_stream_id()
        fields = {":method": "GET", ":scheme": "http", ":authority": "x", ":path": path}
        self.connection.send_headers(stream, list(fields.items()), end_stream=end)
        await self.flush()
        return stream

    @classmethod
    def opening(cls, paths: list[str]) -> bytes:
        """What a client sends that asks for `paths` at once."""
        connection = H2Connection()
        connection.initiate_connection()
        for path in paths:
            fields = {":method": "GET", ":scheme": "http", ":authority": "x", ":path": path}
            stream = connection.get_next_available_stream_id()
            connection.send_headers(stream, list(fields.items()), end_stream=True)
        return connection.data_to_send()

    async def flush(self) -> None:
        await self.peer.stream.send_all(self.connection.data_to_send())

    async def hear(self, stream: int) -> tuple[bytes, bytes]:
        while stream not in self.ended:
            data = await self.peer.stream.receive_some()
            assert data, "the connection ended"
            for event in self.connection.receive_data(data):
                self.take(event)
            await self.flush()
        return self.statuses[stream], self.bodies.get(stream, b"")

    def take(self, event: Any) -> None:
        if isinstance(event, h2.events.ResponseReceived):
            self.statuses[event.stream_id] = dict(event.headers)[b":status"]
        elif isinstance(event, h2.events.DataReceived):
            body = self.bodies.get(event.stream_id, b"") + event.data
            self.bodies[event.stream_id] = body
            self.connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            self.ended[event.stream_id] = b""


async def test_on_http2_a_handler_that_fails_fails_its_request_alone() -> None:
    async with connected() as peer:
        client = Http2(peer)
        hanging = await client.get("/hang")
        status, body = await client.hear(await client.get("/exit"))
        assert (status, json.loads(body)["code"]) == (b"500", "internal")
        assert await client.hear(await client.get("/")) == (b"200", b"ok")
        assert hanging not in client.ended
        await peer.stream.aclose()
        await peer.ended.wait()
        assert peer.app.story == ["left", "hang over"]


async def test_on_http2_an_early_answer_costs_no_other_stream() -> None:
    async with connected() as peer:
        client = Http2(peer)
        upload = await client.get("/", end=False)
        assert await client.hear(upload) == (b"200", b"ok")
        for _ in range(8):
            client.connection.send_data(upload, bytes(1 << 10))
            await client.flush()
        assert await client.hear(await client.get("/")) == (b"200", b"ok")


async def test_on_http2_a_reset_ends_its_request_alone() -> None:
    async with connected() as peer:
        client = Http2(peer)
        hanging = await client.get("/hang")
        await trio.testing.wait_all_tasks_blocked()
        client.connection.reset_stream(hanging)
        await client.flush()
        assert await client.hear(await client.get("/")) == (b"200", b"ok")
        assert peer.app.story == ["left", "hang over"]


async def test_on_http2_leaving_in_the_middle_of_an_answer_ends_it() -> None:
    async with connected() as peer:
        client = Http2(peer)
        await client.get("/big")
        await trio.testing.wait_all_tasks_blocked()
        assert peer.app.under_way == 1
        await peer.stream.aclose()
        await peer.ended.wait()
        assert peer.app.under_way == 0


async def test_an_http2_connection_without_requests_is_idle(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with connected() as peer:
        client = Http2(peer)
        await client.hear(await client.get("/"))
        heard = await peer.hear_all()
        assert heard == GoAwayFrame(0, last_stream_id=1).serialize()
        assert trio.current_time() == 75


async def test_a_dismissed_http2_connection_ends_after_its_answer(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with connected() as peer:
        client = Http2(peer)
        pause = await client.get("/pause")
        await trio.testing.wait_all_tasks_blocked()
        peer.dismiss()
        assert await client.hear(pause) == (b"200", b"paused")
        await peer.stream.aclose()
        await peer.ended.wait()
        assert trio.current_time() == 0.3


class CancelAt(trio.abc.Instrument):
    """Cancels `scope` before the `step`th step of any task."""

    def __init__(self, scope: trio.CancelScope, step: int) -> None:
        self.scope = scope
        self.steps_left = step

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.steps_left -= 1
        if self.steps_left == 0:
            self.scope.cancel()


async def cancelled_at(step: int, request: bytes) -> bool:
    """Whether a connection that is cancelled at `step` was over before; nothing is left of it."""
    ours, theirs = trio.testing.memory_stream_pair()
    app, shared = App(), Shared.of(ConnectionConfig(**CONFIG))
    connection = Connection(app, shared, ours)
    await theirs.send_all(request)
    await theirs.send_eof()
    with trio.CancelScope() as scope:
        instrument = CancelAt(scope, step)
        trio.lowlevel.add_instrument(instrument)
        try:
            await connection.run()
        finally:
            trio.lowlevel.remove_instrument(instrument)
    assert app.under_way == 0
    heard = await Peer(app, theirs, connection, shared).hear_all()
    if not scope.cancelled_caught:
        assert heard
    return not scope.cancelled_caught


HTTP2_REQUESTS = Http2.opening(["/", "/hang", "/exit"])


@pytest.mark.parametrize(
    "request_bytes",
    [b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello", HTTP2_REQUESTS],
    ids=["http1", "http2"],
)
async def test_it_may_be_cancelled_at_every_step(
    request_bytes: bytes, autojump_clock: trio.testing.MockClock
) -> None:
    step = 1
    while not await cancelled_at(step, request_bytes):
        step += 1
        assert step < 500
    assert step > 10
