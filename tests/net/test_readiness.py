from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Iterator

import pytest
import trio
import trio.testing

from gateway.net.readiness import Asked, Readiness, Told, readiness

Make = Callable[[socket.socket], Readiness]
MAKERS = [
    Asked,
    pytest.param(readiness, marks=pytest.mark.skipif(sys.platform != "linux", reason="asks")),
]


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        yield ours, theirs


async def read(sock: socket.socket, one: Readiness) -> bytes:
    """A read as wires do it."""
    while True:
        if not one.ready:
            await one.wait()
        try:
            data = sock.recv(100)
        except BlockingIOError:
            one.drained()
            continue
        if len(data) < 100:
            one.drained()
        return data


@pytest.mark.parametrize("make", MAKERS)
async def test_what_comes_is_read_whenever_it_comes(
    make: Make, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pair
    one = make(ours)
    theirs.sendall(b"before")
    assert await read(ours, one) == b"before"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.testing.wait_all_tasks_blocked, 0.01)
        theirs.sendall(b"x" * 250)
        assert [len(await read(ours, one)) for _ in range(3)] == [100, 100, 50]
    for number in range(50):
        theirs.sendall(b"%d" % number)
        if number % 2:
            await trio.lowlevel.checkpoint()
        assert await read(ours, one) == b"%d" % number
    one.close()


@pytest.mark.parametrize("make", MAKERS)
async def test_an_end_that_comes_with_the_last_bytes_is_seen_behind_them(
    make: Make, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pair
    one = make(ours)
    theirs.sendall(b"last")
    theirs.shutdown(socket.SHUT_WR)
    with trio.fail_after(5):
        assert await read(ours, one) == b"last"
        assert await read(ours, one) == b""
        assert await read(ours, one) == b""
    one.close()


@pytest.mark.parametrize("make", MAKERS)
async def test_a_wait_may_be_cancelled_and_begun_again(
    make: Make, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pair
    one = make(ours)
    for _ in range(3):
        with trio.move_on_after(0.001) as scope:
            await read(ours, one)
        assert scope.cancelled_caught
    theirs.sendall(b"now")
    with trio.fail_after(5):
        assert await read(ours, one) == b"now"
    one.close()


async def test_who_waits_goes_on_when_it_is_closed(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, _theirs = pair
    one = readiness(ours)

    async def closes() -> None:
        await trio.testing.wait_all_tasks_blocked()
        one.close()

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(closes)
            await one.wait()
    assert one.ready


async def test_a_descriptor_may_be_used_again() -> None:
    for number in range(20):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.setblocking(False)
            one = readiness(ours)
            theirs.sendall(b"%d" % number)
            with trio.fail_after(5):
                assert await read(ours, one) == b"%d" % number
            one.close()


@pytest.mark.skipif(sys.platform != "linux", reason="asks")
async def test_one_task_waits_at_a_time(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, _theirs = pair
    one = readiness(ours)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.wait)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await one.wait()
        one.close()


@pytest.mark.skipif(sys.platform != "linux", reason="nobody tells")
async def test_who_listens_is_told_once(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    one = readiness(ours)
    told: list[str] = []
    one.listen(lambda: told.append("first"))
    await trio.testing.wait_all_tasks_blocked()
    assert not told
    for _ in range(2):
        theirs.sendall(b"x")
        await trio.testing.wait_all_tasks_blocked(0.01)
    assert told == ["first"]
    one.listen(lambda: told.append("at once"))
    assert told == ["first", "at once"]
    one.close()


@pytest.mark.skipif(sys.platform != "linux", reason="nobody tells")
async def test_who_waits_is_told_in_place_of_who_listened(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = pair
    one = readiness(ours)
    assert isinstance(one, Told)
    told: list[str] = []
    one.listen(lambda: told.append("listener"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.wait)
        await trio.testing.wait_all_tasks_blocked()
        theirs.sendall(b"x")
    one.close()
    assert not told
