"""Requests that are sent without waiting, over a service that is scripted to the byte."""

from __future__ import annotations

import gc
import math
import weakref
from collections.abc import Callable

import pytest
import trio
import trio.testing

from gateway.core.errors import BadReply, DeadlineExceeded, InvalidArguments, Unreachable
from gateway.net.http1 import Http1Client
from gateway.net.messages import HttpReply, HttpRequest, Origin
from gateway.net.pool import Pool
from gateway.net.sent import Queued, Sent

A = Origin.of("http://a.test")
HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"
WHOLE = HEAD + b"hello"


class Wire:
    """What came is what `say` was given; `b""` is the service's end."""

    def __init__(self) -> None:
        self.prompt = self
        self.sent = b""
        self.room = 10_000
        self.closed = False
        self._said: list[bytes] = []
        self._heard = trio.Event()
        self._tell: Callable[[], None] | None = None

    def say(self, data: bytes) -> None:
        self._said.append(data)
        self._heard.set()
        if self._tell is not None:
            tell, self._tell = self._tell, None
            tell()

    async def send(self, data: bytes) -> None:
        await trio.lowlevel.checkpoint()
        self.sent += data

    async def receive(self) -> bytes:
        await self._heard.wait()
        data = self.receive_at_once()
        assert data is not None
        return data

    def send_at_once(self, data: bytes) -> bool:
        self.sent += data[: self.room]
        return len(data) <= self.room

    def receive_at_once(self) -> bytes | None:
        if not self._said:
            return None
        data = self._said.pop(0)
        if not self._said and data:
            self._heard = trio.Event()
        return data

    def listen(self, tell: Callable[[], None]) -> None:
        self._tell = tell

    def is_stale(self) -> bool:
        return False

    def close(self) -> None:
        self.closed = True


class Service:
    def __init__(self) -> None:
        self.wires: list[Wire] = []

    async def connect(self, _origin: Origin) -> Wire:
        await trio.lowlevel.checkpoint()
        self.wires.append(Wire())
        self.wires[-1].say(WHOLE)  # to the first request
        return self.wires[-1]


async def warm() -> tuple[Http1Client, Wire, Service]:
    """A client with a connection that has served a request."""
    service = Service()
    client = Http1Client(Pool(service.connect, 2), "x-budget", 1000)
    assert (await client.send(asking())).body == b"hello"
    service.wires[0].sent = b""
    return client, service.wires[0], service


def asking(method: str = "GET", content: bytes | None = None, target: str = "/x") -> HttpRequest:
    return HttpRequest(method, A, target, (), content)


def body(reply: HttpReply) -> bytes:
    return reply.body


def started(client: Http1Client, request: HttpRequest, until: float = math.inf) -> Sent[bytes]:
    sent = client.start(request, until, trio.current_time(), body)
    assert isinstance(sent, Sent)
    return sent


def queued(client: Http1Client, request: HttpRequest | None = None) -> Queued[bytes]:
    one = client.start(
        request or asking(), trio.current_effective_deadline(), trio.current_time(), body
    )
    assert isinstance(one, Queued)
    return one


async def busy() -> tuple[Http1Client, Wire, Sent[bytes], Service]:
    """A client whose one connection has a request under way."""
    service = Service()
    client = Http1Client(Pool(service.connect, 1), "x-budget", 1000)
    assert (await client.send(asking())).body == b"hello"
    service.wires[0].sent = b""
    return client, service.wires[0], started(client, asking(target="/first")), service


async def test_it_goes_over_a_warm_connection_and_gives_that_back() -> None:
    client, wire, _ = await warm()
    told: list[bool] = []
    sent = started(client, asking("POST", b"{}"), trio.current_time() + 5)
    assert wire.sent.startswith(b"POST /x HTTP/1.1\r\nhost: a.test\r\n")
    assert wire.sent.endswith(b"\r\n\r\n{}")
    assert b"\r\nx-budget: " in wire.sent
    sent.listen(lambda: told.append(True))
    assert (client.pool.taken, client.pool.idle) == (1, 0)
    wire.say(WHOLE)
    assert told
    assert sent.take() == b"hello"
    sent.close()
    assert (client.pool.taken, client.pool.idle, wire.closed) == (0, 1, False)


@pytest.mark.parametrize("parts", [[HEAD, b"hello"], [WHOLE[:9], WHOLE[9:40], WHOLE[40:]]])
async def test_a_reply_in_parts_is_finished_by_waiting(parts: list[bytes]) -> None:
    client, wire, _ = await warm()
    sent = started(client, asking())
    wire.say(parts[0])
    assert sent.take() is None
    for part in parts[1:]:
        wire.say(part)
    assert await sent.finish() == b"hello"
    assert (client.pool.taken, client.pool.idle) == (0, 1)


async def test_a_compressed_reply_is_finished_by_waiting() -> None:
    client, wire, _ = await warm()
    sent = started(client, asking())
    wire.say(b"HTTP/1.1 200 OK\r\ncontent-encoding: identity\r\ncontent-length: 2\r\n\r\nhi")
    assert sent.take() is None
    assert await sent.finish() == b"hi"


async def test_nothing_is_sent_without_a_warm_connection_or_with_too_much() -> None:
    cold = Http1Client(Pool(Service().connect, 2), "x-budget", 1000)
    assert cold.start(asking(), math.inf, trio.current_time(), body) is None
    client, wire, _ = await warm()
    assert client.start(asking("POST", b"x" * 9000), math.inf, trio.current_time(), body) is None
    assert client.start(asking(), trio.current_time(), trio.current_time(), body) is None
    assert (wire.sent, client.pool.taken, client.pool.idle) == (b"", 0, 1)


async def test_a_connection_that_takes_only_a_part_is_closed() -> None:
    client, wire, _ = await warm()
    wire.room = 10
    assert client.start(asking(), math.inf, trio.current_time(), body) is None
    assert (wire.closed, client.pool.taken, client.pool.idle) == (True, 0, 0)


async def test_a_target_that_is_none_takes_nothing() -> None:
    client, _, _ = await warm()
    with pytest.raises(InvalidArguments):
        client.start(asking(target="/a b"), math.inf, trio.current_time(), body)
    assert (client.pool.taken, client.pool.idle) == (0, 1)


@pytest.mark.parametrize("waits", [False, True])
async def test_a_connection_closed_meanwhile_is_replaced_once(waits: bool) -> None:
    client, wire, service = await warm()
    sent = started(client, asking())
    if not waits:
        wire.say(b"")
        assert sent.take() is None
    async with trio.open_nursery() as nursery:
        if waits:
            nursery.start_soon(trio.testing.wait_all_tasks_blocked)
            wire.say(b"")
        assert await sent.finish() == b"hello"
    assert [one.closed for one in service.wires] == [True, False]
    assert (client.pool.taken, client.pool.idle) == (0, 1)


async def test_what_may_not_be_sent_twice_is_not() -> None:
    client, wire, service = await warm()
    sent = started(client, asking("POST", b"{}"))
    wire.say(b"")
    with pytest.raises(Unreachable):
        sent.take()
    sent.close()
    assert len(service.wires) == 1
    assert (wire.closed, client.pool.taken, client.pool.idle) == (True, 0, 0)


async def test_what_is_no_http_is_a_bad_reply() -> None:
    client, wire, _ = await warm()
    sent = started(client, asking())
    wire.say(b"hello\r\n\r\n")
    with pytest.raises(BadReply):
        sent.take()
    sent.close()
    assert (wire.closed, client.pool.taken, client.pool.idle) == (True, 0, 0)


async def test_a_reply_over_the_bound_is_a_bad_reply() -> None:
    client, wire, _ = await warm()
    sent = started(client, asking())
    wire.say(b"HTTP/1.1 200 OK\r\ncontent-length: 1001\r\n\r\n" + b"x" * 1001)
    with pytest.raises(BadReply, match="over 1000 bytes"):
        sent.take()
    sent.close()
    assert client.pool.taken == 0


async def test_closed_before_its_reply_it_takes_its_connection_along() -> None:
    client, wire, _ = await warm()
    sent = started(client, asking())
    sent.close()
    sent.close()
    assert (wire.closed, client.pool.taken, client.pool.idle) == (True, 0, 0)
    with pytest.raises(trio.ClosedResourceError):
        sent.take()


async def test_cancelled_while_it_waits_it_leaves_nothing() -> None:
    client, wire, _ = await warm()
    sent = started(client, asking())
    with trio.move_on_after(0), pytest.raises(trio.Cancelled):
        await sent.finish()
    sent.close()
    assert (wire.closed, client.pool.taken) == (True, 0)


# ------------------------------------------------------------------ in line


async def test_in_line_each_is_sent_by_who_gives_the_connection_back() -> None:
    client, wire, first, _ = await busy()
    told: list[str] = []
    second, third = queued(client, asking(target="/2")), queued(client, asking(target="/3"))
    second.listen(lambda: told.append("second"))
    third.listen(lambda: told.append("third"))
    assert client.pool.waiting == 2
    assert second.take() is None
    for sent, name, then in ((first, "/first", "/2"), (second, "/2", "/3"), (third, "/3", "")):
        assert wire.sent.startswith(f"GET {name} ".encode())
        wire.sent = b""
        wire.say(WHOLE)
        assert sent.take() == b"hello"
        sent.close()
        assert wire.sent.startswith(f"GET {then} ".encode()) if then else not wire.sent
    assert told == ["second", "third"]
    assert (client.pool.taken, client.pool.idle, client.pool.waiting) == (0, 1, 0)


async def test_in_line_tasks_and_requests_keep_their_order() -> None:
    client, wire, first, _ = await busy()
    order: list[str] = []

    async def waits() -> None:
        await client.send(asking(target="/task"))
        order.append("task")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(waits)
        await trio.testing.wait_all_tasks_blocked()
        second = queued(client)
        second.listen(lambda: order.append("queued"))
        for sent in (first, None):
            wire.say(WHOLE)
            if sent is not None:
                assert sent.take() == b"hello"
            await trio.testing.wait_all_tasks_blocked()
        wire.say(WHOLE)
        assert second.take() == b"hello"
    assert order == ["task", "queued"]


async def test_a_place_without_a_connection_is_finished_by_opening_one() -> None:
    client, wire, first, service = await busy()
    second = queued(client)
    told: list[bool] = []
    second.listen(lambda: told.append(True))
    first.close()  # not replied to: its connection is closed
    assert (wire.closed, told, second.take()) == (True, [True], None)
    assert await second.finish() == b"hello"
    assert [one.closed for one in service.wires] == [True, False]
    second.close()
    assert (client.pool.taken, client.pool.idle) == (0, 1)


async def test_a_connection_that_takes_nothing_more_is_replaced() -> None:
    client, wire, first, service = await busy()
    second = queued(client)
    wire.room = 3
    wire.say(WHOLE)
    assert first.take() == b"hello"
    assert second.take() is None
    assert await second.finish() == b"hello"
    assert [one.closed for one in service.wires] == [True, False]


async def test_what_is_finished_in_line_keeps_its_turn() -> None:
    client, wire, first, _ = await busy()
    second, third = queued(client, asking(target="/2")), queued(client, asking(target="/3"))
    results: list[bytes] = []

    async def finish() -> None:
        results.append(await second.finish())
        second.close()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(finish)
        await trio.testing.wait_all_tasks_blocked()
        wire.say(WHOLE)
        first.take()
        assert b"GET /2 " in wire.sent
        wire.say(WHOLE)
    assert results == [b"hello"]
    assert b"GET /3 " in wire.sent
    third.close()
    assert (client.pool.taken, client.pool.waiting) == (0, 0)


@pytest.mark.parametrize("stage", ["in line", "a place", "sent", "finishing"])
async def test_closed_in_line_nothing_is_left(stage: str) -> None:
    client, wire, first, service = await busy()
    second = queued(client)
    if stage == "a place":
        first.close()
    elif stage == "sent":
        wire.say(WHOLE)
        first.take()
    elif stage == "finishing":
        with trio.move_on_after(0):
            await second.finish()
    second.close()
    second.close()
    first.close()
    assert (client.pool.taken, client.pool.waiting) == (0, 0)
    assert client.pool.idle == sum(not one.closed for one in service.wires)


async def test_its_budget_is_what_is_left_when_its_turn_comes(
    autojump_clock: trio.testing.MockClock,
) -> None:
    client, wire, first, _ = await busy()
    with trio.move_on_after(2):
        in_time, late = queued(client), queued(client)
        await trio.sleep(0.5)
        wire.say(WHOLE)
        first.take()
        assert b"x-budget: 1500\r\n" in wire.sent
        await trio.sleep(1.4995)
        wire.say(WHOLE)
        assert in_time.take() == b"hello"
        assert late.take() is None
        with pytest.raises(DeadlineExceeded, match="less than 1 ms"):
            await late.finish()
        late.close()
    assert client.pool.taken == 0


@pytest.mark.parametrize("finished_at", [0.1, 1.5])
async def test_its_budget_is_that_of_who_waits_when_its_turn_comes(
    finished_at: float, autojump_clock: trio.testing.MockClock
) -> None:
    client, wire, first, service = await busy()
    # Of a flight, whose deadline is the latest of several.
    second = client.start(asking(), 0.2, trio.current_time(), body)
    assert isinstance(second, Queued)
    results: list[bytes] = []
    scope = trio.CancelScope(deadline=0.8)

    async def finish() -> None:
        await trio.sleep(finished_at)
        with scope:
            results.append(await second.finish())
            second.close()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(finish)
        await trio.sleep(0.5)
        scope.deadline = 6  # one more shares it
        await trio.sleep(0.5)
        wire.say(WHOLE)
        first.take()
        await trio.sleep(1)
        wire.say(WHOLE)
    assert results == [b"hello"]
    left_ms = {0.1: 5000, 1.5: 4500}[finished_at]
    assert b"x-budget: %d\r\n" % left_ms in wire.sent
    assert (len(service.wires), client.pool.taken, client.pool.idle) == (1, 0, 1)


async def test_a_place_that_cannot_be_filled_is_given_on() -> None:
    client, _, first, service = await busy()
    second, third = queued(client), queued(client)

    async def refuse(_origin: Origin) -> Wire:
        raise Unreachable("refused")

    connect, client.pool._connect = client.pool._connect, refuse  # type: ignore[assignment]
    first.close()
    with pytest.raises(Unreachable):
        await second.finish()
    second.close()
    client.pool._connect = connect
    assert await third.finish() == b"hello"
    third.close()
    assert (client.pool.taken, client.pool.idle, len(service.wires)) == (0, 1, 2)


async def test_what_stood_in_line_holds_itself_no_more() -> None:
    """The collector runs rarely: a cycle would keep the request's whole state until then."""
    client, wire, first, _ = await busy()
    told: list[object] = []

    class Waiting:
        """As a flight's call: it has what tells it."""

        def __init__(self, begun: Queued[bytes]) -> None:
            self.begun = begun

        def __call__(self) -> None:
            told.append(self.begun.take())

    waiting = Waiting(queued(client))
    waiting.begun.listen(waiting)
    gone = weakref.ref(waiting)
    wire.say(WHOLE)
    assert first.take() == b"hello"
    wire.say(WHOLE)
    gc.disable()
    try:
        del waiting
        assert (told, gone()) == ([b"hello"], None)
    finally:
        gc.enable()
