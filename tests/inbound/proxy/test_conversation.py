"""WebSockets through a proxy: messages both ways, and how either side ends them."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
import trio
import wsproto
from trio.testing import MockClock, wait_all_tasks_blocked
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Ping,
    Pong,
    Request,
    TextMessage,
)

from gateway.net.asgi import PEER
from gateway.server.inbox import Inbox
from tests.http_service import Scripted, http, raw
from tests.inbound.proxy.bench import Bench, bench


class Service:
    """A WebSocket service: what it does with each connection is given."""

    def __init__(self, talk: Callable[[Service], Awaitable[None]], subprotocol: str = "") -> None:
        self._talk = talk
        self._subprotocol = subprotocol or None
        self.ended = 0

    async def __call__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._ws = wsproto.WSConnection(wsproto.ConnectionType.SERVER)
        self._pending: list[Any] = []
        self.request = await self.hear()
        await self.say(AcceptConnection(subprotocol=self._subprotocol))
        try:
            await self._talk(self)
        finally:
            self.ended += 1

    async def hear(self) -> Any:
        while not self._pending:
            data = bytes(await self._stream.receive_some())
            self._ws.receive_data(data or None)
            self._pending += self._ws.events()
        return self._pending.pop(0)

    async def say(self, event: Any) -> None:
        await self._stream.send_all(self._ws.send(event))


@attrs.define
class Browser:
    """The ASGI side of a client's WebSocket."""

    said: trio.MemorySendChannel[Any]
    heard: trio.MemoryReceiveChannel[Any]

    async def expect(self, kind: str) -> Any:
        message = await self.heard.receive()
        assert message["type"] == kind, message
        return message


@asynccontextmanager
async def browsing(b: Bench, **keys: Any) -> AsyncGenerator[Browser]:
    """A client of a WebSocket; when the context is left, the gateway is done with it."""
    said, receive = trio.open_memory_channel[Any](math.inf)
    send, heard = trio.open_memory_channel[Any](math.inf)
    scope = {
        "type": "websocket",
        "http_version": "1.1",
        "scheme": "ws",
        "path": "/files/ws",
        "query_string": b"a=b",
        "headers": [(b"host", b"gw.test"), (b"sec-websocket-key", b"x"), (b"cookie", b"a=b")],
        "subprotocols": [],
        "extensions": {"websocket.http.response": {}},
        **keys,
    }
    said.send_nowait({"type": "websocket.connect"})
    async with trio.open_nursery() as nursery:
        nursery.start_soon(b.app, scope, receive.receive, send.send)
        yield Browser(said, heard)


def text(data: str) -> Any:
    return {"type": "websocket.receive", "text": data, "bytes": None}


def leaves(code: int) -> Any:
    return {"type": "websocket.disconnect", "code": code}


async def echo(service: Service) -> None:
    while True:
        event = await service.hear()
        if isinstance(event, CloseConnection):
            service.closed = event  # type: ignore[attr-defined]
            return
        await service.say(event)


async def test_messages_go_both_ways() -> None:
    service = Service(echo, "b")
    async with bench(service) as b, browsing(b, subprotocols=["a", "b"]) as browser:
        accepted = await browser.expect("websocket.accept")
        assert accepted["subprotocol"] == "b"
        assert not [name for name, _ in accepted["headers"] if name.startswith(b"sec-")]
        browser.said.send_nowait(text("häl"))
        assert (await browser.expect("websocket.send"))["text"] == "häl"
        browser.said.send_nowait({"type": "websocket.receive", "bytes": b"\0\xff"})
        assert (await browser.expect("websocket.send"))["bytes"] == b"\0\xff"
        browser.said.send_nowait(leaves(4000))
        await wait_all_tasks_blocked()
        assert service.closed.code == 4000  # type: ignore[attr-defined]
        assert b.events.last.outcome == "ok"
    request: Request = service.request
    assert (request.target, request.host) == ("/api/files/ws?a=b", "api.test")
    assert (b"cookie", b"a=b") in request.extra_headers
    assert (b"x-forwarded-host", b"gw.test") in request.extra_headers


async def test_the_services_close_reaches_the_client() -> None:
    async def close(service: Service) -> None:
        await service.say(TextMessage("last"))
        await service.say(CloseConnection(4321, "enough"))
        await service.hear()

    async with bench(Service(close)) as b, browsing(b) as browser:
        await browser.expect("websocket.accept")
        await browser.expect("websocket.send")
        closed = await browser.expect("websocket.close")
        assert (closed["code"], closed["reason"]) == (4321, "enough")
        await wait_all_tasks_blocked()
        assert b.events.last.outcome == "ok"


async def test_a_client_that_is_gone_is_told_as_going_away() -> None:
    service = Service(echo)
    async with bench(service) as b, browsing(b) as browser:
        await browser.expect("websocket.accept")
        browser.said.send_nowait(leaves(1006))
        await wait_all_tasks_blocked()
        assert service.closed.code == 1001  # type: ignore[attr-defined]
        assert b.events.last.outcome == "client_left"


async def test_a_client_may_leave_before_the_service_answers() -> None:
    service = Scripted(raw(b"", after_s=math.inf))
    async with bench(service) as b, browsing(b) as browser:
        await wait_all_tasks_blocked()
        browser.said.send_nowait(leaves(1006))
        await wait_all_tasks_blocked()
        assert service.connections == 0
        assert b.events.last.outcome == "client_left"


async def test_a_service_that_breaks_off_fails_the_conversation() -> None:
    async def break_off(service: Service) -> None:
        await service._stream.aclose()

    async with bench(Service(break_off)) as b, browsing(b) as browser:
        await browser.expect("websocket.accept")
        assert (await browser.expect("websocket.close"))["code"] == 1011
        await wait_all_tasks_blocked()
        assert b.events.last.code == "unreachable"


async def test_a_message_over_its_bound_fails_the_conversation() -> None:
    async def talk(service: Service) -> None:
        for _ in range(3):
            await service.say(BytesMessage(bytes(400), message_finished=False))
        service.closed = await service.hear()  # type: ignore[attr-defined]

    service = Service(talk)
    async with bench(service, of_service={"max_reply": "1000B"}) as b, browsing(b) as browser:
        await browser.expect("websocket.accept")
        assert (await browser.expect("websocket.close"))["code"] == 1011
        await wait_all_tasks_blocked()
        assert service.closed.code == 1009  # type: ignore[attr-defined]
        assert b.events.last.code == "bad_reply"


async def test_a_silent_service_is_asked_whether_it_is_there(autojump_clock: MockClock) -> None:
    async def answer_once(service: Service) -> None:
        ping = await service.hear()
        assert isinstance(ping, Ping)
        await service.say(ping.response())
        await service.say(Ping(b"you?"))
        assert isinstance(await service.hear(), Pong)
        await trio.sleep_forever()

    service = Service(answer_once)
    async with bench(service, {"idle_timeout": "5s"}) as b, browsing(b) as browser:
        start = trio.current_time()
        await browser.expect("websocket.accept")
        assert (await browser.expect("websocket.close"))["code"] == 1011
        assert trio.current_time() - start == pytest.approx(5 + 10)


async def deaf(_service: Service) -> None:
    await trio.sleep_forever()


async def test_a_client_that_leaves_a_service_that_does_not_read_is_seen(
    autojump_clock: MockClock,
) -> None:
    """Under our own server, which tells of it while messages still wait."""
    inbox = Inbox(1000)
    inbox.put({"type": "websocket.connect"}, 0)
    scope = {
        "type": "websocket",
        "http_version": "1.1",
        "scheme": "ws",
        "path": "/files/ws",
        "query_string": b"",
        "headers": [(b"host", b"gw.test")],
        "extensions": {PEER: inbox},
    }
    send, heard = trio.open_memory_channel[Any](math.inf)
    service = Service(deaf)
    async with bench(service) as b, trio.open_nursery() as nursery:
        nursery.start_soon(b.app, scope, inbox.receive, send.send)
        assert (await heard.receive())["type"] == "websocket.accept"
        b.net.stall()
        for _ in range(3):
            inbox.put({"type": "websocket.receive", "text": "anyone?"}, 7)
        await wait_all_tasks_blocked()
        assert b.pool.taken == 1
        start = trio.current_time()
        inbox.leave()
        await wait_all_tasks_blocked()
        assert (b.pool.taken, inbox.cancels) == (0, None)
        assert trio.current_time() == start
        assert b.events.last.outcome == "client_left"


@pytest.mark.parametrize("left", [True, False])
async def test_a_service_that_does_not_read_is_given_up(
    autojump_clock: MockClock, left: bool
) -> None:
    async with bench(Service(deaf), {"idle_timeout": "5s"}) as b, browsing(b) as browser:
        await browser.expect("websocket.accept")
        start = trio.current_time()
        b.net.stall()
        browser.said.send_nowait(text("anyone?"))
        if left:
            browser.said.send_nowait(leaves(1006))
        assert (await browser.expect("websocket.close"))["code"] == 1011
        assert trio.current_time() - start == pytest.approx(5)
        await wait_all_tasks_blocked()
        assert b.events.last.code == "unreachable"


async def test_a_ping_that_nobody_takes_does_not_wait_for_ever(autojump_clock: MockClock) -> None:
    async with bench(Service(deaf), {"idle_timeout": "5s"}) as b, browsing(b) as browser:
        await browser.expect("websocket.accept")
        start = trio.current_time()
        b.net.stall()
        assert (await browser.expect("websocket.close"))["code"] == 1011
        assert trio.current_time() - start == pytest.approx(5 + 5)


async def test_a_service_has_a_moment_to_take_that_the_client_left(
    autojump_clock: MockClock,
) -> None:
    async with bench(Service(deaf)) as b:
        async with browsing(b) as browser:
            await browser.expect("websocket.accept")
            b.net.stall()
            start = trio.current_time()
            browser.said.send_nowait(leaves(1000))
        assert trio.current_time() - start == pytest.approx(1)
        assert b.events.last.outcome == "ok"


@pytest.mark.parametrize("refused", ["websocket.accept", "websocket.send", "websocket.close"])
async def test_a_client_that_takes_nothing_more_has_left(refused: str) -> None:
    async def talk(service: Service) -> None:
        await service.say(TextMessage("anyone?"))
        if refused == "websocket.close":
            await service.say(CloseConnection(1000))
        service.closed = await service.hear()  # type: ignore[attr-defined]

    said, receive = trio.open_memory_channel[Any](1)
    said.send_nowait({"type": "websocket.connect"})

    async def send(message: Any) -> None:
        if message["type"] == refused:
            raise BrokenPipeError("the client has left")

    scope = {
        "type": "websocket",
        "http_version": "1.1",
        "scheme": "ws",
        "path": "/files/ws",
        "query_string": b"",
        "headers": [(b"host", b"gw.test")],
    }
    service = Service(talk)
    async with bench(service) as b:
        await b.app(scope, receive.receive, send)
        await wait_all_tasks_blocked()
        assert b.events.last.outcome == "client_left"
        expected = 1000 if refused == "websocket.close" else 1001
        assert service.closed.code == expected  # type: ignore[attr-defined]


@pytest.mark.parametrize("extension", [True, False])
async def test_a_refusal_of_the_service_is_the_clients(extension: bool) -> None:
    service = Scripted(http(401, b"who?", www_authenticate="Basic"))
    extensions = {"websocket.http.response": {}} if extension else {}
    async with bench(service) as b, browsing(b, extensions=extensions) as browser:
        if not extension:
            await browser.expect("websocket.close")
            return
        start = await browser.expect("websocket.http.response.start")
        assert start["status"] == 401
        assert (b"www-authenticate", b"Basic") in start["headers"]
        body = await browser.expect("websocket.http.response.body")
        assert (body["body"], body["more_body"]) == (b"who?", False)


SWITCH = b"HTTP/1.1 101 X\r\nupgrade: websocket\r\nconnection: upgrade\r\n"


@pytest.mark.parametrize(
    ("reply", "status"),
    [
        (SWITCH + b"\r\n", 502),
        (SWITCH + b"sec-websocket-accept: x\r\n\r\n", 502),
        (b"nonsense\r\n\r\n", 502),
        (b"", 504),
    ],
)
async def test_what_is_no_websocket_is_refused(
    autojump_clock: MockClock, reply: bytes, status: int
) -> None:
    service = Scripted(raw(reply, after_s=0 if reply else math.inf))
    async with bench(service) as b, browsing(b) as browser:
        start = await browser.expect("websocket.http.response.start")
        assert start["status"] == status
        await wait_all_tasks_blocked()
        assert b.events.last.outcome == "error"
        assert service.connections == 0


async def test_a_subprotocol_that_nobody_offered_is_refused() -> None:
    async with bench(Service(echo, "")) as b, browsing(b, subprotocols=["a"]) as browser:
        assert (await browser.expect("websocket.accept"))["subprotocol"] is None
        browser.said.send_nowait(leaves(1000))


async def test_pages_of_other_origins_are_refused() -> None:
    service = Scripted(http(200, b"ok"))
    headers = [(b"host", b"gw.test"), (b"origin", b"http://evil.test")]
    async with bench(service) as b, browsing(b, headers=headers) as browser:
        assert (await browser.expect("websocket.http.response.start"))["status"] == 403
    assert not service.requests


async def test_pages_of_the_gateway_s_own_are_not() -> None:
    headers = [(b"host", b"gw.test"), (b"origin", b"http://gw.test")]
    async with bench(Service(echo)) as b, browsing(b, headers=headers) as browser:
        await browser.expect("websocket.accept")
        browser.said.send_nowait(leaves(1000))


async def test_a_drain_says_why_it_ends(autojump_clock: MockClock) -> None:
    async with bench(Service(echo)) as b, browsing(b) as browser:
        await browser.expect("websocket.accept")
        b.app.begin_drain(2)
        assert (await browser.expect("websocket.close"))["code"] == 1012
