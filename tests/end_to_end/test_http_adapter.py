"""The http adapter over real sockets: what a network in memory cannot show."""

from __future__ import annotations

import gzip
import os
import random
import socket
import struct
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from gateway.app import Gateway, create_app
from gateway.core.errors import DeadlineExceeded, GatewayError
from gateway.core.messages import Context, Request
from tests.end_to_end.support import until
from tests.http_service import Received, Scripted, http, raw

pytestmark = pytest.mark.end_to_end

JSON = "application/json"


@asynccontextmanager
async def served(service: Any, **settings: Any) -> AsyncGenerator[Gateway]:
    """A gateway before `service` on a loopback port."""
    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, service, 0, host="127.0.0.1"))
        port = listener.socket.getsockname()[1]
        async with opened(f"http://127.0.0.1:{port}", **settings) as app:
            yield app
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def opened(url: str, **settings: Any) -> AsyncGenerator[Gateway]:
    call = {"service": "s", "post": "/x", "json": {"n": "{n}"}}
    app = create_app(
        {
            "services": {"s": {"kind": "http", "url": url, **settings}},
            "tools": {
                "t": {
                    "deadline": "5s",
                    "output": "a",
                    "input": {"properties": {"n": {}}},
                    "calls": {"a": call},
                }
            },
        }
    )
    async with app.running():
        yield app


async def ask(app: Gateway, n: Any = 1) -> Any:
    return (await app.call(Request("t", {"n": n}, Context(request_id="r")))).value


def sockets() -> int:
    """Sockets of this process."""
    links = []
    for entry in Path("/proc/self/fd").iterdir():
        try:
            links.append(str(entry.readlink()))
        except OSError:
            continue  # it was the listing's own
    return sum(link.startswith("socket:") for link in links)


async def test_bytes_go_there_and_back() -> None:
    async def echo(request: Received, stream: trio.abc.Stream) -> None:
        answer: Any = http(200, request.body, content_type=JSON)
        await answer(request, stream)

    async with served(Scripted(echo)) as app:
        for n in (1, "é" * 10_000, {"deep": [None, 1.5]}):
            assert await ask(app, n) == {"n": n}


async def test_a_large_reply_comes_whole() -> None:
    body = b'"' + b"x" * 4_000_000 + b'"'
    packed = gzip.compress(body)
    service = Scripted(
        http(200, body, content_type=JSON),
        http(200, packed, content_type=JSON, content_encoding="gzip"),
    )
    async with served(service) as app:
        for _ in range(2):
            assert len(await ask(app)) == 4_000_000


async def reset(_request: Received, stream: Any) -> None:
    linger = struct.pack("ii", 1, 0)
    stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    await stream.aclose()


async def reset_half_way(request: Received, stream: Any) -> None:
    await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf")
    await trio.sleep(0.02)
    await reset(request, stream)


@pytest.mark.parametrize(
    "answer",
    [
        reset,
        reset_half_way,
        raw(b"", close=True),
        raw(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf", close=True),
    ],
    ids=["reset", "reset half-way", "closed", "closed half-way"],
)
async def test_a_connection_that_breaks_is_unreachable(answer: Any) -> None:
    async with served(Scripted(answer)) as app:
        with pytest.raises(GatewayError) as caught:
            await ask(app)
    assert caught.value.code == "unreachable"


async def test_a_port_that_nobody_listens_on_is_unreachable() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening: nobody else gets it
        async with opened(f"http://127.0.0.1:{taken.getsockname()[1]}") as app:
            with pytest.raises(GatewayError) as caught:
                await ask(app)
    assert caught.value.code == "unreachable"


async def test_plain_http_where_tls_belongs_is_unreachable() -> None:
    async with served(Scripted(http())) as app:
        port = app.config.services["s"].settings.url.rpartition(":")[2]
        async with opened(f"https://127.0.0.1:{port}") as secure:
            with pytest.raises(GatewayError) as caught:
                await ask(secure)
    assert caught.value.code in {"unreachable", "bad_reply"}


async def test_the_environments_proxies_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with served(Scripted(http(200, "1", content_type=JSON))) as app:
        assert await ask(app) == 1
    assert os.environ["http_proxy"]


async def test_a_service_sees_its_connection_closed_when_its_caller_leaves() -> None:
    service = Scripted(http(after_s=100))
    async with served(service) as app:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, app)
            await until(lambda: service.active)
            nursery.cancel_scope.cancel()
        await until(lambda: not service.connections)
    assert service.active == 0


async def test_after_seconds_of_cancellation_every_connection_can_be_had() -> None:
    """What a pool leaks when it is contended shows here (encode/httpcore#1093)."""
    chance = random.Random(5)

    async def slow(request: Received, stream: trio.abc.Stream) -> None:
        await trio.sleep(chance.random() * 0.02)
        answer: Any = http(200, "1", content_type=JSON)
        await answer(request, stream)

    service = Scripted(slow)
    before = sockets()
    done = cut = 0
    async with served(service, max_connections=10) as app:

        async def churn() -> None:
            nonlocal done, cut
            # On a machine that stands still for a while, longer.
            while trio.current_time() < end or cut < 50 or not done:
                with trio.move_on_after(chance.random() * 0.1) as scope:
                    try:
                        await ask(app)
                        done += 1
                    except DeadlineExceeded:  # less than 1 ms was left
                        cut += 1
                cut += scope.cancelled_caught

        end = trio.current_time() + 3
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(churn)
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                for _ in range(20):
                    nursery.start_soon(ask, app)
        assert service.connections <= 10
        client = app._built.adapters["s"]._client  # type: ignore[attr-defined]
        assert client.pool.taken == 0
    await until(lambda: sockets() <= before)
