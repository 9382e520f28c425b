"""The gateway mounted in FastAPI under uvicorn: fan-out, partial answers, streams, shutdown."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import trio
import wsproto
import wsproto.events

from gateway.core.messages import Reply, Request
from gateway.core.service import Emit, Service
from gateway.guest import Hosted
from gateway.testing import ScriptedService
from tests.end_to_end.hosts import HOSTS, hosted, under_uvicorn
from tests.end_to_end.support import send_get, until
from tests.end_to_end.test_mcp_gateway import CONFIG

pytestmark = pytest.mark.end_to_end

LOOPS = pytest.mark.parametrize("loop", ["asyncio", "uvloop"])


@HOSTS
async def test_a_fan_out_runs_at_once_and_is_partial_at_the_deadline(host: str) -> None:
    crm = ScriptedService().hang()
    both = {"users": trio.Event(), "orders": trio.Event()}

    def when_asked_both(name: str, value: Any) -> Service:
        async def reply(_request: Request, _emit: Emit, /) -> Reply:
            both[name].set()
            for asked in both.values():
                await asked.wait()
            return Reply(value)

        return reply

    services: dict[str, Service] = {
        "users": when_asked_both("users", {"name": "Amber Heron"}),
        "orders": when_asked_both("orders", [7]),
        "crm": crm,
    }
    async with (
        hosted(host, CONFIG, services=services) as served,
        httpx.AsyncClient(base_url=served.url, trust_env=False) as client,
    ):
        (await client.get("/openapi.json")).raise_for_status()
        answer = await client.post("/tools/customer", json={"id": 7})
        assert answer.status_code == 200
        assert answer.headers["x-gateway-partial"] == "notes=deadline_exceeded"
        value = answer.json()
        assert (value["name"], value["orders"], value["notes"]) == ("Amber Heron", [7], None)
        assert [(one["call"], one["code"]) for one in value["_errors"]] == [
            ("notes", "deadline_exceeded")
        ]
        await until(lambda: not (crm.active or served.app.in_flight))


class Stream:
    """An event stream without an end, on Trio."""

    def __init__(self) -> None:
        self.ended = threading.Event()

    async def __call__(self, _scope: Any, receive: Any, send: Any) -> None:
        head = [(b"content-type", b"text/event-stream")]
        await receive()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch, receive, nursery.cancel_scope)
                await send({"type": "http.response.start", "status": 200, "headers": head})
                while True:
                    event = {"type": "http.response.body", "body": b"data: x\n\n"}
                    await send({**event, "more_body": True})
                    await trio.sleep(0.01)
        finally:
            self.ended.set()

    async def _watch(self, receive: Any, scope: trio.CancelScope) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        scope.cancel()


@asynccontextmanager
async def nothing() -> AsyncIterator[None]:
    await trio.lowlevel.checkpoint()
    yield


async def echo(_scope: Any, receive: Any, send: Any) -> None:
    """A WebSocket that says what it hears, on Trio."""
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})


async def never(_scope: Any, _send: Any, _error: Any) -> None:
    raise AssertionError


def bridged(app: Any) -> Any:
    """`app`, which runs on Trio, for a server on asyncio that needs no lifespan of it."""
    bridge = Hosted(app, nothing, never)

    async def hosted_app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] != "lifespan"
        await bridge(scope, receive, send)

    return hosted_app


@LOOPS
async def test_an_event_stream_comes_at_once_and_ends_with_its_client(loop: str) -> None:
    stream = Stream()
    async with under_uvicorn(bridged(stream), loop) as server:
        client = await send_get(server.port, "/")
        received = b""
        with trio.fail_after(30):
            while received.count(b"data: x\n\n") < 3:
                received += await client.receive_some()
        assert not stream.ended.is_set()
        await client.aclose()
        await until(stream.ended.is_set)


@LOOPS
async def test_a_websocket_talks_both_ways(loop: str) -> None:
    async with under_uvicorn(bridged(echo), loop) as server:
        stream = await trio.open_tcp_stream("127.0.0.1", server.port)
        client = wsproto.WSConnection(wsproto.ConnectionType.CLIENT)
        heard: list[str] = []
        await stream.send_all(client.send(wsproto.events.Request("localhost", "/")))
        with trio.fail_after(30):
            while len(heard) < 2:
                client.receive_data(await stream.receive_some())
                for event in client.events():
                    if isinstance(event, wsproto.events.AcceptConnection):
                        for text in ("a", "b"):
                            await stream.send_all(client.send(wsproto.events.TextMessage(text)))
                    elif isinstance(event, wsproto.events.TextMessage):
                        heard.append(event.data)
        assert heard == ["a", "b"]
        await stream.aclose()


@HOSTS
async def test_a_websocket_is_turned_away(host: str) -> None:
    headers = {
        "connection": "upgrade",
        "upgrade": "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": "AAAAAAAAAAAAAAAAAAAAAA==",
    }
    async with hosted(host, CONFIG) as served:
        # Uvicorn can send an answer in place of a WebSocket; of a bare close it makes a 403.
        for path, given, statuses in (("/ws", headers, {403, 404}), ("/openapi.json", {}, {200})):
            async with httpx.AsyncClient(base_url=served.url, trust_env=False) as client:
                assert (await client.get(path, headers=given)).status_code in statuses


async def test_shutdown_leaves_no_thread() -> None:
    # Its service blocks: Trio's cache has a thread for that, and one that waits for Trio's I/O.
    config = {
        "services": {"py": {"kind": "python", "module": "time"}},
        "tools": {"t": {"calls": {"x": {"service": "py", "function": "monotonic"}}}},
    }
    for host in ("asyncio", "uvloop", "asyncio without lifespan", "uvloop without lifespan"):
        async with (
            hosted(host, config) as served,
            httpx.AsyncClient(base_url=served.url, trust_env=False) as client,
        ):
            assert (await client.post("/tools/t")).status_code == 200
            assert trios_threads()
    # They are idle now; an idle thread of Trio's ends after 10 s.
    await until(lambda: not trios_threads())
    assert not any(thread.name == "uvicorn" for thread in threading.enumerate())


def trios_threads() -> list[threading.Thread]:
    return [one for one in threading.enumerate() if one.name.startswith("Trio thread")]
