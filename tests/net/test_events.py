"""An answer as an event stream: its beginning, its turns, its beats, its end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from gateway.net.asgi import ClientLeft, client_has_left, while_connected
from gateway.net.events import BEAT_S, EventStream, Put, event, feeding


class Client:
    """Takes messages; each takes `slow_s`, and from the `gone`th piece on there is nobody."""

    def __init__(self, *, slow_s: float = 0, gone: float = float("inf")) -> None:
        self.pieces: list[bytes] = []
        self.times: list[float] = []
        self.headers: dict[bytes, bytes] = {}
        self.cut = 0
        self.is_whole = False
        self._slow_s = slow_s
        self._gone = gone
        self.stream = EventStream(self._send, "r1")

    async def _send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            assert (message["status"], self.headers) == (200, {})
            self.headers = dict(message["headers"])
            return
        if len(self.pieces) >= self._gone:
            raise OSError
        self.cut += 1
        await trio.sleep(self._slow_s)
        self.cut -= 1
        self.pieces.append(message["body"])
        self.times.append(trio.current_time())
        self.is_whole = not message["more_body"]


async def test_it_begins_with_its_first_event(autojump_clock: MockClock) -> None:
    client = Client()
    assert not client.stream.begun
    await client.stream.put(event(b"a", b"1"))
    assert client.stream.begun
    await client.stream.beat()
    await client.stream.end(event(b"b", b"2"))
    assert client.pieces == [b"event: a\ndata: 1\n\n", b": \n\n", b"event: b\ndata: 2\n\n"]
    assert client.is_whole
    assert client.headers == {
        b"content-type": b"text/event-stream",
        b"cache-control": b"no-cache, no-transform",
        b"x-accel-buffering": b"no",
        b"x-request-id": b"r1",
    }


async def test_nobody_to_tell_is_told() -> None:
    client = Client(gone=0)
    for act in (client.stream.put, client.stream.end):
        with pytest.raises(ClientLeft):
            await act(b"x")
    with pytest.raises(ClientLeft):
        await client.stream.beat()


async def test_what_is_put_goes_out_in_turns(autojump_clock: MockClock) -> None:
    client = Client(slow_s=1)
    put_at: list[float] = []

    async def work(put: Put) -> str:
        for number in range(4):
            await put(b"%d" % number)
            put_at.append(trio.current_time())
        return "done"

    assert await feeding(client.stream, work) == "done"
    # The second one waits for the first to have gone out, and so on.
    assert put_at == pytest.approx([0, 1, 2, 3])
    assert client.times == pytest.approx([1, 2, 3, 4])
    assert client.pieces == [b"0", b"1", b"2", b"3"]


async def test_it_beats_while_nothing_comes(autojump_clock: MockClock) -> None:
    client = Client()

    async def work(put: Put) -> None:
        await trio.sleep(BEAT_S + 1)
        await put(b"a")
        await trio.sleep(2 * BEAT_S + 1)

    await feeding(client.stream, work)
    assert client.pieces == [b": \n\n", b"a", b": \n\n", b": \n\n"]
    assert client.times == pytest.approx([15, 16, 31, 46])


async def test_who_puts_nothing_for_a_while_begins_nothing(autojump_clock: MockClock) -> None:
    client = Client()

    async def work(_put: Put) -> None:
        await trio.sleep(BEAT_S - 1)

    await feeding(client.stream, work)
    assert not client.stream.begun


async def test_a_put_that_is_cancelled_cuts_nothing(autojump_clock: MockClock) -> None:
    client = Client(slow_s=1)

    async def work(put: Put) -> None:
        with trio.move_on_after(1.5):
            for number in range(9):
                await put(b"%d" % number)
        assert trio.current_time() == pytest.approx(1.5)

    await feeding(client.stream, work)
    await client.stream.end(b"end")
    # The third was waiting for its turn, and never had one.
    assert (client.pieces, client.cut) == ([b"0", b"1", b"end"], 0)


@pytest.mark.parametrize("error", [ValueError("x"), ExceptionGroup("g", [KeyError()])])
async def test_what_work_raises_is_raised_bare(autojump_clock: MockClock, error: Exception) -> None:
    client = Client(slow_s=1)

    async def work(put: Put) -> None:
        await put(b"a")
        raise error

    with pytest.raises(type(error)) as caught:
        await feeding(client.stream, work)
    assert caught.value is error
    assert client.pieces == [b"a"]


async def test_a_client_that_cannot_be_told_ends_the_work(autojump_clock: MockClock) -> None:
    client = Client(gone=1)
    ended: list[bool] = []

    async def work(put: Put) -> None:
        try:
            while True:
                await put(b"x")
                await trio.sleep(1)
        finally:
            ended.append(client_has_left())

    async def receive() -> Any:
        await trio.sleep_forever()

    with pytest.raises(ClientLeft):
        await while_connected({}, receive, lambda: feeding(client.stream, work))
    assert ended == [True]
    assert trio.current_time() == pytest.approx(1)


@pytest.mark.parametrize("gone", [1, float("inf")])
async def test_work_whose_client_left_waits_for_nobody(
    autojump_clock: MockClock, gone: float
) -> None:
    client = Client(slow_s=1000, gone=gone)

    async def work(put: Put) -> None:
        await put(b"x")
        await trio.sleep(1)
        raise ClientLeft

    with pytest.raises(ClientLeft):
        await feeding(client.stream, work)
    assert trio.current_time() == pytest.approx(1)


async def test_an_answer_that_cannot_be_told_says_so(autojump_clock: MockClock) -> None:
    """The work is done, and its last event is not out yet."""
    client = Client(gone=0)

    async def work(put: Put) -> str:
        await put(b"x")
        return "done"

    with pytest.raises(ClientLeft):
        await feeding(client.stream, work)


async def test_cancelled_from_outside_it_ends_at_once(autojump_clock: MockClock) -> None:
    client = Client(slow_s=1000)
    works: list[Callable[[Put], Awaitable[None]]] = []

    async def idle(_put: Put) -> None:
        await trio.sleep_forever()

    async def puts(put: Put) -> None:
        await put(b"x")
        await put(b"y")

    works += [idle, puts]
    for work in works:
        start = trio.current_time()
        with trio.move_on_after(1) as scope:
            await feeding(client.stream, work)
        assert scope.cancelled_caught
        assert trio.current_time() - start == pytest.approx(1)
    await wait_all_tasks_blocked()
