"""WebSocket services behind a tool: own connections, a shared one, subscriptions."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.testing
import wsproto
from trio.testing import MockClock
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Ping,
    RejectConnection,
    Request,
    TextMessage,
)
from wsproto.utilities import LocalProtocolError

from gateway.app import Gateway, create_app
from gateway.config.problems import ConfigError
from gateway.core.errors import DeadlineExceeded, GatewayError, Rejected, Unreachable
from gateway.core.messages import Chunk, Partial
from tests.apps import request
from tests.network import Network, network

Hear = Callable[[Callable[[Any], Awaitable[None]], Any], Awaitable[None]]


class Server:
    """A WebSocket service: each message of a client is taken by `hear`.

    Args:
        hear: Is given a way to say something, and the message.
    """

    def __init__(self, hear: Hear) -> None:
        self._hear = hear
        self.heads: list[Request] = []
        self.heard: list[Any] = []
        self.refuses = False
        self.takes: set[bytes] | None = None  # tokens; others are unauthorized

    async def __call__(self, stream: trio.abc.Stream) -> None:
        socket = wsproto.WSConnection(wsproto.ConnectionType.SERVER)

        async def say(what: Any) -> None:
            # A client that has left hears nothing any more.
            with contextlib.suppress(trio.BrokenResourceError, LocalProtocolError):
                await stream.send_all(socket.send(event_of(what)))

        async with trio.open_nursery() as nursery:
            while data := await received(stream):
                socket.receive_data(bytes(data))
                for event in socket.events():
                    if isinstance(event, TextMessage):
                        self.heard.append(event.data)
                        nursery.start_soon(self._hear, say, event.data)
                    elif isinstance(event, Request):
                        self.heads.append(event)
                        if self.refuses:
                            await say(RejectConnection(status_code=403))
                            return
                        token = dict(event.extra_headers).get(b"authorization", b"")
                        if self.takes is not None and token not in self.takes:
                            await say(RejectConnection(status_code=401))
                            return
                        await say(AcceptConnection())
                    elif isinstance(event, Ping | CloseConnection):
                        await say(event.response())
            nursery.cancel_scope.cancel()


async def received(stream: trio.abc.Stream) -> bytes:
    try:
        return bytes(await stream.receive_some())
    except trio.BrokenResourceError:
        return b""


def event_of(what: Any) -> Any:
    """What is said, as wsproto has it."""
    if isinstance(what, bytes):
        return BytesMessage(what)
    if isinstance(what, str):
        return TextMessage(what)
    return TextMessage(json.dumps(what)) if isinstance(what, (dict, list)) else what


def served(net: Network, server: Server) -> None:
    net.name("ticks.test", "10.0.0.1")
    net.serve("10.0.0.1", 80, server)


def app_of(service: Any = None, /, **call: Any) -> Gateway:
    settings = {"kind": "websocket", "url": "ws://ticks.test/feed?a=b", "allow_private": True}
    return create_app(
        {
            "services": {"s": {**settings, **(service or {})}},
            "tools": {
                "t": {
                    "input": {"properties": {"x": {}}},
                    "output": "a",
                    "calls": {"a": {"service": "s", **call}},
                }
            },
        }
    )


async def echo(say: Any, text: str) -> None:
    await say(text)


@pytest.mark.parametrize(
    ("send", "text", "answer", "value"),
    [
        ("{x}", "7", "by", "by"),
        ({"q": "{x}"}, '{"q":7}', {"n": 1}, {"n": 1}),
        ("{x}", "7", b"\xff", "/w=="),
    ],
)
async def test_a_call_has_a_connection_of_its_own(
    autojump_clock: MockClock, send: Any, text: str, answer: Any, value: Any
) -> None:
    async def hear(say: Any, _text: str) -> None:
        await say(answer)

    server = Server(hear)
    async with network() as net:
        served(net, server)
        app = app_of({"headers": {"x-a": "b"}}, send=send)
        async with app.running():
            for _ in range(2):
                assert (await app.call(request(x=7))).value == value
            assert not net.open
        assert server.heard == [text, text]
        assert server.heads[0].target == "/feed?a=b"
        assert (b"x-a", b"b") in server.heads[0].extra_headers


async def test_a_handshake_that_is_refused_fails(autojump_clock: MockClock) -> None:
    server = Server(echo)
    server.refuses = True
    async with network() as net:
        served(net, server)
        app = app_of(send="x")
        async with app.running():
            with pytest.raises(Rejected, match="answered 403"):
                await app.call(request())
        assert not net.open


SHARED = {"correlation": "id"}
ASKING = {"send": {"ask": "{x}"}}


async def backwards(say: Any, text: str) -> None:
    """Later questions are answered sooner; one is never answered."""
    asked = json.loads(text)
    if asked["ask"] == "never":
        return
    await trio.sleep(1 / asked["ask"])
    await say("no JSON")
    await say({"id": 999_999})
    await say({"id": asked["id"], "answer": asked["ask"]})


async def test_calls_share_a_connection_by_a_number(autojump_clock: MockClock) -> None:
    server = Server(backwards)
    async with network() as net:
        served(net, server)
        app = app_of(SHARED, **ASKING)
        got: list[Any] = []

        async def ask(x: int) -> None:
            got.append((await app.call(request(x=x))).value["answer"])

        async with app.running():
            async with trio.open_nursery() as nursery:
                for x in range(1, 21):
                    nursery.start_soon(ask, x)
            assert got == list(range(20, 0, -1))
            assert len(net.connected) == 1
            with pytest.raises(DeadlineExceeded):
                await app.call(request(x="never"), timeout_s=1)
            await ask(1)  # what was given up has left the connection alone
            assert len(net.connected) == 1
        assert not net.open


async def test_a_lost_connection_fails_who_waits_and_is_opened_again(
    autojump_clock: MockClock,
) -> None:
    async def hear(say: Any, text: str) -> None:
        asked = json.loads(text)
        if asked["ask"] == "end":
            await say(CloseConnection(1001))
        else:
            await say({"id": asked["id"]})

    server = Server(hear)
    async with network() as net:
        served(net, server)
        app = app_of(SHARED, **ASKING)
        async with app.running():
            assert (await app.call(request(x=1))).value == {"id": 1}
            with pytest.raises(Unreachable, match="closed the connection"):
                await app.call(request(x="end"))
            with pytest.raises(Unreachable, match="closed the connection"):
                await app.call(request(x=1))  # there is none just now, and that is known
            await trio.sleep(0.6)
            assert (await app.call(request(x=1))).value["id"] > 1
            assert len(net.connected) == 2


async def test_a_message_over_the_bound_loses_the_shared_connection(
    autojump_clock: MockClock,
) -> None:
    """Whose it was to be is not known: nobody's reply is bad, and the next call's least of all."""

    async def much(say: Any, _text: str) -> None:
        await say("x" * 2000)

    async with network() as net:
        served(net, Server(much))
        app = app_of({**SHARED, "max_message": "1KiB"}, **ASKING)
        async with app.running():
            for _ in range(2):
                with pytest.raises(Unreachable, match="was lost: the message is over 1024 bytes"):
                    await app.call(request(x=1))


async def test_calls_fail_at_once_while_there_is_no_connection(autojump_clock: MockClock) -> None:
    async with network() as net:
        net.name("ticks.test", "10.0.0.1")
        net.serve("10.0.0.1", 80, OSError(111, "Connection refused"))
        app = app_of(SHARED, **ASKING)
        async with app.running():
            start = trio.current_time()
            with pytest.raises(Unreachable, match="refused"):
                await app.call(request(x=1))
            assert trio.current_time() == start
            await trio.sleep(60)
            assert 5 <= len(net.connected) <= 8  # the pause grows


@pytest.mark.parametrize(
    ("call", "count", "at"),
    [({"messages": 3}, 3, 3), ({"lasting": "4500ms"}, 4, 4.5), ({}, 9, 9.95)],
    ids=["count", "time", "deadline"],
)
async def test_a_subscription_gives_all_that_comes(
    autojump_clock: MockClock, call: Any, count: int, at: float
) -> None:
    async def tick(say: Any, text: str) -> None:
        number = 0
        while True:
            await trio.sleep(1)
            await say({"on": text, "tick": number})
            number += 1

    seen: list[Partial] = []

    async def emit(item: Partial) -> None:
        seen.append(item)

    server = Server(tick)
    async with network() as net:
        served(net, server)
        app = app_of(send="{x}", subscribe=True, **call)
        async with app.running():
            with trio.move_on_after(10):
                node = app.tools["t"].plan.nodes[0]
                reply = await node.invoke(request(send="a"), emit)
            assert reply.value == [{"on": "a", "tick": number} for number in range(count)]
            assert seen == [Chunk(value) for value in reply.value]
            assert trio.current_time() == pytest.approx(at)
        assert not net.open


async def test_a_subscription_that_the_service_ends_is_whole(autojump_clock: MockClock) -> None:
    async def few(say: Any, _text: str) -> None:
        await say("a")
        await say("b")
        await say(CloseConnection(1000))

    async with network() as net:
        served(net, Server(few))
        app = app_of(send="go", subscribe=True)
        async with app.running():
            assert (await app.call(request())).value == ["a", "b"]


@pytest.mark.parametrize("code", [1011, 4000])
async def test_a_subscription_that_the_service_fails_says_so(
    autojump_clock: MockClock, code: int
) -> None:
    async def few(say: Any, text: str) -> None:
        if text == "some":
            await say("a")
        await say(CloseConnection(code, "out of order"))

    told = f"the service ended the subscription with code {code}: out of order"
    async with network() as net:
        served(net, Server(few))
        app = app_of(send="{x}", subscribe=True)
        async with app.running():
            reply = await app.call(request(x="some"))
            assert reply.value == ["a"]
            assert [(error.code, error.detail) for error in reply.missing] == [
                ("unreachable", told)
            ]
            with pytest.raises(Unreachable, match=f"with code {code}: out of order"):
                await app.call(request(x="none"))


@pytest.mark.parametrize(
    ("service", "call", "says"),
    [
        ({"url": "http://ticks.test"}, {"send": "x"}, "wss://"),
        ({}, {}, "send: missing"),
        ({}, {"send": "x", "messages": 3}, "goes with subscribe"),
        (SHARED, {"send": "x"}, "expected a table"),
    ],
)
def test_mistakes_of_the_file_are_told(service: Any, call: Any, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        app_of(service, **call)


async def test_a_message_over_the_bound_fails_alone(autojump_clock: MockClock) -> None:
    async def much(say: Any, _text: str) -> None:
        await say("x" * 2000)

    async with network() as net:
        served(net, Server(much))
        app = app_of({"max_message": "1KiB"}, send="x")
        async with app.running():
            with pytest.raises(GatewayError, match="over 1024 bytes"):
                await app.call(request())
        assert not net.open
