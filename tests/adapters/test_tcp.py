"""TCP peers behind a tool: every framing, connections that are used again, what is refused."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from gateway.app import Gateway, create_app
from gateway.config.problems import ConfigError
from gateway.core.errors import BadReply, GatewayError, InvalidArguments, Unreachable
from tests.apps import request
from tests.network import Network, network


def app_of(service: Any = None, /, **call: Any) -> Gateway:
    settings = {
        "kind": "tcp",
        "address": "plc.test:7000",
        "allow_private": True,
        **(service or {}),
    }
    return create_app(
        {
            "services": {"s": settings},
            "tools": {
                "t": {
                    "input": {"properties": {"x": {}}},
                    "output": "a",
                    "calls": {"a": {"service": "s", "send": "{x}", **call}},
                }
            },
        }
    )


Peer = Callable[[trio.abc.Stream], Awaitable[None]]


def served(net: Network, peer: Peer) -> None:
    net.name("plc.test", "10.0.0.1")
    net.serve("10.0.0.1", 7000, peer)


def says(*pieces: bytes, got: list[bytes] | None = None, close: bool = False) -> Peer:
    """Answers whatever comes with these pieces, again and again."""

    async def peer(stream: trio.abc.Stream) -> None:
        while data := await stream.receive_some():
            if got is not None:
                got.append(bytes(data))
            for piece in pieces:
                await stream.send_all(piece)
                await trio.lowlevel.checkpoint()
            if close:
                return

    return peer


FIXED = {"framing": "fixed", "size": 3}
LENGTH = {"framing": "length", "prefix": 2}


@pytest.mark.parametrize(
    ("service", "x", "there", "value"),
    [
        ({}, "hi", (b"hi\n", [b"by", b"e\r", b"\n"]), "bye"),
        ({}, {"a": 1}, (b'{"a":1}\n', [b"ok\n"]), "ok"),
        ({}, 5, (b"5\n", [b"\n"]), ""),
        ({"encoding": "latin-1"}, "ü", (b"\xfc\n", [b"\xe4\n"]), "ä"),
        (FIXED, "abc", (b"abc", [b"x", b"yz"]), "xyz"),
        (LENGTH, "hello", (b"\x00\x05hello", [b"\x00", b"\x02o", b"k"]), "ok"),
        (LENGTH, "", (b"\x00\x00", [b"\x00\x00"]), ""),
    ],
)
async def test_a_message_goes_and_one_comes(
    autojump_clock: MockClock, service: Any, x: Any, there: tuple[bytes, list[bytes]], value: str
) -> None:
    sent, pieces = there
    got: list[bytes] = []
    async with network() as net:
        served(net, says(*pieces, got=got))
        app = app_of(service)
        async with app.running():
            assert (await app.call(request(x=x))).value == value
        assert b"".join(got) == sent


async def test_until_its_end(autojump_clock: MockClock) -> None:
    async with network() as net:
        served(net, says(b"all ", b"of it", close=True))
        app = app_of({"framing": "close"})
        async with app.running():
            assert (await app.call(request(x="go"))).value == "all of it"


@pytest.mark.parametrize(
    ("service", "x", "says"),
    [
        ({}, "a\nb", "more than one line"),
        ({}, "a\rb", "more than one line"),
        (FIXED, "abcd", "has 4 bytes, not 3"),
        ({"framing": "length", "prefix": 1}, "x" * 256, "too long"),
        ({"encoding": "ascii"}, "ü", "no ascii"),
    ],
)
async def test_what_is_no_message_is_not_sent(
    autojump_clock: MockClock, service: Any, x: str, says: str
) -> None:
    async with network() as net:
        app = app_of(service)
        async with app.running():
            with pytest.raises(InvalidArguments, match=says):
                await app.call(request(x=x))
        assert not net.connected


@pytest.mark.parametrize(
    ("service", "piece", "kind", "message"),
    [
        ({}, b"cut", Unreachable, "ended before the reply"),
        (LENGTH, b"\x00\x05abc", Unreachable, "ended before the reply"),
        ({**LENGTH, "max_reply": "1KiB"}, b"\xff\xff", BadReply, "over 1024 bytes"),
        ({"max_reply": "1KiB"}, b"x" * 3000, BadReply, "over 1024 bytes"),
        ({"framing": "close", "max_reply": "1KiB"}, b"x" * 3000, BadReply, "over 1024 bytes"),
        ({}, b"\xff\n", BadReply, "no utf-8 text"),
    ],
)
async def test_what_is_no_reply_fails(
    autojump_clock: MockClock,
    service: Any,
    piece: bytes,
    kind: type[GatewayError],
    message: str,
) -> None:
    async with network() as net:
        served(net, says(piece, close=True))
        app = app_of(service)
        async with app.running():
            with pytest.raises(kind, match=message):
                await app.call(request(x="x" * 3 if service.get("size") else "x"))
        assert not net.open


@pytest.mark.parametrize("reuse", [False, True])
async def test_a_connection_serves_again_if_it_may(autojump_clock: MockClock, reuse: bool) -> None:
    async with network() as net:
        served(net, says(b"ok\n"))
        app = app_of({"reuse": reuse})
        async with app.running():
            for _ in range(3):
                assert (await app.call(request(x="x"))).value == "ok"
            assert len(net.connected) == (1 if reuse else 3)
            assert len(net.open) == (1 if reuse else 0)
        assert not net.open


async def test_one_that_said_too_much_or_has_ended_does_not(autojump_clock: MockClock) -> None:
    async with network() as net:
        served(net, says(b"ok\nand more"))
        app = app_of({"reuse": True})
        async with app.running():
            for _ in range(2):
                assert (await app.call(request(x="x"))).value == "ok"
            assert len(net.connected) == 2
            served(net, says(b"ok\n", close=True))
            for _ in range(2):
                assert (await app.call(request(x="x"))).value == "ok"
                await trio.testing.wait_all_tasks_blocked()
            assert len(net.connected) == 4


async def test_calls_wait_for_a_connection(autojump_clock: MockClock) -> None:
    async def slow(stream: trio.abc.Stream) -> None:
        while await stream.receive_some():
            await trio.sleep(1)
            await stream.send_all(b"ok\n")

    async with network() as net:
        served(net, slow)
        app = app_of({"max_connections": 2})
        async with app.running(), trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(app.call, request(x="x"))
        assert trio.current_time() == pytest.approx(2)
        assert net.most == 2


@pytest.mark.parametrize(
    ("service", "says"),
    [
        ({"address": "plc"}, "address such as"),
        ({"address": "plc:0"}, "address such as"),
        ({"address": "plc:70000"}, "address such as"),
        ({"framing": "fixed"}, "size"),
        ({"size": 3}, "size"),
        ({"framing": "close", "reuse": True}, "reuse"),
        ({"encoding": "klingon"}, "encoding such as"),
        ({"encoding": "base64"}, "encoding such as"),
    ],
)
def test_mistakes_of_the_file_are_told(service: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        app_of(service)
