"""What stays httpx's: services that want HTTP/2. Over memory it speaks HTTP/1.1 alone."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from gateway.core.errors import BadReply, DeadlineExceeded, Internal, Unreachable
from gateway.net.client import ClientSettings, HttpRequest, Origin, open_client
from gateway.net.guard import AddressGuard
from gateway.net.http2 import Http2Client
from gateway.testing import Cancellable, cancel_at_every_checkpoint
from tests.http_service import Scripted, http, raw
from tests.network import Network, network

API = Origin.of("http://api.test")
GET = HttpRequest("GET", API, "/x?y=%20")


@asynccontextmanager
async def bench(service: Any) -> AsyncGenerator[tuple[Http2Client, Network]]:
    settings = ClientSettings(
        guard=AddressGuard(allow_private=True),
        max_connections=1,
        max_reply_bytes=1000,
        budget_header="x-budget",
        http2=True,
    )
    async with network() as net:
        net.name("api.test", "10.0.0.1")
        net.serve("10.0.0.1", 80, service)
        async with open_client(settings) as client:
            assert isinstance(client, Http2Client)
            yield client, net
            assert client._limiter.borrowed_tokens == 0
        assert not net.open


async def test_a_reply_comes_whole_and_bounded(autojump_clock: MockClock) -> None:
    service = Scripted(http(200, "abc", x_a="1"), http(200, "x" * 1001), http(200, "y"))
    async with bench(service) as (client, _):
        with trio.fail_after(2):
            reply = await client.send(GET)
        assert (reply.status, reply.body, reply.header("x-a")) == (200, b"abc", "1")
        with pytest.raises(BadReply, match="over 1000 bytes"):
            await client.send(GET)
        assert (await client.send(GET)).body == b"y"
    first = service.requests[0]
    assert (first.target, first.header("accept-encoding")) == ("/x?y=%20", "identity")
    assert first.header("x-budget") == "2000"


async def test_streams_go_both_ways(autojump_clock: MockClock) -> None:
    async def content() -> AsyncIterator[bytes]:
        for piece in (b"abc", b"def"):
            await trio.lowlevel.checkpoint()
            yield piece

    service = Scripted(http(302, "moved", location="/y"))
    async with bench(service) as (client, net):
        for length in (None, 6):
            request = HttpRequest("POST", API, "/", (), content(), length)
            async with client.stream(request) as stream:
                assert (stream.status, await stream.receive()) == (302, b"moved")
                assert (b"location", b"/y") in stream.raw_headers
                assert await stream.receive() == b""
        assert len(net.open) == 1
    assert [one.body for one in service.requests] == [b"abcdef"] * 2


async def test_leaving_before_the_end_closes_the_connection(autojump_clock: MockClock) -> None:
    half = raw(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf")
    async with bench(Scripted(half)) as (client, net):
        async with client.stream(GET) as stream:
            assert await stream.receive() == b"half"
        assert not net.open


async def test_what_fails_is_ours(autojump_clock: MockClock) -> None:
    service = Scripted(raw(b"", close=True), raw(b"no HTTP\r\n\r\n"), http())
    async with bench(service) as (client, _):
        with pytest.raises(Unreachable):
            await client.send(GET)
        with pytest.raises(BadReply, match="not HTTP"):
            await client.send(GET)
        with pytest.raises(Internal):
            await client.send(HttpRequest("GET", API, "/", (("a", "b\r\n"),)))
        with trio.move_on_after(0.0005), pytest.raises(DeadlineExceeded):
            await client.send(GET)


def test_cancelled_anywhere_it_leaves_nothing() -> None:
    async def scenario(cancellable: Cancellable) -> None:
        async with bench(Scripted(http(200, "abc", after_s=1, connection="close"))) as (client, _):
            await cancellable(lambda: client.send(GET), settle_s=5)

    assert cancel_at_every_checkpoint(scenario) > 5


def test_without_it_httpx_is_not_imported() -> None:
    program = "import sys, gateway; assert not {'httpx', 'httpcore', 'h2'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
