"""What crosses between an asyncio host and Trio: messages, errors, cancellation both ways."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing

from gateway.guest import Hosted

START = {"type": "http.response.start", "status": 200, "headers": []}


def body(data: bytes = b"", *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more}


class Client:
    """An asyncio server's side of one connection.

    Attributes:
        incoming: What the app is to receive.
        sent: What the app has sent.
        reads: Whether `send` returns; until then it waits, as for a client that reads nothing.
        stopped: Calls of `receive` and `send` that were cancelled.
    """

    def __init__(self) -> None:
        self.incoming: asyncio.Queue[Any] = asyncio.Queue()
        self.sent: list[Any] = []
        self.reads = asyncio.Event()
        self.reads.set()
        self.stopped: list[str] = []

    async def receive(self) -> Any:
        try:
            message = await self.incoming.get()
        except asyncio.CancelledError:
            self.stopped.append("receive")
            raise
        if isinstance(message, Exception):
            raise message
        return message

    async def send(self, message: Any) -> None:
        try:
            await self.reads.wait()
        except asyncio.CancelledError:
            self.stopped.append("send")
            raise
        self.sent.append(message)


@asynccontextmanager
async def nothing() -> AsyncIterator[None]:
    await trio.lowlevel.checkpoint()
    yield


async def never(_scope: Any, _send: Any, _error: Any) -> None:
    raise AssertionError


App = Callable[[Any, Any, Any], Awaitable[None]]
Connect = Callable[[Client], Awaitable[None]]


def bridged(app: App, host: Callable[[Connect], Awaitable[None]]) -> None:
    """Let `host` connect clients to `app`, which runs on Trio; no task may be left of it."""
    hosted = Hosted(app, nothing, never)

    async def connect(client: Client) -> None:
        await hosted({}, client.receive, client.send)

    async def main() -> None:
        async with hosted.running():
            tasks = asyncio.all_tasks()
            living = trio.lowlevel.current_statistics().tasks_living
            async with asyncio.timeout(10):
                await host(connect)
            assert asyncio.all_tasks() == tasks
            assert trio.lowlevel.current_statistics().tasks_living == living

    with asyncio.Runner(debug=True) as runner:
        runner.run(main())


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0)


# ------------------------------------------------------------------ messages


def test_an_event_stream_passes_as_it_comes() -> None:
    go = trio.Event()

    async def stream(_scope: Any, _receive: Any, send: Any) -> None:
        await send(START)
        await send(body(b"1", more=True))
        await go.wait()
        await send(body(b"2", more=True))
        await send(body())

    async def host(connect: Connect) -> None:
        client = Client()
        connection = asyncio.create_task(connect(client))
        await until(lambda: len(client.sent) == 2)
        assert client.sent == [START, body(b"1", more=True)]
        go.set()
        await connection
        assert client.sent[2:] == [body(b"2", more=True), body()]

    bridged(stream, host)


def test_a_websocket_talks_both_ways() -> None:
    async def echo(_scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": message["text"]})

    async def host(connect: Connect) -> None:
        client = Client()
        connection = asyncio.create_task(connect(client))
        client.incoming.put_nowait({"type": "websocket.connect"})
        await until(lambda: len(client.sent) == 1)
        for text in "ab":
            client.incoming.put_nowait({"type": "websocket.receive", "text": text})
        await until(lambda: len(client.sent) == 3)
        client.incoming.put_nowait({"type": "websocket.disconnect", "code": 1001})
        await connection
        assert [message.get("text") for message in client.sent] == [None, "a", "b"]

    bridged(echo, host)


def test_a_receive_that_is_given_up_loses_no_message() -> None:
    received: list[Any] = []

    async def impatient(_scope: Any, receive: Any, _send: Any) -> None:
        for _ in range(3):
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(receive)
                    await trio.testing.wait_all_tasks_blocked()
                    scope.cancel()
        waiting.set()
        received.append(await receive())
        received.append(await receive())

    waiting = trio.Event()

    async def host(connect: Connect) -> None:
        client = Client()
        connection = asyncio.create_task(connect(client))
        await until(waiting.is_set)
        client.incoming.put_nowait(1)
        client.incoming.put_nowait(2)
        await connection
        assert received == [1, 2]
        assert client.stopped == []

    bridged(impatient, host)


def test_what_is_still_being_received_ends_with_the_connection() -> None:
    async def uninterested(_scope: Any, receive: Any, send: Any) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            await trio.testing.wait_all_tasks_blocked()
            await send(START)
            await send(body(b"done"))
            nursery.cancel_scope.cancel()

    async def host(connect: Connect) -> None:
        client = Client()
        await connect(client)
        assert client.sent == [START, body(b"done")]
        assert client.stopped == ["receive"]

    bridged(uninterested, host)


def test_many_messages_leave_the_host_its_turn() -> None:
    turns = 0

    async def flood(_scope: Any, _receive: Any, send: Any) -> None:
        for _ in range(100):
            await send(body(b"x", more=True))

    async def host(connect: Connect) -> None:
        nonlocal turns
        connection = asyncio.create_task(connect(Client()))
        while not connection.done():
            turns += 1
            await asyncio.sleep(0)
        await connection

    bridged(flood, host)
    assert turns > 100


# ------------------------------------------------------------------ errors


def test_what_the_app_raises_reaches_the_host_bare() -> None:
    async def broken(_scope: Any, _receive: Any, _send: Any) -> None:
        raise ZeroDivisionError

    async def host(connect: Connect) -> None:
        with pytest.raises(ZeroDivisionError):
            await connect(Client())

    bridged(broken, host)


@pytest.mark.parametrize("late", [False, True])
def test_what_the_host_raises_reaches_the_app(late: bool) -> None:
    caught: list[Exception] = []

    async def app(_scope: Any, receive: Any, _send: Any) -> None:
        try:
            await receive()
        except OSError as error:
            caught.append(error)

    async def host(connect: Connect) -> None:
        client = Client()
        error = OSError("gone")
        if not late:
            client.incoming.put_nowait(error)
        connection = asyncio.create_task(connect(client))
        if late:
            await asyncio.sleep(0.01)
            client.incoming.put_nowait(error)
        await connection
        assert caught == [error]

    bridged(app, host)


def test_an_error_that_nobody_waits_for_is_not_reported_as_lost() -> None:
    class Fails(Client):
        async def receive(self) -> Any:
            try:
                return await super().receive()
            except asyncio.CancelledError:
                raise OSError("gone") from None

    async def app(_scope: Any, receive: Any, _send: Any) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()

    reported: list[Any] = []

    async def host(connect: Connect) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, one: reported.append(one))
        client = Fails()
        await connect(client)
        gc.collect()
        assert client.stopped == ["receive"]

    bridged(app, host)
    assert reported == []


def test_a_host_that_cancels_its_own_receive_breaks_the_connection_only() -> None:
    class Quits(Client):
        async def receive(self) -> Any:
            raise asyncio.CancelledError

    async def app(_scope: Any, receive: Any, send: Any) -> None:
        await receive()

    async def host(connect: Connect) -> None:
        with pytest.raises(ConnectionAbortedError):
            await connect(Quits())
        with pytest.raises(ConnectionAbortedError):
            await connect(Quits())

    bridged(app, host)


# ------------------------------------------------------------------ cancellation


def test_the_hosts_cancel_waits_until_all_of_it_has_ended() -> None:
    begun = trio.Event()
    steps: list[str] = []

    async def app(_scope: Any, _receive: Any, _send: Any) -> None:
        begun.set()
        try:
            await trio.sleep_forever()
        finally:
            steps.append("cancelled")
            with trio.CancelScope(shield=True):
                while "go on" not in steps:
                    await trio.sleep(0.001)
            steps.append("cleaned up")

    async def host(connect: Connect) -> None:
        connection = asyncio.create_task(connect(Client()))
        await until(begun.is_set)
        connection.cancel()
        await until(lambda: steps)
        for _ in range(3):  # a second and a third one change nothing
            connection.cancel()
            await asyncio.sleep(0.001)
        assert not connection.done()
        steps.append("go on")
        with pytest.raises(asyncio.CancelledError):
            await connection
        assert steps == ["cancelled", "go on", "cleaned up"]

    bridged(app, host)


@pytest.mark.parametrize("what", ["receive", "send"])
def test_the_hosts_cancel_ends_what_waits_for_the_host(what: str) -> None:
    async def app(_scope: Any, receive: Any, send: Any) -> None:
        await (receive() if what == "receive" else send(body()))

    async def host(connect: Connect) -> None:
        client = Client()
        client.reads.clear()
        connection = asyncio.create_task(connect(client))
        await asyncio.sleep(0.01)
        connection.cancel()
        with pytest.raises(asyncio.CancelledError):
            await connection
        assert client.stopped == [what]

    bridged(app, host)


def test_a_deadline_ends_a_send_that_nobody_reads() -> None:
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        with trio.move_on_after(0.02) as scope:
            await send(body(b"x"))
        assert scope.cancelled_caught

    async def host(connect: Connect) -> None:
        client = Client()
        client.reads.clear()
        await connect(client)
        assert client.stopped == ["send"]
        assert client.sent == []

    bridged(app, host)


def test_nothing_is_sent_or_received_once_it_is_cancelled() -> None:
    async def app(_scope: Any, receive: Any, send: Any) -> None:
        for attempt in (lambda: send(body()), receive):
            with trio.CancelScope() as scope:
                scope.cancel()
                await attempt()
            assert scope.cancelled_caught

    async def host(connect: Connect) -> None:
        client = Client()
        client.incoming.put_nowait(1)
        await connect(client)
        assert (client.sent, client.incoming.qsize()) == ([], 1)

    bridged(app, host)


def test_a_request_that_is_cancelled_before_it_starts_does_not_run() -> None:
    ran: list[int] = []

    async def app(_scope: Any, _receive: Any, _send: Any) -> None:
        await trio.lowlevel.checkpoint()
        ran.append(1)

    async def host(connect: Connect) -> None:
        connection = asyncio.create_task(connect(Client()))
        await asyncio.sleep(0)
        connection.cancel()
        with pytest.raises(asyncio.CancelledError):
            await connection
        assert ran == []

    bridged(app, host)
