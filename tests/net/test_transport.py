"""Our pool beneath a real `httpx.AsyncClient`."""

from __future__ import annotations

import gzip
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import trio
from trio.testing import MockClock

from gateway.net.client import ClientSettings, open_http1
from gateway.net.guard import AddressGuard
from gateway.net.pool import Pool
from gateway.net.transport import PoolTransport
from gateway.testing import Cancellable, cancel_at_every_checkpoint
from tests.http_service import Received, Scripted, http, raw
from tests.network import Network, network

ADDRESS = "10.0.0.1"


class Bench:
    """httpx's client, our pool below it, and the network below that."""

    def __init__(self, client: httpx.AsyncClient, pool: Pool, net: Network) -> None:
        self.client = client
        self.pool = pool
        self.net = net


@asynccontextmanager
async def bench(service: Any, **options: Any) -> AsyncGenerator[Bench]:
    settings = ClientSettings(
        guard=AddressGuard(allow_private=True),
        max_connections=2,
        max_reply_bytes=1,
        budget_header="x-budget",
        tls=False,
    )
    async with network() as net:
        net.name("api.test", ADDRESS)
        net.serve(ADDRESS, 80, service)
        async with (
            open_http1(settings) as ours,
            httpx.AsyncClient(
                transport=PoolTransport(ours), base_url="http://api.test", **options
            ) as client,
        ):
            yield Bench(client, ours.pool, net)
            assert ours.pool.taken == 0
        assert not net.open


async def test_httpx_does_what_it_does(autojump_clock: MockClock) -> None:
    service = Scripted(
        http(200, gzip.compress(b'{"a": 1}'), content_encoding="gzip", set_cookie="session=1"),
        http(302, location="/there?x=\u00e9".encode().decode("latin-1")),
        http(200, "there"),
    )
    async with bench(service, follow_redirects=True, auth=("u", "p")) as made:
        assert (await made.client.get("/", params={"q": "a b"})).json() == {"a": 1}
        response = await made.client.post("/x", json={"n": 1})
        assert (response.text, response.http_version) == ("there", "HTTP/1.1")
        assert response.headers["content-length"] == "5"
    first, second, third = service.requests
    assert first.target == "/?q=a+b"
    assert first.header("authorization") == "Basic dTpw"
    assert (second.body, second.header("cookie")) == (b'{"n":1}', "session=1")
    assert second.header("content-type") == "application/json"
    assert third.target.startswith("/there?x=")
    assert service.accepted == 1


@pytest.mark.parametrize("length", [None, "6"])
async def test_bodies_stream_up(autojump_clock: MockClock, length: str | None) -> None:
    async def content() -> AsyncIterator[bytes]:
        for piece in (b"abc", b"def"):
            await trio.sleep(1)
            yield piece

    service = Scripted(http(200, "ok"))
    headers = {} if length is None else {"content-length": length}
    async with bench(service) as made:
        assert (await made.client.post("/", content=content(), headers=headers)).text == "ok"
        assert made.pool.idle == 1
    assert service.requests[0].body == b"abcdef"
    assert service.requests[0].header("content-length") == length


async def test_replies_stream_down_with_back_pressure(autojump_clock: MockClock) -> None:
    sent = 0

    async def endless(_request: Received, stream: trio.abc.Stream) -> None:
        nonlocal sent
        await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n")
        while True:
            await stream.send_all(b"data: x\n\n")
            sent += 1
            await trio.sleep(1)

    async with bench(Scripted(endless)) as made:
        async with made.client.stream("GET", "/") as response:
            pieces = aiter(response.stream)  # httpx's own ways leave generators half-way
            for number in range(1, 4):
                assert await anext(pieces) == b"data: x\n\n"
                assert sent == number
            await pieces.aclose()  # type: ignore[attr-defined]
        assert not made.net.open


async def test_a_reply_read_to_its_end_gives_the_connection_back(
    autojump_clock: MockClock,
) -> None:
    service = Scripted(http(200, "abc"))
    async with bench(service) as made:
        for _ in range(3):
            async with made.client.stream("GET", "/") as response:
                assert await response.aread() == b"abc"
            assert made.pool.idle == 1
    assert service.accepted == 1


async def test_timeouts_of_httpx_do_not_count_scopes_do(autojump_clock: MockClock) -> None:
    service = Scripted(http(200, after_s=100))
    async with bench(service, timeout=1) as made:
        with trio.move_on_after(50) as scope:
            await made.client.get("/")
        assert scope.cancelled_caught
        assert trio.current_time() == pytest.approx(50)
        assert not made.net.open
    assert service.requests[0].header("x-budget") == "50000"


@pytest.mark.parametrize(
    ("service", "error"),
    [
        (OSError(111, "Connection refused"), httpx.NetworkError),
        (Scripted(raw(b"", close=True)), httpx.NetworkError),
        (Scripted(raw(b"no HTTP\r\n\r\n")), httpx.RemoteProtocolError),
        (
            Scripted(raw(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf", close=True)),
            httpx.NetworkError,
        ),
        (
            Scripted(raw(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n")),
            httpx.RemoteProtocolError,
        ),
    ],
)
async def test_failures_are_httpxs_own(
    autojump_clock: MockClock, service: Any, error: type[Exception]
) -> None:
    async with bench(service) as made:
        with pytest.raises(error):
            await made.client.get("/")


async def test_what_cannot_be_sent_is_not(autojump_clock: MockClock) -> None:
    async with bench(Scripted(http())) as made:
        with pytest.raises(httpx.UnsupportedProtocol):
            await made.client.get("ftp://api.test/")
        with pytest.raises(httpx.LocalProtocolError):
            await made.client.get("/", headers={"a b": "c"})
        with trio.move_on_after(0.0005), pytest.raises(httpx.PoolTimeout):
            await made.client.get("/")
        assert not made.net.open


async def test_the_guard_holds(autojump_clock: MockClock) -> None:
    async with bench(Scripted(http())) as made:
        made.net.name("cloud.test", "169.254.169.254")
        with pytest.raises(httpx.NetworkError, match="metadata"):
            await made.client.get("http://cloud.test/")


def test_cancelled_anywhere_it_leaves_nothing() -> None:
    async def scenario(cancellable: Cancellable) -> None:
        service = Scripted(http(200, "abc", after_s=1, connection="close"))
        async with bench(service) as made:
            await cancellable(lambda: made.client.get("/"), settle_s=5)
            assert made.pool.taken == 0

    assert cancel_at_every_checkpoint(scenario) > 5
